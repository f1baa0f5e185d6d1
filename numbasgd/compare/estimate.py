"""A figure with its error, and two of them as a verdict.

**The error of one run.**  Under independent rounds the median of n rounds has a standard error of about
0.93 IQR / sqrt(n) (McGill, Tukey and Larsen, 1978, The American Statistician 32(1)), so 1.82 IQR / sqrt(n)
holds 95 %.  Rounds of one run are not independent, they share the machine's mood, so n counts as at most
``ROUNDS`` however many there were.  Errors are relative (logarithms of factors) and add in quadrature.

**How runs differ** cannot be seen within one, and is most of it: another process, other memory, other
neighbours.  Several runs of one side are a sample, and a ratio's error is then at least the 95 % interval of
Student's two-sample t on the logarithms of the runs' figures.  A case has few runs but many neighbours, so
its variance is moderated by what all cases tell: see ``numbasgd.compare.prior``.

With one run a side there is no sample of a case, but there is one of cases: most changes of a program touch
few of them, so how the rest differ shows how far two such runs lie apart by themselves (an empirical null:
Efron, 2004, Journal of the American Statistical Association 99(465)).  A case's distance from the median of
all, in units of its error within the runs, is held against those of the *other* cases, and its own error is
what at most ``ODD`` of those exceed: a conformal p-value (Vovk, Gammerman and Shafer, 2005, Algorithmic
Learning in a Random World), which takes no shape for granted, since some cases scatter a hundred times as
much as others.  So no more than that share of cases is told apart when nothing changed, whatever the noise.
When more have changed than that, they hide behind each other, and it takes more runs to tell them.  What all
cases share, the median, may be the program's or the afternoon's doing, which one run a side cannot tell: it is
added to the error.  The errors of several runs are calibrated in the same way where the machine was busy: a
neighbour who takes half of a core from the same cases in two runs of one side looks like a change.

Where the cases are too few for that, and between machines, where most of them differ, the error is at least
``SCATTER``: as far as two runs of one program may lie apart.  The default is of this project's own benches on
a shared virtual machine, where two runs of a case lay within a factor of 1.31 in 95 % of cases and of 1.57 in
97.5 %.  Who knows how quiet a machine is may name the most that is to be assumed of it.

**The verdict** is "faster" or "slower" when the interval leaves 1 and the ratio lies beyond the tolerance,
"same" when the whole interval lies within the tolerance, and else "cannot tell".  The tolerance
stands for what is too small to act on, and for what all runs of one afternoon share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from numbasgd.compare.prior import Prior, prior_of
from numbasgd.compare.results import Case

TOLERANCE = 0.05
SCATTER = 0.5  # two runs of one program may differ by this much, as a factor less one
ROUNDS = 10
ODD = 0.05  # of the cases may be told apart when nothing has changed
LEAST = 1e-3  # nothing is measured more exactly
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

    def against(self, other: Estimate, apart: float, prior: Prior | None = None) -> Estimate:
        """The ratio of two figures of different runs, whose scatter is part of its error.

        apart : how far (as a factor's logarithm) such figures lie apart at least when nothing changed.
        prior : what other cases tell of the variance of single runs, None where too few do.
        """
        ratio, within = self.value / other.value, self.over(other).error
        variance = self.variance(other)
        if variance is None:
            return Estimate(ratio, None if within is None else max(within, apart))
        freedom: float = self.runs + other.runs - 2
        if prior is not None:
            variance, freedom = prior.moderated(variance, self.runs + other.runs - 2)
        between = student(freedom) * math.sqrt(variance * (1 / self.runs + 1 / other.runs))
        return Estimate(ratio, max(between, within or 0.0, apart))

    def inverse(self) -> Estimate:
        """One over the figure: a speed for a time."""
        return replace(self, value=1 / self.value)

    @property
    def interval(self) -> tuple[float, float] | tuple[None, None]:
        """From where to where the figure may lie."""
        if self.error is None:
            return None, None
        return self.value * math.exp(-self.error), self.value * math.exp(self.error)


class Crowd:
    """Ratios of many figures of the same two sides, most of which have not changed.

    are_single : whether each side is one run.  Then errors are of rounds alone, which can be alike by chance,
    and none counts as less than what is common.
    """

    def __init__(self, ratios: Sequence[Estimate], are_single: bool = True) -> None:
        known = [(math.log(ratio.value), ratio.error) for ratio in ratios if ratio.error is not None]
        self._drift = median(log for log, _ in known) if known else 0.0
        self._least = max(LEAST, median(error for _, error in known)) if known and are_single else LEAST
        self._distances = sorted(self._distance(ratio) for ratio in ratios if ratio.error is not None)

    def apart(self, ratio: Estimate) -> float:
        """How far the others tell that one of the ratios may be off; infinite with too few to tell."""
        distances, others = self._distances, len(self._distances) - 1
        place = math.ceil((1 - ODD) * (others + 1)) - 1
        if ratio.error is None or place >= others:
            return math.inf
        # Without this one, those beyond it move up a place.
        reach = distances[place + (self._distance(ratio) <= distances[place])]
        return reach * self._unit(ratio) + abs(self._drift)

    def _distance(self, ratio: Estimate) -> float:
        return abs(math.log(ratio.value) - self._drift) / self._unit(ratio)

    def _unit(self, ratio: Estimate) -> float:
        return max(ratio.error or 0.0, self._least)


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


def prior_between(pairs: Sequence[tuple[Estimate, Estimate]]) -> Prior | None:
    """What the runs of all cases tell of the variance of one; None where few cases or single runs do not."""
    found = [(a.variance(b), a.runs + b.runs - 2) for a, b in pairs]
    return prior_of([(variance, freedom) for variance, freedom in found if variance is not None])


def student(freedom: float) -> float:
    """Student's t that 2.5 % exceed; between whole degrees of freedom by their inverse, one at least."""
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
