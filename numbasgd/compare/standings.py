"""Where each of many machines stands: its core, its memory, two kernels under its roofline, and its valley.

A class that runs the same bench on its own machines compares these.  ``numbasgd.compare.standings_words`` says
who is ahead, and why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numbasgd.compare.comparison import Comparison
from numbasgd.compare.machines import describe
from numbasgd.compare.measures import Measure, Side
from numbasgd.compare.valleys import FileValley, valleys
from numbasgd.json_values import mapping, number, sequence
from numbasgd.machine.bounds import Limits

MANY = 3  # sides from which on they are a class
DTYPE, THREADS = "float32", "one"
# What stands for a machine's arithmetic, and what for its memory: the kind and name of a case.
KERNELS = {"product": ("matmul", "packed"), "gradient": ("gradient", "numbasgd")}
LINE = 64  # bytes


@dataclass(frozen=True)
class Kernel:
    """A case on one machine: flop per byte, GFLOP/s, and these as a share of the peak and of the roof."""

    id: str
    intensity: float
    gflops: float
    peak_share: float | None
    roof_share: float | None


@dataclass(frozen=True)
class Core:
    """Multiply-adds of one thread in GFLOP/s, and operations a cycle, with what they follow from, if known."""

    peak: float
    vector_bytes: int | None
    pipes: int | None

    @property
    def operations(self) -> int | None:
        """Operations a cycle in float32."""
        return None if not self.vector_bytes or not self.pipes else self.vector_bytes // 4 * 2 * self.pipes

    @property
    def clock(self) -> float | None:
        """GHz that the peak tells of."""
        return self.peak / self.operations if self.operations else None


@dataclass(frozen=True)
class Memory:
    """GB/s that one thread reads from memory, and ns of a load from there, if known."""

    read: float
    latency: float | None

    @property
    def lines(self) -> float | None:
        """Cache lines that one core keeps in flight: what arrives during the time that a load takes."""
        return None if self.latency is None else self.read * self.latency / LINE


@dataclass(frozen=True)
class Standing:
    """One side: its place among them, its model, and what is known of it."""

    side: int
    model: str
    core: Core | None
    memory: Memory | None
    kernels: Mapping[str, Kernel]
    valley: FileValley | None


def standings(comparison: Comparison) -> list[Standing]:
    """All sides if they are many, else none."""
    sides = comparison.sides
    if len(sides) < MANY:
        return []
    ids = {name: _common_case(comparison, *of) for name, of in KERNELS.items()}
    rows = {row.id: row for row in comparison.rows}
    of_sides = _common_valleys(sides)
    found = []
    for i, side in enumerate(sides):
        kernels = {}
        for name, id_ in ids.items():
            kernel = None if id_ is None else _kernel(rows[id_].measures[i])
            if kernel is not None:
                kernels[name] = kernel
        model = describe(side.files[0]).get("cpu.model", "unknown")
        found.append(Standing(i, model, _core(side), _memory(side), kernels, of_sides[i]))
    return found


def _common_case(comparison: Comparison, kind: str, case: str) -> str | None:
    """The id of the case of that kind and name that most sides have; among those, the one with most work."""
    best: tuple[int, float] = (0, 0.0)
    found = None
    for row in comparison.rows:
        there = [m.case for m in row.measures if m]
        one = there[0] if there else None
        if one is None or (one.kind, one.case, one.dtype, one.threads) != (kind, case, DTYPE, THREADS):
            continue
        if one.device == "cpu" and (rank := (len(there), one.flop or 0.0)) > best:
            best, found = rank, row.id
    return found


def _kernel(m: Measure | None) -> Kernel | None:
    if m is None or not m.case.flop or not m.case.bytes:
        return None
    gflops = m.case.flop / m.seconds.value / 1e9
    return Kernel(m.case.id, m.case.flop / m.case.bytes, gflops, m.share("peak"), m.share("roofline"))


def _limits(side: Side) -> tuple[Limits, Mapping[str, Any]] | None:
    """The limits of the first run that has them, and the block that they stand in."""
    for file in side.files:
        if file.limits is not None:
            return file.limits, mapping(file.fingerprint)
    return None


def _core(side: Side) -> Core | None:
    known = _limits(side)
    peak = known and known[0].peak(DTYPE, THREADS)
    if not known or not peak:
        return None
    of_cpu = mapping(mapping(known[1].get("cpu")).get("description"))
    vector, pipes = number(of_cpu.get("vector_bytes")), number(of_cpu.get("fma_pipes"))
    has_both = vector is not None and pipes is not None and of_cpu.get("has_fma") is True
    return Core(peak.value, int(vector or 0) if has_both else None, int(pipes or 0) if has_both else None)


def _memory(side: Side) -> Memory | None:
    known = _limits(side)
    if not known or not known[0].levels or (last := known[0].levels[-1]).size is not None:
        return None
    read = last.read.get(THREADS)
    if read is None:
        return None
    levels = sequence(mapping(known[1].get("limits")).get("levels"))
    latency = number(mapping(levels[-1]).get("latency")) if levels else None
    return Memory(read.value, latency if latency and latency > 0 else None)


def _common_valleys(sides: Sequence[Side]) -> list[FileValley | None]:
    """Each side's valley of the problem that most sides have one of; None where it has none."""
    found = [[valley for file in side.files for valley in valleys(file)] for side in sides]
    problems = Counter(problem for mine in found for problem in {valley.problem for valley in mine})
    if not problems:
        return [None] * len(sides)
    common = problems.most_common(1)[0][0]
    return [next((valley for valley in mine if valley.problem == common), None) for mine in found]
