"""Sparse rows: what kernels do along the stored entries of rows, for one output and for K.

Shapes and roles besides those of ``epoch.py`` and ``multi.py``:
samples : X the stored entries of all rows, one row after the other; base and si the addresses of ``indptr``,
int64 (n + 1), and of ``indices``, int32: row i has the entries p from indptr[i] to indptr[i + 1], in columns
indices[p].
Z : m rows of ``width`` predictions, later slopes; width is 1 for one output.
lazy : what is known of weights that are not up to date, as ``sparse_lazy.py`` has it.

The contracts of what ``make_passes`` gives:
dots(samples, order, start, stop, w, lazy, Z, width) : Z := x_i . w for the positions start <= t < stop.  With
``has_l1`` the weights of their columns are brought up to date first.
add(samples, order, start, stop, Z, w, lazy, width) : w += sum of Z_i x_i over the positions.
Arguments are trusted: ``numbasgd.sgd.csr`` has looked at every index.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.simd.vector import add as plus
from numbasgd.simd.vector import (
    fill,
    fma,
    larger,
    load,
    mul,
    pointer,
    pointer_to,
    prefetch,
    prefetch_near,
    smaller,
    store,
    sub,
    widen,
)

LINE = 64  # bytes of a cache line
#: Where things are in ``lazy``: the scale of the weights; the threshold that a weight never touched is behind;
#: the sum of the scales, and the number, of the steps in the mean that is not yet settled; the threshold that
#: each column has seen, or the sum of what moved each weight times the sum of scales before.
SCALE, THRESHOLD, SCALES, STEPS, BEHIND = 0, 1, 2, 3, 8


class Passes(NamedTuple):
    """What the passes over stored entries are compiled for.

    T : np.float32 or np.float64.  lanes : outputs in a register, 0 for one output.
    has_l1, is_averaged : whether weights have to be brought up to date, and the mean over steps is kept.
    """

    T: Any
    lanes: int
    has_l1: bool = False
    is_averaged: bool = False

    def __str__(self) -> str:
        kind = "_l1" * self.has_l1 + "_averaged" * self.is_averaged
        return f"sparse_{self.T.__name__}_{self.lanes}{kind}"


@jit(inline="always")
def stored(samples):
    """``indptr`` and ``indices`` of the rows."""
    return pointer_to(samples.base, np.int64(0)), pointer_to(samples.si, np.int32(0))


@functools.cache
def make_prefetch(T: Any) -> Any:
    """prefetch_row(samples, order, t): prefetch the rows that are ``order.ahead`` positions ahead."""
    ENTRIES, COLUMNS = LINE // np.dtype(T).itemsize, LINE // 4

    @jit(variant=T.__name__, forceinline=True)
    def prefetch_row(samples, order, t):
        begins, columns = stored(samples)
        last = order.n_rows - 1
        far = order.rows[min(t + 2 * order.ahead, last)]
        prefetch(begins, far)
        prefetch(samples.y, far)
        i = order.rows[min(t + order.ahead, last)]
        start, stop = begins[i], begins[i + 1]
        for p in range(start, stop, ENTRIES):
            prefetch_near(samples.X, p)
        for p in range(start, stop, COLUMNS):
            prefetch_near(columns, p)

    return prefetch_row


@functools.cache
def make_passes(made: Passes) -> tuple[Any, Any]:
    """``dots`` and ``add``."""
    has_l1, name = made.has_l1, str(made)
    prefetch_row = make_prefetch(made.T)
    catch_up, dot_row, add_row = (_make_many if made.lanes else _make_one)(made)

    @jit(variant=name, forceinline=True)
    def dots(samples, order, start, stop, w, lazy, Z, width):
        begins, _ = stored(samples)
        for t in range(start, stop):
            i = t
            if order.n_rows > 0:
                i = order.rows[t]
                if order.ahead > 0:
                    prefetch_row(samples, order, t)
            if has_l1:
                catch_up(samples, begins[i], begins[i + 1], w, lazy, width)
            dot_row(samples, begins[i], begins[i + 1], w, Z, (t - start) * width, width)

    @jit(variant=name, forceinline=True)
    def add(samples, order, start, stop, Z, w, lazy, width):
        begins, _ = stored(samples)
        for t in range(start, stop):
            i = t if order.n_rows == 0 else order.rows[t]
            add_row(samples, begins[i], begins[i + 1], Z, (t - start) * width, w, lazy, width)

    return dots, add


# What these two make, for the entries start <= p < stop of a row, whose predictions or slopes begin at Z[at]:
# catch_up(samples, start, stop, w, lazy, width) : move the weights of their columns towards 0 by the thresholds
# of the steps since.
# dot_row(samples, start, stop, w, Z, at, width) : Z := x . w.
# add_row(samples, start, stop, Z, at, w, lazy, width) : w += Z x.


def _make_one(made: Passes) -> tuple[Any, Any, Any]:
    """For one output: a weight is a number."""
    T, is_averaged, name = made.T, made.is_averaged, str(made)

    @jit(variant=name, forceinline=True)
    def catch_up(samples, start, stop, w, lazy, width):
        _, columns = stored(samples)
        total = lazy[THRESHOLD]
        for p in range(start, stop):
            j = columns[p]
            t = T(total - lazy[BEHIND + j])
            lazy[BEHIND + j] = total
            w[j] -= min(max(w[j], -t), t)

    @jit(variant=name, forceinline=True)
    def dot_row(samples, start, stop, w, Z, at, width):
        X = samples.X
        _, columns = stored(samples)
        z = T(0)
        for p in range(start, stop):
            z += X[p] * w[columns[p]]
        Z[at] = z

    @jit(variant=name, forceinline=True)
    def add_row(samples, start, stop, Z, at, w, lazy, width):
        X = samples.X
        _, columns = stored(samples)
        z, scales = Z[at], lazy[SCALES]
        for p in range(start, stop):
            j = columns[p]
            move = z * X[p]
            w[j] += move
            if is_averaged:
                lazy[BEHIND + j] += scales * move

    return catch_up, dot_row, add_row


def _make_many(made: Passes) -> tuple[Any, Any, Any]:
    """For K outputs: the weights of a column are registers."""
    T, lanes, is_averaged, name = made.T, made.lanes, made.is_averaged, str(made)

    @jit(variant=name, forceinline=True)
    def catch_up(samples, start, stop, w, lazy, width):
        _, columns = stored(samples)
        total = lazy[THRESHOLD]
        for p in range(start, stop):
            j = columns[p]
            t = T(total - lazy[BEHIND + j])
            lazy[BEHIND + j] = total
            for k in range(j * width, (j + 1) * width, lanes):
                x = load(w, k, lanes)
                store(w, k, sub(x, smaller(larger(x, fill(-t, lanes)), fill(t, lanes))))

    @jit(variant=name, forceinline=True)
    def dot_row(samples, start, stop, w, Z, at, width):
        X = samples.X
        _, columns = stored(samples)
        for k in range(0, width, lanes):
            z = fill(T(0), lanes)
            for p in range(start, stop):
                z = fma(fill(X[p], lanes), load(w, columns[p] * width + k, lanes), z)
            store(Z, at + k, z)

    @jit(variant=name, forceinline=True)
    def add_row(samples, start, stop, Z, at, w, lazy, width):
        X = samples.X
        _, columns = stored(samples)
        scales, sums = fill(lazy[SCALES], lanes), pointer(lazy, BEHIND)
        for k in range(0, width, lanes):
            z = load(Z, at + k, lanes)
            for p in range(start, stop):
                j = columns[p] * width + k
                if is_averaged:
                    move = mul(fill(X[p], lanes), z)
                    store(w, j, plus(load(w, j, lanes), move))
                    store(sums, j, fma(scales, widen(move), load(sums, j, lanes)))
                else:
                    store(w, j, fma(fill(X[p], lanes), z, load(w, j, lanes)))

    return catch_up, dot_row, add_row
