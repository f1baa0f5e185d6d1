"""Minibatch SGD on a CPU: gradients, steps and whole epochs of a linear model, one pass over the rows.

``kernels(loss, d, dtype)`` gives the compiled functions for rows of ``d`` columns.  There are two families
with the same contracts.  *Narrow* rows fit one vector register: the weights then stay in a register for
a whole epoch and a step touches no memory but its rows.  *Wide* rows take several registers: four rows are
worked on at once, so that each piece of w and g that is loaded serves four rows.

Shapes and roles, the same everywhere:
X : (n, d) rows, C-ordered, float32 or float64, in.  y : (n,) targets, same dtype, in.
rows : integers, the order in which rows are taken; of length 0 when that is 0, 1, 2, ...
w : weights, padded with zeros to whole registers (``padded(d, lanes)``), in and out.
b : (1,) intercept, in and out.  g : like w.
Arguments are trusted; ``numbasgd.train`` and ``numbasgd.gradient`` are the checked ways in.

Sums over many rows are made in two levels, CHUNK rows in the dtype of X and the chunks in float64, so the
rounding error of a float32 gradient does not grow with the number of rows (Higham, Accuracy and Stability of
Numerical Algorithms, 2nd ed., section 4.2).
"""

from __future__ import annotations

import functools
from types import SimpleNamespace

import numpy as np

from numbasgd.jit import jit
from numbasgd.sgd import losses
from numbasgd.sgd.narrow import make_narrow
from numbasgd.sgd.sampling import fill_order
from numbasgd.sgd.wide import make_wide
from numbasgd.simd import lanes_for


def padded(d: int, lanes: int) -> int:
    """The length of w and g in whole registers."""
    return max(1, -(-d // lanes)) * lanes


def kernels(loss: str, d: int, dtype: np.dtype) -> SimpleNamespace:
    """The compiled functions for one loss and rows of ``d`` columns; see the contracts above.

    ``lanes`` : floats in a register.
    ``gradient(X, y, w, b, rows, out)`` : the mean gradient, w and out unpadded.
    ``mean_loss(X, y, w, b)`` : the mean loss over all rows, in float64.
    ``advance(X, y, order, drawn, sampling, seed, begin, end, batch_size, lr, with_b, w, b)`` : the steps.
    """
    lanes = lanes_for(d, dtype.itemsize)
    return _make(loss, lanes, d <= lanes)


@functools.cache
def _make(loss: str, lanes: int, is_narrow: bool) -> SimpleNamespace:
    value = jit(getattr(losses, f"{loss}_value"))
    slope = jit(getattr(losses, f"{loss}_slope"))
    variant = f"{loss}_{lanes}_{'narrow' if is_narrow else 'wide'}"
    dot, sum_rows, steps = (make_narrow if is_narrow else make_wide)(slope, lanes, variant)

    @jit(variant=variant)
    def gradient(X, y, w, b, rows, out):
        """out := (mean of slope_i * x_i, mean of slope_i) over the rows; out has d + 1 entries."""
        d = X.shape[1]
        count = rows.shape[0] if rows.shape[0] > 0 else X.shape[0]
        size = max(1, (d + lanes - 1) // lanes) * lanes
        wp = np.zeros(size, X.dtype)
        wp[:d] = w
        g = np.zeros(size, X.dtype)
        gb = sum_rows(X, y, rows, 0, count, wp, b, g)
        for j in range(d):
            out[j] = g[j] / count
        out[d] = gb / count

    @jit(variant=variant)
    def mean_loss(X, y, w, b):
        """Mean over all rows of value(x_i . w + b, y_i), summed in float64."""
        acc = 0.0
        for i in range(X.shape[0]):
            acc += value(np.float64(dot(X, i, w) + b[0]), np.float64(y[i]))
        return acc / X.shape[0]

    @jit(variant=variant)
    def advance(X, y, order, drawn, sampling, seed, begin, end, batch_size, lr, with_b, w, b):
        """The steps that hold samples begin, ..., end - 1, counted over all epochs; no Python in between.

        order : (n,) the rows of epoch drawn[0], drawn anew whenever another epoch begins; of length 0 for
        steps over all rows, which are the same in any order.  Both ends must fall between two steps.
        There is one place that makes steps, so that stopping in between cannot change how sums are rounded.
        """
        n = X.shape[0]
        while begin < end:
            epoch = begin // n
            start = begin - epoch * n
            stop = min(n, start + end - begin)
            if order.shape[0] > 0 and drawn[0] != epoch:
                fill_order(order, sampling, seed, epoch)
                drawn[0] = epoch
            steps(X, y, order, start, stop, batch_size, lr, with_b, w, b)
            begin += stop - start

    return SimpleNamespace(lanes=lanes, gradient=gradient, mean_loss=mean_loss, advance=advance)
