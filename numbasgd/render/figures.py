"""What every picture needs: axes of its own, their common look, and a file written whole or not at all."""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numbasgd.paths import write_whole
from numbasgd.render.escapes import for_picture

SECONDS = 2.5  # that drawing and writing a picture takes, of a command that ends in time


def new_axes(width: float = 6.0, height: float = 3.8) -> Any:
    """Axes on a figure of their own; sizes in inches."""
    return new_figure(width, height).subplots()


def given_axes(ax: Any, width: float = 6.0, height: float = 3.8) -> Any:
    """The axes that a plot function was given, or new ones for None; ``TypeError`` for anything else."""
    if ax is None:
        return new_axes(width, height)
    if not (callable(getattr(ax, "plot", None)) and hasattr(ax, "set_xlabel")):
        raise TypeError(
            f"ax is a {type(ax).__name__}; expected matplotlib axes, one of what plt.subplots() gives. Pass "
            "them, or leave ax out for a figure of its own."
        )
    return ax


def new_figure(width: float, height: float, *, is_arranged: bool = True) -> Any:
    """A figure that pyplot does not know; sizes in inches.  Unless arranged, axes stay where they are put."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained" if is_arranged else None)


def plain_ticks(axis: Any, most: int | None = None) -> None:
    """Write out the ticks of a logarithmic axis, at 1, 2, 5, 10, ...; over many decades every tenth only.

    ``most`` : over more than that many ticks every tenth only, and none without a number.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    low, high = axis.get_view_interval()
    is_wide = high > (1000 if most is None else 10 ** (most / 3)) * low
    axis.set_major_locator(LogLocator(subs=(1.0,) if is_wide else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    if most is not None:
        axis.set_minor_locator(NullLocator())


def hide_box(ax: Any) -> None:
    """Leave the left and the lower axis only."""
    ax.spines[["top", "right"]].set_visible(False)


def legend_above(ax: Any) -> None:
    """Put the legend in rows of four above the right end of the axes."""
    ax.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=4, borderaxespad=0.2)


def plain_text(text: str) -> str:
    """``text`` as it stands: no mathematics between dollar signs, and no control characters."""
    return for_picture(text)


def shortened(text: str, most: int) -> str:
    """``text``, its middle left out where it is longer than ``most`` characters."""
    return text if len(text) <= most else f"{text[: most // 2 - 1]}...{text[2 - most // 2 :]}"


def separated(wanted: Sequence[float], gap: float, top: float) -> list[float]:
    """The places nearest to ``wanted`` that are ``gap`` apart or more and not above ``top``; all ascending.

    Less the gaps below them the places must not descend, so this is an isotonic regression, done by pooling
    adjacent violators.
    """
    pools: list[tuple[float, int]] = []  # the mean of each pool, gaps taken off, and how many places are in it
    for i, value in enumerate(wanted):
        pools.append((value - i * gap, 1))
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            (low, n), (high, k) = pools[-2:]
            pools[-2:] = [((low * n + high * k) / (n + k), n + k)]
    highest = top - (len(wanted) - 1) * gap
    places = [min(mean, highest) for mean, n in pools for _ in range(n)]
    return [place + i * gap for i, place in enumerate(places)]


def check_path(path: str | Path) -> Path:
    """``path`` if a picture can be saved there; to be called before the work, not after.

    Raises
    ------
    ValueError, OSError
        With what is wrong and what to do; the second when the folder cannot be written to.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    path = Path(path)
    kinds = sorted(FigureCanvasBase.get_supported_filetypes())
    if path.suffix[1:].lower() not in kinds:
        ending = repr(path.suffix) if path.suffix else "no ending"
        raise ValueError(
            f"the picture's file {str(path)!r} has {ending}; expected one of {', '.join(kinds)}. "
            f"Name it {path.stem or 'picture'}.png, for example."
        )
    if not path.parent.is_dir():
        raise ValueError(
            f"the picture's folder {str(path.parent)!r} does not exist; expected a folder to write "
            f"{path.name} into. Make it first, or name another."
        )
    if path.is_dir():
        raise ValueError(f"the picture's file {str(path)!r} is a folder; expected a file. Name a file in it.")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise _cannot_write(path, error) from error
    return path


def _cannot_write(path: Path, error: OSError) -> OSError:
    return OSError(
        f"the picture's file {str(path)!r} cannot be written ({error.strerror or error}); expected a folder "
        "that takes it. Make room or get the right to write there, or name another file."
    )


@contextmanager
def any_script() -> Iterator[None]:
    """Draw names in whatever script they are, also one of which the font has no letters, without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def save(drawn: Any, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a figure, or the figure of some axes, to ``path``, whole or not at all.

    Raises ``ValueError`` and ``OSError`` as ``check_path`` does.
    """
    path = check_path(path)
    figure = drawn if hasattr(drawn, "savefig") else drawn.figure
    content = io.BytesIO()
    with any_script():
        figure.savefig(content, format=path.suffix[1:].lower(), dpi=150, metadata=dict(metadata or {}))
    try:
        write_whole(path, content.getvalue())
    except OSError as error:
        raise _cannot_write(path, error) from error
