"""A figure with its error, and two of them as a verdict.

**The error of one run.**  Under independent rounds the median of n rounds has a standard error of about
0.93 IQR / sqrt(n) (McGill, Tukey and Larsen, 1978, The American Statistician 32(1)), so 1.82 IQR / sqrt(n)
holds 95 %.  Rounds of one run are not independent, they share the machine's mood, so n counts as at most
``ROUNDS`` however many there were.  Errors are relative (logarithms of factors) and add in quadrature.

**Several runs** of one side are a sample: a ratio's error is then at least the 95 % interval of Student's
two-sample t on the logarithms of the runs' figures.  That is the only one that sees how runs differ.

**The verdict** is "faster" or "slower" when the interval leaves 1 and the ratio lies beyond the tolerance,
"same" when the whole interval lies within the tolerance, and else "cannot tell".  The tolerance stands for
what differs between two runs and cannot be seen within one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from numbasgd.report.results import Case

TOLERANCE = 0.05
ROUNDS = 10
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
        """The ratio of two figures that were measured apart."""
        errors = []
        if self.error is not None and other.error is not None:
            errors.append(math.hypot(self.error, other.error))
        if freedom := self.runs + other.runs - 2:
            variance = (self.scatter + other.scatter) / freedom * (1 / self.runs + 1 / other.runs)
            errors.append(_T[min(freedom, len(_T)) - 1] * math.sqrt(variance))
        return Estimate(self.value / other.value, max(errors, default=None))

    @property
    def interval(self) -> tuple[float, float] | tuple[None, None]:
        """From where to where the figure may lie."""
        if self.error is None:
            return None, None
        return self.value * math.exp(-self.error), self.value * math.exp(self.error)


def of_case(case: Case) -> Estimate:
    """The median seconds of one run."""
    if case.q1 is None or case.q3 is None or case.rounds < 2:
        return Estimate(case.median, None)
    return Estimate(case.median, 1.82 * math.log(case.q3 / case.q1) / math.sqrt(min(case.rounds, ROUNDS)))


def pool(runs: Sequence[Estimate]) -> Estimate:
    """Several runs as one: their geometric mean, within each run off by no less than the worst of them."""
    if len(runs) == 1:
        return runs[0]
    logs = [math.log(run.value) for run in runs]
    middle = fmean(logs)
    error = max((run.error for run in runs if run.error is not None), default=None)
    return Estimate(math.exp(middle), error, len(runs), sum((x - middle) ** 2 for x in logs))


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
