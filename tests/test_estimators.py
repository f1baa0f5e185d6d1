"""The estimators: scikit-learn's own checks, ``train``'s weights, training in pieces, and what users pass."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys

import numpy as np
import pytest
from conftest import says

import numbasgd

pytest.importorskip("sklearn", minversion="1.6", reason="the estimators need scikit-learn")

from sklearn import config_context  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from numbasgd import MinibatchSGDClassifier, MinibatchSGDRegressor  # noqa: E402
from numbasgd.estimators.base import LEFT_OUT, RENAMED  # noqa: E402
from numbasgd.sgd.config import TrainConfig  # noqa: E402

BOTH = [MinibatchSGDRegressor, MinibatchSGDClassifier]


@pytest.mark.slow  # compiles for minibatches and columns of every size that the checks have
@parametrize_with_checks([make() for make in BOTH])
def test_scikit_learn_finds_nothing(estimator, check):
    check(estimator)


@pytest.mark.parametrize("make", BOTH)
def test_settings_are_those_of_train(make):
    parameters = inspect.signature(make).parameters
    fields = TrainConfig.__dataclass_fields__
    shared = {RENAMED.get(name, name): field for name, field in fields.items() if name not in LEFT_OUT}
    own = {"warm_start"} | ({"class_weight"} if make is MinibatchSGDClassifier else set())
    assert set(parameters) == set(shared) | own
    for name, field in shared.items():
        if (make, name) != (MinibatchSGDClassifier, "loss"):
            assert parameters[name].default == field.default, name
    for name, parameter in parameters.items():
        assert name == "loss" or parameter.kind is inspect.Parameter.KEYWORD_ONLY
    given = {name: object() for name in parameters}
    assert make(**given).get_params() == given


def problem(rng, dtype=np.float64, n=512, d=6):
    X = (rng.standard_normal((n, d)) / np.sqrt(d)).astype(dtype)
    Z = X @ rng.standard_normal((d, 3)).astype(dtype) + 0.3 * rng.standard_normal((n, 3)).astype(dtype)
    return X, Z


TARGETS = {
    "regressor": (MinibatchSGDRegressor, lambda Z: Z[:, 0]),
    "outputs": (MinibatchSGDRegressor, lambda Z: Z),
    "logistic": (MinibatchSGDClassifier, lambda Z: np.where(Z[:, 0] > 0, "up", "down")),
    "softmax": (MinibatchSGDClassifier, lambda Z: Z.argmax(axis=1)),
}
#: The same with what ``train`` has no word for: one class from the rest, and the softmax of two.
MORE = {
    "one-from-the-rest": (lambda **k: MinibatchSGDClassifier("hinge", **k), lambda Z: Z.argmax(axis=1)),
    "softmax-of-two": (lambda **k: MinibatchSGDClassifier("softmax", **k), lambda Z: Z[:, 0] > 0),
}


@pytest.mark.parametrize(
    "kind", ["regressor", "logistic", "softmax", pytest.param("outputs", marks=pytest.mark.slow)]
)
def test_weights_are_those_of_train(rng, kind):
    make, targets = TARGETS[kind]
    X, Z = problem(rng)
    y = targets(Z)
    model = make(random_state=3).fit(X, y)
    loss = model.loss if kind != "softmax" else "softmax"
    fit = numbasgd.train(X, y, loss=loss, seed=3)
    assert np.array_equal(model.coef_, np.atleast_2d(fit.w.T) if make is MinibatchSGDClassifier else fit.w.T)
    assert np.array_equal(model.intercept_, np.atleast_1d(fit.b))
    assert model.fit_.stopped == fit.stopped and model.loss_curve_ == fit.objective[1:].tolist()
    assert model.n_iter_ == fit.epochs[-1]
    assert np.array_equal(model.predict(X), fit.predict(X))
    assert np.array_equal(model.fit_.predict(X), fit.predict(X))


def known(model, y):
    return {} if isinstance(model, MinibatchSGDRegressor) else {"classes": np.unique(y)}


def assert_same_model(a, b):
    assert np.array_equal(a.coef_, b.coef_) and np.array_equal(a.intercept_, b.intercept_)


STEPS = {
    "momentum": {"momentum": 0.9},
    "all": {"momentum": 0.9, "nesterov": True, "average": True, "l1": 1e-3, "l2": 1e-3},
}


#: The others, each of which is compiled for itself, are slow.
QUICK = {("regressor", "all"), ("softmax", "all")}
CASES = [
    pytest.param(kind, steps, marks=() if (kind, steps) in QUICK else pytest.mark.slow)
    for kind in (*TARGETS, *MORE)
    for steps in STEPS
]


@pytest.mark.parametrize(("kind", "steps"), CASES)
def test_pieces_are_one_fit_bit_for_bit(rng, kind, steps):
    """Weights of mean 1 over all rows included; the pieces are sorted, so that some lack a class."""
    make, targets = {**TARGETS, **MORE}[kind]
    X, Z = problem(rng)
    order = np.argsort(Z[:, 0])
    X, y = X[order], targets(Z)[order]
    settings = {"lr": 0.1, "batch_size": 32, "random_state": 0, **STEPS[steps]}
    for sample_weight in (None, rng.permutation(np.tile([0.5, 1.5, 1.0, 1.0], 128))):
        whole = make(sampling="sequential", epochs=1, **settings).fit(X, y, sample_weight)
        model = make(sampling="sequential", **settings)
        for start in range(0, 512, 128):
            rows = slice(start, start + 128)
            s = None if sample_weight is None else sample_weight[rows]
            model.partial_fit(X[rows], y[rows], sample_weight=s, **known(model, y))
            model = pickle.loads(pickle.dumps(model))
        assert_same_model(model, whole)
        assert model.n_iter_ == len(model.loss_curve_) == 4


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("regressor", np.float32),
        ("softmax", np.float64),
        pytest.param("softmax", np.float32, marks=pytest.mark.slow),
    ],
)
def test_calls_with_the_same_rows_are_epochs(rng, kind, dtype):
    make, targets = TARGETS[kind]
    X, Z = problem(rng, dtype)
    y = targets(Z)
    settings = {"lr": [0.2, 0.1, 0.05], "epochs": 3, "random_state": 0, **STEPS["all"], "average": 1}
    whole = make(**settings).fit(X, y)
    model = make(**settings)
    for _ in range(3):
        model.partial_fit(X, y, **known(model, y))
    assert_same_model(model, whole)
    assert model.coef_.dtype == model.intercept_.dtype == dtype
    assert model.predict(X).dtype == (dtype if kind == "regressor" else y.dtype)


def test_a_stream_with_defaults_learns(rng):
    X, Z = problem(rng, n=4096)
    X = X * [1e-2, 1, 1, 1, 1, 1e3]  # the first piece decides on scale and rate
    model = MinibatchSGDClassifier(random_state=0)
    for start in range(0, 4096, 256):
        model.partial_fit(X[start : start + 256], Z[start : start + 256].argmax(axis=1), classes=range(3))
    assert (
        model.score(X, Z.argmax(axis=1))
        > MinibatchSGDClassifier().fit(X, Z.argmax(axis=1)).score(X, Z.argmax(axis=1)) - 0.03
    )


@pytest.mark.slow
def test_weights_of_pieces_count_beside_each_other(rng):
    """With all weights 2, "auto" chooses half the rate, and the steps are the same."""
    X, Z = problem(rng)
    plain = MinibatchSGDRegressor(random_state=0).partial_fit(X, Z[:, 0])
    double = MinibatchSGDRegressor(random_state=0).partial_fit(X, Z[:, 0], np.full(512, 2.0))
    np.testing.assert_allclose(double.coef_, plain.coef_, rtol=1e-12)
    same_rate = MinibatchSGDRegressor(random_state=0, lr=1e-3)
    longer = clone(same_rate).partial_fit(X, Z[:, 0], np.full(512, 2.0))
    assert np.linalg.norm(longer.coef_) > 1.5 * np.linalg.norm(same_rate.partial_fit(X, Z[:, 0]).coef_)


def test_rates_of_calls_fall_by_inverse_scaling(rng):
    X, Z = problem(rng)
    falling = MinibatchSGDRegressor(lr=0.2, schedule="inverse_scaling", random_state=0)
    listed = MinibatchSGDRegressor(lr=[0.2, 0.2 / 2**0.5], epochs=2, random_state=0)
    for _ in range(2):
        falling.partial_fit(X, Z[:, 0])
        listed.partial_fit(X, Z[:, 0])
    assert_same_model(falling, listed)


def test_partial_fit_goes_on_from_fit_and_leaves_no_trace_when_it_fails(rng):
    X, Z = problem(rng)
    y = Z[:, 0]
    model = MinibatchSGDRegressor(random_state=0, lr=0.1).fit(X, y)
    score = model.score(X, y)
    before = {name: value for name, value in vars(model).items() if name != "lr"}
    model.set_params(lr=1e3)
    with pytest.raises(numbasgd.DivergenceError):
        for _ in range(9):
            before = {name: value for name, value in vars(model).items() if name != "lr"}
            model.partial_fit(X, y)
    assert all(vars(model)[name] is value for name, value in before.items())
    model = MinibatchSGDRegressor(random_state=0).fit(X, y).partial_fit(X[:64], y[:64])
    assert model.score(X, y) > score - 0.1 and not hasattr(model, "fit_")


@pytest.mark.parametrize(
    ("settings", "how", "parts"),
    [
        ({}, {}, ("classes is None", "classes=np.unique(y)")),
        ({}, {"classes": [0, 1]}, ("y holds 2", "[0, 1]", "first call")),
        ({}, {"classes": [2]}, ("classes is [2]", "two labels")),
        ({"class_weight": "balanced"}, {"classes": range(3)}, ("'balanced'", "compute_class_weight")),
        ({"schedule": "cosine"}, {"classes": range(3)}, ("schedule is 'cosine'", "'inverse_scaling'", "fit")),
        ({"batch_size": 0}, {"classes": range(3)}, ("batch_size is 0", "1 or more")),
        ({"loss": "squared"}, {"classes": range(3)}, ("loss is 'squared'", "logistic")),
    ],
)
def test_partial_fit_says_what_is_wrong(rng, settings, how, parts):
    X, Z = problem(rng)
    y = Z.argmax(axis=1)
    with pytest.raises(ValueError) as caught:
        MinibatchSGDClassifier(**settings).partial_fit(X[np.argsort(-y)], np.sort(y)[::-1], **how)
    says(caught.value, *parts)


def test_later_calls_know_the_classes(rng):
    X, Z = problem(rng)
    model = MinibatchSGDClassifier(random_state=0).partial_fit(X, Z.argmax(axis=1), classes=[2, 0, 1])
    model.partial_fit(X, Z.argmax(axis=1))
    with pytest.raises(ValueError, match="was \\[0, 1, 2\\] before"):
        model.partial_fit(X, Z.argmax(axis=1), classes=range(4))
    with pytest.raises(ValueError, match="5 features"):
        model.partial_fit(X[:, :5], Z.argmax(axis=1))


def test_class_weights_are_weights_of_rows(rng):
    X, Z = problem(rng)
    y = np.array(["a", "b", "c"])[np.digitize(Z[:, 0], [0.0, 1.0])]
    settings = {"lr": 0.1, "epochs": 2, "random_state": 0}
    weights = {"a": 1.0, "b": 2.0, "c": 8.0}
    given = np.array([weights[label] for label in y])
    by_class = MinibatchSGDClassifier(class_weight=weights, **settings).fit(X, y)
    assert_same_model(by_class, MinibatchSGDClassifier(**settings).fit(X, y, given))
    twice = MinibatchSGDClassifier(class_weight={"b": 2.0, "c": 8.0}, **settings).fit(X, y, np.full(512, 3.0))
    np.testing.assert_allclose(twice.coef_, by_class.coef_, rtol=1e-10)
    # "balanced" counts by weights: a row of weight 2 is two rows.
    classes, number = np.unique(y, return_inverse=True)
    rows = rng.integers(1, 4, 512)
    total = np.bincount(number, rows)
    balanced = MinibatchSGDClassifier(class_weight="balanced", **settings).fit(X, y, rows)
    alike = MinibatchSGDClassifier(**settings).fit(X, y, rows / total[number])
    np.testing.assert_allclose(balanced.coef_, alike.coef_, rtol=1e-10)


@pytest.mark.parametrize(
    "name", [lambda y: np.array(["01", "1", "x"])[y], lambda y: y.astype(float), lambda y: y - 7]
)
def test_labels_come_back_as_they_are(rng, name):
    X, Z = problem(rng)
    y = name(Z.argmax(axis=1))
    model = MinibatchSGDClassifier(lr=0.1, epochs=3, random_state=0).fit(X, y)
    assert model.classes_.dtype == y.dtype and np.array_equal(model.classes_, np.unique(y))
    assert model.predict(X).dtype == y.dtype and set(model.predict(X)) <= set(y)
    first = MinibatchSGDClassifier(lr=0.1, random_state=0).partial_fit(X, y, classes=np.unique(y))
    assert set(first.predict(X)) <= set(y)


def test_labels_of_other_kinds(rng):
    pd = pytest.importorskip("pandas")
    X, Z = problem(rng)
    text = np.array(["01", "1"])[(Z[:, 0] > 0).astype(int)]
    expected = MinibatchSGDClassifier(lr=0.1, epochs=3, random_state=0).fit(X, text)
    for y in (
        text.astype(np.dtypes.StringDType()),
        pd.Series(text),
        pd.Series(text).astype("category"),
        [*text],
    ):
        model = MinibatchSGDClassifier(lr=0.1, epochs=3, random_state=0).fit(X, y)
        assert model.classes_.tolist() == ["01", "1"]
        assert_same_model(model, expected)
        piece = MinibatchSGDClassifier(lr=0.1, random_state=0)
        assert piece.partial_fit(X, y, classes=["1", "01"]).predict(X[:1])[0] in ("01", "1")


@pytest.mark.parametrize(
    "kind", ["logistic", "softmax", pytest.param("softmax-of-two", marks=pytest.mark.slow)]
)
def test_probabilities(rng, kind):
    make, targets = {**TARGETS, **MORE}[kind]
    X, Z = problem(rng)
    model = make(lr=0.1, epochs=3, random_state=0).fit(X, targets(Z))
    p, log_p = model.predict_proba(X), model.predict_log_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_allclose(np.exp(log_p), p, rtol=1e-12)
    assert np.array_equal(model.classes_[p.argmax(axis=1)], model.predict(X))
    assert model.coef_.shape == (3 if kind == "softmax" else 1, 6)
    assert np.isfinite(model.predict_log_proba(X * 1e6)).all()
    # The softmax of two is told by the difference of its columns.
    np.testing.assert_allclose(p, model.fit_.predict_proba(X), rtol=1e-10)


def test_hinge_has_no_probabilities(rng):
    X, Z = problem(rng)
    y = Z[:, 0] > 0
    settings = {"lr": 0.1, "epochs": 3, "random_state": 0}
    hinge = MinibatchSGDClassifier("hinge", **settings).fit(X, y)
    assert not hasattr(hinge, "predict_proba") and hinge.decision_function(X).shape == (512,)


def test_one_class_from_the_rest_can_be_saved(rng, tmp_path):
    X, Z = problem(rng)
    y = Z.argmax(axis=1)
    model = MinibatchSGDClassifier("hinge", lr=0.1, epochs=3, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.6 and model.decision_function(X).shape == (512, 3)
    for k in range(3):
        alone = numbasgd.train(X, y == k, loss="hinge", lr=0.1, epochs=3, batch_size=32, seed=0)
        np.testing.assert_allclose(model.coef_[k], alone.w, rtol=1e-8)
    model.fit_.save(tmp_path / "model.fit")
    assert np.array_equal(numbasgd.Fit.load(tmp_path / "model.fit").predict(X), model.predict(X))


def test_columns_are_known_by_their_names(rng):
    pd = pytest.importorskip("pandas")
    X, Z = problem(rng)
    frame = pd.DataFrame(X, columns=list("abcdef"))
    model = MinibatchSGDRegressor(lr=0.1, epochs=2, random_state=0).fit(frame, pd.Series(Z[:, 0]))
    assert model.feature_names_in_.tolist() == list("abcdef") and model.n_features_in_ == 6
    assert model.fit_.feature_names == tuple("abcdef")
    assert_same_model(model, MinibatchSGDRegressor(lr=0.1, epochs=2, random_state=0).fit(X, Z[:, 0]))
    for use in (model.predict, lambda X: model.partial_fit(X, Z[:, 0])):
        with pytest.raises(ValueError, match="feature names should match"):
            use(frame[frame.columns[::-1]])
    scaled = make_pipeline(StandardScaler(), MinibatchSGDRegressor(lr=0.1, epochs=2)).set_output(
        transform="pandas"
    )
    assert scaled.fit(frame, Z[:, 0])[-1].feature_names_in_.tolist() == list("abcdef")


def test_warm_start_goes_on(rng):
    X, Z = problem(rng)
    for kind in TARGETS:
        make, targets = {**TARGETS, **MORE}[kind]
        y = targets(Z)
        settings = {"lr": 0.1, "sampling": "sequential", "random_state": 0}
        model = make(epochs=2, warm_start=True, **settings).fit(X, y).fit(X, y)
        whole = make(epochs=4, **settings).fit(X, y)
        np.testing.assert_allclose(model.coef_, whole.coef_, rtol=0)
        with pytest.raises(ValueError, match="coef_ has 6 columns and . outputs, and the data has 5"):
            model.fit(X[:, :5], y)
    with pytest.raises(ValueError, match="the model to start from has"):
        model.fit(X, y.astype(int) + 5)


def test_random_states(rng):
    X, Z = problem(rng)
    y = Z[:, 0]
    settings = {"lr": 0.1, "epochs": 1}

    def coef(state):
        return MinibatchSGDRegressor(random_state=state, **settings).fit(X, y).coef_

    assert np.array_equal(coef(np.random.RandomState(1)), coef(np.random.RandomState(1)))
    assert not np.array_equal(coef(np.random.RandomState(1)), coef(np.random.RandomState(2)))
    assert not np.array_equal(coef(None), coef(None))
    # A generator is drawn from once, so that all pieces have the order of one run.
    model = MinibatchSGDRegressor(lr=0.1, epochs=2, random_state=np.random.RandomState(1))
    pieces = clone(model).partial_fit(X, y).partial_fit(X, y)
    assert_same_model(pieces, model.fit(X, y))


def test_fewer_rows_than_a_batch_and_settings_of_numpy(rng):
    X, Z = problem(rng)
    model = MinibatchSGDRegressor(
        batch_size=np.int64(1000), lr=np.float64(0.1), epochs=np.int32(7), random_state=0
    )
    model.fit(X, Z[:, 0])
    assert model.n_iter_ == 7 and model.fit_.settings["batch_size"] == 512
    assert model.loss_curve_ == sorted(model.loss_curve_, reverse=True) and len(model.loss_curve_) == 4
    each = MinibatchSGDRegressor(eval_every="epoch", lr=0.1, epochs=7, random_state=0).fit(X, Z[:, 0])
    assert len(each.loss_curve_) == 7


def test_metadata_is_routed(rng):
    X, Z = problem(rng)
    y = Z[:, 0]
    s = rng.uniform(0.1, 2, 512)
    settings = {"lr": 0.1, "epochs": 2, "random_state": 0}
    with config_context(enable_metadata_routing=True):
        model = MinibatchSGDRegressor(**settings).set_fit_request(sample_weight=True)
        pipeline = make_pipeline("passthrough", model)
        pipeline.fit(X, y, sample_weight=s)
        assert MinibatchSGDClassifier().set_partial_fit_request(classes=True, sample_weight=True) is not None
    assert_same_model(pipeline[-1], MinibatchSGDRegressor(**settings).fit(X, y, s))


def test_read_only_memory_is_enough(rng, tmp_path):
    X, Z = problem(rng)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    for sampling in ("reshuffle", "block"):
        model = MinibatchSGDRegressor(random_state=0, sampling=sampling).fit(mapped, Z[:, 0])
        assert_same_model(model, MinibatchSGDRegressor(random_state=0, sampling=sampling).fit(X, Z[:, 0]))
    assert np.array_equal(np.load(tmp_path / "X.npy"), X)


def test_any_memory_order_gives_the_same_bits(rng):
    X, Z = problem(rng)
    for settings in ({}, {"lr": 0.1, "epochs": 2}):
        expected = MinibatchSGDRegressor(random_state=0, **settings).fit(X, Z[:, 0])
        for laid in (np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2], X[::-1].copy()[::-1]):
            assert_same_model(MinibatchSGDRegressor(random_state=0, **settings).fit(laid, Z[:, 0]), expected)
    expected = MinibatchSGDRegressor(random_state=0, lr=0.1).partial_fit(X, Z[:, 0])
    pieces = MinibatchSGDRegressor(random_state=0, lr=0.1).partial_fit(np.asfortranarray(X), Z[:, 0])
    assert_same_model(pieces, expected)


@pytest.mark.slow
def test_a_softmax_of_two_goes_on(rng):
    """Its two columns are known by their difference alone; the steps of the difference are the same."""
    X, Z = problem(rng)
    settings = {"lr": 0.1, "sampling": "sequential", "random_state": 0}
    model = MinibatchSGDClassifier("softmax", epochs=2, warm_start=True, **settings)
    model.fit(X, Z[:, 0] > 0).fit(X, Z[:, 0] > 0)
    whole = MinibatchSGDClassifier("softmax", epochs=4, **settings).fit(X, Z[:, 0] > 0)
    np.testing.assert_allclose(model.coef_, whole.coef_, rtol=1e-10)


@pytest.mark.slow  # starts processes that import and compile
def test_a_grid_is_searched_by_several_processes(rng):
    X, Z = problem(rng, n=40_000, d=10)  # beyond 1 MB, where joblib passes read-only memory maps
    pipeline = make_pipeline(StandardScaler(), MinibatchSGDClassifier(epochs=3, random_state=0))
    grid = {"minibatchsgdclassifier__l2": [0.0, 10.0], "minibatchsgdclassifier__batch_size": [8, 64]}
    search = GridSearchCV(pipeline, grid, n_jobs=2, cv=2, error_score="raise")
    search.fit(X, Z.argmax(axis=1))
    assert search.best_params_["minibatchsgdclassifier__l2"] == 0.0


def test_scikit_learn_is_imported_when_it_is_needed():
    code = """if True:
        import sys
        import numbasgd
        assert "sklearn" not in sys.modules
        assert "MinibatchSGDRegressor" in dir(numbasgd)
        sys.modules["sklearn"] = None  # as if it were not installed
        from numbasgd import *
        for make in (MinibatchSGDRegressor, MinibatchSGDClassifier):
            try:
                make(lr=0.1)
            except ImportError as error:
                assert make.__name__ in str(error) and 'pip install "numbasgd[estimators]"' in str(error)
            else:
                raise SystemExit("no error")
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


callbacks = pytest.mark.skipif(
    not hasattr(MinibatchSGDRegressor, "set_callbacks"), reason="callbacks came with scikit-learn 1.9"
)


class Recorder:
    """A callback that notes what it is told, and ends the fit after some epochs."""

    def __init__(self, epochs):
        self.epochs, self.told, self.scores = epochs, [], []

    def setup(self, estimator, context):
        self.told.append("setup")

    def teardown(self, estimator, context):
        self.told.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.told.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self.told.append(f"end {context.task_name}")
        if context.task_name == "epoch" and fitted_estimator is not None:
            self.scores.append(fitted_estimator.score(X, y, **(metadata or {})))
            return len(self.scores) >= self.epochs
        return None


@callbacks
@pytest.mark.parametrize("made", [2, 3])
def test_callbacks_see_each_epoch(rng, made):
    """A fit of 3 epochs, which a callback may end before."""
    X, Z = problem(rng)
    y, s = Z.argmax(axis=1), rng.uniform(0.5, 1, 512)
    recorder = Recorder(made)
    own = []
    model = MinibatchSGDClassifier(lr=0.1, epochs=3, random_state=0, callback=own.append).set_callbacks(
        recorder
    )
    model.fit(X, y, s)
    epochs = ["begin epoch", "end epoch"] * made
    assert recorder.told == ["setup", "begin fit", *epochs, "end fit", "teardown"]
    assert model.n_iter_ == made == len(own) and recorder.scores[-1] == model.score(X, y, s)
    plain = MinibatchSGDClassifier(lr=0.1, epochs=made, random_state=0).fit(X, y, s)
    assert_same_model(model, plain)


@callbacks
def test_callbacks_of_a_fit_that_stops_by_itself(rng):
    X, Z = problem(rng)
    recorder = Recorder(1000)
    model = MinibatchSGDRegressor(random_state=0).set_callbacks(recorder).fit(X, Z[:, 0])
    assert recorder.told.count("begin epoch") == recorder.told.count("end epoch") >= model.n_iter_
    assert len(recorder.scores) == model.n_iter_ and recorder.told[-2:] == ["end fit", "teardown"]
    assert_same_model(model, MinibatchSGDRegressor(random_state=0).fit(X, Z[:, 0]))
    recorder.told.clear()
    with pytest.raises(ValueError, match="NaN"):
        model.fit(X * np.nan, Z[:, 0])
