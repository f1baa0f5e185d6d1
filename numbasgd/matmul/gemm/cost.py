"""What a product costs on a machine, in cycles of one core: the parts that the variants' estimates share.

A tile of h rows and w vectors that takes a step of p needs h w multiply-adds and h + w loads, and no chain of
additions may start its next before the last is done.  Whatever is slowest bounds the step; out-of-order cores
overlap the rest (Goto and van de Geijn 2008; Low et al. 2016, *Analytical modeling is enough for
high-performance BLIS*).

What a loop reads again and again comes from the nearest cache that keeps it.  A matrix whose rows lie at a
stride is kept by a cache only as far as its rows fall on different sets: rows at a multiple of sets * line
bytes all fall on one (``kept``).  Reading overlaps with arithmetic where the hardware prefetches; ``STALL``
is the share of a level's transfer time that is not hidden.

Numbers of a machine come from its description; the constants here are those of the kernels, the same for
every machine, and are named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from numbasgd.machine.cpu import Machine


@dataclass(frozen=True)
class Constants:
    """Constants of the kernels, fitted to sweeps of ``python -m bench.paired --sweep`` on three machines."""

    latency: float = 2.28  # cycles of a dependent multiply-add
    tile: float = 58.3  # cycles to enter a tile and leave it
    store: float = 0.411  # cycles to write a vector of C
    call: float = 2.01  # cycles of a function of loops
    stall2: float = 0.224  # shares of the transfer from each level that arithmetic does not hide
    stall3: float = 1.08
    stall_memory: float = 0.985
    conflict: float = 0.982  # the share of a transfer from L2 of rows that sets of L1 cannot hold
    full: float = 0.78  # share of a cache that a working set may take before it is lost from it
    page: float = 4.31  # cycles a row whose page is not in the first TLB
    pack_transposed: float = 1.63  # cycles to pack a vector of numbers that are transposed
    pack_copied: float = 13.0  # and of those that are copied
    pack_gathered: float = 1.5  # and a number that is packed by itself
    efficiency: float = 1.41  # cycles of a packed tile over those of its arithmetic
    unpacked_step: float = 1.18  # likewise of an unpacked tile,
    skinny_step: float = 1.0  # of one of skinny-m,
    inner_step: float = 1.0  # of inner products,
    transpose_step: float = 1.59  # of a tile that is transposed as it is loaded,
    transposed_a_step: float = 1.0  # and of one with A transposed
    few_rows_step: float = 1.35  # and of few rows
    few_rows_left: float = 0.0754  # share of B's transfer that is not hidden where tiles pack the next panel
    prefetched: float = 0.0446  # share of B's transfer that prefetching the next panel does not hide
    inner_tile: float = 5.84  # cycles to enter a tile of inner products and leave it
    lane_sum: float = 1.82  # cycles an entry of C whose lanes are added up
    transpose_group: float = 5.6  # cycles at least of a step whose numbers are transposed as they are loaded
    transpose_tile: float = 0.555  # cycles to enter and leave such a tile
    transpose_piece: float = 0.946  # cycles to store a vector of C from such a tile, or a piece of a row
    non_temporal: float = 0.136  # cycles of a non-temporal store over those of reading as much from memory
    transpose_store: float = 0.25  # cycles a number of a vector of C that is transposed before it is stored

    def on(self, machine: Machine) -> Constants:
        """The same for a machine that multiplies and adds at another rate than those of the sweeps.

        What a step takes beside its multiply-adds goes to loads and to issuing instructions; where a step has
        twice the cycles, half as large a share of them.
        """
        pipes = machine.fma_pipes / 2
        steps = [name for name in vars(self) if name.endswith("_step") or name == "efficiency"]
        return replace(self, **{name: 1 + (getattr(self, name) - 1) * pipes for name in steps})


PAGES = 64  # pages that the first TLB of all machines here holds at least
PAGE = 4096


def make_model(
    machine: Machine, size: int, constants: Constants, refused: Any, wrap: Callable[..., Any]
) -> Any:
    """The functions that the estimates of the variants are made of, for one machine and dtype.

    refused : what a variant answers where it cannot compute a product.  wrap : what compiles a function, or
    leaves it as it is.
    """
    constants = constants.on(machine)
    again, first, transfer = _make_transfers(machine, constants, wrap)
    step, split, paging = _make_steps(machine, constants, wrap)
    return SimpleNamespace(
        constants=constants,
        refused=wrap(refused),
        again=again,
        first=first,
        transfer=transfer,
        step=step,
        split=split,
        paging=paging,
    )


def _make_transfers(machine: Machine, constants: Constants, wrap: Callable[..., Any]) -> tuple[Any, Any, Any]:
    """Cycles a byte from the level that holds it: read again, for the first time, and at least."""
    L1, L2 = machine.caches[:2]
    L3 = machine.caches[2] if len(machine.caches) > 2 else L2
    HAS_L3 = len(machine.caches) > 2
    FULL = constants.full
    SIZE1, SIZE2, SIZE3 = FULL * L1.size, FULL * L2.size, FULL * L3.size
    SPAN1, WAYS1 = L1.sets * L1.line, L1.ways
    SPAN2, WAYS2 = L2.sets * L2.line, L2.ways
    PER2 = constants.stall2 / L2.bytes_per_cycle
    # What L3 costs more than L2: prefetching hides the latency of a near L3, and less of a far one.
    PER3 = PER2 + constants.stall3 * max(0.0, 1 / L3.bytes_per_cycle - 1 / L2.bytes_per_cycle)
    PERM = constants.stall_memory / machine.memory_bytes_per_cycle
    CONFLICT2, BOUND2 = constants.conflict / L2.bytes_per_cycle, 1.0 / L2.bytes_per_cycle

    def kept(rows, width, stride, span, ways):
        """How many of ``rows`` of ``width`` bytes, ``stride`` apart, the sets of a cache can hold."""
        apart = stride & -stride  # the greatest power of two that divides it
        if stride == 0 or apart <= width:
            return rows
        places = span // apart  # sets that rows begin at
        return min(rows, max(1, places) * ways)

    kept = wrap(kept)

    def again(n_bytes, rows, width, stride):
        """Cycles a byte to read once more what a loop has read: ``rows`` of ``width`` bytes, and all around."""
        fits1 = kept(rows, width, stride, SPAN1, WAYS1) >= rows
        if n_bytes <= SIZE1 and fits1:
            return 0.0
        if n_bytes <= SIZE2 and kept(rows, width, stride, SPAN2, WAYS2) >= rows:
            return PER2 if fits1 else CONFLICT2
        if HAS_L3 and n_bytes <= SIZE3:
            return PER3
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

    def transfer(n_bytes):
        """Cycles a byte at least, to read once from beyond L1 a matrix of ``n_bytes``."""
        return 0.0 if n_bytes <= SIZE1 else BOUND2

    return wrap(again), wrap(first), wrap(transfer)


def _make_steps(machine: Machine, constants: Constants, wrap: Callable[..., Any]) -> tuple[Any, Any, Any]:
    """Cycles of a step of p, loads of a vector, and cycles to walk down rows in many pages."""
    L1 = machine.caches[0]
    FMA, LOADS, LATENCY = float(machine.fma_pipes), L1.bytes_per_cycle / machine.vector, constants.latency
    VECTOR, LINE, PAGE_COST = machine.vector, L1.line, constants.page

    def step(h, w, loads):
        """Cycles of a step of p in a tile of h rows and w vectors, with so many loads and prefetches."""
        return max(h * w / FMA, loads / LOADS, LATENCY)

    def split(stride):
        """Loads of a vector from rows ``stride`` apart: most lie in two lines if rows begin anywhere."""
        return 2.0 if VECTOR == LINE and stride % VECTOR != 0 else 1.0

    def paging(rows, stride):
        """Cycles to walk down ``rows`` that lie ``stride`` bytes apart, for pages that the TLB has lost."""
        pages = rows * min(stride, PAGE) // PAGE
        return PAGE_COST * pages if pages > PAGES else 0.0

    return wrap(step), wrap(split), wrap(paging)
