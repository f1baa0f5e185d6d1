"""What a side of a comparison says against the first one: the ratio of a figure, its interval, its verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from numbasgd.compare.estimate import SCATTER, Estimate, verdict
from numbasgd.compare.machines import Difference, obstacles
from numbasgd.compare.measures import Measure
from numbasgd.compare.null import EmpiricalNull
from numbasgd.compare.prior import Prior

REFERENCE, NOT_COMPARABLE = "reference", "not comparable"


@dataclass(frozen=True)
class Change:
    """A side against the first one: the speed ratio, its interval, what it is a ratio of, and the verdict."""

    ratio: float
    low: float | None
    high: float | None
    metric: str
    verdict: str


@dataclass(frozen=True)
class Terms:
    """How two sides are compared.

    metric : one of METRICS or "auto".  differ : how the machines differ.  tolerance, prior : see
    ``numbasgd.compare.estimate``.  scatter : by how much two runs of one program may differ, None for
    ``SCATTER``.  is_busy : whether something else ran on the machine.  nulls : by metric, how the ratios of
    all cases vary, where both sides ran on one machine.
    """

    metric: str
    differ: tuple[Difference, ...]
    tolerance: float
    scatter: float | None = None
    prior: Prior | None = None
    is_busy: bool = False
    nulls: Mapping[str, EmpiricalNull] = field(default_factory=dict)


def shown(a: Measure, b: Measure, terms: Terms) -> tuple[str, str | None]:
    """The metric of the ratio of ``b`` to ``a``, and why it gets no verdict, or None.

    "auto" means times where the machines allow it, and else shares of the BLAS.
    """
    metric, differ = terms.metric, terms.differ
    no_times = _is_incomparable(a, b, differ, "time")
    if metric == "auto":
        metric = "blas" if no_times and not _is_incomparable(a, b, differ, "blas") else "time"
        is_comparable = not (metric == "time" and no_times)
    else:
        is_comparable = metric == "time" or not _is_incomparable(a, b, differ, metric)
    if metric == "blas" and a.case.case == a.case.reference:
        why_not: str | None = REFERENCE
    elif (a.case.flop and b.case.flop and a.case.flop != b.case.flop) or not is_comparable:
        why_not = NOT_COMPARABLE
    else:
        why_not = None
    return metric if metric in a.figures and metric in b.figures else "time", why_not


def nulls(pairs: Sequence[tuple[Measure, Measure]], terms: Terms) -> dict[str, EmpiricalNull]:
    """How the ratios of all pairs that get a verdict vary, by the metric that they are ratios of.

    Empty between machines, where most cases do differ.
    """
    found: dict[str, list[Estimate]] = {}
    for a, b in pairs:
        metric, why_not = shown(a, b, terms)
        if why_not is None and not obstacles(terms.differ, a.case, "time"):
            ratio = b.figures[metric].against(a.figures[metric], 0.0, terms.prior)
            found.setdefault(metric, []).append(ratio)
    are_single = all(a.runs + b.runs == 2 for a, b in pairs)
    return {metric: EmpiricalNull(ratios, are_single) for metric, ratios in found.items()}


def change(a: Measure, b: Measure, terms: Terms) -> Change:
    """``b`` against ``a``, with its verdict."""
    metric, why_not = shown(a, b, terms)
    figures = a.figures[metric], b.figures[metric]
    ratio = figures[1].against(figures[0], _least_error(a, b, metric, terms), terms.prior)
    if a.runs == 1 and figures[0] == figures[1] and (a.case.q1, a.case.q3) == (b.case.q1, b.case.q3):
        ratio = Estimate(1.0, 0.0)  # one measurement twice, so no error
    low, high = ratio.interval
    said = why_not or verdict(ratio.value, low, high, terms.tolerance)
    return Change(ratio.value, low, high, metric, said)


def _least_error(a: Measure, b: Measure, metric: str, terms: Terms) -> float:
    """The least error of the ratio: how far two such figures differ when nothing changed, in logarithms."""
    assumed = math.log1p(SCATTER if terms.scatter is None else terms.scatter)
    null = terms.nulls.get(metric)
    ratio = b.figures[metric].against(a.figures[metric], 0.0, terms.prior)
    measured = null.error_of(ratio) if null else math.inf
    if a.runs + b.runs > 2:  # the case's own runs show how runs differ, unless something else ran beside them
        return measured if terms.is_busy and measured < math.inf else 0.0
    return min(measured, assumed) if terms.scatter is not None or measured == math.inf else measured


def _is_incomparable(a: Measure, b: Measure, differ: Sequence[Difference], metric: str) -> bool:
    """Whether the machines differ in what changes this figure, or a side does not have it."""
    if metric not in a.figures or metric not in b.figures:
        return True
    other_threads = metric == "time" and a.case.n_threads != b.case.n_threads
    return other_threads or bool(obstacles(differ, a.case, metric))
