"""A benchmark file -> frozen dataclasses.  The one place that knows how such files look.

What is read is pytest-benchmark's JSON, from this project or from any other, of any version that wrote a
median.  This project's own block (``extra_info`` of a case, ``machine_info["numbasgd"]``) is used where it
is there; without it a case has times alone.  A file that cannot be used raises ``ResultFileError`` with one
line; a case that cannot be used is left out, and ``ResultFile.left_out`` says why.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from numbasgd.compare.document import load
from numbasgd.errors import ResultFileError
from numbasgd.json_values import mapping, number, sequence, text
from numbasgd.machine.bounds import Limits, limits_of

SCHEMA = 1
SHORTEST, LONGEST = 1e-15, 1e12  # seconds that a measurement may claim
BUSY = 0.05  # benches of this project vary less than this on idle cores, and far more on busy ones
LEAST_CASES = 8  # fewer do not show whether a machine was busy
SIZES = ("m", "n", "k", "d", "batch_size")


@dataclass(frozen=True)
class Case:
    """One benchmark of one run.

    id : joins files; holds nothing of the machine.  ladder, reference : the table that the case belongs
    to, and the name (``case``) of that table's BLAS or peer.  median, q1, q3 : seconds; the quartiles are
    None where the file does not have them.  rounds : how many were timed, 0 where unknown.
    flop, bytes : operations and traffic of one call, None where unknown.  working_set : bytes that a level of
    memory must hold, where it is not ``bytes``.  extra : all that the file adds.
    """

    id: str
    median: float
    q1: float | None = None
    q3: float | None = None
    rounds: int = 0
    kind: str = ""
    ladder: str = ""
    case: str = ""
    reference: str | None = None
    dtype: str | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    device: str = "cpu"
    threads: str | None = None
    n_threads: int | None = None
    flop: float | None = None
    bytes: float | None = None
    working_set: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def iqr(self) -> float | None:
        """The interquartile range of the rounds in seconds."""
        return None if self.q1 is None or self.q3 is None else self.q3 - self.q1


@dataclass(frozen=True)
class ResultFile:
    """One run on one machine.

    name : the path as it was given.  fingerprint : our block on the machine, nested, or None.
    platform : what pytest-benchmark itself says of the machine, under the fingerprint's key names.
    limits : what the machine was measured to reach, or None.
    """

    name: str
    fingerprint: Mapping[str, Any] | None
    platform: Mapping[str, str]
    cases: tuple[Case, ...]
    left_out: tuple[str, ...] = ()
    commit: str | None = None
    datetime: str | None = None
    limits: Limits | None = None

    @cached_property
    def by_id(self) -> Mapping[str, Case]:
        """Each case under its id."""
        return {case.id: case for case in self.cases}

    @cached_property
    def noise_level(self) -> float | None:
        """The IQR over the median that a quarter of the cases exceed; None with too few cases.

        A few percent on an idle machine, tens of percent where other programs use its cores.
        """
        iqrs = sorted(case.iqr / case.median for case in self.cases if case.iqr is not None)
        return iqrs[len(iqrs) * 3 // 4] if len(iqrs) >= LEAST_CASES else None

    @property
    def is_busy(self) -> bool:
        """Whether the machine was busy with something else while this was measured."""
        return self.noise_level is not None and self.noise_level > BUSY

    def reference_of(self, case: Case) -> Case | None:
        """The case that this one's ladder names as its BLAS or peer, in this file."""
        return self._by_place.get((case.ladder, case.reference)) if case.reference else None

    @cached_property
    def _by_place(self) -> Mapping[tuple[str, str | None], Case]:
        return {(case.ladder, case.case): case for case in self.cases}


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
    """Read a result file; raises ``ResultFileError`` with one line that names the file."""
    name = str(path)
    document = load(name)
    block = mapping(mapping(document.get("machine_info")).get("numbasgd"))
    _check_schema(name, block.get("schema"))
    cases: dict[str, Case] = {}
    left_out: list[str] = []
    for place, entry in enumerate(document["benchmarks"]):
        case = _case(name, entry, f"benchmark number {place + 1}")
        if isinstance(case, str):
            left_out.append(case)
        elif case.id in cases:
            left_out.append(f"{case.id}: it appears more than once; the first is used")
        else:
            cases[case.id] = case
    if not cases:
        raise ResultFileError(f"{name}: no benchmark in it can be used ({left_out[0]}). Run the bench again.")
    return ResultFile(
        name=name,
        fingerprint=block or None,
        platform=_platform(mapping(document.get("machine_info"))),
        cases=tuple(cases.values()),
        left_out=tuple(left_out),
        commit=text(mapping(document.get("commit_info")).get("id")),
        datetime=text(document.get("datetime")),
        limits=limits_of(block.get("limits")),
    )


def _check_schema(name: str, schema: Any) -> None:
    if schema is not None and (number(schema) is None or schema > SCHEMA):
        raise ResultFileError(
            f"{name}: its block has schema {schema!r}, this numbasgd reads up to {SCHEMA}. "
            "Upgrade with: pip install --upgrade numbasgd"
        )


def _case(file: str, entry: Any, place: str) -> Case | str:
    """The case, or a sentence on why it is left out."""
    entry = mapping(entry)
    name = text(entry.get("name")) or text(entry.get("fullname")) or place
    fullname = text(entry.get("fullname")) or name
    stats, extra = mapping(entry.get("stats")), mapping(entry.get("extra_info"))
    if not stats:
        return f"{fullname}: it has no stats"
    is_complete = all(number(stats.get(key)) is not None for key in ("median", "q1", "q3", "rounds"))
    data = [] if is_complete else sequence(stats.get("data"))  # a large file has millions of them
    times = [t for t in map(number, data) if t is not None and t > 0]
    median = stats.get("median", statistics.median(times) if times else None)
    seconds = number(median)
    if seconds is None or not SHORTEST < seconds < LONGEST:
        said = "missing" if median is None else repr(median)[:40]
        return f"{fullname}: its median is {said}; expected seconds above 0"
    q1, q3 = _quartiles(stats, times, seconds)
    rounds = number(stats.get("rounds", len(times)))
    ours = "schema" in extra and "kind" in extra
    if ours:
        _check_schema(file, extra["schema"])
    block = extra if ours else {}
    # Any project may tell what a call does, so that the case stands under the roofline: see numbasgd_pytest.
    work = extra if ours else mapping(extra.get("numbasgd"))
    return Case(
        id=name.removeprefix("test_") if ours else fullname,
        median=seconds,
        q1=q1,
        q3=q3,
        rounds=int(rounds) if rounds else 0,
        kind=text(block.get("kind")) or "",
        ladder=text(block.get("ladder")) or text(entry.get("group")) or "",
        case=text(block.get("case")) or name,
        reference=text(block.get("reference")),
        dtype=text(work.get("dtype")),
        sizes={key: int(v) for key in SIZES if (v := number(block.get(key))) is not None},
        device=text(block.get("device")) or "cpu",
        threads=text(work.get("threads")),
        n_threads=int(v) if (v := number(block.get("n_threads"))) else None,
        flop=_positive(work.get("flop")),
        bytes=_positive(work.get("bytes")),
        working_set=_positive(work.get("working_set")),
        extra=extra,
    )


def _positive(value: Any) -> float | None:
    found = number(value)
    return found if found and found > 0 else None


def _quartiles(
    stats: Mapping[str, Any], times: list[float], median: float
) -> tuple[float, float] | tuple[None, None]:
    q1, q3 = number(stats.get("q1")), number(stats.get("q3"))
    if (q1 is None or q3 is None) and len(times) > 1:
        q1, _, q3 = statistics.quantiles(times, n=4, method="inclusive")
    if q1 is None or q3 is None or not SHORTEST < q1 <= median <= q3 < LONGEST:
        return None, None
    return q1, q3


def _platform(info: Mapping[str, Any]) -> dict[str, str]:
    """What pytest-benchmark says of a machine, under our names; its ``node`` is never taken."""
    cpu = mapping(info.get("cpu"))
    found = {
        "cpu.model": cpu.get("brand_raw") or cpu.get("brand") or info.get("processor"),
        "cpu.machine": info.get("machine"),
        "cpu.cores": cpu.get("count"),
        "system": info.get("system"),
        "versions.kernel": info.get("release"),
        "versions.python": info.get("python_version"),
        "versions.implementation": info.get("python_implementation"),
    }
    return {key: str(value) for key, value in found.items() if isinstance(value, str | int) and value != ""}
