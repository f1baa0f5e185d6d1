"""Rows of ``.npy`` files, read a range at a time; nothing in the files is ever unpickled.

They are read and not mapped: a file that is cut while it is mapped ends the process, and one that is cut while
it is read ends in an error that names it.
"""

from __future__ import annotations

import math
import os
import tokenize
import warnings
from collections import Counter
from collections.abc import Sequence
from io import FileIO
from typing import Any, NamedTuple, NoReturn

import numpy as np

from numbasgd.check import float_dtype
from numbasgd.data.stored_rows import JoinedRows, StoredRows
from numbasgd.errors import DataError

_AT_ONCE = 4 << 20  # bytes that are read at once where they have to be converted
PICKLED = "Arrays of Python objects are pickled, and those are never loaded: save .astype('float64')."


class NpyHeader(NamedTuple):
    """What a ``.npy`` file says of its array, whose entries begin at the byte ``offset``."""

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype
    offset: int


def npy_header(path: str | os.PathLike[str], name: str | None = None) -> NpyHeader:
    """The header of a file that holds all entries which its header tells of.

    name : of the file, for a message.

    Raises
    ------
    DataError
        If there is no such file, it is no ``.npy`` file, holds Python objects, or is cut.
    """
    file = name or os.fsdecode(path)
    try:
        with open(path, "rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers by Python 2
            size = os.fstat(stream.fileno()).st_size
            version = np.lib.format.read_magic(stream)
            if version == (1, 0):
                shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
            else:
                shape, is_fortran, dtype = np.lib.format.read_array_header_2_0(stream)
            offset = stream.tell()
            if any(count < 0 for count in shape):
                raise ValueError(f"shape {shape}")
    except OSError as error:
        raise DataError(
            f"{file} cannot be read: {error.strerror or error}. Expected a .npy file. Check the path."
        ) from error
    except (ValueError, TypeError, KeyError, EOFError, SyntaxError, tokenize.TokenError) as error:
        raise DataError(
            f"{file} cannot be loaded ({error}); expected a .npy file, an array of numbers as np.save writes "
            "it. Save it again."
        ) from error
    if dtype.hasobject:
        raise DataError(
            f"{file} cannot be loaded: it holds Python objects; expected an array of numbers. {PICKLED}"
        )
    wanted = math.prod(shape) * dtype.itemsize
    if offset + wanted > size:
        _cut(file, shape, dtype, wanted, size - offset)
    return NpyHeader(tuple(map(int, shape)), is_fortran, dtype, offset)


def _cut(file: str, shape: tuple[int, ...], dtype: np.dtype, wanted: int, found: int) -> NoReturn:
    raise DataError(
        f"{file} cannot be loaded: it is cut, as shape {shape} of {dtype} takes {wanted:,} bytes, and "
        f"{wanted - found:,} of them are missing. Copy it again, or save the array anew."
    )


class NpyRows(StoredRows):
    """The rows of a ``.npy`` file of one or two dimensions, in C or Fortran order and either byte order."""

    def __init__(
        self, path: str | os.PathLike[str], columns: list[str] | None = None, *, name: str | None = None
    ) -> None:
        self._file = os.path.abspath(os.fsdecode(path))
        name = name or os.fsdecode(path)
        self._header = header = npy_header(path, name)
        if len(header.shape) not in (1, 2):
            raise DataError(
                f"{name} holds an array of {len(header.shape)} dimension(s), shape {header.shape}; expected "
                "2-D, a row a sample, or 1-D targets. Save .reshape(len(X), -1)."
            )
        super().__init__(header.shape, float_dtype(header.dtype, name), name, columns)
        self.stored_dtype = header.dtype.newbyteorder("=")

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """Write the rows ``start`` to ``stop`` into ``out``."""
        shape, is_fortran, dtype, offset = self._header
        width = math.prod(shape[1:])
        try:
            with open(self._file, "rb", buffering=0) as stream:
                if is_fortran and len(shape) == 2:
                    column = np.empty(stop - start, dtype)
                    for j in range(width):
                        self._fill(stream, offset + (j * shape[0] + start) * dtype.itemsize, column)
                        out[:, j] = column
                elif dtype == out.dtype and dtype.isnative and out.flags.c_contiguous:
                    self._fill(stream, offset + start * width * dtype.itemsize, out)
                else:
                    self._convert(stream, start, stop, out)
        except OSError as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"{self.name} cannot be read at rows {start} to {stop - 1}: {error.strerror or error}. It "
                "could when it was opened. Check that the file is still there."
            ) from error

    def _convert(self, stream: FileIO, start: int, stop: int, out: np.ndarray) -> None:
        shape, _, dtype, offset = self._header
        width = math.prod(shape[1:])
        count = max(1, _AT_ONCE // max(1, width * dtype.itemsize))
        buffer = np.empty((min(count, stop - start), *shape[1:]), dtype)
        for first in range(start, stop, count):
            last = min(stop, first + count)
            self._fill(stream, offset + first * width * dtype.itemsize, buffer[: last - first])
            out[first - start : last - start] = buffer[: last - first]

    def _fill(self, stream: FileIO, position: int, out: np.ndarray) -> None:
        """Read the bytes of ``out``, which are contiguous, from a position of the file on."""
        if not out.size:
            return
        stream.seek(position)
        memory = out.reshape(-1).view(np.uint8).data
        while len(memory):
            count = stream.readinto(memory)
            if not count:
                shape, _, dtype, offset = self._header
                wanted = math.prod(shape) * dtype.itemsize
                _cut(self.name, shape, dtype, wanted, max(0, os.fstat(stream.fileno()).st_size - offset))
            memory = memory[count:]


def is_paths(rows: Any) -> bool:
    """Whether ``rows`` is the path of a ``.npy`` file, or a list or tuple of such paths."""
    if isinstance(rows, list | tuple):
        return len(rows) > 0 and any(map(_is_path, rows))
    return _is_path(rows)


def _is_path(value: Any) -> bool:
    return isinstance(value, os.PathLike) or (isinstance(value, str) and value.lower().endswith(".npy"))


def npy_files(paths: Any, name: str, columns: list[str] | None = None) -> StoredRows:
    """The rows of ``.npy`` files, one file after the other; of the same columns and dtype.

    name : what the argument is called.

    Raises
    ------
    DataError
        If one of the files cannot be read, or is not like the others; the message names it.
    """
    if not isinstance(paths, list | tuple):
        return NpyRows(paths, columns)
    odd = [path for path in paths if not _is_path(path)]
    if odd:
        what = f"an array of shape {odd[0].shape}" if isinstance(odd[0], np.ndarray) else repr(odd[0])
        raise DataError(
            f"{name} is a list of {len(paths)} files, and {what} is among them; expected the paths of .npy "
            "files alone. Leave it out, or convert it."
        )
    parts = [NpyRows(path, columns) for path in paths]
    _require_alike(parts)
    return parts[0] if len(parts) == 1 else JoinedRows(parts, f"{name}, {len(parts)} files,", columns)


def _require_alike(parts: Sequence[NpyRows]) -> None:
    """Raise for the file whose columns or dtype are not those of most."""
    kinds = [(part.shape[1:], part.stored_dtype) for part in parts]
    (common, _), *others = Counter(kinds).most_common()
    if not others:
        return
    model = parts[kinds.index(common)]
    odd = next(part for part, kind in zip(parts, kinds, strict=True) if kind != common)
    raise DataError(
        f"{odd.name} holds rows of {_kind(odd)}, and {model.name} of {_kind(model)}; expected the same in all "
        f"{len(parts)} files. Convert that file, or leave it out."
    )


def _kind(part: NpyRows) -> str:
    columns = "numbers" if part.ndim == 1 else f"{part.shape[1]} columns"
    return f"{columns}, {part.stored_dtype}"
