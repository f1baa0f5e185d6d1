"""``train`` takes the steps of a plain NumPy loop, reaches the chapter's facts, and keeps its history."""

import json

import numpy as np
import pytest
from conftest import says

import numbasgd
from numbasgd import airfoil_twin, epoch_order, train

GD_LOSSES = [0.275711, 0.250312, 0.246494, 0.245498, 0.245132, 0.245078, 0.245259, 0.245642, 0.246217, 0.246988]
MINIMUM = 0.241688


def half_squared(X, y, w, b):
    return 0.5 * np.mean((X.astype(np.float64) @ w + b - y.astype(np.float64)) ** 2)


def numpy_epochs(X, y, batch_size, lr, seed, epochs, sampling="reshuffle", intercept=True):
    """The plain float64 loop, in the order that the trainer used; weights after each epoch."""
    X, y = X.astype(np.float64), y.astype(np.float64)
    w, b = np.zeros(X.shape[1]), 0.0
    for epoch in range(epochs):
        order = epoch_order(seed, epoch, len(y), sampling)
        for s in range(0, len(y), batch_size):
            xb, yb = X[order[s : s + batch_size]], y[order[s : s + batch_size]]
            r = xb @ w + b - yb
            w = w - lr * (r @ xb) / len(r)
            if intercept:
                b = b - lr * r.mean()
        yield w, b


@pytest.mark.parametrize("batch_size", [1, 7, 10, 100, 1500])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
@pytest.mark.filterwarnings("ignore:lr is .* beyond the largest stable one:UserWarning")
def test_steps_are_those_of_a_numpy_loop(dtype, batch_size):
    X, y = (a.astype(dtype) for a in airfoil_twin())
    lr = {1: 0.005, 7: 0.05, 10: 0.05, 100: 0.4, 1500: 1.0}[batch_size]
    tolerance = 1e-4 if dtype is np.float32 else 1e-10
    lr = float(dtype(lr))
    for epochs, (w, b) in enumerate(numpy_epochs(X, y, batch_size, lr, 7, 4), 1):
        fit = train(X, y, batch_size=batch_size, lr=lr, epochs=epochs, seed=7)
        np.testing.assert_allclose(fit.w, w, rtol=tolerance, atol=0)
        np.testing.assert_allclose(fit.b, b, rtol=tolerance, atol=tolerance * np.abs(w).max())
        np.testing.assert_allclose(fit.loss[-1], half_squared(X, y, w, b), rtol=1e-5)


# One of each family of kernels by default; the others are slow, since each is compiled.
COLUMNS = [
    pytest.param(d, dtype, id=f"{dtype}-{d}", marks=() if (dtype, d) in quick else pytest.mark.slow)
    for quick in [{("float64", 1), ("float64", 4), ("float32", 4), ("float32", 784)}]
    for dtype in ("float32", "float64")
    for d in (1, 2, 4, 8, 9, 15, 16, 17, 31, 33, 64, 100, 784)
]


@pytest.mark.parametrize(("d", "dtype"), COLUMNS)
@pytest.mark.parametrize("batch_size", [1, 3, 8, 50])
def test_any_number_of_columns(d, dtype, batch_size, rng):
    dtype = np.dtype(dtype).type
    n = 50
    X, y = rng.standard_normal((n, d)).astype(dtype), rng.standard_normal(n).astype(dtype)
    lr = float(dtype(0.3 / (d + 1)))
    fit = train(X, y, batch_size=batch_size, lr=lr, epochs=2, seed=3)
    w, b = list(numpy_epochs(X, y, batch_size, lr, 3, 2))[-1]
    tolerance = 2e-5 if dtype is np.float32 else 1e-12
    np.testing.assert_allclose(fit.w, w, rtol=0, atol=tolerance)
    np.testing.assert_allclose(fit.b, b, rtol=0, atol=tolerance)


@pytest.mark.parametrize("sampling", ["reshuffle", "once", "replacement", "sequential"])
@pytest.mark.parametrize("intercept", [True, False])
def test_samplings_and_no_intercept(sampling, intercept):
    X, y = airfoil_twin()
    X, y = X.astype(np.float64), y.astype(np.float64)
    fit = train(X, y, batch_size=13, lr=0.05, epochs=3, seed=1, sampling=sampling, intercept=intercept)
    w, b = list(numpy_epochs(X, y, 13, 0.05, 1, 3, sampling, intercept))[-1]
    np.testing.assert_allclose(fit.w, w, rtol=1e-10)
    assert fit.b == pytest.approx(b, rel=1e-9)


def test_replacement_over_all_rows_is_no_gradient_descent():
    X, y = (a.astype(np.float64) for a in airfoil_twin())
    fit = train(X, y, batch_size=1500, lr=0.5, epochs=2, seed=4, sampling="replacement")
    w, _ = list(numpy_epochs(X, y, 1500, 0.5, 4, 2, "replacement"))[-1]
    np.testing.assert_allclose(fit.w, w, rtol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
@pytest.mark.filterwarnings("ignore:lr is .* beyond the largest stable one:UserWarning")
def test_gradient_descent_on_the_real_data(airfoil, dtype):
    X, y = (a.astype(dtype) for a in airfoil)
    fit = train(X, y, batch_size=1500, lr=1.0, epochs=10)
    np.testing.assert_allclose(fit.loss[1:], GD_LOSSES, rtol=0, atol=1e-6)
    fit = train(X, y, batch_size=1500, lr=0.9, epochs=200)
    assert fit.loss[-1] == pytest.approx(MINIMUM, abs=1e-6)
    np.testing.assert_allclose(fit.w, [-0.583179, -0.365512, -0.484336, 0.223865, -0.271330], atol=2e-5)


@pytest.mark.filterwarnings("ignore:lr is .* beyond the largest stable one:UserWarning")
def test_gradient_descent_on_the_twin():
    fit = train(batch_size=1500, lr=1.0, epochs=10)
    assert "twin" in fit.data
    np.testing.assert_allclose(fit.loss[1:], GD_LOSSES, rtol=0, atol=1e-5)
    assert train(batch_size=1500, lr=0.9, epochs=200).loss[-1] == pytest.approx(MINIMUM, abs=1e-5)


@pytest.mark.parametrize(("lr", "batch_size"), [(0.005, 1), (0.4, 100), (0.05, 10)])
def test_medians_of_the_chapters_runs(airfoil, lr, batch_size):
    X, y = airfoil
    options = {"lr": lr, "batch_size": batch_size, "epochs": 2, "eval_every": None}
    finals = [train(X, y, seed=s, **options).loss[-1] for s in range(60)]
    assert 0.243 <= np.median(finals) <= 0.247


def test_the_same_seed_gives_the_same_bits():
    one, same, other = (train(batch_size=10, lr=0.05, epochs=3, seed=s) for s in (5, 5, 6))
    assert one.w.tobytes() == same.w.tobytes()
    assert one.b == same.b
    assert one.w.tobytes() != other.w.tobytes()


def test_a_drawn_seed_is_kept():
    drawn = train()
    assert drawn.seed != train().seed
    assert train(seed=drawn.seed).w.tobytes() == drawn.w.tobytes()


@pytest.mark.parametrize("eval_every", [None, "epoch", 200, 1, 1700, 10**9])
@pytest.mark.parametrize("batch_size", [1, 64, 1500])
def test_how_often_it_is_evaluated_changes_nothing(batch_size, eval_every):
    base = train(batch_size=batch_size, lr=0.01, epochs=3, seed=2)
    fit = train(batch_size=batch_size, lr=0.01, epochs=3, seed=2, eval_every=eval_every)
    assert fit.w.tobytes() == base.w.tobytes()
    assert fit.loss[0] == base.loss[0]
    assert fit.loss[-1] == base.loss[-1]


def test_history_marks():
    assert train(batch_size=10, epochs=3).samples.tolist() == [0, 1500, 3000, 4500]
    assert train(batch_size=10, epochs=3, eval_every=None).samples.tolist() == [0, 4500]
    fit = train(batch_size=10, epochs=1, eval_every=200)
    assert fit.samples.tolist() == [0, 200, 400, 600, 800, 1000, 1200, 1400, 1500]
    assert fit.epochs.tolist() == [s / 1500 for s in fit.samples.tolist()]
    # the first step that completes another 200 samples
    assert train(batch_size=150, epochs=1, eval_every=200).samples.tolist()[:4] == [0, 300, 450, 600]
    assert train(batch_size=1500, lr=0.5, epochs=3, eval_every=200).samples.tolist() == [0, 1500, 3000, 4500]


def test_history_is_the_loss_of_that_moment():
    X, y = airfoil_twin()
    fit = train(X, y, batch_size=10, lr=0.05, epochs=3, seed=1)
    for epochs in range(4):
        then = train(X, y, batch_size=10, lr=0.05, epochs=epochs, seed=1)
        assert fit.loss[epochs] == pytest.approx(half_squared(X, y, then.w.astype(float), then.b), rel=1e-6)
    assert fit.loss[0] == pytest.approx(0.493259, abs=1e-5)


def test_seconds_rise_and_leave_compile_and_evaluation_out():
    fit = train(batch_size=1, lr=0.005, epochs=20)
    assert fit.seconds[0] == 0
    assert np.all(np.diff(fit.seconds) > 0)
    assert fit.seconds_per_epoch == pytest.approx(fit.seconds[-1] / 20)


def test_zero_epochs_return_the_start():
    fit = train(epochs=0, init=([1, 2, 3, 4, 5], 6.0))
    assert fit.w.tolist() == [1, 2, 3, 4, 5]
    assert fit.b == 6
    assert len(fit.loss) == 1


def test_one_row():
    fit = train([[2.0]], [4.0], batch_size=1, lr=0.1, epochs=100)
    assert fit.predict([[2.0]])[0] == pytest.approx(4.0)


def test_default_batch_size_is_cut_to_few_rows():
    assert train([[1.0], [2.0]], [1.0, 2.0]).settings["batch_size"] == 2


def test_standardize_returns_the_users_units(rng):
    X = rng.standard_normal((400, 3)) * [1e-3, 1.0, 1e4] + [5.0, 0.0, -3e4]
    y = X @ [200.0, 1.0, 1e-4] + 7 + 0.01 * rng.standard_normal(400)
    fit = train(X, y, batch_size=400, lr=0.5, epochs=300, standardize=True)
    A = np.column_stack([X, np.ones(400)])
    best = np.linalg.lstsq(A, y, rcond=None)[0]
    np.testing.assert_allclose(np.append(fit.w, fit.b), best, rtol=1e-6)
    np.testing.assert_allclose(fit.predict(X), A @ best, rtol=1e-6)
    assert fit.loss[-1] == pytest.approx(half_squared(X, y, fit.w, fit.b), rel=1e-6)


def test_standardize_starts_where_it_is_told(rng):
    X = rng.standard_normal((50, 2)) * [10, 0.1] + 3
    y = rng.standard_normal(50)
    fit = train(X, y, epochs=0, standardize=True, init=([0.5, -2.0], 1.0))
    np.testing.assert_allclose(np.append(fit.w, fit.b), [0.5, -2.0, 1.0])
    assert fit.loss[0] == pytest.approx(half_squared(X, y, np.array([0.5, -2.0]), 1.0))


def test_standardize_without_intercept_only_scales(rng):
    X = rng.standard_normal((300, 2)) * [100, 0.01] + [50, 0.2]
    y = X @ [0.02, 30.0]
    fit = train(X, y, batch_size=300, lr=0.5, epochs=500, standardize=True, intercept=False)
    np.testing.assert_allclose(fit.w, [0.02, 30.0], rtol=1e-5)
    assert fit.b == 0


def test_a_constant_column_does_no_harm(rng):
    X = np.column_stack([rng.standard_normal(100), np.full(100, 0.1)]).astype(np.float32)
    fit = train(X, X[:, 0], batch_size=10, epochs=50, standardize=True)
    assert np.all(np.isfinite(fit.w))
    assert fit.loss[-1] < 1e-6


def test_a_badly_scaled_column_is_named(rng):
    X = rng.standard_normal((100, 3)) * [1, 1, 1e4]
    y = X[:, 0]
    with pytest.warns(UserWarning, match=r"column 2 of X .* lr=0.05 .*standardize=True"):
        pytest.raises(numbasgd.DivergenceError, train, X, y, lr=0.05, epochs=2)
    with pytest.warns(UserWarning, match=r"column 2 of X .*standardize=True"):
        train(X, y, standardize=False)
    train(X, y, standardize=True, lr=0.05)  # and no warning, which would be an error here


@pytest.mark.filterwarnings("ignore:lr is .* beyond the largest stable one:UserWarning")
def test_divergence_carries_what_there_is():
    X, y = airfoil_twin()
    with pytest.raises(numbasgd.DivergenceError) as caught:
        train(X, y, batch_size=100, lr=1.5, epochs=100, seed=1)
    error = caught.value
    says(error, "lr is 1.5", "loss went from 0.493", "epochs", "Pass lr=", "best weights")
    assert isinstance(error, numbasgd.NumbaSGDError)
    assert 0 < error.epoch < 100
    assert error.loss == pytest.approx(half_squared(X, y, error.w.astype(float), error.b), rel=1e-5)
    again = train(X, y, batch_size=100, lr=error.suggested_lr, epochs=100, seed=1)
    assert again.loss[-1] < 0.25


@pytest.mark.filterwarnings("ignore:lr is .* beyond the largest stable one:UserWarning")
def test_divergence_to_infinity_within_an_epoch():
    with pytest.raises(numbasgd.DivergenceError) as caught:
        train(batch_size=1, lr=1.5, epochs=5, seed=1)
    assert caught.value.w.tolist() == [0] * 5
    assert caught.value.suggested_lr < 0.1


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e6])
def test_auto_lr_is_stable_at_any_scale(scale, rng):
    X = rng.standard_normal((200, 4)) * scale
    y = X @ rng.standard_normal(4) + 0.1 * rng.standard_normal(200) * scale
    for batch_size in (1, 10, 200):
        fit = train(X, y, batch_size=batch_size, epochs=30, intercept=False, seed=0)
        assert fit.loss[-1] < 0.5 * fit.loss[0]


@pytest.mark.parametrize("is_weighted", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("batch_size", [1, 10, 200])
@pytest.mark.parametrize("average", [False, True])
def test_auto_lr_is_stable_with_penalties_and_weights(average, batch_size, is_weighted, rng):
    X = rng.standard_normal((200, 5))
    y = X @ rng.standard_normal(5) + rng.standard_normal(200)
    options = {"batch_size": batch_size, "average": average, "epochs": 20, "seed": 0}
    s = np.ones(200)
    fit = train(X, y, l2=1000.0, sample_weight=s if is_weighted else None, **options)
    assert fit.objective[-1] < fit.objective[0]
    s[:3] = 2000
    fit = train(X, y, sample_weight=s, **options)
    assert fit.loss[-1] < 0.5 * fit.loss[0]


def test_a_fit_is_frozen_and_can_be_kept():
    fit = train(seed=1)
    with pytest.raises(AttributeError):
        fit.b = 1.0
    with pytest.raises(ValueError, match="read-only"):
        fit.w[0] = 1.0
    kept = json.loads(json.dumps(fit.to_dict(), allow_nan=False))
    assert kept["w"] == fit.w.tolist()
    assert kept["settings"]["batch_size"] == 32
    assert kept["versions"]["numba"]
    assert "airfoil" in repr(fit)


def test_predict():
    X, y = airfoil_twin()
    fit = train(X, y, seed=1)
    np.testing.assert_allclose(fit.predict(X), X @ fit.w + fit.b, rtol=1e-6)
    with pytest.raises(ValueError) as caught:
        fit.predict(X[:, :3])
    says(caught.value, "X has 3 columns", "5 weights", "expected")


def test_inputs_are_left_as_they_were_and_converted_as_numpy_would(rng):
    X, y = rng.integers(0, 9, (40, 2)), rng.integers(0, 9, 40)
    kept = X.copy()
    fit = train(X, y, batch_size=5, lr=0.01, seed=0)
    assert fit.w.dtype == np.float64
    np.testing.assert_array_equal(X, kept)
    lists = train(X.tolist(), y.tolist(), batch_size=5, lr=0.01, seed=0)
    assert lists.w.tobytes() == fit.w.tobytes()
    frozen = np.asfortranarray(X.astype(float))
    frozen.flags.writeable = False
    assert train(frozen, y, batch_size=5, lr=0.01, seed=0).w.tobytes() == fit.w.tobytes()
    assert train(X.astype(np.float32), y.astype(np.float64), lr=0.01, seed=0).w.dtype == np.float64
    assert train(X.astype(np.float32), y.astype(np.float32), lr=0.01, seed=0).w.dtype == np.float32
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b"])
    assert train(frame, pandas.Series(y), batch_size=5, lr=0.01, seed=0).w.tobytes() == fit.w.tobytes()


X52, Y5 = np.arange(10.0).reshape(5, 2), np.arange(5.0)
X_NAN = X52.copy()
X_NAN[3, 1] = np.nan
Y_INF = Y5.copy()
Y_INF[2] = np.inf


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "parts"),
    [
        ((X52,), {}, TypeError, ("y is missing", "expected", "Pass y")),
        ((None, Y5), {}, TypeError, ("X is missing", "expected", "Pass X")),
        ((X52[0], Y5), {}, ValueError, ("X has 1 dimension", "expected a 2-D array", "reshape")),
        ((X52, X52[None]), {}, ValueError, ("y has 3 dimensions", "expected a 1-D array")),
        ((X52, X52[:, :0]), {}, ValueError, ("y has shape (5, 0)", "expected at least one column", "Pass")),
        (
            (X52, Y5.reshape(-1, 1)),
            {"loss": "logistic"},
            ValueError,
            ("y has 2 dimensions", "y.ravel()"),
        ),
        ((X52, Y5[:4]), {}, ValueError, ("X has 5 rows", "y has 4 entries", "expected one target per row")),
        ((X52[:, :0], Y5), {}, ValueError, ("X has shape (5, 0)", "expected at least one column", "Pass")),
        ((X52[:0], Y5[:0]), {}, ValueError, ("X has shape (0, 2)", "expected at least one row", "Pass")),
        ((X_NAN, Y5), {}, ValueError, ("X holds nan at row 3, column 1", "expected finite", "Drop")),
        ((X52, Y_INF), {}, ValueError, ("y holds inf at row 2", "expected finite", "Drop")),
        ((X52, list("abcde")), {}, TypeError, ("y has dtype <U1", "expected float32 or float64", "Convert")),
        (
            (X52, Y5),
            {"batch_size": 0},
            ValueError,
            ("batch_size is 0", "expected an integer from 1 to 5", "Use"),
        ),
        ((X52, Y5), {"batch_size": -3}, ValueError, ("batch_size is -3", "expected")),
        ((X52, Y5), {"batch_size": 6}, ValueError, ("batch_size is 6", "from 1 to 5", "gradient descent")),
        ((X52, Y5), {"batch_size": 10}, ValueError, ("batch_size is 10", "from 1 to 5")),
        ((X52, Y5), {"batch_size": 2.0}, TypeError, ("batch_size is 2.0 (float)", "expected an integer")),
        ((X52, Y5), {"batch_size": True}, TypeError, ("batch_size is True", "expected an integer")),
        ((X52, Y5), {"lr": 0}, ValueError, ("lr is 0.0", "expected a finite number above 0", "Pass")),
        ((X52, Y5), {"lr": -1.0}, ValueError, ("lr is -1.0", "above 0")),
        ((X52, Y5), {"lr": np.nan}, ValueError, ("lr is nan", "finite")),
        ((X52, Y5), {"lr": "fast"}, TypeError, ("lr is 'fast'", "expected", "auto")),
        (
            (X52, Y5),
            {"lr": [0.1], "epochs": 2},
            ValueError,
            ("lr holds 1 rates for 2 epochs", "expected one rate per epoch"),
        ),
        ((X52, Y5), {"lr": [0.1, -1]}, ValueError, ("lr of epoch 1 is -1.0", "above 0")),
        ((X52, Y5), {"lr": lambda e: None}, TypeError, ("lr of epoch 0 is None", "expected")),
        ((X52, Y5), {"epochs": -1}, ValueError, ("epochs is -1", "expected")),
        ((X52, Y5), {"epochs": 1.5}, TypeError, ("epochs is 1.5", "expected")),
        ((X52, Y5), {"seed": -1}, ValueError, ("seed is -1", "expected")),
        ((X52, Y5), {"seed": "a"}, TypeError, ("seed is 'a'", "expected")),
        ((X52, Y5), {"loss": "square"}, ValueError, ("loss is 'square'", "Did you mean 'squared'?")),
        ((X52, Y5), {"sampling": "reshufle"}, ValueError, ("sampling is", "Did you mean 'reshuffle'?")),
        ((X52, Y5), {"eval_every": 0}, ValueError, ("eval_every is 0", "expected", "samples")),
        ((X52, Y5), {"eval_every": "epochs"}, ValueError, ("eval_every is 'epochs'", "Did you mean 'epoch'?")),
        ((X52, Y5), {"standardize": 1}, TypeError, ("standardize is 1", "True or False")),
        ((X52, Y5), {"intercept": None}, TypeError, ("intercept is None", "True or False")),
        ((X52, Y5), {"init": 3}, TypeError, ("init is 3", "expected a pair")),
        ((X52, Y5), {"init": ([1.0], 0.0)}, ValueError, ("init's w has 1 entries", "2 columns", "expected")),
        ((X52, Y5), {"init": ([1.0, np.nan], 0.0)}, ValueError, ("init's w holds nan", "expected")),
    ],
)
def test_bad_input(args, kwargs, error, parts):
    with pytest.raises(error) as caught:
        train(*args, **kwargs)
    assert type(caught.value).__module__ == "builtins"
    says(caught.value, *parts)


@pytest.mark.parametrize(("n", "c"), [(100, 0.1), (100, 98.6), (100_000, 0.1)])
def test_a_constant_float64_column_is_not_blown_up(n, c, rng):
    X = np.column_stack([np.full(n, c), rng.standard_normal(n)])
    fit = train(X, X[:, 1], batch_size=n // 10, epochs=20, standardize=True, seed=0)
    assert fit.w[0] == 0
    assert abs(fit.b) < 1


@pytest.mark.parametrize("offset", [1e4, 1e6])
def test_the_last_loss_is_that_of_the_returned_weights_for_large_means(offset, rng):
    X = (rng.standard_normal((500, 3)) + offset).astype(np.float32)
    y = (X - np.float32(offset)) @ np.ones(3, np.float32) + rng.standard_normal(500).astype(np.float32) / 10
    fit = train(X, y, batch_size=10, epochs=20, standardize=True, seed=0)
    assert half_squared(X, y, fit.w, fit.b) == pytest.approx(fit.loss[-1], rel=1e-3)
    assert 0.5 * np.mean((fit.predict(X) - y) ** 2) == pytest.approx(fit.loss[-1], rel=1e-3)


def outliers(n, rng):
    X = rng.standard_normal((n, 3))
    X[rng.choice(n, 12, replace=False)] *= 1000
    return X


def stripes(n, rng):
    X = rng.standard_normal((n, 3))
    X[1::4] *= 1000
    return X


@pytest.mark.parametrize("make", [outliers, stripes])
@pytest.mark.parametrize("share", [1, 100])
def test_auto_lr_is_stable_with_rows_that_a_sample_misses(make, share, rng):
    X = make(20_000, rng)
    y = X @ np.ones(3)
    fit = train(X, y, batch_size=len(X) // share, epochs=20, intercept=False, seed=0)
    assert fit.loss[-1] < 0.5 * fit.loss[0]
    with pytest.warns(UserWarning), pytest.raises(numbasgd.DivergenceError) as caught:
        train(X, y, batch_size=len(X) // share, epochs=20, intercept=False, lr=30.0, seed=0)
    with_less = train(
        X, y, batch_size=len(X) // share, epochs=20, intercept=False, lr=caught.value.suggested_lr, seed=0
    )
    assert with_less.loss[-1] < with_less.loss[0]


@pytest.mark.parametrize("how", ["X", "y", "init"])
@pytest.mark.parametrize("lr", ["auto", 0.01])
@pytest.mark.filterwarnings("ignore:column")
@pytest.mark.filterwarnings("ignore:lr is .* beyond the largest stable one:UserWarning")
def test_data_that_overflows_is_named(how, lr, rng):
    X, y, init = rng.standard_normal((50, 2)), rng.standard_normal(50), None
    if how == "X":
        X, init = X * 1e200, ([1.0, 1.0], 0.0)
    elif how == "y":
        y = y * 1e200
    else:
        init = ([1e300, 0.0], 0.0)
    with pytest.raises(ValueError) as caught:
        train(X, y, lr=lr, init=init)
    says(caught.value, f"{how} holds values up to", "expected", "Scale")


@pytest.mark.parametrize(("lr", "says_so"), [(1e-50, "rounds to 0"), (1e300, "rounds to inf")])
def test_an_lr_that_float32_cannot_hold(lr, says_so):
    with pytest.raises(ValueError) as caught:
        train(lr=lr)
    says(caught.value, "lr is 1e", says_so, "expected", "float64")


def test_settings_are_plain_values():
    fit = train(eval_every=np.int16(200), batch_size=np.int64(10), lr=np.float32(0.05), seed=np.uint8(3))
    assert json.loads(json.dumps(fit.to_dict()))["settings"]["eval_every"] == 200


def improving_then_diverging(epoch):
    return 0.05 if epoch < 3 else 3.0


@pytest.mark.parametrize("eval_every", ["epoch", 200])
@pytest.mark.filterwarnings("ignore:column")
@pytest.mark.filterwarnings("ignore:lr is .* beyond the largest stable one:UserWarning")
@pytest.mark.filterwarnings("ignore:lr is .* beyond the largest stable one:UserWarning")
def test_the_best_weights_before_a_divergence_are_kept(eval_every):
    kwargs = {"batch_size": 10, "seed": 1, "eval_every": eval_every}
    with pytest.raises(numbasgd.DivergenceError) as caught:
        train(epochs=9, lr=improving_then_diverging, **kwargs)
    good = train(epochs=3, lr=0.05, **kwargs)
    assert caught.value.loss == good.loss.min()
    X, y = airfoil_twin()
    best = half_squared(X, y, caught.value.w.astype(float), caught.value.b)
    assert best == pytest.approx(good.loss.min(), rel=1e-5)


@pytest.mark.parametrize("eval_every", [None, 10**9])
@pytest.mark.filterwarnings("ignore:column")
@pytest.mark.filterwarnings("ignore:lr is .* beyond the largest stable one:UserWarning")
@pytest.mark.filterwarnings("ignore:lr is .* beyond the largest stable one:UserWarning")
def test_without_evaluations_a_divergence_is_found_at_the_same_epochs_always(eval_every):
    found = set()
    for _ in range(3):
        with pytest.raises(numbasgd.DivergenceError) as caught:
            train(epochs=300, lr=improving_then_diverging, batch_size=10, seed=1, eval_every=eval_every)
        found.add((caught.value.epoch, caught.value.w.tobytes()))
    assert len(found) == 1
    assert found.pop()[0] == 4


def test_a_loss_may_rise_a_millionfold_but_no_further():
    """lr 2 + x on a quadratic of curvature 1 multiplies the loss by (1 + x)^2 each epoch."""
    X, y = np.array([[1.0], [-1.0]]), np.array([1.0, -1.0])
    for epochs, growth in ((9, 1e5), (12, 1e7)):
        lr = 1 + growth ** (0.5 / epochs)
        kwargs = {"batch_size": 2, "lr": lr, "epochs": epochs, "intercept": False}
        with pytest.warns(UserWarning, match="column 0"):
            if growth < 1e6:
                assert train(X, y, **kwargs).loss[-1] == pytest.approx(0.5 * growth)
            else:
                pytest.raises(numbasgd.DivergenceError, train, X, y, **kwargs)


def test_a_start_at_the_optimum_is_no_divergence(rng):
    X = rng.standard_normal((100, 3))
    y = X @ [1.0, 2.0, 3.0]
    fit = train(X, y, batch_size=1, epochs=5, init=([1.0, 2.0, 3.0], 0.0))
    assert fit.loss[0] < 1e-30
    assert fit.loss[-1] < 1e-20


def test_seconds_leave_out_what_entering_compiled_code_takes(monkeypatch):
    from numbasgd.sgd.solvers import base

    monkeypatch.setattr(base, "_entries", {})
    monkeypatch.setattr(base.Solver, "_time_entry", lambda self: 1.0)
    assert train(epochs=3).seconds[-1] == 0


def test_python_looks_at_long_runs_now_and_then(monkeypatch):
    """Progress and Ctrl-C need Python; compiled code comes back after some samples, however long the run."""
    from numbasgd.sgd import trainer
    from numbasgd.sgd.solvers import base, cpu

    calls = []
    call = cpu.EpochSolver.advance
    monkeypatch.setattr(cpu.EpochSolver, "advance", lambda self, end: (calls.append(end), call(self, end)))
    monkeypatch.setattr(trainer, "_CALL_SECONDS", 0.0)
    monkeypatch.setattr(base, "_FIRST", 1)
    train(epochs=2, batch_size=100, eval_every=None)
    assert len(set(calls)) >= 30
