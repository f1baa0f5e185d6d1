"""Two or more result files -> which cases became faster or slower, as data.  Nothing here prints.

**The ratio** is a speed ratio against the first side: above 1 the other side is faster.  Where nothing keeps
their times apart (one machine, or machines that do not differ in what matters) it is a ratio of times; else
each time is first divided by the time of its own reference, the BLAS, in the same run, and the ratio is one
of those shares.  ``metric`` forces one or the other.

How figures get their errors and ratios their verdicts: ``numbasgd.report.estimate``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from numbasgd.errors import ResultFileError
from numbasgd.report.estimate import TOLERANCE, Estimate, of_case, pool, verdict
from numbasgd.report.machines import INCOMPARABLE, Difference, differences, obstacles
from numbasgd.report.results import Case, ResultFile

METRICS = ("auto", "time", "blas")
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

    seconds : the median.  spread : IQR over median.  rate, unit : GFLOP/s or GB/s.  share : the speed as a
    share of ``reference``'s in the same run.  runs : files it rests on.  case : the first run's.
    """

    case: Case
    seconds: Estimate
    spread: float | None
    rate: float | None
    unit: str | None
    share: Estimate | None
    runs: int


@dataclass(frozen=True)
class Change:
    """A side against the first one: the speed ratio, its interval, what it is a ratio of, and the verdict."""

    ratio: float
    low: float | None
    high: float | None
    metric: str
    verdict: str


@dataclass(frozen=True)
class Row:
    """A case on every side (None where a side does not have it), and its change on all but the first."""

    id: str
    ladder: str
    measures: tuple[Measure | None, ...]
    changes: tuple[Change | None, ...]


@dataclass(frozen=True)
class Mean:
    """The geometric mean of the ratios of one ladder, one per side but the first, and over how many cases."""

    ladder: str
    ratios: tuple[float | None, ...]
    cases: tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """All there is to show.  ``partial``: cases that some sides lack, and the names of those that have them."""

    sides: tuple[Side, ...]
    metric: str
    tolerance: float
    differences: tuple[Difference, ...]
    rows: tuple[Row, ...]
    means: tuple[Mean, ...]
    partial: tuple[tuple[str, tuple[str, ...]], ...]


def sides_of(files: Sequence[ResultFile], *, group: str = "none", baseline: str | None = None) -> list[Side]:
    """Files as sides: each its own, or those of one machine (and one commit) together as runs of one side.

    The side with the file named ``baseline`` comes first.
    """
    sides: list[list[ResultFile]] = []
    for file in files:
        for side in sides:
            alike = group != "none" and not any(d.times == INCOMPARABLE for d in differences([side[0], file]))
            if alike and (group == "machine" or side[0].commit == file.commit):
                side.append(file)
                break
        else:
            sides.append([file])
    if len(sides) < 2:
        raise ResultFileError(
            f"all {len(files)} files are of one {group}; expected two to compare. Drop --group."
        )
    if baseline is not None:
        if baseline not in [file.name for file in files]:
            raise ResultFileError(
                f"the baseline {baseline} is none of the files that can be used. Name one of them."
            )
        sides.sort(key=lambda side: baseline not in [file.name for file in side])
    return [Side(side[0].name, tuple(side)) for side in sides]


def compare(
    sides: Sequence[Side], *, metric: str = "auto", tolerance: float = TOLERANCE, order: str = "file"
) -> Comparison:
    """Join the sides by case; the first is what the others are compared with.

    ``order`` of the cases: as in the files, by "name", or by "ratio" of the second side, smallest first.
    Raises ``ResultFileError`` where the first side shares no case with any other.
    """
    found = [{case.id: None for file in side.files for case in file.cases} for side in sides]  # in order
    everything = {id_: None for ids in found for id_ in ids}
    apart = tuple(differences([sides[0].files[0], side.files[0]]) for side in sides[1:])
    rows = []
    for id_ in everything:
        if id_ not in found[0] or not any(id_ in ids for ids in found[1:]):
            continue
        measures = tuple(_measure(side, id_) for side in sides)
        base = measures[0]
        assert base is not None
        changes = tuple(
            _change(base, other, between, metric, tolerance) if other else None
            for other, between in zip(measures[1:], apart, strict=True)
        )
        rows.append(Row(id_, base.case.ladder, measures, changes))
    if not rows:
        raise ResultFileError(
            f"{sides[0].name} has no case in common with {', '.join(s.name for s in sides[1:])}, for example "
            f"{next(iter(found[0]))!r} and {next(iter(found[1]))!r}. Run the same benches on both sides."
        )
    if order == "name":
        rows.sort(key=lambda row: row.id)
    elif order == "ratio":
        rows.sort(key=lambda row: row.changes[0].ratio if row.changes[0] else math.inf)
    return Comparison(
        sides=tuple(sides),
        metric=metric,
        tolerance=tolerance,
        differences=differences([side.files[0] for side in sides]),
        rows=tuple(rows),
        means=_means(rows, len(sides) - 1),
        partial=tuple(
            (id_, tuple(side.name for side, ids in zip(sides, found, strict=True) if id_ in ids))
            for id_ in everything
            if not all(id_ in ids for ids in found)
        ),
    )


def _measure(side: Side, id_: str) -> Measure | None:
    runs = [(file, file.by_id[id_]) for file in side.files if id_ in file.by_id]
    if not runs:
        return None
    cases = [case for _, case in runs]
    shares = [
        of_case(own).over(of_case(case)) for file, case in runs if (own := file.reference_of(case)) is not None
    ]
    seconds = pool([of_case(case) for case in cases])
    work, unit = _work(cases[0])
    spreads = [case.iqr / case.median for case in cases if case.iqr is not None]
    return Measure(
        case=cases[0],
        seconds=seconds,
        spread=median(spreads) if spreads else None,
        rate=work and work / seconds.value / 1e9,
        unit=unit,
        share=pool(shares) if shares else None,
        runs=len(runs),
    )


def _work(case: Case) -> tuple[float | None, str | None]:
    if case.bytes and (case.kind in _IN_BYTES or not case.flop):
        return case.bytes, "GB/s"
    return (case.flop, "GFLOP/s") if case.flop else (None, None)


def _change(a: Measure, b: Measure, apart: Sequence[Difference], metric: str, tolerance: float) -> Change:
    no_times = bool(obstacles(apart, a.case, shares=False)) or a.case.n_threads != b.case.n_threads
    no_shares = bool(obstacles(apart, a.case, shares=True)) or a.share is None or b.share is None
    by_shares = metric == "blas" or (metric == "auto" and no_times and not no_shares)
    if by_shares and a.share is not None and b.share is not None:
        ratio, figures = b.share.over(a.share), (a.share, b.share)
    else:
        ratio, figures = a.seconds.over(b.seconds), (a.seconds, b.seconds)
    if figures[0] == figures[1] and (a.case.q1, a.case.q3) == (b.case.q1, b.case.q3):
        ratio = Estimate(1.0, 0.0)  # one measurement twice: no need to ask about its spread
    low, high = ratio.interval
    other_work = a.case.flop and b.case.flop and a.case.flop != b.case.flop
    if by_shares and a.case.case == a.case.reference:
        said = REFERENCE
    elif other_work or (no_shares if by_shares else no_times and metric != "time"):
        said = NOT_COMPARABLE
    else:
        said = verdict(ratio.value, low, high, tolerance)
    return Change(ratio.value, low, high, "blas" if figures[0] is a.share else "time", said)


def _means(rows: Sequence[Row], others: int) -> tuple[Mean, ...]:
    ladders: dict[str, list[list[float]]] = {}
    for row in rows:
        columns = ladders.setdefault(row.ladder, [[] for _ in range(others)])
        for column, change in zip(columns, row.changes, strict=True):
            if change and change.verdict not in (REFERENCE, NOT_COMPARABLE):
                column.append(math.log(change.ratio))
    return tuple(
        Mean(ladder, tuple(math.exp(fmean(c)) if c else None for c in columns), tuple(map(len, columns)))
        for ladder, columns in ladders.items()
    )
