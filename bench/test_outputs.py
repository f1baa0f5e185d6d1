"""Epochs over rows of several widths with one output and ten, beside NumPy, scikit-learn and PyTorch.

The figure is what one more epoch takes, as in ``test_train``.
"""

import functools
import importlib.util
import warnings

import numpy as np
import pytest

import numbasgd
from bench import peers
from bench.measure import DTYPES, add_elapsed, self_timed
from numbasgd.sgd.order import epoch_order

N = 2000
LR = 0.01
CASES = [
    (loss, d, K) for loss, K in (("squared", 1), ("squared", 10), ("softmax", 10)) for d in (5, 32, 128, 784)
]
BATCHES = (1, 10, 100, 128, 1000, N)
METHODS = {"numbasgd": None, "sklearn": "sklearn", "torch": "torch", "numpy-loop": None}
QUICK = {("softmax", 784, 10, 128), ("squared", 32, 10, 10)}  # without --bench-full
EPOCHS = 4


def _params():
    for loss, d, K in CASES:
        for batch_size in BATCHES:
            if batch_size == 128 and (loss, d) != ("softmax", 784):
                continue
            for method in METHODS:
                if method == "sklearn" and (K, batch_size) != (1, 1):  # one target, one sample a step
                    continue
                is_quick = (loss, d, K, batch_size) in QUICK and method in ("numbasgd", "numpy-loop")
                name = f"{method}-f32-{loss}-{d}to{K}-b{batch_size if batch_size < N else 'all'}-one"
                marks = [] if is_quick else [pytest.mark.bench_full]
                yield pytest.param(method, loss, d, K, batch_size, id=name, marks=marks)


@functools.lru_cache(maxsize=1)
def _problem(loss, d, K):
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((N, d)) / np.sqrt(d)).astype(DTYPES["f32"])
    Z = 3 * X @ rng.standard_normal((d, K)) + rng.standard_normal((N, K))
    return X, Z.argmax(axis=1) if loss == "softmax" else Z.astype(X.dtype)


def _fit(method, X, y, K, *, loss, batch_size, epochs, order=None):
    options = {"loss": loss, "batch_size": batch_size, "lr": LR, "epochs": epochs}
    if method == "numbasgd":
        fit = numbasgd.train(X, y, eval_every=None, seed=0, **options)
        return fit.w, fit.b
    if method == "sklearn":
        from sklearn.linear_model import SGDRegressor

        model = SGDRegressor(
            penalty=None, tol=None, learning_rate="constant", eta0=LR, max_iter=epochs, random_state=0
        )
        model.fit(X, y[:, 0])
        return model.coef_[:, None], model.intercept_
    if method == "torch":
        return peers.torch_outputs(X, y, K, **options)
    return peers.numpy_outputs(X, y, K, order=order, **options)


def _error(method, X, y, K, loss, batch_size):
    """How far weights are from the same steps in float64; a peer with its own order: how far losses are."""
    order = functools.partial(epoch_order, 0, n=N)
    options = {"loss": loss, "batch_size": batch_size, "epochs": 2}
    W64, b64 = _fit("numpy-loop", X.astype(np.float64), y, K, order=order, **options)
    W, b = _fit(method, X, y, K, order=order, **options)
    if method in ("sklearn", "torch"):
        return abs(peers.mean_loss(X, y, W, b, loss) / peers.mean_loss(X, y, W64, b64, loss) - 1), 0.05
    there = np.vstack([W64, b64])
    return float(np.linalg.norm(np.vstack([W, b]) - there) / np.linalg.norm(there)), 1e-4


@pytest.mark.benchmark(timer=self_timed)
@pytest.mark.parametrize(("method", "loss", "d", "K", "batch_size"), [*_params()])
def test_outputs(measure, method, loss, d, K, batch_size):
    if METHODS[method] and importlib.util.find_spec(METHODS[method]) is None:
        pytest.skip(f"{METHODS[method]} is not installed")
    X, y = _problem(loss, d, K)
    epochs = EPOCHS * (10 if method == "numbasgd" else 1)

    def call():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whatever a release of a peer finds to say
            seconds, _ = peers.marginal_epoch(
                lambda n: _fit(method, X, y, K, loss=loss, batch_size=batch_size, epochs=n), epochs
            )
        add_elapsed(seconds)

    measure(
        call,
        check=lambda: _error(method, X, y, K, loss, batch_size),
        kind="outputs",
        case=method,
        ladder=f"outputs-f32-{loss}-{d}to{K}-b{batch_size if batch_size < N else 'all'}-one",
        reference="numpy-loop",
        is_self_timed=True,
        uses_blas=method == "numpy-loop",
        dtype=X.dtype.name,
        n=N,
        d=d,
        k=K,
        batch_size=batch_size,
        epochs=epochs,
        flop=4 * X.size * K,
        bytes=X.nbytes + y.nbytes,
    )
