"""The mean loss over rows that are arrays, and the compiled functions for it: what evaluations tell.

``make_objective`` gives the one for a dataset: of one output, whose weights are a vector, or of K.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from numbasgd.sgd.model import Layout
from numbasgd.sgd.solvers import multi, reduce
from numbasgd.sgd.solvers.epoch import advance_kernel, kernels, padded, work_for
from numbasgd.sgd.solvers.mean_loss import EVALUATED, Lazy, Objective
from numbasgd.sgd.solvers.update import Step

if TYPE_CHECKING:
    from numbasgd.sgd.dataset import Dataset


class OneOutput(Objective):
    """A loss of one prediction a row; large data is summed in parts, by several threads."""

    def __init__(self, dataset: Dataset, loss: str, threads: int | None) -> None:
        super().__init__(dataset, loss, threads)
        n, d, gathered = self.rows.n, self.rows.d, self.rows.is_gathered
        self.kernels = made = kernels(loss, d, self.y.dtype, self.s.size > 0, gathered)
        size = padded(d, made.lanes)
        self.layout = Layout(d, dataset.outputs, made.lanes, 1, size, size + made.lanes)
        self.scratch_size = work_for(d, made.lanes, gathered)
        self.is_in_parts = not reduce.is_one(n, d)
        self.is_quick = n * (d + 8) <= EVALUATED and not self.is_in_parts and not gathered

    def sum_loss(self, row: np.ndarray, start: int, stop: int, scratch: np.ndarray) -> float:
        """The sum of the losses of some rows, in one call of compiled code."""
        return self.kernels.sum_loss(self.samples, row, row[self.layout.size], start, stop, scratch)

    def advance_kernel(self, step: Step) -> Any:
        """The compiled function that makes steps."""
        return advance_kernel(
            self.loss, self.rows.d, self.y.dtype, self.s.size > 0, self.rows.is_gathered, step
        )

    def compile(self, row: np.ndarray, scratch: np.ndarray) -> None:
        """Compile, or load, what evaluates the loss."""
        if self.is_in_parts:
            self.in_parts.loss(row, 0, 0)
        else:
            super().compile(row, scratch)

    @Lazy
    def in_parts(self) -> reduce.Parts:
        """How the rows are evaluated when they are many."""
        return self._parts(self.rows.n, np.dtype(np.int32))

    def sums(self, n: int, order_dtype: np.dtype, scratch: np.ndarray, scratch64: np.ndarray) -> reduce.Parts:
        """What adds up the gradients over ``n`` rows, or fewer, of an order of this dtype."""
        return self._parts(n, order_dtype)

    def _parts(self, n: int, order_dtype: np.dtype) -> reduce.Parts:
        n_threads = reduce.workers(self.threads, n, self.rows.d)
        return reduce.Parts(self.loss, self.rows, self.y, self.s, order_dtype, n_threads)

    @property
    def _block_rows(self) -> int:
        count = super()._block_rows
        if not self.is_in_parts:
            return count
        each = reduce.part_rows(self.rows.d)
        return max(1, count // each) * each

    def _sum_blocks(self, row: np.ndarray, blocks: Iterable[tuple[int, int]]) -> float:
        if not self.is_in_parts:
            return super()._sum_blocks(row, blocks)
        return math.fsum(self.in_parts.loss(row, *block) for block in blocks)


class ManyOutputs(Objective):
    """A loss of the K predictions of a row, or the sum of a loss over them."""

    def __init__(self, dataset: Dataset, loss: str, threads: int | None) -> None:
        super().__init__(dataset, loss, threads)
        self.layout = multi.layout(self.rows.d, dataset.outputs, self.y.dtype)
        self.scratch_size = multi.work_for(self.layout, self.y.itemsize)

    @Lazy
    def kernels(self) -> Any:
        """The compiled functions for this loss and these rows."""
        return multi.kernels(*self.variant)

    @Lazy
    def outputs(self) -> tuple[int, ...]:
        """K, K padded, and the address of what sums gradients and losses."""
        return self.layout.outputs, self.layout.width, self.kernels.address

    @property
    def variant(self) -> tuple[Any, ...]:
        """What its kernels are compiled for."""
        FIXED_K = multi.fixed_k(self.layout.outputs)
        return self.loss, self.y.dtype, self.layout.lanes, FIXED_K, self.s.size > 0, self.rows_dtype

    def compile(self, row: np.ndarray, scratch: np.ndarray) -> None:
        """Compile, or load, what evaluates the loss, the products of all sizes included."""
        super().compile(row, scratch)
        for m in multi.product_rows(self, self.rows.n):
            self.sum_loss(row, 0, m, scratch)

    def rehearse(
        self, counts: tuple[int, ...], order: np.ndarray, scratch: np.ndarray, scratch64: np.ndarray
    ) -> None:
        """Compile, or load, the products that gradients over so many rows need."""
        multi.rehearse(self, counts, order, scratch, scratch64)

    def sum_loss(self, row: np.ndarray, start: int, stop: int, scratch: np.ndarray) -> float:
        """The sum of the losses of some rows, in one call of compiled code."""
        return self.kernels.sum_loss(self.samples, row, start, stop, scratch, self.outputs)

    def advance_kernel(self, step: Step) -> Any:
        """The compiled function that makes steps."""
        return multi.advance_kernel(*self.variant, step)

    def sums(self, n: int, order_dtype: np.dtype, scratch: np.ndarray, scratch64: np.ndarray) -> multi.Sums:
        """What adds up the gradients over some rows."""
        return multi.Sums(self, scratch, scratch64)


def make_objective(dataset: Dataset, loss: str, threads: int | None = None) -> OneOutput | ManyOutputs:
    """The mean loss over rows that are arrays."""
    kind = ManyOutputs if dataset.outputs > 1 else OneOutput
    return kind(dataset, loss, threads)
