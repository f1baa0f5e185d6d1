"""``train``: the call; what it does is in ``run.py`` (one call), ``trainer.py`` (the loop) and ``solvers``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numbasgd.sgd.batch_size.result import BatchSize, settings_of
from numbasgd.sgd.config import Default, TrainConfig
from numbasgd.sgd.fit import Fit
from numbasgd.sgd.held_out import validation_dataset
from numbasgd.sgd.inputs import kind_of, make_dataset
from numbasgd.sgd.resume import resumable
from numbasgd.sgd.run import TrainingRun
from numbasgd.sgd.streamed_inputs import streamed_dataset, streamed_rows
from numbasgd.sgd.warm_start import weights_of

_DEFAULT = Default(32)  # where nobody chose


@resumable
def train(
    X: Any = None,
    y: Any = None,
    *,
    batch_size: int | str | BatchSize = _DEFAULT,
    lr: float | Sequence[float] | Callable[[int], float] | str = "auto",
    epochs: int | None = None,
    schedule: str | None = None,
    loss: str = "squared",
    quantile: float = 0.5,
    sampling: str = "auto",
    window: float = 24.0,
    momentum: float = 0.0,
    nesterov: bool = False,
    average: bool | int = False,
    l2: float = 0.0,
    l1: float = 0.0,
    intercept: bool = True,
    sample_weight: Any = None,
    standardize: bool | None = None,
    init: Fit | tuple[Any, Any] | None = None,
    eval_every: int | str | None = "auto",
    validation_fraction: float = 0.0,
    validation_data: Any = None,
    tol: float | None = None,
    patience: int = 5,
    budget: float | None = None,
    callback: Callable[[Fit], Any] | None = None,
    seed: int | None = None,
    resume: Fit | str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float | None = None,
    progress: bool | None = None,
    track_noise: bool = False,
    verbose: bool = False,
    threads: int | None = None,
) -> Fit:
    """Fit a linear model ``z = X @ w + b``, of one output or K, by minibatch stochastic gradient descent.

    Each step takes the mean gradient of the loss over ``batch_size`` rows and moves w and b against it
    (Robbins and Monro, 1951; Bottou, Curtis, Nocedal, SIAM Review 2018, section 4).  Whole epochs, the drawing
    of their order included, run inside compiled code.

    Left alone it standardizes the columns, chooses the learning rate and trains until the loss has converged,
    in rounds that double in length, in each of which the rate falls to zero.  ``Fit.stopped`` says why it
    ended.

    Parameters
    ----------
    X : array_like, sparse array or rows in a file, shape (n, d), optional
        Training rows, float32 or float64; anything else is converted as NumPy would.  Where the entries of a
        row do not lie together, as in Fortran order, which that of most tables is, they are copied once if the
        free memory is twice as large.  Rows in a file (a ``numpy.memmap``, the path of a ``.npy`` file or a
        list of such paths, what ``numbasgd.open_shards`` and ``numbasgd.open_table`` give, anything else that
        has ``shape``, ``dtype`` and slices, as data sets of h5py and zarr) are read a window at a time
        (``sampling``), so that they need not fit in memory; y and sample_weight may be in a file as well.
        Sparse matrices and arrays of SciPy are taken as they are in CSR form, others are converted to it; steps
        are those on ``X.toarray()``, in time of the stored entries (``numbasgd.sgd.solvers.sparse_lazy``, with
        its sources).  With momentum, or with ``average`` and ``l1`` together, a step takes time of all d
        weights.  Left out together with y, the embedded twin of the airfoil data is used, and the result says
        so.
    y : array_like, shape (n,) or (n, K)
        Targets: numbers for "squared", "huber" and "quantile"; for "logistic" and "hinge" two classes and for
        "softmax" K, at least two, of any name (numbers, booleans or text).  With K columns of numbers there
        are K outputs, ``w`` is (d, K) and ``b`` (K,), and the loss of a row is the sum over them.
    batch_size : int, BatchSize or "auto"
        Rows a step, 1 to n: 1 is SGD, n is gradient descent; 32, or all rows if they are fewer, if left out.
        A last minibatch that is shorter is averaged over its own length.  What ``best_batch_size`` has found
        brings its rate, and whether columns are standardized, where these are left out.  "auto": what is never
        far from the best on the way to a tenth, a hundredth and a thousandth of the gap, by a model of the data
        and a table of what steps cost on this family of CPUs (``numbasgd.sgd.batch_size.auto``);
        ``Fit.batch_size_because`` says by what, and the same data have the same size.
    lr : float, sequence of float, callable or "auto"
        Learning rate: one for all epochs, one for each, a function of the epoch (from 0 on), or the constant
        rate that is best for this batch size and so many epochs: that of a quadratic model, from curvature and
        noise of the data (``numbasgd.sgd.learning_rate.quadratic.best_constant``, with its sources), or where
        none holds, that of short runs (``numbasgd.sgd.learning_rate.race``).  To choose it costs at most about
        what training does, or 2 milliseconds; the same data have the same rate.  Of rows in a file a sample is
        looked at, some ten thousand from places all over the file, and ``Fit.lr_because`` says so.
    epochs : int, optional
        Passes over the data.  Left out: until the loss has converged (``tol``, ``patience``), at most 200.
    schedule : {"constant", "inverse_scaling", "cosine", "step", "restarts"}, optional
        How the rate falls, ``lr`` being the first one (``numbasgd.sgd.schedule`` has the formulas): by
        ``1 / sqrt(1 + epoch)``; to zero by a cosine; to a tenth half-way and a hundredth at three quarters; or
        by a cosine in rounds of 1, 2, 4, ... epochs that each begin anew.  A round that ends worse than it
        began is undone, and the rate is a quarter from then on.  Left out: "restarts" where the run is to stop
        by itself (no ``epochs``, or ``tol`` and ``lr="auto"``), and "constant" else, for averaged weights, and
        where lr is a rate for each epoch.
    loss : {"squared", "huber", "logistic", "hinge", "softmax", "quantile"}
        See ``numbasgd.sgd.losses`` for formulas and sources.  "softmax" is the mean cross-entropy
        ``log(sum over k of exp(z_k)) - z_y``, with w (d, K) and b (K,) for K classes.
    quantile : float
        The level of the loss "quantile", above 0 and below 1: the share of the targets that the fit leaves
        below it.  0.5 fits the median.
    sampling : {"auto", "reshuffle", "once", "replacement", "sequential", "block"}
        A new random order each epoch, one random order for all, rows drawn with replacement, or the order
        of X.  "block" is for rows in a file: blocks of rows come in a new random order each epoch, and a window
        of them is shuffled in memory (``numbasgd.sgd.block_order``, with its source).  "auto" is "block" for
        rows in a file and "reshuffle" for others; ``Fit.settings["sampling"]`` says which.  Rows of a memmap
        can come in any order, but singly, which takes many times as long where the file is not in memory; rows
        of other files come in blocks, or in their order.
    window : float
        Megabytes of rows that "block" shuffles together.  Twice as much is in memory, since the next window is
        read while steps are made on one.  The smaller it is against the file, the more the order of the rows
        in the file matters.  It is part of the run: another window is another order.
    momentum : float
        0 to below 1: what a step keeps of the step before (Polyak, 1964).
    nesterov : bool
        Momentum in the form of Nesterov (Sutskever, Martens, Dahl, Hinton, ICML 2013).
    average : bool or int
        Return the mean of the weights over the steps (Polyak and Juditsky, 1992), from the start or from
        after so many epochs.
    l2, l1 : float
        Penalties ``l2 * |w|^2 / 2`` and ``l1 * |w|_1``; the second by its proximal step (Duchi and Singer, JMLR
        2009).  The intercept is not penalized.  With ``standardize``, which is the default where lr is "auto",
        they hold for the scaled columns, so that the units of a column do not matter.
    intercept : bool
        Whether b is trained; otherwise it keeps its first value.
    sample_weight : array_like, shape (n,), optional
        How much each row counts; only ratios matter.
    standardize : bool, optional
        Train on columns with mean 0 and standard deviation 1 (only scaled when there is no intercept) and
        return the weights in the units of X.  Left out: True where lr is "auto", since no rate suits columns of
        very different scales; False where lr was given, since it was chosen for X as it is, and for sparse
        rows.  It costs about as much as two epochs, and a copy of X unless X was converted or split anyway;
        False turns it off.  Of rows in a file it takes a pass over all of them, and they are scaled as they are
        read.  Columns of sparse rows are divided by their root
        mean square and not centred, which would leave no entry at 0.
    init : Fit, or (w, b), optional
        Where to start: another fit of the same kind, or weights in the units of X and the shapes of the result;
        zeros if left out.
    eval_every : "epoch", "round", int or None
        When the loss over all rows is evaluated: after each epoch; after each round of ``schedule="restarts"``;
        at the first step that completes another so many samples; or only at the start and the end.  Left out
        ("auto"): after each round where there are rounds, else after each epoch.  For rows in a file each
        evaluation is a pass over the file.
    validation_fraction : float
        The share of rows, drawn by the seed, that is held out and watched for early stopping.  In a file they
        stay where they are, and an evaluation tells the loss of either side.
    validation_data : (X, y) or (X, y, sample_weight), optional
        Rows to watch instead, which are not trained on; with columns and classes of the training rows.  They
        may stay in a file, too.
    tol, patience : float, int
        Stop when the watched loss (of the held-out rows, else the objective) did not fall by more than the
        share ``tol`` of the best one for ``patience`` epochs, and return the best weights; with restarts it is
        looked at after each round.  None: 1e-4 where epochs is left out, else never.
    budget : float, optional
        Seconds, from the call on and without those of compiling, after which to stop with the best weights so
        far.  It is the one setting by which a result depends on the clock.
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
    track_noise : bool
        Estimate tr(Sigma) and |G|^2, whose ratio is the simple noise scale, at the start and where the loss is
        evaluated, but not more often than takes 5 % of the time of the steps; ``Fit.noise`` has them.
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
    DataError
        If a file that rows are read from cannot be read, with the name of the file and the rows.  It carries
        the run so far as ``.fit``, to be resumed when the file is whole.
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
    >>> fit = numbasgd.train(seed=0)
    >>> fit.data, fit.n
    ('embedded twin of the airfoil data', 1500)
    >>> fit.stopped, round(float(fit.loss[-1]), 4)
    ('converged', 0.2417)
    >>> fit = numbasgd.train(batch_size=100, lr=0.4, epochs=10, seed=0)  # or all of it by hand
    >>> bool(fit.loss[-1] < 0.25)
    True
    """
    begin = time.perf_counter()
    if isinstance(batch_size, BatchSize):
        order = "reshuffle" if sampling in ("auto", "block") else sampling  # the same noise
        told = {
            "loss": loss, "quantile": quantile, "sampling": order, "momentum": momentum, "nesterov": nesterov,
            "l2": l2, "l1": l1, "intercept": intercept,
        }  # fmt: skip
        batch_size, lr, standardize = settings_of(batch_size, lr, standardize, told)
    run = resume if isinstance(resume, Fit) else None  # ``resumable`` has made a Fit of any path
    source = streamed_rows(X, sampling if run is None else run.settings["sampling"])
    is_mapped = source is None and isinstance(X, np.memmap)
    if standardize is None and (is_mapped or not kind_of(X).standardizes):
        # A copy of what is left in a file may not fit in memory; a rare column of sparse rows is no small one.
        standardize = False
    config = TrainConfig.of_call(
        batch_size=batch_size, lr=lr, epochs=epochs, schedule=schedule, loss=loss, quantile=quantile,
        sampling=sampling, window=window, momentum=momentum, nesterov=nesterov, average=average, l2=l2, l1=l1,
        intercept=intercept, standardize=standardize, eval_every=eval_every,
        validation_fraction=validation_fraction, tol=tol, patience=patience, budget=budget, seed=seed,
        callback=callback, checkpoint=checkpoint, checkpoint_every=checkpoint_every, progress=progress,
        track_noise=track_noise,
        verbose=verbose, threads=threads,
    )  # fmt: skip
    if source is None:
        dataset = make_dataset(X, y, sample_weight, config.loss)
    else:
        dataset = streamed_dataset(source, X, y, sample_weight, config)
    held_out = None
    if validation_data is not None:
        held_out = validation_dataset(validation_data, config.validation_fraction, dataset, config.loss)
    return TrainingRun(config, dataset, weights_of(init, dataset), run, begin, held_out).run()
