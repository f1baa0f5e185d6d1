"""Learning rates from the data: what is stable for a batch size, and what is best among the constant ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from numbasgd.jit import jit
from numbasgd.sgd.losses import LOSSES

if TYPE_CHECKING:
    from numbasgd.sgd.run import Method

SAMPLE = 2048  # rows that curvature and noise are estimated from
MOST_COLUMNS = 512  # beyond so many, eigenvalues come from power iteration and the best rate from a bound
_GROUPS = 24  # eigenvectors are merged to at most so many


class Size(NamedTuple):
    """How large the rows are: the largest and mean squared norm over all rows, and the largest eigenvalue.

    The intercept counts as a column of ones, and a squared norm as often as the row's weight says.

    ``curvature`` is the largest eigenvalue of the Hessian of the half-squared loss, mean of x x^T, estimated
    from a sample; what the sample lacks of the mean squared norm is added, so rows that it missed count.
    """

    beta: float
    mean: float
    curvature: float


def row_sample(X: np.ndarray, count: int = SAMPLE) -> np.ndarray:
    """Numbers of up to ``count`` rows, spread evenly but at no fixed distance."""
    n = len(X)
    if n <= count:
        return np.arange(n)
    edges = np.linspace(0, n, count, endpoint=False)
    return (edges + np.random.default_rng(n).random(count) * (n / count)).astype(np.int64)


def size_of(X: np.ndarray, intercept: bool, sample_weight: np.ndarray) -> Size:
    """One pass over X (n, d), and eigenvalues of a sample; sample_weight (n,) or of length 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.einsum("ij,ij->i", X, X)
        if not np.isfinite(norms.sum()):
            norms = np.einsum("ij,ij->i", X, X, dtype=np.float64)
        norms += intercept
        if sample_weight.size:
            norms *= sample_weight
        picked = row_sample(X)
        beta, mean = float(norms.max(initial=0.0)), float(norms.mean(dtype=np.float64))
        missed = max(mean - float(norms[picked].mean(dtype=np.float64)), 0.0)
        rows = X[picked].astype(np.float64)
        if intercept:
            rows = np.column_stack([rows, np.ones(len(rows))])
        if sample_weight.size:
            rows *= np.sqrt(sample_weight[picked])[:, None]
        return Size(beta, mean, largest_eigenvalue(rows) + missed)


def largest_eigenvalue(rows: np.ndarray) -> float:
    """The largest eigenvalue of the mean of x x^T over the rows (s, d) in float64; NaN for a NaN or Inf."""
    s, d = rows.shape
    if d == 0:
        return 0.0
    largest = float(np.abs(rows).max())
    if not np.isfinite(largest):
        return float("nan")
    if largest == 0:
        return 0.0
    rows = rows / largest  # no square overflows
    if d <= MOST_COLUMNS:
        return float(np.linalg.eigvalsh(rows.T @ rows / s)[-1]) * largest * largest
    v = np.full(d, d**-0.5)  # power iteration; 50 products bring the largest eigenvalue to a percent or so
    size = 0.0
    for _ in range(50):
        v = rows.T @ (rows @ v) / s
        size = float(np.linalg.norm(v))
        if size == 0.0:
            return 0.0
        v /= size
    return size * largest * largest


def stable_lr(size: Size, batch_size: int, curvature: float = 1.0, l2: float = 0.0) -> float:
    """The best constant rate for data that can be fitted exactly; half of what is still stable there.

    ``m / (beta + (m - 1) lambda1)`` with beta the largest squared row norm, lambda1 the largest eigenvalue of
    the Hessian and m the batch size (Ma, Bassily, Belkin, "The power of interpolation", ICML 2018, arXiv
    1712.06559, theorem 3), where beta and lambda1 are taken times the largest second derivative of the loss,
    and an L2 penalty adds its factor to both.
    """
    allowed = (size.beta + (batch_size - 1) * size.curvature) * curvature + batch_size * l2
    if allowed == 0:
        return 1.0
    return batch_size / allowed


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
    X: np.ndarray,
    y: np.ndarray,
    sample_weight: np.ndarray,
    w: np.ndarray,
    b: float,
    loss: str,
    intercept: bool,
    l2: float,
) -> Local | None:
    """What the choice of a rate needs to know; None where there are too many columns or no finite answer."""
    picked = row_sample(X)
    rows, y, start = X[picked].astype(np.float64), y[picked].astype(np.float64), w.astype(np.float64)
    if intercept:
        rows, start = np.column_stack([rows, np.ones(len(rows))]), np.append(start, b)
    s, d = rows.shape
    if not 0 < d <= MOST_COLUMNS or not _is_moderate(rows, y, start):
        return None
    shares = sample_weight[picked].astype(np.float64) if sample_weight.size else np.ones(s)
    at = rows @ start + (0.0 if intercept else b)
    optimum = start
    first_weight = np.ones(s)
    n_newton = 1 if loss == "squared" else 12
    for k in range(n_newton):
        slope, weight = (shares * a for a in _derivatives(at, y, loss, is_step=True))
        if k == 0:
            first_weight = shares * _derivatives(at, y, loss, is_step=False)[1]
        hessian = (rows * weight[:, None]).T @ rows / s
        values, vectors = np.linalg.eigh(hessian)
        # Directions without curvature stay where they are, and separable classes do not run away.
        ridge = (1e-9 if loss == "squared" else 1e-3) * values[-1]
        move = vectors @ (
            (vectors.T @ (rows.T @ slope / s + l2 * optimum)) / (np.maximum(values, 0) + l2 + ridge)
        )
        optimum = optimum - move
        at = at - rows @ move
        if float(move @ move) <= 1e-6 * float(optimum @ optimum):
            break
    slope, weight = (shares * a for a in _derivatives(at, y, loss, is_step=False))
    if loss != "squared":
        # What the steps see on their way lies between start and optimum.  Most of the way of a bounded slope
        # is outside the parabola; a logistic fit is soon where its curvature is that of the end.
        share = 0.5 if loss == "huber" else 0.1
        weight = (1 - share) * weight + share * first_weight
        values, vectors = np.linalg.eigh((rows * weight[:, None]).T @ rows / s)
    values = np.maximum(values, 0) + l2
    turned = rows @ vectors
    squares = turned * turned
    gradients = slope[:, None] * turned + l2 * (optimum @ vectors)
    moments = (squares * (weight * weight)[:, None]).T @ squares / s
    return Local(
        curvature=values,
        error=np.square((start - optimum) @ vectors),
        noise=np.mean(gradients * gradients, axis=0),
        spread=moments - np.diag(np.square(values - l2)),
    )


def _is_moderate(*arrays: np.ndarray) -> bool:
    """Whether products and squares of the entries stay far from overflow; false for NaN and Inf too."""
    return all(a.size == 0 or float(np.abs(a).max()) < 1e60 for a in arrays)


def _derivatives(z: np.ndarray, y: np.ndarray, loss: str, is_step: bool) -> tuple[np.ndarray, np.ndarray]:
    """Slope and second derivative of the loss in z, row by row; ``is_step``: one for Newton's steps.

    The hinge, which has no second derivative, is taken for the logistic loss, its smooth relative.  For
    the steps of the Huber loss it is the curvature of the parabola above it (iteratively reweighted least
    squares: Holland and Welsch, Communications in Statistics A6, 1977).
    """
    if LOSSES[loss].targets == "signs":
        p = 0.5 * (1 + np.tanh(-0.5 * y * z))
        return -y * p, np.maximum(p * (1 - p), 1e-3)
    r = z - y
    if loss == "huber":
        size = np.abs(r)
        return np.clip(r, -1, 1), 1 / np.maximum(size, 1) if is_step else (size <= 1) * 1.0
    return r, np.ones_like(r)


def best_constant(local: Local, n: int, batch_size: int, epochs: int) -> float:
    """The constant rate with the least expected loss after so many epochs, to some percent.

    Along each eigenvector the mean squared error m of the weights follows, from one step to the next,
    ``m := (1 - lr h)^2 m + lr^2 / b (noise + spread m)`` with h the curvature and b the batch size: the noisy
    quadratic model (Zhang et al., "Which algorithmic choices matter at which batch sizes?", NeurIPS 2019,
    arXiv 1907.04164, eq. 3) with the noise that rows of different length add (Defossez and Bach, "Averaged
    least-mean-squares", AISTATS 2015, arXiv 1412.0156, section 3).  Rates beyond stability come out large by
    themselves.
    """
    local = grouped(local)
    steps = max(1, epochs) * -(-n // batch_size)
    left = (n - batch_size) / max(n - 1, 1) / batch_size  # of the variance, when rows are not replaced
    return _search(*local, steps, left)


@jit
def _excess(h, error, noise, spread, lr, steps, left):
    """Twice the expected loss above the minimum after so many steps, by repeated squaring of one step's map."""
    d = h.shape[0]
    step = np.zeros((d + 1, d + 1))
    for i in range(d):
        for j in range(d):
            step[i, j] = lr * lr * left * spread[i, j]
        step[i, i] += (1 - lr * h[i]) ** 2
        step[i, d] = lr * lr * left * noise[i]
    step[d, d] = 1
    state = np.ones(d + 1)
    state[:d] = error
    other = np.empty_like(step)
    moved = np.empty_like(state)
    while steps > 0:
        if steps & 1:
            for i in range(d + 1):
                moved[i] = 0
                for j in range(d + 1):
                    moved[i] += step[i, j] * state[j]
            state[:] = moved
        steps >>= 1
        if steps > 0:
            for i in range(d + 1):
                for j in range(d + 1):
                    other[i, j] = 0
                for k in range(d + 1):
                    x = step[i, k]
                    for j in range(d + 1):
                        other[i, j] += x * step[k, j]
            step, other = other, step
    total = 0.0
    for i in range(d):
        total += state[i] * h[i]
    return total if np.isfinite(total) else np.inf


@jit
def _search(h, error, noise, spread, steps, left):
    """The rate of least expected excess: decades first, then around the best one ever closer."""
    top = 2.0 / max(h.max(), 1e-300)
    best = 0.0
    least = np.inf
    for stage in range(4):
        centre = best
        width = 3.0 if stage == 0 else 0.75 / 3.0 ** (stage - 1)  # decades to either side
        for q in range(-3, 4):
            exponent = min(centre + width * q / 3.0, 0.0) if stage > 0 else q - 3.0
            excess = _excess(h, error, noise, spread, top * 10.0**exponent, steps, left)
            if excess < least:
                best, least = exponent, excess
    return top * 10.0**best


def auto_lr(local: Local | None, size: Size, method: Method, n: int, epochs: int, curvature: float) -> float:
    """The rate of ``lr="auto"``: the best constant one by the model above, below what is stable for sure.

    With averaged weights the noise of large steps averages out, and half the stable rate is taken.
    """
    stable = stable_lr(size, method.batch_size, curvature, method.l2)
    rate = 0.5 * stable
    if local is not None and method.average_from is None:
        rate = min(best_constant(local, n, method.batch_size, epochs), 1.8 * stable)
    return rate * (1 - method.momentum)


def grouped(local: Local, most: int = _GROUPS) -> Local:
    """At most ``most`` groups of neighbouring eigenvectors, as if each were one."""
    d = len(local.curvature)
    if d <= most:
        return local
    edges = np.linspace(0, d, most + 1).astype(int)[:-1]
    sizes = np.diff(np.append(edges, d))
    within = np.add.reduceat(np.add.reduceat(local.spread, edges, axis=0), edges, axis=1)
    return Local(
        np.add.reduceat(local.curvature, edges) / sizes,
        np.add.reduceat(local.error, edges),
        np.add.reduceat(local.noise, edges),
        within / sizes,  # what a group gets from the mean error of another
    )


def overshooting_column(X: np.ndarray, lr: float) -> tuple[int, float] | None:
    """The column along which a step of ``lr`` overshoots most, and its mean square; None if none does.

    Gradient descent along column j alone multiplies the error by ``1 - lr * mean(x_j^2)``, which grows as
    soon as ``lr * mean(x_j^2) > 2``; a minibatch is no more forgiving.
    """
    squares = _mean_squares(X)
    if squares.size == 0 or not lr * squares.max() > 2:
        return None
    worst = int(squares.argmax())
    return worst, float(squares[worst])


def dominating_column(X: np.ndarray, limit: float = 1e4) -> tuple[int, float] | None:
    """The column whose mean square is more than ``limit`` times the smallest, and that ratio, or None.

    A stable rate follows the largest column, so the weight of the smallest needs about ``ratio`` steps.
    """
    squares = _mean_squares(X)
    squares_used = squares[squares > 0]
    if squares_used.size == 0 or not squares_used.max() > limit * squares_used.min():
        return None
    return int(squares.argmax()), float(squares_used.max() / squares_used.min())


def _mean_squares(X: np.ndarray) -> np.ndarray:
    rows = X[row_sample(X)]
    with np.errstate(over="ignore"):
        return np.einsum("ij,ij->j", rows, rows, dtype=np.float64) / len(rows)
