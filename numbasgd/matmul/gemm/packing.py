"""Packing: a block of a matrix copied into panels that a micro-kernel walks through without a jump.

A panel holds ``width`` numbers of every step p, one step after the other, wherever they came from:

    panel[p * width + i] = source at  i * stride_i + p * stride_p,     i < w <= width, p < k

For A, i counts rows and p columns; for B, i counts columns and p rows.  So one of three copies is always
right: ``i`` contiguous (rows are copied), ``p`` contiguous (squares of ``lanes`` by ``lanes`` numbers are
transposed in registers), or neither (a number at a time).  No number outside the block is read.  Entries
from w on are filled with something harmless, which no kernel stores.

A panel takes ``width * k`` numbers, and up to ``lanes`` numbers after its end are overwritten.
"""

from __future__ import annotations

from numbasgd.simd.ir import Int
from numbasgd.simd.kernel import Kernel, kernel

_LINES_AHEAD = 4  # cache lines prefetched ahead along a row
_ROWS_AHEAD = 16  # rows prefetched ahead when rows are copied


@kernel("*source, stride_p, *panel, w, k")
def pack_copy(f: Kernel, SIZE: int, LANES: int, WIDTH: int) -> None:
    """Fill a panel from k rows of w contiguous numbers, padded with 0."""
    source, stride, panel, w, k = f.arguments
    L = f.lanes(SIZE, LANES)
    vectors = range(-(-WIDTH // LANES))
    masks = [L.first_of(w - v * LANES) for v in vectors]
    ahead = stride * _ROWS_AHEAD

    def step(p: Int) -> None:
        row = source + p * stride
        to = panel + p * (WIDTH * SIZE)
        for v in vectors:
            (row + ahead + v * L.width).prefetch()
        for v in vectors:
            L.store(L.load(row + v * L.width, masks[v]), to + v * L.width, aligned=WIDTH % LANES == 0)

    f.loop(0, k, 1, step)


@kernel("*source, stride_i, *panel, w, k")
def pack_transpose(f: Kernel, SIZE: int, LANES: int, WIDTH: int) -> None:
    """Fill a panel from w rows that are contiguous along p, LANES steps of p at a time."""
    source, stride, panel, w, k = f.arguments
    L = f.lanes(SIZE, LANES)
    last = w - 1  # rows from w on repeat it
    rows = [source + stride * f.select(w > i, i, last) for i in range(WIDTH)]

    def step(p: Int, rest: Int | None) -> None:
        offset, mask = p * SIZE, None if rest is None else L.first_of(rest)
        if rest is None:
            for row in rows:
                (row + offset + _LINES_AHEAD * 64).prefetch()
        loaded = [L.load(row + offset, mask) for row in rows]
        squares = [L.transpose(loaded[i : i + LANES]) for i in range(0, WIDTH, LANES)]

        def put(q: int) -> None:
            to = panel + (p + q) * (WIDTH * SIZE)
            for number, square in enumerate(squares):
                L.store(square[q], to + number * L.width)

        if rest is not None:
            f.unrolled(rest, LANES, put)
        else:
            for q in range(LANES):
                put(q)

    f.loop_and_tail(k, LANES, step)


@kernel("source, stride_i, stride_p, panel, w, k")
def pack_gather(f: Kernel, SIZE: int, WIDTH: int) -> None:
    """Fill a panel from numbers at any distance.  The padding keeps what the panel held."""
    source, stride_i, stride_p, panel, w, k = f.arguments
    L = f.lanes(SIZE, 1)

    def step(p: Int) -> None:
        def number(i: Int) -> None:
            there = source + (i * stride_i + p * stride_p)
            to = panel + (i + p * WIDTH) * SIZE
            L.store_number(L.load_number(there.as_pointer()), to.as_pointer())

        f.loop(0, w, 1, number)

    f.loop(0, k, 1, step)


@kernel("*source, *to, count")
def add_numbers(f: Kernel, SIZE: int, LANES: int) -> None:
    """to[i] += source[i] for i < count, both contiguous."""
    source, to, count = f.arguments
    L = f.lanes(SIZE, LANES)

    def step(i: Int, rest: Int | None) -> None:
        mask = None if rest is None else L.first_of(rest)
        x, y = (pointer + i * SIZE for pointer in (source, to))
        L.store(L.add(L.load(y, mask), L.load(x, mask)), y, mask)

    f.loop_and_tail(count, LANES, step)
