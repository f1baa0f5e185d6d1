"""The GPU's rungs and gradient against NumPy in float64, on a card or in Numba's simulator.

``NUMBA_ENABLE_CUDASIM=1 pytest tests -m cuda`` runs them without a card.  A simulated thread is a Python
thread, so there blocks are made small and matrices that cross their edges may be tiny; a few tests run the
blocks of the real size.
"""

import numpy as np
import pytest

import numbasgd
from numbasgd import RUNGS, device
from numbasgd.matmul import long_sums
from numbasgd.sgd.losses import LOSSES

pytestmark = pytest.mark.cuda

DTYPES = {"f32": np.float32, "f64": np.float64}
CUDA_RUNGS = [name for name, rung in RUNGS.items() if "cuda" in rung.devices]
# With tiles of side 4: empty, one, just below, at and above a tile, thin, several tiles.
SHAPES = [(0, 3, 4), (3, 0, 4), (3, 4, 0), (1, 1, 1), (3, 4, 5), (4, 5, 3), (5, 3, 4), (1, 9, 6), (9, 1, 2)]
LARGE = [(31, 33, 32), (65, 1, 33), (1, 2000, 1), (300, 257, 130)]
ROWS = {"all": None, "one": [3], "some": [6, 0, 0, 5]}


def is_simulated():
    return device.why_not() is None and device.is_simulator()


@pytest.fixture
def small_blocks(monkeypatch):
    """In the simulator: blocks of few threads.  Kernels read these names there when they run."""
    from numbasgd.matmul import cuda as product
    from numbasgd.sgd.solvers import cuda as learning

    if is_simulated():
        for name, value in {"WARP": 4, "WARPS": 2, "TILE": 4, "_blocked": product.make_blocked(4)}.items():
            monkeypatch.setattr(product, name, value)
        for name, value in {"WARP": 4, "THREADS": 16, "PER_THREAD": 2, "BLOCKS": 2}.items():
            monkeypatch.setattr(learning, name, value)


@pytest.fixture
def real_card():
    if is_simulated():
        pytest.skip("too large for the simulator; needs a card")


def operands(rng, shape, dtype):
    m, n, k = shape
    return rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)


def assert_product(C, A, B):
    k = A.shape[1]
    ku = k * np.finfo(A.dtype).eps / 2
    wide = [x.astype(np.longdouble) for x in (A, B)]
    error = np.abs(C - wide[0] @ wide[1])
    assert C.dtype == A.dtype
    assert np.all(error <= 2 * ku / (1 - ku) * (abs(wide[0]) @ abs(wide[1])) + k * np.finfo(A.dtype).tiny)


def run_rung(name, A, B):
    """The rung's kernel on an ``out`` full of NaN."""
    out = device.to_device(np.full((A.shape[0], B.shape[1]), np.nan, A.dtype))
    RUNGS[name].kernel("cuda")(device.to_device(A), device.to_device(B), out)
    return device.to_host(out)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("rung", CUDA_RUNGS)
def test_product(rung, dtype, shape, rng, small_blocks):
    A, B = operands(rng, shape, dtype)
    assert_product(run_rung(rung, A, B), A, B)


@pytest.mark.parametrize("rung", CUDA_RUNGS)
def test_product_with_blocks_of_the_real_size(rung, rng):
    A, B = operands(rng, (33, 1, 34), np.float32)
    assert_product(run_rung(rung, A, B), A, B)


@pytest.mark.parametrize("shape", LARGE, ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("rung", CUDA_RUNGS)
def test_large_product(rung, dtype, shape, rng, real_card):
    A, B = operands(rng, shape, dtype)
    C = run_rung(rung, A, B)
    assert_product(C, A, B)
    assert np.array_equal(C, run_rung(rung, A, B))


def test_more_rows_than_a_grid_has_in_its_second_axis(real_card):
    A = np.ones((32 * 65536 + 1, 1), np.float32)
    for rung in CUDA_RUNGS:
        assert np.all(run_rung(rung, A, np.ones((1, 1), np.float32)) == 1)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the simulator computes with NumPy's scalars
@pytest.mark.parametrize("rung", CUDA_RUNGS)
def test_nan_and_inf_travel_as_in_numpy(rung, rng, small_blocks):
    A, B = operands(rng, (6, 5, 7), np.float32)
    A[1, 6] = np.nan
    A[3, 2] = np.inf
    B[6, 4] = -np.inf
    B[0, 0] = 0
    np.testing.assert_allclose(run_rung(rung, A, B), A @ B, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rung", CUDA_RUNGS)
def test_matmul_on_the_device(rung, rng, small_blocks):
    A, B = operands(rng, (5, 3, 6), np.float64)
    A.flags.writeable = False
    B = np.asfortranarray(B)
    out = np.full((3, 5), np.nan).T
    assert numbasgd.matmul(A, B, rung=rung, device="cuda", out=out) is out
    assert_product(out, A, B)
    assert_product(numbasgd.matmul(A, B, rung=rung, device="cuda"), A, B)
    assert numbasgd.matmul(A[:, :0], B[:0], rung=rung, device="cuda").tolist() == [[0] * 3] * 5


@pytest.mark.parametrize("rung", CUDA_RUNGS)
def test_long_sums_are_cut_into_pieces(rung, rng, small_blocks, monkeypatch):
    monkeypatch.setattr(long_sums, "TERMS", 4)
    A, B = operands(rng, (3, 4, 9), np.float32)
    assert_product(numbasgd.matmul(A, B, rung=rung, device="cuda"), A, B)
    lost = np.full((1, 13), 1, np.float32)  # added to 2^24 one by one, every 1 is lost
    lost[0, 0] = 2**24
    found = numbasgd.matmul(lost, np.ones((13, 1), np.float32), rung=rung, device="cuda")
    assert found[0, 0] >= 2**24 + 9


def test_a_rung_without_a_kernel_for_the_device():
    with pytest.raises(ValueError, match="no kernel for device='cuda'"):
        numbasgd.matmul(np.eye(2), np.eye(2), rung="numpy", device="cuda")


def problem(rng, n, d, dtype):
    X, y, w = rng.standard_normal((n, d)), rng.standard_normal(n) + 3, rng.standard_normal(d)
    return X.astype(dtype), y.astype(dtype), w.astype(dtype), 0.5


def assert_gradient(found, X, y, w, b, rows=None):
    """Within the bound for sums in chunks of at most 256 rows."""
    u = np.finfo(X.dtype).eps / 2
    index = np.arange(len(X)) if rows is None else np.asarray(rows)
    X, y, w = (x.astype(np.float64) for x in (X, y, w))
    X1 = np.column_stack([X, np.ones(len(X))])[index]
    slope = X1[:, :-1] @ w + b - y[index]
    size = np.abs(X1[:, :-1]) @ np.abs(w) + abs(b) + np.abs(y[index])
    limit = (len(w) + 300) * u * (size @ np.abs(X1)) / len(index)
    assert np.all(np.abs(found - slope @ X1 / len(index)) <= limit)


def run_gradient(X, y, w, b, rows=None):
    from numbasgd.sgd.solvers import cuda

    index = np.empty(0, np.int64) if rows is None else np.asarray(rows, np.int64)
    out = device.to_device(np.full(len(w) + 1, np.nan, X.dtype))
    cuda.gradient(*(device.to_device(a) for a in (X, y, w)), b, device.to_device(index), out)
    return device.to_host(out)


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("d", [1, 3, 5, 16])
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_gradient(dtype, d, rows, rng, small_blocks):
    data = problem(rng, 7, d, dtype)
    found = run_gradient(*data, rows)
    assert_gradient(found, *data, rows)
    assert np.array_equal(found, run_gradient(*data, rows))


@pytest.mark.parametrize(("n", "d"), [(1, 2), (16, 4), (17, 7), (81, 2), (20, 40)])
def test_gradient_over_several_chunks_and_panels(n, d, rng, small_blocks):
    data = problem(rng, n, d, np.float32)
    assert_gradient(run_gradient(*data), *data)


def test_gradient_with_blocks_of_the_real_size(rng):
    data = problem(rng, 257, 3, np.float32)
    assert_gradient(run_gradient(*data), *data)


@pytest.mark.parametrize(("n", "d"), [(1500, 5), (100_001, 33), (3000, 784), (600, 2000), (1 << 22, 4)])
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_large_gradient(dtype, n, d, rng, real_card):
    data = problem(rng, n, d, dtype)
    found = run_gradient(*data)
    assert_gradient(found, *data)
    assert np.array_equal(found, run_gradient(*data))
    rows = rng.integers(0, n, 1000)
    assert_gradient(run_gradient(*data, rows), *data, rows)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nan_in_a_row_counts_only_where_the_row_does(rng, small_blocks):
    X, y, w, b = problem(rng, 7, 3, np.float32)
    X[4, 1] = np.nan
    assert np.all(np.isnan(run_gradient(X, y, w, b)))
    assert_gradient(run_gradient(X, y, w, b, [1, 6]), X[[1, 6]], y[[1, 6]], w, b)


def test_gradient_on_the_device(rng, small_blocks):
    X, y, w, b = problem(rng, 7, 3, np.float64)
    g, gb = numbasgd.gradient(X, y, w, b, rows=[-1, 2], device="cuda")
    assert_gradient(np.append(g, gb), X, y, w, b, [6, 2])
    assert g.dtype == np.float64


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("loss", [name for name, loss in LOSSES.items() if loss.value is not None])
def test_gradient_of_every_loss(loss, dtype, rng, small_blocks):
    """Against the same gradient on the CPU, which has tests of its own; y and z on either side of a kink."""
    X, y, w, b = problem(rng, 40, 3, dtype)
    y = np.sign(y - 3) if LOSSES[loss].targets == "signs" else y - 3
    expected = np.append(*numbasgd.gradient(X, y, w, b, loss=loss))
    found = np.append(*numbasgd.gradient(X, y, w, b, loss=loss, device="cuda"))
    np.testing.assert_allclose(found, expected, rtol=0, atol=200 * np.finfo(dtype).eps)
    if loss != "squared":
        assert np.abs(found - np.append(*numbasgd.gradient(X, y, w, b))).max() > 0.01


def test_gradient_at_a_level_of_the_quantile_loss(rng, small_blocks):
    X, y, w, b = problem(rng, 40, 3, np.float64)
    found = np.append(*numbasgd.gradient(X, y, w, b, loss="quantile", quantile=0.9, device="cuda"))
    r = np.where(X @ w + b < y, -0.9, 0.1)
    np.testing.assert_allclose(found, np.append(X.T @ r, r.sum()) / 40, rtol=0, atol=1e-14)


def test_every_plan_fits_its_shared_memory():
    from numbasgd.sgd.solvers import cuda

    for d in [*range(70), 127, 128, 255, 256, 784, 1023, 1024, 2000, 10**6]:
        for itemsize in (4, 8):
            plan = cuda.plan(10**9, d, itemsize)
            assert plan.chunk * (plan.lanes + 1) <= cuda.SUMS
            assert plan.chunk <= cuda.THREADS and cuda.THREADS % plan.lanes == 0 == cuda.THREADS % plan.columns
            assert plan.panels * plan.columns * cuda.PER_THREAD >= d + 1


def test_seconds_are_positive():
    assert all(t > 0 for t in device.seconds(lambda: np.ones(1000).sum() and device.synchronize(), rounds=2))
