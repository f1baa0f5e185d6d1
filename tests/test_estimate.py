"""A figure's error, and a ratio's verdict."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numbasgd.report.estimate import CANNOT_TELL, FASTER, SAME, SLOWER, Estimate, of_case, pool, verdict
from numbasgd.report.results import Case


def timed(id_, median, spread=0.01, rounds=20):
    return Case(id_, median, median * (1 - spread / 2), median * (1 + spread / 2), rounds)


@given(st.floats(0.01, 100), st.floats(0, 3), st.floats(0, 1))
def test_a_verdict_agrees_with_its_interval(ratio, error, tolerance):
    low, high = Estimate(ratio, error).interval
    said = verdict(ratio, low, high, tolerance)
    if said == FASTER:
        assert low > 1 and ratio > 1 + tolerance
    elif said == SLOWER:
        assert high < 1 and ratio < 1 / (1 + tolerance)
    elif said == SAME:
        assert low >= 1 / (1 + tolerance) and high <= 1 + tolerance


@pytest.mark.parametrize(
    "ratio, error, said",
    [
        (1.10, 0.01, FASTER),
        (0.90, 0.01, SLOWER),
        (1.04, 0.005, SAME),
        (1.04, 0.02, CANNOT_TELL),
        (1.50, 0.60, CANNOT_TELL),
        (1.00, 0.20, CANNOT_TELL),
        (3.00, None, CANNOT_TELL),
    ],
)
def test_verdicts(ratio, error, said):
    assert verdict(ratio, *Estimate(ratio, error).interval) == said


def test_the_error_of_a_median_shrinks_with_rounds_but_not_for_ever():
    errors = [of_case(timed("a", 1.0, 0.1, rounds)).error for rounds in (3, 10, 1000)]
    assert errors[0] > errors[1] == errors[2] == pytest.approx(1.82 * math.log(1.05 / 0.95) / math.sqrt(10))
    assert of_case(timed("a", 1.0, 0.0, rounds=1)).error is None, "one round has no spread, not none of it"


def test_several_runs_are_their_geometric_mean_and_its_t_interval():
    """Against statistics by hand: two samples of two, s = 0.1, two degrees of freedom, t = 4.303."""
    a = pool([Estimate(math.exp(x), 0.001) for x in (-0.05, 0.05)])
    b = pool([Estimate(math.exp(x), 0.001) for x in (0.95, 1.05)])
    ratio = b.over(a)
    assert (a.value, a.runs, a.scatter) == (pytest.approx(1.0), 2, pytest.approx(0.005))
    assert ratio.value == pytest.approx(math.e)
    assert ratio.error == pytest.approx(4.303 * math.sqrt(0.01 / 2 * (1 / 2 + 1 / 2)))
    assert pool([Estimate(1.0, 0.3), Estimate(1.0, None)]).over(Estimate(1.0, 0.4)).error == 0.5
