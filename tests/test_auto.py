"""Tests of the learning rate that ``lr="auto"`` finds, and of what it is found with."""

import functools
import math

import numpy as np
import pytest

import numbasgd
from numbasgd.errors import DivergenceError
from numbasgd.sgd.config import Method
from numbasgd.sgd.inputs import make_dataset
from numbasgd.sgd.learning_rate import race
from numbasgd.sgd.learning_rate.auto import auto_rate
from numbasgd.sgd.learning_rate.cost import Budget, Cost, Size, size_for
from numbasgd.sgd.learning_rate.pilot import Pilot
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

QUICK = {("three classes", 1000)}
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
@pytest.mark.filterwarnings("ignore:lr is .* beyond the largest stable one:UserWarning")
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


class Curve(Pilot):
    """A pilot whose runs end with the values of a function, each at the cost of 1."""

    def __init__(self, loss, budget, first=1.0):
        self.budget, self.first, self.cost = Budget(0), first, 1.0
        self.budget.left = budget
        self.losses, self._seen, self._runs, self._curve = {}, {}, {}, loss

    def run(self, octave):
        self._runs[octave] = self._runs.get(octave, 0) + 1
        self.budget.spend(self.cost)
        self.losses[octave] = self._curve(octave)


@pytest.mark.parametrize("best", [-9.3, -0.5, 0.0, 4.9])
def test_climbing_finds_the_least_loss(best):
    curve = Curve(lambda octave: math.inf if octave > best + 2 else (octave - best) ** 2, 1000)
    assert curve.climb(curve.climb(0.0), 0.5) == pytest.approx(best, abs=0.26)
    assert set(curve._runs.values()) == {1}


def test_climbing_ends_with_the_budget():
    curve = Curve(lambda octave: -octave, 7)
    assert curve.climb(0.0) == 6
    assert curve.budget.left == 0


def test_climbing_stays_where_nothing_is_finite():
    assert Curve(lambda octave: math.inf, 3).climb(0.5) <= 0.5


def test_rates_that_the_loss_does_not_tell_apart_give_the_middle():
    flat = Curve(lambda octave: max(abs(octave - 3) - 2, 0) + 1e-9 * octave, 100)
    for octave in range(-2, 9):
        flat.loss(float(octave))
    assert flat.best == 3


@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize(
    ("n", "batch_size", "epochs"), [(5000, 1, 30), (5000, 128, 30), (5003, 5003, 5), (90, 7, 1)]
)
def test_a_smaller_run_has_as_many_steps_or_larger_minibatches(n, batch_size, epochs, outputs):
    dataset = make_dataset(
        np.zeros((n, 3)), np.zeros((n, outputs)) if outputs > 1 else np.zeros(n), None, "squared"
    )
    whole, cost = Size(n, batch_size, epochs), Cost(10.0, 20.0, 5.0)
    for target in (1e4, 1e5, 1e6, 1e9):
        size = size_for(dataset, whole, cost, target, 256)
        assert 1 <= size.batch_size <= size.rows <= n and 1 <= size.epochs <= epochs
        assert cost.run(size) <= max(1.5 * target, cost.run(Size(min(n, 300), size.batch_size, 1)) * 1.5)
        if size.epochs == epochs and size.rows > 8 * size.batch_size:
            assert -(-size.rows // size.batch_size) <= -(-n // batch_size) + 1
    assert size == whole


@pytest.fixture
def visits(monkeypatch):
    """Row visits of each run of a pilot."""
    seen = []

    def counts(method):
        def counted(pilot, *args):
            found = method(pilot, *args)
            seen.append(pilot.solver.samples)
            return found

        return counted

    monkeypatch.setattr(Pilot, "run", counts(Pilot.run))
    monkeypatch.setattr(Pilot, "_epochs_to", counts(Pilot._epochs_to))
    return seen


@pytest.mark.parametrize("batch_size", [pytest.param(1, marks=slow), pytest.param(32, marks=slow), 6000])
@pytest.mark.parametrize("distance", [0.5, 4.0], ids=["mixed", "told apart"])
def test_auto_visits_fewer_rows_than_training(distance, batch_size, visits, rng):
    loss, X, y = blobs(4, distance, 6000, rng)
    epochs = 20
    train(X, y, loss=loss, batch_size=batch_size, epochs=epochs, eval_every=None, seed=0)
    assert len(visits) > 3
    # A row costs less in the minibatches of a pilot than in steps of one row.
    assert sum(visits) <= epochs * len(X) * (2 if batch_size == 1 else 1)


def test_auto_makes_no_runs_where_a_model_holds(visits, rng):
    for loss, X, y in (regression(1.0, 1500, rng), outliers(1500, rng), classes(1.0, 1500, rng)):
        train(X, y, loss=loss, batch_size=10, seed=0)
    assert visits == []


REPEATED = {
    "squared": lambda X, z: z,
    "two targets": lambda X, z: np.column_stack([z, X[:, 0] - z]),
    "huber": lambda X, z: z,
    "quantile": lambda X, z: z,
    "logistic": lambda X, z: z > 0,
    "hinge": lambda X, z: z > 0,
    "softmax": lambda X, z: np.digitize(z, [-1.0, 1.0]),
}


@pytest.mark.parametrize("epochs", [pytest.param(1, marks=slow), 30])
@pytest.mark.parametrize(
    "name", [name if name == "softmax" else pytest.param(name, marks=slow) for name in REPEATED]
)
def test_weights_and_repeated_rows_have_the_same_rate(name, epochs, rng):
    X = rng.standard_normal((60, 4))
    y = REPEATED[name](X, X @ rng.standard_normal(4) + rng.standard_normal(60))
    weights = rng.integers(0, 4, 60)
    repeated = rng.permutation(np.repeat(np.arange(60), weights))
    loss = "squared" if name == "two targets" else name

    def rate(X, y, sample_weight=None):
        options = {"loss": loss, "batch_size": len(X), "epochs": epochs, "seed": 0}
        return train(X, y, sample_weight=sample_weight, **options).settings["lr"]

    counts = weights > 0
    assert rate(X, y, weights) == rate(X[repeated], y[repeated]) == rate(X[counts], y[counts], weights[counts])


@pytest.mark.parametrize("name", ["three classes", "hinge", "median"])
def test_auto_finds_the_same_rate_again(name, rng):
    loss, X, y = PROBLEMS[name](rng)
    rates = {train(X, y, **settings_of(loss), epochs=3, seed=seed).settings["lr"] for seed in (0, 0, 7)}
    assert len(rates) == 1


def test_auto_says_what_it_chose_by(rng):
    for (loss, X, y), reason in ((regression(1.0, 300, rng), "model"), (blobs(3, 1.0, 300, rng), "all rows")):
        dataset = make_dataset(X, y, None, loss)
        method = Method(loss, 10, np.ones(1), "reshuffle", 0, True, 0.0, False, None, 0.0, 0.0, 1)
        K = dataset.outputs
        w, b = (np.zeros((X.shape[1], K)), np.zeros(K)) if K else (np.zeros(X.shape[1]), 0.0)
        choice = auto_rate(dataset, method, w, b, 3)
        assert reason in choice.reason and choice.rate > 0


def test_auto_of_a_schedule_is_that_of_its_runs(rng):
    loss, X, y = regression(1.0, 400, rng)
    dataset = make_dataset(X, y, None, loss)
    method = Method(loss, 10, np.ones(1), "reshuffle", 0, True, 0.0, False, None, 0.0, 0.0, 1)
    half = auto_rate(
        dataset,
        method,
        np.zeros(5),
        0.0,
        4,
        lambda method, rows, epochs: method._replace(lrs=np.full(epochs, 0.5)),
    )
    whole = auto_rate(dataset, method, np.zeros(5), 0.0, 4, lambda method, rows, epochs: method)
    assert half.rate == pytest.approx(2 * whole.rate, rel=1e-3)


def test_classes_of_some_rows_tell_little_of_all(rng, monkeypatch):
    """Few rows can be told apart, all can not: no rate that is best where the loss falls to nothing."""
    X = rng.standard_normal((3000, 40))
    y = (X[:, :3] + 0.7 * rng.standard_normal((3000, 3))).argmax(axis=1)
    seen = []
    whole = race._of_all_rows
    monkeypatch.setattr(race, "_of_all_rows", lambda *a: seen.append(whole(*a)) or seen[-1])
    options = {"loss": "softmax", "batch_size": 32, "epochs": 20, "eval_every": None, "seed": 0}
    chosen = train(X, y, **options)
    larger = train(X, y, lr=32 * chosen.settings["lr"], **options)
    assert chosen.loss[-1] < larger.loss[-1]
    assert chosen.loss[-1] < 0.7 * chosen.loss[0]


STUDY = [
    (name, batch_size)
    for name in ("little noise", "outliers", "classes", "classes hard to tell apart", "three classes", "hinge")
    for batch_size in (1, 16, 128, 1500)
]


@slow
@pytest.mark.filterwarnings("ignore:column")
@pytest.mark.filterwarnings("ignore:lr is .* beyond the largest stable one:UserWarning")
def test_auto_holds_for_few_and_many_epochs():
    """A sample of the cells of a study: the gap that is left against that of the best constant rate."""
    ratios = {}
    for name, batch_size in STUDY:
        loss, X, y = PROBLEMS[name](np.random.default_rng(1))
        bottom = least_loss(loss, X, y)
        for epochs in (1, 5, 30):
            options = {**settings_of(loss), "batch_size": batch_size, "epochs": epochs, "eval_every": None}

            def gap(lr, X=X, y=y, options=options, bottom=bottom):
                try:
                    fits = [train(X, y, lr=lr, seed=seed, **options) for seed in range(5)]
                except DivergenceError:
                    return math.inf
                first = fits[0].loss[0] - bottom
                return max(float(np.median([fit.loss[-1] for fit in fits]) - bottom) / first, 1e-6)

            auto = train(X, y, seed=0, **options).settings["lr"]
            found = gap(auto)
            best = min(found, *(gap(auto * 2.0 ** (0.5 * k)) for k in range(-12, 17)))
            ratios[name, batch_size, epochs] = found / best
    above = {cell: ratio for cell, ratio in ratios.items() if ratio > 1.5}
    assert len(above) <= 0.1 * len(ratios), above
    assert max(ratios.values()) <= 8, above
