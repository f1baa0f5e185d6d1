"""Losses against plain formulas, slopes against differences and NumPy, on every family of kernels."""

import math
import warnings

import numpy as np
import pytest
from conftest import says

from numbasgd import gradient, train
from numbasgd.sgd.losses import LOSSES

VALUES = {
    "squared": lambda z, y: 0.5 * (z - y) ** 2,
    "huber": lambda z, y: np.where(np.abs(z - y) <= 1, 0.5 * (z - y) ** 2, np.abs(z - y) - 0.5),
    "logistic": lambda z, y: np.logaddexp(0, -y * z),
    "hinge": lambda z, y: np.maximum(0, 1 - y * z),
    "quantile": lambda z, y: np.abs(y - z) / 2,
}
SLOPES = {
    "squared": lambda z, y: z - y,
    "huber": lambda z, y: np.clip(z - y, -1, 1),
    "logistic": lambda z, y: -y * np.exp(-np.logaddexp(0, y * z)),
    "hinge": lambda z, y: np.where(y * z < 1, -y, 0.0),
    "quantile": lambda z, y: np.sign(z - y) / 2,
}
slow = pytest.mark.exhaustive(of=5)
# Every loss, family of kernels and dtype; the rest is exhaustive, since what takes long is compiling.
KERNELS = [
    pytest.param(loss, d, dtype, id=f"{loss}-{d}-{np.dtype(dtype)}", marks=() if is_quick else slow)
    for loss in VALUES
    for d in (1, 5, 16, 33, 129)
    for dtype in (np.float32, np.float64)
    for is_quick in [d == 5 and (dtype is np.float64 or loss == "logistic")]
]


def targets(loss, z, rng):
    if LOSSES[loss].targets == "signs":
        return rng.choice([-1.0, 1.0], len(z))
    return z + rng.standard_normal(len(z)) * 2


def problem(loss, n, d, dtype, rng):
    X = rng.standard_normal((n, d)).astype(dtype)
    w = (rng.standard_normal(d) / math.sqrt(d)).astype(dtype)
    y = targets(loss, X.astype(float) @ w, rng).astype(dtype)
    return X, y, w


def test_every_loss_has_a_formula_here():
    assert VALUES.keys() == SLOPES.keys() == {name for name, loss in LOSSES.items() if loss.value is not None}


@pytest.mark.parametrize("loss", VALUES)
def test_value_and_slope_of_one_prediction(loss, rng):
    z = rng.standard_normal(200) * 3
    y = targets(loss, z, rng)
    value, slope = LOSSES[loss].value, LOSSES[loss].slope
    np.testing.assert_allclose([value(*p) for p in zip(z, y, strict=True)], VALUES[loss](z, y), rtol=1e-13)
    np.testing.assert_allclose([slope(*p) for p in zip(z, y, strict=True)], SLOPES[loss](z, y), rtol=1e-13)
    h = 1e-6
    kink = np.min([np.abs(np.abs(z - y) - 1), np.abs(y * z - 1), np.abs(z - y)], axis=0) < 2 * h
    differences = [(value(a + h, t) - value(a - h, t)) / (2 * h) for a, t in zip(z, y, strict=True)]
    np.testing.assert_allclose(np.array(differences)[~kink], SLOPES[loss](z, y)[~kink], atol=1e-8)


@pytest.mark.parametrize("loss", VALUES)
def test_the_curvature_bounds_the_second_derivative(loss):
    z = np.linspace(-4, 4, 1601)
    slopes = SLOPES[loss](z, np.ones_like(z))
    if loss not in ("hinge", "quantile"):  # have a jump, and no second derivative
        steepest = np.max(np.diff(slopes) / np.diff(z))
        assert 0.99 * LOSSES[loss].curvature <= steepest <= LOSSES[loss].curvature * (1 + 1e-9)


@pytest.mark.parametrize(("loss", "d", "dtype"), KERNELS)
def test_gradient_is_numpys_and_the_losses_difference(loss, d, dtype, rng):
    for n in (1, 6, 300):
        X, y, w = problem(loss, n, d, dtype, rng)
        b = float(dtype(0.3))
        z = X.astype(float) @ w.astype(float) + b
        r = SLOPES[loss](z, y.astype(float))
        g, gb = gradient(X, y, w, b, loss=loss)
        tolerance = (1e-5 if dtype is np.float32 else 1e-13) * (1 + np.abs(z).max())
        np.testing.assert_allclose(g, r @ X / n, rtol=0, atol=tolerance)
        assert gb == pytest.approx(r.mean(), abs=tolerance)

        def mean_loss(v, X=X, y=y):
            return np.mean(VALUES[loss](X.astype(float) @ v[:-1] + v[-1], y.astype(float)))

        v, h = np.append(w.astype(float), b), 1e-7
        if loss == "hinge" and np.abs(y * z - 1).min() < 10 * h:
            continue
        difference = [(mean_loss(v + h * e) - mean_loss(v - h * e)) / (2 * h) for e in np.eye(d + 1)]
        np.testing.assert_allclose(np.append(g, gb), difference, rtol=0, atol=max(tolerance, 1e-6))


@pytest.mark.parametrize("is_weighted", [False, pytest.param(True, marks=slow)], ids=["", "weighted"])
@pytest.mark.parametrize(("loss", "d", "dtype"), KERNELS)
def test_history_and_step_are_the_formulas(loss, d, dtype, is_weighted, rng):
    X, y, w = problem(loss, 40, d, dtype, rng)
    y[:2] = [-1, 1]  # both classes
    b, lr = float(dtype(0.2)), float(dtype(0.125))
    weights = rng.integers(0, 4, 40) if is_weighted else None
    z = X.astype(float) @ w.astype(float) + b
    tolerance = 2e-5 if dtype is np.float32 else 1e-12
    s = np.ones(40) if weights is None else weights / weights.mean()
    fit = train(X, y, loss=loss, batch_size=40, lr=lr, epochs=1, init=(w, b), sample_weight=weights)
    assert fit.loss[0] == pytest.approx(np.mean(s * VALUES[loss](z, y.astype(float))), rel=tolerance)
    r = s * SLOPES[loss](z, y.astype(float))
    np.testing.assert_allclose(fit.w, w - lr * (r @ X.astype(float)) / 40, rtol=0, atol=tolerance)
    assert fit.b == pytest.approx(b - lr * r.mean(), abs=tolerance)
    assert fit.settings["sample_weight"] is is_weighted


@pytest.mark.parametrize("loss", VALUES)
@pytest.mark.parametrize("z", [1e4, -1e4, 1e308, -1e308])
@pytest.mark.filterwarnings("ignore:column 0 of X")
@pytest.mark.filterwarnings("ignore:lr is .* beyond the largest stable one:UserWarning")
def test_extreme_predictions(loss, z):
    """Through compiled code: X holds z, w is 1."""
    X, y = np.array([[z] + [0.0] * 4] * 2), np.array([-1.0, 1.0])
    w = np.array([1.0, 0, 0, 0, 0])
    with np.errstate(over="ignore"):
        values, slopes = VALUES[loss](X[:, 0], y), SLOPES[loss](X[:, 0], y)
        total = values.sum()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for i in range(2):
            assert gradient(X, y, w, loss=loss, rows=[i])[1] == slopes[i]
        if not math.isfinite(total):
            with pytest.raises(ValueError) as caught:
                train(X, y, loss=loss, lr=1e-300, epochs=0, init=(w, 0.0))
            says(caught.value, "X holds values up to 1e+308", "overflows float64", "expected", "Scale")
        else:
            fit = train(X, y, loss=loss, lr=1e-300, epochs=0, init=(w, 0.0))
            assert fit.loss[0] == pytest.approx(total / 2, rel=1e-12)


@pytest.mark.parametrize("loss", VALUES)
def test_nan_is_not_lost_in_a_loss(loss):
    value, slope = LOSSES[loss].value, LOSSES[loss].slope
    if loss != "hinge":  # whose slope of 0 is taken times the NaN in x
        assert math.isnan(slope(math.nan, 1.0))
    X = np.zeros((2, 5))
    X[1, 2] = math.nan
    with pytest.raises(ValueError) as caught:
        train(X, [-1.0, 1.0], loss=loss, lr=0.1, intercept=False)
    says(caught.value, "X holds nan at row 1, column 2", "expected finite", "Drop")
    assert math.isnan(value(math.nan, 1.0))
