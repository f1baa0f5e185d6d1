"""The data of the training experiments, and what algebra knows of least squares on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from numbasgd import check
from numbasgd.data import airfoil, airfoil_twin
from numbasgd.errors import DataError
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.inputs import make_dataset

_BLOCK = 1 << 20  # entries that are converted at once
AIRFOIL, TWIN, ARRAYS = "the airfoil data", "the embedded twin of the airfoil data", "your arrays"


def given_or_airfoil(X: Any, y: Any) -> tuple[Any, Any, str]:
    """X and y with a name: what was passed, or the airfoil data, or its twin where the file is not at hand.

    Nothing is downloaded for this.
    """
    if X is None and y is None:
        try:
            return *airfoil.prepare(airfoil.find(may_download=False).content), AIRFOIL
        except DataError:
            return *airfoil_twin(), TWIN
    if X is None or y is None:
        missing, given = ("X", "y") if X is None else ("y", "X")
        raise TypeError(
            f"{missing} is missing while {given} was passed; expected both, or neither for the airfoil data. "
            f"Pass {missing}."
        )
    return X, y, ARRAYS


def one_output(X: Any, y: Any) -> Dataset:
    """The rows and targets of a linear regression with one output, finite, in rows that lie together.

    Raises
    ------
    TypeError, ValueError
        For data of another kind.
    """
    dataset = make_dataset(X, y, None, "squared")
    if dataset.outputs > 1 or not isinstance(dataset.X, np.ndarray):
        raise ValueError("y has several columns, or X is sparse; expected y (n,) and an array X. Pass these.")
    check.finite(dataset.X, "X")
    check.finite(dataset.y, "y")
    return dataset.together(is_shuffled=True)


def made_large(n: int = 1 << 17, d: int = 32, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A least-squares problem that is large enough for the argument: all rows cost far more than a minibatch.

    Columns have mean 0 and deviation 1, each correlated with the one before (0.7), and y is a linear function
    of them and as much noise again.

    Returns
    -------
    X : ndarray, float32, shape (n, d)
    y : ndarray, float32, shape (n,)
    """
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d), np.float32)
    for j in range(1, d):
        X[:, j] = 0.7 * X[:, j - 1] + np.float32(0.51**0.5) * X[:, j]
    z = X @ rng.standard_normal(d).astype(np.float32)
    z /= z.std()
    return X, z + rng.standard_normal(n, np.float32)


def _blocks(X: np.ndarray, y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Some rows at a time in float64, with a column of ones behind, and their targets."""
    count = max(1, _BLOCK // (X.shape[1] + 1))
    for at in range(0, len(y), count):
        rows = X[at : at + count].astype(np.float64)
        yield np.column_stack([rows, np.ones(len(rows))]), y[at : at + count].astype(np.float64)


class LeastSquares:
    """The half mean squared error of ``X @ w + b`` as a function of the weights (d + 1,), the intercept last.

    hessian : (d + 1, d + 1).  optimum : (d + 1,), its least loss ``least``.  at_zero : the loss at w = 0.
    """

    def __init__(self, X: np.ndarray, y: np.ndarray) -> None:
        n, d = X.shape
        self.hessian, moment = np.zeros((d + 1, d + 1)), np.zeros(d + 1)
        self.at_zero = self.least = 0.0
        for columns, target in _blocks(X, y):
            self.hessian += columns.T @ columns / n
            moment += columns.T @ target / n
            self.at_zero += float(target @ target) / (2 * n)
        self.optimum = np.linalg.lstsq(self.hessian, moment, rcond=1e-12)[0]
        for columns, target in _blocks(X, y):
            residual = columns @ self.optimum - target
            self.least += float(residual @ residual) / (2 * n)

    @property
    def largest_stable_rate(self) -> float:
        """Above it gradient descent diverges: 2 / the largest eigenvalue of the Hessian."""
        return 2 / float(np.linalg.eigvalsh(self.hessian)[-1])

    def excess(self, weights: np.ndarray) -> float:
        """The loss above the least one, without the digits that a difference of losses would lose."""
        off = weights.astype(np.float64) - self.optimum
        return 0.5 * float(off @ self.hessian @ off)
