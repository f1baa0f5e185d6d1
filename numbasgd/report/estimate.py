"""A figure with its error, and two of them as a verdict.

**The error of one run.**  Under independent rounds the median of n rounds has a standard error of about
0.93 IQR / sqrt(n) (McGill, Tukey and Larsen, 1978, The American Statistician 32(1)), so 1.82 IQR / sqrt(n)
holds 95 %.  Rounds of one run are not independent, they share the machine's mood, so n counts as at most
``ROUNDS`` however many there were.  Errors are relative (logarithms of factors) and add in quadrature.

**How runs differ** cannot be seen within one, and is most of it: another process, other memory, other
neighbours.  Several runs of one side are a sample, and a ratio's error is then at least the 95 % interval of
Student's two-sample t on the logarithms of the runs' figures.  A case has few runs but many neighbours, so
its variance is moderated by the typical one of all cases, which counts as one degree of freedom more (Smyth,
2004, Statistical Applications in Genetics and Molecular Biology 3(1), article 3; one degree, because some
cases scatter a hundred times as much as others).

With one run a side there is no sample, and the error is at least ``SCATTER``: as far as two runs of one
program may lie apart.  The default is of this project's own benches on a shared virtual machine, where two
runs of a case lay within a factor of 1.31 in 95 % of cases and of 1.57 in 97.5 %; who has a quieter machine
may say so.

**The verdict** is "faster" or "slower" when the interval leaves 1 and the ratio lies beyond the tolerance,
"same" when the whole interval lies within the tolerance, and else "cannot tell".  The tolerance
stands for what is too small to act on, and for what all runs of one afternoon share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from numbasgd.report.results import Case

TOLERANCE = 0.05
SCATTER = 0.5  # two runs of one program may differ by this much, as a factor less one
ROUNDS = 10
MANY = 8  # cases that tell what is typical
FASTER, SLOWER, SAME, CANNOT_TELL = "faster", "slower", "same", "cannot tell"
# Student's t, 97.5 %, for 1, 2, ... degrees of freedom; beyond the last one its value there.
_T = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)


@dataclass(frozen=True)
class Estimate:
    """A positive figure, and how far (as a factor's logarithm) it may be off; None where unknown.

    runs : how many runs it is the geometric mean of.  scatter : the sum over them of the squared distance of
    their logarithms from their mean.
    """

    value: float
    error: float | None
    runs: int = 1
    scatter: float = 0.0

    def over(self, other: Estimate) -> Estimate:
        """The ratio of two figures of one run; what the run does to both cancels."""
        if self.error is None or other.error is None:
            return Estimate(self.value / other.value, None)
        return Estimate(self.value / other.value, math.hypot(self.error, other.error))

    def variance(self, other: Estimate) -> float | None:
        """Of the logarithms of single runs, from both sides' runs; None with one run a side."""
        freedom = self.runs + other.runs - 2
        return (self.scatter + other.scatter) / freedom if freedom else None

    def against(self, other: Estimate, scatter: float = SCATTER, typical: float | None = None) -> Estimate:
        """The ratio of two figures of different runs, whose scatter is part of its error.

        typical : the variance that single runs of such figures have, None where unknown.
        """
        within = self.over(other).error
        freedom = self.runs + other.runs - 2
        variance = self.variance(other)
        if variance is None:
            error = None if within is None else max(within, math.log1p(scatter))
            return Estimate(self.value / other.value, error)
        if typical is not None:
            variance = (typical + freedom * variance) / (1 + freedom)
            freedom += 1
        student = _T[min(freedom, len(_T)) - 1]
        between = student * math.sqrt(variance * (1 / self.runs + 1 / other.runs))
        return Estimate(self.value / other.value, max(between, within or 0.0))

    def inverse(self) -> Estimate:
        """One over the figure: a speed for a time."""
        return replace(self, value=1 / self.value)

    @property
    def interval(self) -> tuple[float, float] | tuple[None, None]:
        """From where to where the figure may lie."""
        if self.error is None:
            return None, None
        return self.value * math.exp(-self.error), self.value * math.exp(self.error)


def of_case(case: Case) -> Estimate:
    """The median seconds of one run."""
    if case.rounds < 2:
        return Estimate(case.median, None)
    return of_quartiles(case.median, case.q1, case.q3, case.rounds)


def of_quartiles(middle: float, low: float | None, high: float | None, rounds: int = ROUNDS) -> Estimate:
    """A median with the quartiles that it lies between."""
    if low is None or high is None:
        return Estimate(middle, None)
    return Estimate(middle, 1.82 * math.log(high / low) / math.sqrt(min(rounds, ROUNDS)))


def pool(runs: Sequence[Estimate]) -> Estimate:
    """Several runs as one: their geometric mean; what is off within each is independent of the others."""
    if len(runs) == 1:
        return runs[0]
    logs = [math.log(run.value) for run in runs]
    middle = fmean(logs)
    errors = [run.error for run in runs if run.error is not None]
    error = math.sqrt(fmean(e * e for e in errors) / len(runs)) if errors else None
    return Estimate(math.exp(middle), error, len(runs), sum((x - middle) ** 2 for x in logs))


def typical_variance(pairs: Sequence[tuple[Estimate, Estimate]]) -> float | None:
    """The median over cases of their runs' variance; None where few cases or single runs do not tell."""
    found = [variance for a, b in pairs if (variance := a.variance(b)) is not None]
    return median(found) if len(found) >= MANY else None


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
