"""Rows of several vector registers: x, w and g pass through piece by piece; contracts in ``cpu.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numbasgd.jit import jit
from numbasgd.sgd.narrow import CHUNK
from numbasgd.simd import add, fill, fma, load, load_first, mul, store, total


def make_wide(slope: Any, lanes: int, variant: str) -> tuple[Callable[..., Any], ...]:
    """Rows of more than ``lanes`` columns: x, w and g pass through registers piece by piece."""

    @jit(variant=variant, forceinline=True)
    def dot(X, i, w):
        d = X.shape[1]
        whole = d // lanes * lanes
        at = i * d
        z0 = mul(load_first(X, at + whole, lanes, d - whole), load(w, min(whole, w.shape[0] - lanes), lanes))
        z1 = fill(X.dtype.type(0), lanes)
        j = 0
        while j + 2 * lanes <= whole:
            z0 = fma(load(X, at + j, lanes), load(w, j, lanes), z0)
            z1 = fma(load(X, at + j + lanes, lanes), load(w, j + lanes, lanes), z1)
            j += 2 * lanes
        if j < whole:
            z0 = fma(load(X, at + j, lanes), load(w, j, lanes), z0)
        return total(add(z0, z1))

    @jit(variant=variant, forceinline=True)
    def add_row(X, i, r, g):
        """g += r * x_i."""
        d = X.shape[1]
        whole = d // lanes * lanes
        at = i * d
        rv = fill(r, lanes)
        for j in range(0, whole, lanes):
            store(g, j, fma(rv, load(X, at + j, lanes), load(g, j, lanes)))
        if whole < d:
            store(g, whole, fma(rv, load_first(X, at + whole, lanes, d - whole), load(g, whole, lanes)))

    @jit(variant=variant, forceinline=True)
    def add_four(X, i0, i1, i2, i3, r0, r1, r2, r3, g):
        """g += r0 * x_i0 + r1 * x_i1 + r2 * x_i2 + r3 * x_i3; g is loaded and stored once for the four."""
        d = X.shape[1]
        whole = d // lanes * lanes
        a0, a1, a2, a3 = i0 * d, i1 * d, i2 * d, i3 * d
        v0, v1, v2, v3 = fill(r0, lanes), fill(r1, lanes), fill(r2, lanes), fill(r3, lanes)
        for j in range(0, whole, lanes):
            gv = fma(v0, load(X, a0 + j, lanes), load(g, j, lanes))
            gv = fma(v1, load(X, a1 + j, lanes), gv)
            gv = fma(v2, load(X, a2 + j, lanes), gv)
            store(g, j, fma(v3, load(X, a3 + j, lanes), gv))
        if whole < d:
            rest = d - whole
            gv = fma(v0, load_first(X, a0 + whole, lanes, rest), load(g, whole, lanes))
            gv = fma(v1, load_first(X, a1 + whole, lanes, rest), gv)
            gv = fma(v2, load_first(X, a2 + whole, lanes, rest), gv)
            store(g, whole, fma(v3, load_first(X, a3 + whole, lanes, rest), gv))

    @jit(variant=variant, forceinline=True)
    def dot_four(X, i0, i1, i2, i3, w):
        """x_i . w for four rows; a piece of w is loaded once for the four."""
        d = X.shape[1]
        whole = d // lanes * lanes
        a0, a1, a2, a3 = i0 * d, i1 * d, i2 * d, i3 * d
        zero = fill(X.dtype.type(0), lanes)
        z0, z1, z2, z3 = zero, zero, zero, zero
        for j in range(0, whole, lanes):
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
    def sum_chunk(X, y, rows, start, stop, w, b, g):
        """g += sum of slope_i * x_i over at most CHUNK rows; returns the sum of slope_i."""
        gb = X.dtype.type(0)
        is_ordered = rows.shape[0] == 0
        t = start
        while t + 4 <= stop:
            if is_ordered:
                i0, i1, i2, i3 = t, t + 1, t + 2, t + 3
            else:
                i0, i1, i2, i3 = rows[t], rows[t + 1], rows[t + 2], rows[t + 3]
            z0, z1, z2, z3 = dot_four(X, i0, i1, i2, i3, w)
            r0, r1 = slope(z0 + b, y[i0]), slope(z1 + b, y[i1])
            r2, r3 = slope(z2 + b, y[i2]), slope(z3 + b, y[i3])
            add_four(X, i0, i1, i2, i3, r0, r1, r2, r3, g)
            gb += (r0 + r1) + (r2 + r3)
            t += 4
        while t < stop:
            i = t if is_ordered else rows[t]
            r = slope(dot(X, i, w) + b, y[i])
            add_row(X, i, r, g)
            gb += r
            t += 1
        return gb

    @jit(variant=variant)
    def sum_rows(X, y, rows, start, stop, w, b, g):
        """g := sum of slope_i * x_i; returns the sum of slope_i."""
        g[:] = 0
        if stop - start <= CHUNK:
            return sum_chunk(X, y, rows, start, stop, w, b, g)
        wide_g = np.zeros(g.shape[0])
        wide_gb = 0.0
        for c in range(start, stop, CHUNK):
            wide_gb += sum_chunk(X, y, rows, c, min(c + CHUNK, stop), w, b, g)
            for j in range(g.shape[0]):
                wide_g[j] += g[j]
                g[j] = 0
        for j in range(g.shape[0]):
            g[j] = wide_g[j]
        return X.dtype.type(wide_gb)

    @jit(variant=variant)
    def steps(X, y, rows, start, stop, batch_size, lr, with_b, w, b):
        """w -= lr * mean gradient, minibatch by minibatch over the positions start <= t < stop.

        A minibatch of one row needs no g: its row is added to w.
        """
        T = X.dtype.type
        g = np.empty_like(w)
        for s in range(start, stop, batch_size):
            e = min(s + batch_size, stop)
            scale = -lr / T(e - s)
            if e - s == 1:
                i = s if rows.shape[0] == 0 else rows[s]
                gb = slope(dot(X, i, w) + b[0], y[i])
                add_row(X, i, scale * gb, w)
            else:
                gb = sum_rows(X, y, rows, s, e, w, b[0], g)
                for j in range(0, w.shape[0], lanes):
                    store(w, j, fma(fill(scale, lanes), load(g, j, lanes), load(w, j, lanes)))
            if with_b:
                b[0] += scale * gb

    return dot, sum_rows, steps
