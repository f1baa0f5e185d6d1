"""Pictures of figures from result files: bars for one run, panels of ladders and rooflines for several.

A function that draws takes ``ax`` and returns it; no state of matplotlib's is touched, nothing is shown.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from numbasgd.compare.comparison import Comparison
from numbasgd.render.comparison_ladders import LOGARITHMIC_FROM, Ladder, by_change, plot_ladder, told_of
from numbasgd.render.comparison_rooflines import HEIGHT, panels, plot_roofline
from numbasgd.render.figures import hide_box, legend_above, new_axes, new_figure, plain_text, plain_ticks
from numbasgd.render.machine_text import letter
from numbasgd.render.palette import series_colour, series_marker
from numbasgd.render.tables import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LADDERS = 12
WIDTH, ABOVE, BELOW = 4.6, 0.3, 0.48  # of a panel, and what is above and below its axes, inches


def bars(
    labels: Sequence[str], series: Mapping[str, Sequence[float | None]], *, unit: str, ax: Axes | None = None
) -> Axes:
    """Horizontal bars, one group per label, one bar per series, figures beside them.

    A None leaves its bar out.  The axis is logarithmic where the short bars would else be invisible;
    otherwise it begins at 0, since the length of a logarithmic bar depends on where its axis begins.
    """
    if ax is None:
        ax = new_axes(8, min(1 + 0.3 * len(labels) * max(1, len(series)), 40))
    height = 0.8 / max(1, len(series))
    for j, (name, values) in enumerate(series.items()):
        there = [(i, v) for i, v in enumerate(values) if v is not None]
        drawn = ax.barh(
            [i - 0.4 + (j + 0.5) * height for i, _ in there],
            [v for _, v in there],
            height=0.92 * height,
            color=series_colour(j),
            label=plain_text(name),
        )
        ax.bar_label(drawn, labels=[number(v) for _, v in there], padding=3, fontsize=8)
    ax.set_yticks(range(len(labels)), [plain_text(label) for label in labels])
    ax.invert_yaxis()
    drawn_values = [v for values in series.values() for v in values if v is not None]
    ax.margins(x=0.12)
    if drawn_values and max(drawn_values) > LOGARITHMIC_FROM * min(drawn_values) > 0:
        ax.set_xscale("log")
        ax.set_xlim(min(drawn_values) / 3)
        plain_ticks(ax.xaxis)
        unit += " (logarithmic)"
    ax.set_xlabel(unit)
    hide_box(ax)
    if len(series) > 1:
        legend_above(ax)
    return ax


class Panel(NamedTuple):
    """A part of a picture: its height and the margins beside its axes in inches, and what draws on them."""

    height: float
    left: float
    right: float
    draw: Callable[[Axes], Axes]


def ladder_panels(comparison: Comparison, ladders: Sequence[Ladder]) -> list[Panel]:
    """A panel for each of these ladders."""
    return [Panel(x.height, *x.margins, partial(plot_ladder, comparison=comparison, ladder=x)) for x in ladders]


def roofline_panels(comparison: Comparison) -> list[Panel]:
    """A panel for each dtype and number of threads for which limits are known."""
    return [
        Panel(HEIGHT, 0.6, 0.5, partial(plot_roofline, comparison=comparison, dtype=dtype, threads=threads))
        for dtype, threads in panels(comparison)
    ]


def draw_panel(panel: Panel, figure: Figure, x: float = 0.0, y: float = 0.0) -> Axes:
    """Draw a panel ``WIDTH`` wide whose upper left corner is at (x, y) of the figure, inches from its own."""
    width, height = figure.get_size_inches()
    bottom = y + panel.height - BELOW
    inside = WIDTH - panel.left - panel.right
    place = ((x + panel.left) / width, 1 - bottom / height, inside / width, (bottom - y - ABOVE) / height)
    ax = panel.draw(figure.add_axes(place))
    ax.set_title(ax.get_title(loc="left"), loc="left", fontsize=10, x=(0.08 - panel.left) / inside)
    return ax


def left_out(comparison: Comparison) -> str | None:
    """What ``plot_comparison`` leaves out, in a sentence, or None."""
    rest = by_change(comparison)[MOST_LADDERS:]
    return told_of(rest) if rest else None


def plot_comparison(comparison: Comparison) -> Figure:
    """The ladders in which most changed, and the rooflines of machines with measured limits, in two columns.

    What is left out is said at the bottom.
    """
    from matplotlib.lines import Line2D

    ladders = by_change(comparison)
    said = left_out(comparison) or ""
    if comparison.is_by_kind:
        said = f"Faster and slower: of the share, against the cases of its kind. {said}"
    said = textwrap.fill(plain_text(said), 125, break_on_hyphens=False)
    names = [f"{letter(i)}: {plain_text(Path(side.name).name)}" for i, side in enumerate(comparison.sides)]
    columns = [0.25 + 0.21 * ((len(names) + 1) // 2)] * 2  # where the next panel of each goes
    drawn = []
    for panel in ladder_panels(comparison, ladders[:MOST_LADDERS]) + roofline_panels(comparison):
        column = columns.index(min(columns))
        drawn.append((panel, column * WIDTH, columns[column]))
        columns[column] += panel.height
    height = max(columns) + 0.15 * (said.count("\n") + 1) * bool(said) + 0.1
    figure: Figure = new_figure(2 * WIDTH, height, is_arranged=False)
    for panel, x, y in drawn:
        draw_panel(panel, figure, x, y)
    marks = [
        Line2D([], [], linestyle="none", marker=series_marker(i), color=series_colour(i))
        for i in range(len(names))
    ]
    figure.legend(marks, names, loc="upper left", ncols=2, frameon=False, fontsize=9, bbox_to_anchor=(0, 1))
    figure.text(0.08 / 2 / WIDTH, 0.08 / height, said, fontsize=8, va="bottom")
    return figure
