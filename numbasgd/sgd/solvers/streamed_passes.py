"""The two passes over rows that are streamed through registers, and their prefetches.

The first pass makes a dot product a row, the second adds rows to g.  Each prefetches while it computes, since
memory would idle during whichever does not.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.sgd.rows import LINE
from numbasgd.simd.vector import (
    add,
    fill,
    fma,
    load,
    load_first,
    mul,
    prefetch,
    prefetch_near,
    store,
    total,
)

BLOCK = 4  # rows that are worked on together


def _name(T: Any, lanes: int) -> str:
    return f"{T.__name__}_{lanes}"


def _per_line(T: Any) -> int:
    return LINE // np.dtype(T).itemsize


@functools.cache
def make_dot(T: Any, lanes: int) -> Any:
    """dot_prefetching(X, at, d, w, ahead, p, shift): x . w for the row at X[at].

    Meanwhile it prefetches lines from X[p] on, half as many as the row has: with shift 1 all lines of half a
    row, with shift 0 every other line of a row; none where ahead is 0.
    """
    per_line = _per_line(T)
    has_two_lines = lanes == per_line  # in half of what four registers take

    @jit(variant=_name(T, lanes), forceinline=True)
    def dot_prefetching(X, at, d, w, ahead, p, shift):
        gap = per_line * (2 - shift)
        whole = d // lanes * lanes
        zero = fill(T(0), lanes)
        z0, z1, z2, z3 = zero, zero, zero, zero
        j = 0
        while j + 4 * lanes <= whole:
            if ahead > 0:
                prefetch_near(X, p + (j >> shift))
                if has_two_lines:
                    prefetch_near(X, p + (j >> shift) + gap)
            z0 = fma(load(X, at + j, lanes), load(w, j, lanes), z0)
            z1 = fma(load(X, at + j + lanes, lanes), load(w, j + lanes, lanes), z1)
            z2 = fma(load(X, at + j + 2 * lanes, lanes), load(w, j + 2 * lanes, lanes), z2)
            z3 = fma(load(X, at + j + 3 * lanes, lanes), load(w, j + 3 * lanes, lanes), z3)
            j += 4 * lanes
        while j < whole:
            if ahead > 0:
                prefetch_near(X, p + (j >> shift))
            z0 = fma(load(X, at + j, lanes), load(w, j, lanes), z0)
            j += lanes
        if whole < d:
            z1 = fma(load_first(X, at + whole, lanes, d - whole), load(w, whole, lanes), z1)
        return total(add(add(z0, z1), add(z2, z3)))

    return dot_prefetching


@functools.cache
def make_add_row(T: Any, lanes: int) -> Any:
    """add_row(X, at, d, r, g, ahead, p): g += r * x; meanwhile prefetches the row at X[p], if ahead > 0."""
    per_line = _per_line(T)
    has_one_line = lanes == per_line

    @jit(variant=_name(T, lanes), forceinline=True)
    def add_row(X, at, d, r, g, ahead, p):
        whole = d // lanes * lanes
        rv = fill(r, lanes)
        for j in range(0, whole, lanes):
            if ahead > 0 and (has_one_line or j % per_line == 0):
                prefetch_near(X, p + j)
            store(g, j, fma(rv, load(X, at + j, lanes), load(g, j, lanes)))
        if whole < d:
            store(g, whole, fma(rv, load_first(X, at + whole, lanes, d - whole), load(g, whole, lanes)))

    return add_row


@functools.cache
def make_add_block(T: Any, lanes: int) -> Any:
    """add_block(X, d, at, r, g, ahead, p): g += sum over q of r[q] * x_q, for BLOCK rows.

    at, r, p : tuples of a number a row; row q begins at X[at[q]].  The sum is made before g is touched, so a
    register of g is loaded and stored once for all of them.  Meanwhile the rows at X[p[0]] and X[p[1]] are
    prefetched, each during one half of the columns.
    """
    per_line = _per_line(T)
    has_two_lines = lanes == per_line

    @jit(variant=_name(T, lanes), forceinline=True)
    def add_columns(X, columns, at, v, g, ahead, p):
        start, stop = columns
        for j in range(start, stop, lanes):
            if ahead > 0:
                prefetch_near(X, p + 2 * (j - start))
                if has_two_lines:
                    prefetch_near(X, p + 2 * (j - start) + per_line)
            one = fma(v[1], load(X, at[1] + j, lanes), mul(v[0], load(X, at[0] + j, lanes)))
            two = fma(v[3], load(X, at[3] + j, lanes), mul(v[2], load(X, at[2] + j, lanes)))
            store(g, j, add(load(g, j, lanes), add(one, two)))

    @jit(variant=_name(T, lanes), forceinline=True)
    def add_block(X, d, at, r, g, ahead, p):
        whole = d // lanes * lanes
        half = whole // (2 * lanes) * lanes
        v = (fill(r[0], lanes), fill(r[1], lanes), fill(r[2], lanes), fill(r[3], lanes))
        add_columns(X, (0, half), at, v, g, ahead, p[0])
        add_columns(X, (half, whole), at, v, g, ahead, p[1])
        if whole < d:
            rest = d - whole
            one = mul(v[0], load_first(X, at[0] + whole, lanes, rest))
            one = fma(v[1], load_first(X, at[1] + whole, lanes, rest), one)
            two = mul(v[2], load_first(X, at[2] + whole, lanes, rest))
            two = fma(v[3], load_first(X, at[3] + whole, lanes, rest), two)
            store(g, whole, add(load(g, whole, lanes), add(one, two)))

    return add_block


@functools.cache
def make_prefetch(T: Any, lanes: int, is_weighted: bool) -> Any:
    """prefetch_end(samples, order, t): prefetch the end of the row taken order.ahead rows after position t.

    Returns where that row begins; the passes prefetch the rest of it.  As ``rows.SOON`` says, a row is
    prefetched again soon before it is taken, here a block before, but not where a row fills many lines.
    """
    per_line = _per_line(T)

    @jit(variant=_name(T, lanes) + "_weighted" * is_weighted, forceinline=True)
    def prefetch_end(samples, order, t):
        X, d, stride, rows, n_rows = samples.X, samples.d, samples.si, order.rows, order.n_rows
        later = rows[min(t + order.ahead, n_rows - 1)]
        behind = (d - 1) // lanes * lanes
        prefetch_near(X, later * stride + behind)
        prefetch_near(X, later * stride + behind + lanes - 1)
        if not samples.by_position:
            prefetch_near(samples.y, later)
            if is_weighted:
                prefetch_near(samples.s, later)
        if order.ahead >= 2 * BLOCK:
            soon = rows[min(t + BLOCK, n_rows - 1)] * stride
            for j in range(0, d, per_line):
                prefetch(X, soon + j)
            prefetch(X, soon + behind + lanes - 1)
        return later * stride

    return prefetch_end
