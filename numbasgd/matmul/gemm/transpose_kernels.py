"""Tiles of a product with few columns whose vectors lie along m, rows of A transposed as they are loaded.

With n smaller than a vector or two, a vector along a row of ``out`` is mostly padding.  Here a tile is LANES
rows of A, and its accumulators are the columns of C:

    for i in range(rows), j in range(N):    C[i, j] (+)= sum over p of A[i, p] * B[p, j]

A row gives 16 bytes at a time, G = 16 / SIZE steps of p, to its block of 16 bytes in one of G registers.
Transposed within the blocks, they are vectors along i, one for each p.  A row has its place in the register,
so the rows of block q are G q to G q + G - 1.  Each entry is summed along p in order.  Addresses and strides
in bytes, trusted.
"""

from __future__ import annotations

import functools
from typing import Any

from numbasgd.matmul.gemm.microkernel import NO_FMA
from numbasgd.simd.ir import Int, Lanes, Pointer, Value
from numbasgd.simd.kernel import Kernel, kernel

PARTIAL_ROWS = 1 << 20  # fewer rows than a vector has lanes, at run time
COLUMN_MAJOR_B = 1 << 21  # columns of B are contiguous: rsb is how far apart they are
COLUMN_MAJOR_C = 1 << 22  # a column of the tile is contiguous in C: rsc is how far apart they are
_BLOCK = 16  # bytes
_ROWS_A_BASE = 3


@kernel("*a, rsa, *pb, rsb, *c, rsc, rows, k, acc")
def transpose_on_load(f: Kernel, SIZE: int, LANES: int, N: int, HOW: int) -> None:
    """C := A @ B or C += A @ B on ``rows`` rows of A, all LANES of them without ``PARTIAL_ROWS``."""
    *_, c, rsc, n_rows, _, acc = f.arguments
    L = f.lanes(SIZE, LANES, not HOW & NO_FMA)
    sums = _sum_over_k(f, L, N, HOW)
    if HOW & COLUMN_MAJOR_C:
        mask = L.first_of(n_rows) if HOW & PARTIAL_ROWS else None
        for adds in f.branches(acc.is_nonzero()):
            for j, total in enumerate(sums):
                _put(L, total, c + rsc * j, mask, adds)
        return

    G = _BLOCK // SIZE
    block = f.lanes(SIZE, G)
    # Groups of G columns, transposed within blocks: as many registers as there are sums.
    groups = [L.transpose_blocks(sums[j : j + G] + [L.zero] * max(0, j + G - N)) for j in range(0, N, G)]

    def put_row(i: int, adds: bool) -> None:
        for j, group in zip(range(0, N, G), groups, strict=True):
            mask = block.first(N - j) if j + G > N else None
            _put(block, block.slice(group[i % G], i // G * G), c + (rsc * i + j * SIZE), mask, adds)

    least = 1 if HOW & PARTIAL_ROWS else LANES
    for adds in f.branches(acc.is_nonzero()):
        f.unrolled(n_rows, LANES, functools.partial(put_row, adds=adds), least=least)


def _sum_over_k(f: Kernel, L: Lanes, N: int, HOW: int) -> list[Value]:
    """The tile, a vector along i for each of N columns."""
    a, rsa, pb, rsb, _, _, n_rows, k, _ = f.arguments
    G = _BLOCK // L.size
    block = f.lanes(L.size, G)
    if HOW & PARTIAL_ROWS:  # rows from n_rows on repeat the last
        last = n_rows - 1
        rows = [a + rsa * f.select(n_rows > i, i, last) for i in range(L.lanes)]
    else:
        bases = [a + rsa * i for i in range(0, L.lanes, _ROWS_A_BASE)]
    columns = [pb + rsb * j for j in range(0, N, _ROWS_A_BASE)] if HOW & COLUMN_MAJOR_B else []

    def place(i: int, offset: Int) -> Pointer:
        if HOW & PARTIAL_ROWS:
            return rows[i] + offset
        return bases[i // _ROWS_A_BASE] + offset + rsa * (i % _ROWS_A_BASE)

    def vectors(offset: Int, mask: Value | None) -> list[Value]:
        """Vectors along i for G steps of p, from a byte of the rows of A on."""
        parts = []
        for r in range(G):
            blocks = [block.load(place(q * G + r, offset), mask) for q in range(L.lanes // G)]
            parts.append(block.concatenate(blocks))
        return L.transpose_blocks(parts)

    def step(p: Int, rest: Int | None, values: list[Any]) -> list[Any]:
        """Add G steps from p on, or what is left of them."""
        row_of_B, *sums = values
        row_of_B = row_of_B if rest is None else pb + rsb * p
        offset = p * L.size
        x = vectors(offset, None if rest is None else block.first_of(rest))

        def one(g: int, sums: list[Value]) -> list[Value]:
            added = []
            for j, total in enumerate(sums):
                if HOW & COLUMN_MAJOR_B:
                    number = columns[j // _ROWS_A_BASE] + offset + g * L.size + rsb * (j % _ROWS_A_BASE)
                else:
                    number = row_of_B + rsb * g + j * L.size
                added.append(L.fma(x[g], L.broadcast(number), total))
            return added

        if rest is not None:
            return [row_of_B, *f.unrolled(rest, G - 1, one, sums)]
        for g in range(G):
            sums = one(g, sums)
        return [row_of_B + rsb * G, *sums]

    return f.loop_and_tail(k, G, step, [pb, *[L.zero] * N])[1:]


def _put(V: Lanes, value: Value, place: Pointer, mask: Value | None, adds: bool) -> None:
    if adds:  # a load that is masked out would still wait for the store of the row before
        value = V.add(V.load(place, mask), value)
    V.store(value, place, mask)
