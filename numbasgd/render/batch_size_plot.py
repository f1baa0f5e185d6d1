"""The picture of ``best_batch_size``: seconds to the target against the batch size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numbasgd.render.figures import given_axes, plain_ticks
from numbasgd.render.palette import BLUE, GREEN, ORANGE

if TYPE_CHECKING:
    from numbasgd.sgd.batch_size.result import BatchSize


def plot_batch_size(found: BatchSize, ax: Any = None) -> Any:
    """Draw the valley: a line from the model and the clock, dots from the race; returns the axes."""
    ax = given_axes(ax)
    told = [(t.batch_size, t.seconds) for t in found.trials if t.seconds is not None]
    raced = [(t.batch_size, t.raced) for t in found.trials if t.raced is not None]
    low, high = found.interval
    ax.axvspan(low / 1.1, high * 1.1, color=GREEN, alpha=0.15, label="about as good as the best")
    if told:
        ax.plot(*zip(*told, strict=True), "-", color=BLUE, label="steps by the model, times their seconds")
    if raced:
        ax.plot(*zip(*raced, strict=True), "o", color=ORANGE, label="raced")
    if found.seconds is not None:
        ax.plot([found.batch_size], [found.seconds], "*", color=BLUE, markersize=12, label="chosen")
    ax.set_xscale("log")
    ax.set_yscale("log")
    plain_ticks(ax.xaxis)
    ax.set_xlabel("batch size")
    ax.set_ylabel(f"seconds to {found.target:.3g} of the gap")
    ax.grid(visible=True, alpha=0.3)
    ax.legend(fontsize=8)
    return ax
