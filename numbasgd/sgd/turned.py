"""The two products of a step of few outputs, X W and X^T R, on rows that are read where they lie.

A vector along K = 10 outputs would be padded to 16, so vectors lie along the features.  W^T and G^T are kept
for that, K rows each of all features: ``turn`` makes one of W, ``turn_back`` makes G of the other.

    forward:  R rows, N outputs    Z[t, k]  = sum over j of x_t[j] W^T[k, j]       R * N vectors of sums
    back:     NV vectors, K        G^T[k, j] (+)= sum over t of x_t[j] Z[t, k]     NV * K vectors of sums

A minibatch passes in blocks of rows, each of which goes through both products while it lies in the
second-level cache.  So every row comes from memory once; and it is asked for a block ahead, a line at a time
between the multiplications, which take longer than memory does.  Rows come as a table of addresses, so shuffled
ones need not be gathered; a table that ends inside a group of R rows repeats its last one.

Lane l of an entry of Z sums the j with j % LANES == l in order, whatever the other rows are, so a step is the
same wherever calls of ``advance`` end.  All arguments are addresses, strides in bytes, and counts; trusted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from numbasgd.matmul.gemm.dispatch import products
from numbasgd.matmul.gemm.microkernel import NO_FMA
from numbasgd.sgd.emit import ask, loop, new_function, row_at
from numbasgd.simd.ir import BYTES, Lanes, at, emitted, i64, is_literal

MOST = 32  # outputs; the product is as fast for more
_ADDRESSES = 12  # that a loop of ``forward`` can hold


class Cut(NamedTuple):
    """How the products for K outputs are cut.

    N, R : outputs and rows in a tile of ``forward``.  F : rows that it asks for.
    high, NV : outputs and vectors of features in a tile of ``back``.  Q : lines that it asks for with each row.
    """

    N: int
    R: int
    F: int
    high: int
    NV: int
    Q: int


def cut(K: int, width: int, dtype: np.dtype) -> Cut:
    """The tiles that fit into the registers, the outputs cut evenly.

    A row of ``forward`` passes once for each of its parts, and both products ask for as many lines as they read
    when F * parts / R + Q / NV is 1; ``forward`` does for most, as long as there are registers for addresses.
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


def _forward(module: ir.Module, size: int, lanes: int, how: int, R: int, N: int, F: int) -> ir.Function:
    """f(rows, ahead, w, rsw, z, rsz, d): R rows of Z, N outputs; w ends in zeros up to a whole vector."""
    name = f"numbasgd_forward_{size}_{lanes}_{how}_{R}_{N}_{F}"
    if name in module.globals:
        return module.globals[name]
    f, b = new_function(module, name, 7)
    rows, ahead, w, rsw, z, rsz, d = f.args
    L = Lanes(size, lanes, not how & NO_FMA)
    w, z = b.inttoptr(w, BYTES), b.inttoptr(z, BYTES)
    places = [row_at(b, rows, i) for i in range(R)]
    asked = [row_at(b, ahead, i) for i in range(F)]
    bases = [at(b, w, b.mul(rsw, i64(k))) for k in range(N)]

    def step(j: ir.Value, sums: list[ir.Value], mask: ir.Value | None) -> list[ir.Value]:
        offset = b.mul(j, i64(size))
        x = [L.load(b, at(b, place, offset), mask) for place in places]
        added = []
        for k in range(N):
            y = L.load(b, at(b, bases[k], offset), aligned=True)
            added += [L.multiply_add(b, x[i], y, sums[k * R + i]) for i in range(R)]
            if k < F and mask is None:
                ask(b, at(b, asked[k], offset))
        return added

    whole = b.and_(d, i64(-lanes))
    sums = loop(b, i64(0), whole, lanes, [L.zero] * (R * N), lambda j, sums: step(j, sums, None))
    mask = L.first_of(b, b.sub(d, whole))
    # At most once: what is left of the rows.
    sums = loop(b, whole, d, lanes, sums, lambda j, sums: step(j, sums, mask))
    for i in range(R):
        L.store(b, L.sums(b, [sums[k * R + i] for k in range(N)]), at(b, z, b.mul(rsz, i64(i))), L.first(N))
    b.ret_void()
    return f


def _back(module: ir.Module, size: int, lanes: int, how: int, K: int, NV: int, Q: int) -> ir.Function:
    """f(rows, ahead, at, r, rsr, g, rsg, m, left, adds): NV vectors of K rows of G^T from column ``at`` on.

    left : columns from there on; X is not read behind them, and G^T is 0 there.
    """
    name = f"numbasgd_back_{size}_{lanes}_{how}_{K}_{NV}_{Q}"
    if name in module.globals:
        return module.globals[name]
    f, b = new_function(module, name, 10)
    rows, ahead, offset, r, rsr, g, rsg, m, left, adds = f.args
    L = Lanes(size, lanes, not how & NO_FMA)
    r = b.inttoptr(r, BYTES)
    there = [
        at(b, b.inttoptr(g, BYTES), b.add(b.add(offset, b.mul(rsg, i64(k))), i64(v * L.width)))
        for k in range(K)
        for v in range(NV)
    ]
    is_sum = b.icmp_signed("!=", adds, i64(0))
    begin = [b.select(is_sum, L.load(b, place, aligned=True), L.zero) for place in there]

    def part(is_whole: bool) -> None:
        masks = [None if is_whole else L.first_of(b, b.sub(left, i64(v * lanes))) for v in range(NV)]

        def step(t: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            place = at(b, row_at(b, rows, t), offset)
            x = [L.load(b, at(b, place, v * L.width), masks[v]) for v in range(NV)]
            if is_whole:
                for q in range(Q):
                    ask(b, at(b, row_at(b, ahead, b.add(b.mul(t, i64(Q)), i64(q))), offset))
            slope = at(b, r, b.mul(rsr, t))
            added = []
            for k in range(K):
                y = L.spread(b, at(b, slope, k * size))
                added += [L.multiply_add(b, x[v], y, sums[k * NV + v]) for v in range(NV)]
            return added

        for place, value in zip(there, loop(b, i64(0), m, 1, begin, step), strict=True):
            L.store(b, value, place, aligned=True)

    with b.if_else(b.icmp_signed(">=", left, i64(NV * lanes))) as (whole, rest):
        with whole:
            part(True)
        with rest:
            part(False)
    b.ret_void()
    return f


def _turn(module: ir.Module, size: int, lanes: int, N: int) -> ir.Function:
    """f(w, rsw, wt, rswt, d): N rows of W^T from N columns of W, 0 up to a whole vector."""
    name = f"numbasgd_turn_{size}_{lanes}_{N}"
    if name in module.globals:
        return module.globals[name]
    f, b = new_function(module, name, 5)
    source, rsw, turned, rst, d = f.args
    L = Lanes(size, lanes)
    source, turned = b.inttoptr(source, BYTES), b.inttoptr(turned, BYTES)

    def body(j: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
        for k in range(0, N, lanes):
            rows, count = [], min(lanes, N - k)
            for i in range(lanes):
                q = b.add(j, i64(i))
                mask = b.select(b.icmp_signed("<", q, d), L.first(count), L.first(0))
                rows.append(L.load(b, at(b, source, b.add(b.mul(q, rsw), i64(k * size))), mask))
            for i, row in enumerate(L.transpose(b, rows)[:count]):
                place = at(b, turned, b.add(b.mul(rst, i64(k + i)), b.mul(j, i64(size))))
                L.store(b, row, place, aligned=True)
        return []

    loop(b, i64(0), d, lanes, [], body)
    b.ret_void()
    return f


def _turn_back(module: ir.Module, size: int, lanes: int, K: int, width: int) -> ir.Function:
    """f(gt, rsgt, g, rsg, d): ``width`` columns of G, the first K of them rows of G^T and the others 0."""
    name = f"numbasgd_turn_back_{size}_{lanes}_{K}_{width}"
    if name in module.globals:
        return module.globals[name]
    f, b = new_function(module, name, 5)
    turned, rst, g, rsg, d = f.args
    L = Lanes(size, lanes)
    turned, g = b.inttoptr(turned, BYTES), b.inttoptr(g, BYTES)

    def body(j: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
        for k in range(0, width, lanes):
            rows = [L.zero] * lanes
            for i in range(min(lanes, K - k)):
                place = b.add(b.mul(rst, i64(k + i)), b.mul(j, i64(size)))
                rows[i] = L.load(b, at(b, turned, place), aligned=True)
            for i, row in enumerate(L.transpose(b, rows)):
                q = b.add(j, i64(i))
                mask = b.select(b.icmp_signed("<", q, d), L.first(width - k), L.first(0))
                L.store(b, row, at(b, g, b.add(b.mul(q, rsg), i64(k * size))), mask)
        return []

    loop(b, i64(0), d, lanes, [], body)
    b.ret_void()
    return f


@intrinsic(prefer_literal=True)
def forward(typingctx, SIZE, LANES, HOW, R, N, F, rows, ahead, w, rsw, z, rsz, d):
    """R rows of Z, N outputs of them; F rows are asked for."""
    literals = (SIZE, LANES, HOW, R, N, F)
    if not is_literal(*literals):
        return None
    return emitted(literals, 7, lambda b, v, args: b.call(_forward(b.module, *v), args))


@intrinsic(prefer_literal=True)
def back(typingctx, SIZE, LANES, HOW, K, NV, Q, rows, ahead, offset, r, rsr, g, rsg, m, left, adds):
    """NV vectors of K rows of G^T."""
    literals = (SIZE, LANES, HOW, K, NV, Q)
    if not is_literal(*literals):
        return None
    return emitted(literals, 10, lambda b, v, args: b.call(_back(b.module, *v), args))


@intrinsic(prefer_literal=True)
def turn(typingctx, SIZE, LANES, N, w, rsw, wt, rswt, d):
    """N rows of W^T."""
    if not is_literal(SIZE, LANES, N):
        return None
    return emitted((SIZE, LANES, N), 5, lambda b, v, args: b.call(_turn(b.module, *v), args))


@intrinsic(prefer_literal=True)
def turn_back(typingctx, SIZE, LANES, K, WIDTH, gt, rsgt, g, rsg, d):
    """WIDTH columns of G from K rows of G^T."""
    literals = (SIZE, LANES, K, WIDTH)
    if not is_literal(*literals):
        return None
    return emitted(literals, 5, lambda b, v, args: b.call(_turn_back(b.module, *v), args))
