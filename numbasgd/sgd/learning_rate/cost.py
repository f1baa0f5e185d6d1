"""What runs cost, counted in rows and steps: a rate that followed a clock would differ from call to call.

The unit is a nanosecond of one core of today, roughly.  What matters is the cost of one run against another,
and of what a few runs cost beyond their rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from numbasgd.sgd.losses import Loss

if TYPE_CHECKING:
    from numbasgd.sgd.dataset import Dataset

RUN, LOOK = 9e3, 3e3  # of a run, and of an evaluation, from Python
_LEAST = 1.75e6  # what may be spent where training itself costs less: together with the rest, 2 milliseconds
_SHARE = 0.7  # of what training costs, where that is more
_MANY_OUTPUTS, _OTHERS = 8, 4  # rows of a step below which a row costs much more than in a large one


_STEPS = 32  # of a run that ends earlier, at least


class Size(NamedTuple):
    """Of a run: rows of the data, rows of a step, and passes over the data."""

    rows: int
    batch_size: int
    epochs: int


class Cost(NamedTuple):
    """Of a row in a step, of a step, and of a row in an evaluation of the loss."""

    row: float
    step: float
    look: float

    def steps(self, size: Size) -> float:
        """Of the steps of a run."""
        return size.epochs * (size.rows * self.row - (-size.rows // size.batch_size) * self.step)

    def evaluation(self, rows: int) -> float:
        """Of an evaluation of the loss."""
        return rows * self.look + LOOK

    def run(self, size: Size) -> float:
        """Of a run with an evaluation at its end."""
        return self.steps(size) + self.evaluation(size.rows) + RUN - LOOK


def cost_of(dataset: Dataset, loss: Loss, batch_size: int) -> Cost:
    """The cost of runs over rows that are arrays.

    A step on one output waits for its sums; one on several has matrix products, whose smallest cost most a row.
    An exponential function, or a branch that is taken by chance, costs as much as some columns.
    """
    d, outputs = dataset.d, dataset.outputs
    if outputs > 1:
        row = 19 + 0.05 * d * outputs
        return Cost(row, 75 + 0.03 * d * outputs, row)
    has_exp = 1 if loss.targets != "real" and loss.derivatives is not None else 0
    is_by_chance = 0 if loss.is_quadratic or has_exp or batch_size >= dataset.n else 1
    row = 1 + 0.15 * d + 3 * (has_exp + is_by_chance)
    return Cost(row, 6 + 12.0 * has_exp, row + 1 + 10 * has_exp - 2 * is_by_chance)


def cost_of_sparse(entries: int, outputs: int) -> Cost:
    """The cost of runs over sparse rows with so many stored entries each."""
    row = 20 + 4.0 * entries * max(1, outputs // 8)
    return Cost(row, 30, 0.6 * row)


class Budget:
    """What may be spent on the choice of a rate, and what is left of it."""

    def __init__(self, training: float) -> None:
        self.total = self.left = max(_LEAST, _SHARE * training)

    def spend(self, cost: float) -> None:
        """Take off what something costs."""
        self.left -= cost

    def affords(self, cost: float, keeps: float = 0.0) -> bool:
        """Whether so much is left, and ``keeps`` beyond it."""
        return self.left - cost >= keeps


def size_for(dataset: Dataset, whole: Size, cost: Cost, target: float, least_rows: int) -> Size:
    """The size of a run that costs about ``target``, as like to that of size ``whole`` as can be.

    Larger minibatches come first, up to where they are cheap: at a rate that is as much larger, they do the
    same.  Then fewer rows, with minibatches as much smaller, so that a run has the same steps.  Only when
    ``least_rows`` are left are there fewer epochs.  A last minibatch that is short, and so more at the mercy of
    chance, is as short for its batch size as that of the whole.
    """
    if cost.run(whole) <= 1.3 * target:
        return whole
    n, batch_size, epochs = whole
    cheap = _MANY_OUTPUTS if dataset.outputs > 1 else _OTHERS
    least_rows = min(n, least_rows)
    size = whole
    for _ in range(4):
        rows = size.rows
        smaller = min(rows, round(batch_size * rows / n))
        size = Size(rows, max(1, smaller, min(cheap, rows // 8)), epochs)
        spent = cost.run(size)
        if spent <= 1.1 * target or rows == least_rows:
            break
        size = size._replace(rows=int(max(least_rows, rows * (target - RUN) / (spent - RUN))))
    rows, smaller = min(size.rows, n), min(size.batch_size, size.rows)
    if rows < n:
        rest = n % batch_size
        rows = rows // smaller * smaller + (max(1, round(rest / batch_size * smaller)) if rest else 0)
    size = Size(min(rows, n), smaller, epochs)
    if cost.run(size) > 1.3 * target:
        left = target - RUN - cost.evaluation(size.rows)
        size = size._replace(epochs=max(1, min(epochs, int(left / cost.steps(size._replace(epochs=1))))))
    return size


def shorter_size(whole: Size, cost: Cost, target: float) -> Size | None:
    """As ``size_for``, but a run of the same minibatches that ends earlier; None where few of them are left.

    First there are fewer epochs, then a part of the rows, each once.
    """
    if cost.run(whole) <= 1.3 * target:
        return whole
    n, batch_size, epochs = whole
    left = (target - RUN - cost.evaluation(n)) / cost.steps(Size(n, batch_size, 1))
    if left >= 1:
        return Size(n, batch_size, min(epochs, round(left)))
    part = (target - RUN) / (cost.run(Size(n, batch_size, 1)) - RUN)
    steps = int(min(part, 1.0) * n) // batch_size
    return Size(steps * batch_size, batch_size, 1) if steps >= _STEPS else None
