"""The way in from Python: ``matmul`` as a built-in function whose compiled code looks at the arguments.

A product of 16 x 16 takes less time than Numba takes to call a function, so the gate is a function that the
interpreter calls itself (``numbasgd.builtin``).  It knows the usual call: two aligned 2-D arrays of one
dtype, in any layout, ``out`` that overlaps neither them nor itself, ``threads``.  For all else, errors
included, it calls the function of Python that it stands before, and it never writes before it is sure.

Everything is read before the interpreter's lock is given away.  Brief products keep the lock, so they must not
wait for anything that another thread has.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from numbasgd import builtin, rawmem
from numbasgd.compile.options import jit
from numbasgd.matmul.gemm.dispatch import AT_ONCE, BUSY, DEFAULT_THREADS, DISPATCH, DONE, compiling, products
from numbasgd.matmul.gemm.operands import Matrix, Sizes
from numbasgd.matmul.rungs import DEFAULT
from numbasgd.threads import MAX_THREADS

# Words of the gate's table, as byte offsets: addresses of objects, of C functions, of names and their values.
_ARRAY, _INT, _NONE, _BEHIND = 0, 8, 16, 24
_CALL, _NEW_REFERENCE, _DROP, _NEW_ARRAY, _AS_NUMBER, _FORGET_ERROR = 32, 40, 48, 56, 64, 72
_LEAVE, _RETURN = 80, 88  # give the interpreter's lock away, and take it again
_OUT, _THREADS, _RUNG, _DEVICE, _DEFAULT_RUNG, _CPU = 96, 104, 112, 120, 128, 136
_KIND_32, _KIND_64 = 144, 152
_N_WORDS = 20

_BRIEF = 40_000  # multiply-adds that are over sooner than another thread would have taken the lock

_DATA, _SHAPE, _STRIDES, _KIND = builtin.DATA, builtin.SHAPE, builtin.STRIDES, builtin.KIND
_FULL = builtin.ALIGNED | builtin.WRITEABLE
_FLAGS_OF_OUT = _FULL | builtin.WARN_ON_WRITE

_get = rawmem.get
_inlined = jit(forceinline=True)
F = TypeVar("F", bound=Callable[..., Any])


@intrinsic
def _pair(typingctx, first, second):
    """The address of two 64-bit integers, which are there until the function returns."""

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        place = cgutils.alloca_once(b, ir.ArrayType(ir.IntType(64), 2))
        for i in (0, 1):
            b.store(args[i], cgutils.gep_inbounds(b, place, 0, i))
        return b.ptrtoint(place, ir.IntType(64))

    return types.intp(types.intp, types.intp), codegen


@_inlined
def _is_matrix(table, thing):
    """Whether an object is an aligned 2-D array, and exactly that."""
    return (
        _get(thing + builtin.TYPE) == _get(table + _ARRAY)
        and _get(thing + builtin.NDIM) & builtin.FOUR_BYTES == 2
        and _get(thing + builtin.FLAGS) & builtin.ALIGNED != 0
    )


@_inlined
def _sizes(array):
    """Its rows and columns."""
    shape = _get(array + _SHAPE)
    return _get(shape), _get(shape + 8)


@_inlined
def _steps(array):
    """How many bytes lie between its rows, and between its columns."""
    strides = _get(array + _STRIDES)
    return _get(strides), _get(strides + 8)


@_inlined
def _ends(data, sizes, steps):
    """The addresses of the first and the last entry in memory, each aligned to its size."""
    down, along = (sizes[0] - 1) * steps[0], (sizes[1] - 1) * steps[1]
    return data + min(0, down) + min(0, along), data + max(0, down) + max(0, along)


@_inlined
def _new_out(table, dtype, m, n):
    """A new C-ordered array; 0 if there is no memory, which whoever is asked next will say."""
    rawmem.call(_get(table + _NEW_REFERENCE), (dtype,))
    out = rawmem.call(_get(table + _NEW_ARRAY), (_get(table + _ARRAY), dtype, 2, _pair(m, n), 0, 0, 0, 0))
    if out == 0:
        rawmem.call(_get(table + _FORGET_ERROR), (0,))
    return out


@_inlined
def _number(table, threads_):
    """``threads`` as ``dispatch`` takes it; -1 for what needs a closer look."""
    if threads_ == _get(table + _NONE):
        return DEFAULT_THREADS
    if _get(threads_ + builtin.TYPE) != _get(table + _INT):
        return -1
    number = rawmem.call(_get(table + _AS_NUMBER), (threads_,))
    if 0 < number <= MAX_THREADS:
        return number
    rawmem.call(_get(table + _FORGET_ERROR), (0,))
    return -1


@_inlined
def _is_spread(sizes, steps, SIZE):
    """Whether no two entries share memory, told from whether one axis lies within a step of the other."""
    down, along = abs(steps[0]), abs(steps[1])
    if sizes[0] == 0 or sizes[1] == 0:
        return True
    if down >= along:
        return (sizes[1] <= 1 or along >= SIZE) and (sizes[0] <= 1 or down >= SIZE + (sizes[1] - 1) * along)
    return (sizes[0] <= 1 or down >= SIZE) and (sizes[1] <= 1 or along >= SIZE + (sizes[0] - 1) * down)


@_inlined
def _may_write(table, A, B, out, kind, SIZE, m, k, n):
    """Whether ``out`` is a matrix to write the product into, of that size and dtype, and memory of its own."""
    if not _is_matrix(table, out) or _get(out + builtin.FLAGS) & _FLAGS_OF_OUT != _FULL:
        return False
    sizes, steps = _sizes(out), _steps(out)
    if _get(_get(out + builtin.DTYPE) + _KIND) != kind or sizes != (m, n) or not _is_spread(sizes, steps, SIZE):
        return False
    low, high = _ends(_get(out + _DATA), sizes, steps)
    a_low, a_high = _ends(_get(A + _DATA), (m, k), _steps(A))
    b_low, b_high = _ends(_get(B + _DATA), (k, n), _steps(B))
    return (high < a_low or a_high < low) and (high < b_low or b_high < low)


def _make_gate(ITEMS: int, table_address: Any, table_32: Any, table_64: Any) -> Any:
    """gate(self, arguments, n, names), as ``Builtin`` has it."""

    @_inlined
    def product(table, A, B, out, threads_):
        """A new reference to the product; or 0, and then nothing was written and no error is set."""
        if not (_is_matrix(table, A) and _is_matrix(table, B)):
            return 0
        dtype = _get(A + builtin.DTYPE)
        kind = _get(dtype + _KIND)
        is_32 = kind == _get(table + _KIND_32)
        if kind != _get(_get(B + builtin.DTYPE) + _KIND) or not (is_32 or kind == _get(table + _KIND_64)):
            return 0
        dispatch = _get((table_32() if is_32 else table_64()) + DISPATCH)
        m, k = _sizes(A)
        rows, n = _sizes(B)
        number = _number(table, threads_)
        if rows != k or dispatch == 0 or number < 0:
            return 0
        if out == _get(table + _NONE):
            C = _new_out(table, dtype, m, n)
        else:
            C = out if _may_write(table, A, B, out, kind, 4 if is_32 else 8, m, k, n) else 0
        if C == 0:
            return 0
        places = (
            Matrix(_get(A + _DATA), *_steps(A)),
            Matrix(_get(B + _DATA), *_steps(B)),
            Matrix(_get(C + _DATA), *_steps(C)),
            Sizes(m, n, k),
        )
        how = BUSY
        if m * n * max(k, 1) < _BRIEF:
            how = rawmem.call(dispatch, (*places, AT_ONCE))
        if how == BUSY:
            state = rawmem.call(_get(table + _LEAVE), (0,))
            how = rawmem.call(dispatch, (*places, number))
            rawmem.call(_get(table + _RETURN), (state,))
        if how == DONE:
            if C == out:
                rawmem.call(_get(table + _NEW_REFERENCE), (C,))
            return C
        if C != out:
            rawmem.call(_get(table + _DROP), (C,))
        return 0

    @jit(no_cpython_wrapper=True)
    def gate(self, arguments, n, names):
        table = table_address()
        out = threads_ = none = _get(table + _NONE)
        is_usual = n == 2
        if names != 0:
            for i in range(_get(names + builtin.LENGTH)):
                name, value = _get(names + ITEMS + 8 * i), _get(arguments + 8 * (n + i))
                if name == _get(table + _OUT):
                    out = value
                elif name == _get(table + _THREADS):
                    threads_ = value
                elif name == _get(table + _RUNG):
                    is_usual &= value == none or value == _get(table + _DEFAULT_RUNG)
                else:
                    is_usual &= name == _get(table + _DEVICE) and value == _get(table + _CPU)
        if is_usual:
            found = product(table, _get(arguments), _get(arguments + 8), out, threads_)
            if found != 0:
                return found
        return rawmem.call(_get(table + _CALL), (_get(table + _BEHIND), arguments, n, names))

    return gate


class Gate:
    """The built-in function before one of Python, and the code that it will have."""

    def __init__(self, function: Callable[..., Any], items: int) -> None:
        self.builtin = builtin.Builtin(function)
        names = [sys.intern(name) for name in ("out", "threads", "rung", "device", DEFAULT, "cpu")]
        dtypes: list[Any] = [np.dtype(t) for t in (np.float32, np.float64)]
        functions = ("PyObject_Vectorcall", "Py_NewRef", "Py_DecRef")
        more = ("PyLong_AsSsize_t", "PyErr_Clear", "PyEval_SaveThread", "PyEval_RestoreThread")
        self._kept = names, function
        self.words = np.array(
            [
                *map(id, (np.ndarray, int, None, function)),
                *map(builtin.address_of, functions),
                builtin.address_of_new_array(),
                *map(builtin.address_of, more),
                *map(id, names),
                *(builtin.word(id(dtype) + _KIND) for dtype in dtypes),
            ],
            np.int64,
        )
        assert len(self.words) == _N_WORDS
        for kept in (self._kept, self.words):  # compiled code keeps their addresses
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
        rawmem.define("numbasgd_gate", self.words.ctypes.data)
        tables = [products[dtype].table for dtype in dtypes]
        self.function = _make_gate(items, rawmem.make_address_of("numbasgd_gate"), *tables)

    def open(self) -> None:
        """Compile its code, or load it, and lead calls to it."""
        with compiling():
            if not self.builtin.has_code:
                self.function.compile((types.intp,) * 4)
                self.builtin.lead_to(rawmem.address_of_compiled(self.function))


_gate: Gate | None = None
_matmul: Any = None


def before(function: F) -> F:
    """``function``, ``numbasgd.matmul``, with the gate before it, if this interpreter is as it should be."""
    global _gate, _matmul
    found = builtin.layout()
    _gate = None if found is None else Gate(function, found.items)
    _matmul = function if _gate is None else _gate.builtin.callable
    return cast(F, _matmul)


def open_gate() -> None:
    """From the next call on ``matmul`` goes through the gate, if there is one."""
    if _gate is not None and not _gate.builtin.has_code:
        _gate.open()


def packed(A: np.ndarray, B: np.ndarray, out: np.ndarray) -> None:
    """out := A @ B in one thread: the rung of that name, with the contract of the kernels in ``cpu``."""
    _matmul(A, B, out=out, threads=1)
