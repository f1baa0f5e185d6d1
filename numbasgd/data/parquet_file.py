"""A Parquet file, its schema and its columns of numbers, through pyarrow, which is imported only here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from numbasgd.data.cells import shown
from numbasgd.errors import DataError

_BATCH = 1 << 16  # rows that pyarrow decodes at a time
_BUFFER = 1 << 16  # bytes that are read of a column at a time


class ParquetFile:
    """A Parquet file whose schema is known.

    names : of the columns.  n : rows.  group_rows : of each row group.  kinds : of the columns, "float32",
    "number", "text" or "other".
    """

    def __init__(self, path: str | os.PathLike[str], name: str) -> None:
        self._path, self._name = os.path.abspath(path), name
        arrow = self._arrow()
        try:
            with arrow.parquet.ParquetFile(self._path) as file:
                self._metadata, schema = file.metadata, file.schema_arrow
        except (arrow.ArrowException, OSError) as error:
            raise self._broken(error) from error
        self.names = list(schema.names)
        self.types = [str(field.type) for field in schema]
        self.kinds = [self._kind(field.type) for field in schema]
        self.n = self._metadata.num_rows
        groups = range(self._metadata.num_row_groups)
        self.group_rows = [self._metadata.row_group(group).num_rows for group in groups]
        if self.n == 0:
            raise DataError(f"{name} has no rows; expected a row a sample. Write some.")

    def __str__(self) -> str:
        return self._name

    def _arrow(self) -> Any:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise DataError(
                f"{self} is a Parquet file, and pyarrow, which reads them, cannot be imported ({error}). "
                "Install it with: pip install 'numbasgd[data]'"
            ) from error
        return pyarrow

    def _broken(self, error: Exception) -> DataError:
        told = str(error).strip().split("\n")[0]
        return DataError(f"{self} cannot be read as Parquet ({told}); it may be cut. Write it anew.")

    def batches(self, columns: Sequence[int], group: int | None = None) -> Iterator[Any]:
        """Record batches of these columns, of a row group or of all; no threads, so that a process may fork."""
        arrow = self._arrow()
        try:
            with arrow.parquet.ParquetFile(
                self._path, metadata=self._metadata, buffer_size=_BUFFER, pre_buffer=False
            ) as file:
                yield from file.iter_batches(
                    _BATCH,
                    row_groups=None if group is None else [group],
                    columns=[self.names[j] for j in columns],
                    use_threads=False,
                )
        except (arrow.ArrowException, OSError) as error:
            if isinstance(error, DataError):
                raise
            raise self._broken(error) from error

    def columns(self, batch: Any, positions: Sequence[int]) -> list[Any]:
        """The columns at these positions, in this order."""
        found = dict(zip(batch.schema.names, batch.columns, strict=True))
        return [found[self.names[j]] for j in positions]

    def first_with_nulls(self, positions: Sequence[int]) -> int | None:
        """The first row group with a null in one of these columns, as far as its statistics tell."""
        schema = self._metadata.schema
        leaves = {schema.column(i).path: i for i in range(len(schema))}
        wanted = [leaves[self.names[j]] for j in positions if self.names[j] in leaves]
        for group in range(len(self.group_rows)):
            about = self._metadata.row_group(group)
            for i in wanted:
                found = about.column(i).statistics
                if found is not None and found.has_null_count and found.null_count:
                    return group
        return None

    def require_numbers(self, positions: Sequence[int]) -> None:
        """Raise ``DataError`` for a column of something else."""
        for j in positions:
            if self.kinds[j] in ("float32", "number"):
                continue
            is_date = self.types[j].startswith(("date", "timestamp", "time"))
            raise DataError(
                f"{self}, column {j} ({shown(self.names[j])}) is of type {shown(self.types[j])}; expected "
                "numbers. "
                + ("A date is no number: write the days since some day, or l" if is_date else "L")
                + f"eave it out: drop={j}."
            )

    def dtype(self, positions: Sequence[int]) -> Any:
        """float32 if all of these columns are, else float64."""
        return np.float32 if all(self.kinds[j] == "float32" for j in positions) else np.float64

    def _kind(self, kind: Any) -> str:
        types = self._arrow().types
        if types.is_dictionary(kind):
            kind = kind.value_type
        if types.is_float32(kind) or types.is_float16(kind):
            return "float32"
        are_numbers = (types.is_floating, types.is_integer, types.is_boolean, types.is_decimal)
        if any(is_such(kind) for is_such in are_numbers):
            return "number"
        return "text" if types.is_string(kind) or types.is_large_string(kind) else "other"

    def numbers(self, column: Any) -> np.ndarray:
        """A column's entries as floats, NaN for null."""
        arrow, kind = self._arrow(), column.type
        if arrow.types.is_dictionary(kind):
            column = column.dictionary_decode()
        if not arrow.types.is_floating(column.type):
            column = column.cast(arrow.float64(), safe=False)  # integers beyond 2**53 are rounded, as by NumPy
        return column.to_numpy(zero_copy_only=False)
