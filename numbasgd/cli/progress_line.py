"""A line on the terminal that says what is measured at the moment."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from time import perf_counter


class ProgressLine(AbstractContextManager["ProgressLine"]):
    """What is measured, and the seconds since the start; on a terminal alone, and gone at the end.

    ``tell`` is what a ``numbasgd.machine.deadline.Deadline`` calls.  most : seconds that all may take.
    start : when they began, by ``perf_counter``.
    """

    def __init__(self, most: float, start: float) -> None:
        self._start = start
        self._most = most
        self._is_on = bool(sys.stderr and sys.stderr.isatty())
        self._shown = 0

    def tell(self, what: str) -> None:
        """Show ``what``."""
        if self._is_on:
            line = f"{perf_counter() - self._start:3.0f} s of at most {self._most:.0f}: {what}"
            print("\r" + line.ljust(self._shown), end="", file=sys.stderr, flush=True)
            self._shown = len(line)

    def __exit__(self, *_: object) -> None:
        if self._shown:
            print("\r" + " " * self._shown + "\r", end="", file=sys.stderr, flush=True)
            self._shown = 0
