"""Measure the chapter's claims about memory: a first access is slow, a burst is cheap, arithmetic is faster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from numbasgd.machine import patterns, peaks, sweeps
from numbasgd.machine.deadline import Deadline
from numbasgd.machine.fingerprint import fingerprint
from numbasgd.machine.patterns import Access, Numbers
from numbasgd.machine.rounds import Effort, Probe, interleave, limit
from numbasgd.matmul.verify import WrongResultError

SCHEMA = 1
IN_CACHE = 16 << 10
SECONDS, QUICK_SECONDS = 43.0, 12.5  # that ``memory`` may take: 45 and 15 with what began in time


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
    notes : a sentence on each figure that is missing or limited.
    seconds : what all of it took, ``compile_seconds`` of them to compile.
    """

    limits: Mapping[str, Any]
    patterns: tuple[Row, ...]
    bursts: tuple[Row, ...]
    widths: tuple[Row, ...]
    work: tuple[Row, ...]
    notes: tuple[str, ...]
    compile_seconds: float
    seconds: float
    machine: Mapping[str, Any]

    def table(self) -> str:
        """The limits, the levels and the four experiments as text."""
        from numbasgd.render.memory_text import memory_table

        return memory_table(self)

    def plot(self, ax: Any = None) -> Any:
        """Draw all of it on a figure of its own, which is returned, or the orders of reading on ``ax``."""
        from numbasgd.render import memory_plot

        return memory_plot.plot_memory(self) if ax is None else memory_plot.plot_patterns(self, ax)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: the fields by name, "schema" and "kind".

        "limits" : as ``numbasgd.machine.peaks.limits`` tells them; "levels" in it has, for each cache that the
        sweep found and for the memory, "name", "bytes", "read" in GB/s and "latency" in ns.
        "patterns", "bursts", "widths", "work" : lists of rows, each with the fields of ``Row``.
        "machine" : the fingerprint, "versions" in it.
        """
        experiments = {
            name: [asdict(row) for row in getattr(self, name)]
            for name in ("patterns", "bursts", "widths", "work")
        }
        return {
            "schema": SCHEMA,
            "kind": "memory",
            "limits": dict(self.limits),
            **experiments,
            "notes": list(self.notes),
            "compile_seconds": self.compile_seconds,
            "seconds": self.seconds,
            "machine": dict(self.machine),
        }


def memory(quick: bool = False, *, largest: int | None = None, deadline: Deadline | None = None) -> Memory:
    """Measure the limits, then reads in order, strided, at random, in bursts, by wide loads, with arithmetic.

    Parameters
    ----------
    quick : bool
        Fewer rounds and fewer working sets.
    largest : int, optional
        Bytes of the largest working set, from 256 KB on; several times the last cache if left out, at most
        512 MB.
    deadline : Deadline, optional
        After ``SECONDS``, or ``QUICK_SECONDS``, if left out.  What does not fit is left out, and ``notes``
        say so.

    Returns
    -------
    Memory

    Raises
    ------
    WrongResultError
        If a sum is not what it must be.

    Examples
    --------
    >>> from numbasgd import experiments
    >>> found = experiments.memory(quick=True, largest=256 * 1024)
    >>> print(found.table())                               # doctest: +ELLIPSIS
    What the machine can do
    ...
    >>> slowest = max(found.patterns, key=lambda row: row.ns)
    >>> slowest.name
    'chase'
    >>> found.to_dict()["limits"]["levels"][-1]["name"]
    'memory'
    """
    deadline = deadline or Deadline(QUICK_SECONDS if quick else SECONDS)
    begun = deadline.elapsed()
    found = peaks.limits(quick, largest=largest, deadline=deadline.part(0.65))
    last = found["latency"][-1]["bytes"]
    step = 16 if quick else 4
    sizes = [IN_CACHE * step**i for i in range(20) if IN_CACHE * step**i < last / 2] + [last]
    scratch = sweeps.make_scratch(last)
    measurer = _Measurer(quick, deadline)

    rows: list[Row] = []
    for i, size in enumerate(reversed(sizes)):
        share = 0.2 / (1 - 0.2 * i / len(sizes)) / len(sizes)
        rows += measurer.rows("patterns", [patterns.chase(scratch, size)], share)
    numbers = Numbers(scratch)
    order = [size for size in sweeps.coarse_to_fine(sizes)]
    in_order = [
        patterns.pattern(name, size, numbers) for size in order for name in patterns.PATTERNS if name != "chase"
    ]
    rows += measurer.rows("patterns", in_order, 0.4, n_always=len(patterns.PATTERNS) - 1)
    rows.sort(key=lambda row: (patterns.PATTERNS.index(row.name), row.working_set))
    bursts = [patterns.burst(length, last, numbers) for length in patterns.BURSTS]
    of_bursts = measurer.rows("bursts", bursts, 0.4)
    two = (IN_CACHE, last)
    widths = [patterns.width(n, size, numbers) for size in two for n in patterns.WIDTHS]
    of_widths = measurer.rows("widths", widths, 0.4)
    work = [patterns.arithmetic(flop, size, numbers) for size in two for flop in patterns.FLOPS]
    of_work = measurer.rows("work", work, 0.9)
    return Memory(
        limits=found,
        patterns=tuple(rows),
        bursts=of_bursts,
        widths=of_widths,
        work=of_work,
        notes=(*found["notes"], *measurer.notes()),
        compile_seconds=round(found["compile_seconds"] + measurer.compile_seconds, 2),
        seconds=round(deadline.elapsed() - begun, 2),
        machine=fingerprint(),
    )


class _Measurer:
    """Measures accesses within a part of the time, and counts those for which none was left."""

    def __init__(self, quick: bool, deadline: Deadline) -> None:
        self._effort = Effort(1 if quick else 3, 3, 2e-4, 1.0 if quick else 3.0)
        self._deadline = deadline
        self._left_out: dict[str, int] = {}
        self.compile_seconds = 0.0

    def rows(self, experiment: str, accesses: list[Access], share: float, n_always: int = 1) -> tuple[Row, ...]:
        """The rows of the accesses, the most useful first, measured in ``share`` of the time that is left.

        A deadline that comes too soon costs the last ones; the first ``n_always`` are measured in any case.
        """
        self._deadline.tell(experiment)
        probes = [Probe(access.call, 1.0) for access in accesses]
        interleave(probes, self._effort, self._deadline.part(share), n_always=n_always)
        self.compile_seconds += sum(probe.compile_seconds for probe in probes)
        measured = [(access, probe) for access, probe in zip(accesses, probes, strict=True) if probe.rates]
        if len(measured) < len(accesses):
            n_missing = len(accesses) - len(measured)
            self._left_out[experiment] = self._left_out.get(experiment, 0) + n_missing
        for access, _ in measured:
            if (got := access.call(2)) != access.expected(2):
                raise WrongResultError(
                    f"reading {access.working_set} bytes ({access.name}) gave {got}; "
                    f"expected {access.expected(2)}. The figures mean nothing: please report this."
                )
        return tuple(_row(access, limit(probe.rates)) for access, probe in measured)

    def notes(self) -> list[str]:
        """The sentence on what was left out."""
        told = ", ".join(f"{n} of {experiment}" for experiment, n in self._left_out.items())
        return [f"Rows left out, since the time was up: {told}."] if told else []


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
