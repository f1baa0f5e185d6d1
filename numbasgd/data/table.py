"""``load_table``: a user's own table, one column of it the target.

This module finds out what kind of file it is, reads ``.npy``, and picks the target; ``text`` reads the rest,
and ``source`` makes a pipe a file.
"""

from __future__ import annotations

import operator
import os
from typing import Any

import numpy as np

from numbasgd import check
from numbasgd.data import text
from numbasgd.data.source import Source, opened
from numbasgd.errors import DataError


def load_table(
    path: str | os.PathLike[str], target: str | int | list[str | int]
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read a table from a file and split it into features and target.

    Parameters
    ----------
    path : path-like
        A ``.npy`` file with one 2-D array, or a text file with comma, semicolon, tab or white space between
        the cells, with or without a first line of column names.  Every cell must be a finite number.  A pipe
        is read to its end; "-" is standard input.
    target : str or int
        The column to predict: its name, or its position from 0 on; -1 is the last one.  Text that is no
        column's name but a whole number is taken as a position.  A list of them for several targets.

    Returns
    -------
    X : ndarray, shape (n, d)
        All other columns in their order; float64, or float32 from a float32 ``.npy``.
    y : ndarray, shape (n,), or (n, K) for a list of K targets
        The target, same dtype.
    column_names : list of str
        ``column_names[j]`` is the name of ``X[:, j]``: from the first line, else "column 0", "column 1", ...
        by the position in the file.

    Raises
    ------
    DataError
        If the file cannot be read, or is not such a table; for text the message names the line.
    TypeError, ValueError
        If there is no such target.
    """
    with opened(path) as (file, start):
        if start.startswith(b"\x93NUMPY"):
            given: list[str] = []
            table = _read_npy(file)
        else:
            _refuse(file, start)
            table, given = text.read_text(file.whole())
        return _split(file, table, given, target)


def _split(
    file: Source, table: np.ndarray, given: list[str], target: Any
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    names = [name or f"column {j}" for j, name in enumerate(given or [""] * table.shape[1])]
    if table.shape[1] < 2:
        raise DataError(
            f"{file} has {table.shape[1]} column(s); expected at least 2, a feature and the target. For text, "
            "put commas, semicolons, tabs or spaces between the cells."
        )
    columns = [_column(each, names) for each in (target if isinstance(target, list) else [target])]
    if len(set(columns)) < len(columns):
        raise ValueError(
            f"target is {target!r}, which names a column twice; expected each once. Leave one out."
        )
    if len(columns) >= len(names):
        raise ValueError(
            f"target is {target!r}, all {len(names)} columns; expected at least one feature. Leave one out."
        )
    X = np.ascontiguousarray(np.delete(table, columns, axis=1))
    y = table[:, columns] if isinstance(target, list) else table[:, columns[0]].copy()
    return X, y, [name for j, name in enumerate(names) if j not in columns]


def _refuse(file: Source, start: bytes) -> None:
    """Raise for what is neither ``.npy`` nor text."""
    if not start.strip():
        what, advice = "is empty", "Expected a row of numbers a line."
    elif file.suffix == ".npz" or (start.startswith(b"PK\x03\x04") and file.suffix != ".xlsx"):
        what = "is a .npz or another zip archive"
        advice = "Expected one array: np.save('table.npy', np.load(file)[name]) makes a file that works."
    elif file.suffix == ".npy":
        what = "is not a .npy file in spite of its name"
        advice = "Expected what np.save writes; pickled objects are never loaded."
    elif start.startswith((b"\xff\xfe", b"\xfe\xff")):
        what, advice = "is UTF-16 text", "Save it as CSV in UTF-8."
    elif b"\0" in start or start.startswith((b"PK\x03\x04", b"\x1f\x8b")):
        what = "is a binary or compressed file"
        advice = "Expected .npy or text: unpack it, or save it as CSV."
    else:
        return
    raise DataError(f"{file} {what}. {advice}")


def _read_npy(file: Source) -> np.ndarray:
    try:
        # Mapped, so that a header with a larger shape than the file holds fails before memory is allocated.
        table = np.load(os.fspath(file.whole()), mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError, SyntaxError, OverflowError) as error:
        raise DataError(
            f"{file} cannot be loaded ({error}); expected a 2-D array of numbers as np.save writes it. "
            "Arrays of Python objects are pickled, and those are never loaded: save .astype('float64')."
        ) from error
    if table.ndim != 2:
        raise DataError(
            f"{file} holds an array of {table.ndim} dimension(s), shape {table.shape}, dtype {table.dtype}; "
            "expected 2-D, a row a sample, the target among the columns. Build it with np.column_stack((X, y))."
        )
    if table.shape[0] == 0:
        raise DataError(f"{file} has no rows, shape {table.shape}; expected a row a sample. Save some.")
    return check.array(table, f"np.load({str(file)!r})", 2)


def _column(target: Any, names: list[str]) -> int:
    """The position of the target among the columns."""
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    hint = f"The columns are {listed}."
    if isinstance(target, str):
        if names.count(target) > 1:
            raise ValueError(
                f"target is {target!r}, the name of {names.count(target)} columns; expected one. "
                f"Give its position from 0 to {len(names) - 1}."
            )
        if target in names:
            return names.index(target)
        try:
            target = int(target)
        except ValueError:
            check.choice(target, "target", names)
    position = check.integer(
        target, "target", low=-len(names), high=len(names) - 1, hint=f"Or give a name. {hint}"
    )
    return operator.index(range(len(names))[position])
