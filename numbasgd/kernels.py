"""Kernels for a user's own compiled code.  Arguments are trusted: nothing is checked.

::

    from numba import njit
    from numbasgd import kernels

    @njit
    def hidden(X, W, out):
        kernels.matmul(X, W, out)
        ...

The variant of a product that is new is selected in Python, and compiled if no product used it before, which
needs the interpreter for a moment; ``prepare`` compiles all of them at once.  Numba's ``prange`` releases the
interpreter's lock meanwhile.  Code that waits for threads of its own, which multiply, must release it, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.matmul.gemm import dispatch

__all__ = ["matmul", "prepare"]


@jit
def matmul(A, B, out, threads=1):
    """out := A @ B by ``packed``, with at most ``threads`` threads.

    A : (m, k), B : (k, n), out : (m, n), all float32 or all float64.  A and B in any layout; out with rows
    or columns that are contiguous, overlapping neither A nor B; a ValueError says if neither are.  What out
    held does not matter.
    """
    if dispatch.trusted(A, B, out, threads) != dispatch.DONE:
        raise ValueError("out has neither rows nor columns that are contiguous; expected one of them")


def prepare(dtype: Any = np.float32) -> None:
    """Compile, or load from the cache, every variant for float32 or for float64."""
    dispatch.products[np.dtype(dtype)].prepare_all()
