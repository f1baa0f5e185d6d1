"""``numbasgd.experiments``: results that print, draw and serialize, and figures in them that can be checked."""

import dataclasses
import doctest
import json
import math

import numpy as np
import pytest
from conftest import says

import numbasgd
from numbasgd import airfoil_twin, cli, experiments
from numbasgd.experiments import (
    _chapter,
    _exercises,
    _ladder,
    _memory,
    _noise,
    _problem,
    _product,
    _roofline,
    _steps,
    _valley,
)
from numbasgd.machine.deadline import Deadline
from numbasgd.matmul import RUNGS
from numbasgd.render import figures, valley_plot
from numbasgd.sgd.inputs import make_dataset
from numbasgd.sgd.reference import reference

DOCTESTED = {  # module: whether its example is over in a moment
    _ladder: True,
    _memory: False,
    _roofline: False,
    _noise: True,
    _chapter: True,
    _valley: True,
    _exercises: False,
}


@pytest.mark.parametrize(
    "module",
    [
        pytest.param(m, marks=() if is_quick else pytest.mark.slow, id=m.__name__.rpartition("_")[2])
        for m, is_quick in DOCTESTED.items()
    ],
)
def test_examples(module):
    failed, tried = doctest.testmod(module)
    assert tried > 2 and failed == 0


@pytest.fixture(scope="module")
def ladder():
    """Of two sizes; those of float32 stand for those of float64, which would have to be compiled."""
    found = experiments.ladder([8, 96], seconds=0.001)
    wide = [dataclasses.replace(product, dtype="float64") for product in found.products]
    pairs = zip(found.products, wide, strict=True)
    return dataclasses.replace(found, products=tuple(product for pair in pairs for product in pair))


@pytest.fixture(scope="module")
def valley():
    return experiments.valley(*airfoil_twin(), batch_sizes=[1, 30, 1500], seeds=5)


@pytest.fixture(scope="module")
def noise():
    return experiments.noise(*airfoil_twin(), batch_sizes=[1, 100, 1500], draws=20)


@pytest.fixture(scope="module")
def chapter():
    return experiments.chapter(*airfoil_twin())


@pytest.mark.parametrize("name", ["ladder", "valley", "noise", "chapter"])
def test_every_result_prints_draws_serializes_and_stays_as_it_is(name, request):
    found = request.getfixturevalue(name)
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["schema"] == 1 and told["kind"].startswith(name) and told["seconds"] == found.seconds > 0
    assert told["machine"]["versions"]["numbasgd"] == numbasgd.__version__
    assert len(found.table().splitlines()) > 3 and found.table().endswith("\n")
    ax = figures.new_axes()
    assert found.plot(ax) is ax and ax.has_data()
    assert found.plot() is not ax
    with pytest.raises(AttributeError):
        found.seconds = 0


def test_the_ladder_tells_each_rung_its_reason_and_its_speed_by_size_and_dtype(ladder):
    told = ladder.to_dict()
    assert [rung["name"] for rung in told["rungs"]] == [n for n, rung in RUNGS.items() if "cpu" in rung.devices]
    pairs = [(size, dtype) for size in (8, 96) for dtype in ("float32", "float64")]
    assert [(product["size"], product["dtype"]) for product in told["products"]] == pairs
    for rung in told["rungs"]:
        assert rung["reason"].endswith(".") and rung["idea"] == RUNGS[rung["name"]].idea
        assert [(speed["size"], speed["dtype"]) for speed in rung["speeds"]] == pairs
        for speed, product in zip(rung["speeds"], told["products"], strict=True):
            assert speed["gflops"] == pytest.approx(2 * speed["size"] ** 3 / speed["seconds"] / 1e9)
            assert speed["peak_share"] == pytest.approx(speed["gflops"] / product["peak"])
            assert speed["error_share"] <= 1
    assert [speed["blas_share"] for speed in told["rungs"][-1]["speeds"]] == [1, 1, 1, 1]


def test_the_ladder_says_why_blocks_are_slower_than_one_call(ladder):
    small, large = ladder.products[0], ladder.products[2]
    assert small.blocks is None  # a single block is one call
    blocked, one = large["numpy-blocked"], large["numpy"]
    assert f"reaches {100 * one.seconds / blocked.seconds:.3g} % of the speed of one call" in large.blocks
    assert "2 calls" in large.blocks and "ran first, cold" in large.blocks
    assert large.blocks in ladder.table()
    times = {"numpy-blocked": 2.0, "numpy": 4.0}
    rows = tuple(dataclasses.replace(large[name], seconds=t) for name, t in times.items())
    faster = dataclasses.replace(large, rows=rows)
    assert "reaches 200 % of the speed of one call, although each of its 2 calls" in faster.blocks
    slower = dataclasses.replace(large, rows=(rows[1], dataclasses.replace(rows[1], rung="numpy", seconds=3.0)))
    assert slower.blocks is None  # nothing to say of what was left out
    rows = (dataclasses.replace(rows[0], seconds=5.0), rows[1])
    assert "reaches 80 % of the speed of one call: each" in dataclasses.replace(large, rows=rows).blocks


def test_the_ladders_picture_has_the_peak_as_a_line(ladder):
    (line,) = [line for line in ladder.plot().lines if len(line.get_xdata()) == 2]
    assert set(line.get_xdata()) == {ladder.products[0].peak}


def test_a_ladder_is_measured_for_each_size_and_dtype_within_the_time_that_is_left(monkeypatch, ladder):
    calls = []

    def measure(size, dtype, device, *, deadline, **options):
        calls.append((size, dtype, device, deadline.left(), options))
        return ladder.products[0]

    monkeypatch.setattr(_product, "measure", measure)
    options = {"seconds": 0.1, "is_complete": True}
    found = experiments.ladder((8, 9), ("float32", "float64"), deadline=Deadline(8.0, lambda: 0.0), **options)
    assert len(found.products) == 4
    assert [call[:3] for call in calls] == [(n, t, "cpu") for n in (8, 9) for t in ("float32", "float64")]
    assert [call[3] for call in calls] == pytest.approx([2, 8 / 3, 4, 8])
    assert all(call[4] == options for call in calls)


@pytest.mark.parametrize("arguments", [{"sizes": []}, {"dtypes": ()}])
def test_a_ladder_of_nothing_is_an_error(arguments):
    with pytest.raises(ValueError, match="is empty; expected one or more. Pass for example"):
        experiments.ladder(**arguments)


def test_least_squares_by_algebra_on_the_chapters_problem():
    X, y = airfoil_twin()
    known = _problem.LeastSquares(X, y)
    assert known.least == pytest.approx(0.241688, abs=1e-6)
    assert known.at_zero == pytest.approx(0.493259, abs=1e-6)
    assert known.largest_stable_rate == pytest.approx(0.953, abs=5e-4)
    weights = np.linspace(-1, 1, 6)
    residual = X @ weights[:5] + weights[5] - y
    assert known.least + known.excess(weights) == pytest.approx(0.5 * np.mean(residual**2), rel=1e-6)


def test_gradient_descent_at_the_chapters_rate_is_said_to_diverge(chapter):
    assert chapter.gd_losses[1:4] == pytest.approx((0.275711, 0.250312, 0.246494), abs=2e-6)
    assert chapter.gd_losses[60] == pytest.approx(61, rel=0.01)
    assert "lr = 1 lies beyond" in chapter.remark and "0.953" in chapter.remark
    assert "from epoch 6 on, and 60 epochs reach a loss of 61." in chapter.remark
    assert chapter.remark in chapter.table() and chapter.remark in chapter.plot().get_suptitle()


def test_a_stable_rate_is_said_to_be_one():
    X, y = airfoil_twin()
    found = experiments.chapter(X / 2, y)
    assert "gd's lr = 1 is below the largest stable rate" in found.remark


def test_the_noise_stands_beside_the_cost_of_a_step(noise):
    steps = noise.to_dict()["steps"]
    assert [step["batch_size"] for step in steps] == [1, 100, 1500]
    for step in steps:
        for kind in ("compiled", "interpreted"):
            assert 0 < step[kind]["q1"] <= step[kind]["median"] <= step[kind]["q3"]
    left, right = noise.plot().axes
    assert left.get_ylabel() == "standard deviation of the gradient"
    compiled, interpreted, law = right.lines
    np.testing.assert_array_equal(compiled.get_ydata(), [s["compiled"]["median"] for s in steps])
    np.testing.assert_array_equal(interpreted.get_ydata(), [s["interpreted"]["median"] for s in steps])
    np.testing.assert_allclose(
        np.divide(law.get_ydata(), law.get_xdata()), steps[-1]["compiled"]["median"] / 1500
    )


def test_data_that_is_left_out_is_the_airfoil_file_or_its_twin(airfoil, monkeypatch, request):
    X, y, data = _problem.given_or_airfoil(None, None)
    assert data == "the airfoil data"
    np.testing.assert_array_equal(X, airfoil[0])
    request.getfixturevalue("no_airfoil_file")
    X, y, data = _problem.given_or_airfoil(None, None)
    assert data == "the embedded twin of the airfoil data"
    np.testing.assert_array_equal(y, airfoil_twin()[1])
    with pytest.raises(TypeError, match="y is missing while X was passed"):
        experiments.valley(X)


@pytest.mark.parametrize("batch_size", [1, 7, 60, 120])
def test_the_numpy_loop_makes_the_steps_that_are_timed(data, batch_size):
    X, y = data
    w, b = _steps.numpy_steps(X, y, batch_size, 0.01, np.zeros(5), 0.0)
    settings = {"batch_size": batch_size, "lr": 0.01, "epochs": 1, "sampling": "sequential"}
    np.testing.assert_allclose(np.append(w, b), reference(X, y, **settings)[:, 0], rtol=1e-9)


def test_a_valley_is_samples_times_seconds_a_sample(valley):
    one, some, every = valley.sizes
    assert one.samples.median < every.samples.median and one.compiled.median > every.compiled.median
    assert every.samples == (4500, 4500, 4500)  # three epochs, whatever the order of rows
    assert one.interpreted.median > 10 * one.compiled.median
    for size, told in zip(valley.sizes, valley.to_dict()["sizes"], strict=True):
        assert size.reached == 5 and size.samples.median % size.batch_size == 0
        for kind in ("compiled", "interpreted"):
            each = getattr(size, kind).median
            assert told[f"{kind}_time"]["q3"] == pytest.approx(size.samples.q3 * each)
            assert size.seconds(kind).median == told[f"{kind}_time"]["median"]
    assert valley.target_loss - valley.optimum == pytest.approx(0.02 * (valley.at_zero - valley.optimum))


def test_the_samples_of_a_valley_are_those_of_train(valley):
    X, y = airfoil_twin()
    every = valley.sizes[-1]
    fit = numbasgd.train(X, y, lr=every.lr, batch_size=1500, epochs=3, seed=0)
    assert fit.loss[3] <= valley.target_loss < fit.loss[2]
    samples, losses = every.curve
    np.testing.assert_allclose(losses[:4], fit.loss, rtol=1e-5)
    for size in valley.sizes[:2]:
        samples, losses = (np.array(values) for values in size.curve)
        first = np.flatnonzero(losses <= valley.target_loss)[0]
        assert size.samples.q1 <= samples[first] <= size.samples.q3
        assert samples[-1] >= 2 * samples[first] and losses[0] == valley.at_zero


def test_the_model_predicts_the_steps_of_gradient_descent_exactly():
    X, y = airfoil_twin()
    runs = _valley._Runs(make_dataset(X, y, None, "squared"), _problem.LeastSquares(X, y), 0.001)
    steps = _valley._steps_to(runs.model, np.array([0.5, 0.9, 1.1]), 0.0, runs.goal)
    for rate, predicted in zip((0.5, 0.9), steps[:2], strict=True):
        fit = numbasgd.train(X, y, lr=rate, batch_size=1500, epochs=60, seed=0)
        assert predicted == np.flatnonzero(fit.loss <= runs.known.least + runs.goal)[0]
    assert steps[2] == _valley.MOST_STEPS  # beyond what is stable


def made_valley(times, samples=1000):
    spread = _steps.Spread(1.0, 0.9, 1.1)
    sizes = [
        _valley.Size(
            b, 0.1, None if t is None else spread.times(samples), 5, spread.times((t or 1) / samples),
            spread.times(1e-3), ((0, b, 2 * b), (1.0, 0.5, 0.1)),
        )
        for b, t in times.items()
    ]  # fmt: skip
    machine = {"cpu": {"model": "A CPU"}, "versions": {"numbasgd": "1"}}
    return _valley.Valley("data", 99, 2, "float32", 1.0, 0.05, 0.02, 0.1, 0.5, 5, tuple(sizes), 1.0, machine)


def test_a_valley_in_words():
    found = made_valley({1: 5.0, 10: 1.0, 30: 1.1, 99: 3.0})
    assert found.near() == (10, 30) and found.best().batch_size == 10
    assert found.sentence() == (
        "Compiled steps get there first with batch size 10, and 30 is within 20 % of it; batch size 1 takes 5 "
        "times as long; batch size 99 takes 3 times as long."
    )
    flat = made_valley({1: 1.1, 10: 1.0, 99: 1.1}).sentence()
    assert flat.endswith("with batch size 10, and 1 and 99 are within 20 % of it.")
    assert "10, and 20, 30 and 40 are within 20 %" in made_valley({10: 1.0, 20: 1, 30: 1.1, 40: 1.2}).sentence()
    assert found.sentence("interpreted").startswith("Steps of a NumPy loop get there first with batch size 1,")
    unreached = made_valley({1: None, 10: 1.0, 99: None})
    assert unreached.sentence().endswith("batch size 1 does not get there; batch size 99 does not get there.")
    assert unreached.to_dict()["sizes"][0]["compiled_time"] is None
    assert "not reached" in unreached.table()
    assert "no batch size reached the target" in made_valley({1: None}).sentence()


def test_the_valleys_picture_has_its_factors_its_product_and_the_target():
    found = made_valley({1: 5.0, 10: 1.0, 99: 3.0})
    figure = valley_plot.plot_valleys([found, made_valley({1: None, 99: None})])
    by_samples, by_seconds, factors, times = figure.axes[:4]
    for ax in (by_samples, by_seconds):
        assert {float(y) for y in ax.lines[-1].get_ydata()} == {found.target_loss - found.optimum}
    np.testing.assert_allclose(by_seconds.lines[1].get_xdata(), np.multiply([10, 20], 1e-3))
    assert [line.get_label().partition(",")[0] for line in factors.lines] == [
        *("samples needed", "seconds a sample", "seconds a sample"),
    ]
    np.testing.assert_allclose(factors.lines[1].get_ydata(), [5, 1, 3])
    np.testing.assert_allclose(times.lines[0].get_ydata(), [5, 1, 3])
    with pytest.raises(ValueError, match="valleys is empty"):
        valley_plot.plot_valleys([])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"target": 0}, "target is 0"),
        ({"target": 1.0}, "target is 1; expected below 1"),
        ({"seeds": 0}, "seeds is 0"),
        ({"batch_sizes": [2000]}, "batch_sizes is 2000; expected an integer from 1 to 1500"),
        ({"batch_sizes": []}, "batch_sizes is empty"),
    ],
)
def test_a_valley_of_wrong_arguments(arguments, said):
    with pytest.raises(ValueError, match=said):
        experiments.valley(*airfoil_twin(), **arguments)


@pytest.mark.parametrize(
    ("X", "y", "said"),
    [
        (np.eye(3), np.zeros(3), "y is 0 in all rows"),
        (np.eye(3), np.ones((3, 2)), "y has several columns"),
        (np.full((3, 2), np.nan), np.ones(3), "X"),
    ],
)
def test_a_valley_of_data_that_has_none(X, y, said):
    with pytest.raises(ValueError, match=said):
        experiments.valley(X, y)
    if np.any(y):
        with pytest.raises(ValueError, match=said):
            experiments.noise(X, y)


def test_a_target_that_is_out_of_reach_is_told(monkeypatch):
    monkeypatch.setattr(_valley, "RUN_SECONDS", 1e-7)
    found = experiments.valley(*airfoil_twin(), batch_sizes=[1], seeds=2, target=1e-4)
    (one,) = found.sizes
    assert one.samples is None and one.reached == 0 and found.best() is None
    assert math.isfinite(one.compiled.median)


def test_the_valley_command(capsys, tmp_path, monkeypatch, valley):
    monkeypatch.setattr(cli, "COMMANDS", ("valley",))
    monkeypatch.setattr(experiments, "made_large", lambda: airfoil_twin())
    options = ["--batch-sizes", "30,1500", "--seeds", "2", "--within", "0.1"]
    assert cli.main(["valley", *options, "--plot", str(tmp_path / "valley.png")]) == 0
    printed = capsys.readouterr().out
    assert "Time to a loss on the" in printed and "Time to a loss on a large problem, made here" in printed
    assert printed.count("10 % of the way from the least one") == 2
    assert (tmp_path / "valley.png").read_bytes().startswith(b"\x89PNG")
    assert cli.main(["valley", *options, "--quick", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["valleys"]
    assert [size["batch_size"] for size in told["sizes"]] == [30, 1500] and told["target"] == 0.1
    assert cli.main(["valley", "--batch-sizes", "a"]) == 2
    assert "--batch-sizes is 'a'; expected integers" in capsys.readouterr().err


def test_the_valley_of_a_users_table_has_its_columns_standardized(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "COMMANDS", ("valley",))
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 3)) * [1, 1000, 0.01] + [0, 5, 3]
    rows = np.column_stack([X, X @ [1, 0.001, 100] + rng.standard_normal(200)])
    np.savetxt(tmp_path / "mine.csv", rows, delimiter=",", header="a,b,c,price", comments="")
    argv = ["valley", str(tmp_path / "mine.csv"), "--target", "price", "--batch-sizes", "10", "--seeds", "3"]
    assert cli.main([*argv, "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["valleys"]
    assert (told["data"], told["n"], told["d"]) == ("your table", 200, 3)
    assert 1 < told["largest_stable_rate"] < 2.5 and told["sizes"][0]["reached"] == 3


@pytest.mark.slow
def test_a_large_problem_has_a_valley_for_both_kinds_of_steps():
    X, y = experiments.made_large()
    again = experiments.made_large()
    np.testing.assert_array_equal(X, again[0])
    np.testing.assert_allclose(X.std(axis=0), 1, atol=0.02)
    found = experiments.valley(X, y, batch_sizes=[1, 100, len(y)], seeds=3)
    for kind in ("compiled", "interpreted"):
        assert found.best(kind).batch_size == 100


@pytest.fixture(scope="module")
def exercises():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_exercises, "_ROUNDS", 4)  # the clock is not looked at here
        yield experiments.exercises(*airfoil_twin(), seeds=20, deadline=Deadline(0))


def test_exercises_show_what_the_chapter_asks(exercises):
    assert [cell.batch_size for cell in exercises.vary[:: len(_exercises.RATES)]] == [*_exercises.SIZES, 1500]
    assert all(cell.excess is None for cell in exercises.vary if cell.lr == 3.0), "beyond what is stable"
    best = min((cell for cell in exercises.vary if cell.excess is not None), key=lambda cell: cell.excess)
    assert 0 < best.excess < 0.05
    assert list(exercises.epoch_seconds) == [*_exercises.SIZES, 1500]
    # A tenth, a hundredth, ... of a step: the run stands still after a few epochs.
    assert exercises.divided.changed.median[-1] == pytest.approx(exercises.divided.changed.median[4], rel=0.01)
    gd, *others = exercises.twice
    assert gd.usual.median == pytest.approx(gd.changed.median, rel=1e-3)
    assert [pair.name for pair in exercises.replacement] == [pair.name for pair in others]
    for pair in (exercises.divided, *exercises.replacement, *exercises.twice):
        for curve in (pair.usual, pair.changed):
            assert curve.median[0] == pytest.approx(1) and len(curve.median) == _exercises.LONG + 1
            assert all(a <= b <= c for a, b, c in zip(curve.q1, curve.median, curve.q3, strict=True))


def test_exercises_are_printed_drawn_and_serialized(exercises):
    told = exercises.table()
    assert "batch size" in told and "diverged" in told and "every row twice" in told
    ax = exercises.plot()
    assert len(ax.lines) == len(exercises.epoch_seconds) and ax.get_xlabel() == "learning rate"
    found = exercises.to_dict()
    assert json.loads(json.dumps(found, allow_nan=False))["kind"] == "exercises"


def test_exercises_take_fewer_seeds_where_time_is_short(exercises):
    assert exercises.seeds == 3
    with pytest.raises(ValueError) as error:
        experiments.exercises(*airfoil_twin(), seeds=1)
    says(error.value, "seeds is 1", "3")
