"""The fast call: ``matmul`` as a built-in function whose code Numba compiled, in front of the one of Python.

Numba takes several hundred nanoseconds to call what it compiled: it looks up the type of each argument,
unpacks each array into a struct and counts a reference to it.  A product of 16 x 16 takes less.  A built-in
function (``METH_FASTCALL | METH_KEYWORDS``) gets the addresses of its arguments and nothing else, and reads
what it needs where the interpreter keeps it: in the first fields of ``PyObject``, ``PyArrayObject`` and
``PyArray_Descr``, which belong to the binary interface of CPython and NumPy, and in the items of a tuple,
which moved once.

It computes the ordinary product: two aligned 2-D arrays of one dtype in any layout, ``out`` that overlaps
neither them nor itself, ``threads``.  For everything else, errors included, it calls the function of Python
with the same arguments.  What it accepts as ``out``, ``numbasgd.check.out`` accepts too; nothing is written
before that is known.  All arguments are read before the interpreter's lock is released.  Short products keep
the lock, so they never wait for what another thread holds.

It is used where it was tested: CPython of the versions in ``TESTED``, with the layout of objects that
``object_layout`` compares with what Python says of a few objects.  ``NUMBASGD_FASTCALL=0``, read when the
package is imported, turns it off.  Nothing but ``matmul/api.py`` uses this file, and that does without it when
it is deleted.
"""

from __future__ import annotations

import ctypes
import functools
import inspect
import os
import sys
import sysconfig
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from numbasgd import rawmem
from numbasgd.compile import numba_private
from numbasgd.compile.options import jit
from numbasgd.matmul.gemm.dispatch import AT_ONCE, BUSY, DEFAULT_THREADS, DISPATCH, DONE, compiling, products
from numbasgd.matmul.gemm.operands import Matrix, Sizes
from numbasgd.matmul.rungs import DEFAULT
from numbasgd.threads import MAX_THREADS

TESTED = ((3, 11),)  # versions of CPython that CI runs the tests on

# Where an object keeps what, in bytes from its address, which is what ``id`` gives.
TYPE = 8
LENGTH = 16  # of a tuple
DATA, NDIM, SHAPE, STRIDES, DTYPE, FLAGS = 16, 24, 32, 40, 56, 64  # of an ndarray; NDIM and FLAGS are 4 bytes
KIND = 24  # of a dtype: its kind, letter, byte order, flags and number, eight bytes in all
_FOUR_BYTES = 0xFFFFFFFF
_ALIGNED, _WRITEABLE, _WARN_ON_WRITE = 0x100, 0x400, 1 << 31  # of an ndarray's flags

_NEW_FROM_DESCR = 94  # PyArray_NewFromDescr in NumPy's table of C functions
_FASTCALL_WITH_KEYWORDS = 0x80 | 0x02  # METH_FASTCALL | METH_KEYWORDS

# Byte offsets into the constants of the compiled code: addresses of objects, of C functions, of names and of
# their values.
_NDARRAY, _INT, _NONE, _FALLBACK = 0, 8, 16, 24
_VECTORCALL, _NEW_REFERENCE, _DROP, _NEW_ARRAY, _AS_SSIZE, _CLEAR_ERROR = 32, 40, 48, 56, 64, 72
_SAVE_THREAD, _RESTORE_THREAD = 80, 88  # release the interpreter's lock, and take it again
_OUT, _THREADS, _RUNG, _DEVICE, _DEFAULT_RUNG, _CPU = 96, 104, 112, 120, 128, 136
_FLOAT32, _FLOAT64 = 144, 152
_N_CONSTANTS = 20

_KEEPS_LOCK = 40_000  # multiply-adds below which a product takes less time than handing the lock over

_get = rawmem.get
_inlined = jit(forceinline=True)
F = TypeVar("F", bound=Callable[..., Any])


# What the interpreter must be like


def is_switched_off() -> bool:
    """Whether ``NUMBASGD_FASTCALL`` is 0."""
    return os.environ.get("NUMBASGD_FASTCALL", "").strip().lower() in ("0", "false", "no", "off")


@dataclass(frozen=True)
class Layout:
    """What differs between versions of CPython.  items : where a tuple's items begin, in bytes."""

    items: int


def word(address: int) -> int:
    """The 64-bit integer at an address."""
    return ctypes.c_int64.from_address(address).value


@functools.cache
def object_layout() -> Layout | None:
    """Where this interpreter keeps what, or None if it was not tested or is laid out in another way."""
    if (
        sys.implementation.name != "cpython"
        or sys.version_info[:2] not in TESTED
        or sys.byteorder != "little"
        or ctypes.sizeof(ctypes.c_void_p) != 8
        or sysconfig.get_config_var("Py_GIL_DISABLED")
        or hasattr(sys, "getobjects")  # every object begins with two more words
    ):
        return None
    item = object()
    pair = item, None
    at = id(pair)
    found = [offset for offset in (LENGTH + 8, LENGTH + 16) if word(at + offset) == id(item)]
    if len(found) != 1 or word(at + LENGTH) != 2 or word(at + TYPE) != id(tuple):
        return None
    return Layout(found[0]) if all(_has_offsets(np.dtype(t)) for t in "fd") else None


def _has_offsets(dtype: np.dtype) -> bool:
    """Whether an array of this dtype is laid out as the offsets above say."""
    whole = np.zeros((5, 7), dtype)
    strided = whole[1:4, ::2]
    strided.flags.writeable = False
    letters = bytes((ord(dtype.kind), ord(dtype.char), ord("=")))
    if word(id(dtype) + KIND).to_bytes(8, "little")[:3] != letters or word(id(dtype) + KIND) >> 32 != dtype.num:
        return False
    for array, flags in (whole, _ALIGNED | _WRITEABLE), (strided, _ALIGNED):
        at = id(array)
        head = word(at + TYPE), word(at + DATA), word(at + NDIM) & _FOUR_BYTES, word(at + DTYPE)
        if head != (id(np.ndarray), array.ctypes.data, 2, id(dtype)):
            return False  # before its pointers are followed
        sizes, strides = ([word(word(at + place) + 8 * i) for i in (0, 1)] for place in (SHAPE, STRIDES))
        if (*sizes, *strides) != (*array.shape, *array.strides):
            return False
        if word(at + FLAGS) & (_ALIGNED | _WRITEABLE | _WARN_ON_WRITE) != flags:
            return False
    return True


# The compiled code.  An "array" here is the address of an ndarray.


@intrinsic
def _pair(typingctx, first, second):
    """The address of two 64-bit integers, which are there until the function returns."""

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        place = numba_private.alloca_once(b, ir.ArrayType(ir.IntType(64), 2))
        for i in (0, 1):
            b.store(args[i], numba_private.gep_inbounds(b, place, 0, i))
        return b.ptrtoint(place, ir.IntType(64))

    intp = numba.types.intp
    return intp(intp, intp), codegen


@_inlined
def _is_matrix(constants, thing):
    """Whether an object is an aligned 2-D array, and no instance of a subclass."""
    return (
        _get(thing + TYPE) == _get(constants + _NDARRAY)
        and _get(thing + NDIM) & _FOUR_BYTES == 2
        and _get(thing + FLAGS) & _ALIGNED != 0
    )


@_inlined
def _shape(array):
    shape = _get(array + SHAPE)
    return _get(shape), _get(shape + 8)


@_inlined
def _strides(array):
    strides = _get(array + STRIDES)
    return _get(strides), _get(strides + 8)


@_inlined
def _ends(data, shape, strides):
    """The addresses of the first and the last entry in memory, each aligned to its size."""
    rows, columns = (shape[0] - 1) * strides[0], (shape[1] - 1) * strides[1]
    return data + min(0, rows) + min(0, columns), data + max(0, rows) + max(0, columns)


@_inlined
def _new_array(constants, dtype, m, n):
    """A new C-ordered array; 0 if there is no memory, which the function of Python will say."""
    rawmem.call(_get(constants + _NEW_REFERENCE), (dtype,))
    subtype = _get(constants + _NDARRAY)
    out = rawmem.call(_get(constants + _NEW_ARRAY), (subtype, dtype, 2, _pair(m, n), 0, 0, 0, 0))
    if out == 0:
        rawmem.call(_get(constants + _CLEAR_ERROR), (0,))
    return out


@_inlined
def _number_of_threads(constants, threads_):
    """``threads`` as ``dispatch`` takes it; -1 for what ``numbasgd.check`` must look at."""
    if threads_ == _get(constants + _NONE):
        return DEFAULT_THREADS
    if _get(threads_ + TYPE) != _get(constants + _INT):
        return -1
    number = rawmem.call(_get(constants + _AS_SSIZE), (threads_,))
    if 0 < number <= MAX_THREADS:
        return number
    rawmem.call(_get(constants + _CLEAR_ERROR), (0,))
    return -1


@_inlined
def _overlaps_itself(shape, strides, SIZE):
    """Whether entries may share memory: whether the step of one axis falls within the reach of the other."""
    if shape[0] == 0 or shape[1] == 0:
        return False
    rows, columns = abs(strides[0]), abs(strides[1])
    if rows >= columns:
        reach = SIZE + (shape[1] - 1) * columns
        return (shape[1] > 1 and columns < SIZE) or (shape[0] > 1 and rows < reach)
    reach = SIZE + (shape[0] - 1) * rows
    return (shape[0] > 1 and rows < SIZE) or (shape[1] > 1 and columns < reach)


@_inlined
def _accepts_out(constants, A, B, out, kind, SIZE):
    """Whether ``out`` is a writeable array of that dtype and of the shape of A @ B, with memory of its own."""
    m, k = _shape(A)
    n = _shape(B)[1]
    writeable = _ALIGNED | _WRITEABLE
    if not _is_matrix(constants, out) or _get(out + FLAGS) & (writeable | _WARN_ON_WRITE) != writeable:
        return False
    shape, strides = _shape(out), _strides(out)
    if _get(_get(out + DTYPE) + KIND) != kind or shape != (m, n) or _overlaps_itself(shape, strides, SIZE):
        return False
    low, high = _ends(_get(out + DATA), shape, strides)
    a_low, a_high = _ends(_get(A + DATA), (m, k), _strides(A))
    b_low, b_high = _ends(_get(B + DATA), (k, n), _strides(B))
    return (high < a_low or a_high < low) and (high < b_low or b_high < low)


def _make_matmul(ITEMS: int, constants_address: Any, table_32: Any, table_64: Any) -> Any:
    """matmul(self, args, nargs, kwnames), a ``PyCFunctionFastWithKeywords``."""

    @_inlined
    def product(constants, A, B, out, threads_):
        """A new reference to the product; or 0, and then nothing was written and no error is set."""
        if not (_is_matrix(constants, A) and _is_matrix(constants, B)):
            return 0
        dtype = _get(A + DTYPE)
        kind = _get(dtype + KIND)
        is_32 = kind == _get(constants + _FLOAT32)
        if kind != _get(_get(B + DTYPE) + KIND) or not (is_32 or kind == _get(constants + _FLOAT64)):
            return 0
        dispatch = _get((table_32() if is_32 else table_64()) + DISPATCH)
        m, k = _shape(A)
        rows, n = _shape(B)
        number = _number_of_threads(constants, threads_)
        if rows != k or dispatch == 0 or number < 0:
            return 0
        if out == _get(constants + _NONE):
            C = _new_array(constants, dtype, m, n)
        else:
            C = out if _accepts_out(constants, A, B, out, kind, 4 if is_32 else 8) else 0
        if C == 0:
            return 0
        operands = (
            Matrix(_get(A + DATA), *_strides(A)),
            Matrix(_get(B + DATA), *_strides(B)),
            Matrix(_get(C + DATA), *_strides(C)),
            Sizes(m, n, k),
        )
        status = BUSY
        if m * n * max(k, 1) < _KEEPS_LOCK:
            status = rawmem.call(dispatch, (*operands, AT_ONCE))
        if status == BUSY:
            state = rawmem.call(_get(constants + _SAVE_THREAD), (0,))
            status = rawmem.call(dispatch, (*operands, number))
            rawmem.call(_get(constants + _RESTORE_THREAD), (state,))
        if status == DONE:
            if C == out:
                rawmem.call(_get(constants + _NEW_REFERENCE), (C,))
            return C
        if C != out:
            rawmem.call(_get(constants + _DROP), (C,))
        return 0

    @jit(no_cpython_wrapper=True)
    def matmul(self, args, nargs, kwnames):
        constants = constants_address()
        out = threads_ = none = _get(constants + _NONE)
        is_ordinary = nargs == 2
        if kwnames != 0:
            for i in range(_get(kwnames + LENGTH)):
                name, value = _get(kwnames + ITEMS + 8 * i), _get(args + 8 * (nargs + i))
                if name == _get(constants + _OUT):
                    out = value
                elif name == _get(constants + _THREADS):
                    threads_ = value
                elif name == _get(constants + _RUNG):
                    is_ordinary &= value == none or value == _get(constants + _DEFAULT_RUNG)
                else:
                    is_ordinary &= name == _get(constants + _DEVICE) and value == _get(constants + _CPU)
        if is_ordinary:
            result = product(constants, _get(args), _get(args + 8), out, threads_)
            if result != 0:
                return result
        return rawmem.call(_get(constants + _VECTORCALL), (_get(constants + _FALLBACK), args, nargs, kwnames))

    return matmul


# The built-in function


class _MethodDef(ctypes.Structure):
    """``PyMethodDef``."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


class _Fallback(types.ModuleType):
    """What a built-in function is bound to: a module, as any such function is, that calls one of Python."""

    def __init__(self, function: Callable[..., Any], after: Callable[[], None]) -> None:
        super().__init__(function.__module__)
        self._function, self._after = function, after

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = self._function(*args, **kwargs)
        self._after()
        return result


class BuiltinFunction:
    """A built-in function in front of one of Python.

    As long as there is no code for it, the one of Python is called with the same arguments, and then ``after``.
    Its code is a C function ``(self, args, nargs, kwnames)``: ``nargs`` arguments by position, then those by
    name, whose names are a tuple or 0.  The caller holds a reference to each until it returns; what it returns
    is a new reference, and no error is set.
    """

    def __init__(self, function: Callable[..., Any], after: Callable[[], None] = lambda: None) -> None:
        self.function = function
        empty = inspect.Parameter.empty
        signature = inspect.signature(function)
        plain = [p.replace(annotation=empty) for p in signature.parameters.values()]
        signature = signature.replace(parameters=plain, return_annotation=inspect.Signature.empty)
        name = function.__name__
        self._definition = _MethodDef(
            name.encode(),
            address_of("PyObject_Vectorcall"),  # of the same four arguments: passes the call on to its ``self``
            _FASTCALL_WITH_KEYWORDS,
            f"{name}{signature}\n--\n\n{function.__doc__ or ''}".encode(),
        )
        prototype = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.py_object)
        make = prototype(("PyCFunction_NewEx", ctypes.pythonapi))
        self.has_code = False
        self.callable = make(
            ctypes.addressof(self._definition), _Fallback(function, after), function.__module__
        )
        # The interpreter keeps their addresses for as long as somebody has the function.
        for kept in (self._definition, function):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))

    def run_code_at(self, address: int) -> None:
        """From now on a call runs the code at this address."""
        self._definition.function = address  # which the interpreter reads at each call
        self.has_code = True


def address_of(name: str) -> int:
    """The address of a function of CPython's C interface."""
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0


def _address_of_new_from_descr() -> int:
    """The address of ``PyArray_NewFromDescr``, which takes one reference to the dtype."""
    from numpy._core import multiarray

    prototype = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
    get = prototype(("PyCapsule_GetPointer", ctypes.pythonapi))
    return word(get(multiarray._ARRAY_API, None) + 8 * _NEW_FROM_DESCR)


class FastCall:
    """The built-in function in front of ``matmul``, and the constants and the code that it runs with."""

    def __init__(self, function: Callable[..., Any], layout: Layout) -> None:
        self.builtin = BuiltinFunction(function, self._after_a_call)
        names = [sys.intern(name) for name in ("out", "threads", "rung", "device", DEFAULT, "cpu")]
        dtypes: list[Any] = [np.dtype(t) for t in (np.float32, np.float64)]
        functions = ("PyObject_Vectorcall", "Py_NewRef", "Py_DecRef")
        more = ("PyLong_AsSsize_t", "PyErr_Clear", "PyEval_SaveThread", "PyEval_RestoreThread")
        self._kept = names, function
        self.constants = np.array(
            [
                *map(id, (np.ndarray, int, None, function)),
                *map(address_of, functions),
                _address_of_new_from_descr(),
                *map(address_of, more),
                *map(id, names),
                *(word(id(dtype) + KIND) for dtype in dtypes),
            ],
            np.int64,
        )
        assert len(self.constants) == _N_CONSTANTS
        for kept in (self._kept, self.constants):  # compiled code keeps their addresses
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
        symbol = "numbasgd_fastcall"
        rawmem.define(symbol, self.constants.ctypes.data)
        tables = [products[dtype].table for dtype in dtypes]
        self.compiled = _make_matmul(layout.items, rawmem.make_address_of(symbol), *tables)

    def _after_a_call(self) -> None:
        """Once the product of one dtype has been compiled, compile this too, or load it."""
        if any(product.is_ready for product in products.values()):
            with compiling():
                if not self.builtin.has_code:
                    self.compiled.compile((numba.types.intp,) * 4)
                    self.builtin.run_code_at(rawmem.address_of_compiled(self.compiled))


fast_call: FastCall | None = None  # of ``numbasgd.matmul``


def in_front_of(function: F) -> F:
    """A built-in function in front of ``function``, which is ``matmul``; itself where there is no fast call."""
    global fast_call
    layout = None if is_switched_off() else object_layout()
    if layout is None:
        return function
    fast_call = FastCall(function, layout)
    return cast(F, fast_call.builtin.callable)
