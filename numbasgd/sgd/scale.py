"""Columns on one scale: standardizing them, and saying when they should be."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from numbasgd.sgd.learning_rate import curvature, stability
from numbasgd.sgd.losses import loss_named
from numbasgd.sgd.rows import rows_of
from numbasgd.sgd.scale_kernels import column_squares, column_sums, scale_rows

if TYPE_CHECKING:
    from numbasgd.sgd.columns import Names
    from numbasgd.sgd.config import Method
    from numbasgd.sgd.dataset import Dataset

_ROUNDING = 1e-6  # a standard deviation of at most this share of the mean may be nothing but rounding
_ALONE = 0.9  # of a direction's squared length, for a column that is as good as all of it


class Scale:
    """Columns with mean 0 and standard deviation 1, and the way back to the user's units."""

    def __init__(self, dataset: Dataset, intercept: bool, known: np.ndarray | None = None) -> None:
        """``known`` : (2, d) mean and standard deviation of a run that is resumed."""
        if known is not None:
            self.mean, self.std = known
            return
        counted = dataset.counted()
        X, s = counted.X, counted.sample_weight
        weights = s.astype(np.float64)
        count = weights.sum() if s.size else counted.n
        self.mean = np.zeros(counted.d)
        squares = np.zeros(counted.d)
        if intercept:
            column_sums(counted.rows, weights, self.mean)
            self.mean /= count
        column_squares(counted.rows, self.mean, weights, squares)
        self.std = np.sqrt(squares / count)
        # A constant column has nothing but rounding left of its deviation, which must not be blown up.
        suspects = np.flatnonzero(~(self.std > _ROUNDING * np.abs(self.mean)))
        if intercept and suspects.size:
            constant = suspects[(X[:, suspects] == X[0, suspects]).all(axis=0)]
            self.mean[constant], self.std[constant] = X[0, constant], 1.0
        self.std[self.std == 0] = 1.0

    def apply(self, dataset: Dataset) -> Dataset:
        """The same rows with scaled columns."""
        return dataset.scaled(self)

    @staticmethod
    def compile(dtype: np.dtype) -> None:
        """Compile, or load, what is called for rows of a dtype."""
        rows, none = rows_of(np.empty((0, 1), dtype)), np.empty(0)
        column_sums(rows, none, none)
        column_squares(rows, none, none, none)
        scale_rows(rows, none, none, np.empty((0, 1), dtype))

    def into(self, w: np.ndarray, b: Any) -> tuple[np.ndarray, Any]:
        """Weights for X -> weights for the scaled columns."""
        std = self.std if w.ndim == 1 else self.std[:, None]
        return (w * std).astype(w.dtype), b + self.mean @ w

    def back(self, w: np.ndarray, b: Any) -> tuple[np.ndarray, Any]:
        """Weights for the scaled columns -> weights for X, in float64: with large means their sum cancels."""
        out = w / (self.std if w.ndim == 1 else self.std[:, None])
        b = b - self.mean @ out
        return out, float(b) if w.ndim == 1 else b


class SparseScale(Scale):
    """Columns of sparse rows divided by their root mean square.

    Their mean stays: to take it off would leave no entry at 0.
    """

    def __init__(self, dataset: Dataset, known: np.ndarray | None = None) -> None:
        """``known`` : (2, d) zeros and root mean squares of a run that is resumed."""
        if known is not None:
            self.mean, self.std = known
            return
        counted = dataset.counted()
        self.mean = np.zeros(counted.d)
        self.std = np.sqrt(counted.column_squares() / counted.n)
        self.std[self.std == 0] = 1.0

    def apply(self, dataset: Dataset) -> Dataset:
        """The same rows with scaled columns, a copy in their dtype."""
        X: Any = dataset.X
        return dataset.with_rows(X.scaled(self.std))


def warn_of_rate(
    dataset: Dataset, method: Method, lr: float, squares: list[float] | None, names: Names | None
) -> bool:
    """Whether steps of a rate that was given grow along some direction, for a loss whose curvature is known.

    squares : the mean squares of the columns, or None where they were scaled.  The direction is named in a
    warning.
    """
    if not loss_named(method.loss).is_quadratic:
        return False
    beta = method.momentum  # Polyak, 1964; Nesterov's: both roots of z^2 - (1 + beta)(1 - a) z + beta (1 - a)
    limit = 2 * (1 + beta) / (1 + 2 * beta * method.nesterov)
    total = float(dataset.d) if squares is None else sum(squares)
    if not lr * (total + method.intercept + method.l2) > stability.SURE * limit:
        return False
    found = stability.unstable_direction(dataset, lr, limit, method.intercept, method.l2)
    if found is None or found.direction is None:
        return False
    v = found.direction
    j, stable = int(np.argmax(np.abs(v))), limit / found.largest
    if squares is not None and j < dataset.d and v[j] ** 2 > _ALONE:
        _warn_of_column(stability.column_in_words(j, dataset.d, names), squares[j], lr, stable)
        return True
    warnings.warn(
        f"lr is {lr:.4g}, beyond the largest stable one, {stable:.3g}, so the error grows with every step "
        f"along the direction {stability.direction_in_words(v, names)}. Pass an lr below {stable:.3g}"
        f"{', or standardize=True' if squares is not None else ''}.",
        stacklevel=7,
    )
    return True


def _warn_of_column(column: str, square: float, lr: float, stable: float) -> None:
    warnings.warn(
        f"{column} of X has mean square {square:.3g}, so every step with lr={lr:.3g} overshoots along it. Pass "
        f"an lr below {stable:.3g}, standardize=True, or scale that column.",
        stacklevel=8,
    )


def warn_of_scale(
    squares: list[float], lr: float, loss_curvature: float, is_auto: bool, names: Names | None
) -> None:
    """Name a column that makes the rate unusable, or every stable rate too small for the others.

    squares : mean squares of the columns.
    """
    d = len(squares)
    if is_auto:
        if (found := curvature.dominating_column(squares)) is not None:
            warnings.warn(
                f"{stability.column_in_words(found[0], d, names)} of X is so large beside others (mean squares "
                f"differ by a factor of {found[1]:.3g}) that a stable lr, here {lr:.3g}, hardly moves their "
                "weights. Pass standardize=True, or scale that column.",
                stacklevel=7,
            )
    elif (found := curvature.overshooting_column(squares, lr * loss_curvature)) is not None:
        column = stability.column_in_words(found[0], d, names)
        _warn_of_column(column, found[1], lr, 2 / found[1] / loss_curvature)
