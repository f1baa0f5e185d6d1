"""Held-out rows that the user passes, as ``validation_data``."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbasgd import check
from numbasgd.data.row_source import RowSource, source_of
from numbasgd.sgd import labels
from numbasgd.sgd.block_order import blocks_for
from numbasgd.sgd.config import SETTINGS
from numbasgd.sgd.csr import Csr
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.inputs import sample_weights
from numbasgd.sgd.losses import LOSSES
from numbasgd.sgd.streamed_dataset import StreamedDataset
from numbasgd.sgd.streamed_targets import Targets, Values, Weights

_X, _Y = "validation_data's X", "validation_data's y"


def validation_dataset(given: Any, fraction: float, training: Dataset, loss: str) -> Dataset:
    """The rows of ``validation_data``, in dtype, columns and classes those of the training rows.

    Raises
    ------
    TypeError, ValueError
        For what is no pair of rows and targets of the same kind, and where ``fraction`` of the training rows
        is to be held out as well.
    """
    if fraction:
        raise ValueError(
            f"validation_data is passed and validation_fraction is {fraction}; expected one of them. Leave one "
            "out."
        )
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        raise TypeError(
            f"validation_data is a {type(given).__name__}; expected (X, y) or (X, y, sample_weight). Pass the "
            "rows to hold out and their targets."
        )
    table, y, *weights = given
    source = None if isinstance(training.X, Csr) else source_of(table, _X)
    X = training.rows_like(table, _X) if source is None else source
    if source_of(y, _Y) is not None:
        y = Values(y, _Y).read_all()
    y, n = _targets(y, training, loss).astype(training.dtype, copy=False), X.shape[0]
    if n != len(y):
        raise ValueError(
            f"{_X} has {n} rows and its y has {len(y)} entries; expected one target per row. Check that "
            "both were cut the same way."
        )
    s = sample_weights(weights[0] if weights else None, n, training.dtype, "validation_data's sample_weight")
    return training.others(X, y, s) if source is None else _streamed(source, y, s, training)


def _streamed(source: RowSource, y: np.ndarray, s: np.ndarray, training: Dataset) -> Dataset:
    """Held-out rows that stay in a file, which is passed over once to look for a NaN."""
    if len(source.shape) != 2 or source.shape[1] != training.d or not source.shape[0]:
        raise ValueError(
            f"{_X} has shape {source.shape}, X has {training.d} columns; expected at least one row of as many "
            "columns. Select them."
        )
    held_out = StreamedDataset(
        source, Targets(Values(y, _Y)), Weights(Values(s, "weights")) if s.size else None, training.outputs,
        training.classes, training.source, names=training.names, precision=training.dtype,
        cut=blocks_for(training.d, training.dtype, SETTINGS["window"].before),
    )  # fmt: skip
    for start, rows in held_out.numbers(source):
        check.finite(rows, _X, training.names, first=start)
    return held_out


def _targets(y: Any, training: Dataset, loss: str) -> np.ndarray:
    if training.classes is None:
        y = check.array(y, _Y, len(training.y.shape))
        if y.shape[1:] != training.y.shape[1:]:
            raise ValueError(
                f"{_Y} has {y.shape[1]} columns, y has {training.y.shape[1]}; expected as many. Select them."
            )
        check.finite(y, _Y)
        return y
    named, known = labels.named(y, loss), labels.array_of(training.classes)
    if (named.dtype.kind == "U") != (known.dtype.kind == "U"):
        raise ValueError(
            f"{_Y} holds {named[:1].tolist()!r}, and y {list(training.classes[:2])!r}; expected labels of the "
            "same kind. Name the classes as in y."
        )
    number = np.minimum(np.searchsorted(known, named), len(known) - 1)
    is_new = known[number] != named
    if is_new.any():
        row = int(is_new.argmax())
        raise ValueError(
            f"{_Y} holds {named[row].item()!r} at row {row}, which y does not; expected the classes of y. Drop "
            "such rows, or train on rows of all classes."
        )
    return 2 * number - 1 if LOSSES[loss].targets == "signs" else number
