"""``train``: check what the user passed, run whole epochs in compiled code, keep the history."""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numbasgd import check
from numbasgd.errors import DivergenceError
from numbasgd.sgd import arguments, problem
from numbasgd.sgd.arguments import Default, overflows, require_finite
from numbasgd.sgd.checkpoint import Checkpoint
from numbasgd.sgd.fit import Fit
from numbasgd.sgd.learning_rate import curvature
from numbasgd.sgd.learning_rate.auto import auto_rate
from numbasgd.sgd.losses import LOSSES
from numbasgd.sgd.progress import Progress
from numbasgd.sgd.resume import hand_over, require_ahead, resumable
from numbasgd.sgd.risk import Problem
from numbasgd.sgd.rows import rows_of
from numbasgd.sgd.scale import Scale, warn_of_scale
from numbasgd.sgd.state import State, data_mark, freeze, name_of, require_same_data, restore
from numbasgd.sgd.trainer import QUICK, Run


@resumable
def train(
    X: Any = None,
    y: Any = None,
    *,
    batch_size: int = Default(10),
    lr: float | Sequence[float] | Callable[[int], float] | str = "auto",
    epochs: int = 2,
    loss: str = "squared",
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
        Targets: numbers for "squared" and "huber"; for "logistic" and "hinge" two classes and for "softmax" K,
        at least two, of any name (numbers, booleans or text).  With K columns of numbers there are K outputs,
        ``w`` is (d, K) and ``b`` (K,), and the loss of a row is the sum over them.
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
    loss : {"squared", "huber", "logistic", "hinge", "softmax"}
        See ``numbasgd.sgd.losses`` for formulas and sources.  "softmax" is the mean cross-entropy
        ``log(sum over k of exp(z_k)) - z_y``, with w (d, K) and b (K,) for K classes.
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
    check.choice(loss, "loss", LOSSES)
    X, y, classes, data = arguments.data(X, y, loss)
    s = problem.sample_weights(sample_weight, len(X), X.dtype)
    mark = data_mark(X, y, s)
    state = _state(resume)
    if state is not None:
        require_same_data(mark, state.data, data)
    if seed is None:
        seed = secrets.randbits(63)
    seed = check.integer(seed, "seed", low=0, high=2**63 - 1, hint="Pass an integer, or leave it out.")
    whole = X, y  # what was passed, in whose numbering a NaN is named
    X, y, s, held_out = arguments.split(X, y, s, validation_fraction, seed)
    n, d = X.shape
    outputs = len(classes or ()) if LOSSES[loss].rows else y.shape[1] if y.ndim == 2 else 0
    method = arguments.method(
        n, batch_size=batch_size, sampling=sampling, seed=seed, momentum=momentum, nesterov=nesterov,
        average=average, l2=l2, l1=l1, intercept=intercept,
    )  # fmt: skip
    epochs = check.integer(epochs, "epochs", low=0, hint="Pass the number of passes over the data.")
    given = problem.rates_of_epochs(lr, epochs)
    standardize = check.flag(standardize, "standardize")
    every = problem.eval_samples(eval_every, n)
    verbose = check.flag(verbose, "verbose")
    if progress is not None:
        progress = check.flag(progress, "progress")
    if threads is not None:
        threads = check.threads(threads)
    stopping = problem.stopping(tol, patience)
    if callback is not None and not callable(callback):
        raise TypeError(f"callback is a {type(callback).__name__}; expected a function of a Fit. Pass one.")
    saver = None
    if checkpoint is not None:
        saver = Checkpoint(checkpoint, checkpoint_every, n, method.batch_size)
    elif checkpoint_every is not None:
        raise ValueError(
            f"checkpoint_every is {checkpoint_every!r} but checkpoint is None; expected both, or neither. Pass "
            "the path of a file as checkpoint."
        )
    w, b = problem.start(init, d, X.dtype, outputs)
    scale = None
    if standardize:
        scale = Scale(X, method.intercept, None if state is None else state.scale)
        require_finite(*whole, *scale.spread)
        w, b = scale.into(w, b)
    Z = X if scale is None else scale.apply(X)
    fitted = Problem(rows_of(Z), problem.targets_for_kernel(y), s, loss, outputs, threads)

    loss_curvature = LOSSES[loss].curvature
    squares = None  # of the columns, if they are known

    def safe_lr() -> float:
        """Half of what is stable for sure; for the advice after a divergence."""
        size = curvature.Sample(Z, method.intercept, s).size
        return (
            0.5
            * curvature.stable_lr(size, method.batch_size, loss_curvature, method.l2)
            * (1 - method.momentum)
        )

    if given is None and state is not None:
        given = state.lrs
    elif given is None:
        rate, squares = auto_rate(fitted, Z, y, w, b, method, epochs)
        if not math.isfinite(rate):
            require_finite(*whole, math.nan)
            raise ValueError(overflows(X, y, w))
        given = np.array([rate])
    if state is not None:
        require_ahead(state, given, epochs, n)
    method = method._replace(lrs=problem.lrs_in(given, X.dtype))
    held = None
    if held_out is not None:
        Xv, yv, sv = held_out
        Zv = Xv if scale is None else scale.apply(Xv)
        held = Problem(rows_of(Zv), problem.targets_for_kernel(yv), sv, loss, outputs, threads)
    run = Run(fitted, method, scale, safe_lr, held)
    settings = {
        "batch_size": method.batch_size,
        "lr": float(given[0]),
        "lr_given": lr if isinstance(lr, str) else float(given[0]) if problem.is_one(lr) else given.tolist(),
        "epochs": epochs,
        "loss": loss,
        "sampling": sampling,
        "momentum": method.momentum,
        "nesterov": method.nesterov,
        "average": bool(average) if isinstance(average, bool | np.bool_) else int(average),
        "l2": method.l2,
        "l1": method.l1,
        "intercept": method.intercept,
        "sample_weight": s.size > 0,
        "standardize": standardize,
        "eval_every": eval_every if eval_every is None or isinstance(eval_every, str) else every,
        "validation_fraction": float(validation_fraction),
        "tol": None if stopping is None else stopping[0],
        "patience": int(patience),
        "dtype": name_of(X.dtype),
    }

    def result(limit: float = math.inf) -> Fit:
        return _fit(run, data, settings, classes, freeze(run, given, mark), limit)

    def at_epoch() -> bool:
        return bool(callback(result())) if callback is not None else False

    line = Progress(progress, epochs, n, is_verbose=verbose)
    if saver is not None:
        saver.make = lambda: result(QUICK)
    if state is not None:
        restore(run, state)
    else:
        run.place(run.layout.row(w, b))
    try:
        run.compile()
        if not run.history:
            run.start()
            first = run.history[0]
            held_loss = first.loss if held is None else first.validation
            require_finite(*whole, first.loss, held_loss)
            if not math.isfinite(first.loss):
                raise ValueError(overflows(X, y, run.state[0]))
            if scale is None:
                warn_of_scale(
                    curvature.mean_squares(Z) if squares is None else squares,
                    float(given.max()),
                    loss_curvature,
                    isinstance(lr, str),
                )
        try:
            run.train(
                epochs,
                every,
                patience=stopping,
                stops=saver,
                at_epoch=None if callback is None else at_epoch,
                show=line.show,
            )
        finally:
            line.end()
        if stopping is not None:
            run.take_best()
        fit = result()
        if saver is not None:
            saver.save_last(fit)
        return fit
    except DivergenceError:
        raise
    except BaseException as error:
        if run.samples or isinstance(error, KeyboardInterrupt):
            hand_over(
                error,
                lambda is_evaluated: result(QUICK if is_evaluated else 0.0),
                saver if run.samples else None,
            )
        raise


def _state(resume: Any) -> State | None:
    """The state to go on from; ``resumable`` has made a Fit of whatever was passed."""
    return None if resume is None else resume._state


def _fit(
    run: Run,
    data: str,
    settings: dict[str, Any],
    classes: tuple[Any, ...] | None,
    state: State,
    limit: float,
) -> Fit:
    """The run as the user gets it; ``limit`` as in ``Run.moments``."""
    w, b = run.in_user_units(run.result)
    table = np.array(run.moments(limit), np.float64).T.copy()
    loss, objective, held_out, samples, seconds = table
    table.setflags(write=False)
    return Fit.of_run(
        w=w,
        b=b,
        loss=loss,
        objective=objective,
        validation_loss=None if run.validation is None else held_out,
        samples=samples.astype(np.int64),
        epochs=samples / run.n,
        seconds=seconds,
        compile_seconds=run.compile_seconds,
        data=data,
        n=run.n,
        classes=classes,
        seed=run.method.seed,
        settings=settings,
        _state=state,
    )
