"""Losses of one prediction: value and slope, each one plain function that both devices compile.

z is the prediction x.w + b, y the target.  Kernels only loop; what is computed for a row is said here.
"""

from __future__ import annotations


def squared_value(z, y):
    """(z - y)^2 / 2, half the squared residual (Gauss, 1809)."""
    r = z - y
    return r * r / 2


def squared_slope(z, y):
    """d/dz (z - y)^2 / 2 = z - y, the residual."""
    return z - y
