"""The micro-kernel: a tile of ``out`` held in vector registers while k passes by.

    for i in range(mr), j in range(nr):    C[i, j] (+)= sum over p of A[i, p] * B[p, j]

                  NV vectors of ``lanes``                       A is read a number at a time and spread over
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

from llvmlite import ir
from numba.extending import intrinsic

from numbasgd.simd.ir import (
    BYTES,
    I64,
    Lanes,
    at,
    emitted,
    i64,
    is_literal,
    prefetch,
    private_function,
    unrelated,
)

PACKED_A = 1  # A is a panel: MR numbers a step, one step after the other; rsa and csa are not strides
PACKED_B = 2  # B is a panel, aligned, NV * LANES numbers a step, padded; rsb is not looked at
HEIGHTS = 4  # mr may be anything from 1 to MR, with a kernel for each; without, it is MR
MASKED = 8  # nr may end inside the last vector, which is loaded and stored under a mask
OVERLAP = 16  # nr may end inside the last vector, which then lies over the one before: nr >= LANES
EDGE = 32  # mr and nr may be anything: MR rows are computed (A must hold them), mr by nr entries stored
PREFETCH_C = 64  # the tile of C is prefetched, a row every step of p
NON_TEMPORAL = 128  # C is written by non-temporal stores; its rows are aligned to a vector; never with acc
TRANSPOSED_C = 256  # C[j, i] is stored at c + j * rsc + i * SIZE, with nr as for MASKED; MR <= LANES
TWO_CHAINS = 512  # two chains for each entry, even p and odd p, for tiles too small to hide latency; k even
PREFETCH_RIGHT = 1024  # the columns of B to the right of this tile are prefetched
WIDTHS = 2048  # nr may be anything from 1 to NV * LANES, with a kernel for each number of vectors; MASKED
NO_FMA = 4096  # the machine has no fused multiply-add
HALF = 8192  # the last vector has LANES / 2 lanes, which cost half where vectors are computed in two halves
PREFETCH_NEXT_B = 16384  # with PACKED_A: a line at rsa, any address, csa bytes further at each p, is prefetched

_ROWS_A_BASE = 3  # rows of A reached from one address register: p, p + rsa, p + 2 rsa


def emit_tile(module: ir.Module, size: int, lanes: int, MR: int, NV: int, how: int) -> ir.Function:
    """f(a, rsa, csa, b, rsb, c, rsc, k, mr, nr, acc) for one height; acc 1 adds to C, 0 overwrites it."""
    name = f"numbasgd_tile_{size}_{lanes}_{MR}_{NV}_{how}"
    if name in module.globals:
        return module.globals[name]
    return _Tile(module, name, size, lanes, MR, NV, how).function


class _Tile:
    """One micro-kernel being written down."""

    def __init__(self, module: ir.Module, name: str, size: int, lanes: int, MR: int, NV: int, how: int) -> None:
        self.lanes, self.MR, self.NV, self.how = Lanes(size, lanes, not how & NO_FMA), MR, NV, how
        self.steps = 2 if how & TWO_CHAINS else 1
        self.function = private_function(module, name, 11)
        a, self.rsa, self.csa, b_, self.rsb, c, self.rsc, self.k, self.mr, self.nr, self.acc = (
            self.function.args
        )
        self.b = b = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.a, self.B, self.c = (b.inttoptr(address, BYTES) for address in (a, b_, c))
        self.coming, self.coming_step = self.rsa, self.csa
        if how & PACKED_A:
            self.rsa, self.csa = i64(size), i64(MR * size)
        if how & PACKED_B:
            self.rsb = i64(NV * self.lanes.width)
        self.vectors = [self.lanes] * NV
        if how & HALF:
            self.vectors[-1] = Lanes(size, lanes // 2, not how & NO_FMA, is_half=True)
        self._find_columns()
        tile = self._sum_over_k()
        if how & TRANSPOSED_C:
            self._store_turned(tile)
        else:
            self._store(tile)
        b.ret_void()

    def _find_columns(self) -> None:
        """Where each vector of columns starts, in bytes, and which of its lanes count."""
        L, NV, b = self.lanes, self.NV, self.b
        self.offsets: list[ir.Value] = [i64(v * L.width) for v in range(NV)]
        self.masks: list[ir.Value | None] = [None] * NV
        if self.how & EDGE:
            self.masks = [L.first_of(b, b.sub(self.nr, i64(v * L.lanes))) for v in range(NV)]
        elif self.how & MASKED:
            self.masks[-1] = self.vectors[-1].first_of(b, b.sub(self.nr, i64((NV - 1) * L.lanes)))
        elif self.how & OVERLAP:
            self.offsets[-1] = b.mul(b.sub(self.nr, i64(L.lanes)), i64(L.size))

    def _sum_over_k(self) -> list[list[ir.Value]]:
        """The loop over p; returns the tile, MR rows of NV vectors."""
        b, f, steps = self.b, self.function, self.steps
        entry, loop, done = b.block, f.append_basic_block("p"), f.append_basic_block("done")
        bases = [self.a]
        if not self.how & PACKED_A:
            group = b.mul(self.rsa, i64(_ROWS_A_BASE))
            for _ in range(_ROWS_A_BASE, self.MR, _ROWS_A_BASE):
                bases.append(at(b, bases[-1], group))
            bases = [unrelated(b, base) for base in bases]
        b.cbranch(b.icmp_signed(">", self.k, i64(0)), loop, done)

        b.position_at_end(loop)
        left, pb = b.phi(I64), b.phi(BYTES)
        pas = [b.phi(BYTES) for _ in bases]
        acc = [[b.phi(V.type) for V in self.vectors] for _ in range(self.MR * steps)]
        coming = b.phi(I64) if self.how & PREFETCH_NEXT_B else None
        ahead = self._spread_prefetch(entry) if self.how & PREFETCH_C else None
        if coming is not None:
            prefetch(b, b.inttoptr(coming, BYTES))
        new = [list(row) for row in acc]
        for step in range(steps):
            row_of_B = at(b, pb, b.mul(self.rsb, i64(step)))
            vectors = [self._load_B(row_of_B, v) for v in range(self.NV)]
            for i in range(self.MR):
                x = self._spread_A(pas, i, step)
                r = i + step * self.MR
                for v, V in enumerate(self.vectors):
                    y = x if V is self.vectors[0] else b.shuffle_vector(x, x, V.order(range(V.lanes)))
                    new[r][v] = V.multiply_add(b, y, vectors[v], new[r][v])
        after = b.sub(left, i64(steps))
        next_pas = [at(b, p, b.mul(self.csa, i64(steps))) for p in pas]
        next_pb = at(b, pb, b.mul(self.rsb, i64(steps)))
        if coming is not None:
            coming.add_incoming(self.coming, entry)
            coming.add_incoming(b.add(coming, self.coming_step), loop)
        b.cbranch(b.icmp_signed(">", after, i64(0)), loop, done)

        for phi, start, following in [(left, self.k, after), (pb, self.B, next_pb)] + list(
            zip(pas, bases, next_pas, strict=True)
        ):
            phi.add_incoming(start, entry)
            phi.add_incoming(following, loop)
        if ahead is not None:
            ahead[0].add_incoming(ahead[1], loop)
        b.position_at_end(done)
        result = []
        for old_row, new_row in zip(acc, new, strict=True):
            row = []
            for phi, value in zip(old_row, new_row, strict=True):
                zero = ir.Constant(phi.type, [0.0] * phi.type.count)
                phi.add_incoming(zero, entry)
                phi.add_incoming(value, loop)
                total = b.phi(phi.type)
                total.add_incoming(zero, entry)
                total.add_incoming(value, loop)
                row.append(total)
            result.append(row)
        if steps == 1:
            return result
        return [
            [b.fadd(x, y) for x, y in zip(result[i], result[i + self.MR], strict=True)] for i in range(self.MR)
        ]

    def _load_B(self, row: ir.Value, v: int) -> ir.Value:
        pointer = at(self.b, row, self.offsets[v])
        if self.how & PREFETCH_RIGHT:
            prefetch(self.b, at(self.b, pointer, self.NV * self.lanes.width))
        is_packed = bool(self.how & PACKED_B)
        mask = None if is_packed else self.masks[v]
        return self.vectors[v].load(self.b, pointer, mask, aligned=is_packed)

    def _spread_A(self, pas: list[ir.Value], i: int, step: int) -> ir.Value:
        """A[i, p + step] in every lane."""
        b, L = self.b, self.vectors[0]
        if self.how & PACKED_A:
            return L.spread(b, at(b, pas[0], (step * self.MR + i) * L.size))
        base, times = pas[i // _ROWS_A_BASE], i % _ROWS_A_BASE
        if step:
            base = at(b, base, b.mul(self.csa, i64(step)))
        if self.NV == 1:  # used once: the multiply-add itself can spread it
            return L.spread(b, at(b, base, b.mul(self.rsa, i64(times))))
        return L.spread_at(b, base, self.rsa, times)

    def _spread_prefetch(self, entry: ir.Block) -> tuple[ir.PhiInstr, ir.Value]:
        """Prefetch one row of C a step, so that the lines arrive spread out and before they are needed.

        The two values that this needs before the loop are made in ``entry``, ahead of its branch.
        """
        b, L = self.b, self.lanes
        with b.goto_block(entry):
            last = b.add(b.ptrtoint(self.c, I64), b.mul(self.rsc, i64(self.MR - 1)))
            start = b.ptrtoint(self.c, I64)
        row = b.phi(I64)
        row.add_incoming(start, entry)
        for offset in [*range(0, self.NV * L.width, 64), self.NV * L.width - 1]:
            prefetch(b, b.inttoptr(b.add(row, i64(offset)), BYTES), is_written=True)
        is_last = b.icmp_signed("==", row, last)
        return row, b.select(is_last, last, b.add(row, self.rsc))

    def _row(self, i: int, tile: list[list[ir.Value]], adds: bool) -> None:
        """Store row i of the tile.  All loads come before the first store, since vectors may overlap."""
        b, vectors = self.b, self.vectors
        row = at(b, self.c, b.mul(self.rsc, i64(i)))
        places = [at(b, row, offset) for offset in self.offsets]
        values = tile[i]
        if adds:
            old = [V.load(b, p, mask) for V, p, mask in zip(vectors, places, self.masks, strict=True)]
            values = [b.fadd(x, y) for x, y in zip(old, values, strict=True)]
        past = bool(self.how & NON_TEMPORAL)
        for V, value, place, mask in zip(vectors, values, places, self.masks, strict=True):
            V.store(b, value, place, mask, aligned=past, past_cache=past)

    def _store(self, tile: list[list[ir.Value]]) -> None:
        b = self.b
        with b.if_else(b.icmp_signed("!=", self.acc, i64(0))) as (adding, writing):
            for branch, adds in ((adding, True), (writing, False)):
                with branch:
                    end = self.function.append_basic_block("end")
                    for i in range(self.MR):
                        self._row(i, tile, adds)
                        if self.how & EDGE and i + 1 < self.MR:
                            following = self.function.append_basic_block("row")
                            b.cbranch(b.icmp_signed(">", self.mr, i64(i + 1)), following, end)
                            b.position_at_end(following)
                    b.branch(end)
                    b.position_at_end(end)

    def _store_turned(self, tile: list[list[ir.Value]]) -> None:
        b, L = self.b, self.lanes
        turned = [L.transpose(b, [row[v] for row in tile]) for v in range(self.NV)]
        columns = [column for square in turned for column in square]
        mask = None if self.MR == L.lanes else L.first(self.MR)
        whole = len(columns) - (L.lanes if self.how & MASKED else 0)
        with b.if_else(b.icmp_signed("!=", self.acc, i64(0))) as (adding, writing):
            for branch, adds in ((adding, True), (writing, False)):
                with branch:
                    end = self.function.append_basic_block("end")
                    for j, column in enumerate(columns):
                        if j >= whole:
                            following = self.function.append_basic_block("column")
                            b.cbranch(b.icmp_signed(">", self.nr, i64(j)), following, end)
                            b.position_at_end(following)
                        place = at(b, self.c, b.mul(self.rsc, i64(j)))
                        if adds:
                            column = b.fadd(L.load(b, place, mask), column)
                        L.store(b, column, place, mask)
                    b.branch(end)
                    b.position_at_end(end)


@intrinsic(prefer_literal=True)
def tile(typingctx, SIZE, LANES, MR, NV, HOW, a, rsa, csa, b, rsb, c, rsc, k, mr, nr, acc):
    """C := A @ B or C += A @ B on one register tile; see the top of this file."""
    if not is_literal(SIZE, LANES, MR, NV, HOW):
        return None

    def emit(builder: ir.IRBuilder, values: list[int], args: list[ir.Value]) -> None:
        size, lanes, rows, nv, how = values
        if how & HEIGHTS:
            kernels = [(height, height, nv) for height in range(1, rows + 1)]
            chosen = args[8]
        elif how & WIDTHS:
            kernels = [(width, rows, width) for width in range(1, nv + 1)]
            chosen = builder.sdiv(builder.add(args[9], i64(lanes - 1)), i64(lanes))
            is_whole = builder.icmp_signed("==", args[9], i64(nv * lanes))
            chosen = builder.select(is_whole, i64(nv + 1), chosen)
            kernels.append((nv + 1, rows, nv))
        else:
            builder.call(emit_tile(builder.module, size, lanes, rows, nv, how), args)
            return
        end = builder.append_basic_block("end")
        switch = builder.switch(chosen, end)
        for case, height, width in kernels:
            block = builder.append_basic_block(f"case{case}")
            switch.add_case(i64(case), block)
            builder.position_at_end(block)
            flags = how & ~(HEIGHTS | WIDTHS | (MASKED if case > nv and how & WIDTHS else 0))
            one = emit_tile(builder.module, size, lanes, height, width, flags)
            builder.call(one, args)
            builder.branch(end)
        builder.position_at_end(end)

    return emitted((SIZE, LANES, MR, NV, HOW), 11, emit)


def plain_tile(A, B, C, acc):
    """C := A @ B, or C += A @ B when ``acc`` is 1: the contract of ``tile`` in plain loops, for tests."""
    for i in range(A.shape[0]):
        for j in range(B.shape[1]):
            total = C.dtype.type(0)
            for p in range(A.shape[1]):
                total += A[i, p] * B[p, j]
            C[i, j] = C[i, j] + total if acc else total
