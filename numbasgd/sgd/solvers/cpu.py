"""The solvers of the CPU: many steps in one compiled call, and large batches, which Python looks up between.

``make_solver`` gives the one for rows that are arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numbasgd.sgd.config import Method
from numbasgd.sgd.model import breadth
from numbasgd.sgd.order import SAMPLINGS, fill_order, scatter_for
from numbasgd.sgd.rows import rows_ahead
from numbasgd.sgd.solvers import large_batch
from numbasgd.sgd.solvers.base import Solver
from numbasgd.sgd.solvers.epoch_solver import EpochSolver, is_in_order

if TYPE_CHECKING:
    from numbasgd.sgd.dataset import Dataset


class MultiSolver(EpochSolver):
    """K outputs: the same loop over steps, whose sums are matrix products."""

    may_have_help = False  # a row of K outputs takes so long that another thread would mostly wait


class LargeBatchSolver(Solver):
    """Steps over so many rows that each is made in parts, between which Python looks up: Ctrl-C, progress.

    The parts depend on the shape of the data and the batch size alone, so a step is the same whenever and
    however often it is interrupted: an unfinished one leaves no trace, and is made again.
    """

    def __init__(self, dataset: Dataset, method: Method) -> None:
        super().__init__(dataset, method)
        rows, objective, layout = dataset.rows, self.objective, self.layout
        in_order = is_in_order(method, self.n)
        self.ahead = rows_ahead(rows, in_order)
        length = 0 if in_order else large_batch.chunk_rows(self.n, layout.breadth)
        self.order = np.empty(length, objective.rows_dtype)
        self._part = large_batch.part_rows(layout.breadth)
        self._finish = large_batch.make_finish(dataset.dtype, layout.lanes, method.step, layout.is_many)
        self._sums = objective.sums(method.batch_size, self.order.dtype, self.scratch, self.scratch64)

    def _sums_at_once(self) -> tuple[tuple[int, ...], np.ndarray]:
        steps, part = (self.method.batch_size, self.n % self.method.batch_size), self._part
        return tuple(count for rows in steps for count in (min(rows, part), rows % part)), self.order

    def advance(self, end: int) -> None:
        """Make the steps up to sample number ``end``."""
        if end == self.samples:
            self._step(0, 0, self.rows.copy(), self.count.copy())
        while self.samples < end:
            start = self.samples % self.n
            stop = min(start + self.method.batch_size, self.n)
            self._step(start, stop, self.rows, self.count)

    def _step(self, start: int, stop: int, state: np.ndarray, count: np.ndarray) -> None:
        """One step over the positions start <= t < stop of an epoch."""
        method, n, order = self.method, self.n, self.order
        epoch = self.samples // n
        g = np.zeros(self.layout.length)
        draw = (SAMPLINGS[method.sampling], method.seed, epoch)
        scatter = scatter_for(order.dtype, n)
        if 0 < len(order) == n:
            fill_order(order, n, *draw, 0, scatter)
        for at in range(start, max(stop, start + 1), self._part):
            end = min(at + self._part, stop)
            if len(order) in (0, n):
                self._add(order, at, end, state, g)
            else:
                rows = order[: end - at]
                fill_order(rows, n, *draw, at, scatter)
                self._add(rows, 0, end - at, state, g)
        lr = method.lrs[method.spans.entry(epoch, start, len(method.lrs))]
        self._finish(
            g, max(stop - start, 1), (lr, *self.move()), self.samples < (method.average_from or 0),
            epoch * n + stop, (state, self.layout.size, count), self.scratch,
        )  # fmt: skip

    def _add(self, order: np.ndarray, start: int, stop: int, state: np.ndarray, g: np.ndarray) -> None:
        """g += the sum of the gradients over the positions start <= t < stop of ``order``."""
        self._sums.add(state[0], order, start, stop, self.ahead, g)


def make_solver(dataset: Dataset, method: Method) -> Solver:
    """The solver for rows that are arrays and a method."""
    outputs = dataset.outputs
    if large_batch.is_large(method.batch_size, breadth(dataset.d, outputs)):
        return LargeBatchSolver(dataset, method)
    return (MultiSolver if outputs > 1 else EpochSolver)(dataset, method)
