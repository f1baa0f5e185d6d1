"""``StreamedObjective``: the mean loss over rows that are read in pieces, in one pass over them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from numbasgd.sgd.solvers.mean_loss import Objective
from numbasgd.sgd.solvers.update import Step

if TYPE_CHECKING:
    from numbasgd.sgd.streamed_dataset import StreamedDataset

_BLOCKS = 16  # that are looked at where a part of the rows has to do


class StreamedObjective(Objective):
    """The mean loss over the rows of a ``StreamedDataset``; ``pieces`` are those of its two buffers."""

    def __init__(self, dataset: StreamedDataset, loss: str, threads: int | None) -> None:
        self.streamed, self.threads = dataset, threads
        self.pieces: list[Any] = [buffer.dataset.objective(loss, threads) for buffer in dataset.buffers]
        first = self.pieces[0]
        self.loss, self.layout, self.scratch_size = loss, first.layout, first.scratch_size
        self._other: StreamedObjective | None = None
        self._known: tuple[bytes, float] | None = None  # a row, and its mean loss from a shared pass

    def share_passes(self, other: Objective) -> None:
        """Evaluate another objective in the same pass, where both read their rows from one file."""
        if isinstance(other, StreamedObjective) and other.streamed.reader is self.streamed.reader:
            self._other = other

    @property
    def outputs(self) -> tuple[int, ...]:  # type: ignore[override]
        """What kernels for K outputs are told besides."""
        return self.pieces[0].outputs

    @property
    def rows_dtype(self) -> np.dtype:
        """Of the numbers of rows in a buffer."""
        return np.dtype(np.int32)

    @property
    def is_large(self) -> bool:
        """Whether to evaluate the loss takes so long that a part of the rows has to do where any will."""
        return True

    def mean_loss(self, row: np.ndarray) -> float:
        """The mean loss for a row of the state, from one pass over the rows."""
        if self._known is not None and self._known[0] == row.tobytes():
            return self._known[1]
        if self._other is None:
            return self._mean(row, None)
        return self._mean_of_both(row, self._other)

    def _mean_of_both(self, row: np.ndarray, other: StreamedObjective) -> float:
        """The mean loss, with that of the other objective, which keeps it until it is wanted.

        What one of them reads of the file is in memory when the other reads it.
        """
        sums: tuple[list[float], list[float]] = ([], [])
        for mine, its in zip(self.streamed.groups(), other.streamed.groups(), strict=True):
            for objective, (k, _, count), found in zip((self, other), (mine, its), sums, strict=True):
                found.append(objective.pieces[k].sum_of(row, count))
        other._known = row.tobytes(), math.fsum(sums[1]) / other.streamed.n
        return math.fsum(sums[0]) / self.streamed.n

    def mean_loss_of_some(self, row: np.ndarray) -> float:
        """The mean loss of some blocks, evenly spread; it does not see what only others show."""
        count = len(self.streamed.sizes)
        return self._mean(row, np.unique(np.linspace(0, count - 1, min(count, _BLOCKS)).astype(np.int64)))

    def _mean(self, row: np.ndarray, blocks: np.ndarray | None) -> float:
        sums, n = [], 0
        for k, _, count in self.streamed.groups(blocks):
            sums.append(self.pieces[k].sum_of(row, count))
            n += count
        return math.fsum(sums) / n if n else math.nan

    def compile(self, row: np.ndarray, scratch: np.ndarray) -> None:
        """Compile, or load, what evaluates the loss."""
        self.pieces[0].compile(row, scratch)

    def rehearse(
        self, counts: tuple[int, ...], order: np.ndarray, scratch: np.ndarray, scratch64: np.ndarray
    ) -> None:
        """Compile, or load, what gradients over so many rows need beside the kernels."""
        self.pieces[0].rehearse(counts, order, scratch, scratch64)

    def sum_loss(self, row: np.ndarray, start: int, stop: int, scratch: np.ndarray) -> float:
        """The sum of the losses of rows that are in the first buffer."""
        return self.pieces[0].sum_loss(row, start, stop, scratch)

    def advance_kernel(self, step: Step) -> Any:
        """The compiled function that makes steps."""
        return self.pieces[0].advance_kernel(step)
