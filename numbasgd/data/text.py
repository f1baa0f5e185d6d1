"""Reading a table of numbers from text: the delimiter, the header, and every bad cell by its line."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np

from numbasgd.errors import DataError

_DELIMITERS = ("\t", ";", ",")  # a comma may be a decimal one, so it comes last; without any, white space
_SNIFFED = 20  # lines that are looked at to find the delimiter


def read_text(file: Path) -> tuple[np.ndarray, list[str]]:
    """The numbers of a text file as float64, and its column names, empty where it has no header."""
    with _open(file) as stream:
        sample = list(itertools.islice((line for line in stream if line.strip()), _SNIFFED))
    delimiter = _sniff(sample)
    names, skip = _header(file, delimiter)
    table = _fast(file, delimiter, skip)
    if table is None or (names and len(names) != table.shape[1]):
        table = _careful(file, delimiter, skip, names)
    return table, names


def _open(file: Path) -> TextIO:
    """Open as UTF-8; what is not cannot be a number, and is told like any other bad cell."""
    return open(file, encoding="utf-8-sig", errors="replace", newline="")


def _sniff(sample: list[str]) -> str | None:
    """The delimiter that cuts all lines into equally many cells, else the one that is in most lines."""
    for delimiter in _DELIMITERS:
        try:
            counts = {len(cells) for cells in csv.reader(sample, delimiter=delimiter)}
        except csv.Error:
            continue
        if len(counts) == 1 and counts != {1}:
            return delimiter
    for delimiter in _DELIMITERS:
        if 2 * sum(delimiter in line for line in sample) > len(sample):
            return delimiter
    return None


def _header(file: Path, delimiter: str | None) -> tuple[list[str], int]:
    """The column names, and how many lines come before the first row of numbers.

    The first line is a header if none of its cells is a number.  Lines that begin with ``#`` may come before;
    the last of them is the header if there is no other and it has as many cells as the first row, as in what
    ``np.savetxt(header=...)`` writes.
    """
    marked: list[str] = []
    names: list[str] = []
    skip = 0
    for line, cells in _records(file, delimiter):
        if not names and cells[0].startswith("#"):
            cells[0] = cells[0].lstrip("#").strip()
            marked = cells[1:] if delimiter is None and not cells[0] else cells
        elif not names and all(_number(cell) is None for cell in cells):
            names = cells
        else:
            return names or (marked if len(marked) == len(cells) else []), skip
        skip = line
    what = f"has column names in line {skip} but no rows after it" if names else "has no rows"
    raise DataError(f"{file} {what}; expected a row of numbers a line. Add some.")


def _records(file: Path, delimiter: str | None) -> Iterator[tuple[int, list[str]]]:
    """The line and the cells of every record that is not blank."""
    with _open(file) as stream:
        if delimiter is None:
            for line, row in enumerate(stream, 1):
                if row.strip():
                    yield line, row.split()
            return
        reader = csv.reader(stream, delimiter=delimiter, skipinitialspace=True)
        try:
            for cells in reader:
                if any(cell.strip() for cell in cells) or len(cells) > 1:
                    yield reader.line_num, [cell.strip() for cell in cells]
        except csv.Error as error:
            raise DataError(
                f"{file}, line {reader.line_num}: {error}; expected cells with a delimiter between them. "
                "Check the quotes."
            ) from error


def _number(cell: str) -> float | None:
    """The cell as a float, NaN and infinities included, or None; Python's 1_000 is no number in a table."""
    try:
        return float(cell) if "_" not in cell else None
    except ValueError:
        return None


def _fast(file: Path, delimiter: str | None, skip: int) -> np.ndarray | None:
    """NumPy's own parser, in C; None if it does not like a line, or read something that is not finite."""
    with _open(file) as stream:
        try:
            table = np.loadtxt(
                itertools.islice(stream, skip, None),
                delimiter=delimiter,
                comments=None,
                quotechar='"',
                ndmin=2,
            )
        except ValueError:
            return None
    return table if np.isfinite(table).all() else None


def _careful(file: Path, delimiter: str | None, skip: int, names: list[str]) -> np.ndarray:
    """Cell by cell, which also knows the line of the first cell that is wrong."""
    n_columns = len(names)
    rows = []
    for line, cells in _records(file, delimiter):
        if line <= skip:
            continue
        n_columns = n_columns or len(cells)
        if len(cells) != n_columns:
            raise DataError(
                f"{file}, line {line} has {len(cells)} cell(s); expected {n_columns} as in the line(s) before. "
                "Check the delimiter and the end of that line."
            )
        rows.append([_finite(cell, file, line, j, names) for j, cell in enumerate(cells)])
    return np.array(rows, dtype=np.float64)


def _finite(cell: str, file: Path, line: int, j: int, names: list[str]) -> float:
    value = _number(cell)
    if value is not None and math.isfinite(value):
        return value
    where = f"column {j}" + (f" ({names[j]})" if names and names[j] else "")
    advice = "Drop such rows, or fill them."
    if not cell:
        what = "is empty"
    else:
        what = f"is {cell[:40]!r}"
        if _number(cell.replace(",", ".")) is not None and "," in cell:
            advice = "Write decimals with a point."
        elif line == 1 and not names:
            advice = "If line 1 is a header, none of its names may be a number."
    raise DataError(f"{file}, line {line}, {where} {what}; expected a finite number. {advice}")
