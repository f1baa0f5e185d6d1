"""Rows of any memory order: the same weights as from a C-ordered copy, one copy at most, no access outside."""

import tracemalloc
from contextlib import nullcontext

import numpy as np
import pytest
from child import run_python

from numbasgd import gradient, train
from numbasgd.sgd import layout
from numbasgd.sgd.rows import rows_of

slow = pytest.mark.exhaustive(of=3)
N = 300  # more than a chunk of a sum


def _inside(X, rows, columns):
    """X as the part of a larger array that an index selects."""
    whole = np.full((2 * len(X) + 3, 3 * X.shape[1] + 5), np.nan, X.dtype)
    view = whole[rows, columns][: len(X), : X.shape[1]]
    view[:] = X
    return view


def _in_a_record(X):
    record = np.zeros(len(X), [("skip", "u1", 1), ("x", X.dtype, (X.shape[1],))])
    record["x"] = X
    return record["x"]


def _read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


# What may lie anywhere, and is read where it is; True where rows are together, so no row has to be gathered.
LAYOUTS = {
    "c": (np.ascontiguousarray, True),
    "read-only": (_read_only, True),
    "row-slice": (lambda X: _inside(X, slice(None, None, 2), slice(None)), True),
    "column-range": (lambda X: _inside(X, slice(1, None), slice(0, None)), True),
    "fortran": (np.asfortranarray, False),
    "fortran-read-only": (lambda X: _read_only(X.T).T, False),
    "transposed": (lambda X: np.ascontiguousarray(X.T).T, False),
    "every-second-column": (lambda X: _inside(X, slice(None), slice(None, None, 2)), False),
    "rows-backwards": (lambda X: np.ascontiguousarray(X[::-1])[::-1], False),
    "columns-backwards": (lambda X: np.ascontiguousarray(X[:, ::-1])[:, ::-1], False),
    "both-backwards": (lambda X: np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1], False),
    "fortran-backwards": (lambda X: np.asfortranarray(X[::-1, ::-1])[::-1, ::-1], False),
    "slice-of-three": (lambda X: np.repeat(X[:, :, None], 2, axis=2)[:, :, 1], False),
}
COPIED = {
    "unaligned": _in_a_record,
    "big-endian": lambda X: X.astype(X.dtype.newbyteorder(">")),
}
# d and dtype; others are exhaustive, since what takes long is compiling.
KINDS = [
    pytest.param(d, dtype, id=f"{d}-{dtype}", marks=() if (d, dtype) == (5, "float64") else slow)
    for d in (1, 5, 33, 129)
    for dtype in ("float32", "float64")
]


def problem(d, dtype, rng, n=N):
    return rng.standard_normal((n, d)).astype(dtype), rng.standard_normal(n).astype(dtype)


@pytest.mark.parametrize(("d", "dtype"), KINDS)
@pytest.mark.parametrize("layout", [*LAYOUTS, *COPIED])
def test_weights_are_those_of_a_c_ordered_copy(layout, d, dtype, rng, rows_in_place):
    X, y = problem(d, dtype, rng)
    lies = {**COPIED, **{name: make for name, (make, _) in LAYOUTS.items()}}[layout](X)
    assert np.array_equal(lies, X)
    eps = float(np.finfo(dtype).eps)
    # Rows that are together go through the same machine code; for others the compiler orders a sum anew.
    is_same_code = layout in COPIED or LAYOUTS[layout][1]
    for batch_size in (1, 7, N):
        options = {"batch_size": batch_size, "lr": 0.1 / (d + 4), "epochs": 2, "seed": 1}
        fit, same = train(lies, y, **options), train(X, y, **options)
        if is_same_code:
            assert (fit.w.tobytes(), fit.b) == (same.w.tobytes(), same.b)
        np.testing.assert_allclose(fit.w, same.w, rtol=0, atol=1000 * eps)
        np.testing.assert_allclose(fit.loss, same.loss, rtol=0, atol=100 * eps)
    w = rng.standard_normal(d).astype(dtype)
    for rows in (None, [7, 3, 3, 250]):
        g, gb = gradient(lies, y, w, rows=rows)
        expected, expected_b = gradient(X, y, w, rows=rows)
        np.testing.assert_allclose(g, expected, rtol=0, atol=0 if is_same_code else 50 * eps)
        assert gb == pytest.approx(expected_b, abs=0 if is_same_code else 50 * eps)


@pytest.mark.parametrize("d", [1, 5])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_are_read_where_they_lie(layout, d, rng):
    X, _ = problem(d, "float64", rng)
    make, is_together = LAYOUTS[layout]
    lies = make(X)
    found = rows_of(lies)
    assert np.shares_memory(found.memory, lies)
    assert not found.is_gathered or not is_together
    i, j = np.indices(X.shape)
    np.testing.assert_array_equal(found.memory[found.base + i * found.si + j * found.sj], X)
    low, high = np.lib.array_utils.byte_bounds(lies)
    address = found.memory.__array_interface__["data"][0]
    assert low <= address and address + found.memory.nbytes <= high


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)], ids=str)
def test_broadcast_rows(axes, rng, rows_in_place):
    shape = [1 if axis in axes else size for axis, size in enumerate((N, 5))]
    X = np.broadcast_to(rng.standard_normal(shape), (N, 5))
    y = rng.standard_normal(N)
    fit, same = (train(a, y, batch_size=7, lr=0.02, seed=1) for a in (X, X.copy()))
    np.testing.assert_allclose([*fit.w, fit.b], [*same.w, same.b], rtol=0, atol=1e-14)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("d", [1, 5])
def test_few_rows_and_columns(n, d, rng, rows_in_place):
    for X in (
        np.asfortranarray(rng.standard_normal((n, d))),
        rng.standard_normal((n + 1, 2 * d))[::-1, ::2][:n],
    ):
        fit, same = (train(a, np.ones(n), batch_size=1, lr=0.1, epochs=3, seed=0) for a in (X, X.copy()))
        np.testing.assert_allclose(fit.w, same.w, rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_rows_that_are_not_together_are_copied_once(dtype):
    """In any order the bits and, but for one copy, the memory are those of C order."""
    X = np.random.default_rng(0).integers(-9, 9, (40_000, 20)).astype(dtype)
    y = X[:, 0].astype(np.float64)  # so that rows of other dtypes are converted
    fits, peaks = [], []
    for rows in (X, np.asfortranarray(X), X[::-1, ::-1].copy()[::-1, ::-1]):
        train(rows, y, batch_size=1, lr=1e-3, epochs=1)
        tracemalloc.start()
        fits.append(train(rows, y, batch_size=1, lr=1e-3, epochs=1, seed=0))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert len({fit.w.tobytes() for fit in fits}) == 1
    assert max(peaks) < 8 * X.size * 1.5


def test_no_copy_where_there_is_no_memory_for_one(monkeypatch, rng):
    X, y = problem(5, "float64", rng, 60_000)
    monkeypatch.setattr(layout, "SMALL", 0)
    monkeypatch.setattr(layout, "free_memory", lambda: X.nbytes)
    slow_order = pytest.warns(
        UserWarning, match=r"X takes 0.0024 GB, too much.*rows do not lie together.*Save it"
    )
    for sampling, expected in (("reshuffle", slow_order), ("sequential", nullcontext())):
        with expected:
            fit = train(np.asfortranarray(X), y, lr=0.01, sampling=sampling, seed=0)
        np.testing.assert_allclose(fit.w, train(X, y, lr=0.01, sampling=sampling, seed=0).w, rtol=1e-9)
    monkeypatch.setattr(layout, "free_memory", lambda: 2 * X.nbytes)
    train(np.asfortranarray(X), y, lr=0.01)


def test_the_targets_may_lie_anywhere(rng):
    X, y = problem(5, "float64", rng)
    s = rng.uniform(0, 1, N)
    fit = train(X, y, lr=0.01, seed=0)
    for other in (np.repeat(y, 2)[::2], _read_only(y), y[::-1].copy()[::-1], y.astype(">f8"), y.tolist()):
        assert train(X, other, lr=0.01, seed=0).w.tobytes() == fit.w.tobytes()
    fit = train(X, y, lr=0.01, seed=0, sample_weight=s)
    for other in (np.repeat(s, 2)[::2], _read_only(s), s.tolist()):
        assert train(X, y, lr=0.01, seed=0, sample_weight=other).w.tobytes() == fit.w.tobytes()


BIG = (1_000_000, 5)  # 40 MB


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Two files of one array, in C and in Fortran order."""
    folder = tmp_path_factory.mktemp("rows")
    X = np.random.default_rng(0).standard_normal(BIG)
    np.save(folder / "c.npy", X)
    np.save(folder / "fortran.npy", np.asfortranarray(X))
    return folder


@pytest.mark.parametrize("order", ["c", "fortran"])
@pytest.mark.parametrize("lr", [0.01, "auto"])
def test_a_file_is_trained_on_without_a_copy(order, lr, file):
    X = np.load(file / f"{order}.npy", mmap_mode="r")
    assert isinstance(X, np.memmap) and not X.flags.writeable
    assert X.flags.f_contiguous == (order == "fortran")
    y = np.array(X[:, 0])
    slow_order = (
        pytest.warns(UserWarning, match="rows do not lie together") if order == "fortran" else nullcontext()
    )
    with slow_order:
        # Whatever the first call compiles, imports and starts.
        train(X[:200_000], y[:200_000], lr=lr, sampling="reshuffle")
    tracemalloc.start()
    with slow_order:
        fit = train(X, y, batch_size=1000, lr=lr, epochs=1, seed=0, sampling="reshuffle")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert fit.loss[-1] < 0.5 * fit.loss[0]
    # One number per row may be needed, for the learning rate.
    assert peak < X.nbytes / (3 if lr == "auto" else 20)


def test_no_access_outside_arrays_of_any_order():
    run_python("""
        import numpy as np
        from guard import guarded
        from numbasgd import gradient, train
        from numbasgd.sgd import dataset

        dataset.together = lambda X, is_shuffled: X  # no copy

        def views(n, d, dtype, at_end):
            yield guarded((d, n), dtype, at_end=at_end).T
            yield guarded((n, d), dtype, at_end=at_end)[::-1, ::-1]
            yield guarded((d, n), dtype, at_end=at_end).T[::-1, ::-1]
            yield guarded((n, 2 * d - 1), dtype, at_end=at_end)[:, ::2]
            yield guarded((n * 2 - 1, d), dtype, at_end=at_end)[::2]
            yield np.lib.stride_tricks.as_strided(  # the last row ends with the memory, others have a gap
                guarded((n * (d + 3) - 3,), dtype, at_end=at_end), (n, d), ((d + 3) * 8, 8)
            )

        for n, d, dtype in [(1, 1, np.float64), (3, 5, np.float64), (300, 5, np.float64), (1, 8, np.float64)]:
            for at_end in (True, False):
                y, s = (guarded((n,), dtype, at_end=at_end) for _ in range(2))
                y[:] = s[:] = 1
                for X in views(n, d, dtype, at_end):
                    X[:] = 0.1
                    X.flags.writeable = False
                    w = np.full(d, 0.1, dtype)
                    assert np.allclose(gradient(X, y, w, rows=np.arange(n)[::-1])[0], 0.1 * (0.01 * d - 1))
                    for batch_size in {1, min(n, 7), n}:
                        train(X, y, batch_size=batch_size, lr=1e-3)
    """)


@slow
def test_no_access_outside_wide_arrays():
    run_python("""
        import numpy as np
        from guard import guarded
        from numbasgd import gradient, train
        from numbasgd.sgd import dataset
        dataset.together = lambda X, is_shuffled: X  # no copy
        for dtype in (np.float32, np.float64):
            for n, d in [(1, 1), (5, 17), (300, 33), (4, 129)]:
                for at_end in (True, False):
                    y = guarded((n,), dtype, at_end=at_end)
                    y[:] = 1
                    for X in (guarded((d, n), dtype, at_end=at_end).T,
                              guarded((n, d), dtype, at_end=at_end)[::-1, ::-1],
                              guarded((n, 2 * d - 1), dtype, at_end=at_end)[:, ::2],
                              guarded((2 * n - 1, d), dtype, at_end=at_end)[::2]):
                        X[:] = 0.1
                        gradient(X, y, np.full(d, 0.1, dtype), rows=np.arange(n)[::-1])
                        for batch_size in {1, min(n, 7), n}:
                            train(X, y, batch_size=batch_size, lr=1e-3)
    """)
