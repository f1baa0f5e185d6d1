"""Slopes and values of a loss of one prediction, for each of the K outputs of a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numbasgd.compile.options import jit


def make_each(
    value: Any, slope: Any, T: Any, lanes: int, is_weighted: bool, variant: str
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """``slopes`` and ``values`` of a loss of one prediction, summed over the K outputs."""

    @jit(variant=variant, forceinline=True, fastmath=False)
    def slopes(Z, b, samples, order, start, m, outputs):
        K, width = outputs.K, outputs.width
        for t in range(m):
            at = t * width
            i = start + t if order.n_rows == 0 else order.rows[start + t]
            for k in range(K):
                r = T(slope(Z[at + k] + b[k], samples.y[i * K + k]))
                Z[at + k] = r * samples.s[i] if is_weighted else r
            for k in range(K, width):
                Z[at + k] = T(0)

    @jit(variant=variant, forceinline=True, fastmath=False)
    def values(Z, b, samples, start, m, outputs):
        K, width = outputs.K, outputs.width
        loss = 0.0
        for t in range(m):
            i = start + t
            v = 0.0
            for k in range(K):
                v += value(np.float64(Z[t * width + k] + b[k]), np.float64(samples.y[i * K + k]))
            loss += v * samples.s[i] if is_weighted else v
        return loss

    return slopes, values
