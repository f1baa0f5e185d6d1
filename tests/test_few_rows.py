"""Few rows times a large B: the product and nothing beside it, whatever the edges, blocks and layouts."""

import numpy as np
import pytest
from guard import guarded

from numbasgd.machine import cpu
from numbasgd.matmul.gemm import few_rows, microkernel
from numbasgd.matmul.gemm.operands import LOOPS, Blocks, Matrix, Scratch, Sizes, compiled

# Vector bytes, MR and NV of a tile: what the host has, and shorter vectors that it has as well.
MACHINE = cpu.host()
BASE = 0 if MACHINE.has_fma else microkernel.NO_FMA
TILES = {
    f"{bytes_}B-{MR}x{NV}": (bytes_, MR, NV)
    for bytes_, MR, NV in ((64, 14, 2), (32, 6, 2), (16, 6, 2))
    if bytes_ <= MACHINE.vector
}
# One vector length in one dtype by default; every one in both with -m slow.
BUILDS = [
    pytest.param(dtype, *TILES[name], id=f"{name}-{dtype}", marks=() if is_first else pytest.mark.slow)
    for number, name in enumerate(TILES)
    for dtype, is_first in (("float32", number == 0), ("float64", False))
]


@pytest.fixture(scope="module")
def build():
    """The kernel for a dtype and a tile, compiled once."""
    found = {}

    def built(dtype, vector, MR, NV):
        size = np.dtype(dtype).itemsize
        key = size, vector // size, MR, NV
        if key not in found:
            found[key] = compiled(few_rows.make_few_rows(*key, BASE), *key)
            found[key].compile(LOOPS)
        return found[key]

    return built


def product(function, A, B, C, *, acc, blocks):
    """C := A @ B, or C += A @ B, in ``blocks`` of (KC, MC, NC)."""
    (m, k), n = A.shape, B.shape[1]
    work = np.full((1 << 20) + 4096, 0xFF, np.uint8)  # NaN wherever nothing was packed
    aligned = work.ctypes.data + -work.ctypes.data % 4096
    KC, MC, NC = blocks
    matrices = (Matrix(array.ctypes.data, *array.strides) for array in (A, B, C))
    function(*matrices, Sizes(m, n, k), acc, Blocks(MC, NC, KC, 0, 0, 0, 0), Scratch(aligned, 0))


def operands(rng, dtype, m, n, k, layout):
    """A and B; "A" and "B" stand for transposes of C-ordered arrays, "strided" for every second number."""
    step = 2 if layout == "strided" else 1
    A = rng.standard_normal((k, m) if "A" in layout else (m, step * k)).astype(dtype)
    B = rng.standard_normal((n, k) if "B" in layout else (k, step * n)).astype(dtype)
    return A.T if "A" in layout else A[:, ::step], B.T if "B" in layout else B[:, ::step]


def check(function, rng, dtype, m, n, k, layout, acc, blocks):
    A, B = operands(rng, dtype, m, n, k, layout)
    whole = rng.standard_normal((m + 2, n + 40)).astype(dtype)
    before = whole.copy()
    C = whole[1:-1, 3 : 3 + n]
    product(function, A, B, C, acc=acc, blocks=blocks)
    expected = A.astype("f8") @ B.astype("f8") + acc * before[1:-1, 3 : 3 + n].astype("f8")
    size = np.abs(A).astype("f8") @ np.abs(B).astype("f8") + np.abs(before[1:-1, 3 : 3 + n])
    assert np.all(np.abs(C - expected) <= (k + 3) * np.finfo(dtype).eps * size), (m, n, k, layout, acc, blocks)
    C[...] = before[1:-1, 3 : 3 + n]
    np.testing.assert_array_equal(whole, before, err_msg="something outside C was written")


@pytest.mark.parametrize(("dtype", "vector", "MR", "NV"), BUILDS)
class TestFewRows:
    def test_every_number_of_rows(self, build, rng, dtype, vector, MR, NV):
        for m in (*range(1, 2 * MR + 3), 31, 32, 3 * MR, 3 * MR + 1, 63, 64, 65, 127, 128, 130):
            check(build(dtype, vector, MR, NV), rng, dtype, m, 70, 61, "", m % 2, (24, 128, 4096))

    def test_every_remainder_of_columns(self, build, rng, dtype, vector, MR, NV):
        panel = NV * vector // np.dtype(dtype).itemsize
        for n in (*range(1, panel + 2), *range(3 * panel - 1, 3 * panel + 2), *range(5 * panel, 6 * panel)):
            check(build(dtype, vector, MR, NV), rng, dtype, MR + 3, n, 50, "", n % 2, (25, 128, 2 * panel))

    @pytest.mark.parametrize("layout", ["", "A", "B", "AB", "strided"])
    def test_blocks(self, build, rng, dtype, vector, MR, NV, layout):
        """Blocks of k, of rows and of columns that end inside, and at, an edge."""
        panel = NV * vector // np.dtype(dtype).itemsize
        for number, k in enumerate((1, 2, 16, 17, 32, 33, 100)):
            for m, n in ((MR + 1, 2 * panel), (3 * MR, 4 * panel + 1), (37, 5 * panel - 1)):
                for blocks in ((16, 128, 4096), (33, 2 * MR, panel), (100, 64, 3 * panel)):
                    check(build(dtype, vector, MR, NV), rng, dtype, m, n, k, layout, number % 2, blocks)

    def test_the_bits_of_a_part_are_those_of_the_whole(self, build, rng, dtype, vector, MR, NV):
        panel = NV * vector // np.dtype(dtype).itemsize
        m, n, k, blocks = 3 * MR + 2, 5 * panel + 3, 70, (32, 128, 4096)
        A, B = operands(rng, dtype, m, n, k, "")
        whole, parts = np.full((m, n), np.nan, dtype), np.full((m, n), np.nan, dtype)
        product(build(dtype, vector, MR, NV), A, B, whole, acc=0, blocks=blocks)
        for i, stop in ((0, 5), (5, MR + 9), (MR + 9, m)):
            for j, end in ((0, panel - 1), (panel - 1, 4 * panel), (4 * panel, n)):
                rows, columns = A[i:stop], B[:, j:end]
                product(build(dtype, vector, MR, NV), rows, columns, parts[i:stop, j:end], acc=0, blocks=blocks)
        np.testing.assert_array_equal(parts, whole)

    @pytest.mark.parametrize("at_end", [False, True], ids=["from-first", "to-last"])
    def test_nothing_outside_is_touched(self, build, dtype, vector, MR, NV, at_end):
        """Arrays that end, or begin, at a page that nobody may touch."""
        panel = NV * vector // np.dtype(dtype).itemsize
        for m, n, k in (
            (1, 1, 1),
            (2 * MR, 2 * panel, 40),
            (2 * MR + 1, 3 * panel - 1, 41),
            (40, panel + 3, 33),
        ):
            for transposed_a, transposed_b in ((False, False), (True, False), (False, True)):
                A = guarded((k, m) if transposed_a else (m, k), dtype, at_end=at_end)
                B = guarded((n, k) if transposed_b else (k, n), dtype, at_end=at_end)
                C = guarded((m, n), dtype, at_end=at_end)
                A[...], B[...], C[...] = 1, 2, np.nan
                operands = A.T if transposed_a else A, B.T if transposed_b else B
                product(build(dtype, vector, MR, NV), *operands, C, acc=0, blocks=(20, 128, 2 * panel))
                assert (C == 2 * k).all(), (m, n, k)

    def test_what_is_not_finite_stays_in_its_row_and_column(self, build, rng, dtype, vector, MR, NV):
        """Rows and columns that fill up a tile never reach C."""
        m, n, k = MR + 3, 3 * NV * vector // np.dtype(dtype).itemsize + 1, 40
        A, B = operands(rng, dtype, m, n, k, "")
        A[m - 1, 3], B[5, n - 1] = np.nan, np.inf
        C = np.zeros((m, n), dtype)
        with np.errstate(invalid="ignore"):
            product(build(dtype, vector, MR, NV), A, B, C, acc=0, blocks=(16, 128, 4096))
        assert np.isfinite(C[: m - 1, : n - 1]).all()
        assert not np.isfinite(C[m - 1]).any() and not np.isfinite(C[:, n - 1]).any()
