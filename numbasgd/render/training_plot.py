"""Pictures of training: loss against epochs, samples or seconds, and the statistics of its gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from numbasgd import check
from numbasgd.render.figures import given_axes, new_figure
from numbasgd.render.palette import BLUE, ORANGE, series_colour

if TYPE_CHECKING:
    from numbasgd.experiments._noise import NoiseAndCost
    from numbasgd.sgd.fit import Fit
    from numbasgd.sgd.noise import Noise

_LOSSES = 0.22, 0.35  # of the chapter's figures
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


def plot_chapter(fits: Mapping[str, Fit], remark: str = "", optimum: float | None = None) -> Any:
    """Draw the chapter's figures: each run's loss against epochs, all against samples and against seconds.

    Losses are cut to 0.22 .. 0.35 and seconds are on a logarithmic axis, as in the chapter.  ``remark`` stands
    above gradient descent, ``optimum`` is a line.  Returns the figure.
    """
    figure = new_figure(15, 6.5)
    grid = figure.add_gridspec(2, 6)
    for i, (name, fit) in enumerate(fits.items()):
        ax = figure.add_subplot(grid[i // 2, i % 2])
        plot_loss(fit, ax)
        ax.set_title(name)
        ax.set_ylim(*_LOSSES)
        ax.set_xlim(0, fit.epochs[-1])
    for place, x in ((2, "samples"), (4, "seconds")):
        ax = plot_runs(fits, figure.add_subplot(grid[:, place : place + 2]), x=x)
        ax.set_title(f"all four, against {'samples' if x == 'samples' else 'time'}")
        if optimum is not None:
            ax.axhline(optimum, color="0.3", lw=0.8)
            ax.annotate(
                f"least loss {optimum:.4f}", (1, optimum), xycoords=("axes fraction", "data"),
                xytext=(-2, -3), textcoords="offset points", ha="right", va="top", fontsize=8,
            )  # fmt: skip
    if remark:
        figure.suptitle(remark, x=0.01, ha="left", fontsize=9, color="0.25")
    return figure


def plot_runs(fits: Mapping[str, Fit], ax: Any = None, *, x: str = "seconds") -> Any:
    """Draw the losses of several runs against ``x``, on a logarithmic axis; returns the axes."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    check.choice(x, "x", _LABELS)
    ax = given_axes(ax)
    for i, ((name, fit), style) in enumerate(zip(fits.items(), ("-", "--", "-.", ":"), strict=False)):
        # At 0 a logarithmic axis has no place: a curve starts with its first step.
        places = getattr(fit, x)[1:]
        ax.plot(places, fit.loss[1:], style, color=series_colour(i), label=name, linewidth=2)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(EngFormatter(unit="s" if x == "seconds" else ""))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_ylim(*_LOSSES)
    ax.set_xlabel("training time, logarithmic" if x == "seconds" else f"{_LABELS[x]}, logarithmic")
    ax.set_ylabel("loss")
    ax.legend()
    ax.grid(visible=True, alpha=0.3)
    return ax


def plot_noise_and_cost(found: NoiseAndCost) -> Any:
    """Draw the noise of a minibatch gradient, and beside it what a step costs; returns the figure."""
    figure = new_figure(11, 4.2)
    left, right = figure.subplots(1, 2)
    plot_noise(found.noise, left)
    left.set_title("the noise falls as b^-1/2", loc="left", fontsize=10)
    sizes = [step.batch_size for step in found.steps]
    for kind, name, colour, marker in (
        ("compiled", "compiled", BLUE, "o"),
        ("interpreted", "a NumPy loop", ORANGE, "s"),
    ):
        spreads = [getattr(step, kind) for step in found.steps]
        right.plot(sizes, [s.median for s in spreads], f"{marker}-", color=colour, label=name)
        right.fill_between(
            sizes, [s.q1 for s in spreads], [s.q3 for s in spreads], color=colour, alpha=0.2, lw=0
        )
    last = found.steps[-1]
    law = [last.compiled.median * size / last.batch_size for size in sizes]
    right.plot(sizes, law, ":", color="0.4", label="as b")
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xlabel("batch size")
    right.set_ylabel("seconds a step")
    right.set_title("its cost grows as b", loc="left", fontsize=10)
    right.grid(visible=True, alpha=0.3)
    right.legend()
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
