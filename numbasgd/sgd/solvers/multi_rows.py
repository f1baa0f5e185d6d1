"""A block of rows of a minibatch for the products of ``multi_kernels.py``: in place, or gathered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.sgd.rows import LINE, SOON
from numbasgd.simd.vector import address, lanes_for, load, pointer, pointer_to, prefetch, prefetch_near, store

_ADDRESS = np.intp(0)  # what a table holds


class Block(NamedTuple):
    """m rows at the positions at, at + 1, ...  Z : address of their predictions, later their slopes.

    X : address of the first row; of row 0 of all rows where they are drawn and a table lists their addresses.
    rs, cs : entries from one row, or column, to the next.
    """

    at: int
    m: int
    Z: int
    X: int
    rs: int
    cs: int


def make_rows(T: Any, lanes: int, REPEATED: int, variant: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """``take_block`` and ``list_rows``.  REPEATED : entries behind the last of a table that repeat it."""
    zero = T(0)
    SIZE = np.dtype(T).itemsize
    PER_LINE = LINE // SIZE
    WIDEST = lanes_for(1 << 20, SIZE)
    options: dict[str, Any] = {"variant": variant, "forceinline": True, "fastmath": False}

    @jit(**options)
    def prefetch_row(samples, order, t):
        """Prefetch the row taken ``ahead`` rows after position t, and the one soon taken; see ``rows.SOON``."""
        X, d, rows = pointer(samples.X, samples.base), samples.d, order.rows
        later = rows[min(t + order.ahead, order.n_rows - 1)] * samples.si
        soon = rows[min(t + SOON, order.n_rows - 1)] * samples.si
        last = (d - 1) // lanes * lanes + lanes - 1  # read or masked out, it may lie in a line of its own
        for j in range(0, d, PER_LINE):
            prefetch_near(X, later + j)
        prefetch_near(X, later + last)
        if order.ahead > SOON:
            for j in range(0, d, PER_LINE):
                prefetch(X, soon + j)
            prefetch(X, soon + last)

    @jit(**options)
    def gather(samples, order, start, m, out):
        """out := the rows at positions start, start + 1, ..., in one piece."""
        X, d, base, si, sj = samples.X, samples.d, samples.base, samples.si, samples.sj
        rows, is_ordered = order.rows, order.n_rows == 0
        if sj != 1 and (si == 1 or si == -1):  # columns are contiguous: run along them
            for j in range(d):
                for t in range(m):
                    i = start + t if is_ordered else rows[start + t]
                    out[t * d + j] = X[base + i * si + j * sj]
            return
        vectors = d // WIDEST * WIDEST if sj == 1 else 0
        for t in range(m):
            i = start + t if is_ordered else rows[start + t]
            if order.ahead > 0 and not is_ordered:
                prefetch_row(samples, order, start + t)
            for j in range(0, vectors, WIDEST):
                store(out, t * d + j, load(X, base + i * si + j, WIDEST))
            for j in range(vectors, d):
                out[t * d + j] = X[base + i * si + j * sj]

    @jit(variant=variant, inline="always")
    def take_block(samples, order, at, m, Z, is_gathered, gathered):
        """The ``Block`` of m rows from position ``at`` on, copied to ``gathered`` where ``is_gathered``."""
        if is_gathered:
            gather(samples, order, at, m, pointer_to(gathered, zero))
            return Block(at, m, Z, gathered, samples.d, 1)
        first = at if order.n_rows == 0 else 0
        return Block(
            at, m, Z, address(samples.X, samples.base + first * samples.si), samples.si, samples.sj
        )  # fmt: skip

    @jit(variant=variant, inline="always")
    def list_rows(samples, order, block, is_gathered, prefetches, table):
        """table := the addresses of the rows of a block, and the last one some more times."""
        own = pointer_to(table, _ADDRESS)
        is_drawn = order.n_rows > 0
        for t in range(block.m):
            i = order.rows[block.at + t] if is_drawn and not is_gathered else t
            own[t] = block.X + i * block.rs * SIZE
            if prefetches and order.ahead > 0 and is_drawn:
                prefetch_row(samples, order, block.at + t)
        for t in range(block.m, block.m + REPEATED):
            own[t] = own[block.m - 1]

    return take_block, list_rows
