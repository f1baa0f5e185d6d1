"""Products and gradients on the GPU, the arrays kept on the card: ``pytest bench -k cuda``.

A round ends when the card is done, so it holds the launch, too; ``device_seconds`` in ``extra_info`` is the
median by the card's own clock.  Without a card every case is skipped with the reason, and so it is in Numba's
simulator, whose times mean nothing.
"""

import functools
import math
import statistics

import numpy as np
import pytest

from bench import peers
from bench.measure import DTYPES
from numbasgd import RUNGS, device
from numbasgd.matmul import verify

SIZES = (256, 1024, 2048)
GRADIENTS = ((1500, 5), (1 << 20, 128), (1 << 16, 784))
ROUNDS = 20  # of the card's own clock


@functools.cache
def _why_not():
    return device.why_not() or ("only Numba's simulator is here" if device.is_simulator() else None)


@pytest.fixture(autouse=True)
def _card():
    if (reason := _why_not()) is not None:
        pytest.skip(f"no CUDA device: {reason}")


def _measure_on_card(measure, call, **options):
    """Measure until the card is done; then note what its own clock says."""

    def wait():
        call()
        device.synchronize()

    measure(wait, reference=None, threads="all", device="cuda", **options)
    measure.add(device_seconds=statistics.median(device.seconds(call, ROUNDS)))


@functools.lru_cache(maxsize=1)
def _operands(short, n):
    rng = np.random.default_rng(0)
    A, B = (rng.standard_normal((n, n)).astype(DTYPES[short]) for _ in "AB")
    return A, B, device.to_device(A), device.to_device(B)


def _products():
    for rung in [name for name, rung in RUNGS.items() if "cuda" in rung.devices]:
        for short in DTYPES:
            for n in SIZES:
                yield pytest.param(rung, short, n, id=f"{rung}-{short}-{n}-all")


def _gradients():
    for short in DTYPES:
        for n, d in GRADIENTS:
            yield pytest.param(short, n, d, id=f"numbasgd-{short}-{n}x{d}-all")


@pytest.mark.parametrize(("rung", "short", "n"), [*_products()])
def test_matmul_cuda(measure, rung, short, n):
    A, B, on_card_A, on_card_B = _operands(short, n)
    out = device.to_device(np.full((n, n), np.nan, A.dtype))
    kernel = RUNGS[rung].kernel("cuda")
    seeds = iter(range(1, 100))
    _measure_on_card(
        measure,
        lambda: kernel(on_card_A, on_card_B, out),
        check=lambda: (verify.residual(A, B, device.to_host(out), seed=next(seeds)), verify.limit(n)),
        kind="matmul",
        case=rung,
        ladder=f"matmul-cuda-{short}-{n}-all",
        dtype=A.dtype.name,
        m=n,
        n=n,
        k=n,
        flop=2 * n**3,
        bytes=3 * A.nbytes,
    )


@pytest.mark.parametrize(("short", "n", "d"), [*_gradients()])
def test_gradient_cuda(measure, short, n, d):
    from numbasgd.sgd.solvers import cuda

    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d), np.float32).astype(DTYPES[short])
    y = rng.standard_normal(n).astype(X.dtype)
    w = rng.standard_normal(d).astype(X.dtype)
    arrays = [device.to_device(a) for a in (X, y, w)]
    rows = device.to_device(np.empty(0, np.int64))
    out = device.to_device(np.full(d + 1, np.nan, X.dtype))
    partials = cuda.workspace(arrays[0], rows)

    def check():
        found = device.to_host(out)
        return peers.gradient_error(X, y, w, 0.5, found[:-1], found[-1]), math.sqrt(n + d) + 8

    _measure_on_card(
        measure,
        lambda: cuda.gradient(*arrays, 0.5, rows, out, partials),
        check=check,
        kind="gradient",
        case="numbasgd",
        ladder=f"gradient-cuda-{short}-{n}x{d}-all",
        dtype=X.dtype.name,
        n=n,
        d=d,
        batch_size=n,
        flop=4 * n * d,
        bytes=X.nbytes + y.nbytes + 2 * w.nbytes,
    )
