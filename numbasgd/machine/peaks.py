"""What this machine can do, measured: multiply-adds, bandwidth and latency by working set, a GPU's costs.

A figure means little without the limit that bounds it.  ``limits`` measures the limits within a time limit, on
machines that others use as well: see ``numbasgd.machine.rounds``.  How bytes are counted and what a latency
includes: ``numbasgd.machine.sweeps``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from numbasgd.machine import probes, rounds, sweeps
from numbasgd.machine.cpu import host, n_cores
from numbasgd.machine.deadline import Deadline
from numbasgd.machine.extent import working_sets
from numbasgd.machine.levels import levels
from numbasgd.machine.rounds import Effort, Probe, Task, Together
from numbasgd.simd.vector import register_bytes

SCHEMA = 1
SECONDS, QUICK_SECONDS = 30.0, 10.0  # that ``limits`` may take
_DTYPES = (np.float32, np.float64)
_ROUND_TOGETHER = 1e-2  # seconds of a round of all threads: enough for the system to give each a core


class _Plan(NamedTuple):
    """How much is measured where time allows it, in seconds per sweep and rounds of all threads."""

    effort: Effort
    rounds_together: int


_USUAL = _Plan(Effort(4, 6, 5e-4, 4.0), 16)
_QUICK = _Plan(Effort(3, 4, 2e-4, 1.2), 8)


def limits(
    quick: bool = False,
    *,
    largest: int | None = None,
    deadline: Deadline | None = None,
    is_complete: bool = True,
) -> dict[str, Any]:
    """Measure the limits of this machine, in plain JSON values.

    GFLOP/s, GB/s of 1e9 bytes, ns and bytes.  Each is {"value", "low", "high"}: the median of the fastest
    quarter of the rounds, the lower quartile and the fastest round (for a latency: the fastest and the upper
    quartile).

    Parameters
    ----------
    quick : bool
        Take fewer rounds: a few seconds instead of about twenty, and a little more noise.
    largest : int, optional
        Bytes of the largest working set; several times the last cache if left out, at most 512 MB.  Never more
        than an eighth of the memory.
    deadline : Deadline, optional
        After 30 seconds, or 10 if ``quick``, if left out.  What does not fit is left out, the least useful
        points first, and "notes" say so.
    is_complete : bool
        Whether copies, triads and all threads are measured too.  A roofline of one thread needs none of them.

    Returns
    -------
    dict
        "fma": per dtype for "one" and "all" threads; "bandwidth": "read", "copy" and "triad", for "one"
        thread by working set and for "all" in memory; "latency" by working set; "levels": the caches that
        the sweep found, and the memory; "gpu": launch and transfer costs, or None; "threads": how many
        "all" are; "quick"; "seconds": what measuring took, "compile_seconds" of them to compile; "notes": a
        sentence on each figure that is missing or limited.  What all threads reach is None (in "bandwidth" an
        empty list) where they had no core each.
    """
    deadline = deadline or Deadline(QUICK_SECONDS if quick else SECONDS)
    begun = deadline.elapsed()
    plan = _QUICK if quick else _USUAL
    extents = working_sets(largest)
    n_threads = n_cores()
    has_all = is_complete and n_threads > 1

    deadline.tell("compiling")
    kernels = {np.dtype(dtype).name: _multiply_add(dtype) for dtype in _DTYPES}
    for one in kernels.values():
        one.call(1)
    wanted = sweeps.NAMES if is_complete else ("read",)
    names = sweeps.compiled(wanted, deadline.part(0.3))
    compile_seconds = deadline.elapsed() - begun

    fma, together = _arithmetic(kernels, plan, n_threads, deadline.part(0.2), has_all)
    of_all: dict[str, Together] = {}
    if has_all:
        deadline.tell("memory, all threads")
        of_all = sweeps.bandwidth_of_all(
            names, extents.all, n_threads, plan.rounds_together, deadline.part(0.3)
        )
    latency, bandwidth, largest_filled = _sweeps(names, extents.one, plan.effort, deadline)
    n_bytes = n_threads * sweeps.bytes_of_each(extents.all, n_threads)
    for name, of_name in bandwidth.items():
        of_name["all"] = of_name["one"][-1:] if n_threads == 1 else []
        if name in of_all and of_all[name].rates:
            of_name["all"] = [{"bytes": n_bytes, **rounds.limit(of_all[name].rates, 1e-9)}]
    read = bandwidth["read"]
    read_all = read["all"][-1]["value"] if read["all"] else None
    return {
        "schema": SCHEMA,
        "quick": quick,
        "threads": n_threads,
        "register_bytes": register_bytes(),
        "fma": fma,
        "bandwidth": bandwidth,
        "latency": latency,
        "levels": levels(latency, read["one"], read_all, len(host().caches)),
        "gpu": _gpu(),
        "notes": [
            *extents.notes,
            *_without_cores(
                together | {f"{name} of memory": found for name, found in of_all.items()}, n_threads
            ),
            *_without_time(latency, bandwidth, largest_filled, extents.one),
            *_without_kernels(set(wanted) - set(names)),
        ],
        "compile_seconds": round(compile_seconds, 2),
        "seconds": round(deadline.elapsed() - begun, 2),
    }


def _arithmetic(
    kernels: dict[str, Probe], plan: _Plan, n_threads: int, deadline: Deadline, has_all: bool
) -> tuple[dict[str, Any], dict[str, Together]]:
    """The multiply-adds of one thread by dtype, and, if ``has_all``, what all threads reached together."""
    fma, together = {}, {}
    effort = plan.effort._replace(rounds=2 * plan.effort.rounds, least=1e-3)
    for name, one in kernels.items():
        deadline.tell(f"multiply-adds, {name}")
        rounds.interleave([one], effort, deadline.part(0.3), n_always=1)
        of_one = rounds.limit(one.rates, 1e-9)
        of_all: dict[str, float] | None = of_one if n_threads == 1 else None
        if has_all:
            repeats = max(1, math.ceil(_ROUND_TOGETHER * max(one.rates) / one.work))
            task = Task(n_threads * one.work, repeats)
            [found] = rounds.concurrent(
                n_threads,
                functools.partial(_same, [one.call]),
                [task],
                plan.rounds_together,
                deadline.part(0.5),
            )
            together[f"multiply-adds in {name}"] = found
            of_all = rounds.limit(found.rates, 1e-9) if found.rates else None
        fma[name] = {"one": of_one, "all": of_all}
    return fma, together


def _same(calls: list[Any], i: int) -> list[Any]:
    return calls


def _sweeps(
    names: Sequence[str], n_bytes: int, effort: Effort, deadline: Deadline
) -> tuple[list[dict[str, float]], dict[str, dict[str, Any]], int]:
    """The latency and the bandwidths of one thread by working set, and the largest of them."""
    deadline.tell("latency by working set")
    scratch = sweeps.make_scratch(n_bytes, deadline.part(0.1))
    latency = sweeps.latency(scratch, effort._replace(seconds=2 * effort.seconds), deadline.part(0.5))
    sweeps.clear(scratch)
    bandwidth = {}
    for name, share in zip(names, (0.6, 0.5, 0.9), strict=False):
        deadline.tell(f"{name} by working set")
        bandwidth[name] = {"one": sweeps.bandwidth(name, scratch, effort, deadline.part(share))}
    return latency, bandwidth, scratch.nbytes


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


def _without_cores(together: dict[str, Together], n_threads: int) -> list[str]:
    """The note on figures of all threads that are missing."""
    missing = {name: found.cores for name, found in together.items() if not found.rates}
    if not missing:
        return []
    return [
        f"What all {n_threads} threads reach is left out for {', '.join(missing)}: in no round had each "
        f"thread a core to itself (together the time of {max(missing.values()):.1f} cores at best). Other "
        "programs run, or a quota holds; measure again when the machine is idle."
    ]


def _without_time(
    latency: list[dict[str, float]], bandwidth: dict[str, dict[str, Any]], largest: int, wanted: int
) -> list[str]:
    """The notes on working sets for which no time was left."""
    notes = []
    if largest < wanted:
        notes.append(
            f"Working sets end at {largest >> 20} MB instead of {wanted >> 20}, since filling memory took too "
            "long: what is called memory may be a cache."
        )
    expected = {name: len(sweeps.grid_of(name, largest)) for name in ("latency", *bandwidth)}
    measured = {"latency": len(latency), **{name: len(found["one"]) for name, found in bandwidth.items()}}
    missing = [f"{n - measured[name]} of {n} of {name}" for name, n in expected.items() if measured[name] < n]
    if missing:
        notes.append(f"Working sets left out, since the time was up: {', '.join(missing)}.")
    return notes


def _without_kernels(names: Iterable[str]) -> list[str]:
    """The note on bandwidths whose kernels were not compiled."""
    if not names:
        return []
    told = " and ".join(sorted(names))
    return [f"Left out, since compiling took too long: {told} of memory. A second run finds compiled code."]


def _gpu() -> dict[str, Any] | None:
    from numbasgd import device

    if not device.available() or device.is_simulator():
        return None
    from numbasgd.machine import card

    return card.limits()
