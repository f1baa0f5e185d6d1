"""Every rung is np.matmul: sizes, layouts, dtypes, NaN, ``out``; and none but numpy* ends in a BLAS."""

import itertools
import re

import numpy as np
import pytest
from child import run_python
from conftest import says
from hypothesis import given, settings
from hypothesis import strategies as st

import numbasgd
from numbasgd import RUNGS, matmul

DTYPES = {"f32": np.float32, "f64": np.float64}
SHAPES = [
    (0, 3, 4), (3, 0, 4), (3, 4, 0), (1, 1, 1), (1, 7, 5), (5, 1, 7), (7, 5, 1),
    (2, 3, 129), (64, 64, 64), (65, 63, 66), (31, 127, 513), (5, 300, 17), (10, 33, 10),
]  # fmt: skip


def bound(A, B):
    """2 g_k |A||B| + k tiny, entry by entry (Higham, 3.5), for the dtype of the product."""
    u = np.finfo(A.dtype).eps / 2
    k = A.shape[1]
    g = k * u / (1 - k * u)
    return (
        2 * g * (np.abs(A).astype(np.longdouble) @ np.abs(B).astype(np.longdouble)) + k * np.finfo(A.dtype).tiny
    )


def assert_product(C, A, B):
    reference = A.astype(np.longdouble) @ B.astype(np.longdouble)
    assert C.dtype == A.dtype
    assert C.shape == reference.shape
    assert np.all(np.abs(C - reference) <= bound(A, B))


def operands(rng, shape, dtype):
    m, n, k = shape
    return rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)


def products():
    """Rung, dtype and shape; slow where ``packed`` takes paths that have to be compiled for no other test."""
    quick = [("f32", SHAPES[i]) for i in (0, 1, 2, 3, 6, 8)] + [("f64", SHAPES[9])]
    for rung, dtype, shape in itertools.product(RUNGS, DTYPES, SHAPES):
        is_quick = rung != "packed" or (dtype, shape) in quick
        name = f"{rung}-{dtype}-{'x'.join(map(str, shape))}"
        yield pytest.param(rung, DTYPES[dtype], shape, id=name, marks=() if is_quick else pytest.mark.slow)


@pytest.mark.parametrize(("rung", "dtype", "shape"), list(products()))
def test_product(rung, dtype, shape, rng):
    A, B = operands(rng, shape, dtype)
    out = np.full((shape[0], shape[1]), np.nan, dtype)
    assert matmul(A, B, rung=rung, out=out) is out
    assert_product(out, A, B)


def layouts(a):
    """The same numbers in other memory orders."""
    frozen = a.copy()
    frozen.flags.writeable = False
    spread = np.zeros((2 * a.shape[0], 3 * a.shape[1]), a.dtype)[::2, ::3]
    spread[...] = a
    packed = np.zeros(a.shape, np.dtype([("pad", "i1"), ("x", a.dtype)]))
    packed["x"] = a
    return {
        "C": a,
        "F": np.asfortranarray(a),
        "transposed": a.T.copy().T,
        "strided": spread,
        "negative": a[::-1, ::-1].copy()[::-1, ::-1],
        "read-only": frozen,
        "unaligned": packed["x"],
        "swapped": a.astype(a.dtype.newbyteorder()),
    }


@pytest.mark.parametrize("layout", layouts(np.zeros((1, 1))))
@pytest.mark.parametrize("rung", RUNGS)
def test_layout(rung, layout, rng):
    A, B = operands(rng, (13, 21, 8), np.float32)
    assert_product(matmul(layouts(A)[layout], layouts(B)[layout], rung=rung), A, B)


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("layout", ["F", "strided", "negative", "unaligned"])
def test_out_of_any_layout(rung, layout, rng):
    A, B = operands(rng, (13, 21, 8), np.float64)
    out = layouts(np.full((13, 21), np.nan))[layout]
    assert matmul(A, B, rung=rung, out=out) is out
    assert_product(out, A, B)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("rung", RUNGS)
def test_nan_and_inf_travel_as_in_numpy(rung, dtype, rng):
    A, B = operands(rng, (9, 10, 7), dtype)
    A[2, 3], A[4, 5], B[1, 2], B[6, 7] = np.nan, np.inf, -np.inf, np.nan
    A[4, 1] = 0  # inf * 0 is NaN; a kernel that skips zeros would lose it
    B[5, 4] = 0
    with np.errstate(invalid="ignore"):
        expected = A.astype(np.float64) @ B.astype(np.float64)
        found = matmul(A, B, rung=rung)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_array_equal(np.isposinf(found), np.isposinf(expected))
    np.testing.assert_array_equal(np.isneginf(found), np.isneginf(expected))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 40), st.integers(0, 40), st.integers(0, 40),
    st.sampled_from([r for r in RUNGS]), st.sampled_from(["f", "d"]), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_random_products(m, n, k, rung, char, seed):
    A, B = operands(np.random.default_rng(seed), (m, n, k), np.dtype(char))
    assert_product(matmul(A, B, rung=rung), A, B)


@pytest.mark.parametrize(
    "rungs",
    [  # the paths of packed have a test of their own
        pytest.param([r for r in RUNGS if not RUNGS[r].is_numpy and r != "packed"], id="loops"),
        pytest.param(["packed"], id="packed", marks=pytest.mark.slow),
    ],
)
def test_no_access_outside_the_arrays(rungs):
    """In a process that such an access ends; what it printed last is the rung that did."""
    run_python(
        f"""
        import numbasgd, numpy as np
        from guard import guarded
        for rung in {rungs}:
            print(rung, flush=True)
            for dtype in (np.float32, np.float64):
                for m, n, k in [(1, 1, 1), (3, 5, 7), (17, 33, 9), (4, 513, 130), (0, 2, 3), (2, 3, 0)]:
                    for at_end in (True, False):
                        A, B, C = (guarded(s, dtype, at_end=at_end) for s in ((m, k), (k, n), (m, n)))
                        A[:], B[:], C[:] = 1, 2, np.nan
                        numbasgd.matmul(A, B, rung=rung, out=C)
                        assert (C == 2 * k).all()
        """
    )


@pytest.mark.parametrize(
    ("names", "chars"),
    [  # packed takes long to compile, and its code holds no product that Numba could replace
        pytest.param([name for name in RUNGS if name != "packed"], "f", id="loops"),
        pytest.param(list(RUNGS), "fd", id="all", marks=pytest.mark.slow),
    ],
)
def test_only_numpy_rungs_reach_a_blas(names, chars, tmp_path):
    """Without SciPy, with NumPy's and Numba's products made to raise, in code compiled afresh."""
    code = """
        import sys
        sys.modules["scipy"] = None
        import numpy as np, numba
        import numba.np.arraymath, numba.np.linalg as linalg
        def refuse(*args, **kwargs):
            raise AssertionError("a BLAS was asked for")
        linalg.ensure_blas = linalg._BLAS.__init__ = refuse
        import numbasgd
        rng = np.random.default_rng(0)
        shapes = (9, 11), (11, 7)
        cases = [tuple(rng.standard_normal(shape).astype(t) for shape in shapes) for t in CHARS]
        expected = [a @ b for a, b in cases]
        np.dot = np.matmul = np.einsum = np.inner = np.vdot = np.tensordot = refuse
        try:  # the trap works
            numba.njit(lambda a, b: a @ b)(*cases[0])
        except Exception as error:
            assert "BLAS" in str(error), error
        else:
            raise SystemExit("numba's product did not raise")
        for name in NAMES:
            for (a, b), c in zip(cases, expected):
                if numbasgd.RUNGS[name].is_numpy:
                    try:
                        numbasgd.matmul(a, b, rung=name)
                    except AssertionError:
                        continue
                    raise SystemExit(f"{name} reached no BLAS")
                assert np.allclose(numbasgd.matmul(a, b, rung=name), c, rtol=1e-4, atol=1e-4), name
        """
    code = code.replace("CHARS", repr(chars)).replace("NAMES", repr(names))
    run_python(code, NUMBASGD_CACHE_DIR=str(tmp_path), NUMBA_CACHE_DIR=None)


def test_numpy_would_convert_it_so():
    assert matmul([[1, 2]], [[3], [4]]).tolist() == [[11.0]]
    assert matmul(np.ones((1, 2), np.float32), np.ones((2, 1))).dtype == np.float64
    assert matmul(np.ones((1, 2), np.float16), np.ones((2, 1), np.float32)).dtype == np.float32
    assert matmul(np.ones((1, 2), bool), np.ones((2, 1), np.uint8))[0, 0] == 2.0


def test_a_dataframe_is_taken():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2.0], "b": [3, 4]})
    np.testing.assert_allclose(matmul(frame, frame), frame.to_numpy() @ frame.to_numpy())


A23, B34 = np.ones((2, 3)), np.ones((3, 4))
READ_ONLY = np.ones((2, 4))
READ_ONLY.flags.writeable = False
BASE = np.ones((3, 4))


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "parts"),
    [
        ((A23, A23), {}, ValueError, ("A has shape (2, 3)", "B has shape (2, 3)", "expected", "A.T @ B")),
        ((np.ones(3), B34), {}, ValueError, ("A has 1 dimension", "expected a 2-D array", "reshape(1, -1)")),
        ((np.ones((1, 2, 3)), B34), {}, ValueError, ("A has 3 dimensions", "expected a 2-D array", "reshape")),
        ((A23, B34 * 1j), {}, TypeError, ("B has dtype complex128", "expected float32 or float64", ".real")),
        ((A23, [["a"]]), {}, TypeError, ("B has dtype <U1", "expected", "Convert")),
        ((A23, [[1], [2, 3]]), {}, ValueError, ("B is a list", "expected", "same length")),
        ((A23, None), {}, TypeError, ("B is None", "expected", "Pass")),
        ((A23, B34.astype(np.longdouble)), {}, TypeError, ("B has dtype", "expected", "astype('float64')")),
        ((A23, np.ma.masked_equal(B34, 1)), {}, ValueError, ("B is a masked array", "expected", "filled")),
        (
            (A23, B34),
            {"rung": "bloked"},
            ValueError,
            ("rung is 'bloked'", "expected", "Did you mean 'blocked'?"),
        ),
        ((A23, B34), {"rung": 3}, TypeError, ("rung is 3 (int)", "expected", "Pass")),
        ((A23, B34), {"device": "gpu"}, ValueError, ("device is 'gpu'", "expected one of 'cpu', 'cuda'")),
        (
            (A23, B34),
            {"out": [[0.0]]},
            TypeError,
            ("out is a list", "expected a NumPy array", "np.empty((2, 4)"),
        ),
        ((A23, B34), {"out": np.ones((4, 2))}, ValueError, ("out has shape (4, 2)", "expected (2, 4)", "Make")),
        ((A23, B34), {"out": np.ones((2, 4), "f")}, TypeError, ("out has dtype", "expected float64", "Make")),
        ((A23, B34), {"out": READ_ONLY}, ValueError, ("out is read-only", "expected", "copy")),
        (
            (BASE[:2, :3], B34),
            {"out": BASE[:2]},
            ValueError,
            ("out shares memory with A", "expected", "another"),
        ),
    ],
)
def test_bad_input(args, kwargs, error, parts):
    with pytest.raises(error) as caught:
        matmul(*args, **kwargs)
    assert type(caught.value).__module__ in ("builtins", "numbasgd.errors")
    says(caught.value, *parts)


def test_interleaved_out_does_not_overlap():
    base = np.ones((4, 8))
    assert matmul(base[:, ::2], np.ones((4, 4)), out=base[:, 1::2])[0, 0] == 4.0


def test_a_rung_without_a_kernel_for_the_device():
    with pytest.raises(ValueError) as caught:
        matmul(A23, B34, rung="numpy", device="cuda")
    says(caught.value, "rung is 'numpy'", "device='cuda'", "expected", "Pass")


def busiest_loop(rung, dtype):
    """The instructions of the innermost loop that multiplies and adds the most numbers a turn, and how many."""
    import numba

    from numbasgd.compile.options import OPTIONS

    kernel = numba.njit(**OPTIONS)(RUNGS[rung].kernel().py_func)  # code from a cache cannot be looked at
    kernel(np.ones((4, 4), dtype), np.ones((4, 4), dtype), np.empty((4, 4), dtype))
    (assembly,) = kernel.inspect_asm().values()
    loops = re.findall(r"^(\.L\w+):\n((?:\t.*\n)*?)\tj\w+\t\1$", assembly, re.MULTILINE)  # no label between
    bodies = [[line.split("#")[0].strip() for line in body.splitlines()] for _, body in loops]
    return max(((body, sum(map(floats_of_fma, body))) for body in bodies), key=lambda found: found[1])


def floats_of_fma(line):
    """How many numbers a fused multiply-add works on; 0 for another instruction."""
    if not (found := re.match(r"vfn?m(?:add|sub)\w*([ps])([sd])\b", line)):
        return 0
    size = 4 if found[2] == "s" else 8
    return (
        1
        if found[1] == "s"
        else next(n for r, n in (("zmm", 64), ("ymm", 32), ("xmm", 16)) if r in line) // size
    )


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_full_fills_vector_registers(dtype):
    """The loop that does the work is nothing but whole registers, taken from where they lie and put back."""
    from numbasgd.simd.vector import register_bytes

    if register_bytes() < 32:
        pytest.skip("neither AVX2 nor AVX-512 on this machine, nothing to look for")
    lanes = 32 // np.dtype(dtype).itemsize  # compilers use half of AVX-512's registers on some CPUs
    body, count = busiest_loop("full", dtype)
    fused = [n for n in map(floats_of_fma, body) if n]
    assert min(fused) >= lanes and count >= 2 * lanes, body
    assert all(
        line.split()[0].startswith(("vfm", "vmovu", "vmova", "add", "sub", "cmp", "inc", "lea"))
        for line in body
    ), body


def test_rungs_are_described():
    for name, rung in RUNGS.items():
        assert rung.name == name
        assert 3 <= len(rung.idea.split()) <= 6
        assert rung.kernel("cpu").__doc__.split("\n")[0].startswith(("out := ", "out[i, j] := ", "out["))


def test_numbasgd_exports_what_it_says():
    for name in numbasgd.__all__:
        assert getattr(numbasgd, name) is not None
