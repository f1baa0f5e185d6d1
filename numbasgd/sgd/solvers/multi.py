"""Minibatch SGD of a linear model with K outputs on a CPU: gradients, steps, whole epochs.

The same functions as in ``epoch.py``, which says what shapes and roles are, with three more arguments behind:
K, ``width``, which is K padded to whole registers, and the address of ``sum_rows`` of ``multi_kernels.py``.
Differences:
state : its rows are (d, width) weights, a row a feature, and ``width`` intercepts.
y : (n,) classes 0 to K - 1, or (n, K) targets.
work, wide : ``work_for`` entries in the dtype of X, zeros at first, and a row of the state in float64.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import types

from numbasgd import rawmem
from numbasgd.compile.options import jit
from numbasgd.sgd.losses import LOSSES
from numbasgd.sgd.model import Layout
from numbasgd.sgd.rows import LINE, aligned_zeros
from numbasgd.sgd.solvers import multi_kernels
from numbasgd.sgd.solvers.epoch import compiled, make_advance
from numbasgd.sgd.solvers.multi_kernels import STEP, SUM, VALUE, chunk_rows
from numbasgd.sgd.solvers.multi_losses import make_each
from numbasgd.sgd.solvers.update import Step, make_average, make_update
from numbasgd.simd.vector import address, lanes_for, load, pointer, pointer_to, store

if TYPE_CHECKING:
    from numbasgd.sgd.solvers.objective import Objective


def layout(d: int, outputs: int, dtype: np.dtype) -> Layout:
    """How the weights of ``outputs`` > 1 lie."""
    lanes = lanes_for(outputs, dtype.itemsize)
    width = -(-outputs // lanes) * lanes
    return Layout(d, outputs, lanes, width, d * width, (d + 1) * width)


def work_for(layout: Layout, itemsize: int) -> int:
    """The length of work: a row of the state, and what ``sum_rows`` needs."""
    few = multi_kernels.few(layout.outputs)
    return layout.length + multi_kernels.scratch_for(layout.d, layout.width, itemsize, few)


@functools.cache
def kernels(
    loss: str, dtype: np.dtype, lanes: int, few: int, is_weighted: bool, rows_dtype: np.dtype
) -> SimpleNamespace:
    """What needs no step: ``gradient`` and ``sum_loss``; ``address`` is that of ``sum_rows``."""
    entry = LOSSES[loss]
    variant = f"{loss}_outputs_{dtype.name}_{lanes}_{few}" + "_weighted" * is_weighted
    value, slope = (None if f is None else compiled(f) for f in (entry.value, entry.slope))
    slopes, values = (entry.rows or make_each)(value, slope, dtype.type, lanes, is_weighted, variant)
    sum_rows = multi_kernels.make_sums(slopes, values, dtype.type, lanes, few, rows_dtype, variant)
    sum_rows.compile((types.intp,) * multi_kernels.N_ARGUMENTS)
    first = LINE // dtype.itemsize

    @jit(variant=variant, fastmath=False)
    def gradient(X, d, base, si, sj, y, s, state, rows, start, stop, ahead, work, wide, K, width, sum_rows):
        """work := the sum of the slopes times x over some positions, a row like those of the state."""
        arguments = (
            address(X, 0), d, base, si, sj, address(y, 0), address(s, 0), address(rows, 0), rows.shape[0],
            start, stop, ahead, address(state, 0), K, width, address(work, 0), address(wide, 0),
            address(work, (d + 1) * width), SUM,
        )  # fmt: skip
        rawmem.call(sum_rows, arguments)

    @jit(variant=variant, fastmath=False)
    def sum_loss(X, d, base, si, sj, y, s, state, start, stop, work, K, width, sum_rows):
        """Sum over rows start <= i < stop of s_i * value(x_i . W + b, y_i), in float64."""
        nowhere = address(work, 0)
        arguments = (
            address(X, 0), d, base, si, sj, address(y, 0), address(s, 0), nowhere, 0, start, stop, 1,
            address(state, 0), K, width, nowhere, nowhere, address(work, first), VALUE,
        )  # fmt: skip
        rawmem.call(sum_rows, arguments)
        return pointer_to(nowhere, 0.0)[0]

    return SimpleNamespace(
        variant=variant,
        gradient=gradient,
        sum_loss=sum_loss,
        sum_rows=sum_rows,  # whose code lives as long as somebody holds it
        address=rawmem.address_of_compiled(sum_rows),
        lanes=lanes,
        T=dtype.type,
    )


def make_move(made: SimpleNamespace, step: Step) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """``move`` and ``keep``: what a step does with the sum of the gradients, and the mean of the weights."""
    lanes, has_momentum = made.lanes, step.momentum != ""
    options: dict[str, Any] = {"variant": f"{made.variant}_{step}", "forceinline": True, "fastmath": False}
    update, average = make_update(step, lanes), make_average(lanes)
    update_b = make_update(step._replace(is_penalized=False), lanes)
    T = made.T

    @jit(**options)
    def move(state, first, size, row, g, scale, lr, mu, l2, l1, with_b):
        """The weights from entry ``first`` on, and the intercepts."""
        v = pointer(state, row)
        for j in range(first, size, lanes):
            w, moved = update(
                load(state, j, lanes), load(v, j, lanes), load(g, j, lanes), scale, lr, mu, l2, l1
            )
            store(state, j, w)
            if has_momentum:
                store(v, j, moved)
        if with_b:
            for j in range(size, row, lanes):
                b, moved = update_b(
                    load(state, j, lanes), load(v, j, lanes), load(g, j, lanes), scale, lr, mu, l2, l1
                )
                store(state, j, b)
                if has_momentum:
                    store(v, j, moved)

    @jit(**options)
    def keep(state, row, count):
        count[0] += 1
        share = T(1 / count[0])
        mean, lost = pointer(state, 2 * row), pointer(state, 3 * row)
        for j in range(0, row, lanes):
            m, rest = average(load(mean, j, lanes), load(lost, j, lanes), load(state, j, lanes), share)
            store(mean, j, m)
            store(lost, j, rest)

    return move, keep


@functools.cache
def advance_kernel(
    loss: str, dtype: np.dtype, lanes: int, few: int, is_weighted: bool, rows_dtype: np.dtype, step: Step
) -> Callable[..., Any]:
    """``advance`` of ``epoch.py`` for K outputs."""
    made = kernels(loss, dtype, lanes, few, is_weighted, rows_dtype)
    move, keep = make_move(made, step)
    variant, T = f"{made.variant}_{step}", dtype.type
    is_plain, is_averaged = not (step.momentum or step.is_penalized), step.is_averaged

    @jit(variant=variant, forceinline=True, fastmath=False)
    def steps(samples, order, start, stop, params, weights, memory, outputs):
        """One step for each minibatch of the positions start <= t < stop of ``rows``.

        A plain step on one row needs no gradient: the row is added to the weights.
        """
        X, d, base, si, sj, y, s, _ = samples
        rows, n_rows, ahead = order
        batch_size, lr, mu, l2, l1, with_b = params
        state, size, count, _ = weights
        g, wide, room = memory
        K, width, sum_rows = outputs
        row = size + width
        scratch = address(room, width)
        for at in range(start, stop, batch_size):
            e = min(at + batch_size, stop)
            is_direct = is_plain and e - at == 1
            if is_direct:
                g[0] = -lr
            arguments = (
                address(X, 0), d, base, si, sj, address(y, 0), address(s, 0), address(rows, 0), n_rows, at, e,
                ahead, address(state, 0), K, width, address(g, 0), address(wide, 0), scratch,
                STEP if is_direct else SUM,
            )  # fmt: skip
            rawmem.call(sum_rows, arguments)
            scale = T(1) / T(e - at)
            move(state, size if is_direct else 0, size, row, g, scale, lr, mu, l2, l1, with_b)
            if is_averaged:
                keep(state, row, count)

    return make_advance(steps, variant)


@functools.cache
def make_big(
    loss: str, dtype: np.dtype, lanes: int, few: int, is_weighted: bool, rows_dtype: np.dtype, step: Step
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """``add_part`` and ``finish`` of ``large_batch.py`` for K outputs."""
    made = kernels(loss, dtype, lanes, few, is_weighted, rows_dtype)
    sum_part = made.gradient
    move, keep = make_move(made, step)
    is_averaged, T = step.is_averaged, dtype.type

    @jit(variant=made.variant, fastmath=False)
    def add_part(X, d, base, si, sj, y, s, rows, start, stop, ahead, state, g, work, wide, K, width, sum_rows):
        sum_part(X, d, base, si, sj, y, s, state, rows, start, stop, ahead, work, wide, K, width, sum_rows)
        for j in range(state.shape[1]):
            g[j] += work[j]

    @jit(variant=f"{made.variant}_{step}", fastmath=False)
    def finish(g, n_rows, lr, mu, l2, l1, with_b, is_early, samples, state, count, work, K, width, sum_rows):
        row = state.shape[1]
        for j in range(row):
            work[j] = T(g[j])
        places = pointer(state, 0)
        move(places, 0, row - width, row, pointer(work, 0), T(1) / T(n_rows), lr, mu, l2, l1, with_b)
        if is_averaged:
            keep(places, row, pointer(count, 0))
        if is_early:
            count[0] = 0
            for j in range(state.shape[1]):  # whole rows at once would compile for seconds
                state[2, j] = state[0, j]
                state[3, j] = 0
        count[1] = samples

    return add_part, finish


def product_rows(objective: Objective, n: int) -> set[int]:
    """The numbers of rows whose products n rows together need; none where products are not called."""
    layout, itemsize = objective.layout, objective.y.itemsize
    few = multi_kernels.few(layout.outputs)
    if few:
        return set()
    most = chunk_rows(layout.d, itemsize, few)
    return {min(n, most), n % most} - {0}


def rehearse(
    objective: Objective, counts: tuple[int, ...], order: np.ndarray, scratch: np.ndarray, scratch64: np.ndarray
) -> None:
    """Have the products compiled that gradients over so many rows will need.

    order : an array like those that say which rows, of length 0 for sequential order.
    """
    state = aligned_zeros((1, objective.layout.length), scratch.dtype)
    for m in set().union(*(product_rows(objective, count) for count in counts)):
        first = np.zeros(m if order.size else 0, order.dtype)
        gradient_sum(objective, state, first, m, scratch, scratch64)


def gradient_sum(
    objective: Objective, state: np.ndarray, order: np.ndarray, count: int, work: np.ndarray, wide: np.ndarray
) -> np.ndarray:
    """The sum of the gradients of ``count`` rows, those of ``order`` unless it is empty; (d + 1, K)."""
    objective.kernels.gradient(*objective.samples, state, order, 0, count, 0, work, wide, *objective.outputs)
    return objective.layout.take(work[: objective.layout.length])
