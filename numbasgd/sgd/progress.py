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


def _held_out(evaluation: Evaluation | None) -> str:
    """The loss of the held-out rows, where there are any."""
    if evaluation is None or math.isnan(evaluation.validation):
        return ""
    return f"  validation {evaluation.validation:.6g}"


class Progress:
    """Shows how far training is; ``wanted`` None means: on a terminal, once a second has passed."""

    def __init__(self, wanted: bool | None, epochs: int, n: int, *, is_verbose: bool = False) -> None:
        self._epochs = epochs
        self._n = n
        self._is_verbose = is_verbose
        self._is_on = wanted if wanted is not None else bool(sys.stderr and sys.stderr.isatty())
        self._next = time.monotonic() + (0.0 if wanted else _QUIET_SECONDS)
        self._shown = 0

    def show(self, samples: int, evaluation: Evaluation | None) -> None:
        """Draw the line anew, not more often than the eye can follow; ``verbose``: a line per evaluation."""
        if not (self._is_verbose or self._is_on):
            return
        epoch = samples / self._n
        loss = None if evaluation is None else evaluation.loss
        if self._is_verbose and loss is not None:
            print(f"epoch {epoch:g}  loss {loss:.6g}{_held_out(evaluation)}", file=sys.stderr)
            return
        if not self._is_on or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _BETWEEN_SECONDS
        line = f"epoch {epoch:.1f} of {self._epochs}" + (
            "" if loss is None else f"  loss {loss:.6g}{_held_out(evaluation)}"
        )
        print("\r" + line.ljust(self._shown), end="", file=sys.stderr, flush=True)
        self._shown = len(line)

    def end(self) -> None:
        """Leave the terminal as it was found."""
        if self._shown:
            print("\r" + " " * self._shown + "\r", end="", file=sys.stderr, flush=True)
            self._shown = 0
