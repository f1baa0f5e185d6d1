"""Find the caches in a sweep: the working sets at which a load begins to take longer.

The latency of a load is a staircase over the working set, a step up for each cache that the set outgrows.
The steps are soft: which lines a cache keeps is the hardware's choice, pages may fall badly on its sets, and
other programs use a shared cache.  So the curve is cut into plateaus where a staircase fits it best, and a
cache ends where the latency has gone a part of the way from its plateau to the next.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

RISE = 0.5  # of the way up, in the logarithm, at which a cache counts as outgrown
LEAST_STEP = 1.3  # a smaller step is none


def edges(sizes: Sequence[int], latencies: Sequence[float], n_caches: int = 3) -> list[int]:
    """The sizes in bytes of at most ``n_caches`` caches, each one of ``sizes``, ascending.

    sizes : working sets, ascending, evenly spread in the logarithm.  latencies : of a load, one each.
    """
    # A larger set is never faster: what is above a later point is noise.
    curve = [math.log(latency) for latency in latencies]
    for i in range(len(curve) - 2, -1, -1):
        curve[i] = min(curve[i], curve[i + 1])
    plateaus = _staircase(curve, n_caches + 1)
    found = []
    for (begin, middle), (_, end) in zip(plateaus, plateaus[1:], strict=False):
        # The foot and the head: where a step is soft, a plateau's range holds a part of the slope as well.
        low, high = _quantile(curve[begin:middle], 0.25), _quantile(curve[middle:end], 0.75)
        within = [i for i in range(begin, end) if curve[i] <= low + RISE * (high - low)]
        found.append(sizes[within[-1]])
    return found


def _staircase(curve: Sequence[float], n_steps: int) -> list[tuple[int, int]]:
    """The best fit by at most ``n_steps`` constants, as ranges; least squares by dynamic programming."""
    n = len(curve)
    sums, squares = [0.0], [0.0]
    for value in curve:
        sums.append(sums[-1] + value)
        squares.append(squares[-1] + value * value)

    def misfit(begin: int, end: int) -> float:
        return squares[end] - squares[begin] - (sums[end] - sums[begin]) ** 2 / (end - begin)

    n_steps = max(1, min(n_steps, n // 2))
    best = [[math.inf] * (n + 1) for _ in range(n_steps + 1)]
    cut = [[0] * (n + 1) for _ in range(n_steps + 1)]
    best[0][0] = 0.0
    for step in range(1, n_steps + 1):
        for end in range(2 * step, n + 1):
            for begin in range(2 * (step - 1), end - 1):  # two points at least
                total = best[step - 1][begin] + misfit(begin, end)
                if total < best[step][end]:
                    best[step][end], cut[step][end] = total, begin
    ranges, end = [], n
    for step in range(n_steps, 0, -1):
        ranges.append((cut[step][end], end))
        end = cut[step][end]
    return _merged(curve, ranges[::-1])


def _quantile(ascending: Sequence[float], share: float) -> float:
    return ascending[round(share * (len(ascending) - 1))]


def _merged(curve: Sequence[float], ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Neighbours that are hardly apart become one, the closest first."""
    while len(ranges) > 1:
        middles = [statistics.median(curve[begin:end]) for begin, end in ranges]
        rises = [after - before for before, after in zip(middles, middles[1:], strict=False)]
        closest = min(range(len(rises)), key=rises.__getitem__)
        if rises[closest] >= math.log(LEAST_STEP):
            break
        ranges[closest : closest + 2] = [(ranges[closest][0], ranges[closest + 1][1])]
    return ranges


def sizes(
    latency: Sequence[Mapping[str, Any]], read: Sequence[Mapping[str, Any]], n_caches: int = 3
) -> list[int]:
    """The sizes of the caches, by latency and by bandwidth.

    Latency shows the small caches sharply.  The last one is shared: what others keep in it delays a walk at
    random long before it slows a read in order.  So where the bandwidth falls only later, that counts: a
    cache can look smaller than it is, not larger.
    """
    found = edges([p["bytes"] for p in latency], [p["low"] for p in latency], n_caches)
    by_read = edges([p["bytes"] for p in read], [1 / p["high"] for p in read], n_caches)
    # A step at the very end of the sweep is a slow moment: memory is there for more than an octave.
    beyond = [edge for edge in by_read if found and found[-1] < edge < read[-1]["bytes"] / 2.5]
    if beyond and len(found) == n_caches:
        found[-1] = beyond[-1]
    elif beyond and beyond[-1] > 2 * found[-1]:
        found.append(beyond[-1])
    return found


def levels(
    latency: Sequence[Mapping[str, Any]], read: Sequence[Mapping[str, Any]], read_all: float, n_caches: int = 3
) -> list[dict[str, Any]]:
    """Each cache with its size, one thread's read bandwidth and latency, and last the memory.

    latency, read : points with "bytes", "value", "low" and "high", ascending in bytes.  Sizes are found in
    the fastest rounds.  A level's figures are those of working sets clearly inside it: the median bandwidth,
    and the lower quartile of the latency, which near the end of a shared cache is partly that beyond.
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
