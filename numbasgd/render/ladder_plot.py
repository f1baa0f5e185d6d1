"""The picture of a ladder; it takes ``ax=None`` and returns the axes that it drew on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numbasgd.render.figures import given_axes, hide_box
from numbasgd.render.palette import BLUE, LIGHT_GREY, ORANGE, VERMILLION

if TYPE_CHECKING:
    from numbasgd.experiments._product import Row

COMPILED, INTERPRETED, BLAS = BLUE, ORANGE, LIGHT_GREY
PEAK = VERMILLION


def plot_ladder(rows: Sequence[Row], ax: Any = None, *, title: str = "", peak: float | None = None) -> Any:
    """Bars of GFLOP/s on a log axis, the first rung on top and the BLAS below; a thin line is the quartiles.

    Parameters
    ----------
    rows : sequence of numbasgd.experiments._product.Row
        At least one.
    ax : matplotlib Axes, optional
        Where to draw; a figure of its own if left out.
    title : str
        What stands above.
    peak : float, optional
        GFLOP/s of multiply-adds in registers, drawn as a line.

    Returns
    -------
    matplotlib Axes
    """
    if not rows:
        raise ValueError("rows is empty; expected at least one rung to draw. Measure a ladder first.")
    ax = given_axes(ax, 7.0, 0.9 + 0.42 * len(rows))
    gflop = [row.gflops * row.seconds for row in rows]
    to_quartiles = [
        [row.gflops - operations / row.q3 for row, operations in zip(rows, gflop, strict=True)],
        [operations / row.q1 - row.gflops for row, operations in zip(rows, gflop, strict=True)],
    ]
    places = range(len(rows))
    speeds = [row.gflops for row in rows]
    ax.barh(places, speeds, xerr=to_quartiles, color=[_colour(row.rung) for row in rows], error_kw={"lw": 0.8})
    for place, row in zip(places, rows, strict=True):
        share = "" if row.share is None or row.rung == "numpy" else f"  ({row.share:.2g} x BLAS)"
        label = f"{row.gflops:.3g}{share}"
        ax.annotate(
            label, (row.gflops, place), xytext=(6, 0), textcoords="offset points", va="center", fontsize=8,
            bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none"},
        )  # fmt: skip
    ax.set_yticks(places, [f"{row.rung}\n{row.idea}" for row in rows], fontsize=8)
    ax.set_xscale("log")
    ax.set_xlim(min(speeds) / 2, max(speeds) * 8)
    if peak is not None:
        draw_peak(ax, peak)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel("GFLOP/s (2mnk/t, log scale)")
    ax.set_title(title, fontsize=10)
    hide_box(ax)
    return ax


def draw_peak(ax: Any, peak: float) -> None:
    """A line at the measured peak of multiply-adds, behind the bars, with its figure beside it."""
    ax.axvline(peak, color=PEAK, lw=1.2, ls="--", zorder=0)
    ax.annotate(
        f"peak {peak:.3g}", (peak, 1), xycoords=("data", "axes fraction"), xytext=(3, -2), rotation=90,
        textcoords="offset points", fontsize=8, va="top", color=PEAK,
    )  # fmt: skip


def _colour(rung: str) -> str:
    return BLAS if rung == "numpy" else INTERPRETED if rung.startswith("numpy") else COMPILED
