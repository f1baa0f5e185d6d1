"""The rate of ``lr="auto"``: the quadratic model's where the loss is squared, else what short runs find."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numbasgd.compile.options import uncollected
from numbasgd.sgd.config import Method
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.learning_rate import curvature, curvature_multi
from numbasgd.sgd.learning_rate.least_squares import model_of
from numbasgd.sgd.learning_rate.pilot import Pilot
from numbasgd.sgd.learning_rate.quadratic import QuadraticModel
from numbasgd.sgd.losses import loss_named


def auto_rate(
    dataset: Dataset, method: Method, w: np.ndarray, b: Any, epochs: int
) -> tuple[float, list[float] | None]:
    """The constant rate for so many epochs of ``method`` from w and b; NaN if the rows are not finite.

    And the mean squares of the columns, where they were needed on the way.

    A row of weight 0 is no row: without such rows, minibatches are as much smaller.  Short runs on a sample
    find the rate that is best for the sample.  How much longer runs over more rows want another one is left
    to the model, which says what is best for either.
    """
    counted = dataset.counted()
    if counted is not dataset:
        share = counted.n / dataset.n
        begin = method.average_from
        method = method._replace(
            batch_size=max(1, round(method.batch_size * share)),
            average_from=None if begin is None else begin // dataset.n * counted.n,
        )
        dataset = counted
    X, y, s, n, loss = dataset.X, dataset.y, dataset.sample_weight, dataset.n, loss_named(method.loss)
    is_many = dataset.outputs > 1
    loss_curvature = curvature.curvature_of(loss, dataset, w, b)
    if dataset.is_sparse:
        return sparse_rate(dataset, method, w, b, epochs, loss_curvature), None
    if not is_many:
        y1, w1, b1 = (y, w, b) if y.ndim == 1 else (y[:, 0], w[:, 0], float(b[0]))
        if loss.is_quadratic and n <= curvature.SAMPLE:
            with uncollected:  # what is called may have to be compiled
                look = model_of(X, y1, s, w1, b1, method.intercept, method.l2)
                if look is not None:
                    size = curvature.RowSizes(look.beta, look.mean, look.curvature)
                    return curvature.auto_lr(look.local, size, method, n, epochs, loss_curvature), look.squares
    sample = curvature.Sample(X, method.intercept, s)
    if not all(map(math.isfinite, (*sample.size, loss_curvature))):
        return math.nan, None

    def of_outputs(optimum: tuple[np.ndarray, np.ndarray] | None) -> QuadraticModel | None:
        return curvature_multi.local_model(dataset, w, b, loss, method.intercept, method.l2, optimum)

    local = None
    if is_many:
        local = of_outputs(None) if loss.is_quadratic else None
    else:
        local = curvature.local_model(sample, y1, w1, b1, loss, method.l2)
    rate = curvature.auto_lr(local, sample.size, method, n, epochs, loss_curvature)
    if loss.is_quadratic or epochs == 0:
        return rate, None
    pilot = Pilot(dataset, method, epochs)

    def of_pilot() -> float:
        return curvature.auto_lr(local, sample.size, pilot.method, pilot.n, pilot.epochs, loss_curvature)

    first = of_pilot()
    found, end = pilot.search(first, w, b)
    if pilot.is_whole:
        return found, None
    if is_many:
        local = of_outputs((end[:-1], end[-1]))
        rate, first = curvature.auto_lr(local, sample.size, method, n, epochs, loss_curvature), of_pilot()
    return found * rate / first, None


def sparse_rate(
    dataset: Dataset, method: Method, w: np.ndarray, b: Any, epochs: int, loss_curvature: float
) -> float:
    """The rate for sparse rows, of any loss: what short runs find, from half of what is stable for sure on.

    There are too many columns for a model of them.
    """
    size = curvature.row_sizes(dataset, method.intercept)
    if not all(map(math.isfinite, (*size, loss_curvature))):
        return math.nan
    rate = curvature.auto_lr(None, size, method, dataset.n, epochs, loss_curvature)
    if epochs == 0:
        return rate
    pilot = Pilot(dataset, method, epochs)
    first = curvature.auto_lr(None, size, pilot.method, pilot.n, pilot.epochs, loss_curvature)
    return pilot.search(first, w, b)[0] * rate / first
