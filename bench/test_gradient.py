"""The mean gradient of the half-squared loss over all rows, beside NumPy's two passes over X."""

import functools
import math

import numpy as np
import pytest

import numbasgd
from bench import peers
from bench.measure import DTYPES
from numbasgd.machine.timing import aligned

SHAPES = ((1500, 5), (100_000, 32), (200_000, 64))  # in cache; beyond the second level; tens of MB
METHODS = ("numbasgd", "numpy")


def _params():
    for n, d in SHAPES:
        for short in DTYPES:
            for method in METHODS:
                yield pytest.param(method, short, n, d, id=f"{method}-{short}-{n}x{d}-one")


@functools.lru_cache(maxsize=1)
def _problem(short, n, d):
    rng = np.random.default_rng(0)
    X = aligned(rng.standard_normal((n, d)).astype(DTYPES[short]))
    w = rng.standard_normal(d).astype(DTYPES[short])
    y = aligned((X @ w + rng.standard_normal(n)).astype(DTYPES[short]))
    return X, y, (w + 0.1).astype(DTYPES[short]), 0.25


@pytest.mark.parametrize(("method", "short", "n", "d"), [*_params()])
def test_gradient(measure, method, short, n, d):
    X, y, w, b = _problem(short, n, d)
    compute = {"numbasgd": numbasgd.gradient, "numpy": peers.two_pass_gradient}[method]
    result = []

    def call():
        result[:] = compute(X, y, w, b)

    measure(
        call,
        check=lambda: (peers.gradient_error(X, y, w, b, *result), math.sqrt(n + d) + 8),
        kind="gradient",
        case=method,
        ladder=f"gradient-{short}-{n}x{d}-one",
        reference="numpy",
        uses_blas=method == "numpy",
        dtype=X.dtype.name,
        n=n,
        d=d,
        batch_size=n,
        flop=4 * n * d,
        bytes=X.nbytes + y.nbytes + 2 * w.nbytes,
    )
