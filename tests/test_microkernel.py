"""The micro-kernels, one by one, against plain loops; nothing outside the tile is touched."""

import itertools

import numpy as np
import pytest
from numba import types

from numbasgd.machine import cpu
from numbasgd.matmul.gemm import dot_kernels, microkernel, packing, transpose_kernels
from numbasgd.matmul.gemm.operands import compiled

MACHINE = cpu.host()
BASE = 0 if MACHINE.has_fma else microkernel.NO_FMA
DTYPES = {"f32": np.float32, "f64": np.float64}
PAD = 64
BY_COLUMNS = transpose_kernels.COLUMN_MAJOR_B
WAYS = (0, BY_COLUMNS, BY_COLUMNS | transpose_kernels.COLUMN_MAJOR_C)


def lanes_of(dtype):
    return MACHINE.vector // np.dtype(dtype).itemsize


def make_tile(SIZE, LANES, MR, NV, HOW):
    def one_tile(a, rsa, csa, b, rsb, c, rsc, k, mr, nr, acc):
        microkernel.tile(SIZE, LANES, MR, NV, HOW, a, rsa, csa, b, rsb, c, rsc, k, mr, nr, acc)

    function = compiled(one_tile, SIZE, LANES, MR, NV, HOW)
    function.compile((types.intp,) * 11)
    return function


def padded(rng, shape, dtype, aligned=64):
    """An array inside a larger one that is full of NaN, its rows PAD numbers apart, and the larger one."""
    m, n = shape
    pitch = -(-(n + PAD) // 16) * 16
    raw = np.full((m + 2) * pitch * 2 + aligned, np.nan, dtype)
    start = (-raw.ctypes.data % aligned) // raw.itemsize + pitch
    view = raw[start : start + m * pitch].reshape(m, pitch)[:, :n]
    view[...] = rng.standard_normal(shape)
    return view, raw


def check(found, A, B, old, acc):
    u = np.finfo(found.dtype).eps / 2
    k = A.shape[1] + 1
    expected, size = A.astype("g") @ B.astype("g"), np.abs(A).astype("g") @ np.abs(B).astype("g")
    if acc:
        expected, size = expected + old, size + np.abs(old)
    assert np.all(np.abs(found - expected) <= 2 * k * u / (1 - k * u) * size)


def run_tile(dtype, MR, NV, how, mr, nr, k, acc, rng, columns_of_A=False):
    L, size = lanes_of(dtype), np.dtype(dtype).itemsize
    function = make_tile(size, L, MR, NV, how | BASE)
    rows = MR if how & microkernel.PACKED_A else mr
    A, _ = padded(rng, (k, rows) if columns_of_A else (rows, k), dtype)
    A = A.T if columns_of_A else A
    B, _ = padded(rng, (k, nr), dtype)
    turned = bool(how & microkernel.TRANSPOSED_C)
    C, raw = padded(rng, (nr, mr) if turned else (mr, nr), dtype)
    old, outside = C.copy(), raw.copy()
    a, b = A, B
    if how & microkernel.PACKED_A:
        a = np.ascontiguousarray(A.T)
    if how & microkernel.PACKED_B:
        b, _ = padded(rng, (1, k * NV * L), dtype)
        b.reshape(k, NV * L)[:, :nr] = B
        b.reshape(k, NV * L)[:, nr:] = 7
    function(
        a.ctypes.data, A.strides[0], A.strides[1], b.ctypes.data, B.strides[0],
        C.ctypes.data, C.strides[0], k, mr, nr, acc,
    )  # fmt: skip
    check(C.T if turned else C, A[:mr], B, old.T if turned else old, acc)
    C[...] = old
    np.testing.assert_array_equal(raw, outside, err_msg="something outside the tile was written")


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
class TestTile:
    @pytest.mark.parametrize("acc", [0, 1])
    @pytest.mark.parametrize("k", [0, 1, 7])
    def test_masked_last_vector(self, dtype, k, acc, rng):
        L = lanes_of(dtype)
        for nr in (L + 1, 2 * L - 1, 2 * L):
            run_tile(dtype, 5, 2, microkernel.MASKED, 5, nr, k, acc, rng)

    @pytest.mark.parametrize("acc", [0, 1])
    def test_overlapping_last_vector(self, dtype, acc, rng):
        L = lanes_of(dtype)
        for nr in (L, L + 1, 2 * L - 1, 2 * L):
            run_tile(dtype, 4, 2, microkernel.OVERLAP, 4, nr, 9, acc, rng)

    @pytest.mark.parametrize("columns_of_A", [False, True])
    def test_every_height(self, dtype, columns_of_A, rng):
        for mr in range(1, 8):
            how = microkernel.HEIGHTS | microkernel.MASKED
            run_tile(dtype, 7, 1, how, mr, 3, 5, 0, rng, columns_of_A)

    def test_every_width(self, dtype, rng):
        L = lanes_of(dtype)
        for nr in (1, L - 1, L, L + 1, 2 * L, 3 * L - 1, 3 * L):
            run_tile(dtype, 3, 3, microkernel.WIDTHS | microkernel.MASKED, 3, nr, 6, 1, rng)

    @pytest.mark.parametrize("acc", [0, 1])
    def test_packed(self, dtype, acc, rng):
        L = lanes_of(dtype)
        both = microkernel.PACKED_A | microkernel.PACKED_B
        of_C, of_B = microkernel.PREFETCH_C, microkernel.PREFETCH_NEXT_B
        run_tile(dtype, 6, 2, both | of_C, 6, 2 * L, 11, acc, rng)
        run_tile(dtype, 6, 2, both | of_C | of_B, 6, 2 * L, 11, acc, rng)
        run_tile(dtype, 6, 2, both | of_B, 6, 2 * L, 0, acc, rng)
        for mr, nr in [(1, 1), (6, 1), (5, L + 1), (6, 2 * L)]:
            run_tile(dtype, 6, 2, both | microkernel.EDGE, mr, nr, 11, acc, rng)

    @pytest.mark.parametrize("acc", [0, 1])
    def test_turned(self, dtype, acc, rng):
        L = lanes_of(dtype)
        for nr in (L + 1, 2 * L):
            run_tile(dtype, L - 1, 2, microkernel.TRANSPOSED_C | microkernel.MASKED, L - 1, nr, 5, acc, rng)
        run_tile(dtype, L, 1, microkernel.TRANSPOSED_C, L, L, 5, acc, rng)

    def test_two_chains(self, dtype, rng):
        run_tile(dtype, 4, 1, microkernel.TWO_CHAINS | microkernel.MASKED, 4, 1, 10, 0, rng)

    def test_past_the_cache(self, dtype, rng):
        run_tile(dtype, 4, 2, microkernel.NON_TEMPORAL, 4, 2 * lanes_of(dtype), 3, 0, rng)

    @pytest.mark.skipif(MACHINE.vector != 64, reason="only where halves of vectors cost half")
    @pytest.mark.parametrize("acc", [0, 1])
    def test_half_vector(self, dtype, acc, rng):
        L = lanes_of(dtype)
        for nr in (L + 1, L + L // 2):
            run_tile(dtype, 5, 2, microkernel.HALF | microkernel.MASKED, 5, nr, 7, acc, rng)
        for nr in (1, L // 2):
            run_tile(dtype, 5, 1, microkernel.HALF | microkernel.MASKED, 5, nr, 7, acc, rng)

    def test_the_same_bits_in_any_tile(self, dtype, rng):
        """The sum of an entry does not depend on the tile that it lies in."""
        L, size = lanes_of(dtype), np.dtype(dtype).itemsize
        A, B = rng.standard_normal((6, 50)).astype(dtype), rng.standard_normal((50, L)).astype(dtype)
        results = []
        for MR in (1, 2, 6):
            function = make_tile(size, L, MR, 1, BASE)
            C = np.full((6, L), np.nan, dtype)
            for i in range(0, 6, MR):
                function(
                    A[i:].ctypes.data, *A.strides, B.ctypes.data, B.strides[0],
                    C[i:].ctypes.data, C.strides[0], 50, MR, L, 0,
                )  # fmt: skip
            results.append(C)
        assert (results[0] == results[1]).all()
        assert (results[0] == results[2]).all()

    def test_plain_twin(self, dtype, rng):
        A, B, old = (rng.standard_normal(s).astype(dtype) for s in ((3, 4), (4, 5), (3, 5)))
        for acc in (0, 1):
            C = old.copy()
            microkernel.plain_tile(A, B, C, acc)
            check(C, A, B, old, acc)

    @pytest.mark.parametrize("how", [0, dot_kernels.PADDED])
    @pytest.mark.parametrize("acc", [0, 1])
    def test_dots(self, dtype, how, acc, rng):
        L, size = lanes_of(dtype), np.dtype(dtype).itemsize
        R, N, HOW = 3, min(L, 5), how | BASE

        def some_dots(a, rsa, w, rsw, c, rsc, k, acc):
            dot_kernels.dots(size, L, R, N, HOW, a, rsa, w, rsw, c, rsc, k, acc)

        function = compiled(some_dots, size, how)
        for k in (1, L - 1, L, 3 * L + 1):
            A, _ = padded(rng, (R, k), dtype)
            W, _ = padded(rng, (N, -(-k // L) * L if how else k), dtype)
            W[:, k:] = 0
            C, raw = padded(rng, (R, N), dtype)
            old, outside = C.copy(), raw.copy()
            function(
                A.ctypes.data, A.strides[0], W.ctypes.data, W.strides[0], C.ctypes.data, C.strides[0], k, acc
            )
            check(C, A, W[:, :k].T, old, acc)
            C[...] = old
            np.testing.assert_array_equal(raw, outside)

    @pytest.mark.parametrize("how", [0, transpose_kernels.PARTIAL_ROWS])
    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("acc", [0, 1])
    def test_across(self, dtype, how, way, acc, rng):
        L, size = lanes_of(dtype), np.dtype(dtype).itemsize
        HOW = how | way | BASE
        for N in (1, 16 // size, 7):

            def some_rows(a, rsa, b, rsb, c, rsc, rows, k, acc, N=N):
                transpose_kernels.transpose_on_load(size, L, N, HOW, a, rsa, b, rsb, c, rsc, rows, k, acc)

            function = compiled(some_rows, size, N, how)
            for rows, k in itertools.product({1, L - 1, L} if how else {L}, (1, 3, 4, 13)):
                A, _ = padded(rng, (rows, k), dtype)
                B, _ = padded(rng, (N, k) if way else (k, N), dtype)
                C, raw = padded(rng, (N, rows) if way & transpose_kernels.COLUMN_MAJOR_C else (rows, N), dtype)
                old, outside = C.copy(), raw.copy()
                places = (X for M in (A, B, C) for X in (M.ctypes.data, M.strides[0]))
                function(*places, rows, k, acc)
                if way & transpose_kernels.COLUMN_MAJOR_C:
                    check(C.T, A, B.T, old.T, acc)
                else:
                    check(C, A, B.T if way else B, old, acc)
                C[...] = old
                np.testing.assert_array_equal(raw, outside)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
class TestPacking:
    @pytest.mark.parametrize("width", [6, 8, 12, 32])
    def test_panels(self, dtype, width, rng):
        L, size = lanes_of(dtype), np.dtype(dtype).itemsize

        def copy(source, stride, panel, w, k):
            packing.pack_copy(size, L, width, source, stride, panel, w, k)

        def transpose(source, stride, panel, w, k):
            packing.pack_transpose(size, L, width, source, stride, panel, w, k)

        def gather(source, stride, stride_p, panel, w, k):
            packing.pack_gather(size, width, source, stride, stride_p, panel, w, k)

        copy, transpose, gather = (compiled(f, size, width) for f in (copy, transpose, gather))
        for w in {1, width - 1, width}:
            for k in (1, L - 1, L, 2 * L + 3):
                block, _ = padded(rng, (w, k), dtype)
                turned, _ = padded(rng, (k, w), dtype)
                turned[...] = block.T
                to, raw = padded(rng, (1, width * k + L), dtype)
                before = raw.copy()
                for pack in (
                    lambda p, b=block, w=w, k=k: transpose(b.ctypes.data, b.strides[0], p, w, k),
                    lambda p, t=turned, w=w, k=k: copy(t.ctypes.data, t.strides[0], p, w, k),
                    lambda p, b=block, w=w, k=k: gather(b.ctypes.data, *b.strides, p, w, k),
                ):
                    to[...] = 0
                    pack(to.ctypes.data)
                    panel = to[0, : width * k].reshape(k, width)
                    np.testing.assert_array_equal(panel[:, :w], block.T)
                    assert np.isfinite(panel).all(), "padding that could slow a kernel down, or trap"
                    outside = raw.copy()
                    start = (to.ctypes.data - raw.ctypes.data) // size
                    outside[start : start + to.size] = before[start : start + to.size]
                    np.testing.assert_array_equal(outside, before, err_msg="written outside the panel")

    def test_turn_and_add(self, dtype, rng):
        L, size = lanes_of(dtype), np.dtype(dtype).itemsize
        N = min(L, 5)

        def transpose(b, rsb, w, rsw, k):
            dot_kernels.transpose_padded(size, L, N, b, rsb, w, rsw, k)

        def add(source, to, count):
            packing.add_numbers(size, L, source, to, count)

        transpose, add = compiled(transpose, size), compiled(add, size)
        for k in (1, L, 2 * L + 1):
            B, _ = padded(rng, (k, N), dtype)
            W, _ = padded(rng, (N, -(-k // L) * L), dtype)
            transpose(B.ctypes.data, B.strides[0], W.ctypes.data, W.strides[0], k)
            np.testing.assert_array_equal(W[:, :k], B.T)
            assert not W[:, k:].any()
            x, _ = padded(rng, (1, k), dtype)
            y, raw = padded(rng, (1, k), dtype)
            expected, outside = x + y, raw.copy()
            add(x.ctypes.data, y.ctypes.data, k)
            np.testing.assert_array_equal(y, expected)
            y[...] = outside[np.flatnonzero(~np.isnan(outside))].reshape(1, -1)
            np.testing.assert_array_equal(raw, outside)


pytestmark = pytest.mark.slow  # left out by default, and run in CI
