"""The best rate by runs at several: where no quadratic model holds from start to optimum.

Slopes of the logistic, hinge and softmax losses are bounded, and their curvature falls as the fit gets better.
For classes that can be told apart, the best rate of a long run is hundreds of times what the curvature at its
start allows.  So runs decide, an octave apart, then half an octave.  A first pilot of small runs finds about
where; the main one has runs as like the real one as the budget allows (``cost.size_for``).

Fewer rows with minibatches as much smaller leave the best rate nearly as it is, with one exception: of few rows
any two classes can be told apart.  A pilot whose loss falls to nothing says little about more rows, of which
that is not so.  There, how many epochs it takes on some rows and on more tells how many it would take on all
(``_fits_in_time``); if the run is too short for it, what is best in a few epochs over all rows is taken.

Of sparse rows, with more columns than rows of a pilot, fewer are another problem: most columns are in few of
them, and rows have so little in common that a minibatch allows a rate in proportion to its rows (Ma, Bassily,
Belkin, ICML 2018), so that the best one of smaller minibatches is too low.  There a pilot is a run that ends
earlier, with the same minibatches of all rows, or of a part of them, each once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numbasgd.sgd.learning_rate.cost import Size, shorter_size, size_for
from numbasgd.sgd.learning_rate.curvature import SAMPLE, some_rows
from numbasgd.sgd.learning_rate.pilot import ALIKE, Pilot, Task

_PARTS = 8  # of the budget, one of which a run of the main pilot may cost
_SCOUT = 50  # parts, one of which a run of the first pilot may cost, which
_SCOUTED = 0.3  # may spend so much of the budget
_NEAR = 30  # parts, one of which a run may cost that needs no first pilot
_ROWS, _SCOUT_ROWS, _ROWS_A_COLUMN = 256, 512, 8
_ENTRIES = 1 << 14  # of the rows that tell where a search begins
_FITTED, _GONE = 0.1, 3e-3  # shares of the first loss: classes are nearly told apart, and are
_FAR = 4, 2  # octaves away, where a loss that goes to nothing may have its next valley
_FEWER_ROWS = 0.15  # octaves for each halving of the rows
_MARGIN = 0.4  # octaves below where some rows begin to diverge, since all of them may before
_TELLING = 3.0  # runs of the main pilot, kept for that question
_SLACK = 1.5  # of the epochs: to take a perfect fit for none costs far more than the other way round
_BLIND = 2.0  # octaves, at most, beyond what was tried: of the rates of a perfect fit many are as good
_ORDERS = 3  # of a quarter of the rows, whose epochs scatter most
_CHEAP = 18  # runs that the budget has left
_GROWTH = 0.2  # of the epochs to a perfect fit, at least, in octaves for each doubling of the rows
# Octaves for each doubling of the epochs: what the best rate of gradient descent gains, since the curvature
# falls, and what that of minibatches loses where a part of the loss stays, since the noise of the steps does.
_LATER, _QUIETER = 0.5, 0.5


def race(task: Task, curvature: float, first: float | None = None) -> tuple[float, str]:
    """The best rate of a task, and what it was found by.

    curvature : the largest second derivative of the loss.  first : about the best rate, in octaves, if known.
    """
    budget, size = task.budget, task.size
    is_known = first is not None
    if first is None:
        budget.spend(8e4)
        first = _stable(task, curvature)
        if math.isnan(first):
            return math.nan, "rows that are not finite"
    task.base = first
    if not task.dataset.few_rows_tell:
        short = shorter_size(size, task.cost, budget.total / _PARTS)
        if short is not None:
            pilot = Pilot(task, short, larger=1.0)
            pilot.climb(pilot.climb(0.0), 0.5)
            return _told(pilot.settle() + first, pilot, size)
    octave = 0.0
    found = octave, size.epochs  # by the first pilot, and in how many epochs
    main = Pilot(task, size_for(task.dataset, size, task.cost, budget.total / _PARTS, _ROWS))
    if main.cost > budget.total / _NEAR and not is_known:
        least = max(_SCOUT_ROWS, _ROWS_A_COLUMN * task.dataset.row_entries)
        scout = Pilot(task, size_for(task.dataset, size, task.cost, budget.total / _SCOUT, least))
        keeps = budget.left - _SCOUTED * budget.total
        octave = scout.climb(scout.climb(octave, 2.0, keeps), 1.0, keeps)
        found = octave, scout.size.epochs
        if not main.is_descent and scout.losses[octave] > _FITTED * scout.first:
            octave -= round(_QUIETER * math.log2(main.size.epochs / scout.size.epochs))
    # What it costs to tell whether the run is long enough (``_fits_in_time``) is kept for that.
    keeps = _TELLING * main.cost if task.is_free and main.size.rows < size.rows and not main.is_descent else 0.0
    octave = _valley(main, main.climb(octave, keeps=keeps), task.is_free, keeps)
    if main.size.rows < size.rows and task.is_free and main.losses[octave] < _GONE * main.first:
        octave = _of_all_rows(task, main, octave, found)
    elif main.is_descent:
        for step in (0.5, 0.25, 0.125, 0.0625):
            octave = main.climb(octave, step)
        octave += _LATER * math.log2(size.epochs / main.size.epochs)
        if main.size.rows < size.rows:
            octave -= _MARGIN
    else:
        # One order of the rows may have bad luck near where runs diverge; three tell, where they cost little.
        orders = 3 if main.budget.affords(_CHEAP * main.cost) else 1
        main.climb(octave, 0.5, orders=orders)
        # Of fewer rows the gradients are noisier, for which a lower rate is best.
        octave = main.settle() + _FEWER_ROWS * math.log2(size.rows / main.size.rows)
        if main.losses[main.best] > _FITTED * main.first:
            octave -= _QUIETER * math.log2(size.epochs / main.size.epochs)
    return _told(octave + first, main, size)


def _told(octave: float, pilot: Pilot, size: Size) -> tuple[float, str]:
    """The rate, and what it was found by."""
    rows = f"{pilot.size.rows} of {size.rows} rows" * (pilot.size.rows < size.rows) or "all rows"
    epochs = f"{pilot.size.epochs} epoch{'s' * (pilot.size.epochs > 1)}"
    return 2.0**octave, f"runs at {len(pilot.losses)} rates over {rows} for {epochs}"


def _valley(pilot: Pilot, octave: float, is_free: bool, keeps: float) -> float:
    """A better valley at larger rates, where the loss goes to nothing; else the octave."""
    if not is_free or pilot.losses[octave] >= _FITTED * pilot.first:
        return octave
    for far in _FAR:
        if not pilot.affords(keeps):
            break
        limit = math.inf if pilot.is_whole else _GONE * pilot.first
        if pilot.loss(octave + far) < min(pilot.losses[octave], limit):
            return pilot.climb(octave + far, keeps=keeps)
        if not pilot.is_whole:
            del pilot.losses[octave + far]
    return octave


def _of_all_rows(task: Task, main: Pilot, octave: float, found: tuple[float, int]) -> float:
    """The octave for all rows where the loss over those of a pilot falls to nothing.

    found : what the first pilot found, and its epochs.
    """
    size, halvings = task.size, math.log2(task.size.rows / main.size.rows)
    if not main.is_descent and _fits_in_time(task, main, octave):
        octave = main.climb(octave)
        # More rows, smaller margins: a larger rate has the same loss.
        return octave + _untried(main, octave) + halvings
    batch_size = max(size.batch_size, min(8, size.rows // 8))
    epoch = task.cost.run(Size(size.rows, batch_size, 1))
    octave, epochs = found
    if task.budget.affords(2 * epoch):
        epochs = max(1, min(size.epochs, int(task.budget.left / 4 / epoch)))
        octave = Pilot(task, Size(size.rows, batch_size, epochs)).climb(octave)
    return octave + _LATER * math.log2(size.epochs / epochs) * main.is_descent


def _untried(pilot: Pilot, octave: float) -> float:
    """Octaves from the largest rate that was tried to where the loss, at the pace it fell, would be nothing."""
    smaller = [tried for tried in pilot.losses if tried < octave]
    if octave < max(pilot.losses) or not smaller:
        return 0.0
    near, loss = max(smaller), max(pilot.losses[octave], ALIKE * pilot.first)
    fall = math.log2(pilot.losses[near] / loss) / (octave - near)
    return min(_BLIND, math.log2(loss / (ALIKE * pilot.first)) / fall) if fall > 0 else 0.0


def _fits_in_time(task: Task, pilot: Pilot, octave: float) -> bool:
    """Whether a run is long enough for the loss over all rows to fall to nothing.

    The epochs that takes grow as a power of the rows, which a quarter of the rows tells.
    """
    rows, batch_size, epochs = pilot.size
    quarter = Pilot(task, Size(max(1, rows // 4), max(1, batch_size // 4), epochs))
    loss = _GONE * pilot.first
    few, more = quarter.epochs_to(octave, loss, _ORDERS), pilot.epochs_to(octave, loss, 1)
    growth = max(math.log2(more / few) / 2, _GROWTH)
    return more * (task.size.rows / rows) ** growth <= _SLACK * task.size.epochs


def _stable(task: Task, curvature: float) -> float:
    """About the largest rate that is stable at the start, in octaves: where a search begins; NaN if none is."""
    whole, method = task.dataset, task.method
    dataset = some_rows(whole, max(_ROWS, min(SAMPLE, _ENTRIES // max(whole.row_entries, 1))))
    largest = float(np.abs(dataset.entries).max(initial=float(method.intercept)))
    if largest == 0 or not math.isfinite(largest):
        return 0.0 if largest == 0 else math.nan
    dataset = dataset.with_rows(dataset.X.astype(np.float64) / largest)  # no square overflows
    one = method.intercept / largest  # in the column of the intercept
    norms, weights, batch_size = dataset.squared_norms() + one * one, dataset.sample_weight, method.batch_size
    mean = float((norms * weights if weights.size else norms).mean())
    size = _power(dataset.X, one, weights)
    if batch_size < whole.n:
        size += (mean - size) / batch_size
    allowed = size * curvature + method.l2 / largest / largest
    if not 0 < allowed < math.inf:
        return 0.0 if allowed == 0 else math.nan
    return math.log2((1 - method.momentum) / allowed) - 2 * math.log2(largest)


def _power(X: Any, one: float, weights: np.ndarray) -> float:
    """About the largest eigenvalue of the weighted mean of x x^T, by power iteration; one : a last column."""
    v, u = np.ones(X.shape[1]), 1.0
    size = 0.0
    for _ in range(6):
        z = X @ v + one * u
        if weights.size:
            z *= weights
        v, u = z @ X, one * float(z.sum())
        size = math.hypot(float(np.linalg.norm(v)), u)
        if size == 0:
            break
        v, u = v / size, u / size
    return size / len(X)
