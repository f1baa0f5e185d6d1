"""What a sample costs at each batch size: some sizes are timed, the others follow."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

_SIZES = (1, 4, 16, 64, 512, 4096)
_EACH, _REPEATS = 3e-4, 10  # seconds of a chunk, and how often each is timed
_TINY = 1e-9  # a rate at which steps change nothing


class Clock:
    """Seconds a sample: measured at some sizes and for all rows, by logarithms between them.

    overhead, row : seconds of a step and of a row in it, fitted to the sizes below n; ``all_rows`` of a row in
    a step over all rows, which reads them in order.
    """

    def __init__(self, make: Callable[[int, float], Any], n: int, seconds: float) -> None:
        """make : (batch size, lr) -> a solver that is ready.  seconds : that may be spent."""
        self.n = n
        begin = time.perf_counter()
        sizes = [b for b in _SIZES if b <= n // 2]
        runs: dict[int, Any] = {b: make(b, _TINY) for b in (*sizes, n)}
        self.make_seconds = time.perf_counter() - begin  # compiling, mostly
        begin = time.perf_counter()
        measured, chunk = dict.fromkeys(runs, math.inf), {}
        for b, run in runs.items():
            run.go_to(max(b, min(n, 64)))
            at, then = run.samples, time.perf_counter()
            run.go_to(at + max(b, 16))
            spent = max(time.perf_counter() - then - run.entry_seconds, 1e-9 * b)
            chunk[b] = max(b, int(_EACH * (run.samples - at) / spent) // b * b)
            measured[b] = spent / (run.samples - at)
        for _ in range(_REPEATS):  # round and round, so that what disturbs one disturbs all
            for b, run in runs.items():
                if time.perf_counter() - begin > seconds:
                    break
                at, then = run.samples, time.perf_counter()
                run.go_to(at + chunk[b])
                spent = time.perf_counter() - then - run.entry_seconds
                measured[b] = max(min(measured[b], spent / (run.samples - at)), 1e-10)
        self.measured, self.all_rows = measured, measured[n]
        self.overhead, self.row = _fitted({b: measured[b] for b in sizes} or measured)

    def __call__(self, batch_size: int) -> float:
        """Seconds a sample."""
        sizes = [b for b in self.measured if b < self.n]
        if batch_size >= self.n or not sizes:
            return self.all_rows
        told = np.log([self.measured[b] for b in sizes])
        return float(np.exp(np.interp(math.log(batch_size), np.log(sizes), told)))


def _fitted(measured: dict[int, float]) -> tuple[float, float]:
    """Seconds of a step and of a row in it, least relative squares."""
    b, y = np.array(list(measured), np.float64), np.array(list(measured.values()))
    if len(b) == 1:
        return 0.0, float(y[0])
    design = np.stack([1 / b, np.ones_like(b)], axis=1) / y[:, None]
    step, row = np.linalg.lstsq(design, np.ones_like(y), rcond=None)[0]
    return max(float(step), 0.0), max(float(row), 1e-12)
