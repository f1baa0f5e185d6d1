"""What the user passes to ``train``, checked: a ``Dataset`` of the kind that its rows need, first weights."""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np

from numbasgd import check
from numbasgd.data.npy_rows import is_paths
from numbasgd.sgd import labels
from numbasgd.sgd.columns import names_of
from numbasgd.sgd.csr import csr_of, is_sparse
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.losses import LOSSES
from numbasgd.sgd.sparse_dataset import SparseDataset

TWIN = "embedded twin of the airfoil data"


def kind_of(X: Any) -> type[Dataset]:
    """The kind of ``Dataset`` that rows like X are."""
    return SparseDataset if is_sparse(X) else Dataset


def make_dataset(X: Any, y: Any, sample_weight: Any, loss: str) -> Dataset:
    """What the user passed to ``train``, checked; the embedded twin of the airfoil data for no X and no y.

    Raises
    ------
    TypeError, ValueError
        For an argument that is not as ``train`` describes it.
    """
    X, y, source = given_or_twin(X, y)
    given, kind = X, kind_of(X)
    X, y, classes = rows_and_targets(X, y, loss, takes_columns=True, takes_sparse=True)
    if X.shape[1] == 0:
        raise ValueError(
            f"X has shape {X.shape}; expected at least one column. Pass the columns to predict y from."
        )
    is_own = type(given) is list or (isinstance(given, np.ndarray) and not np.may_share_memory(given, X))
    weights = sample_weights(sample_weight, len(X), X.dtype)
    outputs = y.shape[1] if y.ndim == 2 else 0
    if LOSSES[loss].rows:
        outputs = len(classes or ())
    return kind(X, y, weights, outputs, classes, source, is_own, names_of(given))


def given_or_twin(X: Any, y: Any) -> tuple[Any, Any, str]:
    """X and y as they were passed, or those of the embedded twin of the airfoil data; and which of the two.

    Raises
    ------
    TypeError
        If only one of them was passed.
    """
    if X is None and y is None:
        from numbasgd.data import airfoil_twin

        return *airfoil_twin(), TWIN
    if X is None or y is None:
        missing, given = ("X", "y") if X is None else ("y", "X")
        raise TypeError(
            f"{missing} is missing while {given} was passed; expected both, or neither for the embedded "
            f"twin data. Pass {missing}."
        )
    return X, y, "arrays"


def rows_and_targets(
    X: Any,
    y: Any,
    loss: str = "squared",
    *,
    is_whole: bool = True,
    takes_columns: bool = False,
    takes_sparse: bool = False,
) -> tuple[Any, np.ndarray, tuple[Any, ...] | None]:
    """X (n, d) and y (n,) of one dtype, n at least 1, in any memory order; and the classes, if any.

    Classes become -1 and 1, or 0 to K - 1, which every dtype holds, so their dtype does not matter to X.  Rows
    that are not the whole problem may be of some of its classes, if those are called like that.
    takes_columns : y may be (n, K), K at least 1, where it holds numbers.
    takes_sparse : X may be sparse, and is a ``Csr`` then.
    """
    require_opened(X, "X")
    require_opened(y, "y")
    X = csr_of(X) if takes_sparse and is_sparse(X) else check.array(X, "X", 2)
    targets = LOSSES[loss].targets
    if targets == "real":
        y = check.array(y, "y", 2 if takes_columns and _n_dimensions(y) == 2 else 1)
    else:
        y = labels.named(y, loss)
    if len(X) != len(y):
        raise ValueError(
            f"X has {len(X)} rows and y has {len(y)} entries; expected one target per row. "
            "Check that both were cut the same way."
        )
    if len(X) == 0:
        raise ValueError(f"X has shape {X.shape}; expected at least one row. Pass the training rows.")
    if y.ndim == 2 and y.shape[1] == 0:
        raise ValueError(f"y has shape {y.shape}; expected at least one column. Pass the targets.")
    if targets == "real":
        X, y = check.same_dtype(X, y)
        return X, y, None
    classes: tuple[Any, ...] | None = None
    if targets == "classes" and is_whole:
        y, classes = labels.numbers(y, loss)
    elif targets == "classes":
        labels.require_numbers(y)
    elif not is_whole and y.dtype.kind != "U" and np.all(np.abs(y) == 1):
        classes = (-1.0, 1.0)
    else:
        y, classes = labels.signs(y, loss)
    return X, y.astype(X.dtype, copy=False), classes


def require_opened(value: Any, name: str) -> None:
    """Raise ``TypeError`` where an argument names files, which are opened only where rows come in pieces."""
    if is_paths(value):
        what = "the path of a file" if isinstance(value, str | os.PathLike) else "a list with paths of files"
        raise TypeError(
            f"{name} is {what}; expected what is in it, since all of it is in memory here. Pass an array, such "
            "as numpy.load(path, mmap_mode='r') or a part of it."
        )
    if isinstance(value, str):
        raise TypeError(
            f"{name} is the text {value[:200]!r}; expected an array, or the path of a .npy file. Read a table "
            "of another kind by numbasgd.data.load_table, or open it by numbasgd.open_table where it is "
            "Parquet or shards."
        )


def _n_dimensions(y: Any) -> int:
    """Of what ``check.array`` would make of y; 1 for what it would refuse."""
    try:
        return int(np.ndim(y))
    except (ValueError, TypeError):
        return 1


def sample_weights(value: Any, n: int, dtype: np.dtype, name: str = "sample_weight") -> np.ndarray:
    """Weights of mean 1, or an array of length 0 when there are none."""
    if value is None:
        return _none(dtype)
    s = weights_given(value, n, name)
    # The sum of what was passed may overflow; a power of two leaves weights that have mean 1 as they are.
    s = np.ldexp(s, -np.frexp(s.max())[1])
    return (s / s.mean()).astype(dtype)


def weights_given(value: Any, n: int, name: str = "sample_weight") -> np.ndarray:
    """Weights as they were passed, checked, in float64."""
    s = check.array(value, name, 1).astype(np.float64)
    if len(s) != n:
        raise ValueError(
            f"{name} has {len(s)} entries and X has {n} rows; expected one weight per row. "
            "Check that both were cut the same way."
        )
    check.finite(s, name)
    if s.min() < 0 or s.max() == 0:
        raise ValueError(
            f"{name} has smallest entry {s.min():g} and largest {s.max():g}; expected weights of 0 or "
            "more, not all 0. Leave such rows out, or give them weight zero."
        )
    return s


@functools.cache
def _none(dtype: np.dtype) -> np.ndarray:
    return np.empty(0, dtype)


def start_of(init: Any, dataset: Dataset, owner: str = "init's ") -> tuple[np.ndarray, Any]:
    """The first weights (d,) and intercept, or (d, K) and (K,) for K outputs; zeros without ``init``.

    owner : what an error says before "w" and "b": whose they are.
    """
    d, dtype, outputs = dataset.d, dataset.dtype, dataset.outputs
    columns = (outputs,) if outputs else ()
    if init is None:
        return np.zeros((d, *columns), dtype), np.zeros(columns) if outputs else 0.0
    if not isinstance(init, tuple | list) or len(init) != 2:
        raise TypeError(f"init is {init!r}; expected a pair (w, b). Pass the weights and the intercept.")
    w = check.array(init[0], f"{owner}w", 2 if outputs else 1)
    if outputs and w.shape != (d, outputs):
        raise ValueError(
            f"{owner}w has shape {w.shape}, X has {d} columns and there are {outputs} outputs; expected shape "
            f"{(d, outputs)}. Pass weights of the same model."
        )
    if len(w) != d:
        raise ValueError(
            f"{owner}w has {len(w)} entries, X has {d} columns; expected one weight per column. "
            "Pass weights of the same model."
        )
    check.finite(w, f"{owner}w")
    b = intercepts(init[1], f"{owner}b", outputs)
    with np.errstate(over="ignore"):
        return w.astype(dtype), b


def intercepts(b: Any, name: str, outputs: int) -> Any:
    """An intercept, or one for each of ``outputs`` > 0 (a single number stands for all)."""
    if not outputs:
        return check.real(b, name, hint="Pass the intercept to start from, for example 0.0.")
    if _n_dimensions(b) == 0:
        return np.full(outputs, check.real(b, name, hint="Pass one intercept, or one for each output."))
    found = check.array(b, name, 1).astype(np.float64)
    if len(found) != outputs:
        raise ValueError(
            f"{name} has {len(found)} entries, and there are {outputs} outputs; expected one for each. Pass "
            "intercepts of the same model."
        )
    check.finite(found, name)
    return found
