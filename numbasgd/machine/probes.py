"""Kernels that do one thing only, as fast as the machine can: multiply-add, read, copy, add arrays, wait.

Each is made for one number of lanes by a factory, trusts its arguments, and returns a value that depends on all
of its work, so that the compiler can leave nothing out.  They are compiled without ``fastmath``: sums are not
reordered, a loop has the accumulators that are written here, and every pass over an array is made.

Lengths are multiples of ``UNROLL * lanes``; arrays are C-ordered, and begin at a page where it says so.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.machine import cpu
from numbasgd.simd.vector import (
    add,
    fill,
    fma,
    load,
    mul,
    prefetch,
    store,
    store_non_temporal,
    total,
    zeros,
)

UNROLL = 8  # vectors a step of a loop over memory: as many sums run side by side
AHEAD = 1024  # numbers by which a read is prefetched ahead, where that is done
LINE = 8  # 64-bit numbers in a cache line of 64 bytes


def n_chains() -> int:
    """Independent chains of multiply-adds: enough for the units' latency, few enough for the registers.

    A core that starts 2 a cycle with a latency of 4 cycles needs 8 in flight, one that starts 4 needs 16.
    Two more registers hold the factor and the summand.
    """
    return 24 if cpu.target().registers >= 32 else 12


def has_fma() -> bool:
    """Whether the code that Numba compiles here multiplies and adds in one instruction."""
    return cpu.target().has_fma


@functools.cache
def make_multiply_add(lanes: int, chains: int, fused: bool) -> Any:
    """Register-only multiply-adds: 2 * lanes * chains * n operations."""
    FUSED = int(fused)

    def multiply_add(n, x, factor, summand):
        """Return the sum of all chains, which begin as x; x, factor, summand of the dtype to be measured."""
        v = add(zeros(x, lanes, chains), fill(x, lanes))
        m, c = fill(factor, lanes), fill(summand, lanes)
        for _ in range(n):
            v = fma(v, m, c) if FUSED else add(mul(v, m), c)
        return total(v)

    return jit(multiply_add, variant=f"{lanes}_{chains}_{FUSED}", fastmath=False)


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
def make_copy(lanes: int, non_temporal: bool) -> Any:
    """Copy an array; ``non_temporal``: written to memory without a place in cache."""
    put = store_non_temporal if non_temporal else store

    def copy(x, out, passes):
        """out := x, ``passes`` times; both begin at a page."""
        for _ in range(passes):
            for i in range(0, x.size, 4 * lanes):
                put(out, i, load(x, i, lanes))
                put(out, i + lanes, load(x, i + lanes, lanes))
                put(out, i + 2 * lanes, load(x, i + 2 * lanes, lanes))
                put(out, i + 3 * lanes, load(x, i + 3 * lanes, lanes))
        return out[0]

    return jit(copy, variant=f"{lanes}_{int(non_temporal)}", fastmath=False)


@functools.cache
def make_triad(lanes: int, non_temporal: bool) -> Any:
    """The triad of McCalpin's STREAM; ``non_temporal``: written to memory without a place in cache."""
    put = store_non_temporal if non_temporal else store

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

    return jit(triad, variant=f"{lanes}_{int(non_temporal)}", fastmath=False)


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


@jit
def shuffle(order, seed):
    """Shuffle ``order`` in place: (n,) uint32, n below 2^32 (Fisher and Yates).

    seed : uint64, the state of SplitMix64 (Steele, Lea and Flood 2014); returns the state after.
    """
    state = np.uint64(seed)
    for i in range(order.size - 1, 0, -1):
        state += np.uint64(0x9E3779B97F4A7C15)
        z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        # The upper half of a product is as good as evenly distributed where i is small against 2^32.
        j = ((z >> np.uint64(32)) * np.uint64(i + 1)) >> np.uint64(32)
        order[i], order[j] = order[j], order[i]
    return state


@jit
def _link(lines, n_lines, near, order, state):
    """Link the first n_lines lines, piece by piece; returns the first number's place.

    order : (n_pieces + near,) uint32, scratch for the order of pieces and of lines within one.
    """
    n_pieces = n_lines // near
    pieces, within = order[:n_pieces], order[n_pieces:]
    for i in range(n_pieces):
        pieces[i] = i
    state = shuffle(pieces, state)
    first = before = np.int64(-1)
    for number in range(n_pieces + 1):
        length = near if number < n_pieces else n_lines - n_pieces * near  # the rest comes last
        begin = np.int64(pieces[number]) * near if number < n_pieces else n_pieces * near
        for i in range(length):
            within[i] = i
        state = shuffle(within[:length], state)
        for i in range(length):
            place = (begin + np.int64(within[i])) * LINE
            if before < 0:
                first = place
            else:
                lines[before] = place
            before = place
    lines[before] = first
    return first


def link_cycle(lines: np.ndarray, n_lines: int, seed: int = 0, near: int | None = None) -> int:
    """Make the first ``n_lines`` cache lines of ``lines`` one cycle in random order, for ``chase``.

    lines : (>= n_lines * LINE,) uint64.  Only the first number of each line is written.
    near : the walk visits all of so many neighbouring lines before it moves on; None: all of them at random.
    Returns the place whose line was written first, which of a set beyond the caches was evicted first.
    """
    near = min(near or n_lines, n_lines)
    order = np.empty(n_lines // near + near, np.uint32)
    return int(_link(lines, n_lines, near, order, np.uint64(seed)))
