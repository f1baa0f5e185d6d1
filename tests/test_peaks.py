"""The peak that products are compared with."""

import numpy as np
import pytest

from numbasgd import matmul
from numbasgd.machine import peaks


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_product_stays_below_the_peak(dtype):
    peak = peaks.fma_peak(dtype, seconds=0.05)
    assert np.isfinite(peak)
    A = np.ones((256, 256), dtype)
    matmul(A, A, threads=1)
    seconds = min(_timed(A) for _ in range(5))
    assert 0.05 < 2e-9 * 256**3 / seconds / peak < 1.3  # both move on a machine that others share


def _timed(A):
    import time

    start = time.perf_counter()
    matmul(A, A, threads=1)
    return time.perf_counter() - start
