"""Classes of any name, and the numbers that stand for them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from numbasgd import check

_MANY = 20  # classes that nobody wonders about
_KINDS = "biufU"  # of the dtypes that labels may have: booleans, numbers, text


def named(y: Any, loss: str) -> np.ndarray:
    """y as a 1-D array of numbers, booleans or text."""
    if y is None:
        raise TypeError("y is None; expected a 1-D array of labels. Pass y.")
    labels = np.asarray(y)
    if labels.dtype.kind in "OT":
        labels = _of_objects(labels)
    if labels.dtype.kind in "SMm":
        kind = "bytes" if labels.dtype.kind == "S" else str(labels.dtype)
        raise TypeError(
            f"y holds {kind}; expected labels that are text, numbers or booleans. Name the classes by text, "
            "for example y.astype(str)."
        )
    is_long = labels.dtype.kind == "f" and labels.dtype.itemsize > 8  # which no file of a fit can hold
    if labels.dtype.kind not in _KINDS or is_long:
        labels = check.array(y, "y", 1)  # numbers, or an error
    if labels.ndim != 1:
        hint = "Pass one label for each row, for example y.argmax(axis=1) of columns of 0 and 1."
        if labels.ndim == 2 and labels.shape[1] == 1:
            hint = check.reshape_hint(y, labels, "y", 1)
        raise ValueError(
            f"y has {labels.ndim} dimensions, shape {labels.shape}; expected a 1-D array of labels for "
            f"loss={loss!r}. {hint}"
        )
    return labels


def _of_objects(labels: np.ndarray) -> np.ndarray:
    """Labels in an array of Python objects or of strings of any length, as the text or numbers that they are.

    Text stays text, "01" too.  What is no such label is left to ``check.array``, which says where it is.
    """
    values = labels.ravel().tolist()
    kinds = set(map(type, values))
    if any(issubclass(kind, str) for kind in kinds):
        at = next((i for i, value in enumerate(values) if not isinstance(value, str)), None)
        if at is not None:
            raise TypeError(
                f"y holds {values[at]!r} at row {at} and text elsewhere; expected labels of one kind. "
                "Name all classes by text, and drop rows without a label."
            )
        return np.array(values, str).reshape(labels.shape)
    if len(kinds) == 1 and issubclass(kind := kinds.pop(), bool | int | np.bool_ | np.integer | bytes):
        return np.array(values, np.bool_ if kind is bool else None).reshape(labels.shape)
    return labels


def _distinct(labels: np.ndarray, loss: str, count: str, which: str) -> np.ndarray:
    """The values among the labels, in order; at least two, all finite."""
    found = np.unique(labels)
    if found.dtype.kind == "f" and not np.all(np.isfinite(found)):
        check.finite(labels, "y")
    if len(found) < 2:
        raise ValueError(
            f"y holds only {found[0].item()!r}; expected {count} classes for loss={loss!r}, since one class "
            f"leaves nothing to tell apart. Pass rows of {which} classes."
        )
    return found


def signs(labels: np.ndarray, loss: str) -> tuple[np.ndarray, tuple[Any, ...]]:
    """Two labels as -1 and 1, in order; and which two they were."""
    found = _distinct(labels, loss, "two", "both")
    if len(found) > 2:
        shown = ", ".join(f"{v!r}" for v in found[:4].tolist())
        raise ValueError(
            f"y holds {len(found)} different values ({shown}, ...); expected two classes for loss={loss!r}. "
            'Pass 0 and 1, use loss="softmax" for more classes, or loss="squared" for real numbers.'
        )
    return np.where(labels == found[1], 1, -1), tuple(found.tolist())


def numbers(labels: np.ndarray, loss: str, n: int | None = None) -> tuple[np.ndarray, tuple[Any, ...]]:
    """Labels as 0 to K - 1, in order; and which they were.  n : of all labels, where these are some of them."""
    found = _distinct(labels, loss, "two or more", "all")
    _warn_of_many(found, len(labels) if n is None else n, loss)
    return np.searchsorted(found, labels), tuple(found.tolist())


def _warn_of_many(found: np.ndarray, n: int, loss: str) -> None:
    """Warn of values that are hardly names of classes: many fractions, or as good as one for each row.

    Whole numbers of an integer type are names, however rare each is.
    """
    count = len(found)
    is_rare = 2 * count > n and found.dtype.kind not in "iu"
    is_fraction = found.dtype.kind == "f" and bool(np.any(found != np.floor(found)))
    if (count > _MANY and (is_fraction or is_rare)) or (count > 2 and is_fraction and is_rare):
        shown = ", ".join(f"{v!r}" for v in found[:3].tolist())
        warnings.warn(
            f"y holds {count} different values ({shown}, ...) in {n} rows, and loss={loss!r} takes each for a "
            'class of its own; expected a few classes. For real numbers pass loss="squared".',
            stacklevel=2,
        )


def require_numbers(labels: np.ndarray) -> None:
    """Labels must be 0 to K - 1 already, where not all of the problem is seen."""
    if labels.dtype.kind == "f":
        check.finite(labels, "y")
    is_wrong = labels.dtype.kind == "U" or (labels < 0) | (labels != np.floor(labels))
    if np.any(is_wrong):
        found = labels[is_wrong][0].item() if labels.dtype.kind != "U" else str(labels[0])
        raise ValueError(
            f"y holds labels such as {found!r}; expected the numbers 0 to K - 1 of the classes here, since "
            "rows need not show all of them. Number the classes as in Fit.classes."
        )


def array_of(classes: tuple[Any, ...]) -> np.ndarray:
    """The classes that ``signs`` or ``numbers`` found, as an array that keeps each of them."""
    is_huge = isinstance(classes[-1], int) and classes[-1] >= 2**63  # beside smaller ones NumPy would round it
    return np.array(classes, np.uint64 if is_huge else None)
