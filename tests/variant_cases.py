"""Products for every function of every variant, because the tests ask for them and not because the plan does.

Proposals come from a machine with small caches, so that loops over blocks and a C beyond the caches are met
with small arrays; the functions are those of this machine.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools

import numpy as np

from numbasgd.machine import cpu
from numbasgd.matmul.gemm import dispatch
from numbasgd.matmul.gemm.operands import Matrix, Scratch, Sizes
from numbasgd.matmul.gemm.plan import Gemm
from numbasgd.matmul.gemm.variants import NEVER, Product, Tiles

LAYOUTS = ("", "A", "B", "AB", "strided")
K = 1 << 10
SMALL_CACHES = tuple(
    cpu.Cache(level, size, 64, 8, size // 512, 1, speed)
    for level, size, speed in ((1, 16 * K, 64.0), (2, 64 * K, 32.0), (3, 64 * K, 16.0))
)
SHAPES = sorted(
    {
        *((f, other, k) for f in range(1, 25) for other, k in ((37, 19), (151, 70))),
        *((other, f, k) for f in range(1, 25) for other, k in ((37, 19), (151, 70))),
        *((30, n, 41) for n in range(1, 150, 3)),
        *((m, 70, 33) for m in range(1, 30, 2)),
        (64, 128, 20), (67, 384, 9), (33, 70, 1700), (100, 90, 80), (64, 16, 1024), (65, 13, 1031), 
        (25, 1024, 30), (13, 520, 29), (9, 592, 21), (24, 69, 500), (24, 141, 500),
    },
    key=lambda shape: shape[0] * shape[1] * shape[2],
)  # fmt: skip


def operands(m, n, k, layout, dtype, rng):
    """A and B; "A" and "B" stand for transposes of C-ordered arrays, "strided" for every second number."""
    if layout == "strided":
        whole = rng.standard_normal((m, 2 * k)), rng.standard_normal((k, 2 * n))
        return tuple(x.astype(dtype)[:, ::2] for x in whole)
    shapes = [(m, k), (k, n)]
    arrays = [rng.standard_normal(s[::-1] if x in layout else s) for x, s in zip("AB", shapes, strict=True)]
    A, B = (array.astype(dtype) for array in arrays)
    return A.T if "A" in layout else A, B.T if "B" in layout else B


def product(m, n, k, layout, size):
    """The product of such operands, as a variant sees it that is not asked for the product of transposes."""
    apart = 2 * size if layout == "strided" else size
    rsa, csa = (size, m * size) if "A" in layout else (k * apart, apart)
    rsb, csb = (size, k * size) if "B" in layout else (n * apart, apart)
    return Product(m, n, k, rsa, size if k == 1 else csa, rsb, size if n == 1 else csb, 0, n * size)


def small_caches(gemm):
    """The functions of a machine, chosen and blocked as for small caches."""
    machine = dataclasses.replace(gemm.tiles.machine, caches=SMALL_CACHES)
    return Gemm(Tiles(machine, gemm.tiles.size))


@functools.cache
def cases(dtype: str) -> dict[int, list[tuple]]:
    """For each function that is not a packer: products (m, n, k, layout) and proposals, of several kinds."""
    table = dispatch.products[np.dtype(dtype)]
    gemms = [small_caches(table.gemm), table.gemm]
    proposals = [gemm.proposals for gemm in gemms]
    found: dict[int, dict] = {}
    for (m, n, k), layout in itertools.product(SHAPES, LAYOUTS):
        seen = product(m, n, k, layout, table.gemm.tiles.size)
        for proposal in (propose(seen) for each in proposals for propose in each):
            if proposal.cycles < NEVER:
                kind = layout, m % 8 == 0, n % table.gemm.tiles.lanes == 0, k > 1000
                found.setdefault(proposal.function, {})[kind] = (m, n, k, layout, proposal)
    return {number: list(kinds.values()) for number, kinds in sorted(found.items())}


def functions(dtype: str) -> list[int]:
    """The numbers of all functions but the packers."""
    every = dispatch.products[np.dtype(dtype)].gemm.functions
    return [number for number, function in enumerate(every) if not function.is_packer]


def one_of_each(dtype: str) -> list[int]:
    """One function of each variant, of a width in the middle."""
    every = dispatch.products[np.dtype(dtype)].gemm.functions
    by_name: dict[str, list[int]] = {}
    for number in functions(dtype):
        by_name.setdefault(every[number].variant.name, []).append(number)
    return [numbers[len(numbers) // 2] for numbers in by_name.values()]


def name_of(dtype: str, number: int) -> str:
    """A function, for the name of a test."""
    function = dispatch.products[np.dtype(dtype)].gemm.functions[number]
    return f"{function.variant.name}-{function.width}-{dtype}"


def matrix(array):
    """Where an array lies."""
    return Matrix(array.ctypes.data, *array.strides)


def arguments(A, B, out, proposal, scratch=0):
    """What the function of a proposal is called with."""
    size = A.itemsize
    a, b = matrix(A), matrix(B)
    a = a._replace(cs=size) if A.shape[1] == 1 else a
    b = b._replace(cs=size) if B.shape[1] == 1 else b
    sizes = Sizes(A.shape[0], B.shape[1], A.shape[1])
    return a, b, Matrix(out.ctypes.data, out.strides[0], size), sizes, 0, proposal.blocks, Scratch(scratch, 0)


def run(A, B, out, proposal):
    """out := A @ B by the function of a proposal, in one thread."""
    from numbasgd import workspace

    table = dispatch.products[A.dtype]
    slot = workspace.take()
    try:
        scratch = workspace.scratch_of(slot) + dispatch.HEADER
        table.function(proposal.function)(*arguments(A, B, out, proposal, scratch))
    finally:
        workspace.give_back(slot)
