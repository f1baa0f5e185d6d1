"""The roofline model: the least time that a machine's measured limits allow for a piece of work.

Work of ``flop`` operations on ``bytes`` of compulsory traffic runs at no more than min(peak, intensity x
bandwidth), where intensity = flop / bytes, so in no less than max(flop / peak, bytes / bandwidth) seconds
(Williams, Waterman and Patterson, 2009, Communications of the ACM 52(4)).  The peak is that of fused
multiply-adds in the same dtype on as many threads; the bandwidth is that of reads from the smallest level
that holds the bytes.  Limits are measured by ``numbasgd.machine.peaks`` and come from
``machine_info["numbasgd"]["limits"]`` of a result file.  Nothing is read or printed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from numbasgd.json_values import mapping, number, sequence, text

SCHEMA = 1
DTYPES = ("float32", "float64")
THREADS = ("one", "all")


@dataclass(frozen=True)
class Ceiling:
    """A measured limit (GFLOP/s or GB/s) and the quartiles of its measurements, None where unknown."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Level:
    """A level of the memory hierarchy.

    size : the bytes it holds, None for memory, which holds all.  read : GB/s by ``threads``, as far as known.
    """

    name: str
    size: float | None
    read: Mapping[str, Ceiling]


@dataclass(frozen=True)
class Limits:
    """A machine's limits: FMA peaks by (dtype, threads) in GFLOP/s, and the levels, the smallest first."""

    fma: Mapping[tuple[str, str], Ceiling]
    levels: tuple[Level, ...]

    def peak(self, dtype: str | None, threads: str | None) -> Ceiling | None:
        """The FMA peak that such work could reach."""
        return self.fma.get((dtype or "", threads or ""))

    def level(self, size: float) -> Level | None:
        """The smallest level that holds ``size`` bytes."""
        return next((level for level in self.levels if level.size is None or size <= level.size), None)


@dataclass(frozen=True)
class Bound:
    """The least time in seconds, the name of the limit that sets it ("FMA" or a level), and that limit."""

    seconds: float
    name: str
    ceiling: Ceiling


def limits_of(block: Any) -> Limits | None:
    """The limits as they stand in a file, or None where there are none that this version understands."""
    block = mapping(block)
    schema = number(block.get("schema"))
    if schema is None or schema > SCHEMA:
        return None
    has_threads = number(block.get("threads")) != 1
    fma = {}
    for dtype in DTYPES:
        measured = mapping(mapping(block.get("fma")).get(dtype))
        for threads in THREADS:
            ceiling = _ceiling(measured.get(threads))
            if ceiling and not (threads == "all" and has_threads and _is_copy(measured)):
                fma[dtype, threads] = ceiling
    levels = [level for level in map(_level, sequence(block.get("levels"))) if level]
    read = mapping(mapping(block.get("bandwidth")).get("read"))
    ends = {threads: mapping((sequence(read.get(threads)) or [None])[-1]) for threads in THREADS}
    if has_threads and _is_copy(ends):
        levels = [
            replace(level, read={key: value for key, value in level.read.items() if key != "all"})
            for level in levels
        ]
    levels.sort(key=lambda level: float("inf") if level.size is None else level.size)
    return Limits(fma, tuple(levels)) if fma or levels else None


def fma_bound(limits: Limits, *, flop: float | None, dtype: str | None, threads: str | None) -> Bound | None:
    """The time that the operations alone need at the FMA peak."""
    peak = limits.peak(dtype, threads)
    return Bound(flop / peak.value / 1e9, "FMA", peak) if peak and flop else None


def roofline_bound(
    limits: Limits,
    *,
    flop: float | None,
    bytes: float | None,
    dtype: str | None,
    threads: str | None,
    working_set: float | None = None,
) -> Bound | None:
    """The time that operations and traffic need at least, None where a limit that could matter is unknown.

    Work of no operations is bounded by its traffic.  ``working_set`` is what a level must hold, the bytes
    themselves where left out.  On all threads only memory's bandwidth is measured; a cache is at least as
    fast, so the peak still bounds work that memory could feed.
    """
    compute = fma_bound(limits, flop=flop, dtype=dtype, threads=threads)
    if not bytes or (flop and compute is None):
        return None
    level = limits.level(working_set or bytes)
    if level is None:
        return None
    traffic = _traffic(level, bytes, threads)
    if traffic is None:
        slowest = _traffic(limits.levels[-1], bytes, threads)
        return compute if compute and slowest and slowest.seconds <= compute.seconds else None
    return traffic if compute is None or traffic.seconds > compute.seconds else compute


def shares(info: Mapping[str, Any], seconds: float, limits: Any) -> dict[str, float]:
    """``peak_share`` and ``roofline_share`` of a case on the CPU, as far as its work and limits are known.

    info : what a case says of itself: "flop", "bytes" and "working_set" of a call, "dtype", "threads" ("one" or
    "all"), and "device", "cpu" if left out.  limits : as they stand in a file.
    """
    known = limits_of(limits)
    if known is None or info.get("device", "cpu") != "cpu" or not seconds > 0:
        return {}
    flop, n_bytes, working_set = (number(info.get(key)) for key in ("flop", "bytes", "working_set"))
    dtype, threads = text(info.get("dtype")), text(info.get("threads"))
    found = {
        "peak_share": fma_bound(known, flop=flop, dtype=dtype, threads=threads),
        "roofline_share": roofline_bound(
            known, flop=flop, bytes=n_bytes, dtype=dtype, threads=threads, working_set=working_set
        ),
    }
    return {name: bound.seconds / seconds for name, bound in found.items() if bound is not None}


def _traffic(level: Level, size: float, threads: str | None) -> Bound | None:
    read = level.read.get(threads or "")
    return Bound(size / read.value / 1e9, level.name, read) if read else None


def _level(value: Any) -> Level | None:
    value = mapping(value)
    name, size = text(value.get("name")), number(value.get("bytes"))
    read = {
        threads: ceiling
        for threads, key in (("one", "read"), ("all", "read_all"))
        if (ceiling := _ceiling(value.get(key)))
    }
    if not name or (value.get("bytes") is not None and not (size and size > 0)):
        return None
    return Level(name, size, read)


def _is_copy(measured: Mapping[str, Any]) -> bool:
    """Whether the limit of all threads is that of one.

    Earlier versions wrote it where all threads together were slower than one alone, as on a busy machine.  Two
    measurements agree in all of value, low and high only if one was copied.
    """
    one, of_all = (_ceiling(measured.get(threads)) for threads in THREADS)
    return one is not None and one == of_all and one.low is not None and one.low < one.value


def _ceiling(value: Any) -> Ceiling | None:
    """A plain number, or an object of value, low and high."""
    inside = value if isinstance(value, dict) else {"value": value}
    middle, low, high = (number(inside.get(key)) for key in ("value", "low", "high"))
    if middle is None or not 1e-9 < middle < 1e12:
        return None
    if low is None or high is None or not 0 < low <= middle <= high < 1e12:
        return Ceiling(middle)
    return Ceiling(middle, low, high)
