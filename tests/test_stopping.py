"""Early stopping, callbacks, verbose; bad input of every argument; NaN is found, and only then looked for."""

import warnings

import numpy as np
import pytest
from conftest import says

from numbasgd import DivergenceError, airfoil_twin, check, epoch_order, train


def half_squared(X, y, fit):
    return 0.5 * np.mean((X @ fit.w + fit.b - y) ** 2)


@pytest.fixture
def data(rng):
    X = rng.standard_normal((120, 5))
    return X, X @ rng.standard_normal(5) + rng.standard_normal(120)


def held_out(seed, n, count):
    """The rows that ``train`` holds out, and the others."""
    order = epoch_order(seed, 2**61, n)
    return np.sort(order[:count]), np.sort(order[count:])


# Held-out rows


def test_rows_that_are_held_out_are_never_trained_on(data):
    X, y = data
    out, kept = held_out(3, 120, 24)
    options = {"lr": 0.05, "epochs": 4, "batch_size": 7, "seed": 3}
    fit = train(X, y, validation_fraction=0.2, **options)
    assert fit.n == 96
    same = train(X[kept], y[kept], **options)
    assert fit.w.tobytes() == same.w.tobytes()
    np.testing.assert_array_equal(fit.loss, same.loss)
    assert len(fit.validation_loss) == len(fit.loss)
    assert fit.validation_loss[-1] == pytest.approx(half_squared(X[out], y[out], fit), rel=1e-12)
    assert fit.validation_loss[0] == pytest.approx(0.5 * np.mean(y[out] ** 2), rel=1e-12)
    assert same.validation_loss is None
    X[out], y[out] = 1e6, -1e6
    assert train(X, y, validation_fraction=0.2, **options).w.tobytes() == fit.w.tobytes()


def test_held_out_rows_are_weighted_and_scaled_like_the_others(data, rng):
    X, y = data
    X = X * [1, 10, 0.1, 1, 1] + 3
    s = rng.uniform(0.1, 2, 120)
    out, kept = held_out(5, 120, 30)
    fit = train(X, y, validation_fraction=0.25, sample_weight=s, standardize=True, lr=0.1, seed=5)
    r = X @ fit.w + fit.b - y
    assert fit.validation_loss[-1] == pytest.approx(np.average(0.5 * r[out] ** 2, weights=s[out]), rel=1e-9)
    assert fit.loss[-1] == pytest.approx(np.average(0.5 * r[kept] ** 2, weights=s[kept]), rel=1e-9)


def test_another_seed_holds_other_rows_out(data):
    X, y = data
    first = [train(X, y, validation_fraction=0.5, lr=0.1, epochs=0, seed=seed).loss[0] for seed in range(10)]
    assert len(set(first)) == 10


# tol and patience


def epochs_until_stop(watched, tol, patience):
    """The rule, on a history of watched losses that begins at the start."""
    best, stale = watched[0], 0
    for epoch, loss in enumerate(watched[1:], 1):
        stale = 0 if loss < best - tol * abs(best) else stale + 1
        best = min(best, loss)
        if stale == patience:
            return epoch
    return len(watched) - 1


@pytest.mark.parametrize("eval_every", ["epoch", None, 7, 1000])
@pytest.mark.parametrize("fraction", [0.0, 0.25])
@pytest.mark.parametrize(("tol", "patience"), [(0.0, 1), (0.0, 3), (1e-2, 1), (1e-2, 4), (1e-6, 2)])
def test_stops_where_the_rule_says_with_the_best_weights(tol, patience, fraction, eval_every, data):
    X, y = data
    y = 10 * y  # a share of the loss is not the same number
    options = {"lr": 0.02, "batch_size": 5, "seed": 1, "validation_fraction": fraction}
    long = train(X, y, epochs=60, **options)
    watched = long.objective if fraction == 0 else long.validation_loss
    expected = epochs_until_stop(watched, tol, patience)
    best = int(np.argmin(watched[: expected + 1]))
    fit = train(X, y, epochs=60, tol=tol, patience=patience, eval_every=eval_every, **options)
    assert fit.epochs[-1] == expected
    assert fit.samples[-1] == expected * fit.n
    assert fit.w.tobytes() == train(X, y, epochs=best, **options).w.tobytes()
    assert (fit.loss[-1], fit.objective[-1]) == (long.loss[best], long.objective[best])
    if fraction:
        assert fit.validation_loss[-1] == long.validation_loss[best]
    assert 0 < expected < 60


def test_without_tol_the_last_weights_come_back(data):
    X, y = data
    fit = train(X, y, lr=0.1, batch_size=1, epochs=9, seed=1, validation_fraction=0.25)
    assert fit.epochs[-1] == 9
    assert fit.validation_loss[-1] > fit.validation_loss.min()


def test_what_is_watched_has_the_penalty_in_it(data):
    """The data term alone falls for ever so long; the objective is soon at its minimum, and rises."""
    X, y = data
    options = {"lr": 0.05, "batch_size": 120, "l2": 2.0, "l1": 0.5, "init": (np.full(5, 3.0), 0.0)}
    fit = train(X, y, epochs=300, tol=1e-4, patience=2, **options)
    assert fit.epochs[-1] < 300
    assert fit.objective[-1] == fit.objective.min()
    best = train(X, y, epochs=300, **options).objective.min()
    assert fit.objective[-1] == pytest.approx(best, rel=1e-2)


def test_averaged_weights_are_what_is_watched_and_kept(data):
    X, y = data
    options = {"lr": 0.3, "batch_size": 5, "seed": 1, "average": 1}
    long = train(X, y, epochs=40, **options)
    fit = train(X, y, epochs=40, tol=1e-3, patience=2, **options)
    best = int(np.argmin(long.objective[: int(fit.epochs[-1]) + 1]))
    assert fit.w.tobytes() == train(X, y, epochs=best, **options).w.tobytes()
    assert fit.loss[-1] == long.loss[best]


def test_a_start_that_is_best_comes_back(data):
    X, y = data
    best = np.linalg.lstsq(np.column_stack([X, np.ones(120)]), y, rcond=None)[0]
    fit = train(X, y, init=(best[:5], best[5]), lr=0.1, batch_size=1, epochs=50, tol=0.0, patience=3, seed=0)
    assert fit.epochs[-1] == 3
    np.testing.assert_array_equal([*fit.w, fit.b], best)
    assert fit.loss[-1] == fit.loss[0]


# Callback and verbose


def test_a_callback_sees_each_epoch_as_it_is(data):
    X, y = data
    options = {"lr": 0.05, "batch_size": 7, "seed": 2, "validation_fraction": 0.25}
    for eval_every in ("epoch", None, 50):
        seen = []
        fit = train(X, y, epochs=4, callback=seen.append, eval_every=eval_every, **options)
        assert [then.epochs[-1] for then in seen] == [1, 2, 3, 4]
        for epochs, then in enumerate(seen, 1):
            alone = train(X, y, epochs=epochs, **options)
            assert (then.w.tobytes(), then.b) == (alone.w.tobytes(), alone.b)
            assert then.loss[-1] == alone.loss[-1]
            assert then.validation_loss[-1] == alone.validation_loss[-1]
            assert len(then.loss) == len(then.samples) == len(then.seconds) == len(then.objective)
            assert np.all(np.diff(then.samples) > 0)
            assert then.settings is not fit.settings
        assert fit.w.tobytes() == seen[-1].w.tobytes()


def test_a_callback_may_stop_the_run(data):
    X, y = data
    fit = train(X, y, lr=0.05, epochs=100, seed=0, callback=lambda fit: fit.epochs[-1] == 3)
    assert fit.epochs.tolist() == [0, 1, 2, 3]
    assert fit.w.tobytes() == train(X, y, lr=0.05, epochs=3, seed=0).w.tobytes()
    fit = train(X, y, lr=0.05, epochs=100, seed=0, eval_every=None, callback=lambda fit: np.True_)
    assert fit.epochs.tolist() == [0, 1]
    assert fit.loss[-1] == pytest.approx(half_squared(X, y, fit), rel=1e-12)


def test_an_error_in_a_callback_comes_through(data):
    with pytest.raises(ZeroDivisionError):
        train(*data, lr=0.05, callback=lambda fit: 1 / 0)


def test_verbose_is_a_line_for_each_evaluation(data, capsys):
    train(*data, lr=0.05, epochs=3, seed=0, verbose=True)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert [line.split()[:3] for line in printed.err.splitlines()] == [
        ["epoch", str(e), "loss"] for e in (1, 2, 3)
    ]
    train(*data, lr=0.05, epochs=1, seed=0, verbose=True, validation_fraction=0.25)
    assert "validation" in capsys.readouterr().err
    train(*data, lr=0.05, epochs=3, seed=0)
    assert capsys.readouterr().err == ""


# Bad input


@pytest.mark.parametrize(
    ("options", "error", "parts"),
    [
        ({"momentum": 1.0}, ValueError, ("momentum is 1.0", "expected a number from 0 to below 1", "Pass")),
        ({"momentum": -0.1}, ValueError, ("momentum is -0.1", "from 0 to below 1", "Pass")),
        ({"momentum": np.nan}, ValueError, ("momentum is nan", "expected a finite number", "Pass")),
        ({"momentum": "0.9"}, TypeError, ("momentum is '0.9'", "expected a finite number", "Pass")),
        ({"momentum": True}, TypeError, ("momentum is True", "expected a finite number", "Pass")),
        ({"nesterov": True}, ValueError, ("nesterov is True", "momentum is 0", "expected", "Pass")),
        ({"nesterov": 1, "momentum": 0.5}, TypeError, ("nesterov is 1", "expected True or False", "Pass")),
        ({"average": -1}, ValueError, ("average is -1", "expected an integer of 0 or more", "Pass True")),
        ({"average": 0.5}, TypeError, ("average is 0.5", "expected an integer", "Pass True")),
        ({"average": None}, TypeError, ("average is None", "expected an integer", "Pass True")),
        ({"average": "yes"}, TypeError, ("average is 'yes'", "expected an integer", "Pass True")),
        ({"l2": -1}, ValueError, ("l2 is -1", "expected 0 or more", "Pass")),
        ({"l1": -1e-9}, ValueError, ("l1 is -1e-09", "expected 0 or more", "Pass")),
        ({"l2": np.inf}, ValueError, ("l2 is inf", "expected a finite number", "Pass")),
        ({"l1": "0.1"}, TypeError, ("l1 is '0.1'", "expected a finite number", "Pass")),
        ({"l1": [0.1]}, TypeError, ("l1 is [0.1]", "expected a finite number", "Pass")),
        (
            {"sample_weight": np.ones(4)},
            ValueError,
            ("sample_weight has 4 entries", "120 rows", "expected", "Check"),
        ),
        (
            {"sample_weight": np.ones((120, 1))},
            ValueError,
            ("sample_weight has 2 dimensions", "expected", "ravel"),
        ),
        (
            {"sample_weight": -np.ones(120)},
            ValueError,
            ("sample_weight has smallest entry -1", "expected", "Leave"),
        ),
        ({"sample_weight": np.zeros(120)}, ValueError, ("sample_weight", "largest 0", "not all 0", "Leave")),
        ({"sample_weight": ["a"] * 120}, TypeError, ("sample_weight has dtype <U1", "expected", "Convert")),
        (
            {"validation_fraction": 1.0},
            ValueError,
            ("validation_fraction is 1.0 of 120 rows", "expected", "Pass"),
        ),
        ({"validation_fraction": -0.1}, ValueError, ("validation_fraction is -0.1", "expected", "Pass")),
        (
            {"validation_fraction": 1e-9},
            ValueError,
            ("validation_fraction is 1e-09", "at least one row", "Pass"),
        ),
        (
            {"validation_fraction": 0.999},
            ValueError,
            ("validation_fraction is 0.999", "at least one row", "Pass"),
        ),
        ({"validation_fraction": True}, TypeError, ("validation_fraction is True", "expected", "Pass")),
        ({"validation_fraction": None}, TypeError, ("validation_fraction is None", "expected", "Pass")),
        ({"tol": -1e-3}, ValueError, ("tol is -0.001", "expected 0 or more", "Pass")),
        ({"tol": np.nan}, ValueError, ("tol is nan", "expected a finite number", "Pass")),
        ({"tol": "auto"}, TypeError, ("tol is 'auto'", "expected a finite number", "Pass")),
        ({"patience": 0}, ValueError, ("patience is 0", "expected an integer of 1 or more", "Pass")),
        ({"patience": 2.0}, TypeError, ("patience is 2.0", "expected an integer", "Pass")),
        ({"patience": None}, TypeError, ("patience is None", "expected an integer", "Pass")),
        ({"callback": 3}, TypeError, ("callback is a int", "expected a function", "Pass")),
        ({"verbose": 1}, TypeError, ("verbose is 1", "expected True or False", "Pass")),
        ({"progress": "yes"}, TypeError, ("progress is 'yes'", "expected True or False", "Pass")),
        ({"lr": [0.1, 0.1, 0.1]}, ValueError, ("lr holds 3 rates for 2 epochs", "expected one rate", "Pass")),
        ({"lr": []}, ValueError, ("lr holds 0 rates for 2 epochs", "expected one rate", "Pass")),
        ({"lr": [0.1, "x"]}, TypeError, ("lr of epoch 1 is 'x'", "expected a finite number above 0", "Pass")),
        ({"lr": [[0.1], [0.1, 0.2]]}, TypeError, ("lr of epoch 0 is [0.1]", "expected", "Pass")),
        ({"lr": np.ones((2, 1))}, TypeError, ("lr is array", "expected a finite number above 0", "Pass")),
        ({"lr": lambda epoch: -epoch}, ValueError, ("lr of epoch 0 is 0.0", "above 0", "Pass")),
        ({"lr": None}, TypeError, ("lr is None", "expected a finite number above 0", "Pass")),
    ],
    ids=str,
)
def test_bad_input(options, error, parts, data):
    with pytest.raises(error) as caught:
        train(*data, **options)
    assert type(caught.value) is error
    says(caught.value, *parts)


def test_weights_that_leave_nothing_on_one_side(data):
    out, _ = held_out(0, 120, 12)
    s = np.ones(120)
    s[out] = 0
    with pytest.raises(ValueError) as caught:
        train(*data, sample_weight=s, validation_fraction=0.1, seed=0)
    says(caught.value, "sample_weight is 0 for all 12 rows", "validation_fraction=0.1", "expected", "Leave")


def test_settings_are_plain_numbers(data):
    import json

    fit = train(*data, patience=np.int64(3), tol=np.float32(0.5), average=np.int64(1), l2=np.float32(0.5),
                momentum=np.float64(0.5), eval_every=np.int64(100), lr=np.float32(0.125))  # fmt: skip
    assert json.loads(json.dumps(fit.to_dict()))["settings"]["patience"] == 3


# NaN and Inf


@pytest.fixture
def looks(monkeypatch):
    """The names of arrays of X's or y's size that were searched for a NaN."""
    seen = []
    finite = check.finite

    def watched(a, name):
        seen.append(name)
        finite(a, name)

    monkeypatch.setattr(check, "finite", watched)
    return seen


@pytest.mark.parametrize("options", [
    {"lr": 0.05}, {}, {"standardize": True}, {"validation_fraction": 0.25}, {"lr": 0.05, "loss": "hinge"},
], ids=str)  # fmt: skip
def test_a_nan_is_named_and_only_then_looked_for(options, data, looks):
    X, y = data
    y = np.sign(y)
    train(X, y, seed=0, **options)
    assert not {"X", "y"} & set(looks)
    out, kept = held_out(0, 120, 30)
    for row in (0, 119, int(out[3]), int(kept[40])):
        for bad in (np.nan, np.inf, -np.inf):
            broken = X.copy()
            broken[row, 2] = bad
            for order in "CF" if options == {"lr": 0.05} else "C":
                with pytest.raises(ValueError) as caught:
                    train(broken.copy(order), y, seed=0, **options)
                says(caught.value, f"X holds {bad} at row {row}, column 2;", "expected finite", "Drop")
            broken = y.copy()
            broken[row] = bad
            with pytest.raises(ValueError) as caught:
                train(X, broken, seed=0, **options)
            says(caught.value, f"y holds {bad} at row {row};", "expected finite", "Drop")
            broken = np.ones(120)
            broken[row] = bad
            with pytest.raises(ValueError) as caught:
                train(X, y, sample_weight=broken, seed=0, **options)
            says(caught.value, f"sample_weight holds {bad} at row {row};", "expected finite", "Drop")


def test_many_nans_are_counted(data):
    X, y = data
    X[5:, 1] = np.nan
    with pytest.raises(ValueError, match=r"X holds nan at row 5, column 1 \(114 more like it\)"):
        train(X, y)


def test_overflow_of_finite_data_is_no_nan():
    X, y = (a.astype(np.float64) for a in airfoil_twin())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DivergenceError) as diverged:
            train(X, y, lr=0.9, momentum=0.99, batch_size=1, epochs=10, seed=0)
        assert "nan" not in str(diverged.value).split("went from")[0]
        assert np.all(np.isfinite(diverged.value.w))
        for options in ({"lr": 0.01}, {}, {"standardize": True}):
            with pytest.raises(ValueError) as caught:
                train(X, y * 1e200, **options)
            says(caught.value, "y holds values up to", "overflows float64", "expected", "Scale")
