"""Minibatch SGD on a CPU: gradients, steps and whole epochs of a linear model, one pass over the rows.

``kernels(loss, d, dtype)`` gives the compiled functions for rows of ``d`` columns.  There are two families
with the same contracts.  *Narrow* rows fit one vector register: the weights then stay in a register for
a whole epoch and a step touches no memory but its rows.  *Wide* rows take several registers: four rows are
worked on at once, so that each piece of w and g that is loaded serves four rows.

Shapes and roles, the same everywhere:
X : (n, d) rows, C-ordered, float32 or float64, in.  y : (n,) targets, same dtype, in.
rows : integers, the order in which rows are taken; of length 0 when that is 0, 1, 2, ...
w : weights, padded with zeros to whole registers (``padded(d, lanes)``), in and out.
b : (1,) intercept, in and out.  g : like w.
Arguments are trusted; ``numbasgd.train`` and ``numbasgd.gradient`` are the checked ways in.

Sums over many rows are made in two levels, CHUNK rows in the dtype of X and the chunks in float64, so the
rounding error of a float32 gradient does not grow with the number of rows (Higham, Accuracy and Stability of
Numerical Algorithms, 2nd ed., section 4.2).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from numbasgd.jit import jit
from numbasgd.sgd import losses
from numbasgd.sgd.sampling import fill_order
from numbasgd.simd import add, fill, fma, lanes_for, like, load, load_first, mul, store, total, widen

CHUNK = 256


def padded(d: int, lanes: int) -> int:
    """The length of w and g in whole registers."""
    return max(1, -(-d // lanes)) * lanes


def kernels(loss: str, d: int, dtype: np.dtype) -> SimpleNamespace:
    """The compiled functions for one loss and rows of ``d`` columns; see the contracts above.

    ``lanes`` : floats in a register.
    ``gradient(X, y, w, b, rows, out)`` : the mean gradient, w and out unpadded.
    ``mean_loss(X, y, w, b)`` : the mean loss over all rows, in float64.
    ``advance(X, y, order, drawn, sampling, seed, begin, end, batch_size, lr, with_b, w, b)`` : the steps.
    """
    lanes = lanes_for(d, dtype.itemsize)
    return _make(loss, lanes, d <= lanes)


@functools.cache
def _make(loss: str, lanes: int, is_narrow: bool) -> SimpleNamespace:
    value = jit(getattr(losses, f"{loss}_value"))
    slope = jit(getattr(losses, f"{loss}_slope"))
    variant = f"{loss}_{lanes}_{'narrow' if is_narrow else 'wide'}"
    dot, sum_rows, steps = (_narrow if is_narrow else _wide)(slope, lanes, variant)

    @jit(variant=variant)
    def gradient(X, y, w, b, rows, out):
        """out := (mean of slope_i * x_i, mean of slope_i) over the rows; out has d + 1 entries."""
        d = X.shape[1]
        count = rows.shape[0] if rows.shape[0] > 0 else X.shape[0]
        size = max(1, (d + lanes - 1) // lanes) * lanes
        wp = np.zeros(size, X.dtype)
        wp[:d] = w
        g = np.zeros(size, X.dtype)
        gb = sum_rows(X, y, rows, 0, count, wp, b, g)
        for j in range(d):
            out[j] = g[j] / count
        out[d] = gb / count

    @jit(variant=variant)
    def mean_loss(X, y, w, b):
        """Mean over all rows of value(x_i . w + b, y_i), summed in float64."""
        acc = 0.0
        for i in range(X.shape[0]):
            acc += value(np.float64(dot(X, i, w) + b[0]), np.float64(y[i]))
        return acc / X.shape[0]

    @jit(variant=variant)
    def advance(X, y, order, drawn, sampling, seed, begin, end, batch_size, lr, with_b, w, b):
        """The steps that hold samples begin, ..., end - 1, counted over all epochs; no Python in between.

        order : (n,) the rows of epoch drawn[0], drawn anew whenever another epoch begins; of length 0 for
        steps over all rows, which are the same in any order.  Both ends must fall between two steps.
        There is one place that makes steps, so that stopping in between cannot change how sums are rounded.
        """
        n = X.shape[0]
        while begin < end:
            epoch = begin // n
            start = begin - epoch * n
            stop = min(n, start + end - begin)
            if order.shape[0] > 0 and drawn[0] != epoch:
                fill_order(order, sampling, seed, epoch)
                drawn[0] = epoch
            steps(X, y, order, start, stop, batch_size, lr, with_b, w, b)
            begin += stop - start

    return SimpleNamespace(lanes=lanes, gradient=gradient, mean_loss=mean_loss, advance=advance)


def _narrow(slope: Any, lanes: int, variant: str) -> tuple[Callable[..., Any], ...]:
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


def _wide(slope: Any, lanes: int, variant: str) -> tuple[Callable[..., Any], ...]:
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
