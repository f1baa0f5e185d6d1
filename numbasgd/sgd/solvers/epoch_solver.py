"""``EpochSolver``: many steps, and epochs, in one call of compiled code."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from numbasgd import threads
from numbasgd.compile.options import uncollected
from numbasgd.machine.cpu import n_cores
from numbasgd.sgd.config import Method
from numbasgd.sgd.order import ORDER_CHUNK
from numbasgd.sgd.rows import rows_ahead
from numbasgd.sgd.solvers.base import Solver
from numbasgd.sgd.solvers.order_prefetch import ROW_BYTES, OrderChunks

if TYPE_CHECKING:
    from numbasgd.sgd.dataset import Dataset

_HELP_AFTER = 0.02  # seconds of steps before a second thread is prepared, which may have to be compiled


def is_in_order(method: Method, n: int) -> bool:
    """Whether rows are taken in sequential order: a step over all rows is the same in any."""
    return method.sampling == "sequential" or (method.batch_size >= n and method.sampling != "replacement")


class EpochSolver(Solver):
    """One output: any number of steps, and of epochs, in one call of compiled code."""

    may_have_help = True  # whether a second thread may draw the order of rows

    def __init__(self, dataset: Dataset, method: Method) -> None:
        super().__init__(dataset, method)
        self.kernel = self._kernel()
        rows, n, batch_size = dataset.rows, self.n, method.batch_size
        in_order = is_in_order(method, n)
        length = 0 if in_order else min(n, -(-ORDER_CHUNK // batch_size) * batch_size)
        self.ahead = self._rows_ahead(in_order)
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

    def _kernel(self) -> Any:
        """The compiled function that makes steps."""
        return self.objective.advance_kernel(self.method.step)

    def _rows_ahead(self, in_order: bool) -> int:
        """How many rows ahead memory is prefetched."""
        return rows_ahead(self.dataset.rows, in_order)

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
