"""The sentences of a summary, made from its figures: what a reader takes away before any table.

Names of cases and files are as the files have them: who shows a sentence makes it harmless there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from numbasgd.compare.estimate import FASTER, SCATTER, SLOWER
from numbasgd.compare.machines import letter
from numbasgd.compare.summary_model import Against, Fallen, Moved, Summary

NAMED = 3  # cases that a sentence names
NEAR = 1.05  # times as fast is about as fast
FAR = 3  # times as far out as 9 of 10 cases is no chance
NOTEWORTHY = 1.1  # a limit of two machines that differs by less counts as the same
_ONE_RUN = "One run a side cannot tell whether the program did it or that session: repeat both"
_SCALES = {"blas": "BLAS or reference", "peak": "FMA peak", "roofline": "roofline"}


def sentences(summary: Summary) -> tuple[str, ...]:
    """What was found: the load of a machine, then times and shares, then the machines' limits."""
    said = [*_load(summary)]
    if len(summary.against) > 1:
        return (*said, *_many(summary))
    [against] = summary.against
    said.append(headline(summary, against))
    if not against.same_machine:
        said += [*_limits(summary, against.place), *_shares(summary, against)]
    return tuple(said)


def headline(summary: Summary, against: Against) -> str:
    """A side against the first on time."""
    name = letter(against.place)
    if against.time is None:
        return f"{name} and A have no case in common that does the same work."
    if against.common is None and against.same_machine:
        return _on_one_machine(against, name)
    factor = against.time if against.common is None else against.common
    word = "slower: " if factor < 1 / NEAR else "about as fast: " if factor < NEAR else ""
    told = f"{name} is {word}{_times(factor)} times as fast as A, {_count(against.cases)}"
    if against.low is not None and against.high is not None:
        low, high = _times(against.low), _times(against.high)
        told += f" (9 of 10 between {low} and {high} times)" * (low != high)
    if against.common is not None:
        told += _exceptions(against)
    if against.same_machine and summary.machines[0].runs == summary.machines[against.place].runs == 1:
        told += f". {_ONE_RUN}"
    return told + "."


def _shares(summary: Summary, against: Against) -> list[str]:
    """A side against the first on the normalised scale, and what was called there."""
    said = []
    if against.share is not None:
        scale = _SCALES[summary.normalised or "blas"]
        times = f"{_times(against.share)} times A's, {_count(against.share_cases)}"
        said.append(f"Share of its own {scale}: {times}")
    if calls := _calls(against):
        said.append(f"{calls.replace(' and', ',')}{' than their kind' * against.by_kind}")
    return ["; ".join(said) + "."] if said else []


def _calls(against: Against) -> str:
    """How many cases were called slower and faster, or nothing."""
    counts = dict(against.counts)
    return _listed([f"{counts[verdict]} {verdict}" for verdict in (SLOWER, FASTER) if counts.get(verdict)])


def _exceptions(against: Against) -> str:
    """What did not move with the whole suite."""
    count = len(against.exceptions)
    if count == 0:
        return ", without exception"
    if count == 1:
        return f"; one exception: {_case(against.exceptions[0])}"
    return f"; {count} exceptions: {_cases(against.exceptions)}"


def _on_one_machine(against: Against, name: str) -> str:
    assert against.time is not None
    called = _called(against)
    mean = f"{name} is {_times(against.time)} times as fast as A, {_count(against.cases)}"
    if not called:
        return f"Nothing changed that these runs can tell: {mean}, none called faster or slower."
    if against.by_chance is None or called > against.by_chance:
        most = _cases(against.called)
        return f"{_calls(against)} of {_count(against.cases)}, most {most}. On the whole {mean}."
    ends = [abs(math.log(end)) for end in (against.low, against.high) if end]
    chance = min(math.log1p(SCATTER), max(FAR * max(ends, default=math.inf), math.log(NEAR)))
    large = [moved for moved in against.called if abs(math.log(moved.time)) > chance]
    but = f" but for {_cases(large)}" if large else ""
    others = called - len(large)
    many = f", {others} called, as many as chance can call among so many" * (others > 1)
    one = ", 1 called, as chance can among so many" * (others == 1)
    return f"Nothing changed{but}: {mean}{many}{one}."


def _many(summary: Summary) -> list[str]:
    """Three sides and more: all on one scale, then those that share the first one's machine."""
    ranked = sorted((a for a in summary.against if a.time is not None), key=lambda a: -(a.time or 0))
    if not ranked:
        return []
    cases = {against.cases for against in ranked}
    parts = [
        f"{letter(a.place)} {_times(a.time or 1)}{f' ({_count(a.cases)})' * (len(cases) > 1)}" for a in ranked
    ]
    each = f", {_count(ranked[0].cases)}" if len(cases) == 1 else ""
    best = ranked[0].time or 1.0
    fastest = letter(ranked[0].place) if best > NEAR else "A" if best < 1 / NEAR else None
    first = f"{fastest} is the fastest for this work" if fastest else "None is faster for this work than A"
    said = [f"{first}. Times as fast as A: {', '.join(parts)} (geometric means{each})."]
    same = [against for against in ranked if against.same_machine]
    still = [a for a in same if a.common is None and not _called(a)]
    if still:
        named = _listed(sorted(letter(against.place) for against in still))
        said.append(f"Nothing changed on {named}, the machine of A, that these runs can tell.")
    moved = [against for against in same if against.common is not None and not against.exceptions]
    if len(moved) > 1:
        named = _listed(sorted(letter(against.place) for against in moved))
        are_single = all(summary.machines[a.place].runs == summary.machines[0].runs == 1 for a in moved)
        said.append(f"On {named} the whole suite moved, without exception.{f' {_ONE_RUN}.' * are_single}")
    told = [*still, *(moved if len(moved) > 1 else [])]
    return said + [headline(summary, against) for against in same if against not in told]


def _called(against: Against) -> int:
    """How many cases were called faster or slower."""
    counts = dict(against.counts)
    return counts.get(FASTER, 0) + counts.get(SLOWER, 0)


def _limits(summary: Summary, place: int) -> list[str]:
    """Which of the machine's measured limits are higher, and which lower, than the first machine's."""
    found: dict[str, float] = {}
    for limit in summary.limits:
        ratio = limit.ratios[place]
        if limit.threads == "one" and ratio is not None:
            found.setdefault(limit.level, ratio)  # float32 comes first
    parts = []
    for word, levels in (
        ("faster in", {k: r for k, r in found.items() if r >= NOTEWORTHY}),
        ("slower in", {k: r for k, r in found.items() if r <= 1 / NOTEWORTHY}),
        ("as fast in", {k: r for k, r in found.items() if 1 / NOTEWORTHY < r < NOTEWORTHY}),
    ):
        if levels:
            parts.append(f"{word} {_listed([f'{k} ({_times(r)})' for k, r in levels.items()])}")
    return [f"{letter(place)} is {', '.join(parts)}."] if parts else []


def standing_out(summary: Summary) -> tuple[str, ...]:
    """The cases that are near their limit on one machine alone: those of one kernel in one sentence."""
    groups: dict[tuple[str, str, int, int], list[Fallen]] = {}
    for case in summary.fallen:
        where = case.case if case.size is not None else case.id
        groups.setdefault((where, case.metric, case.place, case.near), []).append(case)
    said = []
    for (name, metric, place, near), cases in groups.items():
        cases = sorted(cases, key=lambda case: (case.size or 0, case.dtype or ""))
        at = _listed([_product(case) for case in cases if case.size is not None])
        limit = "its roofline" if metric == "roofline" else _reference(cases[0].reference)
        own = _listed([f"{100 * case.share:.0f}" for case in cases])
        best = _listed([f"{100 * case.near_share:.0f}" for case in cases])
        fell = "fell" if place else "stays behind"
        what = f"{name} at {at}" if at else name
        said.append(f"{what} {fell} on {letter(place)}: {own} % of {limit} ({letter(near)}: {best} %).")
    return tuple(said)


def _product(case: Fallen) -> str:
    """The size and the type of a product, such as 512 f64."""
    threads = " on all threads" if case.threads == "all" else ""
    return f"{case.size} {(case.dtype or '').replace('float', 'f')}{threads}"


def _reference(name: str | None) -> str:
    return "the BLAS" if name == "numpy" else str(name)


def _load(summary: Summary) -> list[str]:
    """The files of machines under load, and what that does to the verdicts."""
    loaded = [busy for busy in summary.busy if busy.is_loaded]
    if not loaded:
        return []
    told = _listed(
        [f"{letter(busy.place)} ({busy.name}, rounds scatter by {100 * busy.noise:.0f} %)" for busy in loaded]
    )
    were = "were" if len(loaded) > 1 else "was"
    if summary.withheld:
        names = _listed([letter(place) for place in summary.withheld])
        what = f"so {names} against A gets no verdict; --even-if-busy judges all the same"
    else:
        what = "so what differs may be that load; measure again when nothing else runs"
    return [f"UNDER LOAD: {told} {were} measured while other programs used the cores, {what}."]


def _case(moved: Moved) -> str:
    if moved.time < 1:
        return f"{moved.id} ({_times(1 / moved.time)} times slower)"
    return f"{moved.id} ({_times(moved.time)} times faster)"


def _cases(moved: Sequence[Moved]) -> str:
    more = f" and {len(moved) - NAMED} more" if len(moved) > NAMED else ""
    return ", ".join(map(_case, moved[:NAMED])) + more


def _count(cases: int) -> str:
    return f"{cases} case{'s' * (cases != 1)}"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join((", ".join(parts[:-1]), parts[-1])) if len(parts) > 1 else "".join(parts)


def _times(ratio: float) -> str:
    """A factor with two decimals, or with two digits where it is small or large."""
    return f"{ratio:.2f}" if 0.1 <= ratio < 100 else f"{ratio:.2g}" if ratio < 0.1 else f"{ratio:.0f}"
