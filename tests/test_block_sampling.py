"""``sampling="block"``: rows that are read block by block, in windows, from wherever they are."""

from __future__ import annotations

import numpy as np
import pytest

import numbasgd
from numbasgd.sgd.block_order import Blocks, block_order, blocks_for, windows_of
from numbasgd.sgd.checkpoint import Checkpoint
from numbasgd.sgd.losses import LOSSES
from numbasgd.sgd.reference import reference
from numbasgd.sgd.solvers.streamed_objective import StreamedObjective
from numbasgd.sgd.streamed_dataset import StreamedDataset

N, D = 1003, 5
WINDOW = 0.008  # megabytes: 24 blocks of 8 rows of float64


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D))
    z = X @ rng.normal(size=(D, 3))
    return X, z + 0.1 * rng.normal(size=z.shape)


@pytest.fixture
def mapped(tmp_path):
    """An array as it is in a file."""

    def save(a, name="X"):
        np.save(tmp_path / f"{name}.npy", a)
        return np.load(tmp_path / f"{name}.npy", mmap_mode="r")

    return save


class Ranges:
    """Rows that have slices and nothing else, as those of HDF5 have."""

    def __init__(self, a):
        self.a, self.shape, self.dtype = a, a.shape, a.dtype

    def __getitem__(self, rows):
        assert type(rows) is slice
        return self.a[rows]


def same(one, other):
    """Whether two runs are the same to the last bit, evaluations included."""
    for name in ("w", "b", "loss", "objective", "samples"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one._state.data == other._state.data
    np.testing.assert_array_equal(one._state.weights, other._state.weights)


@pytest.mark.parametrize("n", [1, 7, 50, 1000])
@pytest.mark.parametrize("blocks", [Blocks(1, 1), Blocks(3, 2), Blocks(8, 24), Blocks(2000, 1)])
def test_each_row_comes_once_an_epoch_and_windows_hold_whole_blocks(n, blocks):
    orders = [block_order(3, epoch, n, blocks) for epoch in (0, 1)]
    for order in orders:
        assert sorted(order) == list(range(n))
        size = blocks.rows * blocks.window
        last = n // blocks.rows  # the block that may be short
        windows = [order[at : at + size] for at in range(0, n, size)] if n % blocks.rows == 0 else []
        for window in windows:
            assert len({*(window // blocks.rows)}) * blocks.rows == len(window), last
    if n > 7 and blocks.rows * blocks.window > 1:
        assert not np.array_equal(*orders)


def test_the_blocks_of_a_window_setting():
    assert blocks_for(64, np.dtype(np.float32), 24.0) == Blocks(3904, 24)
    assert blocks_for(64, np.dtype(np.float32), 240.0) == Blocks(4096, 228)  # of at most a megabyte each
    assert blocks_for(10**6, np.dtype(np.float64), 1.0) == Blocks(1, 1)
    windows = windows_of(0, 0, np.array([4, 4, 0, 3]), 2)
    assert windows.starts[-1] == 11 and sorted(np.concatenate(windows.blocks)) == [0, 1, 2, 3]


SETTINGS = {
    "plain": {},
    "batch of 1": dict(batch_size=1),
    "beyond a window": dict(batch_size=300),
    "all rows": dict(batch_size=N),
    "momentum": dict(momentum=0.9, nesterov=True),
    "averaged": dict(average=1),
    "penalties": dict(l2=0.01, l1=0.003),
    "cosine": dict(schedule="cosine"),
    "rates": dict(lr=[0.02, 0.01, 0.005]),
    "one window": dict(window=1.0),
    "sequential": dict(sampling="sequential"),
}


def slow(*case, unless):
    """A case that is left out by default: most need kernels that have to be compiled for them."""
    return pytest.param(*case, marks=() if unless else pytest.mark.slow, id="-".join(map(str, case)))


QUICK = ("plain", "batch of 1", "beyond a window", "all rows", "one window", "sequential")


@pytest.mark.parametrize(
    "name, targets",
    [
        slow(name, targets, unless=targets == "one" and name in QUICK)
        for name in SETTINGS
        for targets in ("one", "three", "weighted")
    ],
)
def test_steps_are_those_of_the_reference(data, name, targets):
    X, Y = data
    y = Y if targets == "three" else Y[:, 0]
    s = np.arange(N) % 4.0 if targets == "weighted" else None
    settings = dict(batch_size=32, epochs=3, lr=0.02, seed=1, window=WINDOW, sampling="block")
    settings |= SETTINGS[name]
    rows = Ranges(X) if settings["sampling"] == "sequential" else X
    fit = numbasgd.train(rows, y, sample_weight=s, **settings)
    expected = reference(X, y, s, **settings)
    np.testing.assert_allclose(fit.w.reshape(D, -1), expected[:-1], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.ravel(fit.b), expected[-1], rtol=1e-9, atol=1e-12)
    z = X @ fit.w + fit.b - y
    weights = np.ones(N) if s is None else s / s.mean()
    loss = 0.5 * np.mean(weights * (z * z).reshape(N, -1).sum(axis=1))
    assert fit.loss[-1] == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("loss", [slow(loss, unless=loss == "softmax") for loss in LOSSES if loss != "squared"])
def test_all_losses(data, loss):
    X, Y = data
    y = Y[:, 0]
    numbers = y
    if loss in ("logistic", "hinge"):
        y, numbers = np.where(y > 0, "up", "down"), np.where(y > 0, 1, -1)
    if loss == "softmax":
        numbers = Y.argmax(axis=1)
        y = numbers * 10
    settings = dict(batch_size=32, epochs=2, lr=0.02, seed=1, window=WINDOW, sampling="block", loss=loss)
    fit = numbasgd.train(X, y, **settings)
    expected = reference(X, numbers, **settings)
    np.testing.assert_allclose(fit.w.reshape(D, -1), expected[:-1], rtol=1e-9, atol=1e-12)
    if loss not in ("huber", "quantile"):
        assert fit.classes == tuple(np.unique(y).tolist())
        assert np.mean(fit.predict(X) == y) > 0.6


ALIKE = {
    "plain": {},
    "defaults": dict(lr="auto", epochs=None),
    "logistic": dict(lr="auto", loss="logistic"),
    "standardized": dict(standardize=True, batch_size=500),
    "held out": dict(validation_fraction=0.2, tol=1e-3, lr="auto"),
    "sequential": dict(sampling="sequential"),
}


@pytest.mark.parametrize(
    "name, dtype",
    [slow(n, t, unless=t == "float64" and n != "logistic") for n in ALIKE for t in ("float32", "float64")],
)
def test_any_kind_of_rows_gives_the_same_bits(data, mapped, name, dtype):
    changed = ALIKE[name]
    X, y = data[0].astype(dtype), data[1][:, 0].astype(dtype)
    X[:, 1] = 3 * X[:, 1] + 100
    X[:, 2] = 0.1  # constant
    if changed.get("loss") == "logistic":
        y = (y > 0).astype(int)
    s = 1 + (np.arange(N) % 3 == 0).astype(float)
    settings = dict(epochs=3, lr=1e-5, seed=1, window=WINDOW, sample_weight=s, sampling="block") | changed
    one = numbasgd.train(Ranges(X), Ranges(y), **settings, threads=1)
    others = [(Ranges(X), y), (Ranges(X), mapped(y, "y"))]
    if settings["sampling"] == "block":
        others += [(X, y), (mapped(X), y), (np.asfortranarray(X), Ranges(y))]
    for rows, targets in others:
        settings["sample_weight"] = Ranges(s) if rows is X else s
        same(one, numbasgd.train(rows, targets, **settings, threads=2))
    assert one.settings["sampling"] == settings["sampling"]


@pytest.mark.slow
def test_large_steps_are_made_in_parts_over_several_windows():
    rng = np.random.default_rng(0)
    n, d = 300_000, 4
    X = rng.normal(size=(n, d))
    y = X @ rng.normal(size=d)
    settings = dict(
        batch_size=200_000, epochs=2, lr=0.5, momentum=0.5, average=1, seed=0, sampling="block", window=2.0
    )
    fit = numbasgd.train(X, y, **settings, threads=1)
    expected = reference(X, y, **settings)
    np.testing.assert_allclose(fit.w, expected[:-1, 0], rtol=1e-9)
    same(fit, numbasgd.train(X, y, **settings, threads=2))


@pytest.mark.parametrize("batch_size", [1, 32, 300])
def test_a_run_goes_on_from_any_step_to_the_same_bits(data, mapped, tmp_path, monkeypatch, batch_size):
    X, y = mapped(data[0]), data[1][:, 0]
    settings = dict(batch_size=batch_size, epochs=3, lr=0.02, seed=1, window=WINDOW, momentum=0.5, average=1)
    whole = numbasgd.train(X, y, **settings)
    saved = []
    monkeypatch.setattr(Checkpoint, "save", lambda self, fit, **how: saved.append(fit))
    steps = 3 * -(-N // batch_size)
    numbasgd.train(X, y, **settings, checkpoint=tmp_path / "run", checkpoint_every=max(1, steps // 50))
    assert len(saved) > 9
    for fit in saved:
        rows = data[0] if fit is saved[1] else X
        same(whole, numbasgd.train(rows, y, resume=fit))
    assert numbasgd.train(X, y, resume=saved[0]).settings == whole.settings


@pytest.mark.parametrize("n", [N, 9001])
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_that_are_held_out_are_those_of_an_array(n, weighted):
    rng = np.random.default_rng(2)
    X = rng.normal(size=(n, D))
    y = X[:, 0] + rng.normal(size=n)
    s = np.arange(n) % 3.0 if weighted else None
    settings = dict(lr=0.01, epochs=1, seed=4, validation_fraction=0.3, sample_weight=s)
    block, full = (numbasgd.train(X, y, **settings, sampling=sampling) for sampling in ("block", "reshuffle"))
    assert block.n == full.n
    np.testing.assert_allclose(block.loss[0], full.loss[0], rtol=1e-12)
    np.testing.assert_allclose(block.validation_loss[0], full.validation_loss[0], rtol=1e-12)


def test_an_evaluation_reads_training_and_held_out_rows_in_one_pass(data, monkeypatch):
    X, y = data[0], data[1][:, 0]
    settings = dict(lr=0.01, epochs=2, seed=4, validation_fraction=0.3, window=WINDOW)
    monkeypatch.setattr("numbasgd.sgd.streamed_dataset._PIECE_BYTES", 1000)
    monkeypatch.setattr("numbasgd.sgd.streamed_dataset._THREAD_BYTES", 0)
    shared = numbasgd.train(Ranges(X), y, **settings)
    passes = []
    groups = StreamedDataset.groups
    monkeypatch.setattr(StreamedDataset, "groups", lambda self, *of: passes.append(self) or groups(self, *of))
    same(shared, numbasgd.train(Ranges(X), y, **settings))
    assert len(passes) == 6 and passes[0] is not passes[1] and passes[::2] == [passes[0]] * 3
    monkeypatch.setattr(StreamedObjective, "share_passes", lambda self, other: None)
    apart = numbasgd.train(Ranges(X), y, **settings)
    same(shared, apart)
    np.testing.assert_array_equal(shared.validation_loss, apart.validation_loss)
