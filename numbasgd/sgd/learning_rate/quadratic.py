"""What a constant learning rate will have reached after so many steps, by the noisy quadratic model."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.sgd.order import SAMPLINGS
from numbasgd.simd.vector import fma, lanes_for, load_all, pointer, store, zeros

_GROUPS = 24  # eigenvectors are merged to at most so many
_COARSE = np.linspace(-6, 0, 13)  # decades below twice the inverse of the largest curvature
_FINE = np.linspace(-0.42, 0.42, 13)  # decades around the best of these
_FINEST = np.linspace(-0.06, 0.06, 13)  # and of those, where no noise hides the difference
_N_RATES = len(_COARSE)
_Q = 16  # that many rates fill whole registers, the last ones for nothing
_LANES = lanes_for(_Q, 8)
_COUNT = _Q // _LANES
_RESHUFFLE, _REPLACEMENT = SAMPLINGS["reshuffle"], SAMPLINGS["replacement"]


class QuadraticModel(NamedTuple):
    """The problem near its optimum, seen from the eigenvectors of its Hessian, estimated from a sample of rows.

    curvature : (d,) eigenvalues.  error : (d,) squared distance of the start from the optimum.
    noise : (d,) variance of the gradient of one row at the optimum.
    spread : (d, d) what one row's gradient adds to that variance, per squared error along each direction.
    """

    curvature: np.ndarray
    error: np.ndarray
    noise: np.ndarray
    spread: np.ndarray


def best_constant(
    local: QuadraticModel, n: int, batch_size: int, epochs: int, sampling: str = "reshuffle"
) -> float:
    """The constant rate with the least expected loss after so many epochs, to some percent.

    Along each eigenvector the mean squared error m of the weights follows, from one step to the next,
    ``m := (1 - lr h)^2 m + lr^2 / b (noise + spread m)`` with h the curvature and b the batch size: the noisy
    quadratic model (Zhang et al., "Which algorithmic choices matter at which batch sizes?", NeurIPS 2019,
    arXiv 1907.04164, eq. 3) with the noise that rows of different length add (Defossez and Bach, "Averaged
    least-mean-squares", AISTATS 2015, arXiv 1412.0156, section 3).  Rates beyond stability come out large by
    themselves.
    """
    local = grouped(local)
    epochs = min(max(1, epochs), (1 << 62) // n)  # as many steps as can be counted
    M = len(local.curvature) + 1
    scratch = np.empty(_Q * (2 * M * M + 2 * M + 2) + M * M)
    model = local.curvature, local.error, local.noise, np.ascontiguousarray(local.spread)
    return _search(model, n, batch_size, epochs, SAMPLINGS[sampling], scratch)


@jit(forceinline=True)
def _product(A, B, M, columns, out):
    """out := A @ B for A (M, M) and B (M, columns) of Q numbers each, a product for each of the rates.

    The last row of both is that of a unit matrix, and so is that of out, which is left as it is.
    """
    d = M - 1
    for i in range(d):
        for j in range(columns):
            acc = zeros(0.0, _LANES, _COUNT)
            if j == columns - 1:
                acc = load_all(A, (i * M + d) * _Q, _LANES, _COUNT)
            for k in range(d):
                a = load_all(A, (i * M + k) * _Q, _LANES, _COUNT)
                acc = fma(a, load_all(B, (k * columns + j) * _Q, _LANES, _COUNT), acc)
            store(out, (i * columns + j) * _Q, acc)


@jit(forceinline=True)
def step_variance(moved, n, batch_size, epochs, sampling):
    """The variance of a step's mean gradient, per variance of one row's, that acts along an eigenvector.

    moved : rate times curvature, the share of the error that a step takes away.  sampling : of ``SAMPLINGS``.

    With rows drawn with replacement it is 1 / b.  Rows that each come once an epoch have deviations that add
    up to nothing, so an epoch leaves less behind than its steps alone would: with q = 1 - moved, batches t of
    b_t rows and c_t = q^(steps still to come), the variance of sum_t c_t g_t is that of sampling without
    replacement (Cochran, "Sampling Techniques", 1977, theorem 2.2), ``n / (n - 1) (sum_t c_t^2 / b_t - (sum_t
    c_t)^2 / n)``.  It is spread over the steps here.  The same order in all epochs adds the same remainder
    again and again: its amplitudes add up, not its variances.
    """
    if sampling == _REPLACEMENT:
        return 1 / batch_size
    count = (n + batch_size - 1) // batch_size
    last = n - (count - 1) * batch_size
    moved = max(1 - max(1 - moved, -1.0), 1e-12)
    q = 1 - moved
    kept = math.pow(q, count)
    squares = count * 1.0
    if q > -1:
        squares = (1 - kept * kept) / (1 - q * q)
    total = (1 - kept) / moved
    variance = max((squares - 1) / batch_size + 1 / last - total * total / n, 0.0) / squares
    variance *= n / max(n - 1, 1)
    if sampling != _RESHUFFLE:
        last_kept = math.pow(kept, epochs)
        variance *= (1 - last_kept) * (1 + kept) / ((1 - kept) * (1 + last_kept)) if abs(kept) < 1 else epochs
    return variance


@jit
def _search(model, n, batch_size, epochs, sampling, scratch):
    """The rate whose expected loss is the least after so many epochs; model : as ``QuadraticModel``.

    A step is a linear map of the errors, a 1 behind them: what each adds to the others, times the square of the
    rate, and on the diagonal what is left of it.  Its power comes from squaring it again and again, for all
    rates at once.
    """
    curvature, error, noise, spread = model
    d = curvature.shape[0]
    M = d + 1
    one = M - d  # no constant: that would compile the product twice
    largest = 1e-300
    for i in range(d):
        largest = max(largest, curvature[i])
    added = pointer(scratch, 0)
    for i in range(M):
        for j in range(M):
            each = 0.0 if i == d else noise[i] if j == d else spread[i, j]
            added[i * M + j] = each / largest / largest
    step, squared = pointer(added, M * M), pointer(added, M * M + M * M * _Q)
    state = pointer(squared, M * M * _Q)
    moved = pointer(state, M * _Q)
    rates, excess = pointer(moved, M * _Q), pointer(moved, (M + 1) * _Q)
    # A few steps may well overshoot along the largest curvature, where there is least to gain.
    most = 0.42 if batch_size >= n else 0.0
    decades, shifts = 0.0, pointer(_COARSE, 0)
    for level in range(3 if batch_size >= n else 2):
        for q in range(_Q):
            rates[q] = 2 * 10.0 ** min(decades + shifts[min(q, _N_RATES - 1)], most)
            excess[q] = 0.0
            for i in range(M):
                state[i * _Q + q] = 1.0 if i == d else error[i]
                away = 0.0 if i == d else rates[q] * (curvature[i] / largest)
                kept = 1 - away
                share = rates[q] * rates[q]
                if i < d and q < _N_RATES:
                    share *= step_variance(away, n, batch_size, epochs, sampling)
                for j in range(M):
                    step[(i * M + j) * _Q + q] = share * added[i * M + j]
                step[(i * M + i) * _Q + q] += kept * kept
        power = epochs * ((n + batch_size - 1) // batch_size)
        while True:
            if power & 1:
                _product(step, state, M, one, moved)
                state, moved = moved, state
            power >>= 1
            if power == 0:
                break
            _product(step, step, M, M, squared)
            step, squared = squared, step
        best = 0
        for q in range(_N_RATES):
            for i in range(d):
                excess[q] += state[i * _Q + q] * curvature[i]
            if not excess[q] < math.inf:
                excess[q] = math.inf
            if excess[q] < excess[best]:
                best = q
        decades = min(decades + shifts[best], most)
        shifts = pointer(_FINE, 0) if level == 0 else pointer(_FINEST, 0)
    return 2 * 10.0**decades / largest


def grouped(local: QuadraticModel, most: int = _GROUPS) -> QuadraticModel:
    """At most ``most`` groups of neighbouring eigenvectors, as if each were one."""
    d = len(local.curvature)
    if d <= most:
        return local
    edges = np.linspace(0, d, most + 1).astype(int)[:-1]
    sizes = np.diff(np.append(edges, d))
    within = np.add.reduceat(np.add.reduceat(local.spread, edges, axis=0), edges, axis=1)
    return QuadraticModel(
        np.add.reduceat(local.curvature, edges) / sizes,
        np.add.reduceat(local.error, edges),
        np.add.reduceat(local.noise, edges),
        within / sizes,  # what a group gets from the mean error of another
    )
