"""Steps on sparse rows that move all weights: the gradient is summed over stored entries, the step is any.

Shapes and roles as in ``sparse_rows.py``.  A step takes time of all d weights.  That is no more than its rows
take where they have as many stored entries, and there the sums are made in float64; for fewer,
``sparse_lazy.py`` has the settings that allow it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.sgd.losses import loss_named
from numbasgd.sgd.rows import CHUNK
from numbasgd.sgd.solvers.epoch import compiled, make_advance
from numbasgd.sgd.solvers.multi_losses import make_each
from numbasgd.sgd.solvers.operands import Order, Outputs, samples_of
from numbasgd.sgd.solvers.sparse_rows import Passes, make_passes, stored
from numbasgd.sgd.solvers.update import Step, make_apply
from numbasgd.simd.vector import add as plus
from numbasgd.simd.vector import fill, fma, load, pointer, store, widen

_SEQUENTIAL = np.empty(0, np.int64)


class Variant(NamedTuple):
    """A loss, by its key, of predictions of a dtype; lanes : those of its row of outputs, 0 for one output."""

    loss: str
    T: Any
    lanes: int
    is_weighted: bool

    def __str__(self) -> str:
        return f"{self.loss}_sparse_{self.T.__name__}_{self.lanes}" + "_weighted" * self.is_weighted


@functools.cache
def make_losses(made: Variant) -> tuple[Any, Any]:
    """``slopes`` and ``values`` of ``multi_losses.py``; one output is a row of one."""
    entry = loss_named(made.loss)
    value, slope = (None if f is None else compiled(f) for f in (entry.value, entry.slope))
    return (entry.rows or make_each)(value, slope, made.T, made.lanes or 1, made.is_weighted, str(made))


@functools.cache
def make_sum_loss(made: Variant) -> Any:
    """``sum_loss`` for one output or K."""
    dots, _ = make_passes(Passes(made.T, made.lanes))
    _, values = make_losses(made)

    @jit(variant=str(made), fastmath=False)
    def sum_loss(samples, row, size, start, stop, work, outputs):
        """Sum over rows start <= i < stop of s_i * value(x_i . w + b, y_i), in float64.

        row : of a state.  size : where its intercepts begin.  work : CHUNK rows of Z.
        """
        given, order = samples_of(samples), Order(pointer(_SEQUENTIAL, 0), 0, 0)
        w, Z = pointer(row, 0), pointer(work, 0)
        K, width, _ = outputs
        total = 0.0
        for at in range(start, stop, CHUNK):
            e = min(at + CHUNK, stop)
            dots(given, order, at, e, w, None, Z, width)
            total += values(Z, pointer(row, size), given, at, e - at, Outputs(K, width, 0))
        return total

    return sum_loss


@functools.cache
def make_add_sums(T: Any, lanes: int) -> Any:
    """add_sums(samples, order, start, stop, Z, g, size, width): g += the sums of Z_i x_i and, at size, of Z_i.

    g : float64, as a row of the state.
    """

    @jit(variant=f"{T.__name__}_{lanes}", forceinline=True, fastmath=False)
    def add_sums(samples, order, start, stop, Z, g, size, width):
        X = samples.X
        begins, columns = stored(samples)
        for t in range(start, stop):
            i = t if order.n_rows == 0 else order.rows[t]
            at = (t - start) * width
            if lanes == 0:
                z = np.float64(Z[at])
                for p in range(begins[i], begins[i + 1]):
                    g[columns[p]] += z * X[p]
                g[size] += z
            else:
                for k in range(0, width, lanes):
                    z = widen(load(Z, at + k, lanes))
                    for p in range(begins[i], begins[i + 1]):
                        j = columns[p] * width + k
                        store(g, j, fma(fill(np.float64(X[p]), lanes), z, load(g, j, lanes)))
                    store(g, size + k, plus(z, load(g, size + k, lanes)))

    return add_sums


@functools.cache
def make_add_gradients(made: Variant) -> Any:
    """add_gradients(samples, order, start, stop, w, size, (Z, g), outputs): g += the sum of the gradients.

    w, size : a row of the state, and where its intercepts begin.  Z : CHUNK rows.  g : float64, as such a row.
    """
    dots, _ = make_passes(Passes(made.T, made.lanes))
    slopes, _ = make_losses(made)
    add_sums = make_add_sums(made.T, made.lanes)

    @jit(variant=str(made), forceinline=True, fastmath=False)
    def add_gradients(samples, order, start, stop, w, size, memory, outputs):
        Z, g = memory
        K, width, _ = outputs
        for c in range(start, stop, CHUNK):
            m = min(CHUNK, stop - c)
            dots(samples, order, c, c + m, w, None, Z, width)
            slopes(Z, pointer(w, size), samples, order, c, m, Outputs(K, width, 0))
            add_sums(samples, order, c, c + m, Z, g, size, width)

    return add_gradients


@functools.cache
def make_gradient(made: Variant) -> Any:
    """``gradient`` for one output or K."""
    add_gradients = make_add_gradients(made)

    @jit(variant=str(made), fastmath=False)
    def gradient(samples, rows, row, size, work, g, outputs):
        """g += the sum of the gradients over the rows, or all if ``rows`` is empty; roles as above."""
        given, n_rows = samples_of(samples), rows.shape[0]
        count = n_rows if n_rows > 0 else samples[5].shape[0]
        order = Order(pointer(rows, 0), n_rows, 0)
        w, Z, total = pointer(row, 0), pointer(work, 0), pointer(g, 0)
        add_gradients(given, order, 0, count, w, size, (Z, total), outputs)

    return gradient


@functools.cache
def advance_kernel(made: Variant, lanes: int, step: Step) -> Callable[..., Any]:
    """``advance`` of ``epoch.py``: scratch is (a row of the state and CHUNK rows of Z, a row in float64).

    lanes : of a row of the state.
    """
    T, name = made.T, f"{made}_{step}"
    add_gradients = make_add_gradients(made)
    apply = make_apply(step, lanes, T, has_outputs=made.lanes > 0)

    @jit(variant=name, forceinline=True, fastmath=False)
    def steps(samples, order, start, stop, params, weights, scratch, outputs):
        """One step for each minibatch of the positions start <= t < stop of ``order``."""
        w, size, row, g, g64 = weights.state, weights.size, weights.row, scratch.g, scratch.scratch64
        Z = pointer(g, row)
        for at in range(start, stop, params.batch_size):
            e = min(at + params.batch_size, stop)
            for j in range(row):
                g64[j] = 0.0
            add_gradients(samples, order, at, e, w, size, (Z, g64), outputs)
            for j in range(row):
                g[j] = T(g64[j])
            apply(weights, 0, g, None, e - at, params)

    return make_advance(steps, name)
