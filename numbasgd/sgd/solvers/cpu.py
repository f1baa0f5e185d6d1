"""The solvers of the CPU: many steps in one compiled call, and large batches, which Python looks up between.

``make_solver`` gives the one for a dataset and a method.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from numbasgd import threads
from numbasgd.compile.options import uncollected
from numbasgd.machine.cpu import n_cores
from numbasgd.sgd.config import Method
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.model import breadth
from numbasgd.sgd.order import ORDER_CHUNK, SAMPLINGS, fill_order, scatter_for
from numbasgd.sgd.rows import rows_ahead
from numbasgd.sgd.solvers import large_batch
from numbasgd.sgd.solvers.base import Solver
from numbasgd.sgd.solvers.order_prefetch import ROW_BYTES, OrderChunks

_HELP_AFTER = 0.02  # seconds of steps before a second thread is prepared, which may have to be compiled


class EpochSolver(Solver):
    """One output: any number of steps, and of epochs, in one call of compiled code."""

    may_have_help = True  # whether a second thread may draw the order of rows

    def __init__(self, dataset: Dataset, method: Method) -> None:
        super().__init__(dataset, method)
        self.kernel = self.objective.advance_kernel(method.step)
        rows, n, batch_size = dataset.rows, self.n, method.batch_size
        in_order = _is_in_order(method, n)
        length = 0 if in_order else min(n, -(-ORDER_CHUNK // batch_size) * batch_size)
        self.ahead = rows_ahead(rows, in_order)
        may_help = (
            self.may_have_help and self.ahead > 0 and n > length > 0
            and max(1, rows.d * dataset.dtype.itemsize) <= ROW_BYTES
            and min(method.threads or threads.default(), n_cores()) > 1
        )  # fmt: skip
        objective = self.objective
        self.chunks = OrderChunks(
            n, length, self.ahead, objective.rows_dtype, objective.y, objective.s, may_help
        )
        self._told: tuple[tuple[Any, ...], tuple[Any, ...]] | None = None

    def begin_anew(self, row: np.ndarray) -> None:
        """As if no step had been made."""
        self.chunks.forget()
        super().begin_anew(row)

    def use(self, method: Method) -> None:
        """Make steps by another method from now on, of what is compiled for this one."""
        super().use(method)
        self._told = None

    def _prepare(self) -> Any:
        self._told = self._arguments()
        objective = self.objective
        return (
            self.kernel, objective.kernels.sum_loss, self.chunks.rows.dtype, objective.is_quick,
            self.n > ORDER_CHUNK,
        )  # fmt: skip

    def advance(self, end: int) -> None:
        """Make the steps up to sample number ``end``."""
        if self._told is None:
            self._told = self._arguments()
        before, behind = self._told
        self.kernel(*before, end, *behind)

    def _sums_at_once(self) -> tuple[tuple[int, ...], np.ndarray]:
        batch_size = self.method.batch_size
        return (batch_size, self.n % batch_size), self.chunks.rows[0]

    def prepare_for_more(self, seconds: float) -> None:
        """Have another thread draw the order of rows; what that needs is compiled outside the clock."""
        if not self.chunks.may_help or seconds <= _HELP_AFTER:
            return
        begin = time.perf_counter()
        self._told = None
        with uncollected:
            self.chunks.get_help()
            self._told = self._arguments()
        self.compile_seconds += time.perf_counter() - begin

    def _arguments(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """What the kernel is told before and behind the sample number at which to end."""
        method, objective = self.method, self.objective
        order = *self.chunks.told(method.sampling, method.seed), self.ahead
        step = method.batch_size, method.lrs, tuple(method.spans), *self.move(), method.average_from or 0
        state = self.rows, self.layout.size, self.count
        return (objective.samples, order), (step, state, (self.scratch, self.scratch64), objective.outputs)


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
        in_order = _is_in_order(method, self.n)
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


def _is_in_order(method: Method, n: int) -> bool:
    """Whether rows are taken in sequential order: a step over all rows is the same in any."""
    return method.sampling == "sequential" or (method.batch_size >= n and method.sampling != "replacement")


def make_solver(dataset: Dataset, method: Method, device: str = "cpu") -> Solver:
    """The solver for a dataset and a method."""
    if device != "cpu":
        raise ValueError(f"device is {device!r}; expected 'cpu'. Pass that, or leave it out.")
    outputs = dataset.outputs
    if large_batch.is_large(method.batch_size, breadth(dataset.d, outputs)):
        return LargeBatchSolver(dataset, method)
    return (MultiSolver if outputs > 1 else EpochSolver)(dataset, method)
