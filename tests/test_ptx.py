"""The GPU kernels compile for real cards, which needs no card but the compiler of the CUDA toolkit.

The simulator runs kernels as Python and so takes what the compiler would refuse or make slow.
"""

import importlib
import re

import pytest

from numbasgd import device
from numbasgd.sgd.losses import LOSSES

DTYPES = ["float32", pytest.param("float64", marks=pytest.mark.slow)]


@pytest.fixture
def compile_ptx(monkeypatch):
    """PTX of a kernel for argument types, for compute capability 8.0."""
    cuda = device.cuda
    if device.is_simulator():
        pytest.skip("Numba's simulator compiles nothing; run without NUMBA_ENABLE_CUDASIM")
    try:
        importlib.import_module("numba.cuda.cudadrv.nvvm").NVVM().get_version()
    except Exception as error:  # of many kinds, by target and version
        pytest.skip(f"NVVM, the compiler in the CUDA toolkit, is not here: {str(error).strip()[:80]}")

    class Card:
        compute_capability = (8, 0)
        id = 0

    # A function that a kernel calls is compiled for the current device; let there be one.
    monkeypatch.setattr("numba.cuda.dispatcher.get_current_device", Card)
    return lambda kernel, types: cuda.compile_ptx(kernel.py_func, types, cc=(8, 0))[0]


def array(dtype, ndim):
    from numba import from_dtype, types
    from numpy import dtype as numpy_dtype

    return types.Array(from_dtype(numpy_dtype(dtype)), ndim, "C")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["element", "column", "full", "blocked"])
def test_product(name, dtype, compile_ptx):
    from numba import types

    from numbasgd.matmul import cuda as product

    A = array(dtype, 2)
    ptx = compile_ptx(getattr(product, f"_{name}"), (A, A, types.int64, A) if name == "column" else (A, A, A))
    bits = dtype[-2:]
    assert f"fma.rn.f{bits}" in ptx
    if dtype == "float32":
        assert ".f64" not in ptx  # neither a sum in double precision nor an index that became one
    if name != "element":
        assert "selp" not in ptx  # no code for negative indices
    assert ("st.shared" in ptx) == (name in ("column", "blocked"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", [name for name, loss in LOSSES.items() if loss.rows is None])
def test_gradient(loss, dtype, compile_ptx):
    from numba import types

    from numbasgd.sgd.solvers import cuda as learning

    X, y, rows, partials = array(dtype, 2), array(dtype, 1), array("int64", 1), array("float64", 2)
    sizes = types.UniTuple(types.int64, 4)
    ptx = compile_ptx(learning.partial_sums(loss), (X, y, y, types.float64, rows, sizes, partials))
    assert f"fma.rn.f{dtype[-2:]}" in ptx
    assert "ld.local" not in ptx  # the sums of a thread stay in registers
    assert not re.search(r"^\s*(atom|red)\.", ptx, re.MULTILINE)  # the order of summation is fixed
    assert "st.shared" in compile_ptx(learning._mean, (partials, types.int64, y))
