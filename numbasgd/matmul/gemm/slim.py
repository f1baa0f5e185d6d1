"""Paths of ``packed`` for few columns, where vectors along a row of out would be mostly padding.

Their arguments are those described in ``packed``.
"""

from __future__ import annotations

from typing import Any

from numbasgd.compile.options import jit
from numbasgd.matmul.gemm.dot_kernels import PADDED, dots, turn
from numbasgd.matmul.gemm.microkernel import (
    MASKED,
    PREFETCH_RIGHT,
    TRANSPOSED_C,
    WIDTHS,
    tile,
)
from numbasgd.matmul.gemm.path import Path
from numbasgd.matmul.gemm.transpose_kernels import COLUMN_MAJOR_B, COLUMN_MAJOR_C, PARTIAL_ROWS, across


def make_dots(SIZE: int, LANES: int, N: int, LOW: int, HIGH: int, R: int, BASE: int, IS_TURNED: int) -> Path:
    """N columns, known beforehand, no more than a vector or two: vectors lie along k.

    N is cut into parts of HIGH and then LOW columns, R rows at a time.  B is turned, z steps of k at a time,
    so that it stays in L1, into rows of y bytes.  With IS_TURNED, B's columns are contiguous to begin with.
    """
    PARTS = -(-N // HIGH)
    WIDER = N - LOW * PARTS if LOW < HIGH else PARTS
    HOW = BASE | (0 if IS_TURNED else PADDED)

    def dot(pa, rsa, csa, pb, rsb, csb, pc, rsc, m, n, k, acc, work, panels, x, y, z):
        rsw = csb if IS_TURNED else y
        for p in range(0, k, z):
            kc = min(z, k - p)
            W = pb + p * SIZE if IS_TURNED else work
            if not IS_TURNED:
                j = 0
                for part in range(PARTS):
                    b = pb + p * rsb + j * SIZE
                    if part < WIDER:
                        turn(SIZE, LANES, HIGH, b, rsb, W + j * rsw, rsw, kc)
                        j += HIGH
                    else:
                        turn(SIZE, LANES, LOW, b, rsb, W + j * rsw, rsw, kc)
                        j += LOW
            i = 0
            while i < m:
                a = pa + i * rsa + p * csa
                is_full = i + R <= m
                j = 0
                for part in range(PARTS):
                    w = W + j * rsw
                    c = pc + i * rsc + j * SIZE
                    if part < WIDER:
                        if is_full:
                            dots(SIZE, LANES, R, HIGH, HOW, a, rsa, w, rsw, c, rsc, kc, acc)
                        else:
                            dots(SIZE, LANES, 1, HIGH, HOW, a, rsa, w, rsw, c, rsc, kc, acc)
                        j += HIGH
                    else:
                        if is_full:
                            dots(SIZE, LANES, R, LOW, HOW, a, rsa, w, rsw, c, rsc, kc, acc)
                        else:
                            dots(SIZE, LANES, 1, LOW, HOW, a, rsa, w, rsw, c, rsc, kc, acc)
                        j += LOW
                i += R if is_full else 1
            acc = 1

    return dot


def _make_strip(SIZE: int, LANES: int, N: int, HOW: int) -> Any:
    """A tile across up to LANES rows; few rows take half of a vector."""
    PART = HOW | PARTIAL_ROWS
    HALF = LANES // 2 if LANES * SIZE > 16 else LANES

    @jit(variant=f"{SIZE}_{LANES}_{N}_{HOW}", forceinline=True, fastmath=False)
    def strip(a, rsa, b, rsb, c, rsc, rows, k, acc):
        if rows == LANES:
            across(SIZE, LANES, N, HOW, a, rsa, b, rsb, c, rsc, rows, k, acc)
        elif rows > HALF:
            across(SIZE, LANES, N, PART, a, rsa, b, rsb, c, rsc, rows, k, acc)
        else:
            across(SIZE, HALF, N, PART, a, rsa, b, rsb, c, rsc, rows, k, acc)

    return strip


def make_across(SIZE: int, LANES: int, N: int, LOW: int, HIGH: int, HOW: int) -> Path:
    """N columns, known beforehand: vectors lie along m, and rows of A are transposed as they are loaded.

    N is cut into parts of HIGH and then LOW columns.  z: steps of k before the next tile.  With
    COLUMN_MAJOR_B, B's columns are contiguous.  With COLUMN_MAJOR_C as well, it is B.T and A.T that are A and
    B here: N rows, and vectors along n.
    """
    PARTS = -(-N // HIGH)
    WIDER = N - LOW * PARTS if LOW < HIGH else PARTS
    wider, narrower = _make_strip(SIZE, LANES, HIGH, HOW), _make_strip(SIZE, LANES, LOW, HOW)

    def across_rows(pa, rsa, csa, pb, rsb, csb, pc, rsc, m, n, k, acc, work, panels, x, y, z):
        if HOW & COLUMN_MAJOR_C:
            source, each, count = pb, csb, n
            other, step, apart = pa, SIZE, rsa
            down, right = SIZE, rsc
        else:
            source, each, count = pa, rsa, m
            other, step, apart = pb, rsb, SIZE
            down, right = rsc, SIZE
            if HOW & COLUMN_MAJOR_B:
                step, apart = SIZE, csb
        stride = apart if HOW & COLUMN_MAJOR_B else step
        for p in range(0, k, z):
            kc = min(z, k - p)
            for i in range(0, count, LANES):
                rows = min(LANES, count - i)
                a = source + i * each + p * SIZE
                j = 0
                for part in range(PARTS):
                    b = other + p * step + j * apart
                    c = pc + i * down + j * right
                    if part < WIDER:
                        wider(a, each, b, stride, c, rsc, rows, kc, acc)
                        j += HIGH
                    else:
                        narrower(a, each, b, stride, c, rsc, rows, kc, acc)
                        j += LOW
            acc = 1

    return across_rows


def make_turned(SIZE: int, LANES: int, N: int, LOW: int, HIGH: int, NV: int, BASE: int) -> Path:
    """N columns, known beforehand, and A the transpose of a C-ordered array: vectors lie along m.

    What the micro-kernel calls B is A here, and the tile is transposed in registers before it is stored.
    N is cut into parts of HIGH and then LOW columns, which take turns at the same columns of A while these are
    near.  The columns behind are asked for; with few columns of B that costs more than it gains unless A is far
    away, which y says.  z: steps of k before the next tile.
    """
    PARTS = -(-N // HIGH)
    WIDER = N - LOW * PARTS if LOW < HIGH else PARTS
    HOW = BASE | TRANSPOSED_C | MASKED | WIDTHS | (PREFETCH_RIGHT if HIGH > 4 else 0)
    FAR = HOW | PREFETCH_RIGHT
    NR = NV * LANES

    def turned(pa, rsa, csa, pb, rsb, csb, pc, rsc, m, n, k, acc, work, panels, x, y, z):
        for p in range(0, k, z):
            kc = min(z, k - p)
            for i in range(0, m, NR):
                mr = min(NR, m - i)
                a = pa + i * SIZE + p * csa
                b = pb + p * rsb
                c = pc + i * rsc
                for part in range(PARTS):
                    if HIGH <= 4 and y > 0:  # and there is one part
                        tile(SIZE, LANES, HIGH, NV, FAR, b, csb, rsb, a, csa, c, rsc, kc, HIGH, mr, acc)
                    elif part < WIDER:
                        tile(SIZE, LANES, HIGH, NV, HOW, b, csb, rsb, a, csa, c, rsc, kc, HIGH, mr, acc)
                        b += HIGH * csb
                        c += HIGH * SIZE
                    else:
                        tile(SIZE, LANES, LOW, NV, HOW, b, csb, rsb, a, csa, c, rsc, kc, LOW, mr, acc)
                        b += LOW * csb
                        c += LOW * SIZE
            acc = 1

    return turned
