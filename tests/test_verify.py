import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numbasgd.errors import NumbaSGDError, WrongResultError
from numbasgd.matmul import verify

DTYPES = ("float32", "float64")


def operands(m, k, n, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 70), st.integers(0, 70), st.integers(0, 2000), st.sampled_from(DTYPES), st.integers(0, 2**32)
)
def test_every_product_passes(m, k, n, dtype, seed):
    A, B = operands(m, k, n, dtype, seed)
    assert verify.residual(A, B, A @ B, seed=seed) <= verify.limit(k)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1, 5000), (5000, 1, 1), (300, 2, 3000), (40, 4000, 40)])
def test_thin_products_of_one_sign_pass(dtype, shape):
    A, B = (np.abs(M) for M in operands(*shape, dtype))
    assert verify.residual(A, B, A @ B) <= verify.limit(shape[1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_wrong_entry_is_caught(dtype):
    A, B = operands(64, 48, 80, dtype)
    C = A @ B
    # The smallest error that must show: the limit's share of the norms, in one entry.
    u = verify.unit_roundoff(C.dtype)
    C[17, 5] += 1.1 * 2 * verify.limit(48) * u * float(np.linalg.norm(A) * np.linalg.norm(B))
    assert verify.residual(A, B, C) > verify.limit(48)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda C: C * 0,
        lambda C: C * C.dtype.type(1.0001),
        lambda C: C[::-1].copy(),
        lambda C: np.vstack([C[:-1], np.zeros_like(C[:1])]),
        lambda C: np.where(np.arange(C.size).reshape(C.shape) == 7, np.nan, C).astype(C.dtype),
        lambda C: np.where(np.arange(C.size).reshape(C.shape) == 7, np.inf, C).astype(C.dtype),
    ],
)
def test_wrong_products_are_caught(dtype, spoil):
    A, B = operands(64, 64, 64, dtype)
    C = A @ B
    assert verify.require(A, B, C, "the product") <= verify.limit(64)
    with pytest.raises(WrongResultError, match=r"rung 'x' computed .* means nothing"):
        verify.require(A, B, spoil(C), "rung 'x'")


def test_a_float32_product_is_no_float64_product():
    A, B = operands(64, 64, 64, "float64")
    C = (A.astype("float32") @ B.astype("float32")).astype("float64")
    assert verify.residual(A, B, C) > verify.limit(64)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_has_no_finite_residual(bad):
    A, B = operands(8, 8, 8, "float32")
    C = A @ B
    C[3, 3] = bad
    assert verify.residual(A, B, C) == math.inf
    A[0, 0] = bad
    with np.errstate(invalid="ignore"):
        C = A @ B
    assert verify.residual(A, B, C) == math.inf


def test_zero_and_empty_products():
    Z = np.zeros((4, 4))
    assert verify.residual(Z, Z, Z) == 0.0
    assert verify.residual(Z, Z, Z + 1) == math.inf
    E = np.zeros((4, 0))
    assert verify.residual(E, E.T, Z) == 0.0
    assert verify.residual(E, E.T, Z + 1) == math.inf
    assert verify.residual(E.T, Z, E.T) == 0.0
    assert verify.Exact(E.T, Z).largest_error(E.T) == (0.0, 0.0)


def test_it_is_one_of_our_errors():
    assert issubclass(WrongResultError, NumbaSGDError)
    assert issubclass(WrongResultError, ArithmeticError)


@pytest.mark.parametrize("dtype", DTYPES)
def test_largest_error_and_its_share_of_the_bound(dtype):
    A, B = operands(20, 30, 25, dtype)
    C = A @ B
    error, share = verify.Exact(A, B).largest_error(C)
    assert 0 < error < 1e-4 if dtype == "float32" else error < 1e-13
    assert 0 < share < 1
    off = 1e-2
    C[4, 6] += off
    error, share = verify.Exact(A, B).largest_error(C)
    assert error == pytest.approx(off, rel=1e-3)
    k, u = 30, verify.unit_roundoff(C.dtype)
    size = float(np.abs(A[4].astype("float64")) @ np.abs(B[:, 6].astype("float64")))
    assert share == pytest.approx(off / (2 * k * u / (1 - k * u) * size), rel=1e-3)


def test_the_bound_of_a_long_sum_is_a_number(monkeypatch):
    """k u = 2, as for a float32 sum of 2^25 terms: k u / (1 - k u) is below 0 there."""
    monkeypatch.setattr(verify, "unit_roundoff", lambda dtype: 2.0**-4)
    A, B = np.ones((1, 32), np.float32), np.ones((32, 1), np.float32)
    assert verify.Exact(A, B).largest_error(np.array([[16]], np.float32)) == (16, pytest.approx(1 / 16))
    assert verify.Exact(A, B).largest_error(np.array([[-8 * 32]], np.float32))[1] > 1


def test_a_large_float64_product_is_looked_at_in_rows(monkeypatch):
    monkeypatch.setattr(verify, "_WORK", 10 * 10 * 5)
    A, B = operands(10, 10, 10, "float64")
    C = A @ B
    C[1] += 1  # rows 0, 2, 4, 6, 8 are looked at
    assert verify.Exact(A, B).largest_error(C)[1] < 1
    C[2] += 1
    assert verify.Exact(A, B).largest_error(C)[1] > 1
