"""Weights are weights everywhere: a weight of 0 is a row that is not there, 2 is a row twice."""

import dataclasses

import numpy as np
import pytest

from numbasgd import train
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.scale import Scale

N = 60


@pytest.fixture
def problem(rng):
    """X, y, integer weights from 0 to 3, and the rows repeated as often as their weights say."""
    X = rng.standard_normal((N, 5)) * [1, 10, 0.1, 3, 1] + [0, 5, 0, -2, 1]
    y = X @ [1, 0.2, 5, -1, 0.5] + rng.standard_normal(N)
    s = rng.integers(0, 4, N).astype(float)
    return X, y, s, np.repeat(np.arange(N), s.astype(int))


@pytest.fixture
def absent(rng):
    """X and y; the same with as many rows of weight 0 between them, that hold anything; and the weights."""
    X = rng.standard_normal((N, 5))
    y = X @ [1, 2, 3, 4, 5] + rng.standard_normal(N)
    more = np.empty((2 * N, 5))
    more[::2], more[1::2] = X, 1000.0 + rng.standard_normal((N, 5))
    return X, y, more, np.repeat(y, 2), np.tile([1.0, 0.0], N)


def test_columns_are_scaled_by_weighted_means(problem):
    X, y, s, repeated = problem
    options = {"standardize": True, "lr": 0.1, "epochs": 30}
    fit = train(X, y, sample_weight=s, batch_size=N, **options)
    same = train(X[repeated], y[repeated], batch_size=len(repeated), **options)
    np.testing.assert_allclose(fit.w, same.w, rtol=1e-9)
    np.testing.assert_allclose(fit.b, same.b, rtol=1e-9)
    np.testing.assert_allclose(fit.loss, same.loss, rtol=1e-9)


@pytest.mark.parametrize("intercept", [True, False])
def test_a_scale_is_that_of_the_rows_that_count(absent, intercept):
    X, y, more, targets, s = absent
    found = Scale(Dataset(more, targets, s / s.mean()), intercept)
    wanted = Scale(Dataset(X, y, np.empty(0)), intercept)
    np.testing.assert_allclose(found.mean, wanted.mean, rtol=1e-12)
    np.testing.assert_allclose(found.std, wanted.std, rtol=1e-12)


def test_a_column_that_is_constant_where_rows_count_is_not_blown_up(absent):
    _, _, more, targets, s = absent
    more[::2, 3] = 0.1
    fit = train(more, targets, sample_weight=s, standardize=True, epochs=5, seed=0)
    assert fit.w[3] == 0 and np.isfinite(fit.w).all()


def test_rows_are_held_out_among_those_that_count(absent):
    X, y, more, targets, s = absent
    dataset = Dataset(more, targets, s / s.mean())
    for seed in range(20):
        training, held_out = dataset.split(0.25, seed)
        assert held_out.n == N // 4 and held_out.sample_weight.tolist() == [1.0] * held_out.n
        assert np.count_nonzero(training.sample_weight) == N - N // 4
        _, same = Dataset(X, y, np.empty(0)).split(0.25, seed)
        assert held_out.X.tobytes() == same.X.tobytes() and held_out.y.tobytes() == same.y.tobytes()


def test_two_rows_that_count_are_enough_to_hold_one_out(absent):
    _, _, more, targets, _ = absent
    s = np.zeros(2 * N)
    s[[7, 41]] = 1.0
    for seed in range(30):
        fit = train(more, targets, sample_weight=s, validation_fraction=0.5, lr=1e-9, epochs=1, seed=seed)
        losses = sorted([fit.loss[0], fit.validation_loss[0]])
        np.testing.assert_allclose(losses, sorted(targets[[7, 41]] ** 2 / 2), rtol=1e-12)


def test_one_row_that_counts_cannot_be_split(absent):
    _, _, more, targets, _ = absent
    s = np.zeros(2 * N)
    s[3] = 1.0
    with pytest.raises(ValueError, match=r"validation_fraction is 0.5 of 1 rows that have a weight"):
        train(more, targets, sample_weight=s, validation_fraction=0.5)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_the_rate_is_that_of_the_rows_that_count(absent, loss):
    """A minibatch of rows half of which count is a minibatch of half as many."""
    X, y, more, targets, s = absent
    if loss == "logistic":
        y, targets = y > 0, targets > 0
    options = {"loss": loss, "epochs": 3, "seed": 1}
    fit = train(more, targets, sample_weight=s, batch_size=20, **options)
    same = train(X, y, batch_size=10, **options)
    assert fit.settings["lr"] == pytest.approx(same.settings["lr"], rel=1e-6)


def test_the_rate_sees_the_few_rows_that_count_among_many(rng):
    """More rows than a sample holds, of which a few count, and none at fixed distances."""
    n, few = 20_000, 150
    X = rng.standard_normal((n, 3))
    there = np.sort(rng.choice(n, few, replace=False))
    X[there] *= 30.0
    y, s = X @ [1, 2, 3], np.zeros(n)
    s[there] = 1.0
    fit = train(X, y, sample_weight=s, batch_size=n, epochs=1, seed=0)
    same = train(X[there], y[there], batch_size=few, epochs=1, seed=0)
    assert fit.settings["lr"] == pytest.approx(same.settings["lr"], rel=1e-6)


def test_a_run_whose_held_out_rows_were_others_is_refused(absent):
    """As in a file of a numbasgd that held out rows of weight 0, too."""
    _, _, more, targets, s = absent
    options = {"sample_weight": s, "validation_fraction": 0.25, "lr": 0.01, "seed": 2}
    fit = train(more, targets, epochs=1, **options)
    other = dataclasses.replace(fit, n=fit.n - 15)
    with pytest.raises(ValueError, match=r"leaves 105 rows to train on, and left 90 .* rows of weight 0"):
        train(more, targets, sample_weight=s, resume=other, epochs=2)
    assert train(more, targets, sample_weight=s, resume=fit, epochs=2).epochs[-1] == 2
