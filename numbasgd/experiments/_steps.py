"""Steps of minibatch SGD on the half-squared loss, and their cost: compiled, and as a loop of NumPy calls."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from numbasgd.machine.blas import one_thread
from numbasgd.sgd.config import Method
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.solvers.base import Solver
from numbasgd.sgd.solvers.cpu import make_solver

ROUNDS = 21
ROUND = 1e-3  # seconds of a round, at least one step
_DRAWN = 1 << 17  # rows whose permutation is timed, at most
_NO_RATE = 1e-12  # of steps that are only timed


class Spread(NamedTuple):
    """A median and the quartiles beside it."""

    median: float
    q1: float
    q3: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of some values, at least one."""
        if len(values) == 1:
            return cls(*(3 * [float(values[0])]))
        q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
        return cls(float(median), float(q1), float(q3))

    def times(self, factor: float) -> Spread:
        """All three multiplied."""
        return Spread(*(factor * value for value in self))

    def plus(self, value: float) -> Spread:
        """All three with something added."""
        return Spread(*(value + own for own in self))

    def to_dict(self) -> dict[str, float]:
        """By name."""
        return self._asdict()


def method_of(dataset: Dataset, batch_size: int, lr: float, seed: int = 0) -> Method:
    """Plain steps at a constant rate on one thread, the rows in a new random order each epoch."""
    return Method(
        loss="squared", batch_size=batch_size, lrs=np.array([lr], dataset.dtype), sampling="reshuffle",
        seed=seed, intercept=True, momentum=0.0, nesterov=False, average_from=None, l2=0.0, l1=0.0, threads=1,
    )  # fmt: skip


def compiled_solver(dataset: Dataset, batch_size: int, lr: float) -> Solver:
    """A solver that is compiled, at w = 0 and b = 0."""
    solver = make_solver(dataset, method_of(dataset, batch_size, lr))
    solver.compile()
    return solver


def compiled_costs(dataset: Dataset, batch_sizes: Sequence[int]) -> dict[int, Spread]:
    """Seconds a sample of compiled steps, the drawing of the order included, by batch size."""
    calls = {}
    for size in batch_sizes:
        solver = compiled_solver(dataset, size, _NO_RATE)
        solver.go_to(max(size, min(dataset.n, 2000)))
        calls[size] = _compiled_round(solver, size)
    return _in_turn(calls)


def _compiled_round(solver: Solver, batch_size: int) -> Callable[[], float]:
    """A function that makes steps for a round's time and returns the seconds of a sample."""

    def seconds_of(samples: int) -> float:
        before = solver.samples
        end = solver.step_end(before + samples)
        begin = perf_counter()
        solver.advance(end)
        return max(perf_counter() - begin - solver.entry_seconds, 1e-9) / (end - before)

    samples = batch_size
    while (each := seconds_of(samples)) * samples < ROUND / 4 and samples < 1 << 40:
        samples *= 4
    samples = max(batch_size, int(ROUND / each))
    return lambda: seconds_of(samples)


def numpy_steps(
    X: np.ndarray, y: np.ndarray, batch_size: int, lr: float, w: np.ndarray, b: Any
) -> tuple[np.ndarray, Any]:
    """Steps over the rows in their order, as a loop of NumPy calls written with care: views, and in place."""
    for at in range(0, len(y), batch_size):
        rows = X[at : at + batch_size]
        residual = rows @ w
        residual += b
        residual -= y[at : at + batch_size]
        share = lr / len(residual)
        w -= share * (residual @ rows)
        b -= share * residual.sum()
    return w, b


def numpy_costs(dataset: Dataset, batch_sizes: Sequence[int]) -> dict[int, Spread]:
    """The same of ``numpy_steps``, with one BLAS thread; rows are permuted once an epoch."""
    X, y, n = dataset.X, dataset.y, dataset.n
    rng = np.random.default_rng(0)

    drawn = min(n, _DRAWN)

    def permute() -> float:
        begin = perf_counter()
        order = rng.permutation(drawn) * (n // drawn)
        X[order], y[order]
        return (perf_counter() - begin) / drawn

    def round_of(size: int) -> Callable[[], float]:
        def seconds_of(rows: int) -> float:
            w = np.zeros(X.shape[1], X.dtype)
            begin = perf_counter()
            numpy_steps(X[:rows], y[:rows], size, X.dtype.type(_NO_RATE), w, X.dtype.type(0))
            return (perf_counter() - begin) / rows

        rows = size
        while (each := seconds_of(rows)) * rows < ROUND / 4 and rows < n:
            rows = min(n, 4 * rows)
        rows = min(n, max(size, int(ROUND / each) // size * size))
        return lambda: seconds_of(rows)

    with one_thread():
        permute()
        taken = _in_turn({0: permute, **{size: round_of(size) for size in batch_sizes}})
    shuffle = taken.pop(0).median
    return {size: cost if size >= n else cost.plus(shuffle) for size, cost in taken.items()}


def _in_turn(calls: Mapping[int, Callable[[], float]]) -> dict[int, Spread]:
    """What each call returned in rounds that are interleaved, so that all meet the same disturbances.

    Others can only slow a round down, so the slower half of the rounds is left out.
    """
    taken: dict[int, list[float]] = {key: [] for key in calls}
    for _ in range(ROUNDS):
        for key, call in calls.items():
            taken[key].append(call())
    return {key: Spread.of(sorted(values)[: (ROUNDS + 1) // 2]) for key, values in taken.items()}
