"""Kernels that do one thing only, as fast as the machine can: multiply-add, read, copy, add arrays, wait.

Each is made for one number of lanes by a factory, is trusted with its arguments, and returns something that
depends on all of its work, so that nothing can be left out.  They are compiled without leave to reorder sums:
a loop runs with the accumulators that are written here, and every pass over an array really is one.

Lengths are multiples of ``UNROLL * lanes``; arrays are C-ordered, and begin at a page where it says so.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from numbasgd.compile import numba_private
from numbasgd.compile.options import jit
from numbasgd.machine import cpu
from numbasgd.simd.vector import Vector, _pointer, _splat, _vector, add, fill, load, mul, prefetch, store, total

UNROLL = 8  # vectors a step of a loop over memory: as many sums run side by side
AHEAD = 1024  # numbers by which a read is prefetched ahead, where that is done
LINE = 8  # 64-bit numbers in a cache line of 64 bytes


def n_chains() -> int:
    """Independent chains of multiply-adds: enough for the units' latency, few enough for the registers.

    A core that starts 2 a cycle and needs 4 cycles for each wants 8 under way, one that starts 4 wants 16.
    Two registers more hold the factor and the summand.
    """
    return 24 if cpu.target().registers >= 32 else 12


def has_fma() -> bool:
    """Whether the code that Numba compiles here multiplies and adds in one instruction."""
    return cpu.target().has_fma


@intrinsic(prefer_literal=True)
def _chains(
    typingctx: Any, LANES: Any, CHAINS: Any, FUSED: Any, n: Any, x: Any, factor: Any, summand: Any
) -> Any:
    """``n`` times ``v = v * factor + summand`` in CHAINS registers that all begin as ``x``; their sum."""
    if not all(isinstance(literal, types.IntegerLiteral) for literal in (LANES, CHAINS, FUSED)):
        return None
    vec = Vector(x, LANES.literal_value)

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        v = _vector(vec)
        begin, m, c = (_splat(b, v, value) for value in args[4:])
        name = f"llvm.fma.v{vec.lanes}f{vec.dtype.bitwidth}"
        fused = numba_private.get_or_insert_function(b.module, ir.FunctionType(v, [v, v, v]), name)
        entry, loop, done = b.block, b.append_basic_block("chains"), b.append_basic_block("done")
        b.branch(loop)
        b.position_at_end(loop)
        left = b.phi(args[3].type)
        chains = [b.phi(v) for _ in range(CHAINS.literal_value)]
        if FUSED.literal_value:
            following = [b.call(fused, [chain, m, c]) for chain in chains]
        else:
            following = [b.fadd(b.fmul(chain, m), c) for chain in chains]
        after = b.sub(left, ir.Constant(left.type, 1))
        left.add_incoming(args[3], entry)
        left.add_incoming(after, loop)
        for chain, value in zip(chains, following, strict=True):
            chain.add_incoming(begin, entry)
            chain.add_incoming(value, loop)
        b.cbranch(b.icmp_signed(">", after, ir.Constant(left.type, 0)), loop, done)
        b.position_at_end(done)
        result = following[0]
        for value in following[1:]:
            result = b.fadd(result, value)
        return result

    return vec(LANES, CHAINS, FUSED, types.intp, x, x, x), codegen


@functools.cache
def make_multiply_add(lanes: int, chains: int, fused: bool) -> Any:
    """Register-only multiply-adds: 2 * lanes * chains * n operations."""
    FUSED = int(fused)

    def multiply_add(n, x, factor, summand):
        """Return the sum of all chains; n > 0, and x, factor, summand of the dtype to be measured."""
        return total(_chains(lanes, chains, FUSED, n, x, factor, summand))

    return jit(multiply_add, variant=f"{lanes}_{chains}_{FUSED}", fastmath=False)


@intrinsic
def _store_past_cache(typingctx: Any, array: Any, offset: Any, value: Any) -> Any:
    """Write a vector to memory without reading its cache line first; aligned to the vector's size."""

    def codegen(context: Any, b: ir.IRBuilder, sig: Any, args: Any) -> Any:
        p = _pointer(context, b, array, args[0], args[1])
        written = b.store(args[2], b.bitcast(p, _vector(value).as_pointer()))
        written.align = value.lanes * value.dtype.bitwidth // 8
        written.set_metadata("nontemporal", b.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@functools.cache
def make_read(lanes: int, ahead: int = 0) -> Any:
    """Read an array, ``lanes`` numbers a load: the sum of ``passes`` passes over it.

    ahead : how many numbers ahead a cache line is prefetched; 0 leaves that to the hardware.
    """
    STEP = UNROLL * lanes

    def read(x, passes):
        """Return passes * sum(x), in eight sums of ``lanes`` lanes each."""
        zero = fill(x.dtype.type(0), lanes)
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = zero
        for _ in range(passes):
            for i in range(0, x.size, STEP):
                if ahead:
                    for v in range(UNROLL):
                        prefetch(x, i + ahead + v * lanes)
                s0 = add(s0, load(x, i, lanes))
                s1 = add(s1, load(x, i + lanes, lanes))
                s2 = add(s2, load(x, i + 2 * lanes, lanes))
                s3 = add(s3, load(x, i + 3 * lanes, lanes))
                s4 = add(s4, load(x, i + 4 * lanes, lanes))
                s5 = add(s5, load(x, i + 5 * lanes, lanes))
                s6 = add(s6, load(x, i + 6 * lanes, lanes))
                s7 = add(s7, load(x, i + 7 * lanes, lanes))
        return total(add(add(add(s0, s1), add(s2, s3)), add(add(s4, s5), add(s6, s7))))

    return jit(read, variant=f"{lanes}_{ahead}", fastmath=False)


@functools.cache
def make_copy(lanes: int, past_cache: bool) -> Any:
    """Copy an array; ``past_cache``: written to memory without a place in cache."""
    put = _store_past_cache if past_cache else store

    def copy(x, out, passes):
        """out := x, ``passes`` times; both begin at a page."""
        for _ in range(passes):
            for i in range(0, x.size, 4 * lanes):
                put(out, i, load(x, i, lanes))
                put(out, i + lanes, load(x, i + lanes, lanes))
                put(out, i + 2 * lanes, load(x, i + 2 * lanes, lanes))
                put(out, i + 3 * lanes, load(x, i + 3 * lanes, lanes))
        return out[0]

    return jit(copy, variant=f"{lanes}_{int(past_cache)}", fastmath=False)


@functools.cache
def make_triad(lanes: int, past_cache: bool) -> Any:
    """The triad of McCalpin's STREAM; ``past_cache``: written to memory without a place in cache."""
    put = _store_past_cache if past_cache else store

    def triad(x, y, factor, out, passes):
        """out := x + factor * y, ``passes`` times; all begin at a page."""
        f = fill(factor, lanes)
        for _ in range(passes):
            for i in range(0, x.size, 4 * lanes):
                put(out, i, add(mul(load(y, i, lanes), f), load(x, i, lanes)))
                j = i + lanes
                put(out, j, add(mul(load(y, j, lanes), f), load(x, j, lanes)))
                j = i + 2 * lanes
                put(out, j, add(mul(load(y, j, lanes), f), load(x, j, lanes)))
                j = i + 3 * lanes
                put(out, j, add(mul(load(y, j, lanes), f), load(x, j, lanes)))
        return out[0]

    return jit(triad, variant=f"{lanes}_{int(past_cache)}", fastmath=False)


@jit
def chase(following, start, steps):
    """The place reached from ``start`` after ``steps`` steps, each to the place that ``following`` names.

    The address of a load is what the load before it returned, so a step takes the whole latency.
    following : (n,) uint64.  start, steps : uint64, since an index that may be negative takes longer.
    """
    place = start
    for _ in range(steps):
        place = following[place]
    return place


def link_cycle(room: np.ndarray, n_lines: int, seed: int = 0, near: int | None = None) -> int:
    """Make the first ``n_lines`` cache lines of ``room`` one cycle in random order, for ``chase``.

    room : (>= n_lines * LINE,) uint64.  Only the first number of each line is written.
    near : so many lines that lie together are all visited before the walk moves on; None: no such thing.
    Returns the place whose line was written first: of a set beyond the caches, it is the one that left first.
    """
    rng = np.random.default_rng(seed)
    near = min(near or n_lines, n_lines)
    pieces = np.arange(n_lines // near * near).reshape(-1, near)
    rest = rng.permutation(np.arange(pieces.size, n_lines))
    order = np.concatenate([rng.permutation(rng.permuted(pieces, axis=1)).ravel(), rest]) * LINE
    room[order] = np.roll(order, -1)
    return int(order[0])
