"""The errors that numbasgd raises besides ``ValueError`` and ``TypeError``, and its one warning."""

from __future__ import annotations

from functools import partial
from typing import Any


class NumbaSGDError(Exception):
    """Base of every error that is numbasgd's own."""


class CacheWarning(RuntimeWarning):
    """Compiled code is not kept between processes where it was to be kept; the message says why."""


class DataError(NumbaSGDError, OSError):
    """A data file cannot be had, or is not the file that it should be."""


class DeviceError(NumbaSGDError, RuntimeError):
    """The device that was asked for cannot be used; the message gives the true reason."""


class ResultFileError(NumbaSGDError, ValueError):
    """A benchmark result file cannot be read, or holds nothing that can be compared."""


class WrongResultError(NumbaSGDError, ArithmeticError):
    """A kernel's result is not what it should have computed."""


class FitFileError(NumbaSGDError, OSError):
    """The file of a fit, or a checkpoint, cannot be read or written, or is not such a file."""


class DivergenceError(NumbaSGDError, ArithmeticError):
    """Training left the finite numbers, or its loss passed 10^6 times the first one.

    Attributes
    ----------
    epoch : float
        Passes over the data that were made when it was noticed.
    w : ndarray, shape (d,)
        The best weights seen so far, in the user's own units.
    b : float
        The intercept that goes with them.
    loss : float
        Their loss, the mean over the training rows.
    suggested_lr : float
        A learning rate that is stable for this data and batch size.
    """

    def __init__(
        self, message: str, *, epoch: float, w: Any, b: float, loss: float, suggested_lr: float
    ) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.w = w
        self.b = b
        self.loss = loss
        self.suggested_lr = suggested_lr

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is made anew from its ``args``, which hold the message alone.
        names = ("epoch", "w", "b", "loss", "suggested_lr")
        return partial(type(self), *self.args, **{n: getattr(self, n) for n in names}), (), vars(self)
