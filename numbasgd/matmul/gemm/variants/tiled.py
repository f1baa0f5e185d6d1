"""Variants for any shape: outer products on tiles of C, with and without packing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numbasgd.matmul.gemm import cost
from numbasgd.matmul.gemm.loops import make_packed, make_panels, make_streaming, make_unpacked
from numbasgd.matmul.gemm.microkernel import HALF, MASKED
from numbasgd.matmul.gemm.operands import Blocks, Loops
from numbasgd.matmul.gemm.variants.base import TINY_PRODUCT, Cut, Product, Proposal, Tiles, Variant

# ---- unpacked ----


def _unpacked_widths(t: Tiles) -> tuple[int, ...]:
    """Twice the vectors of a panel, and one more where half of the last is left, on AVX-512."""
    most = 4 if t.is_roomy else 2
    return tuple(range(2, 2 * most + 2, 1 if t.machine.vector == 64 else 2))


def _make_unpacked(t: Tiles, width: int) -> Loops:
    nv, has_half = width // 2, width % 2
    low = max(1, nv - 1)
    end = MASKED | HALF if has_half else t.end
    return make_unpacked(t.size, t.lanes, low, nv, t.height(nv), t.height(low), t.base, end)


def _propose_unpacked(t: Tiles, model: Any, first: int) -> Callable[[Product], Proposal]:
    S, L, V, ROOMY = t.size, t.lanes, t.machine.vector, t.is_roomy
    SPAN1, WAYS = t.machine.caches[0].sets * t.machine.caches[0].line, min(8, t.machine.caches[0].ways)
    LINE = float(t.machine.caches[0].line)
    SLOWER = model.constants.unpacked_step
    SAVED = 0.5 if t.machine.fma_pipes == 1 else 0.0  # half a vector is cheaper where vectors are two halves
    H1, H2, H3, H4 = (t.height(nv) for nv in (1, 2, 3, 4))
    STORE, PANEL, CALL = model.constants.store, model.constants.panel, model.constants.unpacked_call
    PAGE, SCATTERED = model.constants.page_in_place, model.constants.scattered
    OVERREAD, PAGE_BYTES, L2 = model.constants.overread, cost.PAGE, t.machine.l2
    NEAR_OVERREAD, L1 = model.constants.near_overread, t.machine.l1
    STREAMS, MASKED_STORE = cost.STREAMS, model.constants.masked_store
    WRITE_C = model.constants.write_c
    step, again, first_time, pages, refuse = model.step, model.again, model.first, model.pages, model.refused
    tile, split, overlap = model.tile, model.split, model.overlap

    def propose(p):
        if p.csb != S:
            return refuse(first)
        # Five vectors are cut into 3 and 2, all others into panels of 4 and 3.
        nv = 2 if p.n <= 2 * L or not ROOMY else 3 if 4 * L < p.n <= 5 * L else 4
        if p.n <= L:
            nv = 1
        most = H1 if nv == 1 else H2 if nv == 2 else H3 if nv == 3 else H4
        MR = min(most, WAYS) if p.rsa % SPAN1 == 0 else most
        left = p.n % L
        has_half = 1 if V == 64 and 0 < left <= L // 2 else 0
        vectors = (p.n + L - 1) // L
        panels = (vectors + nv - 1) // nv
        # Panels are of nv vectors or one fewer, and the narrower ones have taller tiles.
        w = (vectors - SAVED * has_half) / panels
        if MR == most and panels * nv > vectors and nv > 1:
            below = H1 if nv == 2 else H2 if nv == 3 else H3
            share = panels * nv - vectors
            tiles = (share * ((p.m + below - 1) // below) + (panels - share) * ((p.m + MR - 1) // MR)) / panels
        else:
            tiles = float((p.m + MR - 1) // MR)
        h = p.m / tiles
        b_bytes = float(p.k) * p.n * S
        a_bytes, c_bytes = float(p.m) * p.k * S, float(p.m) * p.n * S
        work = panels * tiles * p.k * step(h, w, h + w * split(p.rsb), p.k) * SLOWER
        cycles = panels * (PANEL + tiles * (tile(p.k) + STORE * h * w)) + CALL
        if left > 0:
            cycles += MASKED_STORE * p.m
        panel = p.k * (w * V + LINE)  # rows begin anywhere in a line
        once = max(first_time(b_bytes), again(b_bytes, p.k, w * V, p.rsb))  # dearer where rows share sets
        past = OVERREAD if panel > L1 else NEAR_OVERREAD
        traffic = panels * p.k * min(float(p.n) * S, w * V + past) * once
        traffic += b_bytes * (tiles - 1) * again(panel + h * p.k * S, p.k, w * V, p.rsb)
        traffic += WRITE_C * c_bytes * first_time(c_bytes)
        if p.csa == S:
            traffic += a_bytes * first_time(a_bytes)
            traffic += a_bytes * (panels - 1) * again(a_bytes + panel, p.m, p.k * S, p.rsa)
        else:  # a step of p takes lines of one row of A.T, or one for each of h rows
            if p.rsa != S:
                a_bytes *= LINE / S
            elif p.k * LINE > L1:  # the lines at the end of a tile's rows are read again for the next
                a_bytes += tiles * p.k * (LINE - S)
            if p.k > STREAMS and p.csa > PAGE_BYTES // 2 and a_bytes > L2:
                a_bytes *= SCATTERED
            traffic += panels * a_bytes * first_time(float(p.m) * p.k * S)
            cycles += panels * tiles * PAGE * pages(p.k, p.csa)
        # Page walks of the next rows of B go on while a tile computes.
        cycles += overlap(work, traffic + panels * tiles * PAGE * pages(p.k, p.rsb))
        if p.n > 2 * p.m and nv > 1 and has_half == 0:  # parts of columns end in a whole vector
            cut = Cut(0, 4 * L, 1, nv, 0)
        else:
            cut = Cut(4, 0, 1, 0, 1)
        number = first + (2 * (nv - 1) + has_half if V == 64 else nv - 1)
        return Proposal(cycles, number, -1, 0, Blocks(p.m, p.n, p.k, MR, nv, 0, 0), cut)

    return propose


UNPACKED = Variant(
    "unpacked",
    "B is read in place: it lies near enough, or there are too few rows to pack it for",
    _unpacked_widths,
    lambda t, width: (t.height(width // 2), width // 2),
    _make_unpacked,
    _propose_unpacked,
)


# ---- packed ----


def _packed_widths(t: Tiles) -> tuple[int, ...]:
    """Vectors of the packed tile: three, whose eight rows spare sets of the cache, or two."""
    return (2,) if not t.is_roomy else (2, 3) if t.size == 4 else (3,)


def _make_packed(t: Tiles, width: int) -> Loops:
    return make_packed(t.size, t.lanes, *t.packed_tile(width), t.base, t.packed_a_bytes)


def _propose_packed(t: Tiles, model: Any, first: int) -> Callable[[Product], Proposal]:
    S, L, V, ROOMY = t.size, t.lanes, t.machine.vector, t.is_roomy
    (MR2, _), (MR3, _) = t.packed_tile(2), t.packed_tile(3)
    LEAST, WIDTHS = _packed_widths(t)[0], len(_packed_widths(t))
    # k is long, so that C is seldom read again: a panel of B comes from L2 with vectors of 64 bytes, and else
    # takes three quarters of L1.
    LONG = 768 if V == 64 else min(768, t.machine.l1 * 3 // 4 // (2 * V))
    A_BYTES, B_BYTES = t.packed_a_bytes, t.packed_b_bytes
    SPAN1 = t.machine.caches[0].sets * t.machine.caches[0].line
    c = model.constants
    STORE, CALL, SLOWER = c.packed_store, c.packed_call, c.efficiency
    TRANSPOSED, COPIED, GATHERED = c.pack_transposed, c.pack_copied, c.pack_gathered * L
    PAGE = c.page
    step, tile, first_time, pages, refuse = model.step, model.tile, model.first, model.pages, model.refused
    overlap = model.overlap

    def propose(p):
        if p.csb == S and float(p.m) * p.n * p.k < TINY_PRODUCT:
            return refuse(first)
        is_wide = ROOMY and (p.rsc % SPAN1 == 0 or S == 8)
        MR = MR3 if is_wide else MR2
        nv = 3 if is_wide else 2
        NR = nv * L
        rounds = (p.k + LONG - 1) // LONG
        KC = (p.k + rounds - 1) // rounds
        MC = (A_BYTES - V) // (KC * S)
        blocks = (p.m + MC - 1) // MC
        MC = max(MR, min(MC // MR * MR, ((p.m + blocks - 1) // blocks + MR - 1) // MR * MR))
        NC = min(B_BYTES // (KC * S) // NR * NR, 1536 // NR * NR)
        tiles = float((p.m + MR - 1) // MR) * ((p.n + NR - 1) // NR)
        work = tiles * p.k * step(MR, nv, MR + nv, KC) * SLOWER
        cycles = tiles * rounds * (tile(KC) + STORE * MR * nv)
        c_bytes = float(p.m) * p.n * S
        cycles += overlap(work, c.write_c_packed * rounds * c_bytes * first_time(c_bytes)) + CALL
        pack_a = TRANSPOSED if p.csa == S else COPIED if p.rsa == S else GATHERED
        pack_b = COPIED if p.csb == S else TRANSPOSED if p.rsb == S else GATHERED
        a_bytes, b_bytes = float(p.m) * p.k * S, float(p.k) * p.n * S
        # What is transposed is packed LANES steps of k at a time.
        squares = ((p.k + L - 1) // L * L) / p.k
        pack_a *= squares if p.csa == S else 1.0
        pack_b *= squares if p.csb != S and p.rsb == S else 1.0
        cycles += (p.n + NC - 1) // NC * a_bytes * overlap(pack_a / V, first_time(a_bytes))
        cycles += b_bytes * overlap(pack_b / V, first_time(b_bytes))
        cycles += ((p.n + NR - 1) // NR) * PAGE * pages(p.k, max(p.rsb, p.csb))
        number = first + nv - LEAST
        return Proposal(
            cycles, number, number + WIDTHS, 1, Blocks(MC, NC, KC, MR, nv, 0, 0), Cut(MR, 0, 1, 0, 0)
        )

    return propose


PACKED = Variant(
    "packed",
    "B is too large for the second-level cache, or its rows are not contiguous: packed panels",
    _packed_widths,
    lambda t, width: t.packed_tile(width),
    _make_packed,
    _propose_packed,
    lambda t, width: make_panels(t.size, t.lanes, width),
)


# ---- streaming-c ----


def _streaming_tile(t: Tiles, width: int) -> tuple[int, int]:
    return (8, 3) if t.is_roomy else (4, 2)


def _propose_streaming(t: Tiles, model: Any, first: int) -> Callable[[Product], Proposal]:
    S, L, V, L2 = t.size, t.lanes, t.machine.vector, t.machine.l2
    MR, NV = _streaming_tile(t, 0)
    CALL, PAGE = model.constants.call, model.constants.page_in_place
    C_AT_LEAST = t.machine.l3 // 4
    step, again, first_time, pages, refuse = model.step, model.again, model.first, model.pages, model.refused
    tile, overlap = model.tile, model.overlap
    WRITE = model.constants.non_temporal / t.machine.memory_bytes_per_cycle
    UNIT = 4 * NV * L

    def propose(p):
        c_bytes = float(p.m) * p.n * S
        if p.csb != S or p.m < 8 or p.rsc % V != 0 or p.pc % S != 0 or c_bytes < C_AT_LEAST or p.k > 512:
            return refuse(first)
        NC = max(8 * L, L2 * 3 // 8 // (p.k * S) // UNIT * UNIT)
        tiles = float((p.m + MR - 1) // MR)
        panels = float((p.n + NV * L - 1) // (NV * L))
        b_bytes, a_bytes = float(p.k) * p.n * S, float(p.m) * p.k * S
        work = tiles * panels * p.k * step(MR, NV, MR + NV, p.k)
        block = min(p.n, NC) * float(p.k) * S
        traffic = b_bytes * first_time(b_bytes) + b_bytes * (tiles - 1) * again(block, p.k, NC * S, p.rsb)
        traffic += (p.n + NC - 1) // NC * a_bytes * first_time(a_bytes) + c_bytes * WRITE
        cycles = overlap(work, traffic) + tiles * panels * (tile(p.k) + PAGE * pages(p.k, p.rsb)) + CALL
        return Proposal(cycles, first, -1, 0, Blocks(p.m, NC, p.k, MR, NV, 0, 0), Cut(8, 0, 8, 0, 0))

    return propose


STREAMING_C = Variant(
    "streaming-c",
    "k is short and C large: C is written by non-temporal stores",
    lambda t: (0,),
    _streaming_tile,
    lambda t, width: make_streaming(t.size, t.lanes, *_streaming_tile(t, 0), t.base),
    _propose_streaming,
)
