"""The twin: 1500 made rows whose first and second moments are those of the airfoil data.

Least squares sees the data through these moments alone, so the twin has the same minimum, the same curvature
and the same path of gradient descent, to rounding.  What differs is the rest: its residuals are close to
Gaussian and its rows are exchangeable, so the noise of a minibatch gradient is another one.

Only the moments are embedded.  Whoever has the file computes them anew with ``moments(*load_airfoil())``.

The rows are the same, bit for bit, on every machine and with every NumPy: they begin as integers from a
counter (NumPy keeps the streams of its Generator only within a version), their sums and products are
integers too, the 6 x 6 algebra is done with Python's floats instead of a LAPACK, and the rest is one IEEE
addition or multiplication at a time.
"""

from __future__ import annotations

import functools
import math

import numpy as np

N_ROWS, N_COLUMNS = 1500, 6  # five features and the target

# Of the chapter's 1500 prepared rows: NASA airfoil self-noise, Brooks, Pope, Marcolini (1989), UCI 291,
# doi 10.24432/C5VW2C, CC BY 4.0.  The target is the last column; the mean of products is symmetric.
MEAN = (
    -0.001404820630947749,
    -0.002977718155210217,
    0.0007509768803914388,
    0.0014296359022458395,
    -0.006345915988087654,
    0.0055580247532246475,
)
SECOND_MOMENT = (
    (1.0008319067483957,),
    (-0.27540323501275965, 0.9975556381423121),
    (-0.0031429247358134736, -0.504761904153079, 1.0017145691135385),
    (0.13494701231972953, 0.06103324459734081, 0.0032534971277845106, 1.0009515762376893),
    (-0.23502406873663276, 0.7454415128970594, -0.21891165439040083, 0.000608162474382663, 0.9818649312071593),
    (
        -0.3875024858630853,
        -0.14813849888763206,
        -0.23870963984969273,
        0.1213337843639371,
        -0.2956661441237748,
        0.9865179410510576,
    ),
)

Triangle = list[list[float]]  # the rows of a lower triangular matrix, each up to the diagonal


def airfoil_twin() -> tuple[np.ndarray, np.ndarray]:
    """A stand-in for the chapter's airfoil data that needs no file: same moments, other rows.

    It is not the data.  Its mean and its matrix of second moments are those of ``load_airfoil()``, and with
    them everything that gradient descent on the half mean squared error can see: the minimum 0.241688, the
    eigenvalues of the Hessian, the loss after every step.  The noise of single rows and minibatches differs.

    Returns
    -------
    X : ndarray, float32, shape (1500, 5)
    y : ndarray, float32, shape (1500,)
        New arrays at every call, the same numbers on every machine.

    See Also
    --------
    load_airfoil : the data itself.
    """
    rows = _rows()
    return np.ascontiguousarray(rows[:, :-1]), rows[:, -1].copy()


def moments(X: np.ndarray, y: np.ndarray) -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]:
    """``MEAN`` and ``SECOND_MOMENT`` of float32 data: products are exact in float64, sums rounded once."""
    columns = [*X.T.astype(np.float64), y.astype(np.float64)]
    mean = tuple(math.fsum(column) / len(y) for column in columns)
    second = tuple(tuple(math.fsum(a * b) / len(y) for b in columns[: i + 1]) for i, a in enumerate(columns))
    return mean, second


@functools.cache
def _rows() -> np.ndarray:
    """The twin as float32, shape (1500, 6): base - its mean, times L_target L_base^-1, plus the target mean."""
    base = _base()
    sums, products = base.sum(axis=0), base.T @ base  # int64: exact, and no BLAS
    scatter = N_ROWS * products - np.outer(sums, sums)
    have = _cholesky([[int(scatter[i, j]) / N_ROWS**2 for j in range(i + 1)] for i in range(N_COLUMNS)])
    want = _cholesky(
        [[SECOND_MOMENT[i][j] - MEAN[i] * MEAN[j] for j in range(i + 1)] for i in range(N_COLUMNS)]
    )
    recolour = _divide(want, have)
    centred = (N_ROWS * base - sums) / N_ROWS
    rows = np.empty((N_ROWS, N_COLUMNS))
    for i in range(N_COLUMNS):
        rows[:, i] = MEAN[i]
        for j in range(i + 1):
            rows[:, i] += recolour[i][j] * centred[:, j]
    return rows.astype(np.float32)


def _base() -> np.ndarray:
    """Nearly Gaussian integers, shape (1500, 6): sums of twelve 16-bit uniforms, less their expected value.

    The uniforms are the quarters of SplitMix64's output (Steele, Lea, Flood 2014) for the counters 1, 2, ...
    None is beyond six standard deviations, so the sums of their products fit into 64 bits.
    """
    z = np.arange(1, 3 * N_ROWS * N_COLUMNS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    words = z.reshape(N_ROWS, N_COLUMNS, 3)
    total = sum((words >> np.uint64(shift)) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48))
    return np.asarray(total).astype(np.int64).sum(axis=2) - 6 * 0xFFFF


def _cholesky(A: Triangle) -> Triangle:
    """L with L L^T = A and a positive diagonal; there is one."""
    L: Triangle = []
    for i, row in enumerate(A):
        L.append([])
        for j, entry in enumerate(row):
            for p in range(j):
                entry -= L[i][p] * L[j][p]
            L[i].append(math.sqrt(entry) if i == j else entry / L[j][j])
    return L


def _divide(A: Triangle, L: Triangle) -> Triangle:
    """M with M L = A, all lower triangular."""
    M = [list(row) for row in A]
    for i, row in enumerate(M):
        for j in range(i, -1, -1):
            for p in range(j + 1, i + 1):
                row[j] -= row[p] * L[p][j]
            row[j] /= L[j][j]
    return M
