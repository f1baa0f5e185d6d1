"""Rows that fit one vector register: x, w and g are one register each; contracts in ``cpu.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numbasgd.jit import jit
from numbasgd.simd import add, fill, fma, like, load, load_first, mul, store, total, widen

CHUNK = 256  # rows that are summed in the dtype of X; chunks are added up in float64


def make_narrow(slope: Any, lanes: int, variant: str) -> tuple[Callable[..., Any], ...]:
    """Rows of at most ``lanes`` columns: x, w and g are one register each."""

    @jit(variant=variant, forceinline=True)
    def dot(X, i, w):
        d = X.shape[1]
        return total(mul(load_first(X, i * d, lanes, d), load(w, 0, lanes)))

    @jit(variant=variant, forceinline=True)
    def sum_chunk(X, y, rows, start, stop, w, b):
        """Sums of slope_i * x_i and of slope_i over at most CHUNK rows, in registers."""
        d = X.shape[1]
        zero = X.dtype.type(0)
        g = fill(zero, lanes)
        gb = zero
        is_ordered = rows.shape[0] == 0
        for t in range(start, stop):
            i = t if is_ordered else rows[t]
            x = load_first(X, i * d, lanes, d)
            r = slope(total(mul(x, w)) + b, y[i])
            g = fma(fill(r, lanes), x, g)
            gb += r
        return g, gb

    @jit(variant=variant, forceinline=True)
    def sum_registers(X, y, rows, start, stop, w, b):
        """The same over any number of rows, chunk by chunk."""
        if stop - start <= CHUNK:
            return sum_chunk(X, y, rows, start, stop, w, b)
        wide_g = widen(fill(X.dtype.type(0), lanes))
        wide_gb = 0.0
        for c in range(start, stop, CHUNK):
            g, gb = sum_chunk(X, y, rows, c, min(c + CHUNK, stop), w, b)
            wide_g = add(wide_g, widen(g))
            wide_gb += gb
        return like(wide_g, w), X.dtype.type(wide_gb)

    @jit(variant=variant)
    def sum_rows(X, y, rows, start, stop, w, b, g):
        """g := sum of slope_i * x_i; returns the sum of slope_i."""
        gv, gb = sum_registers(X, y, rows, start, stop, load(w, 0, lanes), b)
        store(g, 0, gv)
        return gb

    @jit(variant=variant)
    def steps(X, y, rows, start, stop, batch_size, lr, with_b, w, b):
        """w -= lr * mean gradient, minibatch by minibatch over the positions start <= t < stop."""
        T = X.dtype.type
        wv = load(w, 0, lanes)
        bv = b[0]
        for s in range(start, stop, batch_size):
            e = min(s + batch_size, stop)
            g, gb = sum_registers(X, y, rows, s, e, wv, bv)
            scale = -lr / T(e - s)
            wv = fma(fill(scale, lanes), g, wv)
            if with_b:
                bv += scale * gb
        store(w, 0, wv)
        b[0] = bv

    return dot, sum_rows, steps
