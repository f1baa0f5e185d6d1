"""Paths -> ``ResultFile``s.

A file that cannot be used raises ``ResultFileError`` with one line; a benchmark in it that cannot be used is
left out, and ``ResultFile.left_out`` says why.  The formats: ``numbasgd.compare.formats``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numbasgd.compare.document import HOW, load
from numbasgd.compare.formats import FORMATS
from numbasgd.compare.results import ResultFile
from numbasgd.errors import ResultFileError
from numbasgd.json_values import printable


def expand(paths: Sequence[str]) -> list[str]:
    """The paths, each folder replaced by the ``.json`` files in it and in its folders.

    So ``.benchmarks`` stands for all that pytest-benchmark saved there, the oldest run of a machine first.
    A folder without such files stays, for ``read`` to complain of.
    """
    found: list[str] = []
    for path in paths:
        folder = Path(path)
        inside = sorted(folder.glob("*.json")) + sorted(folder.glob("*/*.json")) if folder.is_dir() else []
        found += map(str, inside) if inside else [path]
    return found


def read(path: str | Path) -> ResultFile:
    """Read a result file of any known format; raises ``ResultFileError`` with one line that names the file."""
    name = printable(str(path))
    document = load(Path(path))
    entries = document.get("benchmarks") if isinstance(document, dict) else None
    if isinstance(entries, list) and not entries:
        raise ResultFileError(
            f"{name}: it holds no benchmarks; its run selected or finished none. Run the bench again."
        )
    if isinstance(entries, list):
        for form in FORMATS:
            if form.is_one(document):
                return form.read(name, document)
    raise ResultFileError(f"{name}: this is JSON, but {_maker(document)}. {HOW}")


def _maker(document: Any) -> str:
    """Whose a file of no known format is."""
    if not isinstance(document, dict) or not isinstance(document.get("benchmarks"), list):
        if isinstance(document, dict) and isinstance(document.get("results"), list):
            return "it is another tool's (hyperfine's, by its looks)"
        return "it has no list of benchmarks, so it is another tool's"
    return "its benchmarks have neither names nor stats, so it is another tool's"
