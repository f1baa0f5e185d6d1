"""A progress line on a terminal, for work that takes longer than a evaluation."""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numbasgd.sgd.history import Evaluation

_QUIET_SECONDS = 1.0
_BETWEEN_SECONDS = 0.2


def _losses(evaluation: Evaluation | None) -> str:
    """The loss, and that of the held-out rows, where there are any."""
    if evaluation is None:
        return ""
    held_out = evaluation.validation
    return f"  loss {evaluation.loss:.6g}" + ("" if math.isnan(held_out) else f"  validation {held_out:.6g}")


def _duration(seconds: float) -> str:
    """Seconds, or minutes and hours where there are many."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class Progress:
    """Shows how far training is; ``wanted`` None means: on a terminal, once a second has passed."""

    def __init__(self, wanted: bool | None, epochs: int, n: int, *, is_verbose: bool = False) -> None:
        self._epochs = epochs
        self._n = n
        self._is_verbose = is_verbose
        self._is_on = wanted
        self._next = time.monotonic() + (0.0 if wanted else _QUIET_SECONDS)
        self._shown = 0
        self._begin: tuple[float, int] | None = None  # time and samples of the first look, after compiling

    def show(self, samples: int, evaluation: Evaluation | None) -> None:
        """Draw the line anew, not more often than the eye can follow; ``verbose``: a line per evaluation."""
        if self._begin is None:
            self._begin = time.monotonic(), samples
        is_told = self._is_verbose and evaluation is not None
        if not (is_told or self._is_due()):
            return
        epoch = samples / self._n
        if is_told:
            print(f"epoch {epoch:g}{_losses(evaluation)}", file=sys.stderr)
            return
        self._next = time.monotonic() + _BETWEEN_SECONDS
        line = f"epoch {epoch:.1f} of {self._epochs}{self._speed(samples)}{_losses(evaluation)}"
        print("\r" + line.ljust(self._shown), end="", file=sys.stderr, flush=True)
        self._shown = len(line)

    def _speed(self, samples: int) -> str:
        """Rows a second since the first look, and the seconds that are left; a run may stop before."""
        begin, first = self._begin or (0.0, samples)
        seconds = time.monotonic() - begin
        if samples <= first or seconds <= 0:
            return ""
        rate = (samples - first) / seconds
        left = max(0.0, self._epochs * self._n - samples) / rate
        told = f"{rate:.0f}" if rate < 1e4 else f"{rate / 1e6:.3g} million"
        return f", {told} rows/s, at most {_duration(left)} left"

    def _is_due(self) -> bool:
        """Whether to draw the line now; whether there is a terminal matters to runs that last."""
        if self._is_on is False or time.monotonic() < self._next:
            return False
        if self._is_on is None:
            self._is_on = bool(sys.stderr and sys.stderr.isatty())
        return self._is_on

    def end(self) -> None:
        """Leave the terminal as it was found."""
        if self._shown:
            print("\r" + " " * self._shown + "\r", end="", file=sys.stderr, flush=True)
            self._shown = 0
