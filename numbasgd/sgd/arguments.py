"""What the user passed to ``train`` beside the rows: data that is given or not, held-out rows, the method."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numbasgd import check
from numbasgd.sgd import problem
from numbasgd.sgd.order import SAMPLINGS, epoch_order
from numbasgd.sgd.trainer import Method

_VALIDATION = 2**61  # the epoch whose order picks the validation rows; no run gets there
_NO_RATES = np.ones(1)


class Default(int):
    """A batch size that nobody chose: cut to the number of rows instead of refused."""


def data(X: Any, y: Any, loss: str) -> tuple[np.ndarray, np.ndarray, tuple[Any, ...] | None, str]:
    """X and y, the classes if any, and where they came from."""
    if X is None and y is None:
        from numbasgd.data import airfoil_twin

        X, y = airfoil_twin()
        return (*problem.rows_and_targets(X, y, loss, takes_columns=True), "embedded twin of the airfoil data")
    if X is None or y is None:
        missing, given = ("X", "y") if X is None else ("y", "X")
        raise TypeError(
            f"{missing} is missing while {given} was passed; expected both, or neither for the embedded "
            f"twin data. Pass {missing}."
        )
    return (*problem.rows_and_targets(X, y, loss, takes_columns=True), "arrays")


def split(
    X: np.ndarray, y: np.ndarray, s: np.ndarray, fraction: Any, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray] | None]:
    """Training rows, and the held-out rows or None."""
    hint = "Pass the share of rows to hold out, for example 0.1."
    fraction = check.real(fraction, "validation_fraction", hint=hint)
    if fraction == 0:
        return X, y, s, None
    n = len(X)
    count = round(fraction * n)
    if not 0 < fraction < 1 or not 0 < count < n:
        raise ValueError(
            f"validation_fraction is {fraction} of {n} rows; expected a share that leaves at least one row on "
            f"either side. {hint}"
        )
    order = epoch_order(seed, _VALIDATION, n)
    parts = []
    for rows in (np.sort(order[count:]), np.sort(order[:count])):
        weights = s[rows] if s.size else s
        if s.size and not weights.any():
            raise ValueError(
                f"sample_weight is 0 for all {len(rows)} rows on one side of validation_fraction={fraction:g}; "
                "expected rows that count on either side. Leave rows of weight 0 out, or pass another seed."
            )
        weights = weights / weights.mean() if s.size else weights
        parts.append((X[rows], y[rows], weights.astype(X.dtype)))
    return (*parts[0], parts[1])


def method(
    n: int,
    *,
    batch_size: Any,
    sampling: Any,
    seed: int,
    momentum: Any,
    nesterov: Any,
    average: Any,
    l2: Any,
    l1: Any,
    intercept: Any,
) -> Method:
    """How steps are made over n rows, all but the rates."""
    if isinstance(batch_size, Default):
        batch_size = min(int(batch_size), n)
    hint = f"Use 1 for SGD up to the {n} rows for gradient descent."
    batch_size = check.integer(batch_size, "batch_size", low=1, high=n, hint=hint)
    check.choice(sampling, "sampling", SAMPLINGS)
    momentum = check.real(momentum, "momentum", hint="Pass a number from 0 to below 1, for example 0.9.")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum is {momentum}; expected a number from 0 to below 1. Pass for example 0.9.")
    nesterov = check.flag(nesterov, "nesterov")
    if nesterov and not momentum:
        raise ValueError(
            "nesterov is True but momentum is 0; expected more than 0. Pass for example momentum=0.9."
        )
    for name, penalty in (("l2", l2), ("l1", l1)):
        if check.real(penalty, name, hint="Pass 0 or more.") < 0:
            raise ValueError(f"{name} is {penalty}; expected 0 or more. Pass such a penalty, or none.")
    return Method(
        batch_size=batch_size,
        lrs=_NO_RATES,
        sampling=sampling,
        seed=seed,
        intercept=check.flag(intercept, "intercept"),
        momentum=momentum,
        nesterov=nesterov,
        average_from=problem.averaging(average, n),
        l2=float(l2),
        l1=float(l1),
    )


def require_finite(X: np.ndarray, y: np.ndarray, *witnesses: float) -> None:
    """Look for the NaN or Inf that made a figure of the whole data non-finite; no look without such a sign."""
    if not all(map(math.isfinite, witnesses)):
        check.finite(X, "X")
        check.finite(y, "y")


def overflows(X: np.ndarray, y: np.ndarray, start: np.ndarray) -> str:
    """What to say of finite data whose loss is not."""
    largest = {"X": X, "y": y, "init": start}
    name = max(largest, key=lambda key: float(np.abs(largest[key]).max(initial=0.0)))
    return (
        f"{name} holds values up to {np.abs(largest[name]).max():.3g}, and the loss overflows {X.dtype}; "
        "expected values whose squares can be added up. Scale them, for example by a power of 10."
    )
