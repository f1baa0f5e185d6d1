"""``RowSource``: rows that are read piece by piece, because all of them do not fit into memory."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from numbasgd.errors import DataError


class RowSource(Protocol):
    """Rows of X (n, d), or targets (n,) or (n, K), read a range at a time.

    shape : of all of them.  dtype : of what is read.  name : what an error calls them.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    name: str

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """Write the rows ``start`` to ``stop`` into ``out``, in C order; by one thread at a time.

        Raises
        ------
        DataError
            If they cannot be read; it names the file, or the argument, and the rows.
        """


class SlicedRows:
    """Rows of anything that has ``shape``, ``dtype`` and slices: a memmap, an HDF5 or a Zarr data set."""

    def __init__(self, rows: Any, name: str) -> None:
        self._rows, self.name = rows, name
        self.shape = tuple(int(size) for size in rows.shape)
        self.dtype = np.dtype(rows.dtype)

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """Write the rows ``start`` to ``stop`` into ``out``."""
        try:
            out[...] = self._rows[start:stop]
        except (OSError, ValueError, RuntimeError) as error:
            raise DataError(
                f"{self.name} cannot be read at rows {start} to {stop - 1}: {error}. Expected rows of shape "
                f"{self.shape[1:]}. Check that what it is read from is whole and open."
            ) from error


def source_of(rows: Any, name: str) -> RowSource | None:
    """What reads ``rows`` piece by piece, or None for an array in memory and what becomes one."""
    if isinstance(rows, np.ndarray) and not isinstance(rows, np.memmap):
        return None
    if not all(hasattr(rows, attribute) for attribute in ("shape", "dtype", "__getitem__")):
        return None
    return None if hasattr(rows, "tocsr") or hasattr(rows, "iloc") else SlicedRows(rows, name)
