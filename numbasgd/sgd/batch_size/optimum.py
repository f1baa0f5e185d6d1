"""About the least objective: what a target, a share of the gap, is measured from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from numbasgd.sgd.learning_rate.curvature import MOST_COLUMNS
from numbasgd.sgd.losses import loss_named
from numbasgd.sgd.moments import Slope, moments
from numbasgd.sgd.rows import rows_ahead
from numbasgd.sgd.schedule import factors

_MEMORY = 20  # pairs that the inverse Hessian is made from
_SHARE = 1e-4  # of the gap, that may be left
_ITERATIONS = 500
_BATCH, _EPOCHS = 32, (8, 32, 128)  # of runs that stand for an optimum
_BLOCK = 1 << 18  # entries that are held in float64 at once
_SEPARATED = 2e-3  # of the first objective: below it classes can be told apart, and the infimum is 0


#: (batch size, rate) -> a solver that has made no step.
Make = Callable[[int, float], Any]


class Optimum(NamedTuple):
    """objective : the least one, about.  path : (objective, weights (d + 1, K)) of iterates, the best last."""

    objective: float
    path: list[tuple[float, np.ndarray]]

    def near(self, objective: float) -> tuple[float, np.ndarray]:
        """The first iterate that is as low as this, else the best."""
        return next((found for found in self.path if found[0] <= objective), self.path[-1])


class Objective:
    """The objective of a run and its gradient, over all rows, by the compiled functions that steps use."""

    def __init__(self, solver: Any) -> None:
        self.solver, self.layout, self.n = solver, solver.layout, solver.n
        self.order = np.empty(0, np.int32)
        self.is_dense = solver.dataset.has_model
        if self.is_dense:
            self.sums = solver.objective.sums(self.n, self.order.dtype, solver.scratch, solver.scratch64)
            self.ahead = rows_ahead(solver.dataset.rows, True)

    def row(self, W: np.ndarray) -> np.ndarray:
        """A row of the state for weights (d + 1, K)."""
        W = W.astype(self.solver.dataset.dtype)
        return self.layout.row(W[:-1], W[-1]) if self.layout.outputs else self.layout.row(W[:-1, 0], W[-1, 0])

    def weights(self, row: np.ndarray) -> np.ndarray:
        """The inverse of it, in float64."""
        taken = self.layout.take(row).astype(np.float64)
        return taken.reshape(len(taken), -1)

    def value(self, row: np.ndarray) -> float:
        """The objective."""
        with np.errstate(over="ignore", invalid="ignore"):
            found = self.solver.mean_loss(row) + self.solver.penalty(row)
        return found if math.isfinite(found) else math.inf

    def gradient(self, W: np.ndarray) -> np.ndarray:
        """The gradient (d + 1, K) of the smooth part."""
        method, g = self.solver.method, np.zeros(self.layout.length)
        if not self.is_dense:
            slope = Slope(method.loss, method.intercept, method.l2)
            return moments(self.solver.dataset, slope, W[:-1], W[-1]).gradient
        self.sums.add(self.row(W), self.order, 0, self.n, self.ahead, g)
        G = self.weights(g) / self.n
        G[:-1] += method.l2 * W[:-1]
        if not method.intercept:
            G[-1] = 0
        return G


def optimum(
    objective: Objective, start: np.ndarray, target: float, deadline: float, make: Make | None = None
) -> Optimum:
    """The optimum from the weights start (d + 1, K), to a small part of ``target`` times the gap.

    Least squares of few columns is solved; the rest is L-BFGS (Nocedal, Mathematics of Computation 35, 1980),
    whose quadratic model tells how much there still is to gain.  deadline : on the clock of
    ``time.perf_counter``.
    """
    solver = objective.solver
    data, method = solver.dataset, solver.method
    if loss_named(method.loss).is_quadratic and data.has_model and data.d < MOST_COLUMNS and method.l1 == 0:
        W = _least_squares(data, method, start)
        least = objective.value(objective.row(W))
        return Optimum(least, [(least, W)])
    first = objective.value(objective.row(start))
    is_rough = method.l1 > 0 or loss_named(method.loss).derivatives is None and not loss_named(method.loss).rows
    if make is not None and (is_rough or loss_named(method.loss).curvature is None):
        return _annealed(objective, start, make, deadline)
    found = _lbfgs(objective, start, first, (min(0.02 * target, _SHARE), deadline))
    is_gone = method.l2 == method.l1 == 0 and found.objective < _SEPARATED * first
    return found._replace(objective=0.0) if is_gone else found


def _least_squares(data: Any, method: Any, start: np.ndarray) -> np.ndarray:
    d, K = data.d, start.shape[1]
    H, g = np.zeros((d + 1, d + 1)), np.zeros((d + 1, K))
    for begin, stop in data.blocks(max(1, _BLOCK // (d + 1))):
        rows = data.X[begin:stop].astype(np.float64)
        A = np.column_stack([rows, np.full(len(rows), float(method.intercept))])
        y = data.y[begin:stop].astype(np.float64).reshape(len(A), -1)
        y = y if method.intercept else y - start[-1]
        weighted = A.T * data.sample_weight[begin:stop].astype(np.float64) if data.is_weighted else A.T
        H += weighted @ A
        g += weighted @ y
    H /= data.n
    H[np.arange(d), np.arange(d)] += method.l2
    W = np.linalg.lstsq(H, g / data.n, rcond=1e-12)[0]
    if not method.intercept:
        W[-1] = start[-1]
    return W


def _annealed(objective: Objective, start: np.ndarray, make: Make, deadline: float) -> Optimum:
    """Of an objective with kinks: what runs whose rate falls to zero end with, longer and longer ones."""
    data, n = objective.solver.dataset, objective.n
    size = data.row_sizes(objective.solver.method.intercept)
    lr = _BATCH / max(size.mean + (_BATCH - 1) * size.curvature, 1e-300)
    run = make(min(_BATCH, n), lr)
    row = objective.row(start)
    path = [(objective.value(row), start)]
    for epochs in _EPOCHS:
        values, spans = factors("cosine", n, run.method.batch_size, 0, epochs)
        for factor in (0.25, 1.0, 4.0):
            if time.perf_counter() > deadline:
                return Optimum(path[-1][0], path)
            run.begin_anew(row)
            run.use(run.method._replace(lrs=(factor * lr * values).astype(data.dtype), spans=spans))
            run.go_to(epochs * n)
            value = objective.value(run.result)
            if value < path[-1][0]:
                path.append((value, objective.weights(run.result)))
    return Optimum(path[-1][0], path)


def _lbfgs(objective: Objective, start: np.ndarray, first: float, until: tuple[float, float]) -> Optimum:
    """until : share of the gap that may be left, and the deadline."""
    share, deadline = until
    W, f = start.copy(), first
    path = [(f, W)]
    G = objective.gradient(W)
    pairs: list[tuple[np.ndarray, np.ndarray, float]] = []
    for _ in range(_ITERATIONS):
        if time.perf_counter() > deadline:
            break
        direction = -_inverse(pairs, G)
        slope = float(np.sum(direction * G))
        if not slope < 0:
            break
        decrement = -0.5 * slope
        if pairs and decrement <= share * (first - f):
            break
        step = 1.0 if pairs else min(1.0, 1 / math.sqrt(-slope))
        for _ in range(30):
            trial = W + step * direction
            value = objective.value(objective.row(trial))
            if value <= f + 1e-4 * step * slope:
                break
            step *= 0.5
        else:
            break
        new = objective.gradient(trial)
        s, y = trial - W, new - G
        curvature = float(np.sum(s * y))
        if curvature > 1e-12 * float(np.sum(y * y)):
            pairs = [*pairs[1 - _MEMORY :], (s, y, curvature)]
        is_still = f - value <= 1e-7 * abs(f)
        W, f, G = trial, value, new
        path.append((f, W))
        if is_still and len(pairs) > 2:
            break
    return Optimum(f, path)


def _inverse(pairs: list[tuple[np.ndarray, np.ndarray, float]], G: np.ndarray) -> np.ndarray:
    """The inverse Hessian times G, by the two loops of L-BFGS."""
    r, taken = G.copy(), []
    for s, y, curvature in reversed(pairs):
        a = float(np.sum(s * r)) / curvature
        r -= a * y
        taken.append(a)
    if pairs:
        _, y, curvature = pairs[-1]
        r *= curvature / float(np.sum(y * y))
    for (s, y, curvature), a in zip(pairs, reversed(taken), strict=True):
        r += s * (a - float(np.sum(y * r)) / curvature)
    return r
