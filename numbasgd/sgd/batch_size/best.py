"""``best_batch_size``: which batch size and rate get to a target first."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from numbasgd import check
from numbasgd.compile.options import uncollected
from numbasgd.sgd.batch_size import model
from numbasgd.sgd.batch_size.clock import Clock
from numbasgd.sgd.batch_size.optimum import Objective, Optimum, optimum
from numbasgd.sgd.batch_size.race import SLOW, Aim, Arm, first_of, race, race_of_lengths
from numbasgd.sgd.batch_size.result import BatchSize, Trial
from numbasgd.sgd.batch_size.trials import corrected, interval, near_of, seconds_at, shortlist
from numbasgd.sgd.config import Method, TrainConfig
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.inputs import start_of
from numbasgd.sgd.learning_rate.curvature import curvature_of
from numbasgd.sgd.learning_rate.stability import Curvature
from numbasgd.sgd.losses import loss_named
from numbasgd.sgd.moments import Slope, moments
from numbasgd.sgd.streamed_inputs import sampled_dataset

_PRICED = (1, 10, 32, 100)
_FACTORS = (0.5, 1.0, 2.0), (0.0625, 0.125, 0.25), (0.004, 0.015)  # of the model's rate
_BETWEEN, _BEYOND = 1.4, 1.7  # from the winner's rate to others that are tried behind the race
_EARLY = 0.4  # power of what the model's rate is beyond the stable one at the start
_USED = 0.8  # of the budget, until the race ends: what comes behind takes time as well
_SHARES = {"optimum": 0.3, "clock": 0.2}  # of the budget
_VERIFIED = 5  # further runs


def best_batch_size(
    X: Any,
    y: Any,
    *,
    loss: str = "squared",
    target: float = 0.01,
    target_loss: float | None = None,
    seconds: float | None = None,
    budget: float = 10.0,
    sizes: Sequence[int] | None = None,
    device: str = "cpu",
    verify: bool = False,
    quantile: float = 0.5,
    schedule: str = "constant",
    sampling: str = "reshuffle",
    momentum: float = 0.0,
    nesterov: bool = False,
    l2: float = 0.0,
    l1: float = 0.0,
    intercept: bool = True,
    sample_weight: Any = None,
    standardize: bool | None = None,
    seed: int = 0,
    threads: int | None = None,
) -> BatchSize:
    """Find the batch size, with its learning rate, that gets to a target first on this machine.

    The noisy quadratic model (``numbasgd.sgd.batch_size.model``, with its sources) tells how many steps each
    size needs at its best rate, from curvature and noise of the data; a few timings tell what a step costs, its
    overhead and its rows.  Where their product is near the least, sizes are raced: run at three rates each, in
    turns, until one is at the target.

    Parameters
    ----------
    X, y, sample_weight
        As for ``train``.  Of rows in a file a sample is looked at and raced on, some ten thousand of them.
    loss, quantile, schedule, sampling, momentum, nesterov, l2, l1, intercept, standardize, threads
        Settings of the run that a size is wanted for, as for ``train``; the schedule "restarts" counts as
        "cosine".
    target : float
        The share of the gap between the objective at zero weights and the least one that may be left; above 0
        and below 1.
    target_loss : float, optional
        The objective to get to, instead.
    seconds : float, optional
        Seconds of training, instead: the size with the least objective after them.
    budget : float
        Seconds that this may take, without those of compiling.
    sizes : sequence of int, optional
        The sizes to choose from; powers of 2, 10, 100 and all rows if left out.
    device : {"cpu"}
    verify : bool
        Run the answer five more times, with other orders of the rows.
    seed : int

    Returns
    -------
    BatchSize

    Raises
    ------
    TypeError, ValueError
        For an argument that is not as described.

    Examples
    --------
    >>> import numbasgd
    >>> X, y = numbasgd.airfoil_twin()
    >>> best = numbasgd.best_batch_size(X, y)
    >>> best.prices[1] > 1.5  # steps of one row are too small
    True
    >>> fit = numbasgd.train(X, y, batch_size=best, epochs=10, seed=0)
    >>> fit.settings["batch_size"] == best.batch_size and fit.settings["lr"] == best.lr
    True
    """
    begin = time.perf_counter()
    if device != "cpu":
        raise ValueError(f"device is {device!r}; expected 'cpu'. Pass that, or leave it out.")
    config = TrainConfig(
        lr=1.0, epochs=1, loss=loss, quantile=quantile, schedule=schedule, sampling=sampling, momentum=momentum,
        nesterov=nesterov, l2=l2, l1=l1, intercept=intercept, standardize=standardize, seed=seed,
        threads=threads,
    )  # fmt: skip
    aim = _Aim.of_call(target, target_loss, seconds)
    budget = check.real(budget, "budget", positive=True, hint="Pass the seconds that this may take.")
    dataset, n = sampled_dataset(X, y, sample_weight, config.loss)
    is_sample = dataset.n < n
    dataset = dataset.counted()
    dataset.require_finite(math.nan)
    is_scaled = dataset.standardizes if standardize is None else config.standardize
    if is_scaled:
        dataset = dataset.scale(config.intercept).apply(dataset)
    search = _Search(config, dataset.together(is_shuffled=config.sampling != "sequential"), begin, budget)
    found = search.find(aim, _sizes(sizes, dataset.n), check.flag(verify, "verify"), bool(is_scaled))
    return replace(found, sampled_from=n) if is_sample else found


class _Aim:
    """What is to be reached: a share of the gap, an objective, or the least objective in so many seconds."""

    def __init__(self, share: float, objective: float | None, seconds: float | None) -> None:
        self.share, self.objective, self.seconds = share, objective, seconds

    @classmethod
    def of_call(cls, target: Any, target_loss: Any, seconds: Any) -> _Aim:
        """Checked."""
        if target_loss is not None and seconds is not None:
            raise ValueError(
                f"target_loss is {target_loss!r} and seconds is {seconds!r}; expected one of them at "
                "most. Drop the other."
            )
        target = check.real(target, "target", positive=True, hint="Pass a share of the gap, for example 0.01.")
        if target >= 1:
            raise ValueError(
                f"target is {target}; expected a share of the gap, below 1. Pass for example 0.01."
            )
        if target_loss is not None:
            target_loss = check.real(target_loss, "target_loss", hint="Pass the objective to get to.")
        if seconds is not None:
            seconds = check.real(seconds, "seconds", positive=True, hint="Pass the seconds of training.")
        return cls(target, target_loss, seconds)


def _sizes(given: Any, n: int) -> list[int]:
    """The sizes to look at, in order."""
    if given is None:
        powers = [1 << k for k in range(40) if (1 << k) < n]
        return sorted({*powers, *(b for b in _PRICED if b < n), n})
    hint = f"Pass sizes up to the {n} rows of X, for example [1, {n}]."
    if isinstance(given, str | bytes) or not hasattr(given, "__iter__"):
        raise TypeError(f"sizes is {given!r}; expected a sequence of integers. {hint}")
    found = {check.integer(value, "sizes", low=1, high=n, hint=hint) for value in given}
    if not found:
        raise ValueError(f"sizes is empty; expected at least one size. {hint}")
    return sorted(found)


class _Search:
    """One call, from its data on."""

    def __init__(self, config: TrainConfig, dataset: Dataset, begin: float, budget: float) -> None:
        self.config, self.dataset, self.n = config, dataset, dataset.n
        self.begin, self.budget, self.compiling = begin, budget, 0.0
        self.schedule = "cosine" if config.schedule == "restarts" else config.schedule or "constant"
        self.is_late = False
        self.spent: dict[str, float] = {}
        self.slope = Slope(config.loss_key, config.intercept, config.l2)
        w, b = start_of(None, dataset)
        self.start = np.vstack([w.reshape(dataset.d, -1), np.reshape(b, (1, -1))]).astype(np.float64)
        self.w, self.b = w, b

    @property
    def deadline(self) -> float:
        """On the clock of ``time.perf_counter``; compiling does not count."""
        return self.begin + _USED * self.budget + self.compiling

    def method(self, batch_size: int, lr: float, seed: int | None = None) -> Method:
        """How steps are made."""
        method = self.config.method(self.n, np.array([lr], self.dataset.dtype))
        return method._replace(batch_size=batch_size, seed=method.seed if seed is None else seed)

    def solver(self, batch_size: int, lr: float, seed: int | None = None) -> Any:
        """A solver that is compiled."""
        solver = self.dataset.solver(self.method(batch_size, lr, seed))
        solver.compile()
        self.compiling += solver.compile_seconds
        return solver

    def timed(self, name: str, since: float) -> float:
        """Note what something took."""
        now = time.perf_counter()
        self.spent[name] = self.spent.get(name, 0.0) + now - since
        return now

    def find(self, aim: _Aim, sizes: list[int], verify: bool, is_scaled: bool) -> BatchSize:
        """The answer."""
        at = time.perf_counter()
        with uncollected:
            objective = Objective(self.solver(self.n, 1e-9))
            first = objective.value(objective.row(self.start))
            objective.gradient(self.start)  # which may have to be compiled
            self.compiling = max(self.compiling, time.perf_counter() - at)
            share = min(aim.share, 0.01) if aim.seconds is not None else aim.share
            until = min(time.perf_counter() + _SHARES["optimum"] * self.budget, self.deadline)
            best = optimum(objective, self.start, share, until, self.solver)
            at = self.timed("optimum", at)
            clock = Clock(self.solver, self.n, _SHARES["clock"] * self.budget)
            at = self.timed("clock", at)
            trials, target, goal = self._model(aim, sizes, best, first, clock)
            at = self.timed("model", at)
            arms, winner = self._race(trials, goal, best.objective, clock)
            at = self.timed("race", at)
        self.spent["steps"] = sum(arm.spent for arm in arms)
        trials = corrected(trials, arms, winner)
        verified = self._verified(winner, goal) if verify else ()
        self.timed("verifying", at)
        return self._result(trials, winner, (target, goal, first, best.objective), verified, is_scaled)

    def _model(
        self, aim: _Aim, sizes: list[int], best: Optimum, first: float, clock: Clock
    ) -> tuple[list[Trial], float, float]:
        """A trial for each size by the model, the target as a share, and as an objective."""
        gap = max(first - best.objective, 0.0)
        run = model.Run(self.n, self.config.sampling == "replacement", self.config.momentum, self.schedule)
        # Where classes can be told apart there is no optimum, and the weights at the target stand for it.
        wanted = best.objective + 0.5 * aim.share * gap if best.objective == 0 else -math.inf
        low, end = best.near(wanted)
        local = model.local_model(self.dataset, self.slope, self.start, end, first - low)
        target = aim.share
        if aim.objective is not None:
            target = (aim.objective - best.objective) / gap if gap > 0 else 1.0
        elif aim.seconds is not None:
            steps = {b: max(1, int(aim.seconds / (b * clock(b)))) for b in sizes if b * clock(b) <= aim.seconds}
            if not steps:
                least = min(b * clock(b) for b in sizes)
                raise ValueError(
                    f"seconds is {aim.seconds:.3g}; expected {least:.3g} or more, which one step takes here. "
                    "Pass more."
                )
            left = [model.excess_after(local, run, b, count) for b, count in steps.items()]
            target = min(max(min(left), 1e-9), 0.99)
        goal = best.objective + target * gap if aim.objective is None else aim.objective
        at_start = self._curvature(model.mean_curvature(self.dataset, self.slope, self.start))
        is_quadratic = loss_named(self.slope.loss).is_quadratic
        trials = []
        for b in sizes:
            step = b * clock(b)
            overhead = max(0.0, min(step, step - b * clock.row)) if b < self.n else 0.0
            lr, steps_needed = self._best_rate(local, run, b, (goal - low) / max(first - low, 1e-300))
            told = None if math.isinf(steps_needed) else steps_needed
            predicted = None if told is None else told * step
            stable = at_start.stable_lr(b) * (1 - self.config.momentum)
            if lr > stable and not is_quadratic:  # the first steps meet more curvature than those on the way
                lr = stable * (lr / stable) ** _EARLY
            trials.append(Trial(b, lr, told, predicted, None, predicted, step, overhead))
        return trials, target, goal

    def _best_rate(self, local: Any, run: model.Run, batch_size: int, target: float) -> tuple[float, float]:
        """The rate with the fewest steps, and these; what is stable for sure where the model has none."""
        if 0 < target < 1 and local.curvature.size and np.isfinite(local.curvature).all():
            lrs, steps = model.steps_to(local, run, batch_size, target)
            k = int(steps.argmin())
            if math.isfinite(steps[k]):
                return float(lrs[k]), float(steps[k])
        bound = curvature_of(loss_named(self.slope.loss), self.dataset, self.w, self.b)
        return self._curvature(bound).best_lr(batch_size) * (1 - self.config.momentum), math.inf

    def _curvature(self, bound: float) -> Curvature:
        """That of the loss at a second derivative, for rows of mean length."""
        size = self.dataset.row_sizes(self.config.intercept)
        return Curvature(bound * size.curvature + self.slope.l2, None, bound * size.mean + self.slope.l2)

    def _race(self, trials: list[Trial], goal: float, least: float, clock: Clock) -> tuple[list[Arm], Arm]:
        """The arms and the winner."""
        lanes, arms = shortlist(trials, self.n), []
        most = max((t.predicted or math.inf for t in lanes), default=math.inf)
        for factors in _FACTORS:  # the further ones where none of those before gets there
            new = [
                Arm(self.solver, self.start, t.batch_size, factor * t.lr, clock(t.batch_size))
                for t in lanes for factor in factors
            ]  # fmt: skip
            arms += new
            if self.schedule == "constant":
                aim = Aim(goal, least, self.deadline, SLOW * most)
                winner = race(new, aim)
            else:
                lengths = [(t.steps or t.batch_size) * t.batch_size for t in lanes for _ in factors]
                winner = race_of_lengths(new, lengths, goal, (self.schedule, self.deadline))
            if math.isfinite(winner.hit) or time.perf_counter() > self.deadline:
                break
        winner = first_of(arms)
        # A race ends where the next look at an arm, a tenth of the time so far, would come too late.
        late = self.deadline - 0.1 * self.budget
        self.is_late = math.isinf(winner.hit) and time.perf_counter() > late
        if self.schedule == "constant" and math.isfinite(winner.hit):
            winner = self._refined(winner, arms, aim)
        return arms, winner

    def _refined(self, winner: Arm, arms: list[Arm], aim: Aim) -> Arm:
        """The winner, or its size at a rate between those of the race, or beyond them, if that is faster."""
        b, lr = winner.batch_size, winner.lr
        others = [arm.lr for arm in arms if arm.batch_size == b]
        up, down = (_BEYOND if is_last else _BETWEEN for is_last in (lr == max(others), lr == min(others)))
        for factor in (up, 1 / down):
            arm = Arm(self.solver, self.start, b, factor * lr, winner.per)
            arm.finish(winner.hit, aim.goal, self.deadline)
            arms.append(arm)
            if arm.hit < winner.hit:
                return arm
        return winner

    def _verified(self, winner: Arm, goal: float) -> tuple[float, ...]:
        """Seconds of further runs of the winner to the goal, of those that get there in time."""
        found = []
        for k in range(1, _VERIFIED + 1):
            seed = (self.config.seed or 0) + 100 + k  # none that the race has seen
            make = functools.partial(self.solver, seed=seed)
            arm = Arm(make, self.start, winner.batch_size, winner.lr, winner.per, 1)
            arm.finish(SLOW * winner.hit, goal, self.deadline)
            if math.isfinite(arm.hit):
                found.append(arm.hit)
        return tuple(found)

    def _result(
        self,
        trials: list[Trial],
        winner: Arm,
        aims: tuple[float, ...],
        verified: tuple[float, ...],
        is_scaled: bool,
    ) -> BatchSize:
        target, goal, first, least = aims
        chosen = next(t for t in trials if t.batch_size == winner.batch_size)
        best, among = chosen.seconds or math.inf, [t.batch_size for t in trials]
        near = near_of(trials, chosen)
        prices = {b: seconds_at(trials, b) / best for b in (*_PRICED, self.n) if among[0] <= b <= among[-1]}
        size = self.dataset.row_sizes(self.config.intercept)
        bound = curvature_of(loss_named(self.slope.loss), self.dataset, self.w, self.b)
        at_start = moments(self.dataset, self.slope, self.w, self.b)
        settings = {name: getattr(self.config, name) for name in SETTINGS}
        self.spent["compiling"] = self.compiling
        self.spent["total"] = time.perf_counter() - self.begin
        return BatchSize(
            batch_size=winner.batch_size, lr=winner.lr, near=near,
            interval=interval(trials, near, winner.batch_size),
            trials=tuple(trials), prices=prices, target=target, target_loss=goal, first=first, least=least,
            reached=math.isfinite(winner.hit), out_of_time=self.is_late, seconds=chosen.seconds,
            noise_scale=at_start.noise_scale,
            critical_batch_size=Curvature(bound * size.curvature, None, bound * size.beta).critical_batch_size,
            settings=settings, standardize=is_scaled, n=self.n, verified=verified, spent=self.spent,
        )  # fmt: skip


#: Settings that a size and its rate depend on.
SETTINGS = ("loss", "quantile", "sampling", "momentum", "nesterov", "l2", "l1", "intercept")
