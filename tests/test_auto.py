"""Tests of the learning rate that ``lr="auto"`` finds, and of what it is found with."""

import functools
import math

import numpy as np
import pytest

import numbasgd
from numbasgd.errors import DivergenceError
from numbasgd.sgd.learning_rate.pilot import least
from numbasgd.sgd.learning_rate.quadratic import step_variance
from numbasgd.sgd.order import SAMPLINGS

slow = pytest.mark.slow
train = functools.partial(numbasgd.train, standardize=False)  # the rate for X as it is


def gaussian(n, d, rng):
    return rng.standard_normal((n, d)), rng.standard_normal(d)


def regression(noise, n, rng):
    X, w = gaussian(n, 5, rng)
    return "squared", X, X @ w + noise * rng.standard_normal(n)


def outliers(n, rng):
    X, w = gaussian(n, 5, rng)
    return "huber", X, X @ w + rng.standard_t(2, n)


def quantiles(q, n, rng):
    X, w = gaussian(n, 5, rng)
    return f"quantile {q}", X, X @ w + rng.standard_normal(n)


def classes(width, n, rng, loss="logistic"):
    """Classes as a logistic model has them; the wider, the better they can be told apart."""
    X, w = gaussian(n, 5, rng)
    return loss, X, rng.random(n) < 1 / (1 + np.exp(-width * (X @ w)))


def blobs(classes, distance, n, rng):
    y = rng.integers(0, classes, n)
    return "softmax", distance * rng.standard_normal((classes, 6))[y] + rng.standard_normal((n, 6)), y


PROBLEMS = {
    "little noise": lambda rng: regression(0.1, 1500, rng),
    "much noise": lambda rng: regression(10.0, 1500, rng),
    "outliers": lambda rng: outliers(1500, rng),
    "median": lambda rng: quantiles(0.5, 1500, rng),
    "nine tenths": lambda rng: quantiles(0.9, 1500, rng),
    "classes": lambda rng: classes(1.0, 1500, rng),
    "classes hard to tell apart": lambda rng: classes(0.2, 1500, rng),
    "classes easy to tell apart": lambda rng: classes(20.0, 1500, rng),
    "hinge": lambda rng: classes(1.0, 1500, rng, loss="hinge"),
    "more rows than a sample": lambda rng: classes(1.0, 9000, rng),
    "three classes": lambda rng: blobs(3, 1.0, 1500, rng),
    "four classes hard to tell apart": lambda rng: blobs(4, 0.2, 1500, rng),
    "four classes of more rows": lambda rng: blobs(4, 0.7, 9000, rng),
}

QUICK = {("much noise", 10), ("nine tenths", 10), ("classes easy to tell apart", 100), ("three classes", 1000)}
CASES = [
    pytest.param(name, batch_size, marks=() if (name, batch_size) in QUICK else slow)
    for name in PROBLEMS
    for batch_size in (1, 10, 100, 1000)
]


def value_and_slope(loss, Z, y):
    """The mean loss of the scores Z, one column for each output, and its slope in each of them."""
    rows = np.arange(len(Z))
    if loss == "softmax":
        parts = np.exp(Z - Z.max(axis=1, keepdims=True))
        P = parts / parts.sum(axis=1, keepdims=True)
        return -np.mean(np.log(P[rows, y])), P - np.eye(Z.shape[1])[y]
    z, signs = Z[:, 0], 2.0 * y - 1
    r = z - y
    value, slope = {
        "squared": lambda: (r**2 / 2, r),
        "huber": lambda: (np.where(np.abs(r) <= 1, r**2 / 2, np.abs(r) - 0.5), np.clip(r, -1, 1)),
        "logistic": lambda: (np.logaddexp(0, -signs * z), -signs * np.exp(-np.logaddexp(0, signs * z))),
    }[loss]()
    return value.mean(), slope[:, None]


def settings_of(loss):
    """The settings of a loss, from its name and perhaps its level."""
    name, _, level = loss.partition(" ")
    return {"loss": name, "quantile": float(level)} if level else {"loss": name}


def least_loss(loss, X, y):
    """The loss at the optimum, by NumPy's gradient descent with momentum; of losses with kinks, otherwise."""
    if loss.startswith("quantile"):  # by iteratively reweighted least squares
        A, q = np.column_stack([X, np.ones(len(X))]), settings_of(loss)["quantile"]
        w = np.zeros(A.shape[1])
        for _ in range(300):
            weight = 0.5 / np.maximum(np.abs(y - A @ w), 1e-6)
            w = np.linalg.solve(A.T * weight @ A, A.T @ (weight * y + q - 0.5))
        r = y - A @ w
        return np.mean(np.where(r >= 0, q * r, (q - 1) * r))
    if loss == "hinge":
        options = {"batch_size": 10, "average": 100, "eval_every": None, "seed": 0, "epochs": 1000}
        return min(train(X, y, loss=loss, lr=lr, **options).loss[-1] for lr in (0.1, 0.03, 0.01))
    A, lr = np.column_stack([X, np.ones(len(X))]), 0.1 if loss in ("squared", "huber") else 1.0
    W = V = np.zeros((A.shape[1], y.max() + 1 if loss == "softmax" else 1))
    for _ in range(1000):
        G = A.T @ value_and_slope(loss, A @ W, y)[1] / len(A)
        V = 0.95 * V + G
        W = W - lr * (G + 0.95 * V)
    return value_and_slope(loss, A @ W, y)[0]


@pytest.mark.filterwarnings("ignore:column")  # some rates of the grid are too large
@pytest.mark.parametrize(("name", "batch_size"), CASES)
def test_auto_is_near_the_best_of_a_grid(name, batch_size, rng):
    loss, X, y = PROBLEMS[name](rng)
    bottom = least_loss(loss, X, y)

    def excess(lr):
        try:
            options = {**settings_of(loss), "batch_size": batch_size, "epochs": 5, "eval_every": None, "lr": lr}
            return np.mean([train(X, y, seed=seed, **options).loss[-1] for seed in range(5)]) - bottom
        except DivergenceError:
            return math.inf

    auto = train(X, y, **settings_of(loss), batch_size=batch_size, epochs=5, seed=0).settings["lr"]
    assert excess(auto) <= 1.5 * min(excess(auto * 1.5**e) for e in range(-10, 10))


@pytest.mark.parametrize(
    "name", ["classes", *(pytest.param(name, marks=slow) for name in ("outliers", "hinge", "three classes"))]
)
def test_auto_is_the_same_for_both_dtypes(name, rng):
    loss, X, y = PROBLEMS[name](rng)
    y = y.astype(np.float32) if loss == "huber" else y
    rates = [train(X.astype(dtype), y, loss=loss, epochs=1).settings["lr"] for dtype in ("f4", "f8")]
    assert rates[0] == pytest.approx(rates[1], rel=0.2)


@pytest.mark.parametrize("sampling", ["reshuffle", "once", "replacement"])
@pytest.mark.parametrize(("n", "batch_size", "moved"), [(10, 4, 0.3), (12, 3, 0.05), (10, 3, 1.7), (6, 6, 0.5)])
def test_variance_of_steps_against_drawn_orders(sampling, n, batch_size, moved, rng):
    epochs = 2
    x = rng.standard_normal(n)
    x -= x.mean()
    ends = np.zeros(20_000)
    order = rng.permuted(np.tile(np.arange(n), (len(ends), 1)), axis=1)
    for _ in range(epochs):
        if sampling == "reshuffle":
            order = rng.permuted(order, axis=1)
        for start in range(0, n, batch_size):
            rows = order[:, start : start + batch_size]
            if sampling == "replacement":
                rows = rng.integers(0, n, (len(ends), batch_size))
            ends = (1 - moved) * ends + x[rows].mean(axis=1)
    steps = epochs * -(-n // batch_size)
    squares = sum((1 - moved) ** (2 * t) for t in range(steps))
    expected = step_variance.py_func(moved, n, batch_size, epochs, SAMPLINGS[sampling]) * squares * x.var()
    # Its mean is that over all epochs, so a short last minibatch with replacement is not told apart.
    np.testing.assert_allclose(expected, ends.var(), rtol=0.05, atol=1e-12)


@pytest.mark.parametrize("best", [1e-3, 0.7, 1.0, 30.0])
def test_search_finds_the_least_loss(best):
    seen = []

    def loss(rate):
        seen.append(rate)
        return math.inf if rate > 4 * best else math.log2(rate / best) ** 2

    found = least(loss, 1.0)
    if abs(math.log2(best)) < 8:
        assert found == pytest.approx(best)
    else:
        assert found == pytest.approx(2.0**-9)  # as far as it goes
    assert len(seen) == len(set(seen))


def test_search_stays_where_nothing_is_finite():
    assert least(lambda rate: math.inf, 0.5) == 0.5
