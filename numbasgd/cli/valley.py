"""Measure why a batch size in between wins: time to a loss = samples needed x seconds a sample.

For each batch size the best constant rate is found, and how many samples several runs take to a loss that is
close to the least one; and what a sample costs, in compiled steps and in a loop of NumPy calls.  The product of
the two is a valley.  On the airfoil data, which fits into the first cache, a NumPy loop, whose calls cost more
than their work, is fastest with all rows at once; so a problem that is large enough is measured beside it,
where the valley shows in both.

DATA is a table of your own, whose columns are standardized.  Without it the airfoil data is taken where the
file is at hand, and else its embedded twin.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from numbasgd.cli import tables

if TYPE_CHECKING:
    from numbasgd.experiments import Valley

HELP = "time to a loss by batch size: why one in between wins"
LARGE = "a large problem, made here"
_LARGE_SEEDS = 7  # at most


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``numbasgd valley``."""
    parser.add_argument(
        "data",
        nargs="?",
        metavar="DATA",
        help=f"{tables.DATA}; the airfoil data and a large problem if left out",
    )
    parser.add_argument("--target", help="the column of DATA to predict: a name, or a number")
    parser.add_argument(
        "--within", type=float, default=0.02, metavar="F",
        help="share of the gap between the loss at the start and the least one that may be left (default 0.02)",
    )  # fmt: skip
    parser.add_argument("--batch-sizes", metavar="B,B", help="batch sizes, for example 1,10,100")
    parser.add_argument("--seeds", type=int, default=15, metavar="N", help="runs of each size (default 15)")
    parser.add_argument("--quick", action="store_true", help="the airfoil data alone")
    parser.add_argument("--plot", metavar="FILE", help="write a picture, for example valley.png")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    tables.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, then print the tables or JSON, and draw."""
    from numbasgd.machine.fingerprint import lines_with_notes
    from numbasgd.render import figures
    from numbasgd.render.valley_plot import plot_valleys

    if args.plot:
        figures.check_path(args.plot)
    tables.require_both(args)
    tables.require_share("--within", args.within)
    found = _measure(args)
    if args.json:
        print(json.dumps({"valleys": [one.to_dict() for one in found]}, indent=2, allow_nan=False))
    else:
        print("\n".join(lines_with_notes(dict(found[0].machine))))
        for one in found:
            print(f"\nTime to a loss on {one.data}, {one.n} rows x {one.d} columns, {one.dtype}, one thread\n")
            print(one.table(), end="")
    if args.plot:
        figures.save(plot_valleys(found), args.plot)
    return 0


def _measure(args: argparse.Namespace) -> list[Valley]:
    """The valley of the user's table; else that of the airfoil data, and of a large problem."""
    import dataclasses

    from numbasgd import experiments

    sizes = None if args.batch_sizes is None else _sizes(args.batch_sizes)
    options = {"target": args.within, "batch_sizes": sizes}
    if args.data is not None:
        X, y, _ = tables.read(args, args.target).split()
        found = experiments.valley(X, y, seeds=args.seeds, standardize=True, **options)
        return [dataclasses.replace(found, data="your table")]
    found = experiments.valley(seeds=args.seeds, **options)
    if args.quick:
        return [found]
    large = experiments.valley(*experiments.made_large(), seeds=min(args.seeds, _LARGE_SEEDS), **options)
    return [found, dataclasses.replace(large, data=LARGE)]


def _sizes(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(
            f"--batch-sizes is {text!r}; expected integers with commas between them. Pass for example "
            "--batch-sizes 1,10,100."
        ) from None
