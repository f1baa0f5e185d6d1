"""What ``numbasgd train --chapter`` prints: the four runs as a table, and what is to be said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numbasgd.render.tables import Table, number, render

if TYPE_CHECKING:
    from numbasgd.experiments._chapter import Chapter


def chapter_table(chapter: Chapter) -> str:
    """The four runs, and the remark on the rate of gradient descent."""
    rows = [
        (
            name,
            f"{fit.settings['lr']:g}",
            fit.settings["batch_size"],
            f"{fit.epochs[-1]:g}",
            f"{fit.loss[-1]:.4f}",
            number(1e6 * fit.seconds_per_epoch),
        )
        for name, fit in chapter.runs.items()
    ]
    header = ("run", "lr", "batch size", "epochs", "final loss", "us per epoch")
    told = "Loss: half the mean squared error over all rows. Time: training alone, shuffling included."
    return f"{render(Table(header, tuple(rows)))}{told}\n{chapter.remark}\n"
