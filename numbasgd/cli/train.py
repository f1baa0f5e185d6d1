"""Fit a linear model by minibatch SGD, to your own table or to the airfoil data.

DATA is a text table such as a CSV file, a .npy, .npz or .parquet file, a folder of such files, or one that
numbasgd shard wrote; --target says which column to predict, that of the shards if left out, and may come again
for several outputs.  What is larger than memory is read in blocks from .npy, .parquet and shards.  Without DATA
the embedded twin of the airfoil data is used; --chapter makes the textbook chapter's four runs on the real
airfoil data.

--save keeps the result in a file, which numbasgd predict takes.  --resume goes on with such a file on the same
DATA, with the settings in it; --epochs is then the total.  --checkpoint writes one while it runs, so that a run
that was stopped, by Ctrl-C or anything else, can be resumed to the same result, bit for bit, as if it had not
been.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numbasgd.cli import tables

if TYPE_CHECKING:
    from numbasgd.sgd import Fit

HELP = "fit a linear model, or make the chapter's four runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``numbasgd train``."""
    parser.add_argument("data", nargs="?", metavar="DATA", help=tables.DATA)
    parser.add_argument(
        "--target",
        action="append",
        help="the column to predict: a name, or a number (-1 is the last); again for another one",
    )
    parser.add_argument("--chapter", action="store_true", help="the chapter's four runs on the airfoil data")
    parser.add_argument("--twin", action="store_true", help="the embedded twin instead of the airfoil file")
    parser.add_argument(
        "--batch-size", type=_batch_size, metavar="B", help='rows a step (default 32), or "auto"'
    )
    parser.add_argument("--lr", help='learning rate: a number, one per epoch as 0.1,0.05 or "auto" (default)')
    parser.add_argument(
        "--epochs", type=int, metavar="N", help="passes over the data (default none: until the loss converged)"
    )
    parser.add_argument(
        "--schedule", help="how the rate falls: constant, inverse_scaling, cosine, step or restarts"
    )
    parser.add_argument("--loss", help="squared (default), huber, logistic, hinge, softmax or quantile")
    parser.add_argument("--quantile", type=float, metavar="Q", help="level of loss quantile (default 0.5)")
    parser.add_argument(
        "--sampling",
        help="auto (default), reshuffle, once, replacement, sequential, or block (rows in a file)",
    )
    parser.add_argument(
        "--window", type=float, metavar="MB", help="rows that block sampling shuffles together (default 24 MB)"
    )
    parser.add_argument("--momentum", type=float, metavar="M", help="0 (default) to below 1, for example 0.9")
    parser.add_argument("--nesterov", action="store_true", help="momentum in the form of Nesterov")
    parser.add_argument(
        "--average", type=int, metavar="E", help="mean of the weights over steps after E epochs"
    )
    parser.add_argument("--l2", type=float, metavar="A", help="penalty A * |w|^2 / 2 (default 0)")
    parser.add_argument("--l1", type=float, metavar="A", help="penalty A * |w|_1 (default 0)")
    parser.add_argument(
        "--standardize",
        action=argparse.BooleanOptionalAction,
        help="train on standardized columns (default where lr is auto)",
    )
    parser.add_argument("--no-intercept", action="store_true", help="fit no intercept")
    parser.add_argument("--validation-fraction", type=float, metavar="F", help="share of rows to hold out")
    parser.add_argument(
        "--tol", type=float, metavar="T", help="stop when the loss falls by less than this share"
    )
    parser.add_argument(
        "--patience", type=int, metavar="N", help="epochs to wait for a better loss (default 5)"
    )
    parser.add_argument(
        "--budget", type=float, metavar="S", help="stop after S seconds, with the best weights so far"
    )
    parser.add_argument(
        "--eval-every", metavar="K", help='"auto" (default), "epoch", "round", a number of samples, or "none"'
    )
    parser.add_argument("--seed", type=int, help="for the same run again")
    parser.add_argument("--threads", type=int, metavar="N", help="most threads (default: as many as pay)")
    parser.add_argument("--track-noise", action="store_true", help="the noise of the gradients along the run")
    parser.add_argument("--verbose", action="store_true", help="a line on stderr for each evaluation")
    parser.add_argument("--save", metavar="FILE", help="write the result to a file, for --resume and Fit.load")
    parser.add_argument("--resume", metavar="FILE", help="go on with the run in a file")
    parser.add_argument("--checkpoint", metavar="FILE", help="write the run to a file from time to time")
    parser.add_argument(
        "--checkpoint-every",
        metavar="K",
        help="steps between two checkpoints, for example 1000, or seconds, for example 30.0 (the default)",
    )
    parser.add_argument("--plot", metavar="FILE", help="write a picture of the loss, for example loss.png")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    tables.add_arguments(parser)


def _batch_size(text: str) -> int | str:
    try:
        return text if text == "auto" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"is {text!r}; expected an integer.") from None


def run(args: argparse.Namespace) -> int:
    """Train and print what came out."""
    from numbasgd.render import figures

    if args.plot:
        figures.check_path(args.plot)
    return _chapter(args) if args.chapter else _train(args)


# Options that are no value of the setting.
_OTHER_FORM = {"lr", "intercept", "standardize", "eval_every", "checkpoint_every"}


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of ``train`` that were given, under their own names."""
    from numbasgd.sgd.config import SETTINGS

    names = [name for name in (*SETTINGS, "resume") if hasattr(args, name) and name not in _OTHER_FORM]
    options = {name: getattr(args, name) for name in names}
    options["average"] = True if args.average == 0 else args.average  # after 0 epochs: from the start
    options["lr"] = args.lr if args.lr in (None, "auto") else _rates(args.lr)
    options = {name: value for name, value in options.items() if value is not None and value is not False}
    if args.standardize is not None:
        options["standardize"] = args.standardize
    if args.no_intercept:
        options["intercept"] = False
    if args.checkpoint_every is not None:
        text = args.checkpoint_every
        options["checkpoint_every"] = int(text) if text.isdecimal() else _number(text, "--checkpoint-every")
    if args.eval_every is not None:
        named: dict[str, Any] = {"auto": "auto", "epoch": "epoch", "round": "round", "none": None}
        given = args.eval_every
        options["eval_every"] = named[given] if given in named else _whole(given, "--eval-every")
    return options


def _target(args: argparse.Namespace) -> Any:
    """The column to predict, or the columns."""
    return args.target[0] if len(args.target) == 1 else args.target


def _takes_labels(args: argparse.Namespace, resumed: Fit | None) -> bool:
    """Whether the loss tells classes apart, so that the target may be text."""
    from numbasgd.sgd.losses import LOSSES

    loss = args.loss
    if loss is None and resumed is not None:
        loss = resumed.settings["loss"]
    return loss in LOSSES and LOSSES[loss].targets != "real"


def _in_files(sampling: str) -> bool | None:
    """Whether rows stay in their files: for blocks, not where all of them are shuffled, else by their size."""
    return True if sampling == "block" else None if sampling in ("auto", "sequential") else False


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} is {text!r}; expected a number. Pass for example {name} 0.1.") from None


def _rates(text: str) -> float | list[float]:
    """One learning rate, or one for each epoch."""
    if "," in text:
        return [_number(part, "--lr") for part in text.split(",")]
    return _number(text, "--lr")


def _whole(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(
            f'{name} is {text!r}; expected a number of samples, "auto", "epoch", "round" or "none". '
            f"Pass for example {name} 200."
        ) from None


def _train(args: argparse.Namespace) -> int:
    from numbasgd.cli.train_text import fit_lines, print_best
    from numbasgd.errors import DataError, DivergenceError
    from numbasgd.render import figures
    from numbasgd.sgd import Fit, fit_io, train

    names: list[str] | None = None
    notes: list[str] = []
    place = None
    if args.save is not None:
        place = fit_io.path_of(args.save, "--save")
        fit_io.require_place(place, "--save")
    if args.data is None:
        if args.target is not None:
            raise ValueError(
                f"--target is {_target(args)!r} but no DATA was given; expected a file whose column it is. "
                "Pass the file, or leave --target out for the airfoil twin."
            )
        X: Any = None
        y = None
    else:
        if args.twin:
            raise ValueError("--twin and DATA were both given; expected one source of data. Drop one.")
        target = tables.own_target(args.data) if args.target is None else _target(args)
        if target is None:
            raise ValueError(
                "--target is missing; expected the column of DATA to predict. Pass its name, or its number "
                "from 0 on (-1 is the last)."
            )
        resumed = None if args.resume is None else Fit.load(args.resume)
        in_files = _in_files((args.sampling or "auto") if resumed is None else resumed.settings["sampling"])
        takes_labels = _takes_labels(args, resumed)
        table = tables.read_or_open(args, target, in_files=in_files, takes_labels=takes_labels)
        X, y, names, notes = table.rows, table.y, table.columns, table.notes
    try:
        fit = train(X, y, **_options(args))
    except DivergenceError as error:
        message = str(error).partition(" The best weights")[0]
        print_best(error, message, names if args.json else _printable(names), args.json)
        error.args = (f"{message} The best weights so far are printed.",)
        raise
    except (KeyboardInterrupt, DataError) as stop:
        _hand_over(stop, place, args)
        raise
    try:
        if place is not None:
            fit.save(place)
    finally:  # what a full disk does not take is at least told
        if args.json:
            print(json.dumps({**fit.to_dict(), "columns": names, "notes": notes}, indent=2, allow_nan=False))
        else:
            print("\n".join(fit_lines(fit, _printable(names))))
    if args.plot:
        figures.save(fit.plot(), args.plot)
    return 0


def _printable(names: list[str] | None) -> list[str] | None:
    """Names of columns for the terminal, which obeys nothing of them."""
    from numbasgd.data.cells import shown

    return None if names is None else [shown(name) for name in names]


def _hand_over(stop: BaseException, place: Path | None, args: argparse.Namespace) -> None:
    """Keep what a run has that an interrupt stopped, or a file that cannot be read, and say where it is."""
    fit: Fit | None = getattr(stop, "fit", None)
    if fit is None or not fit.samples[-1]:
        return
    notes = getattr(stop, "__notes__", [])  # of a checkpoint that could not be written
    if place is not None:
        fit.save(place)
    kept = args.save or (None if notes else args.checkpoint)
    how = f"go on with --resume {kept}" if kept else "nothing was kept; pass --save or --checkpoint for that"
    epochs = fit.settings["epochs"]
    done = f"stopped after {fit.epochs[-1]:g}{'' if epochs is None else f' of {epochs}'} epochs"
    print(*(f"numbasgd train: {line}" for line in (*notes, f"{done}; {how}")), sep="\n", file=sys.stderr)


def _chapter(args: argparse.Namespace) -> int:
    from numbasgd import experiments
    from numbasgd.data import airfoil_twin, load_airfoil
    from numbasgd.render import figures

    if (
        args.data is not None
        or args.target is not None
        or args.save is not None
        or _options(args).keys() - {"seed"}
    ):
        raise ValueError(
            "--chapter was given together with DATA, --target or training options; expected it alone, with "
            "--seed, --twin, --plot or --json at most, since the chapter sets the rest. Drop the others."
        )
    X, y = airfoil_twin() if args.twin else load_airfoil()
    source = "the embedded twin of the airfoil data" if args.twin else "the airfoil data"
    found = experiments.chapter(X, y, seed=args.seed or 0)
    if args.json:
        print(json.dumps({**found.to_dict(), "data": source}, indent=2, allow_nan=False))
    else:
        what = f"{len(y)} rows x {X.shape[1]} columns, seed {args.seed or 0}"
        print(f"The chapter's four runs on {source}, {what}\n")
        print(found.table(), end="")
        print("Time to a loss by batch size, which shows why one in between wins: numbasgd valley.")
    if args.plot:
        figures.save(found.plot(), args.plot)
    return 0
