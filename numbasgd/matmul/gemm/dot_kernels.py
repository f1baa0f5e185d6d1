"""Dot products along k for a product with few columns: vectors lie along k, not along a row of ``out``.

With n smaller than a vector or two, the tiles of ``microkernel`` are mostly padding.  Here a tile of R rows
and N columns holds R * N vectors of partial sums; both A and the turned B are read a vector at a time, and
the lanes are added up once at the end:

    for i in range(R), j in range(N):    C[i, j] (+)= sum over p of A[i, p] * W[j, p],      W = B transposed

Lane l of an entry sums the p with p % LANES == l, in order, then a fixed tree adds the lanes: the same bits
whatever R is.  Addresses and strides in bytes, trusted.
"""

from __future__ import annotations

from llvmlite import ir
from numba.extending import intrinsic

from numbasgd.matmul.gemm.microkernel import NO_FMA
from numbasgd.simd.ir import BYTES, I64, Lanes, at, emitted, i64, is_literal, private_function

PADDED = 1  # rows of W are aligned and end in zeros up to a whole vector; without, their end is masked
_ROWS_A_BASE = 3


def emit_dots(module: ir.Module, size: int, lanes: int, R: int, N: int, how: int) -> ir.Function:
    """f(a, rsa, w, rsw, c, rsc, k, acc); N at most ``lanes``."""
    name = f"numbasgd_dots_{size}_{lanes}_{R}_{N}_{how}"
    if name in module.globals:
        return module.globals[name]
    f = private_function(module, name, 8)
    a, rsa, w, rsw, c, rsc, k, acc = f.args
    L = Lanes(size, lanes, not how & NO_FMA)
    b = ir.IRBuilder(f.append_basic_block("entry"))
    a, w, c = (b.inttoptr(address, BYTES) for address in (a, w, c))
    rows = [at(b, a, b.mul(rsa, i64(i))) for i in range(R)]
    bases = [at(b, w, b.mul(rsw, i64(j))) for j in range(0, N, _ROWS_A_BASE)]

    def step(p: ir.Value, sums: list, mask: ir.Value | None) -> list:
        """Add ``lanes`` steps of p to the sums."""
        of_A = [L.load(b, at(b, row, p), mask) for row in rows]
        added = []
        for j in range(N):
            place = at(b, at(b, bases[j // _ROWS_A_BASE], p), b.mul(rsw, i64(j % _ROWS_A_BASE)))
            is_padded = bool(how & PADDED)
            x = L.load(b, place, None if is_padded else mask, aligned=is_padded)
            added += [L.multiply_add(b, y, x, sums[j * R + i]) for i, y in enumerate(of_A)]
        return added

    whole = b.and_(k, i64(-lanes))
    entry, loop, done = b.block, f.append_basic_block("p"), f.append_basic_block("done")
    b.cbranch(b.icmp_signed(">", whole, i64(0)), loop, done)
    b.position_at_end(loop)
    p = b.phi(I64)
    sums = [b.phi(L.type) for _ in range(R * N)]
    added = step(b.mul(p, i64(size)), sums, None)
    following = b.add(p, i64(lanes))
    b.cbranch(b.icmp_signed("<", following, whole), loop, done)
    p.add_incoming(i64(0), entry)
    p.add_incoming(following, loop)
    for phi, value in zip(sums, added, strict=True):
        phi.add_incoming(L.zero, entry)
        phi.add_incoming(value, loop)
    b.position_at_end(done)
    sums = [L.either(b, (L.zero, entry), (value, loop)) for value in added]

    rest, tail, out = b.sub(k, whole), f.append_basic_block("tail"), f.append_basic_block("out")
    b.cbranch(b.icmp_signed(">", rest, i64(0)), tail, out)
    b.position_at_end(tail)
    added = step(b.mul(whole, i64(size)), sums, L.first_of(b, rest))
    b.branch(out)
    b.position_at_end(out)
    sums = [L.either(b, (x, done), (y, tail)) for x, y in zip(sums, added, strict=True)]

    totals = [L.sums(b, [sums[j * R + i] for j in range(N)]) for i in range(R)]
    with b.if_else(b.icmp_signed("!=", acc, i64(0))) as (adding, writing):
        for branch, adds in ((adding, True), (writing, False)):
            with branch:
                for i, total in enumerate(totals):
                    place = at(b, c, b.mul(rsc, i64(i)))
                    if adds:  # a load that is masked out would still wait for the store of the row before
                        total = b.fadd(L.load(b, place, L.first(N)), total)
                    L.store(b, total, place, L.first(N))
    b.ret_void()
    return f


@intrinsic(prefer_literal=True)
def dots(typingctx, SIZE, LANES, R, N, HOW, a, rsa, w, rsw, c, rsc, k, acc):
    """C := A @ W.T or C += A @ W.T on R rows of A and N rows of W."""
    if not is_literal(SIZE, LANES, R, N, HOW):
        return None
    return emitted((SIZE, LANES, R, N, HOW), 8, lambda b, v, args: b.call(emit_dots(b.module, *v), args))


def _emit_turn(module: ir.Module, size: int, lanes: int, N: int) -> ir.Function:
    """f(b, rsb, w, rsw, k): W[j, p] = B[p, j] for j < N <= lanes, 0 up to a whole vector of p."""
    name = f"numbasgd_turn_{size}_{lanes}_{N}"
    if name in module.globals:
        return module.globals[name]
    f = private_function(module, name, 5)
    source, rsb, w, rsw, k = f.args
    L = Lanes(size, lanes)
    b = ir.IRBuilder(f.append_basic_block("entry"))
    source, w = b.inttoptr(source, BYTES), b.inttoptr(w, BYTES)
    entry, loop, out = b.block, f.append_basic_block("p"), f.append_basic_block("out")
    b.cbranch(b.icmp_signed(">", k, i64(0)), loop, out)
    b.position_at_end(loop)
    p = b.phi(I64)
    p.add_incoming(i64(0), entry)
    rows = []
    for step in range(lanes):
        q = b.add(p, i64(step))
        mask = b.select(b.icmp_signed("<", q, k), L.first(N), L.first(0))
        rows.append(L.load(b, at(b, source, b.mul(q, rsb)), mask))
    turned = L.transpose(b, rows)
    for j in range(N):
        place = at(b, w, b.add(b.mul(rsw, i64(j)), b.mul(p, i64(size))))
        L.store(b, turned[j], place, aligned=True)
    following = b.add(p, i64(lanes))
    p.add_incoming(following, loop)
    b.cbranch(b.icmp_signed("<", following, k), loop, out)
    b.position_at_end(out)
    b.ret_void()
    return f


@intrinsic(prefer_literal=True)
def turn(typingctx, SIZE, LANES, N, source, rsb, w, rsw, k):
    """W := B.T for k rows and N columns of B, padded with zeros along k."""
    if not is_literal(SIZE, LANES, N):
        return None
    return emitted((SIZE, LANES, N), 5, lambda b, v, args: b.call(_emit_turn(b.module, *v), args))
