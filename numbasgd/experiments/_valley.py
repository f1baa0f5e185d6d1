"""Time to a loss by batch size: the samples that it takes, times the seconds of a sample."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numbasgd import check
from numbasgd.experiments._problem import LeastSquares, given_or_airfoil, one_output
from numbasgd.experiments._steps import Spread, compiled_costs, compiled_solver, method_of, numpy_costs
from numbasgd.machine.fingerprint import fingerprint
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.learning_rate import curvature
from numbasgd.sgd.learning_rate.quadratic import QuadraticModel, grouped
from numbasgd.sgd.losses import loss_named

SCHEMA = 1
BATCH_SIZES = (1, 3, 10, 30, 100, 300, 1500)
NEAR = 1.2  # times the least time that sizes near the best take at most
MOST_STEPS = 1 << 22  # that are looked ahead
RUN_SECONDS = 0.5  # of a run, at most; a target that is farther is out of reach
_BETWEEN = 1.02  # samples between two looks at the loss grow by that factor
_RATES = 2.0 ** np.arange(-14, 0, 0.25)  # of the largest stable one, that the model is asked about
_RACED = (0.5, 2**-0.5, 1.0, 2**0.5)  # times the model's rate
_RACE_SEEDS = 5
_STABLE = 0.98  # of the largest stable rate is the most that is tried
_PATIENCE = 6  # times the samples that the model predicts, after which a run is given up


@dataclass(frozen=True)
class Size:
    """What a batch size takes to reach the target.

    lr : the best constant rate that was found for it.
    samples : over the runs that reached the target, of which there were ``reached``; None if none did.
    compiled, interpreted : seconds a sample of compiled steps, and of a loop of NumPy calls.
    curve : samples and loss along one run, the one whose samples are the median, and as far again.
    """

    batch_size: int
    lr: float
    samples: Spread | None
    reached: int
    compiled: Spread
    interpreted: Spread
    curve: tuple[tuple[int, ...], tuple[float, ...]]

    def seconds(self, kind: str = "compiled") -> Spread | None:
        """Seconds to the target: the samples, with their spread over the runs, times the seconds a sample.

        kind : "compiled" or "interpreted".
        """
        each = {"compiled": self.compiled, "interpreted": self.interpreted}[kind]
        return None if self.samples is None else self.samples.times(each.median)


@dataclass(frozen=True)
class Valley:
    """Time to the target by batch size, and what it is made of.

    target : the share of the gap between the loss at w = 0 and the least one that may be left.
    target_loss : the loss that is to be reached.
    largest_stable_rate : of gradient descent.  seeds : runs of each size, each with its own order of rows.
    seconds : what all of it took.
    """

    data: str
    n: int
    d: int
    dtype: str
    at_zero: float
    optimum: float
    target: float
    target_loss: float
    largest_stable_rate: float
    seeds: int
    sizes: tuple[Size, ...]
    seconds: float
    machine: Mapping[str, Any]

    def best(self, kind: str = "compiled") -> Size | None:
        """The size with the least median time, or None if the target was out of reach of all."""
        reached = [size for size in self.sizes if size.samples is not None]
        return min(reached, key=lambda size: _median(size, kind), default=None)

    def near(self, kind: str = "compiled") -> tuple[int, ...]:
        """The batch sizes within 20 % of the best one's time."""
        best = self.best(kind)
        limit = 0.0 if best is None else NEAR * _median(best, kind)
        return tuple(s.batch_size for s in self.sizes if s.samples is not None and _median(s, kind) <= limit)

    def sentence(self, kind: str = "compiled") -> str:
        """What the valley of one kind of steps says, in words."""
        name = {"compiled": "Compiled steps", "interpreted": "Steps of a NumPy loop"}[kind]
        best = self.best(kind)
        if best is None:
            return f"{name}: no batch size reached the target at a constant rate."
        others, close = [], self.near(kind)
        for size in (self.sizes[0], self.sizes[-1]):
            if size.batch_size in close:
                continue
            named = f"batch size {size.batch_size}"
            if size.samples is None:
                others.append(f"{named} does not get there")
            else:
                others.append(
                    f"{named} takes {_factor(_median(size, kind) / _median(best, kind))} times as long"
                )
        near = [size for size in close if size != best.batch_size]
        share = f"within {100 * (NEAR - 1):.0f} % of it"
        within = f", and {_listed(near)} {'is' if len(near) == 1 else 'are'} {share}" if near else ""
        told = "".join(f"; {other}" for other in others)
        return f"{name} get there first with batch size {best.batch_size}{within}{told}."

    def table(self) -> str:
        """Samples, seconds a sample and their product by batch size as text, and the sentences."""
        from numbasgd.render.valley_text import valley_table

        return valley_table(self)

    def plot(self, ax: Any = None) -> Any:
        """Draw losses, factors and times on a figure, which is returned, or the times alone on ``ax``."""
        from numbasgd.render import valley_plot

        return valley_plot.plot_valleys([self]) if ax is None else valley_plot.plot_times(self, ax)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values.

        "schema", "kind" : 1 and "valley".  "data" : which data it was, in words; "n", "d", "dtype" its shape.
        "at_zero", "optimum", "target", "target_loss", "largest_stable_rate", "seeds" : as the fields.
        "sizes" : for each batch size "batch_size", "lr", "reached" and, each as "median", "q1" and "q3",
        "samples" (None if the target was not reached), "compiled" and "interpreted" (seconds a sample),
        "compiled_time" and "interpreted_time" (seconds to the target, or None); "curve" with "samples" and
        "loss" along a run.
        "best", "near", "sentence" : for "compiled" and "interpreted" the best size (or None), those within
        20 % of its time, and what the valley says in words.
        "seconds" : what all of it took.  "machine" : the fingerprint, "versions" in it.
        """
        names = ("data", "n", "d", "dtype", "at_zero", "optimum", "target", "target_loss")
        return {
            "schema": SCHEMA,
            "kind": "valley",
            **{name: getattr(self, name) for name in (*names, "largest_stable_rate", "seeds")},
            "sizes": [_size_dict(size) for size in self.sizes],
            "best": {kind: best and best.batch_size for kind in KINDS for best in (self.best(kind),)},
            "near": {kind: list(self.near(kind)) for kind in KINDS},
            "sentence": {kind: self.sentence(kind) for kind in KINDS},
            "seconds": self.seconds,
            "machine": dict(self.machine),
        }


KINDS = ("compiled", "interpreted")


def valley(
    X: Any = None,
    y: Any = None,
    *,
    batch_sizes: Sequence[int] | None = None,
    target: float = 0.02,
    seeds: int = 15,
    standardize: bool = False,
) -> Valley:
    """Measure the time to a loss by batch size: why a size in between wins.

    A small batch needs fewer samples, a large one less time for each: the time to a loss is their product, and
    has its least in between.  For each size the best constant rate is taken: what the noisy quadratic model
    (``numbasgd.sgd.learning_rate.quadratic``) gives, and rates around it, in a race of short runs.  The loss is
    the half mean squared error over all rows, looked at between steps, outside the clock; a run is at the
    target when it first is at or below it.

    Parameters
    ----------
    X : array_like, shape (n, d), optional
    y : array_like, shape (n,), optional
        The airfoil data where the file is at hand, else its embedded twin, if left out; ``data`` tells which.
    batch_sizes : sequence of int, optional
        1, 3, 10, 30, 100, 300 and 1500, those below n, and n itself, if left out.
    target : float
        The share of the gap between the loss at w = 0 and the least one that may be left, between 0 and 1.
    seeds : int
        Runs of each size, each with its own order of rows; the medians and quartiles are over them.
    standardize : bool
        Whether columns get mean 0 and deviation 1 first.  No rate suits columns of very different scales.

    Returns
    -------
    Valley

    Raises
    ------
    TypeError, ValueError
        For an argument that is not as described.

    Examples
    --------
    >>> from numbasgd import airfoil_twin, experiments
    >>> found = experiments.valley(*airfoil_twin(), batch_sizes=[1, 30, 1500], seeds=3)
    >>> print(found.table())                               # doctest: +ELLIPSIS
    batch size ...
    >>> one, _, all_rows = found.sizes
    >>> one.samples.median < all_rows.samples.median, one.compiled.median > all_rows.compiled.median
    (True, True)
    >>> found.to_dict()["sizes"][0]["batch_size"]
    1
    """
    begin = time.perf_counter()
    target = check.real(target, "target", positive=True, hint="Pass the share of the gap that may be left.")
    if target >= 1:
        raise ValueError(f"target is {target:g}; expected below 1. Pass for example 0.02.")
    seeds = check.integer(seeds, "seeds", low=1, high=1000, hint="Pass how many runs each size has.")
    X, y, data = given_or_airfoil(X, y)
    dataset = one_output(X, y)
    if standardize:
        dataset = one_output(_standardized(dataset.X), dataset.y)
    known = LeastSquares(dataset.X, dataset.y)
    if not known.at_zero > known.least:
        raise ValueError("y is 0 in all rows; expected targets that a linear model can predict. Pass others.")
    n = dataset.n
    sizes = _batch_sizes(batch_sizes, n)
    runs = _Runs(dataset, known, target)
    # Costs are measured before the runs and after them: another program on this core hardly slows both down.
    compiled, interpreted = compiled_costs(dataset, sizes), numpy_costs(dataset, sizes)
    reached = {size: runs.to_goal(size, seeds, RUN_SECONDS / compiled[size].median) for size in sizes}
    compiled = _smaller(compiled, compiled_costs(dataset, sizes))
    interpreted = _smaller(interpreted, numpy_costs(dataset, sizes))
    found = [Size(b, **reached[b], compiled=compiled[b], interpreted=interpreted[b]) for b in sizes]
    return Valley(
        data=data, n=n, d=dataset.d, dtype=dataset.dtype.name,
        at_zero=known.at_zero, optimum=known.least, target=target, target_loss=known.least + runs.goal,
        largest_stable_rate=known.largest_stable_rate, seeds=seeds, sizes=tuple(found),
        seconds=round(time.perf_counter() - begin, 3), machine=fingerprint(),
    )  # fmt: skip


class _Runs:
    """Runs over one problem from w = 0 to ``goal``, the excess loss that may be left."""

    def __init__(self, dataset: Dataset, known: LeastSquares, target: float) -> None:
        self.dataset, self.known = dataset, known
        self.goal = target * (known.at_zero - known.least)
        sample = curvature.Sample(dataset.X, True, dataset.sample_weight)
        w = np.zeros(dataset.d)
        self.model = curvature.local_model(sample, dataset.y, w, 0.0, loss_named("squared"), 0.0)
        self.sizes = sample.size

    def to_goal(self, batch_size: int, seeds: int, limit: float) -> dict[str, Any]:
        """Race rates, then run the best one with all seeds: what a ``Size`` tells that is no time.

        limit : samples of a run, at most.
        """
        solver = compiled_solver(self.dataset, batch_size, 1.0)
        rate, predicted = self._predicted(batch_size)
        most = int(min((_PATIENCE * predicted + 16) * batch_size, limit))
        # The order of rows makes no difference to steps over all of them, and none is worth a try for ever.
        is_exact = batch_size >= self.dataset.n or predicted * batch_size > limit
        medians: dict[float, float] = {}
        for factor in _RACED:
            tried = min(factor * rate, _STABLE * self.known.largest_stable_rate)
            reached = [self._run(solver, tried, 0, most)[0]]
            if math.isfinite(reached[0]) and not is_exact:
                reached += [self._run(solver, tried, s, most)[0] for s in range(1, _RACE_SEEDS)]
            medians[tried] = statistics.median(reached)
            most = int(min(most, max(4 * min(medians.values()), 16 * batch_size)))
        lr = min(medians, key=medians.__getitem__)
        final = [self._run(solver, lr, _RACE_SEEDS + s, most) for s in range(1 if is_exact else seeds)]
        final *= seeds if is_exact else 1
        reached = [at for at, _, _ in final if math.isfinite(at)]
        middle = sorted(final, key=lambda run: run[0])[len(final) // 2]
        return {
            "lr": float(f"{lr:.4g}"),
            "samples": Spread.of(reached) if 2 * len(reached) > len(final) else None,
            "reached": len(reached),
            "curve": (tuple(middle[1]), tuple(middle[2])),
        }

    def _run(self, solver: Any, lr: float, seed: int, most: int) -> tuple[float, list[int], list[float]]:
        """Samples at the goal, infinite if not reached within ``most``; and samples and losses as far again."""
        known, batch_size = self.known, solver.method.batch_size
        solver.use(method_of(self.dataset, batch_size, lr, seed))
        solver.begin_anew(np.zeros_like(solver.rows[0]))
        at, end = math.inf, most
        samples, losses = [0], [known.at_zero]
        while samples[-1] < end:
            wanted = max(samples[-1] + 1, int(samples[-1] * _BETWEEN))
            solver.advance(solver.step_end(wanted))
            excess = known.excess(solver.layout.take(solver.result))
            samples.append(solver.samples)
            losses.append(known.least + excess)
            if not excess < 10 * known.at_zero:
                losses.pop(), samples.pop()
                break
            if excess <= self.goal and math.isinf(at):
                at, end = float(solver.samples), 2 * solver.samples
        return at, samples, losses

    def _predicted(self, batch_size: int) -> tuple[float, float]:
        """The rate that needs the fewest steps by the model, and how many they are."""
        n = self.dataset.n
        if self.model is None:
            rate = curvature.stable_lr(self.sizes, batch_size)
            return rate, MOST_STEPS
        rest = 0.0 if batch_size >= n else (n - batch_size) / max(n - 1, 1) / batch_size
        largest = float(self.model.curvature.max())
        steps = _steps_to(grouped(self.model), 2 / largest * _RATES, rest, self.goal)
        best = int(np.argmin(steps))
        return float(2 / largest * _RATES[best]), float(steps[best])


def _steps_to(model: QuadraticModel, rates: np.ndarray, variance: float, goal: float) -> np.ndarray:
    """Steps until the expected excess loss is at ``goal``, by rate; MOST_STEPS where it does not get there.

    A step is a linear map of the mean squared errors along the eigenvectors, a 1 behind them (see
    ``quadratic.best_constant``).  Its powers of two are kept, and the first step at the goal is found from the
    largest of them down.
    """
    d = len(model.curvature)
    step = np.zeros((len(rates), d + 1, d + 1))
    squares = (rates**2 * variance)[:, None]
    step[:, :d, :d] = squares[:, :, None] * model.spread
    step[:, range(d), range(d)] += (1 - rates[:, None] * model.curvature) ** 2
    step[:, :d, d] = squares * model.noise
    step[:, d, d] = 1
    powers = [step]
    with np.errstate(over="ignore", invalid="ignore"):
        while 2 ** len(powers) < MOST_STEPS:
            powers.append(powers[-1] @ powers[-1])
        state = np.tile(np.append(model.error, 1.0), (len(rates), 1))
        made = np.zeros(len(rates))
        for k in reversed(range(len(powers))):  # as many steps as leave it above the goal
            ahead = np.einsum("rij,rj->ri", powers[k], state)
            is_above = ~(ahead[:, :d] @ model.curvature / 2 <= goal)
            state = np.where(is_above[:, None], ahead, state)
            made += is_above * 2.0**k
    return np.minimum(made + 1, MOST_STEPS)


def _batch_sizes(given: Any, n: int) -> list[int]:
    if given is None:
        return [size for size in BATCH_SIZES if size < n] + [n]
    hint = f"Pass sizes up to the {n} rows of X, for example {[1, n]}."
    sizes = sorted({check.integer(size, "batch_sizes", low=1, high=n, hint=hint) for size in given})
    if not sizes:
        raise ValueError(f"batch_sizes is empty; expected at least one size. {hint}")
    return sizes


def _standardized(X: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and deviation 1, constant ones 0, in the dtype of X."""
    wide = X.astype(np.float64)
    wide -= wide.mean(axis=0)
    deviation = wide.std(axis=0)
    return (wide / np.where(deviation > 0, deviation, 1)).astype(X.dtype)


def _median(size: Size, kind: str) -> float:
    seconds = size.seconds(kind)
    return math.inf if seconds is None else seconds.median


def _smaller(one: Mapping[int, Spread], other: Mapping[int, Spread]) -> dict[int, Spread]:
    """For each size the one with the smaller median."""
    return {size: min(one[size], other[size]) for size in one}


def _factor(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2g}"


def _listed(values: Sequence[int]) -> str:
    return f"{', '.join(map(str, values[:-1]))} and {values[-1]}" if len(values) > 1 else str(values[0])


def _size_dict(size: Size) -> dict[str, Any]:
    def told(spread: Spread | None) -> dict[str, float] | None:
        return None if spread is None else spread.to_dict()

    return {
        "batch_size": size.batch_size,
        "lr": size.lr,
        "reached": size.reached,
        "samples": told(size.samples),
        **{kind: told(getattr(size, kind)) for kind in KINDS},
        **{f"{kind}_time": told(size.seconds(kind)) for kind in KINDS},
        "curve": {"samples": list(size.curve[0]), "loss": list(size.curve[1])},
    }
