"""A race: some batch sizes, each at some rates, run until the first one is at the target.

All take turns in slices of the same seconds, those of the clock that was measured before, so that other
programs on the machine do not decide who wins.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from numbasgd.sgd.batch_size.optimum import Make, Objective
from numbasgd.sgd.schedule import factors

SLOW = 40  # times what the model tells, after which an arm is given up
_RATIO, _FINE = 1.1, 1.05  # from one look at all arms to the next, and at one of them
_FAR, _NEAR = 4.0, 2.0  # times what another arm will take, for one that is out if so far above the goal
_STEPS = 32  # of an arm, before which its curve tells nothing
ORDERS = 2  # of the rows that an arm is run with: one may be lucky
_LOST = 50.0  # times the first objective
_LONGER, _MOST_LONGER = 1.5, 4  # of runs whose rate falls, and how often they are made longer


class Arm:
    """Runs with one batch size and rate and several orders of the rows, side by side; their mean counts.

    per : seconds a sample.  hit : seconds until the target, infinite until then.
    spent : seconds of the clock that the steps of all of them took.
    """

    def __init__(
        self, make: Make, start: Any, batch_size: int, lr: float, per: float, orders: int = ORDERS
    ) -> None:
        self.batch_size, self.lr, self.per, self.start = batch_size, lr, per, start
        solver = make(batch_size, lr)
        self.n, method = solver.n, solver.method
        # Steps over all rows are the same in any order.
        self.is_descent = batch_size >= self.n and method.sampling != "replacement"
        self.solvers = [solver]
        for k in range(1, 1 if self.is_descent else orders):
            self.solvers.append(make(batch_size, lr))
            self.solvers[k].use(method._replace(seed=method.seed + k))
        self.objective = Objective(solver)
        for run in self.solvers:
            run.begin_anew(self.objective.row(start))
        self.at, self.spent, self.hit = 0.0, 0.0, math.inf
        self.first = self.left = self.objective.value(solver.result)
        self.before = (0.0, self.left)  # seconds and objective of a look some time ago
        self.is_running = True

    def until(self, seconds: float, goal: float) -> None:
        """Go on to so many seconds."""
        samples = int(seconds / self.per) // self.batch_size * self.batch_size
        if samples <= self.solvers[0].samples:
            return
        if seconds >= 1.4 * self.before[0]:
            self.before = self.at, self.left
        self.left = 0.0
        for run in self.solvers:
            run.go_to(run.step_end(samples))
            self.left += self.objective.value(run.result) / len(self.solvers)
        now = self.solvers[0].samples * self.per
        self.spent += (now - self.at) * len(self.solvers)
        self.at = now
        is_there = self.left <= goal and (not self.is_descent or self._stays(goal))
        self.is_running = not is_there and self.left < _LOST * max(self.first, 1e-300)
        if is_there:
            self.hit = now

    def _stays(self, goal: float) -> bool:
        """Whether the next steps are at the goal as well: at the edge of what is stable they jump."""
        (run,) = self.solvers
        for _ in range(2):
            run.go_to(run.samples + self.n)
            self.left = max(self.left, self.objective.value(run.result))
        self.at = run.samples * self.per
        return self.left <= goal

    def finish(self, most: float, goal: float, deadline: float) -> None:
        """Go on until the goal is met, or to so many seconds."""
        t = max(self.at, 0.25 * most, self.batch_size * self.per)
        while self.is_running and t <= most and time.perf_counter() + t - self.at < deadline:
            self.until(t, goal)
            t *= _FINE

    def expected(self, goal: float, least: float) -> float:
        """Seconds to the goal: those seen, else as the curve goes on; infinite if it does not."""
        if not self.is_running or not self.at:
            return self.hit
        (then, was), now, left = self.before, self.at, self.left
        if not (least < goal < left < was and 0 < then < now):
            return math.inf
        fall = math.log((was - least) / (left - least)) / math.log(now / then)
        power = math.log((left - least) / (goal - least)) / max(fall, 1e-3)
        return now * math.exp(min(power, 50.0))


class Aim(NamedTuple):
    """What a race is for.

    goal : the objective to get to.  least : about the least one.  deadline : on the clock of
    ``time.perf_counter``.  most : seconds of an arm, at most.
    """

    goal: float
    least: float
    deadline: float
    most: float


def race(arms: Sequence[Arm], aim: Aim) -> Arm:
    """All arms in slices of the same seconds, longer and longer, until one has met the goal; the winner.

    One that will take far longer than another, as the curves are, is out.
    """
    t = min(arm.batch_size * arm.per for arm in arms)
    running = list(arms)
    while t <= aim.most and running:
        for arm in running:
            if time.perf_counter() + (t - arm.at) > aim.deadline:
                return first_of(arms)
            arm.until(t, aim.goal)
        if any(not arm.is_running and arm.hit < math.inf for arm in running):
            break
        running = [arm for arm in running if arm.is_running]
        if t > 0.3 * aim.most / SLOW and len(running) > 2:
            times = {id(arm): arm.expected(aim.goal, aim.least) for arm in running}
            far, best = aim.least + _NEAR * (aim.goal - aim.least), min(times.values())
            # Near the goal noise hides the way, and chance decides.
            running = [
                arm
                for arm in running
                if arm.left <= far
                or times[id(arm)] <= _FAR * best
                or arm.at < _STEPS * arm.batch_size * arm.per
            ]
        t *= _RATIO
    return first_of(arms)


def race_of_lengths(arms: Sequence[Arm], lengths: Sequence[float], goal: float, how: tuple[str, float]) -> Arm:
    """Runs whose rate falls to their end: each in the length that the model tells, longer until it is enough.

    lengths : samples of each.  how : the schedule, and the deadline on the clock of ``time.perf_counter``.
    """
    schedule, deadline = how
    best = math.inf
    for arm, length in zip(arms, lengths, strict=True):
        epochs = max(1, math.ceil(length / arm.n))
        for _ in range(_MOST_LONGER):
            seconds = epochs * arm.n * arm.per
            if seconds >= best or time.perf_counter() + seconds > deadline:
                break
            if _at_end(arm, epochs, schedule) <= goal:
                best = arm.hit = seconds
                break
            epochs = math.ceil(_LONGER * epochs)
    return first_of(arms)


def _at_end(arm: Arm, epochs: int, schedule: str) -> float:
    """The objective at the end of runs of so many epochs."""
    values, spans = factors(schedule, arm.n, arm.batch_size, 0, epochs)
    arm.left = 0.0
    for run in arm.solvers:
        run.begin_anew(arm.objective.row(arm.start))
        run.use(run.method._replace(lrs=(arm.lr * values).astype(run.dataset.dtype), spans=spans))
        run.go_to(epochs * arm.n)
        arm.left += arm.objective.value(run.result) / len(arm.solvers)
    arm.spent += epochs * arm.n * arm.per * len(arm.solvers)
    return arm.left


def first_of(arms: Sequence[Arm]) -> Arm:
    """The one that was first at the goal, or is nearest to it."""
    return min(arms, key=lambda arm: (arm.hit, arm.left))
