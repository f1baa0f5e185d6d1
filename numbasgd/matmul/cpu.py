"""The rungs of the ladder on a CPU: the same product four times, one idea more each time.

Contract of every kernel here: ``kernel(A, B, out)`` with A (m, k), B (k, n) and out (m, n), C-ordered, of
one dtype (float32 or float64).  ``out`` is overwritten whatever it held and must not overlap A or B.
Sizes may be 0.  Arguments are trusted; ``numbasgd.matmul`` is the checked way in, and cuts long sums, which
these loops would lose digits of, into several calls (``long_sums.py``).  ``cuda.py`` holds the twins under the
same names.
"""

from __future__ import annotations

import numpy as np

from numbasgd.compile.numba_private import Compiler
from numbasgd.compile.options import jit

# A block of B, KC rows of NC columns, stays in the second-level cache while every row of A passes over it:
# 256 * 256 * 8 bytes = 512 KB in float64, half of a 1 MB L2, which leaves room for the rows of A and out.
KC = 256
NC = 256
MR = 4  # rows of out that are worked on together
PAD = 16  # entries between two rows of sums, so that no two lie 4 KB apart and wait for each other's stores


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

    ``full`` with the loops over p and j cut into blocks of KC and NC, and four rows of ``out`` at a time: a
    piece of B that is loaded serves four rows, and their sums stay in a small buffer of their own.  (Added to
    where they are, rows of ``out`` a multiple of 4 KB apart would take each other's place in the first-level
    cache.)  What still limits it: plain loops keep no tile of sums in registers, so each step loads and
    stores them; that is what ``packed`` removes.
    """
    m, k = A.shape
    n = B.shape[1]
    acc = np.zeros((MR, NC + PAD), A.dtype)
    if k == 0:
        out[:, :] = 0
    for jc in range(0, n, NC):
        nc = min(NC, n - jc)
        for pc in range(0, k, KC):
            kc = min(KC, k - pc)
            for ic in range(0, m, MR):
                mc = min(MR, m - ic)
                for i in range(mc):
                    for j in range(nc):
                        acc[i, j] = out[ic + i, jc + j] if pc > 0 else 0
                rows = (ic, min(ic + 1, m - 1), min(ic + 2, m - 1), min(ic + 3, m - 1))
                _four_rows(A, B, rows, pc, kc, jc, nc, acc)
                for i in range(mc):
                    for j in range(nc):
                        out[ic + i, jc + j] = acc[i, j]


@jit(forceinline=True, pipeline_class=Compiler)  # its loops come out faster if LLVM sees them alone first
def _four_rows(A, B, rows, pc, kc, jc, nc, acc):
    """acc[:, :nc] += four rows of A, columns pc..pc+kc, times the block of B; two rows of B in one go.

    Past the last row of A the last one is repeated; what that adds up to is never stored.
    """
    i0, i1, i2, i3 = rows
    c0, c1, c2, c3 = acc[0, :nc], acc[1, :nc], acc[2, :nc], acc[3, :nc]
    p = pc
    while p + 2 <= pc + kc:
        a00, a10, a20, a30 = A[i0, p], A[i1, p], A[i2, p], A[i3, p]
        a01, a11, a21, a31 = A[i0, p + 1], A[i1, p + 1], A[i2, p + 1], A[i3, p + 1]
        b0 = B[p, jc : jc + nc]
        b1 = B[p + 1, jc : jc + nc]
        for j in range(nc):
            c0[j] += a00 * b0[j] + a01 * b1[j]
            c1[j] += a10 * b0[j] + a11 * b1[j]
            c2[j] += a20 * b0[j] + a21 * b1[j]
            c3[j] += a30 * b0[j] + a31 * b1[j]
        p += 2
    if p < pc + kc:
        a00, a10, a20, a30 = A[i0, p], A[i1, p], A[i2, p], A[i3, p]
        b0 = B[p, jc : jc + nc]
        for j in range(nc):
            c0[j] += a00 * b0[j]
            c1[j] += a10 * b0[j]
            c2[j] += a20 * b0[j]
            c3[j] += a30 * b0[j]
