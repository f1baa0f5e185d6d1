"""The model of ``curvature.py`` for a problem with K outputs.

All outputs see the same rows, so with the half-squared loss their Hessian is one and the same, and squared
errors and variances of gradients add up over the outputs.  The Hessian of the softmax loss, the mean of
diag(p) - p p^T times x x^T over the rows, mixes the outputs.  It is taken apart as a product of two (Martens
and Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", ICML 2015): the mean of
the first, in whose eigenvectors the outputs are seen, and the mean of x x^T, each row with the weight
trace / (K - 1), the mean eigenvalue of its first factor.
"""

from __future__ import annotations

import numpy as np

from numbasgd.sgd.learning_rate.curvature import MOST_COLUMNS, is_moderate, row_sample
from numbasgd.sgd.learning_rate.quadratic import Local, grouped
from numbasgd.sgd.losses import softmax

_OUTPUT_GROUPS = 4  # into so many groups the output directions are cut, and columns then into
_GROUPS = 6


def local_model(
    X: np.ndarray,
    y: np.ndarray,
    sample_weight: np.ndarray,
    w: np.ndarray,
    b: np.ndarray,
    loss: str,
    intercept: bool,
    l2: float,
    optimum: tuple[np.ndarray, np.ndarray] | None = None,
) -> Local | None:
    """As ``rates.local_model``, for y (n, K) or classes 0 to K - 1, w (d, K) and b (K,).

    optimum : (w, b) near it, of a loss that is not squared.
    """
    picked = row_sample(len(X))
    rows, y = X[picked].astype(np.float64), y[picked].astype(np.float64)
    start = _stacked(w, b, intercept)
    if intercept:
        rows = np.column_stack([rows, np.ones(len(rows))])
    s, d = rows.shape
    if not 0 < d <= MOST_COLUMNS or not all(map(is_moderate, (rows, y, start))):
        return None
    shares = (sample_weight[picked].astype(np.float64) if sample_weight.size else np.ones(s))[:, None]
    offset = 0.0 if intercept else b
    if optimum is None:  # one step of Newton's method is all it takes
        values, vectors = np.linalg.eigh((rows * shares).T @ rows / s)
        inverse = 1 / np.maximum(np.maximum(values, 0) + l2 + 1e-9 * values[-1], 1e-300)
        toward = rows.T @ (shares * (rows @ start + offset - y)) / s + l2 * start
        best = start - vectors @ (inverse[:, None] * (vectors.T @ toward))
    else:
        best = _stacked(*optimum, intercept)
        offset = 0.0 if intercept else optimum[1]
    at = rows @ best + offset
    slope, weight = _derivatives(at, y, loss)
    slope = shares * slope
    weight = shares[:, 0] * weight
    if optimum is not None:
        values, vectors = np.linalg.eigh((rows * weight[:, None]).T @ rows / s)
    values = np.maximum(values, 0) + l2
    turned = rows @ vectors
    squares = turned * turned
    moments = (squares * (weight * weight)[:, None]).T @ squares / s
    away, pull = vectors.T @ (start - best), l2 * (vectors.T @ best)
    shares_of, turn = [1.0], [np.eye(start.shape[1])]
    if loss == "softmax":
        shares_of, turn = _directions(softmax(at), shares)
    parts = []
    for share, U in zip(shares_of, turn, strict=True):
        gradients, steady = slope @ U, pull @ U
        noise = squares.T @ np.sum(gradients * gradients, axis=1) / s
        noise += 2 * np.sum(turned * (gradients @ steady.T), axis=0) / s + np.sum(steady * steady, axis=1)
        parts.append(
            Local(
                curvature=share * (values - l2) + l2,
                error=np.sum(np.square(away @ U), axis=1),
                noise=noise,
                spread=share**2 * (moments - np.diag(np.square(values - l2))),
            )
        )
    return parts[0] if len(parts) == 1 else _side_by_side([grouped(part, _GROUPS) for part in parts])


def _stacked(w: np.ndarray, b: np.ndarray, intercept: bool) -> np.ndarray:
    """Weights with the intercepts, if any are trained, as a last row, in float64."""
    w = w.astype(np.float64)
    return np.vstack([w, b]) if intercept else w


def _directions(p: np.ndarray, shares: np.ndarray) -> tuple[list[float], list[np.ndarray]]:
    """Groups of eigenvectors of the mean of diag(p) - p p^T, and their eigenvalues relative to the mean one."""
    sizes, turn = np.linalg.eigh(np.diag((shares * p).mean(axis=0)) - (shares * p).T @ p / len(p))
    sizes, turn = np.maximum(sizes[1:], 0), turn[:, 1:]  # along (1, ..., 1) nothing changes
    groups = np.array_split(np.arange(len(sizes)), min(len(sizes), _OUTPUT_GROUPS))
    return [float(sizes[g].mean() / max(sizes.mean(), 1e-300)) for g in groups], [turn[:, g] for g in groups]


def _side_by_side(parts: list[Local]) -> Local:
    """Models that do not touch each other as one."""
    sizes = [len(part.curvature) for part in parts]
    spread = np.zeros((sum(sizes), sum(sizes)))
    at = 0
    for size, part in zip(sizes, parts, strict=True):
        spread[at : at + size, at : at + size] = part.spread
        at += size
    curvature, error, noise = (np.concatenate([part[k] for part in parts]) for k in range(3))
    return Local(curvature, error, noise, spread)


def _derivatives(z: np.ndarray, y: np.ndarray, loss: str) -> tuple[np.ndarray, np.ndarray]:
    """Slopes (s, K), and the second derivative of a row (s,), its mean over the outputs or directions."""
    if loss == "softmax":
        p = softmax(z)
        weight = np.sum(p * (1 - p), axis=1) / (p.shape[1] - 1)
        p[np.arange(len(y)), y.astype(np.intp)] -= 1
        return p, np.maximum(weight, 1e-3)
    r = z - y
    if loss == "huber":
        return np.clip(r, -1, 1), np.mean(np.abs(r) <= 1, axis=1)
    return r, np.ones(len(r))
