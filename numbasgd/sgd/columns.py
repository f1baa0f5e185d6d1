"""Columns by name: what a table calls them, and rows of another table in the order of these names."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbasgd.check import show

_SHOWN = 5  # names in a message

#: What columns are called: all by text, or all by integers that are not just their positions.
Names = tuple[str, ...] | tuple[int, ...]


def names_of(X: Any) -> Names | None:
    """The names of the columns of a table, as text, or as integers; None where they have none.

    pandas, Polars and PyArrow have them.  The positions 0 to d - 1, which pandas writes where nobody named the
    columns, are no names.
    """
    labels = _labels_of(X)
    return None if labels is None or labels == tuple(range(len(labels))) else labels


def _labels_of(X: Any) -> Names | None:
    if isinstance(X, np.ndarray | list | tuple):
        return None
    found = getattr(X, "column_names", None)  # of PyArrow, whose ``columns`` are the columns themselves
    found = getattr(X, "columns", None) if found is None else found
    if found is None or callable(found):
        return None
    labels = list(found)
    if all(isinstance(label, int | np.integer) and not isinstance(label, bool) for label in labels):
        return tuple(map(int, labels))
    return tuple(map(str, labels))


def order_of(X: Any, names: Names | None, known: str) -> np.ndarray | None:
    """Where in the table X each of the columns ``names`` is; None where they are in this order, or unnamed.

    known : whose names these are, for the message.

    Raises
    ------
    ValueError
        If the table has other columns.
    """
    labels = _labels_of(X)
    if labels is None:
        return None
    positions = tuple(range(len(labels)))
    if names is None and sorted(labels) == list(positions):
        names = positions  # which is what pandas called them
    if names is None or labels == names or (labels == positions and set(labels) != set(names)):
        return None
    if len(set(labels)) < len(labels) or set(labels) != set(names):
        raise ValueError(_difference(labels, names, known))
    place = {label: j for j, label in enumerate(labels)}
    return np.array([place[name] for name in names])


def _difference(labels: Names, names: Names, known: str) -> str:
    missing = [name for name in names if name not in set(labels)]
    extra = [label for label in labels if label not in set(names)]
    parts = [f"lacks {_listed(missing)}"] if missing else []
    parts += [f"has {_listed(extra)} besides"] if extra else []
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if not parts:
        parts = [f"has the column {twice!r} more than once"]
    advice = "Select them: X[list(fit.feature_names)]." if not missing else "Pass a table with these columns."
    return (
        f"X {' and '.join(parts)}; expected the columns of {known}, {_listed(list(names))}, in any order. "
        f"{advice} A plain array is taken as it is."
    )


def _listed(names: list[Any]) -> str:
    what = "column" if len(names) == 1 else "columns"
    more = f", ... ({len(names) - _SHOWN} more)" if len(names) > _SHOWN else ""
    return f"{what} {', '.join(show_name(name) for name in names[:_SHOWN])}{more}"


def show_name(name: Any) -> str:
    """A name for a message, not too long."""
    return repr(name) if len(repr(name)) <= 40 else show(name)


def in_order(X: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The columns of X in this order: a copy, with the strides of X."""
    return X.T[order].T if X.flags.f_contiguous else np.ascontiguousarray(X[:, order])
