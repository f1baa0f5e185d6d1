"""How many steps each batch size needs to a target, by the noisy quadratic model.

Zhang et al., "Which algorithmic choices matter at which batch sizes?", NeurIPS 2019, arXiv 1907.04164, with the
noise that rows of different length add (Defossez and Bach, AISTATS 2015, arXiv 1412.0156), as in
``learning_rate.quadratic``, which has the recursion; here it is inverted, for many rates at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.learning_rate.curvature import some_rows
from numbasgd.sgd.learning_rate.quadratic import QuadraticModel
from numbasgd.sgd.losses import loss_named, slopes, softmax
from numbasgd.sgd.moments import Slope
from numbasgd.sgd.schedule import SCHEDULES

_ROWS = 2048  # that the model is made from
_MOST_COLUMNS = 512  # whose eigenvectors are found; beyond, columns are taken for them
_GROUPS = 24  # of neighbouring eigenvectors, as if each were one
_START = 0.05  # share of the curvature at the start in what the steps of a run see
_OCTAVES, _EACH = 14, 4  # of rates below the largest, and rates an octave
_DOUBLINGS = 40  # of the steps, at most
_PIECES = 16  # of a run whose rate falls


class Run(NamedTuple):
    """What the model needs to know of the run.

    n : rows.  replacement : whether they are drawn with it.  momentum : of the steps.  schedule : of
    ``SCHEDULES``.
    """

    n: int
    replacement: bool = False
    momentum: float = 0.0
    schedule: str = "constant"


def local_model(
    dataset: Dataset, slope: Slope, start: np.ndarray, end: np.ndarray, gap: float
) -> QuadraticModel:
    """The problem between the weights start and end, both (d + 1, K), from a sample of the rows.

    The noise is that at the end.  gap : what the objective falls from start to end, which scales the curvature,
    since no quadratic holds all the way for most losses.
    """
    some = some_rows(dataset, _ROWS)
    shares = some.sample_weight.astype(np.float64) if some.is_weighted else np.ones(some.n)
    rows: Any = some.X.astype(np.float64)
    y = some.y.astype(np.float64)
    targets = y if loss_named(slope.loss).rows is not None else y.reshape(some.n, -1)
    at_end, at_start = (np.asarray(rows @ W[:-1]) + W[-1] for W in (end, start))
    R = shares[:, None] * slopes(slope.loss, at_end, targets)
    c = (1 - _START) * _second(slope.loss, at_end, targets) + _START * _second(slope.loss, at_start, targets)
    c = shares * c
    projected, values, error = _projections(rows, c, slope, start - end)
    order = np.argsort(values)
    edges = np.unique(np.linspace(0, len(order), min(_GROUPS, len(order)) + 1).astype(int)[:-1])
    sizes = np.diff(np.append(edges, len(order)))
    squares = np.add.reduceat(np.square(projected)[:, order], edges, axis=1)
    curvature = np.add.reduceat(values[order], edges) / sizes
    spread = (squares * np.square(c)[:, None]).T @ squares / some.n / sizes
    spread[np.diag_indices(len(edges))] -= np.square(curvature)
    mean = projected.T @ R / some.n
    noise = squares.T @ np.sum(R * R, axis=1) / some.n
    noise = np.maximum(noise - np.add.reduceat(np.sum(mean * mean, axis=1)[order], edges), 0.0)
    grouped = np.add.reduceat(error[order], edges)
    curvature = curvature + slope.l2
    told = 0.5 * float(curvature @ grouped)
    factor = min(max(gap / told, 0.02), 4.0) if told > 0 else 1.0
    return QuadraticModel(factor * curvature, grouped, noise, factor * factor * np.maximum(spread, 0.0))


def _projections(rows: Any, c: np.ndarray, slope: Slope, moved: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rows along eigenvectors of their Hessian, its eigenvalues, and the squared error along each.

    Of sparse rows, and of very many columns, the largest columns stand for eigenvectors.
    """
    if not isinstance(rows, np.ndarray) or rows.shape[1] > _MOST_COLUMNS:
        squares = rows.column_squares(c) if not isinstance(rows, np.ndarray) else c @ np.square(rows)
        kept = np.argsort(-squares)[:_MOST_COLUMNS]
        A, moved, is_rotated = _columns(rows, kept), np.vstack([moved[kept], moved[-1:]]), False
    else:
        A, is_rotated = rows, True
    if slope.intercept:
        A = np.column_stack([A, np.ones(len(A))])
    else:
        moved = moved[:-1]
    if not is_rotated:
        return A, c @ np.square(A) / len(A), np.sum(moved * moved, axis=1)
    values, vectors = np.linalg.eigh((A.T * c) @ A / len(A))
    return A @ vectors, np.maximum(values, 0), np.sum(np.square(vectors.T @ moved), axis=1)


def _columns(rows: Any, kept: np.ndarray) -> np.ndarray:
    """Some columns of the rows, dense."""
    if isinstance(rows, np.ndarray):
        return rows[:, kept]
    picked = np.zeros((rows.shape[1], len(kept)))
    picked[kept, np.arange(len(kept))] = 1
    return np.asarray(rows @ picked)


def _second(loss: str, Z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The mean second derivative (m,) over the outputs of each row; 1 for a loss that has none."""
    of_loss = loss_named(loss)
    if of_loss.rows is not None:
        p = softmax(Z)
        return (1 - np.sum(p * p, axis=1)) / max(Z.shape[1] - 1, 1)
    second = None if of_loss.derivatives is None else of_loss.derivatives(Z, y, False, None)[1]
    return np.ones(len(Z)) if second is None else second.mean(axis=1)


def mean_curvature(dataset: Dataset, slope: Slope, W: np.ndarray) -> float:
    """The mean second derivative of the loss at the weights (d + 1, K), from a sample of the rows."""
    some = some_rows(dataset, _ROWS)
    rows: Any = some.X.astype(np.float64)
    y = some.y.astype(np.float64)
    targets = y if loss_named(slope.loss).rows is not None else y.reshape(some.n, -1)
    return float(_second(slope.loss, np.asarray(rows @ W[:-1]) + W[-1], targets).mean())


def rates(local: QuadraticModel) -> np.ndarray:
    """Rates from twice the inverse of the largest curvature down."""
    top = 2 / max(float(local.curvature.max()), 1e-300)
    return top * 2.0 ** (-np.arange(_OCTAVES * _EACH) / _EACH)


def step_variance(moved: np.ndarray, run: Run, batch_size: int) -> np.ndarray:
    """``learning_rate.quadratic.step_variance`` for arrays, as if every step of an epoch had b rows.

    What a short last step adds is there at the end of an epoch, and gone soon after.
    """
    if run.replacement:
        return np.full_like(moved, 1 / batch_size)
    n, count = run.n, run.n / batch_size
    moved = np.clip(moved, 1e-12, 2.0)
    q = 1 - moved
    kept = np.sign(q) * np.abs(q) ** count
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = np.where(q > -1, (1 - kept * kept) / (1 - q * q), count)
    total = (1 - kept) / moved
    variance = np.maximum(squares / batch_size - total * total / n, 0.0) / squares
    return variance * (n / max(n - 1, 1))


def _step(local: QuadraticModel, run: Run, batch_size: int, lrs: np.ndarray) -> np.ndarray:
    """The linear map (rates, M, M) of squared errors, a 1 behind them, that a step is."""
    h, _, noise, spread = local
    d = len(h)
    away = lrs[:, None] * h
    share = lrs[:, None] ** 2 * step_variance(away, run, batch_size)
    A = np.zeros((len(lrs), d + 1, d + 1))
    A[:, :d, :d] = share[:, :, None] * spread
    A[:, :d, d] = share * noise
    A[:, np.arange(d), np.arange(d)] += (1 - away) ** 2
    A[:, d, d] = 1
    return A


def steps_to(local: QuadraticModel, run: Run, batch_size: int, target: float) -> tuple[np.ndarray, np.ndarray]:
    """(rates, steps) until the expected excess is the share ``target`` of the first one; infinite if never.

    With momentum a rate counts as ``lr / (1 - momentum)`` in the model, and is told as it is passed to
    ``train``.
    """
    lrs = rates(local)
    search = _until if run.schedule == "constant" else _at_end
    with np.errstate(over="ignore", invalid="ignore"):
        steps = search(local, _step(local, run, batch_size, lrs), target, run.schedule)
    return lrs * (1 - run.momentum), steps


def _until(local: QuadraticModel, A: np.ndarray, target: float, schedule: str) -> np.ndarray:
    """Steps at a constant rate: the map is squared until the target is met, then they are found bit by bit."""
    h, e = local.curvature, local.error
    d, q = len(h), len(A)
    start, first = np.append(e, 1.0), float(h @ e)
    powers, values = [A], [(A @ start)[:, :d] @ h / first]
    for _ in range(_DOUBLINGS):
        now = values[-1]
        if (now <= target).any() or not np.isfinite(now).any():
            break
        if len(values) > 2 and np.all((now > 0.9999 * values[-2]) | ~np.isfinite(now)):
            break
        powers.append(powers[-1] @ powers[-1])
        values.append((powers[-1] @ start)[:, :d] @ h / first)
    has = np.array(values[-1]) <= target
    state, steps = np.tile(start, (q, 1)), np.zeros(q)
    for j in range(len(powers) - 1, -1, -1):
        trial = np.einsum("qij,qj->qi", powers[j], state)
        above = has & ~((trial[:, :d] @ h) / first <= target)
        state[above] = trial[above]
        steps[above] += 2.0**j
    # A rate that does not get there in so many steps is at best slower.
    return np.where(has, steps + 1, np.inf)


def _at_end(local: QuadraticModel, A: np.ndarray, target: float, schedule: str) -> np.ndarray:
    """Steps of the shortest run whose end meets the target, the rate falling by a schedule in pieces."""
    h, e = local.curvature, local.error
    d, q = len(h), len(A)
    start, first = np.append(e, 1.0), float(h @ e)
    x = (np.arange(_PIECES) + 0.5) / _PIECES
    falls = np.maximum(SCHEDULES[schedule](x, 1.0), 2.0**-_OCTAVES)
    shift = np.round(-_EACH * np.log2(falls)).astype(int)  # in places of the list of rates
    power, before = A, np.full(q, np.nan)
    steps = np.full(q, np.inf)
    for k in range(_DOUBLINGS):
        state = np.tile(start, (q, 1))
        for places in shift:
            state = np.einsum("qij,qj->qi", power[np.minimum(np.arange(q) + places, q - 1)], state)
        left = (state[:, :d] @ h) / first
        met = np.isinf(steps) & (left <= target)
        share = np.log(before / target) / np.log(before / left)  # between two lengths, by logarithms
        length = _PIECES * 2.0**k
        steps[met] = np.where(np.isfinite(share) & (before > target), length * 2.0 ** (share - 1), length)[met]
        if np.isfinite(steps).any() and (k > 0 and not met.any()):
            break
        before, power = left, power @ power
    return np.maximum(np.ceil(steps), 1)


def excess_after(local: QuadraticModel, run: Run, batch_size: int, steps: int) -> float:
    """The least share of the first excess that is left after so many steps, over the rates."""
    lrs = rates(local)
    d, state = len(local.curvature), np.tile(np.append(local.error, 1.0), (len(lrs), 1))
    with np.errstate(over="ignore", invalid="ignore"):
        power = _step(local, run, batch_size, lrs)
        while steps:
            if steps & 1:
                state = np.einsum("qij,qj->qi", power, state)
            steps >>= 1
            power = power @ power if steps else power
        left = (state[:, :d] @ local.curvature) / float(local.curvature @ local.error)
    return float(np.nanmin(np.where(np.isfinite(left), left, np.inf)))
