"""``Objective``: the mean loss over the rows of a dataset, whatever its kind: what evaluations tell."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from numbasgd.sgd.model import Layout
from numbasgd.sgd.solvers.update import Step

if TYPE_CHECKING:
    from numbasgd.sgd.dataset import Dataset

# Entries of X, its rows taken for 8 longer:
EVALUATED = 1 << 22  # that one call evaluates
_LARGE = 1 << 25  # beyond which a part of the rows has to do where any will
_GLANCED, _BLOCKS = 1 << 20, 16  # in that part, and in how many blocks of rows they are


class Lazy:
    """A property that is computed once.

    That of ``functools`` has a lock until Python 3.12, which a child that is forked while another thread
    holds it would wait for.
    """

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self.make = make
        self.__doc__ = make.__doc__

    def __get__(self, owner: Any, kind: Any) -> Any:
        if owner is None:
            return self
        kept = vars(owner)[self.make.__name__] = self.make(owner)
        return kept


class Objective(ABC):
    """The mean loss over the rows of a dataset, penalties apart.

    threads : the most that may work on it; None for as many as pay.
    samples : rows, targets and weights as kernels take them.
    layout : how a row of the state is laid out.  scratch_size : entries that kernels need.
    outputs : what kernels for K outputs are told besides; empty for one output.
    is_quick : whether one call without scratch memory evaluates it.
    """

    layout: Layout
    kernels: Any
    scratch_size: int
    outputs: tuple[int, ...] = ()
    is_quick = False

    def __init__(self, dataset: Dataset, loss: str, threads: int | None) -> None:
        self.dataset, self.loss, self.threads = dataset, loss, threads
        self.rows, self.y, self.s = dataset.rows, dataset.targets, dataset.sample_weight
        memory, _, d, base, si, sj = dataset.rows
        self.samples = memory, d, base, si, sj, self.y, self.s

    @property
    def rows_dtype(self) -> np.dtype:
        """Of the numbers of rows."""
        return np.dtype(np.int32 if self.rows.n < 2**30 else np.int64)

    @property
    def is_large(self) -> bool:
        """Whether to evaluate the loss takes so long that a part of the rows has to do where any will."""
        return self.rows.n * (self.layout.breadth + 8) > _LARGE

    def mean_loss(self, row: np.ndarray) -> float:
        """The mean loss for a row of the state, in calls that do not take long."""
        n = self.rows.n
        if self.is_quick:
            return self.sum_loss(row, 0, n, row) / n
        return self._sum_blocks(row, self.dataset.blocks(self._block_rows)) / n

    def mean_loss_of_some(self, row: np.ndarray) -> float:
        """The mean loss of some blocks of rows, evenly spread; it does not see what only others show."""
        n = self.rows.n
        blocks = min(n, _BLOCKS)
        count = min(n, max(1, _GLANCED // (_BLOCKS * (self.layout.breadth + 8))))
        starts = [i * (n - count) // max(1, blocks - 1) for i in range(blocks)]
        return self._sum_blocks(row, [(i, i + count) for i in starts]) / (blocks * count)

    def share_passes(self, other: Objective) -> None:
        """Evaluate another objective in the same pass, where both read their rows from one file."""
        return  # rows in memory need no pass

    def sum_of(self, row: np.ndarray, n: int) -> float:
        """The sum of the losses of the first n rows."""
        return self._sum_blocks(row, [(0, n)])

    @property
    def _block_rows(self) -> int:
        """Rows that one call evaluates."""
        return max(1, EVALUATED // (self.layout.breadth + 8))

    def _sum_blocks(self, row: np.ndarray, blocks: Iterable[tuple[int, int]]) -> float:
        """The sum of the losses of the rows of some blocks."""
        scratch = np.empty(self.scratch_size, row.dtype)
        return math.fsum(self.sum_loss(row, *block, scratch) for block in blocks)

    def compile(self, row: np.ndarray, scratch: np.ndarray) -> None:
        """Compile, or load, what evaluates the loss."""
        self.sum_loss(row, 0, 0, scratch)

    def rehearse(
        self, counts: tuple[int, ...], order: np.ndarray, scratch: np.ndarray, scratch64: np.ndarray
    ) -> None:
        """Compile, or load, what gradients over so many rows need beside the kernels: products of K outputs."""
        return  # one output needs none

    @abstractmethod
    def sum_loss(self, row: np.ndarray, start: int, stop: int, scratch: np.ndarray) -> float:
        """The sum of the losses of some rows, in one call of compiled code."""

    @abstractmethod
    def advance_kernel(self, step: Step) -> Any:
        """The compiled function that makes steps."""
