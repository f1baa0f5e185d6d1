"""What people do with a fit: predict for tables and for bad rows, read it, and name things by other names."""

import numpy as np
import pytest
from conftest import says

from numbasgd import gradient, train
from numbasgd.sgd.config import TrainConfig

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4))
Y = X @ [3.0, -2.0, 1.0, 0.0] + 5
IS_POSITIVE = X[:, 0] > 0
NAMES = ["size", "weight", "age", "<b>"]
LOSSES = {"squared": Y, "logistic": IS_POSITIVE, "hinge": IS_POSITIVE, "softmax": X[:, :3].argmax(axis=1)}


# A NaN or Inf at predict.


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_row_that_is_not_finite_is_no_class(loss, bad):
    fit = train(X, LOSSES[loss], loss=loss, lr=0.1, seed=0, l1=0.1)  # the last weight is 0
    for rows in (X.copy(), np.asfortranarray(X), X.astype(np.float32), np.repeat(X, 2, axis=1)[:, ::2]):
        rows[7, 3] = bad
        for how in (fit.predict, fit.decision_function, fit.predict_proba):
            if how == fit.predict_proba and loss in ("squared", "hinge"):
                continue
            with pytest.raises(ValueError) as caught:
                how(rows)
            says(caught.value, f"X holds {bad} at row 7, column 3;", "expected finite", "before predicting")
            with pytest.raises(ValueError, match="at row 0, column 3;"):
                how(rows[7:8])


def test_finite_rows_whose_squares_overflow_are_predicted():
    fit = train(X, Y, lr=0.1, seed=0)
    far = fit.predict(X * 1e200)
    assert np.isfinite(far).all()
    np.testing.assert_allclose(far, 1e200 * (X @ fit.w), rtol=1e-12)
    with pytest.raises(ValueError) as caught:
        fit.predict(np.vstack([X, [[1.7e308, -1.7e308, 0, 0]]]))
    says(caught.value, "X holds values up to 1.7e+308 at row 60", "overflows float64", "Check that row")


# Labels of any kind.


@pytest.mark.parametrize("kind", ["U", "O", "T", "list"])
def test_text_stays_text(kind):
    names = np.where(IS_POSITIVE, "01", "1")
    dtypes = {"U": None, "O": object, "T": np.dtypes.StringDType(), "list": None}
    given = names.tolist() if kind == "list" else names.astype(dtypes[kind] or names.dtype)
    fit = train(X, given, loss="logistic", lr=0.5, epochs=20, seed=0)
    assert fit.classes == ("01", "1") and {type(name) for name in fit.classes} == {str}
    assert np.mean(fit.predict(X) == given) > 0.9


@pytest.mark.parametrize("values", [(False, True), (1, 2), (2**63, 2**63 + 1)], ids=str)
def test_objects_are_the_numbers_that_they_are(values):
    given = np.array([values[int(p)] for p in IS_POSITIVE], object)
    fit = train(X, given, loss="softmax", lr=0.5, epochs=20, seed=0)
    assert fit.classes == values and {type(v) for v in fit.classes} == {type(values[0])}
    assert np.mean(fit.predict(X) == given) > 0.9


def test_categories_of_pandas():
    pandas = pytest.importorskip("pandas")
    names = pandas.Series(np.where(IS_POSITIVE, "01", "1"))
    fits = [
        train(X, y, loss="logistic", lr=0.5, epochs=20, seed=0)
        for y in (names, names.astype("category"), pandas.Categorical(names), names.astype("string"))
    ]
    assert {fit.classes for fit in fits} == {("01", "1")}
    assert len({fit.w.tobytes() for fit in fits}) == 1
    numbers = pandas.Series(IS_POSITIVE.astype(int), dtype="category")
    assert train(X, numbers, loss="logistic", lr=0.5).classes == (0, 1)
    names[3] = None
    with pytest.raises(TypeError) as caught:
        train(X, names.astype("category"), loss="logistic")
    says(caught.value, "y holds nan at row 3 and text elsewhere", "drop rows without a label")


@pytest.mark.parametrize("dtype", ["S1", "M8[Y]", "m8[D]"])
def test_labels_that_nobody_could_read_back_are_refused(dtype):
    given = np.where(IS_POSITIVE, 1, 2).astype("S1" if dtype == "S1" else "i8").astype(dtype)
    with pytest.raises(TypeError) as caught:
        train(X, given, loss="logistic")
    says(caught.value, "y holds", "expected labels that are text, numbers or booleans", "y.astype(str)")
    assert train(X, given.astype(str), loss="logistic", lr=0.1).classes == tuple(np.unique(given.astype(str)))


# The names that other packages have.


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("loss", "mse", "Pass loss='squared'."),
        ("loss", "L2", "Pass loss='squared'."),
        ("loss", "mean squared error", "Pass loss='squared'."),
        ("loss", "mae", "Pass loss='quantile'"),
        ("loss", "cross_entropy", "Pass loss='logistic' for two classes, loss='softmax' for more."),
        ("loss", "cross-entropy", "Pass loss='logistic' for two classes, loss='softmax' for more."),
        ("loss", "log_loss", "Pass loss='logistic' for two classes, loss='softmax' for more."),
        ("loss", "binary_crossentropy", "Pass loss='logistic'."),
        ("loss", "sparse_categorical_crossentropy", "Pass loss='softmax'."),
        ("loss", "Squared", "Pass loss='squared'."),
        ("loss", "logistc", "Did you mean 'logistic'?"),
        ("loss", "tweedie", "Pass one of these names."),
        ("sampling", "shuffle", "Pass sampling='reshuffle'."),
        ("eval_every", "none", "Pass eval_every=None."),
        ("eval_every", "Never", "Pass eval_every=None."),
    ],
)
def test_the_right_name_of_a_value_is_told(name, value, advice):
    with pytest.raises(ValueError) as caught:
        TrainConfig(**{name: value})
    says(caught.value, f"{name} is {value!r}; expected one of ", advice)
    if name == "loss":
        with pytest.raises(ValueError) as caught:
            gradient(X, Y, np.zeros(4), loss=value)
        says(caught.value, f"loss is {value!r}", advice)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("learning_rate", "lr"),
        ("max_iter", "epochs"),
        ("alpha", "l2"),
        ("random_state", "seed"),
        ("epoch", "epochs"),
    ],
)
def test_the_right_name_of_an_argument_is_told(name, meant):
    with pytest.raises(TypeError) as caught:
        train(X, Y, **{name: 1})
    says(caught.value, f"{name} is no argument of train", "expected", f"Pass {meant} instead.")


def test_an_argument_that_nobody_has_is_told_as_well():
    with pytest.raises(TypeError) as caught:
        train(X, Y, zzz=1)
    says(caught.value, "zzz is no argument of train", "help(numbasgd.train)")
