"""Targets and sample weights that are read a range at a time, and made the numbers that kernels take."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from numbasgd import check
from numbasgd.data.row_source import source_of
from numbasgd.sgd import labels

_PIECE = 1 << 17  # values that are looked at together


class Values:
    """Values of an array, or of what is read like one, in the dtype that they are kept in."""

    def __init__(self, given: Any, name: str) -> None:
        self.name = name
        self._source = source_of(given, name)
        self._given = np.asarray(given) if self._source is None else None
        known: Any = self._given if self._source is None else self._source
        self.shape: tuple[int, ...] = tuple(int(size) for size in known.shape)
        # A source reads into any dtype; labels stay what they are.
        kept = getattr(known, "stored_dtype", None) or getattr(given, "dtype", known.dtype)
        self.dtype = np.dtype(kept).newbyteorder("=")

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, start: int, stop: int) -> np.ndarray:
        """The values of some rows; raises ``DataError``."""
        if self._source is not None:
            out = np.empty((stop - start, *self.shape[1:]), self.dtype)
            self._source.read(start, stop, out)
            return out
        return self._given[start:stop]  # type: ignore[index]

    def read_all(self) -> np.ndarray:
        """All of them."""
        return self.read(0, len(self))

    def pieces(self) -> Iterator[tuple[int, np.ndarray]]:
        """(first row, values) of all of them, in order."""
        for start in range(0, len(self), _PIECE):
            yield start, self.read(start, min(start + _PIECE, len(self)))


class Targets:
    """Numbers as they are."""

    def __init__(self, values: Values) -> None:
        self.values, self.shape = values, values.shape

    def numbers(self, found: np.ndarray) -> np.ndarray:
        """What stands for the values."""
        return found

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """Write the targets of some rows into ``out``."""
        out[...] = self.numbers(self.values.read(start, stop))


class Signs(Targets):
    """Two classes as -1 and 1."""

    def __init__(self, values: Values, classes: tuple[Any, ...]) -> None:
        super().__init__(values)
        self._second = labels.array_of(classes)[1]

    def numbers(self, found: np.ndarray) -> np.ndarray:
        """-1 for the first class, 1 for the second."""
        return np.where(found == self._second, 1, -1)


class Numbers(Targets):
    """K classes as 0 to K - 1."""

    def __init__(self, values: Values, classes: tuple[Any, ...]) -> None:
        super().__init__(values)
        self._classes = labels.array_of(classes)

    def numbers(self, found: np.ndarray) -> np.ndarray:
        """The place of each in the order of the classes."""
        return np.searchsorted(self._classes, found)


class Weights(Targets):
    """Sample weights, divided by their mean."""

    def __init__(self, values: Values) -> None:
        super().__init__(values)
        sums, low, high = [], math.inf, 0.0
        for start, found in values.pieces():
            s = found.astype(np.float64)
            check.finite(s, values.name, first=start)
            low, high = min(low, float(s.min())), max(high, float(s.max()))
            sums.append(float(s.sum()))
        if low < 0 or high == 0:
            raise ValueError(
                f"{values.name} has smallest entry {low:g} and largest {high:g}; expected weights of 0 or "
                "more, not all 0. Leave such rows out, or give them weight zero."
            )
        self._shift = -int(np.frexp(high)[1])  # a power of two leaves weights that have mean 1 as they are
        self._mean = math.fsum(float(np.ldexp(part, self._shift)) for part in sums) / len(values)

    def over(self, mean: float) -> Weights:
        """The same, divided by the mean of those that count."""
        found = copy.copy(self)
        found._mean = self._mean * mean
        return found

    def numbers(self, found: np.ndarray) -> np.ndarray:
        """The weights of mean 1."""
        return np.ldexp(found.astype(np.float64), self._shift) / self._mean


def targets_of(y: Any, loss: str, kind: str) -> tuple[Targets, tuple[Any, ...] | None]:
    """y as numbers, and the classes, if any; kind : of targets, as an entry of ``LOSSES`` says it.

    Raises
    ------
    TypeError, ValueError
        For what is no targets of such a loss.
    """
    if kind == "real":
        values = _numbers(y, "y")
        if len(values.shape) not in (1, 2) or values.shape[1:] == (0,):
            raise ValueError(f"y has shape {values.shape}; expected (n,) or (n, K). Pass the targets.")
        return Targets(values), None
    values = Values(y, "y")
    if values.dtype.kind not in "biufU" or len(values.shape) != 1:
        values = Values(labels.named(y, loss), "y")
    found = np.empty(0, values.dtype)
    for _, some in values.pieces():
        found = np.union1d(found, some)
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        for start, some in values.pieces():
            check.finite(some, "y", first=start)
    if kind == "signs":
        _, classes = labels.signs(found, loss)
        return Signs(values, classes), classes
    _, classes = labels.numbers(found, loss, len(values))
    return Numbers(values, classes), classes


def streamed_weights(sample_weight: Any, n: int) -> Weights | None:
    """Sample weights of mean 1, or None where there are none."""
    if sample_weight is None:
        return None
    values = _numbers(sample_weight, "sample_weight")
    if len(values.shape) != 1:
        check.array(sample_weight, "sample_weight", 1)
    if len(values) != n:
        raise ValueError(
            f"sample_weight has {len(values)} entries and X has {n} rows; expected one weight per row. Check "
            "that both were cut the same way."
        )
    return Weights(values)


def _numbers(given: Any, name: str) -> Values:
    """Values that are numbers; what is no array of numbers is converted, or refused, as in memory."""
    values = Values(given, name)
    if values.dtype.kind in "biuf" and values.dtype.itemsize <= 8:
        return values
    return Values(check.array(given, name, 2 if len(values.shape) == 2 else 1), name)
