"""The softmax loss of K classes: value and slopes of whole rows of predictions, K lanes at a time.

    p_k = exp(z_k) / sum over j of exp(z_j)
    value = log(sum over k of exp(z_k)) - z_y        slope in z_k = p_k - (1 if k == y else 0)

the cross-entropy of a multinomial logit (Theil, International Economic Review 10, 1969; Bridle,
"Probabilistic interpretation of feedforward classification network outputs", 1990).  The largest z is taken
off first, so that no exp overflows.  The second derivative diag(p) - p p^T is at most half the identity
(Boehning, Annals of the Institute of Statistical Mathematics 44, 1992).

Contracts in ``multi_kernels.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.simd.exp import exp
from numbasgd.simd.vector import add, fill, first_or, larger, largest, load, mul, store, sub, total, widen


def make_softmax(
    value: None, slope: None, T: Any, lanes: int, is_weighted: bool, variant: str
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """``slopes`` and ``values``."""
    lowest = T(-math.inf)

    @jit(variant=variant, forceinline=True, fastmath=False)
    def slopes(Z, width, K, b, y, s, rows, n_rows, start, m):
        for t in range(m):
            at = t * width
            i = start + t if n_rows == 0 else rows[start + t]
            top = fill(lowest, lanes)
            for c in range(0, width, lanes):
                z = first_or(add(load(Z, at + c, lanes), load(b, c, lanes)), K - c, lowest)
                store(Z, at + c, z)
                top = larger(z, top)
            top = fill(largest(top), lanes)
            parts = fill(T(0), lanes)
            for c in range(0, width, lanes):
                e = exp(sub(load(Z, at + c, lanes), top))
                store(Z, at + c, e)
                parts = add(parts, e)
            weight = s[i] if is_weighted else T(1)
            scale = fill(weight / total(parts), lanes)
            for c in range(0, width, lanes):
                store(Z, at + c, mul(load(Z, at + c, lanes), scale))
            Z[at + np.intp(y[i])] -= weight

    @jit(variant=variant, forceinline=True, fastmath=False)
    def values(Z, width, K, b, y, s, start, m):
        acc = 0.0
        for t in range(m):
            at = t * width
            i = start + t
            top = fill(lowest, lanes)
            for c in range(0, width, lanes):
                z = first_or(add(load(Z, at + c, lanes), load(b, c, lanes)), K - c, lowest)
                store(Z, at + c, z)
                top = larger(z, top)
            peak = np.float64(largest(top))
            parts = fill(0.0, lanes)
            for c in range(0, width, lanes):
                parts = add(parts, exp(sub(widen(load(Z, at + c, lanes)), fill(peak, lanes))))
            v = math.log(total(parts)) - (np.float64(Z[at + np.intp(y[i])]) - peak)
            acc += v * s[i] if is_weighted else v
        return acc

    return slopes, values
