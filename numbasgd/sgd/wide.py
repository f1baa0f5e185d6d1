"""Rows of many vector registers: x, w and g pass through piece by piece; contracts in ``cpu.py``.

Four rows are worked on at once, so that a piece of w or g that is loaded serves four rows.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from numbasgd.jit import jit
from numbasgd.sgd.rows import CHUNK, LINE, gather
from numbasgd.sgd.update import Step, make_average, make_update, make_update_intercept
from numbasgd.simd import add, fill, fma, load, load_first, mul, pointer, prefetch, store, total


def make_sums(
    slope: Any, T: Any, lanes: int, count: int, is_weighted: bool, is_gathered: bool, variant: str
) -> SimpleNamespace:
    """``dot`` and ``sum_rows`` for rows of any number of columns, and what ``make_steps`` needs."""
    per_line = LINE // np.dtype(T).itemsize

    @jit(variant=variant, forceinline=True)
    def dot(X, at, d, w):
        whole = d // lanes * lanes
        z0 = fill(T(0), lanes)
        z1 = z0
        j = 0
        while j + 2 * lanes <= whole:
            z0 = fma(load(X, at + j, lanes), load(w, j, lanes), z0)
            z1 = fma(load(X, at + j + lanes, lanes), load(w, j + lanes, lanes), z1)
            j += 2 * lanes
        if j < whole:
            z0 = fma(load(X, at + j, lanes), load(w, j, lanes), z0)
        if whole < d:
            z1 = fma(load_first(X, at + whole, lanes, d - whole), load(w, whole, lanes), z1)
        return total(add(z0, z1))

    @jit(variant=variant, forceinline=True)
    def dot_four(X, d, a0, a1, a2, a3, w, ahead, p0, p1, p2, p3):
        """x . w for the four rows that begin at a0, ..., a3; meanwhile asks for those at p0, ..., p3."""
        whole = d // lanes * lanes
        zero = fill(T(0), lanes)
        z0, z1, z2, z3 = zero, zero, zero, zero
        for j in range(0, whole, lanes):
            if ahead > 0:
                prefetch(X, p0 + j)
                prefetch(X, p1 + j)
                prefetch(X, p2 + j)
                prefetch(X, p3 + j)
            wv = load(w, j, lanes)
            z0 = fma(load(X, a0 + j, lanes), wv, z0)
            z1 = fma(load(X, a1 + j, lanes), wv, z1)
            z2 = fma(load(X, a2 + j, lanes), wv, z2)
            z3 = fma(load(X, a3 + j, lanes), wv, z3)
        if whole < d:
            rest = d - whole
            wv = load(w, whole, lanes)
            z0 = fma(load_first(X, a0 + whole, lanes, rest), wv, z0)
            z1 = fma(load_first(X, a1 + whole, lanes, rest), wv, z1)
            z2 = fma(load_first(X, a2 + whole, lanes, rest), wv, z2)
            z3 = fma(load_first(X, a3 + whole, lanes, rest), wv, z3)
        return total(z0), total(z1), total(z2), total(z3)

    @jit(variant=variant, forceinline=True)
    def add_row(X, at, d, r, g):
        """g += r * x."""
        whole = d // lanes * lanes
        rv = fill(r, lanes)
        for j in range(0, whole, lanes):
            store(g, j, fma(rv, load(X, at + j, lanes), load(g, j, lanes)))
        if whole < d:
            store(g, whole, fma(rv, load_first(X, at + whole, lanes, d - whole), load(g, whole, lanes)))

    @jit(variant=variant, forceinline=True)
    def add_four(X, d, a0, a1, a2, a3, r0, r1, r2, r3, g):
        """g += r0 * x_0 + r1 * x_1 + r2 * x_2 + r3 * x_3; the sum of four is made before g is touched."""
        whole = d // lanes * lanes
        v0, v1, v2, v3 = fill(r0, lanes), fill(r1, lanes), fill(r2, lanes), fill(r3, lanes)
        for j in range(0, whole, lanes):
            one = fma(v1, load(X, a1 + j, lanes), mul(v0, load(X, a0 + j, lanes)))
            two = fma(v3, load(X, a3 + j, lanes), mul(v2, load(X, a2 + j, lanes)))
            store(g, j, add(load(g, j, lanes), add(one, two)))
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
    def fetch(X, d, at):
        """Ask for a row's cache lines."""
        for j in range(0, d, per_line):
            prefetch(X, at + j)

    @jit(variant=variant, forceinline=True)
    def sum_chunk(X, d, stride, y, s, rows, n_rows, start, stop, ahead, w, b, g):
        """g += sum of slope_i * x_i over at most CHUNK rows; returns the sum of slope_i."""
        gb = T(0)
        last = n_rows - 1
        is_ordered = n_rows == 0
        t = start
        while t + 4 <= stop:
            if is_ordered:
                i0, i1, i2, i3 = t, t + 1, t + 2, t + 3
                l0, l1, l2, l3 = t + ahead, t + 1 + ahead, t + 2 + ahead, t + 3 + ahead
            else:
                i0, i1, i2, i3 = rows[t], rows[t + 1], rows[t + 2], rows[t + 3]
                l0, l1 = rows[min(t + ahead, last)], rows[min(t + 1 + ahead, last)]
                l2, l3 = rows[min(t + 2 + ahead, last)], rows[min(t + 3 + ahead, last)]
                if ahead > 0:
                    prefetch(y, l0)
                    prefetch(y, l1)
                    prefetch(y, l2)
                    prefetch(y, l3)
            a0, a1, a2, a3 = i0 * stride, i1 * stride, i2 * stride, i3 * stride
            z0, z1, z2, z3 = dot_four(
                X, d, a0, a1, a2, a3, w, ahead, l0 * stride, l1 * stride, l2 * stride, l3 * stride
            )
            r0, r1 = T(slope(z0 + b, y[i0])), T(slope(z1 + b, y[i1]))
            r2, r3 = T(slope(z2 + b, y[i2])), T(slope(z3 + b, y[i3]))
            if is_weighted:
                r0 *= s[i0]
                r1 *= s[i1]
                r2 *= s[i2]
                r3 *= s[i3]
            add_four(X, d, a0, a1, a2, a3, r0, r1, r2, r3, g)
            gb += (r0 + r1) + (r2 + r3)
            t += 4
        while t < stop:
            i = t if is_ordered else rows[t]
            if ahead > 0 and not is_ordered:
                later = rows[min(t + ahead, last)]
                fetch(X, d, later * stride)
                prefetch(y, later)
            r = T(slope(dot(X, i * stride, d, w) + b, y[i]))
            if is_weighted:
                r *= s[i]
            add_row(X, i * stride, d, r, g)
            gb += r
            t += 1
        return gb

    @jit(variant=variant, forceinline=True)
    def sum_rows(X, d, base, si, sj, y, s, rows, n_rows, start, stop, ahead, w, b, g, wide, room):
        """g := sum of slope_i * x_i, chunk by chunk; returns the sum of slope_i."""
        size = (d + lanes - 1) // lanes * lanes
        for j in range(0, size, lanes):
            store(g, j, fill(T(0), lanes))
        if not is_gathered and stop - start <= CHUNK:
            return sum_chunk(X, d, si, y, s, rows, n_rows, start, stop, ahead, w, b, g)
        for j in range(size):
            wide[j] = 0.0
        wide_gb = 0.0
        for c in range(start, stop, CHUNK):
            e = min(c + CHUNK, stop)
            if is_gathered:
                gather(X, d, base, si, sj, y, s, is_weighted, rows, n_rows, c, e, room)
                yr, sr = pointer(room, CHUNK * d), pointer(room, CHUNK * (d + 1))
                wide_gb += sum_chunk(room, d, d, yr, sr, rows, 0, 0, e - c, 0, w, b, g)
            else:
                wide_gb += sum_chunk(X, d, si, y, s, rows, n_rows, c, e, ahead, w, b, g)
            for j in range(size):
                wide[j] += g[j]
                g[j] = T(0)
        for j in range(size):
            g[j] = T(wide[j])
        return T(wide_gb)

    return SimpleNamespace(
        dot=dot,
        sum_rows=sum_rows,
        add_row=add_row,
        fetch=fetch,
        slope=slope,
        is_weighted=is_weighted,
        is_gathered=is_gathered,
    )


def make_steps(
    sums: SimpleNamespace, T: Any, lanes: int, count: int, step: Step, variant: str
) -> Callable[..., Any]:
    """``steps`` on the sums of ``make_sums``."""
    dot, sum_rows, add_row, fetch = sums.dot, sums.sum_rows, sums.add_row, sums.fetch
    slope, is_weighted, is_gathered = sums.slope, sums.is_weighted, sums.is_gathered
    update, update_b, average = make_update(step, lanes), make_update_intercept(step), make_average(lanes)
    has_momentum, is_averaged = step.momentum != "", step.is_averaged
    is_plain = not (has_momentum or step.is_penalized or is_gathered)

    @jit(variant=variant, forceinline=True)
    def steps(
        X, d, base, si, sj, y, s, rows, n_rows, start, stop, ahead, batch_size, lr, mu, l2, l1, with_b, state,
        size, count, g, wide, room,
    ):  # fmt: skip
        """One step for each minibatch of the positions start <= t < stop of ``rows``.

        A plain step on one row needs no g: the row is added to w.
        """
        row = size + lanes
        w, v, mean = pointer(state, 0), pointer(state, row), pointer(state, 2 * row)
        last = n_rows - 1
        for at in range(start, stop, batch_size):
            e = min(at + batch_size, stop)
            scale = T(1) / T(e - at)
            b = w[size]
            if is_plain and e - at == 1:
                i = at if n_rows == 0 else rows[at]
                if ahead > 0 and n_rows > 0:
                    later = rows[min(at + ahead, last)]
                    fetch(X, d, later * si)
                    prefetch(y, later)
                gb = T(slope(dot(X, i * si, d, w) + b, y[i]))
                if is_weighted:
                    gb *= s[i]
                add_row(X, i * si, d, -lr * gb, w)
            else:
                gb = sum_rows(
                    X, d, base, si, sj, y, s, rows, n_rows, at, e, ahead, w, b, g, wide, room
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
                for j in range(0, size, lanes):
                    store(mean, j, average(load(mean, j, lanes), load(w, j, lanes), share))
                mean[size] += (w[size] - mean[size]) * share

    return steps
