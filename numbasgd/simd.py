"""Vector registers inside Numba functions: a type for them, and the few operations that kernels need.

LLVM turns a plain loop into vector code when it can see that this pays.  It does not for the short rows of
a minibatch: for five columns it emits scalar code, and sums end in a long tail.  With these intrinsics a
kernel says itself what sits in a register::

    x = load_first(X, i * d, LANES, d)      # row i, zeros in the lanes past d, nothing read past the row
    r = total(mul(x, w)) - y[i]
    g = fma(fill(r, LANES), x, g)

``lanes`` is a constant at compile time (a literal, or an integer that the function closes over).  Offsets
count elements from the start of a C-ordered array.  All arguments are trusted: no bounds are checked.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

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


@functools.cache
def register_bytes() -> int:
    """The width in bytes of the widest vector register that Numba's target has."""
    features = dict(llvm.get_host_cpu_features())
    from numba.core import config

    if config.CPU_FEATURES:  # NUMBA_CPU_FEATURES, "+avx2,-avx512f": what Numba compiles for
        features = {f[1:]: f[0] == "+" for f in config.CPU_FEATURES.split(",") if f}
    elif config.CPU_NAME and config.CPU_NAME != llvm.get_host_cpu_name():
        features = {}  # a CPU that this one is told to be: 16 bytes are right for all
    if features.get("avx512f"):
        return 64
    return 32 if features.get("avx2") or features.get("avx") else 16


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
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, args), name)


def _suffix(vec: Vector) -> str:
    return f"v{vec.lanes}f{vec.dtype.bitwidth}"


def _pointer(context: Any, builder: ir.IRBuilder, array: types.Array, value: Any, offset: ir.Value) -> Any:
    data = context.make_array(array)(context, builder, value).data
    return builder.gep(data, [offset])


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
def store(typingctx: Any, array: Any, offset: Any, value: Any) -> Any:
    """Write all lanes of ``value`` to ``array`` from ``offset`` on."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        p = _pointer(context, builder, array, args[0], args[1])
        written = builder.store(args[2], builder.bitcast(p, _vector(value).as_pointer()))
        written.align = value.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


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
            return emit(builder, *args)

        return a(a, a), codegen

    typed.__name__ = typed.__qualname__ = name
    typed.__doc__ = doc
    return intrinsic(typed)


add = _elementwise("add", "``a + b`` in every lane.", lambda b, x, y: b.fadd(x, y))
mul = _elementwise("mul", "``a * b`` in every lane.", lambda b, x, y: b.fmul(x, y))


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c`` in every lane, rounded once."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        v = _vector(a)
        return builder.call(_intrinsic(builder, f"llvm.fma.{_suffix(a)}", v, [v, v, v]), args)

    return a(a, a, a), codegen


@intrinsic
def total(typingctx: Any, v: Any) -> Any:
    """The sum of all lanes, added in pairs."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        scalar = _scalar(v.dtype)
        reduce = _intrinsic(builder, f"llvm.vector.reduce.fadd.{_suffix(v)}", scalar, [scalar, _vector(v)])
        return builder.call(reduce, [ir.Constant(scalar, -0.0), args[0]], fastmath=["reassoc"])

    return v.dtype(v), codegen


@intrinsic
def widen(typingctx: Any, v: Any) -> Any:
    """The same numbers as float64."""
    wide = Vector(types.float64, v.lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return args[0] if v == wide else builder.fpext(args[0], _vector(wide))

    return wide(v), codegen


@intrinsic
def like(typingctx: Any, v: Any, other: Any) -> Any:
    """``v`` in the dtype of ``other``, rounded where that is narrower."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return args[0] if v == other else builder.fptrunc(args[0], _vector(other))

    return other(v, other), codegen


@intrinsic
def prefetch(typingctx: Any, array: Any, offset: Any) -> Any:
    """Ask for the cache line of ``array[offset]``; harmless past the end."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        p = builder.bitcast(_pointer(context, builder, array, args[0], args[1]), byte)
        ask = _intrinsic(builder, "llvm.prefetch.p0", ir.VoidType(), [byte, _I32, _I32, _I32])
        builder.call(ask, [p, ir.Constant(_I32, 0), ir.Constant(_I32, 3), ir.Constant(_I32, 1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen
