"""Rows of a few vector registers, x, w and g all held in registers; contracts in ``epoch.py``."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.sgd.rows import CHUNK, LINE, SOON, STAGGER, gather
from numbasgd.sgd.solvers.update import Step, make_average, make_update, make_update_intercept
from numbasgd.simd import vector as simd
from numbasgd.simd.vector import (
    add,
    fill,
    fma,
    like,
    load,
    load_all,
    load_row,
    pointer,
    prefetch,
    prefetch_near,
    store,
    widen,
    zeros,
)


def make_sums(
    slope: Any, T: Any, lanes: int, count: int, is_weighted: bool, is_gathered: bool, variant: str
) -> SimpleNamespace:
    """``dot`` and ``sum_rows`` for rows of ``count`` registers, and what ``make_steps`` needs."""
    FULL = (count - 1) * lanes + 1  # columns that a row has at least, known to the compiler
    LAST = count * lanes - 1  # the last element that is read of a row, or masked out behind it
    per_line = LINE // np.dtype(T).itemsize

    @jit(variant=variant, forceinline=True)
    def dot(X, at, d, w):
        return simd.dot(load_row(X, at, lanes, count, d), load_all(w, 0, lanes, count))

    @jit(variant=variant, forceinline=True)
    def ask(X, d, stride, y, s, by_position, rows, n_rows, t, ahead):
        """Ask for the row that is taken ``ahead`` rows after position t, and its target; see ``rows.SOON``."""
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

    @jit(variant=variant, forceinline=True, fastmath=False)  # for the same bits wherever it is inlined
    def sum_chunk(X, d, stride, y, s, by_position, rows, n_rows, start, stop, ahead, w, b):
        """Sums of slope_i * x_i and of slope_i over at most CHUNK rows, in registers."""
        g = zeros(T(0), lanes, count)
        gb = T(0)
        for t in range(start, stop):
            i = t if n_rows == 0 else rows[t]
            k = t if by_position else i
            ask(X, d, stride, y, s, by_position, rows, n_rows, t, ahead)
            x = load_row(X, i * stride, lanes, count, d)
            r = T(slope(simd.dot(x, w) + b, y[k]))
            if is_weighted:
                r *= s[k]
            g = fma(fill(r, lanes), x, g)
            gb += r
        return g, gb

    @jit(variant=variant, forceinline=True)
    def steps_of_one(X, d, stride, y, s, by_position, rows, n_rows, start, stop, ahead, lr, with_b, w, b):
        """Plain steps on one row each, which need no g: w -= lr * slope * x; returns (w, b).

        They are as slow as the way from one w to the next, and shuffled rows of a large X as the memory that
        can be asked for while few enough instructions wait.
        """
        for t in range(start, stop):
            i = t if n_rows == 0 else rows[t]
            k = t if by_position else i
            ask(X, d, stride, y, s, by_position, rows, n_rows, t, ahead)
            x = load_row(X, i * stride, lanes, count, d)
            r = T(slope(simd.dot(x, w) + b, y[k]))
            if is_weighted:
                r *= s[k]
            w = fma(fill(-lr * r, lanes), x, w)
            if with_b:
                b -= lr * r
        return w, b

    @jit(variant=variant, forceinline=True)
    def sum_registers(X, d, base, si, sj, y, s, by_position, rows, n_rows, start, stop, ahead, w, b, room):
        """The same over any number of rows, chunk by chunk."""
        if not is_gathered and stop - start <= CHUNK:
            if ahead > 0:
                return sum_chunk(X, d, si, y, s, by_position, rows, n_rows, start, stop, ahead, w, b)
            return sum_chunk(X, d, si, y, s, False, rows, n_rows, start, stop, 0, w, b)  # without what asks
        wide_g = widen(zeros(T(0), lanes, count))
        wide_gb = 0.0
        for c in range(start, stop, CHUNK):
            e = min(c + CHUNK, stop)
            if is_gathered:
                gather(X, d, base, si, sj, y, s, is_weighted, rows, n_rows, c, e, room)
                yr, sr = pointer(room, CHUNK * d), pointer(room, CHUNK * (d + 1))
                g, gb = sum_chunk(room, d, d, yr, sr, False, rows, 0, 0, e - c, 0, w, b)
            else:
                g, gb = sum_chunk(X, d, si, y, s, by_position, rows, n_rows, c, e, ahead, w, b)
            wide_g = add(wide_g, widen(g))
            wide_gb += gb
        return like(wide_g, w), T(wide_gb)

    @jit(variant=variant, forceinline=True)
    def sum_rows(X, d, base, si, sj, y, s, rows, n_rows, start, stop, ahead, w, b, g, wide, room):
        """g := sum of slope_i * x_i; returns the sum of slope_i."""
        wv = load_all(w, 0, lanes, count)
        gv, gb = sum_registers(X, d, base, si, sj, y, s, False, rows, n_rows, start, stop, ahead, wv, b, room)
        store(g, 0, gv)
        return gb

    return SimpleNamespace(
        dot=dot,
        sum_rows=sum_rows,
        sum_registers=sum_registers,
        steps_of_one=steps_of_one,
        is_gathered=is_gathered,
    )


def make_steps(
    sums: SimpleNamespace, T: Any, lanes: int, count: int, step: Step, variant: str
) -> Callable[..., Any]:
    """``steps`` on the sums of ``make_sums``."""
    sum_registers, steps_of_one = sums.sum_registers, sums.steps_of_one
    update, update_b, average = make_update(step, lanes), make_update_intercept(step), make_average(lanes)
    n_regs = count
    has_momentum, is_averaged = step.momentum != "", step.is_averaged
    is_plain = not (has_momentum or step.is_penalized or is_averaged or sums.is_gathered)

    @jit(variant=variant, forceinline=True)
    def steps(
        X, d, base, si, sj, y, s, by_position, rows, n_rows, start, stop, ahead, batch_size, lr, mu, l2, l1,
        with_b, state, size, count, g, wide, room,
    ):  # fmt: skip
        """One step for each minibatch of the positions start <= t < stop of ``rows``."""
        row = size + lanes
        w, b = load_all(state, 0, lanes, n_regs), state[size]
        if is_plain and batch_size == 1:
            w, b = steps_of_one(
                X, d, si, y, s, by_position, rows, n_rows, start, stop, ahead, lr, with_b, w, b
            )  # fmt: skip
            store(state, 0, w)
            state[size] = b
            return
        v, vb = load_all(state, row, lanes, n_regs), state[row + size]
        mean, mean_b = load_all(state, 2 * row, lanes, n_regs), load(state, 2 * row + size, lanes)
        lost, lost_b = load_all(state, 3 * row, lanes, n_regs), load(state, 3 * row + size, lanes)
        for at in range(start, stop, batch_size):
            e = min(at + batch_size, stop)
            g_sum, gb = sum_registers(
                X, d, base, si, sj, y, s, by_position, rows, n_rows, at, e, ahead, w, b, room
            )  # fmt: skip
            scale = T(1) / T(e - at)
            w, v = update(w, v, g_sum, scale, lr, mu, l2, l1)
            if with_b:
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
