"""The mean gradient of the half-squared loss over all rows, beside NumPy's two passes over X.

Out of cache the bandwidth is the bound, so a plain read of X stands beside: the fastest of NumPy's sum and of
vector sums that ask for memory ahead.

Of few rows a call costs more than the sums.  There NumPy also stands as one who cares writes it, with buffers
that are made once, and the ratio of both is taken from alternating blocks (``paired`` in the file).
"""

import functools
import math

import numpy as np
import pytest

import numbasgd
from bench import peers
from bench.measure import DTYPES
from bench.paired import paired
from numbasgd.machine import blas
from numbasgd.machine.timing import aligned
from numbasgd.threads import default as default_threads

SMALL = ((10, 5), (1500, 5))  # in cache
SHAPES = (*SMALL, (100_000, 32), (200_000, 64))  # and beyond the second level; tens of MB
FAR = ((2**18, 128),)  # beyond all levels
FAR_FULL = ((2**21, 128), (2**19, 512))
METHODS = ("numbasgd", "numpy")


def _params():
    for n, d in SHAPES:
        for short in DTYPES:
            for method in (*METHODS, "numpy-buffers") if (n, d) in SMALL else METHODS:
                yield pytest.param(method, short, n, d, "one", id=f"{method}-{short}-{n}x{d}-one")
    for shapes, marks in ((FAR, ()), (FAR_FULL, pytest.mark.bench_full)):
        for n, d in shapes:
            for threads in ("one", "all"):
                for method in (*METHODS, "read"):
                    case = f"{method}-f32-{n}x{d}-{threads}"
                    yield pytest.param(method, "f32", n, d, threads, id=case, marks=marks)


@functools.lru_cache(maxsize=1)
def _problem(short, n, d):
    rng = np.random.default_rng(0)
    X = aligned(rng.standard_normal((n, d), DTYPES[short]))
    w = rng.standard_normal(d).astype(DTYPES[short])
    y = aligned((X @ w + rng.standard_normal(n)).astype(DTYPES[short]))
    return X, y, (w + 0.1).astype(DTYPES[short]), 0.25


@pytest.mark.parametrize(("method", "short", "n", "d", "threads"), [*_params()])
def test_gradient(measure, method, short, n, d, threads):
    X, y, w, b = _problem(short, n, d)
    result = []
    if method == "read":
        read = peers.fastest_read(X, 1 if threads == "one" else default_threads())
        expected = float(np.sum(X, dtype=np.float64))

        def call():
            result[:] = [read()]

        def check():
            return abs(result[0] - expected) / np.sqrt(X.size), 1.0
    else:
        ours = functools.partial(numbasgd.gradient, threads=1 if threads == "one" else None)
        buffered = peers.buffered_gradient(X)
        compute = {"numbasgd": ours, "numpy": peers.two_pass_gradient, "numpy-buffers": buffered}[method]

        def call():
            result[:] = compute(X, y, w, b)

        def check():
            return peers.gradient_error(X, y, w, b, *result), math.sqrt(n + d) + 8

    measure(
        call,
        check=check,
        kind="gradient",
        case=method,
        ladder=f"gradient-{short}-{n}x{d}-{threads}",
        reference="numpy",
        threads=threads,
        uses_blas=method in ("numpy", "numpy-buffers"),
        dtype=X.dtype.name,
        n=n,
        d=d,
        batch_size=n,
        flop=X.size if method == "read" else 4 * n * d,
        bytes=X.nbytes if method == "read" else X.nbytes + y.nbytes + 2 * w.nbytes,
    )
    if method == "numbasgd" and (n, d) in SMALL:
        with blas.one_thread():
            found = paired(call, lambda: buffered(X, y, w, b), blocks=15, seconds=0.005, warm_up=0.001)
        measure.add(paired={"against": "numpy-buffers", **{k: found[k] for k in ("ratio", "low", "high")}})
