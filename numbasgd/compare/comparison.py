"""Two or more result files -> which cases became faster or slower, as data.  Nothing here prints.

**The ratio** is a speed ratio against the first side: above 1 the other side is faster.  On one machine, or on
machines that differ in nothing that changes times, it is a ratio of times.  Else it is one of shares: of what
the machine's roofline allows the case, of its measured FMA peak, or of the speed of the case's reference, the
BLAS, in the same run; the first of them that both sides have.  ``metric`` forces one.

**The verdict** on one machine is about the ratio.  Between machines it is about the ratio against the one that
the cases show which resemble this one: see ``numbasgd.compare.expected``.

Figures: ``numbasgd.compare.measures``.  Their errors: ``numbasgd.compare.estimate``.  Ratios and verdicts:
``numbasgd.compare.changes``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from numbasgd.compare.changes import NOT_COMPARABLE, REFERENCE, Change, Terms, change, judged
from numbasgd.compare.estimate import TOLERANCE, prior_between
from numbasgd.compare.machines import INCOMPARABLE, Difference, differences
from numbasgd.compare.measures import Measure, Side, measure
from numbasgd.compare.results import ResultFile
from numbasgd.errors import ResultFileError
from numbasgd.json_values import printable


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
    """A whole comparison.  partial : cases that some sides lack, each with the names of those that have it.

    withheld : the places of the sides whose verdicts are withheld since a machine was under load.
    """

    sides: tuple[Side, ...]
    metric: str
    tolerance: float
    scatter: float | None
    differences: tuple[Difference, ...]
    rows: tuple[Row, ...]
    means: tuple[Mean, ...]
    partial: tuple[tuple[str, tuple[str, ...]], ...]
    withheld: tuple[int, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """What the ratios are ratios of, without those between figures that cannot be compared."""
        changes = [c for row in self.rows for c in row.changes if c]
        return tuple(sorted({c.metric for c in changes if c.verdict != NOT_COMPARABLE}, reverse=True))

    @property
    def is_by_kind(self) -> bool:
        """Whether verdicts set cases against those that resemble them, as between kinds of machine."""
        return any(c and c.expected != 1 for row in self.rows for c in row.changes)

    def kind_of(self, difference: Difference) -> str:
        """The effect of a difference of the machines on these figures: on the shares, where there are any."""
        shares = [metric for metric in self.metrics if metric != "time"]
        return difference.kind(shares[0] if shares else "time")


def sides_of(files: Sequence[ResultFile], *, group: str = "none", baseline: str | None = None) -> list[Side]:
    """Files as sides: each its own, or those of one machine (and one commit) together as runs of one side.

    The side with the file named ``baseline`` comes first.
    """
    sides: list[list[ResultFile]] = []
    for file in files:
        for side in sides:
            alike = group != "none" and not any(
                d.kind("time") == INCOMPARABLE for d in differences([side[0], file])
            )
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
        wanted = Path(printable(baseline))
        if wanted not in [Path(file.name) for file in files]:
            raise ResultFileError(
                f"the baseline {baseline} is none of the files that can be used. Name one of them."
            )
        sides.sort(key=lambda side: wanted not in [Path(file.name) for file in side])
    return [Side(side[0].name, tuple(side)) for side in sides]


def compare(
    sides: Sequence[Side],
    *,
    metric: str = "auto",
    tolerance: float = TOLERANCE,
    scatter: float | None = None,
    order: str = "file",
) -> Comparison:
    """Join the sides by case; the first is what the others are compared with.

    ``order`` of the cases: as in the files, by "name", or by "ratio" of the second side, smallest first.
    Raises ``ResultFileError`` where the first side shares no case with any other.
    """
    found = [{case.id: None for file in side.files for case in file.cases} for side in sides]  # in order
    everything = {id_: None for ids in found for id_ in ids}
    joined = {
        id_: tuple(measure(side, id_) for side in sides)
        for id_ in everything
        if id_ in found[0] and any(id_ in ids for ids in found[1:])
    }
    terms = []
    for place, side in enumerate(sides[1:], 1):
        pairs = [(a, b) for a, b in ((m[0], m[place]) for m in joined.values()) if a and b]
        prior = prior_between([(a.seconds, b.seconds) for a, b in pairs])
        differ = differences([sides[0].files[0], side.files[0]])
        is_busy = any(file.is_busy for file in (*sides[0].files, *side.files))
        terms.append(judged(pairs, Terms(metric, differ, tolerance, scatter, prior, is_busy)))
    rows = [_row(id_, measures, terms) for id_, measures in joined.items()]
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
        scatter=scatter,
        differences=differences([side.files[0] for side in sides]),
        rows=tuple(rows),
        means=_means(rows, len(sides) - 1),
        partial=tuple(
            (id_, tuple(side.name for side, ids in zip(sides, found, strict=True) if id_ in ids))
            for id_ in everything
            if not all(id_ in ids for ids in found)
        ),
    )


def _row(id_: str, measures: tuple[Measure | None, ...], terms: Sequence[Terms]) -> Row:
    base = measures[0]
    assert base is not None
    changes = tuple(
        change(base, other, between) if other else None
        for other, between in zip(measures[1:], terms, strict=True)
    )
    return Row(id_, base.case.ladder, measures, changes)


def _means(rows: Sequence[Row], others: int) -> tuple[Mean, ...]:
    ladders: dict[str, list[list[float]]] = {}
    for row in rows:
        columns = ladders.setdefault(row.ladder, [[] for _ in range(others)])
        for column, found in zip(columns, row.changes, strict=True):
            if found and found.verdict not in (REFERENCE, NOT_COMPARABLE):
                column.append(math.log(found.ratio))
    return tuple(
        Mean(ladder, tuple(math.exp(fmean(c)) if c else None for c in columns), tuple(map(len, columns)))
        for ladder, columns in ladders.items()
    )
