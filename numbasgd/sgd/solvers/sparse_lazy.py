"""Steps on sparse rows that touch only the weights of stored entries, and still are those of all weights.

The weights are ``scale * w``, so that an L2 penalty, which makes every weight smaller by the factor
``1 - lr * l2`` in every step, changes one number (Bottou, "Stochastic gradient descent tricks", 2012, section
5.1).  An L1 penalty moves every weight towards 0 by ``lr * l1``, or by ``lr * l1 / scale`` as w is kept.  Such
moves of one weight after another add up, so a weight is moved when a row touches it, by the sum of all steps
since: the total of all steps minus the total when it was last touched (Langford, Li, Zhang, "Sparse online
learning via truncated gradient", JMLR 10, 2009; Tsuruoka, Tsujii, Ananiadou, ACL 2009; for the proximal step,
Duchi and Singer, JMLR 10, 2009, section 6).  The mean over the steps is that of Xu ("Towards optimal one pass
large scale learning with averaged stochastic gradient descent", arXiv 1107.2490, section 6.1): the sum of
``scale * w`` over the steps is ``scales * w - sums``, scales the sum of the scales and sums that of what moved
w, times ``scales`` before the move.

Momentum has no such form, nor has the mean over steps with an L1 penalty: ``sparse_steps.py``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.sgd.solvers.epoch import make_advance
from numbasgd.sgd.solvers.operands import Outputs
from numbasgd.sgd.solvers.sparse_rows import BEHIND, SCALE, SCALES, STEPS, THRESHOLD, Passes, make_passes
from numbasgd.sgd.solvers.sparse_steps import Variant, make_losses
from numbasgd.simd.vector import pointer

LEAST = 2.0**-20  # scales below are brought to 1, in time of all weights


@jit(inline="always")
def forget(lazy, length):
    """As if all weights were up to date.  lazy : an array or a pointer; length : of a row."""
    for j in range(BEHIND + length):
        lazy[j] = 0.0
    lazy[SCALE] = 1.0


@functools.cache
def make_settle(made: Passes) -> Any:
    """``settle`` for weights of a dtype, as kernels call it."""
    T, has_l1, is_averaged = made.T, made.has_l1, made.is_averaged

    @jit(variant=str(made), forceinline=True, fastmath=False)
    def settle(state, out, row, size, width, steps, lazy):
        """out := the state with all weights up to date; out may be the state itself.

        state, out : pointers to (4, row) as in ``epoch.py``.  steps : those in the mean.
        """
        scale, total = lazy[SCALE], lazy[THRESHOLD]
        new, scales = lazy[STEPS], lazy[SCALES]
        for j in range(row):
            x = state[j]
            if has_l1 and j < size:
                t = T(total - lazy[BEHIND + j // width])
                x -= min(max(x, -t), t)
            now = T(scale * x) if j < size else x
            if is_averaged:
                mean, lost = state[2 * row + j], state[3 * row + j]
                if steps == 0:
                    mean, lost = now, T(0)
                elif new > 0:
                    sums = scales * x - lazy[BEHIND + j] if j < size else lazy[BEHIND + j]
                    before = np.float64(mean) + np.float64(lost) if steps > new else 0.0
                    found = before + (sums / new - before) * (new / steps)
                    mean = T(found)
                    lost = T(found - np.float64(mean))
                out[2 * row + j], out[3 * row + j] = mean, lost
            out[row + j] = T(0)
            out[j] = now

    return settle


@functools.cache
def make_settle_rows(made: Passes) -> Any:
    """``settle_rows`` for weights of a dtype."""
    settle = make_settle(made)

    @jit(variant=str(made), fastmath=False)
    def settle_rows(rows, out, size, width, count, lazy):
        """out := the state (4, row) with all weights up to date."""
        settle(pointer(rows, 0), pointer(out, 0), rows.shape[1], size, width, count[0], pointer(lazy, 0))

    return settle_rows


@functools.cache
def advance_kernel(made: Variant, passes: Passes) -> Callable[..., Any]:
    """``advance`` of ``epoch.py`` for lazy weights: scratch is (Z, lazy), lazy ``BEHIND`` and a row long."""
    T, has_l1, is_averaged = passes.T, passes.has_l1, passes.is_averaged
    name = f"{made}_{passes}"
    dots, add = make_passes(passes)
    slopes, _ = make_losses(made)
    settle = make_settle(passes)

    @jit(variant=name, forceinline=True, fastmath=False)
    def shrink(weights, lazy, keep, width):
        """The scale of the weights in this step; those of all are brought to 1 when it gets too small."""
        scale = lazy[SCALE] * keep
        if scale >= LEAST:
            return scale
        w, row = weights.state, weights.row
        settle(w, w, row, weights.size, width, weights.count[0], lazy)
        forget(lazy, row)
        for j in range(weights.size):
            w[j] = T(keep * w[j])
        return 1.0

    @jit(variant=name, forceinline=True, fastmath=False)
    def move_intercepts(weights, Z, m, width, lr):
        """Those of one step, which are never behind."""
        b = pointer(weights.state, weights.size)
        for k in range(width):
            total = 0.0
            for t in range(m):
                total += Z[t * width + k]
            b[k] -= T(lr * total / m)

    @jit(variant=name, forceinline=True, fastmath=False)
    def steps(samples, order, start, stop, params, weights, scratch, outputs):
        """One step for each minibatch of the positions start <= t < stop of ``order``."""
        w, size, Z, lazy = weights.state, weights.size, scratch.g, scratch.scratch64
        K, width, _ = outputs
        lr = np.float64(params.lr)
        if is_averaged and weights.count[0] < lazy[STEPS]:  # the mean began anew
            scale = lazy[SCALE]
            forget(lazy, weights.row)
            lazy[SCALE] = scale
        for at in range(start, stop, params.batch_size):
            e = min(at + params.batch_size, stop)
            m = e - at
            dots(samples, order, at, e, w, lazy, Z, width)
            for t in range(m * width):
                Z[t] = T(lazy[SCALE] * Z[t])
            slopes(Z, pointer(w, size), samples, order, at, m, Outputs(K, width, 0))
            if params.with_b:
                move_intercepts(weights, Z, m, width, lr)
            scale = shrink(weights, lazy, 1 - lr * params.l2, width)
            lazy[SCALE] = scale
            for t in range(m * width):
                Z[t] = T(-lr / (m * scale) * Z[t])
            add(samples, order, at, e, Z, w, lazy, width)
            if has_l1:
                lazy[THRESHOLD] += lr * params.l1 / scale
            if is_averaged:
                weights.count[0] += 1
                lazy[STEPS] += 1
                lazy[SCALES] += scale
                for j in range(size, weights.row):
                    lazy[BEHIND + j] += w[j]

    return make_advance(steps, name)
