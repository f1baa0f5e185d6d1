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

from numbasgd.machine import probes, rounds
from numbasgd.machine.rounds import Effort, Probe
from numbasgd.simd.vector import register_bytes

SMALLEST = 4096  # bytes of the smallest working set
HUGE = 2 << 20  # bytes of a huge page
BEYOND = 256 << 10  # bytes of a set from which on prefetches and non-temporal stores are tried
FINE = 8 << 20  # bytes of a set up to which a walk takes more turns: caches that no other core uses
NEAR = 32 * 64  # lines of 32 small pages, whose translations a core keeps
_ROUND_TOGETHER = 2e8  # bytes that each thread moves at least in a round of several threads
_ARRAYS = {"copy": 2, "triad": 3}


def latency(scratch: np.ndarray, effort: Effort) -> list[dict[str, float]]:
    """Nanoseconds of a load whose address the load before it returned, by working set.

    Small sets take more turns: they are cheap, and the best round of each shows where a cache ends.
    """
    sizes = grid(SMALLEST, scratch.nbytes, 4)
    walks = [_walk(scratch.view(np.uint64), size // 64) for size in sizes]
    n_fine = sum(size <= FINE for size in sizes)
    rounds.interleave(walks[:n_fine], effort._replace(n_turns=3 * effort.n_turns))
    rounds.interleave(walks[n_fine:], effort)
    return [
        {"bytes": size, **rounds.time_limit(walk.rates, 1e9)} for size, walk in zip(sizes, walks, strict=True)
    ]


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


def bandwidth(name: str, scratch: np.ndarray, effort: Effort) -> list[dict[str, float]]:
    """GB/s by working set, all arrays together; the faster variant at each size."""
    arrays = scratch.view(np.float32)
    arrays[:] = 1
    sizes = grid(SMALLEST if name == "read" else 4 * SMALLEST, scratch.nbytes, 4 if name == "read" else 1)
    variants = [
        [Probe(call, _traffic(name, size)) for call in _variants(name, arrays[: size // 4])] for size in sizes
    ]
    rounds.interleave([probe for of_size in variants for probe in of_size], effort)
    return [
        {"bytes": size, **_faster(probe.rates for probe in of_size)}
        for size, of_size in zip(sizes, variants, strict=True)
    ]


def bandwidth_of_all(name: str, n_bytes: int, n_threads: int, n_rounds: int) -> dict[str, float]:
    """GB/s of all threads, each on arrays of its own, which together are far larger than the caches."""
    each = max(BEYOND, n_bytes // n_threads // SMALLEST * SMALLEST)

    def rates(variant: int) -> list[float]:
        def make(i: int) -> Callable[[int], Any]:
            scratch = make_scratch(each).view(np.float32)
            scratch[:] = 1
            return _variants(name, scratch)[variant]

        repeats = max(1, math.ceil(_ROUND_TOGETHER / each))
        return rounds.concurrent(n_threads, make, n_threads * _traffic(name, each), repeats, n_rounds)

    return {"bytes": each * n_threads, **_faster(rates(variant) for variant in range(2))}


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


def grid(smallest: int, largest: int, per_octave: int) -> list[int]:
    """Working sets from ``smallest`` to ``largest``, evenly spaced in the logarithm, in whole KB."""
    n = math.floor(per_octave * math.log2(largest / smallest) + 1e-9)
    sizes = [round(smallest * 2 ** (i / per_octave) / 1024) * 1024 for i in range(n + 1)]
    return sorted(set(sizes))


def make_scratch(n_bytes: int) -> np.ndarray:
    """Bytes, all touched, that begin at a huge page; NumPy requests huge pages where it can."""
    scratch = np.empty(n_bytes + HUGE, np.uint8)  # np.zeros requests no huge pages
    start = -scratch.ctypes.data % HUGE
    scratch = scratch[start : start + n_bytes]
    scratch[:] = 0
    return scratch
