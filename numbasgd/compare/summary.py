"""A comparison -> its summary.  Nothing here prints.

Times come first, whatever the machines are: they are what a user waits for.  Normalised figures (shares of the
BLAS in the same run, or of a measured limit) come second and say why.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from numbasgd.compare.changes import NOT_COMPARABLE, REFERENCE
from numbasgd.compare.comparison import Comparison, Row
from numbasgd.compare.estimate import FASTER, SCATTER, SLOWER
from numbasgd.compare.fallen import fallen_cases
from numbasgd.compare.load import is_loaded, is_same_machine
from numbasgd.compare.machines import INCOMPARABLE
from numbasgd.compare.null import LEVEL
from numbasgd.compare.summary_machines import limits_of, machine_of
from numbasgd.compare.summary_model import (
    Against,
    Busy,
    Family,
    Moved,
    Summary,
)

MOST_MOVED = 5  # cases that gained, and that lost most
LEAST_CASES = 3  # fewer do not make a suite
TOGETHER = 0.9  # of the cases went the same way where a whole suite moved


@dataclass(frozen=True)
class _Ratio:
    """A case on a side against the first: ratios, the verdict, and the error of the ratio of times."""

    row: Row
    time: float
    share: float | None
    verdict: str
    error: float

    @property
    def moved(self) -> Moved:
        return Moved(self.row.id, self.time, self.share, self.verdict)


def summarise(comparison: Comparison) -> Summary:
    """The summary of a comparison."""
    metric = _normalised(comparison)
    differing = {difference.key for difference in comparison.differences}
    places = range(1, len(comparison.sides))
    ratios = {place: _ratios(comparison, place, metric) for place in places}
    return Summary(
        machines=tuple(machine_of(side, differing) for side in comparison.sides),
        limits=limits_of([side.files[0].limits for side in comparison.sides]),
        families=_families(comparison.rows, [ratios[place] for place in places]),
        against=tuple(_against(comparison, place, ratios[place]) for place in places),
        fallen=fallen_cases(comparison),
        busy=tuple(
            Busy(place, file.name, file.noise_level or 0.0, is_loaded(file))
            for place, side in enumerate(comparison.sides)
            for file in side.files
            if file.is_busy
        ),
        normalised=metric,
        withheld=comparison.withheld,
    )


def _normalised(comparison: Comparison) -> str | None:
    """The metric of the normalised scale: the one chosen, or the first that all machines share."""
    chosen = comparison.metric
    metrics = (chosen,) if chosen in ("blas", "peak", "roofline") else ("blas", "roofline")
    for metric in metrics:
        is_barred = any(
            d.kind(metric) == INCOMPARABLE and not d.key.startswith("gpu") for d in comparison.differences
        )
        has_it = any(sum(metric in m.figures for m in row.measures if m) > 1 for row in comparison.rows)
        if has_it and not is_barred:
            return metric
    return None


def _ratios(comparison: Comparison, place: int, metric: str | None) -> list[_Ratio]:
    """The cases that the side and the first have, with the same work."""
    found = []
    for row in comparison.rows:
        a, b, change = row.measures[0], row.measures[place], row.changes[place - 1]
        if a is None or b is None or change is None:
            continue
        if a.case.flop and b.case.flop and a.case.flop != b.case.flop:
            continue
        is_reference = metric == "blas" and a.case.case == a.case.reference
        shares = (a.share(metric), b.share(metric)) if metric and not is_reference else (None, None)
        share = shares[1] / shares[0] if shares[0] and shares[1] else None
        time = b.figures["time"].over(a.figures["time"])
        found.append(_Ratio(row, time.value, share, change.verdict, time.error or 0.0))
    return found


def _families(rows: Sequence[Row], sides: Sequence[Sequence[_Ratio]]) -> tuple[Family, ...]:
    families: dict[str, list[list[_Ratio]]] = {family_of(row): [[] for _ in sides] for row in rows}
    for place, side in enumerate(sides):
        for ratio in side:
            families[family_of(ratio.row)][place].append(ratio)
    found = []
    for name, members in families.items():
        shares = [[r.share for r in side if r.share is not None] for side in members]
        found.append(
            Family(
                name,
                tuple(_mean(r.time for r in side) for side in members),
                tuple(map(len, members)),
                tuple(map(_mean, shares)),
                tuple(map(len, shares)),
            )
        )
    return tuple(family for family in found if any(family.cases))


def family_of(row: Row) -> str:
    """The kind of a case: our own by what they do, others by the group or the file that they are in."""
    case = next(m.case for m in row.measures if m)
    if case.case == case.reference == "numpy":
        return "numpy (BLAS)"
    if case.kind == "matmul":
        return "matmul, packed" if case.case == "packed" else "matmul, others"
    return case.kind or case.ladder or re.split(r"::|[\[(/:]", row.id, maxsplit=1)[0] or row.id


def _mean(ratios: Iterable[float]) -> float | None:
    logs = [math.log(ratio) for ratio in ratios]
    return math.exp(fmean(logs)) if logs else None


def _against(comparison: Comparison, place: int, ratios: Sequence[_Ratio]) -> Against:
    first, side = comparison.sides[0], comparison.sides[place]
    same_machine = is_same_machine(first, side)
    logs = sorted(math.log(r.time) for r in ratios)
    common, exceptions = _common(ratios, comparison.tolerance)
    called = sorted((r for r in ratios if r.verdict in (FASTER, SLOWER)), key=_distance, reverse=True)
    by_ratio = sorted(ratios, key=lambda r: r.time)
    counts = Counter(r.verdict for r in ratios)
    judged = sum(n for verdict, n in counts.items() if verdict not in (REFERENCE, NOT_COMPARABLE))
    is_single = len(first.files) == len(side.files) == 1
    by_chance = math.ceil(LEVEL * judged + 2 * math.sqrt(LEVEL * (1 - LEVEL) * judged))
    shares = [r.share for r in ratios if r.share is not None]
    return Against(
        place=place,
        same_machine=same_machine,
        time=_mean(r.time for r in ratios),
        cases=len(ratios),
        low=math.exp(_quantile(logs, 0.05)) if logs else None,
        high=math.exp(_quantile(logs, 0.95)) if logs else None,
        common=common,
        exceptions=tuple(r.moved for r in exceptions),
        gained=tuple(r.moved for r in by_ratio[::-1][: min(MOST_MOVED, (len(ratios) + 1) // 2)]),
        lost=tuple(r.moved for r in by_ratio[: min(MOST_MOVED, len(ratios) // 2)]),
        called=tuple(r.moved for r in called),
        counts=tuple(counts.most_common()),
        by_chance=by_chance if same_machine and is_single and judged * LEVEL >= 1 else None,
        by_kind=any((change := row.changes[place - 1]) and change.expected != 1 for row in comparison.rows),
        share=_mean(shares),
        share_cases=len(shares),
    )


def _distance(ratio: _Ratio) -> float:
    return abs(math.log(ratio.time))


def _common(ratios: Sequence[_Ratio], tolerance: float) -> tuple[float | None, list[_Ratio]]:
    """The factor by which nearly all cases moved (a geometric mean), and those that did not move with them.

    An exception lies more than three interquartile ranges outside of the quartiles (Tukey's far-out values:
    two in a million of normal ones), and its own error does not explain that.  Two are enough where it moved
    the other way by more than two runs of one program may differ.
    """
    if len(ratios) < LEAST_CASES:
        return None, []
    logs = sorted(math.log(r.time) for r in ratios)
    middle = median(logs)
    same_way = sum(log * middle > 0 for log in logs)
    if abs(middle) <= math.log1p(tolerance) or same_way < TOGETHER * len(logs):
        return None, []
    low, high = _quantile(logs, 0.25), _quantile(logs, 0.75)
    spread, direction = high - low, math.copysign(1, middle)

    def is_exception(ratio: _Ratio) -> bool:
        log, least = math.log(ratio.time), max(ratio.error, math.log1p(tolerance))
        beyond = max(low - log, log - high)
        went_back = log * direction < -math.log1p(SCATTER)
        return beyond > max((2 if went_back else 3) * spread, least)

    exceptions = [ratio for ratio in ratios if is_exception(ratio)]
    exceptions.sort(key=lambda r: -abs(math.log(r.time) - middle))
    return _mean(r.time for r in ratios if not is_exception(r)), exceptions


def _quantile(ordered: Sequence[float], part: float) -> float:
    """A quantile of sorted numbers, interpolated."""
    place = part * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
