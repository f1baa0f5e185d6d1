"""Say where the airfoil file is, verify it, and say what is in it; or describe its embedded twin.

The file is looked for in PATH, else in the folder that NUMBASGD_DATA_DIR names, else in the cache folder.
With --download it is then fetched from the mirrors, unless NUMBASGD_OFFLINE is set.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

HELP = "find, verify or download the airfoil data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``numbasgd data``."""
    parser.add_argument("path", nargs="?", metavar="PATH", help="the file, or a folder that holds it")
    parser.add_argument("--download", action="store_true", help="fetch the file if it is not on this machine")
    parser.add_argument("--twin", action="store_true", help="describe the embedded stand-in instead")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the report; a file that cannot be had is a ``DataError``."""
    if args.twin and (args.path or args.download):
        raise ValueError("--twin describes embedded data; it goes with neither PATH nor --download. Drop one.")
    report = _twin() if args.twin else _file(args.path, args.download)
    if args.json:
        print(json.dumps(report, indent=2, allow_nan=False))
    else:
        print("\n".join(_lines(report)))
    return 0


def _file(path: str | None, may_download: bool) -> dict[str, Any]:
    from numbasgd.data import airfoil

    found = airfoil.find(path, may_download=may_download)
    return {
        "schema": 1,
        "name": airfoil.NAME,
        "source": found.source,
        "path": None if found.path is None else str(found.path),
        "address": found.address,
        "sha256": airfoil.SHA256,
        "bytes": len(found.content),
        "rows": airfoil.N_ROWS,
        "columns": list(airfoil.COLUMNS),
        "licence": airfoil.LICENCE,
        "citation": airfoil.CITATION,
        "prepared": _facts(*airfoil.prepare(found.content)),
    }


def _twin() -> dict[str, Any]:
    from numbasgd.data import airfoil, twin

    return {
        "schema": 1,
        "name": "airfoil twin",
        "source": "embedded",
        "rows": twin.N_ROWS,
        "columns": [f"like {name.rsplit(' [')[0]}" for name in airfoil.COLUMNS],
        "licence": airfoil.LICENCE,
        "citation": f"moments of: {airfoil.CITATION}",
        "prepared": _facts(*twin.airfoil_twin()),
    }


def _facts(X: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """What least squares makes of the prepared rows, in float64."""
    import numpy as np

    A = np.column_stack((X, np.ones(len(y)))).astype(np.float64)
    w = np.linalg.lstsq(A, y.astype(np.float64), rcond=None)[0]
    curvature = float(np.linalg.eigvalsh(A.T @ A / len(y))[-1])
    return {
        "rows": len(y),
        "features": X.shape[1],
        "loss_at_zero": float(0.5 * np.mean(y.astype(np.float64) ** 2)),
        "minimum": float(0.5 * np.mean((A @ w - y) ** 2)),
        "gradient_descent_stable_below": 2 / curvature,
    }


def _lines(report: dict[str, Any]) -> list[str]:
    """The report for a reader."""
    if report["source"] == "embedded":
        head = [
            "airfoil twin: made rows with the means and second moments of the airfoil data, not the data",
            "least squares and gradient descent see the same problem; the noise of single rows differs",
        ]
    else:
        where = {
            "argument": "given",
            "cache": "in the cache",
            "download": f"downloaded from {report['address']}",
        }
        head = [
            f"{report['name']}: {report['path'] or 'not kept, no cache folder can be written'} "
            f"({where.get(report['source'], report['source'])})",
            f"sha256 {report['sha256']}, verified",
        ]
    facts = report["prepared"]
    return [
        *head,
        f"{report['rows']} rows, {len(report['columns'])} columns, the last one the target:",
        *(f"  {name}" for name in report["columns"]),
        f"prepared as in the chapter: {facts['rows']} rows, {facts['features']} features; half mean squared "
        f"error {facts['loss_at_zero']:.6f} at w = 0, at least {facts['minimum']:.6f}",
        f"gradient descent is stable for a learning rate below {facts['gradient_descent_stable_below']:.3f}",
        f"{report['licence']}. {report['citation']}",
    ]
