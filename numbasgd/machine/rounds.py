"""How a limit is measured on a shared machine: probes interleaved, the fastest quarter of the rounds taken.

Other programs can slow a round down and never speed it up.  So the value is the median of the fastest quarter
of all rounds, which a few outliers on either side do not move; the lower quartile shows how far the slower
rounds fell short.  The probes are interleaved: each is measured in several turns, so that a slow second of the
machine affects one turn of each and not all rounds of one.
"""

from __future__ import annotations

import math
import statistics
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple

MOST_REPEATS = 1 << 30


@dataclass
class Probe:
    """Work that can be repeated.

    call : ``call(n)`` does the work ``n`` times.  work : of one time, in the unit of the rate: operations,
    bytes, loads.  prepare : called before each turn, or None.  rates : work per second of each round, filled in
    by ``interleave``.
    """

    call: Callable[[int], Any]
    work: float
    prepare: Callable[[], Any] | None = None
    repeats: int = 0
    rates: list[float] = field(default_factory=list)


class Effort(NamedTuple):
    """How long to measure.

    n_turns : turns of each probe, of ``rounds`` rounds.  least : seconds that a round lasts at least.
    seconds : a time limit, after which only the first turn of each probe is still made.
    """

    n_turns: int
    rounds: int
    least: float
    seconds: float


def interleave(probes: Iterable[Probe], effort: Effort) -> None:
    """Time all probes: a turn of each, then the next turn of each."""
    probes = list(probes)
    end = perf_counter() + effort.seconds
    for turn in range(effort.n_turns):
        for probe in probes:
            if turn and perf_counter() > end:
                return
            if probe.prepare is not None:
                probe.prepare()
            if probe.repeats:
                probe.call(1)  # loads into cache what the other probes evicted
            else:
                probe.repeats = _repeats(probe.call, effort.least)
            for _ in range(effort.rounds):
                probe.rates.append(probe.work * probe.repeats / _seconds(probe.call, probe.repeats))


def concurrent(
    n_threads: int, make: Callable[[int], Callable[[int], Any]], work: float, repeats: int, rounds: int
) -> list[float]:
    """Rates of ``n_threads`` threads that start each round at once; ``work`` is that of one repeat of all.

    make : ``make(i)`` gives the i-th thread's call.  It runs in that thread, so that the memory which it
    touches first is allocated near its core.  A round lasts from the first start to the last end.
    """
    gate = threading.Barrier(n_threads)

    def one(i: int) -> list[tuple[float, float]]:
        try:
            call = make(i)
            call(1)
            times = []
            for _ in range(rounds + 1):
                gate.wait()
                start = perf_counter()
                call(repeats)
                times.append((start, perf_counter()))
        except BaseException:
            gate.abort()  # or the others wait for ever
            raise
        return times[1:]

    with ThreadPoolExecutor(n_threads) as pool:
        each = list(pool.map(one, range(n_threads)))
    return [
        work * repeats / (max(end for _, end in times) - min(start for start, _ in times))
        for times in zip(*each, strict=True)
    ]


def limit(rates: Iterable[float], scale: float = 1.0) -> dict[str, float]:
    """The limit from rates of rounds: the median of the fastest quarter, the lower quartile, the fastest."""
    ordered = sorted((rate * scale for rate in rates), reverse=True)
    quarter = ordered[: max(1, len(ordered) // 4)]
    return {
        "value": _digits(statistics.median(quarter)),
        "low": _digits(ordered[math.ceil(0.75 * (len(ordered) - 1))]),
        "high": _digits(ordered[0]),
    }


def time_limit(rates: Iterable[float], scale: float = 1.0) -> dict[str, float]:
    """The same as the time of one repeat: the value, the fastest, the upper quartile."""
    found = limit(rates)
    return {
        "value": _digits(scale / found["value"]),
        "low": _digits(scale / found["high"]),
        "high": _digits(scale / found["low"]),
    }


def _repeats(call: Callable[[int], Any], least: float) -> int:
    """How often to repeat so that a round lasts ``least`` seconds."""
    call(1)  # compiles
    repeats = 1
    while (taken := _seconds(call, repeats)) < least / 4 and repeats < MOST_REPEATS:
        repeats *= 4
    return max(1, min(math.ceil(repeats * least / max(taken, 1e-9)), MOST_REPEATS))


def _seconds(call: Callable[[int], Any], repeats: int) -> float:
    start = perf_counter()
    call(repeats)
    return max(perf_counter() - start, 1e-9)


def _digits(value: float) -> float:
    """Four significant digits: more would be noise in a file."""
    return float(f"{value:.4g}")
