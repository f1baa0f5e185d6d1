"""Epochs of minibatch SGD on the airfoil twin, beside a NumPy loop and scikit-learn.

The figure is what one more epoch takes, shuffling included and evaluation off: (t(epochs + 1) - t(1)) /
epochs of two fits that follow each other, a round each.  What a fit costs before its first epoch is in
``first_epoch_seconds``.
"""

import functools
import importlib.util
import statistics
import warnings

import numpy as np
import pytest

import numbasgd
from bench import peers
from bench.measure import DTYPES, add_elapsed, self_timed
from numbasgd.sgd.order import epoch_order

LR = {1: 0.005, 10: 0.05, 100: 0.4, 1500: 0.9}
METHODS = ("numbasgd", "sklearn", "numpy-loop")
CHECKED_EPOCHS = 2  # our weights after so many are compared with the same steps in float64 NumPy


def _params():
    for batch_size in LR:
        for method in METHODS:
            if method != "sklearn" or batch_size == 1:  # SGDRegressor takes one sample a step
                yield pytest.param(method, "f32", batch_size, id=f"{method}-f32-airfoil-b{batch_size}-one")


@functools.cache
def _problem(short):
    X, y = numbasgd.airfoil_twin()
    return X.astype(DTYPES[short]), y.astype(DTYPES[short])


def _numbasgd(X, y, batch_size, epochs):
    fit = numbasgd.train(X, y, batch_size=batch_size, lr=LR[batch_size], epochs=epochs, eval_every=None, seed=0)
    return fit.w, fit.b


def _numpy_loop(X, y, batch_size, epochs):
    return peers.numpy_loop(X, y, batch_size=batch_size, lr=LR[batch_size], epochs=epochs)


def _sklearn(X, y, batch_size, epochs):
    from sklearn.linear_model import SGDRegressor

    model = SGDRegressor(
        penalty=None, tol=None, learning_rate="constant", eta0=LR[1], max_iter=epochs, random_state=0
    )
    model.fit(X, y)
    return model.coef_, float(model.intercept_[0])


def _same_steps(X, y, batch_size):
    """How far our weights are from the same steps in float64, and how far they may be."""
    w, b = _numbasgd(X, y, batch_size, CHECKED_EPOCHS)
    w64, b64 = peers.numpy_loop(
        X.astype(np.float64),
        y.astype(np.float64),
        batch_size=batch_size,
        lr=LR[batch_size],
        epochs=CHECKED_EPOCHS,
        order=lambda epoch: epoch_order(0, epoch, len(y)),
    )
    error = np.linalg.norm(np.append(w - w64, b - b64)) / np.linalg.norm(np.append(w64, b64))
    return float(error), 1e-4 if X.dtype == np.float32 else 1e-10


def _loss_above_minimum(X, y, w, b):
    """How far the loss is above the least-squares minimum, as a share of it; a peer may be 5 % off."""
    columns = np.column_stack([X, np.ones(len(y))]).astype(np.float64)
    best = np.linalg.lstsq(columns, y.astype(np.float64), rcond=None)[0]
    least = peers.half_mse(X, y, best[:-1], best[-1])
    return peers.half_mse(X, y, w, b) / least - 1, 0.05


@pytest.mark.benchmark(timer=self_timed)
@pytest.mark.parametrize(("method", "short", "batch_size"), [*_params()])
def test_train(measure, method, short, batch_size):
    if method == "sklearn" and importlib.util.find_spec("sklearn") is None:
        pytest.skip("scikit-learn is not installed: pip install 'numbasgd[peers]'")
    X, y = _problem(short)
    train = {"numbasgd": _numbasgd, "numpy-loop": _numpy_loop, "sklearn": _sklearn}[method]
    epochs = 20 if (method, batch_size) == ("numpy-loop", 1) else 100
    first, last = [], []

    def fit(n_epochs):
        last[:] = train(X, y, batch_size, n_epochs)

    def call():
        seconds, of_first = peers.marginal_epoch(fit, epochs)
        add_elapsed(seconds)
        first.append(of_first)

    def check():
        if method == "numbasgd":
            return _same_steps(X, y, batch_size)
        return _loss_above_minimum(X, y, *last)

    with warnings.catch_warnings():
        if method == "sklearn":
            warnings.simplefilter("ignore")  # whatever a release of scikit-learn finds to say
        measure(
            call,
            check=check,
            kind="train",
            case=method,
            ladder=f"train-{short}-airfoil-b{batch_size}-one",
            reference="numpy-loop",
            is_self_timed=True,
            uses_blas=method == "numpy-loop",
            dtype=X.dtype.name,
            n=X.shape[0],
            d=X.shape[1],
            batch_size=batch_size,
            epochs=epochs,
            data="airfoil twin",
            flop=4 * X.size,
            bytes=X.nbytes + y.nbytes,
        )
    measure.add(first_epoch_seconds=statistics.median(first))
