"""The order of rows that lie in a file: blocks in random order, and rows shuffled within a window of blocks.

Rows that are read one by one come at a hundredth of the speed of rows that are read in one piece.  So a file is
cut into blocks of rows; an epoch takes the blocks in random order, some of them, a window, at a time, and the
rows of a window in random order: CorgiPile (Xu et al., "In-database machine learning with CorgiPile: stochastic
gradient descent without full data shuffle", SIGMOD 2022, algorithm 1).  Each row comes once an epoch.  What it
costs against a full shuffle falls with the number of blocks in a window (theorem 1 there), which is at least
``BLOCKS`` here.

An order follows from seed, epoch, rows and window alone: not from the kind of file, nor from what reads it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numbasgd.sgd.order import SAMPLINGS, epoch_order, fill_order, scatter_for

BLOCK_BYTES = 1 << 20  # of a block, at most: what a disk reads at nearly the speed of any larger piece
BLOCKS = 24  # of a window, at least, where there are as many rows
_WINDOWS = 2**60  # the epoch whose order is that of the rows of the first window; no run gets there


class Blocks(NamedTuple):
    """How rows are cut.  rows : of a block, but for the last one.  window : blocks of a window."""

    rows: int
    window: int


def blocks_for(d: int, dtype: np.dtype, window: float) -> Blocks:
    """The blocks for rows of ``d`` columns and a window of so many megabytes."""
    row = max(1, d * dtype.itemsize)
    rows = max(1, min(BLOCK_BYTES, int(window * 1e6 / BLOCKS)) // row)
    rows -= rows % 8 if rows >= 8 else 0
    return Blocks(rows, max(1, int(window * 1e6 / (rows * row))))


class Windows(NamedTuple):
    """The windows of an epoch.

    blocks : of each of them, in the order of the file.  starts : positions of the epoch at which they begin,
    and where the last one ends.
    """

    blocks: list[np.ndarray]
    starts: np.ndarray

    def at(self, position: int) -> int:
        """The number of the window that holds a position of the epoch."""
        return int(np.searchsorted(self.starts, position, "right")) - 1


def windows_of(seed: int, epoch: int, sizes: np.ndarray, window: int, is_shuffled: bool = True) -> Windows:
    """The windows of an epoch over blocks of these sizes."""
    n = len(sizes)
    order = epoch_order(seed, epoch, n) if is_shuffled else np.arange(n)
    blocks = [np.sort(order[at : at + window]) for at in range(0, n, window)]
    counts = [int(sizes[some].sum()) for some in blocks]
    return Windows(blocks, np.concatenate([[0], np.cumsum(counts)]))


def fill_window(order: np.ndarray, seed: int, epoch: int, windows: int, number: int, is_shuffled: bool) -> None:
    """order := the rows of window ``number`` of as many as ``windows``, counted within it, in their order."""
    n = len(order)
    sampling = SAMPLINGS["reshuffle" if is_shuffled else "sequential"]
    # An order of up to ``ORDER_CHUNK`` rows is drawn whole, and so is this one.
    fill_order(order, n, sampling, seed, _WINDOWS + epoch * windows + number, 0, scatter_for(order.dtype, n))


def block_order(seed: int, epoch: int, n: int, blocks: Blocks) -> np.ndarray:
    """The rows that ``train`` visits in one epoch with ``sampling="block"``, in order; int64, (n,).

    seed : ``Fit.seed``.  epoch : 0 for the first.  n : rows.  blocks : as ``blocks_for`` cuts them, for the
    columns and the dtype of X and the setting ``window``.
    """
    starts = np.arange(0, n, blocks.rows)
    sizes = np.minimum(blocks.rows, n - starts)
    windows = windows_of(seed, epoch, sizes, blocks.window)
    parts = []
    for number, some in enumerate(windows.blocks):
        rows = np.concatenate([np.arange(starts[b], starts[b] + sizes[b]) for b in some])
        order = np.empty(len(rows), np.int64)
        fill_window(order, seed, epoch, len(windows.blocks), number, True)
        parts.append(rows[order])
    return np.concatenate(parts)
