"""A ``Comparison`` as tables for people, as one flat table for CSV, and as plain JSON values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from numbasgd.report.compare import NOT_COMPARABLE, Change, Comparison, Measure, Row
from numbasgd.report.estimate import FASTER, SLOWER
from numbasgd.report.machines import INCOMPARABLE, INFORMATION, NORMALIZED, Difference, describe
from numbasgd.report.tables import Table, number, printable

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def letter(place: int) -> str:
    """What a side is called in headers: A, B, ..., Z, A1, B1, ..."""
    return chr(ord("A") + place % 26) + (str(place // 26) if place >= 26 else "")


def machine_table(comparison: Comparison) -> Table:
    """Which letter is which file, and its machine in a few words."""
    rows = []
    for place, side in enumerate(comparison.sides):
        told = describe(side.files[0])
        blas = " ".join(told[k] for k in ("blas.name", "blas.kernel") if k in told)
        python = " ".join(
            f"{k} {told[f'versions.{k}']}" for k in ("python", "numba") if f"versions.{k}" in told
        )
        runs = f" ({len(side.files)} runs)" if len(side.files) > 1 else ""
        said = ", ".join(x for x in (told.get("cpu.model", ""), blas, python) if x)
        rows.append((letter(place), side.name + runs, said or "the file does not tell"))
    return Table(("", "file", "machine"), tuple(rows))


def difference_tables(comparison: Comparison) -> list[Table]:
    """The keys on which the machines differ, one table for each kind of difference."""
    columns = ("key", *map(letter, range(len(comparison.sides))))
    tables = []
    for kind in (INCOMPARABLE, NORMALIZED, INFORMATION):
        rows = [(d.key, *d.values) for d in comparison.differences if _kind(comparison, d) == kind]
        if rows:
            tables.append(Table(columns, tuple(rows), f"The machines differ; this {_verb(kind)}:"))
    return tables


def case_tables(comparison: Comparison) -> list[Table]:
    """A table for each ladder, its geometric mean as last row."""
    tables = []
    for mean in comparison.means:
        rows = [row for row in comparison.rows if row.ladder == mean.ladder]
        table = _table(rows, len(comparison.sides), _unit(rows))
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
    changes = [c for row in comparison.rows for c in row.changes if c]
    metrics = {c.metric for c in changes if c.verdict != NOT_COMPARABLE}
    what = {"time": "times", "blas": "shares of each side's own reference in the same run"}
    said = []
    if metrics:
        told = ", and of ".join(what[m] for m in sorted(metrics, reverse=True))
        said.append(
            f"B/A is a ratio of speeds, from {told}: above 1, B is faster. A verdict needs more than "
            f"{100 * comparison.tolerance:.3g} % of difference and more than the rounds scatter."
        )
    if any(len(side.files) == 1 for side in comparison.sides):
        said.append("One run a side does not show how runs differ; several files and --group machine do.")
    if refused := sum(c.verdict == NOT_COMPARABLE for c in changes):
        said.append(f"{refused} of {len(changes)} ratios stand between figures that cannot be compared.")
    for id_, names in comparison.partial:
        said.append(f"only in {', '.join(names)}: {id_}")
    for side in comparison.sides:
        said += [f"left out of {file.name}: {reason}" for file in side.files for reason in file.left_out]
    return [printable(line) for line in said]


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """The whole comparison in plain JSON values."""
    sides = comparison.sides
    return {
        "schema": 1,
        "metric": comparison.metric,
        "tolerance": comparison.tolerance,
        "sides": [
            {
                "letter": letter(i),
                "name": side.name,
                "files": [file.name for file in side.files],
                "left_out": [reason for file in side.files for reason in file.left_out],
            }
            for i, side in enumerate(sides)
        ],
        "differences": [
            {"key": d.key, "values": list(d.values), "kind": _kind(comparison, d)}
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
        "spread": m.spread,
        "rate": m.rate,
        "unit": m.unit,
        "share": m.share and m.share.value,
        "reference": m.case.reference,
        "runs": m.runs,
    }


def _table(rows: Sequence[Row], sides: int, unit: tuple[float, str], *, full: bool = False) -> Table:
    """One row a case; a column that no side can fill is left out, unless ``full``."""
    measures = [m for row in rows for m in row.measures if m]
    units = ["GFLOP/s", "GB/s"] if full else sorted({m.unit for m in measures if m.unit}, reverse=True)
    references = {m.case.reference for m in measures if m.share}
    share = f"% of {references.pop()}" if len(references) == 1 and not full else "% of reference"
    has_share = full or any(m.share for m in measures)
    has_spread = full or any(m.spread is not None for m in measures)
    columns = ["case"]
    for place in range(sides):
        names = [unit[1], *["iqr %"] * has_spread, *units, *[share] * has_share]
        columns += [f"{letter(place)} {name}" for name in names]
    for place in range(1, sides):
        columns += [_against(place), f"{letter(place)} from", f"{letter(place)} to", f"{letter(place)} verdict"]
    names_meet = len({(row.ladder, _name(row)) for row in rows}) < len(rows)
    lines = []
    for row in rows:
        line: list[Any] = [row.id if names_meet else _name(row)]
        for m in row.measures:
            line.append(m and m.seconds.value / unit[0])
            line += [m and m.spread and 100 * m.spread] * has_spread
            line += [m.rate if m and m.unit == name else None for name in units]
            line += [m and m.share and 100 * m.share.value] * has_share
        for change in row.changes:
            line += [change.ratio, change.low, change.high, words(change)] if change else [None] * 4
        lines.append(tuple(line))
    return Table(tuple(columns), tuple(lines))


def _name(row: Row) -> str:
    return next(m.case.case for m in row.measures if m)


def _against(place: int) -> str:
    return f"{letter(place)}/A"


def _unit(rows: Sequence[Row]) -> tuple[float, str]:
    """The unit in which most of these times are short numbers."""
    typical = math.exp(fmean(math.log(m.seconds.value) for row in rows for m in row.measures if m))
    return next((u for u in _UNITS if typical >= u[0]), _UNITS[-1])


def _kind(comparison: Comparison, difference: Difference) -> str:
    shares = any(c.metric == "blas" for row in comparison.rows for c in row.changes if c)
    return difference.kind(shares=shares)


def _verb(kind: str) -> str:
    return f"is {kind}" if kind == INFORMATION else kind
