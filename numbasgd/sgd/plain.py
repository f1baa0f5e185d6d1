"""The two products of a step on short rows, or on few, for which turning the weights would take longest.

    forward_plain:  Z := X W                    back_plain:  G += factor * X^T R

Vectors lie along the outputs, one register of them at a time, four rows at a time and then one.  Rows come as a
table of addresses.  All arguments are addresses, strides in bytes, and counts; trusted.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.extending import intrinsic

from numbasgd.matmul.gemm.microkernel import NO_FMA
from numbasgd.sgd.emit import loop, new_function, row_at
from numbasgd.simd.ir import BYTES, Lanes, at, emitted, i64, is_literal

FOUR = 4  # rows at a time, or features of one row: so many chains of sums hide how long one addition takes


def _forward_plain(module: ir.Module, size: int, lanes: int, how: int) -> ir.Function:
    """f(rows, w, rsw, z, rsz, m, d): a register of columns of Z."""
    name = f"numbasgd_forward_plain_{size}_{lanes}_{how}"
    if name in module.globals:
        return module.globals[name]
    f, b = new_function(module, name, 7)
    rows, w, rsw, z, rsz, m, d = f.args
    L = Lanes(size, lanes, not how & NO_FMA)
    w, z = b.inttoptr(w, BYTES), b.inttoptr(z, BYTES)

    def term(row: ir.Value, j: ir.Value, y: ir.Value, total: ir.Value) -> ir.Value:
        return L.multiply_add(b, L.spread(b, at(b, row, b.mul(j, i64(size)))), y, total)

    def weights(j: ir.Value) -> ir.Value:
        return L.load(b, at(b, w, b.mul(j, rsw)))

    def four(t: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
        places = [row_at(b, rows, b.add(t, i64(i))) for i in range(FOUR)]

        def body(j: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            y = weights(j)
            return [term(place, j, y, total) for place, total in zip(places, sums, strict=True)]

        for i, total in enumerate(loop(b, i64(0), d, 1, [L.zero] * FOUR, body)):
            L.store(b, total, at(b, z, b.mul(rsz, b.add(t, i64(i)))))
        return []

    def one(t: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
        place = row_at(b, rows, t)

        def body(j: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            steps = [b.add(j, i64(i)) for i in range(FOUR)]
            return [term(place, q, weights(q), total) for q, total in zip(steps, sums, strict=True)]

        whole_d = b.and_(d, i64(-FOUR))
        sums = loop(b, i64(0), whole_d, FOUR, [L.zero] * FOUR, body)
        rest = loop(b, whole_d, d, 1, sums[:1], lambda j, sums: [term(place, j, weights(j), sums[0])])
        total = b.fadd(b.fadd(rest[0], sums[1]), b.fadd(sums[2], sums[3]))
        L.store(b, total, at(b, z, b.mul(rsz, t)))
        return []

    whole = b.and_(m, i64(-FOUR))
    loop(b, i64(0), whole, FOUR, [], four)
    loop(b, whole, m, 1, [], one)
    b.ret_void()
    return f


def _back_plain(module: ir.Module, size: int, lanes: int, how: int) -> ir.Function:
    """f(rows, r, rsr, g, rsg, m, d, factor): a register of columns of G += factor * X^T R."""
    name = f"numbasgd_back_plain_{size}_{lanes}_{how}"
    if name in module.globals:
        return module.globals[name]
    f, b = new_function(module, name, 8)
    rows, r, rsr, g, rsg, m, d, factor = f.args
    L = Lanes(size, lanes, not how & NO_FMA)
    r, g = b.inttoptr(r, BYTES), b.inttoptr(g, BYTES)
    scale = L.spread(b, b.inttoptr(factor, BYTES))

    def group(count: int) -> Callable[[ir.Value, list[ir.Value]], list[ir.Value]]:
        def body(t: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            steps = [b.add(t, i64(i)) for i in range(count)]
            places = [row_at(b, rows, q) for q in steps]
            slopes = [b.fmul(scale, L.load(b, at(b, r, b.mul(rsr, q)))) for q in steps]

            def inner(j: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
                there = at(b, g, b.mul(j, rsg))
                total = L.load(b, there)
                for place, slope in zip(places, slopes, strict=True):
                    x = L.spread(b, at(b, place, b.mul(j, i64(size))))
                    total = L.multiply_add(b, x, slope, total)
                L.store(b, total, there)
                return []

            loop(b, i64(0), d, 1, [], inner)
            return []

        return body

    whole = b.and_(m, i64(-FOUR))
    loop(b, i64(0), whole, FOUR, [], group(FOUR))
    loop(b, whole, m, 1, [], group(1))
    b.ret_void()
    return f


@intrinsic(prefer_literal=True)
def forward_plain(typingctx, SIZE, LANES, HOW, rows, w, rsw, z, rsz, m, d):
    """A register of columns of Z."""
    if not is_literal(SIZE, LANES, HOW):
        return None
    return emitted((SIZE, LANES, HOW), 7, lambda b, v, args: b.call(_forward_plain(b.module, *v), args))


@intrinsic(prefer_literal=True)
def back_plain(typingctx, SIZE, LANES, HOW, rows, r, rsr, g, rsg, m, d, factor):
    """A register of columns of G += factor * X^T R."""
    if not is_literal(SIZE, LANES, HOW):
        return None
    return emitted((SIZE, LANES, HOW), 8, lambda b, v, args: b.call(_back_plain(b.module, *v), args))
