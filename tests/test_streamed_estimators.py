"""The estimators on rows in a file: the model of ``train``, block by block."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6", reason="the estimators need scikit-learn")

from numbasgd import MinibatchSGDClassifier, MinibatchSGDRegressor, train  # noqa: E402

SETTINGS = dict(epochs=2, lr=0.01, window=0.02)


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 4))
    np.save(tmp_path / "X.npy", X)
    z = X @ np.arange(4.0)
    return X, z, np.array(["low", "mid", "high"])[np.digitize(z, [-1, 2])], tmp_path / "X.npy"


def test_a_regressor(data):
    X, z, _, path = data
    s = 1 + np.arange(2000) % 3
    mapped = np.load(path, mmap_mode="r")
    model = MinibatchSGDRegressor(random_state=0, **SETTINGS).fit(mapped, z, s)
    assert model.fit_.settings["sampling"] == "block" and model.n_features_in_ == 4
    weighted = train(mapped, z, sample_weight=s, seed=0, **SETTINGS)
    np.testing.assert_allclose(model.coef_, weighted.w, rtol=1e-12)  # whose weights are rounded once less
    plain = MinibatchSGDRegressor(random_state=0, **SETTINGS).fit(mapped, z)
    np.testing.assert_array_equal(plain.coef_, train(mapped, z, seed=0, **SETTINGS).w)
    same = MinibatchSGDRegressor(random_state=0, sampling="block", **SETTINGS).fit(X, z, s)
    np.testing.assert_array_equal(model.coef_, same.coef_)
    np.testing.assert_allclose(model.predict(str(path)), model.predict(X), rtol=1e-12)
    assert model.score(mapped, z) > 0.5
    in_memory = MinibatchSGDRegressor(random_state=0, **SETTINGS).fit(X, z, s)
    assert in_memory.fit_.settings["sampling"] == "reshuffle"


@pytest.mark.parametrize("loss", ["logistic", pytest.param("hinge", marks=pytest.mark.slow)])
@pytest.mark.parametrize("class_weight", ["balanced", pytest.param(None, marks=pytest.mark.slow)])
def test_a_classifier(data, loss, class_weight):
    X, _, labels, path = data
    how = dict(random_state=0, class_weight=class_weight, **SETTINGS)
    model = MinibatchSGDClassifier(loss, **how).fit(str(path), labels)
    same = MinibatchSGDClassifier(loss, sampling="block", **how).fit(X, labels)
    np.testing.assert_array_equal(model.coef_, same.coef_)
    assert model.fit_.settings["sampling"] == "block"
    assert set(model.predict(str(path))) <= set(labels) and model.score(str(path), labels) > 0.5


def test_pieces_are_in_memory_whatever_the_sampling(data):
    X, z, _, path = data
    mapped = np.load(path, mmap_mode="r")
    one, other = (
        MinibatchSGDRegressor(random_state=0, lr=0.01, sampling=sampling).partial_fit(mapped[:100], z[:100])
        for sampling in ("block", "reshuffle")
    )
    np.testing.assert_array_equal(one.coef_, other.coef_)


def test_rows_and_targets_that_do_not_fit(data):
    _, z, _, path = data
    with pytest.raises(ValueError, match="X has 2000 rows and y has 1999 entries"):
        MinibatchSGDRegressor().fit(str(path), z[1:])
    with pytest.raises(ValueError, match="sampling is 'once', and the rows of"):
        MinibatchSGDRegressor(sampling="once").fit(str(path), z)
