"""How a limit is measured on a shared machine: probes interleaved, the fastest quarter of the rounds taken.

Other programs can slow a round down and never speed it up.  So the value is the median of the fastest quarter
of all rounds, which a few outliers on either side do not move; the lower quartile shows how far the slower
rounds fell short.  The probes are interleaved: each is measured in several turns, so that a slow second of the
machine affects one turn of each and not all rounds of one.
"""

from __future__ import annotations

import math
import statistics
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter, thread_time
from typing import Any, NamedTuple

from numbasgd.machine.deadline import Deadline

MOST_REPEATS = 1 << 30
OWN_CORE = 0.9  # share of the time that a thread runs which has a core to itself


@dataclass
class Probe:
    """Work that can be repeated.

    call : ``call(n)`` does the work ``n`` times.  work : of one time, in the unit of the rate: operations,
    bytes, loads.  prepare : called before each turn, or None.  ``interleave`` fills in the rest:

    repeats : of a round.  rates : work per second of each round.
    compile_seconds : by how much the first call of all took longer than the second.
    """

    call: Callable[[int], Any]
    work: float
    prepare: Callable[[], Any] | None = None
    repeats: int = 0
    rates: list[float] = field(default_factory=list)
    compile_seconds: float = 0.0


class Effort(NamedTuple):
    """How long to measure.

    n_turns : turns of each probe, of ``rounds`` rounds.  least : seconds that a round lasts at least.
    seconds : a time limit, after which only the first turn of each probe is still made.
    """

    n_turns: int
    rounds: int
    least: float
    seconds: float


def interleave(
    probes: Iterable[Probe], effort: Effort, deadline: Deadline | None = None, n_always: int = 0
) -> None:
    """Time all probes: a turn of each, then the next turn of each.

    The most useful probes come first.  What is left until ``deadline`` is shared among the probes of the first
    turn: one that takes more than its share makes fewer rounds.  Those that the deadline leaves no time stay
    without rates; only the first ``n_always`` make a round in any case.
    """
    probes = list(probes)
    deadline = deadline or Deadline(math.inf)
    enough = deadline.at_most(effort.seconds)
    for turn in range(effort.n_turns):
        for i, probe in enumerate(probes):
            if enough.is_over() if turn else i >= n_always and deadline.is_over():
                return
            _turn(probe, effort, deadline if turn else deadline.part(1 / (len(probes) - i)))


def _turn(probe: Probe, effort: Effort, deadline: Deadline) -> None:
    """One turn of a probe: a round, and more of them while there is time."""
    if probe.prepare is not None:
        probe.prepare()
    if probe.repeats:
        probe.call(1)  # loads into cache what the other probes evicted
    else:
        probe.repeats, probe.compile_seconds = _repeats(probe.call, effort.least)
    for number in range(effort.rounds):
        if number and deadline.is_over():
            return
        probe.rates.append(probe.work * probe.repeats / _seconds(probe.call, probe.repeats))


class Task(NamedTuple):
    """What each of several threads does in a round: ``repeats`` times ``work``, the work of all threads."""

    work: float
    repeats: int


@dataclass
class Together:
    """What several threads reached together.

    rates : work per second of the rounds in which each thread had a core to itself.
    cores : in the best of all rounds, the CPU time of the threads over the time that passed.
    """

    rates: list[float] = field(default_factory=list)
    cores: float = 0.0


def concurrent(
    n_threads: int,
    make: Callable[[int], Sequence[Callable[[int], Any]]],
    tasks: Sequence[Task],
    rounds: int,
    deadline: Deadline | None = None,
) -> list[Together]:
    """What ``n_threads`` threads that begin each round at once reach in each of ``tasks``.

    A round lasts from the first start to the last end.  It counts only if each thread ran nearly all of the
    time from the first start to its own end.  Else a thread shared its core with another program or with
    another of these threads, and the round shows less than the cores can do: two threads on one core are as
    fast as one.  There are as many rounds as it takes to have ``rounds`` that count, four times as many at
    most, and none begins after ``deadline``, the first ones of each task apart.

    make : ``make(i)`` gives the i-th thread's calls, one for each task.  It runs in that thread, so that the
    memory which it touches first is allocated near its core.
    """
    referee = _Referee(n_threads, tasks, rounds, deadline or Deadline(math.inf))
    gate = threading.Barrier(n_threads, action=referee.settle)

    def one(i: int) -> None:
        try:
            calls = make(i)
            for call in calls:
                call(1)
            while True:
                gate.wait()
                if referee.is_done:
                    return
                call, repeats = calls[referee.task], tasks[referee.task].repeats
                start, cpu = perf_counter(), thread_time()
                call(repeats)
                referee.spans[i] = start, perf_counter(), thread_time() - cpu
        except BaseException:
            gate.abort()  # or the others wait for ever
            raise

    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(one, range(n_threads)))
    return referee.found


class _Referee:
    """Judges each round of ``concurrent`` and chooses the next task, while all threads wait."""

    def __init__(self, n_threads: int, tasks: Sequence[Task], rounds: int, deadline: Deadline) -> None:
        self.spans = [(0.0, 0.0, 0.0)] * n_threads  # each thread's start, end, and CPU time in between
        self.found = [Together() for _ in tasks]
        self.task = -1
        self.is_done = False
        self._tasks = tasks
        self._rounds = rounds
        self._made = 0
        self._deadline = deadline

    def settle(self) -> None:
        """Take in the round that is over, and choose the next task."""
        if self.task >= 0 and self._made:  # the first round of each task is a warm-up
            self._take()
        self.task += 1
        if self.task == len(self._tasks):
            self.task = 0
            self._made += 1
            made = self._made - 1
            has_enough = min(len(of_task.rates) for of_task in self.found) >= self._rounds
            self.is_done = made > 0 and (has_enough or made >= 4 * self._rounds or self._deadline.is_over())

    def _take(self) -> None:
        first = min(start for start, _, _ in self.spans)
        seconds = max(max(end for _, end, _ in self.spans) - first, 1e-9)
        found, task = self.found[self.task], self._tasks[self.task]
        found.cores = max(found.cores, sum(cpu for _, _, cpu in self.spans) / seconds)
        if all(cpu >= OWN_CORE * (end - first) for _, end, cpu in self.spans):
            found.rates.append(task.work * task.repeats / seconds)


def limit(rates: Iterable[float], scale: float = 1.0) -> dict[str, float]:
    """The limit from rates of rounds: the median of the fastest quarter, the lower quartile, the fastest."""
    ordered = sorted((rate * scale for rate in rates), reverse=True)
    quarter = ordered[: max(1, len(ordered) // 4)]
    return {
        "value": _digits(statistics.median(quarter)),
        "low": _digits(ordered[math.ceil(0.75 * (len(ordered) - 1))]),
        "high": _digits(ordered[0]),
    }


def time_limit(rates: Iterable[float], scale: float = 1.0) -> dict[str, float]:
    """The same as the time of one repeat: the value, the fastest, the upper quartile."""
    found = limit(rates)
    return {
        "value": _digits(scale / found["value"]),
        "low": _digits(scale / found["high"]),
        "high": _digits(scale / found["low"]),
    }


def _repeats(call: Callable[[int], Any], least: float) -> tuple[int, float]:
    """How often to repeat so that a round lasts ``least`` seconds, and the seconds that compiling took."""
    first = _seconds(call, 1)
    repeats, once = 1, _seconds(call, 1)
    taken = once
    while taken < least / 4 and repeats < MOST_REPEATS:
        repeats *= 4
        taken = _seconds(call, repeats)
    return max(1, min(math.ceil(repeats * least / max(taken, 1e-9)), MOST_REPEATS)), max(0.0, first - once)


def _seconds(call: Callable[[int], Any], repeats: int) -> float:
    start = perf_counter()
    call(repeats)
    return max(perf_counter() - start, 1e-9)


def _digits(value: float) -> float:
    """Four significant digits: more would be noise in a file."""
    return float(f"{value:.4g}")
