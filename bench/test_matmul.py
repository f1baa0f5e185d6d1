"""Products: every rung of the ladder, NumPy's BLAS last, one thread each.

Shapes are m x k x n for (m, k) @ (k, n), or n for a square one.
"""

import functools

import numpy as np
import pytest

from bench.measure import DTYPES
from numbasgd import RUNGS
from numbasgd.machine.timing import aligned
from numbasgd.matmul import verify

SQUARES = (64, 256, 512, 1024)
FULL_SQUARES = (128, 2048)
SKINNY = ((32, 784, 10), (256, 784, 10), (6, 512, 512), (2048, 64, 2048))
# A call that takes seconds teaches no more than a smaller one: the most that these rungs are given.
MOST = {
    "element": lambda m, k, n: m * k * n <= 512**3,
    "numpy-element": lambda m, k, n: m * n <= 256**2,
}


def _cases(shapes):
    for shape in shapes:
        for short in DTYPES:
            for name, rung in RUNGS.items():
                if "cpu" in rung.devices and MOST.get(name, lambda m, k, n: True)(*shape):
                    yield name, short, shape, "one"


def _label(shape):
    return str(shape[0]) if len(set(shape)) == 1 else "x".join(map(str, shape))


def _params():
    default = [*_cases([(n, n, n) for n in SQUARES])]
    default += [("numpy", short, (1024, 1024, 1024), "all") for short in DTYPES]
    for case in default:
        yield pytest.param(*case, id=_id(*case))
    for case in _cases([(n, n, n) for n in FULL_SQUARES] + list(SKINNY)):
        yield pytest.param(*case, id=_id(*case), marks=pytest.mark.bench_full)


def _id(name, short, shape, threads):
    return f"{name}-{short}-{_label(shape)}-{threads}"


@functools.lru_cache(maxsize=1)
def _operands(short, shape):
    m, k, n = shape
    rng = np.random.default_rng(0)
    A, B = (aligned(rng.standard_normal(s).astype(DTYPES[short])) for s in ((m, k), (k, n)))
    return A, B, aligned(np.zeros((m, n), DTYPES[short]))


@pytest.mark.parametrize(("name", "short", "shape", "threads"), [*_params()])
def test_matmul(measure, name, short, shape, threads):
    m, k, n = shape
    A, B, out = _operands(short, shape)
    out.fill(np.nan)
    kernel = RUNGS[name].kernel("cpu")
    seeds = iter(range(1, 100))

    def check():
        return verify.residual(A, B, out, seed=next(seeds)), verify.limit(k)

    measure(
        lambda: kernel(A, B, out),
        check=check,
        kind="matmul",
        case=name,
        ladder=f"matmul-{short}-{_label(shape)}-{threads}",
        reference="numpy",
        threads=threads,
        uses_blas=RUNGS[name].is_numpy,
        dtype=A.dtype.name,
        m=m,
        n=n,
        k=k,
        flop=2 * m * n * k,
        bytes=A.itemsize * (m * k + k * n + m * n),
    )
