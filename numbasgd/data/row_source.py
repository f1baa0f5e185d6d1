"""``RowSource``: rows that are read piece by piece, because all of them do not fit into memory."""

from __future__ import annotations

import math
import mmap
import os
from collections import OrderedDict
from typing import Any, Protocol, runtime_checkable

import numpy as np

from numbasgd.check import float_dtype
from numbasgd.data.npy_rows import is_paths, npy_files
from numbasgd.data.stored_rows import StoredRows
from numbasgd.errors import DataError

_KEPT = 32 << 20  # bytes of chunks that are kept
#: What an array in memory has, on whatever device, and none in a file.
_IN_MEMORY = ("__array_interface__", "__cuda_array_interface__", "__dlpack__", "iloc", "tocsr")


@runtime_checkable
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
    """Rows of anything that has ``shape``, ``dtype`` and slices: a memmap, an HDF5 or a Zarr data set.

    They are read as float32 or float64, to which integers, float16 and big-endian numbers are converted.  Where
    rows are stored in chunks, which are decompressed for any row of them, the chunks that were read in part are
    kept, up to 32 MB.

    stored_dtype : of the numbers that are stored.  chunk : rows of a chunk.
    """

    def __init__(self, rows: Any, name: str) -> None:
        self._rows, self.name = rows, name
        self.shape = tuple(int(size) for size in rows.shape)
        self.dtype = float_dtype(np.dtype(rows.dtype), name)
        self.stored_dtype = np.dtype(rows.dtype).newbyteorder("=")
        chunks = getattr(rows, "chunks", None)
        self.chunk = int(chunks[0]) if isinstance(chunks, tuple) and chunks and _is_count(chunks[0]) else 1
        self._file = _MappedFile(rows) if isinstance(rows, np.memmap) else None
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        size = self.chunk * math.prod(self.shape[1:]) * self.stored_dtype.itemsize
        self._most = _KEPT // max(1, size) if self.chunk > 1 else 0  # chunks that are kept

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """Write the rows ``start`` to ``stop`` into ``out``."""
        if not self._most:
            out[...] = self._slice(start, stop)
            return
        done = start
        while done < stop:
            first = done // self.chunk * self.chunk
            last = min(first + self.chunk, self.shape[0])
            until = min(stop, last)
            if done == first and until == last:  # whole chunks, as many as there are
                until = stop if stop == self.shape[0] else stop // self.chunk * self.chunk
                out[done - start : until - start] = self._slice(done, until)
            else:
                rows = self._part(first, last)
                out[done - start : until - start] = rows[done - first : until - first]
            done = until

    def _part(self, first: int, last: int) -> np.ndarray:
        """A chunk, of which some rows are wanted, and others maybe soon."""
        found = self._kept.pop(first, None)
        if found is None:
            found = self._slice(first, last)
        self._kept[first] = found
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return found

    def _slice(self, start: int, stop: int) -> np.ndarray:
        """The rows as they are stored."""
        try:
            if self._file is not None:
                self._file.require_whole()
            found = np.asarray(self._rows[start:stop])
            if found.shape != (stop - start, *self.shape[1:]):
                raise ValueError(f"they have shape {found.shape}")
            return found
        except MemoryError:
            raise
        except Exception as error:  # whatever the package behind it raises
            raise DataError(
                f"{self.name} cannot be read at rows {start} to {stop - 1}: {str(error).rstrip('.')}. Expected "
                f"rows of shape {self.shape[1:]}. Check that what it is read from is whole and open."
            ) from error


class _MappedFile:
    """The file of a memmap.  To read where it was cut ends the process, so its size is looked at before."""

    def __init__(self, rows: np.memmap) -> None:
        self._path = rows.filename
        self._size, self._identity = 0, None
        where = _mapping_of(rows)
        if self._path is not None and where is not None:
            low, high = np.lib.array_utils.byte_bounds(rows)
            first = np.lib.array_utils.byte_bounds(np.frombuffer(where, np.uint8))[0]
            skip = int(rows.offset) % mmap.ALLOCATIONGRANULARITY
            self._size = int(rows.offset) - skip + (high - first) if high > low else 0
            self._identity = self._stat()[0]

    def _stat(self) -> tuple[tuple[int, int] | None, int]:
        try:
            found = os.stat(self._path)  # type: ignore[arg-type]
        except OSError:  # deleted: what is mapped stays
            return None, 0
        return (found.st_dev, found.st_ino), found.st_size

    def require_whole(self) -> None:
        """Raise if it was cut."""
        if self._identity is None:
            return
        identity, size = self._stat()
        if identity == self._identity and size < self._size:
            raise ValueError(f"{self._path} was cut to {size:,} bytes, and {self._size:,} of it are mapped")


def _mapping_of(a: Any) -> mmap.mmap | None:
    """The mapped file that an array lies in; None for an array in memory."""
    while isinstance(a, np.ndarray) and a.base is not None:
        a = a.base
    a = a.obj if isinstance(a, memoryview) else a
    return a if isinstance(a, mmap.mmap) else None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and value > 0


def source_of(rows: Any, name: str) -> RowSource | None:
    """What reads ``rows`` piece by piece, or None for an array in memory and what becomes one.

    rows : a memmap, the path of a ``.npy`` file or a list of such paths, rows of ``numbasgd.open_shards`` and
    ``numbasgd.open_table``, a ``RowSource``, or anything with ``shape``, ``dtype`` and slices that is not in
    memory, such as data sets of h5py and zarr.  Labels that are text are None, too.

    Raises
    ------
    DataError
        If a file cannot be read or is not like the others; the message names it.
    TypeError
        If they are no numbers.
    """
    if isinstance(rows, np.ndarray):
        is_mapped = isinstance(rows, np.memmap) and _mapping_of(rows) is not None
        return SlicedRows(rows, name) if is_mapped and rows.ndim > 0 and _are_numbers(rows.dtype) else None
    if is_paths(rows):
        return npy_files(rows, name)
    if isinstance(rows, StoredRows):
        return rows
    try:
        is_like_array = all(hasattr(rows, attribute) for attribute in ("shape", "dtype", "__getitem__"))
    except Exception as error:  # as h5py raises where the file was closed
        raise DataError(
            f"{name} cannot be read: {str(error).rstrip('.')}. Expected rows with a shape and a dtype. Check "
            "that the file that they are in is open."
        ) from error
    if not is_like_array:
        return rows if isinstance(rows, RowSource) else None
    if any(hasattr(rows, attribute) for attribute in _IN_MEMORY):
        return None
    return SlicedRows(rows, name) if len(rows.shape) > 0 and _are_numbers(rows.dtype) else None


def _are_numbers(dtype: Any) -> bool:
    """Whether they are numbers, or no labels either, which ``SlicedRows`` refuses."""
    try:
        return np.dtype(dtype).kind not in "OSUTMm"
    except TypeError:  # of a package with dtypes of its own
        return False
