"""Many rows as fixed parts: the same bits for any number of threads, and right sums at every edge of a part."""

import os
import threading

import numpy as np
import pytest
from child import run_python
from conftest import says

from numbasgd import gradient, threads, train
from numbasgd.sgd.solvers import large_batch, reduce

NUMBERS = (2, 3, 5, None)


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of a few rows, and few of them in a round, so that little data makes many of both."""
    monkeypatch.setattr(reduce, "ENTRIES", 700)
    monkeypatch.setattr(reduce, "LEAST", 3)
    monkeypatch.setattr(reduce, "ROUND", 7)
    monkeypatch.setattr(reduce, "WORTH_SHARING", 1)
    monkeypatch.setattr(large_batch, "ENTRIES", 4000)


def problem(n, d, dtype=np.float32, order="C"):
    rng = np.random.default_rng(n + d)
    X = np.asarray(rng.standard_normal((n, d)), dtype, order=order)
    y = (X @ rng.standard_normal(d) + 0.3 + 0.1 * rng.standard_normal(n)).astype(dtype)
    return X, y, rng.standard_normal(d).astype(dtype)


def reference(X, y, w, b, rows=slice(None)):
    X, y = X.astype(float)[rows], y.astype(float)[rows]
    r = X @ w.astype(float) + b - y
    return np.append(r @ X, r.sum()) / len(r)


def found(*args, **kwargs):
    g, gb = gradient(*args, **kwargs)
    return np.append(g, gb)


@pytest.mark.parametrize(
    ("d", "order", "dtype"),
    [
        (5, "C", "float32"),
        (200, "C", "float32"),
        (5, "F", "float64"),
        *(pytest.param(*case, marks=pytest.mark.slow)
          for case in ((200, "F", "float64"), (5, "F", "float32"), (200, "F", "float32"))),
    ],
)  # fmt: skip
@pytest.mark.parametrize("n", [1, 53, 54, 400, 1501])
def test_the_same_gradient_for_any_number_of_threads(n, d, order, dtype, small_parts):
    X, y, w = problem(n, d, dtype, order)
    one = found(X, y, w, 0.25, threads=1)
    np.testing.assert_allclose(one, reference(X, y, w, 0.25), rtol=0, atol=1e-5 * np.sqrt(d) * abs(one).max())
    rows = np.random.default_rng(0).integers(0, n, 2 * n)
    some = found(X, y, w, 0.25, threads=1, rows=rows)
    np.testing.assert_allclose(
        some, reference(X, y, w, 0.25, rows), rtol=0, atol=1e-5 * np.sqrt(d) * abs(some).max()
    )
    for n_threads in NUMBERS:
        assert (found(X, y, w, 0.25, threads=n_threads) == one).all()
        assert (found(X, y, w, 0.25, threads=n_threads, rows=rows) == some).all()


CASES = {
    "all-rows": {"batch_size": 2000},
    "shuffled": {"batch_size": 1999, "momentum": 0.5, "nesterov": True},
    "weighted": {"batch_size": 700, "loss": "huber", "sample_weight": np.arange(2000.0)},
    "validated": {"batch_size": 500, "loss": "logistic", "validation_fraction": 0.3, "average": True},
}


@pytest.mark.parametrize(
    "name", [*list(CASES)[:2], *(pytest.param(name, marks=pytest.mark.slow) for name in list(CASES)[2:])]
)
def test_the_same_run_for_any_number_of_threads(name, small_parts):
    X, y, _ = problem(2000, 5)
    settings = {"lr": 0.05, "epochs": 3, "seed": 1, **CASES[name]}
    if settings.get("loss") == "logistic":
        y = np.sign(y)
    assert large_batch.is_large(settings["batch_size"], 5)
    one = train(X, y, threads=1, **settings)
    for n_threads in NUMBERS:
        fit = train(X, y, threads=n_threads, **settings)
        assert fit.w.tobytes() == one.w.tobytes() and fit.b == one.b
        np.testing.assert_array_equal(fit.loss, one.loss)
        if one.validation_loss is not None:
            np.testing.assert_array_equal(fit.validation_loss, one.validation_loss)


def test_the_loss_in_parts_is_the_loss(monkeypatch):
    X, y, _ = problem(1500, 5)
    settings = {"lr": 0.05, "epochs": 2, "seed": 1, "threads": 3}
    whole = train(X, y, **settings)
    monkeypatch.setattr(reduce, "ENTRIES", 700)
    monkeypatch.setattr(reduce, "LEAST", 3)
    monkeypatch.setattr(reduce, "WORTH_SHARING", 1)
    in_parts = train(X, y, **settings)
    assert in_parts.w.tobytes() == whole.w.tobytes()
    np.testing.assert_allclose(in_parts.loss, whole.loss, rtol=1e-12)


def test_long_float32_sums_stay_right():
    """Right to 1e-5 of sum |r_i x_i| / n, with rows whose sums must not be made one after the other."""
    n = 10_000_000
    X, y = np.full((n, 1), 0.1, np.float32), np.full(n, -0.3, np.float32)
    g, gb = gradient(X, y, np.zeros(1, np.float32), threads=2)
    assert g[0] == pytest.approx(float(X[0, 0]) * 0.3, rel=1e-5)
    assert gb == pytest.approx(0.3, rel=1e-5)


@pytest.mark.parametrize(("n", "d"), [(300_000, 5), pytest.param(100_000, 16, marks=pytest.mark.slow)])
def test_workers_do_work(n, d):
    """On a busy machine that may take a few tries."""
    X, y, w = problem(n, d)
    assert not reduce.is_one(*X.shape)
    before = threads.tasks_by_workers()
    for _ in range(100):
        gradient(X, y, w, threads=3)
        if threads.tasks_by_workers() > before:
            break
    assert threads.tasks_by_workers() > before


def test_no_access_outside_the_arrays():
    run_python(
        """
        import numpy as np
        from guard import guarded
        from numbasgd import gradient
        from numbasgd.sgd.solvers import reduce
        reduce.ENTRIES, reduce.LEAST, reduce.WORTH_SHARING = 700, 3, 1
        for n, d, at_end in [(107, 5, True), (107, 5, False), (29, 200, True), (29, 200, False)]:
            X, y = guarded((n, d), np.float32, at_end=at_end), guarded((n,), np.float32, at_end=at_end)
            w = guarded((d,), np.float32, at_end=at_end)
            X[...], y[...], w[...] = 1, 0, 1
            for n_threads in (1, 3):
                g, gb = gradient(X, y, w, threads=n_threads)
                assert (g == d).all() and gb == d
                g, gb = gradient(X, y, w, threads=n_threads, rows=np.arange(n)[::-1])
                assert (g == d).all() and gb == d
        """
    )


def test_eight_python_threads_at_once(small_parts):
    X, y, w = problem(1501, 5)
    settings = {"batch_size": 1501, "lr": 0.05, "epochs": 2, "seed": 1}
    expected = found(X, y, w, threads=1), train(X, y, threads=1, **settings)
    failures = []

    def call(seed):
        rng = np.random.default_rng(seed)
        for _ in range(10):
            n_threads = [None, 1, 2, 4][rng.integers(4)]
            fit = train(X, y, threads=n_threads, **settings)
            if not (found(X, y, w, threads=n_threads) == expected[0]).all() or (fit.w != expected[1].w).any():
                failures.append(seed)

    callers = [threading.Thread(target=call, args=(seed,)) for seed in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_forked_children_use_it():
    run_python(
        """
        import os, signal, warnings, numpy as np
        from numbasgd import gradient, matmul
        signal.alarm(120)  # ends a process that hangs; a child starts without one
        warnings.simplefilter("ignore")  # Python warns of forks in processes that have threads
        X = np.random.default_rng(0).standard_normal((200_000, 5)).astype("f")
        y, w = X[:, 0].copy(), X[0].copy()
        g, gb = gradient(X, y, w, threads=1)
        def is_same(n_threads):
            found = gradient(X, y, w, threads=n_threads)
            return (found[0] == g).all() and found[1] == gb
        for _ in range(20):
            assert is_same(2)
            pid = os.fork()
            if pid == 0:
                signal.alarm(60)
                os._exit(0 if all(is_same(n) for n in (1, 2, 3)) else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        A = np.ones((700, 700))  # a product after it, in workers that were started by it
        assert (matmul(A, A, threads=3) == 700).all()
        """
    )


@pytest.mark.parametrize(
    ("value", "error"),
    [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError), (True, TypeError)],
)
def test_bad_numbers_of_threads(value, error):
    X, y, w = problem(10, 3)
    for call in (lambda: gradient(X, y, w, threads=value), lambda: train(X, y, threads=value)):
        with pytest.raises(error) as caught:
            call()
        says(caught.value, f"threads is {value!r}", "expected a whole number from 1 to 64", "Pass 1")
