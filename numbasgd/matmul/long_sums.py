"""Products with long sums: partial products over TERMS columns of A, added up.

The kernels of the ladder add the k products of an entry one after another, as the loops are written.  In
float32 such a sum of ones stops growing at 2^24, and a sum of random products loses digits long before.  In
two levels the error grows with TERMS + k / TERMS instead of k (N. J. Higham, Accuracy and Stability of
Numerical Algorithms, 2nd ed., section 4.2).  The cut is made here and not in the kernels: their loops stay
plain, and a product with k up to TERMS is one call of the kernel.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

TERMS = 2**16  # of a partial sum: in float32, g = k u / (1 - k u) is 1/255 there


def add_up(multiply: Callable[..., None], A: np.ndarray, B: np.ndarray, out: np.ndarray) -> None:
    """out := A @ B, ``multiply(A, B, out)`` called for every TERMS columns of A and rows of B.

    A : (m, k), B : (k, n), any layout; their pieces keep it, and ``multiply`` has to take it.  out : (m, n)
    of the same dtype, overwritten whatever it holds; must not overlap A or B.
    """
    if A.shape[1] <= TERMS:
        return multiply(A, B, out)
    multiply(A[:, :TERMS], B[:TERMS], out)
    partial = np.empty(out.shape, out.dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # Inf - Inf is NaN without a warning, as in a kernel
        for pc in range(TERMS, A.shape[1], TERMS):
            multiply(A[:, pc : pc + TERMS], B[pc : pc + TERMS], partial)
            np.add(out, partial, out=out)
