"""The chapter's argument about memory, measured here: the first access costs, a burst is cheap.

Measures what this machine can do (multiply-adds, bandwidth and latency by working set, the caches that show in
them) and how fast numbers are read in order, with gaps, at random, in bursts, by wide loads and with work for
each.  One thread; every sum is checked.  It takes 45 seconds and 1 GB of memory at most: where caches are so
large or the machine so slow that this does not suffice, the output says what is left out.
"""

from __future__ import annotations

import argparse
import json

HELP = "what this machine's memory and arithmetic can do, measured"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``numbasgd memory``."""
    parser.add_argument("--quick", action="store_true", help="15 seconds at most instead of 45, more noise")
    parser.add_argument("--plot", metavar="FILE", help="draw the measurements into FILE (png, svg, pdf, ...)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Measure, then print the tables or JSON, and draw."""
    from numbasgd import experiments
    from numbasgd.cli.progress_line import ProgressLine
    from numbasgd.experiments._memory import QUICK_SECONDS, SECONDS
    from numbasgd.machine.deadline import Deadline
    from numbasgd.machine.fingerprint import lines_with_notes
    from numbasgd.render import figures

    if args.plot:
        figures.check_path(args.plot)
    seconds = (QUICK_SECONDS if args.quick else SECONDS) - (figures.SECONDS if args.plot else 0)
    with ProgressLine(seconds, args.started) as progress:
        deadline = Deadline(seconds, tell=progress.tell, start=args.started)
        found = experiments.memory(args.quick, deadline=deadline)
    if args.plot:
        figures.save(found.plot(), args.plot)
    if args.json:
        print(json.dumps(found.to_dict(), indent=2, allow_nan=False))
        return 0
    print("\n".join([*lines_with_notes(dict(found.machine)), ""]))
    print(found.table(), end="")
    print(
        f"\nMeasured in {deadline.elapsed():.0f} s, {found.compile_seconds:.0f} s of them to compile, and "
        "checked. A value is the median of the fastest quarter of the rounds, since others can only slow a "
        "round down. Bytes as STREAM counts them.\n"
        "A load of a level walks at random through a few pages at a time; a chase goes through all of them, "
        "and so pays for the search of pages, too."
    )
    return 0
