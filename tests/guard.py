"""Arrays that begin or end at a page that nobody may touch: one element too far kills the process."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np

PAGE = mmap.PAGESIZE


def guarded(shape, dtype, *, at_end=True):
    """A C-ordered array with a forbidden page right after its last byte, or right before its first."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    pages = max(1, -(-size // PAGE))
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    for start in (address, address + (pages + 1) * PAGE):
        assert protect(ctypes.c_void_p(start), ctypes.c_size_t(PAGE), 0) == 0
    offset = PAGE + (pages * PAGE - size if at_end else 0)
    return np.frombuffer(memory, dtype, count=size // dtype.itemsize, offset=offset).reshape(shape)
