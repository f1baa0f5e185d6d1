"""Packing: a block of a matrix copied into panels that a micro-kernel walks through without a jump.

A panel holds ``width`` numbers of every step p, one step after the other, wherever they came from:

    panel[p * width + i] = source at  i * stride_i + p * stride_p,     i < w <= width, p < k

For A, i counts rows and p columns; for B, i counts columns and p rows.  So one of three copies is always
right: ``i`` contiguous (rows are copied), ``p`` contiguous (squares of ``lanes`` by ``lanes`` numbers are
transposed in registers), or neither (a number at a time).  No number outside the block is read.  Entries
from w on are filled with something harmless, which no kernel stores.

A panel takes ``width * k`` numbers, and up to ``lanes`` numbers after its end are overwritten.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import ir
from numba.extending import intrinsic

from numbasgd.simd.ir import (
    BYTES,
    I64,
    Lanes,
    at,
    emitted,
    i64,
    is_literal,
    prefetch,
    private_function,
)

_LINES_AHEAD = 4  # cache lines prefetched ahead along a row
_ROWS_AHEAD = 16  # rows prefetched ahead when rows are copied


@contextmanager
def _steps(b: ir.IRBuilder, function: ir.Function, stop: ir.Value, step: int) -> Iterator[ir.Value]:
    """``for p in range(0, stop, step)``; stop may be 0."""
    before = b.block
    loop, after = function.append_basic_block("loop"), function.append_basic_block("after")
    b.cbranch(b.icmp_signed(">", stop, i64(0)), loop, after)
    b.position_at_end(loop)
    p = b.phi(I64)
    p.add_incoming(i64(0), before)
    yield p
    following = b.add(p, i64(step))
    p.add_incoming(following, b.block)
    b.cbranch(b.icmp_signed("<", following, stop), loop, after)
    b.position_at_end(after)


def _emit_copy(module: ir.Module, size: int, lanes: int, width: int) -> ir.Function:
    """f(source, stride_p, panel, w, k): rows of w contiguous numbers, padded with 0."""
    name = f"numbasgd_copy_{size}_{lanes}_{width}"
    if name in module.globals:
        return module.globals[name]
    f = private_function(module, name, 5)
    source, stride, panel, w, k = f.args
    L = Lanes(size, lanes)
    b = ir.IRBuilder(f.append_basic_block("entry"))
    source, panel = b.inttoptr(source, BYTES), b.inttoptr(panel, BYTES)
    vectors = range(-(-width // lanes))
    masks = [L.first_of(b, b.sub(w, i64(v * lanes))) for v in vectors]
    ahead = b.mul(stride, i64(_ROWS_AHEAD))
    with _steps(b, f, k, 1) as p:
        row = at(b, source, b.mul(p, stride))
        to = at(b, panel, b.mul(p, i64(width * size)))
        for v in vectors:
            prefetch(b, at(b, at(b, row, ahead), v * L.width))
        for v in vectors:
            value = L.load(b, at(b, row, v * L.width), masks[v])
            L.store(b, value, at(b, to, v * L.width), aligned=width % lanes == 0)
    b.ret_void()
    return f


def _emit_transpose(module: ir.Module, size: int, lanes: int, width: int) -> ir.Function:
    """f(source, stride_i, panel, w, k): w rows, each contiguous along p."""
    name = f"numbasgd_transpose_{size}_{lanes}_{width}"
    if name in module.globals:
        return module.globals[name]
    f = private_function(module, name, 5)
    source, stride, panel, w, k = f.args
    L = Lanes(size, lanes)
    b = ir.IRBuilder(f.append_basic_block("entry"))
    source, panel = b.inttoptr(source, BYTES), b.inttoptr(panel, BYTES)
    last = b.sub(w, i64(1))
    rows = []
    for i in range(width):  # rows from w on repeat row w - 1
        inside = b.select(b.icmp_signed("<", i64(i), w), i64(i), last)
        rows.append(at(b, source, b.mul(stride, inside)))

    def squares(p: ir.Value, mask: ir.Value | None) -> list[list[ir.Value]]:
        """The next ``lanes`` steps of all rows, transposed a square at a time."""
        offset = b.mul(p, i64(size))
        if mask is None:
            for row in rows:
                prefetch(b, at(b, at(b, row, offset), _LINES_AHEAD * 64))
        loaded = [L.load(b, at(b, row, offset), mask) for row in rows]
        return [L.transpose(b, loaded[i : i + lanes]) for i in range(0, width, lanes)]

    def store(of: list[list[ir.Value]], p: ir.Value, step: int) -> None:
        to = at(b, panel, b.mul(b.add(p, i64(step)), i64(width * size)))
        for number, square in enumerate(of):
            L.store(b, square[step], at(b, to, number * L.width))

    whole = b.and_(k, i64(-lanes))
    with _steps(b, f, whole, lanes) as p:
        found = squares(p, None)
        for step in range(lanes):
            store(found, p, step)
    rest, tail, out = b.sub(k, whole), f.append_basic_block("tail"), f.append_basic_block("out")
    b.cbranch(b.icmp_signed(">", rest, i64(0)), tail, out)
    b.position_at_end(tail)
    found = squares(whole, L.first_of(b, rest))
    for step in range(lanes):
        store(found, whole, step)
        following = f.append_basic_block("step")
        b.cbranch(b.icmp_signed(">", rest, i64(step + 1)), following, out)
        b.position_at_end(following)
    b.branch(out)
    b.position_at_end(out)
    b.ret_void()
    return f


def _emit_gather(module: ir.Module, size: int, width: int) -> ir.Function:
    """f(source, stride_i, stride_p, panel, w, k): a number at a time."""
    name = f"numbasgd_gather_{size}_{width}"
    if name in module.globals:
        return module.globals[name]
    f = private_function(module, name, 6)
    source, stride_i, stride_p, panel, w, k = f.args
    number = Lanes(size, 1).number.as_pointer()
    b = ir.IRBuilder(f.append_basic_block("entry"))
    with _steps(b, f, k, 1) as p, _steps(b, f, w, 1) as i:
        place = b.add(source, b.add(b.mul(i, stride_i), b.mul(p, stride_p)))
        to = b.add(panel, b.mul(b.add(i, b.mul(p, i64(width))), i64(size)))
        b.store(b.load(b.inttoptr(place, number)), b.inttoptr(to, number))
    b.ret_void()
    return f


@intrinsic(prefer_literal=True)
def pack_copy(typingctx, SIZE, LANES, WIDTH, source, stride_p, panel, w, k):
    """Fill a panel from rows of w contiguous numbers."""
    if not is_literal(SIZE, LANES, WIDTH):
        return None
    return emitted((SIZE, LANES, WIDTH), 5, lambda b, v, args: b.call(_emit_copy(b.module, *v), args))


@intrinsic(prefer_literal=True)
def pack_transpose(typingctx, SIZE, LANES, WIDTH, source, stride_i, panel, w, k):
    """Fill a panel from w rows that are contiguous along p."""
    if not is_literal(SIZE, LANES, WIDTH):
        return None
    return emitted((SIZE, LANES, WIDTH), 5, lambda b, v, args: b.call(_emit_transpose(b.module, *v), args))


@intrinsic(prefer_literal=True)
def pack_gather(typingctx, SIZE, WIDTH, source, stride_i, stride_p, panel, w, k):
    """Fill a panel from numbers at any distance.  The padding keeps what the panel held."""
    if not is_literal(SIZE, WIDTH):
        return None
    return emitted((SIZE, WIDTH), 6, lambda b, v, args: b.call(_emit_gather(b.module, *v), args))


def _emit_add(module: ir.Module, size: int, lanes: int) -> ir.Function:
    """f(source, to, count): to[i] += source[i]."""
    name = f"numbasgd_add_{size}_{lanes}"
    if name in module.globals:
        return module.globals[name]
    f = private_function(module, name, 3)
    source, to, count = f.args
    L = Lanes(size, lanes)
    b = ir.IRBuilder(f.append_basic_block("entry"))
    source, to = b.inttoptr(source, BYTES), b.inttoptr(to, BYTES)
    with _steps(b, f, count, lanes) as i:
        mask = L.first_of(b, b.sub(count, i))
        x, y = (at(b, pointer, b.mul(i, i64(size))) for pointer in (source, to))
        L.store(b, b.fadd(L.load(b, y, mask), L.load(b, x, mask)), y, mask)
    b.ret_void()
    return f


@intrinsic(prefer_literal=True)
def add_numbers(typingctx, SIZE, LANES, source, to, count):
    """to[i] += source[i] for i < count, both contiguous."""
    if not is_literal(SIZE, LANES):
        return None
    return emitted((SIZE, LANES), 3, lambda b, v, args: b.call(_emit_add(b.module, *v), args))
