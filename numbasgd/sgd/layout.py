"""Rows that lie together in memory: a copy of those that do not, where there is room for one."""

from __future__ import annotations

import contextlib
import mmap
import warnings

import numpy as np

from numbasgd.machine.extent import free_memory

SMALL = 64 << 20  # bytes of a copy for which the free memory is not looked at
_SHARE = 0.5  # of the free memory that a copy may take
_NEAR = 1 << 20  # bytes of X in which it hardly matters where the entries of a row are


def together(X: np.ndarray, is_shuffled: bool) -> np.ndarray:
    """X in C order, so that a step reads each of its rows in one piece: X itself, or a copy.

    In another order a step on shuffled rows fetches a cache line for each entry.  A memory-mapped file is not
    copied, since it was mapped to avoid that, nor is what would take more than half of the free memory.  Then a
    warning says what it costs, if rows are shuffled.
    """
    if X.flags.c_contiguous or X.strides[1] == X.itemsize:
        return X
    is_mapped = _is_mapped(X)
    if not is_mapped and (X.nbytes <= SMALL or X.nbytes <= _SHARE * free_memory()):
        with contextlib.suppress(MemoryError):
            return np.ascontiguousarray(X)
    if is_shuffled and X.nbytes > _NEAR:
        why = "is a memory-mapped file" if is_mapped else f"takes {X.nbytes / 1e9:.3g} GB, too much for a copy,"
        warnings.warn(
            f"X {why} and its rows do not lie together in memory (strides {X.strides}), so that shuffled steps "
            "are up to 20 times slower. Save it in C order, pass np.ascontiguousarray(X), or pass "
            'sampling="sequential" if its rows are in random order already.',
            stacklevel=6,
        )
    return X


def _is_mapped(X: np.ndarray) -> bool:
    """Whether X lies in a file that is mapped into memory."""
    base: object = X
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    return isinstance(base.obj if isinstance(base, memoryview) else base, mmap.mmap)
