"""The valley: loss against samples and seconds, and time to a loss by batch size with its two factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numbasgd.render.figures import given_axes, hide_box, new_figure, plain_text, plain_ticks
from numbasgd.render.palette import BLUE, GREEN, ORANGE, VERMILLION, series_colour

if TYPE_CHECKING:
    from numbasgd.experiments._valley import Size, Valley

_KINDS = {"compiled": ("compiled steps", BLUE, "o"), "interpreted": ("a NumPy loop", ORANGE, "s")}
_STYLES = ("-", "--", "-.", ":")


def plot_valleys(valleys: Sequence[Valley]) -> Any:
    """Draw a row for each problem: losses against samples and seconds, factors, times; returns the figure."""
    if not valleys:
        raise ValueError("valleys is empty; expected at least one to draw. Measure one first.")
    figure = new_figure(17, 0.6 + 4.0 * len(valleys))
    axes = figure.subplots(len(valleys), 4, squeeze=False)
    for row, valley in zip(axes, valleys, strict=True):
        plot_curves(valley, row[0], x="samples")
        plot_curves(valley, row[1], x="seconds")
        plot_factors(valley, row[2])
        plot_times(valley, row[3])
        row[0].set_title(plain_text(f"{valley.data}, {valley.n:,} x {valley.d}"), loc="left", fontsize=10)
    machine = valleys[0].machine
    versions = machine["versions"]
    figure.suptitle(
        plain_text(f"{machine['cpu']['model']}, one thread, numbasgd {versions['numbasgd']}"),
        x=0.01, ha="left", fontsize=9, color="0.3",
    )  # fmt: skip
    return figure


def plot_curves(valley: Valley, ax: Any = None, *, x: str = "samples") -> Any:
    """Draw the loss of one run of each size, less the least one, against samples or compiled seconds."""
    from matplotlib.ticker import EngFormatter

    ax = given_axes(ax)
    for i, size in enumerate(valley.sizes):
        samples, losses = size.curve
        each = 1.0 if x == "samples" else size.compiled.median
        excess = [loss - valley.optimum for loss in losses[1:]]
        ax.plot(
            [each * s for s in samples[1:]], excess, _STYLES[i % 4],
            color=series_colour(i), lw=1.2, label=f"{size.batch_size:,}",
        )  # fmt: skip
    ax.axhline(valley.target_loss - valley.optimum, color="0.2", lw=1)
    ax.annotate(
        f"target: {100 * valley.target:g} % of the gap", (0, valley.target_loss - valley.optimum),
        xycoords=("axes fraction", "data"), xytext=(2, 2), textcoords="offset points", fontsize=8,
    )  # fmt: skip
    _both_logarithmic(ax)
    ax.xaxis.set_major_formatter(EngFormatter(unit="" if x == "samples" else "s"))
    ax.set_xlabel("samples seen" if x == "samples" else "time of compiled steps")
    ax.set_ylabel("loss above the least one")
    ax.legend(frameon=False, fontsize=7, title="batch size", title_fontsize=7, loc="lower left", ncols=2)
    return ax


def plot_factors(valley: Valley, ax: Any = None) -> Any:
    """Draw samples needed and seconds a sample by batch size, each as a multiple of its least."""
    ax = given_axes(ax)
    reached = [size for size in valley.sizes if size.samples is not None]
    if reached:
        _line(ax, reached, [size.samples for size in reached], "samples needed", GREEN, "^")
    for kind, (name, colour, marker) in _KINDS.items():
        spreads = [getattr(size, kind) for size in valley.sizes]
        _line(ax, valley.sizes, spreads, f"seconds a sample, {name}", colour, marker)
    _both_logarithmic(ax)
    ax.set_xlabel("batch size")
    ax.set_ylabel("times the least")
    ax.set_title("the two factors", loc="left", fontsize=10)
    ax.legend(frameon=False, fontsize=8)
    return ax


def plot_times(valley: Valley, ax: Any = None) -> Any:
    """Draw the seconds to the target by batch size, of both kinds of steps; bands reach over the quartiles."""
    from matplotlib.ticker import EngFormatter

    ax = given_axes(ax)
    reached = [size for size in valley.sizes if size.samples is not None]
    for kind, (name, colour, marker) in _KINDS.items():
        spreads = [spread for size in reached if (spread := size.seconds(kind)) is not None]
        places = [size.batch_size for size in reached]
        ax.plot(places, [s.median for s in spreads], marker + "-", color=colour, label=name)
        ax.fill_between(places, [s.q1 for s in spreads], [s.q3 for s in spreads], color=colour, alpha=0.2, lw=0)
        if spreads:
            seconds, place = min((s.median, place) for s, place in zip(spreads, places, strict=True))
            ax.plot(place, seconds, "o", ms=12, mfc="none", mec=VERMILLION, mew=1.5)
    _both_logarithmic(ax)
    ax.set_xlabel("batch size")
    ax.yaxis.set_major_formatter(EngFormatter(unit="s"))
    ax.set_ylabel(f"time to {100 * valley.target:g} % of the gap")
    ax.set_title("their product: the time (ringed: the least)", loc="left", fontsize=10)
    ax.legend(frameon=False, fontsize=8)
    return ax


def _line(ax: Any, sizes: Sequence[Size], spreads: Sequence[Any], label: str, colour: str, marker: str) -> None:
    least = min(spread.median for spread in spreads)
    places = [size.batch_size for size in sizes]
    ax.plot(places, [s.median / least for s in spreads], marker + "-", color=colour, label=label)
    ax.fill_between(
        places, [s.q1 / least for s in spreads], [s.q3 / least for s in spreads], color=colour, alpha=0.2, lw=0
    )


def _both_logarithmic(ax: Any) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    plain_ticks(ax.xaxis, 5)
    ax.grid(visible=True, alpha=0.25)
    ax.set_axisbelow(True)
    hide_box(ax)
