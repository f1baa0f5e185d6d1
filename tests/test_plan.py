"""The rule that picks paths and tiles: pure, within its limits, right for wide and narrow machines."""

import itertools

import numpy as np
import path_cases
import pytest
from child import run_python
from machines import MACHINES

import numbasgd
from numbasgd.matmul.gemm import plan, tiles

K = 1 << 10


@pytest.fixture(params=MACHINES)
def machine(request):
    return MACHINES[request.param]


@pytest.mark.parametrize("size", [4, 8])
def test_tiles_fit_into_the_registers(machine, size):
    of = tiles.Tiles(machine, size)
    for path in of.paths:
        MR, NV = of.tile(path)
        assert MR >= 1
        assert NV >= 1
        name = tiles.name_of(path)
        held = {"dots": MR * of.parts(path)[1] if name == "dots" else 0, "inner": 0}.get(name, MR * NV)
        assert held <= machine.registers - (1 if name != "turned" else 0), (name, path, MR, NV)


@pytest.mark.parametrize("size", [4, 8])
@pytest.mark.parametrize("layout", path_cases.LAYOUTS)
def test_every_choice_keeps_its_limits(machine, size, layout):
    of = tiles.Tiles(machine, size)
    choose = of.make_choose()
    for m, n, k in itertools.product((1, 3, 8, 16, 33, 200, 3000, 10**6), repeat=3):
        path, x, y, z = choose(m, n, k, *path_cases.strides(m, n, k, layout, size), 0, n * size)
        assert path in of.paths
        name = tiles.name_of(path)
        MR, NV = of.tile(path)
        if name == "packed":
            NR = NV * of.lanes
            assert 1 <= x <= k
            assert y >= MR
            assert y % MR == 0
            assert z >= NR
            assert x * y * size + machine.vector <= of.a_bytes, (
                "packed A does not fit its part of the workspace"
            )
            assert x * (z + NR) * size <= of.sums_at - of.a_bytes, "packed B does not fit its part"
        elif name == "dots":
            assert n * y + machine.vector <= of.a_bytes
            assert y >= z * size
        elif name in ("narrow", "wide"):
            assert m >= MR
        if name in ("direct", "few", "dots", "inner", "turned", "across", "sideways"):
            assert z >= 1
        if name not in ("packed", "inner") and path <= tiles.INNER_ACROSS:
            assert path_cases.strides(m, n, k, layout, size)[3] == size, "B's rows must be contiguous"


def test_k_is_cut_into_pieces_that_do_not_depend_on_threads():
    assert tiles.pieces_of_k(10, 10, 1000, 4) == 1
    assert tiles.pieces_of_k(10, 10, 10**6, 4) == 16
    assert tiles.pieces_of_k(1000, 1000, 10**6, 4) == 1


def test_a_plan_says_what_and_why():
    of = tiles.Tiles(MACHINES["zen4"], 4)
    found = plan.plan_of(of, 1000, 1000, 1000, (False, False), 2)
    assert (found.path, found.MR, found.NR, found.KC, found.threads) == ("packed", 12, 32, 500, 2)
    assert found.KC * found.MC * 4 <= 256 * K
    assert plan.plan_of(of, 100, 100, 100, (False, False), 2).path == "direct"
    assert plan.plan_of(of, 128, 10, 784, (False, False), 2).path == "across"
    assert plan.plan_of(of, 128, 2, 784, (False, False), 2).path == "dots"
    assert plan.plan_of(of, 784, 10, 128, (True, False), 2).path == "turned"
    assert plan.plan_of(of, 6, 2048, 2048, (False, False), 2).path == "few"
    assert plan.plan_of(of, 16, 16, 16, (False, False), 2).threads == 1
    assert plan.plan_of(of, 0, 16, 16, (False, False), 2).path == "none"
    assert plan.plan_of(of, 20, 10, 10**6, (True, False), 2).k_pieces == 16
    mine = numbasgd.matmul_plan(64, 10, 784)
    assert mine.path in tiles.WHY
    assert mine.why
    with pytest.raises(ValueError, match=r"m is -1.*expected a whole number"):
        numbasgd.matmul_plan(-1, 2, 3)
    with pytest.raises(TypeError, match=r"dtype is int64.*expected float32 or float64"):
        numbasgd.matmul_plan(1, 2, 3, np.int64)


LESSER = {
    "avx2": ("haswell", "+avx,+avx2,+fma,+bmi,+bmi2,+sse4.2,+sse4.1,+ssse3,+sse3,+sse2,-avx512f", "zmm"),
    "avx": ("sandybridge", "+avx,+sse4.2,+sse4.1,+ssse3,+sse3,+sse2,-avx2,-fma,-avx512f", "zmm"),
    "sse": ("x86-64", "+sse2,-sse3,-avx,-avx2,-fma,-avx512f", "ymm"),
}


@pytest.mark.parametrize(
    "which",
    [pytest.param("few", marks=pytest.mark.slow), pytest.param("cases", marks=pytest.mark.exhaustive(of=12))],
)
@pytest.mark.parametrize("lesser", LESSER)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_lesser_cpu_gets_its_own_tiles(lesser, dtype, which, tmp_path):
    """One path of each kind, or all, compiled for narrower registers: right, and none wider in the assembly."""
    name, features, forbidden = LESSER[lesser]
    printed = run_python(
        f"""
        import platform, sys
        if platform.machine() not in ("x86_64", "AMD64"):
            print("another architecture"); sys.exit()
        import numpy as np, numbasgd, path_cases
        from numbasgd.matmul.gemm import dispatch, tiles
        dtype = np.dtype({dtype!r})
        rng = np.random.default_rng(0)
        product = dispatch.products[dtype]
        for path, (m, n, k, layout) in path_cases.{which}(dtype.name).items():
            A, B = path_cases.operands(m, n, k, layout, dtype, rng)
            out = np.full((m, n), np.nan, dtype)
            numbasgd.matmul(A, B, out=out, threads=2)
            assert path in product.compiled, (path, product.compiled)
            bound = 2 * k * np.finfo(dtype).eps * (np.abs(A) @ np.abs(B)).max()
            assert np.abs(out - A.astype("f8") @ B.astype("f8")).max() <= bound, (path, m, n, k, layout)
        seen = 0
        for path, function in product.compiled.items():
            for text in function.inspect_asm().values():
                assert {forbidden!r} not in text, path
                seen += text.count("xmm") + text.count("ymm")
        print(len(product.compiled), seen > 1000, product.tiles.lanes * dtype.itemsize)
        """,
        NUMBA_CPU_NAME=name,
        NUMBA_CPU_FEATURES=features,
        NUMBASGD_CACHE_DIR=str(tmp_path),
        NUMBASGD_NUM_THREADS="2",
    )
    if "another" in printed:
        pytest.skip("these CPU names are those of x86")
    compiled, has_vectors, width = printed.split()
    assert int(compiled) > (30 if which == "cases" else 5)
    assert has_vectors == "True"
    assert width == ("16" if lesser == "sse" else "32")
