"""Measure the chapter's claims about memory: a first access is slow, a burst is cheap, arithmetic is faster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from numbasgd.machine import patterns, peaks
from numbasgd.machine.fingerprint import fingerprint
from numbasgd.machine.patterns import Access
from numbasgd.machine.rounds import Effort, Probe, interleave, limit
from numbasgd.matmul.verify import WrongResultError

SCHEMA = 1
IN_CACHE = 16 << 10


@dataclass(frozen=True)
class Row:
    """A pattern of reading a working set; ``name`` is that of ``numbasgd.machine.patterns.Access``.

    ns : nanoseconds of one access; low, high : the fastest round and the upper quartile.
    gbs : GB/s of the bytes that are used.  gflops : operations on them.
    """

    name: str
    working_set: int
    ns: float
    low: float
    high: float
    gbs: float
    gflops: float


@dataclass(frozen=True)
class Memory:
    """The limits of the machine, and the rows of four experiments.

    patterns : orders of reading.  bursts : bytes in a row at random places.  widths : bytes of a load.
    work : operations for each number.
    """

    limits: Mapping[str, Any]
    patterns: tuple[Row, ...]
    bursts: tuple[Row, ...]
    widths: tuple[Row, ...]
    work: tuple[Row, ...]
    machine: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        experiments = {
            name: [asdict(row) for row in getattr(self, name)]
            for name in ("patterns", "bursts", "widths", "work")
        }
        return {
            "schema": SCHEMA,
            "kind": "memory",
            "limits": dict(self.limits),
            **experiments,
            "machine": dict(self.machine),
        }


def measure(quick: bool = False, *, largest: int | None = None) -> Memory:
    """Measure the limits, then reads in order, strided, at random, in bursts, by wide loads, with arithmetic.

    Parameters
    ----------
    quick : bool
        Fewer rounds and fewer working sets.
    largest : int, optional
        Bytes of the largest working set, from 64 KB on; several times the last cache if left out.

    Raises
    ------
    WrongResultError
        If a sum is not what it must be.
    """
    found = peaks.limits(quick, largest=largest)
    last = found["latency"][-1]["bytes"]
    step = 16 if quick else 4
    sizes = [IN_CACHE * step**i for i in range(20) if IN_CACHE * step**i < last / 2] + [last]
    return Memory(
        found,
        _rows([patterns.pattern(name, size) for name in patterns.PATTERNS for size in sizes], quick),
        _rows([patterns.burst(length, last) for length in patterns.BURSTS], quick),
        _rows([patterns.width(n, size) for size in (IN_CACHE, last) for n in patterns.WIDTHS], quick),
        _rows([patterns.arithmetic(flop, size) for size in (IN_CACHE, last) for flop in patterns.FLOPS], quick),
        fingerprint(),
    )


def _rows(accesses: list[Access], quick: bool) -> tuple[Row, ...]:
    probes = [Probe(access.call, 1.0) for access in accesses]
    interleave(probes, Effort(1 if quick else 3, 3, 2e-4, 4.0))
    for access in accesses:
        if access.call(2) != access.expected(2):
            raise WrongResultError(
                f"reading {access.working_set} bytes ({access.name}) gave {access.call(2)}; "
                f"expected {access.expected(2)}. The figures mean nothing: please report this."
            )
    return tuple(_row(access, limit(probe.rates)) for access, probe in zip(accesses, probes, strict=True))


def _row(access: Access, rate: Mapping[str, float]) -> Row:
    def ns(passes: float) -> float:
        return 1e9 / passes / access.accesses

    return Row(
        name=access.name,
        working_set=access.working_set,
        ns=ns(rate["value"]),
        low=ns(rate["high"]),
        high=ns(rate["low"]),
        gbs=access.bytes * rate["value"] / 1e9,
        gflops=access.flop * rate["value"] / 1e9,
    )
