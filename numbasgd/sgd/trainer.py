"""One training run: the state that kernels change, the clock, the history, and the watch for divergence."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from numbasgd import threads
from numbasgd.compile.options import uncollected
from numbasgd.errors import DivergenceError
from numbasgd.machine.cpu import n_cores
from numbasgd.sgd.order import WINDOW
from numbasgd.sgd.risk import EVALUATED, Problem
from numbasgd.sgd.rows import aligned_zeros, rows_ahead
from numbasgd.sgd.scale import Scale
from numbasgd.sgd.solvers import large_batch, multi
from numbasgd.sgd.solvers.order_prefetch import ROW_BYTES, Windows
from numbasgd.sgd.solvers.update import Step

DIVERGED = 1e6  # a loss so many times the first one
_CALL_SECONDS = 0.05  # how long compiled code runs before Python looks at it: progress, Ctrl-C, divergence
_FIRST = 1 << 22  # entries of X, its rows taken for 8 longer, in the first call that makes steps
_UNCHECKED = 1 << 16  # entries of X, counted alike: a divergence is not looked for before
QUICK = 0.05  # seconds: an evaluation that takes no longer is made for an interrupt or a checkpoint as well
# Entering compiled code from Python takes as long as a few small steps.  That it is entered once per
# evaluation is the evaluation's doing, so the shortest of some calls without a step is taken off.
_ENTRIES = 20
_HELP_AFTER = 0.02  # seconds of steps before a second thread is prepared, which may have to be compiled


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

    n_moments : entries of the history that count.  best_watched, best : the best watched loss of all epochs
    with early stopping, else of the history, and its row of the state.  stale : epochs since then.
    looked : samples up to which evaluation and early stopping are done.  asked : up to which the callback said
    to go on.  is_over : early stopping has ended the run.
    """

    n_moments: int
    seconds: float
    best_watched: float
    best: np.ndarray
    stale: int
    looked: int
    asked: int
    is_over: bool


class Stops(Protocol):
    """Where a run stops for something to be done between two steps (checkpoints)."""

    def next(self, samples: int) -> int | None:
        """The samples, between two steps, at which to stop next; None: wherever it happens to be."""

    def at(self, samples: int) -> None:
        """Called between two steps."""


_entries: dict[Any, float] = {}  # of what is compiled, the shortest that was seen


class Run:
    """One training run; ``state`` and ``count`` are as in ``epoch.py``."""

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
        self.layout = layout = problem.layout
        is_big = large_batch.is_large(method.batch_size, layout.breadth)
        step = method.step
        self.is_penalized = step.is_penalized
        self.kernel: Any = None if is_big else problem.advance_kernel(step)
        size = 4 * layout.length  # whole lines, so that the room begins at one as well
        memory = aligned_zeros((size + problem.work_size,), problem.y.dtype)
        self.state, self.work = memory[:size].reshape(4, layout.length), memory[size:]
        self.count = np.zeros(2, np.int64)
        self.wide = np.empty(layout.length)
        batch_size = method.batch_size
        # A step over all rows needs no order, nor do rows as they lie.
        in_order = method.sampling == "sequential" or (
            batch_size >= self.n and method.sampling != "replacement"
        )
        length = min(self.n, -(-WINDOW // batch_size) * batch_size)
        if is_big:
            length = large_batch.window_rows(self.n, layout.breadth)
        length = 0 if in_order else length
        row_bytes = max(1, rows.d * problem.y.itemsize)
        self.ahead = rows_ahead(rows, in_order)
        may_help = (
            self.ahead > 0 and self.n > length > 0 and row_bytes <= ROW_BYTES
            and not layout.is_many and not is_big
            and min(problem.threads or threads.default(), n_cores()) > 1
        )  # fmt: skip
        self.windows = Windows(
            self.n, length, 0 if is_big else self.ahead, problem.rows_dtype, problem.y, problem.s, may_help
        )
        self.big = large_batch.LargeBatchSteps(self) if is_big else None
        self._told: tuple[tuple[Any, ...], tuple[Any, ...]] | None = None
        self.compile_seconds = 0.0
        self.entry_seconds = 0.0
        self.history: list[Moment] = []
        self.latest: Moment | None = None  # the last evaluation, recorded or not
        self.evaluation_seconds = 1e-9 if self.n * (layout.breadth + 8) <= EVALUATED else 1e9
        self.chosen: np.ndarray | None = None

    @property
    def samples(self) -> int:
        """Samples that the state has seen."""
        return int(self.count[1])

    def compile(self) -> None:
        """Compile, or load compiled code, outside the clock."""
        problem = self.problem
        begin = time.perf_counter()
        if self.big is None:
            self._told = self._arguments()
        order_dtype = self.windows.rows.dtype
        compiled = self.kernel, problem.kernels.sum_loss, order_dtype, problem.is_quick, self.n > WINDOW
        if problem.is_quick and compiled in _entries and self.kernel is not None:
            self.entry_seconds = _entries[compiled]
            self.compile_seconds = time.perf_counter() - begin
            return
        with uncollected:
            self._call(self.samples)
            problem.compile(self.state[0], self.work)
            if self.layout.is_many:
                multi.compile_products(self)
        self.compile_seconds = time.perf_counter() - begin
        seconds = min(self._time_entry() for _ in range(_ENTRIES))
        self.entry_seconds = _entries[compiled] = min(seconds, _entries.get(compiled, math.inf))

    def place(self, row: np.ndarray) -> None:
        """Set the weights to start from, a row of the state."""
        self.state[0] = row
        self.state[2] = self.state[0]
        self.limit = math.inf
        self.book = Book(0, 0.0, math.inf, self.result.copy(), 0, 0, 0, False)

    def begin_anew(self, row: np.ndarray) -> None:
        """As if no step had been made."""
        self.state[:] = 0
        self.count[:] = 0
        self.windows.forget()
        self.place(row)

    def use(self, method: Method) -> None:
        """Make steps by another method from now on, of what is compiled for this one."""
        self.method = method
        self._told = None

    def go_to(self, samples: int) -> None:
        """Make steps up to so many samples, and look at nothing on the way."""
        per_call = max(self.method.batch_size, _FIRST // (self.layout.breadth + 8))
        while self.samples < samples:
            self._call(self._step_end(min(samples, self.samples + per_call)))

    def start(self) -> None:
        """Evaluate for the first time."""
        moment = self._evaluate(self.samples)
        # Weights that happen to start at the optimum must not make rounding noise a divergence.
        loss_at_zero = moment.loss
        if self.state[0].any():
            loss_at_zero = self.problem.mean_loss(np.zeros_like(self.state[0]))
        self.limit = DIVERGED * max(moment.loss, loss_at_zero)
        book = self.book
        self.seen = self.glanced = (math.inf, book.best)
        watched, best = self._better(moment, book)
        self.book = Book(self._record(moment), book.seconds, watched, best, *book[4:])

    def go_on(self, history: np.ndarray, limit: float, best: np.ndarray, **book: Any) -> None:
        """Take over what is known of a run, beside its state."""
        self.limit = limit
        self.book = Book(n_moments=len(history), best=best, **book)
        self.seen = (self.book.best_watched, best)
        self.glanced = (math.inf, best)
        self.history = [
            Moment(loss, objective, validation, int(samples), seconds)
            for loss, objective, validation, samples, seconds in history.tolist()
        ]

    def _arguments(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """What the kernel is told before and behind the sample number at which to end."""
        problem, method = self.problem, self.method
        T = problem.y.dtype.type
        order = *self.windows.told(method.sampling, method.seed), self.ahead
        step = (
            method.batch_size, method.lrs, T(method.momentum), T(method.l2), T(method.l1), method.intercept,
            method.average_from or 0,
        )  # fmt: skip
        state = self.state, self.layout.size, self.count
        return (problem.samples, order), (step, state, (self.work, self.wide), problem.extra)

    def _get_help(self) -> None:
        """Have another thread draw the order of rows; what that needs is compiled outside the clock."""
        begin = time.perf_counter()
        self._told = None
        with uncollected:
            self.windows.get_help()
            self._told = self._arguments()
        self.compile_seconds += time.perf_counter() - begin

    def _call(self, end: int) -> None:
        if self.big is not None:
            self.big.advance(end)
            return
        if self._told is None:
            self._told = self._arguments()
        before, behind = self._told
        self.kernel(*before, end, *behind)

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

    def in_user_units(self, row: np.ndarray) -> tuple[np.ndarray, Any]:
        """Weights and intercept of a row of the state."""
        taken = self.layout.take(row)
        w, b = taken[:-1].copy(), taken[-1].copy() if taken.ndim > 1 else float(taken[-1])
        return (w, b) if self.scale is None else self.scale.back(w, b)

    def _evaluate(self, samples: int) -> Moment:
        """Evaluate the present weights, and raise if the loss has left for infinity."""
        self.latest = moment = self.moment(samples)
        if self.history:
            if not (moment.loss <= self.limit and moment.loss < math.inf):
                self._raise(moment)
            watched = self._watched(moment)
            if watched < self.seen[0]:
                self.seen = (watched, self.result.copy())
        return moment

    def _is_sound(self) -> bool:
        """Whether some rows tell of no divergence; the best weights that they tell of are kept."""
        loss = self.problem.mean_loss_of_some(self.result)
        watched = loss if self.validation is None else self.validation.mean_loss_of_some(self.result)
        if watched < self.glanced[0]:
            self.glanced = (watched, self.result.copy())
        return loss <= self.limit

    def _watched(self, moment: Moment) -> float:
        return moment.objective if self.validation is None else moment.validation

    def _better(self, moment: Moment, book: Book) -> tuple[float, np.ndarray]:
        """The best watched loss and its weights, the present ones if they are."""
        watched = self._watched(moment)
        if watched < book.best_watched:
            return watched, self.result.copy()
        return book.best_watched, book.best

    def _record(self, moment: Moment) -> int:
        """Write an evaluation behind the history, where it counts once the book has its new length."""
        n_moments = self.book.n_moments
        self.history[n_moments:] = [moment]
        return n_moments + 1

    def moment(self, samples: int, row: np.ndarray | None = None) -> Moment:
        """The losses of a row of the state, that of the present weights if none is given."""
        begin = time.perf_counter()
        row = self.result if row is None else row
        loss = objective = self.problem.mean_loss(row)
        if self.is_penalized:
            method = self.method
            w = self.layout.take(row)[:-1].ravel().astype(np.float64)
            objective += 0.5 * method.l2 * float(w @ w) + method.l1 * float(np.abs(w).sum())
        held_out = math.nan if self.validation is None else self.validation.mean_loss(row)
        self.evaluation_seconds = time.perf_counter() - begin
        return Moment(loss, objective, held_out, samples, self.book.seconds)

    def moments(self, limit: float = math.inf) -> list[Moment]:
        """The history, its last entry for the weights that are the result.

        limit : seconds; the losses of that entry are NaN when it takes longer to evaluate them.
        """
        book = self.book
        recorded = self.history[: book.n_moments]
        if not recorded:  # stopped before the first evaluation
            return [Moment(math.nan, math.nan, math.nan, 0, 0.0)]
        if self.chosen is None and recorded[-1].samples == self.samples:
            return recorded
        if self.chosen is None and self.latest is not None and self.latest.samples == self.samples:
            return [*recorded, self.latest]
        if self.evaluation_seconds < limit:
            return [*recorded, self.moment(self.samples)]
        return [*recorded, Moment(math.nan, math.nan, math.nan, self.samples, book.seconds)]

    def take_best(self) -> None:
        """Make the best weights the result."""
        if self.result.tobytes() != self.book.best.tobytes():
            self.chosen = self.book.best

    def _raise(self, moment: Moment) -> None:
        candidates = [(self.book.best_watched, self.book.best), self.seen]
        if self.glanced[0] < math.inf:  # of some rows only
            row = self.glanced[1]
            candidates.append((self._watched(self.moment(moment.samples, row)), row))
        best_loss, best = min(candidates, key=lambda found: found[0])
        w, b = self.in_user_units(best)
        method = self.method
        epoch = moment.samples / self.n
        used = float(method.lrs[min(max(math.ceil(epoch) - 1, 0), len(method.lrs) - 1)])
        lr = self.safe_lr()
        lr = lr if 0 < lr < 0.5 * used else 0.1 * used
        raise DivergenceError(
            f"lr is {used:.4g}, and the loss went from {self.history[0].loss:.4g} to {moment.loss:.4g} after "
            f"{epoch:g} epochs; expected it to fall. Pass lr={lr:.2g} or less, or standardize=True. "
            f"The best weights so far (loss {best_loss:.4g}) are in the error's w and b.",
            epoch=epoch,
            w=w,
            b=b,
            loss=best_loss,
            suggested_lr=lr,
        )

    def train(
        self,
        epochs: int,
        every: int | None,
        *,
        patience: tuple[float, int] | None = None,
        stops: Stops | None = None,
        at_epoch: Callable[[], bool] | None = None,
        show: Callable[[int, Moment | None], None] = lambda samples, moment: None,
    ) -> None:
        """Run to the end of the last epoch, or until a reason to stop.

        every : samples between two evaluations for the history.  patience : (share, epochs): stop when the
        watched loss did not fall by more than that share of the best for so many epochs.
        at_epoch : called after each epoch; True stops.  show : told of each evaluation.

        What is due between two steps follows from the state and the book alone, so a run may be interrupted
        anywhere, and goes on from there as if nothing had been.
        """
        n, samples = self.n, self.samples
        target = epochs * n
        has_few_marks = every is None or every > n
        looks_at_epochs = patience is not None or at_epoch is not None
        # Samples in one call of compiled code, as many as _CALL_SECONDS take; a guess at first.
        per_call = max(self.method.batch_size, _FIRST // (self.layout.breadth + 8))
        while self._look(samples, target, every, patience, at_epoch, show):
            if stops is not None:
                stops.at(samples)
            mark = min(target, samples + per_call)
            if every is not None:
                mark = min(mark, (samples // every + 1) * every)
            if looks_at_epochs:
                mark = min(mark, (samples // n + 1) * n)
            elif has_few_marks:
                mark = min(mark, self._next_check(samples))
            if stops is not None and (next_stop := stops.next(samples)) is not None:
                mark = min(mark, next_stop)
            goal = self._step_end(mark)
            begin = time.perf_counter()
            self._call(goal)
            spent = time.perf_counter() - begin
            book = self.book
            self.book = Book(book.n_moments, book.seconds + max(spent - self.entry_seconds, 0.0), *book[2:])
            before, samples = samples, self.samples
            if self.windows.may_help and samples < target and self.book.seconds > _HELP_AFTER:
                self._get_help()
            in_time = (samples - before) * _CALL_SECONDS / max(spent, 1e-9)
            per_call = max(self.method.batch_size, min(int(in_time), 16 * per_call))

    def _look(
        self,
        samples: int,
        target: int,
        every: int | None,
        patience: tuple[float, int] | None,
        at_epoch: Callable[[], bool] | None,
        show: Callable[[int, Moment | None], None],
    ) -> bool:
        """Do what is due for the present state, and tell whether to go on."""
        is_epoch = samples > 0 and samples % self.n == 0
        if self.book.looked != samples:
            last = self.history[self.book.n_moments - 1].samples
            is_marked = every is not None and samples // every > last // every
            is_due = is_marked or samples >= target or (is_epoch and patience is not None)
            if not is_due and (every is None or every > self.n) and samples == self._next_check(samples - 1):
                is_due = not (self.problem.is_large and self._is_sound())
            moment = self._evaluate(samples) if is_due else None
            show(samples, moment)
            self.book = self._looked(samples, moment, is_marked, is_epoch, patience, at_epoch is None)
        if is_epoch and self.book.asked != samples:
            if at_epoch is not None and at_epoch():
                return False
            self.book = self.book._replace(asked=samples)
        return samples < target and not self.book.is_over

    def _looked(
        self,
        samples: int,
        moment: Moment | None,
        is_marked: bool,
        is_epoch: bool,
        patience: tuple[float, int] | None,
        goes_on: bool,
    ) -> Book:
        """The book after a look at the present state; ``goes_on``: nobody is asked whether to."""
        book = self.book
        n_moments, seconds, best_watched, best, stale, _, asked, is_over = book
        if moment is not None and patience is None and is_marked:
            best_watched, best = self._better(moment, book)
        if moment is not None and patience is not None and is_epoch:
            share, epochs = patience
            before = best_watched
            best_watched, best = self._better(moment, book)
            is_better = best_watched < before - share * abs(before)
            stale = 0 if is_better or not math.isfinite(before) else stale + 1
            is_over = stale >= epochs
        if moment is not None and is_marked:
            n_moments = self._record(moment)
        if is_epoch and goes_on:
            asked = samples
        return Book(n_moments, seconds, best_watched, best, stale, samples, asked, is_over)

    def _next_check(self, samples: int) -> int:
        """Where a divergence is looked for although no evaluation is due: after 1, 2, 4, ... epochs.

        Not after so few that they take no longer than to look.
        """
        few = _UNCHECKED // (self.n * (self.layout.breadth + 8))
        return (1 << max(samples // self.n, few).bit_length()) * self.n

    def _step_end(self, samples: int) -> int:
        """The end, in samples, of the step that holds sample number ``samples``; steps end with the epoch."""
        epoch, position = divmod(samples - 1, self.n)
        return epoch * self.n + min(
            -(-(position + 1) // self.method.batch_size) * self.method.batch_size, self.n
        )
