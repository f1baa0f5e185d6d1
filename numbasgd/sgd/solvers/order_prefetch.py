"""The order of rows in windows: some thousand positions of an epoch, drawn together.

Where rows are far (beyond the caches) and a second thread is free, that thread draws the windows that come
next, and collects their targets, while steps are made on the present one: to draw them takes a good part of the
time of such steps, and a target is alone on its cache line.  A window that is not ready is drawn by whoever
needs it, so nobody is waited for long, and steps are the same whoever drew their rows.

Shapes and roles besides those of ``epoch.py``:
window : (1 or 1 + SLOTS, length + tail) rows of some positions in their order, and behind them some that follow
in the epoch, which are asked for meanwhile; the first is the caller's own, the rest another thread's.  Of
length 0 when rows are taken as they lie, as for steps over all rows, which are the same in any order.
targets : as many y, and behind them s, of the rows of those windows of another thread; else of length 0.
drawn : (5,) epoch, first position, and the one behind the last, of the window at hand; its row of ``window``;
the position behind the last whose row is known.
job : what is told to ``next_window`` and to the other thread, in 64-bit words; of length 0 for up to ``WINDOW``
rows, and for rows as they lie.

The other thread numbers its windows from where it was asked to begin, and so does the caller, who takes each
once: both go on where a window ends, and with the next epoch behind the last.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import types

from numbasgd import rawmem, threads
from numbasgd.compile.options import jit
from numbasgd.sgd.order import SAMPLINGS, WINDOW, draw_for
from numbasgd.sgd.rows import SOON, aligned_zeros
from numbasgd.simd.vector import pointer_to, prefetch, prefetch_near

SLOTS = 4  # windows of another thread: the one that steps are made on, and those that lie ready
ROW_BYTES = 256  # longer rows take so much longer than their targets that a second thread would mostly wait
_AHEAD = 64  # targets that are asked for ahead
_PATIENCE = 500  # rounds of waiting for a window that may be nearly ready, before it is drawn here
_LEAST = 4  # windows in a call from which on another thread is asked

# Words of a job, as byte offsets; what different threads write lies on different cache lines.
_AT = 0  # the number of the window that steps are made on
_QUIT = 8
_READY = 64  # + 8 * slot: the number of the window there
NEXT = 128  # address of ``next_window``; without another thread the addresses in the next line are 0
_ASK, _HELP, DISMISS = 136, 144, 152  # of ``ask``, ``draw_ahead`` and ``dismiss``
_END, _EPOCH, _FIRST = 160, 168, 176  # where ``draw_ahead`` stops and begins, as ``ask`` says
_N, LENGTH, _TAIL, _SEED = 184, 192, 200, 264
_DRAW, _IS_NEW = 208, 216  # address of what draws an order; 0 where all epochs have the same, else 1
_WINDOW, _TARGETS, _DRAWN, _Y, _S = 224, 232, 240, 248, 256  # addresses; _S: 0 without weights
_WORDS = 40
_NO_JOB = np.empty(0, np.int64)


@jit(forceinline=True)
def _draw(job, place, first, count, epoch):
    """The order of the positions first, first + 1, ... at ``place``."""
    drawn_for = epoch * rawmem.read(job + _IS_NEW)
    rawmem.call(
        rawmem.read(job + _DRAW),
        (place, count, rawmem.read(job + _N), rawmem.read(job + _SEED), drawn_for, first),
    )


@functools.cache
def make_draw_ahead(rows_dtype: str, dtype: str) -> Any:
    """``draw_ahead`` for rows and targets of these dtypes."""
    row, target = getattr(np, rows_dtype)(0), getattr(np, dtype)(0)
    ROW, TARGET = row.itemsize, target.itemsize

    @jit(variant=f"{rows_dtype}_{dtype}", forceinline=True)
    def collect(place, order, count, values):
        """The values of some rows, in their order; each is a random access to memory."""
        rows, collected, given = pointer_to(order, row), pointer_to(place, target), pointer_to(values, target)
        for t in range(count):
            prefetch_near(given, rows[min(t + _AHEAD, count - 1)])
            prefetch(given, rows[min(t + SOON, count - 1)])
            collected[t] = given[rows[t]]

    @jit(variant=f"{rows_dtype}_{dtype}")
    def draw_ahead(job, unit, work):
        """Draw windows, a few ahead of the one that steps are made on, as the job says."""
        n, length, tail = rawmem.read(job + _N), rawmem.read(job + LENGTH), rawmem.read(job + _TAIL)
        y, s, end = rawmem.read(job + _Y), rawmem.read(job + _S), rawmem.read(job + _END)
        epoch, first = rawmem.read(job + _EPOCH), rawmem.read(job + _FIRST)
        number = 1
        while rawmem.read(job + _QUIT) == 0 and epoch * n + first < end:
            at = rawmem.read(job + _AT)
            if number >= at + SLOTS:
                rawmem.pause()
                continue
            count = min(length, n - first)
            if number > at:  # else it came too late
                slot = number % SLOTS
                order = rawmem.read(job + _WINDOW) + (1 + slot) * (length + tail) * ROW
                room = rawmem.read(job + _TARGETS) + (1 + slot) * length * TARGET * (2 if s else 1)
                _draw(job, order, first, min(length + tail, n - first), epoch)
                if rawmem.read(job + _QUIT) != 0:
                    return 0
                collect(room, order, count, y)
                if s:
                    collect(room + length * TARGET, order, count, s)
                rawmem.write(job + _READY + 8 * slot, number)
            number += 1
            first += count
            if first == n:
                epoch, first = epoch + 1, 0
        return 0

    draw_ahead.compile((types.intp,) * 3)
    return draw_ahead


@functools.cache
def make_next_window() -> Any:
    """``next_window``, compiled."""

    @jit
    def next_window(job, epoch, start, end, number):
        """Have ``drawn`` say where the rows from position ``start`` of an epoch on are, up to a window of them.

        end : samples up to which steps are made, over all epochs.  number : the window that another thread was
        to draw for now, 0 without one; returns that of the next.
        """
        n, length = rawmem.read(job + _N), rawmem.read(job + LENGTH)
        drawn = rawmem.read(job + _DRAWN)
        first = start if length < n else 0
        stop = min(n, first + length)
        known = min(n, stop + rawmem.read(job + _TAIL))
        slot = 0
        if number > 0:
            ready = job + _READY + 8 * (number % SLOTS)
            rawmem.write(job + _AT, number)
            is_alive = number == 1 or rawmem.read(drawn + 24) > 0  # the window before was its work
            for _ in range(_PATIENCE if is_alive else 1):
                if rawmem.read(ready) == number:
                    slot = 1 + number % SLOTS
                    break
                rawmem.pause()
            number += 1
        if slot == 0:
            _draw(job, rawmem.read(job + _WINDOW), first, known - first, epoch)
            ask = rawmem.read(job + _ASK)
            if number == 0 and ask != 0 and end - (epoch * n + start) > _LEAST * length:
                is_last = stop == n
                number = rawmem.call(ask, (job, epoch + 1 if is_last else epoch, 0 if is_last else stop, end))
        rawmem.put(drawn, epoch)
        rawmem.put(drawn + 8, first)
        rawmem.put(drawn + 16, stop)
        rawmem.put(drawn + 24, slot)
        rawmem.put(drawn + 32, known)
        return number

    next_window.compile((types.intp,) * 5)
    return next_window


@functools.cache
def make_help() -> tuple[Any, Any]:
    """``ask`` and ``dismiss``, compiled."""

    @jit
    def ask(job, epoch, first, end):
        """Have another thread draw the windows from a position on; 1, or 0 if there is none to be had."""
        rawmem.put(job + _AT, 0)
        rawmem.put(job + _QUIT, 0)
        for slot in range(SLOTS):
            rawmem.put(job + _READY + 8 * slot, 0)
        rawmem.put(job + _EPOCH, epoch)
        rawmem.put(job + _FIRST, first)
        rawmem.put(job + _END, end)
        return threads.begin_beside(rawmem.read(job + _HELP), job)

    @jit
    def dismiss(job):
        """Send it away."""
        rawmem.write(job + _QUIT, 1)
        threads.end_beside()
        return 0

    ask.compile((types.intp,) * 4)
    dismiss.compile((types.intp,))
    return ask, dismiss


class Windows:
    """The windows of one run: what its kernels are told of the order of rows.

    tail : rows behind a window that are known with it, as many as memory is asked for ahead.
    may_help : whether another thread may draw, once the run turns out to be long (``get_help``).
    """

    def __init__(
        self, n: int, length: int, tail: int, rows_dtype: np.dtype, y: np.ndarray, s: np.ndarray, may_help: bool
    ) -> None:
        self.n, self.length, self.y, self.s, self.may_help = n, length, y, s, may_help
        self.rows = np.empty((1, length + (tail if 0 < length < n else 0)), rows_dtype)
        self.targets = np.empty((1, 0), y.dtype)
        self.drawn = np.array([-1, 0, 0, 0, 0])
        self.job = aligned_zeros((_WORDS,), np.dtype(np.int64)) if length > 0 and n > WINDOW else _NO_JOB

    def forget(self) -> None:
        """As if nothing had been drawn."""
        self.drawn[:] = -1, 0, 0, 0, 0

    def get_help(self) -> None:
        """Have another thread draw from the next call of ``advance`` on, whose arguments change."""
        self.may_help = False
        threads.prepare(1)
        make_draw_ahead(self.rows.dtype.name, self.y.dtype.name)
        make_help()
        self.targets = np.empty((1 + SLOTS, self.length * (1 + (self.s.size > 0))), self.y.dtype)
        self.rows = np.concatenate([self.rows, np.empty((SLOTS, self.rows.shape[1]), self.rows.dtype)])

    def told(self, sampling: str, seed: int) -> tuple[Any, ...]:
        """The arguments of ``advance`` that say which rows to take, everything compiled that they need."""
        rows, job = self.rows, self.job
        if job.size:
            words = {
                NEXT: rawmem.address_of_compiled(make_next_window()),
                _DRAW: draw_for(rows.dtype, sampling), _IS_NEW: int(sampling != "once"),
                _N: self.n, LENGTH: self.length, _TAIL: rows.shape[1] - self.length, _SEED: seed,
                _WINDOW: rows.ctypes.data,
                _TARGETS: self.targets.ctypes.data, _DRAWN: self.drawn.ctypes.data,
                _Y: self.y.ctypes.data, _S: self.s.ctypes.data if self.s.size else 0,
            }  # fmt: skip
            if len(rows) > 1:
                draw_ahead = make_draw_ahead(rows.dtype.name, self.y.dtype.name)
                for offset, function in zip((_HELP, _ASK, DISMISS), (draw_ahead, *make_help()), strict=True):
                    words[offset] = rawmem.address_of_compiled(function)
            for offset, word in words.items():
                job[offset // 8] = word
        return rows, self.targets, self.drawn, job, SAMPLINGS[sampling], seed
