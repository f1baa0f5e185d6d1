"""The softmax loss of K classes: value and slopes of rows of predictions, a register of outputs at a time.

    p_k = exp(z_k) / sum over j of exp(z_j)
    value = log(sum over k of exp(z_k)) - z_y        slope in z_k = p_k - (1 if k == y else 0)

the cross-entropy of a multinomial logit (Theil, International Economic Review 10, 1969; Bridle,
"Probabilistic interpretation of feedforward classification network outputs", 1990).  The largest z is
subtracted first, so that no exp overflows.  The second derivative diag(p) - p p^T is at most half the identity
(Boehning, Annals of the Institute of Statistical Mathematics 44, 1992).

``numbasgd.sgd.losses.softmax`` is p in NumPy.  Contracts in ``multi_kernels.py``.
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

    @jit(variant=variant, inline="always")
    def add_intercepts(Z, at, b, outputs):
        """Add b to the row of Z at ``at``, set what is behind K to -inf, and return the largest entry."""
        top = fill(lowest, lanes)
        for k in range(0, outputs.width, lanes):
            z = first_or(add(load(Z, at + k, lanes), load(b, k, lanes)), outputs.K - k, lowest)
            store(Z, at + k, z)
            top = larger(z, top)
        return largest(top)

    @jit(variant=variant, forceinline=True, fastmath=False)
    def slopes(Z, b, samples, order, start, m, outputs):
        width = outputs.width
        for t in range(m):
            at = t * width
            i = start + t if order.n_rows == 0 else order.rows[start + t]
            top = fill(add_intercepts(Z, at, b, outputs), lanes)
            sums = fill(T(0), lanes)
            for k in range(0, width, lanes):
                e = exp(sub(load(Z, at + k, lanes), top))
                store(Z, at + k, e)
                sums = add(sums, e)
            weight = samples.s[i] if is_weighted else T(1)
            scale = fill(weight / total(sums), lanes)
            for k in range(0, width, lanes):
                store(Z, at + k, mul(load(Z, at + k, lanes), scale))
            Z[at + np.intp(samples.y[i])] -= weight

    @jit(variant=variant, forceinline=True, fastmath=False)
    def values(Z, b, samples, start, m, outputs):
        loss = 0.0
        for t in range(m):
            at = t * outputs.width
            i = start + t
            top = np.float64(add_intercepts(Z, at, b, outputs))
            sums = fill(0.0, lanes)
            for k in range(0, outputs.width, lanes):
                sums = add(sums, exp(sub(widen(load(Z, at + k, lanes)), fill(top, lanes))))
            v = math.log(total(sums)) - (np.float64(Z[at + np.intp(samples.y[i])]) - top)
            loss += v * samples.s[i] if is_weighted else v
        return loss

    return slopes, values
