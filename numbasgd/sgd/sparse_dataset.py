"""``SparseDataset``: sparse rows, their targets and their weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from numbasgd import check
from numbasgd.sgd.config import Method
from numbasgd.sgd.csr import Csr, CsrRows, csr_of, finite, is_sparse
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.learning_rate.cost import Cost, cost_of_sparse
from numbasgd.sgd.learning_rate.curvature import RowSizes, sparse_sizes
from numbasgd.sgd.losses import Loss
from numbasgd.sgd.scale import Scale, SparseScale
from numbasgd.sgd.solvers.base import Solver
from numbasgd.sgd.solvers.sparse_objective import SparseObjective
from numbasgd.sgd.solvers.sparse_solver import make_sparse_solver


@dataclass(frozen=True, eq=False)
class SparseDataset(Dataset):
    """A ``Dataset`` whose X is a ``Csr``."""

    standardizes = False  # a rare column is no small one
    has_model = False  # there are too many columns for one
    few_rows_tell = False  # most columns are in few rows

    X: Any
    rows: Any = field(init=False)

    def __post_init__(self) -> None:
        y, X = self.y, self.X
        targets = check.for_kernel(y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y)
        n, d = X.shape
        rows = CsrRows(X.data, n, d, X.indptr.ctypes.data, X.indices.ctypes.data)
        vars(self).update(rows=rows, targets=targets)

    def rows_like(self, table: Any, name: str) -> Csr:
        """Other rows, checked: of the same kind, columns and dtype as X.

        Raises
        ------
        TypeError, ValueError
            If they are not; it calls them ``name``.
        """
        if not is_sparse(table):
            raise TypeError(
                f"{name} is a dense array and X a sparse array; expected rows of the same kind. Convert one of "
                "them."
            )
        rows = csr_of(table, name)
        self._require_columns(rows.shape, name)
        finite(rows, name)
        return rows.astype(self.dtype, copy=False)

    def solver(self, method: Method) -> Solver:
        """What makes the steps of a method over these rows."""
        return make_sparse_solver(self, method)

    def objective(self, loss: str, threads: int | None = None) -> SparseObjective:
        """The mean loss over these rows; loss : its key.  threads : the most that may work on it."""
        return SparseObjective(self, loss, threads)

    def cost(self, loss: Loss, batch_size: int) -> Cost:
        """What steps and evaluations of a loss cost."""
        return cost_of_sparse(self.row_entries, self.outputs)

    def row_sizes(self, intercept: bool) -> RowSizes:
        """How large the rows are."""
        return sparse_sizes(self.X, intercept, self.sample_weight)

    def squared_norms(self) -> np.ndarray:
        """|x|^2 of the rows, in float64."""
        return self.X.squared_norms()

    def column_squares(self) -> np.ndarray:
        """The sum over the rows of weight times x_j^2, in float64."""
        return self.X.column_squares(self.sample_weight)

    def scale(self, intercept: bool, known: np.ndarray | None = None) -> Scale:
        """The scale of the columns; ``known`` : that of a run that is resumed."""
        return SparseScale(self, known)

    def together(self, is_shuffled: bool) -> Self:
        """The stored entries of a row lie together."""
        return self

    def require_finite(self, *witnesses: float) -> None:
        """Look for a NaN or Inf if a figure of the whole data is not finite; no look without such a sign.

        Raises
        ------
        ValueError
            It names the first one's row and column.
        """
        if not all(map(math.isfinite, witnesses)):
            finite(self.X)
            check.finite(self.y, "y")

    @property
    def entries(self) -> np.ndarray:
        """The stored numbers of X."""
        return self.X.data

    @property
    def row_entries(self) -> int:
        """Stored entries of a row, on average."""
        return self.X.per_row
