"""Few rows of A times a B beyond L2: B is packed while the tiles on the panel before are computed.

With few rows there is too little arithmetic on a number of B to pay for reading B twice, and packing it in a
pass of its own leaves the multiply-adds idle while B comes from L3.  Here only two panels of B are ever packed:

    panel in use   kc x NR, contiguous    read by every tile of its columns of C, from L1 or L2
    next panel     kc x NR, contiguous    written meanwhile: the first NV tiles copy a vector of it a step

Each step of p in those tiles loads a vector of B where it lies, stores it to the next panel and prefetches
one some rows below.  So B is read once, evenly, during the arithmetic; strides at which rows of B share the
sets of a cache matter only for the few rows between prefetch and copy.

The arguments are those of all loops, see ``loops``.
"""

from __future__ import annotations

from numbasgd.matmul.gemm.loops import make_panel
from numbasgd.matmul.gemm.microkernel import COPY_NEXT_B, EDGE, PACKED_A, PACKED_B, PREFETCH_C, tile
from numbasgd.matmul.gemm.operands import Loops, compiled
from numbasgd.matmul.gemm.packing import pack_copy, pack_gather, pack_transpose


def heights(MR: int) -> tuple[int, int, int, int]:
    """The heights of tiles that are compiled: even ones from MR down to half of it, four at most."""
    lowest = max(2, -(-MR // 4) * 2)
    high, upper, lower, low = (max(MR - 2 * i, lowest) for i in range(4))
    return high, upper, lower, low


def make_pack_rows(SIZE: int, LANES: int, MR: int) -> Loops:
    """One panel of A for a tile of one of the ``heights``: mr rows, wherever they lie."""
    H3, H2, H1, H0 = heights(MR)

    def pack_rows(a, rsa, csa, to, mr, kc):
        if csa == SIZE:
            if mr > H2:
                pack_transpose(SIZE, LANES, H3, a, rsa, to, mr, kc)
            elif mr > H1:
                pack_transpose(SIZE, LANES, H2, a, rsa, to, mr, kc)
            elif mr > H0:
                pack_transpose(SIZE, LANES, H1, a, rsa, to, mr, kc)
            else:
                pack_transpose(SIZE, LANES, H0, a, rsa, to, mr, kc)
        elif rsa == SIZE:
            if mr > H2:
                pack_copy(SIZE, LANES, H3, a, csa, to, mr, kc)
            elif mr > H1:
                pack_copy(SIZE, LANES, H2, a, csa, to, mr, kc)
            elif mr > H0:
                pack_copy(SIZE, LANES, H1, a, csa, to, mr, kc)
            else:
                pack_copy(SIZE, LANES, H0, a, csa, to, mr, kc)
        elif mr > H2:
            pack_gather(SIZE, H3, a, rsa, csa, to, mr, kc)
        elif mr > H1:
            pack_gather(SIZE, H2, a, rsa, csa, to, mr, kc)
        elif mr > H0:
            pack_gather(SIZE, H1, a, rsa, csa, to, mr, kc)
        else:
            pack_gather(SIZE, H0, a, rsa, csa, to, mr, kc)

    return compiled(pack_rows, SIZE, LANES, MR)


def make_tile_of(SIZE: int, LANES: int, MR: int, NV: int, HOW: int) -> Loops:
    """The micro-kernel of the least of the ``heights`` that holds mr rows."""
    H3, H2, H1, H0 = heights(MR)

    def tile_of(a, source, step, b, to, c, rsc, kc, mr, nr, acc):
        if mr > H2:
            tile(SIZE, LANES, H3, NV, HOW, a, source, step, b, to, c, rsc, kc, mr, nr, acc)
        elif mr > H1:
            tile(SIZE, LANES, H2, NV, HOW, a, source, step, b, to, c, rsc, kc, mr, nr, acc)
        elif mr > H0:
            tile(SIZE, LANES, H1, NV, HOW, a, source, step, b, to, c, rsc, kc, mr, nr, acc)
        else:
            tile(SIZE, LANES, H0, NV, HOW, a, source, step, b, to, c, rsc, kc, mr, nr, acc)

    return compiled(tile_of, SIZE, LANES, MR, NV, HOW)


def make_few_rows(SIZE: int, LANES: int, MR: int, NV: int, BASE: int) -> Loops:
    """Loops as in ``packed``, but for the packing of B, which is done a panel ahead inside the tiles.

    4th loop  jc: NC columns of B and C, so that C stays in L2      3rd loop  pc: KC steps of k; A is packed
    2nd loop  jr: one panel of B      1st loop  ir: tiles of even heights, which are given out evenly

    All of that for at most MC rows of A.  A panel that nothing is computed beside (the
    first of a block of columns, the last if it is not full, with B transposed every one) is packed by itself.
    """
    NR = NV * LANES
    LINE = 64
    LOWEST = heights(MR)[3]
    BESIDE = BASE | PACKED_A | PACKED_B | EDGE | PREFETCH_C
    panel = make_panel(SIZE, LANES, NR)
    pack_rows = make_pack_rows(SIZE, LANES, MR)
    tile_of = make_tile_of(SIZE, LANES, MR, NV, BESIDE)
    tile_and_copy = make_tile_of(SIZE, LANES, MR, NV, BESIDE | COPY_NEXT_B)

    def few_rows(A, B, C, size, acc, blocks, scratch):
        pa, rsa, csa = A
        pb, rsb, csb = B
        pc, rsc = C.address, C.rs
        m, n, k = size
        MC, NC, KC = blocks.MC, blocks.NC, blocks.KC
        packed_a = scratch.address
        for ic in range(0, m, MC):
            mc = min(MC, m - ic)
            tiles = (mc + MR - 1) // MR
            a_bytes = ((mc + MR) * min(KC, k) * SIZE + 2 * LINE) // LINE * LINE
            b_bytes = NR * min(KC, k) * SIZE
            for jc in range(0, n, NC):
                nc = min(NC, n - jc)
                b, following = packed_a + a_bytes, packed_a + a_bytes + b_bytes
                is_there = False
                for p in range(0, k, KC):
                    kc = min(KC, k - p)
                    adds = 1 if p > 0 else acc
                    ir = 0
                    for i in range(tiles):
                        mr = (mc - ir + tiles - i - 1) // (tiles - i)
                        mr = min(max(mr + mr % 2, LOWEST), mc - ir)
                        pack_rows(pa + (ic + ir) * rsa + p * csa, rsa, csa, packed_a + ir * kc * SIZE, mr, kc)
                        ir += mr
                    for jr in range(0, nc, NR):
                        nr = min(NR, nc - jr)
                        if not is_there:
                            panel(pb + (jc + jr) * csb + p * rsb, rsb, csb, b, nr, kc)
                        if jr + NR < nc:
                            source, steps, columns = pb + (jc + jr + NR) * csb + p * rsb, kc, nc - jr - NR
                        else:
                            source, steps, columns = pb + jc * csb + (p + kc) * rsb, min(KC, k - p - kc), nc
                        is_there = csb == SIZE and steps == kc and columns >= NR and tiles >= NV
                        to = following
                        ir = 0
                        for i in range(tiles):
                            mr = (mc - ir + tiles - i - 1) // (tiles - i)
                            mr = min(max(mr + mr % 2, LOWEST), mc - ir)
                            a = packed_a + ir * kc * SIZE
                            c = pc + (ic + ir) * rsc + (jc + jr) * SIZE
                            if is_there and i < NV:
                                tile_and_copy(a, source, rsb, b, to, c, rsc, kc, mr, nr, adds)
                                source += LANES * SIZE
                                to += LANES * SIZE
                            else:
                                tile_of(a, 0, 0, b, 0, c, rsc, kc, mr, nr, adds)
                            ir += mr
                        if is_there:
                            b, following = following, b

    return few_rows
