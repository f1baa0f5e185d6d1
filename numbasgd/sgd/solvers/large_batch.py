"""A step over so many rows that it is made in parts, between which Python looks up: Ctrl-C, progress.

The parts depend on the shape of the data and the batch size alone, so a step is the same whenever and
however often it is interrupted: an unfinished one leaves no trace, and is made again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.sgd.order import ORDER_CHUNK
from numbasgd.sgd.rows import CHUNK
from numbasgd.sgd.solvers.operands import StepParams, Weights
from numbasgd.sgd.solvers.update import Step, make_apply, restart_mean
from numbasgd.simd.vector import pointer

ENTRIES = 1 << 22  # of X in a part; a row counts for 8 more


def is_large(batch_size: int, d: int) -> bool:
    """Whether a step is made in parts: where several threads gain more than Python costs."""
    return batch_size * (d + 8) > ENTRIES // 2


def part_rows(d: int) -> int:
    """Rows of a part, whole chunks where there is a choice."""
    rows = max(1, ENTRIES // (d + 8))
    return rows if rows < CHUNK else rows // CHUNK * CHUNK


def chunk_rows(n: int, d: int) -> int:
    """Rows of an epoch that are drawn at once; up to ``ORDER_CHUNK`` an order must be drawn whole."""
    return n if n <= ORDER_CHUNK else min(n, part_rows(d))


@functools.cache
def make_finish(dtype: np.dtype, lanes: int, step: Step, has_outputs: bool) -> Callable[..., Any]:
    """What ends a step; contracts in ``epoch.py``, and in ``multi.py`` for ``has_outputs``."""
    T: Any = dtype.type
    apply = make_apply(step, lanes, T, has_outputs)

    @jit(variant=f"{dtype.name}_{lanes}_{step}" + "_outputs" * has_outputs)
    def finish(g, n_rows, params, is_early, samples, state, work):
        """The step with the sum ``g`` over ``n_rows`` rows; weights and counts change together.

        params : (lr, momentum, l2, l1, intercept).  state : (state, size, count).
        """
        memory, size, count = state
        row = memory.shape[1]
        for j in range(row):
            work[j] = T(g[j])
        weights = Weights(pointer(memory, 0), size, pointer(count, 0), row)
        lr, momentum, l2, l1, with_b = params
        apply(weights, 0, pointer(work, 0), None, n_rows, StepParams(n_rows, lr, momentum, l2, l1, with_b))
        if is_early:
            restart_mean(weights)
        count[1] = samples

    return finish
