"""The gradient of K outputs over some rows, and their loss: X W, then the slopes in place, then X^T R.

There are three variants of the two products X W and X^T R.  For up to ``MOST`` outputs the kernels of
``multi_transposed.py`` read rows in place, and a block of them goes through both products while it is in cache.
For more outputs the general product (``numbasgd.matmul``) is faster; it needs the rows of a minibatch in one
piece, so they are gathered, unless they are in sequential order.  Few rows, or rows of few columns, go through
``multi_small.py``.

Shapes and roles besides those of ``epoch.py``, whose tuples (``operands.py``) hold addresses here:
K : outputs.  width : K padded to whole registers.  d : columns.
W : (d, width) weights and behind them ``width`` intercepts, in.  G : the same of the gradient.
Z : (m, width) predictions, then slopes, of m rows.  y : (n,) classes 0 to K - 1, or (n, K) targets.
slopes(Z, b, samples, order, start, m, outputs) : Z := s_i * slope(Z + b) for the rows at positions start,
start + 1, ...; zeros behind K.  values(Z, b, samples, start, m, outputs) : the sum of s_i * value(Z + b), in
float64; Z is overwritten.
No sum may be reordered, so that a step is the same wherever calls of ``advance`` end.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numba import types

from numbasgd.compile.options import jit
from numbasgd.matmul.gemm.dispatch import make_product, products
from numbasgd.matmul.gemm.operands import named
from numbasgd.sgd.solvers import multi_small, multi_transposed
from numbasgd.sgd.solvers.multi_buffers import chunk_rows, make_buffers
from numbasgd.sgd.solvers.multi_rows import make_rows
from numbasgd.sgd.solvers.operands import Order, Outputs, Samples, Scratch
from numbasgd.simd.vector import add, fill, load, pointer, pointer_to, store, widen

SUM, STEP, VALUE = 0, 1, 2  # what ``sum_rows`` does
SHORT = 20  # fewer rows or columns than that go through ``multi_small.py``
# sum_rows(samples, order, start, stop, W, outputs, scratch, what)
ARGUMENTS = (
    named(Samples), named(Order), types.intp, types.intp, types.intp, named(Outputs), named(Scratch),
    types.intp,
)  # fmt: skip


class Matrices(NamedTuple):
    """Addresses of W and of what the gradient is written or added to; pointer to the sum of the losses."""

    W: int
    G: int
    loss: Any


def make_sums(
    slopes: Any, values: Any, T: Any, lanes: int, FIXED_K: int, rows_dtype: np.dtype, variant: str
) -> Any:
    """``sum_rows``."""
    zero, first = T(0), rows_dtype.type(0)
    SIZE = np.dtype(T).itemsize
    transposed = multi_transposed.make_products(max(FIXED_K, 2), T, lanes, variant)
    transpose_weights = transposed.transpose_weights
    buffers_of = make_buffers(T, lanes, FIXED_K, variant)
    pass_chunk = _make_chunk(slopes, values, transposed, T, lanes, FIXED_K, variant)

    @jit(variant=variant, inline="always")
    def sum_slopes(Z, m, width, out):
        """out := the sum of m rows of Z."""
        for k in range(0, width, lanes):
            r = fill(zero, lanes)
            for t in range(m):
                r = add(r, load(Z, t * width + k, lanes))
            store(out, k, r)

    @jit(variant=f"{variant}_{rows_dtype}", fastmath=False, no_cpython_wrapper=True)
    def sum_rows(samples, order, start, stop, W, outputs, scratch, what):
        """scratch.g := G, the sum of x_i r_i^T and behind it of r_i, over positions start <= t < stop.

        what : SUM.  STEP: instead, W += G[0] times that, for at most a few rows, whose gradient is then not
        needed.  VALUE: instead, scratch64[0] := the sum of the losses of rows start <= i < stop.
        All pointers are addresses.  Called through its own address: what is compiled into each of several
        callers takes several times as long to compile.
        """
        d, width = samples.d, outputs.width
        size, length = d * width, (d + 1) * width
        most = chunk_rows(d, SIZE, FIXED_K)
        buffers = buffers_of(scratch.rows, d, width, most)
        X, y, s = pointer_to(samples.X, zero), pointer_to(samples.y, zero), pointer_to(samples.s, zero)
        rows = Samples(X, d, samples.base, samples.si, samples.sj, y, s, False)
        positions = Order(pointer_to(order.rows, first), order.n_rows, order.ahead)
        G, total = pointer_to(scratch.g, zero), pointer_to(scratch.scratch64, 0.0)
        pointer_to(buffers.factor, zero)[0] = G[0] if what == STEP else T(1)
        matrices = Matrices(W, W if what == STEP else scratch.g, total)
        if FIXED_K and d >= SHORT and stop - start >= SHORT:
            transpose_weights(W, d, buffers)
        has_total = stop - start > most and what == SUM
        if has_total:
            for j in range(length):
                total[j] = 0.0
        elif what == VALUE:
            total[0] = 0.0
        for at in range(start, stop, most):
            m = min(most, stop - at)
            pass_chunk(rows, positions, at, m, matrices, outputs, buffers, what)
            if what != VALUE:
                sum_slopes(pointer_to(buffers.Z, zero), m, width, pointer(G, size))
            if has_total:
                for j in range(0, length, lanes):
                    store(total, j, add(load(total, j, lanes), widen(load(G, j, lanes))))
        if has_total:
            for j in range(length):
                G[j] = T(total[j])
        return 0

    return sum_rows


def _make_chunk(
    slopes: Any, values: Any, transposed: SimpleNamespace, T: Any, lanes: int, FIXED_K: int, variant: str
) -> Callable[..., Any]:
    """pass_chunk(samples, order, start, n, matrices, outputs, buffers, what): n rows through both products."""
    zero = T(0)
    dtype = np.dtype(T)
    SIZE, BLOCK_BYTES = dtype.itemsize, products[dtype].gemm.tiles.machine.l2 // 8
    R = transposed.R
    product = make_product(dtype)
    small = multi_small.make_products(T, lanes, variant)
    predict_plain, add_gradient_plain = small.predict, small.add_gradient
    predict, add_gradient = transposed.predict, transposed.add_gradient
    plan_prefetch, transpose_gradient = transposed.plan_prefetch, transposed.transpose_gradient
    take_block, list_rows = make_rows(T, lanes, R, variant)

    @jit(variant=variant, forceinline=True, fastmath=False)
    def pass_chunk(samples, order, start, n, matrices, outputs, buffers, what):
        K, width, d = outputs.K, outputs.width, samples.d
        W, G, loss = matrices.W, matrices.G, matrices.loss
        size = d * width
        b = pointer_to(W + size * SIZE, zero)
        is_plain = d < SHORT or n < SHORT
        is_product = not FIXED_K and not is_plain
        is_gathered = order.n_rows > 0 if is_product else samples.sj != 1
        if is_plain and what == SUM:
            for j in range(0, size, lanes):
                store(pointer_to(G, zero), j, fill(zero, lanes))
        each = n
        if FIXED_K and not is_plain:  # blocks of equal length, in whole tiles
            n_blocks = max(1, min((n * d * SIZE + BLOCK_BYTES - 1) // BLOCK_BYTES, n // SHORT))
            each = ((n + n_blocks - 1) // n_blocks + R - 1) // R * R
        for t in range(0, n, each):
            m, Z = min(each, n - t), buffers.Z + t * width * SIZE
            block = take_block(samples, order, start + t, m, Z, is_gathered, buffers.gathered)
            if not is_product:
                list_rows(samples, order, block, is_gathered, is_plain, buffers.rows)
            if is_plain:
                predict_plain(block, W, d, width, buffers)
            elif FIXED_K:
                plan_prefetch(samples, order, block, buffers)
                predict(block, d, buffers)
            else:
                product((block.X, block.rs, block.cs), (W, width, 1), (Z, width, 1), (m, K, d))
            if what == VALUE:
                loss[0] += values(pointer_to(Z, zero), b, samples, start + t, m, outputs)
                continue
            slopes(pointer_to(Z, zero), b, samples, order, start + t, m, outputs)
            if is_plain:
                add_gradient_plain(block, G, d, width, buffers)
            elif FIXED_K:
                add_gradient(block, d, buffers, t)
            else:
                product((block.X, block.cs, block.rs), (Z, width, 1), (G, width, 1), (d, K, m))
        if FIXED_K and not is_plain and what != VALUE:
            transpose_gradient(G, d, buffers)

    return pass_chunk
