"""Pictures made from result files: the ladder of one run, and ladders of several runs side by side.

A function that draws takes ``ax`` and returns it; no state of matplotlib's is touched, nothing is shown.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numbasgd.errors import NumbaSGDError
from numbasgd.report.compare import Comparison
from numbasgd.report.compare_text import letter
from numbasgd.report.tables import number, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Told apart without colour vision too (Okabe and Ito, 2008).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
FORMATS = ("png", "svg", "pdf")
MOST_LADDERS = 12


def bars(
    labels: Sequence[str], series: Mapping[str, Sequence[float | None]], *, unit: str, ax: Axes | None = None
) -> Axes:
    """Horizontal bars on a logarithmic axis, one group per label, one bar per series, figures beside them.

    A None leaves its bar out.
    """
    if ax is None:
        ax = _figure(1 + 0.3 * len(labels) * max(1, len(series))).add_subplot()
    height = 0.8 / max(1, len(series))
    for j, (name, values) in enumerate(series.items()):
        there = [(i, v) for i, v in enumerate(values) if v is not None]
        drawn = ax.barh(
            [i - 0.4 + (j + 0.5) * height for i, _ in there],
            [v for _, v in there],
            height=0.92 * height,
            color=COLOURS[j % len(COLOURS)],
            label=_plain(name),
        )
        ax.bar_label(drawn, labels=[number(v) for _, v in there], padding=3, fontsize=8)
    ax.set_yticks(range(len(labels)), [_plain(label) for label in labels])
    ax.invert_yaxis()
    ax.set_xscale("log")
    ax.margins(x=0.12)
    ax.set_xlabel(f"{unit} (logarithmic)")
    ax.spines[["top", "right"]].set_visible(False)
    if len(series) > 1:
        ax.legend(
            frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=4, borderaxespad=0.2
        )
    return ax


def plot_comparison(comparison: Comparison) -> Figure:
    """The ladders of a comparison below each other: speed where the work is known, else time."""
    ladders = [mean.ladder for mean in comparison.means][:MOST_LADDERS]
    chosen = [[row for row in comparison.rows if row.ladder == ladder][:40] for ladder in ladders]
    heights = [1.2 + 0.22 * len(rows) * len(comparison.sides) for rows in chosen]
    figure = _figure(sum(heights))
    axes = figure.subplots(len(ladders), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, ladder, rows in zip(axes, ladders, chosen, strict=True):
        units = {m.unit for row in rows for m in row.measures if m}
        unit = next(iter(units)) if len(units) == 1 else None
        series: dict[str, list[float | None]] = {}
        for place, side in enumerate(comparison.sides):
            found = [row.measures[place] for row in rows]
            series[f"{letter(place)}: {Path(side.name).name}"] = [
                None if m is None else m.rate if unit else m.seconds.value for m in found
            ]
        names = [next(m.case.case for m in row.measures if m) for row in rows]
        bars(names, series, unit=unit or "seconds", ax=ax)
        ax.set_title(_plain(ladder) or "cases without a group", loc="left", fontsize=10)
    return figure


def save(figure: Figure, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write the picture beside its place and rename it there, so that none is ever half-written."""
    form = path.suffix.lstrip(".").lower()
    if form not in FORMATS:
        raise NumbaSGDError(
            f"the picture {path} has the ending {path.suffix!r}; expected one of "
            f"{', '.join('.' + f for f in FORMATS)}. Choose one of them."
        )
    content = io.BytesIO()
    figure.savefig(content, format=form, dpi=150, metadata=dict(metadata or {}))
    write(path, content.getvalue())


def write(path: Path, content: bytes) -> None:
    """Put a whole file in place, or leave what was there."""
    if not path.parent.is_dir():
        raise NumbaSGDError(f"{path}: there is no folder {path.parent}. Make it, or name another place.")
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # mkstemp keeps others out; a file that is written anew gets what the user's umask gives.
        os.chmod(beside, path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _figure(height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(8, min(height, 40)), layout="constrained")


def _plain(text: str) -> str:
    """Text as it stands: no mathematics between dollar signs, and no hidden legend entry."""
    return printable(text).replace("$", r"\$")
