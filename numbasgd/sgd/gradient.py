"""``gradient``: the checked way to the mean gradient over any rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbasgd import check
from numbasgd.errors import DeviceError
from numbasgd.sgd import other_names
from numbasgd.sgd.config import SETTINGS
from numbasgd.sgd.csr import Csr
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.inputs import intercepts, rows_and_targets
from numbasgd.sgd.losses import LOSSES, loss_key
from numbasgd.sgd.rows import Rows, aligned_zeros, rows_ahead, rows_of
from numbasgd.sgd.solvers import multi, reduce
from numbasgd.sgd.solvers.epoch import kernels, padded, work_for
from numbasgd.sgd.solvers.objective import ManyOutputs
from numbasgd.sgd.solvers.small_gradient import kernel_for, small_gradient
from numbasgd.sgd.sparse_dataset import SparseDataset

_EVERY_ROW = np.empty(0, np.int64)
_CPU, _MEDIAN = "cpu", 0.5  # the defaults, recognized as the same objects


def gradient(
    X: Any,
    y: Any,
    w: Any,
    b: Any = 0.0,
    *,
    loss: str = "squared",
    quantile: float = _MEDIAN,
    rows: Any = None,
    threads: int | None = None,
    device: str = _CPU,
) -> tuple[np.ndarray, Any]:
    """The mean gradient of a loss over some rows, in one pass over them.

    ``g = mean of s_i x_i`` and ``gb = mean of s_i`` with s_i the slope of the loss at x_i.w + b, for "squared"
    ``x_i.w + b - y_i``: the gradient that a step of minibatch SGD takes when ``rows`` is the minibatch.

    Parameters
    ----------
    X : array_like or sparse array, shape (n, d)
        Of rows in a file all are read into memory, unless they are a ``numpy.memmap``: slice what does not fit.
    y : array_like, shape (n,), or (n, K)
        Targets; for "logistic" and "hinge" two classes, or any of -1 and 1; for "softmax" classes 0 to K - 1,
        some of which may be missing.
    w : array_like, shape (d,), or (d, K) for K outputs
    b : float, or array_like, shape (K,)
    loss : {"squared", "huber", "logistic", "hinge", "softmax", "quantile"}
        See ``numbasgd.sgd.losses``.  That of K outputs is the sum over them.
    quantile : float
        The level of the loss "quantile", above 0 and below 1.
    rows : array_like of int, shape (m,), or of bool, shape (n,), optional
        The rows to take, repeated ones as often as they are named; all of them if left out.
    threads : int, optional
        The most threads that may work; by default as many as pay, at most one a core or
        ``NUMBASGD_NUM_THREADS``.  The result is the same to the last bit.
    device : {"cpu", "cuda"}

    Returns
    -------
    g : ndarray, shape (d,) or (d, K)
        In the dtype that NumPy would compute with: float32 if X, y and w are, else float64.
    gb : float, or ndarray, shape (K,)

    Raises
    ------
    TypeError, ValueError
        For an argument that is not as described.
    DeviceError
        If ``device`` is "cuda" and no card can be used.

    Examples
    --------
    >>> import numbasgd
    >>> X, y = numbasgd.airfoil_twin()
    >>> g, gb = numbasgd.gradient(X, y, [0.0] * 5, rows=[3, 1, 4])
    >>> g.shape
    (5,)
    """
    if rows is None and device is _CPU and (threads is None or (type(threads) is int and 0 < threads <= 64)):
        found = small_gradient(X, y, w, b, loss) if quantile is _MEDIAN else None
        if found is not None:
            return found
    check.choice(loss, "loss", LOSSES, other_names.LOSSES)
    key = loss_key(loss, quantile=SETTINGS["quantile"].check(quantile, "quantile"))
    X, y, _ = rows_and_targets(X, y, loss, is_whole=False, takes_columns=True, takes_sparse=True)
    has_outputs = y.ndim == 2 or LOSSES[loss].rows is not None
    w = check.array(w, "w", 2 if has_outputs else 1)
    if len(w) != X.shape[1]:
        raise ValueError(
            f"X has {X.shape[1]} columns, w has {len(w)} entries; expected one weight per column. "
            "Pass the weights of the same model."
        )
    X, y, w = check.same_dtype(X, y, w)
    if threads is not None:
        threads = check.threads(threads)
    check.choice(device, "device", ("cpu", "cuda"))
    if isinstance(X, Csr) and device == "cuda":
        raise DeviceError('device is "cuda" and X is sparse; expected a dense array there. Leave device out.')
    if has_outputs:
        _require_outputs(y, w, loss, device)
        b = intercepts(b, "b", w.shape[1])
        return _gradient_of_outputs(X, y, w, b, key, _EVERY_ROW if rows is None else _rows(rows, len(X)))
    b = check.real(b, "b", hint="Pass the intercept as one number.")
    index = _EVERY_ROW if rows is None else _rows(rows, len(X))
    return _gradient_of_one(X, y, w, b, key, index, threads, device)


def _gradient_of_one(
    X: np.ndarray,
    y: np.ndarray,
    w: np.ndarray,
    b: float,
    loss: str,
    index: np.ndarray,
    threads: int | None,
    device: str,
) -> tuple[np.ndarray, float]:
    """The mean gradient for w (d,) over the rows of ``index``, or over all if it is empty."""
    if isinstance(X, Csr):
        g, gb = _gradient_of_sparse(X, y, w, b, loss, index)
        return g, float(gb)
    y, w = check.for_kernel(y), check.for_kernel(w)
    if index.size == 0 and device == _CPU and X.flags.c_contiguous:
        kernel = kernel_for(loss, X.dtype, *X.shape)
        if kernel is not None:
            g = np.empty(len(w), X.dtype)
            return g, kernel(check.for_kernel(X), y, w, float(X.dtype.type(b)), g)
    out = np.empty(len(w) + 1, X.dtype)
    if device == "cuda":
        _gradient_cuda(check.for_kernel(X), y, w, b, index, out, loss)
        return out[:-1].copy(), float(out[-1])
    matrix = rows_of(X)
    if not reduce.is_one(len(index) or len(y), matrix.d):
        _gradient_in_parts(matrix, y, w, b, index, out, loss, threads)
    else:
        _gradient_at_once(matrix, y, w, b, index, out, loss)
    return out[:-1].copy(), float(out[-1])


def _gradient_of_outputs(
    X: np.ndarray, y: np.ndarray, w: np.ndarray, b: np.ndarray, loss: str, index: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The mean gradients for w (d, K) and b (K,) over the rows of ``index``, or over all if it is empty."""
    K = w.shape[1]
    if K == 1:  # has kernels of its own
        g, gb = _gradient_of_one(X, y[:, 0], w[:, 0], float(b[0]), loss, index, None, _CPU)
        return g[:, None], np.array([gb], X.dtype)
    if isinstance(X, Csr):
        return _gradient_of_sparse(X, y, w, b, loss, index)
    objective = ManyOutputs(Dataset(X, y, np.empty(0, X.dtype), K), loss, None)
    state = aligned_zeros((objective.layout.length,), X.dtype)
    objective.layout.put(state, np.vstack([w, b]))
    scratch, scratch64 = aligned_zeros((objective.scratch_size,), X.dtype), np.empty(objective.layout.length)
    count = len(index) or len(y)
    order = index.astype(objective.rows_dtype)
    total = multi.gradient_sum(objective, state, order, count, scratch, scratch64)
    mean = total / X.dtype.type(count)
    return mean[:-1].copy(), mean[-1].copy()


def _gradient_of_sparse(
    X: Csr, y: np.ndarray, w: np.ndarray, b: Any, loss: str, index: np.ndarray
) -> tuple[np.ndarray, Any]:
    """The mean gradient for w (d,) or (d, K) over the rows of ``index``, or over all if it is empty."""
    outputs = w.shape[1] if w.ndim == 2 else 0
    objective = SparseDataset(X, y, np.empty(0, X.dtype), outputs).objective(loss)
    g = objective.mean_gradient(objective.layout.row(w, b), index)
    return g[:-1].copy(), g[-1]


def _gradient_at_once(
    rows: Rows, y: np.ndarray, w: np.ndarray, b: float, index: np.ndarray, out: np.ndarray, loss: str
) -> None:
    d, dtype = rows.d, y.dtype
    ahead = rows_ahead(rows, in_order=len(index) == 0)
    compiled = kernels(loss, d, dtype, is_gathered=rows.is_gathered)
    size = (work_for(d, compiled.lanes, rows.is_gathered),)
    work = aligned_zeros(size, dtype) if ahead else np.empty(size, dtype)
    samples = rows.memory, d, rows.base, rows.si, rows.sj, y, y[:0]
    compiled.gradient(
        samples, (index, ahead), w, dtype.type(b), out, (work, np.empty(padded(d, compiled.lanes)))
    )


def _gradient_in_parts(
    rows: Rows,
    y: np.ndarray,
    w: np.ndarray,
    b: float,
    index: np.ndarray,
    out: np.ndarray,
    loss: str,
    threads: int | None,
) -> None:
    n, d = len(index) or len(y), rows.d
    sums = reduce.Parts(loss, rows, y, y[:0], index.dtype, reduce.workers(threads, n, d))
    padded_w = np.zeros(sums.size + 1, y.dtype)
    padded_w[:d] = w
    padded_w[sums.size] = b
    g = np.zeros(sums.size + 1)
    sums.add(padded_w, index, 0, n, rows_ahead(rows, in_order=len(index) == 0), g)
    g /= n
    out[:d], out[d] = g[:d], g[sums.size]


def _require_outputs(y: np.ndarray, w: np.ndarray, loss: str, device: str) -> None:
    """Raise unless w has as many columns as y has, or classes."""
    if device == "cuda":
        raise DeviceError(
            f'device is "cuda" with {w.shape[1]} outputs; expected one output there. Leave device out, or pass '
            "the columns of y one by one."
        )
    if y.ndim == 2 and y.shape[1] != w.shape[1]:
        raise ValueError(
            f"y has {y.shape[1]} columns, w has {w.shape[1]}; expected one column of weights for each target. "
            "Pass the weights of the same model."
        )
    if y.ndim == 1 and (w.shape[1] < 2 or y.max() >= w.shape[1]):
        raise ValueError(
            f"y holds class {y.max():g}, w has {w.shape[1]} columns; expected classes 0 to K - 1 for a w of K "
            f"columns, at least two, with loss={loss!r}. Number the classes as in Fit.classes."
        )


def _gradient_cuda(
    X: np.ndarray, y: np.ndarray, w: np.ndarray, b: float, rows: np.ndarray, out: np.ndarray, loss: str
) -> None:
    from numbasgd import device

    with device.checked():
        from numbasgd.sgd.solvers import cuda

        on_card = device.empty(out.shape, out.dtype)
        X_card, y_card, w_card, rows_card = (device.to_device(a) for a in (X, y, w, rows))
        cuda.gradient(X_card, y_card, w_card, X.dtype.type(b), rows_card, on_card, loss=loss)
        out[:] = device.to_host(on_card)


def _rows(rows: Any, n: int) -> np.ndarray:
    """Row numbers 0 to n - 1 as int64."""
    try:
        found = np.asarray(rows)
    except (ValueError, TypeError) as error:
        raise TypeError(
            f"rows is a {type(rows).__name__} that NumPy cannot make an array of ({error}); expected a 1-D "
            "array of row numbers, or of True and False. Pass for example np.arange(10)."
        ) from error
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iub"):
        raise TypeError(
            f"rows has {found.ndim} dimension(s) and dtype {found.dtype}; expected a 1-D array of row numbers, "
            "or of True and False. Pass for example np.arange(10)."
        )
    if found.dtype.kind == "b":
        if len(found) != n:
            raise ValueError(
                f"rows has {len(found)} flags, X has {n} rows; expected one flag per row. Make them from X, or "
                "pass row numbers."
            )
        found = np.flatnonzero(found)
    if found.size == 0:
        raise ValueError(
            "rows is empty; expected at least one row, since a mean over none is not defined. "
            "Name one, or leave rows out for all."
        )
    outside = np.flatnonzero((found < -n) | (found >= n))
    if outside.size:
        raise ValueError(
            f"rows holds {found[outside[0]]} at position {outside[0]}; expected row numbers from {-n} "
            f"to {n - 1}, since X has {n} rows. Leave out those beyond."
        )
    index = found.astype(np.int64)
    index[index < 0] += n
    return index
