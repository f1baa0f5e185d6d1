"""Place every rung of the ladder and the gradient under the roof of this machine.

The roof is the lower of what the multiply-add units can do and of what the data's level can hand out, both
measured first.  A kernel's share of it tells what is left to gain, and the side that it is on tells how.  It
takes 45 seconds at most; the slowest rungs are left out where that does not suffice.
"""

from __future__ import annotations

import argparse
import json

HELP = "each rung and each gradient under what this machine could do"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``numbasgd roofline``."""
    parser.add_argument("--dtype", default="float32", help="float32 (default) or float64")
    parser.add_argument("--quick", action="store_true", help="15 seconds at most instead of 45, more noise")
    parser.add_argument("--plot", metavar="FILE", help="draw the roofline into FILE (png, svg, pdf, ...)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Measure, then print the table or JSON, and draw."""
    from numbasgd import experiments
    from numbasgd.cli.progress_line import ProgressLine
    from numbasgd.experiments._roofline import QUICK_SECONDS, SECONDS
    from numbasgd.machine.deadline import Deadline
    from numbasgd.machine.fingerprint import lines_with_notes
    from numbasgd.render import figures

    if args.plot:
        figures.check_path(args.plot)
    seconds = (QUICK_SECONDS if args.quick else SECONDS) - (figures.SECONDS if args.plot else 0)
    with ProgressLine(seconds, args.started) as progress:
        deadline = Deadline(seconds, tell=progress.tell, start=args.started)
        found = experiments.roofline(args.dtype, args.quick, deadline=deadline)
    if args.plot:
        figures.save(found.plot(), args.plot)
    if args.json:
        print(json.dumps(found.to_dict(), indent=2, allow_nan=False))
        return 0
    print("\n".join([*lines_with_notes(dict(found.machine)), ""]))
    print(found.table(), end="")
    print(
        "\nroof: min(peak, flop/byte x bandwidth of the level that holds the data). "
        f"Measured in {deadline.elapsed():.0f} s."
    )
    return 0
