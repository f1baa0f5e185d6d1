"""A table that has to be read from its first row on: its features go into a file that is read from anywhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numbasgd.data.arrow_text import NotForArrow
from numbasgd.data.cells import as_labels, odd_label
from numbasgd.data.folder import blocks_of
from numbasgd.data.read_options import Progress, ReadOptions, Wanted
from numbasgd.data.row_source import SlicedRows
from numbasgd.data.table import choose, reader_of, target_of
from numbasgd.errors import DataError
from numbasgd.part_files import part_of, remove_dead_parts

_MOST_CLASSES = 1 << 16


class Spooled(NamedTuple):
    """A table whose X is in a file that is there for a while; y and names as of ``numbasgd.data.Table``."""

    X: SlicedRows
    y: np.ndarray | None
    columns: list[str]
    is_named: bool
    targets: list[str]
    notes: list[str]


@contextmanager
def spooled(
    path: str | os.PathLike[str],
    target: Any,
    options: ReadOptions,
    beside: Path,
    progress: Progress | None = None,
) -> Iterator[Spooled]:
    """The table, while its features are in a file beside ``beside``; some rows and the targets are in memory.

    Whether text in the only target names classes is told by the first rows.

    Raises
    ------
    DataError, TypeError, ValueError
        As by ``numbasgd.data.read_table``.
    """
    place = beside.with_name(f"{beside.name}.rows")
    remove_dead_parts(place)
    part = part_of(place)
    try:
        yield _spool(path, target, options, part, progress)
    finally:
        part.unlink(missing_ok=True)


def _spool(path: Any, target: Any, options: ReadOptions, part: Path, progress: Progress | None) -> Spooled:
    with reader_of(path, options) as (file, reader):
        target = target_of(reader, target)
        chosen = choose(file, reader, target, options)
        wanted = Wanted(chosen.features, chosen.targets, True, options.missing != "error", progress)
        rows = None
        while rows is None:
            try:
                with open(part, "wb", buffering=0) as stream:
                    rows = _Rows(file, stream)
                    for X, y in blocks_of(reader, wanted):
                        if wanted.takes_labels and rows.n == 0 and _are_numbers(y):
                            raise _NumbersError
                        rows.add(X, y)
            except _NumbersError:
                wanted, rows = wanted._replace(takes_labels=False), None
            except NotForArrow:
                rows = None
        if not rows.n:
            raise DataError(
                f"{file} has a missing cell in each of its {rows.n_left_out} rows; expected rows without. Fill "
                "them, or leave out the columns that are empty with drop."
            )
        notes = [*reader.notes, *chosen.notes]
        if rows.n_left_out:
            n = rows.n + rows.n_left_out
            notes.append(f"{file}: {rows.n_left_out} of {n} rows have missing cells and are left out.")
        targets, odd = rows.targets()
        if odd is not None:
            notes.append(odd_label(odd))
        if targets.ndim == 2 and not isinstance(target, list) and chosen.targets:
            targets = targets[:, 0]
        source = SlicedRows(np.memmap(part, rows.dtype, "r", shape=(rows.n, len(chosen.features))), str(file))
        found = targets if chosen.targets else None
        return Spooled(source, found, chosen.names, chosen.is_named, chosen.target_names, notes)


class _NumbersError(Exception):
    """What was read as labels are numbers."""


def _are_numbers(y: np.ndarray) -> bool:
    if y.dtype.kind != "U" or not (y != "").any():
        return False
    return as_labels(y[y != ""].tolist())[0].dtype.kind == "f"


class _Rows:
    """Rows that are written one block after the other, and their targets."""

    def __init__(self, file: Any, stream: FileIO) -> None:
        self._file, self._stream = file, stream
        self.n = self.n_left_out = 0
        self.dtype = np.dtype(np.float64)
        self._targets: list[np.ndarray] = []
        self._codes: dict[str, int] = {}

    def add(self, X: np.ndarray, y: np.ndarray) -> None:
        """Add rows, but for those with missing cells."""
        is_text = y.dtype.kind == "U"
        is_complete = np.isfinite(X).all(axis=1)
        is_complete &= (y != "") if is_text else np.isfinite(y.reshape(len(X), -1)).all(axis=1)
        if not is_complete.all():
            self.n_left_out += len(X) - int(is_complete.sum())
            X, y = X[is_complete], y[is_complete]
        if self.n and X.dtype != self.dtype:
            raise DataError(
                f"{self._file} holds {self.dtype} and {X.dtype}; expected one of them in all files of a "
                "folder. Convert those of the other."
            )
        self.dtype = X.dtype
        self._write(np.ascontiguousarray(X).reshape(-1).view(np.uint8).data)
        self._targets.append(self._numbers(y) if is_text else y)
        self.n += len(X)

    def _write(self, memory: memoryview) -> None:
        try:
            while len(memory):
                memory = memory[self._stream.write(memory) :]
        except OSError as error:
            raise DataError(
                f"{self._stream.name} cannot be written ({error.strerror or error}); expected room for the "
                f"rows of {self._file} as well as for the shards that they become. Free some, or pass another "
                "folder."
            ) from error

    def _numbers(self, y: np.ndarray) -> np.ndarray:
        names, places = np.unique(y, return_inverse=True)
        codes = [self._codes.setdefault(name, len(self._codes)) for name in names.tolist()]
        if len(self._codes) > _MOST_CLASSES:
            raise DataError(
                f"{self._file} has a target of more than {_MOST_CLASSES:,} different texts, such as "
                f"{names[0]!r}; expected numbers, or the names of classes. Pass another target."
            )
        return np.array(codes, np.uint32)[places]

    def targets(self) -> tuple[np.ndarray, str | None]:
        """The targets of all rows; text among numbers."""
        y = np.concatenate(self._targets)
        if not self._codes:
            return y, None
        labels, odd = as_labels(list(self._codes))
        return labels[y], odd
