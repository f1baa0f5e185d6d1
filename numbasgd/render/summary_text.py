"""A comparison's summary as one screen of text, and as Markdown that pastes into an issue."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from numbasgd.compare.estimate import FASTER, SLOWER
from numbasgd.compare.summary import MOST_MOVED
from numbasgd.compare.summary_model import Moved, Summary
from numbasgd.compare.summary_words import sentences, standing_out
from numbasgd.render.escapes import for_markdown
from numbasgd.render.machine_text import letter
from numbasgd.render.tables import Best, Table, number, printable, render

LINES, WIDTH = 25, 100  # of one screen
_BETWEEN = "   "  # two blocks side by side
_LEAST_OUTSTANDING = 3  # lines on cases that stand out
_LEAST_MACHINES = 6  # lines on machines
_LEAST_LIMITS = 6  # lines on limits, those of arithmetic and of four levels
_LEAST_LINES = 2  # that another block keeps where the screen is full


def screen(summary: Summary, width: int = WIDTH, lines: int | None = LINES) -> list[str]:
    """The summary in at most so many lines (None for all) of at most so many columns."""
    width = min(width, WIDTH)
    said = [line for told in (*sentences(summary), *_busy(summary)) for line in _wrap(told, width)]
    out = [line for sentence in standing_out(summary) for line in _wrap(sentence, width)]
    machines = [_clipped(line, width) for line in _machines(summary)]
    moved = _moved(summary, width)
    tables = _tables(summary, width)
    others = len(said) + min(len(out), _LEAST_OUTSTANDING) + len(machines) + len(moved)
    if lines is not None and others + sum(map(len, tables)) > lines:
        tables = _tables(summary, width, is_short=True)
    kept = [(said, len(said)), (out, _LEAST_OUTSTANDING), (machines, _LEAST_MACHINES)]
    kept += [(tables[0], _LEAST_LIMITS), *((block, _LEAST_LINES) for block in (*tables[1:], moved))]
    return _fitted([pair for pair in kept if pair[0]], lines)


def _tables(summary: Summary, width: int, *, is_short: bool = False) -> list[list[str]]:
    """The limits and the families, beside each other where that fits."""
    limits = _lines(limits_table(summary, is_short=is_short))
    for has_shares in (True, len(summary.against) == 1):
        families = _lines(families_table(summary, has_shares=has_shares))
        if beside := _beside(limits, families, width):
            return [beside]
    return [[_clipped(line, width) for line in block] for block in (limits, families)]


def markdown(summary: Summary) -> str:
    """The summary as Markdown: sentences, machines, and its tables."""
    said = (*sentences(summary), *standing_out(summary), *_busy(summary))
    parts = ["\n".join(f"- {for_markdown(sentence)}" for sentence in said)]
    parts.append("\n".join(f"- {for_markdown(line)}" for line in _machines(summary)))
    for table in (limits_table(summary), families_table(summary), *moved_tables(summary)):
        if table.rows:
            parts.append(render(table, "md").rstrip())
    return "\n\n".join(parts) + "\n"


def limits_table(summary: Summary, *, is_short: bool = False) -> Table:
    """The measured limits by machine, the best marked, with the ratio where there are two machines.

    is_short : one for each level alone, those of one thread.
    """
    sides = len(summary.machines)
    rows = []
    told = {limit.level: limit for limit in reversed(summary.limits) if limit.threads == "one"}
    for limit in reversed(told.values()) if is_short else summary.limits:
        name = f"{limit.name}{' (all)' * (limit.threads == 'all')}"
        values = [
            Best(value) if place == limit.best and value else value for place, value in enumerate(limit.values)
        ]
        rows.append((name, *values, *limit.ratios[1:2] * (sides == 2)))
    return Table(("GFLOP/s, GB/s", *map(letter, range(sides)), *("B/A",) * (sides == 2)), tuple(rows))


def families_table(summary: Summary, *, has_shares: bool = True) -> Table:
    """The families of cases, the largest first: geometric means of ratios of times, then of normalised figures.

    Of more than two machines the fastest is marked.
    """
    names = [letter(against.place) for against in summary.against]
    has_shares = has_shares and any(share for family in summary.families for share in family.shares)
    is_two = len(names) == 1
    columns = ["family" if is_two else "family, on time", "cases"]
    columns += [f"{name}/A{' time' * is_two}" for name in names]
    columns += [f"{name} share" for name in names] * has_shares
    rows = []
    for family in sorted(summary.families, key=lambda family: -max(family.cases)):
        best = max((time for time in family.times if time), default=None)
        is_marked = len(names) > 1 and best is not None and best > 1
        times = [Best(time) if is_marked and time and time == best else time for time in family.times]
        rows.append((family.name, max(family.cases), *times, *family.shares * has_shares))
    return Table(tuple(columns), tuple(rows))


def moved_tables(summary: Summary) -> list[Table]:
    """The cases that gained most, and those that lost most, over all sides."""
    found = []
    for is_gain in (True, False):
        cases = movers(summary, is_gain)
        rows = tuple((_factor(case.time), f"{letter(place)}/A", case.id) for place, case in cases)
        if rows:
            found.append(Table(("on time", "", extreme(cases, is_gain)), rows))
    return found


def movers(summary: Summary, is_gain: bool) -> list[tuple[int, Moved]]:
    """The cases to name, each with its side.

    On one machine those that were called, and none where the whole suite moved together.
    """
    found: list[tuple[int, Moved]] = []
    for against in summary.against:
        cases = against.gained if is_gain else against.lost
        if against.same_machine:
            is_one = against.common is not None and not against.exceptions
            wanted = FASTER if is_gain else SLOWER
            cases = () if is_one else tuple(case for case in cases if case.verdict == wanted)
        found += [(against.place, case) for case in cases]
    found.sort(key=lambda pair: pair[1].time, reverse=is_gain)
    return found[:MOST_MOVED]


def extreme(cases: Sequence[tuple[int, Moved]], is_gain: bool) -> str:
    """What the cases at one end have in common."""
    words = ("gained most", "lost least") if is_gain else ("lost most", "gained least")
    first, last = ((case.time > 1) == is_gain for case in (cases[0][1], cases[-1][1]))
    return words[1 - first] if first == last else " or ".join(words)


def _moved(summary: Summary, width: int) -> list[str]:
    """The cases that moved most, gains at the left and losses at the right."""
    is_two = len(summary.against) == 1
    columns = []
    for is_gain in (True, False):
        cases = movers(summary, is_gain)
        if not cases:
            continue
        lines = [f"{' B/A' if is_two else '  /A'}  {extreme(cases, is_gain)} on time"]
        for place, case in cases:
            side = "" if is_two else f"{letter(place)}  "
            lines.append(f"{_factor(case.time):>5}  {side}{printable(case.id)}")
        columns.append([_clipped(line, (width - len(_BETWEEN)) // 2) for line in lines])
    if len(columns) == 2:
        return _beside(columns[0], columns[1], width)
    return columns[0] if columns else []


def _machines(summary: Summary) -> list[str]:
    """A line for each machine."""
    names = [Path(machine.name).name for machine in summary.machines]
    lines = []
    for place, machine in enumerate(summary.machines):
        told = ", ".join(machine.about) or "the file does not tell its machine"
        name = names[place] if names.count(names[place]) == 1 else machine.name
        runs = f" ({machine.runs} runs)" if machine.runs > 1 else ""
        lines.append(printable(f"{letter(place)}  {name}{runs}: {told}"))
    return lines


def _busy(summary: Summary) -> list[str]:
    """The files that were measured beside other programs; those under load are in the sentences already."""
    named = [
        f"{letter(busy.place)} ({Path(busy.name).name}: rounds scatter by {100 * busy.noise:.2g} %)"
        for busy in summary.busy
        if not busy.is_loaded
    ]
    return [f"Other programs ran beside {', '.join(named)}."] if named else []


def _lines(table: Table) -> list[str]:
    """The table without its rule."""
    lines = render(table).splitlines() if table.rows else []
    return lines[:1] + lines[2:]


def _factor(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}" if 0.1 <= ratio < 100 else number(ratio, 2)


def _wrap(sentence: str, width: int) -> list[str]:
    glued = printable(sentence).replace(" %", "\u00a0%")  # a percent sign stays with its number
    lines = textwrap.wrap(glued, width, subsequent_indent="  ", break_on_hyphens=False)
    return [line.replace("\u00a0", " ") for line in lines]


def _clipped(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 3] + "..."


def _beside(left: Sequence[str], right: Sequence[str], width: int) -> list[str]:
    """Two blocks beside each other, or nothing where that is too wide or one is empty."""
    if not left or not right:
        return []
    edge = max(map(len, left))
    if edge + len(_BETWEEN) + max(map(len, right)) > width:
        return []
    rows = max(len(left), len(right))
    pairs = zip([*left, *[""] * (rows - len(left))], [*right, *[""] * (rows - len(right))], strict=True)
    return [f"{a:{edge}}{_BETWEEN}{b}".rstrip() for a, b in pairs]


def _fitted(blocks: Sequence[tuple[list[str], int]], lines: int | None) -> list[str]:
    """The blocks below each other, with blank lines between them where there is room.

    Where there is not, blocks lose their ends, down to the lines that stand beside each: the second one first,
    then the longest; and where even that does not suffice, the longest of all.
    """
    kept = [len(block) for block, _ in blocks]
    while lines is not None and sum(kept) > lines:
        spare = [n > least for n, (_, least) in zip(kept, blocks, strict=True)]
        if len(blocks) > 1 and spare[1]:
            kept[1] -= 1
        else:
            kept[max(range(len(blocks)), key=lambda i: (spare[i], kept[i]))] -= 1
    blanks = len(blocks) if lines is None else lines - sum(kept)
    shown: list[str] = []
    for i, ((block, _), n) in enumerate(zip(blocks, kept, strict=True)):
        if i and blanks > 0:
            shown.append("")
            blanks -= 1
        cut = len(block) - n
        shown += [*block[: n - 1], f"... {cut + 1} more lines: --all"] if cut else block
    return shown
