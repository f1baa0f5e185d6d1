"""Noise and curvature at any weights: exact figures, unbiased estimates, stable rates, and warnings."""

import itertools
import json
import warnings

import numpy as np
import pytest
from conftest import says

import numbasgd
from numbasgd import gradient, gradient_noise, train
from numbasgd.sgd.config import TrainConfig
from numbasgd.sgd.inputs import make_dataset
from numbasgd.sgd.learning_rate.stability import direction_in_words
from numbasgd.sgd.moments import Slope, moments
from numbasgd.sgd.noise import _draw
from numbasgd.sgd.noise_track import NoiseTracker


def problem(rng, loss="squared", n=60, d=4, K=3):
    X = rng.standard_normal((n, d)) * np.exp(0.5 * rng.standard_normal(d))
    if loss == "softmax":
        return X, np.arange(n) % K, (rng.standard_normal((d, K)), rng.standard_normal(K))
    y = rng.standard_normal(n)
    return X, (y > 0).astype(int) if loss in ("logistic", "hinge") else y, (rng.standard_normal(d), 0.3)


def rows_of_gradients(X, y, w, b, loss):
    """The gradient of each row, by ``gradient`` itself."""
    found = [gradient(X, y, w, b, loss=loss, rows=[i]) for i in range(len(X))]
    return np.array([np.vstack([g.reshape(len(w), -1), np.reshape(gb, (1, -1))]) for g, gb in found])


@pytest.mark.parametrize(
    "loss",
    [
        *("squared", "logistic", "softmax"),
        *(pytest.param(loss, marks=pytest.mark.slow) for loss in ("huber", "hinge", "quantile")),
    ],
)
def test_moments_are_those_of_the_gradients_of_single_rows(rng, loss):
    X, y, (w, b) = problem(rng, loss)
    each = rows_of_gradients(X, y, w, b, loss)
    mean = each.mean(axis=0)
    found = gradient_noise(X, y, (w, b), loss=loss, draws=0)
    assert found.gradient_norm == pytest.approx(np.linalg.norm(mean))
    assert found.trace == pytest.approx(np.square(each - mean).sum() / len(X))
    assert found.noise_scale == pytest.approx(found.trace / np.square(mean).sum())
    assert found.without_replacement[-1].predicted == 0 and found.std(len(X)) == 0


def test_weights_penalty_and_scaled_columns_count(rng):
    X, y, (w, b) = problem(rng)
    s = rng.integers(1, 4, len(X))
    weighted = gradient_noise(X, y, w, b, sample_weight=s, l2=0.5, intercept=False, draws=0)
    each = X * (s / s.mean() * (X @ w + b - y))[:, None]
    assert weighted.gradient_norm == pytest.approx(np.linalg.norm(each.mean(axis=0) + 0.5 * w))
    assert weighted.trace == pytest.approx(np.square(each - each.mean(axis=0)).sum(axis=1).mean())
    hessian = (X.T * (s / s.mean())) @ X / len(X) + 0.5 * np.eye(4)
    assert weighted.largest_stable_lr == pytest.approx(2 / np.linalg.eigvalsh(hessian)[-1])
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    fit = train(X, y, epochs=2, seed=0)
    of_fit = gradient_noise(X, y, fit, draws=0)
    same = gradient_noise(scaled, y, (fit.w * X.std(axis=0), fit.b + X.mean(axis=0) @ fit.w), draws=0)
    assert of_fit.trace == pytest.approx(same.trace) and of_fit.curvature.largest == pytest.approx(
        same.curvature.largest
    )


def test_sparse_rows_have_the_moments_of_dense_ones(rng):
    sparse = pytest.importorskip("scipy.sparse")
    X, y, (w, b) = problem(rng)
    X[np.abs(X) < 0.7] = 0
    dense, found = gradient_noise(X, y, w, b, draws=0), gradient_noise(sparse.csr_array(X), y, w, b)
    assert found.trace == pytest.approx(dense.trace) and found.gradient_norm == pytest.approx(
        dense.gradient_norm
    )
    assert found.with_replacement[0].std is None
    with pytest.raises(ValueError) as caught:
        gradient_noise(sparse.csr_array(X), y, draws=10)
    says(caught.value, "draws is 10", "expected 0", "Pass 0")


def test_estimates_from_some_rows_are_unbiased(rng):
    """The mean over all subsets, by brute force, is what all rows have."""
    X, y, (w, b) = problem(rng, n=8, d=2)
    slope = Slope("squared", True, 0.25)
    whole = make_dataset(X, y, None, "squared")
    exact = moments(whole, slope, w, b)
    for m in (2, 3, 7):
        some = [
            moments(whole.take(np.array(rows)), slope, w, b, 8) for rows in itertools.combinations(range(8), m)
        ]
        assert np.mean([found.trace for found in some]) == pytest.approx(exact.trace)
        assert np.mean([found.squared for found in some]) == pytest.approx(exact.squared)


def test_the_airfoil_data(airfoil):
    X, y = airfoil
    start = gradient_noise(X, y, draws=0)
    A = np.column_stack([X, np.ones(len(X))]).astype(float)
    best = np.linalg.lstsq(A, y.astype(float), rcond=None)[0]
    half = gradient_noise(X, y, (best[:5] / 2, best[5] / 2), draws=0)
    assert start.largest_stable_lr == pytest.approx(0.953, abs=5e-4)
    assert round(start.critical_batch_size) == 18
    assert (round(start.noise_scale), round(half.noise_scale)) == (20, 48)
    assert start.std(100) == pytest.approx(0.250, abs=5e-4)
    assert start.std(1000) == pytest.approx(0.0473, abs=5e-5)
    assert start.best_lr(1500) == pytest.approx(0.4715, abs=1e-4) and start.stable_lr(1) < 0.06
    told = json.loads(json.dumps(start.to_dict(), allow_nan=False))
    assert told["critical_batch_size"] == start.critical_batch_size and "column 1" in start.direction


@pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_noise_follows_both_laws_on_random_problems(count):
    """The squared distance of drawn gradients, less what the law says, over its own standard error."""
    draws, z = 400, []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        n, d = int(rng.integers(20, 200)), int(rng.integers(1, 8))
        loss = ("squared", "huber", "logistic")[seed % 3]
        X, y, (w, b) = problem(rng, loss, n, d)
        b_size, replacement = int(rng.integers(1, n)), bool(seed % 2)
        noise = gradient_noise(X, y, w, b, loss=loss, draws=0)
        data, slope = make_dataset(X, y, None, loss), Slope(loss, True)
        full = moments(data, slope, w, b).gradient[:, 0]
        seen = [_draw(data, slope, (w, b), full, (b_size, 1, replacement), rng)[1] for _ in range(draws)]
        error = np.std(seen, ddof=1) / np.sqrt(draws)
        z.append((np.mean(seen) - noise.std(b_size, replacement=replacement) ** 2) / error)
    assert np.mean(np.abs(z) < 2) >= 0.93 and np.max(np.abs(z)) < 4.5, sorted(np.abs(z))[-10:]


def test_a_rate_beyond_what_is_stable_is_named_before_the_run(rng):
    X = rng.standard_normal((400, 3))
    X[:, 1] = X[:, 0] + 0.1 * rng.standard_normal(400)
    y = X @ np.ones(3)
    stable = gradient_noise(X, y, draws=0).largest_stable_lr
    table = {"age": X[:, 0], "height": X[:, 1], "noise": X[:, 2]}
    pandas = pytest.importorskip("pandas")
    with pytest.warns(
        UserWarning, match=r"beyond the largest stable one.* direction 0\.7 '(age|height)' \+ 0\.7 '"
    ) as caught:
        train(pandas.DataFrame(table), y, lr=1.1 * stable, epochs=1, batch_size=400)
    assert len(caught) == 1 and caught[0].filename == __file__
    for more in (
        {"momentum": 0.9},
        {"lr": 0.9 * stable},
        {"momentum": 0.9, "nesterov": True, "lr": 0.6 * stable},
    ):
        train(
            X, y, **{"lr": 1.1 * stable, "epochs": 1, "batch_size": 400, **more}
        )  # a warning would be an error
    with pytest.warns(UserWarning, match="along the direction 0.7"):
        train(X, y, lr=1.5, epochs=1, batch_size=400, standardize=True)
    with pytest.warns(UserWarning) as caught:
        train(X * [1, 1, 100], y, lr=0.01, epochs=1, batch_size=400)
    assert len(caught) == 1 and "column 2 of X has mean square" in str(caught[0].message)


def test_the_growth_that_is_warned_of_comes(rng):
    X = rng.standard_normal((100, 3))
    y = X @ np.ones(3) + 0.1 * rng.standard_normal(100)
    stable = gradient_noise(X, y, draws=0).largest_stable_lr
    losses = {}
    for factor in (0.98, 1.02):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            losses[factor] = train(X, y, lr=factor * stable, epochs=100, batch_size=100).loss
    assert losses[0.98][-1] < losses[0.98][0] < losses[1.02][-1] and losses[1.02][-1] > losses[1.02][-2]


def test_a_direction_in_words():
    assert direction_in_words(np.array([0.8, 0.05, -0.6]), ("a", "b")) == "0.8 'a' - 0.6 intercept"


def test_a_noise_of_a_fit_has_its_loss(rng):
    X, y, _ = problem(rng, "logistic")
    fit = train(X, y, loss="logistic", epochs=3, seed=0, l2=0.1)
    assert (
        gradient_noise(X, y, fit, draws=0).gradient_norm
        < gradient_noise(X, y, loss="logistic", draws=0).gradient_norm
    )
    with pytest.raises(ValueError) as caught:
        numbasgd.gradient_noise(X, y, loss="logit")
    says(caught.value, "loss is 'logit'", "expected one of")


def test_the_noise_along_a_run(tmp_path, airfoil):
    X, y = airfoil
    fit = train(X, y, batch_size=10, lr=0.05, epochs=2000, seed=0, track_noise=True, standardize=False)
    plain = train(X, y, batch_size=10, lr=0.05, epochs=2000, seed=0, standardize=False)
    assert fit.w.tobytes() == plain.w.tobytes() and plain.noise is None
    found = fit.noise
    assert found.samples[0] == 0 and np.all(np.diff(found.samples) >= 1500) and 1 < len(found.samples) < 100
    start = gradient_noise(X, y, draws=0)
    assert found.noise_scale[0] == pytest.approx(start.noise_scale, rel=1e-5)  # of all 1500 rows
    assert found.trace[0] == pytest.approx(start.trace, rel=1e-5)
    assert np.all(found.noise_scale[1:] > found.noise_scale[0])
    fit.save(tmp_path / "a.fit")
    kept = numbasgd.Fit.load(tmp_path / "a.fit")
    assert kept.noise_track.tobytes() == fit.noise_track.tobytes()
    more = train(X, y, resume=kept, epochs=4000, track_noise=True)
    assert np.array_equal(more.noise.samples[: len(found.samples)], found.samples)
    assert more.noise.samples[-1] > found.samples[-1] and json.dumps(more.to_dict(), allow_nan=False)


def test_looks_at_the_noise_are_so_few_that_they_cost_little(rng):
    """Work is counted, as for the choice of a rate: what a run tells does not depend on the clock."""
    method = TrainConfig(lr=1.0, epochs=1).method(1, np.ones(1))
    every = {}
    for n, b in ((200, 32), (200, 1), (100_000, 32)):
        data = make_dataset(rng.standard_normal((n, 8)), rng.standard_normal(n), None, "squared")
        every[n, b] = NoiseTracker(data, method._replace(batch_size=b), None).every
    assert every[200, 32] > every[200, 1] > every[100_000, 32] >= 1


def test_weights_of_another_model_are_named_as_they_were_passed(rng):
    X, y, (w, b) = problem(rng)
    with pytest.raises(ValueError, match=r"^w has \d+ entries, X has \d+ columns"):
        gradient_noise(X, y, w[:-1], b)
    with pytest.raises(TypeError, match="^b is "):
        gradient_noise(X, y, w, "none")
