"""Learning rates that are stable: what the curvature of the data allows for a batch size."""

from __future__ import annotations

import numpy as np

SAMPLE = 4096  # rows that the curvature is estimated from
_EXACT = 512  # up to so many columns the eigenvalue comes from a dense solver


def row_sample(X: np.ndarray, count: int = SAMPLE) -> np.ndarray:
    """Up to ``count`` evenly spaced rows of X in float64."""
    return X[:: max(1, -(-len(X) // count))].astype(np.float64)


def largest_eigenvalue(rows: np.ndarray, intercept: bool) -> float:
    """The largest eigenvalue of the Hessian of the half-squared loss, mean of x x^T over the rows.

    rows : (s, d) float64; with ``intercept`` a column of ones counts as one more column.
    """
    if intercept:
        rows = np.column_stack([rows, np.ones(len(rows))])
    s, d = rows.shape
    if d == 0:
        return 0.0
    if d <= _EXACT:
        return float(np.linalg.eigvalsh(rows.T @ rows / s)[-1])
    v = np.full(d, d**-0.5)  # power iteration; 50 products bring the largest eigenvalue to a percent or so
    size = 0.0
    for _ in range(50):
        v = rows.T @ (rows @ v) / s
        size = float(np.linalg.norm(v))
        if size == 0.0:
            return 0.0
        v /= size
    return size


def stable_lr(X: np.ndarray, batch_size: int, intercept: bool) -> float:
    """Half the best constant rate for a batch size, safe on any least-squares problem.

    The best constant rate is ``m / (beta + (m - 1) lambda1)`` with beta the largest squared row norm, lambda1
    the largest eigenvalue of the Hessian and m the batch size (Ma, Bassily, Belkin, "The power of
    interpolation", ICML 2018, arXiv 1712.06559, theorem 3).  It is derived for data that can be fitted
    exactly; half of it leaves room for noise and for a curvature that is estimated from a sample of rows.

    X : (n, d), finite.
    """
    with np.errstate(over="ignore"):
        beta = float(np.einsum("ij,ij->i", X, X, dtype=np.float64).max(initial=0.0)) + intercept
        lambda1 = largest_eigenvalue(row_sample(X), intercept)
        rate = 0.5 * batch_size / (beta + (batch_size - 1) * lambda1) if beta > 0 else 0.5
    return rate if rate > 0 else float(np.finfo(np.float64).tiny)


def overshooting_column(X: np.ndarray, lr: float) -> tuple[int, float] | None:
    """The column along which a step of ``lr`` overshoots most, and its mean square; None if none does.

    Gradient descent along column j alone multiplies the error by ``1 - lr * mean(x_j^2)``, which grows as
    soon as ``lr * mean(x_j^2) > 2``; a minibatch is no more forgiving.
    """
    squares = np.mean(np.square(row_sample(X)), axis=0)
    if squares.size == 0 or not lr * squares.max() > 2:
        return None
    worst = int(squares.argmax())
    return worst, float(squares[worst])


def dominating_column(X: np.ndarray, limit: float = 1e4) -> tuple[int, float] | None:
    """The column whose mean square is more than ``limit`` times the smallest, and that ratio, or None.

    A stable rate follows the largest column, so the weight of the smallest needs about ``ratio`` steps.
    """
    squares = np.mean(np.square(row_sample(X)), axis=0)
    squares_used = squares[squares > 0]
    if squares_used.size == 0 or not squares_used.max() > limit * squares_used.min():
        return None
    return int(squares.argmax()), float(squares_used.max() / squares_used.min())
