"""The optimum of each convex model is that of a solver that is not ours."""

import warnings

import numpy as np
import pytest
from test_losses import SLOPES, VALUES

from numbasgd import train


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


pytestmark = pytest.mark.slow  # left out by default, and run in CI
