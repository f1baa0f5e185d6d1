"""Minibatch SGD on a CPU: gradients, steps and whole epochs of a linear model, one pass over the rows.

``kernels(loss, d, dtype, ...)`` gives the compiled functions for rows of ``d`` columns.  There are two families
with the same contracts.  *Narrow* rows fit a few vector registers (8 where there are 32): the weights then
stay in registers for a whole epoch and a step touches no memory but its rows.  *Wide* rows take more.

Shapes and roles, the same everywhere:
X : 1-D view of the memory that holds the rows, float32 or float64, in; see ``rows.Rows`` for base, si and sj.
y : (n,) targets, same dtype, in.  s : (n,) sample weights with mean 1, or of length 0, in.
by_position : whether y and s are those of the positions in ``rows``, and not of the rows themselves; only where
memory is asked for ahead.
rows : integers, the order in which rows are taken; of length 0 when that is 0, 1, 2, ...
ahead : how many rows ahead memory is asked for, 0 for none; wide rows as they lie have their own distance.
w : weights, padded with zeros to whole registers (``padded(d, lanes)``), in and out.  g : like w.
state : (4, padded(d, lanes) + lanes) in and out; row 0 the weights and behind the padding the intercept, row 1
their velocities (momentum), row 2 their means over the steps (averaging), row 3 what rounding took from these.
count : (2,) steps in that mean, and samples seen, in and out.
work, wide : room in the dtype of X (``work_for`` entries) and in float64 (``padded(d, lanes)`` entries).
Arguments are trusted; ``numbasgd.train`` and ``numbasgd.gradient`` are the checked ways in.

Sums over many rows are made in two levels, CHUNK rows in the dtype of X and the chunks in float64, so the
rounding error of a float32 gradient does not grow with the number of rows (Higham, Accuracy and Stability of
Numerical Algorithms, 2nd ed., section 4.2).  ``reduce.py`` makes a third level of them, for several threads.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from numbasgd import rawmem
from numbasgd.compile.options import jit
from numbasgd.sgd.losses import LOSSES
from numbasgd.sgd.order import fill_order
from numbasgd.sgd.rows import CHUNK, gather, room_for
from numbasgd.sgd.solvers import register_rows, streamed_rows
from numbasgd.sgd.solvers.order_prefetch import AT
from numbasgd.sgd.solvers.update import PLAIN, Step
from numbasgd.simd.vector import address, lanes_for, most_registers, pointer

_name = functools.cache(str)  # of a dtype, which NumPy puts together anew each time
_IN_ORDER = np.empty(0, np.int64)


def padded(d: int, lanes: int) -> int:
    """The length of w and g in whole registers."""
    return max(1, -(-d // lanes)) * lanes


def registers(d: int, lanes: int) -> int:
    """Registers of a narrow row, or 0 for a wide one."""
    count = max(1, -(-d // lanes))
    return count if count <= most_registers() else 0


def work_for(d: int, lanes: int, is_gathered: bool) -> int:
    """The length of work: two times w, and a chunk of gathered rows."""
    return 2 * padded(d, lanes) + room_for(d, is_gathered)


@functools.cache
def kernels(
    loss: str, d: int, dtype: np.dtype, is_weighted: bool = False, is_gathered: bool = False
) -> SimpleNamespace:
    """What needs no step, for one loss and rows of ``d`` columns; see the contracts above.

    ``lanes`` : floats in a register.  ``sums`` : what the functions below, and parts, are made of.
    ``gradient(..., w, b, rows, ahead, out, work, wide)`` : the mean gradient; w and out unpadded.
    ``sum_loss(..., w, b, start, stop, work)`` : the sum of the losses of some rows, in float64.
    """
    lanes = lanes_for(d, dtype.itemsize)
    return _make_sums(loss, _name(dtype), lanes, registers(d, lanes), is_weighted, is_gathered)


@functools.cache
def advance_kernel(
    loss: str,
    d: int,
    dtype: np.dtype,
    is_weighted: bool = False,
    is_gathered: bool = False,
    step: Step = PLAIN,
) -> Callable[..., Any]:
    """The compiled function that makes steps; see ``advance`` below."""
    lanes = lanes_for(d, dtype.itemsize)
    return _make_advance(loss, _name(dtype), lanes, registers(d, lanes), is_weighted, is_gathered, step)


@functools.cache
def compiled(function: Callable[..., Any]) -> Any:
    """One dispatcher for each function of a loss."""
    return jit(function)


@functools.cache
def _make_sums(
    loss: str, dtype: str, lanes: int, count: int, is_weighted: bool, is_gathered: bool
) -> SimpleNamespace:
    value, slope = compiled(LOSSES[loss].value), compiled(LOSSES[loss].slope)
    T = getattr(np, dtype)
    variant = f"{loss}_{dtype}_{lanes}_{count or 'wide'}"
    variant += "_weighted" * is_weighted + "_gathered" * is_gathered
    family = register_rows if count else streamed_rows
    sums = family.make_sums(slope, T, lanes, count, is_weighted, is_gathered, variant)
    dot, sum_rows = sums.dot, sums.sum_rows

    @jit(variant=variant)
    def gradient(X, d, base, si, sj, y, s, w, b, rows, ahead, out, work, wide):
        """out := (mean of slope_i * x_i, mean of slope_i) over the rows; out has d + 1 entries."""
        n_rows = rows.shape[0]
        count = n_rows if n_rows > 0 else y.shape[0]
        size = max(1, (d + lanes - 1) // lanes) * lanes
        for j in range(size):
            work[j] = w[j] if j < d else 0
        gb = sum_rows(
            pointer(X, 0), d, base, si, sj, pointer(y, 0), pointer(s, 0), pointer(rows, 0), n_rows, 0, count,
            ahead, pointer(work, 0), b, pointer(work, size), pointer(wide, 0), pointer(work, 2 * size),
        )  # fmt: skip
        for j in range(d):
            out[j] = work[size + j] / count
        out[d] = gb / count

    @jit(variant=variant)
    def sum_loss(X, d, base, si, sj, y, s, w, b, start, stop, work):
        """Sum over rows start <= i < stop of s_i * value(x_i . w + b, y_i), in float64."""
        acc = 0.0
        in_order = pointer(_IN_ORDER, 0)
        Xp, yp, sp, wp, room = pointer(X, 0), pointer(y, 0), pointer(s, 0), pointer(w, 0), pointer(work, 0)
        for c in range(start, stop, CHUNK):
            e = min(c + CHUNK, stop)
            if is_gathered:
                gather(Xp, d, base, si, sj, yp, sp, is_weighted, in_order, 0, c, e, room)
            for i in range(c, e):
                z = dot(room, (i - c) * d, d, wp) if is_gathered else dot(Xp, i * si, d, wp)
                v = value(np.float64(z + b), np.float64(yp[i]))
                acc += v * sp[i] if is_weighted else v
        return acc

    return SimpleNamespace(
        lanes=lanes, sums=sums, value=value, dtype=np.dtype(T), is_weighted=is_weighted,
        is_gathered=is_gathered, variant=variant, gradient=gradient, sum_loss=sum_loss,
    )  # fmt: skip


@functools.cache
def _make_advance(
    loss: str, dtype: str, lanes: int, count: int, is_weighted: bool, is_gathered: bool, step: Step
) -> Callable[..., Any]:
    made = _make_sums(loss, dtype, lanes, count, is_weighted, is_gathered)
    variant = f"{made.variant}_{step}"
    family = register_rows if count else streamed_rows
    steps = family.make_steps(made.sums, getattr(np, dtype), lanes, count, step, variant)
    return make_advance(steps, variant)


def make_advance(steps: Callable[..., Any], variant: str) -> Callable[..., Any]:
    """``advance`` on ``steps`` of one family of kernels."""

    @jit(variant=variant)
    def advance(
        X, d, base, si, sj, y, s, window, targets, drawn, task, sampling, seed, end, ahead, batch_size, lrs,
        mu, l2, l1, with_b, average_from, state, size, count, work, wide, *outputs
    ):  # fmt: skip
        """The steps up to sample number ``end``, counted over all epochs; no Python in between.

        window, targets, drawn, task : as in ``order_prefetch.py``.
        size : where the intercept begins in a row of the state.  outputs : nothing, or as in ``multi.py``.
        lrs : learning rates of the epochs; the last one stays.  average_from : samples before averaging.
        ``end`` must fall between two steps.  There is one place that makes steps, so that stopping in between
        cannot change how sums are rounded.
        """
        n = y.shape[0]
        room = window.shape[1]
        number = 0
        while count[1] < end:
            begin = count[1]
            epoch = begin // n
            first = epoch * n
            start = begin - first
            stop = min(n, end - first)
            lr = lrs[min(epoch, lrs.shape[0] - 1)]
            is_early = begin < average_from
            if is_early:
                steps_before = (average_from - begin + batch_size - 1) // batch_size
                stop = min(stop, start + steps_before * batch_size)
            offset, n_rows, slot = 0, 0, 0
            if room > 0:
                if drawn[0] != epoch or start < drawn[1] or start >= drawn[2]:
                    if task.shape[0] > 0:
                        told = address(task, 0)
                        number = rawmem.call(rawmem.get(told + AT.next), (told, epoch, start, end, number))
                    else:
                        fill_order(window[0], n, sampling, seed, epoch, 0, 0)
                        drawn[0], drawn[1], drawn[2], drawn[4] = epoch, 0, n, n
                stop = min(stop, drawn[2])
                offset, slot = drawn[1], drawn[3]
                n_rows = drawn[4] - offset
            yp, sp = pointer(y, 0), pointer(s, 0)
            if slot > 0:
                yp = pointer(targets, slot * targets.shape[1])
                sp = pointer(targets, slot * targets.shape[1] + rawmem.get(address(task, 0) + AT.length))
            steps(
                pointer(X, 0), d, base, si, sj, yp, sp, slot > 0, pointer(window, slot * room), n_rows,
                start - offset, stop - offset, ahead, batch_size, lr, mu, l2, l1, with_b, pointer(state, 0),
                size, pointer(count, 0), pointer(work, 0), pointer(wide, 0), pointer(work, size),
                *outputs,
            )  # fmt: skip
            if is_early:  # the mean begins anew, from a place that does not depend on where calls end
                count[0] = 0
                for j in range(state.shape[1]):  # whole rows at once would compile for seconds
                    state[2, j] = state[0, j]
                    state[3, j] = 0
            count[1] = first + stop
        if number > 0:
            told = address(task, 0)
            rawmem.call(rawmem.get(told + AT.dismiss), (told,))

    return advance
