"""The two products of a step of few outputs, X W and X^T R, on rows that are read where they lie.

A vector along K = 10 outputs would be padded to 16, so vectors lie along the features.  W^T and G^T are kept
for that, K rows each of all features: ``transpose_padded`` of ``dot_kernels`` makes one of W, and
``transpose_back`` makes G of the other.

    forward:  R rows, N outputs    Z[t, k]  = sum over j of x_t[j] W^T[k, j]       R * N vectors of sums
    backward: NV vectors, K        G^T[k, j] (+)= sum over t of x_t[j] Z[t, k]     NV * K vectors of sums

A minibatch passes in blocks of rows, each of which goes through both products while it lies in the
second-level cache.  So every row comes from memory once; and it is prefetched a block ahead, a line at a time
between the multiplications, which take longer than memory does.  Rows come as a table of addresses, so shuffled
ones need not be gathered; a table that ends inside a group of R rows repeats its last one.

Lane l of an entry of Z sums the j with j % LANES == l in order, whatever the other rows are, so a step is the
same wherever calls of ``advance`` end.  All arguments are addresses, strides in bytes, and counts; trusted.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.matmul.gemm.dispatch import products
from numbasgd.matmul.gemm.dot_kernels import transpose_padded
from numbasgd.matmul.gemm.microkernel import NO_FMA
from numbasgd.sgd.rows import LINE
from numbasgd.simd.ir import Int, Value
from numbasgd.simd.kernel import Kernel, kernel
from numbasgd.simd.vector import address, pointer_to, prefetch

MOST = 32  # outputs; the product is as fast for more
_ADDRESSES = 12  # that a loop of ``forward`` can hold


class Tiles(NamedTuple):
    """Tile sizes of both products.

    N, R : outputs and rows in a tile of ``forward``.  F : rows that it prefetches.
    K, NV : outputs and vectors of features in a tile of ``backward``.  Q : lines it prefetches with each row.
    """

    N: int
    R: int
    F: int
    K: int
    NV: int
    Q: int


def whole(K: int, tile: int) -> int:
    """K rounded up to whole tiles."""
    return -(-K // tile) * tile


def tiles_for(K: int, width: int, dtype: np.dtype) -> Tiles:
    """The tiles for K outputs that fit into the registers, the outputs cut evenly.

    A row of ``forward`` passes once for each of its parts, and both products prefetch as many lines as they
    read when F * parts / R + Q / NV is 1; ``forward`` does for most, as long as there are registers for
    addresses.
    """
    vectors = products[dtype].gemm.tiles
    is_roomy = vectors.machine.registers == 32
    N = -(-K // -(-K // min(vectors.lanes, 6 if is_roomy else 3)))
    while whole(K, N) > width:  # columns of zeros make the last part full
        N -= 1
    accumulators = 26 if is_roomy else 12
    R = min(6, accumulators // N)
    parts = -(-K // N)
    F = max(1, min(-(-R // parts), _ADDRESSES - R - N))
    high = -(-K // -(-K // (14 if is_roomy else 12)))
    NV = max(1, min(5, accumulators // high))
    return Tiles(N, R, F, high, NV, max(0, round((1 - F * parts / R) * NV)))


@kernel("*rows, *ahead, *w, rsw, *z, rsz, d")
def forward(f: Kernel, SIZE: int, LANES: int, HOW: int, R: int, N: int, F: int) -> None:
    """R rows of Z, N outputs of them; w ends in zeros up to a whole vector; F rows are prefetched."""
    rows, ahead, w, rsw, z, rsz, d = f.arguments
    L = f.lanes(SIZE, LANES, not HOW & NO_FMA)
    places = [(rows + 8 * i).follow() for i in range(R)]
    coming = [(ahead + 8 * i).follow() for i in range(F)]
    bases = [w + rsw * k for k in range(N)]

    def step(j: Int, rest: Int | None, sums: list[Value]) -> list[Value]:
        offset, mask = j * SIZE, None if rest is None else L.first_of(rest)
        x = [L.load(place + offset, mask) for place in places]
        added = []
        for k in range(N):
            y = L.load(bases[k] + offset, aligned=True)
            added += [L.fma(x[i], y, sums[k * R + i]) for i in range(R)]
            if k < F and rest is None:
                (coming[k] + offset).prefetch(level=2)  # needed a block later
        return added

    sums = f.loop_and_tail(d, LANES, step, [L.zero] * (R * N))
    for i in range(R):
        L.store(L.reduce_transpose([sums[k * R + i] for k in range(N)]), z + rsz * i, L.first(N))


@kernel("*rows, *ahead, offset, *r, rsr, *g, rsg, m, left, adds")
def backward(f: Kernel, SIZE: int, LANES: int, HOW: int, K: int, NV: int, Q: int) -> None:
    """NV vectors of K rows of G^T from byte ``offset`` of a row on.

    left : columns from there on; X is not read behind them, and G^T is 0 there.
    """
    rows, ahead, offset, r, rsr, g, rsg, m, left, adds = f.arguments
    L = f.lanes(SIZE, LANES, not HOW & NO_FMA)
    there = [g + (offset + rsg * k + v * L.width) for k in range(K) for v in range(NV)]
    is_sum = adds.is_nonzero()
    begin = [f.select(is_sum, L.load(place, aligned=True), L.zero) for place in there]

    def step(t: Int, sums: list[Value], masks: list[Any]) -> list[Value]:
        place = (rows + t * 8).follow() + offset
        x = [L.load(place + v * L.width, masks[v]) for v in range(NV)]
        if masks[0] is None:
            for q in range(Q):
                ((ahead + (t * Q + q) * 8).follow() + offset).prefetch(level=2)
        slope = r + rsr * t
        added = []
        for k in range(K):
            y = L.broadcast(slope + k * SIZE)
            added += [L.fma(x[v], y, sums[k * NV + v]) for v in range(NV)]
        return added

    for is_whole in f.branches(left >= NV * LANES):
        masks = [None if is_whole else L.first_of(left - v * LANES) for v in range(NV)]
        sums = f.loop(0, m, 1, functools.partial(step, masks=masks), begin)
        for place, value in zip(there, sums, strict=True):
            L.store(value, place, aligned=True)


@kernel("*gt, rsgt, *g, rsg, d")
def transpose_back(f: Kernel, SIZE: int, LANES: int, K: int, WIDTH: int) -> None:
    """WIDTH columns of G, the first K of them rows of G^T and the others 0."""
    gt, rsgt, g, rsg, d = f.arguments
    L = f.lanes(SIZE, LANES)

    def step(j: Int) -> None:
        for k in range(0, WIDTH, LANES):
            rows: list[Value] = [L.zero] * LANES
            for i in range(min(LANES, K - k)):
                rows[i] = L.load(gt + (rsgt * (k + i) + j * SIZE), aligned=True)
            for i, row in enumerate(L.transpose(rows)):
                q = j + i
                mask = f.select(q < d, L.first(WIDTH - k), L.first(0))
                L.store(row, g + (q * rsg + k * SIZE), mask)

    f.loop(0, d, LANES, step)


def make_products(K: int, T: Any, lanes: int, variant: str) -> SimpleNamespace:
    """The loops around the kernels for K outputs; ``Block`` and ``Buffers`` are those of the modules named so.

    R : rows of a tile; a table of addresses repeats its last row up to a whole tile.
    """
    dtype = np.dtype(T)
    zero, nowhere = T(0), np.intp(0)
    SIZE, vectors = dtype.itemsize, products[dtype].gemm.tiles
    LANES, HOW = vectors.lanes, vectors.base
    WIDTH = whole(K, lanes)
    ROW = WIDTH * SIZE  # bytes of a row of W, G and Z
    N, R, F, KR, NV, Q = tiles_for(K, WIDTH, dtype)
    W_ROWS, G_ROWS = whole(K, N), whole(K, KR)
    N_FORWARD = W_ROWS // N
    options: dict[str, Any] = {"variant": variant, "inline": "always"}

    @jit(**options)
    def transpose_weights(W, d, buffers):
        """W^T := the transpose of W."""
        transpose_padded(SIZE, LANES, W_ROWS, W, ROW, buffers.Wt, buffers.ld_Wt, d)

    @jit(**options)
    def plan_prefetch(samples, order, block, buffers):
        """Tables of what is prefetched := the m rows after these m; else the block's first row, in cache."""
        m, ahead = block.m, order.ahead
        first = pointer_to(buffers.rows, nowhere)[0]
        prefetched = pointer_to(buffers.prefetched, nowhere)
        prefetched_backward = pointer_to(buffers.prefetched_backward, nowhere)
        for u in range(m + F):
            prefetched[u] = first
        for u in range(m * Q):
            prefetched_backward[u] = first
        left = (m + R - 1) // R * N_FORWARD * F  # from there on ``backward`` prefetches
        for u in range(m if ahead > 0 else 0):
            p = block.at + m + u
            i = p if order.n_rows == 0 else order.rows[min(p, order.n_rows - 1)]
            row = address(samples.X, samples.base + i * samples.si)
            prefetched[u] = row
            prefetch(pointer_to(row, zero), (samples.d - 1) // LANES * LANES + LANES - 1)
            v = (u - left) * NV
            if 0 <= v <= m * Q - NV:
                for q in range(NV):
                    prefetched_backward[v + q] = row + q * LINE

    @jit(**options)
    def predict(block, d, buffers):
        """Z := X W for a block of rows."""
        prefetched, end = buffers.prefetched, buffers.prefetched + block.m * 8
        for u in range(0, block.m, R):
            for k in range(0, W_ROWS, N):
                Wt, z = buffers.Wt + k * buffers.ld_Wt, block.Z + u * ROW + k * SIZE
                forward(
                    SIZE, LANES, HOW, R, N, F, buffers.rows + 8 * u, prefetched, Wt, buffers.ld_Wt, z, ROW, d
                )
                prefetched = min(prefetched + F * 8, end)

    @jit(**options)
    def add_gradient(block, d, buffers, adds):
        """G^T := Z^T X for a block of rows, or G^T += that where ``adds`` is not 0."""
        for j in range(0, d, NV * LANES):
            for k in range(0, G_ROWS, KR):
                backward(
                    SIZE, LANES, HOW, KR, NV, Q, buffers.rows, buffers.prefetched_backward, j * SIZE,
                    block.Z + k * SIZE, ROW, buffers.Gt + k * buffers.ld_Gt, buffers.ld_Gt, block.m, d - j,
                    adds,
                )  # fmt: skip

    @jit(**options)
    def transpose_gradient(G, d, buffers):
        """G := the transpose of G^T, zeros behind K."""
        transpose_back(SIZE, LANES, K, WIDTH, buffers.Gt, buffers.ld_Gt, G, ROW, d)

    return SimpleNamespace(
        R=R, transpose_weights=transpose_weights, plan_prefetch=plan_prefetch, predict=predict,
        add_gradient=add_gradient, transpose_gradient=transpose_gradient,
    )  # fmt: skip
