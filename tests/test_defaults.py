"""What ``train`` does when it is left alone: rounds, scaled columns, when it stops and what it returns."""

import itertools
import json
import time

import numpy as np
import pytest
from runs import assert_same, cut

from numbasgd import Fit, train
from numbasgd.sgd.inputs import make_dataset
from numbasgd.sgd.scale import Scale

slow = pytest.mark.slow


def least_squares(X, y):
    """The least half-squared loss, and that of no weights."""
    A = np.column_stack([X, np.ones(len(X))])
    w = np.linalg.lstsq(A, y, rcond=None)[0]
    return 0.5 * np.mean((A @ w - y) ** 2), 0.5 * np.mean(y**2)


def logistic_optimum(X, y, l2):
    """The least objective, by Newton's method."""
    A, signs = np.column_stack([X, np.ones(len(X))]), 2.0 * y - 1
    w, ridge = np.zeros(A.shape[1]), np.append(np.full(X.shape[1], l2), 0.0)
    for _ in range(50):
        p = 1 / (1 + np.exp(signs * (A @ w)))
        H = (A.T * (p * (1 - p))) @ A / len(A) + np.diag(ridge)
        w -= np.linalg.solve(H, ridge * w - A.T @ (signs * p) / len(A))
    return np.mean(np.logaddexp(0, -signs * (A @ w))) + 0.5 * ridge @ w**2


def correlated(n, d, rng):
    """Columns that share most of their variance."""
    return rng.standard_normal((n, d)) + 3 * rng.standard_normal((n, 1))


SCALES = np.logspace(-3, 4, 8)


def badly_scaled(n, rng):
    """Columns of very different units and offsets, and numbers that depend on all of them alike."""
    Z = rng.standard_normal((n, 8))
    return (Z + 3) * SCALES, Z @ rng.standard_normal(8)


def test_left_alone_it_reaches_the_optimum(rng):
    X = correlated(400, 8, rng)
    y = X @ rng.standard_normal(8) + rng.standard_normal(400) + 5
    least, first = least_squares(X, y)
    for batch_size in (8, 32):
        fit = train(X, y, batch_size=batch_size, seed=0)
        assert fit.loss[-1] - least < 1e-4 * (first - least)
        assert fit.stopped in ("converged", "limit")


def test_left_alone_it_reaches_the_optimum_of_a_penalized_loss(rng):
    X = correlated(300, 8, rng)
    y = rng.random(300) < 1 / (1 + np.exp(-X @ rng.standard_normal(8)))
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    least = logistic_optimum(scaled, y, 1e-2)
    fit = train(X, y, loss="logistic", l2=1e-2, seed=0)
    assert fit.objective[-1] - least < 1e-3 * (np.log(2) - least)


@pytest.mark.parametrize(
    "loss",
    [
        "squared",
        "logistic",
        "softmax",
        *(pytest.param(loss, marks=slow) for loss in ("huber", "hinge", "quantile")),
    ],
)
def test_columns_of_any_scale_give_the_same_predictions(loss, rng):
    X, z = badly_scaled(500, rng)
    y = z if loss in ("squared", "huber", "quantile") else np.digitize(z, [-1, 1] if loss == "softmax" else [0])
    fit = train(X, y, loss=loss, seed=0)
    same = train(X / SCALES, y, loss=loss, seed=0)
    tolerance = 1e-3 if loss == "softmax" else 1e-6  # a difference in the last digit grows
    z_same = same.decision_function(X / SCALES)
    np.testing.assert_allclose(fit.decision_function(X), z_same, rtol=tolerance, atol=10 * tolerance)
    if loss == "squared":
        assert np.mean((fit.predict(X) - y) ** 2) < 1e-3 * np.var(y)
    elif fit.classes is not None:
        assert np.mean(fit.predict(X) == y) > 0.95


def test_what_comes_back_is_in_the_users_units(rng):
    X, y = badly_scaled(300, rng)
    A = np.column_stack([X / SCALES, np.ones(300)])
    best = np.linalg.lstsq(A, y, rcond=None)[0]
    fit = train(X, y, seed=0)
    np.testing.assert_allclose(fit.w * SCALES, best[:-1], atol=2e-3)
    assert fit.loss[-1] == pytest.approx(0.5 * np.mean((X @ fit.w + fit.b - y) ** 2), rel=1e-6, abs=1e-12)
    again = train(X, y, init=(fit.w, fit.b), seed=1)
    assert again.loss[0] == pytest.approx(fit.loss[-1], rel=1e-6, abs=1e-12)
    start = train(X, y, init=(np.arange(8.0), 3.5), epochs=0)
    assert start.w.tolist() == list(range(8)) and start.b == 3.5


def test_where_a_rate_was_given_nothing_is_scaled(rng):
    X, y = badly_scaled(50, rng)
    X = X / SCALES
    assert train(X, y, lr=0.01, seed=0).settings["standardize"] is False
    assert train(X, y, lr="auto", seed=0).settings["standardize"] is True
    off = train(X, y, standardize=False, seed=0)
    assert off.settings["standardize"] is False and off.loss[-1] < 0.5 * off.loss[0]


@pytest.mark.parametrize("kind", ["list", "integers", "fortran", "read-only", "strided"])
def test_rows_of_any_kind_are_scaled_and_left_as_they_were(kind, rng):
    X = rng.integers(0, 9, (60, 8))
    y = X[:, 0] - 2.0 * X[:, 2]
    as_floats = X.astype(float)
    given = {
        "list": X.tolist(), "integers": X, "fortran": np.asfortranarray(as_floats),
        "read-only": as_floats, "strided": np.repeat(as_floats, 2, axis=1)[::-1, ::2][::-1],
    }[kind]  # fmt: skip
    if kind == "read-only":
        given.flags.writeable = False
    kept = np.array(given)
    expected = train(X.astype(float), y, seed=0)
    assert train(given, y, seed=0).w.tobytes() == expected.w.tobytes()
    np.testing.assert_array_equal(given, kept)


def test_a_copy_that_was_made_anyway_is_scaled_in_place(rng):
    X = rng.integers(0, 9, (60, 8))
    y = X[:, 0].astype(float)
    for given, is_copied in ((X, False), (X.tolist(), False), (X.astype(float), True)):
        dataset = make_dataset(given, y, None, "squared")
        scaled = Scale(dataset, True).apply(dataset)
        assert np.shares_memory(scaled.X, dataset.X) != is_copied
        np.testing.assert_allclose(scaled.X.std(axis=0), 1)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_means_and_deviations_are_numpys(order, is_weighted, rng):
    X = np.asarray((rng.standard_normal((700, 5)) * [1, 1e-3, 1e4, 0, 1] + [0, 5, -3e4, 0.1, 1]), order=order)
    s = rng.uniform(0.5, 2, 700) if is_weighted else None
    scale = Scale(make_dataset(X, X[:, 0].copy(), s, "squared"), True)
    mean = np.average(X, axis=0, weights=s)
    std = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=s))
    std[3] = 1  # a constant column is left as it is
    np.testing.assert_allclose(scale.mean, mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(scale.std, std, rtol=1e-10)
    assert (scale.mean[3], scale.std[3]) == (0.1, 1.0)


# When it stops


def test_why_a_run_has_ended_is_told(rng, tmp_path):
    X = rng.standard_normal((1000, 8))
    y = X @ rng.standard_normal(8) + rng.standard_normal(1000)
    separable = X[:, 0] > 0
    fits = {
        "converged": train(X, y, seed=0),
        "limit": train(X, separable, loss="logistic", seed=0),
        "epochs": train(X, y, lr=0.1, epochs=2, seed=0),
        "validation": train(0 * X, y, validation_fraction=0.5, seed=0),
        "callback": train(X, y, seed=0, callback=lambda fit: fit.epochs[-1] == 3),
        "budget": train(X, y, seed=0, budget=1e-9),
    }
    words = {
        "converged": "objective did not fall", "limit": "epochs=1000", "epochs": "All 2 epochs",
        "budget": "resume", "validation": "held-out", "callback": "callback",
    }  # fmt: skip
    for stopped, fit in fits.items():
        assert fit.stopped == stopped
        assert words[stopped] in fit.stopped_because and "{" not in fit.stopped_because
        fit.save(tmp_path / "a.fit")
        assert Fit.load(tmp_path / "a.fit").to_dict() == fit.to_dict()
        assert json.loads(json.dumps(fit.to_dict()))["stopped"] == stopped
    assert fits["limit"].epochs[-1] <= 200
    seen = []
    train(X, y, seed=0, callback=seen.append)
    assert {then.stopped for then in seen} == {"unfinished"}


def test_the_time_is_told_apart(rng):
    X = rng.standard_normal((200, 8))
    fit = train(X, X[:, 0], seed=0)
    assert fit.times.keys() == {"choosing", "scaling", "compiling", "training", "evaluating", "other"}
    assert all(seconds >= 0 for seconds in fit.times.values())
    assert fit.times["choosing"] > 0 and fit.times["scaling"] > 0 and fit.times["training"] > 0
    given = train(X, X[:, 0], lr=0.1, seed=0)
    assert given.times["choosing"] == 0
    assert given.lr_because == "given" and "first round" in fit.lr_because


def test_a_run_stops_when_a_budget_is_used_up_and_goes_on_as_if_it_had_not(rng, monkeypatch):
    X = rng.standard_normal((300, 8))
    y = X @ rng.standard_normal(8) + rng.standard_normal(300)
    whole = train(X, y, seed=0)
    begun = train(X, y, seed=0, budget=1e-9)
    assert begun.samples[-1] == 0 and not begun.w.any()
    assert_same(whole, train(X, y, resume=begun))
    ticks = itertools.count()
    found = set()
    for budget in range(10, 60, 5):  # a second each time that somebody looks at the clock
        with monkeypatch.context() as patch:
            patch.setattr(time, "perf_counter", lambda: float(next(ticks)))
            part = train(X, y, seed=0, budget=budget, standardize=True)
        found.add(part.stopped)
        assert part.loss[-1] <= part.loss[0]
        assert_same(whole, train(X, y, resume=part))
    assert "budget" in found


def test_early_stopping_and_auto_know_of_each_other(rng):
    """A limit that is never reached says nothing about the rate."""
    X = rng.standard_normal((5000, 8))
    y = X @ rng.standard_normal(8) / 3 + rng.standard_normal(5000)
    least, first = least_squares(X, y)
    fit = train(X, y, tol=1e-3, epochs=1000, batch_size=10, seed=0)
    assert fit.stopped == "converged" and fit.epochs[-1] < 100
    assert fit.loss[-1] - least < 1e-3 * (first - least)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_comes_back_is_never_worse_than_the_start(rng):
    X = rng.standard_normal((60, 8))
    y = X @ rng.standard_normal(8) + rng.standard_normal(60)
    A = np.column_stack([X, np.ones(60)])
    best = np.linalg.lstsq(A, y, rcond=None)[0]
    start = {"init": (best[:8], best[8]), "batch_size": 1, "seed": 0}
    for options in ({}, {"epochs": 1}, {"epochs": 3, "standardize": False}, {"epochs": 3, "tol": 0.0}):
        fit = train(X, y, **start, **options)
        assert fit.objective[-1] <= fit.objective[0]
    with pytest.warns(UserWarning, match="weights of the start are returned"):
        fit = train(X, y, lr=1e6, epochs=3, schedule="restarts", **start)
    assert fit.objective[-1] == fit.objective[0] and np.array_equal(fit.w, best[:8])


@pytest.mark.filterwarnings("ignore:column:UserWarning")
@pytest.mark.filterwarnings("ignore:lr is .* beyond the largest stable one:UserWarning")
def test_a_rate_that_is_too_large_is_lowered_round_by_round(rng):
    X = rng.standard_normal((200, 8))
    y = X @ rng.standard_normal(8) + 0.1 * rng.standard_normal(200)
    fit = train(X, y, lr=10.0, seed=0)
    assert fit._state.factor < 1
    assert np.all(np.isfinite(fit.loss)) and fit.loss[-1] < 0.1 * fit.loss[0]
    few = train(X, y, lr=10.0, seed=0, eval_every="epoch")
    assert few.w.tobytes() == fit.w.tobytes() and len(few.loss) > len(fit.loss)


def test_interrupted_within_a_round_and_resumed(rng, tmp_path, monkeypatch):
    X = rng.standard_normal((150, 8))
    y = np.digitize(X @ rng.standard_normal(8), [-1, 1])

    def call(**options):
        return train(X, y, loss="softmax", seed=3, **options)

    whole = call()
    for steps in (1, 40, 100, 333):
        part = cut(monkeypatch, tmp_path, steps, call)
        assert part.stopped == "unfinished"
        assert_same(whole, train(X, y, resume=part))
    assert whole.stopped in ("converged", "limit")


def test_the_same_whatever_the_number_of_threads(rng):
    X = rng.standard_normal((3000, 8))
    y = X @ rng.standard_normal(8) + rng.standard_normal(3000)
    one, two = (train(X, y, seed=0, threads=threads) for threads in (1, 2))
    assert_same(one, two)


def test_repeated_rows_are_weights(rng):
    """With full batches the rate that is chosen does not tell them apart."""
    X = rng.standard_normal((40, 8))
    y = X @ rng.standard_normal(8) + 0.1 * rng.standard_normal(40)
    counts = rng.integers(0, 4, 40)
    rows = np.repeat(np.arange(40), counts)
    repeated = train(X[rows], y[rows], batch_size=len(rows), seed=0)
    weighted = train(X, y, sample_weight=counts, batch_size=40, seed=0)
    assert weighted.settings["lr"] == pytest.approx(repeated.settings["lr"], rel=1e-6)
    np.testing.assert_allclose(weighted.w, repeated.w, rtol=1e-6)
