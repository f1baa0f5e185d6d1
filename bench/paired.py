"""``numbasgd.matmul`` against ``np.matmul``, judged by the median of paired, alternating blocks.

    python -m bench.paired [--what squares minibatch few other] [--dtype float32 float64] [--threads 1]
    python -m bench.paired --sweep [--what squares minibatch sweep] [--shapes random:200:1]

On a machine that others share, a median of one side and then of the other says little.  Here short blocks of
both take turns in one process, each pair of blocks gives one ratio, and the median of these is printed with
its quartiles.  Every result is checked (``numbasgd.matmul.verify``) before it is timed.  ``--threads 1``
limits both sides to one thread; without it each uses what it likes, in longer blocks whose beginning is not
counted, since threads of the other side spin for a while after its last call (see ``SPIN``).

``--sweep`` times, in one thread, every variant that can compute a product against the others, to see how well
the plan chooses (``bench.sweep``).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

SPIN = 0.15  # seconds of calls that are not counted, more than OpenBLAS's threads were seen to spin for
SQUARES = (16, 24, 32, 48, 64, 96, 100, 128, 192, 200, 256, 384, 500, 512, 768, 1000, 1024, 1536, 2048, 3000)
# (m, k, n, layout): "A" or "B" stand for operands that are transposes of C-ordered arrays.
MINIBATCH = (
    (1, 512, 512, ""), (6, 512, 512, ""), (10, 512, 10, ""), (32, 784, 10, ""), (64, 784, 10, ""),
    (128, 784, 10, ""), (256, 784, 10, ""), (784, 256, 10, "A"), (784, 64, 10, "A"), (16, 4096, 16, ""),
    (128, 128, 1024, ""), (6, 2048, 2048, ""), (1024, 1024, 16, ""), (2048, 16, 2048, ""),
    (2048, 64, 2048, ""),
)  # fmt: skip
# Few rows times a B of 2 to 32 MB: a minibatch through a wide layer.
FEW = tuple(
    (m, k, n, "")
    for m in (16, 32, 64, 128)
    for k, n in ((1024, 1024), (512, 2048), (768, 3072), (3072, 768), (2048, 2048), (1000, 1500), (2048, 2000))
)
# Shapes that nobody tuned for: odd sizes, thin ones, transposes, matrix-vector products, long sums.
OTHER = (
    (50, 77, 33, ""), (200, 100, 1, ""), (1, 100, 200, ""), (3, 1000, 7, ""), (64, 30, 64, ""),
    (100, 300, 20, ""), (20, 2000, 24, ""), (333, 333, 40, ""), (512, 512, 1, ""), (2000, 2000, 1, ""),
    (1, 2000, 2000, ""), (40, 900, 900, ""), (900, 40, 900, ""), (900, 900, 40, ""), (1000, 10, 1000, ""),
    (300, 5000, 300, ""), (64, 64, 64, "B"), (128, 512, 10, "B"), (256, 256, 256, "B"), (6, 512, 512, "B"),
    (10, 784, 784, "B"), (700, 700, 700, "B"), (100, 100, 100, "A"), (128, 1000, 10, "A"),
    (512, 128, 512, "A"), (20, 50000, 10, "A"), (784, 20000, 10, "A"), (100, 100, 100, "AB"),
    (5, 100000, 1, "A"), (1, 100000, 1, ""), (900, 900, 900, "A"), (900, 900, 900, "AB"),
)  # fmt: skip


def operands(m: int, k: int, n: int, layout: str, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """A and B of the sizes and layout asked for."""
    rng = np.random.default_rng(m + 3 * k + 7 * n)
    A = rng.random((k, m)).astype(dtype).T if "A" in layout else rng.random((m, k)).astype(dtype)
    B = rng.random((n, k)).astype(dtype).T if "B" in layout else rng.random((k, n)).astype(dtype)
    return A, B


def block(call: Callable[[], Any], calls: int, warm_up: float) -> float:
    """Seconds a call over ``calls`` calls, after ``warm_up`` seconds of calls that are not counted."""
    stop = time.perf_counter() + warm_up
    call()
    while time.perf_counter() < stop:
        call()
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def paired(
    first: Callable[[], Any], second: Callable[[], Any], *, blocks: int, seconds: float, warm_up: float
) -> dict[str, float]:
    """Alternating blocks of both: median seconds of each, median and quartiles of first / second."""
    each = max(block(call, 1, 0.0) for call in (first, second))
    calls = max(1, int(seconds / each))
    rows = []
    for number in range(blocks):  # who goes first takes turns, too
        order = (first, second) if number % 2 == 0 else (second, first)
        found = {call: block(call, calls, warm_up) for call in order}
        rows.append((found[first], found[second]))
    table = np.array(rows)
    low, median, high = np.percentile(table[:, 0] / table[:, 1], [25, 50, 75])
    return {
        "first": float(np.median(table[:, 0])),
        "second": float(np.median(table[:, 1])),
        "ratio": float(median),
        "low": float(low),
        "high": float(high),
    }


def compare(m: int, k: int, n: int, layout: str, dtype: Any, args: argparse.Namespace) -> dict[str, Any]:
    """One shape: checked, then timed."""
    import numbasgd
    from numbasgd.matmul import verify

    A, B = operands(m, k, n, layout, dtype)
    out, other = np.full((m, n), np.nan, dtype), np.empty((m, n), dtype)
    numbasgd.matmul(A, B, out=out)
    residual = verify.require(A, B, out, f"packed, {m} x {k} x {n}")
    found = paired(
        lambda: np.matmul(A, B, out=other),
        lambda: numbasgd.matmul(A, B, out=out),
        blocks=args.blocks,
        seconds=args.seconds,
        warm_up=0.0 if args.threads == 1 else SPIN,
    )
    plan = numbasgd.matmul_plan(m, n, k, dtype, transposed=("A" in layout, "B" in layout))
    return {
        "m": m, "k": k, "n": n, "layout": layout, "dtype": np.dtype(dtype).name, "variant": plan.variant,
        "gflops": 2e-9 * m * k * n / found["second"], "blas_gflops": 2e-9 * m * k * n / found["first"],
        "residual": residual, **found,
    }  # fmt: skip


def shapes_of(what: str, least: int) -> list[tuple[int, int, int, str]]:
    """The products of a name, or ``random:count:seed``."""
    from bench import sweep

    if what == "squares":
        return [(n, n, n, "") for n in SQUARES if n >= least]
    if what.startswith("random:"):
        count, seed = what.removeprefix("random:").split(":")
        return sweep.random_shapes(int(count), int(seed))
    lists = {
        "minibatch": MINIBATCH, "few": FEW, "other": OTHER,
        "sweep": tuple((m, k, n, "") for m, k, n in sweep.SWEEP),
    }  # fmt: skip
    return list(lists[what])


def run_sweep(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Print the variants of every product, and the regret of the choice."""
    from bench import sweep
    from numbasgd.machine import peaks

    rows = []
    for dtype in args.dtype:
        peak = peaks.fma_peak(dtype)
        print(f"{dtype}: multiply-adds in registers reach {peak:.0f} GFLOP/s; share of that, * the chosen one")
        group = []
        for shape in (shape for what in args.what for shape in shapes_of(what, args.least)):
            row = sweep.measure(shape, dtype, *operands(*shape, dtype), max(6, args.blocks), args.seconds)
            group.append({**row, "peak_gflops": peak})
            print(sweep.line(group[-1]), flush=True)
        print(f"{dtype}: {sweep.summary(group)}\n", flush=True)
        rows += group
    print(sweep.summary(rows))
    return rows


def main() -> None:
    """Print a table for each dtype and list of shapes."""
    parser = argparse.ArgumentParser(prog="python -m bench.paired", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--what",
        nargs="+",
        default=["squares", "minibatch"],
        choices=["squares", "minibatch", "few", "other", "sweep"],
    )
    parser.add_argument("--sweep", action="store_true", help="every variant of each product, and the regret")
    parser.add_argument("--shapes", metavar="random:N:SEED", help="N random products in place of --what")
    parser.add_argument("--dtype", nargs="+", default=["float32", "float64"], choices=["float32", "float64"])
    parser.add_argument("--threads", type=int, help="most threads of both sides; default: what each likes")
    parser.add_argument("--blocks", type=int, default=15, help="pairs of blocks a shape")
    parser.add_argument("--seconds", type=float, default=0.015, help="seconds a block at least")
    parser.add_argument("--least", type=int, default=0, help="leave out squares below this size")
    parser.add_argument("--json", help="write the rows to this file")
    args = parser.parse_args()
    if args.shapes:
        args.what = [args.shapes]
    if args.sweep:
        args.threads = 1
    if args.threads is not None:
        os.environ["NUMBASGD_NUM_THREADS"] = str(args.threads)
    import threadpoolctl

    if args.threads is not None:
        threadpoolctl.threadpool_limits(args.threads)
    blas = [f"{b['internal_api']} {b.get('architecture')}, {b['num_threads']} threads"
            for b in threadpoolctl.threadpool_info() if b["user_api"] == "blas"]  # fmt: skip
    print("BLAS:", *blas, "| ratio above 1: numbasgd is faster")
    rows = run_sweep(args) if args.sweep else run_pairs(args)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(rows, file, indent=1)


def run_pairs(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Print the ratio to the BLAS of every product."""
    from bench import sweep

    rows = []
    for dtype in args.dtype:
        for what in args.what:
            group = []
            for shape in shapes_of(what, args.least):
                row = compare(*shape, dtype, args)
                group.append(row)
                print(
                    f"{dtype} {sweep.name_of(row):16} {row['variant']:18} {row['gflops']:7.1f} GFLOP/s  BLAS "
                    f"{row['blas_gflops']:7.1f}  x{row['ratio']:.2f}  [{row['low']:.2f} {row['high']:.2f}]",
                    flush=True,
                )
            ratios = np.array([row["ratio"] for row in group])
            mean = float(np.exp(np.log(ratios).mean()))
            print(f"{dtype} {what}: geometric mean {mean:.3f}, least {ratios.min():.2f}\n", flush=True)
            rows += group
    return rows


if __name__ == "__main__":
    main()
