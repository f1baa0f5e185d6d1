"""Google Benchmark's JSON, as ``--benchmark_out=FILE --benchmark_out_format=json`` writes it.

An entry is either one repetition (``run_type`` "iteration": the mean time of so many iterations) or an
aggregate of all repetitions of a benchmark, which shares its ``run_name``.  The repetitions are the rounds of a
case; where a file has aggregates alone, median and standard deviation stand for them.  Times are ``real_time``,
which is what a benchmark timed by hand where it did.
https://github.com/google/benchmark/blob/main/docs/user_guide.md#output-formats
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from numbasgd.compare.formats.times import facts, is_plausible, quartiles, result_file
from numbasgd.compare.results import Case, ResultFile
from numbasgd.json_values import mapping, number, sequence, text

SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
AGGREGATES = ("mean", "median", "stddev")
TO_QUARTILE = 0.6745  # standard deviations from the middle of a normal distribution to a quartile


def is_one(document: dict[str, Any]) -> bool:
    """Whether it has a context; no other tool calls it so."""
    return isinstance(document.get("context"), dict)


def read(name: str, document: dict[str, Any]) -> ResultFile:
    """The file's cases under their run names."""
    context = document["context"]
    benchmarks = _benchmarks([mapping(entry) for entry in document["benchmarks"]])
    found = [benchmark.case() for benchmark in benchmarks.values()]
    return result_file(
        name,
        found,
        fingerprint=None,
        platform=_platform(context),
        datetime=text(context.get("date")),
        remarks=tuple(_remarks(context, [case for case in found if isinstance(case, Case)])),
    )


@dataclass
class _Benchmark:
    """What the entries of one benchmark say.

    times, aggregates : seconds; a time of None is one that cannot be understood.  repetitions : how many the
    aggregates are of.  failure : why it has no times to be used.
    """

    name: str
    times: list[float | None] = field(default_factory=list)
    aggregates: dict[str, float | None] = field(default_factory=dict)
    repetitions: int = 0
    failure: str | None = None

    def case(self) -> Case | str:
        """The case, or a sentence on why it is left out."""
        if self.failure:
            return f"{self.name}: {self.failure}"
        times = [time for time in self.times if time is not None and is_plausible(time)]
        if len(times) < len(self.times):
            wrong = f"{len(self.times) - len(times)} of its {len(self.times)} times"
            return f"{self.name}: {wrong} cannot be used; expected above 0, in {', '.join(SECONDS)}"
        if times:
            q1, q3 = quartiles(times)
            return self._case(statistics.median(times), q1, q3, len(times))
        middle = self.aggregates.get("median") or self.aggregates.get("mean")
        if middle is None or not is_plausible(middle):
            return f"{self.name}: it has neither repetitions nor their median or mean as a time"
        away = TO_QUARTILE * (self.aggregates.get("stddev") or 0.0)
        if not 0 < away < middle:
            return self._case(middle, None, None, self.repetitions)
        return self._case(middle, middle - away, middle + away, self.repetitions)

    def _case(self, median: float, q1: float | None, q3: float | None, rounds: int) -> Case:
        family, is_one_of_several, _ = self.name.partition("/")
        return Case(
            self.name,
            median,
            q1,
            q3,
            rounds,
            case=self.name,
            ladder=family if is_one_of_several else "",
        )


def _benchmarks(entries: list[dict[str, Any]]) -> dict[str, _Benchmark]:
    """The entries together by run name; fits of a complexity are none of them."""
    names = {text(entry.get("name")) for entry in entries}
    found: dict[str, _Benchmark] = {}
    for place, entry in enumerate(entries, 1):
        name, aggregate = _name(entry, names, place)
        if aggregate is not None and aggregate not in AGGREGATES:
            continue
        benchmark = found.setdefault(name, _Benchmark(name))
        benchmark.failure = benchmark.failure or _failure(entry)
        time, unit = number(entry.get("real_time")), SECONDS.get(str(entry.get("time_unit", "ns")))
        seconds = None if time is None or unit is None else time * unit
        if aggregate is None:
            benchmark.times.append(seconds)
        else:
            benchmark.aggregates[aggregate] = seconds
            benchmark.repetitions = int(number(entry.get("repetitions", entry.get("iterations"))) or 0)
    return found


def _name(entry: dict[str, Any], names: set[str | None], place: int) -> tuple[str, str | None]:
    """The benchmark that the entry belongs to, and which aggregate it is, None for a repetition.

    Before version 1.5 an aggregate was told by the end of its name alone.
    """
    name = text(entry.get("name")) or f"benchmark number {place}"
    run_name = text(entry.get("run_name")) or name
    if "run_type" in entry:
        is_aggregate = entry["run_type"] == "aggregate"
        return run_name, (text(entry.get("aggregate_name")) or "unknown") if is_aggregate else None
    start, _, end = name.rpartition("_")
    is_aggregate = end in (*AGGREGATES, "BigO", "RMS") and (
        start in names or {f"{start}_{aggregate}" for aggregate in AGGREGATES} <= names
    )
    return (start, end) if is_aggregate else (run_name, None)


def _failure(entry: dict[str, Any]) -> str | None:
    """Why the benchmark did not run to its end."""
    if entry.get("error_occurred"):
        return f"it failed ({text(entry.get('error_message')) or 'no message'})"
    if entry.get("skipped"):
        return f"it was skipped ({text(entry.get('skip_message')) or 'no message'})"
    return None


def _remarks(context: dict[str, Any], cases: list[Case]) -> Iterator[str]:
    if once := sum(case.rounds == 1 for case in cases):
        yield (
            f"{once} of its {len(cases)} cases were measured once, so nothing can be told of their noise; run "
            "with --benchmark_repetitions=10"
        )
    if context.get("library_build_type") == "debug":
        yield "its Google Benchmark library was a debug build, which adds to every time"
    if context.get("cpu_scaling_enabled") is True:
        yield "the CPU's frequency was free to change (cpu_scaling_enabled)"


def _platform(context: dict[str, Any]) -> dict[str, str]:
    """What the context says of a machine, under our names; its ``host_name`` is never taken."""
    caches = [mapping(cache) for cache in sequence(context.get("caches"))]
    told = {
        f"cpu.caches.L{cache.get('level')} {text(cache.get('type'))}": cache.get("size")
        for cache in caches
        if isinstance(cache.get("level"), int) and text(cache.get("type"))
    }
    mhz = number(context.get("mhz_per_cpu"))
    return facts(
        {
            "cpu.cores": context.get("num_cpus"),
            "cpu.mhz": mhz and round(mhz),
            **told,
            "versions.google-benchmark": context.get("library_version"),
        }
    )
