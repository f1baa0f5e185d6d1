"""A step over so many rows that it is made in parts, between which Python looks up: Ctrl-C, progress.

The parts depend on the shape of the data and the batch size alone, so a big step is the same whenever and
however often it is interrupted: an unfinished one leaves no trace, and is made again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.sgd.order import WINDOW
from numbasgd.sgd.rows import CHUNK
from numbasgd.sgd.solvers.update import Step, make_average, make_update, make_update_intercept
from numbasgd.simd.vector import load, pointer, store

if TYPE_CHECKING:
    pass

ENTRIES = 1 << 22  # of X in a part; a row counts for 8 more


def is_big(batch_size: int, d: int) -> bool:
    """Whether a step is made in parts: where several threads gain more than Python costs."""
    return batch_size * (d + 8) > ENTRIES // 2


def part_rows(d: int) -> int:
    """Rows of a part, whole chunks where there is a choice."""
    rows = max(1, ENTRIES // (d + 8))
    return rows if rows < CHUNK else rows // CHUNK * CHUNK


def window_rows(n: int, d: int) -> int:
    """Rows of an epoch that are drawn at once; up to ``WINDOW`` an order must be drawn whole."""
    return n if n <= WINDOW else min(n, part_rows(d))


@functools.cache
def make_finish(dtype: np.dtype, lanes: int, step: Step) -> Callable[..., Any]:
    """What ends a big step; contracts in ``epoch.py``."""
    variant = f"{dtype.name}_{lanes}_{step}"
    update, update_b, average = make_update(step, lanes), make_update_intercept(step), make_average(lanes)
    has_momentum, is_averaged, T = step.momentum != "", step.is_averaged, dtype.type

    @jit(variant=variant)
    def finish(g, n_rows, lr, mu, l2, l1, with_b, is_early, samples, state, count, work):
        """The step with the sum ``g`` over ``n_rows`` rows; the state and ``count`` change together."""
        size = state.shape[1] - lanes
        row = size + lanes
        for j in range(size):
            work[j] = T(g[j])
        w, v = pointer(state, 0), pointer(state, row)
        mean, lost = pointer(state, 2 * row), pointer(state, 3 * row)
        total = pointer(work, 0)
        scale = T(1) / T(n_rows)
        for j in range(0, size, lanes):
            wv, vv = update(load(w, j, lanes), load(v, j, lanes), load(total, j, lanes), scale, lr, mu, l2, l1)
            store(w, j, wv)
            if has_momentum:
                store(v, j, vv)
        if with_b:
            w[size], v[size] = update_b(w[size], v[size], T(g[size]), scale, lr, mu)
        if is_averaged:
            count[0] += 1
            share = T(1 / count[0])
            for j in range(0, size + lanes, lanes):  # the intercept too
                m, rest = average(load(mean, j, lanes), load(lost, j, lanes), load(w, j, lanes), share)
                store(mean, j, m)
                store(lost, j, rest)
        if is_early:
            count[0] = 0
            for j in range(state.shape[1]):  # whole rows at once would compile for seconds
                state[2, j] = state[0, j]
                state[3, j] = 0
        count[1] = samples

    return finish
