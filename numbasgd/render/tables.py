"""Tables for people (plain text, Markdown) and for programs (CSV).

A cell is text, a number or None (nothing to show).  In plain text a column of numbers is aligned on the
decimal point.  Units stand in the header.  What text may hold is escaped: see ``numbasgd.render.escapes``.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from numbasgd.json_values import printable
from numbasgd.render.escapes import Markdown, for_csv, for_markdown

FORMATS = ("table", "md", "csv")


@dataclass(frozen=True)
class Table:
    """A title (may be empty), the headers, and rows of as many cells."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    title: str = ""


def number(value: float | int, digits: int = 3) -> str:
    """A number with that many significant digits and no exponent, unless it is below a millionth.

    >>> number(33.5544), number(0.01234), number(1234.5), number(256)
    ('33.6', '0.0123', '1234', '256')
    """
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    place = math.floor(math.log10(abs(rounded)))
    return f"{value:.{max(0, digits - 1 - place)}f}" if place >= -6 else f"{value:.{digits - 1}e}"


def render(tables: Table | Iterable[Table], form: str = "table") -> str:
    """The tables as text that ends with a line end; CSV has titles as a first column."""
    tables = [tables] if isinstance(tables, Table) else list(tables)
    if form == "csv":
        return _csv(tables)
    one = _markdown if form == "md" else _plain
    return "\n".join(one(table) for table in tables)


def _plain(table: Table) -> str:
    columns = [_column(table, j) for j in range(len(table.columns))]
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for i in range(len(table.rows) + 1):
        cells = [
            column[i].rjust(width) if _is_numeric(table, j) else column[i].ljust(width)
            for j, (column, width) in enumerate(zip(columns, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    if table.title:
        lines.insert(0, printable(table.title))
    return "\n".join(lines) + "\n"


def _column(table: Table, j: int) -> list[str]:
    """Header and cells of column ``j``, the numbers padded so that their decimal points meet."""
    cells = [_text(row[j]) for row in table.rows]
    if _is_numeric(table, j):
        after = [len(c.partition(".")[2]) + ("." in c) for c in cells]
        deepest = max(after, default=0)
        cells = [c + " " * (deepest - a) if c else c for c, a in zip(cells, after, strict=True)]
    return [printable(table.columns[j]), *cells]


def _markdown(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(map(for_markdown, cells)) + " |"

    rules = ["---:" if _is_numeric(table, j) else "---" for j in range(len(table.columns))]
    lines = [line(table.columns), line(rules)]
    lines += [line([cell if isinstance(cell, Markdown) else _text(cell) for cell in row]) for row in table.rows]
    if table.title:
        lines = [f"**{for_markdown(table.title)}**", "", *lines]
    return "\n".join(lines) + "\n"


def _csv(tables: Sequence[Table]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    titled = any(table.title for table in tables)
    header: tuple[str, ...] | None = None
    for table in tables:
        if table.columns != header:
            header = table.columns
            writer.writerow((("table",) if titled else ()) + header)
        for row in table.rows:
            writer.writerow([for_csv(table.title)] * titled + [_raw(cell) for cell in row])
    return out.getvalue()


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    return (
        number(cell) if isinstance(cell, float | int) and not isinstance(cell, bool) else printable(str(cell))
    )


def _raw(cell: Any) -> Any:
    """A number in full, text in one line, nothing where there is no finite number."""
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return ""
    return cell if isinstance(cell, float | int) else for_csv(str(cell))


def _is_numeric(table: Table, j: int) -> bool:
    cells = [row[j] for row in table.rows if row[j] is not None]
    return bool(cells) and all(isinstance(c, float | int) and not isinstance(c, bool) for c in cells)
