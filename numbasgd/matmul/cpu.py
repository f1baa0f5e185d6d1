"""The rungs of the ladder on a CPU: the same product four times, one idea more each time.

Contract of every kernel here: ``kernel(A, B, out)`` with A (m, k), B (k, n) and out (m, n), C-ordered, of
one dtype (float32 or float64).  ``out`` is overwritten whatever it held and must not overlap A or B.
Sizes may be 0.  Arguments are trusted; ``numbasgd.matmul`` is the checked way in.  ``cuda.py`` holds the
twins under the same names.
"""

from __future__ import annotations

import numpy as np

from numbasgd.jit import jit

# A block of B, KC rows of NC columns, stays in the second-level cache while every row of A passes over it:
# 128 * 512 * 8 bytes = 512 KB in float64, half of a 1 MB L2, which leaves room for the rows of A and out.
KC = 128
NC = 512


@jit
def element(A, B, out):
    """out[i, j] := A[i, :] . B[:, j], one dot product per entry.

    What a textbook writes first.  The innermost loop steps down a column of B and so touches another cache
    line at every step; nothing is loaded once and used twice.
    """
    m, k = A.shape
    n = B.shape[1]
    for i in range(m):
        for j in range(n):
            acc = A.dtype.type(0)
            for p in range(k):
                acc += A[i, p] * B[p, j]
            out[i, j] = acc


@jit
def column(A, B, out):
    """out[:, j] := A @ B[:, j], one matrix-vector product per column.

    The column of B is gathered once and stays in cache while all rows of A pass over it, and the innermost
    loop runs along contiguous memory on both sides, so it fills vector registers.  Each column still reads
    all of A, and every sum ends in adding up the lanes of a register.
    """
    m, k = A.shape
    n = B.shape[1]
    b = np.empty(k, A.dtype)
    for j in range(n):
        for p in range(k):
            b[p] = B[p, j]
        for i in range(m):
            acc = A.dtype.type(0)
            for p in range(k):
                acc += A[i, p] * b[p]
            out[i, j] = acc


@jit
def full(A, B, out):
    """out := A @ B, a row of ``out`` at a time, loops in the order i, p, j.

    The innermost loop runs along a row of B and a row of ``out``, both contiguous, so it fills vector
    registers and never adds up lanes.  Each row of ``out`` still reads all of B, and is itself loaded and
    stored at every p; that traffic is what ``blocked`` removes.
    """
    m, k = A.shape
    n = B.shape[1]
    for i in range(m):
        for j in range(n):
            out[i, j] = 0
        for p in range(k):
            a = A[i, p]
            for j in range(n):
                out[i, j] += a * B[p, j]


@jit
def blocked(A, B, out):
    """out := A @ B, a block of B at a time, each used by all rows of A while it is in cache.

    ``full`` with the loops over p and j cut into blocks of KC and NC.  Four rows of the block are added to
    a row of ``out`` in one go, so ``out`` is loaded and stored a quarter as often.  What still limits it:
    plain loops cannot keep a tile of ``out`` in registers, and each row of ``out`` uses the whole block.
    """
    m, k = A.shape
    n = B.shape[1]
    for i in range(m):
        for j in range(n):
            out[i, j] = 0
    for jc in range(0, n, NC):
        nc = min(NC, n - jc)
        for pc in range(0, k, KC):
            kc = min(KC, k - pc)
            for i in range(m):
                c = out[i, jc : jc + nc]
                p = pc
                while p + 4 <= pc + kc:
                    a0 = A[i, p]
                    a1 = A[i, p + 1]
                    a2 = A[i, p + 2]
                    a3 = A[i, p + 3]
                    b0 = B[p, jc : jc + nc]
                    b1 = B[p + 1, jc : jc + nc]
                    b2 = B[p + 2, jc : jc + nc]
                    b3 = B[p + 3, jc : jc + nc]
                    for j in range(nc):
                        c[j] += a0 * b0[j] + a1 * b1[j] + a2 * b2[j] + a3 * b3[j]
                    p += 4
                while p < pc + kc:
                    a = A[i, p]
                    b = B[p, jc : jc + nc]
                    for j in range(nc):
                        c[j] += a * b[j]
                    p += 1
