"""Epochs of minibatch SGD over shuffled rows that no cache holds, beside a NumPy loop.

The figure is what one more epoch takes, shuffling included and evaluation off.  A run looks for a divergence
after 1, 2, 4, ... epochs, which reads rows once more, so our two fits look equally often.
"""

import functools
import math
import time

import numpy as np
import pytest

import numbasgd
from bench import peers
from bench.measure import add_elapsed, self_timed
from numbasgd.sgd.order import epoch_order

SHAPES = ((1_000_000, 16),)
SHAPES_FULL = ((10_000_000, 16), (200_000, 128))
BATCHES = (10, 100)
LR = 0.003
FIRST, LAST = 9, 15  # epochs, both behind the look after the eighth


def _params():
    for shapes, marks in ((SHAPES, ()), (SHAPES_FULL, pytest.mark.bench_full)):
        for n, d in shapes:
            for batch_size in BATCHES:
                for method, threads in (("numbasgd", "one"), ("numbasgd", "all"), ("numpy-loop", "one")):
                    case = f"{method}-f32-{n}x{d}-b{batch_size}-{threads}"
                    of = [*([marks] if marks else []), *([pytest.mark.bench_full] if batch_size == 10 else [])]
                    yield pytest.param(method, n, d, batch_size, threads, id=case, marks=of)


@functools.lru_cache(maxsize=1)
def _problem(n, d):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d), np.float32)  # where NumPy puts it, as a user's rows lie
    w = rng.standard_normal(d, np.float32)
    return X, X @ w + rng.standard_normal(n, np.float32)


@pytest.mark.benchmark(timer=self_timed)
@pytest.mark.parametrize(("method", "n", "d", "batch_size", "threads"), [*_params()])
def test_far(measure, method, n, d, batch_size, threads):
    X, y = _problem(n, d)
    last = []

    def ours(epochs, n_threads=1 if threads == "one" else None):
        fit = numbasgd.train(
            X, y, batch_size=batch_size, lr=LR, epochs=epochs, eval_every=None, seed=0, threads=n_threads
        )
        return fit.w, fit.b

    def numpy_loop(epochs):
        return peers.numpy_loop(X, y, batch_size=batch_size, lr=LR, epochs=epochs)

    fit = {"numbasgd": ours, "numpy-loop": numpy_loop}[method]
    first, end = (FIRST, LAST) if method == "numbasgd" else (1, 2)

    def call():
        begin = time.perf_counter()
        fit(first)
        middle = time.perf_counter()
        last[:] = fit(end)
        add_elapsed((time.perf_counter() - middle - (middle - begin)) / (end - first))

    def check():
        if method == "numbasgd":  # the same bits as one thread gives, and the same first epoch as in float64
            w, b = last if threads == "one" else ours(LAST, 1)
            if (w.tobytes(), b) != (last[0].tobytes(), last[1]):
                return math.inf, 1e-4
            found, order = ours(1), functools.partial(epoch_order, 0, n=n)
            expected = peers.numpy_loop(
                X.astype(np.float64), y.astype(np.float64), batch_size=batch_size, lr=LR, epochs=1, order=order
            )
            error = np.append(found[0] - expected[0], found[1] - expected[1])
            return float(np.linalg.norm(error) / np.linalg.norm(expected[0])), 1e-4
        return peers.half_mse(X, y, *last) - 0.5, 0.05  # the noise leaves a half

    measure(
        call,
        check=check,
        kind="train",
        case=method,
        ladder=f"train-f32-{n}x{d}-b{batch_size}-{threads}",
        reference="numpy-loop",
        threads=threads,
        is_self_timed=True,
        uses_blas=method == "numpy-loop",
        dtype=X.dtype.name,
        n=n,
        d=d,
        batch_size=batch_size,
        epochs=end - first,
        data="normal",
        flop=4 * X.size,
        bytes=X.nbytes + y.nbytes,
    )
