"""Built-in functions whose code Numba compiled, and where CPython and NumPy keep what such code reads.

A call of a function that Numba compiled takes several hundred nanoseconds before the first line runs: each
argument's type is looked up, each array is unpacked into a struct and counted.  A built-in function gets the
addresses of its arguments and nothing else.  What it looks at it reads where the interpreter keeps it: the
first fields of ``PyObject``, ``PyArrayObject`` and ``PyArray_Descr``, which are part of CPython's and NumPy's
binary interface and have not changed in a decade, and a tuple's items, which moved once.  ``layout`` compares
them with what Python says of a few objects, once a process; an interpreter that keeps them elsewhere gets no
such function.
"""

from __future__ import annotations

import ctypes
import functools
import inspect
import sys
import sysconfig
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

# Where an object keeps what, in bytes from its address, which is what ``id`` gives.
TYPE = 8
LENGTH = 16  # of a tuple
DATA, NDIM, SHAPE, STRIDES, DTYPE, FLAGS = 16, 24, 32, 40, 56, 64  # of an ndarray; the first four bytes count
KIND = 24  # of a dtype: its kind, letter, byte order, flags and number, eight bytes in all

FOUR_BYTES = 0xFFFFFFFF
ALIGNED, WRITEABLE, WARN_ON_WRITE = 0x100, 0x400, 1 << 31  # of an ndarray's flags

_NEW_ARRAY = 94  # PyArray_NewFromDescr in NumPy's table of functions
_FASTCALL_WITH_KEYWORDS = 0x80 | 0x02


@dataclass(frozen=True)
class Layout:
    """What differs between versions of CPython.  items : where a tuple's items begin."""

    items: int


def word(address: int) -> int:
    """The 64-bit integer at an address."""
    return ctypes.c_int64.from_address(address).value


@functools.cache
def layout() -> Layout | None:
    """Where this interpreter keeps what, or None if it is not as it should be."""
    if (
        sys.implementation.name != "cpython"
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
    return Layout(found[0]) if all(_is_kept_so(np.dtype(t)) for t in "fd") else None


def _is_kept_so(dtype: np.dtype) -> bool:
    """Whether an array of this dtype is kept as the offsets above say."""
    whole = np.zeros((5, 7), dtype)
    fixed = whole[1:4, ::2]
    fixed.flags.writeable = False
    letters = bytes((ord(dtype.kind), ord(dtype.char), ord("=")))
    if word(id(dtype) + KIND).to_bytes(8, "little")[:3] != letters or word(id(dtype) + KIND) >> 32 != dtype.num:
        return False
    for array, flags in (whole, ALIGNED | WRITEABLE), (fixed, ALIGNED):
        at = id(array)
        head = word(at + TYPE), word(at + DATA), word(at + NDIM) & FOUR_BYTES, word(at + DTYPE)
        if head != (id(np.ndarray), array.ctypes.data, 2, id(dtype)):
            return False  # before its pointers are followed
        sizes, strides = ([word(word(at + place) + 8 * i) for i in (0, 1)] for place in (SHAPE, STRIDES))
        if (*sizes, *strides) != (*array.shape, *array.strides):
            return False
        if word(at + FLAGS) & (ALIGNED | WRITEABLE | WARN_ON_WRITE) != flags:
            return False
    return True


def address_of(name: str) -> int:
    """The address of a function of CPython's C interface."""
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0


def address_of_new_array() -> int:
    """The address of ``PyArray_NewFromDescr``, which takes one reference to the dtype."""
    from numpy._core import multiarray

    prototype = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
    get = prototype(("PyCapsule_GetPointer", ctypes.pythonapi))
    return word(get(multiarray._ARRAY_API, None) + 8 * _NEW_ARRAY)


class _Definition(ctypes.Structure):
    """``PyMethodDef``."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


class _Behind(types.ModuleType):
    """What a built-in function is bound to: a module, as any such function is, that calls one of Python."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function.__module__)
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)


class Builtin:
    """A built-in function in front of one of Python.

    As long as there is no code for it, and whenever its code does not know what to do, the one of Python is
    called with the same arguments.  Its code is a C function of four addresses and counts, ``(self, arguments,
    n, names)``: ``n`` arguments by position, then those by name, whose names are a tuple or 0.  They belong to
    the caller, and stay until it returns; what it returns is a new reference, and no error is left behind.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        empty = inspect.Parameter.empty
        signature = inspect.signature(function)
        plain = [p.replace(annotation=empty) for p in signature.parameters.values()]
        signature = signature.replace(parameters=plain, return_annotation=inspect.Signature.empty)
        name = function.__name__
        self._definition = _Definition(
            name.encode(),
            address_of("PyObject_Vectorcall"),  # of the same four arguments: passes the call on to ``behind``
            _FASTCALL_WITH_KEYWORDS,
            f"{name}{signature}\n--\n\n{function.__doc__ or ''}".encode(),
        )
        prototype = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.py_object)
        make = prototype(("PyCFunction_NewEx", ctypes.pythonapi))
        self.has_code = False
        self.callable = make(ctypes.addressof(self._definition), _Behind(function), function.__module__)
        # The interpreter keeps their addresses for as long as somebody has the function.
        for kept in (self._definition, function):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))

    def lead_to(self, address: int) -> None:
        """From now on run the code at this address."""
        self._definition.function = address  # which the interpreter reads at each call
        self.has_code = True
