"""The chapter's first experiment: one product, computed rung by rung, beside NumPy's BLAS.

Speeds are 2mnk/t of the median call on one thread, compile time apart, every result checked.  The share is
of the BLAS's speed; the error is the largest of an entry against a more precise reference, also as a share
of the bound that holds for any order of summation.
"""

from __future__ import annotations

import argparse
import json

HELP = "time the same product on every rung, beside NumPy's BLAS"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``numbasgd ladder``."""
    parser.add_argument("--size", type=int, default=256, metavar="N", help="N x N matrices (default: 256)")
    parser.add_argument("--dtype", default="float32", help="float32 (default) or float64")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--slow", action="store_true", help="time also rungs that take many seconds a call")
    parser.add_argument("--chapter-units", action="store_true", help="add a column with the chapter's 2/t")
    parser.add_argument("--plot", metavar="FILE", help="draw the speeds into FILE (png, svg, pdf, ...)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Measure, then print the table or JSON, and draw."""
    from numbasgd import experiments
    from numbasgd.machine.fingerprint import lines_with_notes
    from numbasgd.render import figures

    if args.plot:
        figures.check_path(args.plot)
    found = experiments.ladder(args.size, args.dtype, args.device, is_complete=args.slow)
    if args.json:
        print(json.dumps(found.products[0].to_dict(), indent=2, allow_nan=False))
    else:
        print("\n".join([*lines_with_notes(dict(found.machine)), ""]))
        print(found.table(has_chapter_units=args.chapter_units), end="")
    if args.plot:
        figures.save(found.plot(), args.plot)
    return 0
