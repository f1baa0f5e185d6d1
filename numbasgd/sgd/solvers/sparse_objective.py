"""``SparseObjective``: the mean loss over sparse rows, and the compiled functions for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from numbasgd.sgd.model import Layout
from numbasgd.sgd.rows import CHUNK
from numbasgd.sgd.solvers import multi, sparse_lazy, sparse_steps
from numbasgd.sgd.solvers.epoch import padded
from numbasgd.sgd.solvers.mean_loss import Objective
from numbasgd.sgd.solvers.sparse_rows import Passes
from numbasgd.sgd.solvers.sparse_steps import Variant
from numbasgd.sgd.solvers.update import Step
from numbasgd.simd.vector import lanes_for

if TYPE_CHECKING:
    from numbasgd.sgd.dataset import Dataset


class SparseObjective(Objective):
    """The mean loss over sparse rows, of one output or K."""

    def __init__(self, dataset: Dataset, loss: str, threads: int | None) -> None:
        super().__init__(dataset, loss, threads)
        d, outputs, dtype = self.rows.d, dataset.outputs, dataset.dtype
        if outputs > 1:
            layout = multi.layout(d, outputs, dtype)
        else:
            lanes = lanes_for(d, dtype.itemsize)
            size = padded(d, lanes)
            layout = Layout(d, outputs, lanes, 1, size, size + lanes)
        self.layout = layout._replace(entries=dataset.row_entries)
        self.outputs = max(outputs, 1), layout.width, 0
        self.variant = Variant(loss, dtype.type, layout.lanes if outputs > 1 else 0, self.s.size > 0)
        self.kernels = SimpleNamespace(sum_loss=sparse_steps.make_sum_loss(self.variant))
        self.scratch_size = layout.length + CHUNK * layout.width

    def sum_loss(self, row: np.ndarray, start: int, stop: int, scratch: np.ndarray) -> float:
        """The sum of the losses of some rows, in one call of compiled code."""
        return self.kernels.sum_loss(self.samples, row, self.layout.size, start, stop, scratch, self.outputs)

    def mean_gradient(self, row: np.ndarray, index: np.ndarray) -> np.ndarray:
        """The mean gradient over the rows of ``index``, or all if it is empty: (d + 1,) or (d + 1, K)."""
        g, work = np.zeros(self.layout.length), np.empty(self.scratch_size, row.dtype)
        kernel = sparse_steps.make_gradient(self.variant)
        kernel(self.samples, index, row, self.layout.size, work, g, self.outputs)
        return (self.layout.take(g) / (len(index) or self.rows.n)).astype(row.dtype)

    def compile(self, row: np.ndarray, scratch: np.ndarray) -> None:
        """Compile, or load, what evaluates the loss."""
        self.sum_loss(row, 0, 0, np.empty(self.scratch_size, row.dtype))

    def advance_kernel(self, step: Step) -> Any:
        """The compiled function that makes steps on all weights."""
        return sparse_steps.advance_kernel(self.variant, self.layout.lanes, step)

    def lazy_kernels(self, passes: Passes) -> tuple[Any, Any]:
        """What makes steps on the weights of stored entries alone, and what brings all up to date."""
        return sparse_lazy.advance_kernel(self.variant, passes), sparse_lazy.make_settle_rows(passes)
