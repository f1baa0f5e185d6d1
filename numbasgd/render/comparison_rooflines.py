"""The rooflines of several machines in one picture, and where each case stands under its own.

Speed against intensity, both logarithmic: the slopes are the bandwidths of the levels, the flat parts the
FMA peaks.  A case below a slope is bound by memory; one below a flat part is bound by arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from numbasgd.compare.comparison import Comparison
from numbasgd.compare.measures import Measure
from numbasgd.compare.results import Case
from numbasgd.machine.bounds import Limits
from numbasgd.render.figures import hide_box, legend_above, new_figure, plain_text, plain_ticks
from numbasgd.render.machine_text import letter
from numbasgd.render.palette import series_colour, series_marker

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL = 4.2  # inches


class Point(NamedTuple):
    """A case of one side: its place in the picture, and the text at its intensity."""

    side: int
    intensity: float
    gflops: float
    label: str


def panels(comparison: Comparison) -> dict[tuple[str, str], list[Point]]:
    """The points by dtype and threads, of the sides whose limits are known."""
    found: dict[tuple[str, str], list[Point]] = {}
    for row in comparison.rows:
        for side, m in enumerate(row.measures):
            if m and m.bound and m.case.flop and m.case.bytes and m.case.dtype and m.case.threads:
                found.setdefault((m.case.dtype, m.case.threads), []).append(_point(side, m))
    return found


def plot_rooflines(comparison: Comparison, axes: Sequence[Axes] | None = None) -> Sequence[Axes]:
    """A panel for each dtype and number of threads, on as many axes, or on a figure of their own."""
    found = panels(comparison)
    if not found:
        raise ValueError(
            "the comparison has no case whose place under a roofline is known; expected files with measured "
            "limits. Run the bench again with this version of numbasgd."
        )
    if axes is None:
        axes = list(new_figure(8, PANEL * len(found)).subplots(len(found), 1, squeeze=False)[:, 0])
    for ax, ((dtype, threads), points) in zip(axes, found.items(), strict=True):
        limits = {
            side: known
            for side in sorted({point.side for point in points})
            if (known := comparison.sides[side].files[0].limits)
        }
        span = _span(points, [(known, dtype, threads) for known in limits.values()])
        ax.set(xscale="log", yscale="log", xlim=span)
        for side, known in limits.items():
            _ceilings(ax, known, dtype, threads, series_colour(side))
        _draw_points(ax, points)
        ax.set_title(f"Roofline, {dtype}, {threads} thread{'s' * (threads == 'all')}", loc="left", fontsize=10)
    return axes


def _point(side: int, m: Measure) -> Point:
    assert m.case.flop and m.case.bytes
    return Point(
        side, m.case.flop / m.case.bytes, m.case.flop / m.seconds.value / 1e9, plain_text(_size(m.case))
    )


def _size(case: Case) -> str:
    """The label of a case's intensity: its kind and its sizes."""
    sizes = [case.sizes[name] for name in ("m", "k", "n", "d") if name in case.sizes]
    if case.kind == "gradient":
        sizes = [case.sizes[name] for name in ("n", "d") if name in case.sizes]
    short = sizes[:1] if len(set(sizes)) == 1 else sizes
    return f"{case.kind} {'x'.join(map(str, short))}"


def _ceilings(ax: Axes, limits: Limits, dtype: str, threads: str, colour: str) -> None:
    """The peak and a slope for each level, up to where it meets the peak."""
    left, right = ax.get_xlim()
    peak = limits.peak(dtype, threads)
    for level in limits.levels:
        read = level.read.get(threads)
        if not read:
            continue
        end = min(right, peak.value / read.value) if peak else right
        if end <= left:
            continue
        is_last = level is limits.levels[-1]
        ax.plot(
            [left, end],
            [left * read.value, end * read.value],
            color=colour,
            lw=1.6 if is_last else 0.8,
            alpha=0.8,
        )
        ax.annotate(
            plain_text(level.name), (left, left * read.value), xytext=(3, 3), textcoords="offset points",
            color=colour, fontsize=7,
        )  # fmt: skip
    if peak:
        slowest = [level.read[threads].value for level in limits.levels if threads in level.read]
        start = max(left, peak.value / max(slowest)) if slowest else left
        ax.plot([min(start, right), right], [peak.value] * 2, color=colour, lw=1.6, alpha=0.8)
        ax.annotate(
            f"FMA peak {peak.value:.3g}", (right, peak.value), xytext=(-3, 3), textcoords="offset points",
            color=colour, fontsize=7, ha="right",
        )  # fmt: skip


def _span(points: Sequence[Point], known: Sequence[tuple[Limits, str, str]]) -> tuple[float, float]:
    """The limits of the intensity axis: all points, and a part of each machine's lowest slope."""
    places = [point.intensity for point in points]
    ridges = []
    for limits, dtype, threads in known:
        peak, read = limits.peak(dtype, threads), [x.read[threads] for x in limits.levels if threads in x.read]
        ridges += [peak.value / read[-1].value / 4] if peak and read else []
    return min([place / 4 for place in places] + ridges), max(places) * 4


def _draw_points(ax: Axes, points: Sequence[Point]) -> None:
    """The points, those of each side shifted a little, and at the bottom the labels of their intensities."""
    sides = sorted({point.side for point in points})
    for place, side in enumerate(sides):
        beside = 1.05 ** (place - (len(sides) - 1) / 2)
        mine = [point for point in points if point.side == side]
        ax.plot(
            [p.intensity * beside for p in mine],
            [p.gflops for p in mine],
            linestyle="none",
            marker=series_marker(side),
            markersize=5,
            markeredgewidth=0.5,
            markeredgecolor="white",
            color=series_colour(side),
            label=letter(side),
        )
    ax.set_ylim(min(p.gflops for p in points) / 15)
    for intensity, label in _labels(points):
        ax.annotate(
            plain_text(label), (intensity, 0), xycoords=("data", "axes fraction"), xytext=(0, 4),
            textcoords="offset points", rotation=90, fontsize=7, ha="center", va="bottom", color="0.5",
        )  # fmt: skip
    ax.set_xlabel("intensity: operations per byte of compulsory traffic (logarithmic)")
    ax.set_ylabel("GFLOP/s (logarithmic)")
    hide_box(ax)
    plain_ticks(ax.xaxis)
    plain_ticks(ax.yaxis)
    legend_above(ax)


def _labels(points: Sequence[Point]) -> list[tuple[float, str]]:
    """The label at each intensity; labels too close to be written side by side are joined."""
    found: list[tuple[float, str]] = []
    for intensity, label in sorted({(p.intensity, p.label) for p in points}):
        if found and intensity < 1.15 * found[-1][0]:
            found[-1] = (found[-1][0], f"{found[-1][1]}, {label.partition(' ')[2] or label}")
        else:
            found.append((intensity, label))
    return found
