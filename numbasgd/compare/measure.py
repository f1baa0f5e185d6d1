"""What a side of a comparison says of one case, and what it says against another side.

A case has up to four figures, each a speed: per second ("time"), as a share of its reference's in the same
run ("blas"), of the measured FMA peak ("peak"), and of what the roofline allows ("roofline").  The last two
need the limits that ``numbasgd.machine.bounds`` knows.  A change is the ratio of one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from numbasgd.compare.estimate import SCATTER, Crowd, Estimate, of_case, of_quartiles, pool, verdict
from numbasgd.compare.machines import Difference, obstacles
from numbasgd.compare.prior import Prior
from numbasgd.compare.results import Case, ResultFile
from numbasgd.machine.bounds import Bound, fma_bound, roofline_bound

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
    spreads = [case.iqr / case.median for case in cases if case.iqr is not None and case.rounds != 1]
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

    metric : one of METRICS or "auto".  differ : how the machines do.  tolerance, prior : see
    ``numbasgd.compare.estimate``.  scatter : that two runs may differ by, None for what is usual.
    is_restless : whether the machine was busy with something else.  crowds : by metric, the ratios of all cases
    on one machine.
    """

    metric: str
    differ: tuple[Difference, ...]
    tolerance: float
    scatter: float | None = None
    prior: Prior | None = None
    is_restless: bool = False
    crowds: Mapping[str, Crowd] = field(default_factory=dict)


def shown(a: Measure, b: Measure, terms: Terms) -> tuple[str, str | None]:
    """What the ratio of ``b`` to ``a`` is a ratio of, and why it gets no verdict, or None.

    "auto" means times where nothing keeps them apart, and else shares of the BLAS.
    """
    metric, differ = terms.metric, terms.differ
    no_times = _is_kept_apart(a, b, differ, "time")
    if metric == "auto":
        metric = "blas" if no_times and not _is_kept_apart(a, b, differ, "blas") else "time"
        is_comparable = not (metric == "time" and no_times)
    else:
        is_comparable = metric == "time" or not _is_kept_apart(a, b, differ, metric)
    if metric == "blas" and a.case.case == a.case.reference:
        why_not: str | None = REFERENCE
    elif (a.case.flop and b.case.flop and a.case.flop != b.case.flop) or not is_comparable:
        why_not = NOT_COMPARABLE
    else:
        why_not = None
    return metric if metric in a.figures and metric in b.figures else "time", why_not


def crowds(pairs: Sequence[tuple[Measure, Measure]], terms: Terms) -> dict[str, Crowd]:
    """The ratios of all pairs that get a verdict, by what they are ratios of.

    There are none between machines, where most cases do differ.
    """
    found: dict[str, list[Estimate]] = {}
    for a, b in pairs:
        metric, why_not = shown(a, b, terms)
        if why_not is None and not obstacles(terms.differ, a.case, "time"):
            ratio = b.figures[metric].against(a.figures[metric], 0.0, terms.prior)
            found.setdefault(metric, []).append(ratio)
    are_single = all(a.runs + b.runs == 2 for a, b in pairs)
    return {metric: Crowd(ratios, are_single) for metric, ratios in found.items()}


def change(a: Measure, b: Measure, terms: Terms) -> Change:
    """``b`` against ``a``, with its verdict."""
    metric, why_not = shown(a, b, terms)
    figures = a.figures[metric], b.figures[metric]
    ratio = figures[1].against(figures[0], _apart(a, b, metric, terms), terms.prior)
    if a.runs == 1 and figures[0] == figures[1] and (a.case.q1, a.case.q3) == (b.case.q1, b.case.q3):
        ratio = Estimate(1.0, 0.0)  # one measurement twice: no need to ask about its spread
    low, high = ratio.interval
    said = why_not or verdict(ratio.value, low, high, terms.tolerance)
    return Change(ratio.value, low, high, metric, said)


def _apart(a: Measure, b: Measure, metric: str, terms: Terms) -> float:
    """How far such figures lie apart at least when nothing changed, as a factor's logarithm."""
    assumed = math.log1p(SCATTER if terms.scatter is None else terms.scatter)
    crowd = terms.crowds.get(metric)
    ratio = b.figures[metric].against(a.figures[metric], 0.0, terms.prior)
    measured = crowd.apart(ratio) if crowd else math.inf
    if a.runs + b.runs > 2:  # they are a sample of their own, unless something else was at work
        return measured if terms.is_restless and measured < math.inf else 0.0
    return min(measured, assumed) if terms.scatter is not None or measured == math.inf else measured


def _is_kept_apart(a: Measure, b: Measure, differ: Sequence[Difference], metric: str) -> bool:
    """Whether the machines differ in what matters to this figure, or a side does not have it."""
    if metric not in a.figures or metric not in b.figures:
        return True
    other_threads = metric == "time" and a.case.n_threads != b.case.n_threads
    return other_threads or bool(obstacles(differ, a.case, metric))
