"""What a product costs on a machine, in cycles of one core: the parts that the variants' estimates share.

A tile of h rows and w vectors that takes a step of p needs h w multiply-adds and h + w loads, and no chain of
additions may start its next before the last is done.  Whatever is slowest bounds the step; out-of-order cores
overlap the rest, and the end of a short tile with the next (Goto and van de Geijn 2008; Low et al. 2016,
*Analytical modeling is enough for high-performance BLIS*).

What a loop reads again and again comes from the nearest cache that keeps it.  A matrix whose rows lie at a
stride is kept by a cache only as far as its rows fall on different sets: rows at a multiple of sets * line
bytes all fall on one (``kept``).  Reading overlaps with arithmetic where the hardware prefetches (``overlap``).

Numbers of a machine come from its description; the constants here are those of the kernels, the same for
every machine, and are named.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from numbasgd.machine.cpu import Machine


@dataclass(frozen=True)
class Constants:
    """Constants of the kernels in cycles, fitted to sweeps of ``python -m bench.paired --sweep``."""

    latency: float = 4.0  # cycles of a dependent multiply-add
    tile: float = 13.4  # cycles to enter a tile and leave it,
    leave: float = 14.6  # more where k is so long that the end of its loop is mispredicted,
    panel: float = 25.9  # cycles to begin a panel of tiles
    store: float = 0.0121  # cycles to write a vector of C,
    masked_store: float = 0.508  # more for one that ends within the row,
    packed_store: float = 0.569  # and for one of a packed tile
    call: float = 51.2  # cycles of a function of loops,
    unpacked_call: float = 83.7  # of unpacked,
    packed_call: float = 22.1  # of one that packs,
    skinny_call: float = 103.0  # of skinny-m,
    inner_call: float = 77.9  # of inner products,
    transpose_call: float = 19.5  # of tiles that transpose A as they load it
    transpose_b_call: float = 98.5  # and B
    stall2: float = 0.679  # cycles of a transfer from each level over those of its bytes at that level's speed,
    stall3: float = 0.932
    stall_memory: float = 2.55
    conflict: float = 1.87  # from L2 of rows that sets of L1 cannot hold,
    far_conflict: float = 1.46  # from L3 of rows that sets of L2 cannot hold either,
    scattered: float = 6.9  # and from beyond L2 of lines that lie pages apart
    overread: float = 29.4  # bytes that are prefetched in vain behind a piece of a row
    write_c: float = 1.13  # passes over C that take as long as its writing by unpacked,
    write_c_packed: float = 1.02  # and by packed, which prefetches it
    near_overread: float = 2.45  # likewise where L1 keeps most of them for the next panel
    row_start: float = 2210.0  # bytes that are read in the time that the start of such a piece is waited for
    full: float = 0.653  # share of a cache that a working set may take before it is lost from it
    page: float = 12.9  # cycles a row that is packed whose page is not in the first TLB,
    page_in_place: float = 1.94  # and of one that is read by a tile
    pack_transposed: float = 8.46  # cycles to pack a vector of numbers that are transposed
    pack_copied: float = 19.6  # and of those that are copied
    pack_gathered: float = 1.5  # and a number that is packed by itself
    efficiency: float = 1.01  # cycles of a packed tile over those of its arithmetic
    unpacked_step: float = 1.08  # likewise of an unpacked tile,
    skinny_step: float = 1.0  # of one of skinny-m,
    inner_step: float = 1.0  # of inner products,
    transpose_step: float = 1.27  # of a tile that is transposed as it is loaded,
    transposed_a_step: float = 1.0  # and of one with A transposed
    few_rows_step: float = 1.01  # and of few rows
    few_rows_t_step: float = 1.02  # with B transposed
    few_rows_tile: float = 87.5  # cycles to enter a tile of few rows and leave it
    prefetched_step: float = 1.01  # cycles of such a tile over those of its arithmetic where B is prefetched
    prefetch: float = 0.00538  # cycles of a prefetch of the next panel
    prefetch_lost: float = 0.549  # share of a transfer from L2 where L1 does not keep what was prefetched
    inner_tile: float = 2.82  # cycles to enter a tile of inner products and leave it
    inner_row: float = 0.367  # cycles a row of it
    inner_tail: float = 1.17  # cycles a vector that is loaded under a mask at the end of k
    transpose_padded: float = 1.94  # cycles a row of B that is transposed for it
    lane_sum: float = 0.872  # cycles an entry of C whose lanes are added up
    transpose_group: float = 3.53  # cycles of a group of steps whose numbers are transposed as they are loaded
    transpose_tile: float = 3.84  # cycles to enter and leave such a tile
    transpose_partial: float = 2.6  # cycles of a tile that has not all rows
    transpose_tail: float = 8.69  # cycles of an incomplete group
    transpose_piece: float = 0.72  # cycles to store a vector of C from such a tile, or a piece of a row
    non_temporal: float = 0.369  # cycles of non-temporal stores over those of reading as much from memory
    transposed_tile: float = 0.916  # cycles to enter and leave a tile that is transposed before it is stored,
    transpose_store: float = 1.65  # and those of a row of C in it

    def on(self, machine: Machine) -> Constants:
        """The same for a machine that multiplies and adds at another rate than those of the sweeps.

        What a step takes beside its multiply-adds goes to loads and to issuing instructions; where a step has
        twice the cycles, half as large a share of them.
        """
        pipes = machine.fma_pipes / 2
        steps = [name for name in vars(self) if name.endswith("_step") or name == "efficiency"]
        return replace(self, **{name: 1 + (getattr(self, name) - 1) * pipes for name in steps})


PREDICTED = 24  # steps of k whose end the branch predictor learns
WINDOW = 400.0  # instructions that are in flight at once, and
COUNTING = 4.0  # those of a step that count and move on
STREAMS = 32  # rows that the hardware prefetches at once at most
FULL_L3 = 0.8  # share of the last level, whose sets are hashed, that a working set may take
PAGES = 64  # pages that the first TLB of all machines here holds at least
PAGE = 4096


def make_model(machine: Machine, constants: Constants, refused: Any) -> Any:
    """The functions that the estimates of the variants are made of, for one machine.

    refused : what a variant answers where it cannot compute a product.
    """
    constants = constants.on(machine)
    again, first, overlap = _make_transfers(machine, constants)
    step, tile, split, pages = _make_steps(machine, constants)
    return SimpleNamespace(
        constants=constants,
        refused=refused,
        again=again,
        first=first,
        overlap=overlap,
        step=step,
        tile=tile,
        split=split,
        pages=pages,
    )


def _make_transfers(machine: Machine, constants: Constants) -> tuple[Any, Any, Any]:
    """Cycles a byte from the level that holds it, again and for the first time, and of what overlaps."""
    L1, L2 = machine.caches[:2]
    L3 = machine.caches[2] if len(machine.caches) > 2 else L2
    HAS_L3 = len(machine.caches) > 2
    SIZE1, SIZE2, SIZE3 = constants.full * L1.size, constants.full * L2.size, FULL_L3 * L3.size
    SPAN1, WAYS1 = L1.sets * L1.line, L1.ways
    SPAN2, WAYS2 = L2.sets * L2.line, L2.ways
    PER2 = constants.stall2 / L2.bytes_per_cycle
    # What L3 costs more than L2: prefetching hides the latency of a near L3, and less of a far one.
    PER3 = PER2 + constants.stall3 * max(0.0, 1 / L3.bytes_per_cycle - 1 / L2.bytes_per_cycle)
    PERM = constants.stall_memory / machine.memory_bytes_per_cycle
    CONFLICT2 = constants.conflict / L2.bytes_per_cycle
    CONFLICT3 = constants.far_conflict / L3.bytes_per_cycle

    def kept(rows, width, stride, span, ways):
        """How many of ``rows`` of ``width`` bytes, ``stride`` apart, the sets of a cache can hold."""
        apart = stride & -stride  # the greatest power of two that divides it
        if stride == 0 or apart <= width:
            return rows
        places = span // apart  # sets that rows begin at
        return min(rows, max(1, places) * ways)

    def again(n_bytes, rows, width, stride):
        """Cycles a byte to read once more what a loop has read: ``rows`` of ``width`` bytes, and all around."""
        fits1 = kept(rows, width, stride, SPAN1, WAYS1) >= rows
        if n_bytes <= SIZE1 and fits1:
            return 0.0
        fits2 = kept(rows, width, stride, SPAN2, WAYS2) >= rows
        if n_bytes <= SIZE2 and fits2:
            return PER2 if fits1 else CONFLICT2
        if HAS_L3 and n_bytes <= SIZE3:
            return PER3 if fits2 else CONFLICT3
        return PERM

    def first(n_bytes):
        """Cycles a byte to read for the first time an array of ``n_bytes``, used before by the caller."""
        if n_bytes <= SIZE1:
            return 0.0
        if n_bytes <= SIZE2:
            return PER2
        if HAS_L3 and n_bytes <= SIZE3:
            return PER3
        return PERM

    def overlap(work, traffic):
        """Cycles of arithmetic and transfers that go on at once: little more than the longer of the two."""
        return math.sqrt(work * work + traffic * traffic)

    return again, first, overlap


def _make_steps(machine: Machine, constants: Constants) -> tuple[Any, ...]:
    """Cycles of a step of p and of a tile beside, loads of a vector, cycles to walk down many pages."""
    L1 = machine.caches[0]
    FMA, LOADS, LATENCY = float(machine.fma_pipes), L1.bytes_per_cycle / machine.vector, constants.latency
    TILE, LEAVE = constants.tile, constants.leave
    VECTOR, LINE = machine.vector, L1.line

    def step(h, w, loads, k):
        """Cycles of a step of p in a tile of h rows and w vectors, with so many loads, in tiles of k steps.

        A tile that is short enough is computed while the chains of the one before are still added up.
        """
        chain = LATENCY * min(1.0, k * (h * w + w + COUNTING) / WINDOW)
        return max(h * w / FMA, loads / LOADS, chain)

    def tile(k):
        """Cycles to enter a tile of k steps and leave it."""
        return TILE + LEAVE if k > PREDICTED else TILE

    def split(stride):
        """Loads of a vector from rows ``stride`` apart: most lie in two lines if rows begin anywhere."""
        return 2.0 if VECTOR == LINE and stride % VECTOR != 0 else 1.0

    def pages(rows, stride):
        """How many ``rows`` that lie ``stride`` bytes apart begin a page, if more than the TLB holds."""
        found = rows * min(stride, PAGE) // PAGE
        return found if found > PAGES else 0

    return step, tile, split, pages
