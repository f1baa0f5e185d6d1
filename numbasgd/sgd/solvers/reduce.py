"""Sums over many rows, made in parts by one thread or several: the same bits for any number of them.

Where parts begin follows from the shape of the data alone.  Each leaves its sum in a place of its own, and
these are added up in their order, in float64, once all parts of a round are done.  So it does not matter who
made which part; ``numbasgd.threads`` says how parts are handed out.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import types

from numbasgd import rawmem, threads
from numbasgd.compile.options import jit
from numbasgd.sgd.rows import CHUNK, LINE, Rows, gather, gathered_size
from numbasgd.sgd.solvers.epoch import kernels, padded
from numbasgd.sgd.solvers.operands import Order, Samples, Scratch
from numbasgd.simd.vector import pointer_to

ENTRIES = 1 << 18  # of X in a part, a row counts for 8 more: some ten microseconds
LEAST = 64  # rows of a part at least, so that adding up the parts takes no time
ROUND = 256  # parts whose sums are kept before they are added up
WORTH_SHARING = 1 << 20  # entries below which starting together costs more than it gains
_BLOCK = 256  # bytes of the description of a job


def part_rows(d: int) -> int:
    """Rows of a part, whole chunks where there is a choice."""
    rows = max(LEAST, ENTRIES // (d + 8))
    return rows if rows < CHUNK else rows // CHUNK * CHUNK


def is_one(n: int, d: int) -> bool:
    """Whether so many rows are not worth cutting into parts."""
    return n * (d + 8) < WORTH_SHARING or n <= part_rows(d)


def workers(asked: int | None, n: int, d: int) -> int:
    """The threads for ``n`` rows: what was asked for, else as many as pay."""
    if asked is None:
        return threads.default() if n * (d + 8) >= WORTH_SHARING else 1
    return asked


@jit
def _take_room(rooms, size):
    """The address of a room that no other thread uses; there is one for each that may ask."""
    while True:
        for i in range(threads.MAX_THREADS):
            room = rooms + i * size
            owner = rawmem.read(room)
            if owner < 0:  # behind the last
                break
            if owner == 0 and rawmem.swap(room, 1) == 0:
                return room
        rawmem.pause()


def make_units(made: SimpleNamespace, index: np.dtype) -> SimpleNamespace:
    """``add`` and ``value``: one part of the gradient or of the loss, unit of the job described at ``block``.

    made : what ``cpu.kernels`` gave.  index : the dtype of positions.
    """
    key = made.variant, index.name
    if key not in _units:
        _units[key] = _make_units(made, index)
    return _units[key]


_units: dict[tuple[str, str], SimpleNamespace] = {}


def _make_units(made: SimpleNamespace, index: np.dtype) -> SimpleNamespace:
    T, INDEX = made.dtype.type(0), index.type(0)
    sum_rows, dot, lanes, value_of = made.sums.sum_rows, made.sums.dot, made.lanes, made.value
    is_weighted, is_gathered = made.is_weighted, made.is_gathered
    variant = f"{made.variant}_{index.name}"

    @jit(variant=variant)
    def add(block, number, work):
        """(g, gb) at out + number * stride := sums of slope_i * x_i and of slope_i over part ``number``."""
        X, y, s = (
            pointer_to(rawmem.read(block), T),
            pointer_to(rawmem.read(block + 8), T),
            pointer_to(rawmem.read(block + 16), T),
        )
        w, rows = pointer_to(rawmem.read(block + 24), T), pointer_to(rawmem.read(block + 32), INDEX)
        d, base = rawmem.read(block + 40), rawmem.read(block + 48)
        si, sj = rawmem.read(block + 56), rawmem.read(block + 64)
        n_rows, start, stop = rawmem.read(block + 72), rawmem.read(block + 80), rawmem.read(block + 88)
        count, ahead = rawmem.read(block + 96), rawmem.read(block + 104)
        g = pointer_to(rawmem.read(block + 112) + number * rawmem.read(block + 120), T)
        room = _take_room(rawmem.read(block + 128), rawmem.read(block + 136))
        size = max(1, (d + lanes - 1) // lanes) * lanes
        start += number * count
        g[size] = sum_rows(
            Samples(X, d, base, si, sj, y, s, False), Order(rows, n_rows, ahead), start,
            min(start + count, stop), w, w[size],
            Scratch(g, pointer_to(room + LINE, 0.0), pointer_to(room + LINE + 8 * size, T)),
        )  # fmt: skip
        rawmem.write(room, 0)
        return 0

    @jit(variant=variant)
    def value(block, number, work):
        """The number at out + number * stride := sum of the losses of part ``number``, rows as they lie."""
        X, y, s = (
            pointer_to(rawmem.read(block), T),
            pointer_to(rawmem.read(block + 8), T),
            pointer_to(rawmem.read(block + 16), T),
        )
        w, rows = pointer_to(rawmem.read(block + 24), T), pointer_to(rawmem.read(block + 32), INDEX)
        d, base = rawmem.read(block + 40), rawmem.read(block + 48)
        si, sj = rawmem.read(block + 56), rawmem.read(block + 64)
        start, stop, count = rawmem.read(block + 80), rawmem.read(block + 88), rawmem.read(block + 96)
        room = _take_room(rawmem.read(block + 128), rawmem.read(block + 136))
        size = max(1, (d + lanes - 1) // lanes) * lanes
        own = pointer_to(room + LINE + 8 * size, T)
        samples, order = Samples(X, d, base, si, sj, y, s, False), Order(rows, 0, 0)
        b = w[size]
        start += number * count
        acc = 0.0
        for c in range(start, min(start + count, stop), CHUNK):
            e = min(c + CHUNK, start + count, stop)
            if is_gathered:
                gather(samples, order, c, e, is_weighted, own)
            for i in range(c, e):
                z = dot(own, (i - c) * d, d, w) if is_gathered else dot(X, i * si, d, w)
                v = value_of(np.float64(z + b), np.float64(y[i]))
                acc += v * s[i] if is_weighted else v
        pointer_to(rawmem.read(block + 112) + number * rawmem.read(block + 120), 0.0)[0] = acc
        rawmem.write(room, 0)
        return 0

    return SimpleNamespace(add=add, value=value)


@jit
def run_parts(function, block, X, y, s, w, w_size, rows, start, stop, ahead, stride, threads_, n_kept, like, g):
    """g += the sums over the parts of the positions start <= t < stop of ``rows``, in their order.

    function : the address of a unit.  block : the description of the job, filled but for what is passed here.
    w is copied to where the block says, since a register that two cache lines hold takes twice as long to load.
    stride : bytes from a sum to the next; n_kept : sums that there is room for.  like : a number as they are.
    """
    block[0], block[1], block[2] = X.ctypes.data, y.ctypes.data, s.ctypes.data
    block[4] = rows.ctypes.data
    own = pointer_to(block[3], w.dtype.type(0))
    for j in range(w_size):
        own[j] = w[j]
    block[9], block[11], block[13], block[15] = rows.shape[0], stop, ahead, stride
    count, out = block[12], block[14]
    parts = (stop - start + count - 1) // count
    for first in range(0, parts, n_kept):
        units = min(n_kept, parts - first)
        block[10] = start + first * count
        threads.run(function, np.int64(block.ctypes.data), units, threads_, 1, 0)
        for p in range(units):
            part = pointer_to(out + p * stride, like)
            for j in range(g.shape[0]):
                g[j] += part[j]


class Parts:
    """Sums of one loss over the rows of one problem, by at most ``n_threads`` threads."""

    def __init__(
        self, loss: str, rows: Rows, y: np.ndarray, s: np.ndarray, index: np.dtype, n_threads: int
    ) -> None:
        self.arrays, self.n_threads, self.zero = (rows.memory, y, s), n_threads, y.dtype.type(0)
        self.in_order = np.empty(0, index)
        made = kernels(loss, rows.d, y.dtype, s.size > 0, rows.is_gathered)
        self.units = make_units(made, index)
        self.size = padded(rows.d, made.lanes)
        self.stride = _lines((self.size + 1) * y.itemsize)
        count = part_rows(rows.d)
        self.n_kept = min(ROUND, max(1, -(-rows.n // count)))
        threads.prepare(min(n_threads, self.n_kept) - 1)
        room = _lines(LINE + 8 * self.size + gathered_size(rows.d, rows.is_gathered) * y.itemsize)
        # The description, the weights, a room for each thread, and the sums, from a cache line on.
        rooms = _BLOCK + self.stride
        sums = rooms + n_threads * room + LINE
        memory = np.zeros((sums + self.n_kept * self.stride + LINE) // 8, np.int64)
        at = memory.ctypes.data
        self.block = memory[-at % LINE // 8 :]
        at += -at % LINE
        self.block[5:9] = rows.d, rows.base, rows.si, rows.sj
        self.block[12] = count
        self.block[14] = at + sums
        self.block[3] = at + _BLOCK
        self.block[16], self.block[17] = at + rooms, room
        self.block[(sums - LINE) // 8] = -1  # behind the last room

    def add(self, w: np.ndarray, order: np.ndarray, start: int, stop: int, ahead: int, g: np.ndarray) -> None:
        """g += (sum of slope_i * x_i, sum of slope_i) over positions start <= t < stop of ``order``.

        w : padded weights and the intercept behind them.  g : float64, at least as long.
        """
        run_parts(
            _address(self.units.add), self.block, *self.arrays, w, self.size + 1, order, start, stop, ahead,
            self.stride, self.n_threads, self.n_kept, self.zero, g[: self.size + 1],
        )  # fmt: skip

    def loss(self, w: np.ndarray, start: int, stop: int) -> float:
        """The sum of the losses of the rows start <= i < stop."""
        total = np.zeros(1)
        run_parts(
            _address(self.units.value), self.block, *self.arrays, w, self.size + 1, self.in_order, start, stop,
            0, LINE, self.n_threads, self.n_kept, 0.0, total,
        )  # fmt: skip
        return float(total[0])


@functools.cache
def _address(unit: Any) -> int:
    """The address of a unit, compiled now if it never was."""
    unit.compile((types.intp,) * 3)
    return rawmem.address_of_compiled(unit)


def _lines(n_bytes: int) -> int:
    """Bytes of whole cache lines."""
    return -(-n_bytes // LINE) * LINE
