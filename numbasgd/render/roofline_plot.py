"""The picture of a roofline, explained for readers who have not seen one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numbasgd.machine.fingerprint import size
from numbasgd.render.figures import hide_box, new_axes, plain_text, plain_ticks, separated
from numbasgd.render.palette import TEXT_SERIES, series_marker

if TYPE_CHECKING:
    from numbasgd.experiments._roofline import Point, Roofline

HOW_TO_READ = (
    "How to read it: a point is a kernel; up is faster, right is more arithmetic for each byte that it needs. "
    "No point gets above the roof.\nA sloped line is how fast a level of the memory hands out data, the flat "
    "one how fast the core multiplies and adds. A kernel far below\nits roof wastes what the machine could do; "
    "under a slope only fewer bytes make it faster. Percentage: the share of the roof over the\nlevel that "
    "holds its data."
)


def plot_roofline(roofline: Roofline, ax: Any = None) -> Any:
    """Draw ceilings and kernels; returns the axes.

    Names stand beside their points, moved apart and joined to them by a thin line where they would overlap.
    """
    ax = new_axes(11, 8) if ax is None else ax
    levels, peak = roofline.limits["levels"], roofline.limits["fma"][roofline.dtype]["one"]["value"]
    points = roofline.points
    left = min([p.place.intensity for p in points], default=1.0) / 16
    right = max([p.place.intensity for p in points], default=64.0) * 10
    bottom = min([p.place.gflops for p in points] + [levels[-1]["read"] * left]) / 2
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, peak * 2.5)
    _ceilings(ax, levels, peak, left, right, roofline.dtype)
    groups = list(dict.fromkeys(p.group for p in points))
    for i, group in enumerate(groups):
        colour = TEXT_SERIES[i % len(TEXT_SERIES)]
        chosen = [p for p in points if p.group == group]
        ax.plot(
            [p.place.intensity for p in chosen], [p.place.gflops for p in chosen],
            series_marker(i), color=colour, ms=6, label=plain_text(_group(group)), zorder=3,
        )  # fmt: skip
        _names(ax, chosen, colour, left, right, is_left=i == 0 and len(groups) > 1)
    ax.set_xlabel("arithmetic intensity: operations for each byte that must travel (log scale)")
    ax.set_ylabel("GFLOP/s (log scale)")
    plain_ticks(ax.yaxis)
    ax.grid(visible=True, alpha=0.2)
    ax.set_axisbelow(True)
    hide_box(ax)
    ticks = [2.0**i for i in range(-6, 14) if left <= 2.0**i <= right]
    ax.set_xticks(ticks, [f"1/{round(1 / t)}" if t < 1 else f"{t:.0f}" for t in ticks])
    if groups:
        ax.legend(frameon=False, fontsize=9, loc="lower left")
    cpu = roofline.machine["cpu"]["model"]
    ax.set_title(plain_text(f"Roofline of one core: {cpu}, {roofline.dtype}"), loc="left", fontsize=11)
    ax.annotate(
        HOW_TO_READ, (0, 0), xycoords="axes fraction", xytext=(0, -46), textcoords="offset points",
        va="top", fontsize=8.5, color="0.25",
    )  # fmt: skip
    return ax


def _ceilings(
    ax: Any, levels: Sequence[Mapping[str, Any]], peak: float, left: float, right: float, dtype: str
) -> None:
    """The flat roof, and a slope for each level from the left edge up to it; names along the slopes."""
    fastest = max(level["read"] for level in levels)
    ax.plot([peak / fastest, right], [peak, peak], color="0.1", lw=1.8)
    ax.annotate(
        f"multiply-add peak, {dtype}: {peak:.3g} GFLOP/s", (right, peak), xytext=(-4, 5),
        textcoords="offset points", ha="right", fontsize=9,
    )  # fmt: skip
    for level in levels:
        ridge = peak / level["read"]
        ax.plot([left, ridge], [left * level["read"], peak], color="0.45", lw=1.2)
    ridge = peak / levels[-1]["read"]
    for text, x, side in (
        ("bandwidth is the limit  <", ridge / 1.1, "right"),
        (">  arithmetic is the limit", ridge * 1.1, "left"),
    ):
        ax.annotate(text, (x, peak * 1.7), ha=side, va="center", fontsize=9, color="0.35")
    ax.plot([ridge, ridge], [peak, peak * 2], color="0.6", lw=0.9, ls=":")
    for i, level in enumerate(levels):
        extent = "" if level["bytes"] is None else f" ({size(level['bytes'])})"
        # Above its line, but below it where the next faster line is too close.
        is_above = i == 0 or levels[i - 1]["read"] > 1.4 * level["read"]
        x = left * (1.1 if is_above else 1.2)
        ax.text(
            x, x * level["read"] * (1.04 if is_above else 0.96),
            f"{level['name']}{extent}: {level['read']:.3g} GB/s", fontsize=8, color="0.3",
            # Along the line y = read * x: transform_rotates_text turns this angle into that of the final axes.
            rotation=math.degrees(math.atan(level["read"])), rotation_mode="anchor",
            transform_rotates_text=True, ha="left", va="bottom" if is_above else "top",
        )  # fmt: skip


def _names(ax: Any, points: Sequence[Point], colour: str, left: float, right: float, *, is_left: bool) -> None:
    """Each point's name and share beside the group, placed so that no two lines of text overlap."""
    bottom, top = ax.get_ylim()
    roof = 0.9 * max(p.place.roof for p in points)
    height = ax.get_window_extent().height or 400
    gap = 13.0 * ax.figure.dpi / 72 / height * (math.log(top / bottom))
    ordered = sorted(points, key=lambda p: p.place.gflops)
    places = separated([math.log(p.place.gflops / bottom) for p in ordered], gap, math.log(roof / bottom))
    edge = (
        min(p.place.intensity for p in points) / 1.5
        if is_left
        else max(p.place.intensity for p in points) * 1.5
    )
    for point, y in zip(ordered, places, strict=True):
        share = f"{100 * point.place.roofline_share:.2g} %"
        text = f"{share}  {point.name}" if is_left else f"{point.name}  {share}"
        ax.annotate(
            plain_text(text), (point.place.intensity, point.place.gflops), xytext=(edge, bottom * math.exp(y)),
            textcoords="data", ha="right" if is_left else "left", va="center", fontsize=8, color=colour,
            arrowprops={"arrowstyle": "-", "lw": 0.5, "color": colour, "shrinkA": 0, "shrinkB": 2},
        )  # fmt: skip


def _group(group: str) -> str:
    return "gradient, rows x columns" if group == "gradient" else f"product {group}"
