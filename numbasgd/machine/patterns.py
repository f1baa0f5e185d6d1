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
STEPS = 1 << 17  # of a pass of a chase, at most: from memory each takes a tenth of a microsecond or more
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


class Numbers:
    """Random numbers of -1 and 1 in scratch memory, which all accesses may share, and their exact sums.

    scratch : (n,) uint8 that begins at a page; overwritten.
    """

    def __init__(self, scratch: np.ndarray) -> None:
        self._x = scratch.view(np.float32)
        self._sums: dict[tuple[int, int], float] = {}
        fill_signs(self._x, 0)

    @classmethod
    def new(cls, n_bytes: int) -> Numbers:
        """Numbers in memory of their own."""
        return cls(aligned(np.empty(n_bytes, np.uint8)))

    def first(self, n_bytes: int) -> np.ndarray:
        """The numbers in the first ``n_bytes``."""
        return self._x[: n_bytes // 4]

    def total(self, n_bytes: int, step: int = 1) -> float:
        """The sum of every ``step``-th number in the first ``n_bytes``."""
        if (n_bytes, step) not in self._sums:
            self._sums[n_bytes, step] = sum_exactly(self.first(n_bytes), step)
        return self._sums[n_bytes, step]


def pattern(name: str, n_bytes: int, numbers: Numbers | None = None) -> Access:
    """Read ``n_bytes``: "sequential" all of them by whole registers; else one number of each cache line.

    "strided" takes the lines in order, "random" in random order but with all addresses known beforehand,
    "chase" each from the line before, so that no two loads can wait at the same time.
    """
    if name == "chase":
        return chase(aligned(np.empty(n_bytes, np.uint8)), n_bytes)
    numbers = numbers or Numbers.new(n_bytes)
    if name == "sequential":
        return _whole(name, probes.make_read(register_bytes() // 4), numbers, n_bytes)
    n_lines, x, first = n_bytes // 64, numbers.first(n_bytes), numbers.total(n_bytes, LINE)
    if name == "strided":
        call = functools.partial(strided, x, np.uint64(LINE))
    else:
        call = functools.partial(gather, x, _order(n_lines) * np.uint32(LINE))
    return Access(name, call, lambda passes: passes * first, n_bytes, n_lines, 4 * n_lines, n_lines)


def chase(scratch: np.ndarray, n_bytes: int) -> Access:
    """Read a cache line after the other of ``n_bytes``, each named by the one before, in random order.

    A pass takes ``STEPS`` steps at most and goes on where the pass before ended.  It returns how many places it
    missed that the order of the lines names.  scratch : (>= n_bytes,) uint8; overwritten.
    """
    walk = _Walk(scratch[:n_bytes])
    return Access("chase", walk, lambda passes: 0.0, n_bytes, walk.steps, 8 * walk.steps, 0)


class _Walk:
    def __init__(self, scratch: np.ndarray) -> None:
        self._lines = scratch.view(np.uint64)
        self._order = _order(scratch.nbytes // 64)
        link_lines(self._lines, self._order)
        self._at = 0
        self.steps = min(self._order.size, STEPS)

    def __call__(self, passes: int) -> float:
        start, self._at = self._at, (self._at + passes * self.steps) % self._order.size
        place = np.uint64(int(self._order[start]) * probes.LINE)
        place = probes.chase(self._lines, place, np.uint64(passes * self.steps))
        return float(int(place) != int(self._order[self._at]) * probes.LINE)


def burst(length: int, n_bytes: int, numbers: Numbers | None = None) -> Access:
    """Read ``length`` bytes in a row at each of many random places, 4 or a multiple of 64."""
    name = f"burst-{length}"
    if length == 4:
        found = pattern("random", n_bytes, numbers)
        return Access(name, found.call, found.expected, n_bytes, found.accesses, found.bytes, found.flop)
    numbers = numbers or Numbers.new(n_bytes)
    starts = _order(n_bytes // length) * np.uint32(length // 4)
    n = len(starts) * (length // 4)
    whole = numbers.total(4 * n)
    call = functools.partial(_bursts(), numbers.first(n_bytes), starts, length // 4)
    return Access(name, call, lambda passes: passes * whole, n_bytes, len(starts), 4 * n, n)


def width(n_bytes_a_load: int, n_bytes: int, numbers: Numbers | None = None) -> Access:
    """Read ``n_bytes`` in order by loads of 4, 16, 32 or 64 bytes."""
    kernel = probes.make_read(n_bytes_a_load // 4)
    return _whole(f"load-{n_bytes_a_load}", kernel, numbers or Numbers.new(n_bytes), n_bytes)


def arithmetic(flop: int, n_bytes: int, numbers: Numbers | None = None) -> Access:
    """Read ``n_bytes`` in order with ``flop`` operations for each number: 1, or an even count."""
    kernel = make_arithmetic(register_bytes() // 4, flop)
    one, zero = np.float32(1), np.float32(0)
    return _whole(
        f"flop-{flop}",
        lambda x, passes: kernel(x, one, zero, passes),
        numbers or Numbers.new(n_bytes),
        n_bytes,
        flop,
    )


def _whole(name: str, kernel: Callable[..., Any], numbers: Numbers, n_bytes: int, flop: int = 1) -> Access:
    x, whole = numbers.first(n_bytes), numbers.total(n_bytes)
    call = functools.partial(kernel, x)
    return Access(name, call, lambda passes: passes * whole, x.nbytes, x.size, x.nbytes, flop * x.size)


@functools.lru_cache(maxsize=2)  # of the largest working set, which most accesses read
def _order(n: int) -> np.ndarray:
    order = np.arange(n, dtype=np.uint32)
    probes.shuffle(order, np.uint64(1))
    return order


@jit
def fill_signs(x, seed):
    """Fill x with -1 and 1, each drawn from a hash of its index.  x : (n,) float32."""
    for i in range(x.size):  # Numba's products of uint32 are uint64
        z = np.uint32(np.uint32(i) * np.uint32(0x9E3779B1) + np.uint32(seed))
        z = np.uint32((z ^ (z >> np.uint32(16))) * np.uint32(0x85EBCA6B))
        z = np.uint32((z ^ (z >> np.uint32(13))) * np.uint32(0xC2B2AE35))
        x[i] = np.float32(1) if z >> np.uint32(31) else np.float32(-1)


@jit
def sum_exactly(x, step):
    """The sum of every ``step``-th number in float64, exact for whole numbers.  x : (n,)."""
    whole = 0.0
    for i in range(0, x.size, step):
        whole += np.float64(x[i])
    return whole


@jit
def link_lines(lines, order):
    """The first number of each line becomes the place of the line that follows in ``order``, cyclically.

    lines : (n * probes.LINE,) uint64.  order : (n,) uint32, a permutation.
    """
    LINE = probes.LINE
    for i in range(order.size):
        after = order[i + 1] if i + 1 < order.size else order[0]
        lines[np.int64(order[i]) * LINE] = np.int64(after) * LINE


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
