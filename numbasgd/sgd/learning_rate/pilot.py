"""``Pilot``: runs at other rates, as the run whose rate is sought but shorter, and what they end with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from numbasgd.sgd.config import Method
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.learning_rate.cost import LOOK, RUN, Budget, Cost, Size
from numbasgd.sgd.learning_rate.curvature import some_rows

#: (method, rows, epochs) -> the method with the rates of a schedule that begins at 1.
Schedule = Callable[[Method, int, int], Method]

_MOST_ORDERS = 11
_MOST_LOOKS = 5
_LONG = 10  # epochs from which on the loss is looked at behind several of the last ones
_LAST = 0.15  # of the last epoch, in which it is looked at in shorter runs
ALIKE = 1e-6  # of what the loss fell: differences below it are chance
_MAKE, _MAKE_OUTPUTS = 5e4, 1e5  # what a solver costs to make


class Task:
    """The run whose rate is sought, and what it begins with.

    dataset, method, epochs : of that run.  w, b : its first weights.  schedule : of its rates.
    budget : for all pilots together.  base : the rate, as a logarithm to base 2, that octaves count from.
    """

    def __init__(
        self, dataset: Dataset, method: Method, epochs: int, start: tuple[np.ndarray, Any],
        schedule: Schedule | None, cost: Cost,
    ) -> None:  # fmt: skip
        self.dataset, self.method, self.start, self.schedule, self.cost = dataset, method, start, schedule, cost
        self.size = Size(dataset.n, method.batch_size, epochs)
        self.budget = Budget(cost.steps(self.size))
        self.base = 0.0

    @property
    def is_free(self) -> bool:
        """Whether nothing holds the weights back, so that classes that can be told apart have no optimum."""
        return self.method.l2 == 0 and self.method.l1 == 0


class Pilot:
    """Runs of one size at several rates, with the same orders of the rows.

    octave : a rate of the run that it stands for, as a logarithm to base 2 that counts from ``Task.base``.  A
    pilot with larger minibatches takes larger rates in proportion, or as much larger as ``larger`` says.
    """

    def __init__(self, task: Task, size: Size, larger: float | None = None) -> None:
        self.size, self.budget = size, task.budget
        whole, dataset, method = task.size, task.dataset, task.method
        self.is_whole = size == whole
        self.is_descent = size.batch_size >= size.rows
        if size.rows < whole.rows:
            dataset = some_rows(dataset, size.rows)
        begin = method.average_from
        if begin is not None:
            share = size.epochs / whole.epochs if larger else 1.0
            method = method._replace(average_from=int(begin // whole.rows * share * size.rows))
        method = method._replace(batch_size=size.batch_size, lrs=np.ones(1, dataset.dtype))
        if task.schedule is not None:
            method = task.schedule(method, size.rows, size.epochs)
        self.method = method._replace(lrs=method.lrs.astype(dataset.dtype))
        larger = larger or size.batch_size * whole.rows / (whole.batch_size * size.rows)
        self.base = task.base + math.log2(larger)
        self.solver = dataset.solver(self.method)
        self.solver.compile()
        self._row = self.solver.layout.row(*task.start)
        self.first = self._loss(self._row)
        self._see_costs(task.cost, dataset.outputs)
        self.losses: dict[float, float] = {}  # of each octave, the median of what was seen
        self._seen: dict[float, list[float]] = {}
        self._runs: dict[float, int] = {}

    def _see_costs(self, cost: Cost, outputs: int) -> None:
        size, look = self.size, cost.evaluation(self.size.rows)
        steps = cost.steps(size)
        most = 0.2 * size.epochs if size.epochs >= _LONG else -(-size.rows // size.batch_size) / 8
        looks = 1 if self.is_descent else max(1, min(_MOST_LOOKS, int(min(0.4 * steps / look, most))))
        back = range(looks - 1, -1, -1)
        end = size.epochs * size.rows
        if size.epochs >= _LONG:
            self._marks = [end - i * size.rows for i in back]
        else:
            self._marks = [max(1, int(end - i * _LAST * size.rows / max(looks - 1, 1))) for i in back]
        self.cost = steps + looks * look + RUN - LOOK
        self.budget.spend((_MAKE_OUTPUTS if outputs > 1 else _MAKE) + look)

    def _loss(self, row: np.ndarray) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            loss = self.solver.mean_loss(row) + self.solver.penalty(row)
        return loss if math.isfinite(loss) else math.inf

    def _begin(self, octave: float, seed: int) -> None:
        method, rate = self.method, min(2.0 ** (octave + self.base), 1e30)
        self.solver.begin_anew(self._row)
        self.solver.use(method._replace(lrs=(rate * method.lrs).astype(self._row.dtype), seed=seed))

    def run(self, octave: float) -> None:
        """Another run, with the next order of rows."""
        seed = self._runs.get(octave, 0)
        self._runs[octave] = seed + 1
        self._begin(octave, seed)
        self.budget.spend(self.cost)
        seen = self._seen.setdefault(octave, [])
        for mark in self._marks:
            self.solver.go_to(mark)
            seen.append(self._loss(self.solver.result))
        self.losses[octave] = _median(seen)

    def loss(self, octave: float, orders: int = 1) -> float:
        """The loss at the end of runs with so many orders of the rows: the median over their last looks."""
        while self._runs.get(octave, 0) < orders:
            self.run(octave)
        return self.losses[octave]

    @property
    def best(self) -> float:
        """The octave with the least loss; the middle of those between which the loss does not tell."""
        least = min(self.losses.values())
        if least == math.inf:
            return min(self.losses)
        alike = least + ALIKE * max(self.first - least, 0.0)
        octaves = sorted(octave for octave, loss in self.losses.items() if loss <= alike)
        return octaves[(len(octaves) - 1) // 2]

    def affords(self, keeps: float = 0.0) -> bool:
        """Whether another rate can be tried."""
        return self.budget.affords(self.cost, keeps)

    def climb(self, octave: float, step: float = 1.0, keeps: float = 0.0, orders: int = 1) -> float:
        """From an octave downhill, until both neighbours of the best are worse or the budget ends."""
        self.loss(octave, orders)
        direction = 1
        while True:
            best = self.best
            ahead = [best, best + direction * step, best - direction * step]
            ahead = [octave for octave in ahead if self._runs.get(octave, 0) < orders]
            if not ahead or not self.affords(keeps):
                return best
            self.loss(ahead[0], orders)
            if self.best != best:
                direction = 1 if self.best > best else -1

    def settle(self) -> float:
        """What is best when the three best are run with further orders, as many as the budget has."""
        while True:
            three = sorted(self.losses, key=self.losses.__getitem__)[:3]
            fewest = min(three, key=lambda octave: (self._runs[octave], self.losses[octave]))
            if not self.budget.affords(self.cost) or self._runs[fewest] >= _MOST_ORDERS:
                return self.best
            self.run(fewest)

    def epochs_to(self, octave: float, loss: float, orders: int) -> float:
        """Epochs until the loss is as small as that, the median of some orders of the rows.

        One more than a run has if it does not get there.
        """
        return _median([self._epochs_to(octave, loss, seed) for seed in range(orders)])

    def _epochs_to(self, octave: float, loss: float, seed: int) -> float:
        self._begin(octave, seed)
        rows, epochs = self.size.rows, self.size.epochs
        for epoch in range(1, epochs + 1):
            self.solver.go_to(epoch * rows)
            self.budget.spend(2 * self.cost / epochs)
            if self._loss(self.solver.result) < loss:
                return epoch
        return epochs + 1


def _median(values: list[float]) -> float:
    """Infinite if any is."""
    if math.inf in values:
        return math.inf
    values = sorted(values)
    half = len(values) // 2
    return values[half] if len(values) % 2 else 0.5 * (values[half] + values[half - 1])
