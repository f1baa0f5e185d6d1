"""Tiles of a product with few columns whose vectors lie across the rows of A, transposed as they are loaded.

With n smaller than a vector or two, a vector along a row of ``out`` is mostly padding.  Here a tile is LANES
rows of A, and its accumulators are the columns of C:

    for i in range(rows), j in range(N):    C[i, j] (+)= sum over p of A[i, p] * B[p, j]

A row gives 16 bytes at a time, G = 16 / SIZE steps of p, to its block of 16 bytes in one of G registers.
Transposed within the blocks, they are vectors along i, one for each p.  A row has its place in the register,
so the rows of block q are G q to G q + G - 1.  Each entry is summed along p in order.  Addresses and strides
in bytes, trusted.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir
from numba.extending import intrinsic

from numbasgd.matmul.gemm.microkernel import NO_FMA
from numbasgd.simd.ir import BYTES, I32, I64, Lanes, at, emitted, i64, is_literal, private_function

PARTIAL_ROWS = 1 << 20  # fewer rows than a vector has lanes, at run time
COLUMN_MAJOR_B = 1 << 21  # columns of B are contiguous: rsb is how far apart they are
COLUMN_MAJOR_C = 1 << 22  # a column of the tile is contiguous in C: rsc is how far apart they are
_BLOCK = 16  # bytes
_ROWS_A_BASE = 3


def _together(b: ir.IRBuilder, parts: Sequence[ir.Value]) -> ir.Value:
    """Vectors, one behind the other, as one."""
    parts = list(parts)
    while len(parts) > 1:
        count = parts[0].type.count
        order = ir.Constant(ir.VectorType(I32, 2 * count), list(range(2 * count)))
        parts = [b.shuffle_vector(x, y, order) for x, y in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def _part(b: ir.IRBuilder, vector: ir.Value, start: int, count: int) -> ir.Value:
    """Some neighbouring lanes of a vector."""
    order = ir.Constant(ir.VectorType(I32, count), list(range(start, start + count)))
    return b.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), order)


def _within_blocks(b: ir.IRBuilder, L: Lanes, rows: Sequence[ir.Value]) -> list[ir.Value]:
    """G vectors of blocks of G lanes, transposed within the blocks: its own inverse."""
    G, lanes = len(rows), range(L.lanes)
    rows = list(rows)

    def mixed(x: ir.Value, y: ir.Value, width: int, is_high: bool) -> ir.Value:
        """The low or high half of each block of both, ``width`` lanes of x and of y in turn."""
        order = []
        for lane in lanes:
            block, place = lane // G * G, lane % G
            group, within = divmod(place, width)
            source = block + is_high * (G // 2) + group // 2 * width + within
            order.append(source + (L.lanes if group % 2 else 0))
        return b.shuffle_vector(x, y, L.order(order))

    if G == 2:
        return [mixed(rows[0], rows[1], 1, high) for high in (False, True)]
    pairs = [mixed(rows[r], rows[r + 1], 1, high) for r in (0, 2) for high in (False, True)]
    return [mixed(pairs[c // 2], pairs[2 + c // 2], 2, bool(c % 2)) for c in range(4)]


def emit_across(module: ir.Module, size: int, lanes: int, N: int, how: int) -> ir.Function:
    """f(a, rsa, pb, rsb, c, rsc, rows, k, acc)."""
    name = f"numbasgd_across_{size}_{lanes}_{N}_{how}"
    if name in module.globals:
        return module.globals[name]
    f = private_function(module, name, 9)
    a, rsa, pb, rsb, c, rsc, n_rows, k, acc = f.args
    G = _BLOCK // size
    L, block = Lanes(size, lanes, not how & NO_FMA), Lanes(size, G)
    b = ir.IRBuilder(f.append_basic_block("entry"))
    a, pb, c = (b.inttoptr(address, BYTES) for address in (a, pb, c))
    if how & PARTIAL_ROWS:
        last = b.sub(n_rows, i64(1))
        row = [
            at(b, a, b.mul(rsa, b.select(b.icmp_signed("<", i64(i), n_rows), i64(i), last)))
            for i in range(lanes)
        ]
    else:
        bases = [at(b, a, b.mul(rsa, i64(i))) for i in range(0, lanes, _ROWS_A_BASE)]

    def place(i: int, p: ir.Value) -> ir.Value:
        if how & PARTIAL_ROWS:
            return at(b, row[i], p)
        return at(b, at(b, bases[i // _ROWS_A_BASE], p), b.mul(rsa, i64(i % _ROWS_A_BASE)))

    def of_A(p: ir.Value, mask: ir.Value | None) -> list[ir.Value]:
        """Vectors along i for G steps from byte p on."""
        given = []
        for r in range(G):
            blocks = [block.load(b, place(q * G + r, p), mask) for q in range(lanes // G)]
            given.append(_together(b, blocks))
        return _within_blocks(b, L, given)

    along = [at(b, pb, b.mul(rsb, i64(j))) for j in range(0, N, _ROWS_A_BASE)] if how & COLUMN_MAJOR_B else []

    def step(x: ir.Value, p: ir.Value, of_B: ir.Value, g: int, sums: Sequence[ir.Value]) -> list[ir.Value]:
        """Add step g of the group at byte p of a row of A and, without COLUMN_MAJOR_B, at row of_B."""
        added = []
        for j, total in enumerate(sums):
            if how & COLUMN_MAJOR_B:
                start = at(b, at(b, along[j // _ROWS_A_BASE], p), g * size)
                number = at(b, start, b.mul(rsb, i64(j % _ROWS_A_BASE)))
            else:
                number = at(b, at(b, of_B, b.mul(rsb, i64(g))), j * size)
            added.append(L.multiply_add(b, x, L.spread(b, number), total))
        return added

    whole = b.and_(k, i64(-G))
    entry, loop, done = b.block, f.append_basic_block("p"), f.append_basic_block("done")
    b.cbranch(b.icmp_signed(">", whole, i64(0)), loop, done)
    b.position_at_end(loop)
    p, of_B = b.phi(I64), b.phi(BYTES)
    sums = [b.phi(L.type) for _ in range(N)]
    added: list[ir.Value] = list(sums)
    of_row = b.mul(p, i64(size))
    for g, x in enumerate(of_A(of_row, None)):
        added = step(x, of_row, of_B, g, added)
    following = b.add(p, i64(G))
    next_B = at(b, of_B, b.mul(rsb, i64(G)))
    b.cbranch(b.icmp_signed("<", following, whole), loop, done)
    for phi, first, later in ((p, i64(0), following), (of_B, pb, next_B)):
        phi.add_incoming(first, entry)
        phi.add_incoming(later, loop)
    for phi, later in zip(sums, added, strict=True):
        phi.add_incoming(L.zero, entry)
        phi.add_incoming(later, loop)
    b.position_at_end(done)
    sums = [L.either(b, (L.zero, entry), (later, loop)) for later in added]

    rest = b.sub(k, whole)
    out = f.append_basic_block("out")
    ways = [(b.block, sums)]
    tail = f.append_basic_block("tail")
    b.cbranch(b.icmp_signed(">", rest, i64(0)), tail, out)
    b.position_at_end(tail)
    of_row = b.mul(whole, i64(size))
    vectors = of_A(of_row, block.first_of(b, rest))
    of_B = at(b, pb, b.mul(rsb, whole))
    for g in range(G - 1):
        sums = step(vectors[g], of_row, of_B, g, sums)
        ways.append((b.block, sums))
        if g == G - 2:
            b.branch(out)
        else:
            more = f.append_basic_block(f"tail{g + 1}")
            b.cbranch(b.icmp_signed(">", rest, i64(g + 1)), more, out)
            b.position_at_end(more)
    b.position_at_end(out)
    sums = [L.either(b, *((way[j], at_end) for at_end, way in ways)) for j in range(N)]
    turned = []  # groups of G columns; as many registers as there are sums
    if not how & COLUMN_MAJOR_C:
        for j in range(0, N, G):
            turned.append(_within_blocks(b, L, sums[j : j + G] + [L.zero] * max(0, j + G - N)))

    def put(V: Lanes, value: ir.Value, place: ir.Value, mask: ir.Value | None, adds: bool) -> None:
        if adds:  # a load that is masked out would still wait for the store of the row before
            value = b.fadd(V.load(b, place, mask), value)
        V.store(b, value, place, mask)

    with b.if_else(b.icmp_signed("!=", acc, i64(0))) as (adding, writing):
        for branch, adds in ((adding, True), (writing, False)):
            with branch:
                if how & COLUMN_MAJOR_C:
                    mask = L.first_of(b, n_rows) if how & PARTIAL_ROWS else None
                    for j, total in enumerate(sums):
                        put(L, total, at(b, c, b.mul(rsc, i64(j))), mask, adds)
                    continue
                end = f.append_basic_block("end")
                for i in range(lanes):
                    for j, group in zip(range(0, N, G), turned, strict=True):
                        mask = block.first(N - j) if j + G > N else None
                        there = at(b, c, b.add(b.mul(rsc, i64(i)), i64(j * size)))
                        put(block, _part(b, group[i % G], i // G * G, G), there, mask, adds)
                    if how & PARTIAL_ROWS and i + 1 < lanes:
                        following = f.append_basic_block("row")
                        b.cbranch(b.icmp_signed(">", n_rows, i64(i + 1)), following, end)
                        b.position_at_end(following)
                b.branch(end)
                b.position_at_end(end)
    b.ret_void()
    return f


@intrinsic(prefer_literal=True)
def across(typingctx, SIZE, LANES, N, HOW, a, rsa, pb, rsb, c, rsc, rows, k, acc):
    """C := A @ B or C += A @ B on ``rows`` rows of A, all LANES of them without ``PARTIAL_ROWS``."""
    if not is_literal(SIZE, LANES, N, HOW):
        return None
    return emitted((SIZE, LANES, N, HOW), 9, lambda b, v, args: b.call(emit_across(b.module, *v), args))
