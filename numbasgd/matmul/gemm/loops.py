"""``packed``: the loops around the micro-kernels, one function for each path a product can take.

Every function here has the same arguments and computes

    C := A @ B, or C += A @ B when ``acc`` is 1,   A (m, k), B (k, n), C (m, n)

    pa, rsa, csa   address of A[0, 0], its row and its column stride
    pb, rsb, csb   the same for B
    pc, rsc        the same for C, whose rows are contiguous
    work           a workspace, aligned to a page, of the size that ``tiles`` says
    panels         for ``packed``, packed B if there is one already, else 0
    x, y, z        the numbers that ``tiles.make_choose`` gives for this path

in bytes, trusted.  Which path is right for which shape is said in ``tiles``.  A path gives an entry of C
the same bits whatever part of C it is called for, as long as k and x, y, z are the same; that is what makes
results independent of the number of threads.

The paths for thin products are in ``thin``, those for few columns in ``slim``.

Each is made by a function that closes over integers, so it is compiled for this machine and kept.
"""

from __future__ import annotations

from numbasgd.matmul.gemm.microkernel import (
    EDGE,
    HALF,
    HEIGHTS,
    MASKED,
    OVERLAP,
    PACKED_A,
    PACKED_B,
    PREFETCH_C,
    PREFETCH_NEXT_B,
    tile,
)
from numbasgd.matmul.gemm.packing import pack_copy, pack_gather, pack_transpose
from numbasgd.matmul.gemm.path import Path, compiled


def make_direct(
    SIZE: int, LANES: int, LOW: int, HIGH: int, TALL: int, TALLER: int, BASE: int, END: int
) -> Path:
    """No packing: panels of LOW or HIGH vectors of columns, cut evenly; in each, tiles of even height.

    TALL rows fit into the registers beside HIGH vectors, TALLER beside LOW.  END says how the last vector of
    the last panel is kept inside: MASKED, OVERLAP, or MASKED | HALF when half a vector is left.  BASE: flags
    for all.  x: at most so many rows a tile.  z: steps of k before the next tile.
    """
    EVERY = BASE | HEIGHTS
    LOW_HOW = EVERY | (END if LOW > 1 or not END & OVERLAP else MASKED)
    HIGH_HOW = EVERY | (END if HIGH > 1 or not END & OVERLAP else MASKED)
    if not END & HALF:  # one kernel for both, to compile less: masks are as good as free
        EVERY_LOW, EVERY_HIGH = LOW_HOW, HIGH_HOW
    else:
        EVERY_LOW = EVERY_HIGH = EVERY

    def direct(pa, rsa, csa, pb, rsb, csb, pc, rsc, m, n, k, acc, work, panels, x, y, z):
        vectors = (n + LANES - 1) // LANES
        pieces = (vectors + HIGH - 1) // HIGH
        nv = vectors // pieces
        wider = vectors - nv * pieces
        for p in range(0, k, z):
            kc = min(z, k - p)
            b = pb + p * rsb
            c = pc
            left = n
            for piece in range(pieces):
                width = nv + 1 if piece < wider else nv
                nr = min(left, width * LANES)
                most = min(x, TALL if width == HIGH else TALLER)
                tiles = (m + most - 1) // most
                height = m // tiles
                taller = m - height * tiles
                a = pa + p * csa
                ci = c
                for i in range(tiles):
                    mr = height + 1 if i < taller else height
                    if width == HIGH and nr < left:
                        tile(SIZE, LANES, TALL, HIGH, EVERY_HIGH, a, rsa, csa, b, rsb, ci, rsc, kc, mr, nr, acc)
                    elif width == HIGH:
                        tile(SIZE, LANES, TALL, HIGH, HIGH_HOW, a, rsa, csa, b, rsb, ci, rsc, kc, mr, nr, acc)
                    elif nr < left:
                        tile(SIZE, LANES, TALLER, LOW, EVERY_LOW, a, rsa, csa, b, rsb, ci, rsc, kc, mr, nr, acc)
                    else:
                        tile(SIZE, LANES, TALLER, LOW, LOW_HOW, a, rsa, csa, b, rsb, ci, rsc, kc, mr, nr, acc)
                    a += mr * rsa
                    ci += mr * rsc
                b += nr * SIZE
                c += nr * SIZE
                left -= nr
            acc = 1

    return direct


def make_panel(SIZE: int, LANES: int, NR: int) -> Path:
    """One panel of B: w columns and k rows of it, wherever they lie."""

    def panel(pb, rsb, csb, to, w, k):
        if csb == SIZE:
            pack_copy(SIZE, LANES, NR, pb, rsb, to, w, k)
        elif rsb == SIZE:
            pack_transpose(SIZE, LANES, NR, pb, csb, to, w, k)
        else:
            pack_gather(SIZE, NR, pb, csb, rsb, to, w, k)

    return compiled(panel, SIZE, LANES, NR)


def make_panels(SIZE: int, LANES: int, NV: int) -> Path:
    """All panels of a block of B, at ``panels``: the part of ``packed`` that threads share."""
    NR = NV * LANES
    panel = make_panel(SIZE, LANES, NR)

    def pack(pa, rsa, csa, pb, rsb, csb, pc, rsc, m, n, k, acc, work, panels, x, y, z):
        for jr in range(0, n, NR):
            panel(pb + jr * csb, rsb, csb, panels + jr * k * SIZE, min(NR, n - jr), k)

    return pack


def make_packed(SIZE: int, LANES: int, MR: int, NV: int, BASE: int, A_BYTES: int) -> Path:
    """Panels of B and of A packed, in the five loops of Goto and van de Geijn (2008).

    5th loop  jc: NC columns of B and C, so that the packed block of B stays in L3
    4th loop  pc: KC steps of k, so that a panel of B stays close while A's panels pass
    3rd loop  ic: MC rows of A and C, so that the packed block of A stays in L2
    2nd loop  jr: one panel of B      1st loop  ir: one panel of A, and the micro-kernel

    A panel of B would come from L3 while the first tile of C on it is computed.  So the tiles on the one before
    ask for it, a line every step of p, until all of it is asked for (Van Zee and van de Geijn 2015, b_next).

    x, y, z: KC, MC, NC.  The panels of A lie at ``work``, those of B A_BYTES further on.  With ``panels``,
    where several threads share one packed B, k is at most KC and n at most NC.
    """
    NR = NV * LANES
    panel = make_panel(SIZE, LANES, NR)
    LINES = NR * SIZE // 64  # of 64 bytes, in a panel of B for each step of p
    FULL = BASE | PACKED_A | PACKED_B | PREFETCH_C | PREFETCH_NEXT_B
    PART = BASE | PACKED_A | PACKED_B | EDGE
    THIN = BASE | PACKED_A | EDGE

    def packed(pa, rsa, csa, pb, rsb, csb, pc, rsc, m, n, k, acc, work, panels, x, y, z):
        for jc in range(0, n, z):
            nc = min(z, n - jc)
            for p in range(0, k, x):
                kc = min(x, k - p)
                adds = 1 if p > 0 else acc
                for ic in range(0, m, y):
                    mc = min(y, m - ic)
                    for ir in range(0, mc, MR):
                        mr = min(MR, mc - ir)
                        a = pa + (ic + ir) * rsa + p * csa
                        to = work + ir * kc * SIZE
                        if csa == SIZE:
                            pack_transpose(SIZE, LANES, MR, a, rsa, to, mr, kc)
                        elif rsa == SIZE:
                            pack_copy(SIZE, LANES, MR, a, csa, to, mr, kc)
                        else:
                            pack_gather(SIZE, MR, a, rsa, csa, to, mr, kc)
                    first_panel = panels if panels != 0 else work + A_BYTES
                    asking = LINES * MR if panels != 0 or ic > 0 else 0  # else the next is not packed yet
                    for jr in range(0, nc, NR):
                        nr = min(NR, nc - jr)
                        b = first_panel + jr * kc * SIZE
                        if panels == 0 and ic == 0:
                            panel(pb + (jc + jr) * csb + p * rsb, rsb, csb, b, nr, kc)
                        ahead = b + NR * kc * SIZE if jr + NR < nc else first_panel
                        for ir in range(0, mc, MR):
                            mr = min(MR, mc - ir)
                            a = work + ir * kc * SIZE
                            c = pc + (ic + ir) * rsc + (jc + jr) * SIZE
                            if mr == MR and nr == NR:
                                by = 64 if ir < asking else 0
                                tile(SIZE, LANES, MR, NV, FULL, a, ahead, by, b, 0, c, rsc, kc, mr, nr, adds)
                                ahead += kc * by
                            elif nr <= LANES:
                                tile(SIZE, LANES, MR, 1, THIN, a, 0, 0, b, NR * SIZE, c, rsc, kc, mr, nr, adds)
                            else:
                                tile(SIZE, LANES, MR, NV, PART, a, 0, 0, b, 0, c, rsc, kc, mr, nr, adds)

    return packed
