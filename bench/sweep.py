"""Every variant that can compute a product, timed in alternating blocks, to see whether the plan chooses well.

``python -m bench.paired --sweep`` prints, for each product, the speed of every variant, marks the chosen one,
and gives its *regret*: the time of the chosen variant over that of the best.  The best is picked on every
second block and scored on the others, or noise alone would make the best of many look better than it is.
The chosen variant stands in the list twice; the ratio of the two, the A/A column, says what noise does to a
regret.  Variants are called through their compiled loops, without the choice itself, which takes tens of
nanoseconds and is the same for all.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from numbasgd import rawmem, workspace
from numbasgd.compile.options import jit
from numbasgd.matmul import verify
from numbasgd.matmul.gemm import dispatch
from numbasgd.matmul.gemm.operands import Blocks, Matrix, Scratch, Sizes
from numbasgd.matmul.gemm.plan import product_of
from numbasgd.matmul.gemm.variants import Proposal

# Products of a sweep that was made on an Emerald Rapids too: (m, k, n).
SWEEP = (
    *((n, n, n) for n in (64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 500, 512, 600, 640, 768, 896, 1000)),
    *((n, n, n) for n in (1024, 1280, 1536, 2048)),
    (128, 128, 1024), (2048, 64, 2048), (2048, 128, 2048), (1024, 64, 1024), (32, 768, 768), (64, 768, 768),
    (32, 3072, 768), (64, 3072, 768), (128, 3072, 768), (256, 784, 128), (256, 784, 512), (128, 784, 256),
    (48, 784, 128), (20, 1000, 50), (16, 1024, 1024), (32, 1024, 1024), (64, 1024, 1024), (64, 512, 512),
    (32, 512, 512), (64, 2048, 2048), (100, 1000, 100), (1000, 100, 1000), (300, 300, 3000), (3000, 300, 300),
)  # fmt: skip
MOST_WORK = 1 << 30  # multiply-adds of a random product at most

Shape = tuple[int, int, int, str]  # m, k, n, and which operands are transposed


def random_shapes(count: int, seed: int) -> list[Shape]:
    """Products with sizes log-uniform in 1 to 4096, in C order or with either operand transposed."""
    rng = np.random.default_rng(seed)
    found: list[Shape] = []
    while len(found) < count:
        m, k, n = (int(round(size)) for size in np.exp(rng.uniform(0, np.log(4096), 3)))
        layout = ("", "A", "B")[int(rng.integers(3))]
        if m * k * n <= MOST_WORK:
            found.append((m, k, n, layout))
    return found


@jit
def _repeat(function, A, B, C, size, blocks, scratch, count):
    for _ in range(count):
        rawmem.call(function, (A, B, C, size, 0, blocks, scratch))


@dataclass(frozen=True)
class Candidate:
    """One variant's way to compute one product."""

    name: str
    proposal: Proposal
    run: Any  # run(count)


def candidates(A: np.ndarray, B: np.ndarray, out: np.ndarray) -> list[Candidate]:
    """What each variant that can compute the product would do, the plan's choice first."""
    table = dispatch.products[A.dtype]
    size = A.itemsize
    (m, k), n = A.shape, B.shape[1]
    layout = (A.strides[1] != size and k > 1, B.strides[1] != size and n > 1)
    product = product_of(m, n, k, size, layout)._replace(pc=out.ctypes.data)
    left, right = (A, B)
    if (product.m, product.n) != (m, n):
        left, right = B.T, A.T
    slot = workspace.take()
    scratch = Scratch(workspace.scratch_of(slot) + dispatch.HEADER, 0)
    workspace.give_back(slot)
    places = (
        Matrix(left.ctypes.data, product.rsa, product.csa),
        Matrix(right.ctypes.data, product.rsb, product.csb),
        Matrix(out.ctypes.data, product.rsc if (product.m, product.n) == (m, n) else size, size),
        Sizes(product.m, product.n, product.k),
    )
    found = []
    for proposal in table.gemm.propose(product):
        address = rawmem.address_of_compiled(table.function(proposal.function))
        arguments = (address, *places, Blocks(*proposal.blocks), scratch)
        name = table.gemm.functions[proposal.function].variant.name
        found.append(Candidate(name, proposal, functools.partial(_repeat, *arguments)))
    return found


def measure(
    shape: Shape, dtype: Any, A: np.ndarray, B: np.ndarray, blocks: int, seconds: float
) -> dict[str, Any]:
    """Seconds a call of every variant and of the BLAS in alternating blocks; results are checked first."""
    m, k, n, layout = shape
    out, other = np.full((m, n), np.nan, dtype), np.empty((m, n), dtype)
    found = candidates(A, B, out)
    for candidate in found:
        out.fill(np.nan)
        candidate.run(1)
        verify.require(A, B, out, f"{candidate.name}, {m} x {k} x {n}")

    def blas(count: int) -> None:
        for _ in range(count):
            np.matmul(A, B, out=other)

    names = [candidate.name for candidate in found] + ["chosen again", "blas"]
    runs = [candidate.run for candidate in found] + [found[0].run, blas]
    counts = [_count(run, seconds) for run in runs]
    table = np.empty((blocks, len(runs)))
    rng = np.random.default_rng(m * k + n)
    for number in range(blocks):
        for i in rng.permutation(len(runs)):
            runs[i](1)
            start = time.thread_time()  # in which other processes on this core do not count
            runs[i](counts[i])
            table[number, i] = (time.thread_time() - start) / counts[i]
    return {
        "m": m, "k": k, "n": n, "layout": layout, "dtype": np.dtype(dtype).name,
        "estimates": [candidate.proposal.cycles for candidate in found],
        **score(names, table),
    }  # fmt: skip


def _count(run: Any, seconds: float) -> int:
    run(1)
    start = time.perf_counter()
    run(1)
    each = max(time.perf_counter() - start, 1e-7)
    start = time.perf_counter()
    run(few := max(1, int(0.2 * seconds / each)))
    return max(1, int(seconds * few / max(time.perf_counter() - start, 1e-7)))


def score(names: list[str], table: np.ndarray) -> dict[str, Any]:
    """Regret and A/A of the first column, and the median seconds of each."""
    n_variants = len(names) - 2
    even, odd = np.median(table[::2], axis=0), np.median(table[1::2], axis=0)
    regrets = []
    for pick, judge in ((even, odd), (odd, even)):
        best = int(np.argmin(pick[:n_variants]))
        regrets.append(judge[0] / judge[best])
    medians = np.median(table, axis=0)
    # The choice against itself, treated as the best of two is: picked on half and scored on the other.
    again = []
    for pick, judge in ((even, odd), (odd, even)):
        best = 0 if pick[0] <= pick[n_variants] else n_variants
        again.append(judge[0] / judge[best])
    return {
        "chosen": names[0],
        "best": names[int(np.argmin(medians[:n_variants]))],
        "regret": float(np.mean(regrets)),
        "again": float(np.mean(again)),
        "seconds": {name: float(value) for name, value in zip(names, medians, strict=True)},
    }


def name_of(row: dict[str, Any]) -> str:
    """m x k x n and the operands that are transposed."""
    return f"{row['m']}x{row['k']}x{row['n']}{' ' + row['layout'] if row['layout'] else ''}"


def line(row: dict[str, Any]) -> str:
    """One product: each variant in GFLOP/s, the chosen one marked, and its regret."""
    work = 2e-9 * row["m"] * row["k"] * row["n"]
    shares = [
        f"{'*' if name == row['chosen'] else ''}{name} {work / seconds:.1f}"
        f" ({work / seconds / row['peak_gflops']:.0%})"
        for name, seconds in row["seconds"].items()
        if name != "chosen again"
    ]
    found = f"regret {row['regret']:.2f} A/A {row['again']:.2f}"
    return f"{row['dtype']} {name_of(row):18} {found}  {', '.join(shares)}"


def summary(rows: Iterable[dict[str, Any]]) -> str:
    """Median, 95 % and greatest regret, beside those of A/A."""
    regrets, again = (np.array([row[key] for row in rows]) for key in ("regret", "again"))
    return (
        f"regret: median {np.median(regrets):.3f}, 95 % {np.percentile(regrets, 95):.3f}, "
        f"greatest {regrets.max():.3f}; A/A: median {np.median(again):.3f}, "
        f"95 % {np.percentile(again, 95):.3f}, greatest {again.max():.3f}"
    )
