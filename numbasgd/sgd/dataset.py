"""``Dataset``: rows in any memory order, their targets and their weights, checked.

These rows are arrays; another kind is a class of its own (``sparse_dataset.py``).  What depends on the kind
is a method, so that whatever trains, evaluates or chooses a learning rate has no branch for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np

from numbasgd import check
from numbasgd.sgd.columns import Names, in_order, order_of
from numbasgd.sgd.config import Method
from numbasgd.sgd.csr import Csr, is_sparse
from numbasgd.sgd.fingerprint import Fingerprint
from numbasgd.sgd.layout import together
from numbasgd.sgd.learning_rate.cost import Cost, cost_of
from numbasgd.sgd.learning_rate.curvature import RowSizes, Sample
from numbasgd.sgd.losses import Loss
from numbasgd.sgd.order import epoch_order
from numbasgd.sgd.rows import Rows, rows_of
from numbasgd.sgd.scale import Scale
from numbasgd.sgd.scale_kernels import scale_rows
from numbasgd.sgd.solvers.base import Solver
from numbasgd.sgd.solvers.cpu import make_solver
from numbasgd.sgd.solvers.mean_loss import Objective
from numbasgd.sgd.solvers.objective import make_objective

VALIDATION = 2**61  # the epoch whose order picks the validation rows; no run gets there


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows to fit, or to evaluate.

    X : (n, d) float32 or float64, in any memory order; never written.
    y : (n,) or (n, K) targets in the dtype of X; of classes -1 and 1, or 0 to K - 1.
    sample_weight : (n,) of mean 1 in the dtype of X, or of length 0 where all rows count alike.
    outputs : columns of the weights of its model, or 0 where these are a vector.
    classes : the values of the user's y that the numbers in y stand for, or None.
    source : where X and y came from, as ``Fit.data`` says it.
    is_own : whether X is a copy that nobody else looks at, so that it may be scaled in place.
    names : of the columns, where X was a table that has them.
    """

    #: Whether columns are standardized, or told that they should be, where the rate is chosen.
    standardizes: ClassVar[bool] = True
    #: Whether a quadratic model of the rows may be made, with a Hessian of d x d.
    has_model: ClassVar[bool] = True

    #: Whether fewer rows, in minibatches as much smaller, have about the same best rate.
    few_rows_tell: ClassVar[bool] = True

    X: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray
    outputs: int = 0
    classes: tuple[Any, ...] | None = None
    source: str = "arrays"
    is_own: bool = False
    names: Names | None = None
    rows: Rows = field(init=False)
    targets: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        # As kernels take them; a single column of targets is a vector.
        y = self.y
        targets = check.for_kernel(y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y)
        vars(self).update(rows=rows_of(self.X), targets=targets)

    @property
    def n(self) -> int:
        """Rows."""
        return self.rows.n

    @property
    def d(self) -> int:
        """Columns of X."""
        return self.rows.d

    @property
    def dtype(self) -> np.dtype:
        """Of X, y and the weights."""
        return self.X.dtype

    @property
    def entries(self) -> np.ndarray:
        """The numbers of X."""
        return self.X

    @property
    def row_entries(self) -> int:
        """Stored entries of a row, on average."""
        return self.d

    @property
    def is_weighted(self) -> bool:
        """Whether rows count differently."""
        return self.sample_weight.size > 0

    def fingerprint(self, held_out: Dataset | None = None) -> Fingerprint:
        """What the data, with the rows that were passed to be held out, is recognized by in a resumed run."""
        known, arrays = self.marks(), self.arrays()
        if held_out is not None:
            known |= {f"validation_{name}": mark for name, mark in held_out.marks().items()}
            arrays |= {f"validation_{name}": a for name, a in held_out.arrays().items()}
        return Fingerprint(known, **arrays)

    def arrays(self) -> dict[str, np.ndarray | Csr]:
        """The arrays that a fingerprint is made of."""
        arrays: dict[str, np.ndarray | Csr] = {"X": self.X, "y": self.y}
        return arrays | {"sample_weight": self.sample_weight} if self.is_weighted else arrays

    def marks(self) -> dict[str, dict[str, Any]]:
        """What a fingerprint has of rows that are no arrays."""
        return {}

    def with_rows(self, X: Any) -> Self:
        """The same targets and weights with other rows, such as scaled ones."""
        return replace(self, X=X, is_own=True)

    def rows_like(self, table: Any, name: str) -> Any:
        """Other rows, checked: of the same kind, columns and dtype as X.

        Raises
        ------
        TypeError, ValueError
            If they are not; it calls them ``name``.
        """
        if is_sparse(table):
            raise TypeError(
                f"{name} is a sparse array and X a dense array; expected rows of the same kind. Convert one of "
                "them."
            )
        X = check.array(table, name, 2)
        if (order := order_of(table, self.names, "X", name)) is not None:
            X = in_order(X, order)
        self._require_columns(X.shape, name)
        check.finite(X, name, self.names)
        return X.astype(self.dtype, order="C", copy=X.dtype != self.dtype)

    def others(self, X: Any, y: np.ndarray, sample_weight: np.ndarray) -> Dataset:
        """Other rows of the same kind, checked, for the same model."""
        return replace(self, X=X, y=y, sample_weight=sample_weight, is_own=False)

    def _require_columns(self, shape: tuple[int, ...], name: str) -> None:
        if shape[1] != self.d or not shape[0]:
            raise ValueError(
                f"{name} has shape {shape}, X has {self.d} columns; expected at least one row of as many "
                "columns. Select them."
            )

    def take(self, index: np.ndarray, *, keeps_layout: bool = False) -> Self:
        """A copy of some of the rows, in the order of ``index``, with weights of mean 1.

        keeps_layout : whether they lie in memory as all rows do, so that nothing else has to be compiled.
        """
        X, s = self.X[index], self.sample_weight
        if keeps_layout and self.rows.is_gathered:
            X = np.asfortranarray(X)
        if s.size:
            s = s[index]
            s = (s / s.mean()).astype(self.dtype)
        return replace(self, X=X, y=self.y[index], sample_weight=s, is_own=True)

    def together(self, is_shuffled: bool) -> Self:
        """The same rows, each in one piece where there is memory for a copy (``layout.together``)."""
        X = together(self.X, is_shuffled)
        return self if X is self.X else self.with_rows(X)

    def counted(self) -> Self:
        """The rows that count: all but those of weight 0."""
        if not self.is_weighted or self.sample_weight.all():
            return self
        return self.take(np.flatnonzero(self.sample_weight), keeps_layout=True)

    def solver(self, method: Method) -> Solver:
        """What makes the steps of a method over these rows."""
        return make_solver(self, method)

    def objective(self, loss: str, threads: int | None = None) -> Objective:
        """The mean loss over these rows; loss : its key.  threads : the most that may work on it."""
        return make_objective(self, loss, threads)

    def cost(self, loss: Loss, batch_size: int) -> Cost:
        """What steps and evaluations of a loss cost."""
        return cost_of(self, loss, batch_size)

    def row_sizes(self, intercept: bool) -> RowSizes:
        """How large the rows are."""
        return Sample(self.X, intercept, self.sample_weight).size

    def squared_norms(self) -> np.ndarray:
        """|x|^2 of the rows, in float64."""
        return np.einsum("ij,ij->i", self.X, self.X, dtype=np.float64)

    def column_squares(self) -> np.ndarray:
        """The sum over the rows of weight times x_j^2, in float64."""
        squares = np.square(self.X, dtype=np.float64)
        weights = self.sample_weight if self.is_weighted else np.ones(self.n)
        return weights.astype(np.float64) @ squares

    def scale(self, intercept: bool, known: np.ndarray | None = None) -> Scale:
        """The scale of the columns; ``known`` : that of a run that is resumed."""
        return Scale(self, intercept, known)

    def scaled(self, scale: Scale) -> Self:
        """The same rows with scaled columns, in C order: in place where X is ours, else a copy."""
        X = self.X
        is_in_place = self.is_own and X.flags.c_contiguous and X.flags.writeable
        out = X if is_in_place else np.empty(X.shape, X.dtype)
        scale_rows(self.rows, scale.mean, scale.std, out)
        return self.with_rows(out)

    def order(self, sampling: str) -> str:
        """The sampling that is used where this one was passed."""
        return "reshuffle" if sampling == "auto" else sampling

    def in_memory(self, method: Method) -> tuple[Dataset, Method]:
        """Rows in memory that a rate can be chosen from, and the method for them."""
        return self, method

    def sample(self) -> Dataset:
        """Rows in memory that stand for all of them: all, unless they stay in a file."""
        return self

    def blocks(self, count: int) -> Iterator[tuple[int, int]]:
        """(start, stop) of blocks of at most ``count`` rows, in order."""
        for start in range(0, self.n, count):
            yield start, min(start + count, self.n)

    def split(self, fraction: float, seed: int) -> tuple[Dataset, Dataset | None]:
        """Training rows, and the share of the rows that ``seed`` draws for validation, or None for 0.

        Both keep the order of the rows.  A row of weight 0 is no row: it is neither drawn nor counted, and
        stays among the training rows, where it weighs nothing.

        Raises
        ------
        ValueError
            If one side would be left without a row.
        """
        if fraction == 0:
            return self, None
        s = self.sample_weight
        drawn = np.flatnonzero(s) if s.size else np.arange(self.n)
        n = len(drawn)
        count = require_share(fraction, n, self.n)
        held_out = np.sort(drawn[epoch_order(seed, VALIDATION, n)[:count]])
        is_training = np.ones(self.n, bool)
        is_training[held_out] = False
        return self.take(np.flatnonzero(is_training)), self.take(held_out)

    def require_finite(self, *witnesses: float) -> None:
        """Look for a NaN or Inf if a figure of the whole data is not finite; no look without such a sign.

        Raises
        ------
        ValueError
            It names the first one's row and column.
        """
        if not all(map(math.isfinite, witnesses)):
            check.finite(self.X, "X", self.names)
            check.finite(self.y, "y")

    def overflows(self, start: np.ndarray) -> ValueError:
        """The error for finite data whose loss at the weights ``start`` is not finite."""
        given = {"X": self.entries, "y": self.y, "init": start}
        return self._overflow({name: float(np.abs(a).max(initial=0.0)) for name, a in given.items()})

    def _overflow(self, largest: dict[str, float]) -> ValueError:
        """The error for values that are as large as that."""
        name = max(largest, key=lambda key: largest[key])
        return ValueError(
            f"{name} holds values up to {largest[name]:.3g}, and the loss overflows {self.dtype}; expected "
            "values whose squares can be added up. Scale them, for example by a power of 10."
        )


def require_share(fraction: float, n: int, total: int) -> int:
    """How many of n rows, of ``total`` those that have a weight, are held out; at least one is on either side.

    Raises
    ------
    ValueError
        If one side would be left without a row.
    """
    count = round(fraction * n)
    if not 0 < fraction < 1 or not 0 < count < n:
        of_weight = " that have a weight" if n < total else ""
        raise ValueError(
            f"validation_fraction is {fraction} of {n} rows{of_weight}; expected a share that leaves at "
            "least one row on either side. Pass another share, or leave it out and no row is held out."
        )
    return count
