"""The ways to compute a product: one table, ``VARIANTS``, in which each says what it is and what it costs.

An entry holds all that is particular to a way: its name in the field's words, why it exists, the loops it
compiles (one function for each ``width``), and ``propose``, which looks at one product and says whether the
way can compute it, with which of its functions and blocks, how it is cut for threads, and in how many cycles.
``plan.select`` takes the proposal that costs least; it knows no variant by name.

Registers, for all of them.  A step of p in an MR x NV tile costs MR * NV multiply-adds and MR + NV loads.
The tile, a row of B and one broadcast number must fit into R registers: MR * NV + NV + 1 <= R, so
MR = (R - 1) // NV - 1.  More multiply-adds a load is better, hence tall tiles two to four vectors wide.  With
R = 32: 14x2, 9x3, 6x4; with R = 16: 6x2, 4x3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from numbasgd.machine.cpu import Machine
from numbasgd.matmul.gemm.few_rows import make_few_rows, make_few_rows_transposed
from numbasgd.matmul.gemm.loops import make_packed, make_panels, make_streaming, make_unpacked
from numbasgd.matmul.gemm.microkernel import HALF, MASKED, NO_FMA, OVERLAP
from numbasgd.matmul.gemm.operands import Blocks, Loops
from numbasgd.matmul.gemm.skinny import (
    make_inner_product,
    make_single_vector,
    make_skinny_m,
    make_transpose_load,
    make_transposed_a,
)
from numbasgd.matmul.gemm.transpose_kernels import COLUMN_MAJOR_B, COLUMN_MAJOR_C

NEVER = 1e300  # cycles of what cannot be done
NO_LIMIT = 1 << 40
MOST_ROWS = 256  # that are few: with more, ``packed`` is as fast, and its threads share one packed B
TINY_PRODUCT = 1 << 13  # multiply-adds below which packing is not worth a thought


class Product(NamedTuple):
    """A product as a variant sees it: sizes, strides in bytes, where C begins; C has contiguous rows."""

    m: int
    n: int
    k: int
    rsa: int
    csa: int
    rsb: int
    csb: int
    pc: int
    rsc: int


class Cut(NamedTuple):
    """How C is cut into parts for several threads.

    rows, columns : a part has a multiple of so many of them; 0 for what is not cut.
    least : rows that the last part has at least.  even : most vectors of a panel of columns, where the columns
    of a part must divide into panels of so many or one fewer; else 0.  is_balanced : whether fewer rows than
    ``rows`` are as good if that leaves nobody idle.
    """

    rows: int
    columns: int
    least: int
    even: int
    is_balanced: int


class Proposal(NamedTuple):
    """What a variant would do: with the function of this number, these blocks, in so many cycles.

    packer : number of the function that packs B for all threads, or -1 where C is cut instead (``cut``).
    has_scratch : whether it needs scratch memory.
    """

    cycles: float
    function: int
    packer: int
    has_scratch: int
    blocks: Blocks
    cut: Cut


@dataclass(frozen=True)
class Tiles:
    """The numbers that the kernels of one dtype on one machine are made of."""

    machine: Machine
    size: int

    @property
    def lanes(self) -> int:
        """Numbers in a vector."""
        return self.machine.vector // self.size

    @property
    def base(self) -> int:
        """Flags that every kernel needs here."""
        return 0 if self.machine.has_fma else NO_FMA

    @property
    def end(self) -> int:
        """How a last vector is kept inside: masks are free on AVX-512, and cost much elsewhere."""
        return MASKED if self.machine.vector == 64 else OVERLAP

    @property
    def is_roomy(self) -> bool:
        """Whether there are 32 registers."""
        return self.machine.registers == 32

    def height(self, nv: int) -> int:
        """MR, the rows that fit into the registers beside nv vectors of columns."""
        return min((self.machine.registers - 1) // nv - 1, 14)

    @property
    def accumulators(self) -> int:
        """How many sums a tile that is transposed or summed at its end may keep."""
        return 28 if self.is_roomy else 12

    @property
    def transpose_accumulators(self) -> int:
        """How many sums a tile may keep beside a group of steps that is transposed as it is loaded."""
        return self.machine.registers - 16 // self.size - 3

    def packed_tile(self, nv: int) -> tuple[int, int]:
        """MR and NV of the packed micro-kernel that is ``nv`` vectors wide."""
        return ({2: 12, 3: 8} if self.is_roomy else {2: 6, 3: 4})[nv], nv

    def transposed_a_tile(self, n: int) -> tuple[int, int]:
        """Columns, and vectors of rows, of the largest tile of ``transposed-a`` with n columns."""
        high = -(-n // -(-n // self.lanes))
        return high, max(1, min(5, (self.accumulators - 3) // high))

    @property
    def packed_a_bytes(self) -> int:
        """Bytes of packed A, a quarter of L2: panels of B and tiles of C pass through the same cache."""
        return self.machine.l2 // 4 // 4096 * 4096

    @property
    def packed_b_bytes(self) -> int:
        """Bytes of packed B at most."""
        return max(1 << 20, min(self.machine.l3 // 4, 8 << 20))


def parts_of(n: int, most: int) -> tuple[int, int]:
    """The lesser and the greater width of the parts into which n columns are cut, each at most ``most``."""
    parts = -(-n // most)
    return n // parts, -(-n // parts)


@dataclass(frozen=True)
class Variant:
    """A way to compute a product.

    name, why : in the field's words, and when it is right.
    widths : tiles -> the widths of its functions, each compiled when first used; none where it has no use.
    tile : (tiles, width) -> rows, and vectors of columns, of its largest register tile.
    make : (tiles, width) -> its loops.
    make_propose : (tiles, model, number of its first function) -> propose(product) -> Proposal.
    make_packer : (tiles, width) -> the loops that pack B for all threads, numbered behind all widths.
    """

    name: str
    why: str
    widths: Callable[[Tiles], tuple[int, ...]]
    tile: Callable[[Tiles, int], tuple[int, int]]
    make: Callable[[Tiles, int], Loops]
    make_propose: Callable[[Tiles, Any, int], Callable[[Product], Proposal]]
    make_packer: Callable[[Tiles, int], Loops] | None = None


def refused(first: int) -> Proposal:
    """The proposal of a variant that cannot compute a product; also compiled."""
    return Proposal(NEVER, first, -1, 0, Blocks(0, 0, 0, 0, 0, 0, 0), Cut(0, 0, 0, 0, 0))


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
    H1, H2, H3, H4 = (t.height(nv) for nv in (1, 2, 3, 4))
    TILE, STORE, CALL = model.constants.tile, model.constants.store, model.constants.call
    step, again, first_time, paging, refuse = model.step, model.again, model.first, model.paging, model.refused
    split, transfer = model.split, model.transfer

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
        w = (vectors - 0.5 * has_half) / panels
        if MR == most and panels * nv > vectors and nv > 1:
            below = H1 if nv == 2 else H2 if nv == 3 else H3
            share = panels * nv - vectors
            tiles = (share * ((p.m + below - 1) // below) + (panels - share) * ((p.m + MR - 1) // MR)) / panels
        else:
            tiles = float((p.m + MR - 1) // MR)
        h = p.m / tiles
        b_bytes = float(p.k) * p.n * S
        bound = w * V * transfer(b_bytes)
        each = max(step(h, w, h + w * split(p.rsb)) * SLOWER, bound)
        cycles = panels * tiles * (p.k * each + TILE + STORE * h * w)
        panel = p.k * w * V
        a_bytes = float(p.m) * p.k * S
        cycles += b_bytes * first_time(b_bytes) + a_bytes * first_time(a_bytes)
        cycles += b_bytes * (tiles - 1) * again(panel + h * p.k * S, p.k, w * V, p.rsb)
        if p.csa == S:
            cycles += a_bytes * (panels - 1) * again(a_bytes + panel, p.m, p.k * S, p.rsa)
        else:  # a step of p takes the lines of h rows from a row of A.T, or a line for each
            lines = max(1.0, h * S / LINE) if p.rsa == S else h
            cycles += panels * tiles * p.k * lines * LINE * again(a_bytes + panel, p.k, p.m * S, p.csa)
            cycles += panels * tiles * paging(p.k, p.csa)
        cycles += panels * tiles * paging(p.k, p.rsb)
        c_bytes = float(p.m) * p.n * S
        cycles += 2 * c_bytes * first_time(c_bytes) + CALL  # read before it is written, and written back
        if p.n > 2 * p.m and nv > 1 and has_half == 0:  # parts of columns end in a whole vector
            cut = Cut(0, 4 * L, 1, nv, 0)
        else:
            cut = Cut(4, 0, 1, 0, 1)
        number = first + (2 * (nv - 1) + has_half if V == 64 else nv - 1)
        return Proposal(cycles, number, -1, 0, Blocks(p.m, p.n, p.k, MR, nv, 0, 0), cut)

    return propose


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
    TILE, STORE, CALL, SLOWER = c.tile, c.store, c.call, c.efficiency
    TRANSPOSED, COPIED, GATHERED = c.pack_transposed, c.pack_copied, c.pack_gathered * L
    step, first_time, paging, refuse = model.step, model.first, model.paging, model.refused

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
        cycles = tiles * (p.k * step(MR, nv, MR + nv) * SLOWER + rounds * (TILE + 2 * STORE * MR * nv))
        pack_a = TRANSPOSED if p.csa == S else COPIED if p.rsa == S else GATHERED
        pack_b = COPIED if p.csb == S else TRANSPOSED if p.rsb == S else GATHERED
        a_bytes, b_bytes = float(p.m) * p.k * S, float(p.k) * p.n * S
        passes = (p.n + NC - 1) // NC
        cycles += passes * a_bytes * (pack_a / V + first_time(a_bytes))
        cycles += b_bytes * (pack_b / V + first_time(b_bytes))
        cycles += ((p.n + NR - 1) // NR) * paging(p.k, max(p.rsb, p.csb))
        c_bytes = float(p.m) * p.n * S
        cycles += 2 * rounds * c_bytes * first_time(c_bytes) + 2 * CALL
        number = first + nv - LEAST
        return Proposal(
            cycles, number, number + WIDTHS, 1, Blocks(MC, NC, KC, MR, nv, 0, 0), Cut(24, 0, 1, 0, 0)
        )

    return propose


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
    TILE, STORE, CALL, SLOWER, LEFT = c.tile, c.store, c.call, c.few_rows_step, c.few_rows_left
    TRANSPOSED, COPIED, GATHERED = c.pack_transposed, c.pack_copied, c.pack_gathered * L
    step, first_time, paging, refuse = model.step, model.first, model.paging, model.refused

    def propose(p):
        b_bytes = float(p.k) * p.n * S
        if p.csb != S or not MR < p.m <= MOST_ROWS or b_bytes <= NEAR:
            return refuse(first)
        rounds = (p.k + LONG - 1) // LONG
        KC = (p.k + rounds - 1) // rounds
        MC = min(p.m, max(MR, A_BYTES // (KC * S) // MR * MR))
        NC = max(8 * NR, L2 // 4 // (MC * S) // NR * NR)
        blocks = (p.m + MC - 1) // MC
        tiles = float((p.m + MR - 1) // MR)
        h = p.m / tiles
        panels = (p.n + NR - 1) // NR
        copies = 3.0 * NV * blocks / tiles  # a load, a store and a prefetch, in NV of the tiles
        each = step(h, NV, h + NV + copies) * SLOWER
        cycles = panels * tiles * (p.k * each + rounds * (TILE + 2 * STORE * h * NV))
        a_bytes, c_bytes = float(p.m) * p.k * S, float(p.m) * p.n * S
        pack_a = TRANSPOSED if p.csa == S else COPIED if p.rsa == S else GATHERED
        cycles += (p.n + NC - 1) // NC * a_bytes * (pack_a / V + first_time(a_bytes))
        cycles += blocks * (LEFT * b_bytes * first_time(b_bytes) + panels * paging(p.k, p.rsb))
        cycles += 2 * c_bytes * first_time(c_bytes) + 2 * CALL
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
    TILE, CALL, LEFT, TRANSPOSE, SLOWER = c.tile, c.call, c.few_rows_left, c.transpose_store, c.few_rows_step
    STORE, TRANSPOSED, COPIED, GATHERED = c.store, c.pack_transposed, c.pack_copied, c.pack_gathered * L
    step, first_time, refuse = model.step, model.first, model.refused

    def propose(p):
        if p.rsb != S or p.csb == S or p.m <= 4 or p.m > MOST_ROWS or float(p.m) * p.n * p.k < TINY_PRODUCT:
            return refuse(first)
        wide = (p.m + L - 1) // L * L  # columns of A.T, padded
        LONG = max(16, A_BYTES // ((wide + NV * L) * S))
        rounds = (p.k + LONG - 1) // LONG
        KC = (p.k + rounds - 1) // rounds
        vectors = (p.m + L - 1) // L
        pieces = (vectors + NV - 1) // NV
        w = float((vectors + pieces - 1) // pieces)
        tiles = float((p.n + MR - 1) // MR) * pieces
        cycles = tiles * (p.k * step(MR, w, MR + w) * SLOWER + rounds * (TILE + w * L * (STORE + TRANSPOSE)))
        a_bytes, b_bytes, c_bytes = float(p.m) * p.k * S, float(p.k) * p.n * S, float(p.m) * p.n * S
        pack_a = COPIED if p.rsa == S else TRANSPOSED if p.csa == S else GATHERED
        cycles += a_bytes * (pack_a / V + first_time(a_bytes))
        cycles += LEFT * b_bytes * first_time(b_bytes) + 2 * c_bytes * first_time(c_bytes) + 2 * CALL
        return Proposal(cycles, first, -1, 1, Blocks(p.m, p.n, KC, MR, NV, 0, 0), Cut(0, 4 * L, 1, 0, 0))

    return propose


# ---- streaming-c ----


def _streaming_tile(t: Tiles, width: int) -> tuple[int, int]:
    return (8, 3) if t.is_roomy else (4, 2)


def _propose_streaming(t: Tiles, model: Any, first: int) -> Callable[[Product], Proposal]:
    S, L, V, L2 = t.size, t.lanes, t.machine.vector, t.machine.l2
    MR, NV = _streaming_tile(t, 0)
    TILE, CALL = model.constants.tile, model.constants.call
    C_AT_LEAST = t.machine.l3 // 4
    step, again, first_time, paging, refuse = model.step, model.again, model.first, model.paging, model.refused
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
        cycles = tiles * panels * (p.k * step(MR, NV, MR + NV) + TILE)
        cycles += c_bytes * WRITE
        block = min(p.n, NC) * float(p.k) * S
        cycles += b_bytes * first_time(b_bytes) + b_bytes * (tiles - 1) * again(block, p.k, NC * S, p.rsb)
        cycles += (
            (p.n + NC - 1) // NC * a_bytes * first_time(a_bytes) + tiles * panels * paging(p.k, p.rsb) + CALL
        )
        return Proposal(cycles, first, -1, 0, Blocks(p.m, NC, p.k, MR, NV, 0, 0), Cut(8, 0, 8, 0, 0))

    return propose


# ---- single-vector ----


def _propose_single_vector(t: Tiles, model: Any, first: int) -> Callable[[Product], Proposal]:
    S, L, ROOMY = t.size, t.lanes, t.is_roomy
    TILE, STORE, CALL = model.constants.tile, model.constants.store, model.constants.call
    step, again, first_time, refuse = model.step, model.again, model.first, model.refused

    def propose(p):
        if p.csb != S or p.n > L or p.m < 8 or not ROOMY:
            return refuse(first)
        tiles = float((p.m + 7) // 8)
        a_bytes, b_bytes = float(p.m) * p.k * S, float(p.k) * p.n * S
        # Two chains an entry: a step of two p is never bound by latency.
        cycles = tiles * (p.k * 0.5 * step(16, 1, 18) + 2 * TILE + 8 * STORE)
        cycles += b_bytes * tiles * again(b_bytes + 8.0 * p.k * S, p.k, p.n * S, p.rsb)
        cycles += a_bytes * first_time(a_bytes) + CALL
        return Proposal(cycles, first, -1, 0, Blocks(p.m, p.n, p.k, 8, 1, 0, 0), Cut(8, 0, 8, 0, 0))

    return propose


# ---- skinny-m ----


def _skinny_m_tile(t: Tiles, m: int) -> tuple[int, int]:
    R = t.machine.registers
    return m, R // 2 if m == 1 else max(1, (R - 1) // (m + 1))


def _propose_skinny_m(t: Tiles, model: Any, first: int) -> Callable[[Product], Proposal]:
    S, L, V = t.size, t.lanes, t.machine.vector
    L1, L2, FAR = t.machine.l1, t.machine.l2, t.machine.l3 // 2
    SPAN1 = t.machine.caches[0].sets * t.machine.caches[0].line
    R, LEFT, SLOWER = t.machine.registers, model.constants.prefetched, model.constants.skinny_step
    TILE, STORE, CALL = model.constants.tile, model.constants.store, model.constants.call
    step, first_time, refuse = model.step, model.first, model.refused
    split, transfer = model.split, model.transfer

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
        prefetches = w if p.m > 1 else 0.0
        times = 2 if p.m > 1 and panels > 1 and 2 * min(KC, p.k) * w * V > L1 else 1
        each = max(
            step(p.m, w, p.m + prefetches + w * split(p.rsb)) * SLOWER, times * w * V * transfer(b_bytes)
        )
        cycles = panels * (p.k * each + rounds * (TILE + STORE * p.m * w))
        # Prefetching the next panel hides a part of the transfer.
        cycles += b_bytes * LEFT * first_time(b_bytes) + CALL
        return Proposal(
            cycles, first + p.m - 1, -1, 0, Blocks(p.m, p.n, KC, p.m, NR, 0, 0), Cut(0, 4 * L, 1, 0, 0)
        )

    return propose


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
        TILE, STORE, CALL, TRANSPOSED = c.inner_tile, c.store, c.call, c.pack_transposed
        LANE_SUM, SLOWER = c.lane_sum, c.inner_step
        step, again, first_time, refuse = model.step, model.again, model.first, model.refused
        split = model.split

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
            vectors = rounds * ((min(KC, p.k) + L - 1) // L)
            of_a, of_b = split(p.rsa), split(p.csb) if in_place else 1.0
            tall = vectors * step(R, w, R * of_a + w * of_b) * SLOWER
            flat = vectors * step(1.0, w, of_a + w * of_b) * SLOWER
            cycles = parts * full * (tall + rounds * (TILE + R * (STORE + LANE_SUM * w)))
            cycles += parts * rest * (flat + rounds * (TILE + STORE + LANE_SUM * w))
            a_bytes, b_bytes = float(p.m) * p.k * S, float(p.k) * p.n * S
            cycles += a_bytes * first_time(a_bytes) + b_bytes * first_time(b_bytes) + CALL
            if in_place:
                cycles += b_bytes * (full + rest - 1) * again(b_bytes, p.n, p.k * S, p.csb)
            else:
                cycles += vectors * parts * (L * TRANSPOSED + STORE * w)
            has_scratch = 0 if in_place else 1
            blocks = Blocks(p.m, p.n, KC, R, 1, ld, 0)
            return Proposal(cycles, first + p.n - 1, -1, has_scratch, blocks, Cut(4, 0, 1, 0, 1))

        return propose

    return make_propose


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
        S, L, L2, MOST, ROOMY = t.size, t.lanes, t.machine.l2, t.transpose_accumulators, t.is_roomy
        FROM_B, COLUMN_B = bool(how & COLUMN_MAJOR_C), bool(how & COLUMN_MAJOR_B)
        SPAN1 = t.machine.caches[0].sets * t.machine.caches[0].line
        c = model.constants
        CALL, GROUP, ENTER, SLOWER = c.call, c.transpose_group, c.transpose_tile, c.transpose_step
        STORE, G = c.transpose_piece, 16 // t.size
        first_time, refuse = model.first, model.refused
        FMA = float(t.machine.fma_pipes)

        def propose(p):
            if p.csa != S or (p.rsb if COLUMN_B else p.csb) != S:
                return refuse(first)
            few, many = (p.m, p.n) if FROM_B else (p.n, p.m)
            apart = p.csb if FROM_B else p.rsa
            if few > 24 or (apart % SPAN1 == 0 and L > 8):
                return refuse(first)
            parts = (few + MOST - 1) // MOST
            w = few / parts
            strips = 0.5 * ((2 * many + L - 1) // L) if L * S > 16 else float((many + L - 1) // L)
            stores = w if FROM_B else L * ((w + G - 1) // G)  # vectors of C, or pieces of a row of C
            # Loading and transposing overlaps with arithmetic; whichever is slower bounds a step.
            cycles = strips * parts * (p.k * max(GROUP, w / FMA * SLOWER) + ENTER + STORE * stores)
            if not ROOMY:
                cycles *= 1.125
            a_bytes, b_bytes = float(p.m) * p.k * S, float(p.k) * p.n * S
            cycles += a_bytes * first_time(a_bytes) + b_bytes * first_time(b_bytes) + CALL
            KC = p.k if p.k * few * S <= L2 // 2 else max(1, L2 // 2 // (few * S))
            cut = Cut(0, 4 * L, 1, 0, 0) if FROM_B else Cut(2 * L, 0, 1, 0, 0)
            return Proposal(cycles, first + few - 1, -1, 0, Blocks(p.m, p.n, KC, L, 1, 0, 0), cut)

        return propose

    return make_propose


# ---- transposed-a ----


def _transposed_a_parts(t: Tiles, n: int) -> tuple[int, int]:
    return parts_of(n, t.lanes)


def _make_transposed_a(t: Tiles, n: int) -> Loops:
    nv = t.transposed_a_tile(n)[1]
    return make_transposed_a(t.size, t.lanes, n, *_transposed_a_parts(t, n), nv, t.base)


def _propose_transposed_a(t: Tiles, model: Any, first: int) -> Callable[[Product], Proposal]:
    S, L, L2 = t.size, t.lanes, t.machine.l2
    FAR = t.machine.l3 // 4
    WIDTHS = (1, *(t.transposed_a_tile(n)[1] for n in range(1, 17)))
    PARTS = (1, *(-(-n // L) for n in range(1, 17)))
    # Steps of k for which the columns of A under a tile, and B beside it, take a quarter of L2.
    STEPS = (1, *(L2 // 4 // ((n + WIDTHS[n] * L) * S) for n in range(1, 17)))
    c = model.constants
    TILE, STORE, CALL, TRANSPOSE, SLOWER = c.tile, c.store, c.call, c.transpose_store, c.transposed_a_step
    step, first_time, paging, refuse = model.step, model.first, model.paging, model.refused

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
        cycles = (
            tiles * parts * (p.k * step(h, w, h + w) * SLOWER + rounds * (TILE + w * L * (STORE + TRANSPOSE)))
        )
        cycles += a_bytes * first_time(a_bytes) + tiles * paging(p.k, p.csa) + CALL
        return Proposal(
            cycles, first + p.n - 1, -1, 0, Blocks(p.m, p.n, KC, h_of(h), nv, 0, far), Cut(2 * L, 0, 1, 0, 0)
        )

    h_of = int
    return propose


_UP_TO_16 = tuple(range(1, 17))
_UP_TO_24 = tuple(range(1, 25))

VARIANTS = (
    Variant(
        "unpacked",
        "B is read in place: it lies near enough, or there are too few rows to pack it for",
        _unpacked_widths,
        lambda t, width: (t.height(width // 2), width // 2),
        _make_unpacked,
        _propose_unpacked,
    ),
    Variant(
        "packed",
        "B is too large for the second-level cache, or its rows are not contiguous: packed panels",
        _packed_widths,
        lambda t, width: t.packed_tile(width),
        _make_packed,
        _propose_packed,
        lambda t, width: make_panels(t.size, t.lanes, width),
    ),
    Variant(
        "few-rows",
        "few rows, B beyond the second-level cache: the tiles on one panel of B pack the next",
        lambda t: (0,),
        _few_rows_tile,
        lambda t, width: make_few_rows(t.size, t.lanes, *_few_rows_tile(t, 0), t.base),
        _propose_few_rows,
    ),
    Variant(
        "few-rows-t",
        "few rows and B transposed: vectors along m in packed A.T, B read in place",
        lambda t: (0,),
        _few_rows_transposed_tile,
        lambda t, width: make_few_rows_transposed(t.size, t.lanes, *_few_rows_transposed_tile(t, 0), t.base),
        _propose_few_rows_transposed,
    ),
    Variant(
        "streaming-c",
        "k is short and C large: C is written by non-temporal stores",
        lambda t: (0,),
        _streaming_tile,
        lambda t, width: make_streaming(t.size, t.lanes, *_streaming_tile(t, 0), t.base),
        _propose_streaming,
    ),
    Variant(
        "single-vector",
        "few columns, and rows of A that fall on the same sets of a cache: few rows at a time",
        lambda t: (8,) if t.is_roomy else (),
        lambda t, width: (8, 1),
        lambda t, width: make_single_vector(t.size, t.lanes, 8, t.base),
        _propose_single_vector,
    ),
    Variant(
        "skinny-m",
        "few rows: B passes once, in panels as wide as the registers allow (GEMV for one row)",
        lambda t: tuple(range(1, 9)),
        _skinny_m_tile,
        lambda t, m: make_skinny_m(t.size, t.lanes, *_skinny_m_tile(t, m), t.base),
        _propose_skinny_m,
    ),
    Variant(
        "inner-product",
        "few columns: dot products along k with B transposed beforehand",
        lambda t: _UP_TO_16,
        _inner_tile,
        _make_inner(0),
        _propose_inner(False),
    ),
    Variant(
        "inner-product-t",
        "few columns, each contiguous: dot products along k, read in place",
        lambda t: _UP_TO_16,
        _inner_tile,
        _make_inner(1),
        _propose_inner(True),
    ),
    Variant(
        "transpose-load-a",
        "few columns: vectors along m, rows of A transposed as they are loaded",
        lambda t: _UP_TO_24,
        _load_tile,
        _make_load(0),
        _propose_load(0),
    ),
    Variant(
        "transpose-load-a-t",
        "few columns, each contiguous: vectors along m, rows of A transposed as they are loaded",
        lambda t: _UP_TO_24,
        _load_tile,
        _make_load(COLUMN_MAJOR_B),
        _propose_load(COLUMN_MAJOR_B),
    ),
    Variant(
        "transpose-load-b",
        "few rows and B transposed: vectors along n, rows of B.T transposed as they are loaded",
        lambda t: _UP_TO_24,
        _load_tile,
        _make_load(COLUMN_MAJOR_B | COLUMN_MAJOR_C),
        _propose_load(COLUMN_MAJOR_B | COLUMN_MAJOR_C),
    ),
    Variant(
        "transposed-a",
        "few columns and A transposed: vectors along m",
        lambda t: _UP_TO_16,
        lambda t, n: t.transposed_a_tile(n),
        _make_transposed_a,
        _propose_transposed_a,
    ),
)
