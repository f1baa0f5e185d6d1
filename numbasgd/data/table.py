"""``read_table``, ``load_table`` and ``open_table``: a user's own table, one or more columns of it the target.

This module finds out what kind of file it is and which columns are meant; ``text``, ``arrays`` and ``parquet``
read it, ``folder`` reads several files as one, and ``source`` makes a pipe a file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numbasgd.data.arrays import NpyTable, npz_table
from numbasgd.data.columns import matching, position, targets_of
from numbasgd.data.folder import FolderTable, Reader
from numbasgd.data.layout import MARKS
from numbasgd.data.parquet import ParquetTable
from numbasgd.data.read_options import Progress, ReadOptions, Wanted
from numbasgd.data.shard_table import ShardTable
from numbasgd.data.shards import is_shards
from numbasgd.data.source import Source, opened
from numbasgd.data.stored_rows import StoredRows
from numbasgd.data.text import TextTable
from numbasgd.errors import DataError

_GUESS = ReadOptions()


class NamedRows:
    """Rows as ``numbasgd.train`` takes them, which keeps the names of their columns in the Fit."""

    def __init__(self, X: np.ndarray, columns: list[str]) -> None:
        self.columns = columns
        self._X = X

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._X, dtype, copy=copy)


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of a file.

    Attributes
    ----------
    X : ndarray, shape (n, d)
        The features, float64, or float32 from a file of float32.
    y : ndarray, shape (n,), or (n, K) for a list of K targets, or None
        The target: numbers of the same dtype, or text that names classes.
    columns : list of str
        ``columns[j]`` is the name of ``X[:, j]``; "column 3" where the file has none.
    is_named : bool
        Whether the file names its columns.
    targets : list of str
        The names of the targets, likewise.
    is_complete : ndarray of bool, shape (n,)
        Which rows have no missing cell; all but with ``missing="keep"``.
    notes : list of str
        What was guessed, or left out.
    """

    X: np.ndarray
    y: np.ndarray | None
    columns: list[str]
    is_named: bool
    targets: list[str]
    is_complete: np.ndarray
    notes: list[str]

    @property
    def rows(self) -> np.ndarray | NamedRows:
        """X, with the names of its columns where the file has some."""
        return NamedRows(self.X, self.columns) if self.is_named else self.X

    def split(self) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """X, y and the names of the columns, of a table that was read with a target."""
        if self.y is None:
            raise ValueError("target is None; expected the column to predict. Read the table with a target.")
        return self.X, self.y, self.columns


def load_table(
    path: str | os.PathLike[str],
    target: str | int | list[str | int],
    options: ReadOptions = _GUESS,
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read a table of numbers from a file and split it into features and target.

    Parameters
    ----------
    path : path-like
        A ``.npy`` file with one 2-D array; a ``.npz`` file, whose arrays are the columns; a Parquet file, where
        pyarrow is installed; or a text file with comma, semicolon, tab, "|" or white space between the cells,
        with or without a first line of column names.  Every cell must be a finite number.  A folder of such
        files of one kind is one table, and so is a folder of shards.  A pipe is read to its end; "-" is
        standard input.
    target : str or int
        The column to predict: its name, or its position from 0 on; -1 is the last one.  Text that is no
        column's name but a whole number is taken as a position.  A list of them for several targets.
    options : ReadOptions
        What is not to be guessed, columns to leave out, and what is to be done about missing cells.

    Returns
    -------
    X : ndarray, shape (n, d)
        All other columns in their order; float64, or float32 from a float32 file.
    y : ndarray, shape (n,), or (n, K) for a list of K targets
        The target, same dtype.
    column_names : list of str
        ``column_names[j]`` is the name of ``X[:, j]``: from the file, else "column 0", "column 1", ...
        by the position in the file.

    Raises
    ------
    DataError
        If the file cannot be read, or is not such a table; the message names the line or row and the column.
    TypeError, ValueError
        If there is no such target.
    """
    if target is None:
        raise TypeError(
            "target is None; expected the column to predict. Pass its name, or its position from 0 on."
        )
    return read_table(path, target, options).split()


def read_table(
    path: str | os.PathLike[str],
    target: str | int | list[str | int] | None,
    options: ReadOptions = _GUESS,
    *,
    takes_labels: bool = False,
    features: Sequence[str] | int | None = None,
    progress: Progress | None = None,
) -> Table:
    """``load_table`` with all that there is to tell.

    Parameters
    ----------
    path, target, options
        As in ``load_table``; without a target all columns are features.
    takes_labels : bool
        Whether the target may be text.
    features : sequence of str, or int, optional
        The names of the columns to take, in that order; others are left out, and a note says which.  A number
        says how many there must be.
    progress : callable, optional
        Called with how much is done, of how much, and the unit.

    Raises
    ------
    DataError, TypeError, ValueError
        As in ``load_table``.
    """
    with reader_of(path, options) as (file, reader):
        chosen = choose(file, reader, target, options, features)
        X, y = reader.read(Wanted(*chosen[:2], takes_labels, options.missing != "error", progress))
        names, notes = chosen.names, [*reader.notes, *chosen.notes]
    found = None if target is None else y
    if found is not None and found.ndim == 2 and not isinstance(target, list):
        found = found[:, 0].copy()
    table = Table(X, found, names, chosen.is_named, chosen.target_names, np.ones(len(X), bool), notes)
    return (
        table if options.missing == "error" else _without_gaps(file, table, is_kept=options.missing == "keep")
    )


class Chosen(NamedTuple):
    """Columns to read, by their positions in the file; their names, and what was left out."""

    features: list[int]
    targets: list[int]
    names: list[str]
    target_names: list[str]
    is_named: bool
    notes: list[str]


def choose(
    file: Any,
    reader: Reader,
    target: Any,
    options: ReadOptions,
    features: Sequence[str] | int | None = None,
) -> Chosen:
    """The columns that are meant; target and features as in ``read_table``."""
    names = [name or f"column {j}" for j, name in enumerate(reader.names)]
    is_named = any(reader.names)
    dropped = {position(each, "drop", names) for each in options.drop}
    targets = targets_of(file, target, names, dropped)
    dropped |= set(getattr(reader, "targets", ())) - set(targets)
    notes: list[str] = []
    if features is None:
        columns = [j for j in range(len(names)) if j not in dropped and j not in targets]
    else:
        columns = matching(file, features, names, notes, dropped, is_named=is_named)
    if not columns:
        raise ValueError(
            f"drop is {list(options.drop)}, and leaves no feature of {len(names)} columns; expected at "
            "least one. Keep one."
        )
    of_features, of_targets = ([names[j] for j in some] for some in (columns, targets))
    return Chosen(columns, targets, of_features, of_targets, is_named, notes)


def _is_pipe(path: Any) -> bool:
    if not isinstance(path, str | os.PathLike):
        return False  # which is told of where it is opened
    place = Path(path)
    return str(place) == "-" or (place.exists() and not place.is_file() and not place.is_dir())


def target_of(reader: Reader, target: Any) -> Any:
    """The target that was passed, else that of shards, if they have one."""
    known = list(getattr(reader, "targets", ()))
    if target is not None or not known:
        return target
    return known if len(known) > 1 else known[0]


class StoredTable(NamedTuple):
    """A ``Table`` whose X stays in its files."""

    X: StoredRows
    y: np.ndarray | None
    columns: list[str]
    is_named: bool
    targets: list[str]
    notes: list[str]

    @property
    def rows(self) -> StoredRows:
        """X, which knows the names of its columns."""
        return self.X

    @property
    def is_complete(self) -> np.ndarray:
        """All rows are: a missing cell is an error when it is read."""
        return np.ones(len(self.X), bool)


def open_table(
    path: str | os.PathLike[str],
    target: str | int | list[str | int] | None = None,
    options: ReadOptions = _GUESS,
    *,
    progress: Progress | None = None,
) -> tuple[StoredRows, np.ndarray | None]:
    """Open a table that may be larger than memory: its features are read when they are needed.

    Parameters
    ----------
    path : path-like
        A Parquet file, where pyarrow is installed; a ``.npy`` file with one 2-D array; a folder of such files
        of one kind; or a folder of shards.
    target : str or int, or a list of them, optional
        The columns to predict, as in ``numbasgd.data.load_table``; text names classes.  Left out: those of the
        shards, else there is none.
    options : ReadOptions
        Columns to leave out; missing cells are an error.
    progress : callable, optional
        Called with how much is done of what is read at once, of how much, and the unit.

    Returns
    -------
    X : StoredRows, shape (n, d), float32 or float64
        ``numbasgd.train`` reads it piece by piece, ``X[10:20]`` is an array, ``X.columns`` the names of the
        columns or None.  Of Parquet the last 128 MB of decoded rows are kept in memory, and to read a row
        decodes what is before it in its row group: ``X.chunk`` is the rows of the largest one.
    y : ndarray, shape (n,) or (n, K), or None
        The target, in memory.

    Raises
    ------
    DataError
        If the file cannot be read, or is no such table, also later on when X is read; it names row and column.
    TypeError, ValueError
        If there is no such target.
    """
    table = stored_table(path, target, options, progress=progress)
    if table is None:
        raise DataError(
            f"{path} can only be read from the first row to the last; expected a .npy or .parquet file, a "
            "folder of such files, or a folder of shards. Make one: numbasgd shard DATA OUT --target NAME."
        )
    return table.X, table.y


def stored_table(
    path: str | os.PathLike[str],
    target: str | int | list[str | int] | None,
    options: ReadOptions = _GUESS,
    *,
    features: Sequence[str] | int | None = None,
    progress: Progress | None = None,
) -> StoredTable | None:
    """``open_table`` with all that there is to tell; None for what can only be read from the first row on.

    features : as in ``read_table``.
    """
    if _is_pipe(path):
        return None
    if options.missing != "error":
        raise ValueError(
            f"missing is {options.missing!r}; expected 'error' for rows that are read when they are needed. "
            "Leave the rows out when you write shards: numbasgd shard DATA OUT --missing drop."
        )
    with reader_of(path, options) as (file, reader):
        if features is None:
            target = target_of(reader, target)
        chosen = choose(file, reader, target, options, features)
        wanted = Wanted(chosen.features, chosen.targets, True, False, progress)
        found = reader.open(wanted) if hasattr(reader, "open") else None
        if found is None:
            return None
        X, y = found
        X.columns = chosen.names if chosen.is_named else None
        targets = None if target is None else y
        if targets is not None and targets.ndim == 2 and not isinstance(target, list):
            targets = targets[:, 0].copy()
        notes = [*reader.notes, *chosen.notes]
        return StoredTable(X, targets, chosen.names, chosen.is_named, chosen.target_names, notes)


def _without_gaps(file: Any, table: Table, *, is_kept: bool) -> Table:
    """The table without rows that have missing cells, or with all rows, and which of them have none."""
    X, y = table.X, table.y
    is_complete = np.isfinite(X).all(axis=1)
    if y is not None:
        is_complete &= (y != "") if y.dtype.kind == "U" else np.isfinite(y.reshape(len(X), -1)).all(axis=1)
    n = int(is_complete.sum())
    if is_kept or n == len(X):
        return replace(table, is_complete=is_complete)
    if not n:
        raise DataError(
            f"{file} has a missing cell in each of its {len(X)} rows; expected rows without. Fill them, or "
            "leave out the columns that are empty with drop."
        )
    note = f"{file}: {len(X) - n} of {len(X)} rows have missing cells and are left out."
    y = None if y is None else y[is_complete]
    return replace(table, X=X[is_complete], y=y, is_complete=np.ones(n, bool), notes=[*table.notes, note])


@contextmanager
def reader_of(path: str | os.PathLike[str], options: ReadOptions) -> Iterator[tuple[Any, Reader]]:
    """The file, and what reads it."""
    with ExitStack() as stack:

        def open_file(file: str | os.PathLike[str]) -> tuple[Source, Reader]:
            source, start = stack.enter_context(opened(file))
            return source, _reader_of_file(source, start, options)

        is_folder = isinstance(path, str | os.PathLike) and bool(str(path)) and Path(path).is_dir()
        if is_folder and is_shards(Path(path)):
            yield Path(path), ShardTable(Path(path))
        elif is_folder:
            yield Path(path), FolderTable(Path(path), lambda file: open_file(file)[1])
        else:
            yield open_file(path)


def _reader_of_file(file: Source, start: bytes, options: ReadOptions) -> Reader:
    if start.startswith(b"\x93NUMPY"):
        return NpyTable(file)
    is_zip = start.startswith(b"PK\x03\x04")
    if is_zip and file.suffix.lower() not in (".xlsx", ".ods", ".zip"):
        return npz_table(file)
    if start.startswith(b"PAR1"):
        return ParquetTable(file)
    _refuse(file, start, options)
    return TextTable(file.whole(), options)


def _refuse(file: Source, start: bytes, options: ReadOptions) -> None:
    """Raise for what is none of the kinds of files, and no text."""
    suffix = file.suffix.lower()
    if not start.strip():
        what, advice = "is empty", "Expected a row of numbers a line."
    elif suffix in (".npy", ".npz", ".parquet"):
        what = f"is not a {suffix} file in spite of its name"
        advice = "Expected what np.save, np.savez or pyarrow writes; pickled objects are never loaded."
    elif start.startswith((b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
        what = "is a binary or compressed file"
        advice = "Expected a .npy, .npz, .parquet or text file: unpack it, or save it as CSV."
    elif options.encoding is None and b"\0" in start and not start.startswith(tuple(MARKS)):
        what = "is a binary or compressed file"
        advice = "Expected a .npy, .npz, .parquet or text file: unpack it, or save it as CSV."
        if max(start[::2].count(0), start[1::2].count(0)) > len(start) // 3:
            what = "looks like UTF-16 text without a mark of its byte order"
            advice = "Say encoding='utf-16-le' or encoding='utf-16-be', or save it as UTF-8."
    else:
        return
    raise DataError(f"{file} {what}. {advice}")
