"""The gradient of K outputs over some rows: X W, then the slopes in place, then X^T R.

Few rows, or rows of few columns, go through plain loops, four rows at a time with lanes along the outputs, and
are read where they lie.  More of them make it worth to call the product (``numbasgd.matmul``), which wants the
rows of a minibatch in one piece: they are taken there first, unless they are in order.

Shapes and roles besides those of ``cpu.py``:
K : outputs.  width : K padded to whole registers.  d : columns.
W : (d, width) weights and behind them ``width`` intercepts, in.  G : the same of the gradient.
Z : (m, width) predictions, then slopes, of m rows.  y : (n,) classes 0 to K - 1, or (n, K) targets.
slopes(Z, width, K, b, y, s, rows, n_rows, start, m) : Z := s_i * slope(Z + b) for the rows at positions start,
start + 1, ...; zeros behind K.  values(Z, width, K, b, y, s, start, m) : the sum of s_i * value(Z + b), in
float64; Z is overwritten.
Pointers, not arrays.  No sum may be reordered, so that a step is the same wherever calls of ``advance`` end.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from numbasgd.jit import jit
from numbasgd.matmul.entry import make_product
from numbasgd.sgd.rows import LINE
from numbasgd.simd import (
    add,
    address,
    fill,
    fma,
    lanes_for,
    load,
    mul,
    pointer,
    pointer_to,
    prefetch,
    store,
    widen,
)

N_ARGUMENTS = 20  # of ``sum_rows``
SHORT = 16  # fewer rows or columns than that go through the plain loops
_CHUNK_BYTES = 1 << 19  # of the rows that are summed at once: they are read twice


@jit
def chunk_rows(d, itemsize):
    """Rows that are summed in the dtype of X at once; such chunks are added up in float64."""
    return min(256, max(32, _CHUNK_BYTES // max(1, d * itemsize) // 16 * 16))


def make_sums(
    slopes: Any, values: Any, T: Any, lanes: int, rows_dtype: np.dtype, variant: str
) -> SimpleNamespace:
    """``sum_rows`` and ``sum_values``."""
    zero, first = T(0), rows_dtype.type(0)
    itemsize = np.dtype(T).itemsize
    per_line = LINE // itemsize
    widest = lanes_for(1 << 20, itemsize)
    product = make_product(np.dtype(T))
    options: dict[str, Any] = {"variant": variant, "forceinline": True, "fastmath": False}

    @jit(**options)
    def fetch(X, d, at):
        for j in range(0, d, per_line):
            prefetch(X, at + j)

    @jit(**options)
    def take(X, d, base, si, sj, rows, n_rows, start, m, ahead, room):
        """room := the rows at positions start, start + 1, ..., in one piece."""
        if sj != 1 and (si == 1 or si == -1):  # columns lie together: run along them
            for j in range(d):
                for t in range(m):
                    i = start + t if n_rows == 0 else rows[start + t]
                    room[t * d + j] = X[base + i * si + j * sj]
            return
        whole = d // widest * widest if sj == 1 else 0
        for t in range(m):
            i = start + t if n_rows == 0 else rows[start + t]
            if ahead > 0 and n_rows > 0:
                fetch(X, d, base + rows[min(start + t + ahead, n_rows - 1)] * si)
            for j in range(0, whole, widest):
                store(room, t * d + j, load(X, base + i * si + j, widest))
            for j in range(whole, d):
                room[t * d + j] = X[base + i * si + j * sj]

    @jit(**options)
    def predict_four(X, d, a0, a1, a2, a3, W, width, Z, at):
        for c in range(0, width, lanes):
            z0 = fill(T(0), lanes)
            z1, z2, z3 = z0, z0, z0
            for j in range(d):
                w = load(W, j * width + c, lanes)
                z0 = fma(fill(X[a0 + j], lanes), w, z0)
                z1 = fma(fill(X[a1 + j], lanes), w, z1)
                z2 = fma(fill(X[a2 + j], lanes), w, z2)
                z3 = fma(fill(X[a3 + j], lanes), w, z3)
            store(Z, at + c, z0)
            store(Z, at + width + c, z1)
            store(Z, at + 2 * width + c, z2)
            store(Z, at + 3 * width + c, z3)

    @jit(**options)
    def predict_one(X, d, a, W, width, Z, at):
        for c in range(0, width, lanes):
            z0 = fill(T(0), lanes)
            z1, z2, z3 = z0, z0, z0
            j = 0
            while j + 4 <= d:
                w = j * width + c
                z0 = fma(fill(X[a + j], lanes), load(W, w, lanes), z0)
                z1 = fma(fill(X[a + j + 1], lanes), load(W, w + width, lanes), z1)
                z2 = fma(fill(X[a + j + 2], lanes), load(W, w + 2 * width, lanes), z2)
                z3 = fma(fill(X[a + j + 3], lanes), load(W, w + 3 * width, lanes), z3)
                j += 4
            while j < d:
                z0 = fma(fill(X[a + j], lanes), load(W, j * width + c, lanes), z0)
                j += 1
            store(Z, at + c, add(add(z0, z1), add(z2, z3)))

    @jit(**options)
    def predict(X, d, base, si, W, width, rows, n_rows, start, m, Z):
        """Z := X W."""
        t = 0
        while t + 4 <= m:
            p = start + t
            if n_rows == 0:
                i0, i1, i2, i3 = p, p + 1, p + 2, p + 3
            else:
                i0, i1, i2, i3 = rows[p], rows[p + 1], rows[p + 2], rows[p + 3]
            a0, a1, a2, a3 = base + i0 * si, base + i1 * si, base + i2 * si, base + i3 * si
            predict_four(X, d, a0, a1, a2, a3, W, width, Z, t * width)
            t += 4
        while t < m:
            i = start + t if n_rows == 0 else rows[start + t]
            predict_one(X, d, base + i * si, W, width, Z, t * width)
            t += 1

    @jit(**options)
    def spread(X, d, base, si, R, width, rows, n_rows, start, m, G, factor):
        """G += factor * X^T R."""
        scale = fill(factor, lanes)
        t = 0
        while t + 4 <= m:
            p = start + t
            if n_rows == 0:
                i0, i1, i2, i3 = p, p + 1, p + 2, p + 3
            else:
                i0, i1, i2, i3 = rows[p], rows[p + 1], rows[p + 2], rows[p + 3]
            a0, a1, a2, a3 = base + i0 * si, base + i1 * si, base + i2 * si, base + i3 * si
            for c in range(0, width, lanes):
                at = t * width + c
                r0, r1 = mul(scale, load(R, at, lanes)), mul(scale, load(R, at + width, lanes))
                r2 = mul(scale, load(R, at + 2 * width, lanes))
                r3 = mul(scale, load(R, at + 3 * width, lanes))
                for j in range(d):
                    g = fma(fill(X[a0 + j], lanes), r0, load(G, j * width + c, lanes))
                    g = fma(fill(X[a1 + j], lanes), r1, g)
                    g = fma(fill(X[a2 + j], lanes), r2, g)
                    store(G, j * width + c, fma(fill(X[a3 + j], lanes), r3, g))
            t += 4
        while t < m:
            i = start + t if n_rows == 0 else rows[start + t]
            a = base + i * si
            for c in range(0, width, lanes):
                r = mul(scale, load(R, t * width + c, lanes))
                for j in range(d):
                    store(G, j * width + c, fma(fill(X[a + j], lanes), r, load(G, j * width + c, lanes)))
            t += 1

    @jit(variant=f"{variant}_{rows_dtype}", fastmath=False)
    def sum_rows(
        X, d, base, si, sj, y, s, rows, n_rows, start, stop, ahead, W, K, width, G, wide, Z, room, is_step
    ):  # fmt: skip
        """G := sum of x_i r_i^T, and behind it the sum of r_i, over positions start <= t < stop.

        is_step : instead, W += G[0] times that, for at most a few rows, whose gradient is then not needed.
        Addresses as integers.  Called through its own address: what is compiled into each of several callers
        takes several times as long to compile.
        """
        X, y, s, W = pointer_to(X, zero), pointer_to(y, zero), pointer_to(s, zero), pointer_to(W, zero)
        G, Z, room = pointer_to(G, zero), pointer_to(Z, zero), pointer_to(room, zero)
        rows, wide = pointer_to(rows, first), pointer_to(wide, 0.0)
        most = chunk_rows(d, itemsize)
        size, length = d * width, (d + 1) * width
        b = pointer(W, size)
        target = W if is_step else G
        factor = G[0] if is_step else T(1)
        is_one = stop - start <= most
        if not is_one:
            for j in range(length):
                wide[j] = 0.0
        for c in range(start, stop, most):
            m = min(most, stop - c)
            is_short = d < SHORT or m < SHORT
            P, at, along, across, n_there, there = X, base, si, sj, n_rows, c
            if (is_short and sj != 1) or (not is_short and n_rows > 0):
                take(X, d, base, si, sj, rows, n_rows, c, m, ahead, room)
                P, at, along, across, n_there, there = room, 0, d, 1, 0, 0
            elif ahead > 0 and n_rows > 0:
                for t in range(c, c + m):
                    fetch(X, d, base + rows[min(t + ahead, n_rows - 1)] * si)
            if is_short:
                predict(P, d, at, along, W, width, rows, n_there, there, m, Z)
            else:
                place = address(P, at + there * along)
                product(place, along, across, address(W, 0), width, 1, address(Z, 0), width, m, K, d)
            slopes(Z, width, K, b, y, s, rows, n_rows, c, m)
            if is_short:
                if not is_step:
                    for j in range(0, size, lanes):
                        store(G, j, fill(zero, lanes))
                spread(P, d, at, along, Z, width, rows, n_there, there, m, target, factor)
            else:
                place = address(P, at + there * along)
                product(place, across, along, address(Z, 0), width, 1, address(G, 0), width, d, K, m)
            for k in range(0, width, lanes):
                r = fill(zero, lanes)
                for t in range(m):
                    r = add(r, load(Z, t * width + k, lanes))
                store(G, size + k, r)
            if not is_one:
                for j in range(0, length, lanes):
                    store(wide, j, add(load(wide, j, lanes), widen(load(G, j, lanes))))
        if not is_one:
            for j in range(length):
                G[j] = T(wide[j])
        return 0

    @jit(variant=variant, fastmath=False)
    def sum_values(X, d, base, si, sj, y, s, start, stop, W, K, width, Z):
        """The sum of the losses of rows start <= i < stop, in float64."""
        acc = 0.0
        most = chunk_rows(d, itemsize)
        for c in range(start, stop, most):
            m = min(most, stop - c)
            place = address(X, base + c * si)
            product(place, si, sj, address(W, 0), width, 1, address(Z, 0), width, m, K, d)
            acc += values(Z, width, K, pointer(W, d * width), y, s, c, m)
        return acc

    return SimpleNamespace(sum_rows=sum_rows, sum_values=sum_values)


def make_each(
    value: Any, slope: Any, T: Any, lanes: int, is_weighted: bool, variant: str
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """``slopes`` and ``values`` of a loss of one prediction, summed over the K outputs."""

    @jit(variant=variant, forceinline=True, fastmath=False)
    def slopes(Z, width, K, b, y, s, rows, n_rows, start, m):
        for t in range(m):
            at = t * width
            i = start + t if n_rows == 0 else rows[start + t]
            for k in range(K):
                r = T(slope(Z[at + k] + b[k], y[i * K + k]))
                Z[at + k] = r * s[i] if is_weighted else r
            for k in range(K, width):
                Z[at + k] = T(0)

    @jit(variant=variant, forceinline=True, fastmath=False)
    def values(Z, width, K, b, y, s, start, m):
        acc = 0.0
        for t in range(m):
            i = start + t
            v = 0.0
            for k in range(K):
                v += value(np.float64(Z[t * width + k] + b[k]), np.float64(y[i * K + k]))
            acc += v * s[i] if is_weighted else v
        return acc

    return slopes, values
