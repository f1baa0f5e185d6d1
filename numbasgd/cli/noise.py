"""Measure the statistics of a minibatch gradient, as the chapter states them.

The mean over minibatches is the full gradient.  The standard deviation falls as b^-1/2 when rows are drawn
with replacement, and by the factor sqrt((n - b) / (n - 1)) more when they are drawn without.  Beside it stands
what a step over so many rows costs here, compiled and as a loop of NumPy calls: the noise falls as b^-1/2, the
cost grows as b.

Without DATA it takes the airfoil data where the file is at hand, and else its embedded twin.
"""

from __future__ import annotations

import argparse
import json

from numbasgd.cli import tables

HELP = "mean and standard deviation of minibatch gradients"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``numbasgd noise``."""
    parser.add_argument(
        "data",
        nargs="?",
        metavar="DATA",
        help=f"{tables.DATA}; the airfoil data if left out",
    )
    parser.add_argument("--target", help="the column of DATA to predict: a name, or a number")
    parser.add_argument("--draws", type=int, default=1000, help="minibatches per batch size (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default 0)")
    parser.add_argument("--plot", metavar="FILE", help="write a picture, for example noise.png")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    tables.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from numbasgd import experiments
    from numbasgd.render import figures

    if args.plot:
        figures.check_path(args.plot)
    tables.require_both(args)
    data = (None, None) if args.data is None else tables.read(args, args.target).split()[:2]
    found = experiments.noise(*data, draws=args.draws, seed=args.seed)
    source = found.data if args.data is None else "your table"
    noise = found.noise
    if args.json:
        print(json.dumps({**found.to_dict(), "data": source}, indent=2, allow_nan=False))
    else:
        print(
            f"Gradients of {source} at w = 0, b = 0: {noise.n} rows, {args.draws} minibatches per size, "
            f"|full gradient| = {noise.gradient_norm:.4g}, sigma = {noise.sigma:.4g}\n"
        )
        print(found.table(), end="")
    if args.plot:
        figures.save(found.plot(), args.plot)
    return 0
