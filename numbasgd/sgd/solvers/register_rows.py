"""Register-resident rows: x, w and g all stay in vector registers; contracts in ``epoch.py``."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.sgd.rows import CHUNK, LINE, SOON, STAGGER, gather
from numbasgd.sgd.solvers.operands import Order, with_targets
from numbasgd.sgd.solvers.update import Step, make_average, make_update, make_update_intercept
from numbasgd.sgd.solvers.variant import Variant
from numbasgd.simd import vector as simd
from numbasgd.simd.vector import (
    add,
    fill,
    fma,
    like,
    load,
    load_all,
    load_row,
    prefetch,
    prefetch_near,
    store,
    widen,
    zeros,
)


def make_dot(made: Variant) -> Any:
    """dot(X, at, d, w): x . w for the row of d columns that begins at X[at]."""
    lanes, count = made.lanes, made.n_registers

    @jit(variant=made.name, forceinline=True)
    def dot(X, at, d, w):
        return simd.dot(load_row(X, at, lanes, count, d), load_all(w, 0, lanes, count))

    return dot


def make_prefetch(made: Variant) -> Any:
    """prefetch_ahead(samples, order, t): prefetch rows and targets after position t; see ``rows.SOON``."""
    lanes, count, is_weighted = made.lanes, made.n_registers, made.is_weighted
    FULL = (count - 1) * lanes + 1  # columns that a row has at least, known to the compiler
    LAST = count * lanes - 1  # the last element that is read of a row, or masked out behind it
    per_line = LINE // np.dtype(made.T).itemsize

    @jit(variant=made.name, forceinline=True)
    def prefetch_ahead(samples, order, t):
        X, stride, y, s, rows = samples.X, samples.si, samples.y, samples.s, order.rows
        n_rows, ahead, by_position = order.n_rows, order.ahead, samples.by_position
        if ahead > 0:
            later = t + ahead if n_rows == 0 else rows[min(t + ahead, n_rows - 1)]
            for j in range(0, FULL, per_line):
                prefetch_near(X, later * stride + j)
            nearer = t + max(ahead - STAGGER, ahead // 2)
            nearer = nearer if n_rows == 0 else rows[min(nearer, n_rows - 1)]
            prefetch_near(X, nearer * stride + LAST)
            if not by_position:
                prefetch_near(y, later)
                if is_weighted:
                    prefetch_near(s, later)
            if n_rows > 0:
                soon = rows[min(t + SOON, n_rows - 1)]
                for j in range(0, FULL, per_line):
                    prefetch(X, soon * stride + j)
                prefetch(X, soon * stride + LAST)
                if not by_position:
                    prefetch(y, soon)

    return prefetch_ahead


def make_sum_chunk(made: Variant, prefetch_ahead: Any) -> Any:
    """sum_chunk(samples, order, start, stop, w, b) -> (g, gb): sums over at most CHUNK rows, in registers."""
    slope, T, lanes, count, is_weighted = made.slope, made.T, made.lanes, made.n_registers, made.is_weighted

    @jit(variant=made.name, forceinline=True, fastmath=False)  # for the same bits wherever it is inlined
    def sum_chunk(samples, order, start, stop, w, b):
        X, d, stride, y, s = samples.X, samples.d, samples.si, samples.y, samples.s
        rows, n_rows, by_position = order.rows, order.n_rows, samples.by_position
        g = zeros(T(0), lanes, count)
        gb = T(0)
        for t in range(start, stop):
            i = t if n_rows == 0 else rows[t]
            k = t if by_position else i
            prefetch_ahead(samples, order, t)
            x = load_row(X, i * stride, lanes, count, d)
            r = T(slope(simd.dot(x, w) + b, y[k]))
            if is_weighted:
                r *= s[k]
            g = fma(fill(r, lanes), x, g)
            gb += r
        return g, gb

    return sum_chunk


def make_steps_of_one(made: Variant, prefetch_ahead: Any) -> Any:
    """steps_of_one(samples, order, start, stop, params, w, b) -> (w, b): plain steps on one row each."""
    slope, T, lanes, count, is_weighted = made.slope, made.T, made.lanes, made.n_registers, made.is_weighted

    @jit(variant=made.name, forceinline=True)
    def steps_of_one(samples, order, start, stop, params, w, b):
        """They need no g: w -= lr * slope * x.

        Bound by the dependency chain through w; where shuffled rows lie beyond the caches, by how many
        prefetches fit among the instructions that wait for it.
        """
        X, d, stride, y, s = samples.X, samples.d, samples.si, samples.y, samples.s
        rows, n_rows, by_position = order.rows, order.n_rows, samples.by_position
        lr = params.lr
        for t in range(start, stop):
            i = t if n_rows == 0 else rows[t]
            k = t if by_position else i
            prefetch_ahead(samples, order, t)
            x = load_row(X, i * stride, lanes, count, d)
            r = T(slope(simd.dot(x, w) + b, y[k]))
            if is_weighted:
                r *= s[k]
            w = fma(fill(-lr * r, lanes), x, w)
            if params.with_b:
                b -= lr * r
        return w, b

    return steps_of_one


def make_sum_registers(made: Variant, sum_chunk: Any) -> Any:
    """sum_registers(samples, order, start, stop, w, b, gathered) -> (g, gb): any number of rows, by chunks.

    gathered : scratch for a chunk of gathered rows.
    """
    T, lanes, count = made.T, made.lanes, made.n_registers
    is_weighted, is_gathered = made.is_weighted, made.is_gathered

    @jit(variant=made.name, forceinline=True)
    def sum_registers(samples, order, start, stop, w, b, gathered):
        if not is_gathered and stop - start <= CHUNK:
            if order.ahead > 0:
                return sum_chunk(samples, order, start, stop, w, b)
            # The same without the code that prefetches.
            near = with_targets(samples, samples.y, samples.s, False)
            no_prefetch = Order(order.rows, order.n_rows, 0)
            return sum_chunk(near, no_prefetch, start, stop, w, b)
        g64 = widen(zeros(T(0), lanes, count))
        gb64 = 0.0
        for c in range(start, stop, CHUNK):
            e = min(c + CHUNK, stop)
            if is_gathered:
                chunk = gather(samples, order, c, e, is_weighted, gathered)
                g, gb = sum_chunk(chunk, Order(order.rows, 0, 0), 0, e - c, w, b)
            else:
                g, gb = sum_chunk(samples, order, c, e, w, b)
            g64 = add(g64, widen(g))
            gb64 += gb
        return like(g64, w), T(gb64)

    return sum_registers


def make_sums(made: Variant) -> SimpleNamespace:
    """``dot`` and ``sum_rows``, and what ``make_steps`` needs."""
    lanes, count = made.lanes, made.n_registers
    prefetch_ahead = make_prefetch(made)
    sum_registers = make_sum_registers(made, make_sum_chunk(made, prefetch_ahead))

    @jit(variant=made.name, forceinline=True)
    def sum_rows(samples, order, start, stop, w, b, scratch):
        """scratch.g := sum of slope_i * x_i; returns the sum of slope_i."""
        g, gb = sum_registers(samples, order, start, stop, load_all(w, 0, lanes, count), b, scratch.rows)
        store(scratch.g, 0, g)
        return gb

    return SimpleNamespace(
        variant=made,
        dot=make_dot(made),
        sum_rows=sum_rows,
        sum_registers=sum_registers,
        steps_of_one=make_steps_of_one(made, prefetch_ahead),
    )


def make_steps(sums: SimpleNamespace, step: Step, name: str) -> Callable[..., Any]:
    """``steps`` on the sums of ``make_sums``."""
    made = sums.variant
    sum_registers, steps_of_one = sums.sum_registers, sums.steps_of_one
    T, lanes, n_registers = made.T, made.lanes, made.n_registers
    update, update_b, average = make_update(step, lanes), make_update_intercept(step), make_average(lanes)
    has_momentum, is_averaged = step.momentum != "", step.is_averaged
    is_plain = not (has_momentum or step.is_penalized or is_averaged or made.is_gathered)

    @jit(variant=name, forceinline=True)
    def steps(samples, order, start, stop, params, weights, scratch, outputs):
        """One step for each minibatch of the positions start <= t < stop of the order."""
        state, size, row, count = weights.state, weights.size, weights.row, weights.count
        batch_size, lr, mu, l2, l1 = params.batch_size, params.lr, params.momentum, params.l2, params.l1
        w, b = load_all(state, 0, lanes, n_registers), state[size]
        if is_plain and batch_size == 1:
            w, b = steps_of_one(samples, order, start, stop, params, w, b)
            store(state, 0, w)
            state[size] = b
            return
        v, vb = load_all(state, row, lanes, n_registers), state[row + size]
        mean, mean_b = load_all(state, 2 * row, lanes, n_registers), load(state, 2 * row + size, lanes)
        lost, lost_b = load_all(state, 3 * row, lanes, n_registers), load(state, 3 * row + size, lanes)
        for at in range(start, stop, batch_size):
            e = min(at + batch_size, stop)
            g, gb = sum_registers(samples, order, at, e, w, b, scratch.rows)
            scale = T(1) / T(e - at)
            w, v = update(w, v, g, scale, lr, mu, l2, l1)
            if params.with_b:
                b, vb = update_b(b, vb, gb, scale, lr, mu)
            if is_averaged:
                count[0] += 1
                share = T(1 / count[0])
                mean, lost = average(mean, lost, w, share)
                mean_b, lost_b = average(mean_b, lost_b, fill(b, lanes), share)
        store(state, 0, w)
        state[size] = b
        if has_momentum:
            store(state, row, v)
            state[row + size] = vb
        if is_averaged:
            store(state, 2 * row, mean)
            store(state, 2 * row + size, mean_b)
            store(state, 3 * row, lost)
            store(state, 3 * row + size, lost_b)

    return steps
