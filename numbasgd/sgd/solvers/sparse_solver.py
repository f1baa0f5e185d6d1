"""The solvers for sparse rows: lazy weights where a step has fewer entries than weights, else all weights.

``make_sparse_solver`` gives the one for a dataset and a method.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from numbasgd.sgd.config import Method
from numbasgd.sgd.rows import FAR, aligned_zeros
from numbasgd.sgd.solvers.epoch_solver import EpochSolver
from numbasgd.sgd.solvers.sparse_lazy import forget
from numbasgd.sgd.solvers.sparse_rows import BEHIND, Passes

if TYPE_CHECKING:
    from numbasgd.sgd.dataset import Dataset

SETTLED = 1 << 28  # stored entries, times outputs, after which all weights are brought up to date
_AHEAD_BYTES = 8192  # of rows that are prefetched


class SparseSolver(EpochSolver):
    """Steps that move all weights."""

    may_have_help = False  # a row takes too long for another thread to be worth while

    def _rows_ahead(self, in_order: bool) -> int:
        row_bytes = max(1, self.dataset.row_entries * (self.dataset.dtype.itemsize + 4))
        if in_order or row_bytes * self.n <= FAR:
            return 0
        return max(2, min(32, _AHEAD_BYTES // row_bytes))


class LazySolver(SparseSolver):
    """Steps that move the weights of stored entries alone, the others when a row touches them.

    All weights are brought up to date at the end of each epoch, and in a long one after every ``_span`` rows:
    ``rows`` is the state there.  ``_lazy_rows`` is the one that steps change; it cannot be told in the numbers
    of a ``state`` between these places, so that holds the state of the last one, from which the steps since are
    made again.
    """

    def __init__(self, dataset: Dataset, method: Method) -> None:
        self._passes = Passes(dataset.dtype.type, 0, method.l1 > 0, method.average_from is not None)
        super().__init__(dataset, method)
        layout, batch_size = self.layout, method.batch_size
        self._lazy_rows = np.zeros_like(self.rows)
        self.scratch = aligned_zeros((batch_size * layout.width,), dataset.dtype)
        self.scratch64 = np.zeros(BEHIND + layout.length)
        steps = max(1, SETTLED // (batch_size * layout.breadth + 1))
        self._span = steps * batch_size
        self._settled = self.count.copy()  # where ``rows`` is
        self._now: tuple[int, np.ndarray] | None = None  # samples, and the state there, where that is elsewhere
        self._is_behind = False  # whether ``_lazy_rows`` is where ``rows`` is, and not where ``count`` says
        forget(self.scratch64, layout.length)

    def _kernel(self) -> Any:
        lanes = self.objective.variant.lanes
        kernel, self._settle = self.objective.lazy_kernels(self._passes._replace(lanes=lanes))
        return kernel

    def _arguments(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        before, (step, (_, size, count), *rest) = super()._arguments()
        return before, (step, (self._lazy_rows, size, count), *rest)

    def place(self, row: np.ndarray) -> None:
        """Set the weights to start from."""
        super().place(row)
        self._begin_at_rows()
        self._settled[:] = self.count

    def _begin_at_rows(self) -> None:
        """Have the lazy state be that of ``rows``."""
        self._lazy_rows[:] = self.rows
        forget(self.scratch64, self.layout.length)
        self._now, self._is_behind = None, False

    def advance(self, end: int) -> None:
        """Make the steps up to sample number ``end``."""
        if end > self.samples and self._is_behind:
            self.count[:] = self._settled
            self._is_behind = False
        while True:
            goal = min(end, self._next_settled(self.samples))
            super().advance(goal)
            if goal > self._settled[1] and goal == self._last_settled(goal):
                self._settle_into(self._lazy_rows)
                forget(self.scratch64, self.layout.length)
                self.rows[:] = self._lazy_rows
                self._settled[:] = self.count
            if goal == end:
                return

    def _last_settled(self, samples: int) -> int:
        """Where all weights are brought up to date, at ``samples`` or for the last time before."""
        epoch, position = divmod(samples, self.n)
        return epoch * self.n + position // self._span * self._span

    def _next_settled(self, samples: int) -> int:
        epoch, position = divmod(samples, self.n)
        return epoch * self.n + min(self.n, (position // self._span + 1) * self._span)

    def _settle_into(self, out: np.ndarray) -> None:
        self._settle(self._lazy_rows, out, self.layout.size, self.layout.width, self.count, self.scratch64)

    @property
    def _present(self) -> np.ndarray:
        """The state as it is now, all weights up to date."""
        samples = self.samples
        if samples == self._settled[1]:
            return self.rows
        if self._now is None or self._now[0] != samples:
            out = np.empty_like(self.rows)
            self._settle_into(out)
            self._now = samples, out
        return self._now[1]

    @property
    def result(self) -> np.ndarray:
        """The row that counts: the mean over the steps where there is one, else the last weights."""
        return self._present[2 if self._has_mean else 0]

    @property
    def _has_mean(self) -> bool:
        return self.method.average_from is not None and self.count[0] > 0

    def state(self) -> tuple[np.ndarray, np.ndarray]:
        """All that steps change; between two places that are settled, what counts and the state of the last.

        The rows are then (weights, settled weights, -, -), or with a mean (settled weights, settled mean, mean,
        what rounding took from the settled one).
        """
        now, rows = self._present, self.rows
        if now is not rows:
            told = (rows[0], rows[2], now[2], rows[3]) if self._has_mean else (now[0], rows[0], *now[2:])
            now = np.array(told)
        return self.layout.take(now), self.count.copy()

    def restore(self, weights: np.ndarray, count: np.ndarray) -> None:
        """The inverse of ``state``, bit for bit."""
        super().restore(weights, count)
        samples, settled = self.samples, self._last_settled(self.samples)
        self._settled[:] = count
        if samples == settled:
            self._begin_at_rows()
            return
        steps = -(-(samples - settled) // self.method.batch_size)
        self._settled[:] = max(0, count[0] - steps), settled
        told, rows = self.rows.copy(), self.rows
        rows[1] = 0
        if self._has_mean:
            rows[0], rows[2], rows[3] = told[0], told[1], told[3]
        else:
            rows[0] = told[1]
        self._begin_at_rows()
        self._now, self._is_behind = (samples, told), True


def make_sparse_solver(dataset: Dataset, method: Method) -> SparseSolver:
    """The solver for sparse rows and a method."""
    has_form = not method.momentum and not (method.l1 and method.average_from is not None)
    is_lazy = has_form and method.batch_size * dataset.row_entries < dataset.d
    return (LazySolver if is_lazy else SparseSolver)(dataset, method)
