"""What every variant is made of: the product it sees, what it proposes, and the tiles of a machine.

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
from numbasgd.matmul.gemm.microkernel import MASKED, NO_FMA, OVERLAP
from numbasgd.matmul.gemm.operands import Blocks, Loops

NEVER = 1e300  # cycles of what cannot be done
MOST_ROWS = 256  # that are few: with more, ``packed`` is as fast, and its threads share one packed B
TINY_PRODUCT = 1 << 13  # multiply-adds below which packing is not worth a thought


class Product(NamedTuple):
    """A product as a variant sees it: sizes and strides in bytes; C has contiguous rows.

    pc : where C begins; ``dispatch`` tells only how many bytes behind a multiple of a number's.
    """

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
        """Bytes of packed A, a quarter of L2: panels of B and tiles of C pass through the same cache.

        In scratch memory packed B begins behind it.
        """
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
    """The proposal of a variant that cannot compute a product."""
    return Proposal(NEVER, first, -1, 0, Blocks(0, 0, 0, 0, 0, 0, 0), Cut(0, 0, 0, 0, 0))
