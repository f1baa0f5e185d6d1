"""``lr="auto"``: a look at the data by the way that suits it, and the rate that follows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from numbasgd.sgd import least_squares, rates, rates_outputs
from numbasgd.sgd.losses import LOSSES
from numbasgd.sgd.run import Method


class Auto(NamedTuple):
    """The rate, how large the rows are, and mean squares of the columns if they are known."""

    rate: float
    size: rates.Size
    squares: list[float] | None


def auto(
    X: np.ndarray, y: np.ndarray, s: np.ndarray, w: np.ndarray, b: Any, loss: str, method: Method, epochs: int
) -> Auto:
    """The learning rate for weights w (d,) or (d, K) and intercepts to start from.

    X (n, d), y and s as they are trained on; the rate is NaN where sizes are not finite.
    """
    curvature = LOSSES[loss].curvature
    if w.ndim == 1 or w.shape[1] == 1:
        y1, w1, b1 = (y, w, b) if w.ndim == 1 else (y[:, 0], w[:, 0], float(b[0]))
        if loss == "squared" and len(X) <= rates.SAMPLE:
            look = least_squares.look_at(X, y1, s, w1, b1, method.intercept, method.l2)
            if look is not None:
                size = rates.Size(look.beta, look.mean, look.curvature)
                rate = rates.auto_lr(look.local, size, method, len(X), epochs, curvature)
                return Auto(rate, size, look.squares)
    sample = rates.Sample(X, method.intercept, s)
    size = sample.size
    if not np.isfinite(size).all():
        return Auto(np.nan, size, None)
    if w.ndim == 2 and w.shape[1] > 1:
        local, share = rates_outputs.local_model(X, y, s, w, b, loss, method.intercept, method.l2)
        size = size._replace(curvature=size.curvature * share)
    else:
        local = rates.local_model(sample, y1, w1, b1, loss, method.l2)
    return Auto(rates.auto_lr(local, size, method, len(X), epochs, curvature), size, None)
