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

import numpy as np

from numbasgd.sgd.learning_rate.curvature import SAMPLE, row_sample
from numbasgd.sgd.problem import targets_for_kernel
from numbasgd.sgd.risk import Problem
from numbasgd.sgd.rows import rows_of
from numbasgd.sgd.trainer import Method, Run

EPOCHS = 8  # of a pilot, at most
_WORK = 1 << 25  # multiply-adds of the runs at one rate, at most
_LEAST_ROWS = 256
_SEEDS = 4  # runs at each rate, at most, where there are so few rows that chance tells
_SEED_ROWS = 6144
_OCTAVES = 8  # that a search goes away from where it begins


class Pilot:
    """Runs as those of ``method`` over X, from the same start, but on a sample of the rows and for few epochs.

    n, epochs, method : of such a run.  Minibatches shrink with the rows, so an epoch has as many steps.
    is_whole : whether nothing is left out, so that what is best here needs no model to be the best there.
    """

    def __init__(self, problem: Problem, X: np.ndarray, y: np.ndarray, method: Method, epochs: int) -> None:
        n, d = X.shape
        self.epochs = min(epochs, EPOCHS)
        work = self.epochs * max(problem.outputs, 1) * (d + 8)
        picked = row_sample(n, min(SAMPLE, max(_LEAST_ROWS, _WORK // work)))
        self.n = n
        if not isinstance(picked, slice):
            self.n = len(picked)
            # As the rows lie, so that nothing else has to be compiled.
            rows = np.asfortranarray(X[picked]) if problem.rows.is_gathered else X[picked]
            s = problem.s[picked] if problem.s.size else problem.s
            y = targets_for_kernel(y[picked])
            problem = Problem(rows_of(rows), y, s, problem.loss, problem.outputs, problem.threads)
            begin = method.average_from
            method = method._replace(
                batch_size=max(1, round(method.batch_size * self.n / n)),
                average_from=None if begin is None else begin // n * self.n,
            )
        self.method = method
        self.is_whole = self.n == n and self.epochs == epochs
        self._problem = problem
        self._n_seeds = max(1, min(_SEEDS, _SEED_ROWS // self.n, _WORK // (self.n * work)))

    def search(self, first: float, start: np.ndarray) -> tuple[float, np.ndarray]:
        """The best rate found from ``first`` on, and a row of the state that a run with it ends with.

        start : the row of the state to start from.
        """

        def with_rate(rate: float, seed: int = 0) -> Method:
            return self.method._replace(lrs=np.array([rate], start.dtype), seed=seed)

        run = Run(self._problem, with_rate(first), None, lambda: math.nan)
        run.compile()
        ends: dict[float, np.ndarray] = {}

        def loss_after(rate: float) -> float:
            losses = 0.0
            for seed in range(self._n_seeds):
                run.begin_anew(start)
                run.use(with_rate(rate, seed))
                run.go_to(self.epochs * self.n)
                losses += run.moment(run.samples).objective
            ends[rate] = run.result.copy()
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
