"""What many cases tell of the variance that one of them has, when each has a few runs.

Smyth (2004), Linear models and empirical Bayes methods, Statistical Applications in Genetics and Molecular
Biology 3(1), article 3, section 6.2: variances of cases are taken for draws from a scaled inverse chi-square
distribution, whose scale and degrees of freedom follow from the mean and the variance of the logarithms of
what was observed.  Cases that scatter alike give a prior of many degrees of freedom, and a case's own variance
counts for little; cases that differ a hundredfold give one of less than one, and it counts for nearly all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

MANY = 8  # cases that tell what is typical
LEAST = 1e-6  # a smaller variance (of logarithms) is chance, or a clock that cannot tell
MOST = 20.0  # degrees of freedom that a prior may have: cases are never quite alike


@dataclass(frozen=True)
class Prior:
    """What is known of a case's variance before its own runs: as much as so many degrees of freedom tell."""

    variance: float
    freedom: float

    def moderated(self, own: float, freedom: int) -> tuple[float, float]:
        """A case's variance with what the others tell, and its degrees of freedom."""
        total = self.freedom + freedom
        return (self.freedom * self.variance + freedom * own) / total, total


def prior_of(variances: Sequence[tuple[float, int]]) -> Prior | None:
    """The prior that the cases' variances, each with its degrees of freedom, give; None with few cases."""
    if len(variances) < MANY:
        return None
    logs = [math.log(max(s2, LEAST)) - digamma(d / 2) + math.log(d / 2) for s2, d in variances]
    excess = variance(logs) - fmean(trigamma(d / 2) for _, d in variances)
    freedom = min(MOST, 2 * _inverse_trigamma(excess)) if excess > 0 else MOST
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
    """The x with trigamma(x) = y > 0, within what matters here; trigamma falls."""
    low, high = 1e-3, MOST
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if trigamma(middle) > y else (low, middle)
    return math.sqrt(low * high)
