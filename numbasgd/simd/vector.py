"""Vector registers inside Numba functions: a type for them, and the few operations that kernels need.

LLVM turns a plain loop into vector code when it can see that this pays.  It does not for the short rows of
a minibatch: for five columns it emits scalar code, and sums end in a long tail.  With these intrinsics a
kernel says itself what sits in a register::

    x = load_first(X, i * d, LANES, d)      # row i, zeros in the lanes past d, nothing read past the row
    r = total(mul(x, w)) - y[i]
    g = fma(fill(r, LANES), x, g)

``lanes`` is a constant at compile time (a literal, or an integer that the function closes over).  Offsets
count elements from the start of a C-ordered array or from a ``pointer``.  All arguments are trusted:
no bounds are checked.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

from numbasgd.compile import numba_private
from numbasgd.machine import cpu
from numbasgd.simd.ir import Int, Lanes, Pointer, vector_type
from numbasgd.simd.kernel import is_literal


class Vector(types.Type):
    """A register of ``lanes`` floats; it lives only inside compiled code."""

    def __init__(self, dtype: types.Float, lanes: int) -> None:
        self.dtype = dtype
        self.lanes = lanes
        super().__init__(name=f"Vector({dtype}, {lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        super().__init__(dmm, fe_type, vector_type(fe_type.dtype.bitwidth // 8, fe_type.lanes))


def lanes_of(builder: ir.IRBuilder, vec: Vector) -> Lanes:
    """What writes operations on such registers."""
    return Lanes(builder, vec.dtype.bitwidth // 8, vec.lanes)


def register_bytes() -> int:
    """The width in bytes of the widest vector register that Numba compiles for."""
    return cpu.target().vector


def most_registers() -> int:
    """Registers that a row may fill when its weights and its gradient fill as many."""
    return 8 if cpu.target().registers >= 32 else 4


def lanes_for(d: int, itemsize: int) -> int:
    """Lanes for rows of ``d``: the narrowest power of two that holds a row, up to a full register."""
    widest = register_bytes() // itemsize
    lanes = max(16 // itemsize, 1 << max(d - 1, 0).bit_length())
    return min(lanes, widest)


def _pointer(context: Any, builder: ir.IRBuilder, array: Any, value: Any, offset: Int) -> Pointer:
    is_array = isinstance(array, types.Array)
    data = context.make_array(array)(context, builder, value).data if is_array else value
    return Pointer(builder, builder.gep(data, [offset.value]))


@intrinsic
def pointer(typingctx: Any, array: Any, offset: Any) -> Any:
    """The place of ``array[offset]`` in memory, which nothing keeps alive.

    An array that goes through a function is counted there as one reference more and one less.  Within a loop
    over rows that costs more than the row; a pointer is just a number.
    """
    place = types.CPointer(array.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _pointer(context, builder, array, args[0], Int(builder, args[1])).value

    return place(array, types.intp), codegen


@intrinsic
def address(typingctx: Any, array: Any, offset: Any) -> Any:
    """The place of ``array[offset]`` as an integer."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _pointer(context, builder, array, args[0], Int(builder, args[1])).address().value

    return types.intp(array, types.intp), codegen


@intrinsic
def pointer_to(typingctx: Any, place: Any, x: Any) -> Any:
    """The integer ``place`` as a pointer to numbers of the type of ``x``; the inverse of ``address``."""
    result = types.CPointer(x)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(result))

    return result(types.intp, x), codegen


def _parts(builder: ir.IRBuilder, vec: Any, value: Any) -> list[Any]:
    """The registers of one ``Vector``, or of a tuple of them."""
    return numba_private.unpack_tuple(builder, value, vec.count) if isinstance(vec, types.UniTuple) else [value]


def _whole(context: Any, builder: ir.IRBuilder, vec: Any, parts: list[Any]) -> Any:
    return context.make_tuple(builder, vec, parts) if isinstance(vec, types.UniTuple) else parts[0]


def one_of(vec: Any) -> Vector:
    """The type of one register, given that of one or of a tuple of them."""
    return vec.dtype if isinstance(vec, types.UniTuple) else vec


def _many(vec: Vector, count: int) -> Any:
    return vec if count == 1 else types.UniTuple(vec, count)


def map_registers(context: Any, builder: ir.IRBuilder, sig: Any, args: Any, emit: Callable[..., Any]) -> Any:
    """``emit`` for each register of the arguments; a single one goes with each of a tuple."""
    count = sig.return_type.count if isinstance(sig.return_type, types.UniTuple) else 1
    columns = []
    for vec, value in zip(sig.args, args, strict=True):
        parts = _parts(builder, vec, value)
        columns.append(parts if len(parts) == count else parts * count)
    return _whole(context, builder, sig.return_type, [emit(*row) for row in zip(*columns, strict=True)])


def _widest(*vecs: Any) -> Any:
    return next((vec for vec in vecs if isinstance(vec, types.UniTuple)), vecs[0])


def _load(array: Any, lanes: Any, count: int, is_masked: bool) -> tuple[Any, Callable[..., Any]]:
    """What loads return: ``count`` registers, the last under a mask of what the last argument leaves for it."""
    vec = Vector(array.dtype, lanes.literal_value)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        L, offset, parts = lanes_of(builder, vec), Int(builder, args[1]), []
        for k in range(count):
            place = _pointer(context, builder, array, args[0], offset + k * vec.lanes)
            is_last = is_masked and k == count - 1
            parts.append(L.load(place, L.first_of(Int(builder, args[-1]) - k * vec.lanes) if is_last else None))
        return _whole(context, builder, sig.return_type, parts)

    return _many(vec, count), codegen


@intrinsic(prefer_literal=True)
def load_row(typingctx: Any, array: Any, offset: Any, lanes: Any, count: Any, n: Any) -> Any:
    """``n`` elements from ``offset`` on in ``count`` registers; 0 in the lanes behind, none read there.

    All but the last register are full: ``(count - 1) * lanes < n <= count * lanes`` (or n = 0 in one).
    """
    if not is_literal(lanes, count):
        return None
    result, codegen = _load(array, lanes, count.literal_value, True)
    return result(array, types.intp, lanes, count, types.intp), codegen


@intrinsic(prefer_literal=True)
def load_all(typingctx: Any, array: Any, offset: Any, lanes: Any, count: Any) -> Any:
    """``count`` full registers from ``offset`` on."""
    if not is_literal(lanes, count):
        return None
    result, codegen = _load(array, lanes, count.literal_value, False)
    return result(array, types.intp, lanes, count), codegen


@intrinsic(prefer_literal=True)
def load(typingctx: Any, array: Any, offset: Any, lanes: Any) -> Any:
    """The ``lanes`` elements of ``array`` from ``offset`` on."""
    if not is_literal(lanes):
        return None
    result, codegen = _load(array, lanes, 1, False)
    return result(array, types.intp, lanes), codegen


@intrinsic(prefer_literal=True)
def load_first(typingctx: Any, array: Any, offset: Any, lanes: Any, n: Any) -> Any:
    """The first ``n`` of the ``lanes`` elements from ``offset`` on, 0 in the other lanes, none read."""
    if not is_literal(lanes):
        return None
    result, codegen = _load(array, lanes, 1, True)
    return result(array, types.intp, lanes, types.intp), codegen


@intrinsic
def first_or(typingctx: Any, v: Any, n: Any, x: Any) -> Any:
    """The first ``n`` lanes of ``v``, and ``x`` in the others."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        L = lanes_of(builder, v)
        return builder.select(L.first_of(Int(builder, args[1])), args[0], L.splat(args[2]))

    return v(v, types.intp, v.dtype), codegen


@intrinsic
def store(typingctx: Any, array: Any, offset: Any, value: Any) -> Any:
    """Write all lanes of ``value``, one register or a tuple of them, to ``array`` from ``offset`` on."""
    vec = one_of(value)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        L, offset = lanes_of(builder, vec), Int(builder, args[1])
        for k, part in enumerate(_parts(builder, value, args[2])):
            L.store(part, _pointer(context, builder, array, args[0], offset + k * vec.lanes))
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic
def store_non_temporal(typingctx: Any, array: Any, offset: Any, value: Any) -> Any:
    """Write a register, aligned to its size, to memory without reading its cache line first."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = _pointer(context, builder, array, args[0], Int(builder, args[1]))
        lanes_of(builder, value).store(args[2], place, aligned=True, non_temporal=True)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic
def store_row(typingctx: Any, array: Any, offset: Any, value: Any, n: Any) -> Any:
    """The inverse of ``load_row``: write the first ``n`` elements of ``value``, none behind."""
    vec = one_of(value)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        L, offset, n = lanes_of(builder, vec), Int(builder, args[1]), Int(builder, args[3])
        *full, last = _parts(builder, value, args[2])
        behind = len(full) * vec.lanes
        for k, part in enumerate(full):
            L.store(part, _pointer(context, builder, array, args[0], offset + k * vec.lanes))
        place = _pointer(context, builder, array, args[0], offset + behind)
        L.store(last, place, L.first_of(n - behind))
        return context.get_dummy_value()

    return types.void(array, types.intp, value, types.intp), codegen


@intrinsic(prefer_literal=True)
def zeros(typingctx: Any, x: Any, lanes: Any, count: Any) -> Any:
    """``count`` registers of the dtype of ``x``, all lanes 0."""
    if not is_literal(lanes, count):
        return None
    vec = Vector(x, lanes.literal_value)
    result = _many(vec, count.literal_value)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _whole(context, builder, result, [lanes_of(builder, vec).zero] * count.literal_value)

    return result(x, lanes, count), codegen


@intrinsic(prefer_literal=True)
def fill(typingctx: Any, x: Any, lanes: Any) -> Any:
    """``x`` in every lane."""
    if not is_literal(lanes) or not isinstance(x, types.Float):
        return None
    vec = Vector(x, lanes.literal_value)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return lanes_of(builder, vec).splat(args[0])

    return vec(x, lanes), codegen


def _elementwise(name: str, doc: str, emit: Callable[..., Any]) -> Any:
    def typed(typingctx: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            L = lanes_of(builder, one_of(a))
            return map_registers(context, builder, sig, args, lambda x, y: emit(L, x, y))

        return _widest(a, b)(a, b), codegen

    typed.__name__ = typed.__qualname__ = name
    typed.__doc__ = doc
    return intrinsic(typed)


add = _elementwise("add", "``a + b`` in every lane.", Lanes.add)
sub = _elementwise("sub", "``a - b`` in every lane.", Lanes.sub)
mul = _elementwise("mul", "``a * b`` in every lane.", Lanes.mul)
smaller = _elementwise("smaller", "The smaller one in every lane; b where one is NaN.", Lanes.smaller)
larger = _elementwise("larger", "The larger one in every lane; b where one is NaN.", Lanes.larger)


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c`` in every lane, rounded once."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return map_registers(context, builder, sig, args, lanes_of(builder, one_of(a)).fma)

    return _widest(a, b, c)(a, b, c), codegen


@intrinsic
def dot(typingctx: Any, a: Any, b: Any) -> Any:
    """The sum of all lanes of ``a * b``; products of several registers are added in two chains first."""
    vec = one_of(a)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        L, chains = lanes_of(builder, vec), []
        pairs = zip(_parts(builder, a, args[0]), _parts(builder, b, args[1]), strict=True)
        for k, (x, y) in enumerate(pairs):
            if k < 2:
                chains.append(L.mul(x, y))
            else:
                chains[k % 2] = L.fma(x, y, chains[k % 2])
        if len(chains) == 2:
            # LLVM would begin one chain with the result of the other, since it may reorder sums.
            return L.reduce_add(L.add(chains[0], L.fence(chains[1])))
        return L.reduce_add(chains[0])

    return vec.dtype(a, b), codegen


@intrinsic
def total(typingctx: Any, v: Any) -> Any:
    """The sum of all lanes of one register, or of a tuple of them, which are added first; lanes in pairs."""
    vec = one_of(v)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        L = lanes_of(builder, vec)
        return L.reduce_add(functools.reduce(L.add, _parts(builder, v, args[0])))

    return vec.dtype(v), codegen


@intrinsic
def largest(typingctx: Any, v: Any) -> Any:
    """The largest of all lanes that are no NaN."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return lanes_of(builder, v).reduce_max(args[0])

    return v.dtype(v), codegen


@intrinsic
def widen(typingctx: Any, v: Any) -> Any:
    """The same numbers as float64."""
    wide = Vector(types.float64, one_of(v).lanes)
    result = _many(wide, v.count) if isinstance(v, types.UniTuple) else wide

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        is_wide = one_of(v) == wide
        there = lanes_of(builder, wide).type
        return map_registers(context, builder, sig, args, lambda x: x if is_wide else builder.fpext(x, there))

    return result(v), codegen


@intrinsic
def like(typingctx: Any, v: Any, other: Any) -> Any:
    """``v`` in the dtype of ``other``, rounded where that is narrower."""
    narrow = one_of(other)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def emit(x: Any, _: Any) -> Any:
            return x if one_of(v) == narrow else builder.fptrunc(x, lanes_of(builder, narrow).type)

        return map_registers(context, builder, sig, args, emit)

    return other(v, other), codegen


@intrinsic
def shift_right(typingctx: Any, x: Any, count: Any) -> Any:
    """x >> count for unsigned integers of one type and a count below its bits.

    Numba shifts in 64 bits, of which a register holds half as many as of 32.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.lshr(*args)

    return x(x, x), codegen


def _prefetch(name: str, doc: str, level: int) -> Any:
    def typed(typingctx: Any, array: Any, offset: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            _pointer(context, builder, array, args[0], Int(builder, args[1])).prefetch(level)
            return context.get_dummy_value()

        return types.void(array, types.intp), codegen

    typed.__name__ = typed.__qualname__ = name
    typed.__doc__ = doc
    return intrinsic(typed)


prefetch = _prefetch("prefetch", "Prefetch the cache line of ``array[offset]``; harmless past the end.", 1)
prefetch_near = _prefetch("prefetch_near", "The same, into the second level of cache and not the first.", 2)
