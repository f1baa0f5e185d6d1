"""Vectors of a chosen length as LLVM instructions, and the integers and pointers beside them.

Numba has no vector type, and what its loop vectorizer makes of a product stays far from the machine.  So
the inner kernels are written as LLVM instructions on vectors of ``lanes`` numbers; LLVM maps one to one
vector register when ``lanes`` fills it.  This module has the values and every operation on them, once:
``kernel.py`` adds the control flow and makes functions of it for Numba, ``vector.py`` the type for
``@njit`` code.  Counts and strides are 64-bit integers, strides in bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import llvmlite.binding
from llvmlite import ir

from numbasgd.machine import cpu

llvmlite.binding.initialize_native_asmparser()  # for the few instructions that LLVM would not choose

I1, I8, I32, I64 = ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64)
VOID, BYTES = ir.VoidType(), I8.as_pointer()

Value: TypeAlias = Any  # a vector, a mask or a condition: an ``ir.Value``, which has no types


def i64(value: int) -> ir.Constant:
    """A 64-bit constant."""
    return ir.Constant(I64, value)


def declare(module: ir.Module, name: str, result: ir.Type, arguments: Sequence[ir.Type]) -> ir.Function:
    """The function ``name`` as seen from ``module``, for example one of LLVM's own."""
    found = module.globals.get(name)
    return ir.Function(module, ir.FunctionType(result, arguments), name) if found is None else found


def vector_type(size: int, lanes: int) -> ir.VectorType:
    """The type of a vector of ``lanes`` numbers of ``size`` bytes."""
    return ir.VectorType(ir.FloatType() if size == 4 else ir.DoubleType(), lanes)


class Int:
    """A 64-bit integer of the code that is written; its other operand may be a Python integer.

    A comparison is a condition of the code, not a Python bool.
    """

    __slots__ = ("b", "value")

    def __init__(self, b: ir.IRBuilder, value: ir.Value | int) -> None:
        self.b = b
        self.value = i64(value) if isinstance(value, int) else value

    def __add__(self, other: Int | int) -> Int:
        return self if other == 0 else Int(self.b, self.b.add(self.value, _integer(other)))

    def __sub__(self, other: Int | int) -> Int:
        return Int(self.b, self.b.sub(self.value, _integer(other)))

    def __mul__(self, other: Int | int) -> Int:
        return self if other == 1 else Int(self.b, self.b.mul(self.value, _integer(other)))

    def __floordiv__(self, other: Int | int) -> Int:
        """The quotient, of two numbers that are not negative."""
        return Int(self.b, self.b.sdiv(self.value, _integer(other)))

    def __and__(self, other: Int | int) -> Int:
        return Int(self.b, self.b.and_(self.value, _integer(other)))

    def __lt__(self, other: Int | int) -> Value:
        return self.b.icmp_signed("<", self.value, _integer(other))

    def __gt__(self, other: Int | int) -> Value:
        return self.b.icmp_signed(">", self.value, _integer(other))

    def __ge__(self, other: Int | int) -> Value:
        return self.b.icmp_signed(">=", self.value, _integer(other))

    def equals(self, other: Int | int) -> Value:
        """Whether both are the same."""
        return self.b.icmp_signed("==", self.value, _integer(other))

    def is_nonzero(self) -> Value:
        """Whether it is not 0."""
        return self.b.icmp_signed("!=", self.value, i64(0))

    def as_pointer(self) -> Pointer:
        """The place in memory with this address."""
        return Pointer(self.b, self.b.inttoptr(self.value, BYTES))


def _integer(x: Int | int) -> ir.Value:
    return i64(x) if isinstance(x, int) else x.value


class Pointer:
    """A place in memory; what is added to it are bytes."""

    __slots__ = ("b", "value")

    def __init__(self, b: ir.IRBuilder, value: ir.Value) -> None:
        self.b, self.value = b, value

    def __add__(self, offset: Int | int) -> Pointer:
        return self if offset == 0 else Pointer(self.b, self.b.gep(self.value, [_integer(offset)]))

    def address(self) -> Int:
        """Its address."""
        return Int(self.b, self.b.ptrtoint(self.value, I64))

    def follow(self) -> Pointer:
        """The place whose address is stored here."""
        b = self.b
        return Int(b, b.load(b.bitcast(self.value, I64.as_pointer()))).as_pointer()

    def prefetch(self, level: int = 1, is_written: bool = False) -> None:
        """Prefetch the cache line into the cache of that level, and those below; harmless at any address."""
        b = self.b
        f = declare(b.module, "llvm.prefetch.p0", VOID, [BYTES, I32, I32, I32])
        options = (int(is_written), 4 - level, 1)
        b.call(f, [b.bitcast(self.value, BYTES), *(ir.Constant(I32, x) for x in options)])

    def opaque(self) -> Pointer:
        """The same place, as LLVM cannot know where it came from.

        It would replace pointers that move together by one and a chain of additions, each waiting for the
        last.
        """
        function = ir.FunctionType(BYTES, [BYTES])
        return Pointer(self.b, self.b.asm(function, "", "=r,0", [self.value], side_effect=False))


class Lanes:
    """Operations on vectors of ``lanes`` numbers of ``size`` bytes (4: float32, 8: float64).

    b : what writes the code.  has_fma : whether the machine multiplies and adds in one instruction.  Where it
    does not, LLVM would call a library function for each lane.  is_half : whether a register holds twice as
    many.
    """

    def __init__(
        self, b: ir.IRBuilder, size: int, lanes: int, has_fma: bool = True, is_half: bool = False
    ) -> None:
        self.b = b
        self.size, self.lanes, self.has_fma, self.is_half = size, lanes, has_fma, is_half
        self.width = size * lanes
        self.type = vector_type(size, lanes)
        self.number = self.type.element
        self.mask_type = ir.VectorType(I1, lanes)
        self.zero = self.fill(0.0)
        self.undefined = ir.Constant(self.type, ir.Undefined)
        self.suffix = f"v{lanes}f{8 * size}"

    # ---- constants, masks and numbers in every lane

    def fill(self, number: float) -> ir.Constant:
        """A constant in every lane."""
        return ir.Constant(self.type, [number] * self.lanes)

    def first(self, n: int) -> ir.Constant:
        """The mask of the first ``n`` lanes, known when the kernel is made."""
        return ir.Constant(self.mask_type, [int(lane < n) for lane in range(self.lanes)])

    def first_of(self, n: Int) -> Value:
        """The mask of the first ``n`` lanes, known at run time; none for n <= 0.  n must fit into 32 bits."""
        b, integers = self.b, ir.VectorType(I32, self.lanes)
        undefined = ir.Constant(integers, ir.Undefined)
        all_n = b.insert_element(undefined, b.trunc(n.value, I32), ir.Constant(I32, 0))
        all_n = b.shuffle_vector(all_n, undefined, _indices([0] * self.lanes))
        return b.icmp_signed("<", _indices(range(self.lanes)), all_n)

    def splat(self, number: ir.Value) -> Value:
        """A number of the code in every lane."""
        vector = self.b.insert_element(self.undefined, number, ir.Constant(I32, 0))
        return self.b.shuffle_vector(vector, self.undefined, _indices([0] * self.lanes))

    # ---- memory

    def load(self, pointer: Pointer, mask: Value | None = None, aligned: bool = False) -> Value:
        """The vector at ``pointer``; lanes outside ``mask`` are not read and are 0."""
        b, place = self.b, self.b.bitcast(pointer.value, self.type.as_pointer())
        if mask is None:
            value = b.load(place)
            value.align = self.width if aligned else self.size
            return value
        arguments = [place.type, I32, self.mask_type, self.type]
        f = declare(b.module, f"llvm.masked.load.{self.suffix}.p0", self.type, arguments)
        return b.call(f, [place, ir.Constant(I32, self.size), mask, self.zero])

    def store(
        self,
        value: Value,
        pointer: Pointer,
        mask: Value | None = None,
        aligned: bool = False,
        non_temporal: bool = False,
    ) -> None:
        """Write ``value``; lanes outside ``mask`` are not touched.  ``non_temporal`` needs ``aligned``."""
        b, place = self.b, self.b.bitcast(pointer.value, self.type.as_pointer())
        if mask is None:
            store = b.store(value, place)
            store.align = self.width if aligned else self.size
            if non_temporal:
                store.set_metadata("nontemporal", b.module.add_metadata([ir.Constant(I32, 1)]))
            return
        arguments = [self.type, place.type, I32, self.mask_type]
        f = declare(b.module, f"llvm.masked.store.{self.suffix}.p0", VOID, arguments)
        b.call(f, [value, place, ir.Constant(I32, self.size), mask])

    def load_number(self, pointer: Pointer) -> ir.Value:
        """The one number at ``pointer``."""
        number = self.b.load(self.b.bitcast(pointer.value, self.number.as_pointer()))
        number.align = self.size
        return number

    def store_number(self, number: ir.Value, pointer: Pointer) -> None:
        """Write one number."""
        self.b.store(number, self.b.bitcast(pointer.value, self.number.as_pointer())).align = self.size

    def broadcast(self, pointer: Pointer) -> Value:
        """The number at ``pointer`` in every lane."""
        return self.splat(self.load_number(pointer))

    def broadcast_at(self, pointer: Pointer, stride: Int, times: int) -> Value:
        """The number at ``pointer + times * stride`` in every lane, ``times`` being 0, 1 or 2.

        Written as an instruction on x86.  LLVM would trade the address for pointers of their own or a chain
        of additions, and where half of the register is used as well, broadcast the number twice.
        """
        target = cpu.target()
        if not target.is_x86 or not 32 <= self.width <= target.vector:
            return self.broadcast(pointer + stride * times)
        address = ("($1)", "($1,$2)", "($1,$2,2)")[times]
        operation = "vbroadcastss" if self.size == 4 else "vbroadcastsd"
        register = "v" if self.width == 64 or self.is_half else "x"
        function = ir.FunctionType(self.type, [BYTES, I64])
        code = f"{operation} {address}, $0"
        values = [pointer.value, stride.value]
        return self.b.asm(function, code, f"={register},r,r", values, side_effect=False)

    # ---- arithmetic

    def add(self, x: Value, y: Value) -> Value:
        """``x + y``."""
        return self.b.fadd(x, y)

    def sub(self, x: Value, y: Value) -> Value:
        """``x - y``."""
        return self.b.fsub(x, y)

    def mul(self, x: Value, y: Value) -> Value:
        """``x * y``."""
        return self.b.fmul(x, y)

    def fma(self, x: Value, y: Value, z: Value) -> Value:
        """``x * y + z``, rounded once where the machine can."""
        if not self.has_fma:
            return self.b.fadd(self.b.fmul(x, y), z)
        return self._call("llvm.fma", self.type, x, y, z)

    def smaller(self, x: Value, y: Value) -> Value:
        """The smaller one in every lane; y where one is NaN."""
        return self.b.select(self.b.fcmp_ordered("<", x, y), x, y)

    def larger(self, x: Value, y: Value) -> Value:
        """The larger one in every lane; y where one is NaN."""
        return self.b.select(self.b.fcmp_ordered(">", x, y), x, y)

    def reduce_add(self, x: Value) -> ir.Value:
        """The sum of all lanes, in the order that LLVM likes."""
        f = declare(
            self.b.module, f"llvm.vector.reduce.fadd.{self.suffix}", self.number, [self.number, self.type]
        )
        return self.b.call(f, [ir.Constant(self.number, -0.0), x], fastmath=["reassoc"])

    def reduce_max(self, x: Value) -> ir.Value:
        """The largest of all lanes that are no NaN."""
        return self._call("llvm.vector.reduce.fmax", self.number, x)

    def fence(self, x: Value) -> Value:
        """``x``; sums that LLVM may reorder do not reach across."""
        return self._call("llvm.arithmetic.fence", self.type, x)

    def _call(self, name: str, result: ir.Type, *vectors: Value) -> ir.Value:
        f = declare(self.b.module, f"{name}.{self.suffix}", result, [self.type] * len(vectors))
        return self.b.call(f, vectors)

    # ---- lanes moved from one place to another

    def shuffle(self, x: Value, y: Value, order: Sequence[int]) -> Value:
        """Lanes of two vectors: 0 to lanes - 1 say one of x, the numbers from there on one of y."""
        return self.b.shuffle_vector(x, y, _indices(order))

    def slice(self, vector: Value, start: int) -> Value:
        """``lanes`` neighbouring lanes of a longer vector."""
        return self.shuffle(vector, ir.Constant(vector.type, ir.Undefined), range(start, start + self.lanes))

    def concatenate(self, vectors: Sequence[Value]) -> Value:
        """A power of two of vectors, one behind the other, as one."""
        vectors, lanes = list(vectors), self.lanes
        while len(vectors) > 1:
            lanes *= 2
            pairs = zip(vectors[::2], vectors[1::2], strict=True)
            vectors = [self.shuffle(x, y, range(lanes)) for x, y in pairs]
        return vectors[0]

    def _swap(self, distance: int) -> tuple[ir.Constant, ir.Constant]:
        """The two shuffles that exchange the off-diagonal blocks of side ``distance``."""
        lanes = range(self.lanes)
        low = [lane if not lane & distance else self.lanes + (lane ^ distance) for lane in lanes]
        high = [lane | distance if not lane & distance else self.lanes + lane for lane in lanes]
        return _indices(low), _indices(high)

    def transpose(self, rows: Sequence[Value]) -> list[Value]:
        """``lanes`` vectors, transposed: log2(lanes) stages that swap ever larger blocks."""
        b = self.b
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

    def reduce_transpose(self, vectors: Sequence[Value]) -> Value:
        """One vector whose lane i is the sum of the lanes of ``vectors[i]``; a transpose that adds."""
        b = self.b
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

    def transpose_blocks(self, rows: Sequence[Value]) -> list[Value]:
        """Two or four vectors of blocks of as many lanes, transposed within the blocks: its own inverse."""
        G = len(rows)

        def mixed(x: Value, y: Value, width: int, is_high: bool) -> Value:
            """The low or high half of each block of both, ``width`` lanes of x and of y in turn."""
            order = []
            for lane in range(self.lanes):
                block, place = lane // G * G, lane % G
                group, within = divmod(place, width)
                source = block + is_high * (G // 2) + group // 2 * width + within
                order.append(source + (self.lanes if group % 2 else 0))
            return self.shuffle(x, y, order)

        if G == 2:
            return [mixed(rows[0], rows[1], 1, high) for high in (False, True)]
        pairs = [mixed(rows[r], rows[r + 1], 1, high) for r in (0, 2) for high in (False, True)]
        return [mixed(pairs[c // 2], pairs[2 + c // 2], 2, bool(c % 2)) for c in range(4)]


def _indices(order: Sequence[int]) -> ir.Constant:
    """Numbers of lanes, as a shuffle takes them."""
    return ir.Constant(ir.VectorType(I32, len(order)), list(order))
