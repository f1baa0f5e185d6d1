"""Weights to start from that are those of another fit."""

from __future__ import annotations

from typing import Any

from numbasgd.check import show
from numbasgd.sgd.columns import order_of_weights
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.fit import Fit


def weights_of(init: Any, dataset: Dataset) -> Any:
    """(w, b) of a Fit, in the order of the columns of X; whatever else ``init`` is, as it is.

    Raises
    ------
    ValueError
        If the fit is of other columns or of other classes.
    """
    if not isinstance(init, Fit):
        return init
    if init.classes != dataset.classes:
        raise ValueError(
            f"init is a fit of classes {show(init.classes)}, and y has {show(dataset.classes)}; expected the "
            "same, in a fit of the same kind. Pass rows of these classes, or init=(fit.w, fit.b)."
        )
    order = order_of_weights(dataset.names, init.feature_names)
    return (init.w if order is None else init.w[order], init.b)
