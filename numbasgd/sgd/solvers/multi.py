"""Minibatch SGD of a linear model with K outputs on a CPU: gradients, steps, whole epochs.

The same functions as in ``epoch.py``, which says what shapes and roles are.  Differences:
outputs : (K, width, address), with ``width`` K padded to whole registers, and the address of ``sum_rows`` of
``multi_kernels.py``, through which all of them work.
state : its rows are (d, width) weights, a row a feature, and ``width`` intercepts.
y : (n,) classes 0 to K - 1, or (n, K) targets.
scratch : (work, scratch64), ``work_for`` entries in the dtype of X, zeros at first, and a row of the state in
float64.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from numbasgd import rawmem
from numbasgd.compile.options import jit, uncollected
from numbasgd.sgd.losses import loss_named
from numbasgd.sgd.model import Layout
from numbasgd.sgd.rows import LINE, aligned_zeros
from numbasgd.sgd.solvers import multi_kernels
from numbasgd.sgd.solvers.epoch import compiled, make_advance
from numbasgd.sgd.solvers.multi_buffers import chunk_rows, fixed_k, scratch_for
from numbasgd.sgd.solvers.multi_kernels import STEP, SUM, VALUE
from numbasgd.sgd.solvers.multi_losses import make_each
from numbasgd.sgd.solvers.operands import Order, Samples, Scratch, samples_of
from numbasgd.sgd.solvers.update import Step, make_apply
from numbasgd.simd.vector import address, lanes_for, pointer_to

if TYPE_CHECKING:
    from numbasgd.sgd.solvers.objective import ManyOutputs, Objective


def layout(d: int, outputs: int, dtype: np.dtype) -> Layout:
    """Where the weights of ``outputs`` > 1 are."""
    lanes = lanes_for(outputs, dtype.itemsize)
    width = -(-outputs // lanes) * lanes
    return Layout(d, outputs, lanes, width, d * width, (d + 1) * width)


def work_for(layout: Layout, itemsize: int) -> int:
    """The length of work: a row of the state, and what ``sum_rows`` needs."""
    return layout.length + scratch_for(layout.d, layout.width, itemsize, fixed_k(layout.outputs))


@jit(inline="always")
def _addresses(samples):
    """``Samples`` with addresses for pointers; y and s are those of the rows."""
    X, y, s = address(samples.X, 0), address(samples.y, 0), address(samples.s, 0)
    return Samples(X, samples.d, samples.base, samples.si, samples.sj, y, s, 0)


@functools.cache
def kernels(
    loss: str, dtype: np.dtype, lanes: int, FIXED_K: int, is_weighted: bool, rows_dtype: np.dtype
) -> SimpleNamespace:
    """What needs no step: ``gradient`` and ``sum_loss``; ``address`` is that of ``sum_rows``."""
    entry = loss_named(loss)
    variant = f"{loss}_outputs_{dtype.name}_{lanes}_{FIXED_K}" + "_weighted" * is_weighted
    value, slope = (None if f is None else compiled(f) for f in (entry.value, entry.slope))
    slopes, values = (entry.rows or make_each)(value, slope, dtype.type, lanes, is_weighted, variant)
    sum_rows = multi_kernels.make_sums(slopes, values, dtype.type, lanes, FIXED_K, rows_dtype, variant)
    with uncollected:
        sum_rows.compile(multi_kernels.ARGUMENTS)
    first = LINE // dtype.itemsize

    @jit(variant=variant, fastmath=False)
    def gradient(samples, order, start, stop, state, scratch, outputs):
        """work := the sum of the slopes times x over some positions, a row like those of the state.

        order : (rows, ahead).
        """
        rows, ahead = order
        work, scratch64 = scratch
        positions = Order(address(rows, 0), rows.shape[0], ahead)
        behind = address(work, (samples[1] + 1) * outputs[1])
        places = Scratch(address(work, 0), address(scratch64, 0), behind)
        given = _addresses(samples_of(samples))
        arguments = (given, positions, start, stop, address(state, 0), outputs, places, SUM)
        rawmem.call(outputs[2], arguments)

    @jit(variant=variant, fastmath=False)
    def sum_loss(samples, row, start, stop, work, outputs):
        """Sum over rows start <= i < stop of s_i * value(x_i . W + b, y_i), in float64."""
        result = address(work, 0)
        places = Scratch(result, result, address(work, first))
        rows = _addresses(samples_of(samples))
        arguments = (rows, Order(result, 0, 1), start, stop, address(row, 0), outputs, places, VALUE)
        rawmem.call(outputs[2], arguments)
        return pointer_to(result, 0.0)[0]

    return SimpleNamespace(
        variant=variant,
        gradient=gradient,
        sum_loss=sum_loss,
        sum_rows=sum_rows,  # whose code lives as long as somebody holds it
        address=rawmem.address_of_compiled(sum_rows),
        lanes=lanes,
        T=dtype.type,
    )


@functools.cache
def advance_kernel(
    loss: str, dtype: np.dtype, lanes: int, FIXED_K: int, is_weighted: bool, rows_dtype: np.dtype, step: Step
) -> Callable[..., Any]:
    """``advance`` of ``epoch.py`` for K outputs."""
    made = kernels(loss, dtype, lanes, FIXED_K, is_weighted, rows_dtype)
    variant = f"{made.variant}_{step}"
    apply = make_apply(step, lanes, made.T, has_outputs=True)
    is_plain = not (step.momentum or step.is_penalized)

    @jit(variant=variant, forceinline=True, fastmath=False)
    def steps(samples, order, start, stop, params, weights, scratch, outputs):
        """One step for each minibatch of the positions start <= t < stop of ``order``.

        A plain step on one row needs no gradient: the row is added to the weights.
        """
        g = scratch.g
        _, width, sum_rows_address = outputs
        places = Scratch(address(g, 0), address(scratch.scratch64, 0), address(scratch.rows, width))
        rows = _addresses(samples)
        positions = Order(address(order.rows, 0), order.n_rows, order.ahead)
        for at in range(start, stop, params.batch_size):
            e = min(at + params.batch_size, stop)
            is_direct = is_plain and e - at == 1
            if is_direct:
                g[0] = -params.lr
            what = STEP if is_direct else SUM
            arguments = (rows, positions, at, e, address(weights.state, 0), outputs, places, what)
            rawmem.call(sum_rows_address, arguments)
            apply(weights, weights.size if is_direct else 0, g, None, e - at, params)

    return make_advance(steps, variant)


@functools.cache
def make_add_part(
    loss: str, dtype: np.dtype, lanes: int, FIXED_K: int, is_weighted: bool, rows_dtype: np.dtype
) -> Callable[..., Any]:
    """``add_part`` of ``Sums``."""
    made = kernels(loss, dtype, lanes, FIXED_K, is_weighted, rows_dtype)
    sum_part = made.gradient

    @jit(variant=made.variant, fastmath=False)
    def add_part(samples, order, start, stop, row, scratch, outputs, g):
        """g += the sum of the gradients over some positions, for the weights in a row of the state."""
        sum_part(samples, order, start, stop, row, scratch, outputs)
        work = scratch[0]
        for j in range(row.shape[0]):
            g[j] += work[j]

    return add_part


class Sums:
    """Sums over the rows of one problem with K outputs; ``add`` is as that of ``reduce.Parts``."""

    def __init__(self, objective: ManyOutputs, work: np.ndarray, scratch64: np.ndarray) -> None:
        self._add_part = make_add_part(*objective.variant)
        self._samples, self._outputs, self._scratch = objective.samples, objective.outputs, (work, scratch64)

    def add(self, row: np.ndarray, order: np.ndarray, start: int, stop: int, ahead: int, g: np.ndarray) -> None:
        """g += the sum of the gradients over the positions start <= t < stop of ``order``; g : float64."""
        self._add_part(self._samples, (order, ahead), start, stop, row, self._scratch, self._outputs, g)


def product_rows(objective: Objective, n: int) -> set[int]:
    """The numbers of rows whose products n rows together need; none where products are not called."""
    layout, itemsize = objective.layout, objective.y.itemsize
    FIXED_K = fixed_k(layout.outputs)
    if FIXED_K:
        return set()
    most = chunk_rows(layout.d, itemsize, FIXED_K)
    return {min(n, most), n % most} - {0}


def rehearse(
    objective: Objective, counts: tuple[int, ...], order: np.ndarray, scratch: np.ndarray, scratch64: np.ndarray
) -> None:
    """Have the products compiled that gradients over so many rows will need.

    order : an array like those that say which rows, of length 0 for sequential order.
    """
    row = aligned_zeros((objective.layout.length,), scratch.dtype)
    for m in set().union(*(product_rows(objective, count) for count in counts)):
        first = np.zeros(m if order.size else 0, order.dtype)
        gradient_sum(objective, row, first, m, scratch, scratch64)


def gradient_sum(
    objective: Objective,
    row: np.ndarray,
    order: np.ndarray,
    count: int,
    scratch: np.ndarray,
    scratch64: np.ndarray,
) -> np.ndarray:
    """The sum of the gradients of ``count`` rows, those of ``order`` unless it is empty; (d + 1, K)."""
    memory = scratch, scratch64
    objective.kernels.gradient(objective.samples, (order, 0), 0, count, row, memory, objective.outputs)
    return objective.layout.take(scratch[: objective.layout.length])
