"""The way into ``packed``: compiled code that looks a plan up, and variants that are compiled when first used.

What was chosen for a product is kept (``plan_cache``).  Nobody uses all variants, and compiling them all takes
long.  So each is a compiled function of its own, kept in numbasgd's cache and called through its address in a
table; where the address is still 0, a callback compiles the variant or loads it.  The table itself is a symbol
that is resolved when code is loaded, so code that uses the table can be kept as well, a user's own included.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from typing import Any

import numpy as np
from numba import types

from numbasgd import rawmem, threads, workspace
from numbasgd.compile.numba_private import as_dtype
from numbasgd.compile.options import jit
from numbasgd.matmul.gemm import parallel, plan_cache
from numbasgd.matmul.gemm.operands import LOOPS, MATRIX, SIZES, Matrix, Scratch, Sizes, compiled
from numbasgd.matmul.gemm.parallel import HEADER, Grid, Shared, Task
from numbasgd.matmul.gemm.plan import Gemm, host_gemm
from numbasgd.matmul.gemm.variants import Product

# Words of a table, as byte offsets.
DISPATCH, _NEED = 0, 8  # addresses: of dispatch, of the callback that compiles a function
_PART, _SHARE = 16, 24  # addresses of ``part`` and ``share`` (``parallel``), compiled when first needed
_MOST = 32  # the number of threads that ``DEFAULT_THREADS`` stands for
_FUNCTIONS = 64  # function f: _FUNCTIONS + 8 * f
_DISPATCH_PLEASE, _SHARE_PLEASE = -1, -2  # what the callback can make beside the functions, by number

# As a number of threads: what ``threads.default`` said when the first product came; one, and no waiting.
DEFAULT_THREADS, AT_ONCE = 0, -1
# What the compiled functions return.  Nothing was written unless DONE; BUSY is for AT_ONCE alone.
DONE, NOT_THIS_WAY, BUSY = 0, 1, 2
# dispatch(A, B, C, size, threads)
ARGUMENTS = (MATRIX, MATRIX, MATRIX, SIZES, types.intp)


def _make_function_of(SIZE: int, table: Any) -> Any:
    """function_of(f): the address of function f, which is compiled now if it never was."""

    def function_of(f):
        address = rawmem.read(table() + _FUNCTIONS + 8 * f)
        if address == 0:
            rawmem.ask(rawmem.read(table() + _NEED), f)
            address = rawmem.read(table() + _FUNCTIONS + 8 * f)
        return address

    return compiled(function_of, SIZE)


def _make_oriented(SIZE: int) -> Any:
    """oriented(A, B, C, size): the same product with contiguous rows of C, as the product of both transposes.

    A row of C may have any row stride, and a stride that is never taken is set to what suits most variants.
    """

    def oriented(A, B, C, size):
        m, n, k = size
        if (
            (C.cs != SIZE and n > 1)  # C has contiguous columns
            or (m == 1 and B.cs != SIZE and n > 1)  # C is both, and the columns of B are contiguous
            or (n == 1 and A.cs != SIZE and A.rs == SIZE and m > 1 and C.rs == SIZE)
        ):
            rsc = C.cs if C.cs != SIZE and n > 1 else SIZE
            A, B = Matrix(B.address, B.cs, B.rs), Matrix(A.address, A.cs, A.rs)
            C = Matrix(C.address, rsc, SIZE)
            m, n = n, m
        if k == 1:
            A = Matrix(A.address, A.rs, SIZE)
        if n == 1:
            B = Matrix(B.address, B.rs, SIZE)
        return A, B, C, Sizes(m, n, k)

    return compiled(oriented, SIZE)


def _make_dispatch(gemm: Gemm, table: Any, plans: Any) -> Any:
    """dispatch(A, B, C, size, threads) for one dtype."""
    SIZE, LANES = gemm.tiles.size, gemm.tiles.lanes
    function_of, oriented = _make_function_of(SIZE, table), _make_oriented(SIZE)
    zero, choose = parallel.make_zero(SIZE, LANES), plan_cache.choose

    def dispatch(A, B, C, size, n_threads):
        if size.m == 0 or size.n == 0:
            return DONE
        if C.cs != SIZE and size.n > 1 and C.rs != SIZE and size.m > 1:
            return NOT_THIS_WAY
        A, B, C, size = oriented(A, B, C, size)
        if size.k == 0:
            zero(C, size)
            return DONE
        m, n, k = size
        chosen = choose(plans(), Product(m, n, k, A.rs, A.cs, B.rs, B.cs, C.address % SIZE, C.rs))
        if chosen.function < 0:
            return NOT_THIS_WAY
        function = function_of(chosen.function)
        if function == 0:
            return NOT_THIS_WAY
        if n_threads == DEFAULT_THREADS:
            n_threads = rawmem.read(table() + _MOST)
        is_shared = n_threads > 1 and m * n * k // LANES >= parallel.WORTH_SHARING
        is_split = parallel.k_pieces(m, n, k, SIZE) > 1
        if is_shared or is_split:
            if n_threads == AT_ONCE:
                return BUSY
            packer = 0
            if chosen.packer >= 0 and not is_split:
                packer = function_of(chosen.packer)
                if packer == 0:
                    return NOT_THIS_WAY
            if rawmem.read(table() + _SHARE) == 0:
                rawmem.ask(rawmem.read(table() + _NEED), _SHARE_PLEASE)
            share, part = rawmem.read(table() + _SHARE), rawmem.read(table() + _PART)
            if share == 0:
                return NOT_THIS_WAY
            whole = Grid(1, m, n, k, 0)
            task = Task(function, A, B, C, size, 0, chosen.blocks, 0, whole)
            rawmem.call(share, (task, chosen.cut, Shared(part, packer, n_threads if is_shared else 1)))
            return DONE
        slot = 0
        scratch = 0
        if chosen.has_scratch > 0:
            slot = workspace.try_take() if n_threads == AT_ONCE else workspace.take()
            if slot == 0:
                return BUSY
            scratch = workspace.scratch_of(slot) + HEADER
        rawmem.call(function, (A, B, C, size, 0, chosen.blocks, Scratch(scratch, 0)))
        if slot != 0:
            workspace.give_back(slot)
        return DONE

    return compiled(dispatch, SIZE)


class DispatchTable:
    """``packed`` for one dtype: the table, dispatch and the functions compiled so far."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self.gemm = host_gemm(self.dtype.itemsize)
        self.words = np.zeros(_FUNCTIONS // 8 + len(self.gemm.functions), np.int64)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.words))  # compiled code keeps its address
        self.compiled: dict[int, Any] = {}
        self.symbol = f"numbasgd_{self.dtype.name}"
        rawmem.define(self.symbol, self.words.ctypes.data)
        self.table = rawmem.make_address_of(self.symbol)
        self._need = rawmem.callback(self._compile)
        self._set(_NEED, ctypes.cast(self._need, ctypes.c_void_p).value or 0)
        self.plans = plan_cache.PlanCache(self.gemm, f"numbasgd_plans_{self.dtype.name}")
        self.is_ready = False
        workspace.require(self.gemm.scratch_bytes + HEADER)

    def _set(self, offset: int, address: int) -> None:
        self.words[offset // 8] = address

    def prepare(self) -> None:
        """Compile what every product needs: how a variant is chosen and called."""
        if self.is_ready:
            return
        with _compiling:
            if not self.is_ready:
                self._prepare()

    def _prepare(self) -> None:
        dispatch = _make_dispatch(self.gemm, self.table, self.plans.address)
        dispatch.compile(ARGUMENTS)
        self.dispatch = dispatch
        self._set(_MOST, threads.default())
        self._set(DISPATCH, rawmem.address_of_compiled(dispatch))
        self.is_ready = True

    def _compile(self, number: int) -> None:
        """Called from compiled code for what has no address yet."""
        if number == _DISPATCH_PLEASE:
            self.prepare()
            return
        with _compiling:  # whoever waited here finds the address in the table
            self._compile_now(number)

    def _compile_now(self, number: int) -> None:
        if number == _SHARE_PLEASE:
            self._compile_share()
        else:
            self.function(number)

    def _compile_share(self) -> None:
        if self.words[_SHARE // 8]:
            return
        part = parallel.make_part(self.gemm.tiles.size)
        part.compile((types.intp,) * 3)
        self._set(_PART, rawmem.address_of_compiled(part))
        share = parallel.make_share(self.gemm)
        share.compile((parallel.TASK, plan_cache.CUT, parallel.SHARED))
        self._set(_SHARE, rawmem.address_of_compiled(share))

    def function(self, number: int) -> Any:
        """The compiled function of this number."""
        with _compiling:
            if number not in self.compiled:
                loops = self.gemm.functions[number].make(self.gemm.tiles)
                function = compiled(loops, 8 * self.gemm.tiles.size, number)
                function.compile(LOOPS)
                self._set(_FUNCTIONS + 8 * number, rawmem.address_of_compiled(function))
                self.compiled[number] = function
            return self.compiled[number]

    def prepare_all(self) -> None:
        """Compile every function."""
        self.prepare()
        for number in range(len(self.gemm.functions)):
            self.function(number)
        self._compile(_SHARE_PLEASE)


_compiling = threading.RLock()
products = {dtype: DispatchTable(dtype) for dtype in (np.dtype(np.float32), np.dtype(np.float64))}
workspace.allocate_first()  # addresses alone, until a product writes to it


def _table_for(A: Any, B: Any, out: Any) -> str | None:
    """The symbol of the table for arrays of these types; None for what is no product."""
    arrays = (A, B, out)
    if not all(isinstance(a, types.Array) and a.ndim == 2 and a.aligned for a in arrays) or not out.mutable:
        return None
    product = products.get(as_dtype(A.dtype))
    if product is None or not A.dtype == B.dtype == out.dtype:
        return None
    return product.symbol


# table_of(A, B, out): the table for three arrays, which may be any matrices of one dtype; out is written to.
table_of = rawmem.make_symbol_address(_table_for)


@jit
def trusted(A, B, out, threads_):
    """out := A @ B for arrays that fit together, in any layout; DONE, or NOT_THIS_WAY for a strided out."""
    table = table_of(A, B, out)
    if rawmem.read(table + DISPATCH) == 0:
        rawmem.ask(rawmem.read(table + _NEED), _DISPATCH_PLEASE)
    if rawmem.read(table + DISPATCH) == 0:
        return NOT_THIS_WAY
    places = (
        Matrix(A.ctypes.data, A.strides[0], A.strides[1]),
        Matrix(B.ctypes.data, B.strides[0], B.strides[1]),
        Matrix(out.ctypes.data, out.strides[0], out.strides[1]),
    )
    sizes = Sizes(A.shape[0], B.shape[1], A.shape[1])
    return rawmem.call(rawmem.read(table + DISPATCH), (*places, sizes, threads_))


@functools.cache
def make_product(dtype: np.dtype) -> Any:
    """product(A, B, C, sizes): C := A @ B in one thread, for kernels of ours.

    A, B, C : (address, entries from one row to the next, entries from one column to the next); C has contiguous
    rows.  sizes : (m, n, k).
    """
    SIZE, table_address = dtype.itemsize, products[dtype].table

    @jit(variant=dtype.name, fastmath=False)
    def product(A, B, C, sizes):
        (pa, ia, ja), (pb, ib, jb), (pc, ic, _), (m, n, k) = A, B, C, sizes
        table = table_address()
        if rawmem.read(table + DISPATCH) == 0:
            rawmem.ask(rawmem.read(table + _NEED), _DISPATCH_PLEASE)  # which comes back when it is compiled
        places = (
            Matrix(pa, ia * SIZE, ja * SIZE), Matrix(pb, ib * SIZE, jb * SIZE), Matrix(pc, ic * SIZE, SIZE)
        )  # fmt: skip
        rawmem.call(rawmem.read(table + DISPATCH), (*places, Sizes(m, n, k), 1))

    return product


def compiling() -> threading.RLock:
    """The lock under which all of this is compiled."""
    return _compiling


def _new_lock() -> None:
    global _compiling
    _compiling = threading.RLock()


if hasattr(os, "register_at_fork"):  # a child of a process that was compiling starts with a free lock
    os.register_at_fork(after_in_child=_new_lock)


def multiply(A: np.ndarray, B: np.ndarray, out: np.ndarray, threads_: int) -> int:
    """``trusted`` from Python, for arrays of any layout, read-only ones included."""
    product = products[A.dtype]
    product.prepare()
    places = (Matrix(array.ctypes.data, *array.strides) for array in (A, B, out))
    return product.dispatch(*places, Sizes(A.shape[0], B.shape[1], A.shape[1]), threads_)
