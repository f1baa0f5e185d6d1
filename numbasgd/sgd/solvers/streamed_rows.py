"""Rows of many vector registers: x, w and g pass through piece by piece; contracts in ``epoch.py``.

Their dot products are made row by row, which reads memory as one stream, and then four rows are added to g
together, so that a piece of g is loaded and stored once for four rows, which the first pass left in cache.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.sgd.rows import CHUNK, LINE, gather
from numbasgd.sgd.solvers.update import Step, make_average, make_update, make_update_intercept
from numbasgd.simd.vector import (
    add,
    fill,
    fma,
    load,
    load_first,
    mul,
    pointer,
    prefetch,
    prefetch_near,
    store,
    total,
)

BLOCK = 4  # rows that are worked on together
AHEAD_BYTES = 2048  # how far ahead memory is asked for in the first pass over rows as they lie


def make_sums(
    slope: Any, T: Any, lanes: int, count: int, is_weighted: bool, is_gathered: bool, variant: str
) -> SimpleNamespace:
    """``dot`` and ``sum_rows`` for rows of any number of columns, and what ``make_steps`` needs."""
    per_line = LINE // np.dtype(T).itemsize
    has_two_lines = lanes == per_line  # in half of what four registers take
    AHEAD = AHEAD_BYTES // np.dtype(T).itemsize

    @jit(variant=variant, forceinline=True)
    def dot_ahead(X, at, d, w, ahead, p, shift):
        """x . w for the row that begins at ``at``; meanwhile asks for lines from p on, half as many as it has.

        shift : 1 for all lines of half a row, 0 for every other line of a row.
        """
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

    @jit(variant=variant, forceinline=True)
    def dot(X, at, d, w):
        return dot_ahead(X, at, d, w, 0, 0, 0)

    @jit(variant=variant, forceinline=True)
    def add_row(X, at, d, r, g, ahead, p):
        """g += r * x; meanwhile asks for the row at p."""
        whole = d // lanes * lanes
        rv = fill(r, lanes)
        for j in range(0, whole, lanes):
            if ahead > 0 and (has_two_lines or j % per_line == 0):
                prefetch_near(X, p + j)
            store(g, j, fma(rv, load(X, at + j, lanes), load(g, j, lanes)))
        if whole < d:
            store(g, whole, fma(rv, load_first(X, at + whole, lanes, d - whole), load(g, whole, lanes)))

    @jit(variant=variant, forceinline=True)
    def add_part(X, start, stop, a0, a1, a2, a3, v0, v1, v2, v3, g, ahead, p):
        """The columns start <= j < stop, whole registers, of ``add_four``; asks for what lies from p on."""
        for j in range(start, stop, lanes):
            if ahead > 0:
                prefetch_near(X, p + 2 * (j - start))
                if has_two_lines:
                    prefetch_near(X, p + 2 * (j - start) + per_line)
            one = fma(v1, load(X, a1 + j, lanes), mul(v0, load(X, a0 + j, lanes)))
            two = fma(v3, load(X, a3 + j, lanes), mul(v2, load(X, a2 + j, lanes)))
            store(g, j, add(load(g, j, lanes), add(one, two)))

    @jit(variant=variant, forceinline=True)
    def add_four(X, d, a0, a1, a2, a3, r0, r1, r2, r3, g, ahead, p2, p3):
        """g += r0 * x_0 + r1 * x_1 + r2 * x_2 + r3 * x_3; the sum of four is made before g is touched.

        Meanwhile asks for the rows at p2 and p3.
        """
        whole = d // lanes * lanes
        half = whole // (2 * lanes) * lanes
        v0, v1, v2, v3 = fill(r0, lanes), fill(r1, lanes), fill(r2, lanes), fill(r3, lanes)
        add_part(X, 0, half, a0, a1, a2, a3, v0, v1, v2, v3, g, ahead, p2)
        add_part(X, half, whole, a0, a1, a2, a3, v0, v1, v2, v3, g, ahead, p3)
        if whole < d:
            rest = d - whole
            one = fma(
                v1, load_first(X, a1 + whole, lanes, rest), mul(v0, load_first(X, a0 + whole, lanes, rest))
            )
            two = fma(
                v3, load_first(X, a3 + whole, lanes, rest), mul(v2, load_first(X, a2 + whole, lanes, rest))
            )
            store(g, whole, add(load(g, whole, lanes), add(one, two)))

    @jit(variant=variant, forceinline=True)
    def ask(X, d, stride, y, s, by_position, rows, n_rows, t, ahead):
        """Ask for the end of the row that is taken ``ahead`` rows after position t; returns that row.

        What computes meanwhile asks for the rest of it.  As ``rows.SOON`` says, a row is asked for again soon
        before it is taken, here a block before, but not where a row fills many lines.
        """
        later = rows[min(t + ahead, n_rows - 1)]
        behind = (d - 1) // lanes * lanes
        prefetch_near(X, later * stride + behind)
        prefetch_near(X, later * stride + behind + lanes - 1)
        if not by_position:
            prefetch_near(y, later)
            if is_weighted:
                prefetch_near(s, later)
        if ahead >= 2 * BLOCK:
            soon = rows[min(t + BLOCK, n_rows - 1)] * stride
            for j in range(0, d, per_line):
                prefetch(X, soon + j)
            prefetch(X, soon + behind + lanes - 1)
        return later

    @jit(variant=variant, forceinline=True, fastmath=False)  # for the same bits wherever it is inlined
    def sum_chunk(X, d, stride, y, s, by_position, rows, n_rows, start, stop, ahead, w, b, g):
        """g += sum of slope_i * x_i over at most CHUNK rows; returns the sum of slope_i.

        What is asked for ahead is spread evenly over both passes over a block, or memory would idle during the
        second: two rows with the dot products, two with the sum.  Where rows lie in order the hardware asks
        ahead as well, so there the first pass asks for every other line, not far ahead, and the second, in
        which it sees nothing new, for the rows that come next.
        """
        gb = T(0)
        is_ordered = n_rows == 0
        half = d // 2
        t = start
        while t + BLOCK <= stop:
            if is_ordered:
                i0, i1, i2, i3 = t, t + 1, t + 2, t + 3
            else:
                i0, i1, i2, i3 = rows[t], rows[t + 1], rows[t + 2], rows[t + 3]
            a0, a1, a2, a3 = i0 * stride, i1 * stride, i2 * stride, i3 * stride
            if is_ordered:
                shift = 0
                p0, p1, p2, p3 = a0 + AHEAD, a1 + AHEAD, a2 + AHEAD, a3 + AHEAD
                q0, q1 = (t + BLOCK) * stride, (t + BLOCK + 1) * stride
            else:
                shift = 1
                p0, p2, q0, q1 = 0, 0, 0, 0
                if ahead > 0:
                    p0 = ask(X, d, stride, y, s, by_position, rows, n_rows, t, ahead) * stride
                    p2 = ask(X, d, stride, y, s, by_position, rows, n_rows, t + 1, ahead) * stride
                    q0 = ask(X, d, stride, y, s, by_position, rows, n_rows, t + 2, ahead) * stride
                    q1 = ask(X, d, stride, y, s, by_position, rows, n_rows, t + 3, ahead) * stride
                p1, p3 = p0 + half, p2 + half
            z0, z1 = dot_ahead(X, a0, d, w, ahead, p0, shift), dot_ahead(X, a1, d, w, ahead, p1, shift)
            z2, z3 = dot_ahead(X, a2, d, w, ahead, p2, shift), dot_ahead(X, a3, d, w, ahead, p3, shift)
            if by_position:
                i0, i1, i2, i3 = t, t + 1, t + 2, t + 3
            r0, r1 = T(slope(z0 + b, y[i0])), T(slope(z1 + b, y[i1]))
            r2, r3 = T(slope(z2 + b, y[i2])), T(slope(z3 + b, y[i3]))
            if is_weighted:
                r0 *= s[i0]
                r1 *= s[i1]
                r2 *= s[i2]
                r3 *= s[i3]
            add_four(X, d, a0, a1, a2, a3, r0, r1, r2, r3, g, ahead, q0, q1)
            gb += (r0 + r1) + (r2 + r3)
            t += BLOCK
        while t < stop:
            i = t if is_ordered else rows[t]
            later = 0
            if ahead > 0 and not is_ordered:
                later = ask(X, d, stride, y, s, by_position, rows, n_rows, t, ahead)
            k = t if by_position else i
            r = T(slope(dot(X, i * stride, d, w) + b, y[k]))
            if is_weighted:
                r *= s[k]
            add_row(X, i * stride, d, r, g, 0 if is_ordered else ahead, later * stride)
            gb += r
            t += 1
        return gb

    @jit(variant=variant, forceinline=True)
    def sum_positions(
        X, d, base, si, sj, y, s, by_position, rows, n_rows, start, stop, ahead, w, b, g, wide, room
    ):  # fmt: skip
        """g := sum of slope_i * x_i, chunk by chunk; returns the sum of slope_i."""
        size = (d + lanes - 1) // lanes * lanes
        for j in range(0, size, lanes):
            store(g, j, fill(T(0), lanes))
        if not is_gathered and stop - start <= CHUNK:
            if ahead > 0:
                return sum_chunk(X, d, si, y, s, by_position, rows, n_rows, start, stop, ahead, w, b, g)
            return sum_chunk(X, d, si, y, s, False, rows, n_rows, start, stop, 0, w, b, g)  # without what asks
        for j in range(size):
            wide[j] = 0.0
        wide_gb = 0.0
        for c in range(start, stop, CHUNK):
            e = min(c + CHUNK, stop)
            if is_gathered:
                gather(X, d, base, si, sj, y, s, is_weighted, rows, n_rows, c, e, room)
                yr, sr = pointer(room, CHUNK * d), pointer(room, CHUNK * (d + 1))
                wide_gb += sum_chunk(room, d, d, yr, sr, False, rows, 0, 0, e - c, 0, w, b, g)
            else:
                wide_gb += sum_chunk(X, d, si, y, s, by_position, rows, n_rows, c, e, ahead, w, b, g)
            for j in range(size):
                wide[j] += g[j]
                g[j] = T(0)
        for j in range(size):
            g[j] = T(wide[j])
        return T(wide_gb)

    @jit(variant=variant, forceinline=True)
    def sum_rows(X, d, base, si, sj, y, s, rows, n_rows, start, stop, ahead, w, b, g, wide, room):
        """The same, y and s those of rows."""
        return sum_positions(
            X, d, base, si, sj, y, s, False, rows, n_rows, start, stop, ahead, w, b, g, wide, room
        )  # fmt: skip

    return SimpleNamespace(
        dot=dot,
        sum_rows=sum_rows,
        sum_positions=sum_positions,
        add_row=add_row,
        ask=ask,
        slope=slope,
        is_weighted=is_weighted,
        is_gathered=is_gathered,
    )


def make_steps(
    sums: SimpleNamespace, T: Any, lanes: int, count: int, step: Step, variant: str
) -> Callable[..., Any]:
    """``steps`` on the sums of ``make_sums``."""
    dot, sum_positions, add_row, ask = sums.dot, sums.sum_positions, sums.add_row, sums.ask
    slope, is_weighted, is_gathered = sums.slope, sums.is_weighted, sums.is_gathered
    update, update_b, average = make_update(step, lanes), make_update_intercept(step), make_average(lanes)
    has_momentum, is_averaged = step.momentum != "", step.is_averaged
    is_plain = not (has_momentum or step.is_penalized or is_gathered)

    @jit(variant=variant, forceinline=True)
    def steps(
        X, d, base, si, sj, y, s, by_position, rows, n_rows, start, stop, ahead, batch_size, lr, mu, l2, l1,
        with_b, state, size, count, g, wide, room,
    ):  # fmt: skip
        """One step for each minibatch of the positions start <= t < stop of ``rows``.

        A plain step on one row needs no g: the row is added to w.
        """
        row = size + lanes
        w, v, mean, lost = (
            pointer(state, 0),
            pointer(state, row),
            pointer(state, 2 * row),
            pointer(state, 3 * row),
        )
        for at in range(start, stop, batch_size):
            e = min(at + batch_size, stop)
            scale = T(1) / T(e - at)
            b = w[size]
            if is_plain and e - at == 1:
                i = at if n_rows == 0 else rows[at]
                later = 0
                if ahead > 0 and n_rows > 0:
                    later = ask(X, d, si, y, s, by_position, rows, n_rows, at, ahead)
                k = at if by_position else i
                gb = T(slope(dot(X, i * si, d, w) + b, y[k]))
                if is_weighted:
                    gb *= s[k]
                add_row(X, i * si, d, -lr * gb, w, ahead if n_rows > 0 else 0, later * si)
            else:
                gb = sum_positions(
                    X, d, base, si, sj, y, s, by_position, rows, n_rows, at, e, ahead, w, b, g, wide, room
                )  # fmt: skip
                for j in range(0, size, lanes):
                    wv, vv, gv = load(w, j, lanes), load(v, j, lanes), load(g, j, lanes)
                    wv, vv = update(wv, vv, gv, scale, lr, mu, l2, l1)
                    store(w, j, wv)
                    if has_momentum:
                        store(v, j, vv)
            if with_b:
                w[size], v[size] = update_b(b, v[size], gb, scale, lr, mu)
            if is_averaged:
                count[0] += 1
                share = T(1 / count[0])
                for j in range(0, size + lanes, lanes):  # the intercept too
                    m, rest = average(load(mean, j, lanes), load(lost, j, lanes), load(w, j, lanes), share)
                    store(mean, j, m)
                    store(lost, j, rest)

    return steps
