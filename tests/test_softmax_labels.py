"""K classes of any name in, the same names out; labels that do not fit are refused."""

import numpy as np
import pytest
from conftest import says

from numbasgd import gradient, train

NAMES = {
    "integers": [3, -1, 700],
    "numbers": [0.5, -2.0, 1e9],
    "text": ["setosa", "versicolor", "virginica"],
    "list": ["b", "a", "c"],
    "objects": np.array(["x", "yy", "z"], object),
    "unsigned": np.array([2**63 + 5, 1, 2], np.uint64),
}


@pytest.fixture
def data(rng):
    y = np.concatenate([[0, 1, 2], rng.integers(0, 3, 87)])
    return 2 * np.eye(5)[y] + rng.standard_normal((90, 5)), y


@pytest.mark.parametrize("kind", NAMES)
def test_classes_of_any_name(kind, data):
    X, y = data
    ordered = sorted(np.asarray(NAMES[kind]).tolist())
    named = (
        [ordered[k] for k in y] if kind == "list" else np.array(ordered, getattr(NAMES[kind], "dtype", None))[y]
    )
    fit = train(X, named, loss="softmax", lr=0.1, epochs=20, seed=0)
    same = train(X, y, loss="softmax", lr=0.1, epochs=20, seed=0)
    assert fit.w.tobytes() == same.w.tobytes()
    assert fit.classes == tuple(ordered)
    predicted = fit.predict(X)
    assert set(predicted.tolist()) == set(ordered)
    assert np.mean(predicted == np.asarray(named)) > 0.8
    z = fit.decision_function(X)
    np.testing.assert_allclose(z, X @ fit.w + fit.b, rtol=1e-12)
    probability = fit.predict_proba(X)
    assert probability.shape == (90, 3)
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-12)
    assert np.array_equal(probability.argmax(axis=1), z.argmax(axis=1))


@pytest.mark.parametrize(
    ("y", "parts"),
    [
        ([1, 1, 1, 1], ("y holds only 1", "expected two or more classes", "Pass rows of all")),
        (["a"] * 4, ("y holds only 'a'", "expected two or more classes", "Pass rows of all")),
        ([0, 1, np.nan, 1], ("y holds nan at row 2", "expected finite", "Drop")),
        ([0, np.inf, 0, 1], ("y holds inf at row 1", "expected finite", "Drop")),
        (np.eye(4), ("y has 2 dimensions", "expected a 1-D array of labels", "argmax")),
        ([0, 1, 2], ("X has 4 rows", "y has 3 entries", "expected one target per row")),
        (None, ("y", "expected", "Pass")),
        ([1j, 2, 3, 4], ("y has dtype complex128", "expected")),
        (np.array([0, 1, "a", None], object), ("y holds 0 at row 0", "expected labels of one kind", "drop")),
        (["a", "b", None, "a"], ("y holds None at row 2", "expected labels of one kind", "drop")),
        (np.zeros((4, 1)), ("y has 2 dimensions", "expected a 1-D array of labels", "y.ravel()")),
    ],
    ids=str,
)
def test_labels_that_do_not_fit(y, parts, rng):
    X = rng.standard_normal((4, 5))
    with pytest.raises((ValueError, TypeError)) as caught:
        train(X, y, loss="softmax")
    says(caught.value, *parts)


def test_a_class_that_one_part_lacks(data):
    """Its weights are pushed down, or its rows cost; neither is an error."""
    X, y = data
    y = np.where(y == 2, 1, y)
    y[4] = 9
    for seed in range(12):
        fit = train(X, y, loss="softmax", lr=0.1, epochs=3, validation_fraction=0.4, seed=seed)
        assert fit.classes == (0, 1, 9) and np.all(np.isfinite(fit.validation_loss))


@pytest.mark.parametrize("other", ["logistic", pytest.param("softmax", marks=pytest.mark.slow)])
def test_a_class_without_weight(other, data):
    X, y = data
    fit = train(X, y, loss="softmax", lr=0.2, epochs=30, sample_weight=(y != 2) * 1.0, seed=0)
    # Of two classes, the difference of both columns follows the logistic weights at twice their rate.
    same = train(X[y != 2], y[y != 2], loss=other, lr=0.4 if other == "logistic" else 0.2, epochs=30, seed=0)
    assert fit.classes == (0, 1, 2) and np.mean(fit.predict(X) == 2) < 0.1
    assert fit.loss[-1] == pytest.approx(same.loss[-1], rel=0.2)


@pytest.mark.parametrize("K", [3, pytest.param(6, marks=pytest.mark.slow)])
def test_as_many_classes_as_rows(K, rng):
    X = rng.standard_normal((K, 5))
    fit = train(X, np.arange(K), loss="softmax", lr=0.5, batch_size=K, epochs=2000)
    assert np.array_equal(fit.predict(X), np.arange(K))


@pytest.mark.parametrize("K", [3, pytest.param(4, marks=pytest.mark.slow)])
def test_gradient_takes_numbers_of_classes(K, data):
    X, y = data
    y = np.minimum(y, K - 2)
    w = np.zeros((5, K))  # the last class does not show
    assert gradient(X, y, w, loss="softmax")[0].shape == (5, K)
    for labels, parts in (
        (y + 2, (f"y holds class {K}, w has {K} columns", "expected classes 0 to K - 1", "Number")),
        (y - 1, ("y holds", "-1", "expected the numbers 0 to K - 1", "Number")),
        (y + 0.5, ("y holds", "0.5", "expected the numbers 0 to K - 1", "Number")),
        (y.astype(str), ("y holds", "expected the numbers 0 to K - 1", "Number")),
    ):
        with pytest.raises(ValueError) as caught:
            gradient(X, labels, w, loss="softmax")
        says(caught.value, *parts)
