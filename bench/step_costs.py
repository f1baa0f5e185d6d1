"""What a sample costs at each batch size on this family of CPUs, for ``train(batch_size="auto")``.

``python -m bench.step_costs`` times steps of each loss over rows of several widths, in cache, on one thread,
and writes them under the family's name into ``numbasgd/sgd/batch_size/costs.json``, in nanoseconds.  That file
is data of the package: a run that follows it, and no clock, is the same every time.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np

import numbasgd
from numbasgd.machine.cpu import host
from numbasgd.sgd.batch_size.auto import KINDS, SIZES, WIDTHS
from numbasgd.sgd.config import Method
from numbasgd.sgd.inputs import make_dataset

PATH = Path(numbasgd.__file__).parent / "sgd" / "batch_size" / "costs.json"
ROWS = 2048  # the last of the sizes: all rows, in order
_REPEATS, _EACH = 12, 5e-4


def costs(loss: str, outputs: int, width: int) -> list[float]:
    """Nanoseconds a sample for each of ``SIZES`` and for all rows, over rows of ``width`` columns."""
    rng = np.random.default_rng(width)
    X = rng.standard_normal((ROWS, width)).astype(np.float32)
    y = {
        "logistic": rng.integers(0, 2, ROWS),
        "hinge": rng.integers(0, 2, ROWS),
        "softmax": np.arange(ROWS) % max(outputs, 1),
    }.get(loss, rng.standard_normal((ROWS, outputs) if outputs else ROWS).astype(np.float32))
    dataset = make_dataset(X, y, None, loss)
    runs, chunk, best = {}, {}, {}
    for b in (*SIZES, ROWS):
        lrs = np.array([1e-9], np.float32)
        method = Method(loss, b, lrs, "reshuffle", 0, True, 0.0, False, None, 0.0, 0.0, 1)
        run = runs[b] = dataset.solver(method)
        run.compile()
        run.go_to(max(b, 1024))
        at, begin = run.samples, time.perf_counter()
        run.go_to(at + max(b, 1024))
        per = max(time.perf_counter() - begin, 1e-9) / (run.samples - at)
        chunk[b], best[b] = max(b, int(_EACH / per) // b * b), math.inf
    for _ in range(_REPEATS):
        for b, run in runs.items():
            at, begin = run.samples, time.perf_counter()
            run.go_to(at + chunk[b])
            spent = time.perf_counter() - begin - run.entry_seconds
            best[b] = min(best[b], spent / (run.samples - at))
    return [float(f"{1e9 * best[b]:.3g}") for b in (*SIZES, ROWS)]


def main() -> None:
    """Time all kinds and write the file."""
    kept = json.loads(PATH.read_text()) if PATH.exists() else {}
    found = {}
    for kind, (loss, outputs) in KINDS.items():
        found[kind] = [costs(loss, outputs, width) for width in WIDTHS]
        print(kind, found[kind][1], flush=True)
    kept[host().name] = found
    PATH.write_text(json.dumps(kept, sort_keys=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
