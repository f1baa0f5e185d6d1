"""Mean and variance of the gradient of one row, exactly over all rows or without bias from some of them.

The gradient of a linear model at a row is ``r x^T`` with r the slopes of the loss in its K predictions, so its
squared norm is ``|r|^2 |x|^2``, and one pass over the rows gives the trace of the covariance matrix without
that matrix.  A minibatch of m rows, which a step averages over, has its m-th part with replacement, and without
it ``(n - m) / (n - 1)`` of that (Cochran, "Sampling Techniques", 3rd ed., theorem 2.2).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.losses import loss_named, slopes

_BLOCK = 1 << 17  # entries that are held in float64 at once
_ROUNDING = 64 * np.finfo(np.float64).eps


class Moments(NamedTuple):
    """gradient : (d + 1, K) the mean, penalty included, the intercept's last.

    trace : of the covariance matrix of one row's gradient, Sigma.  squared : |gradient|^2, without the bias
    that the noise of some rows gives it.
    """

    gradient: np.ndarray
    trace: float
    squared: float

    @property
    def noise_scale(self) -> float:
        """tr(Sigma) / |G|^2, the simple noise scale; infinite where the gradient is nothing but noise.

        McCandlish, Kaplan, Amodei, "An empirical model of large-batch training", 2018, arXiv 1812.06162, eq.
        2.9.
        """
        return self.trace / self.squared if self.squared > 0 else math.inf if self.trace > 0 else math.nan


class Slope(NamedTuple):
    """Which gradient: of a loss (its ``losses.loss_key``), with an intercept or without."""

    loss: str
    intercept: bool
    l2: float = 0.0


def moments(dataset: Dataset, slope: Slope, w: np.ndarray, b: Any, n: int | None = None) -> Moments:
    """The moments at w (d,) or (d, K) and b, in float64.

    n : how many rows those of the dataset were drawn from, without replacement; all there are if left out.
    The estimates are unbiased: with s^2 the variance within m rows, divided by m - 1, and g their mean, that of
    the trace is ``(n - 1) / n s^2``, and that of the squared norm ``|g|^2 - (n - m) / n s^2 / m``.
    """
    m = dataset.n
    W = np.asarray(w, np.float64).reshape(dataset.d, -1)
    total, squares = np.zeros((dataset.d + 1, W.shape[1])), 0.0
    for rows, R, norms in _blocks(dataset, slope, W, np.asarray(b, np.float64).reshape(-1)):
        total[:-1] += _transposed_product(rows, R)
        if slope.intercept:
            total[-1] += R.sum(axis=0)
        squares += float(norms @ np.einsum("ij,ij->i", R, R))
    mean = total / m
    within = float(np.sum(mean * mean))
    trace = max(squares / m - within, 0.0)
    if trace <= _ROUNDING * within:
        trace = 0.0
    mean[:-1] += slope.l2 * W  # the same for each row, so that the covariance has none of it
    squared = float(np.sum(mean * mean))
    if n is not None and m < n:
        s2 = trace * m / max(m - 1, 1)
        trace, squared = s2 * (n - 1) / n, squared - s2 / m * (n - m) / n
    return Moments(mean, trace, squared)


def _blocks(dataset: Dataset, slope: Slope, W: np.ndarray, b: np.ndarray) -> Any:
    """(rows, slopes (m, K), squared norms of the rows with the intercept) of some rows at a time."""
    y, s = dataset.y, dataset.sample_weight
    for start, stop in dataset.blocks(max(1, _BLOCK // max(int(dataset.row_entries), 1))):
        rows: Any = dataset.X[start:stop].astype(np.float64)
        targets = y[start:stop].astype(np.float64)
        Z = np.asarray(rows @ W) + b
        is_of_classes = loss_named(slope.loss).rows is not None
        R = slopes(slope.loss, Z, targets if is_of_classes else targets.reshape(len(Z), -1))
        if s.size:
            R = R * s[start:stop, None].astype(np.float64)
        norms = np.einsum("ij,ij->i", rows, rows) if isinstance(rows, np.ndarray) else rows.squared_norms()
        yield rows, R, norms + slope.intercept


def _transposed_product(rows: Any, R: np.ndarray) -> np.ndarray:
    """X^T R, (d, K)."""
    if isinstance(rows, np.ndarray):
        return rows.T @ R
    return np.stack([column @ rows for column in R.T], axis=1)
