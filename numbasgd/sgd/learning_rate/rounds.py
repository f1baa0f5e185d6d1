"""The rate of a run with restarts: tried out on its first round.

The first round is short, and the rate has fallen to zero at its end, so the loss there tells what a rate does
without the noise of the last steps.  It is made at rates an octave apart, from one that is stable for sure on
and downhill, until the loss gets larger again; the parabola through the least three has the best rate.
Somewhat less is taken: rounds to come are longer, and the longer a round, the smaller its best rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from numbasgd.sgd.config import Method
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.learning_rate.curvature import curvature_of, row_sample
from numbasgd.sgd.losses import loss_named
from numbasgd.sgd.schedule import Rounds

_WORK = 1 << 22  # multiply-adds of the rows that are looked at, at most
_LEAST_ROWS = 2048
_OCTAVES = 20  # that a search goes away from where it begins
_ORDERS = 2  # of the rows that it is made with
_BELOW = 0.75  # octaves below the best rate of the first round


def rate_for_rounds(
    dataset: Dataset, method: Method, rounds: Rounds, w: np.ndarray, b: Any
) -> tuple[float, float]:
    """The first rate of each round, from the weights w and b on, and the seconds that were spent on compiling.

    The rate is NaN if the rows are not finite.  A row of weight 0 is no row.  Of many rows a sample is taken.
    """
    counted = dataset.counted()
    work = max(dataset.outputs, 1) * (dataset.row_entries + 8)
    picked = row_sample(counted.n, max(_LEAST_ROWS, _WORK // work))
    rows = counted if isinstance(picked, slice) else counted.take(picked, keeps_layout=True)
    method = method._replace(
        batch_size=min(method.batch_size, rows.n), average_from=None, lrs=np.ones(1, rows.dtype)
    )
    first = _stable_rate(rows, method, w, b)
    if not math.isfinite(first):
        return math.nan, 0.0
    rounds = Rounds(rows.n, method.batch_size, rounds.limit)
    epochs = rounds.at(0)[1]
    solver = rows.solver(method)
    start = solver.layout.row(w, b)
    solver.compile()

    def loss_after(octave: int) -> float:
        lrs, spans = rounds._replace(rate=first * 2.0**octave).rates(0, 1.0, rows.dtype)
        loss = 0.0
        for seed in range(_ORDERS):
            solver.begin_anew(start)
            solver.use(method._replace(lrs=lrs, spans=spans, seed=seed))
            solver.go_to(epochs * rows.n)
            loss += solver.mean_loss(solver.result) + solver.penalty(solver.result)
        return loss if math.isfinite(loss) else math.inf

    return first * 2.0 ** (_lowest(loss_after) - _BELOW), solver.compile_seconds


def _lowest(loss: Callable[[int], float]) -> float:
    """The octave at which the loss is the least, downhill from 0 on, between octaves by a parabola."""
    known = {0: loss(0), 1: loss(1)}
    step = 1 if known[1] < known[0] else -1
    at = max(step, 0)
    while abs(at) < _OCTAVES:
        known[at + step] = loss(at + step)
        if not (known[at + step] < known[at] or math.isinf(known[at])):
            break
        at += step
    low, here, high = (known.get(octave, math.inf) for octave in (at - 1, at, at + 1))
    bend = low - 2 * here + high
    return at + 0.5 * (low - high) / bend if 0 < bend < math.inf else at


def _stable_rate(rows: Dataset, method: Method, w: np.ndarray, b: Any) -> float:
    """A rate that is stable for sure: that of ``curvature.stable_lr``, the mean norm for the eigenvalue."""
    s = rows.sample_weight
    with np.errstate(over="ignore", invalid="ignore"):
        norms = rows.squared_norms() + method.intercept
        mean = float(norms @ s if s.size else norms.sum()) / rows.n
        largest = float(norms.max()) if method.batch_size < rows.n else mean
        allowed = (largest + (method.batch_size - 1) * mean) / method.batch_size
        allowed = allowed * curvature_of(loss_named(method.loss), rows, w, b) + method.l2
    return (1.0 if allowed == 0 else 1 / allowed) * (1 - method.momentum)
