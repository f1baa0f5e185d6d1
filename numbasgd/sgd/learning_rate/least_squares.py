"""The model of ``curvature.py`` for least squares on few rows and columns, in three calls of compiled code.

Such a problem is trained in less time than a few dozen calls of NumPy take.  Rows are turned to columns in
float64, along which all sums run; behind them stands the target, so that a linear map of the columns gives the
residual as well.  The sums of products of x and r are then the Hessian and the gradient; those of the squares
of v . x, for eigenvectors v, and of r at the optimum are the spread and the noise of ``quadratic.Local``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.sgd.learning_rate.quadratic import Local
from numbasgd.simd.vector import dot, fill, fma, lanes_for, larger, load_all, mul, pointer, store, zeros

TINY = 1e-150  # squared norms of all rows below it are scaled before they are multiplied, and numbers whose
LARGEST = 1e120  # squares reach this are too large for products of four
RIDGE = 1e-3, 1e-9  # shares of the largest curvature: for any loss, for the half-squared one
MOST_COLUMNS = 24  # the intercept included; beyond them NumPy's products and eigenvectors are faster
_BLOCK = 256  # rows that are held at once
_FOURTHS = 320  # rows that are enough for the mean of a product of four
_Q = 16  # rows that fill whole registers, enough of them to hide how long a sum takes
_LANES = lanes_for(_Q, 8)
_COUNT = _Q // _LANES


class Look(NamedTuple):
    """What was seen.

    largest : squared norm of a row.  beta, mean : the largest and the mean one, weighted.  curvature : the
    largest eigenvalue.  squares : mean squares of the columns, where rows have no weights.
    """

    largest: float
    beta: float
    mean: float
    curvature: float
    squares: list[float] | None
    local: Local


# Where things lie in ``room``, for m columns and the residual, M = m + 1: first the answers, which are sizes
# (the largest |x|^2, weight |x|^2 and r^2, and the largest eigenvalue), the diagonal (M,) of the first sums (in
# whose place the weights to start from are passed), and curvature, error, noise (m,) and spread (m, m) of
# ``Local``; then T (M, M), the map of the columns to x or v . x and r, A (M, M), the sums, and rows of a block.
_SIZES = 4


def _length(m: int) -> int:
    """Entries of ``room``."""
    M = m + 1
    return _SIZES + M + 3 * m + m * m + 2 * M * M + (M + 2) * _BLOCK


@jit
def _moments(columns, n, has_squares, room, l2):
    """A := the mean over n rows of weight u u^T for u = T @ columns, or over some of weight^2 u^2 u^2^T.

    columns : (M + 1, S) with S a multiple of Q, zeros behind n, and the weights in the last one.
    """
    M = columns.shape[0] - 1
    m = M - 1
    S = columns.shape[1]
    sizes, diagonal = pointer(room, 0), pointer(room, _SIZES)
    curvature = pointer(diagonal, M)
    noise, spread = pointer(curvature, 2 * m), pointer(curvature, 3 * m)
    T = pointer(spread, m * m)
    A = pointer(T, M * M)
    weight = pointer(A, M * M)
    weighted = pointer(weight, _BLOCK)
    turned = pointer(weighted, _BLOCK)
    c = pointer(columns, 0)
    none = zeros(0.0, _LANES, _COUNT)
    one = fma(none, none, fill(1.0, _LANES))
    most, most_weighted, most_last = none, none, none
    for i in range(M):
        for j in range(M):
            A[i * M + j] = 0.0
            if not has_squares:
                T[i * M + j] = 1.0 if i == j else diagonal[j] if i == m else 0.0
    if not has_squares:
        T[M * M - 1] = -1.0
    # Products of four are summed over some hundreds of rows, here and there: how large they are is enough.
    each = _Q * (4 if n >= 4 * _FOURTHS else 2 if n >= 2 * _FOURTHS else 1) if has_squares else _Q
    rows = 0
    for at in range(0, S, _BLOCK):
        count = min(_BLOCK, S - at)
        for t in range(0, count, each):
            rows += max(0, min(_Q, n - at - t))
            share = load_all(c, M * S + at + t, _LANES, _COUNT)
            store(weight, t, mul(share, share) if has_squares else share)
            size, last = none, none
            for i in range(M):
                size = fma(last, last, size)
                last = none
                of_one = not has_squares and i < m  # T is one there
                for k in range(i if of_one else 0, i + 1 if of_one else M):
                    x = load_all(c, k * S + at + t, _LANES, _COUNT)
                    last = fma(fill(T[i * M + k], _LANES), x, last)
                store(turned, i * _BLOCK + t, mul(last, last) if has_squares else last)
            most, most_weighted = larger(size, most), larger(mul(size, share), most_weighted)
            most_last = larger(mul(last, last), most_last)
        for i in range(M):
            for t in range(0, count, each):
                x = load_all(turned, i * _BLOCK + t, _LANES, _COUNT)
                store(weighted, t, mul(load_all(weight, t, _LANES, _COUNT), x))
            for j in range(0, i + 1, 2):  # two at a time, so that one need not wait for the other
                k = min(j + 1, i)
                acc, other = none, none
                for t in range(0, count, each):
                    x = load_all(weighted, t, _LANES, _COUNT)
                    acc = fma(x, load_all(turned, j * _BLOCK + t, _LANES, _COUNT), acc)
                    other = fma(x, load_all(turned, k * _BLOCK + t, _LANES, _COUNT), other)
                A[i * M + j] += dot(acc, one)
                if k > j:
                    A[i * M + k] += dot(other, one)
    for i in range(M):
        for j in range(i + 1):
            A[i * M + j] /= rows
            A[j * M + i] = A[i * M + j]
    if has_squares:
        for i in range(m):
            for j in range(m):
                spread[i * m + j] = A[i * M + j]
            spread[i * m + i] -= curvature[i] * curvature[i]
            curvature[i] += l2
            noise[i] += A[m * M + i]
        return
    store(turned, 0, most)
    store(turned, _Q, most_weighted)
    store(turned, 2 * _Q, most_last)
    for k in range(3):
        sizes[k] = 0.0
        for q in range(_Q):
            sizes[k] = max(sizes[k], turned[k * _Q + q])
    for j in range(M):
        diagonal[j] = A[j * M + j]


@jit
def _newton(room, m, l2, ridge):
    """Eigenvectors of the Hessian, and Newton's step along them to the optimum.

    T and A are those of the start; T becomes the map to the coordinates along the eigenvectors, and to the
    residual at the optimum.  The noise is what the penalty adds to it.  ridge : share of the largest curvature,
    so that directions without any stay where they are.

    Cyclic Jacobi rotations: Golub and Van Loan, Matrix Computations, 4th ed., section 8.5.
    """
    M = m + 1
    curvature = pointer(room, _SIZES + M)
    error, noise = pointer(curvature, m), pointer(curvature, 2 * m)
    v = pointer(curvature, 3 * m + m * m)
    a = pointer(v, M * M)
    for _ in range(40):
        off = 0.0
        size = 0.0
        for p in range(m):
            size += a[p * M + p] * a[p * M + p]
            for q in range(p + 1, m):
                apq = a[p * M + q]
                app = a[p * M + p]
                aqq = a[q * M + q]
                off += apq * apq
                if apq * apq <= 1e-36 * abs(app * aqq):
                    continue
                theta = (aqq - app) / (2 * apq)
                tangent = math.copysign(1.0, theta) / (abs(theta) + math.sqrt(theta * theta + 1))
                cosine = 1 / math.sqrt(tangent * tangent + 1)
                sine = tangent * cosine
                for k in range(2 * m):
                    row = a if k < m else v
                    j = k if k < m else k - m
                    x, y = row[p * M + j], row[q * M + j]
                    row[p * M + j], row[q * M + j] = cosine * x - sine * y, sine * x + cosine * y
                for k in range(m):
                    x, y = a[k * M + p], a[k * M + q]
                    a[k * M + p], a[k * M + q] = cosine * x - sine * y, sine * x + cosine * y
        if off <= 1e-30 * size:
            break
    top = 0.0
    for j in range(m):
        top = max(top, a[j * M + j])
    room[3] = top
    for j in range(m):
        curvature[j] = max(a[j * M + j], 0.0)
        slope, pull = 0.0, 0.0
        for i in range(m):
            slope += a[m * M + i] * v[j * M + i]
            pull += l2 * v[m * M + i] * v[j * M + i]
        along = (slope + pull) / (curvature[j] + l2 + ridge * top)
        error[j] = along
        slope -= curvature[j] * along  # what is left of it at the optimum
        pull -= l2 * along
        noise[j] = pull * (2 * slope + pull)
    for j in range(m):
        for i in range(m):
            v[m * M + i] -= error[j] * v[j * M + i]
        error[j] *= error[j]


def look_at(
    X: np.ndarray, y: np.ndarray, s: np.ndarray, w: np.ndarray, b: float, intercept: bool, l2: float
) -> Look | None:
    """A look at all rows of X (n, d), for y and s (n,), or s of length 0, from the weights w (d,) and b on.

    None where there are no columns or too many, or numbers are not finite or so large that products overflow.
    """
    n, d = X.shape
    m = d + intercept
    if not 0 < m <= MOST_COLUMNS:
        return None
    columns = np.empty((m + 2, -(-n // _Q) * _Q + _Q))  # some more, so that columns of 2^k rows lie apart
    columns[:d, :n] = X.T
    columns[d:m, :n] = 1.0
    columns[m, :n] = y
    columns[m + 1, :n] = s if s.size else 1.0
    columns[:, n:] = 0.0
    room = np.empty(_length(m))
    room[_SIZES : _SIZES + d] = w
    if intercept:
        room[_SIZES + d] = b
    elif b:
        columns[m, :n] -= b
    _moments(columns, n, False, room, l2)
    at = _SIZES + m + 1
    largest, beta, residual, _, *squares, of_residual = room[:at].tolist()
    if not (TINY < largest < LARGEST and residual < LARGEST and math.isfinite(of_residual)):
        return None
    _newton(room, m, l2, RIDGE[True])
    _moments(columns, n, True, room, l2)
    spread = room[at + 3 * m : at + (3 + m) * m].reshape(m, m)
    local = Local(room[at : at + m], room[at + m : at + 2 * m], room[at + 2 * m : at + 3 * m], spread)
    return Look(largest, beta, sum(squares), float(room[3]), None if s.size else squares[:d], local)
