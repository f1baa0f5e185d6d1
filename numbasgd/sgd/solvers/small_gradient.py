"""The mean gradient over few short rows, where a call costs more than the sums.

``gradient`` tries ``small_gradient`` first.  It checks what is cheap to check, and knows the ordinary call
alone: arrays of one dtype in C order, an intercept that is a float.  For everything else, errors included, it
returns None, and ``gradient`` goes on as if it had not tried.  The bits are the same either way: once its
checks are done, ``gradient`` calls the same kernel for such rows.

Numba looks at the dtype, order and flags of each argument that is an array, which takes some time.  So the
kernel takes the three arrays and the result alone: register-resident rows need no scratch memory, lengths are
compared in compiled code, and NaN says that they do not fit together.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.sgd.losses import LOSSES
from numbasgd.sgd.rows import FAR
from numbasgd.sgd.solvers.epoch import kernels, registers
from numbasgd.sgd.solvers.operands import Order, Samples
from numbasgd.simd.vector import load_row, pointer, store_row

MOST = FAR // 8  # n * (d + 8) of n rows that are small: in cache, and never cut into parts
_LARGEST = float(np.finfo(np.float32).max)  # of an intercept that both dtypes hold

_SEQUENTIAL = np.empty(0, np.int64)
_kernels: dict[tuple[str, np.dtype, int], Any] = {}


def small_gradient(X: Any, y: Any, w: Any, b: Any, loss: Any) -> tuple[np.ndarray, float] | None:
    """(g, gb) over all rows for an ordinary call; None for any that ``gradient`` must look at more closely."""
    if not (
        type(X) is type(y) is type(w) is np.ndarray
        and type(b) is float
        and type(loss) is str
        and X.ndim == 2
        and y.ndim == w.ndim == 1
        and -_LARGEST < b < _LARGEST
    ):
        return None
    dtype = X.dtype
    if not (y.dtype == w.dtype == dtype and X.flags.carray and y.flags.carray and w.flags.carray):
        return None
    d = X.shape[1]
    kernel = _kernels.get((loss, dtype, d))
    if kernel is None:
        return None
    g = np.empty(d, dtype)
    gb = kernel(X, y, w, b, g)
    return None if gb != gb else (g, gb)


def kernel_for(loss: str, dtype: np.dtype, n: int, d: int) -> Any:
    """kernel(X, y, w, b, g) -> gb, if n rows of d columns are small; from now on ``small_gradient`` knows it.

    X, y, w, g : arrays in C order, aligned and writeable.  b : float.
    """
    if n * (d + 8) > MOST or d == 0 or registers(d, kernels(loss, d, dtype).lanes) == 0:
        return None
    key = loss, dtype, d
    if key not in _kernels:
        lanes = kernels(loss, d, dtype).lanes
        _kernels[key] = _make(loss, dtype, lanes, registers(d, lanes))
    return _kernels[key]


@functools.cache
def _make(loss: str, dtype: np.dtype, lanes: int, count: int) -> Any:
    T, made = dtype.type, kernels(loss, lanes * count, dtype)
    sum_registers = made.sums.sum_registers
    is_signs = LOSSES[loss].targets == "signs"

    @jit(variant=made.variant)
    def small(X, y, w, b, g):
        """(g, result) := (mean of slope_i * x_i, mean of slope_i); NaN for arrays that do not fit together."""
        n, d = X.shape
        if y.shape[0] != n or w.shape[0] != d or n == 0 or n * (d + 8) > MOST:
            return T(math.nan)
        if is_signs:
            for i in range(n):
                if abs(y[i]) != 1:
                    return T(math.nan)
        Xp, yp = pointer(X, 0), pointer(y, 0)
        samples, order = Samples(Xp, d, 0, d, 1, yp, yp, False), Order(pointer(_SEQUENTIAL, 0), 0, 0)
        wv = load_row(pointer(w, 0), 0, lanes, count, d)
        gv, gb = sum_registers(samples, order, 0, n, wv, T(b), Xp)
        gp = pointer(g, 0)
        store_row(gp, 0, gv, d)
        for j in range(d):
            gp[j] /= n
        return T(gb / n)

    return small
