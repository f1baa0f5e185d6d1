"""Losses against plain formulas, slopes against differences and NumPy, and optima against other solvers."""

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
}
SLOPES = {
    "squared": lambda z, y: z - y,
    "huber": lambda z, y: np.clip(z - y, -1, 1),
    "logistic": lambda z, y: -y * np.exp(-np.logaddexp(0, y * z)),
    "hinge": lambda z, y: np.where(y * z < 1, -y, 0.0),
}
slow = pytest.mark.slow
# Every loss, family of kernels and dtype; the rest with -m slow, since what takes long is compiling.
KERNELS = [
    pytest.param(loss, d, dtype, id=f"{loss}-{d}-{np.dtype(dtype)}", marks=() if is_quick else slow)
    for loss in LOSSES
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
    kink = np.minimum(np.abs(np.abs(z - y) - 1), np.abs(y * z - 1)) < 2 * h
    differences = [(value(a + h, t) - value(a - h, t)) / (2 * h) for a, t in zip(z, y, strict=True)]
    np.testing.assert_allclose(np.array(differences)[~kink], SLOPES[loss](z, y)[~kink], atol=1e-8)


@pytest.mark.parametrize("loss", VALUES)
def test_the_curvature_bounds_the_second_derivative(loss):
    z = np.linspace(-4, 4, 1601)
    slopes = SLOPES[loss](z, np.ones_like(z))
    if loss != "hinge":  # has a jump, and no second derivative
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


# Optima


@pytest.fixture
def regression(rng):
    X = rng.standard_normal((200, 5)) @ np.diag([1, 0.5, 2, 1, 1]) + 0.3
    y = X @ [1.0, -2.0, 0.5, 0.0, 0.05] + 0.7 + 0.3 * rng.standard_t(2, 200)
    return X, y


@pytest.fixture
def classes(regression):
    X, y = regression
    return X, np.where(y + np.sin(9 * y) > y.mean(), 1, 0)


def descend(X, y, epochs=4000, **options):
    fit = train(X, y, batch_size=len(y), lr=0.2, epochs=epochs, eval_every=None, **options)
    return np.append(fit.w, fit.b)


@pytest.mark.parametrize("is_weighted", [False, True], ids=["", "weighted"])
def test_optimum_of_least_squares_and_ridge(regression, is_weighted, rng):
    X, y = regression
    s = rng.uniform(0.1, 3, 200) if is_weighted else None
    root = np.sqrt(np.ones(200) if s is None else s)
    A = np.column_stack([X, np.ones(200)])
    best = np.linalg.lstsq(A * root[:, None], y * root, rcond=None)[0]
    np.testing.assert_allclose(descend(X, y, sample_weight=s), best, atol=1e-4)
    if s is None:
        ridge = pytest.importorskip("sklearn.linear_model").Ridge(alpha=200 * 0.3, tol=1e-12).fit(X, y)
        found = descend(X, y, l2=0.3)
        np.testing.assert_allclose(found, [*ridge.coef_, ridge.intercept_], atol=1e-4)


@pytest.mark.parametrize(("l1", "l2"), [(0.1, 0.0), (0.6, 0.0), (0.1, 0.2)])
def test_optimum_of_lasso_and_elastic_net(regression, l1, l2):
    X, y = regression
    linear = pytest.importorskip("sklearn.linear_model")
    solver = linear.ElasticNet(alpha=l1 + l2, l1_ratio=l1 / (l1 + l2), tol=1e-12, max_iter=100_000).fit(X, y)
    found = descend(X, y, l1=l1, l2=l2)
    np.testing.assert_allclose(found, [*solver.coef_, solver.intercept_], atol=1e-4)
    assert np.array_equal(found[:5] == 0, solver.coef_ == 0)
    assert 0 < np.count_nonzero(found[:5] == 0) < 5


def test_optimum_of_huber(regression):
    X, y = regression
    optimize = pytest.importorskip("scipy.optimize")
    A = np.column_stack([X, np.ones(200)])
    found = descend(X, y, loss="huber")
    best = optimize.minimize(
        lambda v: np.mean(VALUES["huber"](A @ v, y)),
        np.zeros(6),
        jac=lambda v: SLOPES["huber"](A @ v, y) @ A / 200,
        method="BFGS",
        options={"gtol": 1e-10},
    )
    np.testing.assert_allclose(found, best.x, atol=1e-4)


def test_optimum_of_logistic_regression(classes):
    X, y = classes
    linear = pytest.importorskip("sklearn.linear_model")
    for l2 in (0.0, 0.05):
        C = np.inf if l2 == 0 else 1 / (200 * l2)
        solver = linear.LogisticRegression(C=C, tol=1e-12, max_iter=100_000, solver="newton-cholesky")
        with warnings.catch_warnings():  # C=inf
            warnings.simplefilter("ignore")
            solver.fit(X, y)
        found = descend(X, y, loss="logistic", l2=l2)
        np.testing.assert_allclose(found, [*solver.coef_[0], solver.intercept_[0]], atol=1e-4)


def test_optimum_of_the_support_vector_machine(classes):
    """The hinge is not smooth: the rate falls as 1 / (l2 t), and the mean over the steps converges."""
    X, y = classes
    svm = pytest.importorskip("sklearn.svm")
    l2 = 0.1
    solver = svm.LinearSVC(loss="hinge", C=1 / (200 * l2), fit_intercept=False, tol=1e-10, max_iter=10**6)
    w = solver.fit(X, y).coef_[0]
    best = np.mean(VALUES["hinge"](X @ w, 2 * y - 1)) + l2 / 2 * w @ w
    fit = train(X, y, loss="hinge", l2=l2, batch_size=200, lr=lambda e: 2 / (l2 * (e + 40)), epochs=20000,
                average=10000, intercept=False, eval_every=None)  # fmt: skip
    assert best - 1e-9 <= fit.objective[-1] < best * (1 + 1e-4)
    np.testing.assert_allclose(fit.w, w, atol=2e-3)


def test_the_hinge_leaves_no_loss_where_it_can(rng):
    X = rng.standard_normal((100, 5))
    X[:, 0] += 3 * np.sign(X[:, 0])
    assert train(X, np.sign(X[:, 0]), loss="hinge", lr=0.1, batch_size=10, epochs=200, seed=0).loss[-1] == 0


# Labels


@pytest.mark.parametrize("pair", [(0, 1), (-1, 1), (False, True), (2, 5.5), (-7, -3)], ids=str)
@pytest.mark.parametrize("loss", ["logistic", "hinge"])
def test_two_classes_of_any_name(loss, pair, rng):
    X = rng.standard_normal((60, 5))
    is_second = X[:, 0] + 0.1 * X[:, 1] > 0
    named = np.where(is_second, pair[1], pair[0])
    fit = train(X, named, loss=loss, lr=0.1, epochs=20, seed=0)
    same = train(X, np.where(is_second, 1.0, -1.0), loss=loss, lr=0.1, epochs=20, seed=0)
    assert fit.w.tobytes() == same.w.tobytes()
    assert fit.classes == pair
    predicted = fit.predict(X)
    assert set(predicted.tolist()) == set(pair)
    assert np.mean(predicted == named) > 0.9
    scores = fit.scores(X)
    np.testing.assert_allclose(scores, X @ fit.w + fit.b, rtol=1e-12)
    assert np.array_equal(predicted == pair[1], scores >= 0)


def test_labels_leave_the_dtype_of_the_rows(rng):
    X = rng.standard_normal((60, 5)).astype(np.float32)
    labels = X[:, 0] > 0
    fits = [train(X, labels.astype(t), loss="logistic", lr=0.1, seed=0) for t in (bool, int, float, "f4")]
    assert {fit.w.dtype for fit in fits} == {np.dtype(np.float32)}
    assert len({fit.w.tobytes() for fit in fits}) == 1
    assert train(X, labels + 0.1, loss="logistic", lr=0.1).classes == (0.1, 1.1)


def test_probability(rng):
    X = rng.standard_normal((60, 5))
    fit = train(X, X[:, 0] > 0, loss="logistic", lr=0.5, epochs=20, seed=0)
    np.testing.assert_allclose(fit.probability(X), 1 / (1 + np.exp(-fit.scores(X))), rtol=1e-12)
    assert fit.probability(X * 1e6).max() == 1
    with pytest.raises(ValueError) as caught:
        train(X, X[:, 0] > 0, loss="hinge", lr=0.5).probability(X)
    says(caught.value, "loss 'hinge'", "expected 'logistic'", "Use predict")


@pytest.mark.parametrize(
    ("y", "parts"),
    [
        ([0, 1, 2, 1], ("y holds 3 different values (0, 1, 2", "expected two classes", "Pass 0 and 1")),
        ([1, 1, 1, 1], ("y holds only 1", "expected two classes", "Pass rows of both")),
        ([0, 1, np.nan, 1], ("y holds nan at row 2", "expected finite", "Drop")),
        ([0, 1, 0, np.inf], ("y holds inf at row 3", "expected finite", "Drop")),
        ([0.1, 0.2, 0.3, 0.4], ("y holds 4 different values", "expected two classes", 'loss="squared"')),
    ],
)
@pytest.mark.parametrize("loss", ["logistic", "hinge"])
def test_labels_that_do_not_fit(loss, y, parts, rng):
    X = rng.standard_normal((4, 5))
    for function in (train, lambda X, y, loss: gradient(X, y, np.zeros(5), loss=loss)):
        if function is not train and len(set(y)) == 1:
            continue  # a minibatch may well be of one class
        with pytest.raises(ValueError) as caught:
            function(X, y, loss=loss)
        says(caught.value, *parts)


def test_gradient_takes_the_labels_that_train_takes(rng):
    X, w = rng.standard_normal((30, 5)), rng.standard_normal(5)
    signs = np.where(X[:, 0] > 0, 1.0, -1.0)
    g, gb = gradient(X, signs, w, loss="logistic")
    for named in (signs > 0, np.where(signs > 0, 7, 3)):
        again, again_b = gradient(X, named, w, loss="logistic")
        assert (again.tobytes(), again_b) == (g.tobytes(), gb)
    with pytest.raises(ValueError) as caught:
        gradient(X, signs, w, loss="logistic", device="cuda")
    says(caught.value, "loss is 'logistic'", "device", "expected 'squared'", "Pass")
