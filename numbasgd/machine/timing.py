"""How a command times a call: warm-up first, enough rounds, the median with its quartiles.

The benches under ``bench/`` use pytest-benchmark's clock and the same plan of rounds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from numbasgd.machine.blas import one_thread as one_blas_thread

__all__ = ["Timing", "aligned", "duration", "elapsed", "one_blas_thread", "plan", "time_call", "time_together"]

PAGE = 4096
ROUND = 2e-4  # seconds a round lasts at least, so that reading the clock costs less than a thousandth
MAX_ROUNDS = 500
_FIRST_SIGHT = 0.1  # seconds of a call from which on one before the rounds is enough to plan them
_SHORT = 0.01  # seconds of a call up to which each round begins with one that is not timed


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: the median and the quartiles over rounds.

    first : seconds of the very first call, which compiles or loads compiled code.
    rounds, calls : rounds timed, and calls averaged within each.
    """

    median: float
    q1: float
    q3: float
    rounds: int
    calls: int
    first: float

    @property
    def relative_iqr(self) -> float:
        """The interquartile range as a share of the median."""
        return (self.q3 - self.q1) / self.median


def plan(once: float, seconds: float, min_rounds: int) -> tuple[int, int]:
    """Rounds, and calls within a round, that fill ``seconds`` with a call that takes ``once`` seconds."""
    once = max(once, 1e-9)
    calls = max(1, math.ceil(ROUND / once))
    rounds = math.floor(seconds / (calls * once))
    return max(min_rounds, min(rounds, MAX_ROUNDS)), calls


def duration(once: float, seconds: float, min_rounds: int) -> float:
    """The seconds that ``time_together`` takes for a call of ``once`` seconds."""
    rounds, calls = plan(once, seconds, min_rounds)
    before = 3 if once <= _FIRST_SIGHT else 2
    return once * (before + rounds * (calls + (once < _SHORT)))


def aligned(values: np.ndarray) -> np.ndarray:
    """A C-ordered copy that begins at a page, so that the address of its memory changes no time.

    NumPy begins an array at any multiple of 16 bytes.  Depending on it, rows straddle cache lines and pages,
    and the same kernel takes up to twice as long from one process to the next.
    """
    buffer = np.empty(values.nbytes + PAGE, np.uint8)
    start = -buffer.ctypes.data % PAGE
    copy = buffer[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy


def elapsed(func: Callable[[], Any], calls: int = 1) -> float:
    """Seconds of one call of ``func()``, the mean over ``calls`` that follow each other."""
    start = perf_counter()
    for _ in range(calls):
        func()
    return (perf_counter() - start) / calls


def time_call(func: Callable[[], Any], *, seconds: float = 0.5, min_rounds: int = 5) -> Timing:
    """Time ``func()``, for about ``seconds`` but at least ``min_rounds`` rounds."""
    return time_together({"": func}, seconds=seconds, min_rounds=min_rounds)[""]


def time_together(
    funcs: Mapping[str, Callable[[], Any]], *, seconds: float = 0.5, min_rounds: int = 5
) -> dict[str, Timing]:
    """Time several calls that are to be compared, about ``seconds`` each.

    Their rounds are interleaved, so that a machine that slows down half-way slows all of them.  A round begins
    with a call that is not timed, which loads into cache what the others evicted.
    """
    first = {name: elapsed(func) for name, func in funcs.items()}
    once = {name: elapsed(func) for name, func in funcs.items()}
    once = {name: t if t > _FIRST_SIGHT else min(t, elapsed(funcs[name])) for name, t in once.items()}
    plans = {name: plan(once[name], seconds, min_rounds) for name in funcs}
    taken: dict[str, list[float]] = {name: [] for name in funcs}
    n_turns = max((rounds for rounds, _ in plans.values()), default=0)
    for turn in range(n_turns):
        for name, func in funcs.items():
            rounds, calls = plans[name]
            # A slow call has few rounds: distribute them evenly over the turns.
            if (turn + 1) * rounds // n_turns == turn * rounds // n_turns:
                continue
            if once[name] < _SHORT:
                func()
            taken[name].append(elapsed(func, calls))
    return {name: _summary(taken[name], plans[name][1], first[name]) for name in funcs}


def _summary(taken: list[float], calls: int, first: float) -> Timing:
    quartiles = statistics.quantiles(taken, n=4, method="inclusive") if len(taken) > 1 else taken * 3
    return Timing(quartiles[1], quartiles[0], quartiles[2], len(taken), calls, first)
