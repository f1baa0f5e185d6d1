"""Variants for few columns, where a vector along a row of C would be mostly padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numbasgd.matmul.gemm.cost import WINDOW
from numbasgd.matmul.gemm.operands import Blocks, Loops
from numbasgd.matmul.gemm.skinny import (
    make_inner_product,
    make_single_vector,
    make_transpose_load,
    make_transposed_a,
)
from numbasgd.matmul.gemm.transpose_kernels import COLUMN_MAJOR_B, COLUMN_MAJOR_C
from numbasgd.matmul.gemm.variants.base import Cut, Product, Proposal, Tiles, Variant, parts_of

_UP_TO_16 = tuple(range(1, 17))
_UP_TO_24 = tuple(range(1, 25))


# ---- single-vector ----


def _propose_single_vector(t: Tiles, model: Any, first: int) -> Callable[[Product], Proposal]:
    S, L, ROOMY = t.size, t.lanes, t.is_roomy
    STORE, CALL, PAGE = model.constants.masked_store, model.constants.call, model.constants.page_in_place
    LINE, SCATTERED = float(t.machine.caches[0].line), model.constants.scattered
    pages, overlap = model.pages, model.overlap
    step, tile, again, first_time, refuse = model.step, model.tile, model.again, model.first, model.refused

    def propose(p):
        if p.csb != S or p.n > L or p.m < 8 or not ROOMY:
            return refuse(first)
        tiles = float((p.m + 7) // 8)
        a_bytes, b_bytes = float(p.m) * p.k * S, float(p.k) * p.n * S
        # Two chains an entry: a step of two p is never bound by latency.
        work = tiles * p.k * 0.5 * step(16, 1, 18, p.k)
        traffic = b_bytes * tiles * again(b_bytes + 8.0 * p.k * S, p.k, p.n * S, p.rsb)
        cycles = tiles * (1 + p.k % 2) * (tile(p.k) + 8 * STORE) + CALL
        if p.csa != S:  # a step of p takes a line for 8 rows, or for each
            a_bytes *= SCATTERED * (LINE / (8 * S) if p.rsa == S else LINE / S)
            cycles += tiles * PAGE * pages(p.k, p.csa)
        cycles += overlap(work, traffic + a_bytes * first_time(a_bytes))
        return Proposal(cycles, first, -1, 0, Blocks(p.m, p.n, p.k, 8, 1, 0, 0), Cut(8, 0, 8, 0, 0))

    return propose


SINGLE_VECTOR = Variant(
    "single-vector",
    "few columns, and rows of A that fall on the same sets of a cache: few rows at a time",
    lambda t: (8,) if t.is_roomy else (),
    lambda t, width: (8, 1),
    lambda t, width: make_single_vector(t.size, t.lanes, 8, t.base),
    _propose_single_vector,
)


# ---- inner-product ----


def _inner_parts(t: Tiles, n: int) -> tuple[int, int]:
    return parts_of(n, min(t.lanes, 14))


def _inner_tile(t: Tiles, n: int) -> tuple[int, int]:
    # The sums, a vector of each row of A and one of B have registers of their own.
    return max(1, min(6, (t.machine.registers - 1) // (_inner_parts(t, n)[1] + 1))), 1


def _make_inner(in_place: int) -> Callable[[Tiles, int], Loops]:
    def make(t: Tiles, n: int) -> Loops:
        low, high = _inner_parts(t, n)
        return make_inner_product(t.size, t.lanes, n, low, high, _inner_tile(t, n)[0], t.base, in_place)

    return make


def _propose_inner(in_place: bool) -> Callable[[Tiles, Any, int], Callable[[Product], Proposal]]:
    def make_propose(t: Tiles, model: Any, first: int) -> Callable[[Product], Proposal]:
        S, L, V, L1 = t.size, t.lanes, t.machine.vector, t.machine.l1
        HEIGHTS = (1, *(_inner_tile(t, n)[0] for n in range(1, 17)))
        PARTS = (1, *(-(-n // min(L, 14)) for n in range(1, 17)))
        c = model.constants
        TILE, ROW, TAIL, CALL, TRANSPOSED = (
            c.inner_tile, c.inner_row, c.inner_tail, c.inner_call, c.transpose_padded
        )  # fmt: skip
        STORE, LANE_SUM, SLOWER, START = c.store, c.lane_sum, c.inner_step, c.row_start
        step, again, first_time, refuse = model.step, model.again, model.first, model.refused
        split, overlap = model.split, model.overlap

        def propose(p):
            if p.csa != S or p.n > 16 or (p.rsb if in_place else p.csb) != S:
                return refuse(first)
            R, parts = HEIGHTS[p.n], PARTS[p.n]
            if in_place:
                KC, ld = p.k, 0
            else:  # the transposed B stays in L1, and its rows do not all fall on the same sets
                KC = min(p.k, max(L, L1 // (S * p.n) // L * L))
                rounds = (p.k + KC - 1) // KC
                KC = ((p.k + rounds - 1) // rounds + L - 1) // L * L
                ld = KC * S
                if ld % 1024 == 0:
                    ld += V
            rounds = (p.k + KC - 1) // KC
            w = p.n / parts
            full, rest = p.m // R, p.m % R
            vectors = rounds * (min(KC, p.k) // L)
            of_a, of_b = split(p.rsa), split(p.csb) if in_place else 1.0
            tall = vectors * step(R, w, R * of_a + w * of_b, KC // L) * SLOWER
            flat = vectors * step(1.0, w, of_a + w * of_b, KC // L) * SLOWER
            if p.k % L > 0:  # the rest of k goes under a mask
                tall += TAIL * (R + w)
                flat += TAIL * (1 + w)
            a_bytes, b_bytes = float(p.m) * p.k * S, float(p.k) * p.n * S
            traffic = a_bytes * first_time(a_bytes) + b_bytes * first_time(b_bytes)
            cycles = overlap(parts * (full * tall + rest * flat), traffic) + CALL
            if rounds > 1:
                cycles += rounds * p.m * START * first_time(a_bytes)
            if in_place:  # so many rows at once are not prefetched
                cycles += b_bytes * (full + rest - 1) * again(b_bytes, p.n, p.k * S, p.csb)
            cycles += parts * rounds * ((full + rest) * TILE + p.m * (ROW + LANE_SUM * w))
            if not in_place:
                cycles += (vectors + rounds) * parts * (L * TRANSPOSED + STORE * w)
            has_scratch = 0 if in_place else 1
            blocks = Blocks(p.m, p.n, KC, R, 1, ld, 0)
            return Proposal(cycles, first + p.n - 1, -1, has_scratch, blocks, Cut(4, 0, 1, 0, 1))

        return propose

    return make_propose


INNER_PRODUCT = Variant(
    "inner-product",
    "few columns: dot products along k with B transposed beforehand",
    lambda t: _UP_TO_16,
    _inner_tile,
    _make_inner(0),
    _propose_inner(False),
)

INNER_PRODUCT_T = Variant(
    "inner-product-t",
    "few columns, each contiguous: dot products along k, read in place",
    lambda t: _UP_TO_16,
    _inner_tile,
    _make_inner(1),
    _propose_inner(True),
)


# ---- transpose-on-load ----


def _load_parts(t: Tiles, n: int) -> tuple[int, int]:
    return parts_of(n, t.transpose_accumulators)


def _load_tile(t: Tiles, n: int) -> tuple[int, int]:
    return _load_parts(t, n)[1] + 16 // t.size, 1


def _make_load(how: int) -> Callable[[Tiles, int], Loops]:
    def make(t: Tiles, n: int) -> Loops:
        return make_transpose_load(t.size, t.lanes, n, *_load_parts(t, n), t.base | how)

    return make


def _propose_load(how: int) -> Callable[[Tiles, Any, int], Callable[[Product], Proposal]]:
    def make_propose(t: Tiles, model: Any, first: int) -> Callable[[Product], Proposal]:
        S, L, V, L2, ROOMY = t.size, t.lanes, t.machine.vector, t.machine.l2, t.is_roomy
        MOST = t.transpose_accumulators
        FROM_B, COLUMN_B = bool(how & COLUMN_MAJOR_C), bool(how & COLUMN_MAJOR_B)
        SPAN1 = t.machine.caches[0].sets * t.machine.caches[0].line
        c = model.constants
        GROUP, ENTER, SLOWER = c.transpose_group, c.transpose_tile, c.transpose_step
        CALL = c.transpose_b_call if FROM_B else c.transpose_call
        STORE, TAIL, G = c.transpose_piece, c.transpose_tail, 16 // t.size
        PARTIAL = c.transpose_partial * (2 if FROM_B else 1)
        first_time, overlap, refuse = model.first, model.overlap, model.refused
        FMA, CHAIN = float(t.machine.fma_pipes), G * c.latency

        def propose(p):
            if p.csa != S or (p.rsb if COLUMN_B else p.csb) != S:
                return refuse(first)
            few, many = (p.m, p.n) if FROM_B else (p.n, p.m)
            apart = p.csb if FROM_B else p.rsa
            if few > 24 or (apart % SPAN1 == 0 and L > 8):
                return refuse(first)
            parts = (few + MOST - 1) // MOST
            w = few / parts
            strips, lanes = (many + L - 1) // L, many % L
            is_half = 1 if V > 16 and 0 < lanes <= L // 2 else 0
            stores = w if FROM_B else L * ((w + G - 1) // G)  # vectors of C, or pieces of a row of C
            # Each entry is one chain of additions, in which a group has G links.
            groups, rest = p.k // G, p.k % G
            adds = G * w / FMA * SLOWER
            chain = CHAIN * min(1.0, groups * (2 * L + 1.5 * G * w) / WINDOW)
            each = max(GROUP + adds, chain)
            half = max(0.5 * GROUP + adds, chain)
            work = parts * groups * ((strips - is_half) * each + is_half * half)
            cycles = parts * strips * (ENTER + STORE * stores)
            if lanes > 0:
                cycles += parts * PARTIAL
            if rest > 0:
                cycles += parts * strips * (TAIL + rest * w / FMA * SLOWER)
            if not ROOMY:
                work *= 1.125
            a_bytes, b_bytes = float(p.m) * p.k * S, float(p.k) * p.n * S
            traffic = a_bytes * first_time(a_bytes) + b_bytes * first_time(b_bytes)
            cycles += overlap(work, traffic) + CALL
            KC = p.k if p.k * few * S <= L2 // 2 else max(1, L2 // 2 // (few * S))
            cut = Cut(0, 4 * L, 1, 0, 0) if FROM_B else Cut(2 * L, 0, 1, 0, 0)
            return Proposal(cycles, first + few - 1, -1, 0, Blocks(p.m, p.n, KC, L, 1, 0, 0), cut)

        return propose

    return make_propose


TRANSPOSE_LOAD_A = Variant(
    "transpose-load-a",
    "few columns: vectors along m, rows of A transposed as they are loaded",
    lambda t: _UP_TO_24,
    _load_tile,
    _make_load(0),
    _propose_load(0),
)

TRANSPOSE_LOAD_A_T = Variant(
    "transpose-load-a-t",
    "few columns, each contiguous: vectors along m, rows of A transposed as they are loaded",
    lambda t: _UP_TO_24,
    _load_tile,
    _make_load(COLUMN_MAJOR_B),
    _propose_load(COLUMN_MAJOR_B),
)

TRANSPOSE_LOAD_B = Variant(
    "transpose-load-b",
    "few rows and B transposed: vectors along n, rows of B.T transposed as they are loaded",
    lambda t: _UP_TO_24,
    _load_tile,
    _make_load(COLUMN_MAJOR_B | COLUMN_MAJOR_C),
    _propose_load(COLUMN_MAJOR_B | COLUMN_MAJOR_C),
)


# ---- transposed-a ----


def _transposed_a_parts(t: Tiles, n: int) -> tuple[int, int]:
    return parts_of(n, t.lanes)


def _make_transposed_a(t: Tiles, n: int) -> Loops:
    nv = t.transposed_a_tile(n)[1]
    return make_transposed_a(t.size, t.lanes, n, *_transposed_a_parts(t, n), nv, t.base)


def _propose_transposed_a(t: Tiles, model: Any, first: int) -> Callable[[Product], Proposal]:
    S, L, V, L2 = t.size, t.lanes, t.machine.vector, t.machine.l2
    FAR = t.machine.l3 // 4
    WIDTHS = (1, *(t.transposed_a_tile(n)[1] for n in range(1, 17)))
    PARTS = (1, *(-(-n // L) for n in range(1, 17)))
    # Steps of k for which the columns of A under a tile, and B beside it, take a quarter of L2.
    STEPS = (1, *(L2 // 4 // ((n + WIDTHS[n] * L) * S) for n in range(1, 17)))
    c = model.constants
    TILE, CALL, TRANSPOSE, SLOWER = c.transposed_tile, c.call, c.transpose_store, c.transposed_a_step
    step, split, pages, overlap = model.step, model.split, model.pages, model.overlap
    first_time, PAGE, refuse = model.first, c.page_in_place, model.refused

    def propose(p):
        if p.rsa != S or p.csa == S or p.n > 16:
            return refuse(first)
        a_bytes = float(p.m) * p.k * S
        far = 1 if a_bytes > FAR else 0
        most = max(1, STEPS[p.n] // 2 if far else STEPS[p.n])
        rounds = (p.k + most - 1) // most
        KC = (p.k + rounds - 1) // rounds
        nv, parts = WIDTHS[p.n], PARTS[p.n]
        vectors = (p.m + L - 1) // L
        tiles = float((vectors + nv - 1) // nv)
        w = vectors / tiles
        h = p.n / parts
        b_bytes = float(p.k) * p.n * S
        work = tiles * parts * p.k * step(h, w, h + w * split(p.csa), KC) * SLOWER
        traffic = a_bytes * first_time(a_bytes) + tiles * b_bytes * first_time(b_bytes)
        cycles = (parts - 1) * a_bytes * first_time(KC * w * V)  # in pieces that nothing prefetches again
        cycles += overlap(work, traffic) + tiles * parts * rounds * (TILE + w * L * TRANSPOSE)
        cycles += tiles * PAGE * pages(p.k, p.csa) + CALL
        return Proposal(
            cycles, first + p.n - 1, -1, 0, Blocks(p.m, p.n, KC, int(h), nv, 0, far), Cut(2 * L, 0, 1, 0, 0)
        )

    return propose


TRANSPOSED_A = Variant(
    "transposed-a",
    "few columns and A transposed: vectors along m",
    lambda t: _UP_TO_16,
    lambda t, n: t.transposed_a_tile(n),
    _make_transposed_a,
    _propose_transposed_a,
)
