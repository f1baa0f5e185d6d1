"""Pieces of LLVM code that the kernels of ``turned.py`` and ``plain.py`` are written with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from numbasgd.simd.ir import BYTES, I32, I64, VOID, at, declare, i64, private_function


def loop(
    b: ir.IRBuilder,
    start: ir.Value,
    stop: ir.Value,
    step: int,
    values: Sequence[ir.Value],
    body: Callable[[ir.Value, list[ir.Value]], Sequence[ir.Value]],
) -> list[ir.Value]:
    """``for i in range(start, stop, step): values = body(i, values)``."""
    before, head = b.block, b.append_basic_block("head")
    inside, after = b.append_basic_block("inside"), b.append_basic_block("after")
    b.branch(head)
    b.position_at_end(head)
    i = b.phi(I64)
    carried = [b.phi(value.type) for value in values]
    b.cbranch(b.icmp_signed("<", i, stop), inside, after)
    b.position_at_end(inside)
    changed = body(i, list(carried))
    following = b.add(i, i64(step))
    i.add_incoming(start, before)
    i.add_incoming(following, b.block)
    for phi, value, new in zip(carried, values, changed, strict=True):
        phi.add_incoming(value, before)
        phi.add_incoming(new, b.block)
    b.branch(head)
    b.position_at_end(after)
    return carried


def new_function(module: ir.Module, name: str, n_arguments: int) -> tuple[ir.Function, ir.IRBuilder]:
    """A new private function, and what writes its code."""
    f = private_function(module, name, n_arguments)
    return f, ir.IRBuilder(f.append_basic_block("entry"))


def row_at(b: ir.IRBuilder, table: ir.Value, i: ir.Value | int) -> ir.Value:
    """The place that entry i of a table of addresses says."""
    place = at(b, b.inttoptr(table, BYTES), b.mul(i64(i) if isinstance(i, int) else i, i64(8)))
    return b.inttoptr(b.load(b.bitcast(place, I64.as_pointer())), BYTES)


def ask(b: ir.IRBuilder, place: ir.Value) -> None:
    """Ask for a cache line, into the second level: it is needed a block later."""
    f = declare(b.module, "llvm.prefetch.p0", VOID, [BYTES, I32, I32, I32])
    b.call(f, [place, *(ir.Constant(I32, x) for x in (0, 2, 1))])
