"""Many machines in three pictures: on one roofline, in GFLOP/s and as shares, and a line each in one valley."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from numbasgd.compare.standings import Standing
from numbasgd.render.comparison_plot import Panel
from numbasgd.render.figures import hide_box, plain_ticks
from numbasgd.render.machine_text import letter
from numbasgd.render.palette import series_colour, series_marker

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 3.6  # of a panel, inches
_ROOM = 4.0  # times the outermost points that the axes reach to


def panels(found: Sequence[Standing]) -> list[Panel]:
    """A panel for each picture that something is known for."""
    drawn = []
    if any(s.core and s.memory and s.kernels for s in found):
        drawn += [partial(plot_absolutes, found=found), partial(plot_shares, found=found)]
    if any(s.valley for s in found):
        drawn.append(partial(plot_valley, found=found))
    return [Panel(HEIGHT, 0.65, 0.3, draw) for draw in drawn]


def plot_absolutes(ax: Axes, found: Sequence[Standing]) -> Axes:
    """GFLOP/s of product and gradient on each machine, under its own peak and the slope of its memory."""
    points = [(s, kernel.intensity, kernel.gflops) for s in _placed(found) for kernel in s.kernels.values()]
    left, right = min(x for _, x, _ in points) / _ROOM, max(x for _, x, _ in points) * _ROOM
    for s in _placed(found):
        assert s.core and s.memory
        ridge = s.core.peak / s.memory.read
        ax.plot(
            [left, ridge, max(ridge, right)], [left * s.memory.read, s.core.peak, s.core.peak],
            color=series_colour(s.side), lw=1, alpha=0.7,
        )  # fmt: skip
    _dots(ax, points)
    ax.set_xlim(left, right)
    _finish(ax, "Product and gradient under each machine's roof", "operations per byte", "GFLOP/s")
    return ax


def plot_shares(ax: Axes, found: Sequence[Standing]) -> Axes:
    """The same in each machine's own measure, where all have one roof: 1 is its peak, and its ridge."""
    points = []
    for s in _placed(found):
        assert s.core and s.memory
        ridge = s.core.peak / s.memory.read
        points += [(s, k.intensity / ridge, k.gflops / s.core.peak) for k in s.kernels.values()]
    left, right = min(x for _, x, _ in points) / _ROOM, max(1.0, *(x for _, x, _ in points)) * _ROOM
    ax.plot([left, 1, right], [left, 1, 1], color="0.4", lw=1.4)
    _dots(ax, points)
    ax.set_xlim(left, right)
    _finish(
        ax,
        "The same as shares: one roof for all",
        "operations per byte, of the machine's ridge",
        "share of its peak",
    )
    return ax


def plot_valley(ax: Axes, found: Sequence[Standing]) -> Axes:
    """Time to the loss by batch size: compiled steps full, a NumPy loop dotted, the best of each ringed."""
    for s in found:
        known = s.valley.places if s.valley else ()
        for kind, style in (("compiled", "-"), ("interpreted", ":")):
            places = [(place.batch_size, time) for place in known if (time := place.time[kind])]
            if not places:
                continue
            sizes, times = zip(*places, strict=True)
            ax.plot(
                sizes, [1e6 * t for t in times], style, color=series_colour(s.side), lw=1.3,
                marker=series_marker(s.side) if kind == "compiled" else None, ms=4,
                label=letter(s.side) if kind == "compiled" else None,
            )  # fmt: skip
            least, size = min((time, size) for size, time in places)
            ax.plot(size, 1e6 * least, "o", ms=9, mfc="none", mec=series_colour(s.side), mew=1.2)
    _finish(ax, "Time to the loss (dotted: a NumPy loop)", "batch size", "us to the target")
    return ax


def _placed(found: Sequence[Standing]) -> list[Standing]:
    return [s for s in found if s.core and s.memory and s.kernels]


def _dots(ax: Axes, points: Sequence[tuple[Standing, float, float]]) -> None:
    """A dot for each with its letter, those of neighbours at different heights."""
    for s, x, y in points:
        ax.plot(x, y, marker=series_marker(s.side), color=series_colour(s.side), ms=6, ls="none")
        ax.annotate(
            letter(s.side), (x, y), xytext=(5, (-3, -11, 5)[s.side % 3]), textcoords="offset points",
            fontsize=8,
        )  # fmt: skip


def _finish(ax: Axes, title: str, x: str, y: str) -> None:
    ax.set(xscale="log", yscale="log")
    ax.set_title(title, loc="left", fontsize=10)
    ax.set_xlabel(f"{x} (logarithmic)", fontsize=8.5)
    ax.set_ylabel(f"{y} (logarithmic)", fontsize=8.5)
    ax.tick_params(labelsize=8)
    hide_box(ax)
    plain_ticks(ax.xaxis, most=8)
    plain_ticks(ax.yaxis, most=8)
