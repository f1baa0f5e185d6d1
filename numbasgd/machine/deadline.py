"""A limit on the wall time of a measurement, consulted before each piece of it."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, thread_time

_LONG_ENOUGH = 0.1  # seconds after which the share of a core that a thread got is known


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
        self._since = self._clock(), thread_time()

    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    def left(self) -> float:
        """Seconds that are left, 0 at least."""
        return max(0.0, self._end - self._clock())

    def work_left(self) -> float:
        """Seconds of a core that this thread may still get, where other programs go on taking their part.

        A call of a millisecond may run between two of their turns and show nothing of them; a longer one, or
        many of them, cannot.
        """
        clock, work = self._since
        passed = self._clock() - clock
        share = min(1.0, (thread_time() - work) / passed) if passed > _LONG_ENOUGH else 1.0
        return share * self.left()

    def is_over(self) -> bool:
        """Whether nothing more may begin."""
        return self._clock() >= self._end

    def part(self, share: float) -> Deadline:
        """A deadline after ``share`` of what is left."""
        return self.at_most(share * self.left())

    def at_most(self, seconds: float) -> Deadline:
        """A deadline after ``seconds``, or this one if that is sooner."""
        sooner = Deadline(min(seconds, self.left()), self._clock, self._tell)
        sooner._since = self._since
        return sooner

    def tell(self, what: str) -> None:
        """Say what begins now."""
        if self._tell is not None:
            self._tell(what)
