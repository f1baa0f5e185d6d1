"""``gradient`` against NumPy in float64, and the statistics of minibatch gradients."""

import importlib

import numpy as np
import pytest
from child import run_python
from conftest import says

from numbasgd import airfoil_twin, gradient, gradient_noise
from numbasgd.sgd.losses import LOSSES

module = importlib.import_module("numbasgd.sgd.gradient")  # the package has the function under this name


def reference(X, y, w, b, rows=slice(None)):
    X, y = np.asarray(X, float)[rows], np.asarray(y, float)[rows]
    r = X @ np.asarray(w, float) + b - y
    return r @ X / len(r), r.mean()


# One of each family of kernels by default; the others are slow, since each is compiled.
KERNELS = [
    pytest.param(dtype, d, id=f"{dtype}-{d}", marks=() if (dtype, d) in quick else pytest.mark.slow)
    for quick in [{("float64", 0), ("float64", 5), ("float32", 5), ("float32", 17), ("float32", 784)}]
    for dtype in ("float32", "float64")
    for d in (0, 1, 3, 5, 8, 9, 16, 17, 33, 128, 784)
]


@pytest.mark.parametrize(("dtype", "d"), KERNELS)
@pytest.mark.parametrize("n", [1, 2, 5, 64, 4100])
def test_gradient(dtype, n, d, rng):
    X, y = rng.standard_normal((n, d)).astype(dtype), rng.standard_normal(n).astype(dtype)
    w = rng.standard_normal(d).astype(dtype)
    g, gb = gradient(X, y, w, 0.25)
    expected, expected_b = reference(X, y, w, 0.25)
    assert g.dtype == dtype
    scale = np.abs(X.astype(float) @ w.astype(float) + 0.25 - y).mean() * 4 + 1
    tolerance = 20 * np.finfo(dtype).eps * scale * np.sqrt(d + 1)
    np.testing.assert_allclose(g, expected, rtol=0, atol=tolerance)
    assert gb == pytest.approx(expected_b, abs=tolerance)


@pytest.fixture
def general(monkeypatch):
    """``gradient`` without the shortcut for small problems."""

    def call(*args, **kwargs):
        with monkeypatch.context() as patch:
            patch.setattr(module, "small_gradient", lambda *args: None)
            return gradient(*args, **kwargs)

    return call


def targets_for(loss, z):
    return np.sign(z).astype(z.dtype) if LOSSES[loss].targets == "signs" else z


# Both dtypes and both kinds of targets by default; the others are slow, since each is compiled.
SMALL = [
    pytest.param(loss, dtype, d, marks=() if (loss, dtype, d) in quick else pytest.mark.slow)
    for quick in [{("squared", "float32", 5), ("squared", "float64", 5), ("logistic", "float32", 5)}]
    for loss in LOSSES
    for dtype in ("float32", "float64")
    for d in (5, 16, 29)
    if LOSSES[loss].rows is None
]


@pytest.mark.parametrize(("loss", "dtype", "d"), SMALL)
def test_an_ordinary_small_call_is_not_looked_at_closely(loss, dtype, d, general, monkeypatch, rng):
    """It gives the bits of a call that is."""
    w = rng.standard_normal(d).astype(dtype)
    for n in (1, 10, 257, 1500):
        X = rng.standard_normal((n, d)).astype(dtype)
        y = targets_for(loss, rng.standard_normal(n).astype(dtype))
        g, gb = general(X, y, w, 0.25, loss=loss)
        with monkeypatch.context() as patch:
            patch.setattr(module, "rows_and_targets", None)
            for keywords in ({}, {"threads": 1}, {"threads": 64}, {"rows": None, "device": "cpu"}):
                found, found_b = gradient(X, y, w, 0.25, loss=loss, **keywords)
                assert (found.dtype, type(found_b), found.base) == (X.dtype, float, None)
                np.testing.assert_array_equal(found, g)
                assert found_b == gb
        same, same_b = gradient(X, y, w, 0.25, loss=loss, rows=np.arange(n))
        np.testing.assert_allclose(g, same, rtol=1e-4, atol=1e-6)
        assert gb == pytest.approx(same_b, rel=1e-4, abs=1e-6)


class Labelled(np.ndarray):
    """A subclass, whose methods may do anything."""


def _unaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)[1:]
    raw[:] = np.frombuffer(a.tobytes(), np.uint8)
    return raw.view(a.dtype).reshape(a.shape)


def _with(a, value):
    return np.where(np.arange(a.size).reshape(a.shape) == 1, value, a).astype(a.dtype)


def _read_only(a):
    return np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape)


X93, W3 = np.arange(27, dtype="f4").reshape(9, 3) % 7 - 3, np.array([0.5, -1, 2], "f4")
Y9 = X93[:, 0] + 1
SIGNS9 = np.where(Y9 > 0, 1, -1).astype("f4")
ODD_CALLS = {
    "lists": ((X93.tolist(), Y9.tolist(), W3.tolist()), {}),
    "Fortran order": ((np.asfortranarray(X93), Y9, W3), {}),
    "strided rows": ((np.repeat(X93, 2, 0)[::2], Y9, W3), {}),
    "strided targets": ((X93, np.repeat(Y9, 2)[::2], W3), {}),
    "strided weights": ((X93, Y9, np.repeat(W3, 2)[::2]), {}),
    "backwards": ((X93[::-1], Y9[::-1], W3), {}),
    "read-only": ((_read_only(X93), _read_only(Y9), _read_only(W3)), {}),
    "unaligned": ((_unaligned(X93), _unaligned(Y9), _unaligned(W3)), {}),
    "one row of a column": ((np.asfortranarray(X93)[:1], Y9[:1], W3), {}),
    "a subclass": ((X93.view(Labelled), Y9, W3), {}),
    "other bytes first": ((X93.astype(">f4"), Y9.astype(">f4"), W3.astype(">f4")), {}),
    "two dtypes": ((X93, Y9.astype("f8"), W3), {}),
    "integers": ((X93.astype(int), Y9.astype(int), W3), {}),
    "half": ((X93.astype("f2"), Y9.astype("f2"), W3.astype("f2")), {}),
    "targets short": ((X93, Y9[:-1], W3), {}),
    "targets long": ((X93[:-1], Y9, W3), {}),
    "weights short": ((X93, Y9, W3[:-1]), {}),
    "weights long": ((X93[:, :2].copy(), Y9, W3), {}),
    "no rows": ((X93[:0], Y9[:0], W3), {}),
    "no columns": ((X93[:, :0], Y9, W3[:0]), {}),
    "a vector of rows": ((X93[0], Y9, W3), {}),
    "a column of targets": ((X93, Y9[:, None], W3), {}),
    "a column each": ((X93, Y9[:, None], W3[:, None]), {}),
    "a column of weights": ((X93, Y9, W3[:, None]), {}),
    "no targets": ((X93, None, W3), {}),
    "NaN in X": ((_with(X93, np.nan), Y9, W3), {}),
    "infinity in y": ((X93, _with(Y9, np.inf), W3), {}),
    "NaN in w": ((X93, Y9, _with(W3, np.nan)), {"loss": "huber"}),
    "NaN in X where the slope does not see it": ((_with(X93, np.nan), SIGNS9, W3), {"loss": "hinge"}),
    "b an integer": ((X93, Y9, W3, 1), {}),
    "b of NumPy": ((X93, Y9, W3, np.float64(0.5)), {}),
    "b an array": ((X93, Y9, W3, np.ones(1)), {}),
    "b true": ((X93, Y9, W3, True), {}),
    "b NaN": ((X93, SIGNS9, W3, float("nan")), {"loss": "hinge"}),
    "b infinite": ((X93, Y9, W3, -float("inf")), {}),
    "b too large for float32": ((X93, Y9, W3, 1e39), {}),
    "b large for float64": ((X93.astype("f8"), Y9.astype("f8"), W3.astype("f8"), 1e39), {}),
    "two classes of other names": ((X93, (SIGNS9 + 1) / 2, W3), {"loss": "logistic"}),
    "three classes": ((X93, Y9, W3), {"loss": "logistic"}),
    "a class that is NaN": ((X93, _with(SIGNS9, np.nan), W3), {"loss": "hinge"}),
    "no such loss": ((X93, Y9, W3), {"loss": "square"}),
    "no loss": ((X93, Y9, W3), {"loss": ["squared"]}),
    "a loss of many outputs": ((X93, (SIGNS9 + 1) / 2, W3), {"loss": "softmax"}),
    "no threads": ((X93, Y9, W3), {"threads": 0}),
    "true threads": ((X93, Y9, W3), {"threads": True}),
    "many threads": ((X93, Y9, W3), {"threads": 65}),
    "no device": ((X93, Y9, W3), {"device": "tpu"}),
    "devices": ((X93, Y9, W3), {"device": np.array(["cpu", "cpu"])}),
}


@pytest.mark.parametrize("case", ODD_CALLS)
def test_the_shortcut_for_small_calls_changes_nothing(case, general):
    """What it should not take it does not; and what it takes comes out as without it."""
    args, kwargs = ODD_CALLS[case]
    loss = kwargs.get("loss", "squared")
    if loss in ("squared", "huber", "logistic", "hinge"):  # the shortcut knows their kernels from now on
        for dtype in ("f4", "f8") if loss == "squared" else ("f4",):
            gradient(X93.astype(dtype), SIGNS9.astype(dtype), W3.astype(dtype), loss=loss)
    try:
        g, gb = general(*args, **kwargs)
    except Exception as error:
        with pytest.raises(type(error)) as caught:
            gradient(*args, **kwargs)
        assert str(caught.value) == str(error)
    else:
        found, found_b = gradient(*args, **kwargs)
        assert (found.dtype, found.shape, type(found_b)) == (g.dtype, g.shape, type(gb))
        np.testing.assert_array_equal(found, g)
        np.testing.assert_array_equal(found_b, gb)


@pytest.mark.parametrize("rows", [[0], [3, 3, 1], [-1, 0], np.arange(99, -1, -1), np.arange(100) % 3 == 0])
@pytest.mark.parametrize("d", [5, 40])
def test_any_subset_of_rows(rows, d, rng):
    X, y, w = rng.standard_normal((100, d)), rng.standard_normal(100), rng.standard_normal(d)
    g, gb = gradient(X, y, w, 1.0, rows=rows)
    expected, expected_b = reference(X, y, w, 1.0, np.asarray(rows))
    np.testing.assert_allclose(g, expected, atol=1e-12)
    assert gb == pytest.approx(expected_b, abs=1e-12)


def test_it_is_the_derivative_of_the_loss(rng):
    X, y, w = rng.standard_normal((30, 4)), rng.standard_normal(30), rng.standard_normal(4)

    def loss(v):
        return 0.5 * np.mean((X @ v[:4] + v[4] - y) ** 2)

    v = np.append(w, 0.7)
    h = 1e-6
    slopes = [(loss(v + h * e) - loss(v - h * e)) / (2 * h) for e in np.eye(5)]
    np.testing.assert_allclose(np.append(*gradient(X, y, w, 0.7)), slopes, atol=1e-8)


def test_long_float32_sums_stay_right():
    n = 2_000_000
    X = np.full((n, 1), 0.1, np.float32)
    y = np.full(n, -0.3, np.float32)
    g, gb = gradient(X, y, np.zeros(1, np.float32))
    assert g[0] == pytest.approx(0.03, rel=1e-5)
    assert gb == pytest.approx(0.3, rel=1e-5)


@pytest.mark.parametrize(
    ("dtype", "shapes"),
    [
        ("float32", [(3, 5)]),
        *(
            pytest.param(
                dtype, [(1, 1), (3, 5), (4, 8), (7, 16), (9, 17), (6, 33), (5, 129)], marks=pytest.mark.slow
            )
            for dtype in ("float32", "float64")
        ),
    ],
    ids=str,
)
def test_no_access_outside_the_arrays(dtype, shapes):
    run_python(f"""
        import numpy as np
        from guard import guarded
        from numbasgd import gradient, train
        from numbasgd.sgd.solvers import small_gradient
        for dtype in ({dtype!r},):
            for n, d in {shapes}:
                for at_end in (True, False):
                    X, y, w = (guarded(s, dtype, at_end=at_end) for s in ((n, d), (n,), (d,)))
                    X[:], y[:], w[:] = 0.1, 1.0, 0.1
                    gradient(X, y, w, rows=np.arange(n)[::-1])
                    g, gb = gradient(X, y, w)
                    assert np.allclose(g, 0.1 * gb)
                    kernel = small_gradient.kernel_for("squared", X.dtype, n, d)
                    if kernel is not None:
                        own = guarded((d,), dtype, at_end=at_end)
                        own[:] = np.nan
                        assert kernel(X, y, w, 0.0, own) == gb and (own == g).all()
                    train(X, y, batch_size=1, lr=1e-3)
                    train(X, y, batch_size=n, lr=1e-3)
    """)


def test_noise_falls_as_the_chapter_says(airfoil):
    noise = gradient_noise(*airfoil, batch_sizes=[1, 10, 100, 1000, 1500], draws=2000, seed=1)
    for row in noise.with_replacement:
        assert row.std == pytest.approx(noise.sigma / np.sqrt(row.batch_size), rel=0.1)
        assert row.bias < 4 * row.bias_expected
    for row in noise.without_replacement[:-1]:
        factor = np.sqrt((1500 - row.batch_size) / 1499)
        assert row.std == pytest.approx(noise.sigma / np.sqrt(row.batch_size) * factor, rel=0.1)
        assert row.bias < 4 * row.bias_expected
    assert noise.without_replacement[2].std == pytest.approx(0.25, abs=0.01)
    assert noise.without_replacement[3].std == pytest.approx(0.0473, abs=0.003)
    assert noise.without_replacement[4].std < 1e-12


def test_noise_keeps_a_few_gradients_at_a_time(rng):
    """Each block of draws adds what it should: compared with all of them side by side."""
    from numbasgd.sgd import noise

    X, y = rng.standard_normal((9, 3)), rng.standard_normal(9)
    draws = 2 * noise._BLOCK + 3
    found = gradient_noise(X, y, batch_sizes=[4], draws=draws, seed=3)
    same = np.random.default_rng(3)
    for (row,), replace in ((found.with_replacement, True), (found.without_replacement, False)):
        drawn = [np.append(*gradient(X, y, np.zeros(3), rows=same.choice(9, 4, replace))) for _ in range(draws)]
        off = drawn - np.append(*gradient(X, y, np.zeros(3)))
        assert row.std == pytest.approx(np.sqrt(np.square(off).sum(axis=1).mean()))
        assert row.bias == pytest.approx(np.linalg.norm(off.mean(axis=0)))
        assert row.bias_expected == row.std / np.sqrt(draws)


def test_noise_of_the_twin_elsewhere_than_zero():
    X, y = airfoil_twin()
    noise = gradient_noise(X, y, [0.1] * 5, 0.2, batch_sizes=[20], draws=1500)
    (row,) = noise.with_replacement
    assert row.std == pytest.approx(row.predicted, rel=0.1)
    g, gb = gradient(X.astype(float), y, [0.1] * 5, 0.2)
    assert noise.gradient_norm == pytest.approx(np.hypot(np.linalg.norm(g), gb))


X52, Y5, W2 = np.arange(10.0).reshape(5, 2), np.arange(5.0), np.ones(2)


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "parts"),
    [
        ((X52, Y5, [1.0]), {}, ValueError, ("X has 2 columns", "w has 1 entries", "expected")),
        ((X52, Y5, W2, "a"), {}, TypeError, ("b is 'a'", "expected a finite number")),
        ((X52, Y5, W2), {"rows": []}, ValueError, ("rows is empty", "expected at least one row")),
        (
            (X52, Y5, W2),
            {"rows": [5]},
            ValueError,
            ("rows holds 5 at position 0", "expected row numbers", "Leave out"),
        ),
        ((X52, Y5, W2), {"rows": [0, -6]}, ValueError, ("rows holds -6 at position 1",)),
        ((X52, Y5, W2), {"rows": [0.5]}, TypeError, ("rows has", "dtype float64", "expected a 1-D array")),
        (
            (X52, Y5, W2),
            {"rows": [True]},
            ValueError,
            ("rows has 1 flags", "expected one flag per row", "pass"),
        ),
        ((X52, Y5, W2), {"rows": [[1, 2], [3]]}, TypeError, ("rows is a list", "expected a 1-D", "Pass")),
        ((X52, Y5, W2), {"rows": [10**30]}, TypeError, ("rows has", "dtype object", "expected", "Pass")),
        ((X52, Y5, W2), {"rows": "all"}, TypeError, ("rows has 0 dim", "expected", "Pass")),
        ((X52, Y5, W2), {"loss": "l2"}, ValueError, ("loss is 'l2'", "expected one of 'squared'")),
        ((X52, Y5, W2), {"device": "tpu"}, ValueError, ("device is 'tpu'", "expected one of")),
        ((X52[:0], Y5[:0], W2), {}, ValueError, ("X has shape (0, 2)", "expected at least one row")),
        ((X52, Y5[:2], W2), {}, ValueError, ("X has 5 rows", "y has 2 entries")),
    ],
)
def test_bad_input(args, kwargs, error, parts):
    with pytest.raises(error) as caught:
        gradient(*args, **kwargs)
    says(caught.value, *parts)


@pytest.mark.parametrize(
    ("kwargs", "error", "parts"),
    [
        ({"draws": 1}, ValueError, ("draws is 1", "expected")),
        ({"draws": 10**12}, ValueError, ("draws is 1000000000000", "expected an integer from 2 to")),
        ({"batch_sizes": [0]}, ValueError, ("batch_sizes is 0", "expected", "Pass sizes up to")),
        ({"batch_sizes": [6]}, ValueError, ("batch_sizes is 6", "from 1 to 5", "Pass sizes up to")),
        ({"batch_sizes": []}, ValueError, ("batch_sizes is empty", "expected at least one", "Pass sizes")),
        ({"batch_sizes": 5}, TypeError, ("batch_sizes is 5", "expected a sequence", "Pass sizes")),
        ({"batch_sizes": "12"}, TypeError, ("batch_sizes is '12'", "expected a sequence", "Pass sizes")),
        ({"w": [np.nan, 0]}, ValueError, ("w holds nan at row 0", "expected finite")),
        ({"b": np.inf}, ValueError, ("b is inf", "expected a finite number", "Pass")),
    ],
)
def test_bad_input_of_noise(kwargs, error, parts):
    with pytest.raises(error) as caught:
        gradient_noise(X52, Y5, **kwargs)
    says(caught.value, *parts)
