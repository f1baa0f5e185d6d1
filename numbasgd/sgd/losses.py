"""The maths of one sample: a loss's value and its slope, plain functions compiled for every device.

z is the model's output for the sample, x . w + b; y is its target.
"""

from __future__ import annotations

from typing import Any


def squared_value(z: Any, y: Any) -> Any:
    """Half the squared residual, (z - y)^2 / 2."""
    r = z - y
    return r * r / 2


def squared_slope(z: Any, y: Any) -> Any:
    """Its derivative with respect to z, the residual z - y."""
    return z - y
