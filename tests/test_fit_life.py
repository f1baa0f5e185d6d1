"""What people do with a fit: predict for tables and for bad rows, read it, and name things by other names."""

import pickle

import numpy as np
import pytest
from conftest import says

from numbasgd import Fit, gradient, train
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
        ("schedule", "invscaling", "Pass schedule='inverse_scaling'."),
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


@pytest.mark.parametrize(("lr", "schedule"), [("invscaling", "inverse_scaling"), ("cosine", "cosine")])
def test_a_schedule_is_no_rate(lr, schedule):
    with pytest.raises(TypeError) as caught:
        TrainConfig(lr=lr)
    says(
        caught.value,
        f"lr is '{lr}'",
        "expected a finite number",
        f"Pass schedule='{schedule}'.",
        "a rate such as",
    )


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


# A fit to read.


@pytest.fixture(scope="module")
def table():
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(X, columns=NAMES)


def test_the_summary_says_what_was_done(table):
    fit = train(table, Y, validation_fraction=0.1, l2=1e-3, seed=3)
    told = fit.summary()
    for part in (
        "arrays, 54 rows x 4 columns, float64, 0.1 of all rows held out",
        f"batch_size 32 (2 steps an epoch), lr {fit.settings['lr']:.4g} (chosen by {fit.lr_because}",
        "schedule restarts",
        "seed 3",
        "l2 0.001, standardize True",
        f"{fit.loss[0]:.6g} -> {fit.loss[-1]:.6g} in {fit.epochs[-1]:g} epochs (half mean squared error)",
        f"{fit.objective[0]:.6g} -> {fit.objective[-1]:.6g} (with the penalties)",
        f"{fit.validation_loss[0]:.6g} -> {fit.validation_loss[-1]:.6g}",
        fit.stopped_because,
        f"{sum(fit.times.values()):.3g} s (",
        "training",
        f"{fit.w[0]: .6g}",
        f"intercept  {fit.b: .6g}",
    ):
        assert part in told
    assert told.index("size ") < told.index("weight ") < told.index("age ") < told.index("<b> ")
    few = fit.summary(weights=1)
    assert "the 1 largest of 4" in few and "size " in few and "age " not in few and "intercept" in few
    with pytest.raises(TypeError, match="weights is 'all'"):
        fit.summary("all")


def test_the_largest_weight_is_what_changes_most():
    scale = np.array([1e3, 1e-3, 1, 1])  # so the weights are 0.003, 2000, 1 and 0
    fit = train(X * scale, Y, seed=0)
    told = fit.summary(2)
    assert "column 0" in told and "column 1" in told and "column 2" not in told
    assert told.index("column 0") < told.index("column 1")
    told = train(X, Y, lr=0.1, epochs=20, seed=0).summary(1)
    assert "lr 0.1 (as given)" in told and "All 20 epochs were made." in told and "column 0" in told


def test_the_summary_of_classes():
    fit = train(X, np.array(["a", "b<", "c\n"])[LOSSES["softmax"]], loss="softmax", lr=0.5, epochs=2, seed=0)
    told = fit.summary()
    assert "'a', 'b<', 'c\\n': that of the largest column" in told and "-> 3 classes" in told
    assert len(told.splitlines()) == 14
    pair = train(X, IS_POSITIVE, loss="logistic", lr=0.5, epochs=2, seed=0)
    assert "False where the decision function is below 0, else True" in pair.summary()


def test_a_notebook_shows_a_short_table_without_markup_of_the_user(table):
    names = np.where(IS_POSITIVE, "<i>", "&")
    fit = train(table, names, loss="logistic", lr=0.5, epochs=2, seed=0)
    shown = fit._repr_html_()
    assert shown.startswith("<table>") and "&lt;b&gt;" in shown and "<b>" not in shown and "<i>" not in shown
    assert shown.count("<tr>") == shown.count("</tr>") <= 6
    assert fit.stopped_because in shown


# Columns by name.


@pytest.mark.parametrize("loss", LOSSES)
def test_a_table_is_matched_by_its_names(table, loss):
    fit = train(table, LOSSES[loss], loss=loss, lr=0.1, seed=0)
    assert fit.feature_names == tuple(NAMES)
    assert np.array_equal(fit.predict(table[NAMES[::-1]]), fit.predict(X)) or loss == "squared"
    np.testing.assert_allclose(
        fit.decision_function(table[NAMES[::-1]]), fit.decision_function(X), rtol=1e-12, atol=1e-13
    )
    for how in (fit.predict, fit.decision_function):
        rows = table[NAMES[::-1]].copy()
        rows.iloc[5, 0] = np.nan
        with pytest.raises(ValueError, match=r"X holds nan at row 5, column 0 \('<b>'\)"):
            how(rows)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda t: t.rename(columns={"size": "Size"}), ("lacks column 'size'", "has column 'Size' besides")),
        (lambda t: t.drop(columns="age"), ("X lacks column 'age';",)),
        (lambda t: t.assign(target=1.0), ("X has column 'target' besides;",)),
        (lambda t: t[["size", "size", *NAMES[1:]]], ("has column 'size' more than once",)),
    ],
)
def test_a_table_of_other_columns_is_refused(table, change, parts):
    fit = train(table, Y, lr=0.1, seed=0)
    other = change(table)
    with pytest.raises(ValueError) as caught:
        fit.predict(other)
    says(
        caught.value,
        *parts,
        "expected the columns of the fit",
        "'size', 'weight', 'age', '<b>'",
        "Pass a table",
    )
    if other.shape[1] == 4:
        fit.predict(other.to_numpy())


def test_positions_are_no_names_unless_they_are_in_another_order(table):
    pandas = pytest.importorskip("pandas")
    positions = pandas.DataFrame(X)
    fit = train(positions, Y, lr=0.1, seed=0)
    assert fit.feature_names is None
    np.testing.assert_allclose(fit.predict(table), fit.predict(positions), rtol=1e-12)
    np.testing.assert_allclose(fit.predict(positions[[3, 2, 1, 0]]), fit.predict(positions), rtol=1e-12)
    by_number = train(positions[[3, 1, 0, 2]], Y, lr=0.1, seed=0)
    assert by_number.feature_names == (3, 1, 0, 2)
    same = by_number.predict(positions[[3, 1, 0, 2]])
    np.testing.assert_allclose(by_number.predict(positions), same, rtol=1e-12)


def test_names_are_kept(table, tmp_path):
    fit = train(table, Y, lr=0.1, epochs=1, seed=0, validation_data=(table[:9], Y[:9]))
    fit.save(tmp_path / "run.fit")
    for found in (Fit.load(tmp_path / "run.fit"), pickle.loads(pickle.dumps(fit))):
        assert found.feature_names == tuple(NAMES)
        assert found.to_dict() == fit.to_dict()
    assert fit.to_dict()["feature_names"] == NAMES
    on = train(X, Y, resume=fit, epochs=2, validation_data=(X[:9], Y[:9]))
    assert on.feature_names == tuple(NAMES)


# Held-out rows that are passed, and a fit to start from.


@pytest.mark.parametrize(
    "loss",
    ["squared", "softmax", *(pytest.param(loss, marks=pytest.mark.slow) for loss in ("logistic", "hinge"))],
)
def test_held_out_rows_may_be_passed(loss):
    y = LOSSES[loss]
    settings = {"loss": loss, "lr": 0.1, "epochs": 4, "seed": 0}
    fit = train(X[:40], y[:40], validation_data=(X[40:].tolist(), y[40:].tolist()), **settings)
    alone = train(X[:40], y[:40], **settings)
    assert fit.w.tobytes() == alone.w.tobytes() and alone.validation_loss is None
    there = train(X[40:], y[40:], loss=loss, init=fit, epochs=0)
    assert fit.validation_loss[-1] == pytest.approx(there.loss[0], rel=1e-12)
    assert fit.settings["validation_data"] and not alone.settings["validation_data"]
    weights = np.arange(20.0)
    weighted = train(X[:40], y[:40], validation_data=(X[40:], y[40:], weights), **settings)
    there = train(X[40:], y[40:], loss=loss, init=fit, epochs=0, sample_weight=weights)
    assert weighted.validation_loss[-1] == pytest.approx(there.loss[0], rel=1e-12)


def test_they_are_watched_and_resumed_with(table):
    passed = (table[40:][NAMES[::-1]], Y[40:])
    settings = {"seed": 0, "lr": 0.05, "epochs": 50, "tol": 0.5, "patience": 2}
    fit = train(table[:40], Y[:40], validation_data=passed, **settings)
    assert fit.stopped == "validation"
    part = train(table[:40], Y[:40], validation_data=passed, **{**settings, "epochs": 2})
    on = train(table[:40], Y[:40], validation_data=passed, resume=part, epochs=50)
    assert on.w.tobytes() == fit.w.tobytes()
    assert on.validation_loss.tobytes() == fit.validation_loss.tobytes()
    for other, parts in ((None, "is without"), ((X[40:] + 1, Y[40:]), "holds other numbers")):
        with pytest.raises(ValueError) as caught:
            train(table[:40], Y[:40], validation_data=other, resume=part, epochs=50)
        says(caught.value, "validation_data's X", parts, "expected the same data")


@pytest.mark.parametrize(
    ("given", "loss", "error", "parts"),
    [
        (X, "squared", TypeError, ("validation_data is a ndarray", "expected (X, y)")),
        ((X[:, :3], Y), "squared", ValueError, ("validation_data's X has shape (60, 3)", "X has 4 columns")),
        ((X[:0], Y[:0]), "squared", ValueError, ("validation_data's X has shape (0, 4)", "at least one row")),
        ((X, Y[:5]), "squared", ValueError, ("has 60 rows and its y has 5 entries", "one target per row")),
        (
            (X * [1, np.nan, 1, 1], Y),
            "squared",
            ValueError,
            ("validation_data's X holds nan at row 0, column 1",),
        ),
        ((X, Y, -Y), "squared", ValueError, ("validation_data's sample_weight has smallest entry",)),
        ((X, Y), "logistic", ValueError, ("validation_data's y holds", "at row 0, which y does not")),
        (
            (X, ["a"] * 60),
            "logistic",
            ValueError,
            ("validation_data's y holds ['a']", "labels of the same kind"),
        ),
    ],
)
def test_what_cannot_be_held_out_is_told(given, loss, error, parts):
    with pytest.raises(error) as caught:
        train(X, LOSSES[loss], loss=loss, validation_data=given)
    says(caught.value, *parts)


def test_one_kind_of_held_out_rows():
    with pytest.raises(ValueError) as caught:
        train(X, Y, validation_data=(X, Y), validation_fraction=0.1)
    says(
        caught.value,
        "validation_data is passed and validation_fraction is 0.1",
        "expected one of them",
        "Leave",
    )


def test_a_fit_to_start_from(table):
    fit = train(table, Y, seed=0)
    for rows in (X, table, table[NAMES[::-1]]):
        start = train(rows, Y, init=fit, epochs=0)
        assert start.loss[0] == pytest.approx(fit.loss[-1], rel=1e-9, abs=1e-20)
    np.testing.assert_array_equal(start.w, fit.w[::-1])
    with pytest.raises(ValueError) as caught:
        train(table.rename(columns={"age": "years"}), Y, init=fit)
    says(
        caught.value,
        "X lacks column 'age' and has column 'years' besides",
        "the columns of init",
        "init=(fit.w",
    )
    with pytest.raises(ValueError) as caught:
        train(X, IS_POSITIVE, loss="logistic", init=fit)
    says(caught.value, "init is a fit of classes None", "y has (False, True)", "expected the same")


def test_grid_search_over_a_pipeline_gets_rows_that_nobody_may_write(tmp_path):
    """What joblib hands to workers: memory-mapped, read-only, in either order."""
    for order in "CF":
        rows = np.memmap(tmp_path / order, np.float64, "w+", shape=X.shape, order=order)
        rows[:] = X
        rows.flush()
        frozen = np.memmap(tmp_path / order, np.float64, "r", shape=X.shape, order=order)
        targets = Y.copy()
        targets.flags.writeable = False
        for settings in (
            {"standardize": True},
            {"lr": 0.1},
            {"lr": 0.1, "standardize": True, "validation_fraction": 0.2},
        ):
            settings["sampling"] = "reshuffle"  # as for an array; left out, it is in blocks
            fit = train(frozen, targets, seed=0, sample_weight=targets**2, epochs=2, **settings)
            assert fit.predict(frozen).shape == (60,)
            same = train(X, Y, seed=0, sample_weight=Y**2, epochs=2, **settings)
            np.testing.assert_allclose(fit.w, same.w, rtol=1e-12, atol=1e-14)
