"""Steps over many rows are made in parts: the same steps, and an interrupt does not wait for their end."""

import numpy as np
import pytest
from runs import assert_same

from numbasgd import train
from numbasgd.sgd.solvers import cpu, large_batch, multi, multi_buffers


def problem(n, d, order="C"):
    rng = np.random.default_rng(n + d)
    X = np.asarray(rng.standard_normal((n, d)), order=order)
    return X, X @ rng.standard_normal(d) + 0.3 + 0.1 * rng.standard_normal(n)


CASES = {
    "all-rows": (problem(1500, 5), {"batch_size": 1500}),
    "shuffled": (problem(1500, 5), {"batch_size": 600}),
    "order chunks": (problem(5000, 5), {"batch_size": 1100, "momentum": 0.5, "nesterov": True}),
    "replacement": (problem(5000, 5), {"batch_size": 4000, "sampling": "replacement", "average": 1}),
    "sequential": (problem(5000, 5), {"batch_size": 4999, "sampling": "sequential", "l1": 1e-3, "l2": 1e-3}),
    "long-rows": (problem(20, 900), {"batch_size": 7, "lr": 1e-4, "intercept": False}),
    "fortran": (problem(600, 40, "F"), {"batch_size": 500, "lr": 0.01, "momentum": 0.9, "average": True}),
}


# Each of these kernels is compiled.
NAMES = [
    pytest.param(name, marks=() if name in ("all-rows", "shuffled") else pytest.mark.slow) for name in CASES
]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_steps(name, monkeypatch):
    (X, y), settings = CASES[name]
    settings = {"lr": 0.1, "epochs": 3, "seed": 1, **settings}
    whole = train(X, y, **settings)
    monkeypatch.setattr(large_batch, "ENTRIES", 700)
    assert large_batch.is_large(settings["batch_size"], X.shape[1])
    parts = train(X, y, **settings)
    np.testing.assert_allclose(parts.w, whole.w, rtol=1e-10)
    assert parts.b == pytest.approx(whole.b, rel=1e-10)
    np.testing.assert_allclose(parts.loss, whole.loss, rtol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_resumed_in_the_middle(name, monkeypatch):
    monkeypatch.setattr(large_batch, "ENTRIES", 700)
    (X, y), settings = CASES[name]
    settings = {"lr": 0.1, "epochs": 4, "seed": 1, **settings}
    whole = train(X, y, **settings)
    assert_same(whole, train(X, y, resume=train(X, y, **{**settings, "epochs": 1}), epochs=4))
    real = cpu.LargeBatchSolver._add
    for at in (1, 5, 20, 33):
        left = iter(range(at, -1, -1))

        def add(self, *args, left=left):
            if next(left) == 0:
                raise KeyboardInterrupt
            real(self, *args)

        with monkeypatch.context() as patch:
            patch.setattr(cpu.LargeBatchSolver, "_add", add)
            with pytest.raises(KeyboardInterrupt) as caught:
                train(X, y, **settings)
        assert_same(whole, train(X, y, resume=caught.value.fit))


@pytest.mark.slow
def test_products_of_large_batches_are_compiled_before_the_clock_starts(monkeypatch, rng):
    """Those of all numbers of rows that are summed at once: whole chunks, and what is left of a part."""
    counts = []
    real = multi.gradient_sum

    def record(objective, row, order, count, *scratch):
        counts.append(count)
        return real(objective, row, order, count, *scratch)

    monkeypatch.setattr(multi, "gradient_sum", record)
    monkeypatch.setattr(large_batch, "ENTRIES", 9000)
    n, d, K = 700, 10, 40
    most = multi_buffers.chunk_rows(d, 8, 0)
    part = large_batch.part_rows(d * (K // 8))
    X, y = rng.standard_normal((n, d)), rng.integers(0, K, n)
    train(X, y, loss="softmax", lr=0.1, batch_size=600, epochs=1)
    ends = {min(rows, part) for rows in (600, 100)} | {rows % part for rows in (600, 100)}
    assert set(counts) == {m for rows in ends for m in (min(rows, most), rows % most)} - {0}
