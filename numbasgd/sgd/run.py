"""One training run: the state that kernels change, the clock, the history, and the watch for divergence."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from numbasgd.errors import DivergenceError
from numbasgd.sgd.cpu import advance_kernel, kernels, padded, work_for
from numbasgd.sgd.rows import Rows, room_for
from numbasgd.sgd.sampling import SAMPLINGS, WINDOW
from numbasgd.sgd.scale import Scale
from numbasgd.sgd.update import Step

DIVERGED = 1e6  # a loss so many times the first one
_CALL_SECONDS = 0.1  # how long compiled code runs before Python looks at it: progress, Ctrl-C, divergence
_EVALUATED = 1 << 22  # entries of X that one call evaluates
_FIRST = 1 << 22  # entries of X in the first call that makes steps
# Entering compiled code from Python takes as long as a few small steps.  That it is entered once per
# evaluation is the evaluation's doing, so the shortest of some calls without a step is taken off.
_ENTRIES = 8
_CACHED = 1 << 19  # bytes of X from which on memory is asked for ahead


@dataclass(frozen=True)
class Problem:
    """The rows to fit: y and s (sample weights of mean 1, or of length 0) in the dtype of the rows."""

    rows: Rows
    y: np.ndarray
    s: np.ndarray
    loss: str

    def mean_loss(self, w: np.ndarray, b: Any) -> float:
        """The mean loss for padded weights, in calls that do not take long."""
        rows, n = self.rows, self.rows.n
        evaluate = self.kernels.sum_loss
        work = np.empty(room_for(rows.d, rows.is_gathered), self.y.dtype)
        count = max(1, _EVALUATED // max(rows.d, 1))
        parts = (
            evaluate(
                rows.memory,
                rows.d,
                rows.base,
                rows.si,
                rows.sj,
                self.y,
                self.s,
                w,
                b,
                i,
                min(i + count, n),
                work,
            )
            for i in range(0, n, count)
        )
        return math.fsum(parts) / n

    @property
    def kernels(self) -> Any:
        """The compiled functions for this loss and these rows."""
        return kernels(self.loss, self.rows.d, self.y.dtype, self.s.size > 0, self.rows.is_gathered)


class Method(NamedTuple):
    """How steps are made; everything checked.  ``lrs`` are the rates of the epochs, the last one stays."""

    batch_size: int
    lrs: np.ndarray
    sampling: str
    seed: int
    intercept: bool
    momentum: float
    nesterov: bool
    average_from: int | None  # samples before the first averaged step
    l2: float
    l1: float

    @property
    def step(self) -> Step:
        """What has to be compiled."""
        kind = ("nesterov" if self.nesterov else "heavy-ball") if self.momentum else ""
        return Step(kind, self.l2 > 0 or self.l1 > 0, self.average_from is not None)


class Moment(NamedTuple):
    """An evaluation: losses, samples and seconds until then; ``watched`` is what early stopping looks at."""

    loss: float
    objective: float
    validation: float
    samples: int
    seconds: float


class Book(NamedTuple):
    """What Python knows of a run, replaced as a whole, so that an interrupt never sees half of a change.

    n_moments : entries of the history that count.  best : (watched loss, state, averaging included).
    stale : epochs since the best one.
    """

    n_moments: int
    seconds: float
    best_watched: float
    best: np.ndarray
    stale: int
    is_over: bool


class Run:
    """One training run; ``state`` and ``count`` are as in ``cpu.py``."""

    def __init__(
        self,
        problem: Problem,
        method: Method,
        scale: Scale | None,
        safe_lr: Callable[[], float],
        validation: Problem | None = None,
    ) -> None:
        rows = problem.rows
        self.problem, self.method, self.scale, self.validation = problem, method, scale, validation
        self.safe_lr = safe_lr
        self.n, self.d = rows.n, rows.d
        self.kernel = advance_kernel(
            problem.loss, rows.d, problem.y.dtype, problem.s.size > 0, rows.is_gathered, method.step
        )
        self.lanes = problem.kernels.lanes
        self.size = padded(rows.d, self.lanes)
        self.state = np.zeros((4, self.size + self.lanes), problem.y.dtype)
        self.count = np.zeros(2, np.int64)
        self.work = np.empty(work_for(rows.d, self.lanes, rows.is_gathered), problem.y.dtype)
        self.wide = np.empty(self.size)
        self.drawn = np.array([-1, 0, 0])
        batch_size = method.batch_size
        # A step over all rows needs no order, nor do rows as they lie.
        in_order = method.sampling == "sequential" or (
            batch_size >= self.n and method.sampling != "replacement"
        )
        length = 0 if in_order else min(self.n, -(-WINDOW // batch_size) * batch_size)
        self.window = np.empty(length, np.int32 if self.n < 2**30 else np.int64)
        row_bytes = max(1, rows.d * problem.y.itemsize)
        is_far = row_bytes * rows.n > _CACHED and not rows.is_gathered
        self.ahead = max(4, min(32, 8192 // row_bytes)) if is_far else 0
        self.compile_seconds = 0.0
        self.entry_seconds = 0.0
        self.history: list[Moment] = []
        self.chosen: np.ndarray | None = None
        self.checked = -1

    @property
    def samples(self) -> int:
        """Samples that the state has seen."""
        return int(self.count[1])

    def compile(self) -> None:
        """Compile, or load compiled code, outside the clock."""
        begin = time.perf_counter()
        self._call(self.samples)
        rows = self.problem.rows
        self.problem.kernels.sum_loss(
            rows.memory, rows.d, rows.base, rows.si, rows.sj, self.problem.y, self.problem.s, self.state[0],
            self.state[0, self.size], 0, 0, self.work,
        )  # fmt: skip
        self.compile_seconds = time.perf_counter() - begin
        self.entry_seconds = min(self._time_entry() for _ in range(_ENTRIES))

    def start(self, w: np.ndarray, b: float) -> None:
        """Set the weights and evaluate for the first time."""
        self.state[0, : self.d] = w
        self.state[0, self.size] = b
        self.state[2] = self.state[0]
        self.book = Book(0, 0.0, math.inf, self.result.copy(), 0, False)
        self.evaluate(is_recorded=True)

    def _call(self, end: int) -> None:
        problem, method, rows = self.problem, self.method, self.problem.rows
        T = problem.y.dtype.type
        self.kernel(
            rows.memory, rows.d, rows.base, rows.si, rows.sj, problem.y, problem.s, self.window, self.drawn,
            SAMPLINGS[method.sampling], method.seed, end, self.ahead, method.batch_size, method.lrs,
            T(method.momentum), T(method.l2), T(method.l1), method.intercept, method.average_from or 0,
            self.state, self.count, self.work, self.wide,
        )  # fmt: skip

    def _time_entry(self) -> float:
        begin = time.perf_counter()
        self._call(self.samples)
        return time.perf_counter() - begin

    @property
    def result(self) -> np.ndarray:
        """The row of the state that counts: the chosen one, else the mean over the steps, else the last."""
        if self.chosen is not None:
            return self.chosen
        return self.state[2 if self.method.average_from is not None and self.count[0] > 0 else 0]

    def in_user_units(self, row: np.ndarray) -> tuple[np.ndarray, float]:
        """Weights and intercept of a row of the state."""
        w, b = row[: self.d].copy(), float(row[self.size])
        return (w, b) if self.scale is None else self.scale.back(w, b)

    def evaluate(self, *, is_recorded: bool, is_candidate: bool = True) -> Moment:
        """Evaluate the present weights, and raise if the loss has left for infinity.

        is_candidate : whether they may be kept as the best ones.
        """
        moment = self.moment()
        watched = moment.objective if self.validation is None else moment.validation
        self._watch(moment)
        book = self.book
        is_better = is_candidate and watched < book.best_watched
        n_moments = book.n_moments
        if is_recorded:
            del self.history[n_moments:]
            self.history.append(moment)
            n_moments += 1
        self.book = book._replace(
            n_moments=n_moments,
            best_watched=watched if is_better else book.best_watched,
            best=self.result.copy() if is_better else book.best,
        )
        return moment

    def moment(self) -> Moment:
        """The losses of the present weights."""
        row = self.result
        loss = self.problem.mean_loss(row, row[self.size])
        method = self.method
        penalty = 0.0
        if method.step.is_penalized:
            w = row[: self.d].astype(np.float64)
            penalty = 0.5 * method.l2 * float(w @ w) + method.l1 * float(np.abs(w).sum())
        held_out = math.nan if self.validation is None else self.validation.mean_loss(row, row[self.size])
        return Moment(loss, loss + penalty, held_out, self.samples, self.book.seconds)

    def take_best(self) -> None:
        """Make the best weights the result, and their losses the last of the history."""
        if self.result.tobytes() != self.book.best.tobytes():
            self.chosen = self.book.best
            self.history[self.book.n_moments :] = [self.moment()]
            self.book = self.book._replace(n_moments=self.book.n_moments + 1)

    def _watch(self, moment: Moment) -> None:
        if not self.history:
            # Weights that happen to start at the optimum must not make rounding noise a divergence.
            zero = np.zeros_like(self.state[0])
            self.limit = DIVERGED * max(moment.loss, self.problem.mean_loss(zero, zero[self.size]))
            return
        if math.isfinite(moment.loss) and moment.loss <= self.limit:
            return
        w, b = self.in_user_units(self.book.best)
        method = self.method
        epoch = moment.samples / self.n
        used = float(method.lrs[min(max(math.ceil(epoch) - 1, 0), len(method.lrs) - 1)])
        lr = self.safe_lr()
        lr = lr if 0 < lr < 0.5 * used else 0.1 * used
        raise DivergenceError(
            f"lr is {used:.4g}, and the loss went from {self.history[0].loss:.4g} to {moment.loss:.4g} after "
            f"{epoch:g} epochs; expected it to fall. Pass lr={lr:.2g} or less, or standardize=True. "
            f"The best weights so far (loss {self.book.best_watched:.4g}) are in the error's w and b.",
            epoch=epoch,
            w=w,
            b=b,
            loss=self.book.best_watched,
            suggested_lr=lr,
        )

    def train(
        self,
        epochs: int,
        every: int | None,
        *,
        patience: tuple[float, int] | None = None,
        stops: tuple[int, Callable[[], None]] | None = None,
        at_epoch: Callable[[], bool] | None = None,
        show: Callable[[int, Moment | None], None] = lambda samples, moment: None,
    ) -> None:
        """Run to the end of the last epoch, or until a reason to stop.

        every : samples between two evaluations for the history.  patience : (share, epochs): stop when the
        watched loss did not fall by more than that share of the best for so many epochs.
        stops : (samples, function): call the function when another so many samples were seen (checkpoints).
        at_epoch : called after each epoch; True stops.  show : told of each evaluation.
        """
        target = epochs * self.n
        looks_at_epochs = patience is not None or at_epoch is not None
        # Samples in one call of compiled code, as many as _CALL_SECONDS take; a guess at first.
        per_call = max(self.method.batch_size, _FIRST // max(self.d, 1))
        while self.samples < target and not self.book.is_over:
            marks = [target]
            if every is not None:
                marks.append(self._next(every))
            if looks_at_epochs:
                marks.append(self._next(self.n))
            elif every is None or every > self.n:
                marks.append(self._next_check())
            if stops is not None:
                marks.append(self._next(stops[0]))
            before = self.samples
            goal = self._step_end(min(*marks, before + per_call)) if marks else target
            begin = time.perf_counter()
            self._call(goal)
            spent = time.perf_counter() - begin
            self.book = self.book._replace(seconds=self.book.seconds + max(spent - self.entry_seconds, 0.0))
            in_time = (self.samples - before) * _CALL_SECONDS / max(spent, 1e-9)
            per_call = max(self.method.batch_size, min(int(in_time), 16 * per_call))
            self._look(target, every, patience, at_epoch, show)
            if stops is not None and self.samples // stops[0] > before // stops[0]:
                stops[1]()

    def _look(
        self,
        target: int,
        every: int | None,
        patience: tuple[float, int] | None,
        at_epoch: Callable[[], bool] | None,
        show: Callable[[int, Moment | None], None],
    ) -> None:
        """What is due between two calls of compiled code."""
        last = self.history[-1].samples
        is_epoch = self.samples % self.n == 0
        is_marked = every is not None and self.samples // every > last // every
        is_recorded = is_marked or self.samples >= target
        watched = self.book.best_watched
        moment = None
        is_checked = (every is None or every > self.n) and self.samples == self.checked
        if is_recorded or is_checked or (is_epoch and patience is not None):
            # Early stopping goes by epochs, so that it does not depend on what else is evaluated.
            moment = self.evaluate(is_recorded=is_recorded, is_candidate=patience is None or is_epoch)
        show(self.samples, moment)
        if is_epoch and patience is not None and moment is not None:
            share, epochs = patience
            is_better = self.book.best_watched < watched - share * abs(watched)
            stale = 0 if is_better or not math.isfinite(watched) else self.book.stale + 1
            self.book = self.book._replace(stale=stale, is_over=stale >= epochs)
        if is_epoch and at_epoch is not None and at_epoch():
            self.book = self.book._replace(is_over=True)

    def _next_check(self) -> int:
        """Where a divergence is looked for although no evaluation is due: after 1, 2, 4, ... epochs."""
        epochs = 1 << max(self.samples // self.n, 0).bit_length()
        self.checked = epochs * self.n
        return self.checked

    def _next(self, every: int) -> int:
        return (self.samples // every + 1) * every

    def _step_end(self, samples: int) -> int:
        """The end, in samples, of the step that holds sample number ``samples``; steps end with the epoch."""
        epoch, position = divmod(samples - 1, self.n)
        return epoch * self.n + min(
            -(-(position + 1) // self.method.batch_size) * self.method.batch_size, self.n
        )
