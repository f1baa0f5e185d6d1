"""What every picture needs: axes of its own, and a file that is written or a reason why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def new_axes(width: float = 6.0, height: float = 3.8) -> Any:
    """The axes of a new figure that belongs to nobody's global state; sizes in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").subplots()


def save(drawn: Any, path: str | Path) -> Path:
    """Write a figure, or the figure of some axes, to ``path``; the file name's ending says the format.

    Raises
    ------
    ValueError
        If matplotlib has no such format.
    OSError
        If the file cannot be written.
    """
    check_target(path)
    figure = drawn if hasattr(drawn, "savefig") else drawn.figure
    figure.savefig(path, dpi=150)
    return Path(path)


def check_target(path: str | Path) -> None:
    """Raise for a file that ``save`` could not write; to be called before hours of work, not after."""
    from matplotlib.backend_bases import FigureCanvasBase

    path = Path(path)
    known = sorted(FigureCanvasBase.get_supported_filetypes())
    if path.suffix[1:].lower() not in known:
        raise ValueError(
            f"the picture's file name is {path.name!r}; expected one that ends in .{', .'.join(known)}. "
            "Add such an ending, for example .png."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"the picture's folder {str(path.parent)!r} does not exist; expected a folder to write "
            f"{path.name!r} into. Make it first."
        )
