"""What the user passed to ``train``, checked: rows, targets, weights, and the settings of the method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from numbasgd import check
from numbasgd.sgd.losses import LOSSES


def rows_and_targets(
    X: Any, y: Any, loss: str = "squared", *, is_whole: bool = True
) -> tuple[np.ndarray, np.ndarray, tuple[float, float] | None]:
    """X (n, d) and y (n,) of one dtype, n at least 1, in any memory order; and the classes, if any.

    Classes become -1 and 1, which every dtype holds, so their dtype does not matter to X.  Rows that are not
    the whole problem may be of one class, if it is called -1 or 1.
    """
    X = check.array(X, "X", 2)
    y = check.array(y, "y", 1)
    if len(X) != len(y):
        raise ValueError(
            f"X has {len(X)} rows and y has {len(y)} entries; expected one target per row. "
            "Check that both were cut the same way."
        )
    if len(X) == 0:
        raise ValueError(f"X has shape {X.shape}; expected at least one row. Pass the training rows.")
    if LOSSES[loss].targets == "real":
        X, y = check.same_dtype(X, y)
        return X, y, None
    if not is_whole and np.all(np.abs(y) == 1):
        return X, y.astype(X.dtype, copy=False), (-1.0, 1.0)
    signs, classes = _signs(y, loss)
    return X, signs.astype(X.dtype), classes


def _signs(y: np.ndarray, loss: str) -> tuple[np.ndarray, tuple[float, float]]:
    """Two values as -1 and 1; and which two they were."""
    found = np.unique(y)
    if not np.all(np.isfinite(found)):
        check.finite(y, "y")
    if len(found) == 1:
        raise ValueError(
            f"y holds only {found[0]:g}; expected two classes for loss={loss!r}, since one class leaves "
            "nothing to tell apart. Pass rows of both classes."
        )
    if len(found) > 2:
        shown = ", ".join(f"{v:g}" for v in found[:4])
        raise ValueError(
            f"y holds {len(found)} different values ({shown}, ...); expected two classes for loss={loss!r}. "
            'Pass 0 and 1, or use loss="squared" for real numbers.'
        )
    return np.where(y == found[1], 1, -1), (float(found[0]), float(found[1]))


def sample_weights(value: Any, n: int, dtype: np.dtype) -> np.ndarray:
    """Weights of mean 1, or an array of length 0 when there are none."""
    if value is None:
        return np.empty(0, dtype)
    s = check.array(value, "sample_weight", 1).astype(np.float64)
    if len(s) != n:
        raise ValueError(
            f"sample_weight has {len(s)} entries and X has {n} rows; expected one weight per row. "
            "Check that both were cut the same way."
        )
    check.finite(s, "sample_weight")
    if s.min() < 0 or s.max() == 0:
        raise ValueError(
            f"sample_weight has smallest entry {s.min():g} and largest {s.max():g}; expected weights of 0 or "
            "more, not all 0. Leave such rows out, or give them weight 0."
        )
    s = s / s.max()  # the sum of what was passed may overflow
    return (s / s.mean()).astype(dtype)


def is_one(lr: Any) -> bool:
    """Whether a learning rate is a number, the same for all epochs."""
    return not callable(lr) and np.ndim(lr) == 0


def rates_of_epochs(lr: Any, epochs: int) -> np.ndarray | None:
    """One learning rate per epoch (a single one stays), or None for "auto"."""
    hint = 'Pass a rate such as 0.05, one rate per epoch, a function of the epoch, or "auto".'
    if isinstance(lr, str):
        if lr == "auto":
            return None
        check.real(lr, "lr", hint=hint)
    if callable(lr):
        lr = [lr(epoch) for epoch in range(max(epochs, 1))]
    if isinstance(lr, Sequence) or (isinstance(lr, np.ndarray) and lr.ndim == 1):
        if len(lr) != max(epochs, 1):
            raise ValueError(
                f"lr holds {len(lr)} rates for {epochs} epochs; expected one rate per epoch. {hint}"
            )
        return np.array(
            [check.real(rate, f"lr of epoch {e}", positive=True, hint=hint) for e, rate in enumerate(lr)]
        )
    return np.array([check.real(lr, "lr", positive=True, hint=hint)])


def lrs_in(lrs: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The rates in the dtype of the data, where each must still be a finite number above 0."""
    with np.errstate(over="ignore", under="ignore"):
        rounded = lrs.astype(dtype)
    if not (rounded.min() > 0 and rounded.max() < np.inf):
        bad = np.flatnonzero(~np.isfinite(rounded) | (rounded <= 0))
        raise ValueError(
            f"lr is {lrs[bad[0]]:.3g}, which {dtype} rounds to {rounded[bad[0]]:g}; expected one that it "
            "can hold. Scale X, or pass it as float64."
        )
    return rounded


def start(init: Any, d: int, dtype: np.dtype) -> tuple[np.ndarray, float]:
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
    with np.errstate(over="ignore"):
        return w.astype(dtype), b


def eval_samples(eval_every: Any, n: int) -> int | None:
    """Samples between two evaluations, or None."""
    if eval_every is None:
        return None
    if isinstance(eval_every, str):
        check.choice(eval_every, "eval_every", ["epoch"])
        return n
    return check.integer(
        eval_every, "eval_every", low=1, hint='Pass a number of samples, "epoch", or None for none.'
    )


def averaging(average: Any, n: int) -> int | None:
    """Samples before the first averaged step, or None."""
    if isinstance(average, bool | np.bool_):
        return 0 if average else None
    return n * check.integer(average, "average", low=0, hint="Pass True, or the epochs before the mean begins.")


def stopping(tol: Any, patience: Any) -> tuple[float, int] | None:
    """(share, epochs) of early stopping, or None."""
    patience = check.integer(patience, "patience", low=1, hint="Pass the epochs to wait for a better loss.")
    if tol is None:
        return None
    tol = check.real(tol, "tol", hint="Pass the share by which the loss must fall, for example 1e-3, or None.")
    if tol < 0:
        raise ValueError(f"tol is {tol}; expected 0 or more. Pass the share by which the loss must fall.")
    return tol, patience
