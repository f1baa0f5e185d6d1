"""Streamed rows, too long for registers: x, w and g pass through them; contracts in ``epoch.py``.

Dot products are made row by row, which reads memory as one stream; then four rows are added to g together, so
that a register of g is loaded and stored once for four rows, which the first pass left in cache.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.sgd.rows import CHUNK, gather
from numbasgd.sgd.solvers.operands import Order, with_targets
from numbasgd.sgd.solvers.streamed_passes import BLOCK, make_add_block, make_add_row, make_dot, make_prefetch
from numbasgd.sgd.solvers.update import Step, make_apply
from numbasgd.sgd.solvers.variant import Variant
from numbasgd.simd.vector import fill, store

AHEAD_BYTES = 2048  # how far ahead the first pass prefetches in sequential order


def make_plan(made: Variant) -> Any:
    """plan(samples, order, t, at) -> (p, q, shift): what to prefetch during the block at position t.

    at : where its rows begin.  p, shift : four places for the dot products of the first pass, which prefetches
    half a row with each, and how.  q : two rows for the second pass.

    So the prefetches are even over both passes.  In sequential order the hardware prefetches as well: there the
    first pass prefetches every other line, not far ahead, and the second, during which the hardware sees no new
    row, the rows that come next.
    """
    AHEAD = AHEAD_BYTES // np.dtype(made.T).itemsize
    prefetch_end = make_prefetch(made.T, made.lanes, made.is_weighted)

    @jit(variant=made.name, forceinline=True)
    def plan(samples, order, t, at):
        stride = samples.si
        if order.n_rows == 0:
            p = at[0] + AHEAD, at[1] + AHEAD, at[2] + AHEAD, at[3] + AHEAD
            return p, ((t + BLOCK) * stride, (t + BLOCK + 1) * stride), 0
        p0, p2, q0, q1 = 0, 0, 0, 0
        if order.ahead > 0:
            p0 = prefetch_end(samples, order, t)
            p2 = prefetch_end(samples, order, t + 1)
            q0 = prefetch_end(samples, order, t + 2)
            q1 = prefetch_end(samples, order, t + 3)
        half = samples.d // 2
        return (p0, p0 + half, p2, p2 + half), (q0, q1), 1

    return plan


def make_slopes(made: Variant) -> Any:
    """slopes(samples, i, t, z, b): those of a block of rows i at positions t, ..., with dot products z."""
    slope, T, is_weighted = made.slope, made.T, made.is_weighted

    @jit(variant=made.name, forceinline=True, fastmath=False)
    def slopes(samples, i, t, z, b):
        y, s = samples.y, samples.s
        i0, i1, i2, i3 = i
        if samples.by_position:
            i0, i1, i2, i3 = t, t + 1, t + 2, t + 3
        r0, r1 = T(slope(z[0] + b, y[i0])), T(slope(z[1] + b, y[i1]))
        r2, r3 = T(slope(z[2] + b, y[i2])), T(slope(z[3] + b, y[i3]))
        if is_weighted:
            r0 *= s[i0]
            r1 *= s[i1]
            r2 *= s[i2]
            r3 *= s[i3]
        return r0, r1, r2, r3

    return slopes


def make_sum_chunk(made: Variant) -> Any:
    """sum_chunk(samples, order, start, stop, w, b, g): g += sum of slope_i * x_i over at most CHUNK rows.

    Returns the sum of slope_i.
    """
    slope, T, lanes, is_weighted = made.slope, made.T, made.lanes, made.is_weighted
    dot, add_row, add_block = make_dot(T, lanes), make_add_row(T, lanes), make_add_block(T, lanes)
    plan, slopes, prefetch_end = make_plan(made), make_slopes(made), make_prefetch(T, lanes, is_weighted)

    @jit(variant=made.name, forceinline=True, fastmath=False)  # for the same bits wherever it is inlined
    def sum_chunk(samples, order, start, stop, w, b, g):
        X, d, stride, rows, ahead = samples.X, samples.d, samples.si, order.rows, order.ahead
        is_sequential = order.n_rows == 0
        gb = T(0)
        t = start
        while t + BLOCK <= stop:
            if is_sequential:
                i0, i1, i2, i3 = t, t + 1, t + 2, t + 3
            else:
                i0, i1, i2, i3 = rows[t], rows[t + 1], rows[t + 2], rows[t + 3]
            at = (i0 * stride, i1 * stride, i2 * stride, i3 * stride)
            p, q, shift = plan(samples, order, t, at)
            z0, z1 = dot(X, at[0], d, w, ahead, p[0], shift), dot(X, at[1], d, w, ahead, p[1], shift)
            z2, z3 = dot(X, at[2], d, w, ahead, p[2], shift), dot(X, at[3], d, w, ahead, p[3], shift)
            r = slopes(samples, (i0, i1, i2, i3), t, (z0, z1, z2, z3), b)
            add_block(X, d, at, r, g, ahead, q)
            gb += (r[0] + r[1]) + (r[2] + r[3])
            t += BLOCK
        while t < stop:
            i = t if is_sequential else rows[t]
            later = 0
            if ahead > 0 and not is_sequential:
                later = prefetch_end(samples, order, t)
            k = t if samples.by_position else i
            r1 = T(slope(dot(X, i * stride, d, w, 0, 0, 0) + b, samples.y[k]))
            if is_weighted:
                r1 *= samples.s[k]
            add_row(X, i * stride, d, r1, g, 0 if is_sequential else ahead, later)
            gb += r1
            t += 1
        return gb

    return sum_chunk


def make_sum_rows(made: Variant) -> Any:
    """sum_rows(samples, order, start, stop, w, b, scratch): scratch.g := sum of slope_i * x_i, by chunks.

    Returns the sum of slope_i.
    """
    T, lanes, is_weighted, is_gathered = made.T, made.lanes, made.is_weighted, made.is_gathered
    sum_chunk = make_sum_chunk(made)

    @jit(variant=made.name, forceinline=True)
    def sum_rows(samples, order, start, stop, w, b, scratch):
        g, g64 = scratch.g, scratch.scratch64
        size = (samples.d + lanes - 1) // lanes * lanes
        for j in range(0, size, lanes):
            store(g, j, fill(T(0), lanes))
        if not is_gathered and stop - start <= CHUNK:
            if order.ahead > 0:
                return sum_chunk(samples, order, start, stop, w, b, g)
            # The same without the code that prefetches.
            near = with_targets(samples, samples.y, samples.s, False)
            no_prefetch = Order(order.rows, order.n_rows, 0)
            return sum_chunk(near, no_prefetch, start, stop, w, b, g)
        for j in range(size):
            g64[j] = 0.0
        gb64 = 0.0
        for c in range(start, stop, CHUNK):
            e = min(c + CHUNK, stop)
            if is_gathered:
                chunk = gather(samples, order, c, e, is_weighted, scratch.rows)
                gb64 += sum_chunk(chunk, Order(order.rows, 0, 0), 0, e - c, w, b, g)
            else:
                gb64 += sum_chunk(samples, order, c, e, w, b, g)
            for j in range(size):
                g64[j] += g[j]
                g[j] = T(0)
        for j in range(size):
            g[j] = T(g64[j])
        return T(gb64)

    return sum_rows


def make_sums(made: Variant) -> SimpleNamespace:
    """``dot`` and ``sum_rows`` for rows of any number of columns, and what ``make_steps`` needs."""
    dot_prefetching = make_dot(made.T, made.lanes)

    @jit(variant=made.name, forceinline=True)
    def dot(X, at, d, w):
        return dot_prefetching(X, at, d, w, 0, 0, 0)

    return SimpleNamespace(variant=made, dot=dot, sum_rows=make_sum_rows(made))


def make_steps(sums: SimpleNamespace, step: Step, name: str) -> Callable[..., Any]:
    """``steps`` on the sums of ``make_sums``."""
    made, dot, sum_rows = sums.variant, sums.dot, sums.sum_rows
    slope, T, lanes, is_weighted = made.slope, made.T, made.lanes, made.is_weighted
    add_row, prefetch_end = make_add_row(T, lanes), make_prefetch(T, lanes, is_weighted)
    apply = make_apply(step, lanes, T)
    is_plain = not (step.momentum or step.is_penalized or made.is_gathered)

    @jit(variant=name, forceinline=True)
    def steps(samples, order, start, stop, params, weights, scratch, outputs):
        """One step for each minibatch of the positions start <= t < stop of the order.

        A plain step on one row needs no g: the row is added to w.
        """
        X, d, stride, w, size = samples.X, samples.d, samples.si, weights.state, weights.size
        ahead = order.ahead if order.n_rows > 0 else 0
        batch_size = params.batch_size
        for at in range(start, stop, batch_size):
            e = min(at + batch_size, stop)
            if is_plain and e - at == 1:
                i = at if order.n_rows == 0 else order.rows[at]
                later = prefetch_end(samples, order, at) if ahead > 0 else 0
                k = at if samples.by_position else i
                gb = T(slope(dot(X, i * stride, d, w) + w[size], samples.y[k]))
                if is_weighted:
                    gb *= samples.s[k]
                add_row(X, i * stride, d, -params.lr * gb, w, ahead, later)
                first = size
            else:
                gb = sum_rows(samples, order, at, e, w, w[size], scratch)
                first = 0
            apply(weights, first, scratch.g, gb, e - at, params)

    return steps
