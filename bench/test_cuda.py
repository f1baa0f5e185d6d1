"""Products and gradients on the GPU, the arrays kept on the card: ``pytest bench -k cuda``.

A round ends when the card is done, so it holds the launch, too; ``device_seconds`` in ``extra_info`` is the
median by the card's own clock.  Without a card every case is skipped with the reason, and so it is in Numba's
simulator, whose times mean nothing.
"""

import functools
import statistics
import time

import numpy as np
import pytest

from numbasgd import RUNGS, device

DTYPES = {"f32": np.float32, "f64": np.float64}
SIZES = (256, 1024, 2048)
GRADIENTS = ((1500, 5), (1 << 20, 128), (1 << 16, 784))
ROUNDS = 20


@functools.cache
def _why_not():
    return device.why_not() or ("only Numba's simulator is here" if device.is_simulator() else None)


@pytest.fixture(autouse=True)
def _card():
    if (reason := _why_not()) is not None:
        pytest.skip(f"no CUDA device: {reason}")


def _run(benchmark, call, check, **info):
    """Warm up, check, time, check again; ``check`` gives the residual and the limit that it must keep."""

    def wait():
        call()
        device.synchronize()

    def checked():
        residual, limit = check()
        assert residual <= limit, f"wrong result: residual {residual:.3g}, limit {limit:.3g}"
        return float(residual), float(limit)

    compiling = _seconds(wait) - _seconds(wait)
    before, _ = checked()
    benchmark.name = benchmark.name.removeprefix("test_").replace("_", "-", 1)
    benchmark.group = info["ladder"]
    benchmark.pedantic(wait, rounds=ROUNDS, warmup_rounds=3)
    on_card = statistics.median(device.seconds(call, ROUNDS))
    after, limit = checked()
    benchmark.extra_info.update(
        schema=1,
        reference=None,
        device="cuda",
        threads="all",
        n_threads=0,
        compile_seconds=max(compiling, 0.0),
        device_seconds=on_card,
        residual=max(before, after),
        residual_limit=limit,
        **info,
    )


def _seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@functools.lru_cache(maxsize=1)
def _operands(short, n):
    rng = np.random.default_rng(0)
    A, B = (rng.standard_normal((n, n)).astype(DTYPES[short]) for _ in "AB")
    return A, B, device.to_device(A), device.to_device(B)


def _freivalds(A, B, C, seed):
    """|C t - A (B t)| / (|A| |B| u) for t of +-1, the three products in float64."""
    t = np.random.default_rng(seed).choice([-1.0, 1.0], B.shape[1])
    wide_A, wide_B, wide_C = (x.astype(np.float64) for x in (A, B, C))
    off = np.linalg.norm(wide_C @ t - wide_A @ (wide_B @ t))
    return off / (np.linalg.norm(wide_A) * np.linalg.norm(wide_B) * np.finfo(A.dtype).eps / 2)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("short", DTYPES)
@pytest.mark.parametrize("rung", [name for name, rung in RUNGS.items() if "cuda" in rung.devices])
def test_matmul_cuda(benchmark, rung, short, n):
    A, B, on_card_A, on_card_B = _operands(short, n)
    out = device.to_device(np.full((n, n), np.nan, A.dtype))
    kernel = RUNGS[rung].kernel("cuda")
    seeds = iter((1, 2))
    _run(
        benchmark,
        lambda: kernel(on_card_A, on_card_B, out),
        lambda: (_freivalds(A, B, device.to_host(out), next(seeds)), n**0.5 + 8),
        kind="matmul",
        case=rung,
        ladder=f"matmul-cuda-{short}-{n}",
        dtype=A.dtype.name,
        m=n,
        n=n,
        k=n,
        flop=2 * n**3,
        bytes=3 * A.nbytes,
    )


@pytest.mark.parametrize("size", GRADIENTS, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("short", DTYPES)
def test_gradient_cuda(benchmark, short, size):
    from numbasgd.sgd import cuda

    n, d = size
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d), np.float32).astype(DTYPES[short])
    y = rng.standard_normal(n).astype(X.dtype)
    w = rng.standard_normal(d).astype(X.dtype)
    arrays = [device.to_device(a) for a in (X, y, w)]
    rows = device.to_device(np.empty(0, np.int64))
    out = device.to_device(np.full(d + 1, np.nan, X.dtype))
    partials = cuda.workspace(arrays[0], rows)
    r = X.astype(np.float64) @ w + 0.5 - y
    expected = np.append(r @ X, r.sum()) / n
    # The scale of the rounding of one sample: |x| |r| u, with the intercept's 1 as one more column.
    scale = np.hypot(np.linalg.norm(X), n**0.5) * np.linalg.norm(r) / n * np.finfo(X.dtype).eps / 2

    _run(
        benchmark,
        lambda: cuda.gradient(*arrays, 0.5, rows, out, partials),
        lambda: (np.linalg.norm(device.to_host(out) - expected) / scale, (256 + d) ** 0.5 + 8),
        kind="gradient",
        case="numbasgd",
        ladder=f"gradient-cuda-{short}-{n}x{d}",
        dtype=X.dtype.name,
        n=n,
        d=d,
        batch_size=n,
        flop=4 * n * d,
        bytes=X.nbytes + y.nbytes + 2 * w.nbytes,
    )
