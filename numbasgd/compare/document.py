"""A path -> the parsed JSON document in it, in bounded time and memory, or one clear line on why there is none.

Large files of pytest-benchmark consist of lists of numbers that a comparison has no use for: the time of each
round (``data``) and parameters.  In a file above ``BIG`` such lists are skipped, at the speed of a search and
without a copy.  What is left has to be at most ``MOST_LEFT``, since a parsed document takes several times the
memory of its text.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from numbasgd.errors import ResultFileError
from numbasgd.json_values import printable

HOW = (
    "Give a file of pytest-benchmark (pytest --benchmark-json=FILE), pyperf (-o FILE) or Google Benchmark "
    "(--benchmark_out=FILE)."
)
BIG, MOST_LEFT, MOST = 2 * 10**6, 50 * 10**6, 500 * 10**6  # bytes
_NUMBERS = re.compile(rb"\[[\s0-9eE+.,-]{1000,}+\]")
_NEEDED = b'"values":'  # what stands before pyperf's times
GZIP = b"\x1f\x8b"


def load(path: Path) -> Any:
    """The parsed file."""
    name = printable(str(path))
    try:
        if path.is_dir():
            raise ResultFileError(f"{name}: {_about_folder(path)}")
        with path.open("rb") as stream:
            content = _content(name, stream)
    except ResultFileError:
        raise
    except FileNotFoundError:
        raise ResultFileError(f"{name}: there is no such file. {HOW}") from None
    except (OSError, ValueError) as error:
        raise ResultFileError(f"{name}: it cannot be read ({_reason(error)}). {HOW}") from None
    if content.startswith(GZIP):
        raise ResultFileError(f"{name}: it is compressed. Unpack it first, with: gunzip --keep {name}")
    try:
        return _parsed(name, content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ResultFileError(f"{name}: it cannot be read (it is not UTF-8 text). {HOW}") from None


def _parsed(name: str, content: str) -> Any:
    if not content.strip():
        raise ResultFileError(f"{name}: the file is empty; its run may have failed. Run the bench again.")
    try:
        with _no_collection():
            return json.loads(content)
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


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without searches for garbage, which take most of the time in which many objects are made."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _about_folder(path: Path) -> str:
    inside = sorted(map(str, path.glob("*.json")))
    if inside:
        return f"this is a folder, not a file. Name a file in it, for example {printable(inside[0])}."
    found = "no .json file" if any(path.iterdir()) else "nothing"
    return (
        f"this folder holds {found}, so no run was saved in it. pytest-benchmark saves a run in the folder "
        ".benchmarks when pytest has --benchmark-autosave or --benchmark-save=NAME."
    )


def _content(name: str, stream: BinaryIO) -> bytes:
    """The bytes of a file, in a large one without its long lists of numbers."""
    size = os.fstat(stream.fileno()).st_size
    if size > MOST:
        raise _too_large(name, size)
    if size > BIG:
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            return _without_numbers(name, mapped)
    content = stream.read(MOST + 1)  # a pipe does not tell its size
    if len(content) > MOST:
        raise _too_large(name, len(content))
    return content if len(content) <= BIG else _without_numbers(name, content)


def _without_numbers(name: str, content: bytes | mmap.mmap) -> bytes:
    """The content, its long lists of numbers empty.  In a text such a list has no meaning either."""
    kept: list[bytes] = []
    size = at = 0
    for match in _NUMBERS.finditer(content):
        if content[max(at, match.start() - 40) : match.start()].rstrip().endswith(_NEEDED):
            continue
        size += match.start() - at
        if size > MOST_LEFT:
            break
        kept += [content[at : match.start()], b"[]"]
        at = match.end()
    if size > MOST_LEFT or size + len(content) - at > MOST_LEFT:
        raise _too_large(name, len(content))
    return b"".join([*kept, content[at:]])


def _too_large(name: str, size: int) -> ResultFileError:
    return ResultFileError(
        f"{name}: it has {size / 1e6:.1f} MB, too many to read; it seems to hold long parameters. "
        "Take them out with: jq 'del(.benchmarks[] | .params, .extra_info, .stats.data)' FILE > SMALL. "
        "A test that finds its data by a short parameter writes small files."
    )


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)[:80] or type(error).__name__
