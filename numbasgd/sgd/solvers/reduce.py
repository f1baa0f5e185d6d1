"""Sums over many rows, made in parts by one thread or several: the same bits for any number of them.

Where parts begin follows from the shape of the data alone.  Each leaves its sum in a place of its own, and
these are added up in their order, in float64, once all parts of a round are done.  So it does not matter who
made which part; ``numbasgd.threads`` says how parts are handed out.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any, NamedTuple

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


class PartTask(NamedTuple):
    """The task descriptor of parts, in 64-bit words; what is not a number is an address.

    X, y, s, rows : as in ``cpu.py``; n_rows is the length of rows.  w : n_weights padded weights, the intercept
    the last of them.  d, base, si, sj : how rows lie (``Rows``).  ahead : rows between a prefetch and its use.
    start : the first position of part 0.  stop : the one behind the last part.  length : positions of a part.
    out : the sum of part 0.  stride : bytes from a sum to the next.  n_kept : sums that there is memory for.
    n_threads : most threads.  scratch : what the first of them may use, scratch_bytes from the next thread's.
    """

    X: int
    y: int
    s: int
    w: int
    n_weights: int
    rows: int
    n_rows: int
    d: int
    base: int
    si: int
    sj: int
    ahead: int
    start: int
    stop: int
    length: int
    out: int
    stride: int
    n_kept: int
    n_threads: int
    scratch: int
    scratch_bytes: int


_AT, _BYTES = rawmem.offsets(PartTask)
_get_task = rawmem.make_get_tuple(types.NamedUniTuple(types.intp, len(PartTask._fields), PartTask))


def part_rows(d: int) -> int:
    """Rows of a part, whole chunks where there is a choice."""
    rows = max(LEAST, ENTRIES // (d + 8))
    return rows if rows < CHUNK else rows // CHUNK * CHUNK


def is_one(n: int, d: int) -> bool:
    """Whether so many rows are not worth cutting into parts."""
    return n * (d + 8) < WORTH_SHARING or n <= part_rows(d)


def workers(wanted: int | None, n: int, d: int) -> int:
    """The threads for ``n`` rows: what the user wants, else as many as pay."""
    if wanted is None:
        return threads.default() if n * (d + 8) >= WORTH_SHARING else 1
    return wanted


@jit
def _take_scratch(first, n_bytes):
    """The address of scratch memory that no other thread uses; there is as much as threads that may need it."""
    while True:
        for i in range(threads.MAX_THREADS):
            scratch = first + i * n_bytes
            owner = rawmem.read(scratch)
            if owner < 0:  # behind the last
                break
            if owner == 0 and rawmem.swap(scratch, 1) == 0:
                return scratch
        rawmem.pause()


@jit(forceinline=True)
def _samples(task, like):
    """The rows that a task is about; like : a number of their dtype."""
    X, y, s = pointer_to(task.X, like), pointer_to(task.y, like), pointer_to(task.s, like)
    return Samples(X, task.d, task.base, task.si, task.sj, y, s, False)


def make_units(made: SimpleNamespace, index: np.dtype) -> SimpleNamespace:
    """``add`` and ``value``: one part of the gradient or of the loss; a ``PartTask`` lies at ``address``.

    made : what ``epoch.kernels`` gave.  index : the dtype of positions.
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
    def add(address, number, _):
        """(g, gb) at out + number * stride := sums of slope_i * x_i and of slope_i over part ``number``."""
        task = _get_task(address)
        samples, w = _samples(task, T), pointer_to(task.w, T)
        order = Order(pointer_to(task.rows, INDEX), task.n_rows, task.ahead)
        g = pointer_to(task.out + number * task.stride, T)
        scratch = _take_scratch(task.scratch, task.scratch_bytes)
        size = max(1, (task.d + lanes - 1) // lanes) * lanes
        start = task.start + number * task.length
        stop = min(start + task.length, task.stop)
        scratch64 = scratch + LINE
        memory = Scratch(g, pointer_to(scratch64, 0.0), pointer_to(scratch64 + 8 * size, T))
        g[size] = sum_rows(samples, order, start, stop, w, w[size], memory)
        rawmem.write(scratch, 0)
        return 0

    @jit(variant=variant)
    def value(address, number, _):
        """The number at out + number * stride := the sum of the losses of part ``number``."""
        task = _get_task(address)
        samples, w = _samples(task, T), pointer_to(task.w, T)
        order = Order(pointer_to(task.rows, INDEX), 0, 0)
        X, d, y, s = samples.X, samples.d, samples.y, samples.s
        scratch = _take_scratch(task.scratch, task.scratch_bytes)
        size = max(1, (d + lanes - 1) // lanes) * lanes
        own = pointer_to(scratch + LINE + 8 * size, T)
        b = w[size]
        start = task.start + number * task.length
        stop = min(start + task.length, task.stop)
        acc = 0.0
        for c in range(start, stop, CHUNK):
            e = min(c + CHUNK, stop)
            if is_gathered:
                gather(samples, order, c, e, is_weighted, own)
            for i in range(c, e):
                z = dot(own, (i - c) * d, d, w) if is_gathered else dot(X, i * task.si, d, w)
                v = value_of(np.float64(z + b), np.float64(y[i]))
                acc += v * s[i] if is_weighted else v
        pointer_to(task.out + number * task.stride, 0.0)[0] = acc
        rawmem.write(scratch, 0)
        return 0

    return SimpleNamespace(add=add, value=value)


@jit
def run_parts(function, task, w, rows, start, stop, like, g):
    """g += the sums over the parts of the positions start <= t < stop of ``rows``, in their order.

    function : the address of ``add`` or ``value``.  task : memory that begins with a ``PartTask``, which says
    all that is not passed here.  like : a number of the dtype of the sums.

    w is copied to where the task says, since a register that two cache lines hold takes twice as long to load.
    """
    descriptor = np.int64(task.ctypes.data)
    given = _get_task(descriptor)
    own = pointer_to(given.w, w.dtype.type(0))
    for j in range(given.n_weights):
        own[j] = w[j]
    rawmem.put(descriptor + _AT.rows, rows.ctypes.data)
    rawmem.put(descriptor + _AT.n_rows, rows.shape[0])
    rawmem.put(descriptor + _AT.stop, stop)
    parts = (stop - start + given.length - 1) // given.length
    for first in range(0, parts, given.n_kept):
        n_tasks = min(given.n_kept, parts - first)
        rawmem.put(descriptor + _AT.start, start + first * given.length)
        threads.run(function, descriptor, n_tasks, given.n_threads, 1, 0)
        for p in range(n_tasks):
            part = pointer_to(given.out + p * given.stride, like)
            for j in range(g.shape[0]):
                g[j] += part[j]


class Parts:
    """Sums of one loss over the rows of one problem, by at most ``n_threads`` threads."""

    def __init__(
        self, loss: str, rows: Rows, y: np.ndarray, s: np.ndarray, index: np.dtype, n_threads: int
    ) -> None:
        self.arrays, self.zero = (rows.memory, y, s), y.dtype.type(0)  # the task has their addresses
        self.in_order = np.empty(0, index)
        made = kernels(loss, rows.d, y.dtype, s.size > 0, rows.is_gathered)
        self.units = make_units(made, index)
        self.size = size = padded(rows.d, made.lanes)
        stride = _lines((size + 1) * y.itemsize)
        length = part_rows(rows.d)
        n_kept = min(ROUND, max(1, -(-rows.n // length)))
        threads.prepare(min(n_threads, n_kept) - 1)
        scratch_bytes = _lines(LINE + 8 * size + gathered_size(rows.d, rows.is_gathered) * y.itemsize)
        # The task descriptor, the weights, scratch memory of each thread, and the sums, from a cache line on.
        weights = _lines(_BYTES)
        scratch = weights + stride
        sums = scratch + n_threads * scratch_bytes + LINE
        memory = np.zeros((sums + n_kept * stride + LINE) // 8, np.int64)
        at = memory.ctypes.data
        self.task = memory[-at % LINE // 8 :]
        at += -at % LINE
        task = PartTask(
            X=rows.memory.ctypes.data, y=y.ctypes.data, s=s.ctypes.data, w=at + weights, n_weights=size + 1,
            rows=0, n_rows=0, d=rows.d, base=rows.base, si=rows.si, sj=rows.sj, ahead=0, start=0, stop=0,
            length=length, out=at + sums, stride=stride, n_kept=n_kept, n_threads=n_threads,
            scratch=at + scratch, scratch_bytes=scratch_bytes,
        )  # fmt: skip
        self.task[: len(task)] = np.array(task)
        self.task[(sums - LINE) // 8] = -1  # behind the last thread's scratch

    def add(self, w: np.ndarray, order: np.ndarray, start: int, stop: int, ahead: int, g: np.ndarray) -> None:
        """g += (sum of slope_i * x_i, sum of slope_i) over positions start <= t < stop of ``order``.

        w : padded weights and the intercept behind them.  g : float64, at least as long.
        """
        self.task[_AT.ahead // 8] = ahead
        run_parts(_address(self.units.add), self.task, w, order, start, stop, self.zero, g[: self.size + 1])

    def loss(self, w: np.ndarray, start: int, stop: int) -> float:
        """The sum of the losses of the rows start <= i < stop."""
        total = np.zeros(1)
        run_parts(_address(self.units.value), self.task, w, self.in_order, start, stop, 0.0, total)
        return float(total[0])


@functools.cache
def _address(unit: Any) -> int:
    """The address of ``add`` or ``value``, compiled now if it never was."""
    unit.compile((types.intp,) * 3)
    return rawmem.address_of_compiled(unit)


def _lines(n_bytes: int) -> int:
    """Bytes of whole cache lines."""
    return -(-n_bytes // LINE) * LINE
