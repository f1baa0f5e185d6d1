"""What this machine can do, measured: multiply-adds, bandwidth and latency by working set, a GPU's costs.

A figure means little without the limit that it runs into.  ``limits`` measures them in well under half a
minute.  It works on a machine that others use, too: see ``numbasgd.machine.rounds`` for how.

Bytes are counted as in McCalpin's STREAM: what a kernel names, 2 numbers per entry for a copy, 3 for a triad.
A store into a line that is not in cache makes the hardware read the line first; that is not counted.
Non-temporal stores avoid it.  Both kinds are tried at each size, and the faster one stands: non-temporal ones
for sets beyond the cache.  A load's latency is that of a walk at random which stays in a few pages for a while,
so that the search for the page is hardly a part of it, whether pages are huge or small; what a load costs whose
page must be searched, too, is among the patterns of ``numbasgd.machine.patterns``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from numbasgd.machine import probes, rounds
from numbasgd.machine.cpu import host, n_cores
from numbasgd.machine.extent import free_memory, last_cache
from numbasgd.machine.levels import levels
from numbasgd.machine.rounds import Effort, Probe
from numbasgd.simd.vector import register_bytes

SCHEMA = 1
SMALLEST = 4096  # bytes of the smallest working set
HUGE = 2 << 20  # bytes of a huge page
BEYOND = 256 << 10  # bytes of a set from which on prefetches and non-temporal stores are tried
FINE = 8 << 20  # bytes of a set up to which a walk takes more turns: caches that no other core uses
NEAR = 32 * 64  # lines of 32 small pages, whose places a core remembers
_DTYPES = (np.float32, np.float64)
_SHARE_OF_MEMORY = 8  # a part of so many may be used
_ROUND_TOGETHER = 2e8  # bytes that a round of several threads takes at least, in each
_PIECES = {"copy": 2, "triad": 3}


def limits(quick: bool = False, *, largest: int | None = None) -> dict[str, Any]:
    """Measure the limits of this machine, in plain JSON values.

    GFLOP/s, GB/s of 1e9 bytes, ns and bytes.  Each is {"value", "low", "high"}: the median of the fastest
    quarter of the rounds; the rest of the spread is told by the lower quartile and the fastest round (for
    a latency: the fastest and the upper quartile).

    Parameters
    ----------
    quick : bool
        Take fewer rounds: a few seconds instead of about fifteen, and a little more noise.
    largest : int, optional
        Bytes of the largest working set; several times the last cache if left out, never more than an
        eighth of the memory.

    Returns
    -------
    dict
        "fma": per dtype for "one" and "all" threads; "bandwidth": "read", "copy" and "triad", for "one"
        thread by working set and for "all" in memory; "latency" by working set; "levels": the caches that
        the sweep found, and the memory; "gpu": launch and transfer costs, or None; "threads": how many
        "all" are; "quick"; "seconds": what measuring took.
    """
    start = perf_counter()
    effort = Effort(3, 4, 2e-4, 1.5) if quick else Effort(4, 6, 5e-4, 4.0)
    together = 2 * effort.rounds
    cache, n_last = last_cache()
    memory = free_memory()
    most = max(64 * SMALLEST, min(largest or 4 * cache, 1 << 30, memory // _SHARE_OF_MEMORY))
    n_threads = n_cores()

    fma = {}
    for dtype in _DTYPES:
        one = _multiply_add(dtype)
        rounds.turns([one], effort._replace(rounds=together, least=1e-3))
        of_one = rounds.limit(one.rates, 1e-9)
        of_all = _together(one, n_threads, 4 * together)
        fma[np.dtype(dtype).name] = {"one": of_one, "all": _at_least(of_one, of_all)}
    room = _room(most)
    latency = _latency(room, effort._replace(seconds=2 * effort.seconds))
    bandwidth = {name: {"one": _sweep(name, room, effort)} for name in ("read", "copy", "triad")}
    del room
    # All threads together must leave all the last caches behind, which may be several.
    in_memory = max(most, min(largest or 4 * cache * n_last, 4 << 30, memory // _SHARE_OF_MEMORY))
    for name, of_name in bandwidth.items():
        of_all = _memory_sized(name, in_memory, n_threads, together)
        of_name["all"] = [_at_least(of_name["one"][-1], of_all)]
    n_caches = len(host().caches)
    return {
        "schema": SCHEMA,
        "quick": quick,
        "threads": n_threads,
        "register_bytes": register_bytes(),
        "fma": fma,
        "bandwidth": bandwidth,
        "latency": latency,
        "levels": levels(latency, bandwidth["read"]["one"], bandwidth["read"]["all"][0]["value"], n_caches),
        "gpu": _gpu(),
        "seconds": round(perf_counter() - start, 2),
    }


def fma_peak(dtype: str = "float32") -> float:
    """GFLOP/s of one thread that only multiplies and adds in registers; a fused multiply-add is two."""
    one = _multiply_add(np.dtype(dtype).type)
    rounds.turns([one], Effort(3, 16, 1e-3, 1.5))
    return rounds.limit(one.rates, 1e-9)["value"]


def _multiply_add(dtype: Any) -> Probe:
    lanes, chains = register_bytes() // np.dtype(dtype).itemsize, probes.n_chains()
    kernel = probes.make_multiply_add(lanes, chains, probes.has_fma())
    x, half = dtype(1), dtype(0.5)  # 1 * 0.5 + 0.5 = 1: no number grows or becomes denormal
    return Probe(lambda n: kernel(1000 * n, x, half, half), 2000.0 * lanes * chains)


def _together(one: Probe, n_threads: int, n_rounds: int) -> dict[str, float]:
    repeats = max(1, math.ceil(2e-3 * max(one.rates) / one.work))
    found = rounds.together(n_threads, lambda i: one.call, n_threads * one.work, repeats, n_rounds)
    return rounds.limit(found, 1e-9)


def _at_least(of_one: dict[str, float], of_all: dict[str, float]) -> dict[str, float]:
    """The limit of all threads: no less than one of them reaches alone, however busy the others' cores are."""
    if of_all["value"] >= of_one["value"]:
        return of_all
    return {**of_all, **{key: of_one[key] for key in ("value", "low", "high")}}


def _latency(room: np.ndarray, effort: Effort) -> list[dict[str, float]]:
    """Nanoseconds of a load whose address the load before it returned, by working set.

    Small sets take more turns: they are cheap, and where a cache ends shows in the best round of each.
    """
    sizes = grid(SMALLEST, room.nbytes, 4)
    walks = [_walk(room.view(np.uint64), size // 64) for size in sizes]
    n_fine = sum(size <= FINE for size in sizes)
    rounds.turns(walks[:n_fine], effort._replace(n_turns=3 * effort.n_turns))
    rounds.turns(walks[n_fine:], effort)
    return [
        {"bytes": size, **rounds.time_limit(walk.rates, 1e9)} for size, walk in zip(sizes, walks, strict=True)
    ]


def _walk(room: np.ndarray, n_lines: int) -> Probe:
    place = np.uint64(0)

    def prepare() -> None:
        nonlocal place
        start = np.uint64(probes.link_cycle(room, n_lines, near=NEAR))
        place = np.uint64(probes.chase(room, start, np.uint64(min(n_lines, 1 << 16))))

    def walk(n: int) -> None:
        nonlocal place
        place = np.uint64(probes.chase(room, place, np.uint64(500 * n)))

    return Probe(walk, 500.0, prepare)


def _sweep(name: str, room: np.ndarray, effort: Effort) -> list[dict[str, float]]:
    """GB/s by working set, all arrays together; the faster of the kernel's ways at each size."""
    arrays = room.view(np.float32)
    arrays[:] = 1
    sizes = grid(SMALLEST if name == "read" else 4 * SMALLEST, room.nbytes, 4 if name == "read" else 1)
    ways = [[Probe(call, _work(name, size)) for call in _ways(name, arrays[: size // 4])] for size in sizes]
    rounds.turns([way for of_size in ways for way in of_size], effort)
    return [
        {"bytes": size, **_faster(way.rates for way in of_size)}
        for size, of_size in zip(sizes, ways, strict=True)
    ]


def _memory_sized(name: str, n_bytes: int, n_threads: int, n_rounds: int) -> dict[str, float]:
    """GB/s of all threads, each on arrays of its own, which together are far larger than the caches."""
    each = max(BEYOND, n_bytes // n_threads // SMALLEST * SMALLEST)

    def rates(way: int) -> list[float]:
        def make(i: int) -> Callable[[int], Any]:
            room = _room(each).view(np.float32)
            room[:] = 1
            return _ways(name, room)[way]

        repeats = max(1, math.ceil(_ROUND_TOGETHER / each))
        return rounds.together(n_threads, make, n_threads * _work(name, each), repeats, n_rounds)

    return {"bytes": each * n_threads, **_faster(rates(way) for way in range(2))}


def _faster(ways: Iterable[Sequence[float]]) -> dict[str, float]:
    return max((rounds.limit(rates, 1e-9) for rates in ways), key=lambda limit: limit["value"])


def _ways(name: str, room: np.ndarray) -> list[Callable[[int], Any]]:
    """The calls that do ``name`` over all of ``room``: one way while it may be in cache, two beyond."""
    lanes = register_bytes() // room.itemsize
    ways = (False, True) if room.nbytes >= BEYOND else (False,)
    if name == "read":
        return [functools.partial(probes.make_read(lanes, probes.AHEAD * ahead), room) for ahead in ways]
    if name == "copy":
        x, out = _pieces(room, 2)
        return [functools.partial(probes.make_copy(lanes, past), x, out) for past in ways]
    x, y, out = _pieces(room, 3)
    return [functools.partial(probes.make_triad(lanes, past), x, y, np.float32(0.5), out) for past in ways]


def _work(name: str, n_bytes: int) -> float:
    """The bytes that a pass of ``name`` over a room of ``n_bytes`` counts."""
    return float(n_bytes if name == "read" else _PIECES[name] * _piece(n_bytes, _PIECES[name]))


def _pieces(room: np.ndarray, n: int) -> list[np.ndarray]:
    """``n`` equal parts that begin at a cache line, each elsewhere within its page.

    Arrays that begin at the same place of a page get into each other's way in the first cache.
    """
    length = _piece(room.nbytes, n) // room.itemsize
    return [room[i * length : (i + 1) * length] for i in range(n)]


def _piece(n_bytes: int, n: int) -> int:
    length = n_bytes // n // 1024 * 1024
    return length - 1024 * (length % 4096 == 0)


def grid(smallest: int, largest: int, per_octave: int) -> list[int]:
    """Working sets from ``smallest`` to ``largest``, evenly spread in the logarithm, in whole KB."""
    n = math.floor(per_octave * math.log2(largest / smallest) + 1e-9)
    sizes = [round(smallest * 2 ** (i / per_octave) / 1024) * 1024 for i in range(n + 1)]
    return sorted(set(sizes))


def _room(n_bytes: int) -> np.ndarray:
    """Bytes, all touched, that begin at a huge page; NumPy asks for huge pages where that is possible."""
    room = np.empty(n_bytes + HUGE, np.uint8)  # np.zeros does not ask for huge pages
    start = -room.ctypes.data % HUGE
    room = room[start : start + n_bytes]
    room[:] = 0
    return room


def _gpu() -> dict[str, Any] | None:
    from numbasgd import device

    if not device.available() or device.is_simulator():
        return None
    from numbasgd.machine import card

    return card.limits()
