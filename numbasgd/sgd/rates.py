"""Learning rates that are stable: what the curvature of the data allows for a batch size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numbasgd.sgd.losses import LOSSES

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
    if not np.isfinite(rows.sum()):
        return float("nan")
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


class Local(NamedTuple):
    """The problem near its optimum, seen from the eigenvectors of its Hessian, estimated from a sample of rows.

    curvature : (d,) eigenvalues.  error : (d,) squared distance of the start from the optimum.
    noise : (d,) variance of the gradient of one row at the optimum.
    spread : (d, d) what one row's gradient adds to that variance, per squared error along each direction.
    """

    curvature: np.ndarray
    error: np.ndarray
    noise: np.ndarray
    spread: np.ndarray


def local_model(
    X: np.ndarray, y: np.ndarray, w: np.ndarray, b: float, loss: str, intercept: bool, l2: float
) -> Local | None:
    """What the choice of a rate needs to know; None where there are too many columns or no finite answer."""
    rows = row_sample(X)
    y = y[:: max(1, -(-len(X) // SAMPLE))].astype(np.float64)
    start = w.astype(np.float64)
    if intercept:
        rows = np.column_stack([rows, np.ones(len(rows))])
        start = np.append(start, b)
    else:
        y = y - b if LOSSES[loss].targets == "real" else y
    s, d = rows.shape
    if not 0 < d <= _EXACT:
        return None
    optimum, slope, weight = _optimum(rows, y, start, loss, l2)
    hessian = (rows * weight[:, None]).T @ rows / s
    if not np.all(np.isfinite(hessian)):
        return None
    values, vectors = np.linalg.eigh(hessian)
    turned = rows @ vectors
    squares = np.square(turned)
    gradients = (slope[:, None] * turned) + l2 * (vectors.T @ optimum)
    moments = (squares * np.square(weight)[:, None]).T @ squares / s
    return Local(
        curvature=np.maximum(values, 0.0) + l2,
        error=np.square(vectors.T @ (start - optimum)),
        noise=np.mean(np.square(gradients), axis=0),
        spread=moments - np.diag(np.square(values)),
    )


def _optimum(
    rows: np.ndarray, y: np.ndarray, w: np.ndarray, loss: str, l2: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Newton's method on the sample: the optimum, and slope and second derivative of each row there.

    A small ridge keeps separable classes from running away; the hinge, which has no second derivative, is
    taken for the logistic loss, whose slopes it shares up to smoothing.
    """
    s, d = rows.shape
    ridge = l2 + 1e-6 * float(np.einsum("ij,ij->", rows, rows)) / (s * d)
    is_linear = loss == "squared"
    for _ in range(1 if is_linear else 8):
        slope, weight = _derivatives(rows @ w, y, loss)
        hessian = (rows * weight[:, None]).T @ rows / s + ridge * np.eye(d)
        w = w - np.linalg.lstsq(hessian, rows.T @ slope / s + l2 * w, rcond=None)[0]
    return w, *_derivatives(rows @ w, y, loss)


def _derivatives(z: np.ndarray, y: np.ndarray, loss: str) -> tuple[np.ndarray, np.ndarray]:
    """First and second derivative of the loss in z, row by row."""
    if LOSSES[loss].targets == "signs":
        p = 0.5 * (1 + np.tanh(-0.5 * y * z))
        return -y * p, np.maximum(p * (1 - p), 1e-3)
    r = z - y
    if loss == "huber":
        return np.clip(r, -1, 1), np.where(np.abs(r) <= 1, 1.0, 1e-2)
    return r, np.ones_like(r)


def best_constant(local: Local, n: int, batch_size: int, epochs: int) -> float:
    """The constant rate with the least expected loss after so many epochs, on a grid of 48 rates.

    Along each eigenvector the mean squared error m of the weights follows, from one step to the next,
    ``m := (1 - lr h)^2 m + lr^2 / b (noise + spread m)`` with h the curvature and b the batch size: the noisy
    quadratic model (Zhang et al., "Which algorithmic choices matter at which batch sizes?", NeurIPS 2019,
    arXiv 1907.04164, eq. 3) with the noise that rows of different length add (Defossez and Bach, "Averaged
    least-mean-squares", AISTATS 2015, arXiv 1412.0156, section 3).  Rates beyond stability come out infinite by
    themselves.  Eigenvectors are merged to at most 24 groups.
    """
    h, m, noise, spread = _grouped(local, 24)
    d = len(h)
    steps = max(1, epochs * -(-n // batch_size))
    left = (n - batch_size) / max(n - 1, 1) / batch_size  # without replacement
    top = 2.0 / max(float(h.max()), 1e-300)
    lrs = top * np.logspace(-5, 0, 48)
    # (m, 1) -> (m, 1) as one matrix for each rate, raised to the number of steps by repeated squaring
    step = np.zeros((len(lrs), d + 1, d + 1))
    step[:, :d, :d] = np.square(lrs)[:, None, None] * left * spread
    step[:, range(d), range(d)] += np.square(1 - lrs[:, None] * h)
    step[:, :d, d] = np.square(lrs)[:, None] * left * noise
    step[:, d, d] = 1
    state = np.append(m, 1.0)
    states = np.broadcast_to(state, (len(lrs), d + 1)).copy()
    with np.errstate(over="ignore", invalid="ignore"):
        while steps:
            if steps & 1:
                states = np.einsum("kij,kj->ki", step, states)
            steps >>= 1
            if steps:
                step = step @ step
        excess = states[:, :d] @ h
    excess = np.where(np.isfinite(excess), excess, np.inf)
    return float(lrs[int(excess.argmin())])


def _grouped(local: Local, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Curvature, error, noise and spread of at most so many groups of neighbouring eigenvectors."""
    h, m, noise, spread = local
    d = len(h)
    if d <= most:
        return h, m, noise, spread
    edges = np.linspace(0, d, most + 1).astype(int)[:-1]
    sizes = np.diff(np.append(edges, d))
    total = np.add.reduceat(h, edges)
    mass = np.add.reduceat(m, edges)
    # errors are summed within a group; a group's spread is what its members get from the mean of another
    within = np.add.reduceat(np.add.reduceat(spread, edges, axis=0), edges, axis=1) / sizes
    return total / sizes, mass, np.add.reduceat(noise, edges), within


def stable_lr(X: np.ndarray, batch_size: int, intercept: bool, curvature: float = 1.0) -> float:
    """Half the best constant rate for a batch size, safe on any least-squares problem.

    The best constant rate is ``m / (beta + (m - 1) lambda1)`` with beta the largest squared row norm, lambda1
    the largest eigenvalue of the Hessian and m the batch size (Ma, Bassily, Belkin, "The power of
    interpolation", ICML 2018, arXiv 1712.06559, theorem 3).  It is derived for data that can be fitted
    exactly; half of it leaves room for noise and for a curvature that is estimated from a sample of rows.

    X : (n, d), finite, in any memory order.
    curvature : the largest second derivative of the loss.
    """
    with np.errstate(over="ignore"):
        beta = float(np.einsum("ij,ij->i", X, X, dtype=np.float64).max(initial=0.0)) + intercept
        lambda1 = largest_eigenvalue(row_sample(X), intercept)
        rate = 0.5 * batch_size / (beta + (batch_size - 1) * lambda1) if beta > 0 else 0.5
    rate /= curvature
    return float(np.finfo(np.float64).tiny) if rate <= 0 else rate  # NaN stays, and tells of a NaN in X


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
