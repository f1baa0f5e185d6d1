"""Predictions of a linear model, for rows that are checked at little cost."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numbasgd import check
from numbasgd.data.row_source import RowSource, source_of
from numbasgd.data.stored_rows import SelectedColumns, StoredRows
from numbasgd.sgd.columns import Names, in_order, names_of, order_of
from numbasgd.sgd.csr import Csr, csr_of, finite, is_sparse

_PIECE_BYTES = 1 << 22  # of rows of a file that are in memory at once


def decision_function(X: Any, w: np.ndarray, b: Any, names: Names | None) -> np.ndarray:
    """``X @ w + b`` for a model that was trained on columns of these names, if they had some.

    A NaN or Inf in X leaves one in the result, so X is looked through only where there is one.  Rows in a file
    are read in pieces.

    Raises
    ------
    TypeError, ValueError
        If X is no 2-D array of the right columns, for a NaN or Inf in it, with row and column, and where the
        result overflows.
    DataError
        If a file cannot be read.
    """
    if (source := source_of(X, "X")) is not None and len(source.shape) == 2:
        places = order_of(source, names, "the fit")
        if places is not None and isinstance(source, StoredRows):
            source = SelectedColumns(source, places.tolist())
        return _in_pieces(source, w, b)
    given, X = X, csr_of(X) if is_sparse(X) else check.array(X, "X", 2)
    order = None if given is X else order_of(given, names, "the fit")
    _require_columns(X.shape[1], w)
    z = _product(X if order is None else in_order(X, order), w) + np.asarray(b, w.dtype)[()]
    if not math.isfinite(np.vdot(z, z)):
        if isinstance(X, Csr):
            finite(X, before="predicting")
        else:
            check.finite(X, "X", names_of(given), before="predicting")
        _require_no_overflow(z, X, w, b)
    return z


def _in_pieces(source: RowSource, w: np.ndarray, b: Any) -> np.ndarray:
    """``X @ w + b`` for rows that are read so many at a time."""
    n, d = source.shape
    _require_columns(d, w)
    dtype = np.dtype(np.float32 if source.dtype == np.float32 else np.float64)
    rows = max(1, _PIECE_BYTES // max(1, d * dtype.itemsize))
    buffer = np.empty((min(n, rows), d), dtype)
    z = np.empty((n, *w.shape[1:]), np.result_type(dtype, w.dtype))
    for start in range(0, n, rows):
        X, part = buffer[: n - start], z[start : start + rows]
        source.read(start, start + len(X), X)
        part[...] = _product(X, w) + np.asarray(b, w.dtype)[()]
        if not math.isfinite(np.vdot(part, part)):
            check.finite(X, "X", before="predicting", first=start)
            _require_no_overflow(part, X, w, b, start)
    return z


def _require_columns(d: int, w: np.ndarray) -> None:
    if d != len(w):
        raise ValueError(
            f"X has {d} columns, the model has {len(w)} weights; expected as many columns "
            "as were trained on, in the same order. Select them."
        )


def _require_no_overflow(z: np.ndarray, X: np.ndarray | Csr, w: np.ndarray, b: Any, first: int = 0) -> None:
    """Raise for what is not finite in the result of finite rows; first : the number of the first of them."""
    if np.isfinite(z).all():  # only its sum of squares overflows
        return
    if not (np.isfinite(w).all() and np.isfinite(b).all()):
        raise ValueError(
            "the fit holds weights that are not finite, as a run leaves them that diverged; expected finite "
            "ones. Train again, for example with a smaller lr."
        )
    row = int(np.argwhere(~np.isfinite(z))[0][0])
    values = X[np.array([row])].data if isinstance(X, Csr) else X[row]
    raise ValueError(
        f"X holds values up to {np.abs(values).max():.3g} at row {first + row}, where X @ w + b overflows "
        f"{z.dtype}; expected values whose products with the weights can be added up. Check that row, or scale "
        "X as it was for training."
    )


def _product(X: np.ndarray | Csr, w: np.ndarray) -> np.ndarray:
    """X @ w; an overflow or an Inf is no error here, but one that says where it is, later."""
    if isinstance(X, Csr):
        return X @ w
    try:
        return np.dot(X, w)
    except (RuntimeWarning, FloatingPointError):  # of a program that makes errors of them
        with np.errstate(over="ignore", invalid="ignore"):
            return np.dot(X, w)
