"""Tables for people (plain text, Markdown) and for programs (CSV).

A cell is text, a number or None (nothing to show).  In plain text a column of numbers is aligned on the
decimal point.  Units stand in the header.  What text may hold is escaped: see ``numbasgd.render.escapes``.

A plain table that is given a width fits it: long text is wrapped in its column, and what still does not fit
goes below, under the first column again.
"""

from __future__ import annotations

import csv
import io
import math
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from numbasgd.json_values import printable
from numbasgd.render.escapes import Markdown, for_csv, for_markdown

FORMATS = ("table", "md", "csv")
NARROWEST, WIDEST = 80, 120  # columns of a terminal that tables are made for
_GAP = "  "
_LEAST_TEXT = 16  # columns that text is wrapped to at least


class Best(float):
    """A number that is marked as the best of its row."""


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


def terminal_width() -> int:
    """The columns that tables are made for: the terminal's (or ``COLUMNS``), but 80 to 120; 100 without one."""
    return min(max(shutil.get_terminal_size((100, 24)).columns, NARROWEST), WIDEST)


def render(tables: Table | Iterable[Table], form: str = "table", width: int | None = None) -> str:
    """The tables as text that ends with a line end; CSV has titles as a first column.

    ``width`` : the columns that a plain table may have, None for as many as it needs.
    """
    tables = [tables] if isinstance(tables, Table) else list(tables)
    if form == "csv":
        return _csv(tables)
    if form == "md":
        return "\n".join(map(_markdown, tables))
    return "\n".join(_plain(table, width) for table in tables)


def width_of(table: Table) -> int:
    """The columns of the terminal that a plain table needs where no text is wrapped."""
    columns = [_column(table, j) for j in range(len(table.columns))]
    return sum(max(map(len, column)) for column in columns) + len(_GAP) * (len(columns) - 1)


def _plain(table: Table, width: int | None) -> str:
    columns = [_column(table, j) for j in range(len(table.columns))]
    widths = [max(map(len, column)) for column in columns]
    blocks = [list(range(len(columns)))]
    if width is not None:
        widths = _wrapped(widths, [j for j in blocks[0] if not _is_numeric(table, j)], width)
        blocks = _stacked(widths, width)
    lines = [printable(table.title)] if table.title else []
    for i, block in enumerate(blocks):
        lines += [""] * (i > 0) + _block(table, columns, widths, block)
    return "\n".join(lines) + "\n"


def _block(
    table: Table, columns: Sequence[Sequence[str]], widths: Sequence[int], block: Sequence[int]
) -> list[str]:
    """The lines of some columns, each cell in its width."""
    lines = []
    is_numeric = {j: _is_numeric(table, j) for j in block}
    for i in range(len(table.rows) + 1):
        cells = [_lines(columns[j][i], widths[j]) for j in block]
        for line in range(max(map(len, cells))):
            parts = [cell[line] if line < len(cell) else "" for cell in cells]
            lines.append(
                _GAP.join(
                    part.rjust(widths[j]) if is_numeric[j] else part.ljust(widths[j])
                    for j, part in zip(block, parts, strict=True)
                ).rstrip()
            )
        if i == 0:
            lines.append(_GAP.join("-" * widths[j] for j in block))
    return lines


def _lines(cell: str, width: int) -> list[str]:
    """The cell in lines of at most that width."""
    return [cell] if len(cell) <= width else textwrap.wrap(cell, width) or [""]


def _wrapped(widths: Sequence[int], text: Sequence[int], width: int) -> list[int]:
    """The widths of the columns when the widest of text give way, until the table fits or all are narrow."""
    widths = list(widths)
    over = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    while over > 0:
        j = max(text, key=lambda j: widths[j], default=None)
        if j is None or widths[j] <= _LEAST_TEXT:
            break
        widths[j] -= 1
        over -= 1
    return widths


def _stacked(widths: Sequence[int], width: int) -> list[list[int]]:
    """The columns in groups that fit, each with the first column."""
    blocks = [[0]]
    for j in range(1, len(widths)):
        used = sum(widths[i] + len(_GAP) for i in blocks[-1])
        if used + widths[j] > width and len(blocks[-1]) > 1:
            blocks.append([0])
        blocks[-1].append(j)
    return blocks


def _column(table: Table, j: int) -> list[str]:
    """Header and cells of column ``j``, the numbers padded so that their decimal points meet."""
    cells = [_text(row[j]) for row in table.rows]
    if _is_numeric(table, j):
        after = [len(c.partition(".")[2]) + ("." in c) for c in cells]
        marks = ["*" * isinstance(row[j], Best) for row in table.rows]
        deepest = max(after, default=0) + any(marks)
        cells = [
            f"{c}{mark}".ljust(len(c) - a + deepest) if c else c
            for c, a, mark in zip(cells, after, marks, strict=True)
        ]
    return [printable(table.columns[j]), *cells]


def _markdown(table: Table) -> str:
    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(map(_in_markdown, cells)) + " |"

    rules = ["---:" if _is_numeric(table, j) else "---" for j in range(len(table.columns))]
    lines = [line(table.columns), line(rules), *map(line, table.rows)]
    if table.title:
        lines = [f"**{for_markdown(table.title)}**", "", *lines]
    return "\n".join(lines) + "\n"


def _in_markdown(cell: Any) -> str:
    text = for_markdown(cell if isinstance(cell, Markdown) else _text(cell))
    return f"**{text}**" if isinstance(cell, Best) else text


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
