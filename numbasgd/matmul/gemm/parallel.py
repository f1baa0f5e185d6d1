"""How one product becomes tasks for several threads.

Three ways, and none of them changes a bit of the result.  A part of C is computed as it would be inside the
whole (``loops`` says why), so cutting C is free to follow the number of threads:

``partition_c``       a grid of parts of C, each a call of the same function of loops
``shared_packed_b``   ``packed``: for every block of B, all threads pack its panels, then all compute rows of C
``split_k``           C is small and k long: pieces of k, each with sums of its own, added in order.  How k is
                      split does not depend on the number of threads, one included.

All threads read one ``Task`` from the scratch memory of the thread that called, and each takes the parts that
it gets the numbers of.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import types

from numbasgd import rawmem, threads, workspace
from numbasgd.compile.options import jit
from numbasgd.matmul.gemm import plan
from numbasgd.matmul.gemm.microkernel import MASKED, tile
from numbasgd.matmul.gemm.operands import (
    BLOCKS,
    MATRIX,
    SIZES,
    Blocks,
    Matrix,
    Scratch,
    Sizes,
    compiled,
    named,
)
from numbasgd.matmul.gemm.packing import add_numbers
from numbasgd.matmul.gemm.plan import WORTH_SHARING

HEADER = 4096  # bytes at the start of scratch memory that hold the task
_BLOCK_ROWS = 1.5  # rows that take as long as what a block of rows costs beside its arithmetic
LARGE = 1_000_000  # vector multiply-adds from which on it is worth waking a worker that sleeps


class Grid(NamedTuple):
    """Parts of a product.  per_row : how many lie side by side.

    rows, columns, steps : of m, n and k in a part.  sums : where parts of k but the first put their sums.
    """

    per_row: int
    rows: int
    columns: int
    steps: int
    sums: int


class Task(NamedTuple):
    """A function of loops, what it is called for, and how that is cut.  panels : packed B, or 0."""

    function: int
    A: Matrix
    B: Matrix
    C: Matrix
    size: Sizes
    acc: int
    blocks: Blocks
    panels: int
    grid: Grid


_WORD = types.intp
TASK = types.NamedTuple(
    (_WORD, MATRIX, MATRIX, MATRIX, SIZES, _WORD, BLOCKS, _WORD, named(Grid)), Task
)  # fmt: skip
get_task = rawmem.make_get_tuple(TASK)
k_pieces = jit(plan.k_pieces)


def make_part(SIZE: int) -> Any:
    """part(task's address, number, scratch): what the pool calls for each part."""

    def part(address, number, scratch):
        task = get_task(address)
        grid, size, A, B, C = task.grid, task.size, task.A, task.B, task.C
        i = number // grid.per_row * grid.rows
        j = number % grid.per_row * grid.columns
        p = 0
        c, rsc = C.address, C.rs
        if grid.sums != 0:
            i = 0
            j = 0
            p = number * grid.steps
            if number > 0:
                c = grid.sums + (number - 1) * size.m * size.n * SIZE
                rsc = size.n * SIZE
        panels = task.panels
        if panels != 0:
            panels += j * size.k * SIZE
        return rawmem.call(
            task.function,
            (
                Matrix(A.address + i * A.rs + p * A.cs, A.rs, A.cs),
                Matrix(B.address + p * B.rs + j * B.cs, B.rs, B.cs),
                Matrix(c + i * rsc + j * SIZE, rsc, SIZE),
                Sizes(min(grid.rows, size.m - i), min(grid.columns, size.n - j), min(grid.steps, size.k - p)),
                task.acc,
                task.blocks,
                Scratch(scratch + HEADER, panels),
            ),
        )

    return compiled(part, SIZE)


@jit
def _even(total, parts, multiple):
    """The size of ``parts`` even parts, rounded up to a multiple."""
    return ((total + parts - 1) // parts + multiple - 1) // multiple * multiple


@jit
def _balanced(total, parts, n_threads, multiple):
    """Likewise, of a multiple, or of less if that would leave a thread little to do."""
    while multiple > 1:
        size = _even(total, parts, multiple)
        count = (total + size - 1) // size
        if (count + n_threads - 1) // n_threads * size * n_threads <= total + total // 32:
            return size
        multiple //= 2
    return _even(total, parts, 1)


@jit
def _even_rows(m, n_threads, MC, multiple):
    """Rows of a part, in whole multiples, with which the busiest thread is done first.

    Threads take the parts in order, so only the last one may be short.  A block of rows costs ``_BLOCK_ROWS``
    more: its pieces of A are packed and all of B is read once more.
    """
    best = m
    least = 0.0
    for rows in range(multiple, min(m, 2 * MC) + multiple, multiple):
        parts = (m + rows - 1) // rows
        last = m - (parts - 1) * rows
        mine = (parts + n_threads - 1) // n_threads
        most = mine * rows
        if parts % n_threads == 1 or n_threads == 1 or parts == 1:
            most += last - rows
        cost = most + _BLOCK_ROWS * mine * ((rows + MC - 1) // MC)
        if least == 0.0 or cost <= least:
            best = rows
            least = cost
    return best


@jit
def _is_even(vectors, most):
    """Whether so many vectors of columns are a whole number of panels of ``most`` or one fewer."""
    return vectors == 0 or vectors >= (vectors + most - 1) // most * (most - 1)


def make_zero(SIZE: int, LANES: int) -> Any:
    """zero(C, size): C := 0, the product for k = 0."""

    def zero(C, size):
        for i in range(size.m):
            for j in range(0, size.n, LANES):
                c = C.address + i * C.rs + j * SIZE
                tile(SIZE, LANES, 1, 1, MASKED, 0, 0, 0, 0, 0, c, 0, 0, 1, min(LANES, size.n - j), 0)

    return compiled(zero, SIZE, LANES)


def make_partition_c(SIZE: int, LANES: int) -> Any:
    """partition_c(task, cut, part, scratch, threads): a grid of parts of C, as the variant's ``Cut`` says."""

    def partition_c(task, cut, part, scratch, n_threads):
        m, n, k = task.size
        cost = m * n * k // LANES
        parts = n_threads if cost < LARGE else 4 * n_threads
        rows = m
        columns = n
        if cut.columns > 0:
            columns = _even(n, parts, cut.columns)
            while cut.even > 0 and not _is_even((n % columns + LANES - 1) // LANES, cut.even):
                columns += cut.columns
        elif cut.is_balanced > 0:
            rows = _balanced(m, parts, n_threads, cut.rows)
        elif cut.rows > 0:
            rows = _even(m, parts, cut.rows)
            while 0 < m % rows < cut.least:
                rows += cut.rows
        per_row = (n + columns - 1) // columns
        count = per_row * ((m + rows - 1) // rows)
        grid = Grid(per_row, rows, columns, k, 0)
        rawmem.put_tuple(scratch, _with_grid(task, grid))
        threads.run(part, scratch, count, n_threads, 1 if cost >= LARGE else 0, scratch)

    return compiled(partition_c, SIZE, LANES)


@jit(forceinline=True)
def _with_grid(task, grid):
    return Task(task.function, task.A, task.B, task.C, task.size, task.acc, task.blocks, task.panels, grid)


def make_split_k(SIZE: int, LANES: int, SUMS_AT: int) -> Any:
    """split_k(task, part, scratch, threads, pieces): each piece with its own sums, added in the order of k."""

    def split_k(task, part, scratch, n_threads, pieces):
        m, n, k = task.size
        steps = _even(k, pieces, 64)
        count = (k + steps - 1) // steps
        sums = scratch + HEADER + SUMS_AT
        rawmem.put_tuple(scratch, _with_grid(task, Grid(1, m, n, steps, sums)))
        cost = m * n * k // LANES
        threads.run(part, scratch, count, n_threads, 1 if cost >= LARGE else 0, scratch)
        for piece in range(1, count):
            for i in range(m):
                source = sums + ((piece - 1) * m + i) * n * SIZE
                add_numbers(SIZE, LANES, source, task.C.address + i * task.C.rs, n)

    return compiled(split_k, SIZE, LANES, SUMS_AT)


def make_shared_packed_b(SIZE: int, LANES: int, A_BYTES: int) -> Any:
    """shared_packed_b(task, packer, cut, part, scratch, threads): one packed B for all threads."""

    def shared_packed_b(task, packer, cut, part, scratch, n_threads):
        A, B, C, blocks = task.A, task.B, task.C, task.blocks
        m, n, k = task.size
        panels = scratch + HEADER + A_BYTES
        rows = _even_rows(m, n_threads, blocks.MC, cut.rows)
        count = (m + rows - 1) // rows
        for jc in range(0, n, blocks.NC):
            nc = min(blocks.NC, n - jc)
            columns = _even(nc, 2 * n_threads, 6 * LANES)
            per_row = (nc + columns - 1) // columns
            for p in range(0, k, blocks.KC):
                kc = min(blocks.KC, k - p)
                block_of_a = Matrix(A.address + p * A.cs, A.rs, A.cs)
                block_of_b = Matrix(B.address + p * B.rs + jc * B.cs, B.rs, B.cs)
                block_of_c = Matrix(C.address + jc * SIZE, C.rs, SIZE)
                grid = Grid(per_row, 1, columns, kc, 0)
                packing = Task(
                    packer, block_of_a, block_of_b, block_of_c, Sizes(1, nc, kc), 0, blocks, panels, grid
                )
                rawmem.put_tuple(scratch, packing)
                threads.run(part, scratch, per_row, n_threads, 1, scratch)
                acc = 1 if p > 0 else 0
                grid = Grid(1, rows, nc, kc, 0)
                multiplying = Task(
                    task.function,
                    block_of_a,
                    block_of_b,
                    block_of_c,
                    Sizes(m, nc, kc),
                    acc,
                    blocks,
                    panels,
                    grid,
                )
                rawmem.put_tuple(scratch, multiplying)
                threads.run(part, scratch, count, n_threads, 1, scratch)

    return compiled(shared_packed_b, SIZE, LANES, A_BYTES)


class Shared(NamedTuple):
    """What ``share`` is told beside the task: numbers of functions, how C is cut, most threads."""

    part: int
    packer: int
    n_threads: int


SHARED = named(Shared)


def make_share(gemm: plan.Gemm) -> Any:
    """share(task, cut, shared): a product as tasks, for one dtype.  Takes the scratch memory itself."""
    SIZE, LANES, A_BYTES = gemm.tiles.size, gemm.tiles.lanes, gemm.tiles.packed_a_bytes
    partition_c = make_partition_c(SIZE, LANES)
    split_k = make_split_k(SIZE, LANES, gemm.sums_at)
    shared_packed_b = make_shared_packed_b(SIZE, LANES, A_BYTES)

    def share(task, cut, shared):
        slot = workspace.take()
        scratch = workspace.scratch_of(slot)
        pieces = k_pieces(task.size.m, task.size.n, task.size.k, SIZE)
        if pieces > 1:
            split_k(task, shared.part, scratch, shared.n_threads, pieces)
        elif shared.packer != 0:
            shared_packed_b(task, shared.packer, cut, shared.part, scratch, shared.n_threads)
        else:
            partition_c(task, cut, shared.part, scratch, shared.n_threads)
        workspace.give_back(slot)

    return compiled(share, SIZE, LANES)


__all__ = [
    "HEADER",
    "SHARED",
    "TASK",
    "WORTH_SHARING",
    "Grid",
    "Shared",
    "Task",
    "make_part",
    "make_share",
    "make_zero",
]
