"""The chapter's exercises on its data, answered with this machine's numbers.

1. Vary batch size and learning rate: what is the loss after some epochs, and what does an epoch take?
2. Divide the rate by ten after each epoch.
3. Draw rows with replacement instead of shuffling them.
4. Every row is there twice, and nobody says so: what becomes of gradient descent, minibatches and SGD?

Losses are told as their *excess*: the share that is left of the way from the loss at w = 0 to the least.
"""

from __future__ import annotations

import functools
import statistics
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from numbasgd import check
from numbasgd.errors import DivergenceError
from numbasgd.experiments._problem import LeastSquares, given_or_airfoil
from numbasgd.machine.deadline import Deadline
from numbasgd.machine.fingerprint import fingerprint
from numbasgd.machine.timing import elapsed
from numbasgd.sgd import train
from numbasgd.sgd.chapter import RUNS

SCHEMA = 1
SIZES = (1, 3, 10, 30, 100, 300)  # and all rows
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.9, 3.0)
EPOCHS = 3  # of the runs whose batch size and rate vary
LONG = 10  # epochs of the other runs
GD_RATE = 0.5  # of gradient descent: the chapter's, 1, is beyond what its data allow
DIVIDED = "batch size = 10"  # the run whose rate is divided by ten
_LOST = 1.0  # an excess from which on a run is called divergent: no step at all would be better
_MORE = 100  # epochs whose seconds are measured, less those of one
_ROUNDS = 24
_FEWEST = 3  # seeds, where time is short


@dataclass(frozen=True)
class Curve:
    """The excess at the start and after each epoch: its median over the seeds, and the quartiles."""

    median: tuple[float, ...]
    q1: tuple[float, ...]
    q3: tuple[float, ...]


@dataclass(frozen=True)
class Cell:
    """A batch size with a rate: the median excess after some epochs, None where most of the runs diverged."""

    batch_size: int
    lr: float
    excess: float | None


@dataclass(frozen=True)
class Pair:
    """A run as it is usual, and changed as an exercise says; seconds are those of one more epoch."""

    name: str
    batch_size: int
    lr: float
    usual: Curve
    changed: Curve
    usual_seconds: float
    changed_seconds: float


@dataclass(frozen=True)
class Exercises:
    """The answers.

    vary : excess after ``epochs`` epochs by batch size and rate.  epoch_seconds : of one more, by batch size.
    divided : a run at a constant rate, and with the rate divided by ten after each epoch.
    replacement : runs that shuffle, and that draw rows with replacement.
    twice : runs on the data, and on the data with every row there twice.
    data : which data it was; n its rows.  seeds : runs of each, fewer in ``vary``.  seconds : of all of it.
    """

    vary: tuple[Cell, ...]
    epoch_seconds: Mapping[int, float]
    epochs: int
    divided: Pair
    replacement: tuple[Pair, ...]
    twice: tuple[Pair, ...]
    data: str
    n: int
    seeds: int
    seconds: float
    machine: Mapping[str, Any]

    def table(self) -> str:
        """The answers as text."""
        from numbasgd.render.exercises_text import exercises_table

        return exercises_table(self)

    def plot(self, ax: Any = None) -> Any:
        """Draw the excess loss against the rate, a line for each batch size; returns the axes."""
        from numbasgd.render.exercises_plot import plot_rates

        return plot_rates(self, ax)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values.

        "schema", "kind" : 1 and "exercises".
        "vary" : for each batch size and rate "batch_size", "lr" and "excess" (None where it diverged), after
        "epochs" epochs.  "epoch_seconds" : by batch size.
        "divided" : a pair; "replacement" and "twice" : pairs, each with "name", "batch_size", "lr", "usual" and
        "changed" ("median", "q1", "q3" of the excess at the start and after each epoch), "usual_seconds" and
        "changed_seconds" of an epoch.
        "data", "n", "seeds" : as the fields.  "seconds" : what all of it took.  "machine" : the fingerprint.
        """
        by_size = {str(size): seconds for size, seconds in self.epoch_seconds.items()}
        return {
            "schema": SCHEMA,
            "kind": "exercises",
            **asdict(self),
            "epoch_seconds": by_size,
            "machine": dict(self.machine),
        }


def exercises(X: Any = None, y: Any = None, *, seeds: int = 31, deadline: Deadline | None = None) -> Exercises:
    """Answer the chapter's exercises: other sizes and rates, a falling rate, replacement, rows there twice.

    Parameters
    ----------
    X : array_like, shape (n, d), optional
    y : array_like, shape (n,), optional
        The airfoil data where the file is at hand, else its embedded twin, if left out; ``data`` tells which.
    seeds : int
        Runs of each, each with its own order of rows.
    deadline : Deadline, optional
        Fewer seeds are used where it comes too soon.

    Returns
    -------
    Exercises

    Raises
    ------
    TypeError, ValueError
        For an argument that is not as described.

    Examples
    --------
    >>> from numbasgd import airfoil_twin, experiments
    >>> found = experiments.exercises(*airfoil_twin(), seeds=3)
    >>> print(found.table())                               # doctest: +ELLIPSIS
    Excess loss after 3 epochs...
    ...
    >>> gd = found.twice[0]                                # the same gradient from twice the rows
    >>> max(abs(a - b) for a, b in zip(gd.usual.median, gd.changed.median)) < 1e-5
    True
    """
    begin = time.perf_counter()
    seeds = check.integer(seeds, "seeds", low=_FEWEST, high=1000, hint="Pass how many runs there are of each.")
    X, y, data = given_or_airfoil(X, y)
    bench = _Bench(check.array(X, "X", 2), np.asarray(y))
    sizes = [size for size in SIZES if size < bench.n] + [bench.n]
    epoch_seconds = {size: bench.epoch_seconds(batch_size=size) for size in sizes}
    if deadline is not None:
        deadline.tell("exercises")
        seeds = max(_FEWEST, min(seeds, int(deadline.left() / bench.seconds_a_seed(sizes))))
    few = range(max(_FEWEST, seeds // 4))
    vary = [Cell(size, lr, bench.last(few, batch_size=size, lr=lr)) for size in sizes for lr in RATES]
    doubled = _Bench(np.concatenate([bench.X, bench.X]), np.concatenate([bench.y, bench.y]))
    replacement, twice = [], []
    for name, (chapter_lr, size, _) in RUNS.items():
        batch_size, lr = min(size or bench.n, bench.n), chapter_lr if size else GD_RATE
        usual = bench.run(range(seeds), batch_size=batch_size, lr=lr)
        if size:
            drawn = bench.run(range(seeds), batch_size=batch_size, lr=lr, sampling="replacement")
            replacement.append(_pair(name, batch_size, lr, usual, drawn))
        seen = doubled.run(range(seeds), batch_size=batch_size if size else doubled.n, lr=lr)
        twice.append(_pair(name, batch_size, lr, usual, seen))
    lr, size, _ = RUNS[DIVIDED]
    batch_size = min(size or bench.n, bench.n)
    constant = bench.run(range(seeds), batch_size=batch_size, lr=lr)
    falling = bench.run(range(seeds), batch_size=batch_size, lr=[lr / 10**epoch for epoch in range(LONG)])
    return Exercises(
        vary=tuple(vary),
        epoch_seconds=epoch_seconds,
        epochs=EPOCHS,
        divided=_pair(DIVIDED, batch_size, lr, constant, falling),
        replacement=tuple(replacement),
        twice=tuple(twice),
        data=data,
        n=bench.n,
        seeds=seeds,
        seconds=round(time.perf_counter() - begin, 3),
        machine=fingerprint(),
    )


def _pair(
    name: str, batch_size: int, lr: float, usual: tuple[Curve, float], changed: tuple[Curve, float]
) -> Pair:
    return Pair(name, batch_size, lr, usual[0], changed[0], usual[1], changed[1])


class _Bench:
    """Runs on one problem of least squares, from w = 0 on the columns as they are."""

    def __init__(self, X: np.ndarray, y: np.ndarray) -> None:
        self.X, self.y, self.n = X, y, len(X)
        self._known = LeastSquares(X, y)

    def _train(self, epochs: int, **settings: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # rates that are too large are part of the exercise
            return train(self.X, self.y, epochs=epochs, schedule="constant", standardize=False, **settings)

    def _excess(self, loss: Any) -> Any:
        return (np.asarray(loss, np.float64) - self._known.least) / (self._known.at_zero - self._known.least)

    def run(self, seeds: Sequence[int], **settings: Any) -> tuple[Curve, float]:
        """The excess after each of ``LONG`` epochs, and the seconds of an epoch."""
        found = [self._excess(self._train(LONG, seed=seed, **settings).loss) for seed in seeds]
        q1, median, q3 = (tuple(map(float, row)) for row in np.quantile(found, (0.25, 0.5, 0.75), axis=0))
        timed = {**settings, "lr": 1e-4}
        return Curve(median, q1, q3), self.epoch_seconds(**timed)

    def last(self, seeds: Sequence[int], **settings: Any) -> float | None:
        """The median excess after ``EPOCHS`` epochs, or None where more than half of the runs diverged."""
        found = []
        for seed in seeds:
            try:
                loss = self._train(EPOCHS, seed=seed, eval_every=None, **settings).loss[-1]
            except DivergenceError:
                loss = np.inf
            found.append(float(self._excess(loss)))
        median = statistics.median(found)
        return median if median < _LOST else None

    def epoch_seconds(self, **settings: Any) -> float:
        """Seconds of one more epoch, shuffling included: those of many, less those of one.

        Of each the median of the fastest quarter of the rounds, since other programs can only slow one down.
        """
        settings = {"lr": 1e-4, "seed": 0, "eval_every": None, **settings}
        self._train(1, **settings)
        taken: dict[int, list[float]] = {1: [], 1 + _MORE: []}
        for _ in range(_ROUNDS):
            for epochs, seconds in taken.items():
                seconds.append(elapsed(functools.partial(self._train, epochs, **settings)))
        one, long = (statistics.median(sorted(seconds)[: _ROUNDS // 4]) for seconds in taken.values())
        return max(long - one, 0.0) / _MORE

    def seconds_a_seed(self, sizes: Sequence[int]) -> float:
        """About what one more seed takes, of all exercises."""
        settings = {"lr": 1e-4, "seed": 0}
        self._train(LONG, **settings)  # compiles
        long = max(elapsed(functools.partial(self._train, LONG, batch_size=size, **settings)) for size in sizes)
        return long * (3 * len(RUNS) + len(RATES) * len(sizes) / 4)
