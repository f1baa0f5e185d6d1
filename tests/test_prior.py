"""What many cases tell of one's variance: recovered from draws, and sensible where they tell little."""

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numbasgd.compare.prior import LEAST_CASES, LEAST_VARIANCE, MOST_FREEDOM, digamma, prior_of, trigamma


@pytest.mark.parametrize(
    "x, one, two",
    [
        (1.0, -0.5772156649015329, math.pi**2 / 6),
        (0.5, -1.9635100260214235, math.pi**2 / 2),
        (2.0, 0.42278433509846714, math.pi**2 / 6 - 1),
        (30.0, 3.3844381326855656, 0.03389502943120474),
    ],
)
def test_derivatives_of_log_gamma(x, one, two):
    assert digamma(x) == pytest.approx(one, rel=1e-8)
    assert trigamma(x) == pytest.approx(two, rel=1e-6)


@given(st.floats(0.05, 50))
def test_they_obey_their_recurrences(x):
    assert digamma(x + 1) == pytest.approx(digamma(x) + 1 / x, abs=1e-8)
    assert trigamma(x + 1) == pytest.approx(trigamma(x) - 1 / x**2, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("freedom", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("runs", [2, 8])
def test_the_prior_that_made_the_variances_is_recovered(freedom, runs):
    random = Random(3)

    def chi2(d):
        return random.gammavariate(d / 2, 2)

    true = [0.01 * freedom / max(chi2(freedom), 1e-12) for _ in range(5000)]
    prior = prior_of([(s2 * chi2(runs) / runs, runs) for s2 in true])
    assert prior.freedom == pytest.approx(freedom, rel=0.2)
    assert prior.variance == pytest.approx(0.01, rel=0.2)


def test_cases_that_scatter_alike_tell_much_of_each_other():
    random = Random(4)
    prior = prior_of([(0.01 * random.gammavariate(1, 1), 2) for _ in range(3000)])
    assert prior.freedom > 10 and prior.variance == pytest.approx(0.01, rel=0.2)
    assert prior_of([(0.01, 2)] * 50).freedom == MOST_FREEDOM


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 20)), max_size=30))
def test_a_moderated_variance_lies_between_its_own_and_the_common_one(variances):
    prior = prior_of(variances)
    assert (prior is None) == (len(variances) < LEAST_CASES)
    if prior is None:
        return
    assert 0 < prior.freedom <= MOST_FREEDOM and 0 < prior.variance < math.inf
    for own, freedom in variances:
        variance, total = prior.moderated(own, freedom)
        ends = sorted((own, prior.variance))
        assert ends[0] * (1 - 1e-9) <= variance <= ends[1] * (1 + 1e-9) + LEAST_VARIANCE
        assert total == freedom + prior.freedom
