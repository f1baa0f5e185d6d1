"""The formats of result files: one module each, and the table of them.

A format's module has ``is_one(document)``, whether a parsed file with a list of benchmarks is of this format,
and ``read(name, document)``, its ``ResultFile``.  To add one, write the module and enter it in ``FORMATS``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numbasgd.compare.formats import google_benchmark, pyperf, pytest_benchmark
from numbasgd.compare.results import ResultFile


class Format(NamedTuple):
    """How to know and to read the files of one tool."""

    tool: str
    is_one: Callable[[dict[str, Any]], bool]
    read: Callable[[str, dict[str, Any]], ResultFile]


# The first that knows a file reads it; pytest-benchmark's entries need no more than a name, so it comes last.
FORMATS = (
    Format("Google Benchmark", google_benchmark.is_one, google_benchmark.read),
    Format("pyperf", pyperf.is_one, pyperf.read),
    Format("pytest-benchmark", pytest_benchmark.is_one, pytest_benchmark.read),
)
