"""Pictures of training: loss against epochs, samples or seconds, and the statistics of its gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from numbasgd import check
from numbasgd.render.figures import given_axes, new_figure
from numbasgd.render.palette import BLUE, ORANGE, series_colour

if TYPE_CHECKING:
    from numbasgd.sgd.fit import Fit
    from numbasgd.sgd.noise import Noise

_LABELS = {"epochs": "epoch", "samples": "samples seen", "seconds": "training time (s)"}


def plot_loss(fit: Fit, ax: Any = None, *, x: str = "epochs", label: str | None = None) -> Any:
    """Draw the loss of one run against ``x``; returns the axes."""
    check.choice(x, "x", _LABELS)
    ax = given_axes(ax)
    ax.plot(getattr(fit, x), fit.loss, label=label)
    ax.set_xlabel(_LABELS[x])
    ax.set_ylabel("loss")
    ax.grid(visible=True, alpha=0.3)
    return ax


def plot_chapter(fits: Mapping[str, Fit]) -> Any:
    """Draw the chapter's figures: each run's loss against epochs, and all against seconds; returns the figure.

    Losses are cut to 0.22 .. 0.35 and seconds are on a logarithmic axis, as in the chapter.
    """
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    figure = new_figure(11, 6.5)
    grid = figure.add_gridspec(2, 4)
    for i, (name, fit) in enumerate(fits.items()):
        ax = figure.add_subplot(grid[i // 2, i % 2])
        plot_loss(fit, ax)
        ax.set_title(name)
        ax.set_ylim(0.22, 0.35)
        ax.set_xlim(0, fit.epochs[-1])
    ax = figure.add_subplot(grid[:, 2:])
    for i, ((name, fit), style) in enumerate(zip(fits.items(), ("-", "--", "-.", ":"), strict=False)):
        # At 0 seconds a logarithmic axis has no place: a curve starts with its first step.
        ax.plot(fit.seconds[1:], fit.loss[1:], style, color=series_colour(i), label=name, linewidth=2)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(EngFormatter(unit="s"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_ylim(0.22, 0.35)
    ax.set_xlabel("training time, logarithmic")
    ax.set_ylabel("loss")
    ax.set_title("all four, against time")
    ax.legend()
    ax.grid(visible=True, alpha=0.3)
    return figure


def plot_noise(noise: Noise, ax: Any = None) -> Any:
    """Draw the standard deviation of minibatch gradients against the batch size; returns the axes.

    Dots are measured, lines predicted.
    """
    ax = given_axes(ax)
    for rows, name, colour, marker in (
        (noise.with_replacement, "with replacement", BLUE, "o"),
        (noise.without_replacement, "without replacement", ORANGE, "s"),
    ):
        sizes = [r.batch_size for r in rows]
        if rows[0].std is not None:
            ax.plot(sizes, [r.std for r in rows], marker, color=colour, label=f"{name}, measured")
        ax.plot(sizes, [r.predicted for r in rows], "-", color=colour, label=f"{name}, predicted")
    ax.set_xscale("log")
    positive = [std for r in noise.with_replacement if (std := r.predicted if r.std is None else r.std) > 0]
    if positive:  # the gradients of a single row do not vary, and 0 has no place on a logarithmic axis
        ax.set_yscale("log")
        ax.set_ylim(bottom=min(positive) / 3)
    ax.set_xlabel("batch size")
    ax.set_ylabel("standard deviation of the gradient")
    ax.grid(visible=True, alpha=0.3)
    ax.legend()
    return ax
