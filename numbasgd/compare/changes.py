"""What a side of a comparison says against the first one: the ratio of a figure, its interval, its verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from numbasgd.compare.estimate import CANNOT_TELL, SCATTER, Estimate, verdict
from numbasgd.compare.expected import expected_ratios, traits
from numbasgd.compare.machines import Difference, obstacles
from numbasgd.compare.measures import Measure
from numbasgd.compare.null import EmpiricalNull
from numbasgd.compare.prior import Prior

REFERENCE, NOT_COMPARABLE = "reference", "not comparable"
SHARES = ("roofline", "peak", "blas")  # what a share is a share of, the one that says most about a case first
# Between two kinds of machine: what departs by less is not called, and what surely departs by less is the same.
DEPARTURE, ALIKE = 0.2, 0.5


@dataclass(frozen=True)
class Change:
    """A side against the first one.

    ratio, low, high : the speed ratio and its interval.  metric : what it is a ratio of.  expected : the ratio
    that an unchanged case would have: 1 on one machine, and where too few cases tell.  verdict : on
    ``departure``, the ratio against the expected one.
    """

    ratio: float
    low: float | None
    high: float | None
    metric: str
    verdict: str
    expected: float = 1.0

    @property
    def departure(self) -> float:
        """The ratio against the expected one: what the verdict is about."""
        return self.ratio / self.expected


@dataclass(frozen=True)
class Terms:
    """How two sides are compared.

    metric : one of METRICS or "auto".  differ : how the machines differ.  tolerance, prior : see
    ``numbasgd.compare.estimate``.  scatter : by how much two runs of one program may differ, None for
    ``SCATTER``.  is_busy : whether something else ran on the machine.  nulls : by metric, how the ratios of
    all cases vary, where both sides ran on one machine.  expected : by id, the ratio of shares that a case
    would show if it followed those that resemble it, with its error, where they ran on two kinds of machine.
    """

    metric: str
    differ: tuple[Difference, ...]
    tolerance: float
    scatter: float | None = None
    prior: Prior | None = None
    is_busy: bool = False
    nulls: Mapping[str, EmpiricalNull] = field(default_factory=dict)
    expected: Mapping[str, Estimate] = field(default_factory=dict)


def shown(a: Measure, b: Measure, terms: Terms) -> tuple[str, str | None]:
    """The metric of the ratio of ``b`` to ``a``, and why it gets no verdict, or None.

    "auto" means times where the machines allow it, and else the first of ``SHARES`` that both sides have.  A
    share of the roofline is one of what the machine was measured to allow this very case.  A share of the BLAS
    needs no limits, but moves when the BLAS does, which has other kernels on other CPUs.
    """
    metric, differ = terms.metric, terms.differ
    if metric == "auto":
        allowed = [name for name in ("time", *SHARES) if not _is_incomparable(a, b, differ, name)]
        metric = next((name for name in allowed if not _is_yardstick(a, name)), (*allowed, "time")[0])
        is_comparable = bool(allowed)
    else:
        is_comparable = metric == "time" or not _is_incomparable(a, b, differ, metric)
    if _is_yardstick(a, metric):
        why_not: str | None = REFERENCE
    elif (a.case.flop and b.case.flop and a.case.flop != b.case.flop) or not is_comparable:
        why_not = NOT_COMPARABLE
    else:
        why_not = None
    return metric if metric in a.figures and metric in b.figures else "time", why_not


def judged(pairs: Sequence[tuple[Measure, Measure]], terms: Terms) -> Terms:
    """The terms with what all pairs together tell of each: ``nulls`` and ``expected``."""
    single: dict[str, list[Estimate]] = {}
    ratios, kin = {}, {}
    for a, b in pairs:
        metric, why_not = shown(a, b, terms)
        if why_not is not None:
            continue
        ratio = b.figures[metric].against(a.figures[metric], 0.0, terms.prior)
        if not obstacles(terms.differ, a.case, "time"):
            single.setdefault(metric, []).append(ratio)
        elif metric != "time":  # a user who wants times judged is told of times
            ratios[a.case.id], kin[a.case.id] = ratio, traits(a, b, metric)
    are_single = all(a.runs + b.runs == 2 for a, b in pairs)
    nulls = {metric: EmpiricalNull(found, are_single) for metric, found in single.items()}
    return replace(terms, nulls=nulls, expected=expected_ratios(ratios, kin))


def change(a: Measure, b: Measure, terms: Terms) -> Change:
    """``b`` against ``a``, with its verdict."""
    metric, why_not = shown(a, b, terms)
    figures = a.figures[metric], b.figures[metric]
    expected = terms.expected.get(a.case.id) if why_not is None else None
    ratio = figures[1].against(figures[0], _least_error(a, b, metric, terms), terms.prior)
    if a.runs == 1 and figures[0] == figures[1] and (a.case.q1, a.case.q3) == (b.case.q1, b.case.q3):
        ratio, expected = Estimate(1.0, 0.0), None  # one measurement twice, so no error
    low, high = ratio.interval
    if expected is None:
        said = verdict(ratio.value, low, high, terms.tolerance)
    else:
        said = _said_between(replace(ratio, value=ratio.value / expected.value), terms.tolerance)
    return Change(ratio.value, low, high, metric, why_not or said, expected.value if expected else 1.0)


def _said_between(departure: Estimate, tolerance: float) -> str:
    """The verdict on a departure between two kinds of machine, where a few percent mean nothing."""
    low, high = departure.interval
    said = verdict(departure.value, low, high, max(tolerance, DEPARTURE))
    return verdict(departure.value, low, high, max(tolerance, ALIKE)) if said == CANNOT_TELL else said


def _least_error(a: Measure, b: Measure, metric: str, terms: Terms) -> float:
    """The least error of the ratio: how far two such figures differ when nothing changed, in logarithms."""
    assumed = math.log1p(SCATTER if terms.scatter is None else terms.scatter)
    expected = terms.expected.get(a.case.id)
    if expected is not None and expected.error is not None:
        return expected.error if terms.scatter is None else min(expected.error, assumed)
    null = terms.nulls.get(metric)
    ratio = b.figures[metric].against(a.figures[metric], 0.0, terms.prior)
    measured = null.error_of(ratio) if null else math.inf
    if a.runs + b.runs > 2:  # the case's own runs show how runs differ, unless something else ran beside them
        return measured if terms.is_busy and measured < math.inf else 0.0
    return min(measured, assumed) if terms.scatter is not None or measured == math.inf else measured


def _is_yardstick(a: Measure, metric: str) -> bool:
    """Whether the case is itself what the share is a share of."""
    return metric == "blas" and a.case.case == a.case.reference


def _is_incomparable(a: Measure, b: Measure, differ: Sequence[Difference], metric: str) -> bool:
    """Whether the machines differ in what changes this figure, or a side does not have it."""
    if metric not in a.figures or metric not in b.figures:
        return True
    other_threads = metric == "time" and a.case.n_threads != b.case.n_threads
    return other_threads or bool(obstacles(differ, a.case, metric))
