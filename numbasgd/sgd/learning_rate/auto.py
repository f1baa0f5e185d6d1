"""The rate of ``lr="auto"``: the quadratic model's where one holds, else what runs at several rates find.

The model holds for the squared loss, and for losses of one output whose curvature at the optimum is not much
below that at the start; it is as good as exact there, and needs no run.  Everything else is for ``race``.
Either costs at most about what training does, or 2 milliseconds, in work that is counted (``cost``).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from numbasgd.compile.options import uncollected
from numbasgd.sgd.config import Method
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.learning_rate import curvature, curvature_multi
from numbasgd.sgd.learning_rate.least_squares import model_of
from numbasgd.sgd.learning_rate.pilot import Schedule, Task
from numbasgd.sgd.learning_rate.race import race
from numbasgd.sgd.losses import loss_named

_MODEL = "the noisy quadratic model"
_MOST_COLUMNS = 16  # of a loss that is not squared: for more, Newton's method costs too much
_DIGITS = 4  # of a rate: the same data in other words (weights, repeated rows) has the same rate


class Choice(NamedTuple):
    """A rate and what it was found by; NaN if the rows are not finite.

    squares : the mean squares of the columns, where they were needed on the way.
    """

    rate: float
    reason: str
    squares: list[float] | None = None


def auto_rate(
    dataset: Dataset, method: Method, w: np.ndarray, b: Any, epochs: int, schedule: Schedule | None = None
) -> Choice:
    """The best rate for so many epochs of ``method`` from w and b: constant, or the first of a schedule.

    A row of weight 0 is no row: without such rows, minibatches are as much smaller.
    """
    dataset, method = _counted(dataset, method)
    choice = _choose(dataset, method, w, b, epochs, schedule)
    return choice._replace(rate=float(f"{choice.rate:.{_DIGITS}g}"))


def _counted(dataset: Dataset, method: Method) -> tuple[Dataset, Method]:
    counted = dataset.counted()
    if counted is dataset:
        return dataset, method
    begin = method.average_from
    batch_size = max(1, round(method.batch_size * counted.n / dataset.n))
    average_from = None if begin is None else begin // dataset.n * counted.n
    return counted, method._replace(batch_size=batch_size, average_from=average_from)


def _choose(
    dataset: Dataset, method: Method, w: np.ndarray, b: Any, epochs: int, schedule: Schedule | None
) -> Choice:
    loss, n = loss_named(method.loss), dataset.n
    is_many, is_descent = dataset.outputs > 1, method.batch_size >= n
    if epochs == 0 and not dataset.has_model:
        second = curvature.curvature_of(loss, dataset, w, b)
        rate = curvature.auto_lr(None, dataset.row_sizes(method.intercept), method, n, epochs, second)
        return Choice(rate, "half of what is stable")
    is_free = schedule is None and method.average_from is None
    has_model = dataset.has_model and is_free and loss.derivatives is not None
    y1, w1, b1 = dataset.y, w, b
    if dataset.y.ndim == 2 and not is_many:
        y1, w1, b1 = dataset.y[:, 0], w[:, 0], float(b[0])
    if loss.is_quadratic and has_model and not is_many and n <= curvature.SAMPLE:
        with uncollected:  # what is called may have to be compiled
            look = model_of(dataset.X, y1, dataset.sample_weight, w1, b1, method.intercept, method.l2)
            if look is not None:
                size = curvature.RowSizes(look.beta, look.mean, look.curvature)
                rate = curvature.auto_lr(look.local, size, method, n, epochs, 1.0, is_exact=True)
                return Choice(rate, _MODEL, look.squares)
    second = curvature.curvature_of(loss, dataset, w, b)
    if loss.is_quadratic or epochs == 0:
        has_model = has_model or epochs == 0
    elif is_many or dataset.d > _MOST_COLUMNS:
        has_model = False
    first = None
    if has_model:
        sample = curvature.Sample(dataset.X, method.intercept, dataset.sample_weight)
        if not all(map(math.isfinite, (*sample.size, second))):
            return Choice(math.nan, "rows that are not finite")
        is_exact = False
        if is_many and not loss.is_quadratic:
            local = None
        elif is_many:
            is_exact = n <= curvature_multi.n_rows(dataset.d + method.intercept)
            local = curvature_multi.local_model(dataset, w, b, method.intercept, method.l2)
        else:
            local = curvature.local_model(sample, y1, w1, b1, loss, method.l2)
        rate = curvature.auto_lr(local, sample.size, method, n, epochs, second, is_exact)
        if loss.is_quadratic or epochs == 0 or (local is not None and not is_descent):
            return Choice(rate, _MODEL if local is not None else "half of what is stable")
        first = None if local is None else math.log2(rate)
    with uncollected:
        task = Task(dataset, method, epochs, (w, b), schedule, dataset.cost(loss, method.batch_size))
        if has_model:
            task.budget.spend(_cost_of_model(dataset, method.loss))
        return Choice(*race(task, second, first))


def _cost_of_model(dataset: Dataset, loss: str) -> float:
    """What Newton's method cost, in the unit of ``cost``."""
    rows = min(dataset.n, curvature.SAMPLE)
    return (1.2e6 if loss.startswith("quantile") else 3e5) * (0.4 + 0.6 * rows / curvature.SAMPLE)
