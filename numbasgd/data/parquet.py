"""Tables in Parquet files."""

from __future__ import annotations

import os

import numpy as np

from numbasgd.data.cells import CellErrors
from numbasgd.data.parquet_file import ParquetFile
from numbasgd.data.parquet_rows import ParquetRows
from numbasgd.data.read_options import Wanted
from numbasgd.data.source import Source


class ParquetTable:
    """A Parquet file whose schema is known.

    names : of the columns.
    """

    def __init__(self, file: Source) -> None:
        self.notes: list[str] = []
        self._file = ParquetFile(os.fspath(file.whole()), str(file))
        self.names = self._file.names

    def read(self, wanted: Wanted) -> tuple[np.ndarray, np.ndarray]:
        """X (n, d) and y (n, K), float32 if all of X is, else float64; or y (n,) where it names classes."""
        rows, y = self.open(wanted)
        return rows.read_all(wanted.progress), y

    def open(self, wanted: Wanted) -> tuple[ParquetRows, np.ndarray]:
        """X, which stays in the file, and y as of ``read``."""
        file = self._file
        is_label = wanted.takes_labels and len(wanted.targets) == 1
        is_text = is_label and file.kinds[wanted.targets[0]] == "text"
        file.require_numbers([*wanted.features, *([] if is_text else wanted.targets)])
        dtype = file.dtype(wanted.features)
        rows = ParquetRows(file, wanted.features, dtype, allows_missing=wanted.allows_missing)
        y = self._texts(wanted) if is_text else self._targets(wanted, dtype)
        rows.require_no_nulls()
        return rows, y[:, 0] if is_label and not is_text else y

    def _targets(self, wanted: Wanted, dtype: np.dtype) -> np.ndarray:
        y = np.empty((self._file.n, len(wanted.targets)), dtype)
        errors = CellErrors(self._file, self.names, "row", allows_missing=wanted.allows_missing)
        start = 0
        for batch in self._file.batches(wanted.targets) if wanted.targets else ():
            stop = start + batch.num_rows
            for k, column in enumerate(self._file.columns(batch, wanted.targets)):
                y[start:stop, k] = self._file.numbers(column)
            errors.add_array(y[start:stop], wanted.targets, start)
            start = stop
        errors.finish()
        return y

    def _texts(self, wanted: Wanted) -> np.ndarray:
        errors = CellErrors(self._file, self.names, "row", allows_missing=wanted.allows_missing)
        labels: list[str] = []
        for batch in self._file.batches(wanted.targets):
            for label in batch.column(0).to_pylist():
                if label is None:
                    errors.add(len(labels), wanted.targets[0], None)
                labels.append(label or "")
        errors.finish()
        return np.array(labels, str)
