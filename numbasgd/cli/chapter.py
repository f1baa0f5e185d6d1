"""The whole chapter as one page, measured on this machine, that opens offline.

Ladder, roofline, memory, gradient noise, loss against samples and seconds, the valley of batch sizes, and the
chapter's exercises, each with what to see in it.  It takes two minutes at most.  With --json the results are
printed as well; --from makes the page from such a file, in another language for example, without measuring.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HELP = "the chapter as one page of figures, measured here"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``numbasgd chapter``."""
    parser.add_argument("--html", metavar="FILE.html", help="write the page into FILE.html")
    parser.add_argument("--lang", default="en", help="en (default) or zh, the language of the page")
    parser.add_argument("--json", action="store_true", help="print the results as one JSON object")
    parser.add_argument(
        "--from", dest="source", metavar="FILE.json", help="take the results from what --json printed"
    )


def run(args: argparse.Namespace) -> int:
    """Measure or read, write the page, and print."""
    from numbasgd.paths import write_whole
    from numbasgd.render.chapter_page import chapter_page, findings
    from numbasgd.render.chapter_page.figure import machine_line
    from numbasgd.render.chapter_page.words import Words

    words = Words(args.lang)
    page = _checked_page(args.html) if args.html else None
    results = _read(Path(args.source)) if args.source else _measured(args.started)
    try:
        content = chapter_page(results, args.lang)
        told = [machine_line(results["ladder"]["machine"], words), "", *findings(results, words)]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        if not args.source:
            raise
        raise _not_results(Path(args.source), f"{type(error).__name__}: {error}") from error
    if page is not None:
        write_whole(page, content.encode())
    if args.json:
        print(json.dumps(results, indent=1, allow_nan=False))
        return 0
    print("\n".join(told))
    if page is not None:
        print(f"\nThe page: {page} ({len(content.encode()) / 1e6:.2f} MB)")
    return 0


def _measured(started: float) -> Mapping[str, Any]:
    from numbasgd.cli.progress_line import ProgressLine
    from numbasgd.experiments import everything
    from numbasgd.experiments._everything import SECONDS
    from numbasgd.machine.deadline import Deadline

    with ProgressLine(SECONDS, started) as progress:
        return everything(Deadline(SECONDS, tell=progress.tell, start=started))


def _checked_page(name: str) -> Path:
    """The page's file, before the work."""
    path = Path(name)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--html is {path}; expected a name that ends in .html. Name it {path.stem}.html.")
    if not path.parent.is_dir() or path.is_dir():
        raise ValueError(f"--html is {path}; expected a file in a folder that exists. Make the folder first.")
    return path


def _read(path: Path) -> Mapping[str, Any]:
    """The results in a file that --json printed."""
    from numbasgd.experiments._everything import KIND, SCHEMA
    from numbasgd.json_values import mapping

    try:
        found = mapping(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise _not_results(path, error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise _not_results(path, "it is no JSON") from error
    if found.get("kind") != KIND or found.get("schema") != SCHEMA:
        raise _not_results(path, f"its kind is {found.get('kind')!r}, its schema {found.get('schema')!r}")
    return found


def _not_results(path: Path, why: str) -> Exception:
    from numbasgd.errors import ResultFileError

    return ResultFileError(
        f"--from is {path}, which cannot be used ({why}); expected what numbasgd chapter --json prints. Make "
        f"it with: numbasgd chapter --json > {path.name}"
    )
