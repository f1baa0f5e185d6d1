"""``packed``: every variant is the product, inside its arrays, and takes any layout without a copy."""

import numba
import numpy as np
import pytest
import variant_cases
from child import run_python
from hypothesis import given, settings
from hypothesis import strategies as st
from test_matmul import assert_product

import numbasgd
from numbasgd import kernels, matmul, rawmem
from numbasgd.matmul.gemm import dispatch, parallel

DTYPES = ("float32", "float64")
# By default one function of each variant is compiled, in one dtype; all of them with -m slow.
ONE_OR_EVERY = pytest.mark.parametrize(
    ("dtype", "which"),
    [
        ("float32", "one_of_each"),
        *(pytest.param(dtype, "functions", marks=pytest.mark.slow) for dtype in DTYPES),
    ],
)
EVERY = [
    pytest.param(
        dtype,
        number,
        id=variant_cases.name_of(dtype, number),
        marks=() if dtype == "float32" and number in variant_cases.one_of_each(dtype) else pytest.mark.slow,
    )
    for dtype in DTYPES
    for number in variant_cases.functions(dtype)
]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_function_has_a_case(dtype):
    """Whatever ``select`` can return is tested below."""
    left_out = set(variant_cases.functions(dtype)) - set(variant_cases.cases(dtype))
    assert not left_out, [variant_cases.name_of(dtype, number) for number in left_out]


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_column_of_a_transpose(dtype, rng):
    """It is a row times the rows of A.T, unless ``out`` is a column among others."""
    for m, k in ((1, 1), (2, 1), (1, 3), (37, 70), (784, 300), (300, 5000)):
        A, b = rng.random((k, m)).astype(dtype), rng.random((k, 1)).astype(dtype)
        whole = np.full((m, 3), 7, dtype)
        expected = A.T.astype("f8") @ b.astype("f8")
        for out in (np.full((m, 1), np.nan, dtype), whole[:, 1:2], np.full((1, m), np.nan, dtype).T):
            matmul(A.T, b, out=out)
            np.testing.assert_allclose(out, expected, rtol=1e-4)
            matmul(A.T, np.repeat(b, 2, 1)[:, :1], out=out)
            np.testing.assert_allclose(out, expected, rtol=1e-4)
        assert (whole[:, [0, 2]] == 7).all()


@pytest.mark.parametrize(("dtype", "number"), EVERY)
def test_every_function_of_every_variant(dtype, number, rng):
    """Right, nothing outside ``out`` written, and the same bits for a part of C as for the whole."""
    for m, n, k, layout, proposal in variant_cases.cases(dtype)[number]:
        A, B = variant_cases.operands(m, n, k, layout, dtype, rng)
        whole = np.full((m + 2, n), np.nan, dtype)
        out = whole[1:-1]
        variant_cases.run(A, B, out, proposal)
        assert_product(out, A, B)
        assert np.isnan(whole[[0, -1]]).all()


@ONE_OR_EVERY
def test_parts_of_c_have_the_bits_of_the_whole(dtype, which, rng):
    """Cut as for two and three threads, whatever the product is worth; no part writes beside its columns."""
    table = dispatch.products[np.dtype(dtype)]
    table._compile(dispatch._SHARE_PLEASE)
    share = parallel.make_share(table.gemm)
    part = int(table.words[dispatch._PART // 8])
    for number in getattr(variant_cases, which)(dtype):
        function = rawmem.address_of_compiled(table.function(number))
        for m, n, k, layout, proposal in variant_cases.cases(dtype)[number]:
            A, B = variant_cases.operands(m, n, k, layout, dtype, rng)
            lanes = table.gemm.tiles.lanes
            room = np.full((m, n + 2 * lanes), np.nan, dtype)
            one, several = np.full((m, n), np.nan, dtype), room[:, lanes:-lanes]
            variant_cases.run(A, B, one, proposal)
            a, b, c, sizes, *_ = variant_cases.arguments(A, B, several, proposal)
            task = parallel.Task(function, a, b, c, sizes, 0, proposal.blocks, 0, parallel.Grid(1, m, n, k, 0))
            packer = 0
            if proposal.packer >= 0:
                packer = rawmem.address_of_compiled(table.function(proposal.packer))
            for n_threads in (2, 3):
                room.fill(np.nan)
                share(task, proposal.cut, parallel.Shared(part, packer, n_threads))
                np.testing.assert_array_equal(several, one, err_msg=f"{m} {n} {k} {layout} {n_threads}")
                assert np.isnan(room[:, :lanes]).all() and np.isnan(room[:, -lanes:]).all()


@pytest.mark.parametrize("layout", variant_cases.LAYOUTS)
def test_an_out_with_contiguous_columns(layout, rng):
    """Computed as B.T @ A.T."""
    for m, n, k in ((7, 50, 33), (50, 7, 33), (60, 70, 80)):
        A, B = variant_cases.operands(m, n, k, layout, "float32", rng)
        assert_product(matmul(A, B, out=np.full((n, m), np.nan, "f4").T), A, B)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_random_products(data):
    check_random(data)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(data=st.data())
def test_a_thousand_random_products(data):
    check_random(data)


def check_random(data):
    sides = st.one_of(st.integers(0, 20), st.integers(20, 140), st.sampled_from([256, 300, 512]))
    m, n, k = (data.draw(sides) for _ in range(3))
    dtype = data.draw(st.sampled_from(DTYPES))
    layout = data.draw(st.sampled_from(variant_cases.LAYOUTS))
    threads = data.draw(st.sampled_from([None, 1, 2, 3]))
    out_layout = data.draw(st.sampled_from(["none", "C", "F", "strided", "reversed"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    A, B = variant_cases.operands(m, n, k, layout, dtype, rng)
    if data.draw(st.booleans()):
        A = A[::-1]
    if data.draw(st.booleans()):
        B = B[:, ::-1]
    if data.draw(st.booleans()) and A.size:  # numbers that differ by many orders
        A[0] *= np.asarray(2.0**40, dtype)
    if data.draw(st.booleans()):
        A.flags.writeable = False
    out = {
        "none": None,
        "C": np.full((m, n), np.nan, dtype),
        "F": np.full((n, m), np.nan, dtype).T,
        "strided": np.full((m, 2 * n), np.nan, dtype)[:, ::2],
        "reversed": np.full((m, n), np.nan, dtype)[::-1],
    }[out_layout]
    assert_product(matmul(A, B, out=out, threads=threads), A, B)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_long_sums_are_cut_the_same_way_for_any_number_of_threads(dtype, rng):
    for m, n, k, layout in [
        (20, 10, 50_001, "A"),
        (3, 2, 70_000, ""),
        (30, 20, 20_000, "AB"),
        (1, 1, 10**5, ""),
    ]:
        assert numbasgd.matmul_plan(m, n, k, dtype).k_pieces > 1
        A, B = variant_cases.operands(m, n, k, layout, dtype, rng)
        one = matmul(A, B, threads=1)
        assert_product(one, A, B)
        for threads in (2, 3):
            np.testing.assert_array_equal(matmul(A, B, threads=threads), one)


@ONE_OR_EVERY
def test_nan_and_inf_in_every_variant(dtype, which, rng):
    for number in getattr(variant_cases, which)(dtype):
        for m, n, k, layout, proposal in variant_cases.cases(dtype)[number]:
            A, B = variant_cases.operands(m, n, k, layout, dtype, rng)
            A[m // 2, k // 2] = np.nan
            B[k - 1, n - 1] = np.inf
            A[0, k - 1] = 0  # 0 * inf
            with np.errstate(invalid="ignore"):
                expected = A.astype("f8") @ B.astype("f8")
            found = np.zeros((m, n), dtype)
            variant_cases.run(A, B, found, proposal)
            np.testing.assert_array_equal(np.isnan(found), np.isnan(expected), err_msg=f"{m} {n} {k} {layout}")
            np.testing.assert_array_equal(np.isinf(found), np.isinf(expected), err_msg=f"{m} {n} {k} {layout}")


@ONE_OR_EVERY
def test_no_variant_leaves_its_arrays(dtype, which):
    """Arrays that end, or begin, at a page that nobody may touch; one thread and two."""
    run_python(
        f"""
        import numbasgd, numpy as np, variant_cases
        from guard import guarded
        dtype = np.dtype({dtype!r})
        def place(shape, layout, at_end):
            array = guarded(shape[::-1] if layout else shape, dtype, at_end=at_end)
            return array.T if layout else array
        for number in variant_cases.{which}(dtype.name):
            for m, n, k, layout, proposal in variant_cases.cases(dtype.name)[number]:
                if layout == "strided":
                    continue
                for at_end in (True, False):
                    A, B = place((m, k), "A" in layout, at_end), place((k, n), "B" in layout, at_end)
                    C = place((m, n), False, at_end)
                    A[:], B[:], C[:] = 1, 2, np.nan
                    variant_cases.run(A, B, C, proposal)
                    assert (C == 2 * k).all(), (m, n, k, layout)
        cases = [(33, 49, 300, ""), (65, 1, 70, ""), (13, 520, 529, ""), (1, 70, 65, "B"), (65, 1, 70, "A")]
        if {which!r} == "functions":
            cases += [(33, 5000, 40, ""), (17, 31, 20001, "A"), (257, 131, 517, "B")]
        for m, n, k, layout in cases:
            for at_end in (True, False):
                A, B = place((m, k), "A" in layout, at_end), place((k, n), "B" in layout, at_end)
                A[:], B[:] = 1, 2
                for is_transposed in (False, True):
                    C = place((m, n), is_transposed, at_end)
                    for threads in (1, 2):
                        C[:] = np.nan
                        numbasgd.matmul(A, B, out=C, threads=threads)
                        assert (C == 2 * k).all(), (m, n, k, layout)
        """,
        NUMBASGD_NUM_THREADS="2",
    )


def test_nothing_is_copied_and_workspaces_are_kept(rng):
    """A product of large operands in any layout takes no memory but a bounded workspace."""
    import tracemalloc

    A, B = rng.random((700, 600)), rng.random((800, 600))
    out = np.empty((600, 600))
    left, right = A.T[:, :600], B[100:700].T
    matmul(left, right[:600], out=out)
    tracemalloc.start()
    try:
        for _ in range(3):
            matmul(left, right[:600], out=out)
        assert tracemalloc.get_traced_memory()[1] < 20_000
    finally:
        tracemalloc.stop()
    np.testing.assert_allclose(out, left @ right[:600])
    assert all(p.gemm.scratch_bytes < 32 << 20 for p in dispatch.products.values())


def test_views_of_one_array_that_interleave_are_not_refused(rng):
    whole = rng.random((40, 64))
    A, out = whole[:, :32], whole[:, 32:]
    B = rng.random((32, 32))
    expected = A @ B
    np.testing.assert_allclose(matmul(A, B, out=out), expected)
    with pytest.raises(ValueError, match="out shares memory with A"):
        matmul(A, B, out=whole[:, 16:48])


@pytest.mark.parametrize("dtypes", [DTYPES[:1], pytest.param(DTYPES[1:], marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize("is_cold", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_compiled_code_can_call_it(dtypes, is_cold, tmp_path):
    """From a user's own function, in a cache of the user's own, in a process that compiled nothing else."""
    (tmp_path / "mine.py").write_text(
        "import numba, numpy as np\n"
        "from numbasgd import kernels\n"
        "@numba.njit(cache=True)\n"
        "def twice(A, B, out):\n"
        "    kernels.matmul(A, B, out)\n"
        "    kernels.matmul(A.T, out, B)\n"
    )
    code = """
        import numpy as np, mine
        rng = np.random.default_rng(0)
        for dtype in DTYPES:
            A, B = rng.random((40, 30)).astype(dtype), rng.random((30, 50)).astype(dtype)
            expected = A.T @ (A @ B)
            out = np.empty((40, 50), dtype)
            mine.twice(A, B, out)
            assert np.allclose(B, expected, rtol=1e-4)
        print(sum(mine.twice.stats.cache_hits.values()))
    """.replace("DTYPES", repr(dtypes))
    cold = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "NUMBASGD_CACHE_DIR": None}
    env = cold if is_cold else {"NUMBA_CACHE_DIR": None}  # else the user's function is kept beside its file
    counts = [run_python(code, cwd=tmp_path, **env) for _ in range(2)]
    assert [c.strip() for c in counts] == ["0", "1"]


def test_compiled_code_is_told_of_an_out_that_cannot_be_written():
    @numba.njit
    def product(A, out):
        kernels.matmul(A, A, out)

    A, out = np.ones((4, 4)), np.full((8, 8), 7.0)
    with pytest.raises(ValueError, match="out has neither rows nor columns that are contiguous; expected"):
        product(A, out[::2, ::2])
    assert (out == 7).all()
    product(A, out[::2, :4])
    assert (out[::2, :4] == 4).all()


@pytest.mark.slow
def test_the_next_process_compiles_nothing(tmp_path):
    code = """
        import numpy as np, numbasgd
        from numbasgd.matmul.gemm import dispatch
        for n in (16, 70, 700):
            A = np.ones((n, n), np.float32)
            numbasgd.matmul(A, A, threads=2)
            numbasgd.matmul(A, A)
        product = dispatch.products[A.dtype]
        seen = [product.dispatch, *product.compiled.values()]
        for counts in ("cache_hits", "cache_misses"):
            print(sum(sum(getattr(f.stats, counts).values()) for f in seen))
    """
    first, second = (
        run_python(code, NUMBASGD_CACHE_DIR=str(tmp_path), NUMBA_CACHE_DIR=None).split() for _ in range(2)
    )
    assert int(first[1]) >= 5  # dispatch, three variants and what shares their work
    assert second == [first[1], "0"]


@pytest.mark.parametrize("n_threads", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("MC, multiple", [(132, 12), (84, 12), (120, 8), (8, 8)])
def test_parts_of_rows_leave_no_thread_with_much_more_than_its_share(n_threads, MC, multiple):
    for m in (1, 7, 96, 256, 500, 512, 768, 1000, 1024, 2048, 3001):
        rows = parallel._even_rows(m, n_threads, MC, multiple)
        assert rows == min(rows // multiple, -(-m // multiple)) * multiple > 0
        parts = [min(rows, m - i) for i in range(0, m, rows)]
        loads = [0] * n_threads
        for part in parts:  # the next part goes to who is done first
            loads[loads.index(min(loads))] += part
        assert max(loads) <= max(multiple, 1.06 * -(-m // n_threads) + multiple)
        assert len(parts) <= max(n_threads, 3 * -(-m // MC))  # each reads all of B once more
