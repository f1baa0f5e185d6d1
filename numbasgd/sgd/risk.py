"""The rows to fit, and their mean loss: the empirical risk, which evaluations tell."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from numbasgd.sgd.model import Layout
from numbasgd.sgd.rows import Rows
from numbasgd.sgd.solvers import multi, reduce
from numbasgd.sgd.solvers.epoch import advance_kernel, kernels, padded, work_for
from numbasgd.sgd.solvers.multi_buffers import fixed_k
from numbasgd.sgd.solvers.update import Step

# Entries of X, its rows taken for 8 longer:
EVALUATED = 1 << 22  # that one call evaluates
_LARGE = 1 << 25  # beyond which a part of the rows has to do where any will
_GLANCED, _BLOCKS = 1 << 20, 16  # in that part, and in how many blocks of rows they are


class _Kept:
    """A property that is kept.

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


@dataclass(frozen=True)
class Problem:
    """The rows to fit: y and s (sample weights of mean 1, or of length 0) in the dtype of the rows.

    outputs : columns of the weights, or 0 for a vector of weights.
    threads : the most that may work on them; None for as many as pay.
    """

    rows: Rows
    y: np.ndarray
    s: np.ndarray
    loss: str
    outputs: int = 0
    threads: int | None = None
    is_quick: bool = field(init=False, default=False)  # one call without room evaluates the loss

    def __post_init__(self) -> None:
        if self.outputs > 1:
            return
        made = kernels(self.loss, self.rows.d, self.y.dtype, self.s.size > 0, self.rows.is_gathered)
        n, d = self.rows.n, self.rows.d
        size = padded(d, made.lanes)
        layout = Layout(d, self.outputs, made.lanes, 1, size, size + made.lanes)
        is_quick = n * (d + 8) <= EVALUATED and reduce.is_one(n, d) and not self.rows.is_gathered
        vars(self).update(kernels=made, layout=layout, is_quick=is_quick)

    def mean_loss(self, row: np.ndarray) -> float:
        """The mean loss for a row of the state, in calls that do not take long."""
        if self.is_quick:
            return self.sum_loss(row, 0, self.rows.n, row) / self.rows.n
        n = self.rows.n
        count = max(1, EVALUATED // (self.layout.breadth + 8))
        if self.is_in_parts:
            each = reduce.part_rows(self.rows.d)
            count = max(1, count // each) * each
        return self._sum_blocks(row, [(i, min(i + count, n)) for i in range(0, n, count)]) / n

    @property
    def is_large(self) -> bool:
        """Whether to evaluate the loss takes so long that a part of the rows has to do where any will."""
        return self.rows.n * (self.layout.breadth + 8) > _LARGE

    def mean_loss_of_some(self, row: np.ndarray) -> float:
        """The mean loss of some blocks of rows, evenly spread; it does not see what only others show."""
        n = self.rows.n
        blocks = min(n, _BLOCKS)
        count = min(n, max(1, _GLANCED // (_BLOCKS * (self.layout.breadth + 8))))
        starts = [i * (n - count) // max(1, blocks - 1) for i in range(blocks)]
        return self._sum_blocks(row, [(i, i + count) for i in starts]) / (blocks * count)

    def _sum_blocks(self, row: np.ndarray, blocks: list[tuple[int, int]]) -> float:
        """The sum of the losses of the rows of some blocks."""
        if self.is_in_parts:
            return math.fsum(self.in_parts.loss(row, *block) for block in blocks)
        work = np.empty(self.work_size, row.dtype)
        return math.fsum(self.sum_loss(row, *block, work) for block in blocks)

    def sum_loss(self, row: np.ndarray, start: int, stop: int, work: np.ndarray) -> float:
        """The sum of the losses of some rows, in one call of compiled code."""
        if self.outputs > 1:
            return self.kernels.sum_loss(self.samples, row, start, stop, work, self.extra)
        return self.kernels.sum_loss(self.samples, row, row[self.layout.size], start, stop, work)

    @_Kept
    def samples(self) -> tuple[Any, ...]:
        """What kernels are told of the rows."""
        memory, _, d, base, si, sj = self.rows
        return memory, d, base, si, sj, self.y, self.s

    def compile(self, row: np.ndarray, work: np.ndarray) -> None:
        """Compile, or load, what evaluates the loss."""
        if self.is_in_parts:
            self.in_parts.loss(row, 0, 0)
        else:
            self.sum_loss(row, 0, 0, work)

    @property
    def is_in_parts(self) -> bool:
        """Whether the loss is summed in parts, several threads at once."""
        return not self.layout.is_many and not reduce.is_one(self.rows.n, self.rows.d)

    @_Kept
    def in_parts(self) -> reduce.Parts:
        """How the rows are evaluated when they are many."""
        n_threads = reduce.workers(self.threads, self.rows.n, self.rows.d)
        return reduce.Parts(self.loss, self.rows, self.y, self.s, np.dtype(np.int32), n_threads)

    @_Kept
    def kernels(self) -> Any:
        """The compiled functions for this loss and these rows."""
        return multi.kernels(*self.variant)

    @property
    def rows_dtype(self) -> np.dtype:
        """Of the numbers of rows."""
        return np.dtype(np.int32 if self.rows.n < 2**30 else np.int64)

    @property
    def variant(self) -> tuple[Any, ...]:
        """What kernels for K outputs are compiled for."""
        FIXED_K = fixed_k(self.outputs)
        return self.loss, self.y.dtype, self.layout.lanes, FIXED_K, self.s.size > 0, self.rows_dtype

    @property
    def extra(self) -> tuple[int, ...]:
        """What the kernels for K outputs are told besides."""
        layout = self.layout
        return (layout.outputs, layout.width, self.kernels.address) if layout.is_many else ()

    def advance_kernel(self, step: Step) -> Any:
        """The compiled function that makes steps."""
        if self.outputs > 1:
            return multi.advance_kernel(*self.variant, step)
        return advance_kernel(
            self.loss, self.rows.d, self.y.dtype, self.s.size > 0, self.rows.is_gathered, step
        )

    @_Kept
    def layout(self) -> Layout:
        """How a row of the state is laid out."""
        return multi.layout(self.rows.d, self.outputs, self.y.dtype)

    @property
    def work_size(self) -> int:
        """Entries of room that kernels need."""
        if self.outputs > 1:
            return multi.work_for(self.layout, self.y.itemsize)
        return work_for(self.rows.d, self.layout.lanes, self.rows.is_gathered)
