"""A figure with its error, and the ratio of two figures with a verdict.

**The error within a run.**  The median of n independent rounds has a standard error of about 0.93 IQR /
sqrt(n) (McGill, Tukey and Larsen, 1978, The American Statistician 32(1)), so a 95 % interval of plus and minus
1.82 IQR / sqrt(n).  The rounds of one run are not independent: the same process, memory and neighbours act on
all of them.  So n counts as at most ``ROUNDS``.  Errors are relative (logarithms of factors) and add in
quadrature.

**The error between runs** is the larger part: another process, other memory, other neighbours.

- Several runs of a side are a sample.  The error of a ratio is then at least the 95 % interval of Student's
  two-sample t on the logarithms of the runs' figures.  A case has few runs, so its variance is moderated by
  those of all cases: see ``numbasgd.compare.prior``.
- With one run a side on one machine the other cases serve as the sample: see ``numbasgd.compare.null``.
- Between two kinds of machine it holds as well how far cases that resemble each other depart from each other:
  see ``numbasgd.compare.expected``.
- Where there are too few cases for that, the error is at least ``SCATTER``, the factor by which two runs of one
  program may differ.  On a shared virtual machine 95 % of this project's benches lay
  within a factor of 1.31 of each other and 97.5 % within 1.57.  A user who knows a quiet machine passes less.

**The verdict** is "faster" or "slower" when the interval excludes 1 and the ratio lies beyond the tolerance,
"same" when the whole interval lies within the tolerance, and else "cannot tell".  The tolerance covers what is
too small to act on, and what all runs of one session share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from numbasgd.compare.prior import Prior, prior_of
from numbasgd.compare.results import Case

TOLERANCE = 0.05
SCATTER = 0.5  # two runs of one program may differ by a factor of 1 + SCATTER
ROUNDS = 10  # as many independent rounds a run counts for at most
FASTER, SLOWER, SAME, CANNOT_TELL = "faster", "slower", "same", "cannot tell"
# Student's t, 97.5 %, for 1, 2, ... degrees of freedom; beyond the last one its value there.
_T = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)


@dataclass(frozen=True)
class Estimate:
    """A positive figure and the half width of its 95 % interval, as a factor's logarithm; None where unknown.

    runs : how many runs it is the geometric mean of.  scatter : the sum of squared distances of their
    logarithms from the mean.
    """

    value: float
    error: float | None
    runs: int = 1
    scatter: float = 0.0

    def over(self, other: Estimate) -> Estimate:
        """The ratio of two figures of one run; what acts on the whole run cancels."""
        if self.error is None or other.error is None:
            return Estimate(self.value / other.value, None)
        return Estimate(self.value / other.value, math.hypot(self.error, other.error))

    def variance(self, other: Estimate) -> float | None:
        """The variance of the logarithms of single runs, pooled over both sides; None with one run a side."""
        freedom = self.runs + other.runs - 2
        return (self.scatter + other.scatter) / freedom if freedom else None

    def against(self, other: Estimate, least_error: float, prior: Prior | None = None) -> Estimate:
        """The ratio of two figures of different runs; how runs differ is part of its error.

        least_error : how far (as a factor's logarithm) such figures differ at least when nothing changed.
        prior : the variance of single runs over all cases, None with too few cases.
        """
        ratio, within = self.value / other.value, self.over(other).error
        variance = self.variance(other)
        if variance is None:
            return Estimate(ratio, None if within is None else max(within, least_error))
        freedom: float = self.runs + other.runs - 2
        if prior is not None:
            variance, freedom = prior.moderated(variance, self.runs + other.runs - 2)
        between = student(freedom) * math.sqrt(variance * (1 / self.runs + 1 / other.runs))
        return Estimate(ratio, max(between, within or 0.0, least_error))

    def inverse(self) -> Estimate:
        """One over the figure: a speed for a time."""
        return replace(self, value=1 / self.value)

    @property
    def interval(self) -> tuple[float, float] | tuple[None, None]:
        """The ends of the 95 % interval."""
        if self.error is None:
            return None, None
        return self.value * math.exp(-self.error), self.value * math.exp(self.error)


def of_case(case: Case) -> Estimate:
    """The median seconds of one run."""
    if case.rounds < 2:
        return Estimate(case.median, None)
    return of_quartiles(case.median, case.q1, case.q3, case.rounds)


def of_quartiles(middle: float, low: float | None, high: float | None, rounds: int = ROUNDS) -> Estimate:
    """A median with the error that its quartiles show; unknown without them."""
    if low is None or high is None:
        return Estimate(middle, None)
    return Estimate(middle, 1.82 * math.log(high / low) / math.sqrt(min(rounds, ROUNDS)))


def pool(runs: Sequence[Estimate]) -> Estimate:
    """Several runs as one: their geometric mean; errors within runs are independent of each other."""
    if len(runs) == 1:
        return runs[0]
    logs = [math.log(run.value) for run in runs]
    middle = fmean(logs)
    errors = [run.error for run in runs if run.error is not None]
    error = math.sqrt(fmean(e * e for e in errors) / len(runs)) if errors else None
    return Estimate(math.exp(middle), error, len(runs), sum((x - middle) ** 2 for x in logs))


def prior_between(pairs: Sequence[tuple[Estimate, Estimate]]) -> Prior | None:
    """The prior of the variance of single runs, from all cases; None with too few cases, or one run a side."""
    found = [(a.variance(b), a.runs + b.runs - 2) for a, b in pairs]
    return prior_of([(variance, freedom) for variance, freedom in found if variance is not None])


def student(freedom: float) -> float:
    """Student's t at 97.5 %; interpolated in one over the degrees of freedom, of which one is the least."""
    low = min(max(1, math.floor(freedom)), len(_T))
    high = min(low + 1, len(_T))
    if low == high:
        return _T[low - 1]
    part = (1 / low - 1 / max(1.0, freedom)) / (1 / low - 1 / high)
    return _T[low - 1] + part * (_T[high - 1] - _T[low - 1])


def verdict(ratio: float, low: float | None, high: float | None, tolerance: float = TOLERANCE) -> str:
    """A speed ratio and its interval in words."""
    limit = 1 + tolerance
    if low is None or high is None:
        return CANNOT_TELL
    if low > 1 and ratio > limit:
        return FASTER
    if high < 1 and ratio < 1 / limit:
        return SLOWER
    return SAME if 1 / limit <= low and high <= limit else CANNOT_TELL
