"""What the user passes to ``train`` where rows are read block by block, checked: a ``StreamedDataset``."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from numbasgd import check
from numbasgd.data.row_source import RowSource, SlicedRows, source_of
from numbasgd.sgd.block_order import Blocks, blocks_for
from numbasgd.sgd.columns import names_of
from numbasgd.sgd.config import TrainConfig
from numbasgd.sgd.csr import is_sparse
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.inputs import given_or_twin, make_dataset
from numbasgd.sgd.losses import LOSSES
from numbasgd.sgd.order import SAMPLINGS
from numbasgd.sgd.streamed_dataset import StreamedDataset
from numbasgd.sgd.streamed_targets import streamed_weights, targets_of

_SMALL = 128 << 20  # bytes of rows that are kept once they are decoded
_TIMES = 4  # an epoch that rows are decoded without a warning
_STREAMED = ("block", "sequential")  # the orders in which rows of a file come in pieces


def streamed_rows(X: Any, sampling: Any) -> RowSource | None:
    """What X is read from block by block, or None where it is an array in memory, or is taken for one.

    A memmap is taken for one where ``sampling`` is another than "block".

    Raises
    ------
    TypeError, ValueError
        Where the rows cannot come in that order.
    """
    source = None if X is None else source_of(X, "X")
    sampling = sampling if isinstance(sampling, str) else "auto"  # which is looked at later
    if source is None:
        return _in_memory(X) if sampling == "block" else None
    if isinstance(X, np.memmap) and sampling in SAMPLINGS:
        return None
    if sampling in SAMPLINGS and sampling not in _STREAMED:
        raise ValueError(
            f"sampling is {sampling!r}, and the rows of {source.name} are read a range at a time; expected one "
            f"of {', '.join(map(repr, _STREAMED))}. Leave it out, or pass an array."
        )
    return source


def _in_memory(X: Any) -> RowSource:
    """The rows of an array, as if they were in a file."""
    if is_sparse(X):
        raise TypeError(
            f"X is sparse ({type(X).__name__}) and sampling is 'block'; expected dense rows. Leave sampling "
            "out: sparse rows are in memory, where a full shuffle costs little."
        )
    rows = given_or_twin(None, None)[0] if X is None else check.array(X, "X", 2)
    return SlicedRows(rows, "X")


def sampled_dataset(X: Any, y: Any, sample_weight: Any, loss: str) -> tuple[Dataset, int]:
    """The rows that stand for all of X, a sample where they stay in a file, and how many X has.

    Raises
    ------
    TypeError, ValueError
        For an argument that is not as ``train`` describes it.
    """
    source = None if X is None else source_of(X, "X")
    if source is None:
        dataset = make_dataset(X, y, sample_weight, loss)
        return dataset, dataset.n
    whole = streamed_dataset(source, X, y, sample_weight, TrainConfig(loss=loss, sampling="sequential"))
    sample = whole.sample()
    sample.require_finite(math.nan)
    return sample, whole.n


def streamed_dataset(
    source: RowSource, X: Any, y: Any, sample_weight: Any, config: TrainConfig
) -> StreamedDataset:
    """The rows of a source, their targets and their weights.

    Raises
    ------
    TypeError, ValueError
        For an argument that is not as ``train`` describes it.
    """
    X, y, origin = given_or_twin(X, y)
    if len(source.shape) != 2:
        raise ValueError(
            f"X has shape {source.shape}; expected a 2-D array of numbers. Reshape it, or select what is meant."
        )
    n, d = source.shape
    if n == 0 or d == 0:
        raise ValueError(f"X has shape {source.shape}; expected at least one row and one column.")
    kind = LOSSES[config.loss].targets
    targets, classes = targets_of(y, config.loss, kind)
    require_rows(source, targets.shape)
    dtype = float_of(source.dtype, "X")
    if kind == "real":
        dtype = np.result_type(dtype, float_of(targets.values.dtype, "y"))
    outputs = targets.shape[1] if len(targets.shape) == 2 else 0
    if LOSSES[config.loss].rows:
        outputs = len(classes or ())
    how = cut_of(source, dtype, config.window, config.sampling)
    weights = streamed_weights(sample_weight, n)
    return StreamedDataset(source, targets, weights, outputs, classes, origin, names=names_of(X), **how)


def cut_of(source: RowSource, dtype: np.dtype, window: float, sampling: str) -> dict[str, Any]:
    """How the rows of a source are read for this window and sampling, as fields of a ``StreamedDataset``."""
    cut = blocks_for(source.shape[1], dtype, window)
    is_shuffled = sampling != "sequential"
    if is_shuffled:
        _warn_of_chunks(source, cut)
    return {"precision": dtype, "cut": cut, "is_shuffled": is_shuffled}


def require_rows(source: RowSource, of_targets: tuple[int, ...]) -> None:
    """Raise ``ValueError`` unless there is one target per row."""
    if of_targets[0] != source.shape[0]:
        raise ValueError(
            f"X has {source.shape[0]} rows and y has {of_targets[0]} entries; expected one target per row. "
            "Check that both were cut the same way."
        )


def _warn_of_chunks(source: RowSource, cut: Blocks) -> None:
    """Warn where rows are decoded with many others, and so many times over when blocks come in random order."""
    n, d = source.shape
    chunk = getattr(source, "chunk", 1)
    if chunk <= cut.rows or n * d * source.dtype.itemsize <= _SMALL:
        return
    chunks, windows = -(-n // chunk), -(-n // (cut.rows * cut.window))
    times = windows * min(chunks, cut.window) / chunks
    if times >= _TIMES:
        warnings.warn(
            f"{chunk:,} rows of {source.name} are decoded together, about {times:.0f} times an epoch for "
            f"blocks of {cut.rows:,} rows in random order. Write shards of it (numbasgd.write_shards, or "
            "numbasgd shard), pass a larger window, or sampling='sequential' if its rows are in random order "
            "already.",
            stacklevel=6,
        )


def float_of(dtype: np.dtype, name: str) -> np.dtype:
    """The dtype that such numbers are trained on, as for arrays in memory."""
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise TypeError(
            f"{name} has dtype {dtype}; expected float32 or float64 (or integers). Convert it where it is "
            "written."
        )
    return np.dtype(np.float32 if dtype.kind == "f" and dtype.itemsize <= 4 else np.float64)
