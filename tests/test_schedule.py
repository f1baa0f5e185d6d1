"""Schedules: the rate of each step, and that runs make their steps with it."""

import numpy as np
import pytest

from numbasgd.sgd.schedule import SCHEDULES, factors, first_round, round_at, whole_rounds


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
    assert first_round(1500, 10) == 1 and first_round(96, 32) == 11 and first_round(1, 1) == 32
    assert [round_at(epoch, 1500, 10, 9) for epoch in (0, 1, 2, 3, 6, 7, 8)] == [
        (0, 1), (1, 3), (1, 3), (3, 7), (3, 7), (7, 9), (7, 9)
    ]  # fmt: skip
    assert whole_rounds(1500, 10, 200) == 127
    assert whole_rounds(20, 20, 200) == 96
    assert whole_rounds(1, 1, 10) == 10
