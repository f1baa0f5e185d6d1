"""The trainer around a solver: the clock, the history, early stopping, and the watch for divergence."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from numbasgd.errors import DivergenceError
from numbasgd.sgd.history import Evaluation, TrainerState
from numbasgd.sgd.scale import Scale
from numbasgd.sgd.schedule import Rounds
from numbasgd.sgd.solvers.base import Solver
from numbasgd.sgd.solvers.objective import EVALUATED, Objective

DIVERGED = 1e6  # a loss so many times the first one
UNDONE = 0.25  # of the rate is left after a round that was undone
_CALL_SECONDS = 0.05  # how long compiled code runs before Python looks at it: progress, Ctrl-C, divergence
_LAST_SECONDS = 1e-3  # the same near the end of a budget
_UNCHECKED = 1 << 16  # entries of X, its rows taken for 8 longer: a divergence is not looked for before
QUICK = 0.05  # seconds: an evaluation that takes no longer is made for an interrupt or a checkpoint as well


class Stops(Protocol):
    """Where a run stops for something to be done between two steps (checkpoints)."""

    def next(self, samples: int) -> int | None:
        """The samples, between two steps, at which to stop next; None: wherever it happens to be."""

    def at(self, samples: int) -> None:
        """Called between two steps."""


def _show_nothing(samples: int, evaluation: Evaluation | None) -> None:
    """Where nobody watches."""


class Plan(NamedTuple):
    """What to do while a run makes its steps.

    samples : where it ends.  every : samples between two evaluations for the history, or None.
    stopping : (share, epochs): stop when the watched loss did not fall by more than that share of the best for
    so many epochs.  stops : for checkpoints.  at_epoch : called after each epoch; True stops.
    show : told of each look at the run.
    rounds : of a run with restarts; early stopping looks at their ends, where ``marks_rounds`` has the loss
    evaluated for the history.  deadline : on the clock of ``time.perf_counter``.
    never_worse : the best weights are returned where the last ones are worse than the first.
    """

    samples: int
    every: int | None
    stopping: tuple[float, int] | None = None
    stops: Stops | None = None
    at_epoch: Callable[[], bool] | None = None
    show: Callable[[int, Evaluation | None], None] = _show_nothing
    rounds: Rounds | None = None
    marks_rounds: bool = False
    deadline: float = math.inf
    never_worse: bool = False


class Trainer:
    """One training run.

    held_out : the mean loss over held-out rows, which is watched then; else the objective is.
    safe_lr : a learning rate that works, for the advice after a divergence.
    """

    def __init__(
        self,
        solver: Solver,
        scale: Scale | None,
        safe_lr: Callable[[], float],
        held_out: Objective | None = None,
    ) -> None:
        self.solver, self.scale, self.safe_lr, self.held_out = solver, scale, safe_lr, held_out
        self.n, layout = solver.n, solver.layout
        self.row_entries = layout.breadth + 8
        self.history: list[Evaluation] = []
        self.latest: Evaluation | None = None  # the last one, recorded or not
        self.evaluation_seconds = 1e-9 if self.n * self.row_entries <= EVALUATED else 1e9
        self.chosen: np.ndarray | None = None
        self.training_seconds = self.evaluating_seconds = 0.0  # all of them, of this call
        self.stopped = "unfinished"  # why, as ``stopping.REASONS`` names it
        self._round: tuple[int, float] | None = None  # of which the solver has the rates

    def compile(self) -> None:
        """Compile, or load compiled code, outside the clock."""
        solver = self.solver
        solver.compile()
        if self.held_out is not None:
            begin = time.perf_counter()
            scratch = np.zeros(self.held_out.scratch_size, solver.rows.dtype)
            self.held_out.compile(solver.rows[0], scratch)
            solver.compile_seconds += time.perf_counter() - begin

    def place(self, row: np.ndarray) -> None:
        """Set the weights to start from."""
        self.solver.place(row)
        self.limit = math.inf
        self.now = TrainerState(0, 0.0, math.inf, self.result.copy(), 0, 0, 0, False)

    def start(self) -> None:
        """Evaluate for the first time."""
        first = self._evaluate(self.solver.samples)
        # Weights that happen to start at the optimum must not make rounding noise a divergence.
        loss_at_zero, row = first.loss, self.solver.rows[0]
        if np.count_nonzero(row):
            loss_at_zero = self.solver.mean_loss(np.zeros_like(row))
        self.limit = DIVERGED * max(first.loss, loss_at_zero)
        now = self.now
        self.seen = self.glanced = (math.inf, now.best)
        watched, best = self._watched(first), now.best
        if watched < now.best_watched:
            best = self.result.copy()
        else:
            watched = now.best_watched
        self.now = TrainerState(self._record(first), now.seconds, watched, best, *now[4:])

    def restore(self, history: np.ndarray, limit: float, now: TrainerState) -> None:
        """Take over what is known of a run, beside the solver's state."""
        self.limit = limit
        self.now = now
        self.seen = (now.best_watched, now.best)
        self.glanced = (math.inf, now.best)
        self.history = [
            Evaluation(loss, objective, validation, int(samples), seconds)
            for loss, objective, validation, samples, seconds in history.tolist()
        ]

    @property
    def result(self) -> np.ndarray:
        """The row of the state that counts: the chosen one, else the solver's."""
        return self.solver.result if self.chosen is None else self.chosen

    def in_user_units(self, row: np.ndarray) -> tuple[np.ndarray, Any]:
        """Weights and intercept of a row of the state."""
        taken = self.solver.layout.take(row)
        w, b = taken[:-1].copy(), taken[-1].copy() if taken.ndim > 1 else float(taken[-1])
        return (w, b) if self.scale is None else self.scale.back(w, b)

    def evaluation(self, samples: int, row: np.ndarray | None = None) -> Evaluation:
        """The losses of a row of the state, that of the present weights if none is given."""
        begin = time.perf_counter()
        row = self.result if row is None else row
        solver = self.solver
        loss = objective = solver.mean_loss(row)
        if solver.is_penalized:
            objective += solver.penalty(row)
        held_out = math.nan if self.held_out is None else self.held_out.mean_loss(row)
        self.evaluation_seconds = time.perf_counter() - begin
        self.evaluating_seconds += self.evaluation_seconds
        return Evaluation(loss, objective, held_out, samples, self.now.seconds)

    def evaluations(self, limit: float = math.inf) -> list[Evaluation]:
        """The history, its last entry for the weights that are the result.

        limit : seconds; the losses of that entry are NaN when it takes longer to evaluate them.
        """
        samples = self.solver.samples
        recorded = self.history[: self.now.n_evaluations]
        if not recorded:  # stopped before the first evaluation
            return [Evaluation(math.nan, math.nan, math.nan, 0, 0.0)]
        if self.chosen is None and recorded[-1].samples == samples:
            return recorded
        if self.chosen is None and self.latest is not None and self.latest.samples == samples:
            return [*recorded, self.latest]
        if self.evaluation_seconds < limit:
            return [*recorded, self.evaluation(samples)]
        return [*recorded, Evaluation(math.nan, math.nan, math.nan, samples, self.now.seconds)]

    def take_best(self) -> None:
        """Make the best weights the result."""
        if self.result.tobytes() != self.now.best.tobytes():
            self.chosen = self.now.best

    def _watched(self, evaluation: Evaluation) -> float:
        """What early stopping looks at: the loss of the held-out rows, else the objective."""
        return evaluation.objective if self.held_out is None else evaluation.validation

    def _evaluate(self, samples: int, *, may_diverge: bool = False) -> Evaluation:
        """Evaluate the present weights, and raise if the loss has left for infinity."""
        row = self.result
        self.latest = found = self.evaluation(samples, row)
        if self.history:
            if not (may_diverge or (found.loss <= self.limit and found.loss < math.inf)):
                raise self._divergence(found)
            watched = self._watched(found)
            if watched < self.seen[0]:
                self.seen = (watched, row.copy())
        return found

    def _is_sound(self) -> bool:
        """Whether some rows tell of no divergence; the best weights that they tell of are kept."""
        loss = self.solver.objective.mean_loss_of_some(self.result)
        watched = loss if self.held_out is None else self.held_out.mean_loss_of_some(self.result)
        if watched < self.glanced[0]:
            self.glanced = (watched, self.result.copy())
        return loss <= self.limit

    def _record(self, evaluation: Evaluation) -> int:
        """Write an evaluation behind the history, where it counts once the state has its new length."""
        n_evaluations = self.now.n_evaluations
        self.history[n_evaluations:] = [evaluation]
        return n_evaluations + 1

    def _divergence(self, found: Evaluation) -> DivergenceError:
        """The error for a loss beyond the limit; it has the best weights so far and a rate that works."""
        candidates = [(self.now.best_watched, self.now.best), self.seen]
        if self.glanced[0] < math.inf:  # of some rows only
            row = self.glanced[1]
            candidates.append((self._watched(self.evaluation(found.samples, row)), row))
        best_loss, best = min(candidates, key=lambda candidate: candidate[0])
        w, b = self.in_user_units(best)
        lrs, spans = self.solver.method.lrs, self.solver.method.spans
        epoch = found.samples / self.n
        used = float(lrs[spans.entry(max(math.ceil(epoch) - 1, 0), 0, len(lrs))])
        lr = self.safe_lr()
        lr = lr if 0 < lr < 0.5 * used else 0.1 * used
        return DivergenceError(
            f"lr is {used:.4g}, and the loss went from {self.history[0].loss:.4g} to {found.loss:.4g} after "
            f"{epoch:g} epochs; expected it to fall. Pass lr={lr:.2g} or less, or standardize=True. "
            f"The best weights so far (loss {best_loss:.4g}) are in the error's w and b.",
            epoch=epoch,
            w=w,
            b=b,
            loss=best_loss,
            suggested_lr=lr,
        )

    def train(self, plan: Plan) -> None:
        """Run to the end of the last epoch, or until a reason to stop.

        What is due between two steps follows from the state alone, so a run may be interrupted anywhere, and
        goes on from there as if nothing had been.
        """
        solver, batch_size, deadline = self.solver, self.solver.method.batch_size, plan.deadline
        samples = solver.samples
        # Samples in one call of compiled code, as many as _CALL_SECONDS take; a guess at first.
        per_call = solver.samples_per_call
        while self._look(samples, plan):
            if deadline < math.inf and time.perf_counter() >= deadline:
                self.stopped = "budget"
                break
            if plan.stops is not None:
                plan.stops.at(samples)
            if plan.rounds is not None:
                self._enter_round(samples // self.n, plan.rounds)
            goal = solver.step_end(self._next_look(samples, per_call, plan))
            begin = time.perf_counter()
            solver.advance(goal)
            end = time.perf_counter()
            spent, now = end - begin, self.now
            self.training_seconds += spent
            self.now = TrainerState(now[0], now.seconds + max(spent - solver.entry_seconds, 0.0), *now[2:])
            before, samples = samples, solver.samples
            if samples < plan.samples:
                solver.prepare_for_more(self.now.seconds)
            wanted = min(_CALL_SECONDS, max(0.5 * (deadline - end), _LAST_SECONDS))
            in_time = (samples - before) * wanted / max(spent, 1e-9)
            per_call = max(batch_size, min(int(in_time), 16 * per_call))
        self._choose(plan)

    def _choose(self, plan: Plan) -> None:
        """Make the best weights the result, where the last ones may be worse."""
        if self.stopped == "budget":  # which leaves no trace in what is known of the run: it may be resumed
            samples, found = self.solver.samples, self.latest
            if found is None or found.samples != samples:
                found = self._evaluate(samples, may_diverge=True)
            if not self._watched(found) <= self.now.best_watched:
                self.take_best()
        elif plan.stopping is not None or plan.rounds is not None or (plan.never_worse and self.is_worse):
            self.take_best()

    @property
    def is_at_start(self) -> bool:
        """Whether the result is where the run began, since no weights so far were better."""
        now = self.now
        is_best = now.n_evaluations > 0 and not now.best_watched < self._watched(self.history[0])
        return is_best and self.result.tobytes() == now.best.tobytes()

    @property
    def is_worse(self) -> bool:
        """Whether the last steps ended with a larger objective than that of the start."""
        latest, samples = self.latest, self.solver.samples
        is_known = latest is not None and latest.samples == samples > 0
        return is_known and not latest.objective <= self.history[0].objective  # type: ignore[union-attr]

    def _enter_round(self, epoch: int, rounds: Rounds) -> None:
        """Have the solver make its steps with the rates of the round that an epoch is in."""
        solver, factor = self.solver, self.now.factor
        if self._round != (place := (rounds.at(epoch)[0], factor)):
            lrs, spans = rounds.rates(epoch, factor, solver.dataset.dtype)
            solver.use(solver.method._replace(lrs=lrs, spans=spans))
            self._round = place

    def _next_look(self, samples: int, per_call: int, plan: Plan) -> int:
        """The sample, after at most ``per_call`` more, at which something is due next."""
        mark = min(plan.samples, samples + per_call)
        every, epoch = plan.every, samples // self.n
        if every is not None:
            mark = min(mark, (samples // every + 1) * every)
        if plan.rounds is not None:
            mark = min(mark, plan.rounds.at(epoch)[1] * self.n)
        elif plan.stopping is None and plan.at_epoch is None and (every is None or every > self.n):
            mark = min(mark, self._next_check(samples))
        if plan.at_epoch is not None or (plan.stopping is not None and plan.rounds is None):
            mark = min(mark, (epoch + 1) * self.n)
        if plan.stops is not None and (next_stop := plan.stops.next(samples)) is not None:
            mark = min(mark, next_stop)
        return mark

    def _look(self, samples: int, plan: Plan) -> bool:
        """Do what is due for the present state, and tell whether to go on."""
        every, at_epoch, rounds = plan.every, plan.at_epoch, plan.rounds
        is_epoch = samples > 0 and samples % self.n == 0
        if self.now.looked != samples:
            last = self.history[self.now.n_evaluations - 1].samples
            # Epochs since early stopping looked for the last time, or 0 where it does not look.
            watched = int(is_epoch) if rounds is None else rounds.ending_at(samples // self.n) * is_epoch
            is_marked = every is not None and samples // every > last // every
            is_marked = is_marked or (plan.marks_rounds and watched > 0)
            is_stop = watched > 0 and (plan.stopping is not None or rounds is not None)
            is_due = is_marked or samples >= plan.samples or is_stop
            is_alone = rounds is None and (every is None or every > self.n)
            if not is_due and is_alone and samples == self._next_check(samples - 1):
                is_due = not (self.solver.objective.is_large and self._is_sound())
            found = self._evaluate(samples, may_diverge=rounds is not None) if is_due else None
            plan.show(samples, found)
            self.now = self._looked(samples, found, is_marked, watched, plan)
        if is_epoch and self.now.asked != samples:
            if at_epoch is not None and at_epoch():
                self.stopped = "callback"
                return False
            self.now = self.now._replace(asked=samples)
        if self.now.is_over:
            self.stopped = "converged" if self.held_out is None else "validation"
        elif samples >= plan.samples:
            self.stopped = "epochs"
        return samples < plan.samples and not self.now.is_over

    def _looked(
        self, samples: int, found: Evaluation | None, is_marked: bool, watched_epochs: int, plan: Plan
    ) -> TrainerState:
        """Where the run stands after a look at the present weights; a round that went wrong is undone."""
        n_evaluations, seconds, best_watched, best, stale, _, asked, is_over, factor = self.now
        is_stop = plan.stopping is not None or plan.rounds is not None
        if found is not None and (watched_epochs > 0 if is_stop else is_marked):
            before, watched = best_watched, self._watched(found)
            if watched < best_watched:
                best_watched, best = watched, self.result.copy()
            is_undone = plan.rounds is not None and self._is_gone(found, plan)
            if is_undone:
                self.solver.go_back(best)
                self.latest = found = self.evaluation(samples)
                factor *= UNDONE
            elif plan.stopping is not None:
                share, epochs = plan.stopping
                is_better = best_watched < before - share * abs(before)
                stale = 0 if is_better or not math.isfinite(before) else stale + watched_epochs
                is_over = stale >= epochs
        if found is not None and is_marked:
            n_evaluations = self._record(found)
        if samples > 0 and samples % self.n == 0 and plan.at_epoch is None:
            asked = samples
        return TrainerState(n_evaluations, seconds, best_watched, best, stale, samples, asked, is_over, factor)

    def _is_gone(self, found: Evaluation, plan: Plan) -> bool:
        """Whether a round has ended worse than it began, by more than what counts as no change.

        What is held out rises as well where a model learns its rows by heart; then only a round that ends worse
        than the whole run began is one whose rate was too large.
        """
        share = plan.stopping[0] if plan.stopping is not None else 0.0
        best = self.now.best_watched if self.held_out is None else self.history[0].objective
        return not found.objective <= best + share * abs(best)

    def _next_check(self, samples: int) -> int:
        """Where a divergence is looked for although no evaluation is due: after 1, 2, 4, ... epochs.

        Not after so few that they take no longer than to look.
        """
        few = _UNCHECKED // (self.n * self.row_entries)
        return (1 << max(samples // self.n, few).bit_length()) * self.n
