"""Tables in ``.npy`` and ``.npz`` files; nothing in them is ever unpickled."""

from __future__ import annotations

import math
import os
import tokenize
import warnings
import zipfile
import zlib
from typing import Any, NoReturn

import numpy as np

from numbasgd import check
from numbasgd.data.cells import CellErrors, quoted
from numbasgd.data.npy_rows import PICKLED, NpyRows, npy_header
from numbasgd.data.read_options import Wanted
from numbasgd.data.source import Source
from numbasgd.data.stored_rows import SelectedColumns, StoredRows
from numbasgd.errors import DataError

_NAMES = ("columns", "column_names", "feature_names")  # of an array of text that names the columns beside it
#: What NumPy and the archive raise for headers and bytes that make no sense.
_BROKEN = (
    ValueError, TypeError, KeyError, OSError, EOFError, SyntaxError, tokenize.TokenError, OverflowError,
    MemoryError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_KINDS = "biuf"


class ArrayTable:
    """Arrays of as many rows, side by side: a 2-D array is some columns, a 1-D array is one.

    names : of the columns, "" where one has none.
    """

    def __init__(self, file: Any, arrays: list[tuple[str, np.ndarray]], names: list[str]) -> None:
        self.file, self.names = file, names
        self.notes: list[str] = []
        self._arrays = arrays
        self._places = [(i, j) for i, (_, a) in enumerate(arrays) for j in range(a.shape[1])]

    def read(self, wanted: Wanted) -> tuple[np.ndarray, np.ndarray]:
        """X (n, d) and y (n, K), float32 if all of it is, else float64; or y (n,) where it names classes."""
        is_label = wanted.takes_labels and len(wanted.targets) == 1
        used = [*wanted.features, *([] if is_label else wanted.targets)]
        for i in {self._places[j][0] for j in used}:
            self._require_numbers(*self._arrays[i])
        dtypes = [self._arrays[self._places[j][0]][1].dtype for j in used]
        dtype = np.float32 if all(d.kind == "f" and d.itemsize <= 4 for d in dtypes) else np.float64
        X = self._take(wanted.features, dtype)
        if is_label:
            i, j = self._places[wanted.targets[0]]
            y = self._labels(self._arrays[i][1][:, j], wanted)
        else:
            y = self._take(wanted.targets, dtype)
        errors = CellErrors(self.file, self.names, "row", allows_missing=wanted.allows_missing)
        errors.add_array(X, wanted.features)
        if y.dtype.kind == "f":
            errors.add_array(y.reshape(len(X), -1), wanted.targets)
        errors.finish()
        return X, y

    def _labels(self, found: np.ndarray, wanted: Wanted) -> np.ndarray:
        if found.dtype.kind == "U":
            return np.char.strip(found)
        if found.dtype.kind not in _KINDS:
            self._require_numbers("", found)
        return check.array(found, f"column {wanted.targets[0]}", 1).copy()

    def _require_numbers(self, name: str, a: np.ndarray) -> None:
        if a.dtype.kind not in _KINDS:
            what = f"the array {quoted(name)} in {self.file}" if name else f"np.load({str(self.file)!r})"
            check.array(a, what, 2)  # which says what it is, and what to do

    def _take(self, columns: list[int], dtype: Any) -> np.ndarray:
        if len(self._arrays) == 1:
            ((_, a),) = self._arrays
            return np.array(a[:, columns], dtype, order="C")
        out = np.empty((len(self._arrays[0][1]), len(columns)), dtype)
        for k, column in enumerate(columns):
            i, j = self._places[column]
            out[:, k] = self._arrays[i][1][:, j]
        return out


class NpyTable:
    """The table in a ``.npy`` file: a 2-D array without names of columns.

    names : of the columns, all "".
    """

    def __init__(self, file: Source) -> None:
        self.notes: list[str] = []
        self._file = file
        path = os.fspath(file.whole())
        shape, _, dtype, _ = npy_header(path, str(file))
        if len(shape) != 2:
            raise DataError(
                f"{file} holds an array of {len(shape)} dimension(s), shape {shape}, dtype {dtype}; expected "
                "2-D, a row a sample, the target among the columns. Build it with np.column_stack((X, y))."
            )
        _require_rows(file, shape)
        self._rows = NpyRows(path, name=str(file))
        self.names = [""] * shape[1]

    def read(self, wanted: Wanted) -> tuple[np.ndarray, np.ndarray]:
        """X (n, d) and y (n, K), float32 if the array is, else float64; or y (n,) where it names classes."""
        rows, y = self.open(wanted)
        X = rows.read_all(wanted.progress)
        self._require_finite(X, wanted.features, wanted)
        return X, y

    def open(self, wanted: Wanted) -> tuple[StoredRows, np.ndarray]:
        """X, which stays in the file, and y."""
        y = SelectedColumns(self._rows, wanted.targets).read_all(wanted.progress)
        self._require_finite(y, wanted.targets, wanted)
        is_label = wanted.takes_labels and len(wanted.targets) == 1
        rows: StoredRows = self._rows
        if wanted.features != list(range(len(self.names))):
            rows = SelectedColumns(rows, wanted.features)
        return rows, y[:, 0] if is_label else y

    def _require_finite(self, values: np.ndarray, columns: list[int], wanted: Wanted) -> None:
        errors = CellErrors(self._file, self.names, "row", allows_missing=wanted.allows_missing)
        errors.add_array(values, columns)
        errors.finish()


def _refuse(told: str, error: BaseException) -> NoReturn:
    raise DataError(f"{told}; expected a 2-D array of numbers as np.save writes it. {PICKLED}") from error


def _require_rows(file: Any, shape: tuple[int, ...]) -> None:
    if shape[0] == 0:
        raise DataError(f"{file} has no rows, shape {shape}; expected a row a sample. Save some.")


def npz_table(file: Source) -> ArrayTable:
    """The table in a ``.npz`` file: its arrays side by side, a 1-D array under its own name.

    An array of text that is called "columns", "column_names" or "feature_names" names the columns of the only
    2-D array.
    """
    arrays = _members(file)
    labels = {name: arrays.pop(name) for name in _NAMES if name in arrays and arrays[name].dtype.kind == "U"}
    wrong = next((name for name, a in arrays.items() if a.ndim not in (1, 2)), None)
    if wrong is not None:
        raise DataError(
            f"{file} holds the array {quoted(wrong)} of {arrays[wrong].ndim} dimension(s); expected arrays of "
            "1 or 2, a row a sample. Save it without that array."
        )
    lengths = {name: len(a) for name, a in arrays.items()}
    if len(set(lengths.values())) != 1:
        told = ", ".join(f"{quoted(name)} of {n}" for name, n in list(lengths.items())[:5])
        raise DataError(
            f"{file} holds arrays of different numbers of rows ({told or 'none'}); expected as many in each, a "
            "row a sample. Save those of one table to a file: np.savez('table.npz', X=X, y=y)."
        )
    blocks = [(name, a.reshape(len(a), -1) if a.ndim == 1 else a) for name, a in arrays.items()]
    _require_rows(file, blocks[0][1].shape)
    given = next(iter(labels.values()), None)
    wide = [name for name, a in arrays.items() if a.ndim == 2]
    names: list[str] = []
    for name, block in blocks:
        if arrays[name].ndim == 1:
            names.append(name)
        elif given is not None and len(wide) == 1 and given.shape == (block.shape[1],):
            names.extend(map(str, given))
        elif len(blocks) == 1:
            names.extend([""] * block.shape[1])
        else:
            names.extend(f"{name}[{j}]" for j in range(block.shape[1]))
    return ArrayTable(file, blocks, names)


def _members(file: Source) -> dict[str, np.ndarray]:
    """The arrays of an archive by their names."""
    arrays: dict[str, np.ndarray] = {}
    name = ""
    try:
        with zipfile.ZipFile(os.fspath(file.whole())) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if not member.filename.endswith(".npy"):
                    raise ValueError("it is no array")
                with archive.open(member) as stream, warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    _require_size(stream, member.file_size)
                with archive.open(member) as stream, warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    arrays[name] = np.lib.format.read_array(stream, allow_pickle=False)
    except _BROKEN as error:
        which = f"the array {quoted(name)} in {file}" if name else str(file)
        _refuse(f"{which} cannot be loaded ({error})", error)
    return arrays


def _require_size(stream: Any, size: int) -> None:
    """Raise if the header tells of more entries than there are bytes, before memory is allocated."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"it is cut: shape {shape} of {dtype} does not fit into {size} bytes")
