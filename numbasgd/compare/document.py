"""A path -> the parsed document of a pytest-benchmark file, or one clear line on why there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from numbasgd.errors import ResultFileError
from numbasgd.json_values import mapping

HOW = "Give a file that pytest wrote with --benchmark-json=FILE."


def load(name: str) -> dict[str, Any]:
    """The parsed file, once it is known to be pytest-benchmark's."""
    path = Path(name)
    if path.is_dir():
        inside = sorted(p.name for p in path.glob("*.json"))
        hint = f"Name a file in it, for example {path / inside[0]}." if inside else HOW
        raise ResultFileError(f"{name}: this is a folder, not a file. {hint}")
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ResultFileError(f"{name}: there is no such file. {HOW}") from None
    except (OSError, ValueError) as error:
        said = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else _reason(error)
        raise ResultFileError(f"{name}: it cannot be read ({said}). {HOW}") from None
    if not content.strip():
        raise ResultFileError(f"{name}: the file is empty; its run may have failed. Run the bench again.")
    try:
        document = json.loads(content)
    except json.JSONDecodeError as error:
        if error.pos >= len(content.rstrip()) or error.msg.startswith("Unterminated string"):
            raise ResultFileError(
                f"{name}: the file breaks off at line {error.lineno}; writing or copying it was interrupted. "
                "Copy it again, or run the bench again."
            ) from None
        raise ResultFileError(
            f"{name}: this is not JSON (line {error.lineno}, column {error.colno}: {error.msg}). {HOW}"
        ) from None
    except (RecursionError, ValueError) as error:
        raise ResultFileError(f"{name}: this JSON cannot be read ({_reason(error)}). {HOW}") from None
    maker = _foreign(document)
    if maker:
        raise ResultFileError(f"{name}: this is JSON, but {maker}. {HOW}")
    if not document["benchmarks"]:
        raise ResultFileError(
            f"{name}: it holds no benchmarks; its run selected or finished none. Run the bench again."
        )
    return document


def _foreign(document: Any) -> str | None:
    """Why this is not pytest-benchmark's file, or None."""
    entries = document.get("benchmarks") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        if isinstance(document, dict) and isinstance(document.get("results"), list):
            return "another tool's (hyperfine's, by its looks)"
        return "it has no list of benchmarks, so another tool's"
    if "context" in document:
        return "another tool's (google/benchmark's, by its looks)"
    first = mapping(entries[0]) if entries else {}
    if "runs" in first and "stats" not in first:
        return "another tool's (pyperf's, by its looks)"
    if entries and not any(isinstance(e, dict) and ({"stats", "fullname", "name"} & e.keys()) for e in entries):
        return "its benchmarks have neither names nor stats, so another tool's"
    return None


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)[:80] or type(error).__name__
