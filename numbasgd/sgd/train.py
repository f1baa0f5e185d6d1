"""``train``: check what the user passed, run whole epochs in compiled code, keep the history."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from numbasgd.errors import DivergenceError
from numbasgd.sgd.checkpoint import Checkpoint
from numbasgd.sgd.config import Default, Method, TrainConfig, rates_in
from numbasgd.sgd.dataset import Dataset, make_dataset, start_of
from numbasgd.sgd.fingerprint import name_of, require_same_data
from numbasgd.sgd.fit import Fit
from numbasgd.sgd.learning_rate import curvature
from numbasgd.sgd.learning_rate.auto import auto_rate
from numbasgd.sgd.losses import loss_named
from numbasgd.sgd.progress import Progress
from numbasgd.sgd.resume import hand_over, require_ahead, resumable
from numbasgd.sgd.scale import make_scale, warn_of_scale
from numbasgd.sgd.solvers.cpu import make_solver
from numbasgd.sgd.solvers.objective import make_objective
from numbasgd.sgd.state import freeze, restore
from numbasgd.sgd.trainer import QUICK, Plan, Trainer


@resumable
def train(
    X: Any = None,
    y: Any = None,
    *,
    batch_size: int = Default(10),
    lr: float | Sequence[float] | Callable[[int], float] | str = "auto",
    epochs: int = 2,
    loss: str = "squared",
    quantile: float = 0.5,
    sampling: str = "reshuffle",
    momentum: float = 0.0,
    nesterov: bool = False,
    average: bool | int = False,
    l2: float = 0.0,
    l1: float = 0.0,
    intercept: bool = True,
    sample_weight: Any = None,
    standardize: bool = False,
    init: tuple[Any, float] | None = None,
    eval_every: int | str | None = "epoch",
    validation_fraction: float = 0.0,
    tol: float | None = None,
    patience: int = 5,
    callback: Callable[[Fit], Any] | None = None,
    seed: int | None = None,
    resume: Fit | str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float | None = None,
    progress: bool | None = None,
    verbose: bool = False,
    threads: int | None = None,
) -> Fit:
    """Fit a linear model ``z = X @ w + b``, of one output or K, by minibatch stochastic gradient descent.

    Each step takes the mean gradient of the loss over ``batch_size`` rows and moves w and b against it
    (Robbins and Monro, 1951; Bottou, Curtis, Nocedal, SIAM Review 2018, section 4).  Whole epochs, the drawing
    of their order included, run inside compiled code.

    Parameters
    ----------
    X : array_like, shape (n, d), optional
        Training rows, float32 or float64; anything else is converted as NumPy would.  Any memory order is
        taken without a copy; rows that lie together are fastest.  Left out together with y, the embedded
        twin of the airfoil data is used, and the result says so.
    y : array_like, shape (n,) or (n, K)
        Targets: numbers for "squared", "huber" and "quantile"; for "logistic" and "hinge" two classes and for
        "softmax" K, at least two, of any name (numbers, booleans or text).  With K columns of numbers there
        are K outputs, ``w`` is (d, K) and ``b`` (K,), and the loss of a row is the sum over them.
    batch_size : int
        Rows a step, 1 to n: 1 is SGD, n is gradient descent.  A last minibatch that is shorter is averaged
        over its own length.
    lr : float, sequence of float, callable or "auto"
        Learning rate: one for all epochs, one for each, a function of the epoch (from 0 on), or the constant
        rate that curvature and noise of the data make the best for this batch size and so many epochs
        (``numbasgd.sgd.learning_rate.quadratic.best_constant``, with its sources); for a loss that is not
        squared, short runs on a sample of the rows correct it (``numbasgd.sgd.learning_rate.pilot``).
    epochs : int
        Passes over the data.
    loss : {"squared", "huber", "logistic", "hinge", "softmax", "quantile"}
        See ``numbasgd.sgd.losses`` for formulas and sources.  "softmax" is the mean cross-entropy
        ``log(sum over k of exp(z_k)) - z_y``, with w (d, K) and b (K,) for K classes.
    quantile : float
        The level of the loss "quantile", above 0 and below 1: the share of the targets that the fit leaves
        below it.  0.5 fits the median.
    sampling : {"reshuffle", "once", "replacement", "sequential"}
        A new random order each epoch, one random order for all, rows drawn with replacement, or the order
        of X.
    momentum : float
        0 to below 1: what a step keeps of the step before (Polyak, 1964).
    nesterov : bool
        Momentum in the form of Nesterov (Sutskever, Martens, Dahl, Hinton, ICML 2013).
    average : bool or int
        Return the mean of the weights over the steps (Polyak and Juditsky, 1992), from the start or from
        after so many epochs.
    l2, l1 : float
        Penalties ``l2 * |w|^2 / 2`` and ``l1 * |w|_1``; the second by its proximal step (Duchi and Singer, JMLR
        2009).  The intercept is not penalized.  With ``standardize`` they hold for the scaled columns.
    intercept : bool
        Whether b is trained; otherwise it keeps its first value.
    sample_weight : array_like, shape (n,), optional
        How much each row counts; only ratios matter.
    standardize : bool
        Train on columns with mean 0 and standard deviation 1 (only scaled when there is no intercept) and
        return the weights in the units of X.
    init : (w, b), optional
        Where to start, in the units of X and the shapes of the result; zeros if left out.
    eval_every : "epoch", int or None
        When the loss over all rows is evaluated: after each epoch; at the first step that completes another
        so many samples; or only at the start and the end.
    validation_fraction : float
        The share of rows, drawn by the seed, that is held out and watched for early stopping.
    tol, patience : float, int
        Stop when the watched loss (of the held-out rows, else the objective) did not fall by more than the
        share ``tol`` of the best one for ``patience`` epochs, and return the best weights.  None: never.
    callback : callable, optional
        Called with the Fit so far after each epoch; training stops when it returns something true.  What it
        raises leaves ``train`` with the run so far as ``.fit``.
    seed : int, optional
        The same seed gives the same weights, bit for bit, on one machine.  Drawn, and kept in the result,
        if left out.
    resume : Fit or path, optional
        A Fit, or the file of one (``Fit.save``, a checkpoint), to go on with, on the same X and y, to the
        same result, bit for bit, as a run in one go.  ``epochs`` is then the total, that of the run if left
        out, and so is every other setting; passing another value is an error.  An lr that was a sequence or a
        function must be passed again for another total, since a function cannot be saved.
    checkpoint : path, optional
        A file that the run is written to, so that it can be resumed after whatever stops the process; it is
        replaced as a whole.  Written at the end as well, and at an interrupt.
    checkpoint_every : int or float, optional
        Steps between two checkpoints (int), or seconds (float); 30.0 if left out.
    progress : bool, optional
        A progress line on stderr; left out, one appears for runs longer than a second on a terminal.
    verbose : bool
        A line on stderr for each evaluation.
    threads : int, optional
        The most threads that may work on large steps, on the loss over all rows, and on drawing the order of
        rows that are beyond the caches; by default as many as pay, at most one a core or
        ``NUMBASGD_NUM_THREADS``.  The result is the same to the last bit.

    Returns
    -------
    Fit

    Raises
    ------
    TypeError, ValueError
        For an argument that is not as described, or a NaN or Inf in X or y, with its row and column.
    DivergenceError
        If the loss turns non-finite or exceeds 10^6 times the first; it carries the best weights so far and
        a learning rate that works.
    FitFileError
        If the file to resume from is not one, or a checkpoint cannot be written when training begins; later
        on a checkpoint that fails is a warning.
    KeyboardInterrupt
        As Ctrl-C raises it, with the run so far as ``.fit``: it can be used, saved and resumed.  None if it
        came before there was a run, while the data was still looked at.

    Examples
    --------
    >>> import numbasgd
    >>> fit = numbasgd.train(batch_size=100, lr=0.4, epochs=10, seed=0)
    >>> fit.data, fit.n
    ('embedded twin of the airfoil data', 1500)
    >>> bool(fit.loss[-1] < 0.25)
    True
    """
    config = TrainConfig.of_call(
        batch_size=batch_size, lr=lr, epochs=epochs, loss=loss, quantile=quantile, sampling=sampling,
        momentum=momentum, nesterov=nesterov, average=average, l2=l2, l1=l1, intercept=intercept,
        standardize=standardize, eval_every=eval_every, validation_fraction=validation_fraction, tol=tol,
        patience=patience, seed=seed, callback=callback, checkpoint=checkpoint,
        checkpoint_every=checkpoint_every, progress=progress, verbose=verbose, threads=threads,
    )  # fmt: skip
    dataset = make_dataset(X, y, sample_weight, config.loss)
    # ``resumable`` has made a Fit of any path.
    return _Training(config, dataset, init, resume if isinstance(resume, Fit) else None).run()


class _Training:
    """One call of ``train``: from settings and data to a Fit.

    whole : what was passed, in whose numbering a NaN is named.  dataset : its training rows, scaled where
    that is wanted.  state : of the run to go on with, or None.
    """

    def __init__(self, config: TrainConfig, whole: Dataset, init: Any, resume: Fit | None) -> None:
        self.config, self.whole = config, whole
        state = None if resume is None else resume._state
        self.fingerprint = whole.fingerprint()
        if state is not None:
            require_same_data(self.fingerprint, state.data, whole.source)
        training, held_out = whole.split(config.validation_fraction, config.seed or 0)
        self.n = n = training.n
        if resume is not None and resume.n != n:
            raise ValueError(
                f"validation_fraction leaves {n} rows to train on, and left {resume.n} in the run to resume; "
                "expected the same rows. An earlier numbasgd held out rows of weight 0 as well: start such a "
                "run anew."
            )
        rates = config.rates if config.lr != "auto" or state is None else state.lrs
        method = config.method(n, np.ones(1) if rates is None else rates_in(rates, training.dtype))
        self.saver = None
        if config.checkpoint is not None:
            self.saver = Checkpoint(config.checkpoint, config.checkpoint_every, n, method.batch_size)
        w, b = start_of(init, training)
        self.scale = None
        if config.standardize:
            self.scale = make_scale(training, method.intercept, None if state is None else state.scale)
            whole.require_finite(*self.scale.std)
            w, b = self.scale.into(w, b)
            training = self.scale.apply(training)
            held_out = None if held_out is None else self.scale.apply(held_out)
        self.dataset, self.start = training, (w, b)
        self.squares: list[float] | None = None  # mean squares of the columns, if they are known
        if rates is None:
            rates = self._best_rates(method, w, b)
            method = method._replace(lrs=rates_in(rates, training.dtype))
        self.rates, self.method = rates, method
        if state is not None:
            require_ahead(state, rates, config.epochs, n)
        objective = None if held_out is None else make_objective(held_out, method.loss, config.threads)
        self.settings = self._settings()
        self.line = Progress(config.progress, config.epochs, n, is_verbose=config.verbose)
        # No method of this object: the cycle would leave each run to the garbage collector.
        safe_lr = functools.partial(_safe_lr, training, self.method, w, b)
        self.trainer = Trainer(make_solver(training, self.method), self.scale, safe_lr, objective)
        if state is not None:
            restore(self.trainer, state)
        else:
            self.trainer.place(self.trainer.solver.layout.row(w, b))

    def _best_rates(self, method: Method, w: np.ndarray, b: Any) -> np.ndarray:
        """The best constant rate, for ``lr="auto"``."""
        rate, self.squares = auto_rate(self.dataset, method, w, b, self.config.epochs)
        if not math.isfinite(rate):
            self.whole.require_finite(math.nan)
            raise self.whole.overflows(w)
        return np.array([rate])

    def _settings(self) -> Mapping[str, Any]:
        """All settings of the run as plain values, for its Fit."""
        settings = self.config.kept()
        del settings["seed"]  # has a place of its own
        settings.update(
            batch_size=self.method.batch_size, lr=float(self.rates[0]), lr_given=settings["lr"],
            sample_weight=self.dataset.is_weighted, dtype=name_of(self.dataset.dtype),
        )  # fmt: skip
        return settings

    def run(self) -> Fit:
        """Make the steps; what stops them leaves with the run so far as ``.fit``."""
        trainer, saver, callback = self.trainer, self.saver, self.config.callback
        at_epoch = None if callback is None else lambda: bool(callback(self.fit()))
        if saver is not None:
            saver.make = lambda: self.fit(QUICK)
        try:
            trainer.compile()
            if not trainer.history:
                self._start()
            plan = Plan(
                self.config.epochs * self.n, self.config.eval_samples(self.n), self.config.stopping, saver,
                at_epoch, self.line.show,
            )  # fmt: skip
            try:
                trainer.train(plan)
            finally:
                self.line.end()
            if plan.stopping is not None:
                trainer.take_best()
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
        if self.scale is None and not (self.dataset.is_sparse and self.config.lr == "auto"):
            squares = curvature.mean_squares(self.dataset) if self.squares is None else self.squares
            is_auto = self.config.lr == "auto"
            loss_curvature = curvature.curvature_of(loss_named(self.method.loss), self.dataset, *self.start)
            warn_of_scale(squares, max(self.rates.tolist()), loss_curvature, is_auto)

    def fit(self, limit: float = math.inf) -> Fit:
        """The run as the user gets it; ``limit`` as in ``Trainer.evaluations``."""
        trainer = self.trainer
        w, b = trainer.in_user_units(trainer.result)
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
            seed=self.method.seed,
            settings=self.settings,
            _state=freeze(trainer, self.rates, self.fingerprint),
        )


def _safe_lr(dataset: Dataset, method: Method, w: np.ndarray, b: Any) -> float:
    """Half of what is stable for sure, from the weights to start from; for the advice after a divergence."""
    size = curvature.row_sizes(dataset, method.intercept)
    loss_curvature = curvature.curvature_of(loss_named(method.loss), dataset, w, b)
    stable = curvature.stable_lr(size, method.batch_size, loss_curvature, method.l2)
    return 0.5 * stable * (1 - method.momentum)
