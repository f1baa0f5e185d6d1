"""What a constant learning rate will have reached after so many steps, by the noisy quadratic model."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_GROUPS = 24  # eigenvectors are merged to at most so many
_COARSE = np.linspace(-6, 0, 13)  # decades below twice the inverse of the largest curvature
_FINE = np.linspace(-0.42, 0.42, 13)  # decades around the best of these


class Local(NamedTuple):
    """The problem near its optimum, seen from the eigenvectors of its Hessian, estimated from a sample of rows.

    curvature : (d,) eigenvalues.  error : (d,) squared distance of the start from the optimum.
    noise : (d,) variance of the gradient of one row at the optimum.
    spread : (d, d) what one row's gradient adds to that variance, per squared error along each direction.
    """

    curvature: np.ndarray
    error: np.ndarray
    noise: np.ndarray
    spread: np.ndarray


def best_constant(local: Local, n: int, batch_size: int, epochs: int, sampling: str = "reshuffle") -> float:
    """The constant rate with the least expected loss after so many epochs, to some percent.

    Along each eigenvector the mean squared error m of the weights follows, from one step to the next,
    ``m := (1 - lr h)^2 m + lr^2 / b (noise + spread m)`` with h the curvature and b the batch size: the noisy
    quadratic model (Zhang et al., "Which algorithmic choices matter at which batch sizes?", NeurIPS 2019,
    arXiv 1907.04164, eq. 3) with the noise that rows of different length add (Defossez and Bach, "Averaged
    least-mean-squares", AISTATS 2015, arXiv 1412.0156, section 3).  Rates beyond stability come out large by
    themselves.
    """
    local = grouped(local)
    epochs = max(1, epochs)
    d = len(local.curvature)
    largest = max(float(local.curvature.max()), 1e-300)
    curvature = np.append(local.curvature, 0.0) / largest
    noise = np.zeros((d + 1, d + 1))
    noise[:d, :d] = local.spread
    noise[:d, d] = local.noise
    start = np.append(local.error, 1.0)
    with np.errstate(over="ignore", invalid="ignore"):
        noise /= largest
        noise /= largest

        def best_of(decades: np.ndarray) -> float:
            rates = 2 * 10.0**decades
            sizes = step_variance(rates[:, None] * curvature, n, batch_size, epochs, sampling)
            excess = _excess(rates, curvature, sizes, noise, start, epochs * -(-n // batch_size))
            return float(decades[excess.argmin()])

        best = best_of(_COARSE)
        best = best_of(np.minimum(best + _FINE, 0.0))
    return float(2 * 10.0**best) / largest


def _excess(
    rates: np.ndarray,
    curvature: np.ndarray,
    sizes: np.ndarray,
    noise: np.ndarray,
    start: np.ndarray,
    steps: int,
) -> np.ndarray:
    """Twice the expected loss above the minimum after so many steps, for each of the rates (q,).

    A step is a linear map of the errors, a 1 behind them: ``noise`` (d + 1, d + 1) times the square of the
    rate, and what is left of each error on the diagonal.  Its power comes from squaring it again and again,
    for all rates at once.
    """
    step = (np.square(rates)[:, None] * sizes)[:, :, None] * noise
    step.reshape(len(rates), -1)[:, :: len(start) + 1] += np.square(1 - rates[:, None] * curvature)
    state = start[:, None]
    while True:
        if steps & 1:
            state = step @ state
        steps >>= 1
        if steps == 0:
            break
        step = step @ step
    excess = state[..., 0] @ curvature
    return np.where(excess < np.inf, excess, np.inf)


def step_variance(moved: np.ndarray, n: int, batch_size: int, epochs: int, sampling: str) -> np.ndarray:
    """The variance of a step's mean gradient, per variance of one row's, that acts along an eigenvector.

    moved : rate times curvature, of any shape: the share of the error that a step takes away.

    With rows drawn with replacement it is 1 / b.  Rows that each come once an epoch have deviations that add
    up to nothing, so an epoch leaves less behind than its steps alone would: with q = 1 - moved, batches t of
    b_t rows and c_t = q^(steps still to come), the variance of sum_t c_t g_t is that of sampling without
    replacement (Cochran, "Sampling Techniques", 1977, theorem 2.2), ``n / (n - 1) (sum_t c_t^2 / b_t - (sum_t
    c_t)^2 / n)``.  It is spread over the steps here.  The same order in all epochs adds the same remainder
    again and again: its amplitudes add up, not its variances.
    """
    if sampling == "replacement":
        return np.full_like(moved, 1 / batch_size)
    count = -(-n // batch_size)
    last = n - (count - 1) * batch_size
    q = np.maximum(1 - moved, -1.0)
    moved = np.maximum(1 - q, 1e-12)
    q = 1 - moved
    kept = q**count
    squares = np.where(q == -1, count, (1 - kept * kept) / ((1 - q * q) + (q == -1)))
    total = (1 - kept) / moved
    variance = (squares - 1) / batch_size + 1 / last - total * total / n
    variance = np.maximum(variance, 0) * (n / max(n - 1, 1)) / squares
    if sampling != "reshuffle":
        last_kept = kept**epochs
        variance *= (1 - last_kept) * (1 + kept) / ((1 - kept) * (1 + last_kept))
    return variance


def grouped(local: Local, most: int = _GROUPS) -> Local:
    """At most ``most`` groups of neighbouring eigenvectors, as if each were one."""
    d = len(local.curvature)
    if d <= most:
        return local
    edges = np.linspace(0, d, most + 1).astype(int)[:-1]
    sizes = np.diff(np.append(edges, d))
    within = np.add.reduceat(np.add.reduceat(local.spread, edges, axis=0), edges, axis=1)
    return Local(
        np.add.reduceat(local.curvature, edges) / sizes,
        np.add.reduceat(local.error, edges),
        np.add.reduceat(local.noise, edges),
        within / sizes,  # what a group gets from the mean error of another
    )
