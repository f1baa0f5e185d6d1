"""Measure the statistics of a minibatch gradient, as the chapter states them.

The mean over minibatches is the full gradient.  The standard deviation falls as b^-1/2 when rows are drawn
with replacement, and by the factor sqrt((n - b) / (n - 1)) more when they are drawn without.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from numbasgd.cli import tables

if TYPE_CHECKING:
    from numbasgd.sgd.noise import Noise

HELP = "mean and standard deviation of minibatch gradients"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``numbasgd noise``."""
    parser.add_argument(
        "data",
        nargs="?",
        metavar="DATA",
        help=f"{tables.DATA}; the twin if left out",
    )
    parser.add_argument("--target", help="the column of DATA to predict: a name, or a number")
    parser.add_argument("--draws", type=int, default=1000, help="minibatches per batch size (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default 0)")
    parser.add_argument("--plot", metavar="FILE", help="write a picture, for example noise.png")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    tables.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from numbasgd.data import airfoil_twin
    from numbasgd.render import figures
    from numbasgd.render.training_plot import plot_noise
    from numbasgd.sgd import gradient_noise

    if args.plot:
        figures.check_path(args.plot)
    if (args.data is None) != (args.target is None):
        given, missing = ("--target", "DATA") if args.data is None else ("DATA", "--target")
        raise ValueError(
            f"{missing} is missing while {given} was given; expected both or neither. Pass {missing}."
        )
    if args.data is None:
        X, y = airfoil_twin()
        source = "the embedded twin of the airfoil data"
    else:
        X, y, _ = tables.read(args, args.target).split()
        source = "your table"
    noise = gradient_noise(X, y, draws=args.draws, seed=args.seed)
    if args.json:
        print(json.dumps({"data": source, **noise.to_dict()}, indent=2, allow_nan=False))
    else:
        _tell(noise, source, args.draws)
    if args.plot:
        figures.save(plot_noise(noise), args.plot)
    return 0


def _tell(noise: Noise, source: str, draws: int) -> None:
    from numbasgd.render.tables import Table, number, render

    header = (
        "batch size",
        "std, with repl.", "sigma / sqrt(b)",
        "std, without", "... x sqrt((n-b)/(n-1))",
        "bias / its std",
    )  # fmt: skip
    rows = [
        (
            a.batch_size,
            "-" if a.std is None else number(a.std, 4), number(a.predicted, 4),
            "-" if c.std is None else number(c.std, 4) if c.batch_size < noise.n else "0",
            number(c.predicted, 4),
            number(a.bias / a.bias_expected, 2) if a.bias is not None and a.bias_expected else "-",
        )
        for a, c in zip(noise.with_replacement, noise.without_replacement, strict=True)
    ]  # fmt: skip
    print(
        f"Gradients of {source} at w = 0, b = 0: {noise.n} rows, {draws} minibatches per size, "
        f"|full gradient| = {noise.gradient_norm:.4g}, sigma = {noise.sigma:.4g}\n"
    )
    print(render(Table(header, tuple(rows))))
    print(
        f"\nsimple noise scale tr(Sigma) / |G|^2 = {noise.noise_scale:.3g}; critical batch size "
        f"beta / lambda1 + 1 = {noise.critical_batch_size:.3g}; largest stable lr 2 / lambda1 = "
        f"{noise.largest_stable_lr:.3g}, beyond which the error grows along {noise.direction}"
    )
