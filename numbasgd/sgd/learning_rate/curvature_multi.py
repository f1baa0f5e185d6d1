"""The model of ``curvature.py`` for the squared loss of K outputs.

All outputs see the same rows, so their Hessian is one and the same, and squared errors and variances of
gradients add up over the outputs.
"""

from __future__ import annotations

import numpy as np

from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.learning_rate.curvature import MOST_COLUMNS, is_moderate, row_sample
from numbasgd.sgd.learning_rate.quadratic import QuadraticModel

_ENTRIES = 1 << 15  # of the rows that are looked at
_LEAST_ROWS = 8  # of them, for each column


def n_rows(d: int) -> int:
    """How many rows the model is made from, for d columns with that of the intercept."""
    return max(_ENTRIES // max(d, 1), _LEAST_ROWS * d)


def local_model(
    dataset: Dataset, w: np.ndarray, b: np.ndarray, intercept: bool, l2: float
) -> QuadraticModel | None:
    """As ``curvature.local_model``, for y (n, K), w (d, K) and b (K,)."""
    X, y, sample_weight = dataset.X, dataset.y, dataset.sample_weight
    d = X.shape[1] + intercept
    picked = row_sample(len(X), n_rows(d))
    rows, y = X[picked].astype(np.float64), y[picked].astype(np.float64)
    start = w.astype(np.float64)
    if intercept:
        rows, start = np.column_stack([rows, np.ones(len(rows))]), np.vstack([start, b])
    else:
        y = y - b
    if not 0 < d <= MOST_COLUMNS or not all(map(is_moderate, (rows, y, start))):
        return None
    s = len(rows)
    shares = sample_weight[picked].astype(np.float64)[:, None] if sample_weight.size else 1.0
    weighted = rows * shares
    values, vectors = np.linalg.eigh(weighted.T @ rows / s)
    values = np.maximum(values, 0)
    inverse = 1 / np.maximum(values + l2 + 1e-9 * values[-1], 1e-300)
    # One step of Newton's method is all it takes.
    toward = weighted.T @ (rows @ start - y) / s + l2 * start
    best = start - vectors @ (inverse[:, None] * (vectors.T @ toward))
    slope = shares * (rows @ best - y)
    rotated = rows @ vectors
    squares = rotated * rotated
    noise = squares.T @ np.sum(slope * slope, axis=1) / s
    if l2:
        pull = l2 * (vectors.T @ best)
        noise += 2 * np.sum((rotated.T @ slope) * pull, axis=1) / s + np.sum(pull * pull, axis=1)
    moments = (squares * np.square(shares)).T @ squares / s
    return QuadraticModel(
        curvature=values + l2,
        error=np.sum(np.square(vectors.T @ (start - best)), axis=1),
        noise=noise,
        spread=moments - np.diag(np.square(values)),
    )
