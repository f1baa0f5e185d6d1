"""Loops of ``packed`` for few rows or few columns, where a tile along a row of C would be mostly padding.

Their arguments and promises are those described in ``loops``.
"""

from __future__ import annotations

from typing import Any

from numbasgd.compile.options import jit
from numbasgd.matmul.gemm.dot_kernels import PADDED, dots, transpose_padded
from numbasgd.matmul.gemm.microkernel import (
    MASKED,
    PREFETCH_RIGHT,
    TRANSPOSED_C,
    TWO_CHAINS,
    WIDTHS,
    tile,
)
from numbasgd.matmul.gemm.operands import Loops
from numbasgd.matmul.gemm.transpose_kernels import (
    COLUMN_MAJOR_B,
    COLUMN_MAJOR_C,
    PARTIAL_ROWS,
    transpose_on_load,
)


def make_skinny_m(SIZE: int, LANES: int, MR: int, NV: int, BASE: int) -> Loops:
    """MR rows, known beforehand: B passes once, in panels as wide as the registers allow.

    There is little to compute for every number of B, so the time is that of reading B: KC rows of it at a
    time, the next panel prefetched while one is used.  blocks.NR: most vectors in a panel, 0: NV.
    """
    HOW = BASE | MASKED | WIDTHS | (PREFETCH_RIGHT if MR > 1 else 0)
    VECTOR = SIZE * LANES

    def skinny_m(A, B, C, size, acc, blocks, scratch):
        pa, rsa, csa = A
        pb, rsb, csb = B
        pc, rsc = C.address, C.rs
        m, n, k = size
        # Columns before the first aligned vector go by themselves: a vector that lies in two lines is read
        # from both, and the line that two panels share is read once for each.
        head = -pb % VECTOR // SIZE if MR == 1 and rsb % VECTOR == 0 and n >= 8 * LANES else 0
        vectors = (n - head + LANES - 1) // LANES
        most = blocks.NR if blocks.NR > 0 else NV
        panels = (vectors + most - 1) // most
        nv = vectors // panels
        wider = vectors - nv * panels
        for p in range(0, k, blocks.KC):
            kc = min(blocks.KC, k - p)
            b = pb + p * rsb
            c = pc
            left = n
            if head > 0:
                tile(SIZE, LANES, MR, NV, HOW, pa + p * csa, rsa, csa, b, rsb, c, rsc, kc, MR, head, acc)
                b += head * SIZE
                c += head * SIZE
                left -= head
            for panel in range(panels):
                nr = min(left, (nv + 1 if panel < wider else nv) * LANES)
                tile(SIZE, LANES, MR, NV, HOW, pa + p * csa, rsa, csa, b, rsb, c, rsc, kc, MR, nr, acc)
                b += nr * SIZE
                c += nr * SIZE
                left -= nr
            acc = 1

    return skinny_m


def make_single_vector(SIZE: int, LANES: int, MR: int, BASE: int) -> Loops:
    """At most one vector of columns, and rows of A on the same sets of a cache: few rows at a time.

    MR rows are as many as the cache keeps in one set; two chains an entry make up for the small tile.  Needs
    m >= MR; the last tile is moved up.
    """
    HOW = BASE | MASKED
    TWO = HOW | TWO_CHAINS

    def single_vector(A, B, C, size, acc, blocks, scratch):
        pa, rsa, csa = A
        pb, rsb, csb = B
        pc, rsc = C.address, C.rs
        m, n, k = size
        even = k - k % 2
        i = 0
        while i < m:
            i = min(i, m - MR)
            a = pa + i * rsa
            c = pc + i * rsc
            tile(SIZE, LANES, MR, 1, TWO, a, rsa, csa, pb, rsb, c, rsc, even, MR, n, 0)
            if even < k:
                tile(
                    SIZE, LANES, MR, 1, HOW, a + even * csa, rsa, csa, pb + even * rsb, rsb, c, rsc, 1, MR, n, 1
                )
            i += MR

    return single_vector


def make_inner_product(
    SIZE: int, LANES: int, N: int, LOW: int, HIGH: int, R: int, BASE: int, IN_PLACE: int
) -> Loops:
    """N columns, known beforehand, no more than a vector or two: vectors lie along k.

    N is cut into parts of HIGH and then LOW columns, R rows at a time.  B is transposed, KC steps of k at a
    time, so that it stays in L1, into rows of blocks.ld bytes.  With IN_PLACE, B's columns are contiguous.
    """
    PARTS = -(-N // HIGH)
    WIDER = N - LOW * PARTS if LOW < HIGH else PARTS
    HOW = BASE | (0 if IN_PLACE else PADDED)

    def inner_product(A, B, C, size, acc, blocks, scratch):
        pa, rsa, csa = A
        pb, rsb, csb = B
        pc, rsc = C.address, C.rs
        m, n, k = size
        rsw = csb if IN_PLACE else blocks.ld
        for p in range(0, k, blocks.KC):
            kc = min(blocks.KC, k - p)
            W = pb + p * SIZE if IN_PLACE else scratch.address
            if not IN_PLACE:
                j = 0
                for part in range(PARTS):
                    b = pb + p * rsb + j * SIZE
                    if part < WIDER:
                        transpose_padded(SIZE, LANES, HIGH, b, rsb, W + j * rsw, rsw, kc)
                        j += HIGH
                    else:
                        transpose_padded(SIZE, LANES, LOW, b, rsb, W + j * rsw, rsw, kc)
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

    return inner_product


def _make_strip(SIZE: int, LANES: int, N: int, HOW: int) -> Any:
    """A tile of up to LANES rows; few rows take half of a vector.  A, B, C : (address, bytes between rows)."""
    PART = HOW | PARTIAL_ROWS
    HALF = LANES // 2 if LANES * SIZE > 16 else LANES

    @jit(variant=f"{SIZE}_{LANES}_{N}_{HOW}", forceinline=True, fastmath=False)
    def strip(A, B, C, rows, k, acc):
        (a, rsa), (b, rsb), (c, rsc) = A, B, C
        if rows == LANES:
            transpose_on_load(SIZE, LANES, N, HOW, a, rsa, b, rsb, c, rsc, rows, k, acc)
        elif rows > HALF:
            transpose_on_load(SIZE, LANES, N, PART, a, rsa, b, rsb, c, rsc, rows, k, acc)
        else:
            transpose_on_load(SIZE, HALF, N, PART, a, rsa, b, rsb, c, rsc, rows, k, acc)

    return strip


def make_transpose_load(SIZE: int, LANES: int, N: int, LOW: int, HIGH: int, HOW: int) -> Loops:
    """N columns, known beforehand: vectors lie along m, and rows of A are transposed as they are loaded.

    N is cut into parts of HIGH and then LOW columns, k into KC steps before the next tile.  With
    COLUMN_MAJOR_B, B's columns are contiguous.  With COLUMN_MAJOR_C as well, it is B.T and A.T that are A and
    B here: N rows, and vectors along n.
    """
    PARTS = -(-N // HIGH)
    WIDER = N - LOW * PARTS if LOW < HIGH else PARTS
    wider, narrower = _make_strip(SIZE, LANES, HIGH, HOW), _make_strip(SIZE, LANES, LOW, HOW)

    def transpose_load(A, B, C, size, acc, blocks, scratch):
        pa, rsa, csa = A
        pb, rsb, csb = B
        pc, rsc = C.address, C.rs
        m, n, k = size
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
        for p in range(0, k, blocks.KC):
            kc = min(blocks.KC, k - p)
            for i in range(0, count, LANES):
                rows = min(LANES, count - i)
                a = source + i * each + p * SIZE
                j = 0
                for part in range(PARTS):
                    b = other + p * step + j * apart
                    c = pc + i * down + j * right
                    if part < WIDER:
                        wider((a, each), (b, stride), (c, rsc), rows, kc, acc)
                        j += HIGH
                    else:
                        narrower((a, each), (b, stride), (c, rsc), rows, kc, acc)
                        j += LOW
            acc = 1

    return transpose_load


def make_transposed_a(SIZE: int, LANES: int, N: int, LOW: int, HIGH: int, NV: int, BASE: int) -> Loops:
    """N columns, known beforehand, and A the transpose of a C-ordered array: vectors lie along m.

    What the micro-kernel calls B is A here, and the tile is transposed in registers before it is stored.
    N is cut into parts of HIGH and then LOW columns, which take turns at the same columns of A while these are
    near.  The columns of A to the right are prefetched; with few columns of B that costs more than it gains
    unless A lies far away, which blocks.far says.  k is cut into KC steps before the next tile.
    """
    PARTS = -(-N // HIGH)
    WIDER = N - LOW * PARTS if LOW < HIGH else PARTS
    HOW = BASE | TRANSPOSED_C | MASKED | WIDTHS | (PREFETCH_RIGHT if HIGH > 4 else 0)
    FAR = HOW | PREFETCH_RIGHT
    NR = NV * LANES

    def transposed_a(A, B, C, size, acc, blocks, scratch):
        pa, rsa, csa = A
        pb, rsb, csb = B
        pc, rsc = C.address, C.rs
        m, n, k = size
        for p in range(0, k, blocks.KC):
            kc = min(blocks.KC, k - p)
            for i in range(0, m, NR):
                mr = min(NR, m - i)
                a = pa + i * SIZE + p * csa
                b = pb + p * rsb
                c = pc + i * rsc
                for part in range(PARTS):
                    if HIGH <= 4 and blocks.far:  # and there is one part
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

    return transposed_a
