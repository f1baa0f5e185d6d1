"""A figure's error, and a ratio's verdict."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numbasgd.compare.estimate import (
    CANNOT_TELL,
    FASTER,
    SAME,
    SLOWER,
    Estimate,
    of_case,
    pool,
    prior_between,
    student,
    verdict,
)
from numbasgd.compare.null import EmpiricalNull
from numbasgd.compare.prior import Prior
from numbasgd.compare.results import Case


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
    assert of_case(timed("a", 1.0, 0.0, rounds=1)).error is None, "one round has no quartiles, not equal ones"


def test_several_runs_are_their_geometric_mean():
    a = pool([Estimate(math.exp(x), 0.03) for x in (-0.05, 0.05)])
    assert (a.value, a.runs, a.scatter) == (pytest.approx(1.0), 2, pytest.approx(0.005))
    assert a.error == pytest.approx(0.03 / math.sqrt(2)), "what is off within runs is independent"
    assert pool([Estimate(1.0, None), Estimate(1.0, None)]).error is None
    assert pool([a]) is a


def test_the_ratio_of_several_runs_has_a_t_interval():
    """By hand: two samples of two, s = 0.1, two degrees of freedom."""
    a = pool([Estimate(math.exp(x), 0.001) for x in (-0.05, 0.05)])
    b = pool([Estimate(math.exp(x), 0.001) for x in (0.95, 1.05)])
    ratio = b.against(a, 0.0)
    assert ratio.value == pytest.approx(math.e)
    assert ratio.error == pytest.approx(4.303 * math.sqrt(0.01 / 2 * (1 / 2 + 1 / 2)))
    moderated = b.against(a, 0.0, prior=Prior(0.002, 1.0)).error
    assert moderated == pytest.approx(3.182 * math.sqrt((0.002 + 0.01) / 3 * (1 / 2 + 1 / 2)))
    assert b.against(a, 0.7).error == 0.7, "what is known to lie between such sides counts, too"
    assert pool([Estimate(1.0, 0.3), Estimate(1.0, None)]).against(
        Estimate(1.0, 0.4), 0.0
    ).error == pytest.approx(math.hypot(0.3 / math.sqrt(2), 0.4)), (
        "what is off within the runs can be more than how they differ"
    )


def test_what_is_known_before_takes_several_cases_with_several_runs():
    pairs = [(Estimate(1.0, 0.0, 2, 0.01 * (i + 1)), Estimate(1.0, 0.0)) for i in range(9)]
    assert 0.01 < prior_between(pairs).variance < 0.2
    assert prior_between(pairs[:7]) is None
    assert prior_between([(Estimate(1.0, 0.0), Estimate(1.0, 0.0))] * 9) is None


@pytest.mark.parametrize(
    "freedom, t", [(0.5, 12.71), (1, 12.71), (2, 4.303), (2.5, 3.558), (15, 2.131), (99, 2.131)]
)
def test_students_t_between_whole_degrees_of_freedom(freedom, t):
    assert student(freedom) == pytest.approx(t, rel=0.03)


def test_one_run_a_side_is_off_by_the_scatter_of_runs_or_by_more():
    one = Estimate(1.0, 0.001)
    assert Estimate(2.0, 0.001).against(one, math.log(1.5)).interval == pytest.approx((2 / 1.5, 2 * 1.5))
    assert Estimate(2.0, 0.9).against(one, math.log(1.5)).error == pytest.approx(0.9, rel=1e-4)
    assert Estimate(2.0, None).against(one, 0.1).error is None, "one round a side tells nothing"


def test_what_a_run_does_to_two_figures_cancels_in_their_ratio():
    assert Estimate(2.0, 0.03).over(Estimate(1.0, 0.04)).error == pytest.approx(0.05)
    assert Estimate(2.0, None).over(Estimate(1.0, 0.04)).error is None
    assert Estimate(4.0, 0.1, 3, 0.2).inverse() == Estimate(0.25, 0.1, 3, 0.2)


@given(st.integers(2, 9), st.integers(1, 8), st.floats(0.0001, 1))
def test_more_runs_that_scatter_alike_narrow_an_interval(runs, more, spread):
    def error(n):
        side = Estimate(1.0, 0.0, n, spread**2 * (n - 1))
        return side.against(side, 0.0).error

    assert error(runs + more) < error(runs)


cases = st.lists(
    st.tuples(st.floats(-3, 3), st.floats(0, 0.5)), min_size=2, max_size=60
).map(lambda pairs: [Estimate(math.exp(log), error) for log, error in pairs])  # fmt: skip


@given(cases, st.booleans())
def test_at_most_one_in_twenty_lies_beyond_what_the_other_cases_tell(ratios, are_single):
    """Whatever the noise and however it differs from case to case."""
    null = EmpiricalNull(ratios, are_single)
    beyond = [r for r in ratios if abs(math.log(r.value)) > null.error_of(r) * (1 + 1e-9)]
    assert len(beyond) <= len(ratios) // 20
    assert len(ratios) >= 20 or all(null.error_of(r) == math.inf for r in ratios)


def test_what_the_others_tell():
    """By hand: 21 ratios, so the limit is the 20th of the other 20; all errors alike."""
    logs = [0.001 * i for i in range(-10, 10)]
    odd = Estimate(math.exp(0.1), 0.002)
    null = EmpiricalNull([Estimate(math.exp(x), 0.002) for x in logs] + [odd])
    assert null.error_of(odd) == pytest.approx(0.01), "the farthest of the others, from the median at 0"
    assert null.error_of(Estimate(math.exp(0.005), 0.002)) == pytest.approx(0.1)
    assert null.error_of(Estimate(math.exp(0.005), 0.004)) == pytest.approx(0.2), (
        "rounds that vary more allow more"
    )
    assert null.error_of(Estimate(1.0, None)) == math.inf
    drifted = EmpiricalNull([Estimate(math.exp(x + 0.03), 0.002) for x in [*logs, 0.1]])
    assert drifted.error_of(Estimate(math.exp(0.13), 0.002)) == pytest.approx(0.04), "what all share is added"
    assert EmpiricalNull([]).error_of(odd) == math.inf
