"""Rows of Parquet files, decoded on demand: a segment of a row group at a time, the last ones kept."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np

from numbasgd.data.cells import CellErrors
from numbasgd.data.parquet_file import ParquetFile
from numbasgd.data.stored_rows import StoredRows
from numbasgd.errors import DataError

SEGMENT = 32 << 20  # bytes of the decoded rows of a row group that are kept, or dropped, together
KEPT = 128 << 20  # bytes of decoded rows that are kept in all


class ParquetRows(StoredRows):
    """Columns of numbers in a Parquet file.

    Segments follow one another through a row group, so to read on decodes each of them once; to read from the
    middle of a row group decodes what is before in it, too, and more than once where row groups are larger
    than what is kept.
    """

    def __init__(self, file: ParquetFile, features: list[int], dtype: Any, *, allows_missing: bool) -> None:
        super().__init__((file.n, len(features)), dtype, str(file), [file.names[j] for j in features])
        self._file, self._features, self._allows_missing = file, features, allows_missing
        self.chunk = max(file.group_rows)
        longest = max(1, SEGMENT // (self.dtype.itemsize * max(1, len(features))))
        self._starts: list[int] = []  # of the segments
        self._groups: list[int] = []  # of the segments
        first = 0
        for group, count in enumerate(file.group_rows):
            starts = range(first, first + count, longest)
            self._starts += starts
            self._groups += [group] * len(starts)
            first += count
        self._kept = _Kept()

    def share(self, first: StoredRows) -> None:
        """Keep decoded rows in the same memory as ``first``."""
        if isinstance(first, ParquetRows):
            self._kept = first._kept

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """Write the rows ``start`` to ``stop`` into ``out``."""
        done = start
        while done < stop:
            k = bisect_right(self._starts, done) - 1
            until = min(stop, self._end(k))
            rows = self._kept.segment(self, k, self._groups[k])
            out[done - start : until - start] = rows[done - self._starts[k] : until - self._starts[k]]
            done = until

    def require_no_nulls(self) -> None:
        """Raise ``DataError`` for the first null cell that the statistics of the file tell of."""
        group = None if self._allows_missing else self._file.first_with_nulls(self._features)
        if group is not None:
            for k in range(len(self._starts)):
                if self._groups[k] == group:
                    self._kept.segment(self, k, group)

    def _end(self, k: int) -> int:
        return self._starts[k + 1] if k + 1 < len(self._starts) else len(self)

    def segment_bytes(self, k: int) -> int:
        """Of the segment ``k``, decoded."""
        return (self._end(k) - self._starts[k]) * self.shape[1] * self.dtype.itemsize

    def decoded(self, k: int) -> Iterator[np.ndarray]:
        """The segment ``k`` and those behind it in its row group."""
        group = self._groups[k]
        skip = self._starts[k] - self._starts[self._groups.index(group)]
        rows, done = np.empty((0, 0)), 0
        for batch in self._file.batches(self._features, group):
            at = min(skip, batch.num_rows)
            skip -= at
            while at < batch.num_rows:
                if done == 0:
                    rows = np.empty((self._end(k) - self._starts[k], self.shape[1]), self.dtype)
                taken = min(batch.num_rows - at, len(rows) - done)
                for j, column in enumerate(self._file.columns(batch, self._features)):
                    rows[done : done + taken, j] = self._file.numbers(column.slice(at, taken))
                at += taken
                done += taken
                if done == len(rows):
                    errors = CellErrors(self.name, self._file.names, "row", allows_missing=self._allows_missing)
                    errors.add_array(rows, self._features, self._starts[k])
                    errors.finish()
                    yield rows
                    k, done = k + 1, 0
        if k < len(self._groups) and self._groups[k] == group:
            raise DataError(f"{self.name} has fewer rows than it tells of. It may be cut: write it anew.")


class _Kept:
    """The segments that were read last, of one file or of several, and the decoder that goes on behind them."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._segments: OrderedDict[tuple[ParquetRows, int], np.ndarray] = OrderedDict()
        self._bytes = 0
        self._next: tuple[ParquetRows, int, int] | None = None
        self._decoder: Iterator[np.ndarray] = iter(())

    def __reduce__(self) -> tuple[Any, ...]:
        return _Kept, ()  # another process decodes for itself

    def segment(self, rows: ParquetRows, k: int, group: int) -> np.ndarray:
        """The segment ``k`` of these rows."""
        if self._pid != os.getpid():  # forked, maybe while another thread, which is not here, held the lock
            vars(self).update(vars(_Kept()))
        with self._lock:
            found = self._segments.get((rows, k))
            if found is not None:
                self._segments.move_to_end((rows, k))
                return found
            if self._next != (rows, k, group):
                self._decoder = rows.decoded(k)
            self._next = None
            room = rows.segment_bytes(k)
            while self._segments and self._bytes + room > KEPT:
                self._bytes -= self._segments.popitem(last=False)[1].nbytes
            found = next(self._decoder)
            self._next = (rows, k + 1, group)
            self._segments[rows, k] = found
            self._bytes += found.nbytes
            return found
