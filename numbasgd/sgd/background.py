"""One call at a time in another thread: the next rows are read while steps are made on the present ones."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Pending(Generic[T]):
    """A call that runs in a thread of its own.

    A child that is forked meanwhile has no such thread, and where none can be started there is none either:
    ``result`` then makes the call itself.  So calls must be such that they can be made once more.
    """

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._found: list[T] = []
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin in another thread, if there is one to be had."""
        self._thread = threading.Thread(target=self._run, name="numbasgd reader")
        with contextlib.suppress(RuntimeError):  # no more threads, or the interpreter is about to end
            self._thread.start()

    def _run(self) -> None:
        try:
            self._found.append(self._call())
        except BaseException as error:
            self._error = error

    def wait(self) -> None:
        """Until no thread is at it any more."""
        if self._thread is not None:
            with contextlib.suppress(RuntimeError):  # it never began
                self._thread.join()

    def result(self) -> T:
        """What the call returns, or raises."""
        self.wait()
        if self._error is not None:
            raise self._error
        return self._found[0] if self._found else self._call()


class Background:
    """At most one ``Pending`` at a time: a source of rows is read by one thread at a time."""

    def __init__(self) -> None:
        self._pending: Pending | None = None

    def begin(self, call: Callable[[], T], is_worth_it: bool = True) -> Pending[T]:
        """Make a call in another thread, once that before has ended; in this one where it is not worth it."""
        self.wait()
        self._pending = pending = Pending(call)  # known before it runs: an interrupt may come in between
        if is_worth_it:
            pending.start()
        return pending

    def wait(self) -> None:
        """Until no other thread reads."""
        if self._pending is not None:
            self._pending.wait()
            self._pending = None
