"""What ``sampling="block"`` costs: in loss, on the worst order of rows there is, and in time, from a file.

``python -m bench.block_shuffle`` prints the loss of three epochs over rows sorted by label against that after a
full shuffle, for windows of several shares of the rows.  ``--speed`` makes a file instead and prints how fast
an epoch over it is against one in sequential order, both in windows that are read while steps are made on
others, and against steps on the mapped file itself.  Pin it to one core to see all the work that it is.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from numbasgd import train

ROWS, COLUMNS = 240_000, 10
WINDOWS = (4, 16, 64, 256)  # of the data
SEEDS = range(5)
RUNS: dict[str, dict[str, Any]] = {
    'logistic, `lr="auto"`': {"loss": "logistic"},
    'logistic, `lr="auto"`, `schedule="cosine"`': {"loss": "logistic", "schedule": "cosine"},
    "logistic, `lr=0.1`, a large rate": {"loss": "logistic", "lr": 0.1, "standardize": True},
    'squared, `lr="auto"`': {},
    "squared, `lr=0.1`, a rate far too large": {"lr": 0.1, "standardize": True},
}
SPEED_COLUMNS = 64


def _sorted_rows(loss: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, COLUMNS), np.float32)
    z = X @ rng.standard_normal(COLUMNS)
    y = (
        z + rng.logistic(size=ROWS) > 0
        if loss == "logistic"
        else (z + rng.normal(size=ROWS)).astype(np.float32)
    )
    order = np.argsort(y, kind="stable")
    return X[order], y[order]


def losses() -> str:
    """The table of losses, in Markdown."""
    shares = [f"1/{count}" for count in WINDOWS]
    lines = ["| three epochs | full shuffle | " + " | ".join([*shares, "in sorted order"]) + " |"]
    lines.append("| --- |" + " ---: |" * (len(WINDOWS) + 2))
    for name, settings in RUNS.items():
        X, y = _sorted_rows(settings.get("loss", "squared"))

        def mean_loss(settings: dict[str, Any] = settings, X: Any = X, y: Any = y, **how: Any) -> float:
            runs = [train(X, y, epochs=3, seed=seed, **settings, **how) for seed in SEEDS]
            return float(np.mean([run.loss[-1] for run in runs]))

        full = mean_loss()
        others = [mean_loss(sampling="block", window=X.nbytes / 1e6 / count) for count in WINDOWS]
        others.append(mean_loss(sampling="sequential"))
        cells = [f"{100 * (loss / full - 1):+.2f}%" for loss in others]
        lines.append(f"| {name} | {full:.5f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


class _Ranges:
    """Rows of a file that have slices and nothing else, so that they are read in windows in any order."""

    def __init__(self, X: np.ndarray) -> None:
        self.X, self.shape, self.dtype = X, X.shape, X.dtype

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self.X[rows]


def speed(gigabytes: float, folder: str | None, batch_size: int) -> str:
    """The table of speeds, in Markdown."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        n = int(gigabytes * 1e9) // (4 * SPEED_COLUMNS)
        X = np.lib.format.open_memmap(Path(name) / "X.npy", "w+", np.float32, (n, SPEED_COLUMNS))
        y = np.empty(n, np.float32)
        for at in range(0, n, 1 << 18):
            rng = np.random.default_rng(at)
            X[at : at + (1 << 18)] = some = rng.standard_normal(
                (min(1 << 18, n - at), SPEED_COLUMNS), np.float32
            )
            y[at : at + (1 << 18)] = some.sum(axis=1)
        X.flush()
        X = np.load(Path(name) / "X.npy", mmap_mode="r")
        kinds = {
            "block": (X, "block"),
            "sequential, in windows": (_Ranges(X), "sequential"),
            "sequential, on the mapped file": (X, "sequential"),
        }
        lines = ["| an epoch | seconds | GB/s |", "| --- | ---: | ---: |"]
        for title, (rows, sampling) in kinds.items():
            how: dict[str, Any] = {"batch_size": batch_size, "lr": 1e-3, "seed": 0, "threads": 1}
            seconds = min(
                train(rows, y, sampling=sampling, epochs=1, eval_every=None, **how).seconds[-1]
                for _ in range(3)
            )
            lines.append(f"| {title} | {seconds:.3f} | {X.nbytes / seconds / 1e9:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Print one of the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speed", action="store_true", help="print speeds, and not losses")
    parser.add_argument("--gigabytes", type=float, default=6.0, help="size of the file (default 6)")
    parser.add_argument("--folder", help="where the file is made, and removed again")
    parser.add_argument("--batch-size", type=int, default=256)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of rates that are too large, which some are meant to be
    print(speed(options.gigabytes, options.folder, options.batch_size) if options.speed else losses())


if __name__ == "__main__":
    main()
