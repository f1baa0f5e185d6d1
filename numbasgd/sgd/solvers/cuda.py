"""The minibatch gradient on a GPU: one pass over the rows, the same bits every time.

Contract: X (n, d), y (n,), w (d,) and out (d + 1,) are C-ordered device arrays of one dtype, float32 or
float64; rows (int64, on the device) names the rows, none meaning all of them.  There is at least one row.
Work is queued on the default stream.  Arguments are trusted; ``numbasgd.gradient`` is the checked way in.
``epoch.py`` has the twin, ``gradient`` of ``kernels(...)``.
"""

from __future__ import annotations

import functools
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numba import uint64

from numbasgd.device import configure, cuda, empty
from numbasgd.sgd.losses import LOSSES

WARP = 32  # threads that run in step
THREADS = 256  # of a block; as many rows of a chunk at most, so that each thread finishes one
SUMS = 2304  # the longest lanes x rows below, with the padding: see plan
PER_THREAD = 4  # columns that a thread keeps in registers; more columns than 4 x 256 take further panels
BLOCKS = 512  # at most; fixed, so that the order of summation is the same on every card
CHUNK_BYTES = 32 * 1024  # of X, so that its second use in a chunk finds it in the first-level cache


class Plan(NamedTuple):
    """How a gradient is cut into pieces, from its sizes alone.

    lanes : threads that share a row in the dot product.  columns : threads side by side along the gradient.
    chunk : rows whose slopes are kept at a time.  blocks, panels : the grid.
    """

    lanes: int
    columns: int
    chunk: int
    blocks: int
    panels: int


def plan(n: int, d: int, itemsize: int) -> Plan:
    """The pieces for n rows of d columns."""
    lanes = min(WARP, _power_of_two(d))
    columns = min(THREADS, _power_of_two(d + 1))
    chunk = min(THREADS, 2048 // lanes, max(8, CHUNK_BYTES // (max(1, d) * itemsize)))
    blocks = min(BLOCKS, ceil(n / chunk))
    return Plan(lanes, columns, chunk, blocks, ceil((d + 1) / (PER_THREAD * columns)))


def workspace(X: Any, rows: Any) -> Any:
    """The partial sums that ``gradient`` needs for these sizes; keep them where it is called in a loop."""
    n, d = X.shape
    return empty((d + 1, plan(rows.shape[0] or n, d, X.dtype.itemsize).blocks), np.float64)


def gradient(
    X: Any, y: Any, w: Any, b: float, rows: Any, out: Any, partials: Any = None, *, loss: str = "squared"
) -> None:
    """out := (X[rows].T @ s, sum(s)) / len(rows) with s the slopes of the loss at X[rows] @ w + b.

    A block of threads takes a chunk of rows: first the slopes s, several threads to a row so that loads are
    neighbours, then the sums down the columns, a thread to a column, while the chunk is still in cache.
    Sums stay in the dtype of X within a chunk and go on in float64, in an order that the sizes alone fix;
    a second, small kernel adds what the blocks found.  No atomics, so the same call gives the same bits.
    What limits it: two barriers a chunk, and loads of one number at a time.
    """
    n, d = X.shape
    n_rows = rows.shape[0] or n
    cut = plan(n_rows, d, X.dtype.itemsize)
    if partials is None:
        partials = workspace(X, rows)
    configure(partial_sums(loss), (cut.blocks, cut.panels), THREADS)(
        X, y, w, float(b), rows, (n_rows, cut.lanes, cut.columns, cut.chunk), partials
    )
    configure(_mean, d + 1, THREADS)(partials, n_rows, out)


@cuda.jit(device=True)
def _sum_tree(tree, value, strip, strips, columns):
    """The sum of ``value`` over the threads of a column, added in a tree; in those of strip 0.

    tree : shared, a place a thread.  Thread t is in column t % columns and in strip t // columns.
    """
    t = uint64(cuda.threadIdx.x)
    tree[t] = value
    cuda.syncthreads()
    half = strips // uint64(2)
    while half > uint64(0):
        if strip < half:
            tree[t] += tree[t + half * columns]
        cuda.syncthreads()
        half //= uint64(2)
    return tree[t]


@functools.cache
def partial_sums(loss: str) -> Any:
    """The kernel that sums the gradients of a loss; see ``numbasgd.sgd.losses``."""
    slope = cuda.jit(device=True)(LOSSES[loss].slope)

    @cuda.jit
    def sums_of_blocks(X, y, w, b, rows, sizes, partials):
        """partials[c, block] := the sum of slope * X[row, c] over the chunks of this block, float64.

        The column after the last of X is the intercept's: a constant 1.
        sizes : the number of rows, and lanes, columns and chunk of the plan.
        """
        sums = cuda.shared.array(SUMS, X.dtype)
        slopes = cuda.shared.array(THREADS, X.dtype)
        which = cuda.shared.array(THREADS, np.uint64)
        tree = cuda.shared.array(THREADS, np.float64)
        acc = cuda.local.array(PER_THREAD, np.float64)
        zero = X.dtype.type(0)
        one = uint64(1)
        d = uint64(X.shape[1])
        n_rows, lanes, columns, chunk = uint64(sizes[0]), uint64(sizes[1]), uint64(sizes[2]), uint64(sizes[3])
        t = uint64(cuda.threadIdx.x)
        block = uint64(cuda.blockIdx.x)
        threads = uint64(THREADS)
        lane = t % lanes
        slot = t // lanes  # of the rows that the block reads side by side
        slots = threads // lanes
        column = t % columns
        first = uint64(cuda.blockIdx.y) * columns * uint64(PER_THREAD) + column  # of this thread's columns
        strip = t // columns  # with few columns several threads share one, each a strip of the rows
        strips = threads // columns
        for q in range(PER_THREAD):
            acc[q] = 0.0

        start = block * chunk
        while start < n_rows:
            # min() fails in Numba's built-in target
            size = chunk if start + chunk <= n_rows else n_rows - start
            r = slot
            while r < size:
                row = uint64(rows[start + r]) if rows.shape[0] > 0 else start + r
                dot = zero
                p = lane
                while p < d:
                    dot += X[row, p] * w[p]
                    p += lanes
                sums[r * (lanes + one) + lane] = dot  # one place of padding: banks differ in the next step
                r += slots
            cuda.syncthreads()
            if t < size:
                row = uint64(rows[start + t]) if rows.shape[0] > 0 else start + t
                z = X.dtype.type(b)
                p = uint64(0)
                while p < lanes:
                    z += sums[t * (lanes + one) + p]
                    p += one
                slopes[t] = slope(z, y[row])
                which[t] = row
            cuda.syncthreads()
            for q in range(PER_THREAD):
                c = first + uint64(q) * columns
                if c <= d:
                    part = zero
                    r = strip
                    while r < size:
                        if c < d:
                            part += slopes[r] * X[which[r], c]
                        else:
                            part += slopes[r]
                        r += strips
                    acc[q] += part
            start += chunk * uint64(cuda.gridDim.x)

        for q in range(PER_THREAD):
            total = _sum_tree(tree, acc[q], strip, strips, columns)
            c = first + uint64(q) * columns
            if t < columns and c <= d:
                partials[c, block] = total
            cuda.syncthreads()

    return sums_of_blocks


@cuda.jit
def _mean(partials, n_rows, out):
    """out[c] := sum(partials[c, :]) / n_rows, a block of threads per column, added in a tree."""
    tree = cuda.shared.array(THREADS, np.float64)
    t = uint64(cuda.threadIdx.x)
    c = uint64(cuda.blockIdx.x)
    acc = 0.0
    p = t
    while p < uint64(partials.shape[1]):
        acc += partials[c, p]
        p += uint64(THREADS)
    total = _sum_tree(tree, acc, t, uint64(THREADS), uint64(1))
    if t == uint64(0):
        out[c] = total / n_rows


def _power_of_two(size: int) -> int:
    """The smallest power of two that is at least ``size``, and 1."""
    return 1 << max(0, size - 1).bit_length()
