"""``best_batch_size``: its model, its clock, its race, what it tells, and training with it."""

import dataclasses
import json
import math
import pickle
import time

import numpy as np
import pytest
from conftest import says

from numbasgd import airfoil_twin, best_batch_size, train
from numbasgd.cli import main
from numbasgd.sgd.batch_size import auto, model
from numbasgd.sgd.batch_size.clock import Clock, _fitted
from numbasgd.sgd.batch_size.optimum import Objective, optimum
from numbasgd.sgd.config import TrainConfig
from numbasgd.sgd.inputs import make_dataset
from numbasgd.sgd.learning_rate.quadratic import QuadraticModel
from numbasgd.sgd.moments import Slope


@pytest.fixture(scope="module")
def found():
    return best_batch_size(*airfoil_twin(), budget=20)


def by_hand(local, run, b, lr, target, most=100_000):
    """Steps until the target, one by one."""
    h, e, noise, spread = local
    first, left = h @ e, e.copy()
    variance = model.step_variance(lr * h, run, b)
    for step in range(1, most):
        left = (1 - lr * h) ** 2 * left + lr**2 * variance * (noise + spread @ left)
        if h @ left <= target * first:
            return step
    return math.inf


LOCAL = QuadraticModel(
    np.array([0.1, 1.0, 2.0]), np.array([3.0, 1.0, 0.5]), np.array([0.01, 0.1, 0.2]), 0.3 * np.ones((3, 3))
)


@pytest.mark.parametrize("b", [1, 8, 100])
@pytest.mark.parametrize("replacement", [False, True])
def test_steps_of_the_model_are_those_of_its_recursion(b, replacement):
    run = model.Run(100, replacement)
    lrs, steps = model.steps_to(LOCAL, run, b, 0.05)
    reached = np.flatnonzero(np.isfinite(steps))
    for k in reached[:: max(1, len(reached) // 5)]:
        assert steps[k] == by_hand(LOCAL, run, b, lrs[k], 0.05)
    fewest = steps.min()
    assert fewest < math.inf and not (steps < fewest).any()
    left = model.excess_after(LOCAL, run, b, int(fewest))
    assert left <= 0.05 < model.excess_after(LOCAL, run, b, int(fewest) - 1)


def test_momentum_and_a_falling_rate_in_the_model():
    plain, steps = model.steps_to(LOCAL, model.Run(100), 8, 0.05)
    with_momentum, same = model.steps_to(LOCAL, model.Run(100, momentum=0.9), 8, 0.05)
    assert np.allclose(with_momentum, 0.1 * plain) and np.array_equal(steps, same)
    tight = {
        s: model.steps_to(LOCAL, model.Run(100, True, schedule=s), 1, 1e-3)[1].min()
        for s in ("constant", "cosine")
    }
    assert tight["cosine"] < tight["constant"]  # the noise goes with the rate


def test_the_local_model_of_least_squares_is_exact(rng):
    X = rng.standard_normal((300, 4)) * [1, 2, 0.5, 1]
    y = X @ np.ones(4) + rng.standard_normal(300)
    A = np.column_stack([X, np.ones(300)])
    best = np.linalg.lstsq(A, y, rcond=None)[0][:, None]
    gap = 0.5 * np.mean(y**2) - 0.5 * np.mean((A @ best - y[:, None]) ** 2)
    data = make_dataset(X, y, None, "squared")
    local = model.local_model(data, Slope("squared", True), np.zeros((5, 1)), best, gap)
    values, V = np.linalg.eigh(A.T @ A / 300)
    r = (A @ best)[:, 0] - y
    assert np.allclose(local.curvature, values) and 0.5 * local.curvature @ local.error == pytest.approx(gap)
    assert np.allclose(local.noise, np.mean(np.square((A @ V) * r[:, None]), axis=0))


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["squared", "logistic", "softmax"])
def test_the_optimum_is_that_of_scipy(rng, loss):
    optimize = pytest.importorskip("scipy.optimize")
    X = rng.standard_normal((200, 3))
    z = X @ np.array([1.0, -1.0, 0.5]) + rng.standard_normal(200)
    y = {"squared": z, "logistic": (z > 0).astype(int), "softmax": np.digitize(z, [-1, 1])}[loss]
    data = make_dataset(X, y, rng.integers(1, 3, 200), loss)
    config = TrainConfig(loss=loss, l2=0.01, lr=1.0, epochs=1)
    solver = data.solver(config.method(200, np.array([1.0]))._replace(batch_size=200))
    solver.compile()
    objective = Objective(solver)
    start = np.zeros((4, max(data.outputs, 1)))
    best = optimum(objective, start, 1e-4, time.perf_counter() + 60)

    def of(v):
        W = v.reshape(start.shape)
        return objective.value(objective.row(W)), objective.gradient(W).ravel()

    known = optimize.minimize(of, start.ravel(), jac=True, method="BFGS")
    assert best.objective == pytest.approx(known.fun, abs=1e-5 * (of(start.ravel())[0] - known.fun))


@pytest.mark.slow
def test_the_clock_tells_overhead_and_rows():
    step, row = _fitted({b: 1e-7 / b + 2e-9 for b in (1, 4, 16, 64)})
    assert step == pytest.approx(1e-7) and row == pytest.approx(2e-9)
    data = make_dataset(*airfoil_twin(), None, "squared")
    method = TrainConfig(lr=1.0, epochs=1).method(data.n, np.ones(1, np.float32))

    def make(b, lr):
        solver = data.solver(method._replace(batch_size=b, lrs=np.array([lr], np.float32)))
        solver.compile()
        return solver

    clock = Clock(make, data.n, 1.0)
    assert clock(1) > clock(16) > 0 and clock(data.n) == clock.all_rows
    assert min(clock(8), clock(2)) >= min(clock.measured.values())


def test_what_it_tells(found):
    assert found.reached and found.batch_size in found.near and found.n == 1500
    low, high = found.interval
    assert (
        low <= found.batch_size <= high
        and found.prices[1] > 1.3
        and found.prices.keys() == {1, 10, 32, 100, 1500}
    )
    assert found.least < found.target_loss < found.first
    assert found.target_loss == pytest.approx(found.least + 0.01 * (found.first - found.least))
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["batch_size"] == found.batch_size and len(told["trials"]) == len(found.trials)
    assert "as good" in found.sentence and str(found.batch_size) in found.sentence
    assert f"{found.batch_size} *" in found.table() and found.bound_by.startswith("the ")
    assert pickle.loads(pickle.dumps(found)) == found
    with pytest.raises(AttributeError):
        found.lr = 1.0
    ax = found.plot()
    assert ax.get_xscale() == ax.get_yscale() == "log" and found.plot(ax) is ax
    assert found.spent["total"] - found.spent["compiling"] < 20


def test_training_with_it(found):
    X, y = airfoil_twin()
    fit = train(X, y, batch_size=found, epochs=30, seed=3)
    assert (fit.settings["batch_size"], fit.settings["lr"]) == (found.batch_size, found.lr)
    assert fit.settings["standardize"] is found.standardize is True
    assert fit.objective.min() <= found.target_loss
    assert train(X, y, batch_size=found, epochs=1, lr=0.01).settings["lr"] == 0.01
    half = train(X, y, batch_size=found, epochs=15, seed=3)
    assert np.array_equal(train(X, y, batch_size=found, resume=half, epochs=30).w, fit.w)
    with pytest.raises(ValueError) as caught:
        train(X, y, batch_size=dataclasses.replace(found, batch_size=7), resume=half)
    says(caught.value, f"batch_size is 7 but {found.batch_size} in the run")
    with pytest.raises(ValueError) as caught:
        train(X, y, batch_size=found, epochs=1, momentum=0.9)
    says(caught.value, "batch_size was found for momentum=0.0", "expected the same", "Pass momentum=0.0, or")


def test_other_aims():
    X, y = airfoil_twin()
    loss = best_batch_size(X, y, target_loss=0.25, sizes=[8, 64], standardize=False)
    assert loss.target_loss == 0.25 and loss.batch_size in (8, 64) and len(loss.trials) == 2
    in_time = best_batch_size(X, y, seconds=1e-4, momentum=0.5)
    assert 0 < in_time.target < 0.1 and in_time.settings["momentum"] == 0.5
    falling = best_batch_size(X, y, schedule="cosine", target=0.001, verify=False)
    assert falling.reached
    out_of_reach = best_batch_size(X, y, target_loss=0.01, budget=0.5)
    assert not out_of_reach.reached and not {"near", "as good"} & {*out_of_reach.sentence.split()}
    assert "No weights get to 0.01, since the least objective is about 0.2417" in out_of_reach.sentence
    assert out_of_reach.spent["total"] - out_of_reach.spent["compiling"] < 1.0


@pytest.mark.parametrize("schedule", ["step", "inverse_scaling"])
def test_a_schedule_that_overshoots_the_target_warns_of_nothing(schedule):
    """Some rates of the model leave exactly nothing, or as much as before."""
    assert best_batch_size(*airfoil_twin(), schedule=schedule).reached


def test_the_sentence_tells_of_no_size_that_nobody_looked_at():
    X, y = airfoil_twin()
    one = best_batch_size(X, y, sizes=[8])
    assert not one.prices and one.sentence.endswith(f"lr {one.lr:.4g}. No other size was looked at.")
    assert best_batch_size(X, y, sizes=[3, 700]).prices.keys() == {10, 32, 100}


def test_the_sentence_tells_why_there_is_nothing_to_choose(found):
    met = best_batch_size(*airfoil_twin(), target_loss=10.0)
    assert met.sentence.endswith("or any other: the target is met before the first step.")
    late = dataclasses.replace(found, reached=False, out_of_time=True)
    assert late.sentence.endswith("not reached within the budget. Pass a larger budget, or a larger target.")
    never = dataclasses.replace(found, prices={1: math.inf, 32: math.inf, 1500: 213.0}, near=())
    assert "batch size 1 never gets there" in never.sentence and "take 213 times" in never.sentence
    with pytest.raises(ValueError) as caught:
        best_batch_size(*airfoil_twin(), seconds=1e-12)
    says(caught.value, "seconds is 1e-12", "which one step takes here", "Pass more")


@pytest.mark.slow
def test_objectives_with_kinks(rng):
    X = rng.standard_normal((150, 3))
    y = X[:, 0] + 0.5 * rng.standard_normal(150)
    found = best_batch_size(X, y, l1=0.1, target=0.05)
    fit = train(X, y, l1=0.1, epochs=200, batch_size=16, schedule="cosine", lr=0.1, standardize=True, seed=0)
    assert (
        found.least == pytest.approx(fit.objective[-1], abs=0.01 * (found.first - found.least))
        and found.reached
    )
    assert best_batch_size(X, y > 0, loss="hinge", l2=0.01, target=0.1).reached


@pytest.mark.slow
def test_classes_weights_and_few_rows(rng):
    X = rng.standard_normal((40, 3))
    y = np.where(X[:, 0] + 0.5 * rng.standard_normal(40) > 0, "yes", "no")
    found = best_batch_size(X, y, loss="logistic", l2=0.01, sample_weight=rng.integers(0, 3, 40), verify=True)
    assert found.reached and 1 <= found.batch_size <= found.n < 40 and len(found.verified) <= 5
    one = best_batch_size([[1.0], [2.0]], [1.0, 2.0])
    assert one.n == 2


@pytest.mark.parametrize(
    ("kwargs", "error", "parts"),
    [
        ({"target": 0}, ValueError, ("target is 0", "expected")),
        ({"target": 1.5}, ValueError, ("target is 1.5", "below 1", "Pass")),
        ({"target_loss": 1.0, "seconds": 1.0}, ValueError, ("target_loss is 1.0 and seconds is 1.0", "Drop")),
        ({"seconds": -1}, ValueError, ("seconds is -1", "expected")),
        ({"budget": 0}, ValueError, ("budget is 0", "expected")),
        ({"sizes": []}, ValueError, ("sizes is empty", "Pass sizes")),
        ({"sizes": 3}, TypeError, ("sizes is 3", "expected a sequence")),
        ({"sizes": [9]}, ValueError, ("sizes is 9", "from 1 to 4")),
        ({"device": "cuda"}, ValueError, ("device is 'cuda'", "expected 'cpu'")),
        ({"loss": "logit"}, ValueError, ("loss is 'logit'", "expected one of")),
        ({"momentum": 1}, ValueError, ("momentum is 1", "expected")),
    ],
)
def test_bad_input(kwargs, error, parts):
    with pytest.raises(error) as caught:
        best_batch_size(np.arange(8.0).reshape(4, 2), np.arange(4.0), **kwargs)
    says(caught.value, *parts)


def test_the_command(tmp_path, capsys, rng):
    path = tmp_path / "mine.csv"
    X = rng.standard_normal((200, 2))
    np.savetxt(
        path,
        np.column_stack([X, X @ [1, 2] + 0.1 * rng.standard_normal(200)]),
        delimiter=",",
        header="a,b,price",
        comments="",
    )
    picture = tmp_path / "b.png"
    assert main(["batch", str(path), "--target", "price", "--json", "--plot", str(picture)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["n"] == 200 and told["batch_size"] >= 1 and picture.exists()
    assert main(["batch", str(path), "--target", "price", "--gap", "0.1", "--l2", "0.01"]) == 0
    assert "--standardize --l2 0.01." in capsys.readouterr().out
    assert main(["batch", str(path)]) == 2
    assert "--target is missing" in capsys.readouterr().err


def test_auto_decides_from_data_and_table_alone(monkeypatch, rng):
    X, y = airfoil_twin()
    fit = train(X, y, batch_size="auto", epochs=2, seed=1)
    size = fit.settings["batch_size"]
    assert 4 <= size <= 256 and "the noisy quadratic model" in fit.batch_size_because
    assert f"batch_size {size}" in fit.summary() and "chosen by the noisy" in fit.summary()
    same = train(X, y, batch_size=size, epochs=2, seed=1)
    assert fit.w.tobytes() == same.w.tobytes() and same.batch_size_because == "given"
    monkeypatch.setattr(time, "perf_counter", iter(range(10**9)).__next__)  # seconds that tell nothing
    assert train(X, y, batch_size="auto", epochs=2, seed=1).w.tobytes() == fit.w.tobytes()


def test_a_fit_keeps_why_and_goes_on_with_the_size(tmp_path):
    X, y = airfoil_twin()
    first = train(X, y, batch_size="auto", lr=0.1, epochs=1, seed=1)
    first.save(tmp_path / "a.fit")
    again = train(X, y, batch_size="auto", resume=tmp_path / "a.fit", epochs=2)
    assert again.batch_size_because == first.batch_size_because
    assert again.settings["batch_size"] == first.settings["batch_size"]
    assert again.w.tobytes() == train(X, y, batch_size="auto", lr=0.1, epochs=2, seed=1).w.tobytes()


@pytest.mark.slow
def test_auto_where_there_is_no_model(rng):
    X = rng.standard_normal((50, 2))
    for more in ({"loss": "hinge"}, {"l1": 0.1, "loss": "logistic"}):
        fit = train(X, X[:, 0] > 0, batch_size="auto", epochs=1, seed=0, **more)
        assert fit.settings["batch_size"] == 32 and "no model" in fit.batch_size_because
    assert "nothing to gain" in train(X, np.zeros(50), batch_size="auto", epochs=1).batch_size_because
    with pytest.raises(TypeError) as caught:
        train(X, X[:, 0], batch_size="large", epochs=1)
    says(caught.value, "batch_size is 'large'", '"auto"')


@pytest.mark.parametrize("kind", auto.KINDS)
def test_the_table_of_costs_has_all_and_makes_sense(kind):
    for family in (None, "AMD Zen 5", "one that nobody has measured"):
        costs = [auto.sample_cost(kind, 16, b, 2048, family) for b in (1, 8, 32, 256, 2048)]
        assert costs[0] > costs[2] > costs[-1] > 0
        assert auto.sample_cost(kind, 512, 32, 2048, family) > auto.sample_cost(kind, 256, 32, 2048, family)


def test_estimators_and_the_command_take_auto(capsys):
    pytest.importorskip("sklearn", minversion="1.6", reason="the estimators need scikit-learn")
    estimators = pytest.importorskip("numbasgd.estimators")
    X, y = airfoil_twin()
    model_ = estimators.MinibatchSGDRegressor(batch_size="auto", epochs=2, random_state=1).fit(X, y)
    assert (
        model_.fit_.settings["batch_size"]
        == train(X, y, batch_size="auto", epochs=2, seed=1).settings["batch_size"]
    )
    assert main(["train", "--batch-size", "auto", "--epochs", "1"]) == 0
    assert "chosen by the noisy quadratic model" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["batch", "--gap", "2"], ("--gap is 2", "below 1")),
        (["batch", "--to-loss", "1", "--seconds", "1"], ("--to-loss and --seconds", "Drop")),
        (["valley", "--within", "nan"], ("--within is nan", "share of the gap")),
    ],
)
def test_the_commands_call_a_target_by_its_flag(capsys, argv, parts):
    assert main(argv) == 2
    told = capsys.readouterr().err
    assert all(part in told for part in parts)


@pytest.mark.slow
def test_sparse_and_wide_rows(rng):
    sparse = pytest.importorskip("scipy.sparse")

    X = sparse.random_array((300, 40), density=0.1, rng=rng, format="csr")
    y = X @ rng.standard_normal(40) + 0.1 * rng.standard_normal(300)
    found = best_batch_size(X, y, target=0.1)
    assert found.reached and not found.standardize
    assert train(X, y, batch_size="auto", epochs=1).settings["batch_size"] <= 300
    wide = rng.standard_normal((80, 600))
    assert best_batch_size(wide, wide[:, 0], l2=0.1, target=0.1, standardize=False).reached
