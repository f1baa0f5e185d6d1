"""The check of each setting of ``TrainConfig``: (value, name) -> the value as a run keeps it.

They raise TypeError or ValueError with the name of the setting, what it was, what was expected and what to do.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numbasgd import check
from numbasgd.sgd import other_names
from numbasgd.sgd.losses import LOSSES
from numbasgd.sgd.order import SAMPLINGS
from numbasgd.sgd.schedule import SCHEDULES

#: What ``sampling`` may be: the orders of rows in memory, blocks of them, or what suits where the rows are.
SAMPLED = ("auto", *SAMPLINGS, "block")
_LR_HINT = 'Pass a rate such as 0.05, one rate per epoch, a function of the epoch, or "auto".'


def epochs(value: Any, name: str) -> int | None:
    """0 or more, or None."""
    if value is None:
        return None
    return check.integer(value, name, low=0, hint="Pass the number of passes, or None.")


def schedule(value: Any, name: str) -> str | None:
    """A name of ``SCHEDULES``, or None."""
    return None if value is None else check.choice(value, name, SCHEDULES, other_names.SCHEDULES)


def loss(value: Any, name: str) -> str:
    """A name of ``LOSSES``."""
    return check.choice(value, name, LOSSES, other_names.LOSSES)


def quantile(value: Any, name: str) -> float:
    """Above 0 and below 1."""
    value = check.real(value, name, hint="Pass a number above 0 and below 1, for example 0.9.")
    if not 0 < value < 1:
        raise ValueError(f"{name} is {value}; expected a number above 0 and below 1. Pass for example 0.9.")
    return value


def standardize(value: Any, name: str) -> bool | None:
    """True, False or None."""
    return None if value is None else check.flag(value, name)


def budget(value: Any, name: str) -> float | None:
    """Above 0, or None."""
    if value is None:
        return None
    return check.real(value, name, positive=True, hint="Pass the seconds that the run may take, or None.")


def sampling(value: Any, name: str) -> str:
    """A name of ``SAMPLED``."""
    return check.choice(value, name, SAMPLED, other_names.SAMPLINGS)


def window(value: Any, name: str) -> float:
    """Above 0."""
    return check.real(value, name, positive=True, hint="Pass megabytes, for example 24.0.")


def momentum(value: Any, name: str) -> float:
    """0 to below 1."""
    value = check.real(value, name, hint="Pass a number from 0 to below 1, for example 0.9.")
    if not 0 <= value < 1:
        raise ValueError(f"{name} is {value}; expected a number from 0 to below 1. Pass for example 0.9.")
    return value


def average(value: Any, name: str) -> bool | int:
    """True, False, or epochs."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    return check.integer(value, name, low=0, hint="Pass True, or the epochs before the mean begins.")


def penalty(value: Any, name: str) -> float:
    """0 or more."""
    value = check.real(value, name, hint="Pass 0 or more.")
    if value < 0:
        raise ValueError(f"{name} is {value}; expected 0 or more. Pass such a penalty, or none.")
    return value


def eval_every(value: Any, name: str) -> str | int | None:
    """A word, a number of samples, or None."""
    if value is None:
        return None
    if isinstance(value, str):
        return check.choice(value, name, ["auto", "epoch", "round"], other_names.EVAL_EVERY)
    return check.integer(value, name, low=1, hint='Pass a number of samples, "epoch", or None for none.')


def validation_fraction(value: Any, name: str) -> float:
    """A number; the rows tell which ones are too large."""
    return check.real(value, name, hint="Pass the share of rows to hold out, for example 0.1.")


def tol(value: Any, name: str) -> float | None:
    """0 or more, or None."""
    if value is None:
        return None
    hint = "Pass the share by which the loss must fall, for example 1e-3, or None."
    value = check.real(value, name, hint=hint)
    if value < 0:
        raise ValueError(f"{name} is {value}; expected 0 or more. Pass the share by which the loss must fall.")
    return value


def patience(value: Any, name: str) -> int:
    """1 or more."""
    return check.integer(value, name, low=1, hint="Pass the epochs to wait for a better loss.")


def seed(value: Any, name: str) -> int:
    """0 to 2^63 - 1; drawn for None."""
    if value is None:
        return secrets.randbits(63)
    return check.integer(value, name, low=0, high=2**63 - 1, hint="Pass an integer, or leave it out.")


def progress(value: Any, name: str) -> bool | None:
    """True, False or None."""
    return None if value is None else check.flag(value, name)


def threads(value: Any, name: str) -> int | None:
    """1 to 64, or None."""
    return None if value is None else check.threads(value)


def callback(value: Any, name: str) -> Callable[..., Any] | None:
    """A function, or None."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} is a {type(value).__name__}; expected a function of a Fit. Pass one.")
    return value


def anything(value: Any, name: str) -> Any:
    """Checked by whoever knows more: the rows, the other settings, or the file system."""
    return value


def is_list(lr: Any) -> bool:
    """Whether these are rates of epochs."""
    is_sequence = isinstance(lr, Sequence) and not isinstance(lr, str)
    return is_sequence or (isinstance(lr, np.ndarray) and lr.ndim == 1)


def rates(lr: Any, epochs: int) -> str | float | list[float]:
    """A learning rate as a run keeps it: "auto", a number, or one number for each epoch."""
    if isinstance(lr, str):
        if lr == "auto":
            return lr
        schedule = f"Pass schedule={lr!r}." if lr in SCHEDULES else other_names.SCHEDULES.get(lr.lower(), "")
        check.real(lr, "lr", hint=f"{schedule} {_LR_HINT}".lstrip())
    if callable(lr):
        lr = [lr(epoch) for epoch in range(max(epochs, 1))]
    if is_list(lr):
        if len(lr) != max(epochs, 1):
            raise ValueError(
                f"lr holds {len(lr)} rates for {epochs} epochs; expected one rate per epoch. {_LR_HINT}"
            )
        return [check.real(rate, f"lr of epoch {e}", positive=True, hint=_LR_HINT) for e, rate in enumerate(lr)]
    return check.real(lr, "lr", positive=True, hint=_LR_HINT)
