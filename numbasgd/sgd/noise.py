"""The statistics of a minibatch gradient: its mean is the full gradient, its deviation falls as b^-1/2.

``gradient_noise`` tells them exactly, for a linear model, from one pass over the rows (``moments``), and checks
the two laws by minibatches that it draws; what is stable, and what a batch size can gain, follows from the
curvature (``learning_rate.stability``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from numbasgd import check
from numbasgd.sgd import other_names
from numbasgd.sgd.columns import Names
from numbasgd.sgd.config import SETTINGS
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.fit import Fit
from numbasgd.sgd.inputs import start_of
from numbasgd.sgd.learning_rate.stability import Curvature, curvature_at, direction_in_words
from numbasgd.sgd.losses import LOSSES, loss_key, slopes
from numbasgd.sgd.moments import Slope, moments
from numbasgd.sgd.streamed_inputs import sampled_dataset
from numbasgd.sgd.warm_start import weights_of

MOST = 10**7  # draws: enough for a standard deviation to a four-thousandth
_DRAWS = 1000
_ROWS = 10**8  # that may be drawn in all where nobody said how many
_BLOCK = 512  # draws whose gradients are kept at once


@dataclass(frozen=True)
class NoiseRow:
    """Minibatch gradients of one batch size: what the law says, and what was measured over many draws.

    std : root mean square distance of a minibatch gradient from the full one, over all entries; None without
    draws. predicted : sigma / sqrt(b), times sqrt((n - b) / (n - 1)) without replacement.
    bias : distance of the mean over the draws from the full gradient.
    bias_expected : what chance alone gives that distance, std / sqrt(draws); bias is a few of it at most.
    """

    batch_size: int
    draws: int
    std: float | None
    predicted: float
    bias: float | None
    bias_expected: float | None


@dataclass(frozen=True)
class Noise:
    """What ``gradient_noise`` found.

    Attributes
    ----------
    with_replacement, without_replacement : tuple of NoiseRow
        A row for each batch size.
    sigma : float
        The standard deviation of the gradient of one row, over all its entries: ``sqrt(tr(Sigma))``.
    gradient_norm : float
        Of the full gradient, |G|.
    n : int
        Rows.
    seed : int
        Of the draws.
    curvature : Curvature
        Of the objective at these weights: its largest eigenvalue, the direction of it, and the largest row.
    names : tuple or None
        Of the columns, where X has them.
    sampled : int or None
        Rows of the sample that all this is estimated from, where X stays in a file; None where it is exact.
    """

    with_replacement: tuple[NoiseRow, ...]
    without_replacement: tuple[NoiseRow, ...]
    sigma: float
    gradient_norm: float
    n: int
    seed: int
    curvature: Curvature
    names: Names | None = None
    sampled: int | None = None

    @property
    def trace(self) -> float:
        """tr(Sigma), the variance of the gradient of one row, summed over its entries."""
        return self.sigma**2

    @property
    def noise_scale(self) -> float:
        """tr(Sigma) / |G|^2, the simple noise scale (McCandlish et al., 2018, arXiv 1812.06162, eq. 2.9).

        A minibatch of so many rows has as much noise as gradient; it grows as the gradient gets smaller.
        """
        squared = self.gradient_norm**2
        return self.trace / squared if squared > 0 else math.inf if self.trace > 0 else math.nan

    @property
    def critical_batch_size(self) -> float:
        """beta / lambda1 + 1 (Ma, Bassily, Belkin, ICML 2018, arXiv 1712.06559, theorem 4)."""
        return self.curvature.critical_batch_size

    @property
    def largest_stable_lr(self) -> float:
        """2 / lambda1, beyond which no batch size is stable."""
        return self.curvature.stable_lr()

    def best_lr(self, batch_size: int) -> float:
        """The best constant rate of a batch size, in data that can be fitted exactly (theorem 3 there)."""
        return self.curvature.best_lr(_batch_size(batch_size, self.n))

    def stable_lr(self, batch_size: int) -> float:
        """The rate up to which a batch size converges, in data that can be fitted exactly (theorem 1 there)."""
        return self.curvature.stable_lr(_batch_size(batch_size, self.n))

    def std(self, batch_size: int, *, replacement: bool = False) -> float:
        """Standard deviation of the gradient of a minibatch, by the law."""
        b = _batch_size(batch_size, self.n)
        return _law(self.sigma, b, self.n, replacement)

    @property
    def direction(self) -> str:
        """The eigenvector of lambda1 in words, by the columns that it has most of."""
        found = self.curvature.direction
        return "unknown" if found is None else direction_in_words(found, self.names)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values; what is infinite is None."""
        direction = self.curvature.direction
        told = {
            "trace": self.trace, "noise_scale": self.noise_scale,
            "critical_batch_size": self.critical_batch_size, "largest_stable_lr": self.largest_stable_lr,
        }  # fmt: skip
        found = {
            "with_replacement": [asdict(row) for row in self.with_replacement],
            "without_replacement": [asdict(row) for row in self.without_replacement],
            "sigma": self.sigma, "gradient_norm": self.gradient_norm, "n": self.n, "seed": self.seed,
            **{name: value if math.isfinite(value) else None for name, value in told.items()},
            "lambda1": self.curvature.largest, "beta": self.curvature.beta,
            "direction": None if direction is None else direction.tolist(),
            "names": None if self.names is None else list(self.names), "sampled": self.sampled,
        }  # fmt: skip
        return found


def gradient_noise(
    X: Any,
    y: Any,
    w: Any = None,
    b: Any = 0.0,
    *,
    loss: str = "squared",
    quantile: float = 0.5,
    l2: float = 0.0,
    intercept: bool = True,
    standardize: bool = False,
    sample_weight: Any = None,
    batch_sizes: Sequence[int] | None = None,
    draws: int | None = None,
    seed: int = 0,
) -> Noise:
    """Mean and standard deviation of minibatch gradients, with and without replacement, and what is stable.

    For a minibatch of b rows drawn with replacement the standard deviation is ``sigma / sqrt(b)``, where
    sigma^2 = tr(Sigma) is the variance of the gradient of one row summed over its entries; without replacement
    it is ``sqrt((n - b) / (n - 1))`` times that, and 0 at b = n (Cochran, Sampling Techniques, 3rd ed., theorem
    2.2). Either way the mean is the full gradient.  Sigma and the gradient are exact, from one pass over the
    rows; of more than some ten thousand rows in a file they are unbiased estimates from a sample.

    Parameters
    ----------
    X : array_like, sparse array or rows in a file, shape (n, d)
        As for ``train``.
    y : array_like, shape (n,) or (n, K)
    w : Fit, or array_like, shape (d,) or (d, K), or a pair (w, b), optional
        Where the gradients are taken; zeros if left out.  A Fit brings its loss, its penalty, whether there is
        an intercept, and whether columns are standardized, so that the noise is that of its steps.
    b : float, or array_like, shape (K,)
    loss : {"squared", "huber", "logistic", "hinge", "softmax", "quantile"}
    quantile : float
        The level of the loss "quantile".
    l2 : float
        Penalty ``l2 * |w|^2 / 2``.
    intercept : bool
        Whether b has a gradient.
    standardize : bool
        Take the gradients on columns with mean 0 and standard deviation 1, as ``train`` does where it chooses
        lr.
    sample_weight : array_like, shape (n,), optional
        How much each row counts; only ratios matter.
    batch_sizes : sequence of int, optional
        1, 2, 5, 10, 20, ... up to n if left out.
    draws : int, optional
        Minibatches per batch size by which the laws are checked: 0, or 2 to 10^7.  Left out: 1000 for one
        output and dense rows, unless these were more than 10^8 rows in all, else none.  A sample allows none.
    seed : int

    Returns
    -------
    Noise

    Raises
    ------
    TypeError, ValueError
        For an argument that is not as described.

    Examples
    --------
    >>> import numbasgd
    >>> X, y = numbasgd.airfoil_twin()
    >>> noise = numbasgd.gradient_noise(X, y, draws=0)
    >>> round(noise.largest_stable_lr, 2), round(noise.std(100) / noise.std(100, replacement=True), 3)
    (0.95, 0.966)
    >>> fit = numbasgd.train(X, y, epochs=3, seed=0)
    >>> numbasgd.gradient_noise(X, y, fit).noise_scale > 10 * noise.noise_scale  # hardly a gradient is left
    True
    """
    fit = w if isinstance(w, Fit) else None
    if fit is not None:
        settings = fit.settings
        loss, quantile, l2 = settings["loss"], settings["quantile"], settings["l2"]
        intercept, standardize = settings["intercept"], settings["standardize"]
    check.choice(loss, "loss", LOSSES, other_names.LOSSES)
    key = loss_key(loss, quantile=SETTINGS["quantile"].check(quantile, "quantile"))
    slope = Slope(key, check.flag(intercept, "intercept"), SETTINGS["l2"].check(l2, "l2"))
    dataset, n = sampled_dataset(X, y, sample_weight, loss)
    dataset.require_finite(math.nan)
    w, b = start_of(_weights(w, b, dataset), dataset, owner="")
    if check.flag(standardize, "standardize"):
        scale = dataset.scale(slope.intercept)
        (w, b), dataset = scale.into(w, b), scale.apply(dataset)
    sizes = _sizes(n) if batch_sizes is None else _given_sizes(batch_sizes, n)
    may_draw = dataset.outputs == 0 and dataset.has_model and dataset.n == n
    draws = _given_draws(draws, may_draw, sizes)
    seed = check.integer(seed, "seed", low=0, hint="Pass an integer.")
    found = moments(dataset, slope, w, b, n)
    sigma, full = math.sqrt(found.trace), found.gradient[:, 0]
    rng = np.random.default_rng(seed)
    tables: dict[bool, list[NoiseRow]] = {True: [], False: []}
    for size in sizes:
        for replacement, table in tables.items():
            predicted = _law(sigma, size, n, replacement)
            std = bias = expected = None
            if draws:
                off, squares = _draw(dataset, slope, (w, b), full, (size, draws, replacement), rng)
                std, bias = math.sqrt(squares), float(np.linalg.norm(off))
                expected = std / math.sqrt(draws)
            table.append(NoiseRow(size, draws, std, predicted, bias, expected))
    return Noise(
        tuple(tables[True]), tuple(tables[False]), sigma, math.sqrt(max(found.squared, 0.0)), n, seed,
        curvature_at(dataset, key, w, b, slope.intercept, slope.l2), dataset.names,
        dataset.n if dataset.n < n else None,
    )  # fmt: skip


def _law(sigma: float, batch_size: int, n: int, replacement: bool) -> float:
    factor = 1.0 if replacement else math.sqrt((n - batch_size) / max(n - 1, 1))
    return sigma / math.sqrt(batch_size) * factor


def _weights(w: Any, b: Any, dataset: Dataset) -> Any:
    """What ``start_of`` takes: None, or a pair."""
    if isinstance(w, Fit):
        return weights_of(w, dataset)
    if isinstance(w, tuple) and len(w) == 2 and np.ndim(w[0]) > 0:
        return w
    if w is not None:
        w = check.array(w, "w", 2 if dataset.outputs else 1)
        check.finite(w, "w")
    columns = (dataset.outputs,) if dataset.outputs else ()
    return (np.zeros((dataset.d, *columns)) if w is None else w), _finite_intercept(b, dataset)


def _finite_intercept(b: Any, dataset: Dataset) -> Any:
    return b if dataset.outputs else check.real(b, "b", hint="Pass the intercept as one number.")


def _given_draws(draws: Any, may_draw: bool, sizes: list[int]) -> int:
    if draws is None:
        return _DRAWS if may_draw and 2 * sum(sizes) * _DRAWS <= _ROWS else 0
    hint = "A standard deviation needs two draws, a good one hundreds."
    if draws == 0 and not isinstance(draws, bool):
        return 0
    draws = check.integer(draws, "draws", low=2, high=MOST, hint=hint)
    if not may_draw:
        raise ValueError(
            f"draws is {draws}; expected 0 where there are several outputs, or rows are sparse or too many "
            "in a file, whose figures need none. Pass 0, or leave draws out."
        )
    return draws


def _draw(
    dataset: Dataset,
    slope: Slope,
    at: tuple[np.ndarray, Any],
    full: np.ndarray,
    how: tuple[int, int, bool],
    rng: np.random.Generator,
) -> tuple[np.ndarray, float]:
    """Mean over the draws of a minibatch gradient's distance from ``full`` (d + 1,), and of its square.

    at : w and b.  how : rows of a minibatch, draws, and whether with replacement.
    """
    size, draws, replacement = how
    n, d = dataset.n, dataset.d
    w, b = at[0].astype(np.float64), float(at[1])
    X, y = dataset.X.astype(np.float64), dataset.y.astype(np.float64)
    s = slopes(slope.loss, X @ w + b, y)
    s = s * dataset.sample_weight if dataset.is_weighted else s
    constant = np.append(slope.l2 * w, 0.0)
    found = np.empty((min(draws, _BLOCK), d + 1))
    off, squares = np.zeros(d + 1), 0.0
    for start in range(0, draws, _BLOCK):
        block = found[: draws - start]
        for row in block:
            rows = rng.choice(n, size, replace=replacement)
            taken = s[rows]
            row[:d] = taken @ X[rows] / size
            row[d] = taken.mean() * slope.intercept
        block += constant - full
        off += block.sum(axis=0)
        squares += float(np.square(block).sum())
    return off / draws, squares / draws


def _sizes(n: int) -> list[int]:
    """1, 2, 5, 10, 20, 50, ... and n itself."""
    steps = [m * 10**e for e in range(len(str(n))) for m in (1, 2, 5)]
    return [s for s in steps if s < n] + [n]


def _batch_size(value: Any, n: int) -> int:
    return check.integer(value, "batch_size", low=1, high=n, hint=f"Pass 1 to the {n} rows.")


def _given_sizes(values: Any, n: int) -> list[int]:
    hint = f"Pass sizes up to the {n} rows of X, for example [1, {n}]."
    if not isinstance(values, Iterable) or isinstance(values, str | bytes):
        raise TypeError(f"batch_sizes is {values!r}; expected a sequence of integers. {hint}")
    sizes = [check.integer(value, "batch_sizes", low=1, high=n, hint=hint) for value in values]
    if not sizes:
        raise ValueError(f"batch_sizes is empty; expected at least one size. {hint}")
    return sizes
