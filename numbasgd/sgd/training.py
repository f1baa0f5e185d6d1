"""``train``: check what the user passed, run whole epochs in compiled code, keep the history."""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np

from numbasgd import check
from numbasgd.sgd import rates
from numbasgd.sgd.fit import Fit
from numbasgd.sgd.progress import Progress
from numbasgd.sgd.run import Run
from numbasgd.sgd.sampling import SAMPLINGS
from numbasgd.sgd.scale import Scale, warn_of_scale

LOSSES = ("squared",)


class _Default(int):
    """A batch size that nobody chose: cut to the number of rows instead of refused."""


def train(
    X: Any = None,
    y: Any = None,
    *,
    batch_size: int = _Default(10),
    lr: float | str = "auto",
    epochs: int = 2,
    loss: str = "squared",
    sampling: str = "reshuffle",
    intercept: bool = True,
    standardize: bool = False,
    init: tuple[Any, float] | None = None,
    eval_every: int | str | None = "epoch",
    seed: int | None = None,
    progress: bool | None = None,
) -> Fit:
    """Fit ``y ~ X @ w + b`` by minibatch stochastic gradient descent.

    Each step takes the mean gradient of ``(x.w + b - y)^2 / 2`` over ``batch_size`` rows and moves w and b
    by ``-lr`` times it (Robbins and Monro, 1951; Bottou, Curtis, Nocedal, SIAM Review 2018, section 4).
    Whole epochs, the drawing of their order included, run inside compiled code.

    Parameters
    ----------
    X : array_like, shape (n, d), optional
        Training rows, float32 or float64; anything else is converted as NumPy would.  Left out together
        with y, the embedded twin of the airfoil data is used, and the result says so.
    y : array_like, shape (n,)
        Targets.
    batch_size : int
        Rows a step, 1 to n: 1 is SGD, n is gradient descent.  A last minibatch that is shorter is averaged
        over its own length.
    lr : float or "auto"
        Learning rate.  "auto" takes half the best constant rate for this batch size from the curvature of
        the data (``numbasgd.sgd.rates.stable_lr``).
    epochs : int
        Passes over the data.
    loss : {"squared"}
    sampling : {"reshuffle", "once", "replacement", "sequential"}
        A new random order each epoch, one random order for all, rows drawn with replacement, or the order
        of X.
    intercept : bool
        Whether b is trained; otherwise it keeps its first value.
    standardize : bool
        Train on columns with mean 0 and standard deviation 1 (only scaled when there is no intercept) and
        return the weights in the units of X.
    init : (w, b), optional
        Where to start, in the units of X; zeros if left out.
    eval_every : "epoch", int or None
        When the loss over all rows is evaluated: after each epoch; at the first step that completes another
        so many samples; or only at the start and the end.
    seed : int, optional
        The same seed gives the same weights, bit for bit, on one machine.  Drawn, and kept in the result,
        if left out.
    progress : bool, optional
        A progress line on stderr; left out, one appears for runs longer than a second on a terminal.

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

    Examples
    --------
    >>> import numbasgd
    >>> fit = numbasgd.train(batch_size=100, lr=0.4, epochs=10, seed=0)
    >>> fit.data, fit.n
    ('embedded twin of the airfoil data', 1500)
    >>> bool(fit.loss[-1] < 0.25)
    True
    """
    X, y, data = _problem(X, y)
    n, d = X.shape
    if isinstance(batch_size, _Default):
        batch_size = min(int(batch_size), n)
    batch_size = check.integer(
        batch_size, "batch_size", low=1, high=n, hint=f"Use 1 for SGD up to the {n} rows for gradient descent."
    )
    epochs = check.integer(epochs, "epochs", low=0, hint="Pass the number of passes over the data.")
    if not (isinstance(lr, str) and lr == "auto"):
        lr = check.real(lr, "lr", positive=True, hint='Pass a rate such as 0.05, or "auto".')
    check.choice(loss, "loss", LOSSES)
    check.choice(sampling, "sampling", SAMPLINGS)
    intercept = check.flag(intercept, "intercept")
    standardize = check.flag(standardize, "standardize")
    every = _eval_samples(eval_every, n)
    if seed is None:
        seed = secrets.randbits(63)
    seed = check.integer(seed, "seed", low=0, high=2**63 - 1, hint="Pass an integer, or leave it out.")
    w, b = _start(init, d, X.dtype)
    check.finite(X, "X")
    check.finite(y, "y")

    scale = Scale(X, intercept) if standardize else None
    Z = X if scale is None else scale.apply(X)
    if scale is not None:
        w, b = scale.into(w, b)
    rate = rates.stable_lr(Z, batch_size, intercept) if isinstance(lr, str) else lr
    if scale is None:
        warn_of_scale(Z, rate, lr == "auto")
    run = Run(Z, y, loss, batch_size, rate, sampling, intercept, seed, scale)
    run.start(w, b)
    line = Progress(progress, epochs)
    try:
        run.train(epochs, every, line)
    finally:
        line.end()
    w, b = run.weights()
    history = np.array(run.history, dtype=np.float64)
    return Fit(
        w=w,
        b=b,
        loss=history[:, 0].copy(),
        samples=history[:, 1].astype(np.int64),
        epochs=history[:, 1] / n,
        seconds=history[:, 2].copy(),
        compile_seconds=run.compile_seconds,
        data=data,
        n=n,
        seed=seed,
        settings={
            "batch_size": batch_size,
            "lr": float(rate),
            "lr_given": lr if isinstance(lr, str) else float(lr),
            "epochs": epochs,
            "loss": loss,
            "sampling": sampling,
            "intercept": intercept,
            "standardize": standardize,
            "eval_every": eval_every,
            "dtype": str(X.dtype),
        },
    )


def _problem(X: Any, y: Any) -> tuple[np.ndarray, np.ndarray, str]:
    """X and y as kernels want them, and where they came from."""
    if X is None and y is None:
        from numbasgd.data import airfoil_twin

        return (*airfoil_twin(), "embedded twin of the airfoil data")
    if X is None or y is None:
        missing, given = ("X", "y") if X is None else ("y", "X")
        raise TypeError(
            f"{missing} is missing while {given} was passed; expected both, or neither for the embedded "
            f"twin data. Pass {missing}."
        )
    X, y = check_rows(X, y)
    return check.for_kernel(X), check.for_kernel(y), "arrays"


def check_rows(X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """X (n, d) and y (n,) of one dtype, n at least 1."""
    X = check.array(X, "X", 2)
    y = check.array(y, "y", 1)
    if len(X) != len(y):
        raise ValueError(
            f"X has {len(X)} rows and y has {len(y)} entries; expected one target per row. "
            "Check that both were cut the same way."
        )
    if len(X) == 0:
        raise ValueError(f"X has shape {X.shape}; expected at least one row. Pass the training rows.")
    X, y = check.same_dtype(X, y)
    return X, y


def _eval_samples(eval_every: Any, n: int) -> int | None:
    """Samples between two evaluations, or None."""
    if eval_every is None:
        return None
    if isinstance(eval_every, str):
        check.choice(eval_every, "eval_every", ["epoch"])
        return n
    return check.integer(
        eval_every, "eval_every", low=1, hint='Pass a number of samples, "epoch", or None for none.'
    )


def _start(init: Any, d: int, dtype: np.dtype) -> tuple[np.ndarray, float]:
    """The first weights (d,) and intercept."""
    if init is None:
        return np.zeros(d, dtype), 0.0
    if not isinstance(init, tuple | list) or len(init) != 2:
        raise TypeError(f"init is {init!r}; expected a pair (w, b). Pass the weights and the intercept.")
    w = check.array(init[0], "init's w", 1)
    if len(w) != d:
        raise ValueError(
            f"init's w has {len(w)} entries, X has {d} columns; expected one weight per column. "
            "Pass weights of the same model."
        )
    check.finite(w, "init's w")
    b = check.real(init[1], "init's b", hint="Pass the intercept to start from, for example 0.0.")
    return w.astype(dtype), b
