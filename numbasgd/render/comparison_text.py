"""A ``Comparison`` as tables for people, as one flat table for CSV, and as plain JSON values."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from numbasgd.compare.changes import NOT_COMPARABLE, REFERENCE, Change
from numbasgd.compare.comparison import Comparison, Row
from numbasgd.compare.estimate import CANNOT_TELL, FASTER, SAME, SCATTER, SLOWER
from numbasgd.compare.measures import Measure
from numbasgd.render.machine_text import letter
from numbasgd.render.tables import Table, number, printable

_WHAT = {
    "time": "times",
    "blas": "shares of each side's own reference in the same run",
    "peak": "shares of each machine's measured FMA peak",
    "roofline": "shares of what each machine's roofline allows",
}
ORDER = (FASTER, SLOWER, SAME, CANNOT_TELL, REFERENCE, NOT_COMPARABLE)  # of verdicts in texts
MOST = 30  # cases that are named one by one
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def case_tables(comparison: Comparison) -> list[Table]:
    """A table for each ladder, its geometric mean as last row."""
    tables = []
    for mean in comparison.means:
        rows = [row for row in comparison.rows if row.ladder == mean.ladder]
        table = _table(rows, len(comparison.sides), unit_of(rows))
        last = [f"geometric mean of {max(mean.cases)}"] + [None] * (len(table.columns) - 1)
        for place, ratio in enumerate(mean.ratios, 1):
            if ratio is not None:
                last[table.columns.index(_against(place))] = ratio  # type: ignore[call-overload]
        shown = table.rows + ((tuple(last),) if any(mean.cases) else ())
        tables.append(Table(table.columns, shown, mean.ladder or "cases without a group"))
    return tables


def flat_table(comparison: Comparison) -> Table:
    """Every case in one table, times in seconds: for programs."""
    rows = comparison.rows
    table = _table(rows, len(comparison.sides), _UNITS[0], full=True)
    return Table(
        ("ladder", "id", *table.columns),
        tuple((row.ladder, row.id, *cells) for row, cells in zip(rows, table.rows, strict=True)),
    )


def notes(comparison: Comparison) -> list[str]:
    """What a reader must know besides the tables."""
    return tallies(comparison) + reading(comparison) + gaps(comparison)


def tallies(comparison: Comparison) -> list[str]:
    """How many verdicts of each sort, and which cases were told apart, for each side against the first."""
    said = []
    for place in range(1, len(comparison.sides)):
        changes = [(row.id, change) for row in comparison.rows if (change := row.changes[place - 1])]
        count = Counter(change.verdict for _, change in changes)
        told = ", ".join(f"{count[verdict]} {verdict}" for verdict in ORDER if count[verdict])
        said.append(f"{letter(place)} against A: {told or 'no case in common'}.")
        said += [printable(f"  {id_}: {words(c)}") for id_, c in changes if c.verdict in (FASTER, SLOWER)][
            :MOST
        ]
    return said


def reading(comparison: Comparison) -> list[str]:
    """What the ratios and verdicts mean."""
    said = []
    if comparison.metrics:
        told = ", and of ".join(_WHAT[metric] for metric in comparison.metrics)
        said.append(
            f"B/A is a ratio of speeds, from {told}: above 1, B is faster. From and to are its 95 % interval. "
            f"A verdict needs more than {100 * comparison.tolerance:.3g} % of difference and an interval "
            "without 1."
        )
    single = [len(side.files) == 1 for side in comparison.sides]
    if single[0] and any(single[1:]):
        said.append(_one_run(comparison.scatter))
    for file in (file for side in comparison.sides for file in side.files):
        if file.is_busy:
            percent = 100 * (file.noise_level or 0)
            said.append(
                f"The machine was busy while {printable(file.name)} was measured: in a quarter of its cases "
                f"the rounds scatter by more than {percent:.2g} %. Its verdicts are less sure than they look; "
                "measure again when nothing else runs."
            )
    changes = [c for row in comparison.rows for c in row.changes if c]
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
        told += (
            f"; where these are too few, or machines differ, it assumes that two runs differ by {most:.3g} %. "
        )
    else:
        told += f", and assumes that two runs of one program differ by no more than {most:.3g} %. "
    return (
        told + "Several files and --group machine (or commit) measure it, and can tell when many cases changed."
    )


def gaps(comparison: Comparison) -> list[str]:
    """The cases that some side lacks, and those that no file gives in a usable form."""
    said = [f"only in {', '.join(names)}: {id_}" for id_, names in comparison.partial]
    for side in comparison.sides:
        said += [f"{file.name}: {remark}." for file in side.files for remark in file.remarks]
        said += [f"left out of {file.name}: {reason}" for file in side.files for reason in file.left_out]
    return [printable(line) for line in said]


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """The whole comparison in plain JSON values."""
    sides = comparison.sides
    return {
        "schema": 1,
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
    factor = {FASTER: change.ratio, SLOWER: 1 / change.ratio}.get(change.verdict)
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


def _table(rows: Sequence[Row], sides: int, unit: tuple[float, str], *, full: bool = False) -> Table:
    """One row a case; a column that no side can fill is left out, unless ``full``."""
    measures = [m for row in rows for m in row.measures if m]
    units = ["GFLOP/s", "GB/s"] if full else sorted({m.unit for m in measures if m.unit}, reverse=True)
    shares = share_names(measures, full=full)
    has_iqr = full or any(m.relative_iqr is not None for m in measures)
    columns = ["case"]
    for place in range(sides):
        names = [unit[1], *["iqr %"] * has_iqr, *units, *shares.values()]
        columns += [f"{letter(place)} {name}" for name in names]
    for place in range(1, sides):
        columns += [_against(place), f"{letter(place)} from", f"{letter(place)} to", f"{letter(place)} verdict"]
    long = names_meet(rows)
    lines = []
    for row in rows:
        line: list[Any] = [row.id if long else name_of(row)]
        for m in row.measures:
            line.append(m and m.seconds.value / unit[0])
            line += [m and m.relative_iqr and 100 * m.relative_iqr] * has_iqr
            line += [m.rate if m and m.unit == name else None for name in units]
            for metric in shares:
                share = m.share(metric) if m else None
                line.append(share and 100 * share)
        for change in row.changes:
            line += [change.ratio, change.low, change.high, words(change)] if change else [None] * 4
        lines.append(tuple(line))
    return Table(tuple(columns), tuple(lines))


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


def _against(place: int) -> str:
    return f"{letter(place)}/A"


def unit_of(rows: Sequence[Row]) -> tuple[float, str]:
    """The unit in which most of these times are short numbers, in seconds, and its name."""
    typical = math.exp(fmean(math.log(m.seconds.value) for row in rows for m in row.measures if m))
    return next((u for u in _UNITS if typical >= u[0]), _UNITS[-1])
