"""How far two runs differ when nothing changed, judged by all cases: an empirical null.

With one run a side, a case has no sample of runs.  The cases are one: most changes of a program touch few of
them, so the differences of the rest show how far two such runs differ by themselves (an empirical null: Efron,
2004, Journal of the American Statistical Association 99(465)).  The distance of a case from the median of all,
in units of its error within the runs, is ranked among those of the *other* cases, and its error is what at most
``LEVEL`` of those exceed: a conformal p-value (Vovk, Gammerman and Shafer, 2005, Algorithmic Learning in a
Random World).  It assumes no distribution, which matters since some cases vary a hundred times as much as
others.  So at most that share of the cases gets a verdict when nothing changed, whatever the noise.

Where more cases changed than that, they hide each other, and more runs are needed to find them.  The median,
which all cases share, may come from the program or from that session; one run a side cannot tell, so it is
added to the error.  The errors of several runs are calibrated in the same way where the machine was busy, since
a neighbour that takes half of a core from the same cases in two runs of one side looks like a change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from numbasgd.compare.estimate import Estimate

LEVEL = 0.05  # the share of cases that may get a verdict when nothing changed
LEAST_ERROR = 1e-3  # no figure counts as more exact


class EmpiricalNull:
    """The ratios of many cases on the same two sides, most of which have not changed.

    are_single : whether each side is one run.  Then a case's error comes from its rounds alone, which can agree
    by chance, and none counts as less than the median error.
    """

    def __init__(self, ratios: Sequence[Estimate], are_single: bool = True) -> None:
        known = [(math.log(ratio.value), ratio.error) for ratio in ratios if ratio.error is not None]
        self._drift = median(log for log, _ in known) if known else 0.0
        self._unit_floor = LEAST_ERROR
        if known and are_single:
            self._unit_floor = max(LEAST_ERROR, median(error for _, error in known))
        self._distances = sorted(self._distance(ratio) for ratio in ratios if ratio.error is not None)

    def error_of(self, ratio: Estimate) -> float:
        """The error of one of the ratios as the other cases show it; infinite with too few of them."""
        distances, others = self._distances, len(self._distances) - 1
        place = math.ceil((1 - LEVEL) * (others + 1)) - 1
        if ratio.error is None or place >= others:
            return math.inf
        # Without this case, those with a larger distance move down a place.
        quantile = distances[place + (self._distance(ratio) <= distances[place])]
        return quantile * self._unit(ratio) + abs(self._drift)

    def _distance(self, ratio: Estimate) -> float:
        return abs(math.log(ratio.value) - self._drift) / self._unit(ratio)

    def _unit(self, ratio: Estimate) -> float:
        return max(ratio.error or 0.0, self._unit_floor)
