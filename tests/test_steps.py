"""Steps of every kind are those of the reference, NumPy in float64, in the order that the trainer used."""

import itertools

import numpy as np
import pytest

from numbasgd import train
from numbasgd.sgd.reference import reference

slow = pytest.mark.exhaustive(of=9)
N = 60
EPOCHS = 4


def expected(X, y, *, b=0.0, **options):
    """Weights and intercept of the reference at the end, from weights 0 and intercept ``b``."""
    start = np.append(np.zeros(X.shape[1]), b)[:, None]
    W = reference(X, y, start=start, **options)
    return W[:-1, 0], W[-1, 0]


def close(fit, w, b, dtype):
    tolerance = 1e-10 if dtype == np.float64 else 1e-4
    size = max(np.abs(w).max(initial=0), abs(b))
    np.testing.assert_allclose(fit.w, w, rtol=tolerance, atol=tolerance * size)
    assert fit.b == pytest.approx(b, rel=tolerance, abs=tolerance * size)


def problem(d, dtype, rng, n=N):
    X = rng.standard_normal((n, d)) + 0.3
    y = X @ (rng.standard_normal(d) / np.sqrt(d)) + 1 + 0.3 * rng.standard_normal(n)
    return X.astype(dtype), y.astype(dtype), rng.uniform(0.2, 2, n)


MOMENTA = {"plain": {}, "heavy-ball": {"momentum": 0.875}, "nesterov": {"momentum": 0.875, "nesterov": True}}
PENALTIES = {"": {}, "l2": {"l2": 0.125}, "l1": {"l1": 0.0625}, "l2-l1": {"l2": 0.125, "l1": 0.0625}}
AVERAGES = {"": {}, "average": {"average": True}, "average-late": {"average": 2}}
# What is compiled: momentum, penalties or none, averaging or none, weights or none; these have each part at
# least twice.  By default they are run for one family of kernels; all of the rest is exhaustive.
PARTS = {
    ("plain", True, False, False),
    ("plain", False, True, True),
    ("heavy-ball", False, False, True),
    ("heavy-ball", True, True, True),
    ("nesterov", True, True, False),
}
FAMILIES = [(d, dtype) for d in (1, 5, 16, 33, 129) for dtype in ("float32", "float64")]


def cases():
    for case in itertools.product(MOMENTA, PENALTIES, AVERAGES, (False, True), FAMILIES):
        momentum, penalty, average, is_weighted, (d, dtype) = case
        name = "-".join(filter(None, [momentum, penalty, average, "weighted" * is_weighted, str(d), dtype]))
        options = {**MOMENTA[momentum], **PENALTIES[penalty], **AVERAGES[average]}
        is_picked = (momentum, penalty != "", average != "", is_weighted) in PARTS
        is_quick = is_picked and (d, dtype) == (5, "float64") or name == "nesterov-l1-weighted-5-float32"
        if is_quick or is_picked or (d, dtype) in [(5, "float64"), (129, "float32")]:
            yield pytest.param(options, is_weighted, d, dtype, id=name, marks=() if is_quick else slow)


@pytest.mark.parametrize(("options", "is_weighted", "d", "dtype"), list(cases()))
def test_steps_are_those_of_the_reference(options, is_weighted, d, dtype, rng):
    X, y, s = problem(d, dtype, rng)
    if is_weighted:
        options = {**options, "sample_weight": s}
    rate = 2.0**-4 / (1 + d / 8)
    for batch_size, intercept in itertools.product((1, 7, N), (True, False)):
        lr = rate * (1 if batch_size > 1 else 0.25) * (1 - options.get("momentum", 0))
        lrs = [lr, lr / 2, lr, lr / 4]
        start = 0.0 if intercept else 0.5
        shared = {**options, "batch_size": batch_size, "intercept": intercept, "seed": 7}
        init = (np.zeros(d), start)
        for epochs in (1, EPOCHS):
            fit = train(X, y, lr=lrs[:epochs], epochs=epochs, init=init, **shared)
            close(fit, *expected(X, y, lr=lrs[:epochs], epochs=epochs, b=start, **shared), X.dtype)
        assert intercept or fit.b == start


@pytest.mark.parametrize("options", [{}, {"momentum": 0.875, "average": 2, "l2": 0.125, "l1": 0.0625}], ids=str)
@pytest.mark.parametrize("sampling", ["reshuffle", "once", "replacement", "sequential"])
@pytest.mark.parametrize(("n", "batch_size"), [(4097, 1), (5000, 7), (9001, 1000), (5000, 5000), (300, 300)])
def test_epochs_longer_than_an_order_chunk_and_the_chunks_of_a_sum(n, batch_size, sampling, options, rng):
    X, y, s = problem(5, np.float64, rng, n)
    options = {**options, "sample_weight": s} if options else {}
    options |= {"lr": 0.004 if batch_size == 1 else 0.02, "epochs": 3}
    options |= {"batch_size": batch_size, "seed": 3, "sampling": sampling}
    close(train(X, y, **options), *expected(X, y, **options), X.dtype)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.875, "average": 1, "l2": 0.125, "l1": 0.0625}], ids=str)
@pytest.mark.parametrize("eval_every", [1, 13, 100, None])
def test_where_the_run_is_looked_at_changes_no_bit(eval_every, options, rng):
    X, y, s = problem(5, np.float64, rng)
    options = {**options, "lr": 0.01, "epochs": 3, "batch_size": 7, "seed": 1, "sample_weight": s}
    fit, same = train(X, y, eval_every=eval_every, **options), train(X, y, **options)
    assert (fit.w.tobytes(), fit.b, fit.loss[-1]) == (same.w.tobytes(), same.b, same.loss[-1])


def test_all_rows_a_step_is_gradient_descent_step_for_step(rng):
    X, y, _ = problem(5, np.float64, rng)
    w, b = np.zeros(5), 0.0
    fit = train(X, y, batch_size=N, lr=0.1, epochs=10)
    kept = []
    train(X, y, batch_size=N, lr=0.1, epochs=10, callback=lambda fit: kept.append((fit.w, fit.b)))
    for epoch in range(10):
        r = X @ w + b - y
        assert fit.loss[epoch] == pytest.approx(0.5 * np.mean(r**2), rel=1e-12)
        w, b = w - 0.1 * (r @ X) / N, b - 0.1 * r.mean()
        np.testing.assert_allclose(kept[epoch][0], w, rtol=1e-12)
        assert kept[epoch][1] == pytest.approx(b, rel=1e-12)


def test_forms_of_the_learning_rate(rng):
    X, y, _ = problem(5, np.float64, rng)

    def weights(lr):
        return train(X, y, lr=lr, epochs=3, seed=0).w.tobytes()

    rates = [0.1, 0.05, 0.025]
    assert weights(rates) == weights(tuple(rates)) == weights(np.array(rates)) == weights(lambda e: 0.1 / 2**e)
    assert weights(0.1) == weights([0.1] * 3) == weights(np.float64(0.1)) != weights(rates)
    assert train(X, y, lr=rates, epochs=3).settings["lr_given"] == rates


def test_a_weight_counts_as_so_many_rows(rng):
    X, y, _ = problem(5, np.float64, rng)
    s = rng.integers(0, 4, N)
    twice = np.repeat(np.arange(N), s)
    fit = train(X, y, sample_weight=s, batch_size=N, lr=0.1, epochs=20)
    same = train(X[twice], y[twice], batch_size=len(twice), lr=0.1, epochs=20)
    np.testing.assert_allclose(fit.w, same.w, rtol=1e-10)
    np.testing.assert_allclose(fit.loss, same.loss, rtol=1e-10)
    for scale in (1e-300, 17.0, 1e307):  # only ratios matter
        np.testing.assert_allclose(
            train(X, y, sample_weight=s * scale, batch_size=N, lr=0.1, epochs=20).w, fit.w, rtol=1e-10
        )


def test_history_holds_data_term_and_penalty(rng):
    X, y, s = problem(5, np.float64, rng)
    fit = train(X, y, sample_weight=s, l2=0.5, l1=0.25, lr=0.05, epochs=3, seed=0)
    r = X @ fit.w + fit.b - y
    loss = np.average(0.5 * r**2, weights=s)
    assert fit.loss[-1] == pytest.approx(loss, rel=1e-12)
    penalty = 0.25 * fit.w @ fit.w + 0.25 * np.abs(fit.w).sum()
    assert fit.objective[-1] == pytest.approx(loss + penalty, rel=1e-12)
    assert fit.objective[0] == fit.loss[0]


def test_a_mean_over_many_steps_keeps_its_digits(rng):
    """In float32, the share of a late step in the mean is far below the mean's last digit."""
    X, y, s = problem(5, np.float32, rng, 4000)
    options = {"batch_size": 1, "lr": 2.0**-10, "epochs": 250, "average": 2, "seed": 0, "eval_every": None}
    options |= {"momentum": 0.5, "l2": 0.125, "sample_weight": s}
    single, double = train(X, y, **options), train(X.astype(float), y.astype(float), **options)
    np.testing.assert_allclose(single.w, double.w, rtol=0, atol=2e-6)
    assert single.b == pytest.approx(double.b, abs=2e-6)


@pytest.mark.parametrize("sampling", ["reshuffle", "sequential"])
@pytest.mark.parametrize(
    ("loss", "d", "K", "batch_size", "is_weighted"),
    [
        ("squared", 5, 1, 1, True),
        ("squared", 5, 1, 10, True),
        pytest.param("squared", 300, 1, 1, False, marks=slow),
        ("squared", 300, 1, 10, False),
        ("softmax", 200, 10, 300, False),
        pytest.param("squared", 300, 1, 1, True, marks=slow),
        pytest.param("squared", 300, 1, 10, True, marks=slow),
        pytest.param("squared", 70, 1, 10, True, marks=slow),
        pytest.param("squared", 2000, 1, 7, True, marks=slow),
        pytest.param("softmax", 200, 10, 300, True, marks=slow),
        pytest.param("softmax", 30, 3, 10, True, marks=slow),
        pytest.param("softmax", 30, 40, 64, True, marks=slow),
    ],
)
def test_asking_for_memory_ahead_changes_no_bits(
    loss, d, K, batch_size, is_weighted, sampling, rng, monkeypatch
):
    """Far rows, with short last batches, as though they were in a cache."""
    from numbasgd.sgd import rows

    X = rng.standard_normal((701, d)).astype(np.float32)
    y = X[:, 0] if K == 1 else rng.integers(0, K, 701)
    options = {
        "loss": loss, "batch_size": batch_size, "lr": 1e-4, "epochs": 3, "seed": 1, "sampling": sampling,
        "sample_weight": 1 + rng.random(701) if is_weighted else None,
    }  # fmt: skip
    monkeypatch.setattr(rows, "FAR", 0)
    far = train(X, y, **options)
    monkeypatch.setattr(rows, "FAR", 1 << 30)
    near = train(X, y, **options)
    assert far.w.tobytes() == near.w.tobytes() and far.loss.tobytes() == near.loss.tobytes()
