"""Compare benchmark files: a summary of one screen, then each case as time, share of its BLAS, and verdict.

Files are pytest's --benchmark-json output or its .benchmarks/ storage, from this project or another, or JSON of
pyperf or Google Benchmark.
Exit code: 0 fine, 1 slower than --fail-if-slower allows, 2 a bad file or nothing in common, 3 not comparable.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numbasgd.compare.comparison import Comparison

HELP = "compare benchmark files, across machines too"
FORMATS = ("table", "md", "csv", "json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE.json",
        help="two or more benchmark files; a folder stands for the files in it",
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="how to print (default: table)")
    parser.add_argument(
        "--json", action="store_const", const="json", dest="format", help="same as --format json"
    )
    parser.add_argument("--summary", action="store_true", help="print the summary alone")
    parser.add_argument(
        "--all", action="store_true", help="every column and line, however wide; the default fits a terminal"
    )
    parser.add_argument(
        "--metric",
        choices=("auto", "time", "blas", "peak", "roofline"),
        default="auto",
        help="what verdicts rest on: times, the share of the own BLAS, of the measured peak or of the "
        "roofline, or (auto) times where the machines allow it and else shares: of the roofline where limits "
        "are in the files, of the BLAS where not",
    )
    parser.add_argument("--baseline", metavar="FILE.json", help="the file to compare with (default: the first)")
    parser.add_argument(
        "--group",
        choices=("none", "machine", "commit"),
        default="none",
        help="take files of one machine, or of one machine and commit, as runs of one side",
    )
    parser.add_argument(
        "--sort", choices=("file", "ratio", "name"), default="file", help="order of cases in a table"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=5.0,
        metavar="PCT",
        help="differences up to this are none (default: 5)",
    )
    parser.add_argument(
        "--scatter",
        type=float,
        metavar="PCT",
        help="two runs of one program differ by no more than this; counts where each side is one file "
        "(default: what the other cases of the same two files show, and 50 where they are few)",
    )
    parser.add_argument(
        "--even-if-busy",
        action="store_true",
        help="judge between machines although one was under load; without it there are no verdicts then",
    )
    parser.add_argument(
        "--fail-if-slower",
        type=float,
        metavar="PCT",
        help="exit with 1 if a case is called slower and is so by more than this; those cases are told last, "
        "on standard error, in GitHub Actions as its errors",
    )
    parser.add_argument(
        "--plot",
        metavar="FILE.png",
        help="draw the ladders in which most changed, and the rooflines where limits are in the files",
    )
    parser.add_argument(
        "--html",
        metavar="FILE.html",
        help="write all of it as one page that opens offline; for three files and more also who leads, and why",
    )


def run(args: argparse.Namespace) -> int:
    """Compare, print, and return the exit code."""
    from numbasgd.compare.changes import NOT_COMPARABLE
    from numbasgd.compare.comparison import compare, sides_of
    from numbasgd.compare.joining import join
    from numbasgd.compare.load import withhold
    from numbasgd.compare.reading import expand, read
    from numbasgd.errors import ResultFileError
    from numbasgd.render import ci_log, figures

    _check(args)
    if args.plot:
        figures.check_path(args.plot)
    if args.html:
        _check_page(Path(args.html))
    files, bad = [], 0
    paths = expand(args.files)
    for path in paths:
        try:
            files.append(read(path))
        except ResultFileError as error:
            bad += 1
            print(f"numbasgd compare: {error}", file=sys.stderr)
    if len(files) < 2:
        told = f"{bad} of {len(paths)} files could not be used" if bad else "only one file was given"
        raise ResultFileError(f"{told}; expected two or more. Add another result file.")
    sides = sides_of(join(files), group=args.group, baseline=args.baseline)
    scatter = None if args.scatter is None else args.scatter / 100
    found = compare(sides, metric=args.metric, tolerance=args.tolerance / 100, scatter=scatter, order=args.sort)
    if not args.even_if_busy:
        found = withhold(found)
    print(_said(found, args), end="")
    if args.plot:
        from numbasgd.render.comparison_plot import left_out, plot_comparison
        from numbasgd.render.tables import printable, terminal_width

        figures.save(plot_comparison(found), args.plot)
        if rest := left_out(found):
            is_data = args.format in ("csv", "json")  # which a program reads
            line = textwrap.fill(printable(f"{args.plot}: {rest}"), terminal_width(), break_on_hyphens=False)
            print(f"\n{line}", file=sys.stderr if is_data else sys.stdout)
    if args.html:
        from numbasgd.paths import write_whole
        from numbasgd.render.html import page

        write_whole(Path(args.html), page(found).encode())
    changes = [change for row in found.rows for change in row.changes if change]
    failed = []
    if args.fail_if_slower is not None:
        limit, github = args.fail_if_slower / 100, os.environ.get("GITHUB_ACTIONS") == "true"
        failed = ci_log.failures(found, limit)
        sys.stdout.flush()  # where both streams end in one log, these lines are its last
        print("\n".join(ci_log.lines(found, failed, limit, github=github)), file=sys.stderr)
    if bad:
        return 2
    if failed:
        return 1
    return 3 if all(c.verdict == NOT_COMPARABLE for c in changes) else 0


def _said(found: Comparison, args: argparse.Namespace) -> str:
    """What is printed, in the format that was chosen."""
    from numbasgd.render import comparison_report
    from numbasgd.render.case_tables import flat_table
    from numbasgd.render.comparison_text import to_dict
    from numbasgd.render.tables import render, terminal_width

    if args.format == "csv":
        return render(flat_table(found), "csv")
    if args.format == "json":
        return json.dumps(to_dict(found), indent=1, allow_nan=False) + "\n"
    if args.format == "md":
        return comparison_report.markdown(found, is_short=args.summary)
    return comparison_report.plain(found, None if args.all else terminal_width(), is_short=args.summary)


def _check_page(path: Path) -> None:
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--html is {path}; expected a name that ends in .html. Name it {path.stem}.html.")
    if not path.parent.is_dir() or path.is_dir():
        raise ValueError(f"--html is {path}; expected a file in a folder that exists. Make the folder first.")


def _check(args: argparse.Namespace) -> None:
    from numbasgd import check

    for option, example in (("tolerance", 5), ("scatter", 50), ("fail_if_slower", 10)):
        value, name = getattr(args, option), "--" + option.replace("_", "-")
        if value is None:
            continue
        hint = f"Give percent, for example {example}."
        check.real(value, name, hint=hint)
        if not 0 <= value <= 1000:
            raise ValueError(f"{name} is {value}; expected 0 to 1000. {hint}")
