"""Patterns of reading memory: in order, strided, at random, in bursts, and with arithmetic on each number.

Each ``Access`` reads float32 numbers of -1 and 1, whose sum is exact in any order, so that every timed call
can be checked.  A cache line holds ``LINE`` numbers and is transferred as a whole.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.machine import probes
from numbasgd.machine.timing import aligned
from numbasgd.simd.vector import add, fill, fma, load, mul, register_bytes, total

LINE = 16  # float32 numbers in a cache line of 64 bytes
PATTERNS = ("sequential", "strided", "random", "chase")
BURSTS = (4, 64, 256, 1024, 4096)  # bytes read in a row at each random place
WIDTHS = (4, 16, 32, 64)  # bytes of a load
FLOPS = (1, 2, 4, 8, 16, 32, 64)  # operations for each number that is read


@dataclass(frozen=True)
class Access:
    """A pattern of reading a working set.

    name : stable.  call : ``call(passes)`` returns what ``expected(passes)`` says it must.
    working_set : bytes that the passes run over.  accesses, bytes, flop : of one pass; bytes that are used.
    """

    name: str
    call: Callable[[int], Any]
    expected: Callable[[int], float]
    working_set: int
    accesses: int
    bytes: int
    flop: int

    @property
    def passes(self) -> int:
        """How many passes make a call worth timing; the same for all that read one working set."""
        return max(1, (4 << 20) // self.working_set)


def pattern(name: str, n_bytes: int) -> Access:
    """Read ``n_bytes``: "sequential" all of them by whole registers; else one number of each cache line.

    "strided" takes the lines in order, "random" in random order but with all addresses known beforehand,
    "chase" each from the line before, so that no two loads can wait at the same time.
    """
    n_lines = n_bytes // 64
    if name == "chase":
        lines = aligned(np.zeros(n_lines * probes.LINE, np.uint64))
        probes.link_cycle(lines, n_lines)
        walk = functools.partial(_walk, lines, n_lines)
        return Access(name, walk, lambda passes: 0.0, n_bytes, n_lines, 8 * n_lines, 0)
    x = numbers(n_bytes)
    if name == "sequential":
        return _whole(name, probes.make_read(register_bytes() // 4), x)
    first = float(x[::LINE].sum(dtype=np.float64))
    if name == "strided":
        call = functools.partial(strided, x, np.uint64(LINE))
    else:
        call = functools.partial(gather, x, _order(n_lines) * np.uint32(LINE))
    return Access(name, call, lambda passes: passes * first, n_bytes, n_lines, 4 * n_lines, n_lines)


def burst(length: int, n_bytes: int) -> Access:
    """Read ``length`` bytes in a row at each of many random places, 4 or a multiple of 64."""
    name = f"burst-{length}"
    if length == 4:
        found = pattern("random", n_bytes)
        return Access(name, found.call, found.expected, n_bytes, found.accesses, found.bytes, found.flop)
    x = numbers(n_bytes)
    starts = _order(n_bytes // length) * np.uint32(length // 4)
    whole = float(x[: len(starts) * (length // 4)].sum(dtype=np.float64))
    call = functools.partial(_bursts(), x, starts, length // 4)
    n = len(starts) * (length // 4)
    return Access(name, call, lambda passes: passes * whole, n_bytes, len(starts), 4 * n, n)


def width(n_bytes_a_load: int, n_bytes: int) -> Access:
    """Read ``n_bytes`` in order by loads of 4, 16, 32 or 64 bytes."""
    return _whole(f"load-{n_bytes_a_load}", probes.make_read(n_bytes_a_load // 4), numbers(n_bytes))


def arithmetic(flop: int, n_bytes: int) -> Access:
    """Read ``n_bytes`` in order with ``flop`` operations for each number: 1, or an even count."""
    x = numbers(n_bytes)
    kernel = make_arithmetic(register_bytes() // 4, flop)
    one, zero = np.float32(1), np.float32(0)
    return _whole(f"flop-{flop}", lambda x, passes: kernel(x, one, zero, passes), x, flop)


def numbers(n_bytes: int) -> np.ndarray:
    """Random float32 numbers of -1 and 1, beginning at a page."""
    x = np.random.default_rng(0).integers(0, 2, n_bytes // 4, np.int8)
    return aligned((2 * x - 1).astype(np.float32))


def _whole(name: str, kernel: Callable[..., Any], x: np.ndarray, flop: int = 1) -> Access:
    whole = float(x.sum(dtype=np.float64))
    call = functools.partial(kernel, x)
    return Access(name, call, lambda passes: passes * whole, x.nbytes, x.size, x.nbytes, flop * x.size)


def _order(n: int) -> np.ndarray:
    return np.random.default_rng(1).permutation(n).astype(np.uint32)


def _walk(lines: np.ndarray, n_lines: int, passes: int) -> float:
    return float(probes.chase(lines, np.uint64(0), np.uint64(n_lines * passes)))


@jit(fastmath=False)
def strided(x, step, passes):
    """Return the sum of every ``step``-th number, ``passes`` times.  x : (n,).  step : uint64."""
    s0 = s1 = s2 = s3 = x.dtype.type(0)
    n = np.uint64(x.size)
    for _ in range(passes):
        for i in range(np.uint64(0), n, np.uint64(4) * step):
            s0 += x[i]
            s1 += x[i + step]
            s2 += x[i + step + step]
            s3 += x[i + step + step + step]
    return (s0 + s1) + (s2 + s3)


@jit(fastmath=False)
def gather(x, places, passes):
    """Return the sum of ``x[places]``, ``passes`` times.  places : (4 k,) uint32."""
    s0 = s1 = s2 = s3 = x.dtype.type(0)
    n = np.uint64(places.size)
    for _ in range(passes):
        for i in range(np.uint64(0), n, np.uint64(4)):
            s0 += x[places[i]]
            s1 += x[places[i + np.uint64(1)]]
            s2 += x[places[i + np.uint64(2)]]
            s3 += x[places[i + np.uint64(3)]]
    return (s0 + s1) + (s2 + s3)


@functools.cache
def _bursts() -> Any:
    lanes = register_bytes() // 4

    def bursts(x, starts, length, passes):
        """Return the sum of ``length`` numbers from each of ``starts`` on, ``passes`` times."""
        s = fill(x.dtype.type(0), lanes)
        for _ in range(passes):
            for start in starts:
                for i in range(start, start + length, lanes):
                    s = add(s, load(x, i, lanes))
        return total(s)

    return jit(bursts, variant=f"{lanes}", fastmath=False)


@jit(fastmath=False)
def fused(v, factor, summand):
    """Return v * factor + summand, rounded once."""
    return fma(v, factor, summand)


@jit(fastmath=False)
def unfused(v, factor, summand):
    """Return v * factor + summand in two instructions, where the machine has no single one."""
    return add(mul(v, factor), summand)


@functools.cache
def make_arithmetic(lanes: int, flop: int) -> Any:
    """A sum with ``flop`` operations for each number: 1 is the addition alone."""
    FUSED = flop // 2 - 1  # multiply-adds before the one that adds to the sum
    STEP = 8 * lanes
    step = fused if probes.has_fma() else unfused

    if flop == 1:
        read = probes.make_read(lanes)

        def arithmetic(x, factor, summand, passes):
            """Return passes * sum(x)."""
            return read(x, passes)

    else:

        def arithmetic(x, factor, summand, passes):
            """Return passes * sum(x), if factor is 1 and summand is 0."""
            m, c = fill(factor, lanes), fill(summand, lanes)
            s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = fill(x.dtype.type(0), lanes)
            for _ in range(passes):
                for i in range(0, x.size, STEP):
                    v0, v1 = load(x, i, lanes), load(x, i + lanes, lanes)
                    v2, v3 = load(x, i + 2 * lanes, lanes), load(x, i + 3 * lanes, lanes)
                    v4, v5 = load(x, i + 4 * lanes, lanes), load(x, i + 5 * lanes, lanes)
                    v6, v7 = load(x, i + 6 * lanes, lanes), load(x, i + 7 * lanes, lanes)
                    for _ in range(FUSED):
                        v0, v1, v2, v3 = step(v0, m, c), step(v1, m, c), step(v2, m, c), step(v3, m, c)
                        v4, v5, v6, v7 = step(v4, m, c), step(v5, m, c), step(v6, m, c), step(v7, m, c)
                    s0, s1, s2, s3 = step(v0, m, s0), step(v1, m, s1), step(v2, m, s2), step(v3, m, s3)
                    s4, s5, s6, s7 = step(v4, m, s4), step(v5, m, s5), step(v6, m, s6), step(v7, m, s7)
            return total(add(add(add(s0, s1), add(s2, s3)), add(add(s4, s5), add(s6, s7))))

    return jit(arithmetic, variant=f"{lanes}_{flop}", fastmath=False)
