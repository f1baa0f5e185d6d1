"""Runs on rows in a file that go wrong, or are stopped: a clear error, nothing lost, the same bits later."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest
from child import run_python
from test_block_sampling import Ranges, same

import numbasgd
from numbasgd.errors import DataError
from numbasgd.sgd.background import Background

N, D = 3000, 4
# 24 blocks of 40 rows are a window, and an epoch has four of them.
SETTINGS = dict(batch_size=16, epochs=4, lr=0.02, seed=5, window=24 * 40 * D * 8 / 1e6)
MODES = {
    "plain": {},
    "standardized": dict(standardize=True),
    "held-out": dict(validation_fraction=0.1),
    "beyond-a-window": dict(batch_size=1200, lr=0.5),
    "sequential": dict(sampling="sequential"),
}
SOME_SLOW = ["plain", *(pytest.param(mode, marks=pytest.mark.slow) for mode in MODES if mode != "plain")]


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(N, D))
    y = X @ np.arange(1.0, D + 1) + rng.normal(size=N)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    return X, y


def in_file(tmp_path, mode):
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    return Ranges(X) if mode == "sequential" else X  # a memmap has that order in place


@pytest.mark.parametrize("mode", [*SOME_SLOW, pytest.param("in-parts", marks=pytest.mark.slow)])
def test_a_file_that_is_cut_while_it_is_read(data, tmp_path, mode, monkeypatch):
    """The error names file and rows; the run so far goes on to the same bits once the file is whole."""
    y = data[1]
    settings = SETTINGS | MODES.get(mode, {})
    if mode == "in-parts":
        monkeypatch.setattr("numbasgd.sgd.solvers.large_batch.ENTRIES", 8 * (D + 8))
    path = str(tmp_path / "X.npy")
    whole = numbasgd.train(path, y, **settings)
    content = (tmp_path / "X.npy").read_bytes()

    def cut(fit):
        if fit.epochs[-1] == 2:
            os.truncate(path, len(content) // 2)

    with pytest.raises(DataError, match=r"X\.npy.* is cut") as caught:
        numbasgd.train(path, y, **settings, callback=cut, checkpoint=tmp_path / "run")
    fit = caught.value.fit
    assert 2 <= fit.epochs[-1] < 4 and np.isfinite(fit.w).all()
    (tmp_path / "X.npy").write_bytes(content)
    same(whole, numbasgd.train(path, y, resume=fit))
    same(whole, numbasgd.train(path, y, resume=tmp_path / "run"))


def test_a_memmap_that_is_cut_is_an_error_and_not_the_end_of_the_process(data, tmp_path):
    out = run_python(
        """
        import os, sys, numpy as np, numbasgd
        X, y = (np.load(name, mmap_mode="r") for name in ("X.npy", "y.npy"))
        which = sys.stdin.read()
        def cut(fit):
            os.truncate(which, 4096)
        try:
            numbasgd.train(X, y, batch_size=16, epochs=4, lr=0.02, seed=5, window=0.03, callback=cut)
        except numbasgd.DataError as error:
            print(error, error.fit.epochs[-1])
        """,
        cwd=tmp_path,
        stdin="X.npy",
    )
    assert "X cannot be read at rows" in out and "was cut to 4,096 bytes" in out


class Failing(Ranges):
    """Rows whose second half can be read so many times."""

    def __init__(self, a, times):
        super().__init__(a)
        self.left, self.threads = times, set()

    def __getitem__(self, rows):
        self.threads.add(threading.current_thread())
        if rows.start >= len(self.a) // 2:
            self.left -= 1
            if self.left < 0:
                raise OSError("the disk has gone")
        return super().__getitem__(rows)


@pytest.mark.parametrize("times", [0, 510, 545, 560, 600, 640, 700])
def test_an_error_of_the_reader_reaches_the_caller_with_its_rows(data, times, monkeypatch):
    X, y = data
    monkeypatch.setattr("numbasgd.sgd.streamed_dataset._THREAD_BYTES", 0)
    whole = numbasgd.train(Ranges(X), y, **SETTINGS)
    rows = Failing(X, times)
    with pytest.raises(DataError, match=r"X cannot be read at rows \d+ to \d+: the disk has gone") as caught:
        numbasgd.train(rows, y, **SETTINGS)
    if (fit := getattr(caught.value, "fit", None)) is not None:
        rows.left = 10**9
        same(whole, numbasgd.train(rows, y, resume=fit))
        assert len(rows.threads) > 1
    assert times < 560 or fit is not None  # before, no step has been made
    assert all(t is threading.main_thread() or not t.is_alive() for t in rows.threads)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no setitimer")
@pytest.mark.parametrize("after", [0.05, 0.15, 0.3])
def test_ctrl_c_while_rows_are_read_leaves_a_run_that_goes_on(data, after, monkeypatch):
    X, y = data
    monkeypatch.setattr("numbasgd.sgd.streamed_dataset._THREAD_BYTES", 0)
    whole = numbasgd.train(Ranges(X), y, **SETTINGS)

    class Slow(Ranges):
        def __getitem__(self, rows):
            time.sleep(0.001)
            return super().__getitem__(rows)

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, after)
        with pytest.raises(KeyboardInterrupt) as caught:
            numbasgd.train(Slow(X), y, **SETTINGS | dict(epochs=1000))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    fit = getattr(caught.value, "fit", None)
    if fit is not None and fit.epochs[-1] <= 4:
        same(whole, numbasgd.train(X, y, resume=fit, epochs=4))


@pytest.mark.parametrize("mode", SOME_SLOW)
def test_a_killed_run_goes_on_from_its_checkpoint(data, tmp_path, mode):
    settings = SETTINGS | MODES[mode]
    every = 1 if mode == "beyond-a-window" else 70
    code = f"""
        import os, signal, numbasgd
        def kill(fit):
            if fit.epochs[-1] == 3:
                os.kill(os.getpid(), signal.SIGKILL)
        settings = {settings!r}
        numbasgd.train("X.npy", "y.npy", **settings, callback=kill, checkpoint="run", checkpoint_every={every})
        """
    with pytest.raises(AssertionError, match="exit -9"):
        run_python(code, cwd=tmp_path)
    X, y = in_file(tmp_path, mode), data[1]
    same(numbasgd.train(X, y, **settings), numbasgd.train(X, y, resume=tmp_path / "run"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_that_is_forked_while_rows_are_read_goes_on_with_the_run(data, monkeypatch):
    """It has no reader thread, and reads what that was to read."""
    X, y = data
    monkeypatch.setattr("numbasgd.sgd.streamed_dataset._THREAD_BYTES", 0)
    whole = numbasgd.train(Ranges(X), y, **SETTINGS)
    children = []

    class Slow(Ranges):
        def __getitem__(self, rows):
            if threading.current_thread() is not threading.main_thread():
                time.sleep(0.002)
            return super().__getitem__(rows)

    def fork(fit):
        if fit.epochs[-1] == 2:
            children.append(os.fork())

    try:
        fit = numbasgd.train(Slow(X), y, **SETTINGS, callback=fork)
        same(whole, fit)
    except BaseException:
        if children == [0]:
            os._exit(1)
        raise
    if children == [0]:
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0


def test_what_cannot_be_read_in_another_thread_is_read_in_this_one(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert Background().begin(lambda: 3).result() == 3


@pytest.mark.parametrize("how", ["file", "array"])
@pytest.mark.parametrize(
    "changed", [{}, dict(standardize=True), dict(lr="auto"), dict(validation_fraction=0.2)]
)
def test_a_nan_is_named_by_row_and_column(data, tmp_path, how, changed):
    X, y = data
    X[2501, 3] = np.nan
    np.save(tmp_path / "X.npy", X)
    rows = X if how == "array" else str(tmp_path / "X.npy")
    with pytest.raises(ValueError, match=r"^X holds nan at row 2501, column 3; expected finite numbers"):
        numbasgd.train(rows, y, **SETTINGS | changed, sampling="block")
    with pytest.raises(ValueError, match=r"^X holds nan at row 2501, column 3; .* before predicting"):
        numbasgd.train(data[0][:100], y[:100]).predict(rows)
    y[7] = np.inf
    with pytest.raises(ValueError, match=r"^y holds inf at row 7; expected finite numbers"):
        numbasgd.train(np.ones((N, D)), y, sampling="block")
    with pytest.raises(ValueError, match=r"^y holds inf at row 7; expected finite numbers"):
        numbasgd.train(np.ones((N, D)), Ranges(y), sampling="block", loss="softmax")


def test_what_is_wrong_with_rows_in_a_file_is_said(data, tmp_path):
    X, y = data
    rows = Ranges(X)
    for changed, message in {
        "sampling": (dict(sampling="reshuffle"), r"^sampling is 'reshuffle', and the rows of X are read"),
        "y": (dict(y=y[:-1]), r"^X has 3000 rows and y has 2999 entries"),
        "shape": (dict(X=Ranges(y)), r"^X has shape \(3000,\); expected a 2-D"),
        "empty": (dict(X=Ranges(X[:0]), y=y[:0]), r"^X has shape \(0, 4\)"),
        "weights": (dict(sample_weight=y), r"^sample_weight has smallest entry -"),
        "few": (dict(sample_weight=np.ones(3)), r"^sample_weight has 3 entries and X has 3000 rows"),
        "classes": (dict(loss="logistic", y=np.ones(N)), r"^y holds only 1.0; expected two classes"),
        "window": (dict(window=0.0), r"^window is 0.0; expected a finite number above 0"),
        "share": (dict(validation_fraction=1e-9), r"^validation_fraction is 1e-09 of 3000 rows"),
        "large": (dict(X=1e200 * X), r"^X holds values up to \d.*e\+20\d, and the loss overflows float64"),
    }.values():
        given = dict(X=rows, y=y) | changed
        with pytest.raises(ValueError, match=message):
            numbasgd.train(**given if "sampling" in changed else given | dict(sampling="block"))
    scipy = pytest.importorskip("scipy.sparse", reason="needs scipy")
    with pytest.raises(TypeError, match=r"^X is sparse \(csr_array\) and sampling is 'block'"):
        numbasgd.train(scipy.csr_array(X), y, sampling="block")


def test_the_fit_says_which_sampling_it_was(data, tmp_path):
    X, y = data
    settings = dict(epochs=1, lr=0.01, seed=0)
    told = lambda fit: (fit.settings["sampling"], fit.settings["sampling_given"])  # noqa: E731
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert told(numbasgd.train(X, y, **settings)) == ("reshuffle", "auto")
    assert told(numbasgd.train(mapped, y, **settings)) == ("block", "auto")
    assert told(numbasgd.train(mapped[np.arange(N)], y, **settings)) == ("reshuffle", "auto")
    fit = numbasgd.train(mapped, y, **settings, sampling="reshuffle")
    assert told(fit) == ("reshuffle", "reshuffle")
    np.testing.assert_array_equal(fit.w, numbasgd.train(X, y, **settings).w)
    fit = numbasgd.train(mapped, y, **settings)
    fit.save(tmp_path / "a.fit")
    assert numbasgd.Fit.load(tmp_path / "a.fit").settings == fit.settings
    more = numbasgd.train(X, y, resume=tmp_path / "a.fit", epochs=2)  # the order stays what it was
    assert told(more) == ("block", "auto")
    assert "sampling block in windows of 24 MB, seed 0" in more.summary()


def test_predictions_for_rows_in_a_file_are_those_of_the_array(data, tmp_path):
    X, y = data
    fit = numbasgd.train(X, y > 0, loss="logistic", seed=0)
    for rows in (Ranges(X), str(tmp_path / "X.npy"), np.load(tmp_path / "X.npy", mmap_mode="r")):
        np.testing.assert_allclose(fit.decision_function(rows), fit.decision_function(X), rtol=1e-12)
        np.testing.assert_array_equal(fit.predict(rows), fit.predict(X))
        assert fit.predict_proba(rows).shape == (N, 2)
    with pytest.raises(ValueError, match="X has 3 columns, the model has 4 weights"):
        fit.predict(Ranges(X[:, :3]))


@pytest.mark.parametrize("is_streamed", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("standardize", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_held_out_rows_may_be_in_a_file_of_their_own(data, tmp_path, is_streamed, standardize):
    X, y = data
    settings = dict(SETTINGS, loss="logistic", standardize=standardize, sample_weight=1 + np.arange(N) % 2)
    rows = Ranges(X) if is_streamed else X
    labels = y > 0
    np.save(tmp_path / "some.npy", X[:100])
    np.save(tmp_path / "labels.npy", labels[:100])
    held_out = [
        numbasgd.train(rows, labels, **settings, validation_data=given)
        for given in (
            (X[:100], labels[:100]), (Ranges(X[:100]), labels[:100]),
            (str(tmp_path / "some.npy"), str(tmp_path / "labels.npy"), np.full(100, 3.0)),
        )
    ]  # fmt: skip
    for fit in held_out[1:]:
        np.testing.assert_array_equal(held_out[0].w, fit.w)
        np.testing.assert_allclose(held_out[0].validation_loss, fit.validation_loss, rtol=1e-12)
    again = dict(resume=held_out[1], sample_weight=settings["sample_weight"])
    same(held_out[1], numbasgd.train(rows, labels, **again, validation_data=(X[:100], labels[:100])))
    for wrong, message in (
        (X[:100, 1:], r"^validation_data's X has shape \(100, 3\), X has 4 columns"),
        (np.where(X[:100] == X[7, 2], np.nan, X[:100]), r"^validation_data's X holds nan at row 7, column 2"),
    ):
        for given in (wrong, Ranges(wrong)):
            with pytest.raises(ValueError, match=message):
                numbasgd.train(rows, labels, **settings, validation_data=(given, labels[:100]))


@pytest.mark.parametrize("epochs", [pytest.param(None, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("loss", ["squared", pytest.param("logistic", marks=pytest.mark.slow)])
def test_a_rate_comes_from_a_sample_of_the_rows_in_a_file(epochs, loss, monkeypatch):
    """Of rows that are sorted by their targets, and of which each place looks different."""
    rng = np.random.default_rng(3)
    n = 20_000
    X = rng.normal(size=(n, D)) + np.linspace(-1, 1, n)[:, None]
    y = X @ np.arange(1.0, D + 1) + rng.normal(size=n)
    if loss == "logistic":
        y = y > 0
    settings = dict(epochs=epochs, loss=loss, seed=0)
    monkeypatch.setattr("numbasgd.sgd.streamed_dataset._SAMPLE_ENTRIES", 0)
    fit = numbasgd.train(X, y, **settings, sampling="block")
    assert fit.lr_because.endswith(", on a sample of 2048 of 20000 rows")
    full = numbasgd.train(X, y, **settings)
    assert 0.25 < fit.settings["lr"] / full.settings["lr"] < 10  # of 2048 rows a first round has fewer steps
    assert fit.loss[-1] < 1.03 * full.loss[-1]


def test_several_threads_may_train_on_the_same_rows(data, tmp_path):
    X, y = data
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    whole = numbasgd.train(mapped, y, **SETTINGS)
    found = {}

    def work(i, rows):
        found[i] = numbasgd.train(rows, y, **SETTINGS)

    threads = [
        threading.Thread(target=work, args=(i, rows))
        for i, rows in enumerate((mapped, mapped, str(tmp_path / "X.npy")))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    for fit in found.values():
        same(whole, fit)
