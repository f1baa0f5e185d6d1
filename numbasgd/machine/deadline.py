"""A limit on the wall time of a measurement, consulted before each piece of it."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter


class Deadline:
    """Wall time that a measurement may take, and what it does at the moment.

    Whatever measures asks ``is_over`` before it begins a piece, and shares ``left`` among the pieces that are
    still to come with ``part``.

    Parameters
    ----------
    seconds : float
        From ``start`` on; infinity for no limit.
    clock : callable, optional
        Gives seconds; ``time.perf_counter`` if left out.
    tell : callable, optional
        Is told in a few words what is measured, each time that something else begins.
    start : float, optional
        By the clock; now if left out.
    """

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] | None = None,
        tell: Callable[[str], None] | None = None,
        start: float | None = None,
    ) -> None:
        self._clock = clock or perf_counter
        self._tell = tell
        self._start = self._clock() if start is None else start
        self._end = self._start + seconds

    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    def left(self) -> float:
        """Seconds that are left, 0 at least."""
        return max(0.0, self._end - self._clock())

    def is_over(self) -> bool:
        """Whether nothing more may begin."""
        return self._clock() >= self._end

    def part(self, share: float) -> Deadline:
        """A deadline after ``share`` of what is left."""
        return Deadline(share * self.left(), self._clock, self._tell)

    def at_most(self, seconds: float) -> Deadline:
        """A deadline after ``seconds``, or this one if that is sooner."""
        return Deadline(min(seconds, self.left()), self._clock, self._tell)

    def tell(self, what: str) -> None:
        """Say what begins now."""
        if self._tell is not None:
            self._tell(what)
