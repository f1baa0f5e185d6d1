"""The model of ``rates.py`` for a problem with K outputs.

All outputs see the same rows, so with the half-squared loss their Hessian is one and the same, and squared
errors and variances of gradients add up over the outputs.  The Hessian of the softmax loss, the mean of
diag(p) - p p^T times x x^T over the rows, mixes the outputs.  It is taken apart as a product of two (Martens
and Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", ICML 2015): the mean of
the first, in whose eigenvectors the outputs are seen, and the mean of x x^T, each row with the weight
trace / (K - 1), the mean eigenvalue of its first factor.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numbasgd.sgd.losses import LOSSES
from numbasgd.sgd.quadratic import Local, grouped
from numbasgd.sgd.rates import MOST_COLUMNS, is_moderate, row_sample

_STEPS = 100  # towards the optimum of a loss that is not squared, unless they take too long:
_WORK = 1 << 30  # multiply-adds
_OUTPUT_GROUPS = 4  # into so many groups the output directions are cut, and columns then into
_GROUPS = 6
_RIDGE = 1e-3  # of the largest curvature; separable classes do not run away


def local_model(
    X: np.ndarray,
    y: np.ndarray,
    sample_weight: np.ndarray,
    w: np.ndarray,
    b: Any,
    loss: str,
    intercept: bool,
    l2: float,
) -> tuple[Local | None, float]:
    """As ``rates.local_model``, for y (n, K) or classes 0 to K - 1, w (d, K) and b (K,).

    And the share of its bound that the mean second derivative has, half-way from the start to the optimum (on
    a scale of factors): slopes of the softmax loss are bounded, so a step that is too long at first is no harm.
    """
    picked = row_sample(len(X))
    rows, y, start = X[picked].astype(np.float64), y[picked].astype(np.float64), w.astype(np.float64)
    if intercept:
        rows, start = np.column_stack([rows, np.ones(len(rows))]), np.vstack([start, b])
    s, d = rows.shape
    if not 0 < d <= MOST_COLUMNS or not all(map(is_moderate, (rows, y, start))):
        return None, 1.0
    shares = (sample_weight[picked].astype(np.float64) if sample_weight.size else np.ones(s))[:, None]
    at = rows @ start + (0.0 if intercept else b)
    is_squared = loss == "squared"
    # The bound of the second derivative takes part in every step: it never overshoots (Boehning, 1992).
    values, vectors = np.linalg.eigh((rows * shares).T @ rows / s)
    values = np.maximum(values, 0) * LOSSES[loss].curvature
    ridge = (1e-9 if is_squared else _RIDGE) * values[-1]
    inverse = 1 / np.maximum(values + l2 + ridge, 1e-300)
    at_start, optimum, ahead, at_optimum = at, start, start, at
    n_steps = 1 if is_squared else max(10, min(_STEPS, _WORK // (2 * rows.size * start.shape[1])))
    for t in range(n_steps):  # accelerated (Nesterov, 1983)
        slope = shares * _derivatives(at, y, loss)[0]
        toward = vectors.T @ (rows.T @ slope / s + l2 * ahead)
        before, at_before = optimum, at_optimum
        optimum = ahead - vectors @ (inverse[:, None] * toward)
        move = optimum - before
        at_optimum = at_before + rows @ move
        share = t / (t + 3)
        ahead, at = optimum + share * move, at_optimum + share * (at_optimum - at_before)
        if np.sum(move * move) <= 1e-8 * np.sum(optimum * optimum):
            break
    at = at_optimum
    slope, weight = _derivatives(at, y, loss)
    slope = shares * slope
    weight = shares[:, 0] * weight
    if not is_squared:
        values, vectors = np.linalg.eigh((rows * weight[:, None]).T @ rows / s)
    values = np.maximum(values, 0) + l2
    turned = rows @ vectors
    squares = turned * turned
    moments = (squares * (weight * weight)[:, None]).T @ squares / s
    away, pull = vectors.T @ (start - optimum), l2 * (vectors.T @ optimum)
    shares_of, turn = [1.0], [np.eye(start.shape[1])]
    if loss == "softmax":
        shares_of, turn = _directions(_softmax(at), shares)
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
    local = parts[0] if len(parts) == 1 else _side_by_side([grouped(part, _GROUPS) for part in parts])
    if loss != "softmax":
        return local, 1.0
    whole = _largest_eigenvalue(rows * np.sqrt(shares))
    seen = [_largest_eigenvalue(rows * np.sqrt(shares[:, 0] * _steepest(z))[:, None]) for z in (at_start, at)]
    return local, min(1.0, math.sqrt(seen[0] * seen[1]) / max(LOSSES[loss].curvature * whole, 1e-300))


def _largest_eigenvalue(rows: np.ndarray) -> float:
    """Of the mean of x x^T over the rows (s, d)."""
    return float(np.linalg.eigvalsh(rows.T @ rows / len(rows))[-1])


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


def _softmax(z: np.ndarray) -> np.ndarray:
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def _steepest(z: np.ndarray) -> np.ndarray:
    """A bound of the largest eigenvalue of diag(p) - p p^T, row by row: Gershgorin's discs, and max p."""
    p = _softmax(z)
    return np.minimum((2 * p * (1 - p)).max(axis=1), p.max(axis=1))


def _derivatives(z: np.ndarray, y: np.ndarray, loss: str) -> tuple[np.ndarray, np.ndarray]:
    """Slopes (s, K), and the second derivative of a row (s,), its mean over the outputs or directions."""
    if loss == "softmax":
        p = _softmax(z)
        weight = np.sum(p * (1 - p), axis=1) / (p.shape[1] - 1)
        p[np.arange(len(y)), y.astype(np.intp)] -= 1
        return p, np.maximum(weight, 1e-3)
    r = z - y
    if loss == "huber":
        return np.clip(r, -1, 1), np.mean(np.abs(r) <= 1, axis=1)
    return r, np.ones(len(r))
