"""The quantile loss: its optimum, its level through every way in, and that no level is taken for another."""

import numpy as np
import pytest
from child import run_python
from conftest import says
from runs import assert_same, cut

from numbasgd import Fit, gradient, train
from numbasgd.sgd.config import SETTINGS, TrainConfig
from numbasgd.sgd.losses import LOSSES, PARAMETERS, loss_key, loss_named
from numbasgd.sgd.reference import reference

LEVELS = (0.1, 0.5, 0.9)


def value(z, y, q):
    return np.where(y >= z, q * (y - z), (1 - q) * (z - y))


def slope(z, y, q):
    return np.where(z < y, -q, 0.0) + np.where(z > y, 1 - q, 0.0)


@pytest.fixture
def problem(rng):
    X = rng.standard_normal((400, 3)) + 0.3
    return X, X @ [1.0, -2.0, 0.5] + 0.7 + (1 + 0.5 * np.abs(X[:, 0])) * rng.standard_t(3, 400)


def optimum(X, y, q, s=None):
    """The least mean loss, by linear programming: residuals are differences of two numbers above 0."""
    linprog = pytest.importorskip("scipy.optimize").linprog
    n, d = X.shape
    s = np.ones(n) if s is None else s / s.mean()
    A = np.column_stack([X, np.ones(n), np.eye(n), -np.eye(n)])
    costs = np.concatenate([np.zeros(d + 1), q * s, (1 - q) * s]) / n
    bounds = [(None, None)] * (d + 1) + [(0, None)] * (2 * n)
    return linprog(costs, A_eq=A, b_eq=y, bounds=bounds, method="highs").fun


@pytest.mark.parametrize("q", [0.001, 0.3, 0.5, 0.9])
def test_value_and_slope_of_one_prediction(q, rng):
    loss = loss_named(loss_key("quantile", quantile=q))
    z, y = rng.standard_normal((2, 100))
    z[:10] = y[:10]  # at the kink the slope is 0
    np.testing.assert_allclose([loss.value(*p) for p in zip(z, y, strict=True)], value(z, y, q), rtol=1e-13)
    np.testing.assert_array_equal([loss.slope(*p) for p in zip(z, y, strict=True)], slope(z, y, q))


@pytest.mark.parametrize("q", LEVELS)
def test_the_fit_is_the_optimum_and_leaves_its_share_of_the_rows_below(q, problem):
    X, y = problem
    options = {"batch_size": 20, "epochs": 300, "average": 100, "seed": 0, "eval_every": None}
    fit = train(X, y, loss="quantile", quantile=q, lr=0.02, **options)
    least = optimum(X, y, q)
    assert least - 1e-12 <= fit.loss[-1] <= least * 1.002
    assert np.mean(y < fit.predict(X)) == pytest.approx(q, abs=0.02)
    assert fit.settings["quantile"] == q and fit.settings["loss"] == "quantile"


@pytest.mark.slow
def test_columns_of_targets_weights_and_scaled_columns(problem, rng):
    X, y = problem
    Y = np.column_stack([y, -2 * y, y + X[:, 1]])
    s = rng.integers(0, 3, len(y)).astype(float)
    options = {"batch_size": 20, "epochs": 300, "average": 100, "seed": 0, "eval_every": None}
    fit = train(X * [1, 50, 0.1], Y, loss="quantile", quantile=0.9, lr=0.03, sample_weight=s, standardize=True,
                **options)  # fmt: skip
    least = sum(optimum(X, Y[:, k], 0.9, s) for k in range(3))
    assert least - 1e-12 <= fit.loss[-1] <= least * 1.002


SETTINGS_OF_STEPS = {
    "plain": {},
    "heavy-ball": {"momentum": 0.5, "l2": 0.125, "average": 1},
    "nesterov": {"momentum": 0.5, "nesterov": True, "l1": 0.0625},
}


@pytest.mark.parametrize("K", [0, 3])
@pytest.mark.parametrize("name", SETTINGS_OF_STEPS)
@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_steps_are_those_of_the_reference(name, K, dtype, problem, rng):
    X, y = problem
    y = np.column_stack([y, -y, 2 * y]) if K else y
    X, y, s = X.astype(dtype), y.astype(dtype), rng.uniform(0.2, 2, len(y))
    for batch_size in (1, 7, 400):
        options = {**SETTINGS_OF_STEPS[name], "loss": "quantile", "quantile": 0.9, "batch_size": batch_size}
        options |= {"lr": 2.0**-6, "epochs": 2, "seed": 3, "sample_weight": s}
        fit, W = train(X, y, **options), reference(X, y, **options)
        # A residual that is 0 but for rounding may have either slope; there is none among random numbers.
        found = np.vstack([fit.w.reshape(3, -1), fit.b])
        np.testing.assert_allclose(found, W, rtol=0, atol=1e-10 if dtype == "float64" else 1e-4)
        Z = X.astype(float) @ fit.w + fit.b
        losses = value(Z, y.astype(float), 0.9).reshape(len(y), -1).sum(axis=1)
        assert fit.loss[-1] == pytest.approx(np.average(losses, weights=s), rel=1e-5)


@pytest.mark.parametrize("K", [0, 1, pytest.param(3, marks=pytest.mark.slow)])
def test_gradient_at_a_level(K, problem, rng):
    X, y = problem
    y = y[:, None] * np.arange(1, K + 1) if K else y
    w, b = rng.standard_normal((3, K) if K else 3), rng.standard_normal(K) if K else 0.25
    for q in (0.5, 0.9):
        r = slope(X @ w + b, y, q)
        for keywords, index in (({}, slice(None)), ({"rows": [3, 1, 4]}, [3, 1, 4])):
            g, gb = gradient(X, y, w, b, loss="quantile", quantile=q, **keywords)
            np.testing.assert_allclose(g, X[index].T @ r[index] / len(r[index]), rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(gb, r[index].mean(axis=0), rtol=1e-12, atol=1e-14)
    with pytest.raises(ValueError, match="loss is 'quantile_at_0p9'; expected one of"):
        gradient(X, y, w, b, loss="quantile_at_0p9")


def test_many_rows_and_threads_give_one_result(rng):
    X = rng.standard_normal((300_000, 5)).astype(np.float32)
    y = X[:, 0] + rng.standard_normal(300_000).astype(np.float32)
    w = np.zeros(5, np.float32)
    (one, _), (two, _) = (
        gradient(X, y, w, loss="quantile", quantile=0.9, threads=threads) for threads in (1, 2)
    )
    assert one.tobytes() == two.tobytes()
    r = slope(0.0, y.astype(float), 0.9)
    np.testing.assert_allclose(one, X.T.astype(float) @ r / len(y), rtol=0, atol=1e-6)
    options = {"loss": "quantile", "quantile": 0.9, "lr": 0.5, "epochs": 1, "seed": 0, "batch_size": 200_000}
    a, b = (train(X, y, threads=threads, **options) for threads in (1, 2))
    assert a.w.tobytes() == b.w.tobytes()
    np.testing.assert_allclose(a.w, reference(X, y, **options)[:-1, 0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("q", [0.5, 0.9])
def test_resumed_at_its_level(q, problem, tmp_path, monkeypatch):
    X, y = problem
    options = {"loss": "quantile", "quantile": q, "batch_size": 7, "lr": 0.05, "seed": 3}
    whole = train(X, y, epochs=4, **options)
    stopped = cut(monkeypatch, tmp_path, 100, lambda **more: train(X, y, epochs=4, **options, **more))
    path = tmp_path / "a.fit"
    stopped.save(path)
    assert Fit.load(path).settings["quantile"] == q
    assert path.read_bytes().startswith(b"numbasgd fit 4\n")
    assert b'"quantile": %.1f' % q in path.read_bytes()
    assert_same(whole, train(X, y, resume=path))
    assert_same(whole, train(X, y, resume=path, quantile=q))
    with pytest.raises(ValueError) as caught:
        train(X, y, resume=path, quantile=0.75)
    says(caught.value, f"quantile is 0.75 but {q} in the run", "Leave them out")


@pytest.mark.parametrize("call", [train, lambda X, y, **options: gradient(X, y, np.zeros(3), **options)])
def test_levels_that_are_none(call, problem):
    for level, kind in ((0, ValueError), (1.0, ValueError), (-0.5, ValueError), (np.nan, ValueError),
                        ("0.5", TypeError), (None, TypeError), (True, TypeError)):  # fmt: skip
        with pytest.raises(kind) as caught:
            call(*problem, loss="quantile", quantile=level)
        says(caught.value, "quantile is ", "expected", "Pass")
    with pytest.raises(ValueError) as caught:
        call(*problem, quantile=0.9)
    says(
        caught.value, "quantile is 0.9 but loss is 'squared'", "expected loss='quantile'", "leave quantile out"
    )


def test_a_key_tells_the_exact_level_in_an_identifier():
    levels = [0.5, 0.9, np.nextafter(0.9, 1).item(), 1e-5, 1e-300, 1 - 2.0**-53, 0.1 + 0.2]
    keys = [loss_key("quantile", quantile=level) for level in levels]
    assert len(set(keys)) == len(levels) and all(key.isidentifier() for key in keys)
    assert [loss_named(key).parameter for key in keys] == [("quantile", level) for level in levels]
    assert keys[0] == "quantile" and loss_named("quantile") is LOSSES["quantile"]
    assert len({loss_named(key).slope.__qualname__ for key in keys}) == len(levels)


def test_parameters_are_settings_with_the_same_defaults():
    assert PARAMETERS.keys() <= SETTINGS.keys() and "quantile" in PARAMETERS
    for name, (loss, default) in PARAMETERS.items():
        assert getattr(TrainConfig(loss=loss), name) == default == LOSSES[loss].parameter[1]


@pytest.mark.slow
def test_processes_that_share_a_cache_take_no_level_for_another(tmp_path):
    """The same two levels, in another order: each finds its own code, and a third compiles its own."""
    code = """
        import numpy as np
        from numbasgd import gradient
        from numbasgd.sgd.solvers.epoch import kernels
        from numbasgd.sgd.losses import loss_key
        X, y = np.ones((4, 3)), np.array([1.0, 2.0, 3.0, -4.0])
        for q in {levels}:
            gb = gradient(X, y, np.zeros(3), loss="quantile", quantile=q, rows=[0, 1, 2, 3])[1]
            assert abs(gb - (0.25 - q)) < 1e-15, (q, gb)
            stats = kernels(loss_key("quantile", quantile=q), 3, X.dtype).gradient.stats
            print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
    """

    def run(*levels):
        return run_python(code.format(levels=levels), NUMBASGD_CACHE_DIR=str(tmp_path), NUMBA_CACHE_DIR=None)

    compiled, found = "0 1\n", "1 0\n"
    assert run(0.9, 0.5) == 2 * compiled
    assert run(0.5, 0.9, 0.8) == 2 * found + compiled
    assert run(0.8) == found


@pytest.mark.parametrize("scale", [*(pytest.param(c, marks=pytest.mark.slow) for c in (1e-4, 1.0)), 1e4])
def test_the_rate_follows_the_scale_of_the_targets(scale, problem):
    """With c y instead of y, losses, the best weights and the best rate are c times as large."""
    X, y = problem
    options = {"loss": "quantile", "quantile": 0.9, "epochs": 3, "seed": 0}
    for targets in (y, np.column_stack([y, -y])):
        rates = [train(X, c * targets, **options).settings["lr"] for c in (1.0, scale)]
        assert rates[1] == pytest.approx(scale * rates[0], rel=1e-3)


def test_the_rate_where_no_residual_is_left():
    """Nothing is to be fitted: whatever the rate, the weights stay."""
    fit = train(np.ones((50, 2)), np.zeros(50), loss="quantile", quantile=0.9)
    assert np.isfinite(fit.settings["lr"]) and fit.loss[-1] == 0 == np.abs(fit.w).max()
