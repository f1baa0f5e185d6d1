"""Schedules: the rate of each step, and that runs make their steps with it."""

import numpy as np
import pytest

from numbasgd import train
from numbasgd.sgd.reference import reference
from numbasgd.sgd.schedule import SCHEDULES, Rounds, factors
from numbasgd.sgd.solvers import large_batch


def factor_of_step(schedule, n, batch_size, epochs, epoch, position):
    """By the definition: the middle of the span that holds the step, as a fraction of the run."""
    found, spans = factors(schedule, n, batch_size, 0, epochs)
    start = position // spans.rows * spans.rows
    stop = min(start + spans.rows, n)
    x = (epoch + (start + stop) / (2 * n)) / epochs
    return found[spans.entry(epoch, position, len(found))], float(SCHEDULES[schedule](np.array(x), epochs))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("n", "batch_size"), [(1, 1), (7, 3), (33, 1), (100, 10), (1000, 7), (64, 64)])
def test_each_step_has_the_rate_of_the_middle_of_its_span(schedule, n, batch_size):
    for epoch in range(3):
        for position in range(0, n, batch_size):
            found, expected = factor_of_step(schedule, n, batch_size, 3, epoch, position)
            assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_it_falls_from_the_first_rate_and_stays_above_zero(schedule):
    for epochs in (1, 2, 10, 10_000):
        found, spans = factors(schedule, 3200, 32, 0, epochs)
        assert np.all(np.diff(found) <= 0) and 0 < found[-1] <= found[0] <= 1
        assert spans.rows % 32 == 0
    assert factors(schedule, 3200, 32, 0, 10)[0][0] == pytest.approx(1, abs=0.03)


def test_rounds_double_and_the_last_one_ends_at_the_limit():
    assert [Rounds(n, batch, 99).first for n, batch in ((1500, 10), (96, 32), (1, 1))] == [1, 11, 32]
    rounds = Rounds(1500, 10, 9)
    assert [rounds.at(epoch) for epoch in (0, 1, 2, 3, 6, 7, 8)] == [
        (0, 1), (1, 3), (1, 3), (3, 7), (3, 7), (7, 9), (7, 9)
    ]  # fmt: skip
    assert Rounds(1500, 10, 200).whole().limit == 127
    assert Rounds(20, 20, 200).whole().limit == 96
    assert Rounds(1, 1, 10).whole().limit == 10


def test_a_rate_is_found_by_runs_with_a_schedule_in_float32():
    X = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    fit = train(X, X[:, 0] > 0, loss="logistic", epochs=2, schedule="cosine", seed=0)
    assert fit.lr_because.startswith("runs at") and fit.loss[-1] < 0.5 * fit.loss[0]


@pytest.mark.parametrize("schedule", ["constant", "inverse_scaling", "cosine", "step"])
@pytest.mark.parametrize("batch_size", [1, 7, 100])
@pytest.mark.parametrize("is_in_parts", [False, True])
def test_runs_make_their_steps_with_it(schedule, batch_size, is_in_parts, rng, monkeypatch):
    if is_in_parts:
        monkeypatch.setattr(large_batch, "ENTRIES", 13 * batch_size)
    X = rng.standard_normal((100, 5))
    y = X[:, 0] + rng.standard_normal(100)
    settings = {"lr": 0.1, "batch_size": batch_size, "epochs": 3, "schedule": schedule, "seed": 2}
    fit = train(X, y, **settings)
    expected = reference(X, y, **settings)
    np.testing.assert_allclose([*fit.w, fit.b], expected[:, 0], rtol=1e-9)


@pytest.mark.parametrize("lr", [[0.1, 0.05], lambda epoch: 0.1])
def test_rates_of_epochs_are_a_schedule_of_their_own(lr, rng):
    X = rng.standard_normal((20, 2))
    assert train(X, X[:, 0], lr=lr, epochs=2).settings["schedule"] == "constant"
    with pytest.raises(ValueError, match="schedule is 'cosine' but lr is one rate for each epoch"):
        train(X, X[:, 0], lr=lr, epochs=2, schedule="cosine")
