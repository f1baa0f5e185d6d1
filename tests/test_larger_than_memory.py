"""What ``sampling="block"`` is for: files larger than memory, whatever order their rows are in."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from child import run_python

from numbasgd import train

#: Trains on big.npy and its targets while anonymous memory may grow by the two windows and 64 MB.
IN_LITTLE_MEMORY = """
    import resource, sys, warnings
    import numpy as np, numbasgd
    from numbasgd.sgd.background import Background

    warnings.simplefilter("ignore")  # of a rate that is too small for what it learns
    window, modes = eval(sys.stdin.read())
    X = np.load("big.npy", mmap_mode="r")
    targets = {name: np.load(f"{name}.npy", mmap_mode="r") for name in ("y", "labels", "weights")}

    def of_process(name):
        lines = open("/proc/self/status").read().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))

    for name, settings in modes.items():
        settings = {"lr": 0.01, "epochs": 1, "seed": 0, "progress": False, "window": window, **settings}
        y = targets["labels" if settings.get("loss") == "logistic" else "y"]
        if settings.pop("weighted", False):
            settings["sample_weight"] = targets["weights"]
        some = {k: v[:200_000] if k == "sample_weight" else v for k, v in settings.items()}
        # Whatever the first call compiles, imports and starts.
        numbasgd.train(X[:200_000], y[:200_000], **some)
        room = int(2e6 * window) + (64 << 20)
        resource.setrlimit(resource.RLIMIT_DATA, (of_process("VmData") + room, -1))
        before = of_process("RssAnon")
        fit = numbasgd.train(X, y, **settings)
        assert fit.n == len(X) - round(settings.get("validation_fraction", 0) * len(X))
        assert of_process("RssAnon") - before < room
        resource.setrlimit(resource.RLIMIT_DATA, (-1, -1))
        print(name, "fits")
    resource.setrlimit(resource.RLIMIT_DATA, (of_process("VmData") + (48 << 20), -1))
    try:
        np.ones(len(X) * 16)
    except MemoryError:
        print("and the limit is one")
"""
MODES = {
    "plain": {},
    "defaults": {"lr": "auto", "epochs": None, "tol": 0.5, "patience": 1},
    "logistic": {"lr": "auto", "loss": "logistic"},
    "standardized": {"standardize": True},
    "held out": {"validation_fraction": 0.1},
    "weighted": {"weighted": True},
    "large steps": {"batch_size": 100_000, "momentum": 0.9},
}


def write(folder, n, d):
    """Rows that are made as they are written, their targets, labels of two classes and weights."""
    X = np.lib.format.open_memmap(folder / "big.npy", "w+", np.float32, (n, d))
    w = np.random.default_rng(0).normal(size=d)
    others = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, (n,))
        for name, dtype in (("y", np.float32), ("labels", np.int8), ("weights", np.float64))
    }
    for at in range(0, n, 1 << 16):
        rng = np.random.default_rng(at + 1)
        rows = rng.standard_normal((min(1 << 16, n - at), d), np.float32)
        y = rows @ w + rng.standard_normal(len(rows), np.float32)
        X[at : at + len(rows)] = rows
        for array, values in zip(others.values(), (y, y > 0, 1 + rng.random(len(rows))), strict=True):
            array[at : at + len(rows)] = values
    X.flush()


def run_in_little_memory(folder, window, modes):
    # Memory that is given back is given back to the system, and so does not hide what is taken anew.
    kept = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    out = run_python(IN_LITTLE_MEMORY, cwd=folder, stdin=repr((window, modes)), **kept)
    assert out.splitlines() == [*(f"{name} fits" for name in modes), "and the limit is one"]


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
def test_memory_grows_by_the_windows_and_little_more(tmp_path):
    write(tmp_path, 800_000, 32)  # 102 MB
    run_in_little_memory(tmp_path, 4.0, MODES)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
def test_memory_grows_by_the_windows_and_little_more_for_six_gigabytes(tmp_path):
    if (free := shutil.disk_usage(tmp_path).free) < 16e9:
        pytest.skip(f"{free / 1e9:.1f} GB of the disk are free, and this needs 16")
    write(tmp_path, 6_000_000_000 // 256, 64)
    modes = {"plain": {}, "all": MODES["standardized"] | MODES["held out"]}
    run_in_little_memory(tmp_path, 24.0, modes)


@pytest.mark.parametrize(
    "settings",
    [{}, *(pytest.param(s, marks=pytest.mark.slow) for s in ({"schedule": "cosine"}, {"average": True}))],
    ids=str,
)
def test_rows_that_are_sorted_by_label_train_as_well_as_shuffled_ones(settings):
    rng = np.random.default_rng(0)
    n, d = 100_000, 8
    X = rng.standard_normal((n, d), np.float32)
    y = X @ rng.normal(size=d) + rng.logistic(size=n) > 0
    order = np.argsort(y, kind="stable")
    X, y = X[order], y[order]
    settings = {"loss": "logistic", "epochs": 3, **settings}
    shuffled, sequential = (
        train(X, y, sampling=sampling, seed=0, **settings) for sampling in ("reshuffle", "sequential")
    )
    lr = shuffled.settings["lr"]
    for seed in range(3):
        block = train(X, y, sampling="block", seed=seed, window=X.nbytes / 32e6, **settings | {"lr": lr})
        assert block.loss[-1] < 1.02 * shuffled.loss[-1]
    assert sequential.loss[-1] > block.loss[-1]
