"""Bars of figures from result files: the ladder of one run, and ladders of several runs side by side.

A function that draws takes ``ax`` and returns it; no state of matplotlib's is touched, nothing is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from numbasgd.compare.comparison import Comparison
from numbasgd.render.comparison_rooflines import PANEL, panels, plot_rooflines
from numbasgd.render.figures import hide_box, legend_above, new_axes, new_figure, plain_text, plain_ticks
from numbasgd.render.machine_text import letter
from numbasgd.render.palette import series_colour
from numbasgd.render.tables import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LADDERS = 12
LOGARITHMIC_FROM = 30  # ratio of the longest bar to the shortest from which on an axis is logarithmic


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


def plot_comparison(comparison: Comparison) -> Figure:
    """The ladders of a comparison below each other: speed where the work is known, else time.

    Where machines have measured limits, their rooflines with all points come last.
    """
    ladders = [mean.ladder for mean in comparison.means][:MOST_LADDERS]
    chosen = [[row for row in comparison.rows if row.ladder == ladder][:40] for ladder in ladders]
    heights = [1.2 + 0.22 * len(rows) * len(comparison.sides) for rows in chosen]
    roofs = len(panels(comparison))
    heights += [PANEL] * roofs
    figure = new_figure(8, min(sum(heights), 60))
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    if roofs:
        plot_rooflines(comparison, axes[len(ladders) :])
    for ax, ladder, rows in zip(axes, ladders, chosen, strict=False):
        units = {m.unit for row in rows for m in row.measures if m}
        unit = next(iter(units)) if len(units) == 1 else None
        series: dict[str, list[float | None]] = {}
        for place, side in enumerate(comparison.sides):
            found = [row.measures[place] for row in rows]
            series[f"{letter(place)}: {Path(side.name).name}"] = [
                None if m is None else m.rate if unit else m.seconds.value for m in found
            ]
        names = [next(m.case.case for m in row.measures if m) for row in rows]
        bars(names, series, unit=unit or "seconds", ax=ax)
        ax.set_title(plain_text(ladder) or "cases without a group", loc="left", fontsize=10)
    return figure
