"""Rows that stay in files: sliced like the rows of an array, and read when they are."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from numbasgd.data.read_options import Progress

_AT_ONCE = 4 << 20  # bytes of rows that are read at once to be looked through, or told of


class StoredRows:
    """Rows of X (n, d), or targets (n,) or (n, K), in files; a ``RowSource`` (``numbasgd.data.row_source``).

    ``rows[10:20]`` reads these rows into an array, and ``numpy.asarray(rows)`` all of them.

    Attributes
    ----------
    shape : tuple of int
        Of all rows.
    dtype : dtype
        Of what is read: float32 or float64.
    stored_dtype : dtype
        Of the numbers in the files.
    name : str
        What an error calls them.
    columns : list of str or None
        The names of the columns.
    chunk : int
        Rows that are read at the cost of one of them, as those of a compressed piece are.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any, name: str, columns: list[str] | None = None) -> None:
        self.shape, self.dtype, self.name, self.columns = shape, np.dtype(dtype), name, columns
        self.stored_dtype = self.dtype
        self.chunk = 1

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """Write the rows ``start`` to ``stop`` into ``out``; raises ``DataError`` if they cannot be read."""
        raise NotImplementedError

    def read_all(self, progress: Progress | None = None) -> np.ndarray:
        """All rows, in an array; how far they were read is told."""
        out = np.empty(self.shape, self.dtype)
        n = len(self)
        count = max(1, _AT_ONCE * n // max(1, out.nbytes)) if progress is not None else max(1, n)
        for start in range(0, n, count):
            stop = min(n, start + count)
            self.read(start, stop, out[start:stop])
            if progress is not None:
                progress(stop, n, "rows")
        return out

    def share(self, first: StoredRows) -> None:
        """Use the memory that ``first`` has for what is read, where there is some."""

    @property
    def ndim(self) -> int:
        """Dimensions."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of an array of all rows."""
        n = self.dtype.itemsize
        for size in self.shape:
            n *= size
        return n

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.name}, shape {self.shape}, {self.dtype}>"

    def __getitem__(self, key: Any) -> Any:
        """The rows of a slice as an array, or one row; of these, entries by further indices."""
        rows, rest = (key[0], key[1:]) if isinstance(key, tuple) and key else (key, ())
        if isinstance(rows, slice):
            return self._slice(*rows.indices(len(self)))[(slice(None), *rest)]
        try:
            row = range(len(self))[rows]
        except TypeError:
            raise TypeError(
                f"rows of {self.name} are taken by {type(rows).__name__}; expected a slice or an integer, "
                "since they are read from a file. Read a slice, and take rows of that."
            ) from None
        return self._slice(row, row + 1, 1)[(0, *rest)]

    def _slice(self, start: int, stop: int, step: int) -> np.ndarray:
        wanted = range(start, stop, step)
        if not wanted:
            return np.empty((0, *self.shape[1:]), self.dtype)
        low, high = min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1]) + 1
        out = np.empty((high - low, *self.shape[1:]), self.dtype)
        self.read(low, high, out)
        return out if step == 1 else out[wanted[0] - low :: step]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError(f"{self.name} is in a file; expected copy=True or None. Slice it for some of it.")
        return self.read_all().astype(self.dtype if dtype is None else dtype, copy=False)


class JoinedRows(StoredRows):
    """The rows of several parts, one part after the other; parts of the same columns and dtype."""

    def __init__(self, parts: Sequence[StoredRows], name: str, columns: list[str] | None = None) -> None:
        n = sum(map(len, parts))
        super().__init__((n, *parts[0].shape[1:]), parts[0].dtype, name, columns)
        self._parts = parts
        for part in parts:
            part.share(parts[0])
        self.stored_dtype = parts[0].stored_dtype
        self._stops = list(accumulate(map(len, parts)))
        self.chunk = max(part.chunk for part in parts)

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """Write the rows ``start`` to ``stop`` into ``out``."""
        i = bisect_right(self._stops, start)
        done = start
        while done < stop:
            part, first = self._parts[i], self._stops[i] - len(self._parts[i])
            until = min(stop, self._stops[i])
            if until > done:
                part.read(done - first, until - first, out[done - start : until - start])
            done = until
            i += 1


class SelectedColumns(StoredRows):
    """Some columns of other rows, in another order."""

    def __init__(self, rows: StoredRows, positions: Sequence[int], columns: list[str] | None = None) -> None:
        super().__init__((len(rows), len(positions)), rows.dtype, rows.name, columns)
        self._rows, self._positions = rows, np.asarray(positions, np.intp)
        self.stored_dtype, self.chunk = rows.stored_dtype, rows.chunk

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """Write these columns of the rows ``start`` to ``stop`` into ``out``."""
        if out.size == 0:
            return
        whole = self._rows.shape[1]
        count = max(1, _AT_ONCE // max(1, whole * self.dtype.itemsize))
        buffer = np.empty((min(count, stop - start), whole), out.dtype)
        for first in range(start, stop, count):
            last = min(stop, first + count)
            found = buffer[: last - first]
            self._rows.read(first, last, found)
            np.take(found, self._positions, axis=1, out=out[first - start : last - start])
