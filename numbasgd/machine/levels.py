"""Find the caches in a sweep: the working sets at which a load begins to take longer.

The latency of a load is a staircase over the working set, a step up for each cache that the set outgrows.
The steps are gradual: the replacement policy is the hardware's, pages may conflict in its sets, and other
programs use a shared cache.  Between the steps the curve is flat.  So its longest flat stretches are taken for
the caches and the memory, and a cache ends where the latency is half way from its stretch to the next: where
half of the loads miss it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

FLAT = 1.3  # highest over lowest within a flat stretch
SHORTEST = 0.7  # octaves of one
LEAST_STEP = 1.3  # a smaller step is none


def edges(sizes: Sequence[int], latencies: Sequence[float], n_caches: int = 3) -> list[int]:
    """The sizes in bytes of at most ``n_caches`` caches, each one of ``sizes``, ascending.

    sizes : working sets, ascending, evenly spaced in the logarithm.  latencies : of a load, one each.
    """
    curve = _ascending([math.log(latency) for latency in latencies])
    stretches = _stretches([math.log2(size) for size in sizes], curve)
    stairs = _merged(curve, stretches)
    # A stretch too many is a gentle slope, or part of the last cache, which other programs fill now and then.
    octaves = [math.log2(sizes[end - 1] / sizes[begin]) for begin, end in stairs]
    slopes = sorted((length, i) for i, length in enumerate(octaves[:-1]) if 0 < i and length < 1)
    for _, i in sorted(slopes[: max(0, len(stairs) - n_caches - 1)], reverse=True, key=lambda slope: slope[1]):
        del stairs[i]
    del stairs[n_caches:-1]
    heights = [math.exp(statistics.median(curve[begin:end])) for begin, end in stairs]
    halves = [math.log((low + high) / 2) for low, high in zip(heights, heights[1:], strict=False)]
    return [max(size for size, y in zip(sizes, curve, strict=True) if y <= half) for half in halves]


def _ascending(curve: Sequence[float]) -> list[float]:
    """The curve without points above a later one: a larger set is never faster, so such points are noise."""
    return list(accumulate(reversed(curve), min))[::-1]


def _stretches(octaves: Sequence[float], curve: Sequence[float]) -> list[tuple[int, int]]:
    """The longest flat range, and in turn those to its left and right; ranges of points, ascending."""
    best, begin = (0, 0), 0
    for end in range(1, len(curve) + 1):
        while curve[end - 1] - curve[begin] > math.log(FLAT):
            begin += 1
        if end == 1 or octaves[end - 1] - octaves[begin] > octaves[best[1] - 1] - octaves[best[0]]:
            best = begin, end
    low, high = best
    if not curve or octaves[high - 1] - octaves[low] < SHORTEST:
        return []
    after = _stretches(octaves[high:], curve[high:])
    return [
        *_stretches(octaves[:low], curve[:low]), best, *((high + begin, high + end) for begin, end in after)
    ]  # fmt: skip


def _merged(curve: Sequence[float], ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Neighbouring stretches of nearly one height become one, the closest first."""
    while len(ranges) > 1:
        middles = [statistics.median(curve[begin:end]) for begin, end in ranges]
        rises = [after - before for before, after in zip(middles, middles[1:], strict=False)]
        closest = min(range(len(rises)), key=rises.__getitem__)
        if rises[closest] >= math.log(LEAST_STEP):
            break
        ranges[closest : closest + 2] = [(ranges[closest][0], ranges[closest + 1][1])]
    return ranges


def _quantile(ascending: Sequence[float], share: float) -> float:
    return ascending[round(share * (len(ascending) - 1))]


def sizes(
    latency: Sequence[Mapping[str, Any]], read: Sequence[Mapping[str, Any]], n_caches: int = 3
) -> list[int]:
    """The sizes of the caches, by latency and by bandwidth.

    Latency shows the small caches sharply.  The last one is shared: the lines of other programs in it delay a
    random walk long before they slow a sequential read.  So where the bandwidth falls at a larger set, that one
    counts: a cache can look smaller than it is, not larger.
    """
    found = edges([p["bytes"] for p in latency], [p["low"] for p in latency], n_caches)
    by_read = edges([p["bytes"] for p in read], [1 / p["high"] for p in read], n_caches)
    # A step at the very end of the sweep is noise: memory takes more than an octave of it.
    beyond = [edge for edge in by_read if found and found[-1] < edge < read[-1]["bytes"] / 2.5]
    if beyond and len(found) == n_caches:
        found[-1] = beyond[-1]
    elif beyond and beyond[-1] > 2 * found[-1]:
        found.append(beyond[-1])
    return found


def levels(
    latency: Sequence[Mapping[str, Any]],
    read: Sequence[Mapping[str, Any]],
    read_all: float | None,
    n_caches: int = 3,
) -> list[dict[str, Any]]:
    """Each cache with its size, one thread's read bandwidth and latency, and last the memory.

    latency, read : points with "bytes", "value", "low" and "high", ascending in bytes.  read_all : what all
    threads read from memory, None where that is unknown.

    Sizes are found in the fastest rounds.  A level's figures are those of working sets clearly inside it: the
    median bandwidth, and the lower quartile of the latency, which near the end of a shared cache is partly
    that beyond.
    """
    found = sizes(latency, read, n_caches)
    result: list[dict[str, Any]] = []
    for i, (inner, size) in enumerate(zip([0, *found], [*found, None], strict=True)):
        of_level: dict[str, Any] = {"name": "memory" if size is None else f"L{i + 1}", "bytes": size}
        of_level["read"] = statistics.median_low(_inside(read, inner, size))
        if size is None:
            of_level["read_all"] = read_all
        result.append({**of_level, "latency": _quantile(sorted(_inside(latency, inner, size)), 0.25)})
    return result


def _inside(points: Sequence[Mapping[str, Any]], inner: int, outer: int | None) -> list[float]:
    """The values of the points well inside; of the nearest to the middle where there is none."""
    last = points[-1]["bytes"]
    chosen = [
        p["value"]
        for p in points
        if 2 * inner < p["bytes"] and (p["bytes"] <= 0.75 * outer if outer else p["bytes"] >= last / 2)
    ]
    middle = math.sqrt(max(inner, points[0]["bytes"]) * (outer or last))
    return chosen or [min(points, key=lambda p: abs(math.log(p["bytes"] / middle)))["value"]]
