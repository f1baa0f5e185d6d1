"""Tables in Parquet files, read through pyarrow, which is imported only here."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from numbasgd.data.cells import CellErrors, shown
from numbasgd.data.read_options import Wanted
from numbasgd.data.source import Source
from numbasgd.errors import DataError

_BATCH = 1 << 16  # rows that are converted at a time


class ParquetTable:
    """A Parquet file whose schema is known, to be read once, some rows at a time.

    names : of the columns.
    """

    def __init__(self, file: Source) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise DataError(
                f"{file} is a Parquet file, and pyarrow, which reads them, cannot be imported ({error}). "
                "Install it with: pip install 'numbasgd[data]'"
            ) from error
        self._arrow = pyarrow
        self.file = file
        self.notes: list[str] = []
        try:
            self._parquet = pyarrow.parquet.ParquetFile(os.fspath(file.whole()))
            self._schema = self._parquet.schema_arrow
            self._n = self._parquet.metadata.num_rows
        except (pyarrow.ArrowException, OSError) as error:
            raise self._broken(error) from error
        self.names = list(self._schema.names)
        if self._n == 0:
            raise DataError(f"{file} has no rows; expected a row a sample. Write some.")

    def _broken(self, error: Exception) -> DataError:
        told = str(error).strip().split("\n")[0]
        return DataError(f"{self.file} cannot be read as Parquet ({told}); it may be cut. Write it anew.")

    def read(self, wanted: Wanted) -> tuple[np.ndarray, np.ndarray]:
        """X (n, d) and y (n, K), float32 if all of it is, else float64; or y (n,) where it names classes."""
        kinds = [self._kind(j) for j in range(len(self.names))]
        is_label = wanted.takes_labels and len(wanted.targets) == 1
        is_text = is_label and kinds[wanted.targets[0]] == "text"
        numbers = [*wanted.features, *([] if is_text else wanted.targets)]
        for j in numbers:
            if kinds[j] not in ("float32", "number"):
                self._refuse(j)
        dtype = np.float32 if all(kinds[j] == "float32" for j in wanted.features) else np.float64
        X = np.empty((self._n, len(wanted.features)), dtype)
        y = np.empty((self._n, len(wanted.targets)), dtype)
        labels: list[str | None] = []
        errors = CellErrors(self.file, self.names, "row", allows_missing=wanted.allows_missing)
        start = 0
        try:
            paths = [self.names[j] for j in (*wanted.features, *wanted.targets)]
            for batch in self._parquet.iter_batches(_BATCH, columns=paths):
                stop = start + batch.num_rows
                found = dict(zip(batch.schema.names, batch.columns, strict=True))
                for k, j in enumerate(wanted.features):
                    X[start:stop, k] = self._numbers(found[self.names[j]])
                if is_text:
                    labels += found[self.names[wanted.targets[0]]].to_pylist()
                else:
                    for k, j in enumerate(wanted.targets):
                        y[start:stop, k] = self._numbers(found[self.names[j]])
                errors.add_array(X[start:stop], wanted.features, start)
                errors.add_array(y[start:stop] if not is_text else X[:0], wanted.targets, start)
                start = stop
                if wanted.progress is not None:
                    wanted.progress(start, self._n, "rows")
        except (self._arrow.ArrowException, OSError) as error:
            raise self._broken(error) from error
        if is_text:
            for i, label in enumerate(labels):
                if label is None:
                    errors.add(i, wanted.targets[0], None)
        errors.finish()
        if is_text:
            return X, np.array([label or "" for label in labels], str)
        return X, y[:, 0] if is_label else y

    def _kind(self, j: int) -> str:
        types, kind = self._arrow.types, self._schema.field(j).type
        if types.is_dictionary(kind):
            kind = kind.value_type
        if types.is_float32(kind) or types.is_float16(kind):
            return "float32"
        are_numbers = (types.is_floating, types.is_integer, types.is_boolean, types.is_decimal)
        if any(is_such(kind) for is_such in are_numbers):
            return "number"
        return "text" if types.is_string(kind) or types.is_large_string(kind) else "other"

    def _refuse(self, j: int) -> None:
        kind = str(self._schema.field(j).type)
        is_date = kind.startswith(("date", "timestamp", "time"))
        raise DataError(
            f"{self.file}, column {j} ({shown(self.names[j])}) is of type {shown(kind)}; expected numbers. "
            + ("A date is no number: write the days since some day, or l" if is_date else "L")
            + f"eave it out: drop={j}."
        )

    def _numbers(self, column: Any) -> np.ndarray:
        """A column's entries as floats, NaN for null."""
        arrow, kind = self._arrow, column.type
        if arrow.types.is_dictionary(kind):
            column = column.dictionary_decode()
        if not arrow.types.is_floating(column.type):
            column = column.cast(arrow.float64(), safe=False)  # integers beyond 2**53 are rounded, as by NumPy
        return column.to_numpy(zero_copy_only=False)
