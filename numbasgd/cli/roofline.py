"""Place every rung of the ladder and the gradient under the roof of this machine.

The roof is the lower of what the multiply-add units can do and of what the data's level can hand out, both
measured first.  A kernel's share of it tells what is left to gain, and the side that it is on tells how.  It
takes 45 seconds at most; the slowest rungs are left out where that does not suffice.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping

HELP = "each rung and each gradient under what this machine could do"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``numbasgd roofline``."""
    parser.add_argument("--dtype", default="float32", help="float32 (default) or float64")
    parser.add_argument("--quick", action="store_true", help="15 seconds at most instead of 45, more noise")
    parser.add_argument("--plot", metavar="FILE", help="draw the roofline into FILE (png, svg, pdf, ...)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Measure, then print the table or JSON, and draw."""
    from numbasgd.cli.progress_line import ProgressLine
    from numbasgd.experiments import roofline
    from numbasgd.machine.deadline import Deadline
    from numbasgd.machine.fingerprint import lines_with_notes
    from numbasgd.render import figures
    from numbasgd.render.tables import Table, number, render

    if args.plot:
        figures.check_path(args.plot)
    seconds = (roofline.QUICK_SECONDS if args.quick else roofline.SECONDS) - (
        figures.SECONDS if args.plot else 0
    )
    with ProgressLine(seconds, args.started) as progress:
        deadline = Deadline(seconds, tell=progress.tell, start=args.started)
        found = roofline.measure(args.dtype, args.quick, deadline=deadline)
    if args.plot:
        from numbasgd.render.roofline_plot import plot_roofline

        figures.save(plot_roofline(found), args.plot)
    if args.json:
        print(json.dumps(found.to_dict(), indent=2, allow_nan=False))
        return 0
    peak = found.limits["fma"][found.dtype]["one"]["value"]
    heads = ("kernel", "of", "flop/byte", "GFLOP/s", "data in", "roof", "% of roof", "% of peak", "limit")
    rows = tuple(
        (
            point.name, point.group,
            number(point.place.intensity), number(point.place.gflops), point.place.level,
            number(point.place.roof), number(100 * point.place.roofline_share),
            number(100 * point.place.peak_share),
            "arithmetic" if point.place.limit == "FMA" else f"bandwidth of {point.place.level}",
        )
        for point in found.points
    )  # fmt: skip
    print("\n".join([*lines_with_notes(dict(found.machine)), ""]))
    title = f"One thread, {found.dtype}; multiply-add peak {number(peak)} GFLOP/s"
    print(render(Table(heads, rows, title)), end="")
    if found.left_out:
        print(f"\n{_left_out(found.left_out)}")
    for note in found.limits["notes"]:
        print(f"\n{note}")
    print(
        "\nroof: min(peak, flop/byte x bandwidth of the level that holds the data). "
        f"Measured in {deadline.elapsed():.0f} s."
    )
    return 0


def _left_out(names: Mapping[str, float]) -> str:
    """The kernels that are missing, by the size of their product, with the seconds of a slow call."""
    by_size: dict[str, list[str]] = {}
    for name, seconds in names.items():
        rung, _, size = name.rpartition("-")
        by_size.setdefault(size, []).append(f"{rung} ({seconds:.2g} s a call)" if seconds >= 1 else rung)
    told = "; ".join(f"{', '.join(rungs)} of {size}" for size, rungs in by_size.items())
    late = " A second run finds compiled code." if 0 in names.values() else ""
    return f"Left out as too slow, or for want of time: {told}.{late}"
