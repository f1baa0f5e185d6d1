"""Sparse rows: steps as on the dense array, lazy or not, any setting, any SciPy format, and what is refused."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import numpy as np
import pytest
from conftest import says
from runs import assert_same, cut

from numbasgd import DeviceError, DivergenceError, Fit, gradient, train
from numbasgd.sgd.config import TrainConfig
from numbasgd.sgd.csr import Csr, csr_of
from numbasgd.sgd.inputs import make_dataset
from numbasgd.sgd.reference import reference
from numbasgd.sgd.solvers import sparse_solver
from numbasgd.sgd.solvers.sparse_solver import LazySolver

sparse = pytest.importorskip("scipy.sparse")
N, D = 300, 400  # 4 entries a row, so that steps on fewer than 100 rows have fewer entries than weights
RUN = {"lr": 0.1, "epochs": 3, "seed": 1}


@pytest.fixture(scope="module")
def rows():
    """X, some of its rows and columns empty, and real targets."""
    rng = np.random.default_rng(7)
    X = sparse.random(N, D, 0.01, format="lil", random_state=rng)
    X[[0, 17, N - 1]] = 0
    X = sparse.csr_array(X)
    return X, X @ rng.standard_normal(D) + 1 + 0.1 * rng.standard_normal(N)


def targets_of(kind, X, y):
    """What is passed to ``train``, and to ``reference``."""
    rng = np.random.default_rng(8)
    if kind == "signs":
        return np.where(y > 1, "yes", "no"), np.where(y > 1, 1, -1)
    if kind == "classes":
        classes = np.digitize(y, [0.5, 1.5])
        return np.array(["low", "middle", "top"])[np.array([1, 0, 2])][classes], np.array([1, 0, 2])[classes]
    if kind == "columns":
        Y = np.column_stack([y, -y, X @ rng.standard_normal(D)])
        return Y, Y
    return y, y


def assert_as_dense(rows, kind="real", weights=False, **settings):
    X, y = rows
    given, numbers = targets_of(kind, X, y)
    s = np.random.default_rng(9).uniform(0, 2, N) if weights else None
    if weights:
        s[5:9] = 0
    settings = {**RUN, **settings}
    found = train(X, given, sample_weight=s, **settings)
    wanted = reference(X.toarray(), numbers, s, **settings)
    np.testing.assert_allclose(found.w.reshape(D, -1), wanted[:-1], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.b, wanted[-1].reshape(np.shape(found.b)), rtol=1e-9, atol=1e-12)
    return found


L1, L2 = {"l1": 2e-3}, {"l2": 0.05}
FEW = [  # each a kernel of its own
    ("real", {"batch_size": 1, **L1, **L2}),
    ("signs", {"loss": "logistic", "batch_size": 7, "average": 1, **L2, "weights": True}),
    ("real", {"batch_size": 5, "momentum": 0.9, **L1, "average": True}),
    ("classes", {"loss": "softmax", "batch_size": 4, **L1}),
]
MORE = [
    (kind, {"loss": loss, "batch_size": batch_size, **step, "weights": weights})
    for kind, loss in [
        ("real", "squared"), ("real", "huber"), ("real", "quantile"), ("columns", "squared"),
        ("columns", "huber"), ("signs", "logistic"), ("signs", "hinge"), ("classes", "softmax"),
    ]
    for step in [
        {}, {**L1, **L2}, {"average": True, **L2}, {"average": 2}, {"momentum": 0.8, "nesterov": True, **L2},
        {**L1, "average": 1},
    ]
    for batch_size, weights in [(1, False), (32, True), (N, False)]
]  # fmt: skip


def name(case):
    kind, settings = case
    return "-".join([kind, *(f"{k}={v}" for k, v in settings.items())])


@pytest.mark.parametrize("case", FEW, ids=name)
def test_steps_are_those_on_the_dense_array(rows, case):
    kind, settings = case
    assert_as_dense(rows, kind, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("case", MORE, ids=name)
def test_more_steps_are_those_on_the_dense_array(rows, case):
    kind, settings = case
    assert_as_dense(rows, kind, **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"sampling": "once"}, {"sampling": "replacement"}, {"sampling": "sequential"}, {"intercept": False},
        {"lr": [0.1, 0.05, 0.2]}, {"l2": 4.0}, {"l2": 10.0}, {"l2": 11.0}, {"l2": 0.5, "l1": 0.01},
    ],
    ids=str,
)  # fmt: skip
def test_lazy_weights_follow_every_setting(rows, settings):
    """``1 - lr * l2`` is small, 0 or below it in some, where all weights are brought up to date in a step."""
    assert_as_dense(rows, batch_size=1, **{"l1": 1e-3, **settings})


def test_steps_with_fewer_entries_than_weights_are_lazy_where_they_can_be(rows):
    X, y = rows
    kinds = {}
    for label, settings in [
        ("few", {}), ("many", {"batch_size": 200}), ("momentum", {"momentum": 0.5}),
        ("mean and l1", {"average": True, **L1}), ("mean", {"average": True}), ("l1", L1),
    ]:  # fmt: skip
        kinds[label] = type(_solver_of(X, y, {"batch_size": 2, **settings})) is LazySolver
    assert kinds == {
        "few": True, "many": False, "momentum": False, "mean and l1": False, "mean": True, "l1": True,
    }  # fmt: skip


def _solver_of(X, y, settings):
    config = TrainConfig(**{**RUN, **settings})
    dataset = make_dataset(X, y, None, "squared")
    return dataset.solver(config.method(dataset.n, np.array([0.1])))


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(3)
    X = sparse.random(80, 25, 0.2, format="csr", random_state=rng)
    return X, X @ rng.standard_normal(25) - 0.2, rng.standard_normal(80)


LONG = {"l2": 0.02, "epochs": 3000, "lr": 0.5, "seed": 0, "eval_every": None, "batch_size": 80}


OPTIMA = [  # loss, targets, penalties, whether rows have weights
    ("squared", "real", {"l2": 0.02}, False),
    ("logistic", "signs", {"l2": 0.02}, True),
    ("huber", "real", {"l2": 0.02, "l1": 0.01}, True),
    ("squared", "columns", {"l1": 0.02}, False),
    ("huber", "columns", {"l2": 0.02}, True),
    ("hinge", "signs", {"l2": 0.1}, False),
    ("quantile", "real", {"l2": 0.1}, True),
    ("softmax", "classes", {"l2": 0.02, "l1": 0.002}, False),
]


@pytest.mark.parametrize(
    ("loss", "kind", "penalties", "weighted"),
    [OPTIMA[0], *(pytest.param(*case, marks=pytest.mark.slow) for case in OPTIMA[1:])],
    ids=str,
)
def test_optimum_is_that_of_the_dense_run(small, loss, kind, penalties, weighted):
    """By gradient descent, and from there on by epochs of small steps whose rate falls to nothing."""
    X, y, noise = small
    y, s = y + 0.3 * noise, np.random.default_rng(2).uniform(0, 2, 80) if weighted else None
    y = {
        "real": y, "signs": y > 0, "columns": np.column_stack([y, -y, noise]),
        "classes": np.digitize(y, [-1, 1]),
    }[kind]  # fmt: skip
    run = {"loss": loss, "sample_weight": s, **LONG, **penalties}
    small_steps = {**run, "batch_size": 1, "epochs": 50, "lr": [0.01 / (1 + k) for k in range(50)]}
    dense = train(X.toarray(), y, **run)
    found = train(X, y, **run)
    near = [train(rows, y, init=dense, **small_steps) for rows in (X, X.toarray())]
    for a, b in ((found, dense), near):
        np.testing.assert_allclose(a.w, b.w, atol=1e-6)
        np.testing.assert_allclose(a.b, b.b, atol=1e-6)
    if loss not in ("hinge", "quantile"):  # whose steps around the optimum do not get smaller
        np.testing.assert_allclose(near[0].objective[-1], found.objective[-1], rtol=1e-3)


def test_lazy_steps_end_at_the_optimum(small):
    """That of rows that can be fitted exactly, where no noise of the steps is left."""
    X, y, _ = small
    found = train(X, y, **{**LONG, "l2": 0.0, "batch_size": 2})
    A = np.column_stack([X.toarray(), np.ones(80)])
    np.testing.assert_allclose(np.append(found.w, found.b), np.linalg.lstsq(A, y)[0], atol=1e-6)


RESUMED = [
    ("real", {**L1, **L2, "batch_size": 3}),
    ("real", {"average": 1, **L2, "batch_size": 3}),
    pytest.param(("classes", {"loss": "softmax", "average": True, "batch_size": 4}), marks=pytest.mark.slow),
    pytest.param(("real", {"momentum": 0.5, "batch_size": 3}), marks=pytest.mark.slow),
]


@pytest.mark.parametrize("case", RESUMED, ids=name)
def test_a_run_stopped_anywhere_and_resumed_has_the_same_bits(rows, case, monkeypatch, tmp_path):
    """Weights are brought up to date three times an epoch here; a run stops there and in between."""
    monkeypatch.setattr(sparse_solver, "SETTLED", 4 * 100)
    kind, settings = case
    X, y = rows
    y, _ = targets_of(kind, X, y)
    settings = {**RUN, **settings}
    whole = train(X, y, **settings)
    for steps in (1, 24, 25, 26, 101, 130):
        stopped = cut(monkeypatch, tmp_path, steps, lambda **more: train(X, y, **settings, **more))
        stopped.save(tmp_path / "part.fit")
        part = Fit.load(tmp_path / "part.fit")
        assert 0 < part._state.samples < 3 * N
        np.testing.assert_array_equal(part.w, stopped.w)
        assert_same(train(X, y, resume=part), whole)


@pytest.mark.parametrize("settings", [L1, {"average": True}], ids=str)
def test_looking_at_the_weights_does_not_change_them(rows, settings):
    X, y = rows
    often = train(X, y, batch_size=1, eval_every=7, **RUN, **settings)
    once = train(X, y, batch_size=1, eval_every=None, **RUN, **settings)
    np.testing.assert_array_equal(often.w, once.w)


def test_every_format_is_taken_and_left_alone(rows):
    X, y = rows
    wanted = train(X, y, batch_size=5, **RUN).w
    shuffled = X.copy()
    for i in range(N):
        part = slice(X.indptr[i], X.indptr[i + 1])
        shuffled.indices[part], shuffled.data[part] = X.indices[part][::-1], X.data[part][::-1]
    shuffled.has_sorted_indices = True  # which is not so
    twice = sparse.csr_array(
        (np.repeat(X.data, 2) / 2, np.repeat(X.indices, 2), 2 * X.indptr.astype(np.int64)), X.shape
    )
    long = X.copy()
    long.indices, long.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    formats = {
        "csc": X.tocsc(), "coo": X.tocoo(), "matrix": sparse.csr_matrix(X), "lil": X.tolil(),
        "shuffled": shuffled, "twice": twice, "int64 indices": long,
    }  # fmt: skip
    for kind, other in formats.items():
        before = other.copy()
        np.testing.assert_array_equal(train(other, y, batch_size=5, **RUN).w, wanted, err_msg=kind)
        if kind in ("shuffled", "twice"):
            np.testing.assert_array_equal(other.data, before.data)
            np.testing.assert_array_equal(other.indices, before.indices)
    for a in (X.data, X.indices, X.indptr):
        a.setflags(write=False)
    np.testing.assert_array_equal(train(X, y, batch_size=5, **RUN).w, wanted)
    assert train(X.astype(np.float32), y.astype(np.float32), batch_size=5, **RUN).w.dtype == np.float32
    counts = sparse.csr_array((np.ones(X.nnz, np.int32), X.indices, X.indptr), X.shape)
    np.testing.assert_array_equal(train(counts, y, **RUN).w, train(counts.astype(np.float64), y, **RUN).w)


def test_predictions_are_those_of_the_dense_array(rows):
    X, y = rows
    for kind, loss in (("real", "squared"), ("classes", "softmax")):
        fit = train(X, targets_of(kind, X, y)[0], loss=loss, batch_size=5, **RUN, **L1)
        for given in (X, X.tocsc(), sparse.csr_matrix(X)):
            np.testing.assert_allclose(
                fit.decision_function(given), fit.decision_function(X.toarray()), atol=1e-12
            )
            np.testing.assert_array_equal(
                fit.predict(given) if fit.classes else np.round(fit.predict(given), 9),
                fit.predict(X.toarray()) if fit.classes else np.round(fit.predict(X.toarray()), 9),
            )
        if fit.classes:
            np.testing.assert_allclose(fit.predict_proba(X), fit.predict_proba(X.toarray()), atol=1e-12)
    with pytest.raises(ValueError) as caught:
        fit.predict(X[:, :5])
    says(caught.value, "X has 5 columns", f"{D} weights")
    broken = X.copy()
    broken.data[7] = np.inf
    with pytest.raises(ValueError) as caught:
        fit.predict(broken)
    says(caught.value, f"X holds inf at row 2, column {X.indices[7]}", "before predicting")


def test_the_loss_is_that_of_the_dense_array(rows):
    X, y = rows
    run = {**RUN, "batch_size": 5, "validation_fraction": 0.2, "tol": 1e-9, **L2}
    found, dense = train(X, y, **run), train(X.toarray(), y, **run)
    for field in ("loss", "objective", "validation_loss"):
        np.testing.assert_allclose(getattr(found, field), getattr(dense, field), rtol=1e-9)
    assert found.n == dense.n < N


GRADIENTS = [("squared", "real"), ("logistic", "signs"), ("softmax", "classes"), ("huber", "columns")]


@pytest.mark.parametrize(
    ("loss", "kind", "dtype"),
    [
        pytest.param(*case, dtype, marks=pytest.mark.slow if i or dtype == np.float32 else ())
        for dtype in (np.float64, np.float32)
        for i, case in enumerate(GRADIENTS)
    ],
)
def test_the_gradient_is_that_of_the_dense_array(rows, loss, kind, dtype):
    X, y = rows
    y = targets_of(kind, X, y)[1]
    rng = np.random.default_rng(4)
    columns = (3,) if kind in ("classes", "columns") else ()
    w, b = rng.standard_normal((D, *columns)), rng.standard_normal(columns)
    for index in (None, [5, 5, 0, -1], np.arange(N) % 3 == 0):
        g, gb = gradient(X.tocsc().astype(dtype), y.astype(dtype), w.astype(dtype), b, loss=loss, rows=index)
        wanted, wanted_b = gradient(X.toarray(), y, w, b, loss=loss, rows=index)
        assert g.dtype == dtype and type(gb) is type(wanted_b)
        np.testing.assert_allclose(g, wanted, atol=1e-12 if dtype == np.float64 else 1e-5)
        np.testing.assert_allclose(gb, wanted_b, atol=1e-12 if dtype == np.float64 else 1e-5)


def test_gradients_of_sparse_rows_say_what_is_wrong(rows):
    X, y = rows
    with pytest.raises(DeviceError) as caught:
        gradient(X, y, np.zeros(D), device="cuda")
    says(caught.value, 'device is "cuda"', "X is sparse", "dense array")
    with pytest.raises(ValueError) as caught:
        gradient(X, y, np.zeros(3))
    says(caught.value, f"X has {D} columns", "w has 3 entries")


def test_held_out_rows_may_be_passed(rows):
    X, y = rows
    run = {**RUN, "batch_size": 5}
    fit = train(X, y, validation_data=(X.tocsc()[:100], y[:100]), **run)
    residual = X.toarray()[:100] @ fit.w + fit.b - y[:100]
    np.testing.assert_allclose(fit.validation_loss[-1], 0.5 * np.mean(residual**2), rtol=1e-9)
    assert train(X, y, resume=fit, validation_data=(X[:100], y[:100]), epochs=4).epochs[-1] == 4
    for given, parts in (
        ((X.toarray(), y), ("is a dense array and X a sparse array", "same kind")),
        ((X[:, 1:], y), ("has shape (300, 399)", "X has 400 columns")),
    ):
        with pytest.raises((TypeError, ValueError)) as caught:
            train(X, y, validation_data=given, **run)
        says(caught.value, "validation_data's X", *parts)


def test_standardize_scales_sparse_columns_and_leaves_their_mean(rows):
    X, y = rows
    root = np.sqrt((X.toarray() ** 2).mean(axis=0))
    root[root == 0] = 1
    found = train(X, y, batch_size=5, standardize=True, **{**RUN, "lr": 1e-3})
    wanted = reference(X.toarray() / root, y, batch_size=5, **{**RUN, "lr": 1e-3})
    np.testing.assert_allclose(found.w, wanted[:-1, 0] / root, atol=1e-12)
    np.testing.assert_allclose(found.b, wanted[-1, 0], atol=1e-12)


@pytest.mark.parametrize("loss", ["squared", pytest.param("logistic", marks=pytest.mark.slow)])
def test_lr_auto_is_found_by_short_runs(rows, loss):
    X, y = rows
    y = y if loss == "squared" else np.where(y > 1, 1, 0)
    run = {"loss": loss, "batch_size": 4, "seed": 0, "l2": 1e-4, "epochs": 4, "standardize": False}
    fit = train(X, y, **run)
    assert fit.settings["lr_given"] == "auto"

    def end(lr):
        try:
            return train(X, y, **run, lr=lr).objective[-1]
        except DivergenceError:
            return np.inf

    ladder = [end(fit.settings["lr"] * 4.0**k) for k in (-2, -1, 1)]
    assert fit.objective[-1] < fit.objective[0]
    assert fit.objective[-1] <= 1.02 * min(ladder)


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 32, "l2": 1e-4},
        *(
            pytest.param(more, marks=pytest.mark.slow)
            for more in (
                {"batch_size": 1, "l2": 1e-4}, {"batch_size": 32, "loss": "logistic"},
                {"batch_size": 16, "momentum": 0.9}, {"batch_size": 16, "average": 2},
            )
        ),
    ],
    ids=str,
)  # fmt: skip
def test_lr_auto_is_not_that_of_fewer_rows_where_columns_are_many(settings):
    """A tenth of such rows in minibatches of a tenth has a best rate some octaves lower."""
    rng = np.random.default_rng(0)
    n, d, entries = 6000, 2000, 20
    columns = rng.integers(0, d, n * entries)
    X = sparse.csr_array((rng.standard_normal(n * entries), columns, np.arange(n + 1) * entries), (n, d))
    y = X @ rng.standard_normal(d) + rng.standard_normal(n)
    y = y > 0 if "loss" in settings else y
    fit = train(X, y, epochs=5, seed=0, **settings)
    best = fit.objective[-1]
    for octave in (-2, -1, 1, 2):
        with contextlib.suppress(DivergenceError):
            lr = fit.settings["lr"] * 2.0**octave
            best = min(best, train(X, y, epochs=5, seed=0, lr=lr, eval_every=None, **settings).objective[-1])
    assert fit.objective[-1] <= 1.5 * best


def test_dense_labels_are_wanted_for_sparse_rows(rows):
    X, y = rows
    for given, loss in (
        (sparse.csr_array(y[:, None]), "squared"),
        (sparse.csr_array(y[:, None] > 1), "logistic"),
    ):
        with pytest.raises(TypeError) as caught:
            train(X, given, loss=loss, **RUN)
        says(caught.value, "y is a sparse matrix", "expected a dense array", "toarray()")


def test_bad_sparse_rows_are_refused(rows):
    X, y = rows
    broken = X.copy()
    broken.data[[40, 50]] = np.nan
    row = np.searchsorted(X.indptr, 40, side="right") - 1
    with pytest.raises(ValueError) as caught:
        train(broken, y, **RUN)
    says(caught.value, f"X holds nan at row {row}, column {X.indices[40]} (1 more like it)")
    with pytest.raises(ValueError) as caught:
        train(broken, y, **{**RUN, "lr": "auto"})
    says(caught.value, f"X holds nan at row {row}")
    outside = X.copy()
    outside.indices[3] = D
    with pytest.raises(ValueError) as caught:
        train(outside, y, **RUN)
    says(caught.value, "X has indices that names columns that are not there")
    falling = X.copy()
    falling.indptr[5] = X.nnz
    with pytest.raises(ValueError) as caught:
        train(falling, y, **RUN)
    says(caught.value, "X has indptr whose first entry is not 0 or that falls")
    with pytest.raises(TypeError) as caught:
        train(X.astype(complex), y, **RUN)
    says(caught.value, "X has dtype complex128")
    with pytest.raises(ValueError) as caught:
        train(X[:10], y, **RUN)
    says(caught.value, "X has 10 rows and y has 300 entries")
    with pytest.raises(ValueError) as caught:
        train(X[:0], y[:0], **RUN)
    says(caught.value, "at least one row")
    with pytest.raises(ValueError) as caught:
        train(sparse.coo_array(np.ones(5)), y[:5], **RUN)
    says(caught.value, "X has 1 dimension")
    with pytest.raises(ValueError) as caught:
        train(X, y, **{**RUN, "batch_size": N + 1})
    says(caught.value, "batch_size is 301")


def test_other_data_is_not_resumed_on(rows):
    X, y = rows
    fit = train(X, y, batch_size=5, **RUN)
    other = X.copy()
    other.data = X.data * 2
    for given in (other, X[:, ::-1], X.toarray()):
        with pytest.raises(ValueError) as caught:
            train(given, y, resume=fit, epochs=4)
        says(caught.value, "X holds other numbers than the run to resume")


def test_rows_of_no_entry_at_all():
    X = sparse.csr_array((5, 3))
    fit = train(X, np.arange(5.0), batch_size=1, lr=0.1, epochs=1, seed=0)
    assert not fit.w.any()
    assert fit.b != 0
    assert train(X, np.arange(5.0), epochs=2, seed=0).b != 0  # with a rate that is chosen
    with pytest.raises(ValueError) as caught:
        train(sparse.csr_array((5, 0)), np.arange(5.0), lr=0.1)
    says(caught.value, "X has shape (5, 0)", "at least one column")


def test_some_rows_are_a_copy_of_them(rows):
    X, _ = rows
    found = csr_of(X)
    assert isinstance(found, Csr)
    for index in (np.array([3, 0, 299, 3]), slice(None), np.array([], int)):
        part = found[index]
        dense = sparse.csr_array((part.data, part.indices, part.indptr), part.shape).toarray()
        np.testing.assert_array_equal(dense, X.toarray()[index])


def test_scipy_is_not_needed():
    code = (
        "import sys; sys.modules['scipy'] = None\n"  # so that an import of it fails
        "import numbasgd; print(numbasgd.train(epochs=1, lr=0.1, seed=0).n)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1500"


@pytest.mark.parametrize("dtypes", [("f4", "f8"), ("f8", "f4"), ("i8", "f4")])
def test_rows_and_targets_of_two_dtypes(dtypes):
    X = sparse.csr_array(np.eye(5, dtype=dtypes[0]))
    y = np.arange(5).astype(dtypes[1])
    assert train(X, y, lr=0.1, epochs=1).w.dtype == np.float64
    g, gb = gradient(X, y, np.zeros(5))
    assert g.dtype == np.float64 and gb == -2.0
