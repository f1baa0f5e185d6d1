"""The choice of a variant and its blocks: pure, within its limits, right for machines wide and narrow."""

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import variant_cases
from child import run_python
from machines import EMERALD_RAPIDS, MACHINES

import numbasgd
from numbasgd.matmul.gemm import plan, variants
from numbasgd.matmul.gemm.few_rows import scratch_bytes

K = 1 << 10
SWEEP = Path(__file__).with_name("data") / "emerald-rapids-sweep.json"


@pytest.fixture(params=MACHINES)
def machine(request):
    return MACHINES[request.param]


@pytest.fixture(params=[4, 8])
def gemm(machine, request):
    return plan.Gemm(variants.Tiles(machine, request.param))


def test_tiles_fit_into_the_registers(gemm):
    R = gemm.tiles.machine.registers
    for function in gemm.functions:
        MR, NV = function.variant.tile(gemm.tiles, function.width)
        assert MR >= 1
        assert NV >= 1
        name = function.variant.name
        if name.startswith("inner-product"):
            assert MR * -(-function.width // -(-function.width // min(gemm.tiles.lanes, 14))) + 1 <= R
        else:
            assert MR * NV <= R - (name != "transposed-a"), (name, function.width, MR, NV)


@pytest.mark.parametrize("layout", variant_cases.LAYOUTS)
def test_every_proposal_keeps_its_limits(gemm, layout):
    """Those of every variant, chosen or not: sizes within scratch memory, operands as loops need them."""
    size, tiles = gemm.tiles.size, gemm.tiles
    for m, n, k in itertools.product((1, 3, 8, 16, 33, 200, 3000, 10**6), repeat=3):
        product = variant_cases.product(m, n, k, layout, size)
        found = gemm.propose(product)
        assert found, "no variant computes it"
        for proposal in found:
            function = gemm.functions[proposal.function]
            name, blocks, cut = function.variant.name, proposal.blocks, proposal.cut
            assert not function.is_packer
            assert function.width in function.variant.widths(tiles)
            assert 0 < proposal.cycles < variants.NEVER
            assert blocks.KC >= 1
            if proposal.packer >= 0:
                packer = gemm.functions[proposal.packer]
                assert (packer.variant, packer.width, packer.is_packer) == (
                    function.variant,
                    function.width,
                    True,
                )
                MR, NV = function.variant.tile(tiles, function.width)
                NR = NV * tiles.lanes
                assert blocks.MC >= MR
                assert blocks.MC % MR == 0
                assert blocks.NC >= NR
                assert blocks.KC * blocks.MC * size + tiles.machine.vector <= tiles.packed_a_bytes
                assert blocks.KC * (blocks.NC + NR) * size <= gemm.sums_at - tiles.packed_a_bytes
            elif name.startswith("few-rows"):
                MR, NV = function.variant.tile(tiles, function.width)
                held = scratch_bytes(size, tiles.lanes, MR, NV, blocks.MC, blocks.KC)
                assert held <= gemm.sums_at
            elif proposal.has_scratch:
                assert n * blocks.ld + tiles.machine.vector <= tiles.packed_a_bytes
                assert blocks.ld >= blocks.KC * size
            else:
                assert product.csb == size or product.rsb == size or name in ("transposed-a",)
            if cut.least > 1:
                assert m >= cut.least
            assert not (cut.rows and cut.columns), "cut one way"


def test_select_takes_the_least_and_knows_no_variant(machine):
    """Without one variant the next best is chosen; with one more that costs nothing, that one."""
    gemm = plan.Gemm(variants.Tiles(machine, 4))
    products = [plan.product_of(m, n, k, 4) for m, n, k in ((64, 64, 64), (128, 10, 784), (1000, 1000, 1000))]
    for product in products:
        best, runner_up, *_ = gemm.propose(product)
        name = gemm.functions[best.function].variant.name
        without = plan.Gemm(gemm.tiles, tuple(v for v in variants.VARIANTS if v.name != name))
        found = without.propose(product)[0]
        assert found.cycles == runner_up.cycles
        assert without.functions[found.function].variant.name != name
        assert gemm.select(product) == best

    def make_propose(tiles, model, first):
        return lambda product: best._replace(cycles=1.0, function=first)

    free = dataclasses.replace(variants.VARIANTS[0], name="free", make_propose=make_propose)
    more = plan.Gemm(gemm.tiles, (*variants.VARIANTS, free))
    assert more.functions[more.propose(products[0])[0].function].variant.name == "free"


def test_longer_sums_and_larger_products_never_cost_less(gemm):
    """An estimate that falls where work is added would be a slip in a formula."""
    for layout in ("", "A", "B"):
        for m, n in ((4, 300), (300, 4), (50, 70), (500, 500)):
            costs = []
            for k in (16, 64, 256, 1024, 4096):
                product = variant_cases.product(m, n, k, layout, gemm.tiles.size)
                costs.append(gemm.propose(product)[0].cycles)
            assert costs == sorted(costs), (layout, m, n)


def test_nobody_promises_more_than_the_peak(gemm):
    for m, n, k, layout in itertools.product(
        (1, 7, 40, 600), (1, 9, 64, 700), (1, 33, 900), ("", "A", "B", "AB")
    ):
        transposed = "A" in layout, "B" in layout
        assert 0 < plan.plan_of(gemm, m, n, k, transposed, 1).share_of_peak <= 1, (m, n, k, layout)


def test_the_choice_on_a_recorded_sweep():
    """Two variants on 90 products of an Emerald Rapids: as good as the better of the two, or nearly."""
    recorded = json.loads(SWEEP.read_text())
    names = ("unpacked", "packed")
    two = tuple(v for v in variants.VARIANTS if v.name in names)
    gemms = {
        dtype: plan.Gemm(variants.Tiles(EMERALD_RAPIDS, np.dtype(dtype).itemsize), two)
        for dtype in ("float32", "float64")
    }
    slower = []
    for dtype, m, k, n, *speeds, _ in recorded["rows"]:
        gemm = gemms[dtype]
        best = gemm.propose(plan.product_of(m, n, k, gemm.tiles.size))[0]
        chosen = gemm.functions[best.function].variant.name
        slower.append(max(speeds) / speeds[names.index(chosen)])
    assert len(slower) == 90
    assert np.percentile(slower, 95) <= 1.10
    assert max(slower) <= 1.25


def test_k_is_split_into_pieces_that_do_not_depend_on_threads():
    assert plan.k_pieces(10, 10, 1000, 4) == 1
    assert plan.k_pieces(10, 10, 10**6, 4) == 16
    assert plan.k_pieces(1000, 1000, 10**6, 4) == 1


def test_a_plan_says_what_and_why():
    zen4 = plan.Gemm(variants.Tiles(MACHINES["zen4"], 4))
    found = plan.plan_of(zen4, 1000, 1000, 1000, (False, False), 2)
    assert (found.variant, found.MR, found.NR, found.KC, found.threads) == ("packed", 12, 32, 500, 2)
    assert found.KC * found.MC * 4 <= 256 * K
    assert found.runner_up != "packed"
    assert found.slower >= 1
    assert plan.plan_of(zen4, 6, 2048, 2048, (False, False), 2).variant == "skinny-m"
    assert plan.plan_of(zen4, 16, 16, 16, (False, False), 2).threads == 1
    assert plan.plan_of(zen4, 0, 16, 16, (False, False), 2).variant == "none"
    assert plan.plan_of(zen4, 20, 10, 10**6, (True, False), 2).k_pieces == 16
    mine = numbasgd.matmul_plan(64, 10, 784)
    assert mine.why == {v.name: v.why for v in variants.VARIANTS}[mine.variant]
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
    [
        pytest.param("one_of_each", marks=pytest.mark.slow),
        pytest.param("functions", marks=pytest.mark.exhaustive(of=12)),
    ],
)
@pytest.mark.parametrize("lesser", LESSER)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_lesser_cpu_gets_its_own_tiles(lesser, dtype, which, tmp_path):
    """One function of each variant, or all, compiled for narrower registers, and none wider in the assembly."""
    name, features, forbidden = LESSER[lesser]
    printed = run_python(
        f"""
        import platform, sys
        if platform.machine() not in ("x86_64", "AMD64"):
            print("another architecture"); sys.exit()
        import numpy as np, numbasgd, variant_cases
        from numbasgd.matmul.gemm import dispatch
        dtype = np.dtype({dtype!r})
        rng = np.random.default_rng(0)
        product = dispatch.products[dtype]
        for number in variant_cases.{which}(dtype.name):
            for m, n, k, layout, proposal in variant_cases.cases(dtype.name)[number]:
                A, B = variant_cases.operands(m, n, k, layout, dtype, rng)
                out = np.full((m, n), np.nan, dtype)
                variant_cases.run(A, B, out, proposal)
                bound = 2 * k * np.finfo(dtype).eps * (np.abs(A) @ np.abs(B)).max()
                assert np.abs(out - A.astype("f8") @ B.astype("f8")).max() <= bound, (number, m, n, k, layout)
        A = rng.standard_normal((70, 300)).astype(dtype)
        assert np.allclose(numbasgd.matmul(A.T, A, threads=2), A.T.astype("f8") @ A, rtol=1e-3, atol=1e-3)
        seen = 0
        for path, function in product.compiled.items():
            for text in function.inspect_asm().values():
                assert {forbidden!r} not in text, path
                seen += text.count("xmm") + text.count("ymm")
        print(len(product.compiled), seen > 1000, product.gemm.tiles.lanes * dtype.itemsize)
        """,
        NUMBA_CPU_NAME=name,
        NUMBA_CPU_FEATURES=features,
        NUMBASGD_CACHE_DIR=str(tmp_path),
        NUMBASGD_NUM_THREADS="2",
    )
    if "another" in printed:
        pytest.skip("these CPU names are those of x86")
    compiled, has_vectors, width = printed.split()
    assert int(compiled) > (30 if which == "functions" else 5)
    assert has_vectors == "True"
    assert width == ("16" if lesser == "sse" else "32")
