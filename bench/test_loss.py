"""Time to within 1 % of the least loss on the airfoil twin, all included but the compile.

numbasgd runs at its default rate, scikit-learn's SGDRegressor at the best constant one of twenty; both for the
fewest epochs that are enough for each of some seeds.
"""

import functools
import importlib.util
import warnings

import numpy as np
import pytest

import numbasgd
from bench import peers

SEEDS = range(5)
MOST_EPOCHS = 40
RATES = np.geomspace(1e-4, 0.1, 20)
BATCHES = (1, 10, 100)


@functools.cache
def _problem():
    X, y = numbasgd.airfoil_twin()
    columns = np.column_stack([X, np.ones(len(y))]).astype(np.float64)
    best = np.linalg.lstsq(columns, y.astype(np.float64), rcond=None)[0]
    return X, y, peers.half_mse(X, y, best[:-1], best[-1])


def _numbasgd(batch_size, epochs, seed):
    X, y, _ = _problem()
    options = {"epochs": epochs, "standardize": False, "eval_every": None}
    fit = numbasgd.train(X, y, batch_size=batch_size, seed=seed, **options)
    return fit.w, fit.b


def _sklearn(rate, epochs, seed):
    from sklearn.linear_model import SGDRegressor

    X, y, _ = _problem()
    model = SGDRegressor(
        penalty=None, tol=None, learning_rate="constant", eta0=rate, max_iter=epochs, random_state=seed
    )
    model.fit(X, y)
    return model.coef_, float(model.intercept_[0])


def _above(fit, *how):
    """The largest share by which the loss is above the least one, over the seeds."""
    X, y, least = _problem()
    return max(peers.half_mse(X, y, *fit(*how, seed)) / least - 1 for seed in SEEDS)


def _enough(fit, what):
    """The fewest epochs that are enough, or None."""
    return next((epochs for epochs in range(1, MOST_EPOCHS + 1) if _above(fit, what, epochs) <= 0.01), None)


def _best_rate():
    """The rate of the grid that needs the fewest epochs, and how many."""
    for epochs in range(1, MOST_EPOCHS + 1):
        found = min((_above(_sklearn, rate, epochs), rate) for rate in RATES)
        if found[0] <= 0.01:
            return found[1], epochs
    pytest.fail("no rate of the grid gets there")


@pytest.mark.parametrize(
    "case",
    [
        *(
            pytest.param(f"numbasgd-b{b}", id=f"numbasgd-b{b}-f32-airfoil-one", marks=marks)
            for b in BATCHES
            for marks in [[] if b == 10 else [pytest.mark.bench_full]]
        ),
        pytest.param("sklearn", id="sklearn-f32-airfoil-one"),
    ],
)
def test_loss(measure, case):
    if case == "sklearn":
        if importlib.util.find_spec("sklearn") is None:
            pytest.skip("scikit-learn is not installed: pip install 'numbasgd[peers]'")
        fit, (what, epochs) = _sklearn, _best_rate()
    else:
        fit, what = _numbasgd, int(case.rpartition("b")[2])
        epochs = _enough(fit, what)
        assert epochs is not None, f"batch size {what} does not get there in {MOST_EPOCHS} epochs"
    X, _, _ = _problem()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        measure(
            lambda: fit(what, epochs, 0),
            check=lambda: (max(_above(fit, what, epochs), 0.0), 0.01),
            kind="loss",
            case=case,
            ladder="loss-f32-airfoil-one",
            reference="sklearn",
            dtype="float32",
            n=X.shape[0],
            d=X.shape[1],
            epochs=epochs,
            rate=float(what) if case == "sklearn" else None,
            data="airfoil twin",
        )
