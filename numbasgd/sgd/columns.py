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


def order_of(X: Any, names: Names | None, whose: str, name: str = "X") -> np.ndarray | None:
    """Where in the table X each of the columns ``names`` is; None where they are in this order, or unnamed.

    whose : what has these names, and ``name`` : what X is called, for the message.

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
    if difference := _difference(labels, names):
        raise ValueError(
            f"{name} {difference}; expected the columns of {whose}, {_listed(list(names))}, in any order. Pass "
            "a table with just these columns, or a plain array, which is taken as it is."
        )
    return places(names, labels)


def order_of_weights(names: Names | None, of_fit: Names | None) -> np.ndarray | None:
    """Where the weight of each column ``names`` is in a fit of the columns ``of_fit``; None for the same order.

    Raises
    ------
    ValueError
        If these are other columns.
    """
    if names is None or of_fit is None or names == of_fit:
        return None
    if difference := _difference(names, of_fit):
        raise ValueError(
            f"X {difference}; expected the columns of init, {_listed(list(of_fit))}, in any order. Pass a "
            "table with just these columns, or init=(fit.w, fit.b) for weights that are taken as they are."
        )
    return places(names, of_fit)


def places(names: Names, labels: Names) -> np.ndarray:
    """Where each of the names is among the labels."""
    place = {label: j for j, label in enumerate(labels)}
    return np.array([place[name] for name in names])


def _difference(labels: Names, names: Names) -> str:
    """How labels differ from the names, in whatever order, in words; empty if they do not."""
    missing = [name for name in names if name not in set(labels)]
    extra = [label for label in labels if label not in set(names)]
    parts = [f"lacks {_listed(missing)}"] if missing else []
    parts += [f"has {_listed(extra)} besides"] if extra else []
    if not parts and len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        parts = [f"has {_listed([twice])} more than once, in another order"]
    return " and ".join(parts)


def _listed(names: list[Any]) -> str:
    what = "column" if len(names) == 1 else "columns"
    more = f", ... ({len(names) - _SHOWN} more)" if len(names) > _SHOWN else ""
    return f"{what} {', '.join(_show(name) for name in names[:_SHOWN])}{more}"


def _show(name: Any) -> str:
    """A name for a message, not too long."""
    return repr(name) if len(repr(name)) <= 40 else show(name)


def in_order(X: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The columns of X in this order: a copy, with the strides of X."""
    return X.T[order].T if X.flags.f_contiguous else np.ascontiguousarray(X[:, order])
