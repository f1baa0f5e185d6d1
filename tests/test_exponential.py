"""``exp`` of vector registers against NumPy's in extended precision."""

import numpy as np
import pytest

from numbasgd.compile.options import jit
from numbasgd.simd.exp import exp
from numbasgd.simd.vector import load, store


def make(lanes):
    @jit(variant=f"tested_{lanes}", fastmath=False)
    def run(x, out):
        for i in range(0, len(x), lanes):
            store(out, i, exp(load(x, i, lanes)))

    return run


@pytest.mark.parametrize("lanes", [4, 16])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp_is_right_to_the_last_digits(dtype, lanes, rng):
    lowest = np.log(np.finfo(dtype).tiny) * (1 - 1e-6)
    x = np.concatenate([-rng.exponential(3, 1 << 14), np.linspace(lowest, 0, 1 << 14)]).astype(dtype)
    out = np.empty_like(x)
    make(lanes)(x, out)
    exact = np.exp(x.astype(np.longdouble))
    assert np.max(np.abs(out - exact) / np.spacing(exact.astype(dtype))) < (2 if dtype == np.float32 else 4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp_at_the_ends(dtype):
    x = np.array([0, -np.inf, np.nan, -1e30], dtype)
    out = np.empty_like(x)
    make(4)(x, out)
    np.testing.assert_array_equal(out, [1, 0, np.nan, 0])
