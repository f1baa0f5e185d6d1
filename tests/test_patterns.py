"""Ways to read memory: exact sums, and as many accesses and operations as are counted."""

import numpy as np
import pytest

from numbasgd.machine import patterns
from numbasgd.simd.vector import register_bytes

DTYPES = (np.float32, np.float64)
KB = 1024


CASES = [
    *((patterns.pattern, name) for name in patterns.PATTERNS),
    *((patterns.burst, length) for length in patterns.BURSTS),
    *((patterns.width, n_bytes) for n_bytes in patterns.WIDTHS),
    *((patterns.arithmetic, flop) for flop in patterns.FLOPS),
]


@pytest.mark.parametrize(("make", "name"), CASES, ids=lambda v: getattr(v, "__name__", str(v)))
def test_every_way_to_read_gives_the_exact_sum(make, name):
    access = make(name, 64 * KB)
    for passes in (1, 2, 5):
        assert access.call(passes) == access.expected(passes)
    assert access.working_set == 64 * KB
    n_lines = 64 * KB // 64
    if access.name in ("strided", "random", "chase", "burst-4"):
        assert access.accesses == n_lines
    else:
        assert access.bytes == 64 * KB
    if make is patterns.arithmetic:
        assert access.flop == name * 16 * KB


@pytest.mark.parametrize("flop", patterns.FLOPS)
def test_work_does_as_many_operations_as_are_counted(flop):
    lanes = register_bytes() // 4
    x = np.ones(8 * lanes, np.float32)
    # Each multiply-add before the last adds 1 to a number that began as 1.
    expected = 1 if flop == 1 else flop // 2
    assert patterns.make_arithmetic(lanes, flop)(x, np.float32(1), np.float32(1), 1) == expected * x.size


def test_a_wrong_sum_is_seen():
    access = patterns.pattern("sequential", 16 * KB)
    x = access.call.args[0]
    x[77] = -x[77]
    assert access.call(1) != access.expected(1)
