"""Predict the target for the rows of a table by a fit that ``numbasgd train --save`` kept.

The columns of DATA are found by their names, in any order, if the fit was made on a table with names; others,
such as the target, are left out.  Without names there must be as many columns as in training, in the same
order; --drop leaves one out.

Predictions go to --out, a .csv, .tsv, .npy, .npz, .parquet or .json file, else to standard output as CSV.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numbasgd.cli import tables

if TYPE_CHECKING:
    import numpy as np

    from numbasgd.data.stored_rows import StoredRows
    from numbasgd.sgd import Fit

HELP = "predict for the rows of a table by a kept fit"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``numbasgd predict``."""
    parser.add_argument("fit", metavar="FIT", help="a file that train --save or --checkpoint wrote")
    parser.add_argument("data", metavar="DATA", help=tables.DATA)
    parser.add_argument(
        "--out", metavar="FILE", help="where to write: .csv, .tsv, .npy, .npz, .parquet or .json"
    )
    parser.add_argument(
        "--proba", action="store_true", help="the probability of each class too (logistic and softmax)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    tables.add_arguments(parser, ("error", "drop", "keep"))


def run(args: argparse.Namespace) -> int:
    """Predict, and write or print the predictions."""
    from numbasgd.render import predictions
    from numbasgd.sgd import Fit

    fit = Fit.load(args.fit)
    if args.proba and fit.settings["loss"] not in ("logistic", "softmax"):
        raise ValueError(
            f"--proba was given, and the fit has loss {fit.settings['loss']!r}; expected 'logistic' or "
            "'softmax', which model probabilities. Leave --proba out."
        )
    if args.out is not None:
        predictions.require_place(args.out)
    table = tables.read_or_open(args, None, in_files=None, features=_features(fit))
    columns = _columns(fit, table.X, table.is_complete, with_probabilities=args.proba)
    if args.out is not None:
        predictions.write(columns, Path(args.out))
    if args.json:
        told: dict[str, Any] = {"fit": args.fit, "rows": len(table.X), "notes": table.notes, "out": args.out}
        if args.out is None:
            told["predictions"] = {name: predictions.plain(values) for name, values in columns.items()}
        print(json.dumps(told, indent=2, allow_nan=False))
    elif args.out is None:
        predictions.print_csv(columns, sys.stdout)
    else:
        empty = len(table.X) - int(table.is_complete.sum())
        gaps = f", {empty} of them without a prediction, since cells are missing" if empty else ""
        print(f"{len(table.X)} rows{gaps}: {', '.join(map(ascii, columns))} written to {args.out}")
    return 0


def _features(fit: Fit) -> list[str] | int:
    """What the fit calls its columns, or how many it has."""
    names = fit.feature_names
    return len(fit.w) if names is None else [str(name) for name in names]


def _columns(
    fit: Fit, X: np.ndarray | StoredRows, is_complete: np.ndarray, *, with_probabilities: bool
) -> dict[str, np.ndarray]:
    """The predictions by the name of their column; NaN, or no text, for a row that is not complete."""
    import numpy as np

    rows = X if is_complete.all() else X[is_complete]
    found = fit.predict(rows)
    if found.ndim == 1:
        columns = {"prediction": found}
    else:
        columns = {f"prediction {k}": found[:, k] for k in range(found.shape[1])}
    if with_probabilities:
        probabilities = fit.predict_proba(rows)
        for k, name in enumerate(fit.classes or ()):
            columns[f"probability of {name}"] = probabilities[:, k]
    if len(rows) == len(X):
        return columns
    whole = {}
    for name, values in columns.items():
        if values.dtype.kind == "U":
            filled: np.ndarray = np.full(len(X), "", values.dtype)
        else:
            filled = np.full(len(X), np.nan, values.dtype if values.dtype.kind == "f" else np.float64)
        filled[is_complete] = values
        whole[name] = filled
    return whole
