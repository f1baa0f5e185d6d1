"""The statistics of a minibatch gradient: its mean is the full gradient, its deviation falls as b^-1/2."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from numbasgd import check
from numbasgd.sgd.gradient import gradient
from numbasgd.sgd.inputs import rows_and_targets
from numbasgd.sgd.solvers.epoch import kernels, padded, work_for

MOST = 10**7  # draws: enough for a standard deviation to a four-thousandth
_BLOCK = 512  # draws whose gradients are kept at once


@dataclass(frozen=True)
class NoiseRow:
    """Minibatch gradients of one batch size, measured over many draws.

    std : root mean square distance of a minibatch gradient from the full one, over all d + 1 entries.
    predicted : sigma / sqrt(b), times sqrt((n - b) / (n - 1)) without replacement.
    bias : distance of the mean over the draws from the full gradient.
    bias_expected : what chance alone gives that distance, std / sqrt(draws); bias is a few of it at most.
    """

    batch_size: int
    draws: int
    std: float
    predicted: float
    bias: float
    bias_expected: float


@dataclass(frozen=True)
class Noise:
    """What ``gradient_noise`` found; ``sigma`` is the standard deviation of the gradient of one sample."""

    with_replacement: tuple[NoiseRow, ...]
    without_replacement: tuple[NoiseRow, ...]
    sigma: float
    gradient_norm: float
    n: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)


def gradient_noise(
    X: Any,
    y: Any,
    w: Any = None,
    b: float = 0.0,
    *,
    batch_sizes: Sequence[int] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Noise:
    """Measure mean and standard deviation of minibatch gradients, with and without replacement.

    For a minibatch of b rows drawn with replacement the standard deviation is ``sigma / sqrt(b)``, where
    sigma^2 is the variance of the gradient of one sample summed over its entries; without replacement it is
    ``sqrt((n - b) / (n - 1))`` times that, and 0 at b = n (Cochran, Sampling Techniques, 3rd ed., theorem
    2.2).  Either way the mean is the full gradient.

    Parameters
    ----------
    X : array_like, shape (n, d)
    y : array_like, shape (n,)
    w : array_like, shape (d,), optional
        Where the gradients are taken; zeros if left out.
    b : float
    batch_sizes : sequence of int, optional
        1, 2, 5, 10, 20, ... up to n if left out.
    draws : int
        Minibatches per batch size, 2 to 10^7.
    seed : int

    Returns
    -------
    Noise

    Raises
    ------
    TypeError, ValueError
        For an argument that is not as described.
    """
    X, y, _ = rows_and_targets(X, y)
    check.finite(X, "X")
    check.finite(y, "y")
    n, d = X.shape
    w = np.zeros(d) if w is None else check.array(w, "w", 1)
    check.finite(w, "w")
    b = check.real(b, "b", hint="Pass the intercept as one number.")
    hint = "A standard deviation needs two draws, a good one hundreds."
    draws = check.integer(draws, "draws", low=2, high=MOST, hint=hint)
    seed = check.integer(seed, "seed", low=0, hint="Pass an integer.")
    sizes = _sizes(n) if batch_sizes is None else _given_sizes(batch_sizes, n)
    # In float64: at b = n the deviation is 0, and rounding must not be mistaken for noise.
    X, y, w = (check.for_kernel(a.astype(np.float64)) for a in (X, y, w))
    g, gb = gradient(X, y, w, b)
    full = np.append(g, gb)
    residual = X @ w + b - y
    per_sample = np.column_stack([X * residual[:, None], residual])
    sigma = float(np.sqrt(np.mean(np.sum((per_sample - full) ** 2, axis=1))))
    rng = np.random.default_rng(seed)
    tables: dict[bool, list[NoiseRow]] = {True: [], False: []}
    for size in sizes:
        for replacement, table in tables.items():
            off, squares = _draw((X, y, w, b), full, size, draws, replacement, rng)
            std = float(np.sqrt(squares))
            factor = 1.0 if replacement else np.sqrt((n - size) / max(n - 1, 1))
            table.append(
                NoiseRow(
                    batch_size=size,
                    draws=draws,
                    std=std,
                    predicted=float(sigma / np.sqrt(size) * factor),
                    bias=float(np.linalg.norm(off)),
                    bias_expected=std / float(np.sqrt(draws)),
                )
            )
    return Noise(tuple(tables[True]), tuple(tables[False]), sigma, float(np.linalg.norm(full)), n, seed)


def _draw(
    problem: tuple[np.ndarray, np.ndarray, np.ndarray, float],
    full: np.ndarray,
    size: int,
    draws: int,
    replacement: bool,
    rng: np.random.Generator,
) -> tuple[np.ndarray, float]:
    """Mean over the draws of a minibatch gradient's distance from ``full`` (d + 1,), and of its square.

    problem : X, y, w and b.
    """
    X, y, w, b = problem
    compiled = kernels("squared", X.shape[1], X.dtype)
    n, d = X.shape
    scratch = np.empty(work_for(d, compiled.lanes, False)), np.empty(padded(d, compiled.lanes))
    samples = X.reshape(-1), d, 0, d, 1, y, y[:0]
    found = np.empty((min(draws, _BLOCK), d + 1))
    off, squares = np.zeros(d + 1), 0.0
    for start in range(0, draws, _BLOCK):
        block = found[: draws - start]
        for row in block:
            rows = rng.choice(n, size, replace=replacement)
            compiled.gradient(samples, (rows, 0), w, b, row, scratch)
        block -= full
        off += block.sum(axis=0)
        squares += float(np.square(block).sum())
    return off / draws, squares / draws


def _sizes(n: int) -> list[int]:
    """1, 2, 5, 10, 20, 50, ... and n itself."""
    steps = [m * 10**e for e in range(len(str(n))) for m in (1, 2, 5)]
    return [s for s in steps if s < n] + [n]


def _given_sizes(values: Any, n: int) -> list[int]:
    hint = f"Pass sizes up to the {n} rows of X, for example [1, {n}]."
    if not isinstance(values, Iterable) or isinstance(values, str | bytes):
        raise TypeError(f"batch_sizes is {values!r}; expected a sequence of integers. {hint}")
    sizes = [check.integer(value, "batch_sizes", low=1, high=n, hint=hint) for value in values]
    if not sizes:
        raise ValueError(f"batch_sizes is empty; expected at least one size. {hint}")
    return sizes
