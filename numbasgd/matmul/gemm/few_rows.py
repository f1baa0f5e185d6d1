"""Few rows of A times a B beyond L2: B is read once, during the arithmetic, never in a pass of its own.

With few rows there is too little arithmetic on a number of B to read it from L3 twice, and packing B in a
pass of its own leaves the multiply-adds idle while it comes.

``make_few_rows``: rows of B are contiguous.  Only two panels of B are ever packed:

    panel in use   kc x NR, contiguous    read by every tile of its columns of C, from L1 or L2
    next panel     kc x NR, contiguous    written meanwhile: each of NV tiles copies a column of vectors

Each step of p in those tiles loads a vector of B in place, stores it to the next panel and prefetches one some
rows below (Van Zee and van de Geijn 2015 prefetch a packed panel so).  Strides at which rows of B share the
sets of a cache matter only for the rows between prefetch and copy.  Two panels should fit into L1:
KC = L1 / (2 NR SIZE); a longer KC, with panels in L2, costs little.

``make_few_rows_transposed``: columns of B are contiguous, as in X @ W.T.  C.T = B.T @ A.T, so numbers of B are
broadcast in place, B.T being read along its rows, and the vectors lie in A.T, which is small: it is packed for
KC steps, at best in half of L2: KC = L2 / (2 m SIZE).

The arguments are those of all loops, see ``loops``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numbasgd.compile.options import jit
from numbasgd.matmul.gemm.loops import make_panel
from numbasgd.matmul.gemm.microkernel import (
    COPY_NEXT_B,
    EDGE,
    HEIGHTS,
    MASKED,
    PACKED_A,
    PACKED_B,
    PREFETCH_C,
    TRANSPOSED_C,
    WIDTHS,
    even_heights,
    tile,
)
from numbasgd.matmul.gemm.operands import Loops
from numbasgd.matmul.gemm.packing import pack_copy, pack_gather, pack_transpose

_LINE = 64  # bytes; packed panels start at a multiple of it


def _inlined(function: Callable[..., Any]) -> Any:
    """A part of a loop nest: compiled with it, not before it as well, which would take twice as long."""
    return jit(function, fastmath=False, inline="always")


def make_height(MR: int) -> Callable[..., int]:
    """``height(rows, tiles)``: how many of ``rows`` the first of ``tiles`` takes, an even share.

    It is one of the ``even_heights``, so that tiles fit together, or all that is left.
    """
    LOWEST = even_heights(MR)[3]

    def height(rows, tiles):
        share = (rows + tiles - 1) // tiles
        return min(max(share + share % 2, LOWEST), rows)

    return _inlined(height)


def _make_pack_height(SIZE: int, LANES: int, H: int) -> Loops:
    """One panel of A, H rows high, for up to H rows wherever they lie."""

    def pack(a, rsa, csa, to, mr, kc):
        if csa == SIZE:
            pack_transpose(SIZE, LANES, H, a, rsa, to, mr, kc)
        elif rsa == SIZE:
            pack_copy(SIZE, LANES, H, a, csa, to, mr, kc)
        else:
            pack_gather(SIZE, H, a, rsa, csa, to, mr, kc)

    return _inlined(pack)


def make_pack_rows(SIZE: int, LANES: int, MR: int) -> Loops:
    """One panel of A for a tile of the least of the ``even_heights`` that holds mr rows."""
    H3, H2, H1, H0 = even_heights(MR)
    high, upper, lower, low = (_make_pack_height(SIZE, LANES, H) for H in (H3, H2, H1, H0))

    def pack_rows(a, rsa, csa, to, mr, kc):
        if mr > H2:
            high(a, rsa, csa, to, mr, kc)
        elif mr > H1:
            upper(a, rsa, csa, to, mr, kc)
        elif mr > H0:
            lower(a, rsa, csa, to, mr, kc)
        else:
            low(a, rsa, csa, to, mr, kc)

    return _inlined(pack_rows)


def scratch_bytes(SIZE: int, LANES: int, MR: int, NV: int, MC: int, KC: int) -> int:
    """Bytes of scratch memory of either function for blocks of MC rows and KC steps."""
    rows, panels = MC + max(MR, NV * LANES), -(-MC // MR)
    return (rows + 2 * NV * LANES) * KC * SIZE + (panels + 4) * _LINE


def make_few_rows(SIZE: int, LANES: int, MR: int, NV: int, BASE: int) -> Loops:
    """Rows of B contiguous: the tiles on one panel of B copy the next.

    5th loop  ic: MC rows of A and C, so that packed A stays in L2; B is read again for each
    4th loop  jc: NC columns of B and C, for a C beyond L2
    3rd loop  pc: KC steps of k; A is packed
    2nd loop  jr: one panel of B      1st loop  ir: tiles of even heights

    A panel that nothing is computed beside is packed by itself: the first of NC columns,
    one that is not full, and every one where rows of B are not contiguous or there are fewer than NV tiles.
    """
    NR = NV * LANES
    PLAIN = BASE | PACKED_A | PACKED_B | EDGE | HEIGHTS | PREFETCH_C
    COPY = PLAIN | COPY_NEXT_B
    panel = make_panel(SIZE, LANES, NR)
    pack_rows = make_pack_rows(SIZE, LANES, MR)
    height = make_height(MR)

    def few_rows(A, B, C, size, acc, blocks, scratch):
        pa, rsa, csa = A
        pb, rsb, csb = B
        pc, rsc = C.address, C.rs
        m, n, k = size
        MC, NC, KC = blocks.MC, blocks.NC, blocks.KC
        work = scratch.address
        b_bytes = NR * min(KC, k) * SIZE
        for ic in range(0, m, MC):
            mc = min(MC, m - ic)
            tiles = (mc + MR - 1) // MR
            a_bytes = (MR * min(KC, k) * SIZE + _LINE - 1) // _LINE * _LINE  # of a panel, which starts a line
            first_b = work + tiles * a_bytes + _LINE  # packing writes up to LANES numbers more than a panel
            for jc in range(0, n, NC):
                nc = min(NC, n - jc)
                b, next_b = first_b, first_b + b_bytes
                is_there = False
                for p in range(0, k, KC):
                    kc = min(KC, k - p)
                    adds = 1 if p > 0 else acc
                    ir = 0
                    for i in range(tiles):
                        mr = height(mc - ir, tiles - i)
                        pack_rows(pa + (ic + ir) * rsa + p * csa, rsa, csa, work + i * a_bytes, mr, kc)
                        ir += mr
                    for jr in range(0, nc, NR):
                        nr = min(NR, nc - jr)
                        if not is_there:
                            panel(pb + (jc + jr) * csb + p * rsb, rsb, csb, b, nr, kc)
                        if jr + NR < nc:
                            source, steps, columns = pb + (jc + jr + NR) * csb + p * rsb, kc, nc - jr - NR
                        else:  # the first panel of the next block of k
                            source, steps, columns = pb + jc * csb + (p + kc) * rsb, min(KC, k - p - kc), nc
                        is_there = csb == SIZE and steps == kc and columns >= NR and tiles >= NV
                        to = next_b
                        ir = 0
                        for i in range(tiles):
                            mr = height(mc - ir, tiles - i)
                            a = work + i * a_bytes
                            c = pc + (ic + ir) * rsc + (jc + jr) * SIZE
                            if is_there and i < NV:
                                tile(
                                    SIZE,
                                    LANES,
                                    MR,
                                    NV,
                                    COPY,
                                    a,
                                    source,
                                    rsb,
                                    b,
                                    to,
                                    c,
                                    rsc,
                                    kc,
                                    mr,
                                    nr,
                                    adds,
                                )
                                source += LANES * SIZE
                                to += LANES * SIZE
                            else:
                                tile(SIZE, LANES, MR, NV, PLAIN, a, 0, 0, b, 0, c, rsc, kc, mr, nr, adds)
                            ir += mr
                        if is_there:
                            b, next_b = next_b, b

    return few_rows


def make_few_rows_transposed(SIZE: int, LANES: int, MR: int, NV: int, BASE: int) -> Loops:
    """Columns of B contiguous: C.T = B.T @ A.T, B.T in place, A.T packed in panels of NV vectors at most.

    4th loop  ic: MC rows of A and C, so that packed A.T stays in L2; B is read again for each
    3rd loop  pc: KC steps of k; A.T is packed
    2nd loop  jr: MR columns of B     1st loop  ir: one panel of A.T, its width an even share

    MR <= LANES, and no more columns of B than L1 has ways: they may all share its sets.
    """
    NR = NV * LANES
    ROW, REST = NR * SIZE, MR - 1
    FULL = BASE | TRANSPOSED_C | MASKED | WIDTHS
    PART = BASE | TRANSPOSED_C | MASKED | HEIGHTS
    panel = make_panel(SIZE, LANES, NR)

    def few_rows_transposed(A, B, C, size, acc, blocks, scratch):
        pa, rsa, csa = A
        pb, rsb, csb = B
        pc, rsc = C.address, C.rs
        m, n, k = size
        MC, KC = blocks.MC, blocks.KC
        work = scratch.address
        for ic in range(0, m, MC):
            mc = min(MC, m - ic)
            vectors = (mc + LANES - 1) // LANES
            pieces = (vectors + NV - 1) // NV
            width = (vectors + pieces - 1) // pieces * LANES
            for p in range(0, k, KC):
                kc = min(KC, k - p)
                adds = 1 if p > 0 else acc
                at = work
                for ir in range(0, mc, width):
                    panel(pa + (ic + ir) * rsa + p * csa, csa, rsa, at, min(width, mc - ir), kc)
                    at += kc * ROW
                for jr in range(0, n, MR):
                    mr = min(MR, n - jr)
                    b = pb + jr * csb + p * rsb
                    at = work
                    for ir in range(0, mc, width):
                        nr = min(width, mc - ir)
                        c = pc + (ic + ir) * rsc + jr * SIZE
                        if mr == MR:
                            tile(SIZE, LANES, MR, NV, FULL, b, csb, rsb, at, ROW, c, rsc, kc, mr, nr, adds)
                        else:
                            for j in range(0, nr, LANES):
                                a, w = at + j * SIZE, min(LANES, nr - j)
                                cj = c + j * rsc
                                tile(SIZE, LANES, REST, 1, PART, b, csb, rsb, a, ROW, cj, rsc, kc, mr, w, adds)
                        at += kc * ROW

    return few_rows_transposed
