"""The ladders of a comparison as panels of a picture: a line for each case, a mark for each machine.

What changed comes first: a picture that ends before the one case that fell behind is of no use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from numbasgd.compare.changes import NOT_COMPARABLE, REFERENCE, Change
from numbasgd.compare.comparison import Comparison, Row
from numbasgd.compare.estimate import FASTER, SLOWER
from numbasgd.compare.fallen import fallen_cases
from numbasgd.render.comparison_text import name_of, names_meet, unit_of, words
from numbasgd.render.figures import hide_box, plain_text, plain_ticks, shortened
from numbasgd.render.machine_text import letter
from numbasgd.render.palette import FASTER_TEXT, SLOWER_TEXT, series_colour, series_marker

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CASES = 40  # of one ladder
LOGARITHMIC_FROM = 30  # ratio of the largest figure to the smallest from which on an axis is logarithmic
_LONGEST = 26  # characters of a case's name
_LETTER = 0.075  # inches of a character


class Ladder(NamedTuple):
    """A ladder's rows that are drawn, in the order of the files, and how many are not."""

    name: str
    rows: tuple[Row, ...]
    left_out: int

    @property
    def title(self) -> str:
        """The name, and how much of it this is."""
        whole = len(self.rows) + self.left_out
        part = f" ({len(self.rows)} of {whole} cases)" if self.left_out else ""
        return shortened(self.name or "cases without a group", 40) + part

    @property
    def names(self) -> list[str]:
        """What its cases are called, no longer than the picture has room for."""
        long = names_meet(self.rows)
        return [shortened(row.id if long else name_of(row), _LONGEST) for row in self.rows]

    @property
    def height(self) -> float:
        """Inches of its panel."""
        return 0.9 + 0.22 * len(self.rows)

    @property
    def margins(self) -> tuple[float, float]:
        """Inches that the names need at the left, and verdicts at the right."""
        said = [_said(row) for row in self.rows]
        return 0.2 + _LETTER * max(map(len, self.names)), 0.2 + _LETTER * max(map(len, said))


def by_change(comparison: Comparison) -> list[Ladder]:
    """All ladders, those with a case that fell behind first, then those with one that gained.

    A case falls behind by its verdict, or by what its own machine could do, see ``fallen_cases``.  Of a long
    ladder the cases that changed most are kept.
    """
    fallen = {case.id for case in fallen_cases(comparison)}
    rows: dict[str, list[Row]] = {}
    for row in comparison.rows:
        rows.setdefault(row.ladder, []).append(row)
    weights = {row.id: _weight(row, row.id in fallen) for row in comparison.rows}
    found = []
    for name, mine in rows.items():
        kept = sorted(mine, key=lambda row: weights[row.id], reverse=True)[:MOST_CASES]
        ids = {row.id for row in kept}
        found.append(Ladder(name, tuple(row for row in mine if row.id in ids), len(mine) - len(ids)))
    return sorted(found, key=lambda ladder: max(weights[row.id] for row in ladder.rows), reverse=True)


def told_of(ladders: Sequence[Ladder]) -> str:
    """What is said where these ladders are left out: how many, whether cases in them changed, and which."""
    changes = sum(bool(called(row)) for ladder in ladders for row in ladder.rows)
    names = ", ".join(ladder.name or "cases without a group" for ladder in ladders[:MOST_CASES])
    more = f" and {len(ladders) - MOST_CASES} more" if len(ladders) > MOST_CASES else ""
    if changes:
        changed = f"{changes} of {'their' if len(ladders) > 1 else 'its'} cases changed too"
    else:
        changed = "no case in them was called faster or slower"
    many = f"{len(ladders)} ladders" if len(ladders) > 1 else "One ladder"
    return f"{many} left out, {changed}: {names}{more}."


def plot_ladder(ax: Axes, comparison: Comparison, ladder: Ladder) -> Axes:
    """A line for each case and a mark on it for each side; beside it the verdict that was called.

    Speed where the work of all cases is known, else time.  The axis is logarithmic where the slow cases would
    else meet at its left end.
    """
    measures = [m for row in ladder.rows for m in row.measures if m]
    units = {m.unit for m in measures}
    unit = units.pop() if len(units) == 1 else None
    seconds, heading = unit_of(ladder.rows)
    figures = [
        [None if m is None else m.rate if unit else m.seconds.value / seconds for m in row.measures]
        for row in ladder.rows
    ]
    for side in range(len(comparison.sides)):
        shift = (side - (len(comparison.sides) - 1) / 2) * min(0.14, 0.5 / len(comparison.sides))
        there = [(x, i + shift) for i, line in enumerate(figures) if (x := line[side]) is not None]
        ax.plot(
            [x for x, _ in there], [y for _, y in there],
            linestyle="none", marker=series_marker(side), markersize=5, markeredgewidth=0,
            color=series_colour(side), label=letter(side), zorder=3,
        )  # fmt: skip
    for i, (row, line) in enumerate(zip(ladder.rows, figures, strict=True)):
        known = [x for x in line if x is not None]
        ax.plot([min(known), max(known)], [i, i], color="0.5", lw=0.8, alpha=0.7, zorder=2)
        _say(ax, row, i)
    _scale(ax, [x for line in figures for x in line if x is not None])
    log = " (logarithmic)" if ax.get_xscale() == "log" else ""
    ax.set_xlabel((unit or f"{heading}, less is better") + log, fontsize=8.5)
    ax.set_yticks(range(len(ladder.rows)), list(map(plain_text, ladder.names)), fontsize=8.5)
    ax.set_ylim(len(ladder.rows) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    hide_box(ax)
    ax.set_title(plain_text(ladder.title), loc="left", fontsize=10)
    return ax


def called(row: Row) -> list[tuple[int, Change]]:
    """The sides on which a case was called faster or slower, the largest factor first."""
    found = [(place, c) for place, c in enumerate(row.changes, 1) if c and c.verdict in (FASTER, SLOWER)]
    return sorted(found, key=lambda pair: -abs(math.log(pair[1].departure)))


def _said(row: Row) -> str:
    """The largest change that was called, in words."""
    for place, change in called(row)[:1]:
        return f"{letter(place)} {words(change)}" if len(row.changes) > 1 else words(change)
    return ""


def _say(ax: Axes, row: Row, at: int) -> None:
    """The largest change that was called, to the right of the case's line, which gets a band."""
    for _, change in called(row)[:1]:
        ax.axhspan(at - 0.45, at + 0.45, color="0.5", alpha=0.13, lw=0)
        ax.annotate(
            _said(row), (1, at), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=8, color=FASTER_TEXT if change.verdict == FASTER else SLOWER_TEXT,
            annotation_clip=False,
        )  # fmt: skip


def _scale(ax: Axes, figures: Sequence[float]) -> None:
    """The axis of the figures, with as many ticks as there is room for."""
    low, high = min(figures), max(figures)
    room = int(ax.get_window_extent().width / ax.figure.dpi / 0.45)
    if high > LOGARITHMIC_FROM * low > 0:
        ax.set_xscale("log")
        ax.set_xlim(low / 1.6, high * 1.6)
        plain_ticks(ax.xaxis, most=room)
    else:
        ax.set_xlim(0, 1.06 * high)
        ax.locator_params(axis="x", nbins=max(2, min(room, 6)))
    ax.grid(visible=True, axis="x", alpha=0.25, lw=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(axis="x", labelsize=8)


def _weight(row: Row, has_fallen: bool) -> tuple[float, float, float]:
    """How early a case is shown: what it lost, what it gained, and how far its ratio is from 1."""
    lost = [-math.log(c.departure) for _, c in called(row) if c.verdict == SLOWER]
    gained = [math.log(c.departure) for _, c in called(row) if c.verdict == FASTER]
    apart = [
        abs(math.log(c.departure)) for c in row.changes if c and c.verdict not in (REFERENCE, NOT_COMPARABLE)
    ]
    return max([*lost, math.log(2) * has_fallen]), max(gained, default=0.0), max(apart, default=0.0)
