"""Variants for few rows of A, which read B once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numbasgd.matmul.gemm.few_rows import make_few_rows, make_few_rows_transposed
from numbasgd.matmul.gemm.loops import make_unpacked
from numbasgd.matmul.gemm.microkernel import MASKED, PREFETCH_RIGHT, even_heights
from numbasgd.matmul.gemm.operands import Blocks, Loops
from numbasgd.matmul.gemm.skinny import make_skinny_m
from numbasgd.matmul.gemm.variants.base import (
    MOST_ROWS,
    TINY_PRODUCT,
    Cut,
    Product,
    Proposal,
    Tiles,
    Variant,
)

# ---- few-rows ----


def _few_rows_tile(t: Tiles, width: int) -> tuple[int, int]:
    return (14, 2) if t.is_roomy else (6, 2)


def _few_rows_scratch(t: Tiles) -> int:
    """Bytes of scratch memory that packed A may take: half of L2, within what ``packed`` has."""
    return min(t.machine.l2 // 2, (t.packed_a_bytes + t.packed_b_bytes) // 2)


def _propose_few_rows(t: Tiles, model: Any, first: int) -> Callable[[Product], Proposal]:
    S, L, V, L1, L2 = t.size, t.lanes, t.machine.vector, t.machine.l1, t.machine.l2
    MR, NV = _few_rows_tile(t, 0)
    NR, A_BYTES = NV * L, _few_rows_scratch(t)
    LONG = max(32, L1 // (2 * NR * S) // 16 * 16)  # two panels of B stay in L1
    NEAR = L2 // 4  # bytes of a B that is near enough to be read in place
    c = model.constants
    TILE, CALL, SLOWER = c.few_rows_tile, c.call, c.few_rows_step
    PAGE = c.page
    LOWEST = even_heights(MR)[3]
    TRANSPOSED, COPIED, GATHERED = c.pack_transposed, c.pack_copied, c.pack_gathered * L
    step, first_time, pages, refuse = model.step, model.first, model.pages, model.refused
    overlap = model.overlap

    def propose(p):
        b_bytes = float(p.k) * p.n * S
        if p.csb != S or not MR < p.m <= MOST_ROWS or b_bytes <= NEAR:
            return refuse(first)
        rounds = (p.k + LONG - 1) // LONG
        KC = (p.k + rounds - 1) // rounds
        MC = min(p.m, max(MR, A_BYTES // (KC * S) // MR * MR))
        NC = max(8 * NR, L2 // 4 // (MC * S) // NR * NR)
        blocks = (p.m + MC - 1) // MC
        tiles = (p.m + MR - 1) // MR
        h = max(LOWEST, (p.m + 2 * tiles - 1) // (2 * tiles) * 2)  # even heights are computed
        panels = (p.n + NR - 1) // NR
        copies = 3.0 * NV * blocks / tiles  # a load, a store and a prefetch, in NV of the tiles
        work = panels * tiles * p.k * step(h, NV, h + NV + copies, KC) * SLOWER
        a_bytes, c_bytes = float(p.m) * p.k * S, float(p.m) * p.n * S
        traffic = blocks * b_bytes * first_time(b_bytes) + 2 * c_bytes * first_time(c_bytes)
        cycles = overlap(work, traffic) + panels * tiles * rounds * TILE + CALL
        pack_a = TRANSPOSED if p.csa == S else COPIED if p.rsa == S else GATHERED
        cycles += (p.n + NC - 1) // NC * a_bytes * overlap(pack_a / V, first_time(a_bytes))
        cycles += blocks * panels * PAGE * pages(p.k, p.rsb)
        return Proposal(cycles, first, -1, 1, Blocks(MC, NC, KC, MR, NV, 0, 0), Cut(0, NR, 1, 0, 0))

    return propose


def _few_rows_transposed_tile(t: Tiles, width: int) -> tuple[int, int]:
    if not t.is_roomy:
        return (min(4, t.lanes), 2)
    return (8, 3) if t.machine.vector == 64 else (min(4, t.lanes), 4)


def _propose_few_rows_transposed(t: Tiles, model: Any, first: int) -> Callable[[Product], Proposal]:
    S, L, V = t.size, t.lanes, t.machine.vector
    MR, NV = _few_rows_transposed_tile(t, 0)
    A_BYTES = _few_rows_scratch(t)
    c = model.constants
    CALL, TRANSPOSE, SLOWER = c.call, c.transpose_store, c.few_rows_t_step
    TRANSPOSED, COPIED, GATHERED = c.pack_transposed, c.pack_copied, c.pack_gathered * L
    step, tile, overlap = model.step, model.tile, model.overlap
    first_time, refuse = model.first, model.refused

    def propose(p):
        if p.rsb != S or p.csb == S or p.m <= 4 or p.m > MOST_ROWS or float(p.m) * p.n * p.k < TINY_PRODUCT:
            return refuse(first)
        wide = (p.m + L - 1) // L * L  # columns of A.T, padded
        LONG = max(16, A_BYTES // ((wide + NV * L) * S))
        rounds = (p.k + LONG - 1) // LONG
        KC = (p.k + rounds - 1) // rounds
        vectors = (p.m + L - 1) // L
        pieces = (vectors + NV - 1) // NV
        w = vectors / pieces
        full, rest = p.n // MR * pieces, p.n % MR
        work = full * p.k * step(MR, w, MR + w, KC) * SLOWER
        cycles = full * rounds * (tile(KC) + w * L * TRANSPOSE) + CALL
        if rest > 0:  # columns that are left take a vector of rows at a time
            work += vectors * p.k * step(rest, 1.0, rest + 1.0, KC) * SLOWER
            cycles += vectors * rounds * (tile(KC) + L * TRANSPOSE)
        a_bytes, b_bytes, c_bytes = float(p.m) * p.k * S, float(p.k) * p.n * S, float(p.m) * p.n * S
        pack_a = COPIED if p.rsa == S else TRANSPOSED if p.csa == S else GATHERED
        cycles += a_bytes * overlap(pack_a / V, first_time(a_bytes))
        # Not prefetched: MR columns of B are read at once.
        cycles += overlap(work, 2 * c_bytes * first_time(c_bytes)) + b_bytes * first_time(b_bytes)
        return Proposal(cycles, first, -1, 1, Blocks(p.m, p.n, KC, MR, NV, 0, 0), Cut(0, 4 * L, 1, 0, 0))

    return propose


FEW_ROWS = Variant(
    "few-rows",
    "few rows, B beyond the second-level cache: the tiles on one panel of B pack the next",
    lambda t: (0,),
    _few_rows_tile,
    lambda t, width: make_few_rows(t.size, t.lanes, *_few_rows_tile(t, 0), t.base),
    _propose_few_rows,
)

FEW_ROWS_T = Variant(
    "few-rows-t",
    "few rows and B transposed: vectors along m in packed A.T, B read in place",
    lambda t: (0,),
    _few_rows_transposed_tile,
    lambda t, width: make_few_rows_transposed(t.size, t.lanes, *_few_rows_transposed_tile(t, 0), t.base),
    _propose_few_rows_transposed,
)


# ---- prefetched-b ----

_STEPS = 256  # of k in a block: the tiles on a panel of B find it in L2, and its rows in few pages


def _prefetched_b_widths(t: Tiles) -> tuple[int, ...]:
    """Vectors of a panel: three rows of lines in flight, where the registers allow."""
    return (3,) if t.is_roomy else (2,)


def _make_prefetched_b(t: Tiles, nv: int) -> Loops:
    heights = t.height(nv), t.height(nv - 1)
    return make_unpacked(t.size, t.lanes, nv - 1, nv, *heights, t.base | PREFETCH_RIGHT, MASKED)


def _propose_prefetched_b(t: Tiles, model: Any, first: int) -> Callable[[Product], Proposal]:
    S, L, V, L2 = t.size, t.lanes, t.machine.vector, t.machine.l2
    NV = _prefetched_b_widths(t)[0]
    MR = t.height(NV)
    c = model.constants
    STORE, CALL, SLOWER, PREFETCH = c.store, c.unpacked_call, c.prefetched_step, c.prefetch
    step, tile, first_time, pages, refuse = model.step, model.tile, model.first, model.pages, model.refused
    again, split, overlap = model.again, model.split, model.overlap
    PAGE, OVERREAD = c.page_in_place, c.overread
    L1, FROM_L2 = t.machine.l1, c.prefetch_lost / t.machine.caches[1].bytes_per_cycle

    def propose(p):
        b_bytes = float(p.k) * p.n * S
        if p.csb != S or not 4 < p.m <= 3 * MR or b_bytes <= L2 // 2 or p.n <= NV * L:
            return refuse(first)
        rounds = (p.k + _STEPS - 1) // _STEPS
        KC = (p.k + rounds - 1) // rounds
        vectors = (p.n + L - 1) // L
        panels = (vectors + NV - 1) // NV
        w = vectors / panels
        tiles = (p.m + MR - 1) // MR
        h = p.m / tiles
        each = step(h, w, h + w * split(p.rsb), KC) * SLOWER + w * PREFETCH
        a_bytes, c_bytes = float(p.m) * p.k * S, float(p.m) * p.n * S
        traffic = panels * p.k * min(float(p.n) * S, w * V + OVERREAD) * first_time(b_bytes)
        traffic += a_bytes * first_time(a_bytes)
        traffic += (tiles - 1) * b_bytes * again(KC * (w * V + h * S), KC, w * V, p.rsb)
        traffic += 2 * rounds * c_bytes * first_time(c_bytes)
        cycles = overlap(panels * tiles * p.k * each, traffic) + CALL
        cycles += panels * tiles * rounds * (tile(KC) + STORE * h * w + PAGE * pages(KC, p.rsb))
        if 2 * KC * w * V > L1:  # what was prefetched is lost from L1
            cycles += b_bytes * FROM_L2
        return Proposal(cycles, first, -1, 0, Blocks(p.m, p.n, KC, MR, NV, 0, 0), Cut(0, 4 * L, 1, NV, 0))

    return propose


PREFETCHED_B = Variant(
    "prefetched-b",
    "few rows, B beyond the second-level cache: read in place, the columns to the right prefetched",
    _prefetched_b_widths,
    lambda t, nv: (t.height(nv), nv),
    _make_prefetched_b,
    _propose_prefetched_b,
)


# ---- skinny-m ----


def _skinny_m_tile(t: Tiles, m: int) -> tuple[int, int]:
    R = t.machine.registers
    return m, R // 2 if m == 1 else max(1, (R - 1) // (m + 1))


def _propose_skinny_m(t: Tiles, model: Any, first: int) -> Callable[[Product], Proposal]:
    S, L, V = t.size, t.lanes, t.machine.vector
    L1, L2, FAR = t.machine.l1, t.machine.l2, t.machine.l3 // 2
    SPAN1 = t.machine.caches[0].sets * t.machine.caches[0].line
    R, SLOWER, OVERREAD = t.machine.registers, model.constants.skinny_step, model.constants.overread
    NEAR_OVERREAD = model.constants.near_overread
    STORE, PREFETCH, CALL = model.constants.store, model.constants.prefetch, model.constants.skinny_call
    step, tile, first_time, refuse = model.step, model.tile, model.first, model.refused
    split, overlap = model.split, model.overlap
    FROM_L2 = model.constants.prefetch_lost / t.machine.caches[1].bytes_per_cycle

    def propose(p):
        if p.csb != S or p.m > 8:
            return refuse(first)
        b_bytes = float(p.k) * p.n * S
        NR = 0
        nv = R // 2 if p.m == 1 else max(1, (R - 1) // (p.m + 1))
        if p.m == 1 and b_bytes > 2 * L2:
            # From further away short pieces of few rows, fewer yet where these share the lines of L1; from
            # memory as many as the hardware prefetches by itself.
            NR = nv = 8
            KC = 8 if b_bytes > FAR else 12 if p.rsb % SPAN1 == 0 else 16
        elif p.m == 1:
            KC = 64
        else:
            KC = 16 if b_bytes > FAR else 512
        vectors = (p.n + L - 1) // L
        panels = float((vectors + nv - 1) // nv)
        rounds = float((p.k + KC - 1) // KC)
        w = vectors / panels
        # With several rows the next panel is prefetched, and passes from L2 twice if L1 does not keep it.
        prefetches = w * PREFETCH if p.m > 1 else 0.0
        past = OVERREAD if min(KC, p.k) * w * V > L1 else NEAR_OVERREAD
        traffic = panels * p.k * min(float(p.n) * S, w * V + past) * first_time(b_bytes)
        each = step(p.m, w, p.m + w * split(p.rsb), min(KC, p.k)) * SLOWER + prefetches
        cycles = overlap(panels * p.k * each, traffic) + CALL
        cycles += panels * rounds * (tile(min(KC, p.k)) + STORE * p.m * w)
        if p.m > 1 and panels > 1 and 2 * min(KC, p.k) * w * V > L1:  # what was prefetched is lost from L1
            cycles += b_bytes * FROM_L2
        return Proposal(
            cycles, first + p.m - 1, -1, 0, Blocks(p.m, p.n, KC, p.m, NR, 0, 0), Cut(0, 4 * L, 1, 0, 0)
        )

    return propose


SKINNY_M = Variant(
    "skinny-m",
    "few rows: B passes once, in panels as wide as the registers allow (GEMV for one row)",
    lambda t: tuple(range(1, 9)),
    _skinny_m_tile,
    lambda t, m: make_skinny_m(t.size, t.lanes, *_skinny_m_tile(t, m), t.base),
    _propose_skinny_m,
)
