"""The benches themselves: what they check, what they write down, what they are measured against."""

import re

import numpy as np
import pytest

from bench import measure as bench_measure
from bench import peers, summary

KEYS = {
    "schema",
    "kind",
    "case",
    "ladder",
    "reference",
    "dtype",
    "device",
    "threads",
    "n_threads",
    "compile_seconds",
    "residual",
    "residual_limit",
}


class FakeBenchmark:
    """As much of pytest-benchmark's fixture as ``Measure`` uses."""

    def __init__(self):
        self.extra_info = {}
        self.n_timed = 0

    def pedantic(self, func, rounds, iterations):
        self.n_timed += rounds * iterations
        func()


def run_measure(func, check, **options):
    fake = FakeBenchmark()
    measure = bench_measure.Measure(fake, 0.001, 2, None)
    measure(func, check=check, ladder="l", case="ours", reference="numpy", kind="matmul", **options)
    return fake


def test_a_wrong_result_is_never_timed():
    fake = FakeBenchmark()
    measure = bench_measure.Measure(fake, 0.001, 2, None)
    with pytest.raises(pytest.fail.Exception, match="ours gives a wrong result: residual 9, limit 8"):
        measure(lambda: None, check=lambda: (9.0, 8.0), ladder="l", case="ours", reference=None, kind="matmul")
    assert fake.n_timed == 0
    assert fake.extra_info == {}


def test_a_result_that_is_not_a_number_is_wrong():
    with pytest.raises(pytest.fail.Exception, match="wrong result"):
        run_measure(lambda: None, lambda: (float("nan"), 8.0))


def test_a_result_that_turns_wrong_while_it_is_timed_is_caught():
    found = iter([(1.0, 8.0), (9.0, 8.0)])
    fake = FakeBenchmark()
    measure = bench_measure.Measure(fake, 0.001, 2, None)
    with pytest.raises(pytest.fail.Exception, match="wrong result"):
        measure(lambda: None, check=lambda: next(found), ladder="l", case="ours", reference=None, kind="matmul")
    assert fake.n_timed > 0
    assert fake.has_error  # its time must not be kept


def test_what_is_written_down():
    found = iter([(3.0, 8.0), (2.0, 8.0)])
    fake = run_measure(lambda: None, lambda: next(found), dtype="float32")
    assert fake.extra_info["residual"] == 3.0
    assert fake.extra_info["residual_limit"] == 8.0
    assert fake.extra_info["n_threads"] == 1
    assert set(fake.extra_info) == KEYS


def test_the_budget_is_shared_and_ends(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(bench_measure.time, "monotonic", lambda: now[0])
    budget = bench_measure.Budget(10.0, 4)
    assert budget.share() == pytest.approx(2.5)
    now[0] = 4.0
    assert budget.share() == pytest.approx(2.0)
    now[0] = 10.0
    with pytest.raises(pytest.skip.Exception, match="left out"):
        budget.share()


@pytest.mark.parametrize("batch_size", [1, 7, 30])
def test_the_numpy_loop_is_minibatch_sgd(batch_size):
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((30, 3)), rng.standard_normal(30)
    w, b = peers.numpy_loop(X, y, batch_size=batch_size, lr=0.1, epochs=2, order=lambda epoch: np.arange(30))
    expected, intercept = np.zeros(3), 0.0
    for _ in range(2):
        for start in range(0, 30, batch_size):
            rows = slice(start, min(start + batch_size, 30))
            r = X[rows] @ expected + intercept - y[rows]
            expected = expected - 0.1 * np.mean(r[:, None] * X[rows], axis=0)
            intercept -= 0.1 * np.mean(r)
    np.testing.assert_allclose(w, expected, rtol=1e-12)
    assert b == pytest.approx(intercept)


def test_the_numpy_loop_stays_in_float32():
    X, y = np.ones((4, 2), np.float32), np.ones(4, np.float32)
    w, _ = peers.numpy_loop(X, y, batch_size=2, lr=0.1, epochs=1)
    assert w.dtype == np.float32


def test_the_gradient_check_sees_a_wrong_entry():
    rng = np.random.default_rng(2)
    X, y, w = rng.standard_normal((9000, 4)), rng.standard_normal(9000), rng.standard_normal(4)
    g, gb = peers.two_pass_gradient(X, y, w, 0.5)
    limit = np.sqrt(9004) + 8
    assert peers.gradient_error(X, y, w, 0.5, g, gb) <= limit
    assert peers.gradient_error(X, y, w, 0.5, g * [1, 1, 1, 1 + 1e-8], gb) > limit
    assert peers.gradient_error(X, y, w, 0.5, g, gb + 1e-8) > limit
    assert not peers.gradient_error(X, y, w, 0.5, g * np.nan, gb) <= limit
    assert peers.gradient_error(X, y, w, 0.5, *peers.buffered_gradient(X)(X, y, w, 0.5)) <= limit


def _flat(case, median, ladder="matmul-f32-8-one"):
    info = {
        "kind": "matmul",
        "case": case,
        "ladder": ladder,
        "reference": "numpy",
        "flop": 1024,
        "residual": 1.0,
        "residual_limit": 10.0,
        "compile_seconds": 0.0,
    }
    return {"extra_info": info, "median": median, "iqr": 0.1 * median}


def test_a_table_is_a_ladder_with_the_reference_last():
    lines = summary.tables([_flat("numpy", 1e-6), _flat("full", 4e-6), _flat("blocked", 2e-6)])
    rows = [line.split() for line in lines if re.match(r"(numpy|full|blocked) ", line)]
    assert [row[0] for row in rows] == ["full", "blocked", "numpy"]
    assert "25 %" in " ".join(rows[0])
    assert "1.024" in rows[2]
    assert summary.tables([]) == []
    alone = summary.tables([_flat("full", 1e-6)])  # selected without its reference: no share, no error
    assert not any("share of numpy" in line for line in alone)


def test_times_in_units_that_suit():
    assert [summary.seconds(t) for t in (2.5, 0.123, 4.5e-4, 2e-8)] == ["2.5 s", "123 ms", "450 us", "20 ns"]


def test_the_name_of_a_case_is_its_id():
    assert bench_measure.case_name("test_matmul[full-f32-64-one]") == "matmul[full-f32-64-one]"
    assert bench_measure.case_name("test_matmul_cuda[a_b-f32-64-all]") == "matmul-cuda[a_b-f32-64-all]"


@pytest.mark.cuda
def test_cases_of_a_card_are_measured_like_the_others(monkeypatch):
    """What is written down, and that a wrong product is no time; the ladder's name ends like the id."""
    from bench import test_cuda as cases

    monkeypatch.setattr(cases, "ROUNDS", 2)
    for test, parameters in (
        (cases.test_matmul_cuda, cases._products()),
        (cases.test_gradient_cuda, cases._gradients()),
    ):
        ids = [parameter.id for parameter in parameters]
        assert all(re.fullmatch(r"[a-z]+-f(32|64)-[0-9x]+-all", name) for name in ids) and len(set(ids)) == len(
            ids
        )
        fake = FakeBenchmark()
        measure = bench_measure.Measure(fake, 0.0, 1, None)
        if test is cases.test_matmul_cuda:
            test(measure, "column", "f32", 3)
        else:
            test(measure, "f32", 3, 2)
        info = fake.extra_info
        assert set(info) > KEYS
        assert (info["device"], info["threads"], info["n_threads"]) == ("cuda", "all", 0)
        assert re.fullmatch(r"(matmul|gradient)-cuda-f32-[0-9x]+-all", info["ladder"])
        assert 0 <= info["residual"] <= info["residual_limit"]
        assert info["device_seconds"] > 0
