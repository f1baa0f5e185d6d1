"""The estimators on sparse rows: as on the dense array, in any format, and what is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from conftest import says

import numbasgd

pytest.importorskip("sklearn", minversion="1.6", reason="the estimators need scikit-learn")

from scipy import sparse  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import MaxAbsScaler  # noqa: E402

from numbasgd import MinibatchSGDClassifier, MinibatchSGDRegressor  # noqa: E402

N, D = 240, 90  # 3 entries a row: steps on fewer than 30 rows have fewer entries than weights
RUN = {"lr": 0.2, "epochs": 3, "random_state": 0, "batch_size": 8}
KINDS = {
    "regressor": (MinibatchSGDRegressor, lambda Z: Z[:, 0]),
    "outputs": (MinibatchSGDRegressor, lambda Z: Z),
    "logistic": (MinibatchSGDClassifier, lambda Z: np.where(Z[:, 0] > 0, "up", "down")),
    "softmax": (MinibatchSGDClassifier, lambda Z: Z.argmax(axis=1)),
    "one-from-the-rest": (lambda **k: MinibatchSGDClassifier("hinge", **k), lambda Z: Z.argmax(axis=1)),
}
ALL = [pytest.param(kind, marks=() if kind == "regressor" else pytest.mark.slow) for kind in KINDS]


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(5)
    X = sparse.random_array((N, D), density=3 / D, format="lil", rng=rng)
    X[[0, 40, N - 1]] = 0
    X = sparse.csr_array(X)
    return X, X @ rng.standard_normal((D, 3)) + 0.1 * rng.standard_normal((N, 3))


def of_kind(kind, problem):
    make, targets = KINDS[kind]
    X, Z = problem
    return make, X, targets(Z)


def is_classifier(model):
    return isinstance(model, MinibatchSGDClassifier)


def assert_close(a, b, rtol=1e-9):
    np.testing.assert_allclose(a.coef_, b.coef_, rtol=rtol, atol=1e-12)
    np.testing.assert_allclose(a.intercept_, b.intercept_, rtol=rtol, atol=1e-12)


@pytest.mark.parametrize("kind", ALL)
def test_a_fit_is_that_on_the_dense_array(problem, kind):
    make, X, y = of_kind(kind, problem)
    s = np.random.default_rng(1).uniform(0, 2, N)
    s[3:9] = 0
    settings = RUN | {"l2": 1e-2, "l1": 1e-4}
    if is_classifier(make()):
        settings["class_weight"] = "balanced"
    model, dense = make(**settings).fit(X, y, s), make(**settings).fit(X.toarray(), y, s)
    assert_close(model, dense)
    assert model.n_features_in_ == D and model.fit_.settings["standardize"] is False
    for name in ("predict", "decision_function", "predict_proba", "predict_log_proba"):
        if hasattr(model, name):
            found, wanted = getattr(model, name)(X), getattr(dense, name)(X.toarray())
            if found.dtype.kind == "f":
                np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-10)
            else:
                np.testing.assert_array_equal(found, wanted)
    np.testing.assert_allclose(model.score(X, y, s), dense.score(X.toarray(), y, s), rtol=1e-9)


@pytest.mark.parametrize("kind", ["regressor", pytest.param("softmax", marks=pytest.mark.slow)])
def test_with_defaults_it_is_train(problem, kind):
    make, X, y = of_kind(kind, problem)
    model = make(random_state=3).fit(X, y)
    fit = numbasgd.train(X, y, loss="squared" if kind == "regressor" else "softmax", seed=3)
    np.testing.assert_array_equal(model.coef_, fit.w.T)
    assert not fit.settings["standardize"] and model.score(X, y) > 0.7
    np.testing.assert_array_equal(model.fit_.predict(X), model.predict(X))


def test_every_format_is_taken_and_left_alone(problem):
    make, X, y = of_kind("regressor", problem)
    wanted = make(**RUN).fit(X, y)
    twice = sparse.csr_array((np.repeat(X.data, 2) / 2, np.repeat(X.indices, 2), 2 * X.indptr), X.shape)
    falling = X.copy()
    for i in range(N):
        part = slice(X.indptr[i], X.indptr[i + 1])
        falling.indices[part], falling.data[part] = X.indices[part][::-1], X.data[part][::-1]
    long = X.copy()
    long.indices, long.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    formats = {
        "csc": X.tocsc(), "coo": X.tocoo(), "matrix": sparse.csr_matrix(X), "csc matrix": sparse.csc_matrix(X),
        "dok": X.todok(), "unsorted": falling, "twice": twice, "int64 indices": long,
    }  # fmt: skip
    for name, other in formats.items():
        before = other.copy()
        model = make(**RUN).fit(other, y)
        np.testing.assert_array_equal(model.coef_, wanted.coef_, err_msg=name)
        np.testing.assert_allclose(model.predict(other), wanted.predict(X), rtol=1e-12, err_msg=name)
        assert (other.tocsr() != before.tocsr()).nnz == 0


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "expected"), [(np.float32, np.float32), (np.int8, np.float64)])
def test_float32_stays_float32(problem, dtype, expected):
    make, X, y = of_kind("softmax", problem)
    model = make(**RUN).fit(X.astype(dtype), y)
    assert model.coef_.dtype == model.intercept_.dtype == model.predict_proba(X.astype(dtype)).dtype == expected
    assert model.partial_fit(X, y).coef_.dtype == expected


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    "steps",
    [{}, *(pytest.param(more, marks=pytest.mark.slow) for more in ({"average": True}, {"momentum": 0.8}))],
    ids=str,
)
def test_pieces_are_one_fit(problem, kind, steps):
    """To rounding: weights that no row touches are brought up to date after each piece."""
    make, X, y = of_kind(kind, problem)
    order = np.argsort(problem[1][:, 0])
    X, y = X[order], y[order]
    settings = {**RUN, "sampling": "sequential", "l2": 0.05, **steps}
    del settings["epochs"]
    whole = make(epochs=1, **settings).fit(X, y)
    model = make(**settings)
    known = {"classes": np.unique(y)} if is_classifier(model) else {}
    for start in range(0, N, 80):
        model.partial_fit(X[start : start + 80], y[start : start + 80], **known)
        model = pickle.loads(pickle.dumps(model))
    assert_close(model, whole)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [{}, {"average": True}, {"momentum": 0.5, "average": True}], ids=str)
def test_pieces_may_be_sparse_dense_and_of_any_length(problem, steps):
    """Lazy steps, steps on all weights and those on dense rows leave the same state behind."""
    make, X, y = of_kind("regressor", problem)
    full = sparse.csr_array(X.toarray() + 0.01)
    pieces = [(X[:80], y[:80]), (full[80:96], y[80:96]), (X[96:], y[96:])]
    settings = {**RUN, "sampling": "sequential", "l2": 0.05, **steps}
    dense, mixed, only = make(**settings), make(**settings), make(**settings)
    for i, (rows, targets) in enumerate(pieces):
        dense.partial_fit(rows.toarray(), targets)
        only.partial_fit(rows, targets)
        mixed.partial_fit(rows.toarray() if i % 2 else rows, targets)
    assert_close(only, dense)
    assert_close(mixed, dense)


def test_standardize_scales_columns_and_leaves_their_mean(problem):
    make, X, y = of_kind("regressor", problem)
    root = np.sqrt((X.toarray() ** 2).mean(axis=0))
    root[root == 0] = 1
    settings = RUN | {"lr": 1e-3}
    model = make(standardize=True, **settings).fit(X, y)
    scaled = make(**settings).fit(sparse.csr_array(X / root), y)
    np.testing.assert_allclose(model.coef_, scaled.coef_ / root, rtol=1e-9)
    np.testing.assert_allclose(model.intercept_, scaled.intercept_, rtol=1e-9)


def test_tables_of_sparse_columns_are_sparse_rows(problem):
    pd = pytest.importorskip("pandas")
    make, X, y = of_kind("regressor", problem)
    frame = pd.DataFrame.sparse.from_spmatrix(sparse.csr_matrix(X), columns=[f"c{j}" for j in range(D)])
    model = make(**RUN).fit(frame, y)
    plain = make(**RUN).fit(X, y)
    np.testing.assert_array_equal(model.coef_, plain.coef_)
    assert model.fit_.feature_names[:2] == ("c0", "c1") and not model.fit_.settings["standardize"]
    np.testing.assert_array_equal(model.predict(frame), plain.predict(X))


def test_what_is_not_finite_is_named_by_row_and_column(problem):
    make, X, y = of_kind("regressor", problem)
    bad = X.copy()
    bad.data[[70, 90]] = np.nan
    at = f"X holds nan at row {np.searchsorted(X.indptr, 70, side='right') - 1}, column {X.indices[70]} (1 more"
    model = make(**RUN)
    for call in (model.fit, model.partial_fit):
        with pytest.raises(ValueError) as caught:
            call(bad, y)
        says(caught.value, at, "before training")
    model.fit(X, y)
    with pytest.raises(ValueError) as caught:
        model.predict(bad)
    says(caught.value, at, "before predicting")
    with pytest.raises(ValueError, match=f"{D - 1} features"):
        model.predict(X[:, 1:])
    for rows in (X, X.toarray()):
        with pytest.raises(TypeError) as caught:
            make(**RUN).fit(rows, sparse.csr_array(y[:, None]))
        says(caught.value, "y is a sparse matrix", "toarray()")


@pytest.mark.slow
def test_in_a_pipeline_and_from_a_warm_start(problem):
    make, X, y = of_kind("logistic", problem)
    pipeline = make_pipeline(MaxAbsScaler(), make(**RUN)).fit(X, y)
    scaled = X.toarray() / np.maximum(np.abs(X.toarray()).max(axis=0), 1e-300)
    np.testing.assert_allclose(pipeline[-1].coef_, make(**RUN).fit(scaled, y).coef_, rtol=1e-9, atol=1e-12)
    model = make(**RUN | {"epochs": 2}, sampling="sequential", warm_start=True).fit(X, y).fit(X, y)
    whole = make(**RUN | {"epochs": 4}, sampling="sequential").fit(X, y)
    assert_close(model, whole)


class Scored:
    """A callback that scores each epoch on the rows that it is told."""

    def setup(self, estimator, context):
        self.scores = []

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        if context.task_name == "epoch":
            self.scores.append(fitted_estimator.score(X, y))


@pytest.mark.skipif(
    not hasattr(MinibatchSGDRegressor, "set_callbacks"), reason="callbacks came with scikit-learn 1.9"
)
def test_callbacks_are_told_the_sparse_rows(problem):
    make, X, y = of_kind("regressor", problem)
    scored = Scored()
    model = make(**RUN).set_callbacks(scored).fit(X, y)
    assert len(scored.scores) == 3 and scored.scores[-1] == model.score(X, y)
