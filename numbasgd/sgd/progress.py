"""A progress line on a terminal, for work that takes longer than a moment."""

from __future__ import annotations

import sys
import time

_QUIET_SECONDS = 1.0
_BETWEEN_SECONDS = 0.2


class Progress:
    """Shows how far training is; ``wanted`` None means: on a terminal, once a second has passed."""

    def __init__(self, wanted: bool | None, epochs: int) -> None:
        self._epochs = epochs
        self._is_on = wanted if wanted is not None else bool(sys.stderr and sys.stderr.isatty())
        self._next = time.monotonic() + (0.0 if wanted else _QUIET_SECONDS)
        self._shown = 0

    def show(self, epoch: float, loss: float | None) -> None:
        """Draw the line anew, not more often than the eye can follow."""
        if not self._is_on or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _BETWEEN_SECONDS
        line = f"epoch {epoch:.1f} of {self._epochs}" + ("" if loss is None else f"  loss {loss:.6g}")
        print("\r" + line.ljust(self._shown), end="", file=sys.stderr, flush=True)
        self._shown = len(line)

    def end(self) -> None:
        """Leave the terminal as it was found."""
        if self._shown:
            print("\r" + " " * self._shown + "\r", end="", file=sys.stderr, flush=True)
            self._shown = 0
