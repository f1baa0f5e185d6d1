"""``train``: check what the user passed, run whole epochs in compiled code, keep the history."""

from __future__ import annotations

import math
import secrets
import time
import warnings
from typing import Any

import numpy as np

from numbasgd import check
from numbasgd.errors import DivergenceError
from numbasgd.sgd import rates
from numbasgd.sgd.cpu import kernels, padded
from numbasgd.sgd.fit import Fit
from numbasgd.sgd.progress import Progress
from numbasgd.sgd.sampling import SAMPLINGS

LOSSES = ("squared",)
DIVERGED = 1e6  # a loss so many times the first one
_CALL_SECONDS = 0.1  # how long compiled code runs before Python looks at it: progress, Ctrl-C, divergence
# Entering compiled code from Python takes as long as a few small steps.  That it is entered once per
# evaluation is the evaluation's doing, so the shortest of some calls without a step is taken off.
_ENTRIES = 20


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

    scale = _Scale(X, intercept) if standardize else None
    Z = X if scale is None else scale.apply(X)
    if scale is not None:
        w, b = scale.into(w, b)
    rate = rates.stable_lr(Z, batch_size, intercept) if isinstance(lr, str) else lr
    if scale is None:
        _warn_of_scale(Z, rate, lr == "auto")
    run = _Run(Z, y, loss, batch_size, rate, sampling, intercept, seed, scale)
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


def _warn_of_scale(X: np.ndarray, lr: float, is_auto: bool) -> None:
    """Name a column that makes the rate unusable, or every stable rate too small for the others."""
    if is_auto:
        if (found := rates.dominating_column(X)) is not None:
            warnings.warn(
                f"column {found[0]} of X is so large beside others (mean squares differ by a factor of "
                f"{found[1]:.3g}) that a stable lr, here {lr:.3g}, hardly moves their weights. Pass "
                "standardize=True, or scale that column.",
                stacklevel=3,
            )
    elif (found := rates.overshooting_column(X, lr)) is not None:
        warnings.warn(
            f"column {found[0]} of X has mean square {found[1]:.3g}, so every step with lr={lr:.3g} "
            f"overshoots along it. Pass an lr below {2 / found[1]:.3g}, standardize=True, or scale that "
            "column.",
            stacklevel=3,
        )


class _Scale:
    """Columns with mean 0 and standard deviation 1, and the way back to the user's units."""

    def __init__(self, X: np.ndarray, intercept: bool) -> None:
        self.mean = X.mean(axis=0, dtype=np.float64) if intercept else np.zeros(X.shape[1])
        spread = np.sqrt(np.mean(np.square(X - self.mean, dtype=np.float64), axis=0))
        # A constant column has nothing but rounding left of its spread; it is not blown up to noise.
        eps = np.finfo(X.dtype).eps
        self.spread = np.where(spread > 4 * eps * np.abs(self.mean), spread, 1.0)

    def apply(self, X: np.ndarray) -> np.ndarray:
        return ((X - self.mean) / self.spread).astype(X.dtype)

    def into(self, w: np.ndarray, b: float) -> tuple[np.ndarray, float]:
        """Weights for X -> weights for the scaled columns."""
        return (w * self.spread).astype(w.dtype), b + float(w @ self.mean)

    def back(self, w: np.ndarray, b: float) -> tuple[np.ndarray, float]:
        """Weights for the scaled columns -> weights for X."""
        out = w / self.spread
        return out.astype(w.dtype), b - float(out @ self.mean)


class _Run:
    """One training run: the state that kernels change, the clock and the history."""

    def __init__(
        self,
        X: np.ndarray,
        y: np.ndarray,
        loss: str,
        batch_size: int,
        lr: float,
        sampling: str,
        intercept: bool,
        seed: int,
        scale: _Scale | None,
    ) -> None:
        self.X, self.y = X, y
        self.n, self.d = X.shape
        self.batch_size = batch_size
        self.lr = lr
        self.sampling = SAMPLINGS[sampling]
        self.intercept = intercept
        self.seed = seed
        self.scale = scale
        self.kernels = kernels(loss, self.d, X.dtype)
        self.w = np.zeros(padded(self.d, self.kernels.lanes), X.dtype)
        self.b = np.zeros(1, X.dtype)
        # A step over all rows needs no order, unless rows are drawn with replacement.
        is_whole = batch_size >= self.n and sampling != "replacement"
        self.order = np.empty(0 if is_whole else self.n, np.int32 if self.n < 2**31 else np.int64)
        self.drawn = np.full(1, -1, np.int64)
        self.rate = X.dtype.type(lr)
        self.samples = 0
        self.seconds = 0.0
        self.compile_seconds = 0.0
        self.history: list[tuple[float, int, float]] = []

    def start(self, w: np.ndarray, b: float) -> None:
        """Set the weights, compile, and evaluate for the first time."""
        begin = time.perf_counter()
        self._advance(0)
        self.kernels.mean_loss(self.X[:1], self.y[:1], self.w, self.b)
        self.compile_seconds = time.perf_counter() - begin
        self.entry_seconds = min(self._time_entry() for _ in range(_ENTRIES))
        self.w[: self.d] = w
        self.b[0] = b
        first = self._evaluate()
        self.record(first)
        self.best = (first, self.w.copy(), float(self.b[0]))
        # Weights that happen to start at the optimum must not make rounding noise a divergence.
        at_zero = 0.5 * float(np.mean(np.square(self.y, dtype=np.float64)))
        self.limit = DIVERGED * max(first, at_zero)

    def _advance(self, end: int) -> None:
        """Make all steps up to ``end`` samples."""
        self.kernels.advance(
            self.X, self.y, self.order, self.drawn, self.sampling, self.seed, self.samples, end,
            self.batch_size, self.rate, self.intercept, self.w, self.b,
        )  # fmt: skip
        self.samples = end

    def _time_entry(self) -> float:
        begin = time.perf_counter()
        self._advance(0)
        return time.perf_counter() - begin

    def _evaluate(self) -> float:
        return float(self.kernels.mean_loss(self.X, self.y, self.w, self.b))

    def record(self, loss: float) -> None:
        """Add the present moment to the history."""
        self.history.append((loss, self.samples, self.seconds))

    def weights(self) -> tuple[np.ndarray, float]:
        """The present weights in the user's units."""
        return self._in_user_units(self.w, float(self.b[0]))

    def _in_user_units(self, w: np.ndarray, b: float) -> tuple[np.ndarray, float]:
        w = w[: self.d].copy()
        return (w, b) if self.scale is None else self.scale.back(w, b)

    def train(self, epochs: int, every: int | None, progress: Progress) -> None:
        """Run to the end of the last epoch; ``every`` samples an evaluation is put into the history."""
        target = epochs * self.n
        per_call = self.n  # samples in one call of compiled code, as many as _CALL_SECONDS take
        while self.samples < target:
            due = target if every is None else min(target, (self.samples // every + 1) * every)
            before = self.samples
            begin = time.perf_counter()
            self._advance(self._step_end(min(due, before + per_call)))
            spent = time.perf_counter() - begin
            self.seconds += max(spent - self.entry_seconds, 0.0)
            in_time = (self.samples - before) * _CALL_SECONDS / max(spent, 1e-9)
            per_call = max(self.batch_size, min(int(in_time), 16 * per_call))
            if self.samples >= due or every is None:
                loss = self._evaluate()
                self._check(loss)
                if every is not None or self.samples >= target:
                    self.record(loss)
                progress.show(self.samples / self.n, loss)
            else:
                progress.show(self.samples / self.n, None)

    def _step_end(self, samples: int) -> int:
        """The end, in samples, of the step that holds sample number ``samples``; steps end with the epoch."""
        epoch, position = divmod(samples - 1, self.n)
        return epoch * self.n + min(-(-(position + 1) // self.batch_size) * self.batch_size, self.n)

    def _check(self, loss: float) -> None:
        """Remember the best weights; raise if the loss has left for infinity."""
        if loss <= self.best[0]:
            self.best = (loss, self.w.copy(), float(self.b[0]))
        if math.isfinite(loss) and loss <= self.limit:
            return
        best, w, b = self.best
        w, b = self._in_user_units(w, b)
        lr = rates.stable_lr(self.X, self.batch_size, self.intercept)
        epoch = self.samples / self.n
        raise DivergenceError(
            f"lr is {self.lr:.4g}, and the loss went from {self.history[0][0]:.4g} to {loss:.4g} after "
            f"{epoch:g} epochs; expected it to fall. Pass lr={lr:.2g} or less, lr=\"auto\", or standardize=True. "
            f"The best weights so far (loss {best:.4g}) are in the error's w and b.",
            epoch=epoch,
            w=w,
            b=b,
            loss=best,
            suggested_lr=lr,
        )
