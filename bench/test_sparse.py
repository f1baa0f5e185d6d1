"""Epochs over sparse rows, 50 entries of 50,000 each, beside scikit-learn: logistic loss with an L2 penalty.

The figure is what one more epoch takes, as in ``test_train``; ``entries`` over it are entries a second.
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

N, D, PER_ROW = 200_000, 50_000, 50
LR, L2 = 0.05, 1e-6
EPOCHS = 3
CHECKED = 400  # rows of an epoch whose steps are compared with the same in float64
CASES = [("numbasgd", 1), ("numbasgd", 32), ("sklearn", 1)]  # SGDClassifier takes one sample a step


def _params():
    for short in DTYPES:
        for method, batch_size in CASES:
            yield pytest.param(method, short, batch_size, id=f"{method}-{short}-logistic-b{batch_size}-one")


@functools.lru_cache(maxsize=1)
def _problem(short):
    sparse = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(0)
    columns = np.sort(rng.integers(0, D, (N, PER_ROW)), axis=1).astype(np.int32)
    entries = rng.standard_normal(N * PER_ROW).astype(DTYPES[short])
    X = sparse.csr_array((entries, columns.ravel(), np.arange(N + 1, dtype=np.int32) * PER_ROW), (N, D))
    X.sum_duplicates()
    return X, np.where(X @ rng.standard_normal(D) > 0, 1, -1)


def _fit(method, X, y, batch_size, epochs):
    if method == "numbasgd":
        fit = numbasgd.train(
            X, y, loss="logistic", l2=L2, batch_size=batch_size, lr=LR, epochs=epochs, eval_every=None, seed=0,
            threads=1,
        )  # fmt: skip
        return fit.w, fit.b
    from sklearn.linear_model import SGDClassifier

    model = SGDClassifier(
        loss="log_loss", alpha=L2, tol=None, learning_rate="constant", eta0=LR, max_iter=epochs, random_state=0
    )
    model.fit(X, y)
    return model.coef_[0], float(model.intercept_[0])


def _error(method, X, y, batch_size):
    """How far weights are from the same steps in float64; a peer with its own order: how far the loss is."""
    if method == "sklearn":
        losses = [_loss(X, y, *_fit(name, X, y, 1, 1)) for name in (method, "numbasgd")]
        return abs(losses[0] / losses[1] - 1), 0.05
    X, y = X[:CHECKED], y[:CHECKED]
    w, b = _fit(method, X, y, batch_size, 1)
    w64, b64 = np.zeros(D), 0.0
    order = epoch_order(0, 0, CHECKED)
    for at in range(0, CHECKED, batch_size):
        picked = order[at : at + batch_size]
        rows = X[picked].astype(np.float64)
        slopes = -y[picked] / (1 + np.exp(y[picked] * (rows @ w64 + b64))) / len(picked)
        w64 -= LR * (rows.T @ slopes + L2 * w64)
        b64 -= LR * slopes.sum()
    there = np.append(w64, b64)
    limit = 1e-4 if X.dtype == np.float32 else 1e-10
    return float(np.linalg.norm(np.append(w, b) - there) / np.linalg.norm(there)), limit


def _loss(X, y, w, b):
    return float(np.mean(np.logaddexp(0, -y * (X @ w + b))))


@pytest.mark.bench_full
@pytest.mark.benchmark(timer=self_timed)
@pytest.mark.parametrize(("method", "short", "batch_size"), [*_params()])
def test_sparse(measure, method, short, batch_size):
    if method == "sklearn" and importlib.util.find_spec("sklearn") is None:
        pytest.skip("scikit-learn is not installed: pip install 'numbasgd[peers]'")
    X, y = _problem(short)

    def call():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whatever a release of scikit-learn finds to say
            seconds, _ = peers.marginal_epoch(lambda n: _fit(method, X, y, batch_size, n), EPOCHS)
        add_elapsed(seconds)

    measure(
        call,
        check=lambda: _error(method, X, y, batch_size),
        kind="train",
        case=f"{method}-b{batch_size}",
        ladder=f"sparse-{short}-logistic-one",
        reference="sklearn-b1",
        is_self_timed=True,
        dtype=X.dtype.name,
        n=N,
        d=D,
        batch_size=batch_size,
        epochs=EPOCHS,
        entries=X.nnz,
        flop=4 * X.nnz,
        bytes=X.nnz * (X.dtype.itemsize + 4),
    )
