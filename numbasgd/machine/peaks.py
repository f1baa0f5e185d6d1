"""What this machine can do, measured: multiply-adds, bandwidth and latency by working set, a GPU's costs.

A figure means little without the limit that bounds it.  ``limits`` measures the limits in well under half a
minute, on machines that others use as well: see ``numbasgd.machine.rounds``.  How bytes are counted and what a
latency includes: ``numbasgd.machine.sweeps``.
"""

from __future__ import annotations

import math
from time import perf_counter
from typing import Any

import numpy as np

from numbasgd.machine import probes, rounds, sweeps
from numbasgd.machine.cpu import host, n_cores
from numbasgd.machine.extent import free_memory, last_cache
from numbasgd.machine.levels import levels
from numbasgd.machine.rounds import Effort, Probe
from numbasgd.simd.vector import register_bytes

SCHEMA = 1
_DTYPES = (np.float32, np.float64)
_SHARE_OF_MEMORY = 8  # at most one part in so many is used


def limits(quick: bool = False, *, largest: int | None = None) -> dict[str, Any]:
    """Measure the limits of this machine, in plain JSON values.

    GFLOP/s, GB/s of 1e9 bytes, ns and bytes.  Each is {"value", "low", "high"}: the median of the fastest
    quarter of the rounds, the lower quartile and the fastest round (for a latency: the fastest and the upper
    quartile).

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
    n_rounds = 2 * effort.rounds
    cache, n_last = last_cache()
    memory = free_memory()
    most = max(64 * sweeps.SMALLEST, min(largest or 4 * cache, 1 << 30, memory // _SHARE_OF_MEMORY))
    n_threads = n_cores()

    fma = {}
    for dtype in _DTYPES:
        one = _multiply_add(dtype)
        rounds.interleave([one], effort._replace(rounds=n_rounds, least=1e-3))
        of_one = rounds.limit(one.rates, 1e-9)
        of_all = _all_threads(one, n_threads, 4 * n_rounds)
        fma[np.dtype(dtype).name] = {"one": of_one, "all": _at_least(of_one, of_all)}
    scratch = sweeps.make_scratch(most)
    latency = sweeps.latency(scratch, effort._replace(seconds=2 * effort.seconds))
    bandwidth = {name: {"one": sweeps.bandwidth(name, scratch, effort)} for name in ("read", "copy", "triad")}
    del scratch
    # All threads together must exceed all the last caches, of which there may be several.
    in_memory = max(most, min(largest or 4 * cache * n_last, 4 << 30, memory // _SHARE_OF_MEMORY))
    for name, of_name in bandwidth.items():
        of_all = sweeps.bandwidth_of_all(name, in_memory, n_threads, n_rounds)
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
    rounds.interleave([one], Effort(3, 16, 1e-3, 1.5))
    return rounds.limit(one.rates, 1e-9)["value"]


def _multiply_add(dtype: Any) -> Probe:
    lanes, chains = register_bytes() // np.dtype(dtype).itemsize, probes.n_chains()
    kernel = probes.make_multiply_add(lanes, chains, probes.has_fma())
    x, half = dtype(1), dtype(0.5)  # 1 * 0.5 + 0.5 = 1: no number grows or becomes denormal
    return Probe(lambda n: kernel(1000 * n, x, half, half), 2000.0 * lanes * chains)


def _all_threads(one: Probe, n_threads: int, n_rounds: int) -> dict[str, float]:
    repeats = max(1, math.ceil(2e-3 * max(one.rates) / one.work))
    found = rounds.concurrent(n_threads, lambda i: one.call, n_threads * one.work, repeats, n_rounds)
    return rounds.limit(found, 1e-9)


def _at_least(of_one: dict[str, float], of_all: dict[str, float]) -> dict[str, float]:
    """The limit of all threads: no less than one of them reaches alone, however busy the others' cores are."""
    if of_all["value"] >= of_one["value"]:
        return of_all
    return {**of_all, **{key: of_one[key] for key in ("value", "low", "high")}}


def _gpu() -> dict[str, Any] | None:
    from numbasgd import device

    if not device.available() or device.is_simulator():
        return None
    from numbasgd.machine import card

    return card.limits()
