"""A prior for the variance of one case with few runs, from the variances of many cases.

Smyth (2004), Linear models and empirical Bayes methods, Statistical Applications in Genetics and Molecular
Biology 3(1), article 3, section 6.2: the variances of cases are draws from a scaled inverse chi-square
distribution.  Its scale and degrees of freedom follow from the mean and the variance of the logarithms of the
observed variances.  Cases with like variances give a prior of many degrees of freedom, which outweighs a case's
own variance; cases whose variances differ a hundredfold give one of less than one, which hardly counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

LEAST_CASES = 8  # fewer give no prior
LEAST_VARIANCE = 1e-6  # a smaller variance (of logarithms) is chance, or the clock's resolution
MOST_FREEDOM = 20.0  # degrees of freedom of a prior: variances of cases are never quite alike


@dataclass(frozen=True)
class Prior:
    """The variance that a case is expected to have, which counts as ``freedom`` degrees of freedom."""

    variance: float
    freedom: float

    def moderated(self, own: float, freedom: int) -> tuple[float, float]:
        """The posterior variance of a case and its degrees of freedom, from its own variance and its own."""
        total = self.freedom + freedom
        return (self.freedom * self.variance + freedom * own) / total, total


def prior_of(variances: Sequence[tuple[float, int]]) -> Prior | None:
    """The prior from the variances of cases, each with its degrees of freedom; None with too few cases."""
    if len(variances) < LEAST_CASES:
        return None
    logs = [math.log(max(s2, LEAST_VARIANCE)) - digamma(d / 2) + math.log(d / 2) for s2, d in variances]
    excess = variance(logs) - fmean(trigamma(d / 2) for _, d in variances)
    freedom = min(MOST_FREEDOM, 2 * _inverse_trigamma(excess)) if excess > 0 else MOST_FREEDOM
    return Prior(math.exp(fmean(logs) + digamma(freedom / 2) - math.log(freedom / 2)), freedom)


def digamma(x: float) -> float:
    """The derivative of log gamma(x), x > 0."""
    shift = 0.0
    while x < 8:
        shift, x = shift - 1 / x, x + 1
    square = 1 / (x * x)
    return shift + math.log(x) - 0.5 / x - square * (1 / 12 - square * (1 / 120 - square / 252))


def trigamma(x: float) -> float:
    """The second derivative of log gamma(x), x > 0."""
    shift = 0.0
    while x < 8:
        shift, x = shift + 1 / (x * x), x + 1
    square = 1 / (x * x)
    return shift + (1 + 0.5 / x + square * (1 / 6 - square * (1 / 30 - square / 42))) / x


def _inverse_trigamma(y: float) -> float:
    """The x with trigamma(x) = y > 0, by bisection from 0.001 to ``MOST_FREEDOM``; trigamma falls."""
    low, high = 1e-3, MOST_FREEDOM
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if trigamma(middle) > y else (low, middle)
    return math.sqrt(low * high)
