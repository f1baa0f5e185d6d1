"""A folder of shards as a table: the columns of X, then those of y."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from numbasgd import check
from numbasgd.data.cells import CellErrors, quoted
from numbasgd.data.read_options import Wanted
from numbasgd.data.shards import read_manifest, rows_of, targets_of
from numbasgd.data.stored_rows import SelectedColumns, StoredRows
from numbasgd.errors import DataError


class ShardTable:
    """Shards whose manifest was read.

    names : of the columns, "" where one has none.  targets : the positions of those of y.
    """

    def __init__(self, folder: Path) -> None:
        self.notes: list[str] = []
        self._manifest = manifest = read_manifest(folder)
        self._d = manifest.X.shape[1]
        self.names = manifest.X.columns or [""] * self._d
        if manifest.y is not None:
            outputs = manifest.y.shape[1] if len(manifest.y.shape) > 1 else 1
            self.names = [*self.names, *(manifest.y.columns or [""] * outputs)]
        self.targets = list(range(self._d, len(self.names)))

    def read(self, wanted: Wanted) -> tuple[np.ndarray, np.ndarray]:
        """X (n, d), and y (n, K), or (n,) where it names classes."""
        rows, y = self.open(wanted)
        X = rows.read_all(wanted.progress)
        self._require_finite(X, wanted.features, wanted)
        return X, y

    def open(self, wanted: Wanted) -> tuple[StoredRows, np.ndarray]:
        """X, which stays in the files, and y."""
        rows = rows_of(self._manifest)
        odd = next((j for j in wanted.features if j >= self._d), None)
        if odd is not None:
            raise DataError(
                f"{self._manifest.folder} has the target {self._name(odd)} among the features; expected "
                f"columns of X. Leave it out: drop={odd}."
            )
        y = self._targets(rows, wanted)
        if wanted.features != list(range(self._d)):
            rows = SelectedColumns(rows, wanted.features, [self.names[j] for j in wanted.features])
        return rows, y

    def _targets(self, rows: StoredRows, wanted: Wanted) -> np.ndarray:
        if not wanted.targets:
            return np.empty((len(rows), 0), rows.dtype)
        stored = targets_of(self._manifest)
        columns = []
        for j in wanted.targets:
            if stored is None or j < self._d:
                columns.append(SelectedColumns(rows, [j]).read_all()[:, 0])
            else:
                columns.append(stored if stored.ndim == 1 else stored[:, j - self._d])
        is_label = wanted.takes_labels and len(columns) == 1
        if is_label and columns[0].dtype.kind == "U":
            return columns[0]
        for j, column in zip(wanted.targets, columns, strict=True):
            if column.dtype.kind == "U":
                raise DataError(
                    f"{self._manifest.folder}, the target {self._name(j)} is text, which names classes; "
                    "expected numbers. Pass a loss for classes, such as loss='logistic' or loss='softmax'."
                )
        y = np.column_stack([check.array(column, "y", 1) for column in columns])
        self._require_finite(y, wanted.targets, wanted)
        return y[:, 0] if is_label else y

    def _name(self, j: int) -> str:
        return quoted(self.names[j] or f"column {j}")

    def _require_finite(self, values: np.ndarray, columns: list[int], wanted: Wanted) -> None:
        errors = CellErrors(self._manifest.folder, self.names, "row", allows_missing=wanted.allows_missing)
        errors.add_array(values, columns)
        errors.finish()
