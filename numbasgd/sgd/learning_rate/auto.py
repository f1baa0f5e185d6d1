"""The rate of ``lr="auto"``: the quadratic model's where the loss is squared, else what short runs find."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numbasgd.compile.options import uncollected
from numbasgd.sgd.learning_rate import curvature, curvature_multi
from numbasgd.sgd.learning_rate.least_squares import look_at
from numbasgd.sgd.learning_rate.pilot import Pilot
from numbasgd.sgd.learning_rate.quadratic import Local
from numbasgd.sgd.losses import LOSSES
from numbasgd.sgd.risk import Problem
from numbasgd.sgd.trainer import Method


def auto_rate(
    problem: Problem, X: np.ndarray, y: np.ndarray, w: np.ndarray, b: Any, method: Method, epochs: int
) -> tuple[float, list[float] | None]:
    """The constant rate for so many epochs of ``method`` from w and b; NaN if the rows are not finite.

    And the mean squares of the columns, where they were needed on the way.
    X, y : the rows and targets of ``problem``, as the user sees them.

    Short runs on a sample find the rate that is best for the sample.  How much longer runs over more rows
    want another one is left to the model, which says what is best for either.
    """
    n, loss, is_many = len(X), problem.loss, problem.outputs > 1
    loss_curvature = LOSSES[loss].curvature
    if not is_many:
        y1, w1, b1 = (y, w, b) if y.ndim == 1 else (y[:, 0], w[:, 0], float(b[0]))
        if loss == "squared" and n <= curvature.SAMPLE:
            with uncollected:  # what is called may have to be compiled
                look = look_at(X, y1, problem.s, w1, b1, method.intercept, method.l2)
                if look is not None:
                    size = curvature.Size(look.beta, look.mean, look.curvature)
                    return curvature.auto_lr(look.local, size, method, n, epochs, loss_curvature), look.squares
    sample = curvature.Sample(X, method.intercept, problem.s)
    if not all(map(math.isfinite, sample.size)):
        return math.nan, None

    def of_outputs(optimum: tuple[np.ndarray, np.ndarray] | None) -> Local | None:
        return curvature_multi.local_model(X, y, problem.s, w, b, loss, method.intercept, method.l2, optimum)

    local = None
    if is_many:
        local = of_outputs(None) if loss == "squared" else None
    else:
        local = curvature.local_model(sample, y1, w1, b1, loss, method.l2)
    rate = curvature.auto_lr(local, sample.size, method, n, epochs, loss_curvature)
    if loss == "squared" or epochs == 0:
        return rate, None
    pilot = Pilot(problem, X, y, method, epochs)

    def of_pilot() -> float:
        return curvature.auto_lr(local, sample.size, pilot.method, pilot.n, pilot.epochs, loss_curvature)

    first = of_pilot()
    found, row = pilot.search(first, problem.layout.row(w, b))
    if pilot.is_whole:
        return found, None
    if is_many:
        end = problem.layout.take(row)
        local = of_outputs((end[:-1], end[-1]))
        rate, first = curvature.auto_lr(local, sample.size, method, n, epochs, loss_curvature), of_pilot()
    return found * rate / first, None
