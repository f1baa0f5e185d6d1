"""Rows of any memory order for kernels that read along rows: in place, or gathered a chunk at a time."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from numbasgd import check
from numbasgd.compile.options import jit
from numbasgd.sgd.solvers.operands import Samples
from numbasgd.simd.vector import pointer

LINE = 64  # bytes of a cache line
# Drawn rows are prefetched twice: some dozen rows ahead into the second level of cache, which can have many
# misses outstanding, and SOON rows ahead from there into the first.  Without the second prefetch a load that
# hits the second level waits behind all outstanding misses.  What a masked register touches behind a row counts
# as read.
SOON = 8
# The last line of a short row is prefetched so many rows later than its others, at half the distance at most:
# by then the translation of its page's address is cached, which each prefetch would look up otherwise.
STAGGER = 24
FAR = 1 << 19  # bytes of X from which on memory is prefetched
CHUNK = 256  # rows that are summed in the dtype of X, and gathered at once; chunks are added up in float64


class Rows(NamedTuple):
    """The rows of a 2-D array without a copy of it: entry (i, j) is memory[base + i * si + j * sj].

    memory : 1-D view of all that lies between the first and the last byte of the array, which is only read.
    """

    memory: np.ndarray
    n: int
    d: int
    base: int
    si: int
    sj: int

    @property
    def is_gathered(self) -> bool:
        """Whether a row has to be put together before a kernel can run along it."""
        return self.sj != 1 or self.base != 0


def rows_of(X: np.ndarray) -> Rows:
    """The rows of X (n, d), float32 or float64; a copy only if its strides are no multiple of an entry."""
    n, d = X.shape
    if X.flags.c_contiguous:
        return Rows(check.for_kernel(X).reshape(-1), n, d, 0, d, 1)
    if any(stride % X.itemsize for stride in X.strides):
        X = np.ascontiguousarray(X)
    si, sj = (stride // X.itemsize for stride in X.strides)
    if X.size == 0 or X.flags.c_contiguous:
        return Rows(check.for_kernel(X).reshape(-1), n, d, 0, d, 1)
    if d == 1:
        sj = 1
    low = min(0, (n - 1) * si) + min(0, (d - 1) * sj)
    high = max(0, (n - 1) * si) + max(0, (d - 1) * sj)
    first = X[0 if si >= 0 else n - 1 :, 0 if sj >= 0 else d - 1 :]
    memory = np.lib.stride_tricks.as_strided(first, (high - low + 1,), (X.itemsize,), writeable=False)
    return Rows(check.for_kernel(memory), n, d, -low, si, sj)


def rows_ahead(rows: Rows, in_order: bool) -> int:
    """How many rows ahead memory is prefetched; 0 for rows in cache, and for those that are gathered.

    In sequential order the hardware prefetches as well, but it stops where software prefetches lines a page or
    more ahead.
    """
    itemsize = rows.memory.itemsize
    row_bytes = max(1, rows.d * itemsize)
    if row_bytes * rows.n <= FAR or rows.is_gathered:
        return 0
    if in_order:
        return max(1, min(8, 2048 // max(row_bytes, abs(rows.si) * itemsize)))
    return max(4, min(72, 16384 // row_bytes))


def gathered_size(d: int, is_gathered: bool) -> int:
    """Entries of scratch for a chunk of gathered rows, their targets and their weights."""
    return CHUNK * (d + 2) if is_gathered else 0


def aligned_zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Zeros, cache-line aligned: to load a register that straddles two lines takes twice as long."""
    count = math.prod(shape)
    memory = np.zeros(count + LINE // dtype.itemsize, dtype)
    skip = -memory.__array_interface__["data"][0] % LINE // dtype.itemsize
    return memory[skip : skip + count].reshape(shape)


@jit(forceinline=True)
def gather(samples, order, start, stop, is_weighted, out):
    """out := the rows, then targets, then weights at positions start <= t < stop, which are at most CHUNK.

    Returns them as samples.
    """
    X, d, base, si, sj, y, s, _ = samples
    rows, n_rows = order.rows, order.n_rows
    targets = CHUNK * d
    weights = targets + CHUNK
    for t in range(start, stop):
        i = t if n_rows == 0 else rows[t]
        out[targets + t - start] = y[i]
        if is_weighted:
            out[weights + t - start] = s[i]
    if si == 1 or si == -1:  # contiguous columns: run along them
        for j in range(d):
            for t in range(start, stop):
                i = t if n_rows == 0 else rows[t]
                out[(t - start) * d + j] = X[base + i * si + j * sj]
    else:
        for t in range(start, stop):
            i = t if n_rows == 0 else rows[t]
            for j in range(d):
                out[(t - start) * d + j] = X[base + i * si + j * sj]
    return Samples(out, d, 0, d, 1, pointer(out, targets), pointer(out, weights), False)
