"""``TrainingRun``: one call of ``train``, from settings and data to a Fit."""

from __future__ import annotations

import functools
import math
import time
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from numbasgd.compile.options import uncollected
from numbasgd.errors import DivergenceError
from numbasgd.sgd.batch_size.auto import auto_batch_size
from numbasgd.sgd.checkpoint import Checkpoint
from numbasgd.sgd.config import Method, TrainConfig, rates_in
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.fingerprint import name_of, require_same_data
from numbasgd.sgd.fit import Fit
from numbasgd.sgd.history import Evaluation
from numbasgd.sgd.inputs import start_of
from numbasgd.sgd.learning_rate import curvature
from numbasgd.sgd.learning_rate.auto import auto_rate
from numbasgd.sgd.learning_rate.rounds import rate_for_rounds
from numbasgd.sgd.losses import loss_named
from numbasgd.sgd.noise_track import NoiseTracker
from numbasgd.sgd.progress import Progress
from numbasgd.sgd.resume import hand_over, require_ahead
from numbasgd.sgd.scale import Scale, warn_of_rate, warn_of_scale
from numbasgd.sgd.schedule import RESTARTS, Rounds, factors
from numbasgd.sgd.state import freeze, restore
from numbasgd.sgd.trainer import QUICK, Plan, Trainer


class TrainingRun:
    """One call of ``train``: from settings and data to a Fit.

    whole : what was passed, in whose numbering a NaN is named.  dataset : its training rows, scaled where
    that is wanted.  rounds : of a run with restarts, or None.  times : seconds, by what they were spent on.
    """

    def __init__(
        self,
        config: TrainConfig,
        whole: Dataset,
        init: Any,
        resume: Fit | None,
        begin: float,
        validation: Dataset | None = None,
    ) -> None:
        """``begin`` : when the call began, on the clock of ``time.perf_counter``."""
        config = config.with_order(whole.order(config.sampling))
        self.config, self.whole, self._begin = config, whole, begin
        self.times = dict.fromkeys(("choosing", "scaling"), 0.0)
        self.compile_seconds = 0.0  # before there is a solver
        self.lr_because = "given" if resume is None else resume.lr_because
        state = None if resume is None else resume._state
        self.is_new = state is None
        self.fingerprint = whole.fingerprint(validation)
        self.names = whole.names if resume is None else whole.names or resume.feature_names
        if state is not None:
            require_same_data(self.fingerprint, state.data, whole.source)
        training, held_out = whole.split(config.validation_fraction, config.seed or 0)
        held_out = held_out if validation is None else validation
        self.has_validation_data = validation is not None
        self.n = n = training.n
        if resume is not None and resume.n != n:
            raise ValueError(
                f"validation_fraction leaves {n} rows to train on, and left {resume.n} in the run to resume; "
                "expected the same rows. An earlier numbasgd held out rows of weight 0 as well: start such a "
                "run anew."
            )
        rates = config.rates if config.lr != "auto" or state is None else state.lrs
        w, b = self.given = start_of(init, training)
        self.batch_size_because = "given" if resume is None else resume.batch_size_because
        batch_size = None
        if isinstance(config.batch_size, str) and config.batch_size == "auto":
            batch_size = self._auto_batch_size(training)
        method = config.method(n, np.ones(1) if rates is None else rates_in(rates, training.dtype), batch_size)
        self.saver = None
        if config.checkpoint is not None:
            self.saver = Checkpoint(config.checkpoint, config.checkpoint_every, n, method.batch_size)
        self.scale = None
        if config.standardize:
            at = time.perf_counter()
            with uncollected:
                Scale.compile(training.dtype)
            compiled = time.perf_counter()
            self.compile_seconds, at = self.compile_seconds + compiled - at, compiled
            self.scale = training.scale(method.intercept, None if state is None else state.scale)
            whole.require_finite(*self.scale.std)
            if not np.isfinite(self.scale.std).all():
                raise whole.overflows(w)
            w, b = self.scale.into(w, b)
            training = self.scale.apply(training)
            held_out = None if held_out is None else self.scale.apply(held_out)
            self.times["scaling"] = time.perf_counter() - at
        else:
            training = training.together(is_shuffled=config.order != "sequential")
        self.dataset, self.start = training, (w, b)
        self.rounds = self._rounds(method.batch_size)
        self.squares: list[float] | None = None  # mean squares of the columns, if they are known
        if rates is None:
            rates = self._best_rates(method, w, b)
        self.rates, self.method = rates, self._with_rates(method, rates)
        if state is not None and resume is not None:
            require_ahead(resume, config, rates, self.rounds)
        objective = None if held_out is None else held_out.objective(method.loss, config.threads)
        self.settings = self._settings()
        self.line = Progress(config.progress, self.limit, n, is_verbose=config.verbose)
        # No method of this object: the cycle would leave each run to the garbage collector.
        advice = functools.partial(safe_lr, training, self.method, w, b)
        self.trainer = Trainer(training.solver(self.method), self.scale, advice, objective)
        if objective is not None:
            self.trainer.solver.objective.share_passes(objective)
        before = None if resume is None else resume.noise_track
        self.tracker = NoiseTracker(training, self.method, before) if config.track_noise else None
        self.noise_track = before
        if state is not None:
            restore(self.trainer, state)
        else:
            self.trainer.place(self.trainer.solver.layout.row(w, b))

    def _auto_batch_size(self, training: Dataset) -> int:
        """The batch size of ``batch_size="auto"``."""
        at = time.perf_counter()
        with uncollected:
            found = auto_batch_size(training, self.config, self.given)
        self.batch_size_because = found.because
        self.times["choosing"] += time.perf_counter() - at - found.compile_seconds
        self.compile_seconds += found.compile_seconds
        return found.batch_size

    def _rounds(self, batch_size: int) -> Rounds | None:
        """The rounds of a run with restarts; the last is cut only for a number of epochs that was given."""
        config = self.config
        if config.schedule != RESTARTS:
            return None
        rounds = Rounds(self.n, batch_size, config.limit)
        return rounds.whole() if config.epochs is None else rounds

    @property
    def schedule(self) -> str:
        """How the rate falls."""
        return self.config.schedule or "constant"

    @property
    def limit(self) -> int:
        """The most epochs that may be made."""
        return self.config.limit if self.rounds is None else self.rounds.limit

    def _best_rates(self, method: Method, w: np.ndarray, b: Any) -> np.ndarray:
        """The best rate, for ``lr="auto"``."""
        at = time.perf_counter()
        rows, method = self.dataset.in_memory(method)
        if self.rounds is not None:
            rate, compile_seconds = rate_for_rounds(rows, method, self.rounds, w, b)
            self.lr_because = "the first round, made at several rates"
            self.compile_seconds += compile_seconds
            at += compile_seconds
        else:
            schedule = functools.partial(_scheduled, self.schedule) if self.schedule != "constant" else None
            epochs = round(self.limit * self.n / rows.n)  # as many steps
            rate, self.lr_because, self.squares = auto_rate(rows, method, w, b, epochs, schedule)
        if rows.n < self.n:
            self.lr_because += f", on a sample of {rows.n} of {self.n} rows"
        if not math.isfinite(rate):
            self.whole.require_finite(math.nan)
            raise self.whole.overflows(w)
        self.times["choosing"] += time.perf_counter() - at
        return np.array([rate])

    def _with_rates(self, method: Method, rates: np.ndarray) -> Method:
        """The method with the rates of its schedule."""
        method = method._replace(lrs=rates_in(rates, self.dataset.dtype))
        if self.rounds is not None:
            self.rounds = self.rounds._replace(rate=float(rates[0]))
        elif self.schedule != "constant":
            values = _scheduled(self.schedule, method, self.n, self.limit)
            return values._replace(lrs=rates_in(rates * values.lrs, self.dataset.dtype))
        return method

    def _settings(self) -> Mapping[str, Any]:
        """All settings of the run as plain values, for its Fit."""
        settings = self.config.kept()
        del settings["seed"]  # has a place of its own
        settings.update(
            batch_size=self.method.batch_size, lr=float(self.rates[0]), lr_given=settings["lr"],
            sampling=self.config.order, sampling_given=settings["sampling"],
            sample_weight=self.dataset.is_weighted, validation_data=self.has_validation_data,
            dtype=name_of(self.dataset.dtype),
        )  # fmt: skip
        return settings

    def _plan(self) -> Plan:
        """What to do in the course of the run."""
        config, trainer = self.config, self.trainer
        callback = config.callback
        deadline = math.inf
        if config.budget is not None:
            deadline = self._begin + config.budget + trainer.solver.compile_seconds
        return Plan(
            samples=self.limit * self.n,
            every=config.eval_samples(self.n),
            stopping=config.stopping,
            stops=self.saver,
            at_epoch=None if callback is None else lambda: bool(callback(self.fit())),
            show=self.line.show if self.tracker is None else self._show_and_track,
            rounds=self.rounds,
            marks_rounds=config.eval_every == "round",
            deadline=deadline,
            never_worse=config.lr == "auto",
        )

    def run(self) -> Fit:
        """Make the steps; what stops them leaves with the run so far as ``.fit``."""
        trainer, saver = self.trainer, self.saver
        if saver is not None:
            saver.make = lambda: self.fit(QUICK)
        try:
            trainer.compile()
            trainer.solver.compile_seconds += self.compile_seconds
            if not trainer.history:
                self._start()
            plan = self._plan()
            try:
                trainer.train(plan)
            finally:
                self.line.end()
                trainer.solver.close()
            if trainer.stopped == "epochs" and self.config.epochs is None:
                trainer.stopped = "limit"
            self._warn_of_rise()
            fit = self.fit()
            if saver is not None:
                saver.save_last(fit)
            return fit
        except DivergenceError:
            raise
        except BaseException as error:
            samples = trainer.solver.samples
            if samples or isinstance(error, KeyboardInterrupt):
                hand_over(
                    error,
                    lambda is_evaluated: self.fit(QUICK if is_evaluated else 0.0),
                    saver if samples else None,
                )
            raise

    def _start(self) -> None:
        """Evaluate for the first time, and name what makes the loss, or the steps to come, useless."""
        trainer = self.trainer
        trainer.start()
        first = trainer.history[0]
        self.whole.require_finite(first.loss, first.loss if trainer.held_out is None else first.validation)
        if not math.isfinite(first.loss):
            raise self.whole.overflows(trainer.solver.rows[0])
        self._warn_of_rate()
        if self.tracker is not None:
            self._show_and_track(0, first)

    def _show_and_track(self, samples: int, found: Evaluation | None) -> None:
        """Show a look at the run, and look at the noise of its gradients where the loss was evaluated."""
        self.line.show(samples, found)
        if self.tracker is not None and found is not None:
            begin = time.perf_counter()
            self.tracker.look(samples, self.trainer.result, self.trainer.solver.layout)
            self.noise_track = np.array(self.tracker.table)
            self.trainer.evaluating_seconds += time.perf_counter() - begin

    def _warn_of_rate(self) -> None:
        """Say before the first step what makes the rate unstable, or too small for some columns."""
        is_auto, lr = self.config.lr == "auto", max(self.rates.tolist())
        squares, (rows, method) = self.squares, self.dataset.in_memory(self.method)
        if self.scale is None and (self.dataset.standardizes or not is_auto):
            squares = curvature.mean_squares(rows) if squares is None else squares
        elif is_auto:
            return
        # Rounds lower a rate that is too large by themselves.
        if not is_auto and self.rounds is None and warn_of_rate(rows, method, lr, squares, self.names):
            return
        if squares is not None:
            loss_curvature = curvature.curvature_of(loss_named(method.loss), rows, *self.start)
            warn_of_scale(squares, lr, loss_curvature, is_auto, self.names)

    def _warn_of_rise(self) -> None:
        """Say so where the best weights are those of the start, which were returned instead of later ones."""
        trainer, config = self.trainer, self.config
        is_risen = trainer.now.factor < 1
        if self.rounds is None:
            is_risen = config.lr == "auto" and config.tol is None and trainer.is_worse
        if is_risen and trainer.is_at_start:
            warnings.warn(
                f"lr is {self.rates.max():.4g}, and the loss rose from {trainer.history[0].objective:.4g} on; "
                "the weights of the start are returned. Pass a smaller lr, or standardize=True.",
                stacklevel=5,
            )

    def fit(self, limit: float = math.inf) -> Fit:
        """The run as the user gets it; ``limit`` as in ``Trainer.evaluations``."""
        trainer = self.trainer
        w, b = trainer.in_user_units(trainer.result)
        if self.scale is not None and self.is_new and (not trainer.solver.samples or trainer.is_at_start):
            w, b = self.given[0].astype(w.dtype), self.given[1]  # free of what scaling rounds
        table = np.array(trainer.evaluations(limit), np.float64).T.copy()
        loss, objective, held_out, samples, seconds = table
        table.setflags(write=False)
        return Fit.of_run(
            w=w,
            b=b,
            loss=loss,
            objective=objective,
            validation_loss=None if trainer.held_out is None else held_out,
            samples=samples.astype(np.int64),
            epochs=samples / self.n,
            seconds=seconds,
            compile_seconds=trainer.solver.compile_seconds,
            data=self.whole.source,
            n=self.n,
            classes=self.whole.classes,
            feature_names=self.names,
            seed=self.method.seed,
            settings=self.settings,
            lr_because=self.lr_because,
            batch_size_because=self.batch_size_because,
            noise_track=self.noise_track,
            stopped=trainer.stopped,
            times=self._times(),
            _state=freeze(trainer, self.rates, self.fingerprint),
        )

    def _times(self) -> dict[str, float]:
        """The seconds of this call, by what they were spent on; all of them together are the whole."""
        trainer, times = self.trainer, self.times
        told = {
            **times,
            "compiling": trainer.solver.compile_seconds,
            "training": trainer.training_seconds,
            "evaluating": trainer.evaluating_seconds,
        }
        told["other"] = max(0.0, time.perf_counter() - self._begin - sum(told.values()))
        return told


def _scheduled(schedule: str, method: Method, n: int, epochs: int) -> Method:
    """A method with the rates of a schedule that begins at 1, for so many epochs of n rows."""
    values, spans = factors(schedule, n, method.batch_size, 0, epochs)
    return method._replace(lrs=values, spans=spans)


def safe_lr(dataset: Dataset, method: Method, w: np.ndarray, b: Any) -> float:
    """Half of what is stable for sure, from the weights to start from; for the advice after a divergence."""
    rows, _ = dataset.in_memory(method)
    size = rows.row_sizes(method.intercept)
    loss_curvature = curvature.curvature_of(loss_named(method.loss), rows, w, b)
    stable = curvature.stable_lr(size, method.batch_size, loss_curvature, method.l2)
    return 0.5 * stable * (1 - method.momentum)
