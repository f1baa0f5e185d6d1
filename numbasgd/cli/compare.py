"""Compare benchmark files: machines first, then each case as time, speed, share of its BLAS, and verdict.

Files are pytest's --benchmark-json output or its .benchmarks/ storage, from this project or another.
Exit code: 0 fine, 1 slower than --fail-if-slower allows, 2 a bad file or nothing in common, 3 not comparable.
"""

from __future__ import annotations

import argparse
import json
import sys

HELP = "compare benchmark files, across machines too"
FORMATS = ("table", "md", "csv", "json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("files", nargs="+", metavar="FILE.json", help="two or more benchmark files")
    parser.add_argument("--format", choices=FORMATS, default="table", help="how to print (default: table)")
    parser.add_argument(
        "--json", action="store_const", const="json", dest="format", help="same as --format json"
    )
    parser.add_argument(
        "--metric",
        choices=("auto", "time", "blas"),
        default="auto",
        help="what verdicts rest on: times, the share of the own BLAS, or (auto) times where the machines "
        "allow it and else shares",
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
        "--fail-if-slower", type=float, metavar="PCT", help="exit with 1 if a case is slower by more than this"
    )
    parser.add_argument("--plot", metavar="FILE.png", help="draw the cases of each ladder, side by side")


def run(args: argparse.Namespace) -> int:
    """Compare, print, and return the exit code."""
    from numbasgd.errors import ResultFileError
    from numbasgd.report import compare_text as text
    from numbasgd.report import figures
    from numbasgd.report.compare import NOT_COMPARABLE, compare, sides_of
    from numbasgd.report.estimate import SLOWER
    from numbasgd.report.results import read
    from numbasgd.report.tables import render

    _check(args)
    if args.plot:
        figures.check_path(args.plot)
    files, bad = [], 0
    for path in args.files:
        try:
            files.append(read(path))
        except ResultFileError as error:
            bad += 1
            print(f"numbasgd compare: {error}", file=sys.stderr)
    if len(files) < 2:
        told = f"{bad} of {len(args.files)} files could not be used" if bad else "only one file was given"
        raise ResultFileError(f"{told}; a comparison needs two that can. Add another result file.")
    sides = sides_of(files, group=args.group, baseline=args.baseline)
    found = compare(sides, metric=args.metric, tolerance=args.tolerance / 100, order=args.sort)
    if args.format == "json":
        print(json.dumps(text.to_dict(found), indent=1, allow_nan=False))
    elif args.format == "csv":
        print(render(text.flat_table(found), "csv"), end="")
    else:
        tables = [text.machine_table(found), *text.difference_tables(found), *text.case_tables(found)]
        print(render(tables, args.format))
        print("\n".join(text.notes(found)))
    if args.plot:
        from numbasgd.report.pictures import plot_comparison

        figures.save(plot_comparison(found), args.plot)
    changes = [change for row in found.rows for change in row.changes if change]
    if bad:
        return 2
    if args.fail_if_slower is not None and any(
        c.verdict == SLOWER and 1 / c.ratio > 1 + args.fail_if_slower / 100 for c in changes
    ):
        return 1
    return 3 if all(c.verdict == NOT_COMPARABLE for c in changes) else 0


def _check(args: argparse.Namespace) -> None:
    from numbasgd import check

    check.real(args.tolerance, "--tolerance", hint="Give percent, for example 5.")
    if args.tolerance < 0:
        raise ValueError(f"--tolerance is {args.tolerance}; expected 0 or more. Give percent, for example 5.")
    if args.fail_if_slower is not None:
        check.real(args.fail_if_slower, "--fail-if-slower", hint="Give percent, for example 10.")
        if args.fail_if_slower < 0:
            raise ValueError(
                f"--fail-if-slower is {args.fail_if_slower}; expected 0 or more. Give percent, for example 10."
            )
