"""pytest-benchmark's JSON, from this project or any other, of any version that wrote a median.

This project's own block (``extra_info`` of a case, ``machine_info["numbasgd"]``) is used where it is there;
without it a case has times alone.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from numbasgd.compare.formats.times import (
    LONGEST,
    SHORTEST,
    facts,
    is_plausible,
    plausible,
    quartiles,
    result_file,
)
from numbasgd.compare.results import Case, ResultFile
from numbasgd.errors import ResultFileError
from numbasgd.json_values import all_printable, mapping, number, sequence, text
from numbasgd.machine.bounds import limits_of

SCHEMA = 1
SIZES = ("m", "n", "k", "d", "batch_size")
LONGEST_ALIAS = 1000  # characters; parameters that are longer do not name a case


def is_one(document: dict[str, Any]) -> bool:
    """Whether some entry has a name or stats."""
    entries = document["benchmarks"]
    return any(isinstance(entry, dict) and ({"stats", "fullname", "name"} & entry.keys()) for entry in entries)


def read(name: str, document: dict[str, Any]) -> ResultFile:
    """The file's cases under their full names, ours under names that no folder is part of."""
    info = mapping(document.get("machine_info"))
    block = all_printable(mapping(info.get("numbasgd")))
    _check_schema(name, block.get("schema"))
    return result_file(
        name,
        _cases(name, document["benchmarks"]),
        fingerprint=block or None,
        platform=_platform(info),
        commit=text(mapping(document.get("commit_info")).get("id")),
        datetime=text(document.get("datetime")),
        limits=limits_of(block.get("limits")),
    )


def _check_schema(name: str, schema: Any) -> None:
    if schema is not None and (number(schema) is None or schema > SCHEMA):
        raise ResultFileError(
            f"{name}: its block has schema {schema!r:.40}, this numbasgd reads up to {SCHEMA}. "
            "Upgrade with: pip install --upgrade numbasgd"
        )


def _cases(file: str, entries: list[Any]) -> Iterator[Case | str]:
    for place, entry in enumerate(entries, 1):
        yield _case(file, mapping(entry), f"benchmark number {place}")


def _case(file: str, entry: dict[str, Any], place: str) -> Case | str:
    """The case, or a sentence on why it is left out."""
    name = text(entry.get("name")) or text(entry.get("fullname")) or place
    fullname = text(entry.get("fullname")) or name
    stats, extra = mapping(entry.get("stats")), mapping(entry.get("extra_info"))
    if not stats:
        return f"{fullname}: it has no stats"
    is_complete = all(number(stats.get(key)) is not None for key in ("median", "q1", "q3", "rounds"))
    data = [] if is_complete else sequence(stats.get("data"))  # a large file has millions of them
    times = plausible(data)
    median = stats.get("median", statistics.median(times) if times else None)
    seconds = number(median)
    if seconds is None or not is_plausible(seconds):
        said = "missing" if median is None else repr(median)[:40]
        return f"{fullname}: its median is {said}; expected seconds above 0"
    q1, q3 = _quartiles(stats, times, seconds)
    rounds = number(stats.get("rounds", len(times)))
    ours = "schema" in extra and "kind" in extra
    if ours:
        _check_schema(file, extra["schema"])
    block = extra if ours else {}
    # Any project may tell what a call does, so that its roofline is known: see numbasgd.pytest_plugin.
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
        aliases=() if ours else _aliases(fullname, mapping(entry.get("params"))),
    )


def _aliases(fullname: str, params: Mapping[str, Any]) -> tuple[str, ...]:
    """The full name with ever less of its path, without any, and with the parameters by name.

    The path depends on the folder that pytest ran in; the text between brackets on pytest's version and on ids.
    """
    path, is_path, inside = fullname.partition("::")
    if not is_path:
        path, inside = "", fullname
    names = ["/".join(path.split("/")[-n:]) + "::" + inside for n in (3, 2, 1)]
    function, is_parametrized, _ = inside.partition("[")
    if not is_parametrized or not params or any(isinstance(value, list | dict) for value in params.values()):
        return (*names, inside)
    named = ", ".join(f"{key}={value!r:.{LONGEST_ALIAS}}" for key, value in sorted(params.items()))
    return (*names, inside, f"{function}[{named}]") if len(named) < LONGEST_ALIAS else (*names, inside)


def _positive(value: Any) -> float | None:
    found = number(value)
    return found if found and found > 0 else None


def _quartiles(
    stats: Mapping[str, Any], times: list[float], median: float
) -> tuple[float, float] | tuple[None, None]:
    q1, q3 = number(stats.get("q1")), number(stats.get("q3"))
    if q1 is None or q3 is None:
        q1, q3 = quartiles(times)
    if q1 is None or q3 is None or not SHORTEST < q1 <= median <= q3 < LONGEST:
        return None, None
    return q1, q3


def _platform(info: Mapping[str, Any]) -> dict[str, str]:
    """What pytest-benchmark says of a machine, under our names; its ``node`` is never taken."""
    cpu = mapping(info.get("cpu"))
    told = {
        "cpu.model": cpu.get("brand_raw") or cpu.get("brand") or info.get("processor"),
        "cpu.machine": info.get("machine"),
        "cpu.cores": cpu.get("count"),
        "system": info.get("system"),
        "versions.kernel": info.get("release"),
        "versions.python": info.get("python_version"),
        "versions.implementation": info.get("python_implementation"),
    }
    return facts(told)
