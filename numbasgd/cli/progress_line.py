"""Lines on the terminal that say what is going on at the moment."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from time import perf_counter

_QUIET_SECONDS = 1.0
_BETWEEN_SECONDS = 0.2


class _Line(AbstractContextManager["_Line"]):
    """A line on standard error that is drawn anew; on a terminal alone, and gone at the end."""

    def __init__(self) -> None:
        self.is_on = bool(sys.stderr and sys.stderr.isatty())
        self._shown = 0

    def draw(self, line: str) -> None:
        """Show ``line`` in the place of the one before."""
        print("\r" + line.ljust(self._shown), end="", file=sys.stderr, flush=True)
        self._shown = len(line)

    def __exit__(self, *_: object) -> None:
        if self._shown:
            print("\r" + " " * self._shown + "\r", end="", file=sys.stderr, flush=True)
            self._shown = 0


class ProgressLine(_Line):
    """What is measured, and the seconds since the start.

    ``tell`` is what a ``numbasgd.machine.deadline.Deadline`` calls.  most : seconds that all may take.
    start : when they began, by ``perf_counter``.
    """

    def __init__(self, most: float, start: float) -> None:
        super().__init__()
        self._start = start
        self._most = most

    def __enter__(self) -> ProgressLine:
        return self

    def tell(self, what: str) -> None:
        """Show ``what``."""
        if self.is_on:
            self.draw(f"{perf_counter() - self._start:3.0f} s of at most {self._most:.0f}: {what}")


class ReadingLine(_Line):
    """How far a file was read, how fast, and the seconds that are left; once a second has passed."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self._file = file
        self._start = perf_counter()
        self._next = self._start + _QUIET_SECONDS

    def __enter__(self) -> ReadingLine:
        return self

    def tell(self, done: int, total: int, unit: str) -> None:
        """Show that ``done`` of ``total`` "bytes", "rows" or "files" were read."""
        now = perf_counter()
        if not self.is_on or now < self._next or not done:
            return
        from numbasgd.json_values import printable

        self._next = now + _BETWEEN_SECONDS
        rate = done / (now - self._start)
        told = f"{rate / 1e6:.3g} MB/s" if unit == "bytes" else f"{rate:,.3g} {unit}/s"
        share = f"{100 * done / total:.0f} %" if total else f"{done} {unit}"
        left = f", {(total - done) / rate:.0f} s left" if total else ""
        self.draw(f"reading {printable(self._file)[-40:]}: {share}, {told}{left}")
