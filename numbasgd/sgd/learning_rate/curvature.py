"""Learning rates from the data: what is stable for a batch size, and what is best among the constant ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from numbasgd.sgd.csr import Csr
from numbasgd.sgd.learning_rate.least_squares import LARGEST, RIDGE, TINY
from numbasgd.sgd.learning_rate.quadratic import QuadraticModel, best_constant
from numbasgd.sgd.losses import Loss

if TYPE_CHECKING:
    from numbasgd.sgd.config import Method
    from numbasgd.sgd.dataset import Dataset

SAMPLE = 2048  # rows that curvature and noise are estimated from
MOST_COLUMNS = 512  # beyond so many, eigenvalues come from power iteration and the best rate from a bound
_FEW = 32  # rows, or columns
_ITERATIONS = 20  # of power iteration over sparse rows
_BLOCK = 1 << 15  # entries whose squares are held at once
_START = 0.05  # share of the curvature at the start in what the steps of a run see; the rest is that at its end
_FALLEN = 0.3  # of the curvature at the start: with less at the optimum, no quadratic holds between them


class RowSizes(NamedTuple):
    """How large the rows are: the largest and mean squared norm over all rows, and the largest eigenvalue.

    The intercept counts as a column of ones, and a squared norm as often as the row's weight says.

    ``curvature`` is the largest eigenvalue of the Hessian of the half-squared loss, mean of x x^T, estimated
    from a sample; what the sample lacks of the mean squared norm is added, so rows that it missed count.
    """

    beta: float
    mean: float
    curvature: float


def row_sample(n: int, count: int = SAMPLE) -> np.ndarray | slice:
    """Which of n rows are looked at: all, or ``count`` of them, spread evenly but at no fixed distance."""
    if n <= count:
        return slice(None)
    edges = np.linspace(0, n, count, endpoint=False)
    return (edges + np.random.default_rng(n).random(count) * (n / count)).astype(np.int64)


def some_rows(dataset: Dataset, count: int) -> Dataset:
    """At most so many of its rows, in the memory order that X has."""
    picked = row_sample(dataset.n, count)
    return dataset if isinstance(picked, slice) else dataset.take(picked, keeps_layout=True)


class Sample:
    """Some rows of X (n, d) in float64 and what they tell; sample_weight (n,) or of length 0.

    picked : which rows.  columns : (d, s) their entries, a row of ones behind for the intercept.
    shares : (s,) their weights, or None.  largest : the largest squared norm of all rows, without weights.
    size : as below, for all rows.
    """

    def __init__(self, X: np.ndarray, intercept: bool, sample_weight: np.ndarray) -> None:
        n, d = X.shape
        self.intercept = intercept
        self.picked = row_sample(n)
        rows = X if n <= SAMPLE else X[self.picked]
        self.columns = columns = np.empty((d + intercept, len(rows)))
        columns[:d] = rows.T
        if intercept:
            columns[d] = 1.0
        self.shares = sample_weight[self.picked].astype(np.float64) if sample_weight.size else None
        self._eigen: tuple[np.ndarray, np.ndarray] | None = None
        with np.errstate(over="ignore", invalid="ignore"):
            norms = np.einsum("ij,ij->j", columns, columns) if n <= SAMPLE else _norms_of_all(X, intercept)
            beta = self.largest = float(norms.max())
            if sample_weight.size:
                norms *= sample_weight
                beta = float(norms.max())
            mean = float(np.add.reduce(norms, dtype=np.float64)) / n
            missed = 0.0
            if len(rows) < n:
                missed = max(mean - float(norms[self.picked].mean(dtype=np.float64)), 0.0)
            self.size = RowSizes(beta, mean, self._largest_eigenvalue() + missed)

    @property
    def eigen(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues, and eigenvectors as columns, of the mean of x x^T."""
        if self._eigen is None:
            self._eigen = np.linalg.eigh(self.hessian(self.shares))
        return self._eigen

    def hessian(self, weight: np.ndarray | None) -> np.ndarray:
        """The mean of weight x x^T, (d, d)."""
        return _mean_products(self.columns, weight)

    def _largest_eigenvalue(self) -> float:
        d, s = self.columns.shape
        if d == 0:
            return 0.0
        if not math.isfinite(self.largest):
            return float("nan")
        if TINY < self.largest < 1e150 and d <= MOST_COLUMNS:
            return float(self.eigen[0][-1])
        columns = self.columns if self.shares is None else self.columns * np.sqrt(self.shares)
        largest = float(np.abs(columns).max())
        if largest == 0:
            return 0.0
        columns = columns / largest  # no square overflows
        if d <= MOST_COLUMNS:
            return float(np.linalg.eigvalsh(columns @ columns.T / s)[-1]) * largest * largest
        v = np.full(d, d**-0.5)  # power iteration; 50 products bring it to a percent or so
        size = 0.0
        for _ in range(50):
            v = columns @ (v @ columns) / s
            size = float(np.linalg.norm(v))
            if size == 0.0:
                return 0.0
            v /= size
        return size * largest * largest


def sparse_sizes(X: Csr, intercept: bool, sample_weight: np.ndarray) -> RowSizes:
    """How large sparse rows are: norms of all of them, and power iteration over a sample."""
    with np.errstate(over="ignore", invalid="ignore"):
        norms = X.squared_norms() + intercept
        if sample_weight.size:
            norms *= sample_weight
        beta, mean = float(norms.max()), float(norms.mean())
        picked = row_sample(len(X))
        rows = X[picked]
        s = sample_weight[picked].astype(np.float64) if sample_weight.size else np.ones(len(rows))
        v, u, size = np.ones(X.shape[1]), float(intercept), 0.0
        for _ in range(_ITERATIONS):
            z = s * (rows @ v + u)
            v, u = z @ rows / len(rows), float(z.mean()) * intercept
            size = math.hypot(float(np.linalg.norm(v)), u)
            if not 0 < size < math.inf:
                break
            v, u = v / size, u / size
        missed = max(mean - float(norms[picked].mean()), 0.0)
    return RowSizes(beta, mean, size + missed)


def _mean_products(a: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """The mean of weight a a^T over the columns of a (m, s), (m, m)."""
    if weight is not None:
        weighted = a * weight
    else:  # of an array and its own transpose BLAS makes half, which for few rows takes it three times as long
        weighted = a.copy() if len(a) <= _FEW else a
    return np.dot(weighted, a.T) / a.shape[1]


def _norms_of_all(X: np.ndarray, intercept: bool) -> np.ndarray:
    """|x|^2 of the rows (n,) with the intercept, in the dtype of X unless that overflows."""
    norms = _squared_norms(X)
    if not math.isfinite(norms.max()):
        norms = np.einsum("ij,ij->i", X, X, dtype=np.float64)
    norms += intercept
    return norms


def _squared_norms(X: np.ndarray) -> np.ndarray:
    """|x|^2 of the rows (n,), some rows at a time."""
    n, d = X.shape
    count = max(1, _BLOCK // max(d, 1))
    norms = np.empty(n, X.dtype)
    ones = np.ones(d, X.dtype)
    for at in range(0, n, count):
        block = X[at : at + count]
        np.matmul(block * block, ones, out=norms[at : at + count])
    return norms


def stable_lr(size: RowSizes, batch_size: int, curvature: float = 1.0, l2: float = 0.0) -> float:
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


def curvature_of(loss: Loss, dataset: Dataset, w: np.ndarray, b: Any) -> float:
    """The largest second derivative of the loss in a prediction; where none is known, its mean at w and b."""
    if loss.curvature is not None:
        return loss.curvature
    if loss.derivatives is None:
        return 1.0
    picked = row_sample(dataset.n)
    rows, y = (a[picked].astype(np.float64) for a in (dataset.X, dataset.y))
    shares = dataset.sample_weight[picked].astype(np.float64) if dataset.is_weighted else None
    with np.errstate(all="ignore"):  # of a NaN or Inf, whoever looks at the loss will tell
        second = loss.derivatives(rows @ w + b, y, False, shares)[1]
        if second is None:
            return 1.0
        return float((second if shares is None else (second.T * shares).T).mean())


def local_model(
    sample: Sample, y: np.ndarray, w: np.ndarray, b: float, loss: Loss, l2: float
) -> QuadraticModel | None:
    """What the choice of a rate needs to know; None where there are too many columns or no quadratic holds."""
    columns, shares, of_loss = sample.columns, sample.shares, loss.derivatives
    d, s = columns.shape
    y, start = y[sample.picked].astype(np.float64), w.astype(np.float64)
    if sample.intercept:
        start = np.append(start, b)
    # Products and squares must stay far from overflow.
    is_moderate_all = sample.largest < LARGEST and is_moderate(y) and is_moderate(start)
    if of_loss is None or not (0 < d <= MOST_COLUMNS and is_moderate_all):
        return None

    def derivatives(at: np.ndarray, is_step: bool) -> tuple[np.ndarray, np.ndarray | None]:
        slope, weight = of_loss(at, y, is_step, shares)
        if shares is None:
            return slope, weight
        return shares * slope, shares if weight is None else shares * weight

    at = np.dot(start, columns)
    if not sample.intercept:
        at += b
    optimum = start
    first_weight = None
    for k in range(1 if loss.is_quadratic else 12):
        slope, weight = derivatives(at, is_step=True)
        if k == 0:
            first_weight = derivatives(at, is_step=False)[1]
        values, vectors = sample.eigen if loss.is_quadratic else np.linalg.eigh(sample.hessian(weight))
        # Directions without curvature stay where they are, and separable classes do not run away.
        ridge = RIDGE[loss.is_quadratic] * values[-1]
        gradient = np.dot(columns, slope) / s + l2 * optimum
        move = np.dot(vectors, np.dot(gradient, vectors) / (np.maximum(values, 0) + (l2 + ridge)))
        optimum = optimum - move
        at -= np.dot(move, columns)
        if not loss.is_quadratic and float(move @ move) <= 1e-6 * float(optimum @ optimum):
            break
    slope, weight = derivatives(at, is_step=False)
    if not loss.is_quadratic and weight is not None and first_weight is not None:
        if weight.mean() < _FALLEN * first_weight.mean():
            return None
        # What the steps see on their way lies between start and optimum.
        weight = (1 - _START) * weight + _START * first_weight
        values, vectors = np.linalg.eigh(sample.hessian(weight))
    values = np.maximum(values, 0)
    squares = rotated = np.dot(vectors.T, columns)
    if l2:
        rotated = rotated.copy()
    squares *= squares
    noise = np.dot(squares, slope * slope) / s
    if l2:
        pull = l2 * (optimum @ vectors)
        noise += pull * (2 * (rotated @ slope) / s + pull)
    spread = _mean_products(squares, None if weight is None else weight * weight)
    spread.reshape(-1)[:: d + 1] -= values * values
    return QuadraticModel(
        curvature=values + l2, error=np.square((start - optimum) @ vectors), noise=noise, spread=spread
    )


def is_moderate(a: np.ndarray) -> bool:
    """Whether all entries are finite and their squares far from overflow."""
    return a.size == 0 or (-1e60 < float(a.min()) and float(a.max()) < 1e60)


def auto_lr(
    local: QuadraticModel | None,
    size: RowSizes,
    method: Method,
    n: int,
    epochs: int,
    curvature: float,
    is_exact: bool = False,
) -> float:
    """The best constant rate by the model above, below what is stable for sure.

    is_exact : whether the model is that of all rows, so that it knows what gradient descent may do.

    With averaged weights the noise of large steps averages out, and half the stable rate is taken.
    """
    if method.batch_size >= n:  # all rows at once, however many they are
        size = RowSizes(size.curvature, size.mean, size.curvature)
    stable = stable_lr(size, method.batch_size, curvature, method.l2)
    rate = 0.5 * stable
    if local is not None and method.average_from is None:
        rate = best_constant(local, n, method.batch_size, epochs, method.sampling)
        if method.batch_size < n or not is_exact:
            rate = min(rate, 1.8 * stable)
    return rate * (1 - method.momentum)


def overshooting_column(squares: list[float], lr: float) -> tuple[int, float] | None:
    """The column along which a step of ``lr`` overshoots most, and its mean square; None if none does.

    Gradient descent along column j alone multiplies the error by ``1 - lr * mean(x_j^2)``, which grows as
    soon as ``lr * mean(x_j^2) > 2``; a minibatch is no more forgiving.
    """
    worst = max(squares, default=0.0)
    return (squares.index(worst), worst) if lr * worst > 2 else None


def dominating_column(squares: list[float], limit: float = 1e4) -> tuple[int, float] | None:
    """The column whose mean square is more than ``limit`` times the smallest, and that ratio, or None.

    A stable rate follows the largest column, so the weight of the smallest needs about ``ratio`` steps.
    """
    used = [square for square in squares if square > 0]
    if not used or not max(used) > limit * min(used):
        return None
    return squares.index(max(used)), max(used) / min(used)


def mean_squares(dataset: Dataset) -> list[float]:
    """Of the columns of X, over a sample of its rows."""
    some = some_rows(dataset.counted(), SAMPLE)
    with np.errstate(over="ignore"):
        return (some.column_squares() / some.n).tolist()
