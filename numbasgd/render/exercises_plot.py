"""The picture of the first exercise: the excess loss by batch size and rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numbasgd.render.figures import given_axes, hide_box
from numbasgd.render.palette import series_colour, series_marker

if TYPE_CHECKING:
    from numbasgd.experiments._exercises import Exercises


def plot_rates(found: Exercises, ax: Any = None) -> Any:
    """Draw the excess loss against the rate, a line for each batch size; returns the axes."""
    ax = given_axes(ax)
    for i, size in enumerate(found.epoch_seconds):
        reached = [cell for cell in found.vary if cell.batch_size == size and cell.excess is not None]
        ax.plot(
            [cell.lr for cell in reached], [cell.excess for cell in reached],
            f"{series_marker(i)}-", color=series_colour(i), label=f"batch size {size}",
        )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("learning rate")
    ax.set_ylabel(f"excess loss after {found.epochs} epochs, of the first")
    ax.grid(visible=True, alpha=0.3)
    ax.legend(fontsize=8)
    hide_box(ax)
    return ax
