"""K outputs: softmax, and squared with columns of targets, against NumPy in float64 and other solvers."""

import itertools
import warnings

import numpy as np
import pytest
from conftest import says

from numbasgd import DeviceError, DivergenceError, Fit, gradient, train
from numbasgd.sgd.reference import reference
from numbasgd.sgd.solvers import large_batch, multi_buffers

slow = pytest.mark.slow
LOSSES = ("softmax", "squared")


def softmax(Z):
    parts = np.exp(Z - Z.max(axis=1, keepdims=True))
    return parts / parts.sum(axis=1, keepdims=True)


def slopes(loss, Z, y):
    if loss == "softmax":
        return softmax(Z) - np.eye(Z.shape[1])[y]
    return np.clip(Z - y, -1, 1) if loss == "huber" else Z - y


def values(loss, Z, y):
    if loss == "softmax":
        return -np.log(softmax(Z)[np.arange(len(y)), y])
    r = np.abs(Z - y)
    return np.sum(np.where(r <= 1, r * r / 2, r - 0.5) if loss == "huber" else r * r / 2, axis=1)


def problem(loss, n, d, K, dtype, rng):
    X = (rng.standard_normal((n, d)) / max(1, d) ** 0.5).astype(dtype)
    if loss == "softmax":
        return X, np.concatenate([np.arange(K), rng.integers(0, K, n - K)])
    return X, rng.standard_normal((n, K)).astype(dtype)


def expected(X, y, **options):
    """Weights and intercepts of the reference at the end."""
    W = reference(X, y, **options)
    return W[:-1], W[-1]


def close(fit, W, b, dtype):
    tolerance = 1e-10 if dtype == np.float64 else 1e-4
    size = max(np.abs(W).max(initial=0), np.abs(b).max())
    assert fit.w.shape == W.shape and fit.b.shape == b.shape
    np.testing.assert_allclose(fit.w, W, rtol=0, atol=tolerance * size)
    np.testing.assert_allclose(fit.b, b, rtol=0, atol=tolerance * size)


# By default one width of register each; which d and how many rows make no other kernels.
SHAPES = [
    pytest.param(loss, K, dtype, id=f"{loss}-{K}-{np.dtype(dtype)}", marks=() if is_quick else slow)
    for loss in LOSSES
    for K in (1, 2, 3, 10, 17, 33)
    for dtype in (np.float32, np.float64)
    for is_quick in [(loss, K, dtype) in (("softmax", 3, np.float64), ("softmax", 10, np.float32),
                                          ("squared", 3, np.float64))]
    if (loss, K) != ("softmax", 1)
]  # fmt: skip


@pytest.mark.parametrize(("loss", "K", "dtype"), SHAPES)
def test_steps_are_those_of_the_reference(loss, K, dtype, rng):
    for d, n in ((1, 40), (5, 120), (33, 120), (784, 130)):
        X, y = problem(loss, n, d, K, dtype, rng)
        for batch_size in (1, 7, 10, 100, n):
            if batch_size > n:
                continue
            options = {"batch_size": batch_size, "seed": 7, "loss": loss, "lr": [0.125, 0.0625], "epochs": 2}
            fit = train(X, y, **options)
            close(fit, *expected(X, y, **options), dtype)
            Z = X.astype(float) @ fit.w + fit.b
            assert fit.loss[-1] == pytest.approx(
                np.mean(values(loss, Z, y)), rel=1e-5 if dtype == np.float32 else 1e-12
            )


@pytest.mark.parametrize("order", ["C", "F", "strided", "reversed"])
def test_rows_in_any_memory_order(order, rng, rows_in_place):
    X, y = problem("softmax", 90, 33, 3, np.float64, rng)
    lies = {
        "C": X,
        "F": np.asfortranarray(X),
        "strided": np.repeat(X, 2, axis=0)[::2],
        "reversed": X[::-1].copy()[::-1],
    }
    for batch_size, sampling in itertools.product((1, 7, 40, 90), ("reshuffle", "sequential")):
        options = {"batch_size": batch_size, "sampling": sampling, "lr": 0.1, "loss": "softmax", "seed": 1}
        fit, same = train(lies[order], y, **options), train(X, y, **options)
        np.testing.assert_allclose(fit.w, same.w, rtol=0, atol=1e-14)
        np.testing.assert_allclose(fit.loss, same.loss, rtol=1e-14)


def test_sums_of_many_chunks(rng):
    """More rows than a chunk has, with the last one short; in order, and taken."""
    most = multi_buffers.chunk_rows(33, 8, 3)
    X, y = problem("softmax", 2 * most + 9, 33, 3, np.float64, rng)
    for batch_size, sampling in itertools.product((most + 1, len(X)), ("reshuffle", "sequential")):
        options = {"batch_size": batch_size, "sampling": sampling, "seed": 1, "loss": "softmax", "epochs": 2}
        close(train(X, y, lr=0.5, **options), *expected(X, y, lr=0.5, **options), np.float64)


@slow
@pytest.mark.parametrize("sampling", ["reshuffle", "sequential", "replacement"])
def test_big_steps_are_made_in_parts(sampling, rng, monkeypatch):
    X, y = problem("softmax", 600, 33, 3, np.float64, rng)
    options = {"loss": "softmax", "batch_size": 500, "sampling": sampling, "lr": 0.1, "epochs": 3, "seed": 1}
    options |= {"momentum": 0.875, "nesterov": True, "l2": 0.125, "l1": 0.0625, "average": 1}
    whole = train(X, y, sample_weight=X[:, 0] ** 2, **options)
    monkeypatch.setattr(large_batch, "ENTRIES", 5000)
    parts = train(X, y, sample_weight=X[:, 0] ** 2, **options)
    np.testing.assert_allclose(parts.w, whole.w, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(parts.b, whole.b, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(parts.loss, whole.loss, rtol=1e-10)


OPTIONS = [
    {"momentum": 0.875, "nesterov": True, "l2": 0.125, "l1": 0.0625, "average": 1},
    pytest.param({"momentum": 0.875, "average": True}, marks=slow),
    pytest.param({"l2": 0.125}, marks=slow),
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(
    "loss", ["softmax", pytest.param("squared", marks=slow), pytest.param("huber", marks=slow)]
)
def test_steps_of_every_kind(loss, options, rng):
    X, y = problem(loss if loss == "softmax" else "squared", 60, 20, 3, np.float64, rng)
    s = rng.uniform(0.2, 2, 60)
    for batch_size, intercept, sampling in (
        (1, True, "reshuffle"),
        (17, False, "replacement"),
        (60, True, "once"),
    ):
        shared = {**options, "batch_size": batch_size, "intercept": intercept, "sampling": sampling, "seed": 7}
        shared |= {"loss": loss, "lr": [0.02, 0.01, 0.02], "epochs": 3, "sample_weight": s}
        fit = train(X, y, **shared)
        close(fit, *expected(X, y, **shared), np.float64)
        loss_there = np.average(values(loss, X @ fit.w + fit.b, y), weights=s)
        assert fit.loss[-1] == pytest.approx(loss_there, rel=1e-12)
        penalty = options.get("l2", 0) / 2 * np.sum(fit.w**2) + options.get("l1", 0) * np.abs(fit.w).sum()
        assert fit.objective[-1] == pytest.approx(loss_there + penalty, rel=1e-12)


@slow
@pytest.mark.parametrize(("loss", "K"), [("squared", 3), ("softmax", 3), ("softmax", 10)])
def test_gradient_in_float64_at_numbers_of_float32(loss, K, rng):
    X, y = problem(loss, 400, 33, K, np.float32, rng)
    X64, w, b = X.astype(float), rng.standard_normal((33, K)), rng.standard_normal(K)
    g, _ = gradient(X64, y, w, b, loss=loss)
    for j, k in ((0, 0), (32, K - 1)):
        step = np.zeros((33, K))
        step[j, k] = h = 1e-6
        high, low = (np.mean(values(loss, X64 @ (w + e) + b, y)) for e in (step, -step))
        assert g[j, k] == pytest.approx((high - low) / (2 * h), abs=1e-7)


@pytest.mark.parametrize(("loss", "K", "dtype"), SHAPES)
def test_gradient_is_numpys_and_the_losses_difference(loss, K, dtype, rng):
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    for n, d in ((K, 0), (K + 1, 3), (400, 33)):
        X, y = problem(loss, n, d, K, dtype, rng)
        w, b = rng.standard_normal((d, K)).astype(dtype), rng.standard_normal(K).astype(dtype)
        X64, w64, b64 = X.astype(float), w.astype(float), b.astype(float)
        R = slopes(loss, X64 @ w64 + b64, y)
        g, gb = gradient(X, y, w, b, loss=loss)
        assert g.shape == (d, K) and gb.shape == (K,) and g.dtype == dtype
        np.testing.assert_allclose(g, X64.T @ R / n, rtol=0, atol=tolerance)
        np.testing.assert_allclose(gb, R.mean(axis=0), rtol=0, atol=tolerance)
        picked = [0, n - 1, -1]
        g, _ = gradient(X, y, w, b, loss=loss, rows=picked)
        np.testing.assert_allclose(g, X64[picked].T @ R[picked] / 3, rtol=0, atol=tolerance)
        h = 1e-6
        for j, k in (
            ((0, 0), (d - 1, K - 1)) if d and dtype == np.float64 else ()
        ):  # of float32, rounding is more
            step = np.zeros((d, K))
            step[j, k] = h
            high, low = (np.mean(values(loss, X64 @ (w64 + e) + b64, y)) for e in (step, -step))
            assert gradient(X, y, w, b, loss=loss)[0][j, k] == pytest.approx((high - low) / (2 * h), abs=1e-7)


def test_one_column_of_targets_is_a_vector_of_them(rng):
    X, y = problem("squared", 60, 5, 1, np.float64, rng)
    for options in ({}, {"validation_fraction": 0.2, "standardize": True, "lr": 0.05}):
        column, vector = train(X, y, seed=0, **options), train(X, y[:, 0], seed=0, **options)
        assert column.w.tobytes() == vector.w.tobytes()
        assert column.loss.tobytes() == vector.loss.tobytes()
        assert (column.w.shape, column.b.shape, column.predict(X).shape) == ((5, 1), (1,), (60, 1))


def test_all_rows_a_step_is_gradient_descent(rng):
    X, y = problem("squared", 50, 5, 3, np.float64, rng)
    W, b = np.zeros((5, 3)), np.zeros(3)
    fit = train(X, y, batch_size=50, lr=0.1, epochs=10)
    for epoch in range(10):
        R = X @ W + b - y
        assert fit.loss[epoch] == pytest.approx(0.5 * np.sum(R**2) / 50, rel=1e-12)
        W, b = W - 0.1 * X.T @ R / 50, b - 0.1 * R.mean(axis=0)
    close(fit, W, b, np.float64)


def test_optimum_of_least_squares(rng):
    X, y = problem("squared", 200, 5, 3, np.float64, rng)
    best = np.linalg.lstsq(np.column_stack([X, np.ones(200)]), y, rcond=None)[0]
    for options in ({"lr": 1.0}, {"standardize": True, "lr": 0.5}):
        fit = train(X, y, batch_size=200, epochs=1000, eval_every=None, **options)
        np.testing.assert_allclose(np.vstack([fit.w, fit.b]), best, atol=1e-4)


@pytest.mark.parametrize("is_plain", [False, pytest.param(True, marks=slow)])
def test_optimum_of_multinomial_regression(is_plain, rng):
    linear = pytest.importorskip("sklearn.linear_model")
    X, y = problem("softmax", 200, 5, 3, np.float64, rng)
    X = 3 * X
    y = np.where(X[:, 0] + rng.standard_normal(200) > 0.7, 2, y)
    l2 = 0.01
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        solver = linear.LogisticRegression(C=1 / (200 * l2), tol=1e-12, max_iter=10_000).fit(X, y)
    options = {"loss": "softmax", "l2": l2, "batch_size": 200, "lr": 0.5, "momentum": 0.875, "nesterov": True}
    if not is_plain:  # the kernel of every kind of step
        options |= {"sample_weight": np.ones(200), "average": 1900}
    else:
        options["nesterov"] = False
    fit = train(X, y, epochs=2000, eval_every=None, **options)
    np.testing.assert_allclose(fit.w, solver.coef_.T, atol=1e-4)
    np.testing.assert_allclose(fit.b - fit.b.mean(), solver.intercept_ - solver.intercept_.mean(), atol=1e-4)
    np.testing.assert_allclose(fit.predict_proba(X), solver.predict_proba(X), atol=1e-4)
    assert np.array_equal(fit.predict(X), solver.predict(X))


@slow
def test_two_classes_of_softmax_are_logistic(rng):
    """The difference of both columns follows the logistic weights at twice their rate."""
    X, y = problem("softmax", 80, 5, 2, np.float64, rng)
    options = {"batch_size": 80, "epochs": 50}
    two, one = train(X, y, loss="softmax", lr=0.25, **options), train(X, y, loss="logistic", lr=0.5, **options)
    np.testing.assert_allclose(two.w[:, 1] - two.w[:, 0], one.w, rtol=1e-10)
    np.testing.assert_allclose(two.loss, one.loss, rtol=1e-10)


@pytest.mark.filterwarnings("ignore:column")  # some rates of the grid are too large
@pytest.mark.filterwarnings("ignore:lr is .* beyond the largest stable one:UserWarning")
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("batch_size", [1, 10, 100, 1000])
def test_auto_lr_is_near_the_best_constant_rate(loss, batch_size, rng):
    n = 1500
    if loss == "softmax":
        y = rng.integers(0, 3, n)
        X = 1.5 * rng.standard_normal((3, 5))[y] + rng.standard_normal((n, 5))
        options = {"batch_size": n, "momentum": 0.95, "nesterov": True, "lr": 0.5, "epochs": 500}
        W, b = expected(X, y, loss=loss, **options)
        least = np.mean(values(loss, X @ W + b, y))
    else:
        X = rng.standard_normal((n, 5))
        y = X @ rng.standard_normal((5, 3)) + rng.standard_normal((n, 3))
        A = np.column_stack([X, np.ones(n)])
        least = np.mean(values(loss, A @ np.linalg.lstsq(A, y, rcond=None)[0], y))

    def excess(lr):
        options = {"loss": loss, "batch_size": batch_size, "epochs": 5, "eval_every": None, "lr": lr}
        return np.mean([train(X, y, seed=seed, **options).loss[-1] for seed in range(5)]) - least

    auto = train(X, y, loss=loss, batch_size=batch_size, epochs=5, seed=0).settings["lr"]
    assert excess("auto") < 1.5 * min(excess(auto * 1.5**e) for e in range(-4, 5))


@pytest.mark.filterwarnings("ignore:column")
@pytest.mark.filterwarnings("ignore:lr is .* beyond the largest stable one:UserWarning")
def test_early_stopping_callback_and_divergence(rng):
    X, y = problem("softmax", 200, 5, 3, np.float64, rng)
    options = {"loss": "softmax", "lr": 0.1, "validation_fraction": 0.25, "seed": 0}
    fit = train(X, y, tol=1e-3, patience=2, epochs=500, **options)
    assert fit.epochs[-1] < 500 and len(fit.validation_loss) == len(fit.loss)
    seen = []
    train(X, y, epochs=9, callback=lambda fit: seen.append(fit.w.shape) or len(seen) == 3, **options)
    assert seen == [(5, 3)] * 3
    y = rng.standard_normal((200, 3))
    with pytest.raises(DivergenceError) as caught:
        train(X, y, lr=1e3, epochs=100)
    assert caught.value.w.shape == (5, 3) and caught.value.b.shape == (3,)
    train(X, y, lr=caught.value.suggested_lr, epochs=100)


def test_start_and_labels_of_a_saved_fit(tmp_path, rng):
    X, y = problem("softmax", 60, 5, 3, np.float64, rng)
    W, b = rng.standard_normal((5, 3)), rng.standard_normal(3)
    fit = train(X, np.array(["a", "b", "ç"])[y], loss="softmax", lr=0.1, epochs=0, init=(W, b))
    assert np.array_equal(fit.w, W) and np.array_equal(fit.b, b)
    fit.save(tmp_path / "a.fit")
    assert (tmp_path / "a.fit").read_bytes().startswith(b"numbasgd fit 4\n")
    again = Fit.load(tmp_path / "a.fit")
    assert again.to_dict() == fit.to_dict()
    assert again.classes == ("a", "b", "ç")
    assert np.array_equal(again.predict(X), fit.predict(X))
    assert repr(fit).startswith("<Fit: arrays, 60 rows x 5 columns -> 3 classes,")


@pytest.mark.parametrize(
    ("call", "error", "parts"),
    [
        (lambda X, Y: train(X, Y[:9]), ValueError, ("X has 30 rows", "y has 9 entries", "expected")),
        (lambda X, Y: train(X, Y, loss="hinge"), ValueError, ("y has 2 dimensions", "expected a 1-D array")),
        (lambda X, Y: train(X, Y, init=(X[0], 0.0)), ValueError, ("init's w has 1 dimension", "2-D")),
        (lambda X, Y: train(X, Y, init=(X[:5, :2], 0.0)), ValueError, ("(5, 2)", "3 outputs", "(5, 3)")),
        (lambda X, Y: train(X, Y, init=(X[:5, :3], [0])), ValueError, ("init's b has 1 entries", "3 outputs")),
        (lambda X, Y: gradient(X, Y, X[:5, :2]), ValueError, ("y has 3 columns, w has 2", "Pass")),
        (lambda X, Y: gradient(X, Y, X[0]), ValueError, ("w has 1 dimension", "2-D")),
        (lambda X, Y: gradient(X, Y, Y[:5], device="cuda"), DeviceError, ("3 outputs", "Leave device")),
    ],
)  # fmt: skip
def test_bad_input(call, error, parts, rng):
    with pytest.raises(error) as caught:
        call(rng.standard_normal((30, 5)), rng.standard_normal((30, 3)))
    says(caught.value, *parts)


def test_a_nan_in_one_target_is_named(rng):
    X, Y = rng.standard_normal((30, 5)), rng.standard_normal((30, 3))
    Y[7, 2] = np.nan
    with pytest.raises(ValueError) as caught:
        train(X, Y)
    says(caught.value, "y holds nan at row 7, column 2", "expected finite", "Drop")
    X[4, 1] = np.inf
    with pytest.raises(ValueError) as caught:
        train(X, rng.integers(0, 3, 30), loss="softmax")
    says(caught.value, "X holds inf at row 4, column 1", "expected finite", "Drop")
