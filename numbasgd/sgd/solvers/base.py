"""``Solver``: what makes the steps of a run, and nothing else; the trainer knows no more of it than this.

A solver holds the state that steps change.  A row of that state is the weights and the intercept as kernels
keep them, padded to whole registers (``numbasgd.sgd.model``); the trainer passes such rows around and looks
into none.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from numbasgd.compile.options import uncollected
from numbasgd.sgd.config import Method
from numbasgd.sgd.rows import aligned_zeros

if TYPE_CHECKING:
    from numbasgd.sgd.dataset import Dataset

_FIRST = 1 << 22  # entries of X, its rows taken for 8 longer, in the first call that makes steps
# Entering compiled code from Python takes as long as a few small steps.  That it is entered once per
# evaluation is the evaluation's doing, so the shortest of some calls without a step is taken off.
_ENTRIES = 20
_entries: dict[Any, float] = {}  # of what is compiled, the shortest that was seen


class Solver(ABC):
    """The steps of minibatch SGD over the rows of a dataset.

    rows : (4, length) the weights, their velocities (momentum), their means over the steps (averaging), and
    what rounding took from these.
    count : (2,) steps in that mean, and samples seen.
    compile_seconds : what compiling, or loading compiled code, took.
    entry_seconds : what entering compiled code takes that makes no step.
    """

    objective: Any  # an ``Objective``: which, each solver knows

    def __init__(self, dataset: Dataset, method: Method) -> None:
        self.dataset, self.method = dataset, method
        self.objective = objective = dataset.objective(method.loss, method.threads)
        self.n = dataset.n
        self.is_penalized = method.l2 > 0 or method.l1 > 0
        self.layout = layout = objective.layout
        size = 4 * layout.length  # whole lines, so that the scratch memory begins at one as well
        memory = aligned_zeros((size + objective.scratch_size,), dataset.dtype)
        self.rows, self.scratch = memory[:size].reshape(4, layout.length), memory[size:]
        self.scratch64 = np.empty(layout.length)
        self.count = np.zeros(2, np.int64)
        self.compile_seconds = 0.0
        self.entry_seconds = 0.0

    @property
    def samples(self) -> int:
        """Samples that the state has seen."""
        return int(self.count[1])

    @property
    def result(self) -> np.ndarray:
        """The row that counts: the mean over the steps where there is one, else the last weights; a view."""
        return self.rows[2 if self.method.average_from is not None and self.count[0] > 0 else 0]

    @property
    def samples_per_call(self) -> int:
        """Samples that the first call may make steps on, a guess at what takes a moment."""
        return max(self.method.batch_size, _FIRST // (self.layout.breadth + 8))

    def place(self, row: np.ndarray) -> None:
        """Set the weights to start from."""
        self.rows[0] = row
        self.rows[2] = row

    def go_back(self, row: np.ndarray) -> None:
        """Go on from other weights, with no velocity and as their own mean; the samples seen stay seen."""
        row = row.copy()
        self.rows[:] = 0
        self.place(row)

    def begin_anew(self, row: np.ndarray) -> None:
        """As if no step had been made."""
        self.rows[:] = 0
        self.count[:] = 0
        self.place(row)

    def use(self, method: Method) -> None:
        """Make steps by another method from now on, of what is compiled for this one."""
        self.method = method

    def compile(self) -> None:
        """Compile, or load, all that steps and evaluations need, and time an entry that makes no step."""
        begin = time.perf_counter()
        key = self._prepare()
        if self.objective.is_quick and key in _entries:
            self.entry_seconds = _entries[key]
            self.compile_seconds = time.perf_counter() - begin
            return
        with uncollected:
            self.advance(self.samples)
            self.objective.compile(self.rows[0], self.scratch)
            self.objective.rehearse(*self._sums_at_once(), self.scratch, self.scratch64)
        self.compile_seconds = time.perf_counter() - begin
        seconds = min(self._time_entry() for _ in range(_ENTRIES))
        if key is not None:
            seconds = _entries[key] = min(seconds, _entries.get(key, math.inf))
        self.entry_seconds = seconds

    def _prepare(self) -> Any:
        """Get ready to be called; what identifies the compiled code that is called then, or None."""
        return None

    @abstractmethod
    def _sums_at_once(self) -> tuple[tuple[int, ...], np.ndarray]:
        """How many rows gradients are summed over at once, and an order of rows, empty for sequential order."""

    def _time_entry(self) -> float:
        begin = time.perf_counter()
        self.advance(self.samples)
        return time.perf_counter() - begin

    @abstractmethod
    def advance(self, end: int) -> None:
        """Make the steps up to sample number ``end``, counted over all epochs, which falls between two steps.

        None, but everything compiled, where that is now.
        """

    def prepare_for_more(self, seconds: float) -> None:
        """Prepare what pays in a long run only; called between two calls, after so many seconds of steps."""
        return  # most solvers have nothing of the kind

    def close(self) -> None:
        """Called when no more steps will be made for now."""
        return  # most solvers hold nothing

    def mean_loss(self, row: np.ndarray) -> float:
        """The mean loss over the rows for some weights, penalties apart."""
        return self.objective.mean_loss(row)

    def penalty(self, row: np.ndarray) -> float:
        """What the penalties add to the loss for some weights."""
        if not self.is_penalized:
            return 0.0
        l2, l1 = self.method.l2, self.method.l1
        w = self.layout.take(row)[:-1].ravel().astype(np.float64)
        return 0.5 * l2 * float(w @ w) + l1 * float(np.abs(w).sum())

    def state(self) -> tuple[np.ndarray, np.ndarray]:
        """All that steps change, without padding: weights (4, d + 1) or (4, d + 1, K), and ``count``."""
        return self.layout.take(self.rows), self.count.copy()

    def restore(self, weights: np.ndarray, count: np.ndarray) -> None:
        """The inverse of ``state``, bit for bit."""
        self.layout.put(self.rows, weights)
        self.count[:] = count

    def step_end(self, samples: int) -> int:
        """The end, in samples, of the step that holds sample number ``samples``; steps end with the epoch."""
        batch_size = self.method.batch_size
        epoch, position = divmod(samples - 1, self.n)
        return epoch * self.n + min(-(-(position + 1) // batch_size) * batch_size, self.n)

    def go_to(self, samples: int) -> None:
        """Make steps up to so many samples, in calls that do not take long."""
        while self.samples < samples:
            self.advance(self.step_end(min(samples, self.samples + self.samples_per_call)))

    def move(self) -> tuple[Any, ...]:
        """What kernels are told of the step rule."""
        method, T = self.method, self.dataset.dtype.type
        return T(method.momentum), T(method.l2), T(method.l1), method.intercept
