"""The loops of ``packed`` around the outer-product micro-kernel, one function for each way of blocking.

Every function of loops, here and in ``skinny``, has the same arguments and computes

    C := A @ B, or C += A @ B when ``acc`` is 1,   A (m, k), B (k, n), C (m, n)

    A, B, C   ``Matrix``: address and strides; the rows of C are contiguous
    size      ``Sizes``: m, n, k          blocks   ``Blocks``: what ``variants`` chose for this product
    scratch   ``Scratch``: memory of this thread, of the size that ``variants`` says

all trusted.  Which loops are right for which shape is said in ``variants``.  Loops give an entry of C the same
bits whatever part of C they are called for, as long as k and the blocks are the same; that is what makes
results independent of the number of threads.

Each is made by a function that closes over integers, so it is compiled for this machine and kept.
"""

from __future__ import annotations

from numbasgd.matmul.gemm.microkernel import (
    EDGE,
    HALF,
    HEIGHTS,
    MASKED,
    NON_TEMPORAL,
    OVERLAP,
    PACKED_A,
    PACKED_B,
    PREFETCH_C,
    PREFETCH_NEXT_B,
    tile,
)
from numbasgd.matmul.gemm.operands import Loops, compiled
from numbasgd.matmul.gemm.packing import pack_copy, pack_gather, pack_transpose


def make_unpacked(
    SIZE: int, LANES: int, LOW: int, HIGH: int, TALL: int, TALLER: int, BASE: int, END: int
) -> Loops:
    """No packing: panels of LOW or HIGH vectors of columns, cut evenly; in each, tiles of even height.

    TALL rows fit into the registers beside HIGH vectors, TALLER beside LOW.  END says how the last vector of
    the last panel is kept inside: MASKED, OVERLAP, or MASKED | HALF when half a vector is left.  BASE: flags
    for all.  Uses blocks.MR and blocks.KC.
    """
    EVERY = BASE | HEIGHTS
    LOW_HOW = EVERY | (END if LOW > 1 or not END & OVERLAP else MASKED)
    HIGH_HOW = EVERY | (END if HIGH > 1 or not END & OVERLAP else MASKED)
    if not END & HALF:  # one kernel for both, to compile less: masks are as good as free
        EVERY_LOW, EVERY_HIGH = LOW_HOW, HIGH_HOW
    else:
        EVERY_LOW = EVERY_HIGH = EVERY

    def unpacked(A, B, C, size, acc, blocks, scratch):
        pa, rsa, csa = A
        pb, rsb, csb = B
        pc, rsc = C.address, C.rs
        m, n, k = size
        vectors = (n + LANES - 1) // LANES
        pieces = (vectors + HIGH - 1) // HIGH
        nv = vectors // pieces
        wider = vectors - nv * pieces
        for p in range(0, k, blocks.KC):
            kc = min(blocks.KC, k - p)
            b = pb + p * rsb
            c = pc
            left = n
            for piece in range(pieces):
                width = nv + 1 if piece < wider else nv
                nr = min(left, width * LANES)
                most = min(blocks.MR, TALL if width == HIGH else TALLER)
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

    return unpacked


def make_panel(SIZE: int, LANES: int, NR: int) -> Loops:
    """One panel of B: w columns and k rows of it, wherever they lie."""

    def panel(pb, rsb, csb, to, w, k):
        if csb == SIZE:
            pack_copy(SIZE, LANES, NR, pb, rsb, to, w, k)
        elif rsb == SIZE:
            pack_transpose(SIZE, LANES, NR, pb, csb, to, w, k)
        else:
            pack_gather(SIZE, NR, pb, csb, rsb, to, w, k)

    return compiled(panel, SIZE, LANES, NR)


def make_panels(SIZE: int, LANES: int, NV: int) -> Loops:
    """All panels of a block of B, at ``scratch.panels``: the part of ``packed`` that threads share."""
    NR = NV * LANES
    panel = make_panel(SIZE, LANES, NR)

    def pack(A, B, C, size, acc, blocks, scratch):
        pb, rsb, csb = B
        n, k = size.n, size.k
        for jr in range(0, n, NR):
            panel(pb + jr * csb, rsb, csb, scratch.panels + jr * k * SIZE, min(NR, n - jr), k)

    return pack


def make_packed(SIZE: int, LANES: int, MR: int, NV: int, BASE: int, A_BYTES: int) -> Loops:
    """Panels of B and of A packed, in the five loops of Goto and van de Geijn (2008).

    5th loop  jc: NC columns of B and C, so that the packed block of B stays in L3
    4th loop  pc: KC steps of k, so that a panel of B stays close while A's panels pass
    3rd loop  ic: MC rows of A and C, so that the packed block of A stays in L2
    2nd loop  jr: one panel of B      1st loop  ir: one panel of A, and the micro-kernel

    A panel of B would come from L3 while the first tile of C on it is computed.  So the tiles on the panel
    before prefetch it, a line every step of p (Van Zee and van de Geijn 2015, b_next).

    The panels of A lie in scratch, those of B A_BYTES further on.  With ``scratch.panels``, where several
    threads share one packed B, k is at most KC and n at most NC.
    """
    NR = NV * LANES
    panel = make_panel(SIZE, LANES, NR)
    LINES = NR * SIZE // 64  # of 64 bytes, in a panel of B for each step of p
    FULL = BASE | PACKED_A | PACKED_B | PREFETCH_C | PREFETCH_NEXT_B
    PART = BASE | PACKED_A | PACKED_B | EDGE
    THIN = BASE | PACKED_A | EDGE

    def packed(A, B, C, size, acc, blocks, scratch):
        pa, rsa, csa = A
        pb, rsb, csb = B
        pc, rsc = C.address, C.rs
        m, n, k = size
        MC, NC, KC = blocks.MC, blocks.NC, blocks.KC
        packed_a, panels = scratch
        for jc in range(0, n, NC):
            nc = min(NC, n - jc)
            for p in range(0, k, KC):
                kc = min(KC, k - p)
                adds = 1 if p > 0 else acc
                for ic in range(0, m, MC):
                    mc = min(MC, m - ic)
                    for ir in range(0, mc, MR):
                        mr = min(MR, mc - ir)
                        a = pa + (ic + ir) * rsa + p * csa
                        to = packed_a + ir * kc * SIZE
                        if csa == SIZE:
                            pack_transpose(SIZE, LANES, MR, a, rsa, to, mr, kc)
                        elif rsa == SIZE:
                            pack_copy(SIZE, LANES, MR, a, csa, to, mr, kc)
                        else:
                            pack_gather(SIZE, MR, a, rsa, csa, to, mr, kc)
                    first_panel = panels if panels != 0 else packed_a + A_BYTES
                    prefetching = LINES * MR if panels != 0 or ic > 0 else 0  # else the next is not packed yet
                    for jr in range(0, nc, NR):
                        nr = min(NR, nc - jr)
                        b = first_panel + jr * kc * SIZE
                        if panels == 0 and ic == 0:
                            panel(pb + (jc + jr) * csb + p * rsb, rsb, csb, b, nr, kc)
                        ahead = b + NR * kc * SIZE if jr + NR < nc else first_panel
                        for ir in range(0, mc, MR):
                            mr = min(MR, mc - ir)
                            a = packed_a + ir * kc * SIZE
                            c = pc + (ic + ir) * rsc + (jc + jr) * SIZE
                            if mr == MR and nr == NR:
                                by = 64 if ir < prefetching else 0
                                tile(SIZE, LANES, MR, NV, FULL, a, ahead, by, b, 0, c, rsc, kc, mr, nr, adds)
                                ahead += kc * by
                            elif nr <= LANES:
                                tile(SIZE, LANES, MR, 1, THIN, a, 0, 0, b, NR * SIZE, c, rsc, kc, mr, nr, adds)
                            else:
                                tile(SIZE, LANES, MR, NV, PART, a, 0, 0, b, 0, c, rsc, kc, mr, nr, adds)

    return packed


def make_streaming(SIZE: int, LANES: int, MR: int, NV: int, BASE: int) -> Loops:
    """C too large for the caches and k short: C is written by non-temporal stores, row after row.

    The time is that of writing C; non-temporal stores spare reading it first.  They must be aligned, so the
    columns before the first aligned one and after the last whole tile go through a masked vector.  NC columns
    of B at a time stay in L2.  Needs m >= MR, acc 0 and rows of C that are all aligned alike; the last tile
    is moved up when m is no multiple of MR.
    """
    FULL = BASE | NON_TEMPORAL
    PART = BASE | MASKED
    NR = NV * LANES

    def streaming(A, B, C, size, acc, blocks, scratch):
        pa, rsa, csa = A
        pb, rsb, csb = B
        pc, rsc = C.address, C.rs
        m, n, k = size
        before = min(n, (-pc % (LANES * SIZE)) // SIZE)
        start = 0
        while start < n:
            stop = min(n, start + blocks.NC + (before if start == 0 else 0))
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

    return streaming
