"""A comparison -> its summary, as data: what a reader wants to know before any table.  Nothing here prints.

Times come first, whatever the machines are: they are what a user waits for.  Normalised figures (shares of the
BLAS in the same run, or of a measured limit) come second and say why.  A side is named by its place; the first
is what the others are compared with, and all ratios are ratios of speeds against it.  Sentences made from a
summary: ``numbasgd.compare.summary_words``.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from numbasgd.compare.changes import NOT_COMPARABLE, REFERENCE
from numbasgd.compare.comparison import Comparison, Row
from numbasgd.compare.estimate import FASTER, SCATTER, SLOWER
from numbasgd.compare.machines import INCOMPARABLE, describe, differences
from numbasgd.compare.measures import Side
from numbasgd.compare.null import LEVEL
from numbasgd.compare.results import ResultFile
from numbasgd.machine.bounds import Limits

ARITHMETIC = "arithmetic"  # the level of a limit of operations
MOST_MOVED = 5  # cases that gained, and that lost most
LEAST_CASES = 3  # fewer do not make a suite
TOGETHER = 0.9  # of the cases went the same way where a whole suite moved
REACHES, FALLS = 0.8, 1 / 1.5  # a share that is near a limit, and what is left of it where a case fell
_VERSIONS = ("python", "numba", "numpy", "llvmlite")
LOADED = 0.15  # the scatter of rounds that other programs on the same cores cause


@dataclass(frozen=True)
class Machine:
    """A side and its machine.  about : what the file tells, the most telling first.

    The BLAS and versions are told where they differ.
    """

    name: str
    runs: int
    about: tuple[str, ...]


@dataclass(frozen=True)
class Limit:
    """A measured limit: "FMA float32" in GFLOP/s, or reads from "L1" in GB/s.

    level : "arithmetic" or the level of memory.  threads : "one" or "all".  values, ratios : one per side, None
    where unknown; the ratios are against the first side's.  best : the place of the largest value.
    """

    name: str
    level: str
    unit: str
    threads: str
    values: tuple[float | None, ...]
    ratios: tuple[float | None, ...]
    best: int | None


@dataclass(frozen=True)
class Family:
    """Cases of one kind: geometric means of the ratios, one for each side but the first, and of how many cases.

    times : ratios of times.  shares : ratios on the normalised scale.
    """

    name: str
    times: tuple[float | None, ...]
    cases: tuple[int, ...]
    shares: tuple[float | None, ...]
    share_cases: tuple[int, ...]


@dataclass(frozen=True)
class Moved:
    """A case and its ratio of times on one side; share is that on the normalised scale, None where unknown."""

    id: str
    time: float
    share: float | None
    verdict: str


@dataclass(frozen=True)
class Against:
    """A side against the first one, over the cases that both have with the same work.

    place : the side.  same_machine : whether times of both can be judged.  time : the geometric mean of the
    ratios of times, of ``cases`` cases, 9 of 10 of which lie between low and high.  common : the factor by
    which the whole suite moved, or None.  exceptions : the cases that did not move with it, the farthest first.
    gained, lost : the cases with the largest and the smallest ratio of times.  counts : how many cases got each
    verdict.  by_chance : how many calls chance alone makes at most, None where that is not known.
    share : the geometric mean on the normalised scale, of ``share_cases``.
    """

    place: int
    same_machine: bool
    time: float | None
    cases: int
    low: float | None
    high: float | None
    common: float | None
    exceptions: tuple[Moved, ...]
    gained: tuple[Moved, ...]
    lost: tuple[Moved, ...]
    called: tuple[Moved, ...]
    counts: tuple[tuple[str, int], ...]
    by_chance: int | None
    share: float | None
    share_cases: int


@dataclass(frozen=True)
class Fallen:
    """A case far below what limits it on one side (``place``), and near it on another (``near``).

    size : m = n = k of a square product.  metric : "blas" (its reference) or "roofline".
    share, near_share : of it, on both sides.
    """

    id: str
    case: str
    dtype: str | None
    threads: str | None
    size: int | None
    reference: str | None
    metric: str
    place: int
    share: float
    near: int
    near_share: float


@dataclass(frozen=True)
class Busy:
    """A file that was measured beside other programs.  noise : the scatter of its rounds, relative.

    is_loaded : whether that is so much that no verdict between machines can rest on it.
    """

    place: int
    name: str
    noise: float
    is_loaded: bool


@dataclass(frozen=True)
class Summary:
    """All of it.  normalised : the metric of the normalised scale, None where no case has one.

    withheld : the places of the sides that get no verdicts since a machine was under load.
    """

    machines: tuple[Machine, ...]
    limits: tuple[Limit, ...]
    families: tuple[Family, ...]
    against: tuple[Against, ...]
    fallen: tuple[Fallen, ...]
    busy: tuple[Busy, ...]
    normalised: str | None
    withheld: tuple[int, ...]


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
        machines=tuple(_machine(side, differing) for side in comparison.sides),
        limits=_limits([side.files[0].limits for side in comparison.sides]),
        families=_families(comparison.rows, [ratios[place] for place in places]),
        against=tuple(_against(comparison, place, ratios[place]) for place in places),
        fallen=_fallen(comparison),
        busy=tuple(
            Busy(place, file.name, file.noise_level or 0.0, is_loaded(file))
            for place, side in enumerate(comparison.sides)
            for file in side.files
            if file.is_busy
        ),
        normalised=metric,
        withheld=comparison.withheld,
    )


def is_loaded(file: ResultFile) -> bool:
    """Whether other programs used the cores while this was measured."""
    return file.noise_level is not None and file.noise_level > LOADED


def withhold(comparison: Comparison) -> Comparison:
    """The comparison without verdicts between machines where one was under load.

    There a ratio shows the load as much as the machine, and no interval from the rounds covers it.
    """
    first, *others = comparison.sides
    places = tuple(
        place
        for place, side in enumerate(others, 1)
        if not _is_same_machine(first, side) and any(is_loaded(file) for file in (*first.files, *side.files))
    )
    if not places:
        return comparison
    rows = tuple(
        replace(
            row,
            changes=tuple(
                replace(change, verdict=NOT_COMPARABLE) if change and place in places else change
                for place, change in enumerate(row.changes, 1)
            ),
        )
        for row in comparison.rows
    )
    return replace(comparison, rows=rows, withheld=places)


def _is_same_machine(a: Side, b: Side) -> bool:
    """Whether the machines differ in nothing that changes times."""
    return not any(d.kind("time") == INCOMPARABLE for d in differences([a.files[0], b.files[0]]))


def _machine(side: Side, differing: set[str]) -> Machine:
    told = describe(side.files[0])

    def joined(*keys: str) -> str:
        return " ".join(told[key] for key in keys if told.get(key, "unknown") not in ("unknown", "None"))

    caches = [
        f"{name} {_bytes(int(size))}"
        for name in ("L2", "L3")
        if (size := told.get(f"cpu.caches.{name}", "")).isdigit()
    ]
    cores = told.get("cpu.cores", "")
    versions = [
        f"{key} {told[f'versions.{key}']}" for key in _VERSIONS if f"versions.{key}" in differing & told.keys()
    ]
    model = re.sub(r"\((?:R|TM)\)|\b(?:CPU|Processor)\b", "", joined("cpu.model"))
    about = (
        " ".join([*model.split(), joined("cpu.llvm_name")]).strip(),
        f"{cores} core{'s' * (cores != '1')}" if cores.isdigit() else "",
        joined("cpu.simd"),
        *caches,
        joined("gpu.name"),
        joined("blas.name", "blas.kernel") if differing & {"blas.name", "blas.kernel"} else "",
        *versions,
    )
    return Machine(side.name, len(side.files), tuple(part for part in about if part))


def _bytes(size: int) -> str:
    return f"{size / 2**20:.3g} MB" if size >= 2**20 else f"{size / 2**10:.3g} KB"


def _limits(sides: Sequence[Limits | None]) -> tuple[Limit, ...]:
    """Every limit that two sides or more were measured for."""
    columns = [_named_limits(limits) if limits else {} for limits in sides]
    found = []
    for key in dict.fromkeys(key for column in columns for key in column):
        values = [column.get(key) for column in columns]
        known = [value for value in values if value is not None]
        if len(known) < 2:
            continue
        base = values[0]
        name, level, unit, threads = key
        ratios = tuple(value / base if value and base else None for value in values)
        found.append(Limit(name, level, unit, threads, tuple(values), ratios, values.index(max(known))))
    return tuple(found)


def _named_limits(limits: Limits) -> dict[tuple[str, str, str, str], float]:
    found = {}
    for (dtype, threads), peak in limits.fma.items():
        # All threads' quartiles are never exactly one thread's: such a file measured one thread twice.
        if threads == "one" or peak != limits.fma.get((dtype, "one")):
            found[f"FMA {dtype}", ARITHMETIC, "GFLOP/s", threads] = peak.value
    for level in limits.levels:
        for threads, read in level.read.items():
            found[level.name, level.name, "GB/s", threads] = read.value
    return found


def _normalised(comparison: Comparison) -> str | None:
    """The metric of the normalised scale: the one asked for, or the first that all machines share."""
    asked = comparison.metric
    metrics = (asked,) if asked in ("blas", "peak", "roofline") else ("blas", "roofline")
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
    found = []
    for name in dict.fromkeys(family_of(row) for row in rows):
        members = [[r for r in side if family_of(r.row) == name] for side in sides]
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
    same_machine = _is_same_machine(first, side)
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
        share=_mean(shares),
        share_cases=len(shares),
    )


def _distance(ratio: _Ratio) -> float:
    return abs(math.log(ratio.time))


def _common(ratios: Sequence[_Ratio], tolerance: float) -> tuple[float | None, list[_Ratio]]:
    """The factor by which nearly all cases moved (a geometric mean), and those that did not move with them.

    An exception lies more than three interquartile ranges outside of the quartiles (Tukey's far-out values:
    two in a million of normal ones), and its own error does not explain that.  Another one moved the other way
    by more than two runs of one program may differ.
    """
    if len(ratios) < LEAST_CASES:
        return None, []
    logs = sorted(math.log(r.time) for r in ratios)
    middle = median(logs)
    same_way = sum(log * middle > 0 for log in logs)
    if abs(middle) <= math.log1p(tolerance) or same_way < TOGETHER * len(logs):
        return None, []
    low, high = _quantile(logs, 0.25), _quantile(logs, 0.75)
    reach = max(3 * (high - low), math.log1p(tolerance))
    direction = math.copysign(1, middle)

    def is_exception(ratio: _Ratio) -> bool:
        log, allowed = math.log(ratio.time), max(reach, ratio.error)
        return not low - allowed <= log <= high + allowed or log * direction < -math.log1p(SCATTER)

    exceptions = [ratio for ratio in ratios if is_exception(ratio)]
    exceptions.sort(key=lambda r: -abs(math.log(r.time) - middle))
    return _mean(r.time for r in ratios if r not in exceptions), exceptions


def _quantile(ordered: Sequence[float], part: float) -> float:
    """A quantile of sorted numbers, interpolated."""
    place = part * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def _fallen(comparison: Comparison) -> tuple[Fallen, ...]:
    """Our cases that come near a limit on one machine and stay far below it on another, the worst first."""
    first, *others = comparison.sides
    same = {place for place, side in enumerate(others, 1) if _is_same_machine(first, side)}
    found = []
    for row in comparison.rows:
        for place in range(len(row.measures)):
            fallen = _fell(row, place, "blas") or _fell(row, place, "roofline")
            if fallen is None:
                continue
            change = row.changes[max(place, fallen.near) - 1]
            # On one machine a change is judged on times; a share that differs for another reason is none.
            if not {place, fallen.near} <= {0, *same} or (change and change.verdict in (FASTER, SLOWER)):
                found.append(fallen)
    return tuple(sorted(found, key=lambda f: (f.metric != "blas", f.share / f.near_share)))


def _fell(row: Row, place: int, metric: str) -> Fallen | None:
    m = row.measures[place]
    own = m.share(metric) if m else None
    # Probes of memory measure the machine, and a reference is no case of ours.
    if m is None or own is None or m.case.kind in ("", "memory") or m.case.case == m.case.reference:
        return None
    shares = [(share, side) for side, n in enumerate(row.measures) if n and (share := n.share(metric))]
    good = [pair for pair in shares if pair[0] >= max(REACHES, own / FALLS)]
    if not good or own >= REACHES:
        return None
    best, near = good[0] if good[0][1] == 0 else max(good)  # against the first side where that is one of them
    sizes = {m.case.sizes.get(key) for key in "mnk"}
    size = sizes.pop() if len(sizes) == 1 else None
    return Fallen(
        id=row.id,
        case=m.case.case,
        dtype=m.case.dtype,
        threads=m.case.threads,
        size=size,
        reference=m.case.reference,
        metric=metric,
        place=place,
        share=own,
        near=near,
        near_share=best,
    )
