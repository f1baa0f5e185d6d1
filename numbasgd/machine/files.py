"""Reading the small files in which Linux describes the machine."""

from __future__ import annotations

from pathlib import Path


def read_text(path: Path) -> str:
    """The text of a file without white space around it; empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
