"""Losses of one prediction: value and slope, each one plain function that both devices compile.

z is the prediction x.w + b, y the target.  Kernels only loop; what is computed for a row is said here.
Adding a loss is adding one entry to ``LOSSES``.  One with a parameter is an entry at the default of that, and
tells how to make it at another value (``at``); the parameter is a setting of ``TrainConfig``.  With K outputs a
row has K predictions: a loss of one prediction is taken of each and summed, a loss that needs all of them says
so itself (``rows``).

What the choice of a learning rate needs is a function of arrays, in NumPy: ``derivatives``.
"""

from __future__ import annotations

import functools
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


Derivatives = tuple[np.ndarray, np.ndarray | None]
Shares = np.ndarray | None


def squared_derivatives(z: np.ndarray, y: np.ndarray, is_step: bool, shares: Shares) -> Derivatives:
    """z - y and 1."""
    return z - y, None


def huber_derivatives(z: np.ndarray, y: np.ndarray, is_step: bool, shares: Shares) -> Derivatives:
    """For steps, the curvature of the parabola above the loss (iteratively reweighted least squares).

    Holland and Welsch, Communications in Statistics A6, 1977.
    """
    r = z - y
    size = np.abs(r)
    return np.clip(r, -1, 1), 1 / np.maximum(size, 1) if is_step else (size <= 1) * 1.0


def logistic_derivatives(z: np.ndarray, y: np.ndarray, is_step: bool, shares: Shares) -> Derivatives:
    """-y p and p (1 - p), with p the probability of the other class."""
    p = 0.5 * (1 + np.tanh(-0.5 * y * z))
    return -y * p, np.maximum(p * (1 - p), 1e-3)


@dataclass(frozen=True)
class Loss:
    """value, slope : of one prediction.

    curvature : the largest second derivative in z (1 for the hinge, which has none); None where there is no
    scale that it could be told in without looking at the data (``curvature.curvature_of``).
    targets : "real" numbers, two "signs" -1 and 1, or "classes" 0 to K - 1.
    derivatives : (z, y, is_step, shares) -> slopes and second derivatives in z, arrays of the shape of z, or
    None for 1; ``is_step``: for the steps of Newton's method, else as they are; shares: weights of the rows, or
    None.  None for a loss that no quadratic model serves.
    is_quadratic : whether the second derivative is 1 everywhere.
    rows : for a loss of all K predictions of a row, what makes the compiled functions of it
    (``numbasgd.sgd.solvers.softmax``); value and slope are then None.
    parameter : name and value of the parameter of a loss that has one.  at : makes the loss at another value.
    Kernels take the value for a constant, so each value is compiled once.
    """

    value: Callable[..., Any] | None
    slope: Callable[..., Any] | None
    curvature: float | None
    targets: str
    derivatives: Callable[[np.ndarray, np.ndarray, bool, Shares], Derivatives] | None
    is_quadratic: bool = False
    rows: Callable[..., Any] | None = None
    parameter: tuple[str, float] | None = None
    at: Callable[[float], Loss] | None = None


_NEAR = 0.2  # the share of the rows that a density is estimated from


def _quantile(size: np.ndarray, shares: np.ndarray) -> float:
    """The value that the share _NEAR of the rows, each as often as its share says, does not exceed."""
    size = size.ravel()
    order = np.argsort(size)
    below = np.cumsum(shares.ravel()[order])
    return float(size[order[np.searchsorted(below, _NEAR * below[-1] * (1 - 1e-6))]])


def quantile_loss(q: float) -> Loss:
    """q (y - z) for y >= z, (1 - q) (z - y) below: its best constant is the quantile of level q of y.

    Koenker and Bassett, Econometrica 46, 1978.  At the kink the slope is 0, a subgradient.
    """

    def quantile_value(z, y):
        r = y - z
        return q * r if r >= 0 else (q - 1) * r

    def quantile_slope(z, y):
        return -q if z < y else 1 - q if z > y else z - y  # which is 0, or a NaN that must not be lost

    def quantile_derivatives(z: np.ndarray, y: np.ndarray, is_step: bool, shares: Shares) -> Derivatives:
        """For steps, those of the loss rounded off near the kink; else the density of the residuals there.

        The rounded loss takes the parabola above |r| / 2 (Hunter and Lange, Journal of Computational and
        Graphical Statistics 9, 2000).  The density is that within the distance that a part of the rows is in.
        """
        r = z - y
        size = np.abs(r)
        counts = np.ones_like(size) if shares is None else np.broadcast_to(shares, size.T.shape).T
        near = max(_quantile(size, counts), 0.01 * float(np.mean(counts * size))) or 1.0
        if is_step:
            weight = 0.5 / np.maximum(size, near)
            return 0.5 - q + r * weight, weight
        return np.where(r < 0, -q, np.where(r > 0, 1 - q, 0.0)), (size <= near) * (0.5 / near)

    return Loss(
        quantile_value,
        quantile_slope,
        None,
        "real",
        quantile_derivatives,
        parameter=("quantile", q),
        at=quantile_loss,
    )


LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        "squared": Loss(squared_value, squared_slope, 1.0, "real", squared_derivatives, is_quadratic=True),
        "huber": Loss(huber_value, huber_slope, 1.0, "real", huber_derivatives),
        "logistic": Loss(logistic_value, logistic_slope, 0.25, "signs", logistic_derivatives),
        "hinge": Loss(hinge_value, hinge_slope, 1.0, "signs", None),
        "softmax": Loss(None, None, 0.5, "classes", None, rows=make_softmax),
        "quantile": quantile_loss(0.5),
    }
)  # fmt: skip


def slopes(key: str, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The slopes of a loss in the predictions z (m, K), for arrays: NumPy's counterpart of the kernels.

    key : as ``loss_key`` gives it.  y : (m, K), or (m,) numbers of classes.
    """
    loss = loss_named(key)
    if loss.rows is not None:
        found = softmax(z)
        found[np.arange(len(z)), y.astype(np.int64)] -= 1
        return found
    if loss.derivatives is not None:
        return loss.derivatives(z, y, False, None)[0]
    assert loss.slope is not None
    return np.vectorize(loss.slope, otypes=[np.float64])(z, y)


#: The parameters of losses by name: (the loss that has it, its default).
PARAMETERS: Mapping[str, tuple[str, float]] = MappingProxyType(
    {loss.parameter[0]: (name, loss.parameter[1]) for name, loss in LOSSES.items() if loss.parameter}
)
_AT = "_at_"
_INTO_IDENTIFIER, _FROM_IDENTIFIER = str.maketrans(".-+", "pmq"), str.maketrans("pmq", ".-+")


def loss_key(name: str, **parameters: float) -> str:
    """What kernels call a loss: its name, and the exact value of a parameter that is not at its default.

    Compiled functions are named after it, so it is an identifier.

    Raises
    ------
    ValueError
        For a parameter of another loss that is not at its default.
    """
    key = name
    for parameter, value in parameters.items():
        owner, default = PARAMETERS[parameter]
        if value == default:
            continue
        if owner != name:
            raise ValueError(
                f"{parameter} is {value!r} but loss is {name!r}; expected loss={owner!r}, the only one with "
                f"this parameter. Pass that loss, or leave {parameter} out."
            )
        key = f"{name}{_AT}{float(value)!r}".translate(_INTO_IDENTIFIER)
    return key


@functools.cache
def loss_named(key: str) -> Loss:
    """The loss that ``loss_key`` called so."""
    name, is_at, text = key.partition(_AT)
    loss = LOSSES[name]
    if not is_at or loss.at is None:
        return loss
    loss = loss.at(float(text.translate(_FROM_IDENTIFIER)))
    for function in (loss.value, loss.slope):
        function.__qualname__ += f"_{text}"  # type: ignore[union-attr]  # a linker knows functions by name
    return loss
