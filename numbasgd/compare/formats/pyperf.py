"""pyperf's JSON, as ``pyperf timeit -o FILE`` and pyperformance write it, from version 0.8.3 on.

A benchmark has runs, one per worker process, each with a few values: seconds of one call, warm-ups apart.
All values of all runs are the rounds of a case, as in ``pyperf stats``.  Facts that all benchmarks share stand
once, at the root.  https://pyperf.readthedocs.io/en/latest/api.html#pyperf-json
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from numbasgd.compare.formats.times import facts, plausible, quartiles, result_file
from numbasgd.compare.results import Case, ResultFile
from numbasgd.errors import ResultFileError
from numbasgd.json_values import mapping, sequence, text

VERSIONS = (5, 6, "1.0")  # of the format


def is_one(document: dict[str, Any]) -> bool:
    """Whether the first entry has runs."""
    first = mapping(next(iter(document["benchmarks"]), None))
    return "runs" in first and "stats" not in first


def read(name: str, document: dict[str, Any]) -> ResultFile:
    """The file's cases under their names."""
    version = document.get("version")
    if version not in VERSIONS:
        known = ", ".join(map(str, VERSIONS))
        raise ResultFileError(
            f"{name}: this is version {version!r:.40} of pyperf's format; expected one of {known}. "
            "Run the bench again with pyperf 1.0 or later."
        )
    shared = mapping(document.get("metadata"))
    entries = [mapping(entry) for entry in document["benchmarks"]]
    about = {**shared, **_metadata(entries[0])}
    dates = (text(mapping(run.get("metadata")).get("date")) for entry in entries for run in _runs(entry))
    return result_file(
        name,
        _cases(entries, shared),
        fingerprint=None,
        platform=_platform(about),
        commit=text(about.get("commit_id")),
        datetime=next((date for date in dates if date), None),
    )


def _cases(entries: list[dict[str, Any]], shared: dict[str, Any]) -> Iterator[Case | str]:
    for place, entry in enumerate(entries, 1):
        metadata = {**shared, **_metadata(entry)}
        name = text(metadata.get("name")) or f"benchmark number {place}"
        unit = metadata.get("unit", "second")
        values = [v for run in _runs(entry) for v in sequence(run.get("values", run.get("samples")))]
        times = plausible(values)
        if unit != "second":
            yield f"{name}: its unit is {unit!r:.40}; expected 'second'"
        elif not values:
            yield f"{name}: it has no values, so its run did no more than calibrate"
        elif len(times) < len(values):
            yield f"{name}: {len(values) - len(times)} of its {len(values)} values are no seconds above 0"
        else:
            q1, q3 = quartiles(times)
            yield Case(name, statistics.median(times), q1, q3, len(times), case=name)


def _runs(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return [mapping(run) for run in sequence(entry.get("runs"))]


def _metadata(entry: dict[str, Any]) -> dict[str, Any]:
    return mapping(entry.get("metadata", entry.get("common_metadata")))


def _platform(about: dict[str, Any]) -> dict[str, str]:
    """What pyperf says of a machine, under our names; its ``hostname`` is never taken."""
    python = text(about.get("python_version"))
    return facts(
        {
            "cpu.model": about.get("cpu_model_name"),
            "cpu.cores": about.get("cpu_count"),
            "system": (text(about.get("platform")) or "").partition("-")[0],
            "versions.python": python and python.partition(" ")[0],
            "versions.implementation": about.get("python_implementation"),
        }
    )
