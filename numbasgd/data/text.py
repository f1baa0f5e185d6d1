"""Reading a table of numbers from text, and every cell that is none by its line and column."""

from __future__ import annotations

import itertools
import math
import os
import sys
from array import array
from collections.abc import Callable, Iterator
from typing import TextIO

import numpy as np

from numbasgd.data import arrow_text
from numbasgd.data.cells import CellErrors, as_labels, is_missing, number, odd_label
from numbasgd.data.layout import Layout, find_layout, open_text, records
from numbasgd.data.read_options import Progress, ReadOptions, Wanted
from numbasgd.errors import DataError

_TOLD_EVERY = 5000  # lines between two reports of progress
_BLOCK_ROWS = 1 << 14


class TextTable:
    """A text file whose layout is known, to be read once.

    names : of the columns, "" where one has none.
    """

    def __init__(self, file: os.PathLike[str], options: ReadOptions) -> None:
        self.file = file
        self.layout = find_layout(file, options)
        self.notes = self.layout.notes
        self.names = self.layout.names or [""] * self.layout.width
        self._is_careful = False

    def blocks(self, wanted: Wanted) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """X (m, d) and y (m, K) of some rows after the other, or y (m,) of labels as text.

        Raises
        ------
        NotForArrow
            Where all has to be read again, cell by cell, as the next call does.
        """
        layout = self.layout
        if not self._is_careful and arrow_text.is_for(self.file, layout):
            found = arrow_text.blocks(self.file, layout, wanted)
        else:
            found = _careful_blocks(self.file, layout, wanted, _BLOCK_ROWS)
        try:
            for X, y, labels in found:
                yield X, y if labels is None else np.array(labels, str)
        except arrow_text.NotForArrow:
            self._is_careful = True
            raise

    def read(self, wanted: Wanted) -> tuple[np.ndarray, np.ndarray]:
        """X (n, d) and y (n, K) in float64, NaN for a missing cell; or y (n,) where it names classes."""
        layout = self.layout
        quick = arrow_text.read if arrow_text.is_for(self.file, layout) else _fast
        found = quick(self.file, layout, wanted)
        if found is None:
            found = _careful(self.file, layout, wanted)
        X, y, labels = found
        if labels is not None:
            y, odd = as_labels(labels)
            if odd is not None:
                self.notes.append(odd_label(odd))
        return X, y


def _lines(stream: TextIO, progress: Progress | None) -> Iterator[str]:
    """The lines of a file; how far it was read is told."""
    if progress is None:
        return iter(stream)
    total = os.fstat(stream.fileno()).st_size

    def told() -> Iterator[str]:
        while block := list(itertools.islice(stream, _TOLD_EVERY)):
            progress(min(stream.buffer.tell(), total), total, "bytes")
            yield from block

    return told()


def _fast(
    file: os.PathLike[str], layout: Layout, wanted: Wanted
) -> tuple[np.ndarray, np.ndarray, list[str] | None] | None:
    """NumPy's own parser, in C; None if it does not like a line, or read something that is not finite."""
    is_label = wanted.takes_labels and len(wanted.targets) == 1
    labels: list[str] = []

    def keep(cell: str) -> float:
        labels.append(cell.strip())
        return 0.0

    read = {*wanted.features, *wanted.targets}
    converters: dict[int | str, Callable[[str], float]] = {
        j: lambda cell: 0.0 for j in range(layout.width) if j not in read
    }
    if is_label:
        converters[wanted.targets[0]] = keep
    if layout.has_tail or (converters and layout.decimal == ","):
        return None
    with open_text(file, layout.encoding) as stream:
        rows = itertools.islice(_lines(stream, wanted.progress), layout.skip, None)
        try:
            table = np.loadtxt(
                map(_with_point, rows) if layout.decimal == "," else rows,
                delimiter=layout.delimiter,
                comments=None,
                quotechar='"',
                ndmin=2,
                converters=converters or None,
            )
        except ValueError:
            return None
    if table.shape[1] != layout.width or not np.isfinite(table).all():
        return None
    if is_label and (len(labels) != len(table) or any(map(is_missing, labels))):
        return None
    return table.take(wanted.features, 1), table.take(wanted.targets, 1), labels if is_label else None


def _with_point(line: str) -> str:
    if "." in line:
        raise ValueError("a point where commas are the decimal signs")
    return line.replace(",", ".")


def _careful(
    file: os.PathLike[str], layout: Layout, wanted: Wanted
) -> tuple[np.ndarray, np.ndarray, list[str] | None]:
    """Cell by cell, which also knows the place of each cell that is wrong."""
    (found,) = _careful_blocks(file, layout, wanted, sys.maxsize)
    return found


def _careful_blocks(
    file: os.PathLike[str], layout: Layout, wanted: Wanted, rows: int
) -> Iterator[tuple[np.ndarray, np.ndarray, list[str] | None]]:
    """The same, so many rows after the other; what is wrong in them is told together."""
    errors = CellErrors(file, layout.names, "line", allows_missing=wanted.allows_missing)
    is_label = wanted.takes_labels and len(wanted.targets) == 1
    labels: list[str] = []
    columns = [*wanted.features, *([] if is_label else wanted.targets)]
    width, d = layout.width + layout.has_tail, len(wanted.features)
    values = array("d")

    def found() -> tuple[np.ndarray, np.ndarray, list[str] | None]:
        table = np.frombuffer(values, np.float64).reshape(-1, len(columns)) if columns else np.empty((0, 0))
        return table[:, :d].copy(), table[:, d:].copy(), labels if is_label else None

    with open_text(file, layout.encoding) as stream:
        for line, cells in records(file, _lines(stream, wanted.progress), layout.delimiter):
            if line <= layout.skip:
                continue
            if len(cells) != width or (layout.has_tail and cells[-1].strip()):
                raise DataError(
                    f"{file}, line {line} has {len(cells)} cell(s); expected {width} as in the line(s) before. "
                    "Check the delimiter and the end of that line."
                )
            values.extend(_row(cells, columns, line, layout.decimal, errors))
            if is_label:
                label = cells[wanted.targets[0]].strip()
                if is_missing(label):
                    errors.add(line, wanted.targets[0], label)
                    label = ""
                labels.append(label)
            if len(values) >= rows * len(columns):
                errors.finish()
                yield found()
                values, labels = array("d"), []
    errors.finish()
    if values or rows == sys.maxsize:
        yield found()


def _row(cells: list[str], columns: list[int], line: int, decimal: str, errors: CellErrors) -> list[float]:
    """The numbers of a row, NaN for a missing one; what is no finite number is added to ``errors``."""
    if decimal == ".":
        try:
            row = [float(cells[j]) for j in columns]
        except ValueError:
            pass
        else:
            if math.isfinite(sum(row)) and not any("_" in cell for cell in cells):
                return row
    row = []
    for j in columns:
        cell = cells[j].strip()
        value = number(cell, decimal)
        if value is None or not math.isfinite(value):
            errors.add(line, j, cell)
            value = math.nan
        row.append(value)
    return row
