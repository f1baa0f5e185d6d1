"""Which variant a product takes: the one whose estimate is least.

``select`` is built from the entries of ``VARIANTS`` one by one and knows none of them.  It is a pure function
of shape, layout, dtype and the description of the machine, so one machine gives the same bits from run to run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from numbasgd import threads as pool
from numbasgd.machine import cpu
from numbasgd.matmul.gemm import cost
from numbasgd.matmul.gemm.operands import Loops
from numbasgd.matmul.gemm.variants import NEVER, VARIANTS, Product, Proposal, Tiles, Variant, refused

K_PIECE = 4096  # steps of k in a piece at least, where sums are split (split-K),
K_PIECES = 16  # into so many pieces at most, when
SMALL_OUT = 1 << 16  # out has no more bytes than this
WORTH_SHARING = 60_000  # vector multiply-adds below which starting threads costs more than it gains
PANEL_PADDING = 256 << 10  # bytes behind packed B that its last panel may take


def k_pieces(m: int, n: int, k: int, size: int) -> int:
    """Into how many pieces k is split, each summed apart; also compiled."""
    if k < 4 * K_PIECE or m * n * size > SMALL_OUT:
        return 1
    return min(K_PIECES, k // K_PIECE)


@dataclass(frozen=True)
class Function:
    """One compiled function of a variant."""

    variant: Variant
    width: int
    is_packer: bool

    def make(self, tiles: Tiles) -> Loops:
        """Its loops, not compiled yet."""
        make = self.variant.make_packer if self.is_packer else self.variant.make
        assert make is not None
        return make(tiles, self.width)


@dataclass(frozen=True)
class Gemm:
    """All functions of one dtype on one machine, and how to choose among them."""

    tiles: Tiles
    variants: tuple[Variant, ...] = VARIANTS
    constants: cost.Constants = cost.Constants()

    @functools.cached_property
    def functions(self) -> tuple[Function, ...]:
        """The functions by number."""
        found: list[Function] = []
        for variant in self.variants:
            widths = variant.widths(self.tiles)
            found += [Function(variant, width, False) for width in widths]
            if variant.make_packer is not None:
                found += [Function(variant, width, True) for width in widths]
        return tuple(found)

    @functools.cached_property
    def proposals(self) -> list[Callable[[Product], Proposal]]:
        """``propose`` of every variant."""
        model = cost.make_model(self.tiles.machine, self.constants, refused)
        names = [function.variant.name for function in self.functions]
        used = [v for v in self.variants if v.name in names]
        return [v.make_propose(self.tiles, model, names.index(v.name)) for v in used]

    def propose(self, product: Product) -> list[Proposal]:
        """What each variant that can compute the product would do, the least estimate first."""
        found = [propose(product) for propose in self.proposals]
        return sorted((f for f in found if f.cycles < NEVER), key=lambda f: f.cycles)

    def select(self, product: Product) -> Proposal:
        """The proposal of fewest cycles."""
        return min((propose(product) for propose in self.proposals), key=lambda found: found.cycles)

    @property
    def sums_at(self) -> int:
        """Where in scratch memory the sums of split-K lie: behind both packed operands."""
        return self.tiles.packed_a_bytes + self.tiles.packed_b_bytes + PANEL_PADDING

    @property
    def scratch_bytes(self) -> int:
        """Bytes of scratch memory for each thread."""
        return self.sums_at + K_PIECES * SMALL_OUT


@dataclass(frozen=True)
class Plan:
    """How a product is computed.

    variant, why : the name of the way to compute it, and what speaks for it.
    share_of_peak : the estimate, as a share of the machine's multiply-adds a cycle.
    runner_up : the next best variant, or "" if no other can.  slower : its estimate over this one's.
    MR, NR : rows and columns of the largest register tile.  lanes : numbers in a vector register.
    KC, MC, NC : steps of k, rows and columns in a cache block; the whole of it where there is no cut.
    k_pieces : pieces of k that are summed apart (split-K).
    threads : most threads that take part.
    """

    variant: str
    why: str
    share_of_peak: float
    runner_up: str
    slower: float
    MR: int
    NR: int
    lanes: int
    KC: int
    MC: int
    NC: int
    k_pieces: int
    threads: int


def matmul_plan(
    m: int, n: int, k: int, dtype: Any = np.float32, *, transposed: tuple[bool, bool] = (False, False)
) -> Plan:
    """How ``matmul`` computes an (m, k) @ (k, n) product on this machine.

    Parameters
    ----------
    m, n, k : int
        Sizes of the product.
    dtype : float32 or float64
    transposed : (bool, bool)
        Whether A and B are transposes of C-ordered arrays, as in ``X.T @ R``.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        For a size that is no whole number of 0 or more.
    TypeError
        For another dtype.
    """
    for name, value in (("m", m), ("n", n), ("k", k)):
        if not isinstance(value, int | np.integer) or value < 0:
            raise ValueError(f"{name} is {value!r}; expected a whole number, 0 or more. Pass a size.")
    dtype = np.dtype(dtype)
    if dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"dtype is {dtype}; expected float32 or float64. Pass one of them.")
    return plan_of(host_gemm(dtype.itemsize), int(m), int(n), int(k), transposed, pool.default())


@functools.cache
def host_gemm(size: int) -> Gemm:
    """The functions for numbers of ``size`` bytes on this machine."""
    return Gemm(Tiles(cpu.host(), size))


def product_of(m: int, n: int, k: int, size: int, transposed: tuple[bool, bool] = (False, False)) -> Product:
    """The product of C-ordered or transposed arrays into a C-ordered one, as variants see it."""
    rsa, csa = (size, m * size) if transposed[0] else (k * size, size)
    rsb, csb = (size, k * size) if transposed[1] else (n * size, size)
    if (m == 1 < n and csb != size) or (n == 1 < m and csa != size and rsa == size):
        # computed as the product of both transposes
        m, n, rsa, csa, rsb, csb = n, m, csb, rsb, csa, rsa
    csa = size if k == 1 else csa
    csb = size if n == 1 else csb
    return Product(m, n, k, rsa, csa, rsb, csb, 0, n * size)


def plan_of(gemm: Gemm, m: int, n: int, k: int, transposed: tuple[bool, bool], threads: int) -> Plan:
    """The plan for C-ordered or transposed arrays on any machine: a pure function of its arguments."""
    tiles = gemm.tiles
    lanes = tiles.lanes
    if 0 in (m, n, k):
        return Plan("none", "nothing to add up", 0.0, "", 0.0, 0, 0, lanes, 0, 0, 0, 1, 1)
    product = product_of(m, n, k, tiles.size, transposed)
    best, *others = gemm.propose(product)
    function = gemm.functions[best.function]
    MR, NV = function.variant.tile(tiles, function.width)
    blocks = best.blocks
    least = product.m * product.n * product.k / lanes / tiles.machine.fma_pipes
    return Plan(
        variant=function.variant.name,
        why=function.variant.why,
        share_of_peak=least / best.cycles,
        runner_up=gemm.functions[others[0].function].variant.name if others else "",
        slower=others[0].cycles / best.cycles if others else 0.0,
        MR=MR,
        NR=NV * lanes,
        lanes=lanes,
        KC=min(product.k, blocks.KC),
        MC=min(product.m, blocks.MC),
        NC=min(product.n, blocks.NC),
        k_pieces=k_pieces(m, n, k, tiles.size),
        threads=threads if m * n * k // lanes >= WORTH_SHARING else 1,
    )


__all__ = ["Gemm", "Plan", "host_gemm", "matmul_plan", "plan_of"]
