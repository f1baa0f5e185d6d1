"""``gradient`` against NumPy in float64, and the statistics of minibatch gradients."""

import numpy as np
import pytest
from child import run_python
from conftest import says

from numbasgd import airfoil_twin, gradient, gradient_noise


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
        for dtype in ({dtype!r},):
            for n, d in {shapes}:
                for at_end in (True, False):
                    X, y, w = (guarded(s, dtype, at_end=at_end) for s in ((n, d), (n,), (d,)))
                    X[:], y[:], w[:] = 0.1, 1.0, 0.1
                    gradient(X, y, w, rows=np.arange(n)[::-1])
                    g, gb = gradient(X, y, w)
                    assert np.allclose(g, 0.1 * gb)
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
