"""The pictures of ``numbasgd memory``: latency, patterns, bursts, widths, and work for each number read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from numbasgd.machine.fingerprint import size
from numbasgd.render.figures import given_axes, hide_box, new_figure, plain_text, plain_ticks
from numbasgd.render.palette import BLUE, GREEN, ORANGE, VERMILLION, series_colour

if TYPE_CHECKING:
    from numbasgd.experiments._memory import Memory, Row

_PATTERNS = {
    "sequential": ("in order, whole registers", BLUE),
    "strided": ("one of each cache line, in order", ORANGE),
    "random": ("one of each cache line, at random", GREEN),
    "chase": ("at random, each after the one before", VERMILLION),
}


def plot_memory(memory: Memory) -> Any:
    """Draw the five experiments, each with the sentence that it shows; returns the figure."""
    figure = new_figure(12, 10.5)
    axes = figure.subplots(3, 2).flatten()
    _latency(axes[0], memory)
    _patterns(axes[1], memory)
    _bursts(axes[2], memory.bursts)
    _widths(axes[3], memory.widths)
    _work(axes[4], memory.work)
    _levels(axes[5], memory)
    return figure


def plot_patterns(memory: Memory, ax: Any) -> Any:
    """Draw the orders of reading alone; returns the axes."""
    _patterns(given_axes(ax), memory)
    return ax


def _latency(ax: Any, memory: Memory) -> None:
    points = memory.limits["latency"]
    sizes = [p["bytes"] for p in points]
    ax.fill_between(sizes, [p["low"] for p in points], [p["high"] for p in points], color=BLUE, alpha=0.2)
    ax.plot(sizes, [p["value"] for p in points], ".-", color=BLUE)
    _logarithmic(ax)
    _title(
        ax,
        "The first access costs",
        "One load that must wait for the load before it, in a few pages at a time.",
    )
    ax.set_ylabel("ns a load")
    _sizes(ax, sizes, memory)


def _patterns(ax: Any, memory: Memory) -> None:
    for name in dict.fromkeys(row.name for row in memory.patterns):
        label, colour = _PATTERNS[name]
        rows = [row for row in memory.patterns if row.name == name]
        ax.plot([r.working_set for r in rows], [r.ns for r in rows], ".-", color=colour, label=label)
    _logarithmic(ax)
    ax.set_ylim(top=max(row.ns for row in memory.patterns) * 100)  # space for the legend
    _title(ax, "The order of reading decides", "The same memory, read in four orders.")
    ax.set_ylabel("ns for each number read")
    ax.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, 0.95))
    _sizes(ax, sorted({row.working_set for row in memory.patterns}), memory)


def _bursts(ax: Any, rows: Sequence[Row]) -> None:
    lengths = [int(row.name.partition("-")[2]) for row in rows]
    per_number = [row.ns * 4 / length for row, length in zip(rows, lengths, strict=True)]
    ax.bar(range(len(rows)), per_number, color=BLUE)
    _write_values(ax, range(len(rows)), per_number)
    ax.set_xticks(range(len(rows)), [size(length) for length in lengths])
    _logarithmic(ax)
    _title(ax, "A burst is cheap", f"Random places in {size(rows[0].working_set)}, so many bytes from each.")
    ax.set_xlabel("bytes read in a row")
    ax.set_ylabel("ns for each number read")


def _widths(ax: Any, rows: Sequence[Row]) -> None:
    for j, (working_set, chosen) in enumerate(_by_set(rows)):
        places = [i + 0.4 * j - 0.2 for i in range(len(chosen))]
        ax.bar(places, [row.gbs for row in chosen], width=0.38, color=series_colour(j), label=size(working_set))
        _write_values(ax, places, [row.gbs for row in chosen])
        ax.set_xticks(range(len(chosen)), [row.name.partition("-")[2] + " B" for row in chosen])
    _logarithmic(ax)
    _title(ax, "Wide loads feed the units", "While the data is in cache; memory is the limit beyond.")
    ax.set_xlabel("bytes a load")
    ax.set_ylabel("GB/s")
    ax.legend(frameon=False, fontsize=8, title="working set", title_fontsize=8, loc="upper left")


def _work(ax: Any, rows: Sequence[Row]) -> None:
    for j, (working_set, chosen) in enumerate(_by_set(rows)):
        flops = [int(row.name.partition("-")[2]) for row in chosen]
        ax.plot(flops, [row.ns for row in chosen], "o-", color=series_colour(j), label=size(working_set))
        ax.set_xticks(flops, [str(flop) for flop in flops])
    ax.set_xscale("log", base=2)
    ax.set_xticks(flops, [str(flop) for flop in flops])
    _logarithmic(ax)
    _title(ax, "Arithmetic outruns memory", "Where the line is flat, more work for each number costs no time.")
    ax.set_xlabel("operations for each number read")
    ax.set_ylabel("ns for each number read")
    ax.legend(frameon=False, fontsize=8, title="working set", title_fontsize=8)


def _levels(ax: Any, memory: Memory) -> None:
    """The levels of the memory hierarchy as text, and how the figures were measured."""
    ax.axis("off")
    lines = [f"{'level':8}{'size':>9}{'read':>12}{'a load':>11}", ""]
    for level in memory.limits["levels"]:
        extent = "" if level["bytes"] is None else size(level["bytes"])
        lines.append(f"{level['name']:8}{extent:>9}{level['read']:>7.3g} GB/s{level['latency']:>8.3g} ns")
    ax.text(0, 1, "The levels that the sweep found", va="top", fontsize=11, transform=ax.transAxes)
    ax.text(0, 0.9, "\n".join(lines), va="top", fontsize=10, family="monospace", transform=ax.transAxes)
    cpu = plain_text(memory.machine["cpu"]["model"])
    told = (
        f"{cpu}, one thread, float32.\nDotted lines: where the sweep found a cache to end, the last one\n"
        "by bandwidth where others keep it from being seen here.\n"
        "The value is the median of the fastest quarter of the rounds;\nthe band reaches from the fastest "
        "to the upper quartile."
    )
    ax.text(0, 0.3, told, va="top", fontsize=9, color="0.3", transform=ax.transAxes)


def _title(ax: Any, claim: str, how: str) -> None:
    ax.set_title(f"{claim}\n", loc="left", fontsize=11)
    ax.text(0, 1.02, how, fontsize=9, color="0.3", transform=ax.transAxes)
    ax.grid(visible=True, alpha=0.25)
    ax.set_axisbelow(True)
    hide_box(ax)


def _logarithmic(ax: Any) -> None:
    ax.set_yscale("log")
    plain_ticks(ax.yaxis)


def _sizes(ax: Any, sizes: Sequence[int], memory: Memory) -> None:
    ax.set_xscale("log", base=2)
    ax.minorticks_off()
    chosen = [4096 * 4**i for i in range(12) if sizes[0] <= 4096 * 4**i <= sizes[-1]]
    ax.set_xticks(chosen, [size(n) for n in chosen], fontsize=8)
    ax.set_xlabel("working set")
    for level in memory.limits["levels"]:
        if level["bytes"] is not None:
            ax.axvline(level["bytes"], color="0.5", lw=0.9, ls=":")
            ax.annotate(
                level["name"], (level["bytes"], 0.98), xycoords=("data", "axes fraction"),
                xytext=(-3, 0), textcoords="offset points", ha="right", va="top", fontsize=8, color="0.4",
            )  # fmt: skip


def _write_values(ax: Any, places: Iterable[float], values: Sequence[float]) -> None:
    for place, value in zip(places, values, strict=True):
        ax.annotate(
            f"{value:.3g}", (place, value), xytext=(0, 2), textcoords="offset points", ha="center", fontsize=8
        )
    ax.margins(y=0.15)


def _by_set(rows: Sequence[Row]) -> list[tuple[int, list[Row]]]:
    sets = dict.fromkeys(row.working_set for row in rows)
    return [(working_set, [row for row in rows if row.working_set == working_set]) for working_set in sets]
