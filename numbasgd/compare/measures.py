"""What one side of a comparison measured for one case.

A case has up to four figures, each a speed: per second ("time"), as a share of its reference's in the same
run ("blas"), of the measured FMA peak ("peak"), and of what the roofline allows ("roofline").  The last two
need the machine's measured limits, see ``numbasgd.machine.bounds``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from numbasgd.compare.estimate import Estimate, of_case, of_quartiles, pool
from numbasgd.compare.results import Case, ResultFile
from numbasgd.machine.bounds import Bound, fma_bound, roofline_bound

METRICS = ("time", "blas", "peak", "roofline")
_IN_BYTES = ("gradient", "memory")  # kinds that are bound by memory: their rate is told in GB/s


@dataclass(frozen=True)
class Side:
    """One column of a comparison: a name, and the runs that are its sample (one file, or several)."""

    name: str
    files: tuple[ResultFile, ...]


@dataclass(frozen=True)
class Measure:
    """What one side measured for one case.

    case : the first run's.  seconds : the median.  relative_iqr : interquartile range over median.
    rate, unit : GFLOP/s or GB/s.  figures : the speed by metric, where it is known.
    bound : the limit that the first run's roofline sets.  runs : how many files have the case.
    """

    case: Case
    seconds: Estimate
    relative_iqr: float | None
    rate: float | None
    unit: str | None
    figures: Mapping[str, Estimate]
    bound: Bound | None
    runs: int

    def share(self, metric: str) -> float | None:
        """The speed as a share of what ``metric`` names."""
        figure = self.figures.get(metric)
        return figure.value if figure else None


def measure(side: Side, id_: str) -> Measure | None:
    """The case ``id_`` on one side, or None where that side does not have it."""
    runs = [(file, file.by_id[id_]) for file in side.files if id_ in file.by_id]
    if not runs:
        return None
    cases = [case for _, case in runs]
    seconds = pool([of_case(case) for case in cases])
    figures = {"time": seconds.inverse()}
    for metric, yardstick in _YARDSTICKS.items():
        shares = [
            unit.over(of_case(case)) for file, case in runs if (unit := yardstick(file, case)) is not None
        ]
        if shares:
            figures[metric] = pool(shares)
    work, heading = _work(cases[0])
    iqrs = [case.iqr / case.median for case in cases if case.iqr is not None and case.rounds != 1]
    return Measure(
        case=cases[0],
        seconds=seconds,
        relative_iqr=median(iqrs) if iqrs else None,
        rate=work and work / seconds.value / 1e9,
        unit=heading,
        figures=figures,
        bound=roofline(*runs[0]),
        runs=len(runs),
    )


def roofline(file: ResultFile, case: Case) -> Bound | None:
    """The least time that the file's limits allow the case."""
    if file.limits is None or case.device != "cpu":
        return None
    return roofline_bound(
        file.limits,
        flop=case.flop,
        bytes=case.bytes,
        dtype=case.dtype,
        threads=case.threads,
        working_set=case.working_set,
    )


def _reference(file: ResultFile, case: Case) -> Estimate | None:
    own = file.reference_of(case)
    return of_case(own) if own else None


def _peak(file: ResultFile, case: Case) -> Estimate | None:
    if file.limits is None or case.device != "cpu":
        return None
    return _least(fma_bound(file.limits, flop=case.flop, dtype=case.dtype, threads=case.threads))


def _roofline(file: ResultFile, case: Case) -> Estimate | None:
    return _least(roofline(file, case))


def _least(bound: Bound | None) -> Estimate | None:
    """The least time, with the error of its limit; a limit without quartiles counts as exact."""
    if bound is None:
        return None
    ceiling = bound.ceiling
    return of_quartiles(bound.seconds, ceiling.low or 1.0, ceiling.high or ceiling.low or 1.0)


# The seconds that a case's own are a share of.
_YARDSTICKS: Mapping[str, Callable[[ResultFile, Case], Estimate | None]] = {
    "blas": _reference,
    "peak": _peak,
    "roofline": _roofline,
}


def _work(case: Case) -> tuple[float | None, str | None]:
    if case.bytes and (case.kind in _IN_BYTES or not case.flop):
        return case.bytes, "GB/s"
    return (case.flop, "GFLOP/s") if case.flop else (None, None)
