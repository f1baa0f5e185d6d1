"""The compiled look at a least-squares problem, and the compiled search for a rate, against NumPy."""

import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numbasgd import Fit, airfoil_twin, train
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.learning_rate import curvature
from numbasgd.sgd.learning_rate.least_squares import MOST_COLUMNS, model_of
from numbasgd.sgd.learning_rate.quadratic import QuadraticModel, best_constant, step_variance
from numbasgd.sgd.losses import LOSSES
from numbasgd.sgd.order import SAMPLINGS

COARSE, FINE, FINEST = np.linspace(-6, 0, 13), np.linspace(-0.42, 0.42, 13), np.linspace(-0.06, 0.06, 13)


def reference_rate(local, n, batch_size, epochs, sampling):
    """``best_constant``, a rate and a step at a time."""
    d = len(local.curvature)
    largest = local.curvature.max()
    steps = epochs * math.ceil(n / batch_size)

    def excess(decades):
        rate = 2 * 10.0**decades / largest
        step = np.zeros((d + 1, d + 1))
        for i, h in enumerate(local.curvature):
            share = rate**2 * step_variance.py_func(rate * h, n, batch_size, epochs, SAMPLINGS[sampling])
            step[i] = share * np.append(local.spread[i], local.noise[i])
            step[i, i] += (1 - rate * h) ** 2
        step[d, d] = 1
        with np.errstate(over="ignore", invalid="ignore"):
            state = np.linalg.matrix_power(step, steps) @ np.append(local.error, 1.0)
            found = state[:d] @ local.curvature
        return found if found < np.inf else np.inf

    best = 0.0
    is_descent = batch_size >= n
    for decades in (COARSE, FINE, FINEST) if is_descent else (COARSE, FINE):
        places = np.minimum(best + decades, 0.42 if is_descent else 0.0)
        best = places[np.argmin([excess(place) for place in places])]
    return 2 * 10.0**best / largest


def problem(n, d, dtype, seed, *, is_weighted=False, is_moved=False, b=0.0, scales=2.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-scales, scales, d) + rng.standard_normal(d)
    y = X @ rng.standard_normal(d) + rng.standard_normal(n)
    s = rng.uniform(0.1, 2, n) if is_weighted else np.empty(0)
    s = s / s.mean() if s.size else s
    w = rng.standard_normal(d) if is_moved else np.zeros(d)
    return X.astype(dtype), y.astype(dtype), s.astype(dtype), w.astype(dtype), b


def by_numpy(X, y, s, w, b, intercept, l2):
    sample = curvature.Sample(X, intercept, s)
    return sample, curvature.local_model(sample, y, w, b, LOSSES["squared"], l2)


def assert_agree(X, y, s, w, b, intercept, l2, n_steps):
    look = model_of(X, y, s, w, b, intercept, l2)
    sample, local = by_numpy(X, y, s, w, b, intercept, l2)
    assert look.largest == pytest.approx(sample.largest, rel=1e-6)
    assert (look.beta, look.mean, look.curvature) == pytest.approx(tuple(sample.size), rel=1e-6)
    if look.squares is not None:
        assert look.squares == pytest.approx(
            curvature.mean_squares(Dataset(X, y, np.empty(0, X.dtype))), rel=1e-6
        )
    for batch_size in {1, max(1, len(X) // 7), len(X)}:
        found = best_constant(look.local, len(X), batch_size, n_steps)
        assert found == pytest.approx(best_constant(local, len(X), batch_size, n_steps), rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 300),
    d=st.integers(1, MOST_COLUMNS - 1),
    dtype=st.sampled_from([np.float32, np.float64]),
    intercept=st.booleans(),
    is_weighted=st.booleans(),
    is_moved=st.booleans(),
    b=st.sampled_from([0.0, 1.5]),
    l2=st.sampled_from([0.0, 1e-3, 10.0]),
    epochs=st.integers(1, 50),
    seed=st.integers(0, 99),
)
def test_the_rate_is_that_of_numpy(n, d, dtype, intercept, is_weighted, is_moved, b, l2, epochs, seed):
    n += 3 * (d + 1)  # where data can be fitted exactly, several rates get there, and rounding chooses
    given = problem(n, d, dtype, seed, is_weighted=is_weighted, is_moved=is_moved, b=b)
    assert_agree(*given, intercept, l2, epochs)


@pytest.mark.parametrize("order", ["C", "F", "reversed", "strided"])
def test_any_memory_order(order):
    X, y, s, w, b = problem(257, 6, np.float32, 3)
    X = {
        "C": X,
        "F": np.asfortranarray(X),
        "reversed": X[::-1, ::-1],
        "strided": np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3],
    }[order]
    assert_agree(X, y, s, w, b, True, 0.0, 5)


@pytest.mark.parametrize(
    "change",
    [
        "constant column",
        "column of zeros",
        "equal columns",
        "one row",
        "no columns but the intercept",
        "y at 0",
    ],
)
def test_degenerate_data(change):
    X, y, s, w, b = problem(100, 4, np.float64, 1, scales=0.5)
    if change == "constant column":
        X[:, 1] = 3.0
    elif change == "column of zeros":
        X[:, 2] = 0.0
    elif change == "equal columns":
        X[:, 3] = X[:, 0]
    elif change == "one row":
        X, y = X[:1], y[:1]
    elif change == "no columns but the intercept":
        X, w = X[:, :0], w[:0]
    else:
        y[:] = 0.0
    assert_agree(X, y, s, w, b, True, 0.0, 5)


@pytest.mark.parametrize(
    ("change", "is_seen"),
    [
        ("nan", False),
        ("inf", False),
        ("y", False),
        ("large", False),
        ("tiny", False),
        ("wide", False),
        ("", True),
    ],
)
def test_what_it_does_not_look_at_is_left_to_numpy(change, is_seen):
    X, y, s, w, b = problem(60, MOST_COLUMNS if change == "wide" else 3, np.float64, 1)
    if change in ("nan", "inf"):
        X[7, 1] = float(change)
    elif change == "y":
        y[3] = np.nan
    elif change == "large":
        X *= 1e70
    elif change == "tiny":
        X *= 1e-100
    intercept = change != "tiny"
    assert (model_of(X, y, s, w, b, intercept, 0.0) is not None) == is_seen


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize(("batch_size", "epochs"), [(1, 1), (7, 3), (100, 40), (200, 5)])
@pytest.mark.parametrize("d", [1, 6, 24])
def test_search_against_steps_one_by_one(d, batch_size, epochs, sampling, rng):
    spread = rng.uniform(0, 2, (d, d))
    local = QuadraticModel(rng.uniform(0, 3, d), rng.uniform(0, 5, d), rng.uniform(0, 1, d), spread + spread.T)
    found = best_constant(local, 200, batch_size, epochs, sampling)
    assert found == pytest.approx(reference_rate(local, 200, batch_size, epochs, sampling), rel=1e-9)


def test_a_fit_keeps_the_mark_of_the_data_as_it_was(tmp_path):
    """The hash is taken when somebody asks; the rows are those of the call."""
    X, y = airfoil_twin()
    mark = {name: dict(entry) for name, entry in train(X, y, seed=0, epochs=2)._state.data.items()}
    changed = X.copy()
    fit = train(changed, y, seed=0, epochs=2)
    changed[:] = 0
    fit.save(tmp_path / "a.fit")
    for other in (fit, Fit.load(tmp_path / "a.fit"), pickle.loads(pickle.dumps(fit))):
        assert dict(other._state.data) == mark
    assert train(X, y, resume=fit, epochs=3).epochs[-1] == 3
    with pytest.raises(ValueError, match="other numbers"):
        train(changed, y, resume=fit, epochs=3)
