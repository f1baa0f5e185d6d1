"""The order of rows in chunks: some thousand positions of an epoch, drawn together.

Rows beyond the caches take long to reach.  A second thread, where one is free, then draws the next chunks and
collects their targets while steps are made on the present one: drawing takes a good part of the time of such
steps, and a target is alone on its cache line.  A chunk that is not ready when it is needed is drawn by the
thread that needs it, so steps are the same whoever drew their rows.

Shapes and roles besides those of ``epoch.py``:
chunks : (1 or 1 + RING, length + tail) rows of some positions in their order, and behind them some that follow
in the epoch, which are prefetched meanwhile.  The first chunk is the caller's own; the others are a ring buffer
that the other thread fills.  Of length 0 for sequential order, which steps over all rows have as well.
targets : (1 or 1 + RING, length) y of the rows in that ring buffer, and behind them s; else of length 0.
drawn : (5,) the chunk at hand: its epoch, first position, the position behind its last, its row of ``chunks``,
and the position behind the last whose row is known.
task : memory that holds a ``DrawTask``, which ``next_chunk`` and the other thread read; of length 0 for up to
``ORDER_CHUNK`` rows, and for sequential order.

The other thread numbers its chunks from the position where it began, and the caller, which takes each once,
numbers them alike: both go on where a chunk ends, and with the next epoch behind the last chunk of one.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import types

from numbasgd import rawmem, threads
from numbasgd.compile.options import jit
from numbasgd.sgd.order import ORDER_CHUNK, SAMPLINGS, draw_for
from numbasgd.sgd.rows import SOON, aligned_zeros
from numbasgd.simd.vector import pointer_to, prefetch, prefetch_near

RING = 4  # chunks in the ring buffer: the one that steps are made on, and those that are ready
ROW_BYTES = 256  # longer rows take so much longer than their targets that a second thread would mostly wait
_AHEAD = 64  # how many targets ahead memory is prefetched
_PATIENCE = 500  # rounds of waiting for a chunk that may be nearly ready, before it is drawn here
_LEAST = 4  # chunks in a call from which on another thread draws


class DrawTask(NamedTuple):
    """The task descriptor of chunks, in 64-bit words; only the first three change while chunks are drawn.

    current : the number of the chunk that steps are made on.  quit : 1 where no more are wanted.
    ready : for each slot the number of the chunk there.
    next, begin, dismiss, draw_ahead : addresses of compiled functions, of which all but ``next`` need another
    thread and are 0 without one.
    epoch, first : the position where ``draw_ahead`` begins.  end : the sample, over all epochs, where it stops.
    n, length, tail : rows of an epoch, of a chunk, and behind it.  seed : of all orders.
    draw : address of what draws an order.  is_new : 0 where all epochs have the same, else 1.
    chunk, targets, drawn, y, s : addresses of the arrays; s is 0 without weights.
    """

    current: rawmem.NewLine
    quit: int
    ready: rawmem.NewLine
    next: rawmem.NewLine
    begin: int
    dismiss: int
    draw_ahead: int
    epoch: int
    first: int
    end: int
    n: int
    length: int
    tail: int
    seed: int
    draw: int
    is_new: int
    chunk: int
    targets: int
    drawn: int
    y: int
    s: int


AT, BYTES = rawmem.offsets(DrawTask, ready=RING)
_NO_TASK = np.empty(0, np.int64)


@jit(forceinline=True)
def _draw(task, place, first, count, epoch):
    """The order of the positions first, first + 1, ... at ``place``."""
    drawn_for = epoch * rawmem.read(task + AT.is_new)
    rawmem.call(
        rawmem.read(task + AT.draw),
        (place, count, rawmem.read(task + AT.n), rawmem.read(task + AT.seed), drawn_for, first),
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
    def draw_ahead(task, number, _):
        """Draw chunks, a few ahead of the one that steps are made on."""
        n, length, tail = rawmem.read(task + AT.n), rawmem.read(task + AT.length), rawmem.read(task + AT.tail)
        y, s, end = rawmem.read(task + AT.y), rawmem.read(task + AT.s), rawmem.read(task + AT.end)
        epoch, first = rawmem.read(task + AT.epoch), rawmem.read(task + AT.first)
        number = 1
        while rawmem.read(task + AT.quit) == 0 and epoch * n + first < end:
            at = rawmem.read(task + AT.current)
            if number >= at + RING:
                rawmem.pause()
                continue
            count = min(length, n - first)
            if number > at:  # else it came too late
                slot = number % RING
                order = rawmem.read(task + AT.chunk) + (1 + slot) * (length + tail) * ROW
                collected = rawmem.read(task + AT.targets) + (1 + slot) * length * TARGET * (2 if s else 1)
                _draw(task, order, first, min(length + tail, n - first), epoch)
                if rawmem.read(task + AT.quit) != 0:
                    return 0
                collect(collected, order, count, y)
                if s:
                    collect(collected + length * TARGET, order, count, s)
                rawmem.write(task + AT.ready + 8 * slot, number)
            number += 1
            first += count
            if first == n:
                epoch, first = epoch + 1, 0
        return 0

    draw_ahead.compile((types.intp,) * 3)
    return draw_ahead


@functools.cache
def make_next_chunk() -> Any:
    """``next_chunk``, compiled."""

    @jit
    def next_chunk(task, epoch, start, end, number):
        """Have ``drawn`` say where the rows from position ``start`` of an epoch on are, up to a chunk of them.

        end : samples up to which steps are made, over all epochs.  number : the chunk that another thread was
        to draw for now, 0 without one; returns that of the next.
        """
        n, length = rawmem.read(task + AT.n), rawmem.read(task + AT.length)
        drawn = rawmem.read(task + AT.drawn)
        first = start if length < n else 0
        stop = min(n, first + length)
        known = min(n, stop + rawmem.read(task + AT.tail))
        slot = 0
        if number > 0:
            ready = task + AT.ready + 8 * (number % RING)
            rawmem.write(task + AT.current, number)
            is_alive = number == 1 or rawmem.read(drawn + 24) > 0  # the chunk before was its work
            for _ in range(_PATIENCE if is_alive else 1):
                if rawmem.read(ready) == number:
                    slot = 1 + number % RING
                    break
                rawmem.pause()
            number += 1
        if slot == 0:
            _draw(task, rawmem.read(task + AT.chunk), first, known - first, epoch)
            begin = rawmem.read(task + AT.begin)
            if number == 0 and begin != 0 and end - (epoch * n + start) > _LEAST * length:
                is_last = stop == n
                number = rawmem.call(
                    begin, (task, epoch + 1 if is_last else epoch, 0 if is_last else stop, end)
                )
        rawmem.put(drawn, epoch)
        rawmem.put(drawn + 8, first)
        rawmem.put(drawn + 16, stop)
        rawmem.put(drawn + 24, slot)
        rawmem.put(drawn + 32, known)
        return number

    next_chunk.compile((types.intp,) * 5)
    return next_chunk


@functools.cache
def make_help() -> tuple[Any, Any]:
    """``begin`` and ``dismiss``, compiled."""

    @jit
    def begin(task, epoch, first, end):
        """Have another thread draw the chunks from a position on; 1, or 0 if there is none to be had."""
        rawmem.put(task + AT.current, 0)
        rawmem.put(task + AT.quit, 0)
        for slot in range(RING):
            rawmem.put(task + AT.ready + 8 * slot, 0)
        rawmem.put(task + AT.epoch, epoch)
        rawmem.put(task + AT.first, first)
        rawmem.put(task + AT.end, end)
        return threads.begin_beside(rawmem.read(task + AT.draw_ahead), task)

    @jit
    def dismiss(task):
        """Send it away."""
        rawmem.write(task + AT.quit, 1)
        threads.end_beside()
        return 0

    begin.compile((types.intp,) * 4)
    dismiss.compile((types.intp,))
    return begin, dismiss


class OrderChunks:
    """The chunks of one run: what its kernels are told of the order of rows.

    tail : rows behind a chunk that are known with it, as many as are prefetched.
    may_help : whether another thread may draw, once the run turns out to be long (``get_help``).
    """

    def __init__(
        self, n: int, length: int, tail: int, rows_dtype: np.dtype, y: np.ndarray, s: np.ndarray, may_help: bool
    ) -> None:
        self.n, self.length, self.y, self.s, self.may_help = n, length, y, s, may_help
        self.rows = np.empty((1, length + (tail if 0 < length < n else 0)), rows_dtype)
        self.targets = np.empty((1, 0), y.dtype)
        self.drawn = np.array([-1, 0, 0, 0, 0])
        self.task = (
            aligned_zeros((BYTES // 8,), np.dtype(np.int64)) if length > 0 and n > ORDER_CHUNK else _NO_TASK
        )

    def forget(self) -> None:
        """As if nothing had been drawn."""
        self.drawn[:] = -1, 0, 0, 0, 0

    def get_help(self) -> None:
        """Have another thread draw from the next call of ``advance`` on, whose arguments change."""
        self.may_help = False
        threads.prepare(1)
        make_draw_ahead(self.rows.dtype.name, self.y.dtype.name)
        make_help()
        self.targets = np.empty((1 + RING, self.length * (1 + (self.s.size > 0))), self.y.dtype)
        self.rows = np.concatenate([self.rows, np.empty((RING, self.rows.shape[1]), self.rows.dtype)])

    def told(self, sampling: str, seed: int) -> tuple[Any, ...]:
        """The arguments of ``advance`` that say which rows to take, everything compiled that they need."""
        rows, task = self.rows, self.task
        if task.size:
            words = {
                "next": rawmem.address_of_compiled(make_next_chunk()),
                "draw": draw_for(rows.dtype, sampling), "is_new": int(sampling != "once"),
                "n": self.n, "length": self.length, "tail": rows.shape[1] - self.length, "seed": seed,
                "chunk": rows.ctypes.data, "targets": self.targets.ctypes.data,
                "drawn": self.drawn.ctypes.data, "y": self.y.ctypes.data,
                "s": self.s.ctypes.data if self.s.size else 0,
            }  # fmt: skip
            if len(rows) > 1:
                draw_ahead = make_draw_ahead(rows.dtype.name, self.y.dtype.name)
                for name, function in zip(
                    ("draw_ahead", "begin", "dismiss"), (draw_ahead, *make_help()), strict=True
                ):
                    words[name] = rawmem.address_of_compiled(function)
            for name, word in words.items():
                task[getattr(AT, name) // 8] = word
        return rows, self.targets, self.drawn, task, SAMPLINGS[sampling], seed
