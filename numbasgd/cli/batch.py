"""Find the batch size, and its learning rate, that gets to a target first on this machine.

DATA is a text table such as a CSV file, a .npy, .npz or .parquet file, or a folder of such files; --target says
which column to predict.  Without DATA the embedded twin of the airfoil data is used.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from numbasgd.cli import tables

HELP = "find the batch size that gets to a target first"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``numbasgd batch``."""
    parser.add_argument("data", nargs="?", metavar="DATA", help=f"{tables.DATA}; the twin if left out")
    parser.add_argument("--target", help="the column of DATA to predict: a name, or a number")
    parser.add_argument("--loss", help="squared (default), huber, logistic, hinge, softmax or quantile")
    parser.add_argument(
        "--gap", type=float, default=0.01, metavar="G", help="share of the gap that may be left (default 0.01)"
    )
    parser.add_argument("--to-loss", type=float, metavar="L", help="the objective to get to, instead")
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="seconds of training, instead: least loss then"
    )
    parser.add_argument(
        "--budget", type=float, default=10.0, metavar="S", help="seconds that the search may take (default 10)"
    )
    parser.add_argument("--schedule", help="constant (default), cosine, step or inverse_scaling")
    parser.add_argument("--sampling", help="reshuffle (default), once, replacement or sequential")
    parser.add_argument("--momentum", type=float, metavar="M", help="0 (default) to below 1")
    parser.add_argument("--l2", type=float, metavar="A", help="penalty A * |w|^2 / 2 (default 0)")
    parser.add_argument("--seed", type=int, default=0, help="of the orders of the rows (default 0)")
    parser.add_argument("--verify", action="store_true", help="run the answer five more times")
    parser.add_argument("--plot", metavar="FILE", help="write a picture, for example batch.png")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    tables.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Search and print."""
    from numbasgd.data import airfoil_twin
    from numbasgd.render import figures
    from numbasgd.sgd.batch_size import best_batch_size
    from numbasgd.sgd.losses import LOSSES

    if args.plot:
        figures.check_path(args.plot)
    tables.require_both(args)
    if args.data is None:
        X, y = airfoil_twin()
        source = "the embedded twin of the airfoil data"
    else:
        takes_labels = args.loss in LOSSES and LOSSES[args.loss].targets != "real"
        X, y, _ = tables.read(args, args.target, takes_labels=takes_labels).split()
        source = "your table"
    names = ("loss", "schedule", "sampling", "momentum", "l2")
    options: dict[str, Any] = {n: getattr(args, n) for n in names if getattr(args, n) is not None}
    found = best_batch_size(
        X, y, target=args.gap, target_loss=args.to_loss, seconds=args.seconds, budget=args.budget,
        verify=args.verify, seed=args.seed, **options,
    )  # fmt: skip
    if args.json:
        print(json.dumps({"data": source, **found.to_dict()}, indent=2, allow_nan=False))
    else:
        spent = found.spent["total"] - found.spent["compiling"]
        goal = f"to {found.target:.3g} of the gap, an objective of {found.target_loss:.6g}"
        print(f"{found.n} rows of {source}; {goal}\n")
        print(found.table())
        print(
            f"\n{found.sentence}\n"
            f"Bound by {found.bound_by}.  Noise scale at the start {found.noise_scale:.3g}, critical "
            f"batch size {found.critical_batch_size:.3g}.  Found in {spent:.2g} s; pass it as "
            f"--batch-size {found.batch_size} --lr {found.lr:.4g}{' --standardize' * found.standardize}."
        )
    if args.plot:
        figures.save(found.plot(), args.plot)
    return 0
