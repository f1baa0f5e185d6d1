"""Paths of ``packed`` for few rows, for a large result of short sums, and for rows that collide in cache.

Their arguments are those described in ``packed``.
"""

from __future__ import annotations

from numbasgd.matmul.gemm.microkernel import (
    MASKED,
    NON_TEMPORAL,
    PREFETCH_RIGHT,
    TWO_CHAINS,
    WIDTHS,
    tile,
)
from numbasgd.matmul.gemm.path import Path


def make_few(SIZE: int, LANES: int, MR: int, NV: int, BASE: int) -> Path:
    """MR rows, known beforehand: B passes once, in panels as wide as the registers allow.

    There is little to compute for every number of B, so the time is that of reading B: z rows of it at a
    time, the next panel prefetched while one is used.  x: at most so many vectors a panel, 0: NV.
    """
    HOW = BASE | MASKED | WIDTHS | (PREFETCH_RIGHT if MR > 1 else 0)
    VECTOR = SIZE * LANES

    def few(pa, rsa, csa, pb, rsb, csb, pc, rsc, m, n, k, acc, work, panels, x, y, z):
        # Columns before the first aligned vector go by themselves: a vector that lies in two lines is read
        # from both, and the line that two panels share is read once for each.
        head = -pb % VECTOR // SIZE if MR == 1 and rsb % VECTOR == 0 and n >= 8 * LANES else 0
        vectors = (n - head + LANES - 1) // LANES
        most = x if x > 0 else NV
        panels = (vectors + most - 1) // most
        nv = vectors // panels
        wider = vectors - nv * panels
        for p in range(0, k, z):
            kc = min(z, k - p)
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

    return few


def make_wide(SIZE: int, LANES: int, MR: int, NV: int, BASE: int) -> Path:
    """C too large for the caches and k short: C is written past the caches, row after row.

    The time is that of writing C; stores past the caches spare reading it first.  They must be aligned, so
    the columns before the first aligned one and after the last whole tile go through a masked vector.
    x: columns of B at a time, so that they stay in L2.  Needs m >= MR, acc 0 and rows of C that are all
    aligned alike; the last tile is moved up when m is no multiple of MR.
    """
    FULL = BASE | NON_TEMPORAL
    PART = BASE | MASKED
    NR = NV * LANES

    def wide(pa, rsa, csa, pb, rsb, csb, pc, rsc, m, n, k, acc, work, panels, x, y, z):
        before = min(n, (-pc % (LANES * SIZE)) // SIZE)
        start = 0
        while start < n:
            stop = min(n, start + x + (before if start == 0 else 0))
            i = 0
            while i < m:
                i = min(i, m - MR)
                a = pa + i * rsa
                c = pc + i * rsc
                j = start
                if j == 0 and before > 0:
                    tile(SIZE, LANES, MR, 1, PART, a, rsa, csa, pb, rsb, c, rsc, k, MR, before, 0)
                    j = before
                while j + NR <= stop:
                    b = pb + j * SIZE
                    cj = c + j * SIZE
                    tile(SIZE, LANES, MR, NV, FULL, a, rsa, csa, b, rsb, cj, rsc, k, MR, NR, 0)
                    j += NR
                while j < stop:
                    b = pb + j * SIZE
                    cj = c + j * SIZE
                    tile(SIZE, LANES, MR, 1, PART, a, rsa, csa, b, rsb, cj, rsc, k, MR, min(LANES, stop - j), 0)
                    j += LANES
                i += MR
            start = stop

    return wide


def make_narrow(SIZE: int, LANES: int, MR: int, BASE: int) -> Path:
    """At most one vector of columns and rows of A that fall on the same cache lines: few rows at a time.

    MR rows are as many as a cache keeps of lines that collide; two chains an entry make up for the small
    tile.  Needs m >= MR; the last tile is moved up.
    """
    HOW = BASE | MASKED
    TWO = HOW | TWO_CHAINS

    def narrow(pa, rsa, csa, pb, rsb, csb, pc, rsc, m, n, k, acc, work, panels, x, y, z):
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

    return narrow
