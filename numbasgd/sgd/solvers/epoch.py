"""Minibatch SGD on a CPU: gradients, steps and whole epochs of a linear model, one pass over the rows.

``kernels(loss, d, dtype, ...)`` gives the compiled functions for a loss, by its ``losses.loss_key``, and
rows of ``d`` columns.  There are two families with the same contracts.  *Register-resident* rows fit
a few vector registers (8 where there are 32): then the weights stay in registers for a whole epoch, and a step
touches no memory but its rows.  *Streamed* rows take more.

Python passes plain tuples of arrays and numbers; compiled functions pass on what ``operands.py`` makes of them.
samples : (memory, d, base, si, sj, y, s).  memory : 1-D view of the memory that holds the rows, float32 or
float64, in; see ``rows.Rows`` for base, si and sj.  y : (n,) targets, same dtype, in.  s : (n,) sample weights
with mean 1, or of length 0, in.
order : of ``gradient`` (rows, ahead), rows as integers, of length 0 for 0, 1, 2, ...; of ``advance`` that of
``order_prefetch.py`` and ahead: how many rows ahead memory is prefetched, 0 for none.  Streamed rows in
sequential order have a distance of their own.
step : (batch_size, lrs, spans, momentum, l2, l1, intercept, average_from): learning rates and, as
``schedule.Spans``, for which steps each of them is; whether the intercept is trained; samples before the first
averaged step.
state : (rows, size, count).  rows : (4, padded(d, lanes) + lanes) in and out; row 0 the weights and behind the
padding, at ``size``, the intercept, row 1 their velocities (momentum), row 2 their means over the steps
(averaging), row 3 what rounding took from these.  count : (2,) steps in that mean, and samples seen, in and
out.
scratch : (work, scratch64), ``work_for`` entries in the dtype of X and ``padded(d, lanes)`` in float64.
outputs : nothing, or as in ``multi.py``.

The contracts of a family's functions:
dot(X, at, d, w) : the dot product of the row at X[at] and w, padded with zeros to whole registers.
sum_rows(samples, order, start, stop, w, b, scratch) : scratch.g := the sum of slope_i * x_i over the positions
start <= t < stop of the order; returns that of slope_i.
steps(samples, order, start, stop, params, weights, scratch, outputs) : a step for each minibatch of them.
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
from numbasgd.sgd.losses import loss_named
from numbasgd.sgd.order import fill_order
from numbasgd.sgd.rows import CHUNK, gather, gathered_size
from numbasgd.sgd.solvers import register_rows, streamed_rows
from numbasgd.sgd.solvers.operands import (
    Order,
    Scratch,
    StepParams,
    Weights,
    samples_of,
    with_targets,
)
from numbasgd.sgd.solvers.order_prefetch import AT
from numbasgd.sgd.solvers.update import PLAIN, Step, restart_mean
from numbasgd.sgd.solvers.variant import Variant
from numbasgd.simd.vector import address, lanes_for, most_registers, pointer

_name = functools.cache(str)  # of a dtype, which NumPy puts together anew each time
_SEQUENTIAL = np.empty(0, np.int64)


def padded(d: int, lanes: int) -> int:
    """The length of w and g in whole registers."""
    return max(1, -(-d // lanes)) * lanes


def registers(d: int, lanes: int) -> int:
    """Registers of a row that stays in them, or 0 for a streamed one."""
    count = max(1, -(-d // lanes))
    return count if count <= most_registers() else 0


def work_for(d: int, lanes: int, is_gathered: bool) -> int:
    """The length of work: two times w, and a chunk of gathered rows."""
    return 2 * padded(d, lanes) + gathered_size(d, is_gathered)


@functools.cache
def kernels(
    loss: str, d: int, dtype: np.dtype, is_weighted: bool = False, is_gathered: bool = False
) -> SimpleNamespace:
    """What needs no step, for one loss and rows of ``d`` columns; see the contracts above.

    ``lanes`` : floats in a register.  ``sums`` : what the functions below, and parts, are made of.
    ``gradient(samples, order, w, b, out, scratch)`` : the mean gradient; w and out unpadded.
    ``sum_loss(samples, w, b, start, stop, work)`` : the sum of the losses of some rows, in float64.
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
    entry = loss_named(loss)
    value, slope = compiled(entry.value), compiled(entry.slope)
    T = getattr(np, dtype)
    name = f"{loss}_{dtype}_{lanes}_{count or 'streamed'}"
    name += "_weighted" * is_weighted + "_gathered" * is_gathered
    made = Variant(slope, T, lanes, count, is_weighted, is_gathered, name)
    sums = (register_rows if count else streamed_rows).make_sums(made)
    return SimpleNamespace(
        lanes=lanes, sums=sums, value=value, dtype=np.dtype(T), is_weighted=is_weighted,
        is_gathered=is_gathered, variant=name, gradient=_make_gradient(made, sums.sum_rows),
        sum_loss=_make_sum_loss(made, value, sums.dot),
    )  # fmt: skip


def _make_gradient(made: Variant, sum_rows: Any) -> Any:
    lanes = made.lanes

    @jit(variant=made.name)
    def gradient(samples, order, w, b, out, scratch):
        """out := (mean of slope_i * x_i, mean of slope_i) over the rows; out has d + 1 entries."""
        given = samples_of(samples)
        rows, ahead = order
        work, scratch64 = scratch
        d, n_rows = given.d, rows.shape[0]
        count = n_rows if n_rows > 0 else samples[5].shape[0]
        size = max(1, (d + lanes - 1) // lanes) * lanes
        for j in range(size):
            work[j] = w[j] if j < d else 0
        memory = Scratch(pointer(work, size), pointer(scratch64, 0), pointer(work, 2 * size))
        taken = Order(pointer(rows, 0), n_rows, ahead)
        gb = sum_rows(given, taken, 0, count, pointer(work, 0), b, memory)
        for j in range(d):
            out[j] = work[size + j] / count
        out[d] = gb / count

    return gradient


def _make_sum_loss(made: Variant, value: Any, dot: Any) -> Any:
    is_weighted, is_gathered = made.is_weighted, made.is_gathered

    @jit(variant=made.name)
    def sum_loss(samples, w, b, start, stop, work):
        """Sum over rows start <= i < stop of s_i * value(x_i . w + b, y_i), in float64."""
        given, order = samples_of(samples), Order(pointer(_SEQUENTIAL, 0), 0, 0)
        X, d, si, y, s = given.X, given.d, given.si, given.y, given.s
        wp, chunk = pointer(w, 0), pointer(work, 0)
        acc = 0.0
        for c in range(start, stop, CHUNK):
            e = min(c + CHUNK, stop)
            if is_gathered:
                gather(given, order, c, e, is_weighted, chunk)
            for i in range(c, e):
                z = dot(chunk, (i - c) * d, d, wp) if is_gathered else dot(X, i * si, d, wp)
                v = value(np.float64(z + b), np.float64(y[i]))
                acc += v * s[i] if is_weighted else v
        return acc

    return sum_loss


@functools.cache
def _make_advance(
    loss: str, dtype: str, lanes: int, count: int, is_weighted: bool, is_gathered: bool, step: Step
) -> Callable[..., Any]:
    made = _make_sums(loss, dtype, lanes, count, is_weighted, is_gathered)
    name = f"{made.variant}_{step}"
    family = register_rows if count else streamed_rows
    return make_advance(family.make_steps(made.sums, step, name), name)


@jit(inline="always")
def _draw_chunk(order, n, epoch, start, end, number):
    """Have ``drawn`` say where the rows from position ``start`` of an epoch on are, as ``next_chunk`` does.

    It is drawn anew if it is not at hand.  Returns the number of the chunk of another thread that comes next.
    """
    chunks, _, drawn, task, sampling, seed, _ = order
    if drawn[0] != epoch or start < drawn[1] or start >= drawn[2]:
        if task.shape[0] > 0:
            told = address(task, 0)
            return rawmem.call(rawmem.get(told + AT.next), (told, epoch, start, end, number))
        fill_order(chunks[0], n, sampling, seed, epoch, 0, 0)
        drawn[0], drawn[1], drawn[2], drawn[4] = epoch, 0, n, n
    return number


def make_advance(steps: Callable[..., Any], variant: str) -> Callable[..., Any]:
    """``advance`` on ``steps`` of one family of kernels."""

    @jit(variant=variant)
    def advance(samples, order, end, step, state, scratch, outputs):
        """The steps up to sample number ``end``, counted over all epochs; no Python in between.

        ``end`` must fall between two steps.  There is one place that makes steps, so that stopping in between
        cannot change how sums are rounded.
        """
        given, n = samples_of(samples), samples[5].shape[0]
        chunks, targets, drawn, task, _, _, ahead = order
        batch_size, lrs, (first_epoch, n_spans, span), momentum, l2, l1, with_b, average_from = step
        rows, size, count = state
        work, scratch64 = scratch
        weights = Weights(pointer(rows, 0), size, pointer(count, 0), rows.shape[1])
        memory = Scratch(pointer(work, 0), pointer(scratch64, 0), pointer(work, size))
        length = chunks.shape[1]
        number = np.intp(0)  # a literal would have _draw_chunk compiled once more
        while count[1] < end:
            begin = count[1]
            epoch = begin // n
            first = epoch * n
            start = begin - first
            stop = min(n, end - first)
            number_of_span = start // span
            stop = min(stop, (number_of_span + 1) * span)
            at = min((epoch - first_epoch) * n_spans + number_of_span, lrs.shape[0] - 1)
            params = StepParams(batch_size, lrs[at], momentum, l2, l1, with_b)
            is_early = begin < average_from
            if is_early:
                steps_before = (average_from - begin + batch_size - 1) // batch_size
                stop = min(stop, start + steps_before * batch_size)
            offset, n_rows, slot = 0, 0, 0
            if length > 0:
                number = _draw_chunk(order, n, epoch, start, end, number)
                stop = min(stop, drawn[2])
                offset, slot = drawn[1], drawn[3]
                n_rows = drawn[4] - offset
            y, s = given.y, given.s
            if slot > 0:
                y = pointer(targets, slot * targets.shape[1])
                s = pointer(targets, slot * targets.shape[1] + rawmem.get(address(task, 0) + AT.length))
            chunk = Order(pointer(chunks, slot * length), n_rows, ahead)
            taken = with_targets(given, y, s, slot > 0)
            steps(taken, chunk, start - offset, stop - offset, params, weights, memory, outputs)
            if is_early:  # from a place that does not depend on where calls end
                restart_mean(weights)
            count[1] = first + stop
        if number > 0:
            told = address(task, 0)
            rawmem.call(rawmem.get(told + AT.dismiss), (told,))

    return advance
