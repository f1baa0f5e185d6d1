"""A step over so many rows that it is made in parts, between which Python looks up: Ctrl-C, progress.

The parts depend on the shape of the data and the batch size alone, so a big step is the same whenever and
however often it is interrupted: an unfinished one leaves no trace, and is made again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.sgd.order import WINDOW
from numbasgd.sgd.rows import CHUNK
from numbasgd.sgd.solvers.operands import StepParams, Weights
from numbasgd.sgd.solvers.update import Step, make_apply, restart_mean
from numbasgd.simd.vector import pointer

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
    T: Any = dtype.type
    apply = make_apply(step, lanes, T)

    @jit(variant=f"{dtype.name}_{lanes}_{step}")
    def finish(g, n_rows, lr, mu, l2, l1, with_b, is_early, samples, state, count, work):
        """The step with the sum ``g`` over ``n_rows`` rows; the state and ``count`` change together."""
        row = state.shape[1]
        size = row - lanes
        for j in range(size):
            work[j] = T(g[j])
        weights = Weights(pointer(state, 0), size, pointer(count, 0), row)
        params = StepParams(n_rows, lr, mu, l2, l1, with_b)
        apply(weights, 0, pointer(work, 0), T(g[size]), n_rows, params)
        if is_early:
            restart_mean(weights)
        count[1] = samples

    return finish
