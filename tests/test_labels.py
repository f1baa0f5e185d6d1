"""Two classes of any name in, the same names out; labels that do not fit are refused."""

import numpy as np
import pytest
from conftest import says

from numbasgd import gradient, train

LARGE = np.uint64(1), np.uint64(2**63 + 5)
PAIRS = [(0, 1), (-1, 1), (False, True), (2, 5.5), (-7, -3), ("ham", "spam"), LARGE]


@pytest.mark.parametrize("pair", PAIRS, ids=str)
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
    assert predicted.dtype == named.dtype
    assert set(predicted.tolist()) == set(pair)
    assert np.mean(predicted == named) > 0.9
    z = fit.decision_function(X)
    np.testing.assert_allclose(z, X @ fit.w + fit.b, rtol=1e-12)
    assert np.array_equal(predicted == pair[1], z >= 0)


def test_labels_leave_the_dtype_of_the_rows(rng):
    X = rng.standard_normal((60, 5)).astype(np.float32)
    labels = X[:, 0] > 0
    fits = [train(X, labels.astype(t), loss="logistic", lr=0.1, seed=0) for t in (bool, int, float, "f4")]
    assert {fit.w.dtype for fit in fits} == {np.dtype(np.float32)}
    assert len({fit.w.tobytes() for fit in fits}) == 1
    assert train(X, labels + 0.1, loss="logistic", lr=0.1).classes == (0.1, 1.1)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_probabilities(dtype, rng):
    X = rng.standard_normal((60, 5)).astype(dtype)
    fit = train(X, X[:, 0] > 0, loss="logistic", lr=0.5, epochs=20, seed=0)
    p = fit.predict_proba(X)
    assert p.shape == (60, 2) and p.dtype == dtype
    tolerance = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=tolerance)
    z = fit.decision_function(X)
    np.testing.assert_allclose(p[:, 1], 1 / (1 + np.exp(-z)), rtol=tolerance)
    np.testing.assert_allclose(p[:, 0], 1 / (1 + np.exp(z)), rtol=tolerance)
    assert np.array_equal(np.array(fit.classes)[p.argmax(axis=1)], fit.predict(X))
    far = fit.predict_proba(X * 1e6)
    assert far.min() == 0 and far.max() == 1


def test_probabilities_agree_with_scikit_learn(rng):
    linear_model = pytest.importorskip("sklearn.linear_model")
    X = rng.standard_normal((60, 5))
    y = np.where(X[:, 0] > 0, "spam", "ham")
    fit = train(X, y, loss="logistic", lr=0.5, epochs=20, seed=0)
    theirs = linear_model.LogisticRegression().fit(X, y)
    theirs.coef_, theirs.intercept_ = fit.w[None, :], np.array([fit.b])
    assert fit.classes == tuple(theirs.classes_)
    np.testing.assert_allclose(fit.decision_function(X), theirs.decision_function(X), rtol=1e-12)
    np.testing.assert_allclose(fit.predict_proba(X), theirs.predict_proba(X), rtol=1e-12)


def test_names_before(rng):
    X = rng.standard_normal((60, 5))
    fit = train(X, X[:, 0] > 0, loss="logistic", lr=0.5, epochs=20, seed=0)
    assert np.array_equal(fit.scores(X), fit.decision_function(X))
    assert np.array_equal(fit.probability(X), fit.predict_proba(X)[:, 1])
    many = train(X, X[:, :3].argmax(axis=1), loss="softmax", lr=0.5, seed=0)
    assert np.array_equal(many.scores(X), many.decision_function(X))
    assert np.array_equal(many.probability(X), many.predict_proba(X))


@pytest.mark.parametrize("name", ["predict_proba", "probability"])
@pytest.mark.parametrize("loss", ["hinge", "squared"])
def test_losses_without_probabilities(loss, name, rng):
    X = rng.standard_normal((60, 5))
    fit = train(X, (X[:, 0] > 0).astype(float), loss=loss, lr=0.1)
    with pytest.raises(ValueError) as caught:
        getattr(fit, name)(X)
    says(caught.value, f"loss {loss!r}", "expected 'logistic' or 'softmax'", "Use predict", "decision_function")


@pytest.mark.parametrize(
    ("y", "parts"),
    [
        ([0, 1, 2, 1], ("y holds 3 different values (0, 1, 2", "expected two classes", "Pass 0 and 1")),
        ([1, 1, 1, 1], ("y holds only 1", "expected two classes", "Pass rows of both")),
        (["a", "b", "c", "b"], ("y holds 3 different values ('a', 'b', 'c'", "expected two classes")),
        (["a"] * 4, ("y holds only 'a'", "expected two classes", "Pass rows of both")),
        (np.eye(4), ("y has 2 dimensions", "expected a 1-D array of labels", "argmax")),
        ([0, 1, np.nan, 1], ("y holds nan at row 2", "expected finite", "Drop")),
        ([0, 1, 0, np.inf], ("y holds inf at row 3", "expected finite", "Drop")),
        ([0.1, 0.2, 0.3, 0.4], ("y holds 4 different values", "expected two classes", 'loss="squared"')),
    ],
)
@pytest.mark.parametrize("loss", ["logistic", "hinge"])
def test_labels_that_do_not_fit(loss, y, parts, rng):
    X = rng.standard_normal((4, 5))
    for function in (train, lambda X, y, loss: gradient(X, y, np.zeros(5), loss=loss)):
        if function is not train and len(np.unique(y)) == 1:
            continue  # a minibatch may well be of one class
        with pytest.raises(ValueError) as caught:
            function(X, y, loss=loss)
        says(caught.value, *parts)


@pytest.mark.skipif(np.finfo(np.longdouble).bits == 64, reason="longdouble is float64 here")
@pytest.mark.parametrize("loss", ["logistic", "hinge", "softmax"])
def test_labels_of_more_digits_than_float64_are_refused(loss, rng):
    """They were trained on, and the classes could not be saved."""
    X = rng.standard_normal((60, 5))
    with pytest.raises(TypeError) as caught:
        train(X, (X[:, 0] > 0).astype(np.longdouble), loss=loss)
    says(caught.value, "y has dtype", "expected float32 or float64", "astype('float64')")


def test_gradient_takes_the_labels_that_train_takes(rng):
    X, w = rng.standard_normal((30, 5)), rng.standard_normal(5)
    signs = np.where(X[:, 0] > 0, 1.0, -1.0)
    g, gb = gradient(X, signs, w, loss="logistic")
    for named in (signs > 0, np.where(signs > 0, 7, 3), np.where(signs > 0, "yes", "no")):
        again, again_b = gradient(X, named, w, loss="logistic")
        assert (again.tobytes(), again_b) == (g.tobytes(), gb)


@pytest.mark.parametrize("loss", ["logistic", pytest.param("hinge", marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", [float, int, np.uint8, bool])
def test_rows_of_one_sign_are_a_minibatch(dtype, loss, rng):
    X, w = rng.standard_normal((30, 5)), rng.standard_normal(5)
    g, gb = gradient(X, np.ones(30, dtype), w, loss=loss)
    again, again_b = gradient(X, np.ones(30), w, loss=loss)
    assert (again.tobytes(), again_b) == (g.tobytes(), gb)
