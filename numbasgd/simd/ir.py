"""Vectors of a chosen length as LLVM instructions, for the intrinsics of this package.

Numba has no vector type, and what its loop vectorizer makes of a product stays far from the machine.  So
the inner kernels are written as LLVM instructions on vectors of ``lanes`` numbers; LLVM maps one to one
vector register when ``lanes`` fills it.  Every kernel becomes one private function in the module that
calls it, which keeps the loops around it small.  Addresses, strides and counts are 64-bit integers,
strides in bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types

from numbasgd.machine import cpu

llvmlite.binding.initialize_native_asmparser()  # for the few instructions that LLVM would not choose

I1, I8, I32, I64 = ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64)
VOID, BYTES = ir.VoidType(), I8.as_pointer()


def i64(value: int) -> ir.Constant:
    """A 64-bit constant."""
    return ir.Constant(I64, value)


def declare(module: ir.Module, name: str, result: ir.Type, arguments: Sequence[ir.Type]) -> ir.Function:
    """The function ``name`` as seen from ``module``, for example one of LLVM's own."""
    found = module.globals.get(name)
    return ir.Function(module, ir.FunctionType(result, arguments), name) if found is None else found


def private_function(module: ir.Module, name: str, n_arguments: int) -> ir.Function:
    """A new function of ``n_arguments`` integers that stays a function: it is not inlined."""
    function = ir.Function(module, ir.FunctionType(VOID, [I64] * n_arguments), name)
    function.linkage = "private"
    for attribute in ("noinline", "nounwind"):
        function.attributes.add(attribute)
    return function


def at(b: ir.IRBuilder, pointer: ir.Value, offset: ir.Value | int) -> ir.Value:
    """``pointer`` moved by ``offset`` bytes."""
    return b.gep(pointer, [i64(offset) if isinstance(offset, int) else offset])


def prefetch(b: ir.IRBuilder, pointer: ir.Value, is_written: bool = False) -> None:
    """Ask for a cache line; harmless at any address."""
    f = declare(b.module, "llvm.prefetch.p0", VOID, [BYTES, I32, I32, I32])
    b.call(f, [pointer, ir.Constant(I32, int(is_written)), ir.Constant(I32, 3), ir.Constant(I32, 1)])


def unrelated(b: ir.IRBuilder, pointer: ir.Value) -> ir.Value:
    """``pointer`` as LLVM cannot know where it came from.

    It would replace pointers that move together by one and a chain of additions, each waiting for the last.
    """
    return b.asm(ir.FunctionType(BYTES, [BYTES]), "", "=r,0", [pointer], side_effect=False)


class Lanes:
    """Vectors of ``lanes`` numbers of ``size`` bytes (4: float32, 8: float64).

    has_fma : whether the machine multiplies and adds in one instruction.  Where it does not, LLVM would
    call a library function for each lane.  is_half : whether a register holds twice as many.
    """

    def __init__(self, size: int, lanes: int, has_fma: bool = True, is_half: bool = False) -> None:
        self.size, self.lanes, self.has_fma, self.is_half = size, lanes, has_fma, is_half
        self.width = size * lanes
        self.number = ir.FloatType() if size == 4 else ir.DoubleType()
        self.type = ir.VectorType(self.number, lanes)
        self.mask_type = ir.VectorType(I1, lanes)
        self.zero = ir.Constant(self.type, [0.0] * lanes)
        self.undefined = ir.Constant(self.type, ir.Undefined)
        self.suffix = f"v{lanes}f{8 * size}"

    def order(self, lanes: Sequence[int]) -> ir.Constant:
        """Which lanes a shuffle takes: 0 to lanes-1 from its first vector, the rest from its second."""
        return ir.Constant(ir.VectorType(I32, self.lanes), list(lanes))

    def first(self, n: int) -> ir.Constant:
        """The mask of the first ``n`` lanes, known when the kernel is made."""
        return ir.Constant(self.mask_type, [int(lane < n) for lane in range(self.lanes)])

    def first_of(self, b: ir.IRBuilder, n: ir.Value) -> ir.Value:
        """The mask of the first ``n`` lanes, known at run time; none for n <= 0."""
        integers = ir.VectorType(I32, self.lanes)
        undefined = ir.Constant(integers, ir.Undefined)
        spread = b.insert_element(undefined, b.trunc(n, I32), ir.Constant(I32, 0))
        spread = b.shuffle_vector(spread, undefined, self.order([0] * self.lanes))
        return b.icmp_signed("<", self.order(range(self.lanes)), spread)

    def load(
        self, b: ir.IRBuilder, pointer: ir.Value, mask: ir.Value | None = None, aligned: bool = False
    ) -> ir.Value:
        """The vector at ``pointer``; lanes outside ``mask`` are not read and are 0."""
        pointer = b.bitcast(pointer, self.type.as_pointer())
        if mask is None:
            value = b.load(pointer)
            value.align = self.width if aligned else self.size
            return value
        arguments = [pointer.type, I32, self.mask_type, self.type]
        f = declare(b.module, f"llvm.masked.load.{self.suffix}.p0", self.type, arguments)
        return b.call(f, [pointer, ir.Constant(I32, self.size), mask, self.zero])

    def store(
        self,
        b: ir.IRBuilder,
        value: ir.Value,
        pointer: ir.Value,
        mask: ir.Value | None = None,
        aligned: bool = False,
        past_cache: bool = False,
    ) -> None:
        """Write ``value``; lanes outside ``mask`` are not touched.  ``past_cache`` needs ``aligned``."""
        pointer = b.bitcast(pointer, self.type.as_pointer())
        if mask is None:
            store = b.store(value, pointer)
            store.align = self.width if aligned else self.size
            if past_cache:
                store.set_metadata("nontemporal", b.module.add_metadata([ir.Constant(I32, 1)]))
            return
        arguments = [self.type, pointer.type, I32, self.mask_type]
        f = declare(b.module, f"llvm.masked.store.{self.suffix}.p0", VOID, arguments)
        b.call(f, [value, pointer, ir.Constant(I32, self.size), mask])

    def spread(self, b: ir.IRBuilder, pointer: ir.Value) -> ir.Value:
        """The number at ``pointer`` in every lane."""
        number = b.load(b.bitcast(pointer, self.number.as_pointer()))
        number.align = self.size
        vector = b.insert_element(self.undefined, number, ir.Constant(I32, 0))
        return b.shuffle_vector(vector, self.undefined, self.order([0] * self.lanes))

    def spread_at(self, b: ir.IRBuilder, pointer: ir.Value, stride: ir.Value, times: int) -> ir.Value:
        """The number at ``pointer + times * stride`` in every lane, ``times`` being 0, 1 or 2.

        Written as an instruction on x86.  LLVM would trade the address for pointers of their own or a chain
        of additions, and where half of the register is used as well, spread the number twice.
        """
        target = cpu.target()
        if not target.is_x86 or not 32 <= self.width <= target.vector:
            return self.spread(b, at(b, pointer, b.mul(stride, i64(times))))
        address = ("($1)", "($1,$2)", "($1,$2,2)")[times]
        operation = "vbroadcastss" if self.size == 4 else "vbroadcastsd"
        register = "v" if self.width == 64 or self.is_half else "x"
        function = ir.FunctionType(self.type, [BYTES, I64])
        code = f"{operation} {address}, $0"
        return b.asm(function, code, f"={register},r,r", [pointer, stride], side_effect=False)

    def multiply_add(self, b: ir.IRBuilder, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        """``x * y + z``, rounded once where the machine can."""
        if not self.has_fma:
            return b.fadd(b.fmul(x, y), z)
        return b.call(declare(b.module, f"llvm.fma.{self.suffix}", self.type, [self.type] * 3), [x, y, z])

    def either(self, b: ir.IRBuilder, *ways: tuple[ir.Value, ir.Block]) -> ir.Value:
        """The vector of the block that control came from."""
        phi = b.phi(self.type)
        for value, block in ways:
            phi.add_incoming(value, block)
        return phi

    def _swap(self, distance: int) -> tuple[ir.Constant, ir.Constant]:
        """The two shuffles that exchange the off-diagonal blocks of side ``distance``."""
        lanes = range(self.lanes)
        low = [lane if not lane & distance else self.lanes + (lane ^ distance) for lane in lanes]
        high = [lane | distance if not lane & distance else self.lanes + lane for lane in lanes]
        return self.order(low), self.order(high)

    def transpose(self, b: ir.IRBuilder, rows: Sequence[ir.Value]) -> list[ir.Value]:
        """``lanes`` vectors, transposed: log2(lanes) stages that swap ever larger blocks."""
        rows = list(rows) + [self.undefined] * (self.lanes - len(rows))
        distance = 1
        while distance < self.lanes:
            low, high = self._swap(distance)
            for i in range(self.lanes):
                if not i & distance:
                    x, y = rows[i], rows[i + distance]
                    rows[i] = b.shuffle_vector(x, y, low)
                    rows[i + distance] = b.shuffle_vector(x, y, high)
            distance *= 2
        return rows

    def sums(self, b: ir.IRBuilder, vectors: Sequence[ir.Value]) -> ir.Value:
        """One vector whose lane i is the sum of the lanes of ``vectors[i]``; a transpose that adds."""
        tree: list[Any] = list(vectors) + [None] * (self.lanes - len(vectors))
        distance = 1
        while distance < self.lanes:
            low, high = self._swap(distance)
            for i in range(0, self.lanes, 2 * distance):
                if tree[i] is not None:
                    other = self.undefined if tree[i + distance] is None else tree[i + distance]
                    x, y = (b.shuffle_vector(tree[i], other, half) for half in (low, high))
                    tree[i] = b.fadd(x, y)
            distance *= 2
        return tree[0]


def is_literal(*arguments: Any) -> bool:
    """Whether all of these Numba types are integers known when the kernel is made."""
    return all(isinstance(argument, types.IntegerLiteral) for argument in arguments)


def emitted(literals: tuple[Any, ...], n_arguments: int, emit: Callable[..., Any]) -> Any:
    """What an intrinsic returns: its signature, and the call of what ``emit`` writes for ``literals``."""
    signature = types.void(*literals, *([types.intp] * n_arguments))
    values = [literal.literal_value for literal in literals]

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        emit(builder, values, args[len(values) :])
        return context.get_dummy_value()

    return signature, codegen
