"""A step over so many rows that it is made in parts, between which Python looks up: Ctrl-C, progress.

The parts depend on the shape of the data and the batch size alone, so a step is the same whenever and
however often it is interrupted: an unfinished one leaves no trace, and is made again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.sgd.order import SAMPLINGS, WINDOW, fill_order, scatter_for
from numbasgd.sgd.rows import CHUNK
from numbasgd.sgd.solvers import multi, reduce
from numbasgd.sgd.solvers.operands import StepParams, Weights
from numbasgd.sgd.solvers.update import Step, make_apply, restart_mean
from numbasgd.simd.vector import pointer

if TYPE_CHECKING:
    from numbasgd.sgd.trainer import Run

ENTRIES = 1 << 22  # of X in a part; a row counts for 8 more


def is_large(batch_size: int, d: int) -> bool:
    """Whether a step is made in parts: where several threads gain more than Python costs."""
    return batch_size * (d + 8) > ENTRIES // 2


def part_rows(d: int) -> int:
    """Rows of a part, whole chunks where there is a choice."""
    rows = max(1, ENTRIES // (d + 8))
    return rows if rows < CHUNK else rows // CHUNK * CHUNK


def window_rows(n: int, d: int) -> int:
    """Rows of an epoch that are drawn at once; up to ``WINDOW`` an order must be drawn whole."""
    return n if n <= WINDOW else min(n, part_rows(d))


@functools.cache
def make_finish(dtype: np.dtype, lanes: int, step: Step, has_outputs: bool) -> Callable[..., Any]:
    """What ends a step; contracts in ``epoch.py``, and in ``multi.py`` for ``has_outputs``."""
    T: Any = dtype.type
    apply = make_apply(step, lanes, T, has_outputs)

    @jit(variant=f"{dtype.name}_{lanes}_{step}" + "_outputs" * has_outputs)
    def finish(g, n_rows, params, is_early, samples, state, work):
        """The step with the sum ``g`` over ``n_rows`` rows; weights and counts change together.

        params : (lr, momentum, l2, l1, intercept).  state : (state, size, count).
        """
        memory, size, count = state
        row = memory.shape[1]
        for j in range(row):
            work[j] = T(g[j])
        weights = Weights(pointer(memory, 0), size, pointer(count, 0), row)
        lr, momentum, l2, l1, with_b = params
        apply(weights, 0, pointer(work, 0), None, n_rows, StepParams(n_rows, lr, momentum, l2, l1, with_b))
        if is_early:
            restart_mean(weights)
        count[1] = samples

    return finish


class LargeBatchSteps:
    """Makes the steps of a run in parts; stands for the kernel that makes many steps in one call."""

    def __init__(self, run: Run) -> None:
        self.run = run
        problem, rows, step = run.problem, run.problem.rows, run.method.step
        self._part = part_rows(run.layout.breadth)
        self._finish = make_finish(problem.y.dtype, run.layout.lanes, step, run.layout.is_many)
        self._sums: multi.Sums | reduce.Parts
        if run.layout.is_many:
            self._sums = multi.Sums(problem, run.work, run.wide)
        else:
            n_threads = reduce.workers(problem.threads, run.method.batch_size, rows.d)
            dtype = run.windows.rows.dtype
            self._sums = reduce.Parts(problem.loss, rows, problem.y, problem.s, dtype, n_threads)

    def advance(self, end: int) -> None:
        """The steps up to sample number ``end``; none, but everything compiled, where that is now."""
        run = self.run
        if end == run.samples:
            self._step(run.windows.rows[0], 0, 0, run.state.copy(), run.count.copy())
        while run.samples < end:
            start = run.samples % run.n
            stop = min(start + run.method.batch_size, run.n)
            self._step(run.windows.rows[0], start, stop, run.state, run.count)

    def _step(self, window: np.ndarray, start: int, stop: int, state: np.ndarray, count: np.ndarray) -> None:
        """One step over the positions start <= t < stop of an epoch."""
        run, method, n = self.run, self.run.method, self.run.n
        T = state.dtype.type
        epoch = run.samples // n
        g = np.zeros(run.layout.length)
        draw = (SAMPLINGS[method.sampling], method.seed, epoch)
        scatter = scatter_for(window.dtype, n)
        if 0 < len(window) == n:
            fill_order(window, n, *draw, 0, scatter)
        for at in range(start, max(stop, start + 1), self._part):
            end = min(at + self._part, stop)
            if len(window) in (0, n):
                self._add(window, at, end, state, g)
            else:
                rows = window[: end - at]
                fill_order(rows, n, *draw, at, scatter)
                self._add(rows, 0, end - at, state, g)
        lr = method.lrs[min(epoch, len(method.lrs) - 1)]
        self._finish(
            g, max(stop - start, 1), (lr, T(method.momentum), T(method.l2), T(method.l1), method.intercept),
            run.samples < (method.average_from or 0), epoch * n + stop, (state, run.layout.size, count),
            run.work,
        )  # fmt: skip

    def _add(self, order: np.ndarray, start: int, stop: int, state: np.ndarray, g: np.ndarray) -> None:
        """g += the sum of the gradients over the positions start <= t < stop of ``order``."""
        self._sums.add(state[0], order, start, stop, self.run.ahead, g)
