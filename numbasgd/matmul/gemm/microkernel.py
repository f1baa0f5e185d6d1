"""The micro-kernel: a tile of ``out`` held in vector registers while k passes by.

    for i in range(mr), j in range(nr):    C[i, j] (+)= sum over p of A[i, p] * B[p, j]

                  NV vectors of ``lanes``                       A is read a number at a time and broadcast to
               +------+------+------+                           a vector, B a vector at a time.  A step of
           B   |  nr <= NV * lanes  |  row p, stride rsb        p is MR + NV loads and MR * NV multiply-adds,
               +------+------+------+                           so the tile's height and width decide how
      A        +------+------+------+                           far a step is from being limited by loads.
    +---+      | acc  | acc  | acc  |                           Every entry is one chain of multiply-adds in
    | i | rsa  | acc  | acc  | acc  |  mr <= MR rows of C,      the order of p, in whatever tile it lies:
    +---+      | acc  | acc  | acc  |  stride rsc               the same bits for any cut of out into tiles.
     p, csa    +------+------+------+

One generator emits them all.  Which one is said by literals: ``SIZE`` bytes a number, ``LANES``, ``MR``,
``NV`` and ``HOW``, a sum of the flags below.  The operands are addresses and strides in bytes, all trusted.
``plain_tile`` is the same contract in plain loops, the oracle of the tests.
"""

from __future__ import annotations

import functools
from typing import Any

from numbasgd.simd.ir import Int, Pointer, Value
from numbasgd.simd.kernel import Kernel, inlined, private_function

PACKED_A = 1  # A is a panel: MR numbers a step, one step after the other; rsa and csa are not strides
PACKED_B = 2  # B is a panel, aligned, NV * LANES numbers a step, padded; rsb is not looked at
HEIGHTS = 4  # mr may be anything from 1 to MR, with a kernel for each; without, it is MR.  With EDGE: see there
MASKED = 8  # nr may end inside the last vector, which is loaded and stored under a mask
OVERLAP = 16  # nr may end inside the last vector, which then lies over the one before: nr >= LANES
# mr and nr may be anything: MR rows are computed (A must hold them), mr by nr entries stored.  With HEIGHTS,
# the least of the ``even_heights`` that holds mr rows is computed, and A holds so many.
EDGE = 32
PREFETCH_C = 64  # the tile of C is prefetched, a row every step of p
NON_TEMPORAL = 128  # C is written by non-temporal stores; its rows are aligned to a vector; never with acc
TRANSPOSED_C = 256  # C[j, i] is stored at c + j * rsc + i * SIZE, with nr as for MASKED; MR <= LANES
TWO_CHAINS = 512  # two chains for each entry, even p and odd p, for tiles too small to hide latency; k even
PREFETCH_RIGHT = 1024  # the columns of B to the right of this tile are prefetched
WIDTHS = 2048  # nr may be anything from 1 to NV * LANES, with a kernel for each number of vectors; MASKED
NO_FMA = 4096  # the machine has no fused multiply-add
HALF = 8192  # the last vector has LANES / 2 lanes, which cost half where vectors are computed in two halves
PREFETCH_NEXT_B = 16384  # with PACKED_A: a line at rsa, any address, csa bytes further at each p, is prefetched
COPY_NEXT_B = 32768  # with PACKED_A | PACKED_B: vectors at rsa, csa apart, are copied into a panel at rsb

_COPY_DISTANCE = 32  # steps between the prefetch of a vector and its copy
_ROWS_A_BASE = 3  # rows of A reached from one address register: p, p + rsa, p + 2 rsa


@private_function("*a, rsa, csa, *b, rsb, *c, rsc, k, mr, nr, acc")
def one_tile(f: Kernel, SIZE: int, LANES: int, MR: int, NV: int, HOW: int) -> None:
    """``tile`` for one height and width; acc 1 adds to C, 0 overwrites it."""
    _Tile(f, SIZE, LANES, MR, NV, HOW).write()


class _Tile:
    """One micro-kernel being written down."""

    def __init__(self, f: Kernel, size: int, lanes: int, MR: int, NV: int, how: int) -> None:
        self.f, self.MR, self.NV, self.how = f, MR, NV, how
        self.lanes = f.lanes(size, lanes, not how & NO_FMA)
        self.steps = 2 if how & TWO_CHAINS else 1
        self.a, rsa, csa, self.B, rsb, self.c, self.rsc, self.k, self.mr, self.nr, self.acc = f.arguments
        self.next_B, self.next_B_step = rsa, csa  # with PREFETCH_NEXT_B or COPY_NEXT_B
        self.copy_to = rsb
        is_packed = how & PACKED_A
        self.rsa = f.integer(size) if is_packed else rsa
        self.csa = f.integer(MR * size) if is_packed else csa
        self.rsb = f.integer(NV * self.lanes.width) if how & PACKED_B else rsb
        self.vectors = [self.lanes] * NV
        if how & HALF:
            self.vectors[-1] = f.lanes(size, lanes // 2, not how & NO_FMA, is_half=True)

    def write(self) -> None:
        self._find_columns()
        tile = self._sum_over_k()
        if self.how & TRANSPOSED_C:
            self._store_transposed(tile)
        else:
            self._store(tile)

    def _find_columns(self) -> None:
        """Where each vector of columns starts, in bytes, and which of its lanes count."""
        L, NV = self.lanes, self.NV
        self.offsets: list[Int | int] = [v * L.width for v in range(NV)]
        self.masks: list[Value | None] = [None] * NV
        if self.how & EDGE:
            self.masks = [L.first_of(self.nr - v * L.lanes) for v in range(NV)]
        elif self.how & MASKED:
            self.masks[-1] = self.vectors[-1].first_of(self.nr - (NV - 1) * L.lanes)
        elif self.how & OVERLAP:
            self.offsets[-1] = (self.nr - L.lanes) * L.size

    def _sum_over_k(self) -> list[list[Value]]:
        """The loop over p; returns the tile, MR rows of NV vectors."""
        MR, NV, steps, how = self.MR, self.NV, self.steps, self.how
        bases = [self.a]
        if not how & PACKED_A:
            group = self.rsa * _ROWS_A_BASE
            for _ in range(_ROWS_A_BASE, MR, _ROWS_A_BASE):
                bases.append(bases[-1] + group)
            bases = [base.opaque() for base in bases]
        lines = [self.next_B] if how & PREFETCH_NEXT_B else []  # that are prefetched
        if how & COPY_NEXT_B:
            lines = self._start_of_copy()
        if how & PREFETCH_C:
            last_of_C = self.c.address() + self.rsc * (MR - 1)
            lines.append(self.c.address())

        def step(values: list[Any]) -> list[Any]:
            """``steps`` steps of p."""
            row_of_B, *rows_of_A = values[:first]
            sums, lines = values[first:behind], values[behind:]
            if how & PREFETCH_C:
                lines[-1] = self._prefetch_C(lines[-1], last_of_C)
            if how & PREFETCH_NEXT_B:
                lines[0].as_pointer().prefetch()
            if how & COPY_NEXT_B:
                lines[:4] = self._copy_next_B(*lines[:4])
            for s in range(steps):
                row = row_of_B + self.rsb * s
                y = [self._load_B(row, v) for v in range(NV)]
                for i in range(MR):
                    x = self._broadcast_A(rows_of_A, i, s)
                    for v, V in enumerate(self.vectors):
                        part = x if V is self.vectors[0] else V.slice(x, 0)
                        at = (s * MR + i) * NV + v
                        sums[at] = V.fma(part, y[v], sums[at])
            rows_of_A = [row + self.csa * steps for row in rows_of_A]
            row_of_B = row_of_B + self.rsb * steps
            if how & PREFETCH_NEXT_B:
                lines[0] = lines[0] + self.next_B_step
            return [row_of_B, *rows_of_A, *sums, *lines]

        zeros = [V.zero for V in self.vectors] * (MR * steps)
        first, behind = 1 + len(bases), 1 + len(bases) + len(zeros)  # where the sums are among the values
        sums = self.f.repeat(self.k, steps, step, [self.B, *bases, *zeros, *lines])[first:behind]
        rows = [sums[i : i + NV] for i in range(0, len(sums), NV)]
        if steps == 1:
            return rows
        return [
            [V.add(x, y) for V, x, y in zip(self.vectors, even, odd, strict=True)]
            for even, odd in zip(rows[:MR], rows[MR:], strict=True)
        ]

    def _load_B(self, row: Pointer, v: int) -> Value:
        pointer = row + self.offsets[v]
        if self.how & PREFETCH_RIGHT:
            (pointer + self.NV * self.lanes.width).prefetch()
        is_packed = bool(self.how & PACKED_B)
        return self.vectors[v].load(pointer, None if is_packed else self.masks[v], aligned=is_packed)

    def _broadcast_A(self, rows: list[Pointer], i: int, step: int) -> Value:
        """A[i, p + step] in every lane."""
        L = self.vectors[0]
        if self.how & PACKED_A:
            return L.broadcast(rows[0] + (step * self.MR + i) * L.size)
        base, times = rows[i // _ROWS_A_BASE], i % _ROWS_A_BASE
        if step:
            base = base + self.csa * step
        if self.NV == 1:  # used once: the multiply-add itself can broadcast it
            return L.broadcast(base + self.rsa * times)
        return L.broadcast_at(base, self.rsa, times)

    def _start_of_copy(self) -> list[Int]:
        """Where the copied vector comes from and goes to, what is prefetched, and how many steps are left."""
        # A vector that lies in two lines shares the first with the column before.
        end = self.next_B + (self.lanes.width - 1)
        return [self.next_B, self.copy_to, end + self.next_B_step * _COPY_DISTANCE, self.k]

    def _copy_next_B(self, source: Int, to: Int, distant: Int, left: Int) -> list[Int]:
        """Copy a vector of a panel of B that a later call needs; returns the next of each.

        Down a column of B each vector lies in another line, often in another page, which no hardware
        prefetches.  The last steps prefetch the top of the next column of vectors.
        """
        L, step = self.lanes, self.next_B_step
        distant.as_pointer().prefetch(level=2)
        L.store(L.load(source.as_pointer()), to.as_pointer(), aligned=True)
        top = self.next_B + (2 * L.width - 1)
        below = self.f.select(left.equals(_COPY_DISTANCE + 1), top, distant + step)
        return [source + step, to + self.NV * L.width, below, left - 1]

    def _prefetch_C(self, row: Int, last: Int) -> Int:
        """Prefetch a row of C, one each step, so that the lines arrive one by one and before they are needed.

        Returns the next row, which stays the last one.
        """
        width = self.NV * self.lanes.width
        for offset in [*range(0, width, 64), width - 1]:
            (row + offset).as_pointer().prefetch(is_written=True)
        return self.f.select(row.equals(last), last, row + self.rsc)

    def _store_row(self, i: int, tile: list[list[Value]], adds: bool) -> None:
        """Store row i of the tile.  All loads come before the first store, since vectors may overlap."""
        row = self.c + self.rsc * i
        vectors = list(zip(self.vectors, [row + offset for offset in self.offsets], self.masks, strict=True))
        values = tile[i]
        if adds:
            old = [V.load(place, mask) for V, place, mask in vectors]
            values = [V.add(x, y) for (V, *_), x, y in zip(vectors, old, values, strict=True)]
        past = bool(self.how & NON_TEMPORAL)
        for (V, place, mask), value in zip(vectors, values, strict=True):
            V.store(value, place, mask, aligned=past, non_temporal=past)

    def _store(self, tile: list[list[Value]]) -> None:
        least = 1 if self.how & EDGE else self.MR
        for adds in self.f.branches(self.acc.is_nonzero()):
            put = functools.partial(self._store_row, tile=tile, adds=adds)
            self.f.unrolled(self.mr, self.MR, put, least=least)

    def _store_transposed(self, tile: list[list[Value]]) -> None:
        L = self.lanes
        columns = [column for v in range(self.NV) for column in L.transpose([row[v] for row in tile])]
        mask = None if self.MR == L.lanes else L.first(self.MR)

        def put(j: int, adds: bool) -> None:
            place = self.c + self.rsc * j
            value = L.add(L.load(place, mask), columns[j]) if adds else columns[j]
            L.store(value, place, mask)

        least = len(columns) - (L.lanes if self.how & MASKED else 0)
        for adds in self.f.branches(self.acc.is_nonzero()):
            self.f.unrolled(self.nr, len(columns), functools.partial(put, adds=adds), least=least)


def even_heights(MR: int) -> tuple[int, int, int, int]:
    """Heights that are compiled where one for each mr takes too long: even, from MR down to half of it."""
    lowest = max(2, -(-MR // 4) * 2)
    high, upper, lower, low = (max(MR - 2 * i, lowest) for i in range(4))
    return high, upper, lower, low


@inlined("a, rsa, csa, b, rsb, c, rsc, k, mr, nr, acc")
def tile(f: Kernel, SIZE: int, LANES: int, MR: int, NV: int, HOW: int) -> None:
    """C := A @ B or C += A @ B on one register tile; see the top of this file."""
    *_, mr, nr, _ = f.arguments

    def one(height: int, width: int, how: int) -> None:
        f.call(one_tile, (SIZE, LANES, height, width, how & ~(HEIGHTS | WIDTHS)), f.arguments)

    if HOW & HEIGHTS:
        compiled = even_heights(MR) if HOW & EDGE else range(1, MR + 1)
        least = {mr: min(height for height in compiled if height >= mr) for mr in range(1, MR + 1)}
        f.switch(mr, {rows: functools.partial(one, height, NV, HOW) for rows, height in least.items()})
    elif HOW & WIDTHS:
        whole = NV + 1  # the last vector ends with nr, and needs no mask
        cases = {width: functools.partial(one, MR, width, HOW) for width in range(1, NV + 1)}
        cases[whole] = functools.partial(one, MR, NV, HOW & ~MASKED)
        f.switch(f.select(nr.equals(NV * LANES), whole, (nr + (LANES - 1)) // LANES), cases)
    else:
        one(MR, NV, HOW)


def plain_tile(A, B, C, acc):
    """C := A @ B, or C += A @ B when ``acc`` is 1: the contract of ``tile`` in plain loops, for tests."""
    for i in range(A.shape[0]):
        for j in range(B.shape[1]):
            total = C.dtype.type(0)
            for p in range(A.shape[1]):
                total += A[i, p] * B[p, j]
            C[i, j] = C[i, j] + total if acc else total
