"""Write README's tables and pictures from the benchmark files in bench/results, and what compare says of them.

The text between README's markers is replaced. With --check nothing is written.
Exit code: 0 fine, 1 README or a picture disagrees with the files (--check), 2 a bad or missing file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

HELP = "write README's tables and pictures from bench/results"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--check", action="store_true", help="write nothing; say what disagrees and exit with 1"
    )
    parser.add_argument("--results", default="bench/results", metavar="FOLDER", help="default: bench/results")
    parser.add_argument("--readme", default="README.md", metavar="FILE", help="default: README.md")
    parser.add_argument("--json", action="store_true", help="say in JSON what was written or disagrees")


def run(args: argparse.Namespace) -> int:
    """Write, or check, and return the exit code."""
    from numbasgd.compare.reading import read
    from numbasgd.errors import ResultFileError
    from numbasgd.paths import write_whole
    from numbasgd.render import readme
    from numbasgd.render.figures import save

    folder, path = Path(args.results), Path(args.readme)
    files = sorted(folder.glob("*.json"))
    if not files:
        raise ResultFileError(
            f"{folder}: there is no result file in it. Make one with: "
            f"pytest bench/ --benchmark-only --benchmark-json={folder / 'NAME.json'}"
        )
    if not path.is_file():
        raise ResultFileError(f"{path}: there is no such file. Name README with --readme.")
    old = _text(path)
    readme.split(old, str(path))  # tells what is missing before anything is drawn
    sections, stale = [], []
    results = [read(file) for file in files]
    for file in results:
        drawn = None
        for ladder in readme.ladders(file)[:1]:
            drawn = Path(file.name).with_suffix(".png")
            if readme.digest_of(drawn) != ladder.digest:
                stale.append(drawn)
                if not args.check:
                    save(readme.picture(ladder), drawn, readme.metadata(ladder))
        link = Path(os.path.relpath(drawn, path.parent)).as_posix() if drawn else None
        sections.append(readme.section(file, link))
    new = readme.filled(old, str(path), results, sections)
    if new != old:
        stale.insert(0, path)
        if not args.check:
            write_whole(path, new.encode())
    return _tell(args, stale, [str(file) for file in files])


def _text(path: Path) -> str:
    from numbasgd.errors import ResultFileError

    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ResultFileError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); expected README in UTF-8. "
            "Save it in that encoding."
        ) from None


def _tell(args: argparse.Namespace, stale: list[Path], files: list[str]) -> int:
    names = [str(path) for path in stale]
    if args.json:
        print(json.dumps({"files": files, "disagree" if args.check else "written": names}, indent=1))
    elif not args.check:
        print("\n".join(f"wrote {name}" for name in names) or "everything agrees already; nothing was written")
    if args.check and names:
        print(
            f"numbasgd report: {', '.join(names)} disagree{'s' * (len(names) == 1)} with {args.results}. "
            "Write anew with: numbasgd report",
            file=sys.stderr,
        )
        return 1
    return 0
