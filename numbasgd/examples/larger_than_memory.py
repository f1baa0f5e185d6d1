"""A file larger than memory: made on the fly, trained on in shuffled blocks, in a hundred megabytes.

Run it with ``python -m numbasgd.examples.larger_than_memory``, and ``--gigabytes 20`` where memory is large.
"""

import argparse
import os
import resource
import tempfile
from pathlib import Path

import numpy as np

import numbasgd

COLUMNS = 64
PIECE = 1 << 18  # rows that are made, and written, at a time


def make(folder: Path, rows: int) -> None:
    """Write rows whose labels are sorted, the worst order there is, and their labels."""
    X = np.lib.format.open_memmap(folder / "X.npy", "w+", np.float32, (rows, COLUMNS))
    y = np.lib.format.open_memmap(folder / "y.npy", "w+", np.int8, (rows,))
    direction = np.random.default_rng(0).standard_normal(COLUMNS, np.float32) / COLUMNS**0.5
    for start in range(0, rows, PIECE):
        some = np.random.default_rng(start + 1).standard_normal((min(PIECE, rows - start), COLUMNS), np.float32)
        labels = np.arange(start, start + len(some)) >= rows // 2
        X[start : start + len(some)] = some + np.where(labels, 1, -1)[:, None] * direction
        y[start : start + len(some)] = labels
    X.flush()


def in_memory() -> str:
    """What the process has in memory that is no file, now; where that is not told, its largest size so far."""
    if os.path.exists("/proc/self/status"):
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return f"{next(int(line.split()[1]) for line in lines if line.startswith('RssAnon')) / 1000:.0f} MB"
    return f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000:.0f} MB"


def main() -> None:
    """Make a file, train a classifier on it while most of it stays there, and say what that took."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0, help="size of the file (default 2)")
    parser.add_argument("--folder", help="where it is made, and removed again")
    options = parser.parse_args()
    rows = int(options.gigabytes * 1e9) // (4 * COLUMNS)

    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        make(folder, rows)
        X = np.load(folder / "X.npy", mmap_mode="r")  # or a list of files, or a data set of HDF5 or Zarr
        y = np.load(folder / "y.npy", mmap_mode="r")
        print(f"{len(X)} rows x {X.shape[1]} columns, {X.nbytes / 1e9:.2f} GB, sorted by label")
        some = slice(None, None, max(1, rows // 1000))
        numbasgd.train(X[some], y[some], loss="logistic", epochs=1)  # compiled code takes memory as well
        print(f"in memory before: {in_memory()}")

        # Blocks of rows come in random order, and 24 MB of them are shuffled together: no need to say so.
        fit = numbasgd.train(X, y, loss="logistic", epochs=2, seed=0)
        print(f"in memory after:  {in_memory()}")
        print(f"sampling {fit.settings['sampling']}, loss {fit.loss[0]:.4f} -> {fit.loss[-1]:.4f}")
        speed = fit.samples[-1] * X.strides[0] / max(fit.seconds[-1], 1e-9) / 1e9
        print(f"{fit.seconds[-1]:.2f} s of training, {speed:.1f} GB/s")
        right = np.mean(fit.predict(X) == y)  # which is read in pieces as well
        print(f"{right:.1%} of the labels are predicted")

    rate = fit.settings["lr"]
    print(f"lr {rate:.3g}: {fit.lr_because}")


if __name__ == "__main__":
    main()
