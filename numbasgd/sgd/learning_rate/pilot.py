"""Short runs on some of the rows, which find the best constant rate where no quadratic model does.

Slopes of the logistic, hinge, Huber and softmax losses are bounded, and their curvature falls as the fit gets
better: for classes that can be told apart, rates far beyond what the curvature at the start allows are best.
So there the rate of the model is where a search begins.  The loss at the end of short runs is compared at rates
an octave apart until both neighbours of the best are worse, and once more at the vertex of the parabola
through the three (Brent, "Algorithms for Minimization without Derivatives", 1973, chapter 5).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from numbasgd.sgd.config import Method
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.learning_rate.curvature import SAMPLE, row_sample
from numbasgd.sgd.solvers.cpu import make_solver

EPOCHS = 8  # of a pilot, at most
_WORK = 1 << 25  # multiply-adds of the runs at one rate, at most
_LEAST_ROWS = 256
_SPARSE_SHARE = 8  # one in so many sparse rows, if that is more than the sample of others
_SEEDS = 4  # runs at each rate, at most, where there are so few rows that chance tells
_SEED_ROWS = 6144
_OCTAVES = 8  # that a search goes away from where it begins


class Pilot:
    """Runs as those of ``method`` over X, from the same start, but on a sample of the rows and for few epochs.

    n, epochs, method : of such a run.  Minibatches shrink with the rows, so an epoch has as many steps.
    is_whole : whether nothing is left out, so that what is best here needs no model to be the best there.
    """

    def __init__(self, dataset: Dataset, method: Method, epochs: int) -> None:
        n = dataset.n
        self.epochs = min(epochs, EPOCHS)
        work = self.epochs * max(dataset.outputs, 1) * (dataset.row_entries + 8)
        # Of few sparse rows hardly two share a column, and any classes can be told apart.
        most = max(SAMPLE, n // _SPARSE_SHARE) if dataset.is_sparse else SAMPLE
        picked = row_sample(n, min(most, max(_LEAST_ROWS, _WORK // work)))
        if not isinstance(picked, slice):
            dataset = dataset.take(picked, keeps_layout=True)
            begin = method.average_from
            method = method._replace(
                batch_size=max(1, round(method.batch_size * dataset.n / n)),
                average_from=None if begin is None else begin // n * dataset.n,
            )
        self.n, self.method, self._dataset = dataset.n, method, dataset
        self.is_whole = self.n == n and self.epochs == epochs
        self._n_seeds = max(1, min(_SEEDS, _SEED_ROWS // self.n, _WORK // (self.n * work)))

    def search(self, first: float, w: np.ndarray, b: Any) -> tuple[float, np.ndarray]:
        """The best rate found from ``first`` on, and the weights that a run with it ends with.

        w, b : the weights to start from.  The end has the intercept as its last row.
        """

        def with_rate(rate: float, seed: int = 0) -> Method:
            return self.method._replace(lrs=np.array([rate], w.dtype), seed=seed)

        solver = make_solver(self._dataset, with_rate(first))
        start = solver.layout.row(w, b)
        solver.compile()
        ends: dict[float, np.ndarray] = {}

        def loss_after(rate: float) -> float:
            losses = 0.0
            for seed in range(self._n_seeds):
                solver.begin_anew(start)
                solver.use(with_rate(rate, seed))
                solver.go_to(self.epochs * self.n)
                losses += solver.mean_loss(solver.result) + solver.penalty(solver.result)
            ends[rate] = solver.layout.take(solver.result)
            return losses if math.isfinite(losses) else math.inf

        rate = least(loss_after, first)
        return rate, ends[rate]


def least(loss: Callable[[float], float], first: float) -> float:
    """The rate with the least loss among those looked at: octaves from ``first`` on downhill, and a vertex."""
    known: dict[float, float] = {}

    def of(octave: float) -> float:
        if octave not in known:
            known[octave] = loss(first * 2.0**octave)
        return known[octave]

    step = -1 if of(0) <= of(1) else 1
    at = 0
    while abs(at) < _OCTAVES and (of(at + step) < of(at) or math.isinf(of(at))):
        at += step
    low, here, high = of(at - 1), of(at), of(at + 1)
    bend = low - 2 * here + high
    if 0 < bend < math.inf:
        of(at + 0.5 * (low - high) / bend)
    return first * 2.0 ** min(known, key=known.__getitem__)
