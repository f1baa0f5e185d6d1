"""Few rows times a large B: the product and nothing beside it, whatever the edges, blocks and layouts."""

import numpy as np
import pytest
from guard import guarded

from numbasgd.machine import cpu
from numbasgd.matmul.gemm import few_rows, microkernel
from numbasgd.matmul.gemm.operands import LOOPS, Blocks, Matrix, Scratch, Sizes, compiled

MACHINE = cpu.host()
BASE = 0 if MACHINE.has_fma else microkernel.NO_FMA
MAKERS = {"rows": few_rows.make_few_rows, "transposed": few_rows.make_few_rows_transposed}
# Kind, vector bytes, MR and NV of a tile: for the host's vectors, and for shorter ones that it has as well.
TILES = [
    tile
    for tile in (
        ("rows", 64, 14, 2), ("rows", 32, 6, 2), ("rows", 16, 6, 2),
        ("transposed", 64, 8, 3), ("transposed", 32, 4, 3), ("transposed", 16, 2, 4),
    )
    if tile[1] <= MACHINE.vector
]  # fmt: skip
# Each kind for the host's vectors in one dtype by default; every length in both with -m slow.
BUILDS = [
    pytest.param(
        (kind, dtype, vector, MR, NV),
        id=f"{kind}-{vector}B-{MR}x{NV}-{dtype}",
        marks=() if vector == MACHINE.vector and dtype == "float32" else pytest.mark.slow,
    )
    for kind, vector, MR, NV in TILES
    for dtype in ("float32", "float64")
]  # fmt: skip


class Build:
    """One kernel, compiled, and what it was made of."""

    def __init__(self, kind, dtype, vector, MR, NV):
        self.dtype, self.MR, self.NV = np.dtype(dtype), MR, NV
        self.lanes = vector // self.dtype.itemsize
        self.panel = NV * self.lanes  # numbers in a row of it
        self.numbers = self.dtype.itemsize, self.lanes, MR, NV
        self.function = compiled(MAKERS[kind](*self.numbers, BASE), *self.numbers)
        self.function.compile(LOOPS)

    def product(self, A, B, C, *, acc, blocks):
        """C := A @ B, or C += A @ B, in ``blocks`` of (KC, MC, NC)."""
        (m, k), n = A.shape, B.shape[1]
        size = few_rows.scratch_bytes(*self.numbers, min(m, blocks[1]), min(k, blocks[0]))
        memory = np.full(size + 2 * 4096, 0xFF, np.uint8)  # NaN wherever nothing was packed
        start = -memory.ctypes.data % 4096
        KC, MC, NC = blocks
        matrices = (Matrix(array.ctypes.data, *array.strides) for array in (A, B, C))
        scratch = Scratch(memory.ctypes.data + start, 0)
        self.function(*matrices, Sizes(m, n, k), acc, Blocks(MC, NC, KC, 0, 0, 0, 0), scratch)
        assert (memory[:start] == 0xFF).all() and (memory[start + size :] == 0xFF).all()


@pytest.fixture(scope="module", params=BUILDS)
def build(request):
    """Each kernel, compiled once."""
    return Build(*request.param)


def operands(rng, dtype, m, n, k, layout):
    """A and B; "A" and "B" stand for transposes of C-ordered arrays, "strided" for every second number."""
    step = 2 if layout == "strided" else 1
    A = rng.standard_normal((k, m) if "A" in layout else (m, step * k)).astype(dtype)
    B = rng.standard_normal((n, k) if "B" in layout else (k, step * n)).astype(dtype)
    return A.T if "A" in layout else A[:, ::step], B.T if "B" in layout else B[:, ::step]


def check(build, rng, m, n, k, layout, acc, blocks):
    A, B = operands(rng, build.dtype, m, n, k, layout)
    whole = rng.standard_normal((m + 2, n + 40)).astype(build.dtype)
    before = whole.copy()
    C, old = (x[1:-1, 3 : 3 + n] for x in (whole, before))
    build.product(A, B, C, acc=acc, blocks=blocks)
    expected = A.astype("f8") @ B.astype("f8") + acc * old.astype("f8")
    size = np.abs(A).astype("f8") @ np.abs(B).astype("f8") + np.abs(old)
    error = np.abs(C - expected)
    assert np.all(error <= (k + 3) * np.finfo(build.dtype).eps * size), (m, n, k, layout, acc, blocks)
    C[...] = old
    np.testing.assert_array_equal(whole, before, err_msg="something outside C was written")


def test_every_number_of_rows(build, rng):
    MR, panel = build.MR, build.panel
    for m in (
        *range(1, 2 * MR + 3),
        3 * MR,
        3 * MR + 1,
        panel - 1,
        panel,
        panel + 1,
        63,
        64,
        65,
        127,
        128,
        130,
    ):
        check(build, rng, m, 61, 70, "", m % 2, (24, 128, 4096))
        check(build, rng, m, 61, 70, "B", m % 2, (70, 128, 4096))


def test_every_remainder_of_columns(build, rng):
    MR, panel = build.MR, build.panel
    for n in (*range(1, panel + 2), *range(3 * panel - 1, 3 * panel + 2), *range(5 * panel, 6 * panel)):
        check(build, rng, MR + 3, n, 50, "", n % 2, (25, 128, 2 * panel))
        check(build, rng, build.lanes + 1, n, 50, "B", n % 2, (25, 128, 2 * panel))


@pytest.mark.parametrize("layout", ["", "A", "B", "AB", "strided"])
def test_blocks(build, rng, layout):
    """Blocks of k, of rows and of columns that end inside, and at, an edge."""
    MR, panel = build.MR, build.panel
    for number, k in enumerate((1, 2, 16, 17, 32, 33, 100)):
        for m, n in ((MR + 1, 2 * panel), (3 * MR, 4 * panel + 1), (37, 5 * panel - 1)):
            for blocks in ((16, 128, 4096), (33, 2 * MR, panel), (100, 64, 3 * panel)):
                check(build, rng, m, n, k, layout, number % 2, blocks)


@pytest.mark.parametrize("layout", ["", "B"])
def test_the_bits_of_a_part_are_those_of_the_whole(build, rng, layout):
    MR, panel = build.MR, build.panel
    m, n, k, blocks = 3 * MR + 2, 5 * panel + 3, 70, (32, 128, 4096)
    A, B = operands(rng, build.dtype, m, n, k, layout)
    whole, parts = (np.full((m, n), np.nan, build.dtype) for _ in range(2))
    build.product(A, B, whole, acc=0, blocks=blocks)
    for i, stop in ((0, 5), (5, MR + 9), (MR + 9, m)):
        for j, end in ((0, panel - 1), (panel - 1, 4 * panel), (4 * panel, n)):
            build.product(A[i:stop], B[:, j:end], parts[i:stop, j:end], acc=0, blocks=blocks)
    np.testing.assert_array_equal(parts, whole)


@pytest.mark.parametrize("at_end", [False, True], ids=["from-first", "to-last"])
def test_nothing_outside_is_touched(build, at_end):
    """Arrays that end, or begin, at a page that nobody may touch."""
    MR, panel, dtype = build.MR, build.panel, build.dtype
    for m, n, k in ((1, 1, 1), (2 * MR, 2 * panel, 40), (2 * MR + 1, 3 * panel - 1, 41), (40, panel + 3, 33)):
        for layout in ("", "A", "B"):
            A = guarded((k, m) if layout == "A" else (m, k), dtype, at_end=at_end)
            B = guarded((n, k) if layout == "B" else (k, n), dtype, at_end=at_end)
            C = guarded((m, n), dtype, at_end=at_end)
            A[...], B[...], C[...] = 1, 2, np.nan
            A, B = A.T if layout == "A" else A, B.T if layout == "B" else B
            build.product(A, B, C, acc=0, blocks=(20, 128, 2 * panel))
            assert (C == 2 * k).all(), (m, n, k, layout)


@pytest.mark.parametrize("layout", ["", "B"])
def test_what_is_not_finite_stays_in_its_row_and_column(build, rng, layout):
    """Rows and columns that only fill up a tile never reach C."""
    m, n, k = build.MR + 3, 3 * build.panel + 1, 40
    A, B = operands(rng, build.dtype, m, n, k, layout)
    A[m - 1, 3], B[5, n - 1] = np.nan, np.inf
    C = np.zeros((m, n), build.dtype)
    with np.errstate(invalid="ignore"):
        build.product(A, B, C, acc=0, blocks=(16, 128, 4096))
    assert np.isfinite(C[: m - 1, : n - 1]).all()
    assert not np.isfinite(C[m - 1]).any() and not np.isfinite(C[:, n - 1]).any()
