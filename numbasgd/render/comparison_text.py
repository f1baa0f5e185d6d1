"""What a ``Comparison`` says besides its tables, in lines for people, and all of it as plain JSON values."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from numbasgd.compare.changes import ALIKE, DEPARTURE, NOT_COMPARABLE, REFERENCE, Change
from numbasgd.compare.comparison import Comparison, Row
from numbasgd.compare.estimate import CANNOT_TELL, FASTER, SAME, SCATTER, SLOWER
from numbasgd.compare.measures import Measure
from numbasgd.compare.summary import summarise
from numbasgd.compare.summary_words import sentences, standing_out
from numbasgd.render.machine_text import letter
from numbasgd.render.tables import number, printable

_WHAT = {
    "time": "times",
    "blas": "shares of each side's own reference in the same run",
    "peak": "shares of each machine's measured FMA peak",
    "roofline": "shares of what each machine's roofline allows",
}
ORDER = (FASTER, SLOWER, SAME, CANNOT_TELL, REFERENCE, NOT_COMPARABLE)  # of verdicts in texts
MOST = 30  # cases that are named one by one
UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def notes(comparison: Comparison, most: int | None = MOST) -> list[str]:
    """What a reader must know besides the summary and the tables, in at most ``most`` lines of each sort."""
    return tallies(comparison, most) + reading(comparison) + gaps(comparison, most)


def tallies(comparison: Comparison, most: int | None = MOST) -> list[str]:
    """How many verdicts of each sort, and which cases were told apart, for each side against the first.

    Where a whole suite moved together, its cases are not named one by one.
    """
    said = []
    for against in summarise(comparison).against:
        changes = [(row.id, change) for row in comparison.rows if (change := row.changes[against.place - 1])]
        count = Counter(change.verdict for _, change in changes)
        told = ", ".join(f"{count[verdict]} {verdict}" for verdict in ORDER if count[verdict])
        said.append(f"{letter(against.place)} against A: {told or 'no case in common'}.")
        if against.common is None or against.exceptions or not against.same_machine:
            called = [printable(f"  {id_}: {words(c)}") for id_, c in changes if c.verdict in (FASTER, SLOWER)]
            said += _first(called, most)
    return said


def _first(lines: list[str], most: int | None) -> list[str]:
    """The lines, or the first ones and how many follow."""
    if most is None or len(lines) <= most:
        return lines
    return [*lines[:most], f"  and {len(lines) - most} more: --all"]


def reading(comparison: Comparison) -> list[str]:
    """What the ratios and verdicts mean."""
    said = []
    changes = [c for row in comparison.rows for c in row.changes if c]
    if comparison.metrics:
        told = ", ".join(_WHAT[metric] for metric in comparison.metrics)
        said.append(
            f"Ratios are ratios of speeds: above 1, B is faster. Verdicts are about {told}. "
            f"They need more than {100 * comparison.tolerance:.3g} % of difference and a 95 % interval "
            "(from, to) without 1. Means are geometric."
        )
    if comparison.is_by_kind:
        said.append(
            "Between kinds of machine a share differs for the machine's sake too, so there a verdict sets it "
            "against what the cases of its kind show, those that resemble it: 1.30x slower is 1.30 times below "
            f"them. Less than {100 * DEPARTURE:.3g} % is not called, and same means within a factor of "
            f"{1 + ALIKE:.2g} of them."
        )
    single = [len(side.files) == 1 for side in comparison.sides]
    if single[0] and any(single[1:]):
        said.append(_one_run(comparison.scatter))
    if refused := sum(c.verdict == NOT_COMPARABLE for c in changes):
        said.append(f"{refused} of {len(changes)} ratios stand between figures that cannot be compared.")
    return said


def _one_run(scatter: float | None) -> str:
    """Where the interval of a ratio comes from when each side is one run."""
    most = 100 * (SCATTER if scatter is None else scatter)
    told = (
        "One run a side does not show how runs of a case differ. Its interval takes that from how far 95 % of "
        "the other cases of the same two runs lie apart"
    )
    if scatter is None:
        told += f"; where these are too few, it assumes that two runs differ by {most:.3g} %. "
    else:
        told += f", and assumes that two runs of one program differ by no more than {most:.3g} %. "
    return (
        told + "Several files and --group machine (or commit) measure it, and can tell when many cases changed."
    )


def gaps(comparison: Comparison, most: int | None = None) -> list[str]:
    """The cases that some side lacks, and those that no file gives in a usable form."""
    partial = [f"only in {', '.join(names)}: {id_}" for id_, names in comparison.partial]
    remarks = [
        f"{file.name}: {remark}." for side in comparison.sides for file in side.files for remark in file.remarks
    ]
    left_out = [
        f"left out of {file.name}: {reason}"
        for side in comparison.sides
        for file in side.files
        for reason in file.left_out
    ]
    return [printable(line) for line in (*_first(partial, most), *remarks, *_first(left_out, most))]


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """The whole comparison in plain JSON values."""
    sides, summary = comparison.sides, summarise(comparison)
    return {
        "schema": 1,
        "summary": {
            **asdict(summary),
            "sentences": list(sentences(summary)),
            "standing_out": list(standing_out(summary)),
        },
        "metric": comparison.metric,
        "tolerance": comparison.tolerance,
        "scatter": comparison.scatter,
        "sides": [
            {
                "letter": letter(i),
                "name": side.name,
                "files": [file.name for file in side.files],
                "unrest": [file.noise_level for file in side.files],
                "left_out": [reason for file in side.files for reason in file.left_out],
            }
            for i, side in enumerate(sides)
        ],
        "differences": [
            {"key": d.key, "values": list(d.values), "kind": comparison.kind_of(d)}
            for d in comparison.differences
        ],
        "cases": [
            {
                "id": row.id,
                "ladder": row.ladder,
                "measures": [m and _measure(m) for m in row.measures],
                "changes": [c and vars(c) for c in row.changes],
            }
            for row in comparison.rows
        ],
        "means": [vars(mean) for mean in comparison.means],
        "partial": [{"id": id_, "in": list(names)} for id_, names in comparison.partial],
    }


def words(change: Change) -> str:
    """The verdict with its size: 1.30x slower."""
    factor = {FASTER: change.departure, SLOWER: 1 / change.departure}.get(change.verdict)
    return f"{number(factor)}x {change.verdict}" if factor else change.verdict


def _measure(m: Measure) -> dict[str, Any]:
    return {
        "case": m.case.case,
        "seconds": m.seconds.value,
        "spread": m.relative_iqr,
        "rate": m.rate,
        "unit": m.unit,
        "share": m.share("blas"),
        "reference": m.case.reference,
        "peak_share": m.share("peak"),
        "roofline_share": m.share("roofline"),
        "bound": m.bound and m.bound.name,
        "runs": m.runs,
    }


def share_names(measures: Sequence[Measure], *, full: bool = False) -> dict[str, str]:
    """The metrics that are shares, by the header of their column; those that some case has, or all."""
    references = {m.case.reference for m in measures if m.share("blas")}
    own = f"% of {references.pop()}" if len(references) == 1 and not full else "% of reference"
    names = {"blas": own, "peak": "% of peak", "roofline": "% of roofline"}
    return {metric: name for metric, name in names.items() if full or any(m.share(metric) for m in measures)}


def names_meet(rows: Sequence[Row]) -> bool:
    """Whether two cases of one ladder have one short name."""
    return len({(row.ladder, name_of(row)) for row in rows}) < len(rows)


def name_of(row: Row) -> str:
    """The short name of a case: its rung or method."""
    return next(m.case.case for m in row.measures if m)


def unit_of(rows: Sequence[Row]) -> tuple[float, str]:
    """The unit in which most of these times are short numbers, in seconds, and its name."""
    typical = math.exp(fmean(math.log(m.seconds.value) for row in rows for m in row.measures if m))
    return next((u for u in UNITS if typical >= u[0]), UNITS[-1])
