"""How one product becomes units of work for several threads.

Three ways, and none of them changes a bit of the result.  A part of out is computed as it would be inside
the whole (``packed`` says why), so cutting out is free to follow the number of threads:

``share_out``     a grid of parts of out, each a call of the same path
``share_panels``  ``packed``: for every block of B, all threads pack its panels, then all compute rows of out
``share_k``       out is small and k long: pieces of k, each with sums of its own, added in order.  How k is
                  cut does not depend on the number of threads, one included.

``job`` is (function, the arguments of a path less ``work``).
"""

from __future__ import annotations

from typing import Any

from numbasgd import rawmem, threads
from numbasgd.compile.options import jit
from numbasgd.matmul.gemm import tiles
from numbasgd.matmul.gemm.microkernel import MASKED, tile
from numbasgd.matmul.gemm.packing import add_numbers
from numbasgd.matmul.gemm.path import compiled

UNIT = 16  # byte offset in a table of the address of ``unit``
HEADER = 4096  # bytes at the start of a workspace that hold the description of shared work
WORTH_SHARING = 60_000  # vector multiply-adds below which starting together costs more than it gains
LARGE = 1_000_000  # and from which on it is worth waking a worker that sleeps


pieces_of_k = jit(tiles.pieces_of_k)


@jit
def unit(block, number, work):
    """Unit ``number`` of the work described at ``block``: a part of out, or a piece of k."""
    function = rawmem.read(block)
    pa = rawmem.read(block + 8)
    rsa = rawmem.read(block + 16)
    csa = rawmem.read(block + 24)
    pb = rawmem.read(block + 32)
    rsb = rawmem.read(block + 40)
    csb = rawmem.read(block + 48)
    pc = rawmem.read(block + 56)
    rsc = rawmem.read(block + 64)
    m = rawmem.read(block + 72)
    n = rawmem.read(block + 80)
    k = rawmem.read(block + 88)
    acc = rawmem.read(block + 96)
    panels = rawmem.read(block + 104)
    x = rawmem.read(block + 112)
    y = rawmem.read(block + 120)
    z = rawmem.read(block + 128)
    size = rawmem.read(block + 136)
    across = rawmem.read(block + 144)  # units beside each other
    rows = rawmem.read(block + 152)  # of a unit
    columns = rawmem.read(block + 160)
    steps = rawmem.read(block + 168)  # of k
    sums = rawmem.read(block + 176)  # where pieces of k other than the first put their sums, else 0
    i = number // across * rows
    j = number % across * columns
    p = 0
    if sums != 0:
        i = 0
        j = 0
        p = number * steps
        if number > 0:
            pc = sums + (number - 1) * m * n * size
            rsc = n * size
    if panels != 0:
        panels += j * k * size
    a = pa + i * rsa + p * csa
    b = pb + p * rsb + j * csb
    c = pc + i * rsc + j * size
    m = min(rows, m - i)
    n = min(columns, n - j)
    k = min(steps, k - p)
    return rawmem.call(
        function, (a, rsa, csa, b, rsb, csb, c, rsc, m, n, k, acc, work + HEADER, panels, x, y, z)
    )


@jit
def _describe(block, job, size, across, rows, columns, steps, sums):
    for value in job:
        rawmem.put(block, value)
        block += 8
    for value in (size, across, rows, columns, steps, sums):
        rawmem.put(block, value)
        block += 8


@jit
def _even(total, parts, multiple):
    """The size of ``parts`` even parts, rounded up to a multiple."""
    return ((total + parts - 1) // parts + multiple - 1) // multiple * multiple


@jit
def _balanced(total, parts, threads_):
    """Likewise, of a multiple of four, or less if that would leave somebody little to do."""
    for multiple in (4, 2):
        size = _even(total, parts, multiple)
        units = (total + size - 1) // size
        if (units + threads_ - 1) // threads_ * size * threads_ <= total + total // 32:
            return size
    return _even(total, parts, 1)


@jit
def _is_uneven(vectors, is_wide):
    """Whether so many vectors of columns are no whole number of panels of ``direct``."""
    return vectors == 1 or (is_wide and (vectors == 2 or vectors == 5))


def make_zero(SIZE: int, LANES: int) -> Any:
    """out := 0, the product for k = 0."""

    def zero(pc, rsc, m, n):
        for i in range(m):
            for j in range(0, n, LANES):
                c = pc + i * rsc + j * SIZE
                tile(SIZE, LANES, 1, 1, MASKED, 0, 0, 0, 0, 0, c, 0, 0, 1, min(LANES, n - j), 0)

    return compiled(zero, SIZE, LANES)


def make_share_out(SIZE: int, LANES: int) -> Any:
    """A grid of parts of out: strips of rows, or of columns where there are few rows."""
    DIRECT, FEW, TURNED, NARROW, WIDE = tiles.DIRECT, tiles.FEW, tiles.TURNED, tiles.NARROW, tiles.WIDE

    def share_out(job, path, unit_, work, threads_):
        m, n, k = job[9], job[10], job[11]
        cost = m * n * k // LANES
        parts = threads_ if cost < LARGE else 4 * threads_
        rows = m
        columns = n
        if FEW < path <= FEW + 8 or path > tiles.SIDEWAYS:
            columns = _even(n, parts, 4 * LANES)
        elif DIRECT + 2 <= path <= DIRECT + 4 and n > 2 * m:
            # What is left must cut evenly into panels of these paths, which are two vectors wide at least,
            # or three for DIRECT + 4.  The others count on their own number of columns.
            columns = _even(n, parts, 4 * LANES)
            while _is_uneven((n % columns + LANES - 1) // LANES, path == DIRECT + 4):
                columns += 4 * LANES
        elif path == NARROW or path == WIDE:
            rows = _even(m, parts, 8)
            while 0 < m % rows < 8:
                rows += 8
        else:
            is_long = TURNED < path <= TURNED + 16 or tiles.ACROSS < path <= tiles.SIDEWAYS
            rows = _even(m, parts, 2 * LANES) if is_long else _balanced(m, parts, threads_)
        across = (n + columns - 1) // columns
        units = across * ((m + rows - 1) // rows)
        _describe(work, job, SIZE, across, rows, columns, k, 0)
        threads.run(unit_, work, units, threads_, 1 if cost >= LARGE else 0, work)

    return compiled(share_out, SIZE, LANES)


def make_share_k(SIZE: int, LANES: int, SUMS_AT: int) -> Any:
    """Pieces of k, each with its own sums, which are added in the order of k."""

    def share_k(job, unit_, work, threads_, pieces):
        pc, rsc, m, n, k = job[7], job[8], job[9], job[10], job[11]
        steps = _even(k, pieces, 64)
        units = (k + steps - 1) // steps
        sums = work + HEADER + SUMS_AT
        _describe(work, job, SIZE, 1, m, n, steps, sums)
        cost = m * n * k // LANES
        threads.run(unit_, work, units, threads_, 1 if cost >= LARGE else 0, work)
        for piece in range(1, units):
            for i in range(m):
                source = sums + ((piece - 1) * m + i) * n * SIZE
                add_numbers(SIZE, LANES, source, pc + i * rsc, n)

    return compiled(share_k, SIZE, LANES, SUMS_AT)


def make_share_panels(SIZE: int, LANES: int, A_BYTES: int) -> Any:
    """``packed`` with one packed B for all threads."""

    def share_panels(job, pack, unit_, work, threads_):
        function, pa, rsa, csa, pb, rsb, csb, pc, rsc, m, n, k, acc, panels, x, y, z = job
        panels = work + HEADER + A_BYTES
        rounds = (m + threads_ * y - 1) // (threads_ * y)
        rows = _even(m, threads_ * rounds, 24)
        units = (m + rows - 1) // rows
        for jc in range(0, n, z):
            nc = min(z, n - jc)
            columns = _even(nc, 2 * threads_, 6 * LANES)
            across = (nc + columns - 1) // columns
            for p in range(0, k, x):
                kc = min(x, k - p)
                b = pb + p * rsb + jc * csb
                c = pc + jc * SIZE
                packing = (pack, 0, 0, 0, b, rsb, csb, 0, 0, 1, nc, kc, 0, panels, x, y, z)
                _describe(work, packing, SIZE, across, 1, columns, kc, 0)
                threads.run(unit_, work, across, threads_, 1, work)
                a = pa + p * csa
                adds = 1 if p > 0 else 0
                block = (function, a, rsa, csa, b, rsb, csb, c, rsc, m, nc, kc, adds, panels, x, y, z)
                _describe(work, block, SIZE, 1, rows, nc, kc, 0)
                threads.run(unit_, work, units, threads_, 1, work)

    return compiled(share_panels, SIZE, LANES, A_BYTES)


def make_share(of: tiles.Tiles, table: Any, function_of: Any) -> Any:
    """share(path, threads, pa, rsa, csa, pb, rsb, csb, pc, rsc, m, n, k, x, y, z) for one dtype."""
    SIZE, LANES, A_BYTES, PACKED, PANELS = of.size, of.lanes, of.a_bytes, tiles.PACKED, tiles.PANELS
    share_out = make_share_out(SIZE, LANES)
    share_k = make_share_k(SIZE, LANES, of.sums_at)
    share_panels = make_share_panels(SIZE, LANES, A_BYTES)

    def share(path, threads_, pa, rsa, csa, pb, rsb, csb, pc, rsc, m, n, k, x, y, z):
        job = (function_of(path), pa, rsa, csa, pb, rsb, csb, pc, rsc, m, n, k, 0, 0, x, y, z)
        unit_ = rawmem.read(table() + UNIT)
        slot = threads.take_workspace()
        work = threads.workspace_of(slot)
        pieces = pieces_of_k(m, n, k, SIZE)
        if pieces > 1:
            share_k(job, unit_, work, threads_, pieces)
        elif path == PACKED or path == PACKED + 1:
            share_panels(job, function_of(path - PACKED + PANELS), unit_, work, threads_)
        else:
            share_out(job, path, unit_, work, threads_)
        threads.give_workspace(slot)

    return compiled(share, SIZE, LANES)
