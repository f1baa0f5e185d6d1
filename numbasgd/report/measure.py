"""What a side of a comparison says of one case, and what it says against another side.

A case has up to four figures, each a speed: per second ("time"), as a share of its reference's in the same
run ("blas"), of the measured FMA peak ("peak"), and of what the roofline allows ("roofline").  The last two
need the limits that ``numbasgd.report.bounds`` knows.  A change is the ratio of one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from numbasgd.report.bounds import Bound, fma_bound, roofline_bound
from numbasgd.report.estimate import Estimate, of_case, of_quartiles, pool, verdict
from numbasgd.report.machines import Difference, obstacles
from numbasgd.report.results import Case, ResultFile

METRICS = ("time", "blas", "peak", "roofline")
REFERENCE, NOT_COMPARABLE = "reference", "not comparable"
_IN_BYTES = ("gradient", "memory")  # kinds whose work is moving data, so that GB/s is what matters


@dataclass(frozen=True)
class Side:
    """One column of a comparison: a name, and the runs that are its sample (one file, or several)."""

    name: str
    files: tuple[ResultFile, ...]


@dataclass(frozen=True)
class Measure:
    """What one side says of one case.

    seconds : the median.  spread : IQR over median.  rate, unit : GFLOP/s or GB/s.  figures : the speed by
    metric, where it can be told.  bound : what the first run's roofline stands on.  runs : files it rests
    on.  case : the first run's.
    """

    case: Case
    seconds: Estimate
    spread: float | None
    rate: float | None
    unit: str | None
    figures: Mapping[str, Estimate]
    bound: Bound | None
    runs: int

    def share(self, metric: str) -> float | None:
        """The speed as a share of what ``metric`` names."""
        figure = self.figures.get(metric)
        return figure.value if figure else None


@dataclass(frozen=True)
class Change:
    """A side against the first one: the speed ratio, its interval, what it is a ratio of, and the verdict."""

    ratio: float
    low: float | None
    high: float | None
    metric: str
    verdict: str


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
    spreads = [case.iqr / case.median for case in cases if case.iqr is not None]
    return Measure(
        case=cases[0],
        seconds=seconds,
        spread=median(spreads) if spreads else None,
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
    """The least time, off by as much as its limit; a limit told without its spread counts as exact."""
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


@dataclass(frozen=True)
class Terms:
    """How two sides are compared.

    metric : one of METRICS or "auto".  apart : how the machines differ.  tolerance, scatter, typical : see
    ``numbasgd.report.estimate``.
    """

    metric: str
    apart: tuple[Difference, ...]
    tolerance: float
    scatter: float
    typical: float | None = None


def change(a: Measure, b: Measure, terms: Terms) -> Change:
    """``b`` against ``a``; "auto" means times where nothing keeps them apart, and else shares of the BLAS."""
    metric, apart = terms.metric, terms.apart
    no_times = _is_kept_apart(a, b, apart, "time")
    if metric == "auto":
        metric = "blas" if no_times and not _is_kept_apart(a, b, apart, "blas") else "time"
        is_comparable = not (metric == "time" and no_times)
    else:
        is_comparable = metric == "time" or not _is_kept_apart(a, b, apart, metric)
    shown = metric if metric in a.figures and metric in b.figures else "time"
    figures = a.figures[shown], b.figures[shown]
    ratio = figures[1].against(figures[0], terms.scatter, terms.typical)
    if a.runs == 1 and figures[0] == figures[1] and (a.case.q1, a.case.q3) == (b.case.q1, b.case.q3):
        ratio = Estimate(1.0, 0.0)  # one measurement twice: no need to ask about its spread
    low, high = ratio.interval
    if metric == "blas" and a.case.case == a.case.reference:
        said = REFERENCE
    elif (a.case.flop and b.case.flop and a.case.flop != b.case.flop) or not is_comparable:
        said = NOT_COMPARABLE
    else:
        said = verdict(ratio.value, low, high, terms.tolerance)
    return Change(ratio.value, low, high, shown, said)


def _is_kept_apart(a: Measure, b: Measure, apart: Sequence[Difference], metric: str) -> bool:
    """Whether the machines differ in what matters to this figure, or a side does not have it."""
    if metric not in a.figures or metric not in b.figures:
        return True
    other_threads = metric == "time" and a.case.n_threads != b.case.n_threads
    return other_threads or bool(obstacles(apart, a.case, metric))
