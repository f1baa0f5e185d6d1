"""The two products of a step of few outputs, X W and X^T R, on rows that are read where they lie.

A vector along K = 10 outputs would be padded to 16, so vectors lie along the features.  W^T and G^T are kept
for that, K rows each of all features: ``transpose_padded`` of ``dot_kernels`` makes one of W, and
``turn_back`` makes G of the other.

    forward:  R rows, N outputs    Z[t, k]  = sum over j of x_t[j] W^T[k, j]       R * N vectors of sums
    back:     NV vectors, K        G^T[k, j] (+)= sum over t of x_t[j] Z[t, k]     NV * K vectors of sums

A minibatch passes in blocks of rows, each of which goes through both products while it lies in the
second-level cache.  So every row comes from memory once; and it is prefetched a block ahead, a line at a time
between the multiplications, which take longer than memory does.  Rows come as a table of addresses, so shuffled
ones need not be gathered; a table that ends inside a group of R rows repeats its last one.

Lane l of an entry of Z sums the j with j % LANES == l in order, whatever the other rows are, so a step is the
same wherever calls of ``advance`` end.  All arguments are addresses, strides in bytes, and counts; trusted.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from numbasgd.matmul.gemm.dispatch import products
from numbasgd.matmul.gemm.microkernel import NO_FMA
from numbasgd.simd.ir import Int, Value
from numbasgd.simd.kernel import Kernel, kernel

MOST = 32  # outputs; the product is as fast for more
_ADDRESSES = 12  # that a loop of ``forward`` can hold


class Cut(NamedTuple):
    """How the products for K outputs are cut.

    N, R : outputs and rows in a tile of ``forward``.  F : rows that it prefetches.
    high, NV : outputs and vectors of features in a tile of ``back``.  Q : lines it prefetches with each row.
    """

    N: int
    R: int
    F: int
    high: int
    NV: int
    Q: int


def cut(K: int, width: int, dtype: np.dtype) -> Cut:
    """The tiles that fit into the registers, the outputs cut evenly.

    A row of ``forward`` passes once for each of its parts, and both products prefetch as many lines as they
    read when F * parts / R + Q / NV is 1; ``forward`` does for most, as long as there are registers for
    addresses.
    """
    tiles = products[dtype].gemm.tiles
    is_roomy = tiles.machine.registers == 32
    N = -(-K // -(-K // min(tiles.lanes, 6 if is_roomy else 3)))
    while -(-K // N) * N > width:  # columns of zeros make the last part full
        N -= 1
    accumulators = 26 if is_roomy else 12
    R = min(6, accumulators // N)
    parts = -(-K // N)
    F = max(1, min(-(-R // parts), _ADDRESSES - R - N))
    high = -(-K // -(-K // (14 if is_roomy else 12)))
    NV = max(1, min(5, accumulators // high))
    return Cut(N, R, F, high, NV, max(0, round((1 - F * parts / R) * NV)))


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
def back(f: Kernel, SIZE: int, LANES: int, HOW: int, K: int, NV: int, Q: int) -> None:
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
def turn_back(f: Kernel, SIZE: int, LANES: int, K: int, WIDTH: int) -> None:
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
