"""Cells that are no numbers: which ones are missing, which are wrong, and the error that names them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from numbasgd.errors import DataError
from numbasgd.json_values import printable

#: What people, R, pandas, Excel, SQL and Weka write into a cell without a value, in small letters.
MISSING = frozenset({"", "na", "n/a", "#n/a", "#na", "<na>", "nan", "null", "none", "nil", "?", "-", "."})
_SHOWN = 5  # cells in a message
_DATE = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}([ T].*)?|\d{1,2}:\d{2}(:\d{2}.*)?")
_PERCENT = re.compile(r"[-+\d.,\s]+%")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}([, '\u00a0\u2009\u202f]\d{3})+(\.\d*)?|[-+]?\d{1,3}(\.\d{3})+(,\d*)?")
_MONEY = re.compile(r"[-+]?[$€£¥]\s?[-+\d.,]+|[-+\d.,]+\s?[€£¥]")


def number(cell: str, decimal: str = ".") -> float | None:
    """The cell as a float, NaN and infinities included, or None; Python's 1_000 is no number in a table."""
    if decimal == ",":
        if "." in cell:
            return None
        cell = cell.replace(",", ".")
    try:
        return float(cell) if "_" not in cell else None
    except ValueError:
        return None


def is_missing(cell: str) -> bool:
    """Whether the cell says that there is no value."""
    return cell.strip().lower() in MISSING


def shown(name: str) -> str:
    """A column's name for a message: printable, and not too long."""
    name = printable(name[:200])
    return name if len(name) <= 40 else name[:37] + "..."


def quoted(name: str) -> str:
    """A column's name, or a cell, for a message as Python writes it, and not too long."""
    return repr(name if len(name) <= 40 else name[:37] + "...")


class CellErrors:
    """The cells of a file that cannot be used, told together when the file was read.

    names : of the columns, "" where one has none.  unit : what counts the rows of the file.
    """

    def __init__(self, file: Any, names: Sequence[str], unit: str, *, allows_missing: bool) -> None:
        self._file, self._names, self._unit = file, names, unit
        self._allows_missing = allows_missing
        self._first: list[tuple[int, int, Any]] = []
        self._count = 0
        self._columns: set[int] = set()

    def add(self, row: int, j: int, cell: Any) -> None:
        """A cell that is no finite number: text, or a float; one that is missing may be allowed."""
        is_gap = is_missing(cell) if isinstance(cell, str) else cell is None or math.isnan(cell)
        if self._allows_missing and is_gap:
            return
        self._count += 1
        self._columns.add(j)
        if len(self._first) < _SHOWN:
            self._first.append((row, j, cell))

    def add_array(self, values: np.ndarray, columns: Sequence[int], start: int = 0) -> None:
        """The entries of ``values`` (n, k) that are not finite; ``columns[j]`` is where column j came from."""
        with np.errstate(over="ignore", invalid="ignore"):
            if not values.size or math.isfinite(float(values.sum(dtype=np.float64))):
                return
        bad = np.isinf(values) if self._allows_missing else ~np.isfinite(values)
        places = np.argwhere(bad)
        for i, j in places[:_SHOWN].tolist():
            self.add(start + i, columns[j], float(values[i, j]))
        self._count += max(0, len(places) - _SHOWN)

    def place(self, row: int, j: int) -> str:
        """Where a cell is, in words."""
        name = self._names[j] if j < len(self._names) else ""
        return f"{self._unit} {row}, column {j}" + (f" ({shown(name)})" if name else "")

    def finish(self) -> None:
        """Raise for what was added, if anything was."""
        if not self._count:
            return
        (row, j, cell), *others = self._first
        told = f"{self._file}, {self.place(row, j)} {_said(cell)}; expected a finite number. "
        told += self._advice(row, j, cell)
        if others:
            listed = "; ".join(f"{self.place(*where)} {_said(cell)}" for *where, cell in others)
            more = self._count - 1 - len(others)
            told += f" Likewise {listed}" + (f"; and {more} more." if more else ".")
        raise DataError(told)

    def _advice(self, row: int, j: int, cell: Any) -> str:
        leave = f"or leave the column out: drop={j}."
        if not isinstance(cell, str):
            is_gap = cell is None or math.isnan(cell)
            return "Fill such cells, or leave their rows out: missing='drop'." if is_gap else "Mend that cell."
        text = cell.strip()
        if is_missing(text):
            return "Fill such cells, or leave their rows out: missing='drop'."
        if _DATE.fullmatch(text):
            return f"A date is no number: write the days since some day, {leave}"
        if _PERCENT.fullmatch(text) or _MONEY.fullmatch(text):
            return f"Write the number alone, without a sign beside it, {leave}"
        if re.fullmatch(r"[-+]?\d+,\d+", text):
            hint = "Write decimals with a point, or say decimal=','"
            return f"{hint}." if not _THOUSANDS.fullmatch(text) else f"{hint}; leave signs of thousands out."
        if _THOUSANDS.fullmatch(text):
            return f"Leave the signs between thousands out, {leave}"
        if row == 1 and self._unit == "line" and not any(self._names):
            return "If line 1 is a header, say header='yes'."
        return f"Mend such cells, {leave}"


def _said(cell: Any) -> str:
    if cell is None or cell == "":
        return "is empty"
    return f"is {cell[:40]!r}" if isinstance(cell, str) else f"is {cell!r}"


def odd_label(cell: str) -> str:
    """The note on a target that holds numbers and such a cell."""
    return (
        f"the target holds numbers, but also text such as {quoted(cell)}, so each of its values is the name of "
        "a class."
    )


def as_labels(cells: Sequence[str]) -> tuple[np.ndarray, str | None]:
    """The cells of a target that names classes, as numbers if all are, else as text; a cell that is odd."""
    found = [number(cell) for cell in cells]
    if all(value is not None for value in found):
        return np.array(found, np.float64), None
    odd = next((cell for cell, value in zip(cells, found, strict=True) if value is None), None)
    return np.array(cells, str), odd if any(value is not None for value in found) else None
