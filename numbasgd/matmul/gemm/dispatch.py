"""The way into ``packed``: one compiled function that chooses the path, and paths compiled when first used.

A product of 16 x 16 takes less time than choosing its path in Python would, so the choice is compiled too.
But nobody uses all paths, and compiling them all takes long.  So each path is a compiled function of its
own, kept in numbasgd's cache and called through its address in a table; an address that is still 0 is asked
for, which compiles the path or loads it.  The table itself is a symbol that is resolved when code is loaded,
so code that uses the table can be kept as well, a user's own included.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numba.np.numpy_support import as_dtype

from numbasgd import rawmem, threads
from numbasgd.compile.options import jit
from numbasgd.machine import cpu as machine
from numbasgd.matmul.gemm import parallel, tiles
from numbasgd.matmul.gemm.parallel import HEADER, UNIT
from numbasgd.matmul.gemm.path import compiled

# Words of a table, as byte offsets.
DISPATCH, _NEED = 0, 8  # addresses: of dispatch, of the callback that compiles a path; UNIT is next
_MOST = 24  # the number of threads that ``DEFAULT_THREADS`` stands for
_PATHS = 64  # path p: _PATHS + 8 * p

# As a number of threads: what ``threads.default`` said when the first product came; one, and no waiting.
DEFAULT_THREADS, AT_ONCE = 0, -1
# What the compiled functions return.  Nothing was written unless DONE; BUSY is for AT_ONCE alone.
DONE, NOT_THIS_WAY, BUSY = 0, 1, 2


def _make_function_of(SIZE: int, table: Any) -> Any:
    """The address of a path's function, which is compiled now if it never was."""

    def function_of(path):
        function = rawmem.read(table() + _PATHS + 8 * path)
        if function == 0:
            rawmem.ask(rawmem.read(table() + _NEED), path)
            function = rawmem.read(table() + _PATHS + 8 * path)
        return function

    return compiled(function_of, SIZE)


def _make_dispatch(SIZE: int, LANES: int, table: Any, choose: Any) -> Any:
    """dispatch(pa, rsa, csa, pb, rsb, csb, pc, rsc, csc, m, n, k, threads) for one dtype."""
    PACKED, PANELS, DOTS, TURNED, SHARE = tiles.PACKED, tiles.PANELS, tiles.DOTS, tiles.TURNED, tiles.SHARE
    function_of = _make_function_of(SIZE, table)
    zero = parallel.make_zero(SIZE, LANES)

    def dispatch(pa, rsa, csa, pb, rsb, csb, pc, rsc, csc, m, n, k, threads_):
        if m == 0 or n == 0:
            return DONE
        if csc != SIZE and n > 1:  # out has contiguous columns: out.T = B.T @ A.T
            if rsc != SIZE and m > 1:
                return NOT_THIS_WAY
            pa, rsa, csa, pb, rsb, csb = pb, csb, rsb, pa, csa, rsa
            m, n = n, m
            rsc = csc
        elif m == 1 and csb != SIZE and n > 1:  # the same, out being both
            pa, rsa, csa, pb, rsb, csb = pb, csb, rsb, pa, csa, rsa
            m, n = n, m
            rsc = SIZE
        elif n == 1 and csa != SIZE and rsa == SIZE and m > 1 and rsc == SIZE:  # a row times the rows of A.T
            pa, rsa, csa, pb, rsb, csb = pb, csb, rsb, pa, csa, rsa
            m, n = n, m
        if k == 0:
            zero(pc, rsc, m, n)
            return DONE
        if k == 1:
            csa = SIZE  # a stride that is never taken
        if n == 1:
            csb = SIZE
        path, x, y, z = choose(m, n, k, rsa, csa, rsb, csb, pc, rsc)
        function = function_of(path)
        if function == 0:
            return NOT_THIS_WAY
        if threads_ == DEFAULT_THREADS:
            threads_ = rawmem.read(table() + _MOST)
        is_shared = threads_ > 1 and m * n * k // LANES >= parallel.WORTH_SHARING
        is_packed = path == PACKED or path == PACKED + 1
        is_cut = parallel.pieces_of_k(m, n, k, SIZE) > 1
        if is_shared or is_cut:
            if threads_ == AT_ONCE:
                return BUSY
            share = function_of(SHARE)
            if share == 0 or is_packed and not is_cut and function_of(path - PACKED + PANELS) == 0:
                return NOT_THIS_WAY
            most = threads_ if is_shared else 1
            rawmem.call(share, (path, most, pa, rsa, csa, pb, rsb, csb, pc, rsc, m, n, k, x, y, z))
            return DONE
        slot = 0
        work = 0
        if is_packed or DOTS < path <= TURNED:
            slot = threads.try_workspace() if threads_ == AT_ONCE else threads.take_workspace()
            if slot == 0:
                return BUSY
            work = threads.workspace_of(slot) + HEADER
        rawmem.call(function, (pa, rsa, csa, pb, rsb, csb, pc, rsc, m, n, k, 0, work, 0, x, y, z))
        if slot != 0:
            threads.give_workspace(slot)
        return DONE

    return compiled(dispatch, SIZE)


class Product:
    """``packed`` for one dtype: its table, its dispatch and the paths compiled so far."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self.tiles = tiles.Tiles(machine.host(), self.dtype.itemsize)
        self.choose = self.tiles.make_choose()
        self.words = np.zeros((_PATHS + 8 * (tiles.N_PATHS + 1)) // 8, np.int64)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.words))  # compiled code keeps its address
        self.compiled: dict[int, Any] = {}
        self.symbol = f"numbasgd_{self.dtype.name}"
        rawmem.define(self.symbol, self.words.ctypes.data)
        self.table = rawmem.make_address_of(self.symbol)
        self._need = rawmem.callback(self._compile)
        self._set(_NEED, ctypes.cast(self._need, ctypes.c_void_p).value or 0)
        self.is_ready = False
        threads.need_workspace(self.tiles.work_bytes + HEADER)

    def _set(self, offset: int, address: int) -> None:
        self.words[offset // 8] = address

    def prepare(self) -> None:
        """Compile what every product needs: the choice of the path, and how work is shared."""
        if self.is_ready:
            return
        with _compiling:
            if not self.is_ready:
                self._prepare()

    def _prepare(self) -> None:
        size, lanes = self.tiles.size, self.tiles.lanes
        choose = compiled(self.tiles.make_choose(), *self.tiles.numbers)
        dispatch = _make_dispatch(size, lanes, self.table, choose)
        dispatch.compile((types.intp,) * 13)
        self.dispatch = dispatch
        self._set(_MOST, threads.default())
        self._set(DISPATCH, rawmem.address_of_compiled(dispatch))
        self.is_ready = True

    def _compile(self, path: int) -> None:
        """Called from compiled code for a path whose address is still 0; -1 asks for dispatch."""
        if path < 0:
            self.prepare()
            return
        with _compiling:  # whoever waited here finds the address in the table
            if path not in self.compiled:
                self._add(path)

    def _add(self, path: int) -> None:
        if path == tiles.SHARE:
            parallel.unit.compile((types.intp,) * 3)
            self._set(UNIT, rawmem.address_of_compiled(parallel.unit))
            function_of = _make_function_of(self.tiles.size, self.table)
            function = parallel.make_share(self.tiles, self.table, function_of)
            function.compile((types.intp,) * 16)
        else:
            function = compiled(self.tiles.make(path), 8 * self.tiles.size, path)
            function.compile((types.intp,) * 17)
        self._set(_PATHS + 8 * path, rawmem.address_of_compiled(function))
        self.compiled[path] = function

    def prepare_all(self) -> None:
        """Compile every path."""
        self.prepare()
        for path in (*self.tiles.paths, tiles.SHARE):
            if path not in self.compiled:
                self._compile(path)


_compiling = threading.RLock()
products = {dtype: Product(dtype) for dtype in (np.dtype(np.float32), np.dtype(np.float64))}
threads.have_workspace()  # addresses alone, until a product writes to it


@intrinsic
def table_of(typingctx, A, B, out):
    """The table for the dtype of three arrays, which may be any matrices of one dtype; out is written to."""
    arrays = (A, B, out)
    if not all(isinstance(a, types.Array) and a.ndim == 2 and a.aligned for a in arrays) or not out.mutable:
        return None
    product = products.get(as_dtype(A.dtype))
    if product is None or not A.dtype == B.dtype == out.dtype:
        return None

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        return rawmem.emit_address_of(b, product.symbol)

    return types.intp(A, B, out), codegen


@jit
def trusted(A, B, out, threads_):
    """out := A @ B for arrays that fit together, in any layout; DONE, or NOT_THIS_WAY for a strided out."""
    table = table_of(A, B, out)
    if rawmem.read(table + DISPATCH) == 0:
        rawmem.ask(rawmem.read(table + _NEED), -1)
    if rawmem.read(table + DISPATCH) == 0:
        return NOT_THIS_WAY
    arguments = (
        A.ctypes.data, A.strides[0], A.strides[1], B.ctypes.data, B.strides[0], B.strides[1],
        out.ctypes.data, out.strides[0], out.strides[1], A.shape[0], B.shape[1], A.shape[1], threads_,
    )  # fmt: skip
    return rawmem.call(rawmem.read(table + DISPATCH), arguments)


@functools.cache
def make_product(dtype: np.dtype) -> Any:
    """product(pa, ia, ja, pb, ib, jb, pc, ic, m, n, k): C := A @ B in one thread, for kernels of ours.

    Of each matrix the address and how many entries apart rows and columns are; C has contiguous rows.
    """
    SIZE, table_address = dtype.itemsize, products[dtype].table

    @jit(variant=dtype.name, fastmath=False)
    def product(pa, ia, ja, pb, ib, jb, pc, ic, m, n, k):
        table = table_address()
        if rawmem.read(table + DISPATCH) == 0:
            rawmem.ask(rawmem.read(table + _NEED), -1)  # which comes back when it is compiled
        places = (pa, ia * SIZE, ja * SIZE, pb, ib * SIZE, jb * SIZE, pc, ic * SIZE, SIZE, m, n, k, 1)
        rawmem.call(rawmem.read(table + DISPATCH), places)

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
    places = (A.ctypes.data, *A.strides, B.ctypes.data, *B.strides, out.ctypes.data, *out.strides)
    return product.dispatch(*places, A.shape[0], B.shape[1], A.shape[1], threads_)
