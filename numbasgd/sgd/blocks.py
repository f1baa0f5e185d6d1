"""The gradient of K outputs over some rows, and their loss: X W, then the slopes in place, then X^T R.

Few outputs go through ``turned.py``, a block of rows through both products.  More of them make it worth to call
the product (``numbasgd.matmul``), which wants the rows of a minibatch in one piece: they are taken there first,
unless they are in order.  Few rows, or rows of few columns, go through ``plain.py``.

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

from typing import Any

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.matmul.gemm.dispatch import make_product, products
from numbasgd.matmul.gemm.dot_kernels import transpose_padded
from numbasgd.sgd.plain import back_plain, forward_plain
from numbasgd.sgd.rows import CHUNK, LINE, SOON
from numbasgd.sgd.turned import MOST, back, cut, forward, turn_back
from numbasgd.simd.vector import (
    add,
    fill,
    lanes_for,
    load,
    pointer,
    pointer_to,
    prefetch,
    prefetch_near,
    store,
    widen,
)

N_ARGUMENTS = 19  # of ``sum_rows``
SUM, STEP, VALUE = 0, 1, 2  # what it does
SHORT = 20  # fewer rows or columns than that are plain
_PRODUCT_BYTES = 1 << 19  # of the rows that the product sums at once: they are read twice

# Scratch memory begins with tables of addresses: rows, those that ``forward`` asks for, those that ``back``
# asks for, up to five with each row.  The first ends in a number, the factor of ``back_plain``.
_SPARE = 16  # entries of a table, and rows of Z, behind the last
_TABLE = 8 * (CHUNK + _SPARE)
_FACTOR = _TABLE - LINE
_TABLES = 7 * _TABLE


def few(outputs: int) -> int:
    """What kernels must know of K: the number itself when they are made for it."""
    return outputs if outputs <= MOST else 0


@jit(inline="always")
def chunk_rows(d, itemsize, FEW):
    """Rows that are summed in the dtype of X at once; such chunks are added up in float64."""
    return CHUNK if FEW else min(CHUNK, max(32, _PRODUCT_BYTES // max(1, d * itemsize) // 16 * 16))


def scratch_for(d: int, width: int, itemsize: int, FEW: int) -> int:
    """Entries of the scratch memory of ``sum_rows``: tables, Z, W^T and G^T, and a chunk of rows."""
    most = chunk_rows.py_func(d, itemsize, FEW)
    turned = 2 * (FEW + _SPARE) * (d + 6 * LINE) if FEW else 0
    return _TABLES // itemsize + (most + _SPARE) * width + turned + most * d + 4 * LINE


def make_sums(
    slopes: Any, values: Any, T: Any, lanes: int, FEW: int, rows_dtype: np.dtype, variant: str
) -> Any:
    """``sum_rows``."""
    zero, first, nowhere = T(0), rows_dtype.type(0), np.intp(0)
    dtype = np.dtype(T)
    SIZE = dtype.itemsize
    per_line = LINE // SIZE
    widest = lanes_for(1 << 20, SIZE)
    product = make_product(dtype)
    tiles = products[dtype].gemm.tiles
    LANES, HOW, BLOCK_BYTES = tiles.lanes, tiles.base, tiles.machine.l2 // 8
    K_ = max(FEW, 2)
    WIDTH = -(-K_ // lanes) * lanes
    N, R, F, HIGH, NV, Q = cut(K_, WIDTH, dtype)
    PARTS, PARTS_BACK = -(-K_ // N), -(-K_ // HIGH)
    PADDED = PARTS * N
    STEP_BYTES = NV * LANES * SIZE
    ROW = WIDTH * SIZE  # of W, G and Z
    options: dict[str, Any] = {"variant": variant, "forceinline": True, "fastmath": False}
    here: dict[str, Any] = {"variant": variant, "inline": "always"}

    @jit(**options)
    def fetch(X, d, si, rows, n_rows, t, ahead):
        """Ask for the row taken ``ahead`` rows after position t, and for one soon; see ``rows.SOON``."""
        later, soon = rows[min(t + ahead, n_rows - 1)] * si, rows[min(t + SOON, n_rows - 1)] * si
        behind = (d - 1) // lanes * lanes + lanes - 1  # read or masked out, it may lie in a line of its own
        for j in range(0, d, per_line):
            prefetch_near(X, later + j)
        prefetch_near(X, later + behind)
        if ahead > SOON:
            for j in range(0, d, per_line):
                prefetch(X, soon + j)
            prefetch(X, soon + behind)

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
                fetch(pointer(X, base), d, si, rows, n_rows, start + t, ahead)
            for j in range(0, whole, widest):
                store(room, t * d + j, load(X, base + i * si + j, widest))
            for j in range(whole, d):
                room[t * d + j] = X[base + i * si + j * sj]

    @jit(**here)
    def plan_asking(tables, X, d, step, rows, n_rows, at, m, ahead):
        """Fill the tables of what is asked for: the m rows behind these m, or this block's first, at hand."""
        own = pointer_to(tables, nowhere)
        asked, asked_back = pointer_to(tables + _TABLE, nowhere), pointer_to(tables + 2 * _TABLE, nowhere)
        for u in range(m + F):
            asked[u] = own[0]
        for u in range(m * Q):
            asked_back[u] = own[0]
        left = (m + R - 1) // R * PARTS * F  # from there on it is ``back`` that asks
        for u in range(m if ahead > 0 else 0):
            p = at + m + u
            i = p if n_rows == 0 else rows[min(p, n_rows - 1)]
            asked[u] = X + i * step
            prefetch(pointer_to(asked[u], zero), (d - 1) // LANES * LANES + LANES - 1)
            v = (u - left) * NV
            if 0 <= v <= m * Q - NV:
                for q in range(NV):
                    asked_back[v + q] = asked[u] + q * LINE

    @jit(**here)
    def predict(tables, m, d, Wt, of_W, Z):
        asked = tables + _TABLE
        for u in range(0, m, R):
            for k in range(0, PADDED, N):
                z = Z + u * ROW + k * SIZE
                forward(SIZE, LANES, HOW, R, N, F, tables + 8 * u, asked, Wt + k * of_W, of_W, z, ROW, d)
                asked = min(asked + F * 8, tables + _TABLE + m * 8)

    @jit(**here)
    def spread(tables, m, d, Z, Gt, of_G, adds):
        for j in range(0, d, NV * LANES):
            for k in range(0, PARTS_BACK * HIGH, HIGH):
                back(
                    SIZE, LANES, HOW, HIGH, NV, Q, tables, tables + 2 * _TABLE, j * SIZE, Z + k * SIZE, ROW,
                    Gt + k * of_G, of_G, m, d - j, adds,
                )  # fmt: skip

    @jit(variant=f"{variant}_{rows_dtype}", fastmath=False, no_cpython_wrapper=True)
    def sum_rows(
        X, d, base, si, sj, y, s, rows, n_rows, start, stop, ahead, W, K, width, G, wide, scratch, what
    ):  # fmt: skip
        """G := sum of x_i r_i^T, and behind it the sum of r_i, over positions start <= t < stop.

        what : SUM.  STEP: instead, W += G[0] times that, for at most a few rows, whose gradient is then not
        needed.  VALUE: instead, wide[0] := the sum of the losses of rows start <= i < stop.
        Addresses as integers.  Called through its own address: what is compiled into each of several callers
        takes several times as long to compile.
        """
        most = chunk_rows(d, SIZE, FEW)
        row, step = width * SIZE, si * SIZE
        tables = (scratch + LINE - 1) // LINE * LINE
        Z0 = tables + _TABLES
        Wt = (Z0 + (most + _SPARE) * row + LINE - 1) // LINE * LINE
        of_W = (d * SIZE + LANES * SIZE - 1) // (LANES * SIZE) * (LANES * SIZE)
        of_W += LINE if of_W % 1024 == 0 else 0  # rows a power of two apart share few lines of a cache
        of_G = (d * SIZE + STEP_BYTES - 1) // STEP_BYTES * STEP_BYTES
        of_G += LINE if of_G % 1024 == 0 else 0
        Gt = Wt + PADDED * of_W
        room = Gt + PARTS_BACK * HIGH * of_G if FEW else Wt
        X0 = X + base * SIZE
        Xp, Gp, Wp = pointer_to(X, zero), pointer_to(G, zero), pointer_to(W, zero)
        yp, sp, rowsp = pointer_to(y, zero), pointer_to(s, zero), pointer_to(rows, first)
        widep, own = pointer_to(wide, 0.0), pointer_to(tables, nowhere)
        size, length = d * width, (d + 1) * width
        b = pointer(Wp, size)
        factor = pointer_to(tables + _FACTOR, zero)
        factor[0] = Gp[0] if what == STEP else T(1)
        target = W if what == STEP else G
        if FEW and d >= SHORT and stop - start >= SHORT:
            transpose_padded(SIZE, LANES, PADDED, W, row, Wt, of_W, d)
        is_one = stop - start <= most
        loss = 0.0
        if not is_one and what == SUM:
            for j in range(length):
                widep[j] = 0.0
        for c in range(start, stop, most):
            here = min(most, stop - c)
            is_plain = d < SHORT or here < SHORT
            is_product = not FEW and not is_plain
            each = here
            if FEW and not is_plain:  # blocks of equal length, in whole tiles
                n_blocks = max(1, min((here * d * SIZE + BLOCK_BYTES - 1) // BLOCK_BYTES, here // SHORT))
                each = ((here + n_blocks - 1) // n_blocks + R - 1) // R * R
            if is_plain and what == SUM:
                for j in range(0, size, lanes):
                    store(Gp, j, fill(zero, lanes))
            for t in range(0, here, each):
                m, at = min(each, here - t), c + t
                Z = Z0 + t * row
                P, along, across = X0 + (at * step if n_rows == 0 else 0), step, sj
                is_taken = n_rows > 0 if is_product else sj != 1
                if is_taken:
                    take(Xp, d, base, si, sj, rowsp, n_rows, at, m, ahead, pointer_to(room, zero))
                    P, along, across = room, d * SIZE, 1
                if not is_product:
                    for u in range(m):
                        own[u] = P + (u if n_rows == 0 or is_taken else rowsp[at + u]) * along
                        if is_plain and ahead > 0 and n_rows > 0:
                            fetch(pointer(Xp, base), d, si, rowsp, n_rows, at + u, ahead)
                    for u in range(m, m + R):
                        own[u] = own[m - 1]
                if is_plain:
                    for k in range(0, row, lanes * SIZE):
                        forward_plain(SIZE, lanes, HOW, tables, W + k, row, Z + k, row, m, d)
                elif FEW:
                    plan_asking(tables, X0, d, step, rowsp, n_rows, at, m, ahead)
                    predict(tables, m, d, Wt, of_W, Z)
                else:
                    product(P, along // SIZE, across, W, width, 1, Z, width, m, K, d)
                Zp = pointer_to(Z, zero)
                if what == VALUE:
                    loss += values(Zp, width, K, b, yp, sp, at, m)
                    continue
                slopes(Zp, width, K, b, yp, sp, rowsp, n_rows, at, m)
                if is_plain:
                    for k in range(0, row, lanes * SIZE):
                        factor_at = tables + _FACTOR
                        back_plain(SIZE, lanes, HOW, tables, Z + k, row, target + k, row, m, d, factor_at)
                elif FEW:
                    spread(tables, m, d, Z, Gt, of_G, t)
                else:
                    product(P, across, along // SIZE, Z, width, 1, G, width, d, K, m)
            if what == VALUE:
                continue
            if FEW and not is_plain:
                turn_back(SIZE, LANES, K_, WIDTH, Gt, of_G, G, row, d)
            Zp = pointer_to(Z0, zero)
            for k in range(0, width, lanes):
                r = fill(zero, lanes)
                for t in range(here):
                    r = add(r, load(Zp, t * width + k, lanes))
                store(Gp, size + k, r)
            if not is_one:
                for j in range(0, length, lanes):
                    store(widep, j, add(load(widep, j, lanes), widen(load(Gp, j, lanes))))
        if what == VALUE:
            widep[0] = loss
        elif not is_one:
            for j in range(length):
                Gp[j] = T(widep[j])
        return 0

    return sum_rows
