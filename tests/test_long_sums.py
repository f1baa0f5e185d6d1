"""Sums longer than float32 can count: partial sums are added up, and no digit is lost to a large total."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numbasgd import RUNGS, matmul
from numbasgd.matmul import long_sums, verify

CUT = [name for name, rung in RUNGS.items() if not rung.is_numpy and not rung.any_layout]
PACKED = pytest.param("packed", marks=pytest.mark.slow)  # cuts its sums itself; slow to compile


@pytest.mark.parametrize("rung", [*CUT, PACKED])
def test_a_sum_of_ones_counts_past_2_to_the_24(rung):
    """One number seen k times: the stride is 0, so k = 2^25 takes no memory."""
    k = 2**25
    one = np.float32(1)
    found = matmul(np.broadcast_to(one, (1, k)), np.broadcast_to(one, (k, 1)), rung=rung)
    assert found.dtype == np.float32
    assert found.tolist() == [[k]]


@pytest.mark.slow
@pytest.mark.parametrize("rung", [*CUT, PACKED])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3)], ids=["1x1", "2x3"])
def test_a_sum_of_2_to_the_25_random_products(rung, shape):
    m, n = shape
    k = 2**25
    rng = np.random.default_rng(0)
    A, B = rng.random((m, k), np.float32), rng.random((k, n), np.float32)
    reference = sum(
        A[:, p : p + 2**20].astype(np.float64) @ B[p : p + 2**20].astype(np.float64) for p in range(0, k, 2**20)
    )
    terms, u = long_sums.TERMS + k / long_sums.TERMS, verify.unit_roundoff(A.dtype)
    g = terms * u / (1 - terms * u)
    assert np.all(np.abs(matmul(A, B, rung=rung) - reference) <= 2 * g * reference)


@pytest.mark.parametrize("rung", CUT)
@settings(max_examples=25, deadline=None)
@given(
    sizes=st.tuples(st.integers(0, 6), st.integers(0, 9), st.integers(0, 40)),
    terms=st.integers(1, 12),
    order=st.sampled_from("CF"),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_pieces_are_the_product(rung, sizes, terms, order, seed):
    m, n, k = sizes
    rng = np.random.default_rng(seed)
    A = np.asarray(rng.integers(-9, 9, (m, k)), np.float64, order=order)
    B = np.asarray(rng.integers(-9, 9, (k, n)), np.float64, order=order)
    out = np.full((n, m), np.nan).T
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_sums, "TERMS", terms)
        assert matmul(A, B, rung=rung, out=out) is out
        np.testing.assert_array_equal(matmul(A, B, rung=rung), A @ B)
    np.testing.assert_array_equal(out, A @ B)


def test_pieces_are_as_long_as_they_may_be_and_each_comes_once(monkeypatch):
    monkeypatch.setattr(long_sums, "TERMS", 4)
    seen = []

    def multiply(A, B, out):
        seen.append((A[0].tolist(), B[:, 0].tolist()))
        out[...] = A @ B

    for k, expected in [(0, [0]), (3, [3]), (4, [4]), (5, [4, 1]), (11, [4, 4, 3])]:
        seen.clear()
        A, B = np.arange(2.0 * k).reshape(2, k), np.arange(3.0 * k).reshape(k, 3)
        out = np.full((2, 3), np.nan)
        long_sums.add_up(multiply, A, B, out)
        np.testing.assert_array_equal(out, A @ B)
        assert [len(a) for a, _ in seen] == expected
        assert sum((a for a, _ in seen), []) == A[0].tolist()
        assert sum((b for _, b in seen), []) == B[:, 0].tolist()


@pytest.mark.parametrize("rung", CUT)
def test_nan_and_inf_travel_through_pieces_without_a_warning(rung, monkeypatch):
    monkeypatch.setattr(long_sums, "TERMS", 2)
    big = np.finfo(np.float32).max
    A = np.array([[np.inf, 1, -np.inf, 1], [1, 1, np.inf, 1], [1, np.nan, 1, 1], [big, 1, big, 1]], np.float32)
    B = np.ones((4, 1), np.float32)
    np.testing.assert_array_equal(matmul(A, B, rung=rung)[:, 0], [np.nan, np.inf, np.nan, np.inf])
