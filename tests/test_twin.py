"""The twin has the moments of the data, and so its whole least-squares landscape; it is the same everywhere."""

import hashlib
import os

import numpy as np
import pytest

from numbasgd import airfoil_twin, load_airfoil
from numbasgd.data import twin

needs_file = pytest.mark.skipif(
    not os.environ.get("NUMBASGD_DATA_DIR"),
    reason="NUMBASGD_DATA_DIR does not name a folder with the airfoil file",
)
MINIMUM = 0.241688
W = [-0.583179, -0.365512, -0.484336, 0.223865, -0.271330]
B = 0.001972
EIGENVALUES = [0.173686, 0.666494, 0.918056, 1.000044, 1.126161, 2.098478]
PATH = [0.275711, 0.250312, 0.246494, 0.245498, 0.245132, 0.245078, 0.245259, 0.245642, 0.246217, 0.246988]


@pytest.fixture(params=["twin", pytest.param("file", marks=needs_file)])
def problem(request):
    """The design matrix with its column of ones and the target, in float64."""
    X, y = airfoil_twin() if request.param == "twin" else load_airfoil()
    return np.column_stack((X, np.ones(len(y)))).astype(np.float64), y.astype(np.float64)


def test_minimum_is_that_of_the_data(problem):
    A, y = problem
    w = np.linalg.solve(A.T @ A, A.T @ y)
    np.testing.assert_allclose(w, [*W, B], atol=1e-6)
    assert 0.5 * np.mean((A @ w - y) ** 2) == pytest.approx(MINIMUM, abs=1e-6)
    assert 0.5 * np.mean(y**2) == pytest.approx(0.493259, abs=1e-6)


def test_curvature_is_that_of_the_data(problem):
    A, y = problem
    np.testing.assert_allclose(np.linalg.eigvalsh(A.T @ A / len(y)), EIGENVALUES, atol=1e-6)


def test_gradient_descent_takes_the_path_of_the_data(problem):
    A, y = problem
    w, losses = np.zeros(6), []
    for _ in PATH:
        w -= A.T @ (A @ w - y) / len(y)
        losses.append(0.5 * np.mean((A @ w - y) ** 2))
    np.testing.assert_allclose(losses, PATH, atol=1e-6)


@needs_file
def test_constants_are_the_moments_of_the_file():
    mean, second = twin.moments(*load_airfoil())
    np.testing.assert_allclose(mean, twin.MEAN, rtol=0, atol=2e-7)
    for found, embedded in zip(second, twin.SECOND_MOMENT, strict=True):
        np.testing.assert_allclose(found, embedded, rtol=0, atol=2e-7)


def test_rows_have_the_embedded_moments():
    mean, second = twin.moments(*airfoil_twin())
    np.testing.assert_allclose(mean, twin.MEAN, rtol=0, atol=1e-8)
    for found, embedded in zip(second, twin.SECOND_MOMENT, strict=True):
        np.testing.assert_allclose(found, embedded, rtol=0, atol=1e-7)


def test_rows_are_pinned_to_the_bit():
    X, y = airfoil_twin()
    np.testing.assert_array_equal(
        X[0], np.array([0.08883761, 0.039073415, -0.98387146, -0.3149413, -0.022221347], np.float32)
    )
    np.testing.assert_array_equal(y[:3], np.array([-0.36447942, -0.79183954, 0.25177956], np.float32))
    content = np.column_stack((X, y)).astype("<f4").tobytes()
    assert hashlib.sha256(content).hexdigest() == (
        "b4097564b519af776484a3f15b1c743bc29bea6b8856120d159ff06f22c999f3"
    )


def test_base_is_nearly_gaussian_and_independent():
    base = twin._base() / 65536.0
    assert abs(base.mean(axis=0)).max() < 4 / np.sqrt(1500)
    np.testing.assert_allclose(base.std(axis=0), 1, atol=4 / np.sqrt(3000))
    correlation = np.corrcoef(base.T) - np.eye(6)
    assert abs(correlation).max() < 4 / np.sqrt(1500)
    assert (abs(base) > 2).mean() == pytest.approx(0.0455, abs=0.01)
    assert len(np.unique(base)) > 0.9 * base.size


def test_every_call_gives_arrays_of_its_own():
    X, y = airfoil_twin()
    assert (X.shape, X.dtype, y.shape, y.dtype) == ((1500, 5), np.float32, (1500,), np.float32)
    assert X.flags.c_contiguous and X.flags.writeable and y.flags.c_contiguous and y.flags.writeable
    before = X.copy(), y.copy()
    X[:], y[:] = 0, 0
    for again, kept in zip(airfoil_twin(), before, strict=True):
        np.testing.assert_array_equal(again, kept)
