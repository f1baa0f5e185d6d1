"""Which constant rates are stable, how good a batch size can be there, and the direction that grows beyond."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from numbasgd.sgd.learning_rate.curvature import MOST_COLUMNS, row_sample
from numbasgd.sgd.losses import Loss, loss_named

if TYPE_CHECKING:
    from numbasgd.sgd.dataset import Dataset

_WORK = 4e9  # multiply-adds of a Hessian over all rows; beyond them it is that of a sample
_BLOCK = 1 << 18  # entries that are held in float64 at once
_SHOWN = 3  # columns of a direction, at most
SURE = 0.9  # of what is stable: below it no look at all rows is needed
_LEAST = 0.1  # of a direction's length, for a column that is shown


class Curvature(NamedTuple):
    """The Hessian of the objective at some weights, and the rows that make it.

    largest : its largest eigenvalue.  direction : (d + 1,) the eigenvector, the intercept last; None where
    there are too many columns to find it, or rows are sparse.  beta : the largest squared norm of a row, times
    the second derivative of its loss.  Both hold the factor of an L2 penalty.
    """

    largest: float
    direction: np.ndarray | None
    beta: float

    @property
    def critical_batch_size(self) -> float:
        """``beta / lambda1 + 1``: larger batches save hardly any step, in data that can be fitted exactly.

        Ma, Bassily, Belkin, "The power of interpolation", ICML 2018, arXiv 1712.06559, theorem 4.
        """
        return self.beta / self.largest + 1 if self.largest > 0 else 1.0

    def best_lr(self, batch_size: int) -> float:
        """``m / (beta + (m - 1) lambda1)``, the best one in data that can be fitted exactly (theorem 3)."""
        allowed = self.beta + (batch_size - 1) * self.largest
        return batch_size / allowed if allowed > 0 else math.inf

    def stable_lr(self, batch_size: int | None = None) -> float:
        """Below twice ``best_lr`` steps converge in data that can be fitted exactly (theorem 1).

        Without a batch size it is ``2 / lambda1``, the limit of gradient descent, beyond which no batch size is
        stable.
        """
        if batch_size is not None:
            return 2 * self.best_lr(batch_size)
        return 2 / self.largest if self.largest > 0 else math.inf


def curvature_at(dataset: Dataset, loss: str, w: np.ndarray, b: Any, intercept: bool, l2: float) -> Curvature:
    """The curvature at w (d,) or (d, K) and b; of a loss without second derivatives, its bound.

    loss : its ``losses.loss_key``.
    """
    of_loss, d = loss_named(loss), dataset.d + intercept
    if not dataset.has_model or d > MOST_COLUMNS:
        size, bound = dataset.row_sizes(intercept), of_loss.curvature or 1.0
        return Curvature(bound * size.curvature + l2, None, bound * size.beta + l2)
    picked = slice(None) if dataset.n * d * d <= _WORK else row_sample(dataset.n)
    some = dataset if isinstance(picked, slice) else dataset.take(picked)
    hessian, beta = np.zeros((d, d)), 0.0
    for start, stop in some.blocks(max(1, _BLOCK // d)):
        A = _with_ones(some.X[start:stop], intercept)
        weight = _second(of_loss, A, some.y[start:stop], w, b, intercept)
        if some.is_weighted:
            weight = weight * some.sample_weight[start:stop]
        hessian += (A.T * weight) @ A
        beta = max(beta, float(np.max(weight * np.einsum("ij,ij->i", A, A), initial=0.0)))
    hessian /= some.n
    penalized = np.arange(dataset.d)
    hessian[penalized, penalized] += l2
    values, vectors = np.linalg.eigh(hessian)
    return Curvature(float(values[-1]), _with_intercept(vectors[:, -1], intercept), beta + l2)


def _with_ones(rows: np.ndarray, intercept: bool) -> np.ndarray:
    rows = rows.astype(np.float64)
    return np.column_stack([rows, np.ones(len(rows))]) if intercept else rows


def _with_intercept(direction: np.ndarray, intercept: bool) -> np.ndarray:
    direction = direction if intercept else np.append(direction, 0.0)
    return direction * math.copysign(1.0, direction[np.argmax(np.abs(direction))])


def _second(of_loss: Loss, A: np.ndarray, y: np.ndarray, w: np.ndarray, b: Any, intercept: bool) -> np.ndarray:
    """The second derivative (m,) of each row's loss, the largest over its outputs."""
    bound = np.full(len(A), of_loss.curvature or 1.0)
    if of_loss.derivatives is None or of_loss.is_quadratic:
        return bound
    Z = (A[:, :-1] if intercept else A) @ np.asarray(w, np.float64) + b
    second = of_loss.derivatives(Z, y.astype(np.float64), False, None)[1]
    if second is None:
        return bound
    return second if second.ndim == 1 else second.max(axis=1)


def unstable_direction(
    dataset: Dataset, lr: float, limit: float, intercept: bool, l2: float
) -> Curvature | None:
    """Where the steps of ``lr`` overshoot so far that the error grows, for the squared loss; None if nowhere.

    limit : what rate times curvature must stay below, 2 without momentum.  Its error along an eigenvector of
    the Hessian is multiplied by ``1 - lr h`` in each step, on average over the orders of the rows.  Some rows
    give the eigenvector, all of them the curvature along it, which is never above the largest.
    """
    d = dataset.d + intercept
    picked = row_sample(dataset.n)
    if not dataset.has_model or not 0 < d <= MOST_COLUMNS:
        return None
    A = _with_ones(dataset.X[picked], intercept)
    with np.errstate(over="ignore", invalid="ignore"):
        weighted = A.T * dataset.sample_weight[picked].astype(np.float64) if dataset.is_weighted else A.T
        hessian = weighted @ A / len(A)
        if not math.isfinite(float(np.trace(hessian))):
            return None
        values, vectors = np.linalg.eigh(hessian)
        if not lr * (values[-1] + l2) > SURE * limit:
            return None
        v, along = vectors[:, -1], 0.0
        for start, stop in dataset.blocks(max(1, _BLOCK // d)):
            z = dataset.X[start:stop] @ v[: dataset.d]
            z = z + v[-1] if intercept else z
            along += float((z * z) @ dataset.sample_weight[start:stop] if dataset.is_weighted else z @ z)
    largest = along / dataset.n + l2
    return Curvature(largest, _with_intercept(v, intercept), math.nan) if lr * largest > limit else None


def direction_in_words(direction: np.ndarray, names: Any = None) -> str:
    """The columns that a direction has most of: ``0.79 'age' + 0.61 'weight'``."""
    order = [int(j) for j in np.argsort(-np.abs(direction), kind="stable")[:_SHOWN]]
    shown = [j for j in order if abs(direction[j]) >= _LEAST]
    words = " + ".join(f"{direction[j]:.2g} {column_in_words(j, len(direction) - 1, names)}" for j in shown)
    return words.replace("+ -", "- ")


def column_in_words(j: int, d: int, names: Any = None) -> str:
    """A column by its name where it has one."""
    if j == d:
        return "intercept"
    return f"column {j}" if names is None else repr(names[j])
