"""Between two kinds of machine: the ratio that each case would show if it followed the cases that resemble it.

**Why a share alone does not decide.**  Shares of a machine's limits, and of its BLAS, take out how fast the
machine is, not how it is built: a loop bound by the latency of L2 has another share on another core, with the
same code.  For two thirds of this project's cases, shares on two kinds of machine lie within a factor of 1.3 to
1.8 of each other.  Cases that are limited by the same thing move together: two thirds lie within 1.2 of what
the cases tell that resemble them.

**The null hypothesis** is therefore: *the share of this case changed from the first machine to the second as
the shares of the cases that resemble it did, up to what remains between such cases.*  A departure from that is
called.  Two files cannot tell whether it comes from the code or from the machine: a kernel whose block sizes do
not suit a cache departs without any change of the code, and is worth a call as well.  What all cases share, or
all that resemble each other, is never called; it is the mean of the family.

**The model** is kriging (Rasmussen and Williams, 2006, Gaussian Processes for Machine Learning, sections 2.7,
4.2.1 and 5.4.2).  The logarithms of the ratios are a common factor, plus one for each family (kind of work,
threads, metric), plus a field over the cases with covariance exp(-distance), plus what is left to each case,
plus the error of its measurement.  Two cases are near each other when they do one kind of work on as many
threads and on working sets of like size, and reach like shares (the geometric mean of both machines, so that
swapping them inverts every ratio).  Each case is predicted from all others, never from itself.  Its error holds
what the prediction does not know, what is left to single cases, and its own noise.

**Robustness.**  Some cases did change, and machines leave single cases far off, so neither the scale nor the
predictions may follow them.  The scale is the median absolute deviation of the predictions' errors, and a case
counts less as a neighbour the farther it lies from its own prediction.

**Calibration** (``tests/test_compare_between.py``): where shares differ by noise and by families alone, at most
5 % of the cases are called.  On files of two kinds of machine with the times of up to a tenth of the cases
changed by 1.5 to 3 times, at least 80 % of those are called in the right direction, and at most 5 % of the
others that the same files without the changes do not call.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from numbasgd.compare.estimate import Estimate
from numbasgd.compare.measures import Measure
from numbasgd.compare.null import LEAST_ERROR

Matrix = NDArray[np.float64]
LEAST_CASES = 20  # fewer do not tell what a case should show
MOST_CASES = 400  # that are predicted from each other; the time grows with the cube of it
QUANTILE = 2.0  # half of a 95 % interval in standard deviations
# Distances between cases.  They were set on the pairs of machines in the calibration; halving or doubling any
# changes the power by a few percent.
OCTAVES, SHARES = 4.0, 2.0  # the factors (base 2 and e) of working sets and of shares that make a distance of 1
ANOTHER_GROUP, ANOTHER_WORD = 1.2, 0.2
OWN = 0.15  # the variance that is left to single cases, in units of the field's
COMMON, FAMILY = 2.0, 0.5  # how far the means of all cases, and of families, may lie from 1; in logarithms
REACH = 2.0  # standard deviations from its prediction where a case counts 1/e as a neighbour
SWEEPS = 8  # after which scale and weights stand to three digits


@dataclass(frozen=True)
class Traits:
    """What decides how much two cases resemble each other.

    groups : kind of work, threads, metric.  word : the first word of the case's name.  octaves : the binary
    logarithm of the working set.  share : the mean of the logarithms of the shares on both sides.
    """

    groups: tuple[str, ...]
    word: str
    octaves: float
    share: float


def traits(a: Measure, b: Measure, metric: str) -> Traits:
    """The traits of a case on two sides; swapping them changes nothing that matters."""
    sizes = [math.log2(m.case.working_set or m.case.bytes or 1.0) for m in (a, b)]
    shares = [math.log(m.figures[metric].value) for m in (a, b)]
    groups = a.case.kind, a.case.threads or "", metric
    return Traits(groups, a.case.case.partition("-")[0], fmean(sizes), fmean(shares))


def expected_ratios(ratios: Mapping[str, Estimate], kin: Mapping[str, Traits]) -> dict[str, Estimate]:
    """The ratio that each case would show if it followed those that resemble it, with the error of that.

    Empty with fewer than ``LEAST_CASES`` ratios of known error; a case without one gets none.
    """
    known = [id_ for id_, ratio in ratios.items() if ratio.error is not None]
    if len(known) < LEAST_CASES:
        return {}
    known.sort(key=lambda id_: (kin[id_].groups, kin[id_].word, kin[id_].octaves))
    blocks = math.ceil(len(known) / MOST_CASES)
    found: dict[str, Estimate] = {}
    for block in range(blocks):
        ids = known[block * len(known) // blocks : (block + 1) * len(known) // blocks]
        predicted, error = _predict([ratios[id_] for id_ in ids], [kin[id_] for id_ in ids])
        found |= {i: Estimate(math.exp(p), e) for i, p, e in zip(ids, predicted, error, strict=True)}
    return found


def _predict(ratios: Sequence[Estimate], kin: Sequence[Traits]) -> tuple[list[float], list[float]]:
    """The logarithm of each ratio as the others predict it, and the half width of its 95 % interval."""
    logs = np.array([math.log(ratio.value) for ratio in ratios])
    noise = np.array([((ratio.error or 0.0) / QUANTILE) ** 2 for ratio in ratios])
    middle = float(np.median(logs))
    field = np.exp(-_distances(kin))
    means = COMMON**2 + FAMILY**2 * _alike([k.groups for k in kin])
    weights = np.ones(len(logs))
    scale = max(LEAST_ERROR, 1.4826 * float(np.median(np.abs(logs - middle))))
    for _ in range(SWEEPS):
        own = OWN * scale**2 + noise
        inverse = np.linalg.inv(means + scale**2 * field + np.diag(own / weights))
        left_out = np.diag(inverse)
        off = inverse @ (logs - middle) / left_out  # from the prediction by the others
        variance = np.maximum(1 / left_out - own / weights, 0.0) + own
        distance = np.abs(off) / np.sqrt(variance)
        spread = max(LEAST_ERROR, 1.4826 * float(np.median(distance)))
        scale = max(LEAST_ERROR, scale * spread)
        weights = np.maximum(np.exp(-((distance / spread / REACH) ** 2)), 1e-4)
    error = QUANTILE * np.sqrt(np.maximum(variance * spread**2, noise))
    return (logs - off).tolist(), np.maximum(error, LEAST_ERROR).tolist()


def _distances(kin: Sequence[Traits]) -> Matrix:
    """How little each two cases resemble each other."""
    total = _apart([k.octaves for k in kin]) / OCTAVES + _apart([k.share for k in kin]) / SHARES
    total += ANOTHER_WORD * (1 - _alike([k.word for k in kin]))
    for place in range(len(kin[0].groups)):
        total += ANOTHER_GROUP * (1 - _alike([k.groups[place] for k in kin]))
    return total


def _apart(values: Sequence[float]) -> Matrix:
    column = np.array(values)
    return np.abs(column[:, None] - column)


def _alike(values: Sequence[Hashable]) -> Matrix:
    numbers = {value: place for place, value in enumerate(dict.fromkeys(values))}
    column = np.array([numbers[value] for value in values])
    return (column[:, None] == column).astype(np.float64)
