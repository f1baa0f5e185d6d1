"""The cases of a ``Comparison`` as tables: one for each ladder for people, and one flat table for CSV."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import geometric_mean
from typing import Any

from numbasgd.compare.changes import NOT_COMPARABLE, REFERENCE
from numbasgd.compare.comparison import Comparison, Mean, Row
from numbasgd.render.comparison_text import UNITS, name_of, names_meet, share_names, unit_of, words
from numbasgd.render.machine_text import letter
from numbasgd.render.tables import Best, Table, width_of

# Kinds of columns, the most telling first; the first ones are always shown.
_PRIORITY = (
    "name",
    "time",
    "verdict",
    "time ratio",
    "blas",
    "ratio",
    "interval",
    "rate",
    "roofline",
    "iqr",
    "peak",
)
_SHORT = {"blas": "%", "peak": "% peak", "roofline": "% roof"}
_ALWAYS = _PRIORITY[:3]


def case_tables(comparison: Comparison, width: int | None = None) -> list[Table]:
    """A table for each ladder, its geometric mean as last row.

    ``width`` : the columns that a table may have; every table then has the same, the most telling of those that
    fit.  None for all of them.
    """
    found = []
    ladders: dict[str, list[Row]] = {}
    for row in comparison.rows:
        ladders.setdefault(row.ladder, []).append(row)
    for mean in comparison.means:
        rows = ladders[mean.ladder]
        columns = _columns(rows, len(comparison.sides), unit_of(rows), is_short=width is not None)
        found.append((mean, columns, _title(mean, rows, is_short=width is not None)))
    kinds = set(_PRIORITY)
    if width is not None:
        kinds = set()
        for kind in _PRIORITY:
            tables = [_as_table(columns, kinds | {kind}, mean) for mean, columns, _ in found]
            if kind in _ALWAYS or max(map(width_of, tables), default=0) <= width:
                kinds.add(kind)
    return [_as_table(columns, kinds, mean, title) for mean, columns, title in found]


def _title(mean: Mean, rows: Sequence[Row], *, is_short: bool) -> str:
    """The ladder, and what shares of its reference are shares of where the columns do not say it."""
    title = mean.ladder or "cases without a group"
    names = share_names([m for row in rows for m in row.measures if m])
    return f"{title} ({names['blas']})" if is_short and "blas" in names else title


def flat_table(comparison: Comparison) -> Table:
    """Every case in one table, times in seconds: for programs."""
    rows = comparison.rows
    table = _as_table(_columns(rows, len(comparison.sides), UNITS[0], full=True), _PRIORITY)
    return Table(
        ("ladder", "id", *table.columns),
        tuple((row.ladder, row.id, *cells) for row, cells in zip(rows, table.rows, strict=True)),
    )


@dataclass(frozen=True)
class _Column:
    """A column of a table of cases.  kind : one of ``_PRIORITY``.  mean : its geometric mean, if it has one."""

    kind: str
    name: str
    cells: tuple[Any, ...]
    mean: float | None = None


def _as_table(
    columns: Sequence[_Column], kinds: Collection[str], mean: Mean | None = None, title: str = ""
) -> Table:
    """The columns of those kinds, with a last row where a ladder has a mean."""
    shown = [column for column in columns if column.kind in kinds]
    rows = list(zip(*(column.cells for column in shown), strict=True))
    if mean is not None and any(column.mean for column in columns):
        count = max(mean.cases) or len(rows)
        rows.append((f"geom. mean of {count}", *(column.mean for column in shown[1:])))
    return Table(tuple(column.name for column in shown), tuple(rows), title)


def _columns(
    rows: Sequence[Row],
    sides: int,
    unit: tuple[float, str],
    *,
    full: bool = False,
    is_short: bool = False,
) -> list[_Column]:
    """The columns of these cases; those that no side can fill are left out, unless ``full``.

    ``is_short`` : names of shares in a few letters.
    """
    long = names_meet(rows)
    columns = [_Column("name", "case", tuple(row.id if long else name_of(row) for row in rows))]
    for place in range(sides):
        columns += _of_side(rows, place, unit, full=full, is_short=is_short)
    for place in range(1, sides):
        columns += _against_first(rows, place, full=full)
    return columns


def _of_side(
    rows: Sequence[Row], place: int, unit: tuple[float, str], *, full: bool, is_short: bool
) -> list[_Column]:
    """What a side measured."""
    everywhere = [m for row in rows for m in row.measures if m]
    measures = [row.measures[place] for row in rows]
    side = letter(place)
    times = tuple(_time(row, place, unit[0], is_marked=len(row.measures) > 2) for row in rows)
    columns = [_Column("time", f"{side} {unit[1]}", times)]
    if full or any(m.relative_iqr is not None for m in everywhere):
        iqrs = tuple(m and m.relative_iqr and 100 * m.relative_iqr for m in measures)
        columns.append(_Column("iqr", f"{side} iqr %", iqrs))
    units = ["GFLOP/s", "GB/s"] if full else sorted({m.unit for m in everywhere if m.unit}, reverse=True)
    for name in units:
        rates = tuple(m.rate if m and m.unit == name else None for m in measures)
        columns.append(_Column("rate", f"{side} {name}", rates))
    for metric, name in share_names(everywhere, full=full).items():
        shares = [m.share(metric) if m else None for m in measures]
        name = _SHORT[metric] if is_short else name
        columns.append(_Column(metric, f"{side} {name}", tuple(share and 100 * share for share in shares)))
    return columns


def _time(row: Row, place: int, unit: float, *, is_marked: bool) -> float | None:
    """A side's time, marked where it is the shortest of its row."""
    m = row.measures[place]
    if m is None:
        return None
    shortest = min(other.seconds.value for other in row.measures if other)
    time = m.seconds.value / unit
    return Best(time) if is_marked and m.seconds.value == shortest else time


def _against_first(rows: Sequence[Row], place: int, *, full: bool) -> list[_Column]:
    """A side's ratios to the first; that of times has its own column where verdicts are about another one."""
    side, changes = letter(place), [row.changes[place - 1] for row in rows]
    has_shares = any(c and c.metric != "time" for c in changes)
    columns = []
    if full or has_shares:
        times = tuple(_time_ratio(row, place) for row in rows)
        columns.append(_Column("time ratio", f"{side}/A time", times, _mean([time for time in times if time])))
    metrics = {c.metric for c in changes if c}
    name, verdict, expected = f"{side}/A", f"{side} verdict", []
    if has_shares and not full:
        name += f" {_SHORT[metrics.pop()]}" if len(metrics) == 1 else " share"
    has_kind = any(c and c.expected != 1 for c in changes)
    if full or has_kind:
        expected = [_Column("interval", f"{side} expected", tuple(c and c.expected for c in changes))]
        verdict = verdict if full else f"{side} vs its kind"
    judged = [c.ratio for c in changes if c and c.verdict not in (REFERENCE, NOT_COMPARABLE)]
    return [
        *columns,
        _Column("ratio", name, tuple(c and c.ratio for c in changes), _mean(judged)),
        _Column("interval", f"{side} from", tuple(c and c.low for c in changes)),
        _Column("interval", f"{side} to", tuple(c and c.high for c in changes)),
        *expected,
        _Column("verdict", verdict, tuple(c and words(c) for c in changes)),
    ]


def _mean(ratios: Sequence[float]) -> float | None:
    return geometric_mean(ratios) if ratios else None


def _time_ratio(row: Row, place: int) -> float | None:
    a, b = row.measures[0], row.measures[place]
    return a.seconds.value / b.seconds.value if a and b else None
