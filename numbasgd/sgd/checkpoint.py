"""Checkpoints: when a run is written to its file, and what happens when that fails."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from numbasgd import check
from numbasgd.errors import FitFileError
from numbasgd.sgd import fit_io

if TYPE_CHECKING:
    from numbasgd.sgd.fit import Fit

SECONDS = 30.0  # between two checkpoints, when nobody said


class Checkpoint:
    """Writes a run to a file, every so many steps or seconds, between two steps.

    A failing write does not end the run: it is warned of once, tried again when the next one is due, and
    warned of again if the last one, at the end, fails as well.
    """

    def __init__(self, path: Any, every: Any, n: int, batch_size: int) -> None:
        self.path = fit_io.path_of(path, "checkpoint")
        fit_io.require_place(self.path, "checkpoint")
        hint = "Pass a whole number of steps, for example 1000, or seconds as a float, for example 30.0."
        self.steps: int | None = None
        self.seconds = SECONDS
        if isinstance(every, float | np.floating):
            self.seconds = check.real(every, "checkpoint_every", positive=True, hint=hint)
        elif every is not None:
            self.steps = check.integer(every, "checkpoint_every", low=1, hint=hint)
        self.n, self.batch_size = n, batch_size
        self.make: Callable[[], Fit] | None = None  # the run as it is, set when there is one
        self._saved_at = time.monotonic()
        self._is_warned = False

    def _steps_done(self, samples: int) -> int:
        epoch, position = divmod(samples, self.n)
        return epoch * -(-self.n // self.batch_size) + -(-position // self.batch_size)

    def next(self, samples: int) -> int | None:
        """The samples at which the next one is due; None when the clock decides."""
        if self.steps is None:
            return None
        step = (self._steps_done(samples) // self.steps + 1) * self.steps
        epoch, in_epoch = divmod(step, -(-self.n // self.batch_size))
        return epoch * self.n + in_epoch * self.batch_size

    def at(self, samples: int) -> None:
        """Write one if it is due."""
        if self.steps is None:
            is_due = time.monotonic() - self._saved_at >= self.seconds
        else:
            is_due = samples > 0 and self._steps_done(samples) % self.steps == 0
        if not is_due or self.make is None:
            return
        try:
            self.save(self.make())
        except FitFileError as error:
            if not self._is_warned:
                self._is_warned = True
                warnings.warn(f"{error} Training goes on, and tries again.", stacklevel=6)
        self._saved_at = time.monotonic()

    def save(self, fit: Fit, *, is_durable: bool = True) -> None:
        """Write it now; raises ``FitFileError``."""
        fit_io.write(vars(fit), self.path, name="checkpoint", is_durable=is_durable)

    def save_last(self, fit: Fit) -> None:
        """Write the result; a failure is a warning, since the caller gets the result anyway."""
        try:
            self.save(fit)
        except FitFileError as error:
            warnings.warn(f"{error} The run is complete and only its checkpoint is missing.", stacklevel=5)
