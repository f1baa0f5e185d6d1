"""The rooflines of several machines in one picture, and where each case stands under its own.

Speed against intensity, both logarithmic: the slopes are the bandwidths of the levels, the flat parts the
FMA peaks.  A case below a slope is bound by memory; one below a flat part is bound by arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from numbasgd.compare.comparison import Comparison
from numbasgd.compare.measures import Measure
from numbasgd.compare.results import Case
from numbasgd.machine.bounds import Limits
from numbasgd.render.figures import hide_box, plain_text, plain_ticks, separated, shortened
from numbasgd.render.machine_text import letter
from numbasgd.render.palette import series_colour, series_marker

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 4.0  # of a panel, inches
STRIP = 0.38  # of a panel's height, at the bottom, for the labels of intensities
MARGIN = 0.3  # of a panel's width, at the left, for the names of the slopes that begin there
_LONGEST = 20  # characters of a label


class Point(NamedTuple):
    """A case of one side: its place in the picture, and the text at its intensity."""

    side: int
    intensity: float
    gflops: float
    label: str


class Roof(NamedTuple):
    """A machine's peak in GFLOP/s, and the name and GB/s of each level, memory last."""

    peak: float | None
    reads: list[tuple[str, float]]


def panels(comparison: Comparison) -> dict[tuple[str, str], list[Point]]:
    """The points by dtype and threads, of the sides whose limits are known."""
    found: dict[tuple[str, str], list[Point]] = {}
    for row in comparison.rows:
        for side, m in enumerate(row.measures):
            if m and m.bound and m.case.flop and m.case.bytes and m.case.dtype and m.case.threads:
                found.setdefault((m.case.dtype, m.case.threads), []).append(_point(side, m))
    return found


def plot_roofline(ax: Axes, comparison: Comparison, dtype: str, threads: str) -> Axes:
    """The roofs of all machines for one dtype and number of threads, and the cases below them."""
    points = panels(comparison)[dtype, threads]
    roofs = {
        side: _roof(known, dtype, threads)
        for side in sorted({point.side for point in points})
        if (known := comparison.sides[side].files[0].limits)
    }
    left, right = _span(points, list(roofs.values()))
    ax.set(xscale="log", yscale="log", xlim=(left * (left / right) ** (MARGIN / (1 - MARGIN)), right))
    fastest = {max(same, key=lambda p: p.gflops) for same in _by_place(points).values()}
    floor = 0.5 * min(
        [p.gflops for p in fastest] + [left * read for r in roofs.values() for _, read in r.reads]
    )
    top = 2.5 * max([p.gflops for p in fastest] + [r.peak for r in roofs.values() if r.peak])
    ax.set_ylim(floor * (floor / top) ** (STRIP / (1 - STRIP)), top)
    for side, roof in roofs.items():
        _draw_roof(ax, roof, series_colour(side), left)
    _name_roofs(ax, roofs, left, floor)
    seen = [point for point in points if point.gflops >= floor]
    _draw_points(ax, seen, fastest, len(points) - len(seen))
    what = shortened(dtype, 20)
    ax.set_title(
        plain_text(f"Roofline, {what}, {threads} thread{'s' * (threads == 'all')}"), loc="left", fontsize=10
    )
    return ax


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


def _roof(limits: Limits, dtype: str, threads: str) -> Roof:
    peak = limits.peak(dtype, threads)
    reads = [(level.name, level.read[threads].value) for level in limits.levels if threads in level.read]
    return Roof(peak.value if peak else None, reads)


def _draw_roof(ax: Axes, roof: Roof, colour: str, left: float) -> None:
    """The peak and from ``left`` on a slope for each level up to it; memory's and the peak are thick."""
    right = ax.get_xlim()[1]
    for place, (_, read) in enumerate(roof.reads):
        end = min(right, roof.peak / read) if roof.peak else right
        if end > left:
            is_memory = place == len(roof.reads) - 1
            ax.plot(
                [left, end], [left * read, end * read], color=colour, lw=1.6 if is_memory else 0.7, alpha=0.8
            )
    if roof.peak:
        fastest = max((read for _, read in roof.reads), default=None)
        start = max(left, roof.peak / fastest) if fastest else left
        ax.plot([min(start, right), right], [roof.peak] * 2, color=colour, lw=1.6, alpha=0.8)


def _name_roofs(ax: Axes, roofs: Mapping[int, Roof], left: float, floor: float) -> None:
    """Each peak at the right of the axes and each slope where it begins, none of them over another.

    With more than two machines the slopes of the caches have no names: there is no room for them.
    """
    named = slice(None) if len(roofs) <= 2 else slice(-1, None)
    slopes = [
        (left * read, f"{letter(side)} {shortened(name, 10)} {read:.3g}")
        for side, roof in roofs.items()
        for name, read in roof.reads[named]
    ]
    peaks = [(roof.peak, f"{letter(side)} {roof.peak:.3g}") for side, roof in roofs.items() if roof.peak]
    for found, at, align in ((slopes, left, "right"), (peaks, ax.get_xlim()[1], "left")):
        for (_, text), height in zip(sorted(found), _apart(ax, sorted(found), floor), strict=True):
            ax.annotate(
                plain_text(text), (at, height), xytext=(4 if align == "left" else -3, 0),
                textcoords="offset points", fontsize=8, ha=align, va="center", annotation_clip=False,
            )  # fmt: skip


def _apart(ax: Axes, found: Sequence[tuple[float, str]], floor: float) -> list[float]:
    """The heights of texts in ascending order, moved so that none touches another."""
    bottom, top = ax.get_ylim()
    height = 0.75 * HEIGHT * 72  # points that are left for the axes
    gap = 10.5 / height * math.log(top / bottom)
    wanted = [math.log(at / floor) for at, _ in found]
    return [floor * math.exp(place) for place in separated(wanted, gap, math.log(top / floor))]


def _span(points: Sequence[Point], roofs: Sequence[Roof]) -> tuple[float, float]:
    """The limits of the intensity axis: all points, and a part of each machine's lowest slope."""
    places = [point.intensity for point in points]
    ridges = [roof.peak / roof.reads[-1][1] / 4 for roof in roofs if roof.peak and roof.reads]
    return min([place / 4 for place in places] + ridges), max(places) * 2


def _by_place(points: Sequence[Point]) -> dict[tuple[int, float], list[Point]]:
    """The points of each side at each intensity."""
    found: dict[tuple[int, float], list[Point]] = {}
    for point in points:
        found.setdefault((point.side, point.intensity), []).append(point)
    return found


def _draw_points(ax: Axes, points: Sequence[Point], fastest: Collection[Point], hidden: int) -> None:
    """The points, those of each side shifted a little, and at the bottom the labels of their intensities.

    The fastest of a side at an intensity are full, the others faint; ``hidden`` lie too low to be drawn.
    """
    sides = sorted({point.side for point in points})
    for place, side in enumerate(sides):
        beside = 1.06 ** (place - (len(sides) - 1) / 2)
        for is_fastest in (False, True):
            mine = [p for p in points if p.side == side and (p in fastest) == is_fastest]
            if not mine:
                continue
            ax.plot(
                [p.intensity * beside for p in mine],
                [p.gflops for p in mine],
                linestyle="none",
                marker=series_marker(side),
                markersize=5.5 if is_fastest else 3,
                markeredgewidth=0,
                color=series_colour(side),
                alpha=1.0 if is_fastest else 0.45,
                label=letter(side) if is_fastest else None,
                zorder=4 if is_fastest else 3,
            )
    left, right = ax.get_xlim()
    for intensity, label in _labels(points, math.log(right / left) / 22):
        ax.annotate(
            plain_text(label), (intensity, 0), xycoords=("data", "axes fraction"), xytext=(0, 3),
            textcoords="offset points", rotation=90, fontsize=7.5, ha="center", va="bottom", color="0.5",
        )  # fmt: skip
    below = f"; {hidden} slower cases lie below" if hidden else ""
    ax.set_xlabel(f"operations per byte (logarithmic){below}", fontsize=8.5)
    ax.set_ylabel("GFLOP/s (logarithmic)", fontsize=8.5)
    ax.tick_params(labelsize=8)
    hide_box(ax)
    plain_ticks(ax.xaxis, most=8)
    plain_ticks(ax.yaxis, most=8)


def _labels(points: Sequence[Point], gap: float) -> list[tuple[float, str]]:
    """The label at each intensity; where logarithms of intensities lie closer than ``gap``, one for all.

    A label that several intensities have is written once.
    """
    first: dict[str, float] = {}
    for point in sorted(points, key=lambda p: p.intensity):
        first.setdefault(point.label, point.intensity)
    found: list[tuple[float, list[str]]] = []
    for label, intensity in first.items():
        if found and math.log(intensity / found[-1][0]) < gap:
            found[-1][1].append(label)
        else:
            found.append((intensity, [label]))
    more = [f" +{len(labels) - 1}" if len(labels) > 1 else "" for _, labels in found]
    return [(x, shortened(labels[0], _LONGEST) + m) for (x, labels), m in zip(found, more, strict=True)]
