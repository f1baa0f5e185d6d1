"""Bad input of ``train`` is explained; a NaN is named, and looked for only when there is one."""

import json
import warnings

import numpy as np
import pytest
from conftest import held_out, says

from numbasgd import DivergenceError, airfoil_twin, check, train


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
        (
            {"lr": [0.1, 0.1, 0.1], "epochs": 2},
            ValueError,
            ("lr holds 3 rates for 2 epochs", "expected one rate", "Pass"),
        ),
        ({"lr": [], "epochs": 2}, ValueError, ("lr holds 0 rates for 2 epochs", "expected one rate", "Pass")),
        ({"lr": [0.1, "x"]}, TypeError, ("lr of epoch 1 is 'x'", "expected a finite number above 0", "Pass")),
        ({"lr": [[0.1], [0.1, 0.2]]}, TypeError, ("lr of epoch 0 is [0.1]", "expected", "Pass")),
        ({"lr": np.ones((2, 1))}, TypeError, ("lr is array", "expected a finite number above 0", "Pass")),
        ({"lr": lambda epoch: -epoch}, ValueError, ("lr of epoch 0 is 0.0", "above 0", "Pass")),
        ({"lr": None}, TypeError, ("lr is None", "expected a finite number above 0", "Pass")),
    ],
)
def test_bad_input(options, error, parts, data):
    with pytest.raises(error) as caught:
        train(*data, **options)
    assert type(caught.value) is error
    says(caught.value, *parts)


def test_weights_that_leave_nothing_on_one_side(data):
    s = np.zeros(120)
    s[7] = 1.0
    with pytest.raises(ValueError) as caught:
        train(*data, sample_weight=s, validation_fraction=0.1, seed=0)
    says(caught.value, "validation_fraction is 0.1 of 1 rows that have a weight", "expected", "Pass")


def test_settings_are_plain_numbers(data):
    fit = train(*data, patience=np.int64(3), tol=np.float32(0.5), average=np.int64(1), l2=np.float32(0.5),
                momentum=np.float64(0.5), eval_every=np.int64(100), lr=np.float32(0.125),
                sample_weight=np.ones(120, int))  # fmt: skip
    assert json.loads(json.dumps(fit.to_dict()))["settings"]["patience"] == 3


# NaN and Inf


@pytest.fixture
def looks(monkeypatch):
    """The names of arrays of X's or y's size that were searched for a NaN."""
    seen = []
    finite = check.finite

    def watched(a, name, *more):
        seen.append(name)
        finite(a, name, *more)

    monkeypatch.setattr(check, "finite", watched)
    return seen


@pytest.mark.parametrize("options", [
    {"lr": 0.05}, {}, {"standardize": True}, {"validation_fraction": 0.25}, {"lr": 0.05, "loss": "hinge"},
    {"loss": "quantile"},
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
            train(X, y, lr=0.9, momentum=0.99, batch_size=1, epochs=10, seed=0, sample_weight=np.ones(len(y)))
        assert "nan" not in str(diverged.value).split("went from")[0]
        assert np.all(np.isfinite(diverged.value.w))
        for options in ({"lr": 0.01}, {}, {"standardize": True}):
            with pytest.raises(ValueError) as caught:
                train(X, y * 1e200, **options)
            says(caught.value, "y holds values up to", "overflows float64", "expected", "Scale")
