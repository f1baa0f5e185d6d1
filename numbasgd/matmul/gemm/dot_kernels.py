"""Dot products along k for a product with few columns: vectors lie along k, not along a row of ``out``.

With n smaller than a vector or two, the tiles of ``microkernel`` are mostly padding.  Here a tile of R rows
and N columns holds R * N vectors of partial sums; both A and the transposed B are read a vector at a time, and
the lanes are added up once at the end:

    for i in range(R), j in range(N):    C[i, j] (+)= sum over p of A[i, p] * W[j, p],      W = B transposed

Lane l of an entry sums the p with p % LANES == l, in order, then a fixed tree adds the lanes: the same bits
whatever R is.  Addresses and strides in bytes, trusted.
"""

from __future__ import annotations

from numbasgd.matmul.gemm.microkernel import NO_FMA
from numbasgd.simd.ir import Int, Value
from numbasgd.simd.kernel import Kernel, kernel

PADDED = 1  # rows of W are aligned and end in zeros up to a whole vector; without, their end is masked
_ROWS_A_BASE = 3


@kernel("*a, rsa, *w, rsw, *c, rsc, k, acc")
def dots(f: Kernel, SIZE: int, LANES: int, R: int, N: int, HOW: int) -> None:
    """C := A @ W.T or C += A @ W.T on R rows of A and N <= LANES rows of W."""
    a, rsa, w, rsw, c, rsc, k, acc = f.arguments
    L = f.lanes(SIZE, LANES, not HOW & NO_FMA)
    rows = [a + rsa * i for i in range(R)]
    bases = [w + rsw * j for j in range(0, N, _ROWS_A_BASE)]
    is_padded = bool(HOW & PADDED)

    def step(p: Int, rest: Int | None, sums: list[Value]) -> list[Value]:
        """Add LANES steps of p to the sums."""
        offset, mask = p * SIZE, None if rest is None else L.first_of(rest)
        of_A = [L.load(row + offset, mask) for row in rows]
        added = []
        for j in range(N):
            place = bases[j // _ROWS_A_BASE] + offset + rsw * (j % _ROWS_A_BASE)
            x = L.load(place, None if is_padded else mask, aligned=is_padded)
            added += [L.fma(y, x, sums[j * R + i]) for i, y in enumerate(of_A)]
        return added

    sums = f.loop_and_tail(k, LANES, step, [L.zero] * (R * N))
    totals = [L.reduce_transpose([sums[j * R + i] for j in range(N)]) for i in range(R)]
    for adds in f.branches(acc.is_nonzero()):
        for i, total in enumerate(totals):
            place = c + rsc * i
            if adds:  # a load that is masked out would still wait for the store of the row before
                total = L.add(L.load(place, L.first(N)), total)
            L.store(total, place, L.first(N))


@kernel("*source, rsb, *w, rsw, k")
def transpose_padded(f: Kernel, SIZE: int, LANES: int, N: int) -> None:
    """W := B.T for k rows and N columns of B, padded with zeros along k up to a whole vector."""
    source, rsb, w, rsw, k = f.arguments
    L = f.lanes(SIZE, LANES)

    def step(p: Int) -> None:
        for j in range(0, N, LANES):
            rows, count = [], min(LANES, N - j)
            for i in range(LANES):
                q = p + i
                mask = f.select(q < k, L.first(count), L.first(0))
                rows.append(L.load(source + (q * rsb + j * SIZE), mask))
            for i, row in enumerate(L.transpose(rows)[:count]):
                L.store(row, w + (rsw * (j + i) + p * SIZE), aligned=True)

    f.loop(0, k, LANES, step)
