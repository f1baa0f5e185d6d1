"""Sweeps over working sets: the latency of a load, and the bandwidth of a read, a copy and a triad.

Bytes are counted as in McCalpin's STREAM: those that a kernel names, 2 numbers per entry for a copy and 3 for a
triad.  A store into a line that is not in cache makes the hardware read the line first; that is not counted.
Non-temporal stores avoid it.  Beyond the first caches both variants are timed, and the faster one counts.

The latency is that of a random walk which stays within a few pages for a while, so that address translation is
hardly a part of it, whether pages are huge or small.  Loads that pay for address translation, too, are among
the patterns of ``numbasgd.machine.patterns``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.machine import probes, rounds
from numbasgd.machine.deadline import Deadline
from numbasgd.machine.rounds import Effort, Probe, Task, Together
from numbasgd.simd.vector import register_bytes

SMALLEST = 4096  # bytes of the smallest working set
HUGE = 2 << 20  # bytes of a huge page
BEYOND = 256 << 10  # bytes of a set from which on prefetches and non-temporal stores are tried
FINE = 8 << 20  # bytes of a set up to which a walk takes more turns: caches that no other core uses
NEAR = 32 * 64  # lines of 32 small pages, whose translations a core keeps
_ROUND_TOGETHER = 2e8  # bytes that each thread moves at least in a round of several threads
NAMES = ("read", "copy", "triad")
_ARRAYS = {"copy": 2, "triad": 3}
_PIECE = 16 << 20  # bytes that are cleared at a time


def latency(scratch: np.ndarray, effort: Effort, deadline: Deadline) -> list[dict[str, float]]:
    """Nanoseconds of a load whose address the load before it returned, by working set.

    Small sets take more turns: they are cheap, and the best round of each shows where a cache ends.  The ends
    of the sweep are measured in any case, the other sets while there is time, those between octaves last.
    """
    sizes = grid_of("latency", scratch.nbytes)
    walks = {size: _walk(scratch.view(np.uint64), size // 64) for size in sizes}
    order = coarse_to_fine(sizes)
    fine = [size for size in order if size <= FINE]
    large = [size for size in order if size > FINE]
    of_fine = deadline.part(0.4) if large else deadline
    rounds.interleave([walks[s] for s in fine], effort._replace(n_turns=3 * effort.n_turns), of_fine, 2)
    rounds.interleave([walks[s] for s in large], effort, deadline, 1)
    return [{"bytes": size, **rounds.time_limit(walk.rates, 1e9)} for size, walk in walks.items() if walk.rates]


def coarse_to_fine(sizes: Sequence[int]) -> list[int]:
    """The largest and the smallest first, then every 16th, every 8th, ..., so that what is left out is fine."""
    order = [sizes[-1], sizes[0]]
    for step in (16, 8, 4, 2, 1):
        order += sizes[::-step]
    return list(dict.fromkeys(order))


def _walk(scratch: np.ndarray, n_lines: int) -> Probe:
    place = np.uint64(0)

    def prepare() -> None:
        nonlocal place
        start = np.uint64(probes.link_cycle(scratch, n_lines, near=NEAR))
        place = np.uint64(probes.chase(scratch, start, np.uint64(min(n_lines, 1 << 16))))

    def walk(n: int) -> None:
        nonlocal place
        place = np.uint64(probes.chase(scratch, place, np.uint64(500 * n)))

    return Probe(walk, 500.0, prepare)


def bandwidth(name: str, scratch: np.ndarray, effort: Effort, deadline: Deadline) -> list[dict[str, float]]:
    """GB/s by working set, all arrays together; the faster variant at each size.

    The ends of the sweep are measured in any case, the other sets while there is time.
    """
    arrays = scratch.view(np.float32)
    sizes = grid_of(name, scratch.nbytes)
    variants = {
        size: [Probe(call, _traffic(name, size)) for call in _variants(name, arrays[: size // 4])]
        for size in sizes
    }
    order = coarse_to_fine(sizes)
    rounds.interleave([probe for size in order for probe in variants[size]], effort, deadline, 3)
    return [
        {"bytes": size, **_faster(rates)}
        for size, probes_ in variants.items()
        if (rates := [probe.rates for probe in probes_ if probe.rates])
    ]


def bandwidth_of_all(
    names: Sequence[str], n_bytes: int, n_threads: int, n_rounds: int, deadline: Deadline
) -> dict[str, Together]:
    """What all threads reach together in each of ``names``, in bytes a second; the faster variant of each.

    Each thread has arrays of its own; together they have ``n_bytes``.
    """
    each = bytes_of_each(n_bytes, n_threads)
    repeats = max(1, math.ceil(_ROUND_TOGETHER / each))
    tasks = [Task(n_threads * _traffic(name, each), repeats) for name in names for _ in range(2)]

    def make(i: int) -> list[Callable[[int], Any]]:
        scratch = make_scratch(each).view(np.float32)
        return [call for name in names for call in _variants(name, scratch)]

    found = rounds.concurrent(n_threads, make, tasks, n_rounds, deadline)
    return {
        name: max(found[2 * i : 2 * i + 2], key=lambda of_variant: max(of_variant.rates, default=0.0))
        for i, name in enumerate(names)
    }


def bytes_of_each(n_bytes: int, n_threads: int) -> int:
    """The bytes that each of several threads has of ``n_bytes``."""
    return max(BEYOND, n_bytes // n_threads // SMALLEST * SMALLEST)


def compiled(names: Iterable[str], deadline: Deadline) -> tuple[str, ...]:
    """Make a first call of every kernel that sweeps use, so that none compiles while it is timed.

    Returns those of ``names`` for which there was time; reads and walks are compiled in any case.
    """
    scratch = make_scratch(BEYOND)
    start = np.uint64(probes.link_cycle(scratch.view(np.uint64), 64, near=NEAR))
    probes.chase(scratch.view(np.uint64), start, np.uint64(1))
    found = []
    for name in names:
        if name == "read" or not deadline.is_over():
            for call in _variants(name, scratch.view(np.float32)):
                call(1)
            found.append(name)
    return tuple(found)


def _faster(variants: Iterable[Sequence[float]]) -> dict[str, float]:
    return max((rounds.limit(rates, 1e-9) for rates in variants), key=lambda limit: limit["value"])


def _variants(name: str, scratch: np.ndarray) -> list[Callable[[int], Any]]:
    """The calls that do ``name`` over all of ``scratch``: one variant while it may be in cache, two beyond."""
    lanes = register_bytes() // scratch.itemsize
    variants = (False, True) if scratch.nbytes >= BEYOND else (False,)
    if name == "read":
        return [functools.partial(probes.make_read(lanes, probes.AHEAD * ahead), scratch) for ahead in variants]
    if name == "copy":
        x, out = split(scratch, 2)
        return [functools.partial(probes.make_copy(lanes, non_temporal), x, out) for non_temporal in variants]
    x, y, out = split(scratch, 3)
    return [
        functools.partial(probes.make_triad(lanes, non_temporal), x, y, np.float32(0.5), out)
        for non_temporal in variants
    ]


def _traffic(name: str, n_bytes: int) -> float:
    """The bytes that a pass of ``name`` over scratch memory of ``n_bytes`` counts."""
    return float(n_bytes if name == "read" else _ARRAYS[name] * _piece_bytes(n_bytes, _ARRAYS[name]))


def split(scratch: np.ndarray, n: int) -> list[np.ndarray]:
    """``n`` equal arrays that begin at a cache line, each at another offset within its page.

    Arrays that begin at the same offset fall on the same sets of the first cache (4K aliasing).
    """
    length = _piece_bytes(scratch.nbytes, n) // scratch.itemsize
    return [scratch[i * length : (i + 1) * length] for i in range(n)]


def _piece_bytes(n_bytes: int, n: int) -> int:
    length = n_bytes // n // 1024 * 1024
    return length - 1024 * (length % 4096 == 0)


def grid_of(name: str, largest: int) -> list[int]:
    """The working sets of a sweep: fine where the caches are looked for, an octave apart else."""
    return grid(4 * SMALLEST, largest, 1) if name in _ARRAYS else grid(SMALLEST, largest, 4)


def grid(smallest: int, largest: int, per_octave: int) -> list[int]:
    """Working sets from ``smallest`` to ``largest``, evenly spaced in the logarithm, in whole KB."""
    n = math.floor(per_octave * math.log2(largest / smallest) + 1e-9)
    sizes = [round(smallest * 2 ** (i / per_octave) / 1024) * 1024 for i in range(n + 1)]
    return sorted(set(sizes))


@jit
def clear(scratch):
    """Each byte becomes 0; the links of a walk would be denormal numbers, which take longer to add."""
    for i in range(scratch.size):
        scratch[i] = 0


def make_scratch(n_bytes: int, deadline: Deadline | None = None) -> np.ndarray:
    """Bytes, all of them 0, that begin at a huge page; NumPy requests huge pages where it can.

    Where memory comes so slowly that ``deadline`` passes, they are as many as were cleared by then.
    """
    scratch = np.empty(n_bytes + HUGE, np.uint8)  # np.zeros requests no huge pages
    start = -scratch.ctypes.data % HUGE
    scratch = scratch[start : start + n_bytes]
    for at in range(0, n_bytes, _PIECE):
        if at and deadline is not None and deadline.is_over():
            return scratch[:at]
        clear(scratch[at : at + _PIECE])
    return scratch
