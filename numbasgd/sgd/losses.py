"""Losses of one prediction: value and slope, each one plain function that both devices compile.

z is the prediction x.w + b, y the target.  Kernels only loop; what is computed for a row is said here.
Adding a loss is adding one entry to ``LOSSES``.  With K outputs a row has K predictions: a loss of one
prediction is taken of each and summed, a loss that needs all of them says so itself (``rows``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from numbasgd.sgd.solvers.softmax import make_softmax


def squared_value(z, y):
    """(z - y)^2 / 2, half the squared residual (Gauss, 1809)."""
    r = z - y
    return r * r / 2


def squared_slope(z, y):
    """d/dz (z - y)^2 / 2 = z - y, the residual."""
    return z - y


def huber_value(z, y):
    """r^2 / 2 for a residual |r| <= 1, |r| - 1/2 beyond (Huber, Annals of Mathematical Statistics 35, 1964)."""
    r = abs(z - y)
    return r * r / 2 if r <= 1 else r - 0.5


def huber_slope(z, y):
    """The residual cut to [-1, 1]; written without min and max, which Numba's own CUDA target does not take."""
    r = z - y
    return -1.0 if r < -1 else 1.0 if r > 1 else r


def logistic_value(z, y):
    """log(1 + exp(-y z)) for y of -1 or 1 (Cox, JRSS B 20, 1958), without overflow."""
    m = y * z
    return math.log1p(math.exp(-abs(m))) + max(-m, 0.0)


def logistic_slope(z, y):
    """-y / (1 + exp(y z)); exp of a large argument is infinite, and the slope then 0."""
    return -y / (1 + math.exp(y * z))


def hinge_value(z, y):
    """max(0, 1 - y z) for y of -1 or 1 (Cortes and Vapnik, Machine Learning 20, 1995)."""
    return max(1 - y * z, 0.0)


def hinge_slope(z, y):
    """-y where y z < 1, else 0: the subgradient that is 0 at the kink."""
    return -y if y * z < 1 else 0.0


def softmax(z: np.ndarray) -> np.ndarray:
    """exp(z_k) / sum over j of exp(z_j) for each row of z (m, K): the probabilities of K classes.

    The largest z of a row is subtracted first, so that no exp overflows.  ``numbasgd.sgd.solvers.softmax`` has
    the kernel of the loss.
    """
    exponentials = np.exp(z - z.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Loss:
    """value, slope : of one prediction.

    curvature : the largest second derivative in z, where there is one (1 for the hinge, which has none).
    targets : "real" numbers, two "signs" -1 and 1, or "classes" 0 to K - 1.
    rows : for a loss of all K predictions of a row, what makes the compiled functions of it
    (``numbasgd.sgd.solvers.softmax``); value and slope are then None.
    """

    value: Callable[..., Any] | None
    slope: Callable[..., Any] | None
    curvature: float
    targets: str
    rows: Callable[..., Any] | None = None


LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        "squared": Loss(squared_value, squared_slope, 1.0, "real"),
        "huber": Loss(huber_value, huber_slope, 1.0, "real"),
        "logistic": Loss(logistic_value, logistic_slope, 0.25, "signs"),
        "hinge": Loss(hinge_value, hinge_slope, 1.0, "signs"),
        "softmax": Loss(None, None, 0.5, "classes", make_softmax),
    }
)
