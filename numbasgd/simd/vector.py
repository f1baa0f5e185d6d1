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

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

from numbasgd.compile import numba_private
from numbasgd.machine import cpu

_I1, _I32, _I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)


class Vector(types.Type):
    """A register of ``lanes`` floats; it lives only inside compiled code."""

    def __init__(self, dtype: types.Float, lanes: int) -> None:
        self.dtype = dtype
        self.lanes = lanes
        super().__init__(name=f"Vector({dtype}, {lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        super().__init__(dmm, fe_type, _vector(fe_type))


def _scalar(dtype: types.Float) -> ir.Type:
    return ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType()


def _vector(vec: Vector) -> ir.VectorType:
    return ir.VectorType(_scalar(vec.dtype), vec.lanes)


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


def _mask(builder: ir.IRBuilder, lanes: int, n: ir.Value) -> ir.Value:
    """Lanes below ``n`` as a vector of bits."""
    numbers = ir.VectorType(_I64, lanes)
    limit = _splat(builder, numbers, n)
    return builder.icmp_signed("<", ir.Constant(numbers, list(range(lanes))), limit)


def _splat(builder: ir.IRBuilder, vector: ir.VectorType, value: ir.Value) -> ir.Value:
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_I32, vector.count), None))


def _intrinsic(builder: ir.IRBuilder, name: str, result: ir.Type, args: list[ir.Type]) -> ir.Function:
    return numba_private.get_or_insert_function(builder.module, ir.FunctionType(result, args), name)


def _suffix(vec: Vector) -> str:
    return f"v{vec.lanes}f{vec.dtype.bitwidth}"


def _pointer(context: Any, builder: ir.IRBuilder, array: Any, value: Any, offset: ir.Value) -> Any:
    is_array = isinstance(array, types.Array)
    data = context.make_array(array)(context, builder, value).data if is_array else value
    return builder.gep(data, [offset])


@intrinsic
def pointer(typingctx: Any, array: Any, offset: Any) -> Any:
    """The place of ``array[offset]`` in memory, which nothing keeps alive.

    An array that goes through a function is counted there as one reference more and one less.  Within a loop
    over rows that costs more than the row; a pointer is just a number.
    """
    place = types.CPointer(array.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _pointer(context, builder, array, args[0], args[1])

    return place(array, types.intp), codegen


@intrinsic
def address(typingctx: Any, array: Any, offset: Any) -> Any:
    """The place of ``array[offset]`` as an integer."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.ptrtoint(_pointer(context, builder, array, args[0], args[1]), _I64)

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


def _one(vec: Any) -> Vector:
    return vec.dtype if isinstance(vec, types.UniTuple) else vec


def _many(vec: Vector, count: int) -> Any:
    return vec if count == 1 else types.UniTuple(vec, count)


def _map(context: Any, builder: ir.IRBuilder, sig: Any, args: Any, emit: Callable[..., Any]) -> Any:
    """``emit`` for each register of the arguments; a single one goes with each of a tuple."""
    count = sig.return_type.count if isinstance(sig.return_type, types.UniTuple) else 1
    columns = []
    for vec, value in zip(sig.args, args, strict=True):
        parts = _parts(builder, vec, value)
        columns.append(parts if len(parts) == count else parts * count)
    return _whole(context, builder, sig.return_type, [emit(*row) for row in zip(*columns, strict=True)])


def _widest(*vecs: Any) -> Any:
    return next((vec for vec in vecs if isinstance(vec, types.UniTuple)), vecs[0])


@intrinsic(prefer_literal=True)
def load_row(typingctx: Any, array: Any, offset: Any, lanes: Any, count: Any, n: Any) -> Any:
    """``n`` elements from ``offset`` on in ``count`` registers; 0 in the lanes behind, none read there.

    All but the last register are full: ``(count - 1) * lanes < n <= count * lanes`` (or n = 0 in one).
    """
    if not (isinstance(lanes, types.IntegerLiteral) and isinstance(count, types.IntegerLiteral)):
        return None
    vec, n_regs = Vector(array.dtype, lanes.literal_value), count.literal_value

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        v = _vector(vec)
        parts = []
        align = vec.dtype.bitwidth // 8
        for k in range(n_regs):
            at = builder.add(args[1], ir.Constant(_I64, k * vec.lanes))
            p = builder.bitcast(_pointer(context, builder, array, args[0], at), v.as_pointer())
            if k < n_regs - 1:
                part = builder.load(p)
                part.align = align
            else:
                bits = ir.VectorType(_I1, vec.lanes)
                name = f"llvm.masked.load.{_suffix(vec)}.p0"
                masked = _intrinsic(builder, name, v, [v.as_pointer(), _I32, bits, v])
                left = builder.sub(args[4], ir.Constant(_I64, k * vec.lanes))
                mask = _mask(builder, vec.lanes, left)
                part = builder.call(masked, [p, ir.Constant(_I32, align), mask, ir.Constant(v, None)])
            parts.append(part)
        return _whole(context, builder, sig.return_type, parts)

    return _many(vec, n_regs)(array, types.intp, lanes, count, types.intp), codegen


@intrinsic(prefer_literal=True)
def load_all(typingctx: Any, array: Any, offset: Any, lanes: Any, count: Any) -> Any:
    """``count`` full registers from ``offset`` on."""
    if not (isinstance(lanes, types.IntegerLiteral) and isinstance(count, types.IntegerLiteral)):
        return None
    vec, n_regs = Vector(array.dtype, lanes.literal_value), count.literal_value

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        parts = []
        for k in range(n_regs):
            at = builder.add(args[1], ir.Constant(_I64, k * vec.lanes))
            p = _pointer(context, builder, array, args[0], at)
            part = builder.load(builder.bitcast(p, _vector(vec).as_pointer()))
            part.align = vec.dtype.bitwidth // 8
            parts.append(part)
        return _whole(context, builder, sig.return_type, parts)

    return _many(vec, n_regs)(array, types.intp, lanes, count), codegen


@intrinsic(prefer_literal=True)
def load(typingctx: Any, array: Any, offset: Any, lanes: Any) -> Any:
    """The ``lanes`` elements of ``array`` from ``offset`` on."""
    if not isinstance(lanes, types.IntegerLiteral):
        return None
    vec = Vector(array.dtype, lanes.literal_value)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        p = _pointer(context, builder, array, args[0], args[1])
        result = builder.load(builder.bitcast(p, _vector(vec).as_pointer()))
        result.align = vec.dtype.bitwidth // 8
        return result

    return vec(array, types.intp, lanes), codegen


@intrinsic(prefer_literal=True)
def load_first(typingctx: Any, array: Any, offset: Any, lanes: Any, n: Any) -> Any:
    """The first ``n`` of the ``lanes`` elements from ``offset`` on, 0 in the other lanes, none read."""
    if not isinstance(lanes, types.IntegerLiteral):
        return None
    vec = Vector(array.dtype, lanes.literal_value)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        v = _vector(vec)
        p = builder.bitcast(_pointer(context, builder, array, args[0], args[1]), v.as_pointer())
        bits = ir.VectorType(_I1, vec.lanes)
        masked = _intrinsic(builder, f"llvm.masked.load.{_suffix(vec)}.p0", v, [v.as_pointer(), _I32, bits, v])
        align = ir.Constant(_I32, vec.dtype.bitwidth // 8)
        return builder.call(masked, [p, align, _mask(builder, vec.lanes, args[3]), ir.Constant(v, None)])

    return vec(array, types.intp, lanes, types.intp), codegen


@intrinsic
def first_or(typingctx: Any, v: Any, n: Any, x: Any) -> Any:
    """The first ``n`` lanes of ``v``, and ``x`` in the others."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        mask = _mask(builder, v.lanes, args[1])
        return builder.select(mask, args[0], _splat(builder, _vector(v), args[2]))

    return v(v, types.intp, v.dtype), codegen


@intrinsic
def store(typingctx: Any, array: Any, offset: Any, value: Any) -> Any:
    """Write all lanes of ``value``, one register or a tuple of them, to ``array`` from ``offset`` on."""
    vec = _one(value)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        for k, part in enumerate(_parts(builder, value, args[2])):
            at = builder.add(args[1], ir.Constant(_I64, k * vec.lanes))
            p = _pointer(context, builder, array, args[0], at)
            written = builder.store(part, builder.bitcast(p, _vector(vec).as_pointer()))
            written.align = vec.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic
def store_row(typingctx: Any, array: Any, offset: Any, value: Any, n: Any) -> Any:
    """The inverse of ``load_row``: write the first ``n`` elements of ``value``, none behind."""
    vec = _one(value)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        v, parts = _vector(vec), _parts(builder, value, args[2])
        align = vec.dtype.bitwidth // 8
        for k, part in enumerate(parts):
            first = ir.Constant(_I64, k * vec.lanes)
            p = _pointer(context, builder, array, args[0], builder.add(args[1], first))
            p = builder.bitcast(p, v.as_pointer())
            if k < len(parts) - 1:
                builder.store(part, p).align = align
            else:
                bits = ir.VectorType(_I1, vec.lanes)
                name = f"llvm.masked.store.{_suffix(vec)}.p0"
                masked = _intrinsic(builder, name, ir.VoidType(), [v, v.as_pointer(), _I32, bits])
                mask = _mask(builder, vec.lanes, builder.sub(args[3], first))
                builder.call(masked, [part, p, ir.Constant(_I32, align), mask])
        return context.get_dummy_value()

    return types.void(array, types.intp, value, types.intp), codegen


@intrinsic(prefer_literal=True)
def zeros(typingctx: Any, x: Any, lanes: Any, count: Any) -> Any:
    """``count`` registers of the dtype of ``x``, all lanes 0."""
    if not (isinstance(lanes, types.IntegerLiteral) and isinstance(count, types.IntegerLiteral)):
        return None
    vec = Vector(x, lanes.literal_value)
    result = _many(vec, count.literal_value)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _whole(context, builder, result, [ir.Constant(_vector(vec), None)] * count.literal_value)

    return result(x, lanes, count), codegen


@intrinsic(prefer_literal=True)
def fill(typingctx: Any, x: Any, lanes: Any) -> Any:
    """``x`` in every lane."""
    if not isinstance(lanes, types.IntegerLiteral) or not isinstance(x, types.Float):
        return None
    vec = Vector(x, lanes.literal_value)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _splat(builder, _vector(vec), args[0])

    return vec(x, lanes), codegen


def _elementwise(name: str, doc: str, emit: Callable[..., Any]) -> Any:
    def typed(typingctx: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return _map(context, builder, sig, args, lambda x, y: emit(builder, x, y))

        return _widest(a, b)(a, b), codegen

    typed.__name__ = typed.__qualname__ = name
    typed.__doc__ = doc
    return intrinsic(typed)


def _smaller(builder: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    return builder.select(builder.fcmp_ordered("<", x, y), x, y)


def _larger(builder: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    return builder.select(builder.fcmp_ordered(">", x, y), x, y)


add = _elementwise("add", "``a + b`` in every lane.", lambda b, x, y: b.fadd(x, y))
sub = _elementwise("sub", "``a - b`` in every lane.", lambda b, x, y: b.fsub(x, y))
mul = _elementwise("mul", "``a * b`` in every lane.", lambda b, x, y: b.fmul(x, y))
smaller = _elementwise("smaller", "The smaller one in every lane; b where one is NaN.", _smaller)
larger = _elementwise("larger", "The larger one in every lane; b where one is NaN.", _larger)


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c`` in every lane, rounded once."""
    vec = _one(a)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        v = _vector(vec)
        fused = _intrinsic(builder, f"llvm.fma.{_suffix(vec)}", v, [v, v, v])
        return _map(context, builder, sig, args, lambda x, y, z: builder.call(fused, [x, y, z]))

    return _widest(a, b, c)(a, b, c), codegen


@intrinsic
def dot(typingctx: Any, a: Any, b: Any) -> Any:
    """The sum of all lanes of ``a * b``; products of several registers are added in two chains first."""
    vec = _one(a)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        v = _vector(vec)
        fused = _intrinsic(builder, f"llvm.fma.{_suffix(vec)}", v, [v, v, v])
        chains: list[Any] = []
        pairs = zip(_parts(builder, a, args[0]), _parts(builder, b, args[1]), strict=True)
        for k, (x, y) in enumerate(pairs):
            if k < 2:
                chains.append(builder.fmul(x, y))
            else:
                chains[k % 2] = builder.call(fused, [x, y, chains[k % 2]])
        if len(chains) == 2:
            # LLVM would begin one chain with the result of the other, since it may reorder sums.
            fence = _intrinsic(builder, f"llvm.arithmetic.fence.{_suffix(vec)}", v, [v])
            return _total(builder, vec, builder.fadd(chains[0], builder.call(fence, [chains[1]])))
        return _total(builder, vec, chains[0])

    return vec.dtype(a, b), codegen


@intrinsic
def total(typingctx: Any, v: Any) -> Any:
    """The sum of all lanes, added in pairs."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _total(builder, v, args[0])

    return v.dtype(v), codegen


@intrinsic
def largest(typingctx: Any, v: Any) -> Any:
    """The largest of all lanes that are no NaN."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        reduce = _intrinsic(builder, f"llvm.vector.reduce.fmax.{_suffix(v)}", _scalar(v.dtype), [_vector(v)])
        return builder.call(reduce, [args[0]])

    return v.dtype(v), codegen


def _total(builder: ir.IRBuilder, vec: Vector, value: ir.Value) -> Any:
    scalar = _scalar(vec.dtype)
    reduce = _intrinsic(builder, f"llvm.vector.reduce.fadd.{_suffix(vec)}", scalar, [scalar, _vector(vec)])
    return builder.call(reduce, [ir.Constant(scalar, -0.0), value], fastmath=["reassoc"])


@intrinsic
def widen(typingctx: Any, v: Any) -> Any:
    """The same numbers as float64."""
    wide = Vector(types.float64, _one(v).lanes)
    result = _many(wide, v.count) if isinstance(v, types.UniTuple) else wide

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        is_wide = _one(v) == wide
        return _map(context, builder, sig, args, lambda x: x if is_wide else builder.fpext(x, _vector(wide)))

    return result(v), codegen


@intrinsic
def like(typingctx: Any, v: Any, other: Any) -> Any:
    """``v`` in the dtype of ``other``, rounded where that is narrower."""
    narrow = _one(other)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def emit(x: Any, _: Any) -> Any:
            return x if _one(v) == narrow else builder.fptrunc(x, _vector(narrow))

        return _map(context, builder, sig, args, emit)

    return other(v, other), codegen


@intrinsic
def shift_right(typingctx: Any, x: Any, count: Any) -> Any:
    """x >> count for unsigned integers of one type and a count below its bits.

    Numba shifts in 64 bits, of which a register holds half as many as of 32.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.lshr(*args)

    return x(x, x), codegen


def _prefetch(name: str, doc: str, locality: int) -> Any:
    def typed(typingctx: Any, array: Any, offset: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            byte = ir.IntType(8).as_pointer()
            p = builder.bitcast(_pointer(context, builder, array, args[0], args[1]), byte)
            ask = _intrinsic(builder, "llvm.prefetch.p0", ir.VoidType(), [byte, _I32, _I32, _I32])
            builder.call(ask, [p, ir.Constant(_I32, 0), ir.Constant(_I32, locality), ir.Constant(_I32, 1)])
            return context.get_dummy_value()

        return types.void(array, types.intp), codegen

    typed.__name__ = typed.__qualname__ = name
    typed.__doc__ = doc
    return intrinsic(typed)


prefetch = _prefetch("prefetch", "Prefetch the cache line of ``array[offset]``; harmless past the end.", 3)
prefetch_near = _prefetch("prefetch_near", "The same, into the second level of cache and not the first.", 2)
