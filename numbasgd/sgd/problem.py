"""What the user passed to ``train``, checked: rows, targets, weights, and the settings of the method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from numbasgd import check
from numbasgd.sgd import labels
from numbasgd.sgd.losses import LOSSES


def rows_and_targets(
    X: Any, y: Any, loss: str = "squared", *, is_whole: bool = True, takes_columns: bool = False
) -> tuple[np.ndarray, np.ndarray, tuple[Any, ...] | None]:
    """X (n, d) and y (n,) of one dtype, n at least 1, in any memory order; and the classes, if any.

    Classes become -1 and 1, or 0 to K - 1, which every dtype holds, so their dtype does not matter to X.  Rows
    that are not the whole problem may be of some of its classes, if those are called like that.
    takes_columns : y may be (n, K), K at least 1, where it holds numbers.
    """
    X = check.array(X, "X", 2)
    targets = LOSSES[loss].targets
    if targets == "real":
        y = check.array(y, "y", 2 if takes_columns and _n_dimensions(y) == 2 else 1)
    else:
        y = labels.named(y, loss)
    if len(X) != len(y):
        raise ValueError(
            f"X has {len(X)} rows and y has {len(y)} entries; expected one target per row. "
            "Check that both were cut the same way."
        )
    if len(X) == 0:
        raise ValueError(f"X has shape {X.shape}; expected at least one row. Pass the training rows.")
    if y.ndim == 2 and y.shape[1] == 0:
        raise ValueError(f"y has shape {y.shape}; expected at least one column. Pass the targets.")
    if targets == "real":
        X, y = check.same_dtype(X, y)
        return X, y, None
    classes: tuple[Any, ...] | None = None
    if targets == "classes" and is_whole:
        y, classes = labels.numbers(y, loss)
    elif targets == "classes":
        labels.require_numbers(y)
    elif not is_whole and y.dtype.kind != "U" and np.all(np.abs(y) == 1):
        classes = (-1.0, 1.0)
    else:
        y, classes = labels.signs(y, loss)
    return X, y.astype(X.dtype, copy=False), classes


def targets_for_kernel(y: np.ndarray) -> np.ndarray:
    """As kernels take them; a single column is a vector."""
    return check.for_kernel(y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y)


def _n_dimensions(y: Any) -> int:
    """Of what ``check.array`` would make of y; 1 for what it would refuse."""
    try:
        return int(np.ndim(y))
    except (ValueError, TypeError):
        return 1


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
    return isinstance(lr, float | int) or (not callable(lr) and np.ndim(lr) == 0)


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
    if len(lrs) == 1 and 1e-30 < lrs[0] < 1e30:
        return lrs.astype(dtype)
    with np.errstate(over="ignore", under="ignore"):
        rounded = lrs.astype(dtype)
    if not (rounded.min() > 0 and rounded.max() < np.inf):
        bad = np.flatnonzero(~np.isfinite(rounded) | (rounded <= 0))
        raise ValueError(
            f"lr is {lrs[bad[0]]:.3g}, which {dtype} rounds to {rounded[bad[0]]:g}; expected one that it "
            "can hold. Scale X, or pass it as float64."
        )
    return rounded


def start(init: Any, d: int, dtype: np.dtype, outputs: int = 0) -> tuple[np.ndarray, Any]:
    """The first weights (d,) and intercept, or (d, K) and (K,) for ``outputs`` K."""
    columns = (outputs,) if outputs else ()
    if init is None:
        return np.zeros((d, *columns), dtype), np.zeros(columns) if outputs else 0.0
    if not isinstance(init, tuple | list) or len(init) != 2:
        raise TypeError(f"init is {init!r}; expected a pair (w, b). Pass the weights and the intercept.")
    w = check.array(init[0], "init's w", 2 if outputs else 1)
    if outputs and w.shape != (d, outputs):
        raise ValueError(
            f"init's w has shape {w.shape}, X has {d} columns and there are {outputs} outputs; expected shape "
            f"{(d, outputs)}. Pass weights of the same model."
        )
    if len(w) != d:
        raise ValueError(
            f"init's w has {len(w)} entries, X has {d} columns; expected one weight per column. "
            "Pass weights of the same model."
        )
    check.finite(w, "init's w")
    b = intercepts(init[1], "init's b", outputs)
    with np.errstate(over="ignore"):
        return w.astype(dtype), b


def intercepts(b: Any, name: str, outputs: int) -> Any:
    """An intercept, or one for each of ``outputs`` > 0 (a single number stands for all)."""
    if not outputs:
        return check.real(b, name, hint="Pass the intercept to start from, for example 0.0.")
    if _n_dimensions(b) == 0:
        return np.full(outputs, check.real(b, name, hint="Pass one intercept, or one for each output."))
    found = check.array(b, name, 1).astype(np.float64)
    if len(found) != outputs:
        raise ValueError(
            f"{name} has {len(found)} entries, and there are {outputs} outputs; expected one for each. Pass "
            "intercepts of the same model."
        )
    check.finite(found, name)
    return found


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
