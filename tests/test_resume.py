"""``Fit.save``, ``Fit.load`` and ``train(resume=...)``: to the same bits as in one go, or a clear error."""

import functools
import hashlib
import json
import os

import numpy as np
import pytest
from conftest import says
from runs import EPOCHS, PLAIN, RUNS, SCHEDULED, SLOW, assert_same, cut, data, resume, run

import numbasgd
from numbasgd import Fit, FitFileError, airfoil_twin, train

one_go = functools.cache(run)  # runs in one go, to compare with
NAMES = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in RUNS]


@pytest.mark.parametrize("name", NAMES)
def test_stopped_within_epochs_and_resumed(name, tmp_path, monkeypatch):
    whole = one_go(name)
    n = whole.n
    per_epoch = -(-n // whole.settings["batch_size"])
    rng = np.random.default_rng(len(name))
    drawn = rng.integers(1, EPOCHS * per_epoch, 4)
    for steps in sorted({1, per_epoch, per_epoch + 1, 2 * per_epoch - 1, *drawn.tolist()}):
        fit = cut(monkeypatch, tmp_path, steps, functools.partial(run, name))
        if steps < whole.samples[-1] // n * per_epoch:  # before early stopping
            epoch, left = divmod(steps, per_epoch)
            assert fit.samples[-1] == epoch * n + left * whole.settings["batch_size"]
        assert_same(whole, resume(name, fit))
        fit.save(tmp_path / "one.fit")
        assert_same(whole, resume(name, tmp_path / "one.fit"))


def test_a_mean_that_begins_later_does_not_remember_where_calls_ended(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for seed in range(30):  # weights around 0, where the difference of two of them is rounded
        X, y = rng.standard_normal((30, 8)).astype(np.float32), rng.standard_normal(30).astype(np.float32)
        call = functools.partial(train, X, y, batch_size=10, lr=0.3, seed=seed, average=1, epochs=2)
        for steps in (1, 2, 4):
            assert_same(call(), train(X, y, resume=cut(monkeypatch, tmp_path, steps, call)))


@pytest.mark.parametrize("name", ["plain", "held-out", "stops-early", "classes", "wide"])
def test_stopped_again_and_again(name, tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    per_epoch = -(-one_go(name).n // one_go(name).settings["batch_size"])
    stops = np.sort(rng.integers(1, EPOCHS * per_epoch, 8)).tolist()
    fit = cut(monkeypatch, tmp_path, stops[0], functools.partial(run, name))
    for steps in stops[1:]:
        fit.save(tmp_path / "part.fit")
        fit = cut(
            monkeypatch, tmp_path, steps, functools.partial(resume, name, os.fspath(tmp_path / "part.fit"))
        )
    assert_same(one_go(name), resume(name, fit))


@pytest.mark.parametrize("name", [case for case in NAMES if case.values[0] not in {"rates", *SCHEDULED}])
def test_more_epochs_than_were_asked_for(name):
    """A run that ended goes on to a larger total; what only its end brought is not in the history."""
    kind, settings = RUNS[name]
    if "lr" not in settings:
        pytest.skip('lr="auto" depends on the number of epochs, and stays what it was')
    assert_same(one_go(name), resume(name, run(name, epochs=1), epochs=EPOCHS))
    assert_same(one_go(name), resume(name, resume(name, run(name, epochs=0), epochs=2), epochs=EPOCHS))
    assert_same(one_go(name), resume(name, one_go(name)))
    assert_same(one_go(name), resume(name, one_go(name), epochs=EPOCHS))


@pytest.mark.parametrize("name", sorted(SCHEDULED))
def test_a_schedule_is_for_so_many_epochs(name):
    part = run(name, epochs=2)
    assert_same(part, resume(name, part))
    with pytest.raises(ValueError) as caught:
        resume(name, part, epochs=EPOCHS)
    says(caught.value, "epochs is 4", "schedule", "for a run of 2 epochs", "Leave epochs out", "init=")


def test_rounds_go_on_beyond_the_limit():
    """Where the number of epochs is left out there are whole rounds only, so a larger limit just adds some."""
    X, y, _ = data("twin")
    settings = {"lr": 0.01, "batch_size": 500, "tol": 0.0, "seed": 1}
    short = train(X, y, **settings)
    assert (short.stopped, short.epochs[-1]) == ("limit", 165)
    longer = train(X, y, resume=short, epochs=300)
    assert longer.epochs[-1] == 300
    assert_same(longer, train(X, y, epochs=300, schedule="restarts", **settings))
    assert_same(short, train(X, y, resume=short))


def test_auto_lr_stays_what_it_was():
    short = train(seed=1, epochs=1, batch_size=7, standardize=False)
    on = train(resume=short, epochs=3)
    assert on.settings["lr"] == short.settings["lr"]
    assert on.settings["lr_given"] == "auto"
    assert_same(on, train(seed=1, epochs=3, batch_size=7, lr=short.settings["lr"]))
    assert_same(on, train(resume=short, epochs=3, lr="auto"))


def test_rates_of_epochs():
    rate = {0: 0.05, 1: 0.02, 2: 0.01, 3: 0.005}.__getitem__
    whole = one_go("rates")
    assert_same(whole, run("rates", lr=rate))
    part = run("rates", lr=rate, epochs=1)
    with pytest.raises(ValueError) as caught:
        resume("rates", part, epochs=4)
    says(caught.value, "epochs is 4", "sequence or a function for 1 epochs", "cannot be saved", "Pass lr again")
    assert_same(whole, resume("rates", part, epochs=4, lr=rate))
    assert_same(whole, resume("rates", part, epochs=4, lr=[0.05, 0.02, 0.01, 0.005]))
    assert_same(part, resume("rates", part))
    with pytest.raises(ValueError) as caught:
        resume("rates", part, epochs=4, lr=lambda epoch: 0.04)
    says(caught.value, "lr is 0.04 in epoch 0", "was 0.05", "expected the rates", "Leave lr out")
    with pytest.raises(ValueError, match="lr holds 2 rates for 4 epochs"):
        resume("rates", part, epochs=4, lr=[0.05, 0.02])


def test_the_embedded_twin_needs_no_arrays(tmp_path):
    train(**PLAIN, seed=3, epochs=2).save(tmp_path / "twin.fit")
    assert_same(train(**PLAIN, seed=3, epochs=4), train(resume=tmp_path / "twin.fit", epochs=4))


def test_a_run_that_stopped_early_stays_over():
    whole = one_go("stops-early")
    assert whole.epochs[-1] < EPOCHS
    assert_same(whole, resume("stops-early", whole, epochs=100))


def test_a_run_that_a_callback_stopped_goes_on():
    stopped = run("plain", callback=lambda fit: fit.epochs[-1] == 2)
    assert stopped.epochs[-1] == 2
    assert_same(one_go("plain"), resume("plain", stopped))
    assert_same(stopped, resume("plain", stopped, callback=lambda fit: fit.epochs[-1] == 2))  # asked again


def test_a_callback_sees_each_epoch_once():
    seen = []
    first = run("plain", epochs=2, callback=lambda fit: seen.append(fit.samples[-1]))
    resume("plain", first, epochs=4, callback=lambda fit: seen.append(fit.samples[-1]))
    assert seen == [1500, 3000, 4500, 6000]


@pytest.mark.parametrize("name", ["plain", "held-out", "standardized", "classes", "wide"])
def test_save_and_load_keep_every_bit(name, tmp_path):
    fit = one_go(name)
    fit.save(tmp_path / "a.fit")
    again = Fit.load(os.fspath(tmp_path / "a.fit"))
    assert_same(fit, again)
    assert fit.seconds.tobytes() == again.seconds.tobytes()
    assert fit.to_dict() == again.to_dict()
    X = data(RUNS[name][0])[0]
    assert fit.predict(X).tobytes() == again.predict(X).tobytes()
    for left, right in zip(fit._state, again._state, strict=True):
        assert type(left) is type(right)
        same = left.tobytes() == right.tobytes() if isinstance(left, np.ndarray) else left == right
        assert same
    assert [p.name for p in tmp_path.iterdir()] == ["a.fit"]


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"batch_size": 8}, ("batch_size is 8 but 7",)),
        ({"batch_size": 10}, ("batch_size is 10 but 7",)),  # the default, but said
        ({"loss": "huber", "momentum": 0.5}, ("loss is 'huber' but 'squared'", "momentum is 0.5 but 0.0")),
        ({"seed": 4}, ("seed is 4 but 3",)),
        ({"average": 1}, ("average is 1 but False",)),
        ({"average": 0}, ("average is 0 but False",)),
        ({"tol": 0.1}, ("tol is 0.1 but None",)),
        ({"eval_every": None}, ("eval_every is None but 'epoch'",)),
        ({"lr": "auto"}, ("lr is 'auto' but 0.01",)),
        ({"lr": 0.02}, ("lr is 0.02 in epoch 0", "was 0.01")),
        ({"init": ([0] * 5, 0.0)}, ("init is passed",)),
        ({"sampling": np.array(["once", "once"])}, ("sampling is",)),
    ],
)
def test_other_settings_are_named(changes, parts):
    with pytest.raises(ValueError) as caught:
        resume("plain", one_go("plain"), **changes)
    says(caught.value, *parts, "expected", "Leave")


def test_the_same_settings_may_be_said():
    fit = run("plain", epochs=1)
    assert_same(one_go("plain"), resume("plain", fit, epochs=EPOCHS, seed=3, **PLAIN, eval_every="epoch"))


def _other_data():
    X, y = airfoil_twin()
    changed = X.copy()
    changed[0, 0] += 1
    last = y.copy()
    last[-1] += 1
    return {
        "columns": ((X[:, :4], y, None), ("X has shape [1500, 4]", "made with shape [1500, 5]")),
        "rows": ((X[:-1], y[:-1], None), ("X has shape [1499, 5]",)),
        "dtype": ((X.astype(np.float64), y, None), ("X has dtype float64", "made with dtype float32")),
        "numbers": ((changed, y, None), ("X holds other numbers",)),
        "order": ((X[::-1], y[::-1], None), ("X holds other numbers",)),
        "targets": ((X, last, None), ("y holds other numbers",)),
        "weights": ((X, y, np.ones(1500)), ("made without sample_weight", "this call is with")),
    }


@pytest.mark.parametrize("case", list(_other_data()))
def test_other_data_is_refused(case):
    (X, y, s), parts = _other_data()[case]
    with pytest.raises(ValueError) as caught:
        train(X, y, sample_weight=s, resume=one_go("plain"))
    says(caught.value, *parts, "expected the same data", "Pass the X, y")


def test_data_left_out_is_the_twin_and_said_to_be():
    with pytest.raises(ValueError) as caught:
        train(resume=one_go("wide"))
    says(caught.value, "X has shape [1500, 5]", "X and y were left out, which means the embedded twin")


def test_fewer_epochs_than_were_made():
    with pytest.raises(ValueError) as caught:
        resume("plain", one_go("plain"), epochs=3)
    says(caught.value, "epochs is 3", "has made 4 already", "expected the total", "Pass for example epochs=5")


@pytest.mark.parametrize("value", [3, b"x", [1], {"w": 1}])
def test_resume_is_a_fit_or_a_path(value):
    with pytest.raises(TypeError) as caught:
        train(resume=value)
    says(caught.value, "resume is a", "expected a Fit or the path", "Pass")


def _changed(path, change):
    """Change the header of a file, and make its checksum fit."""
    first, line, rest = path.read_bytes()[:-32].split(b"\n", 2)
    header = json.loads(line)
    changed = change(header)
    rest = changed if isinstance(changed, bytes) else rest
    content = b"\n".join([first, json.dumps(header).encode(), rest])
    path.write_bytes(content + hashlib.sha256(content).digest())


@pytest.mark.parametrize("use", [Fit.load, lambda path: train(resume=path)], ids=["load", "resume"])
def test_files_that_are_none(use, tmp_path):
    path = tmp_path / "bad.fit"
    cases = []

    def refused(*parts):
        with pytest.raises(FitFileError) as caught:
            use(path)
        assert isinstance(caught.value, numbasgd.NumbaSGDError)
        says(caught.value, str(path), *parts, "expected")
        cases.append(parts)

    refused("cannot be read (No such file", "Check the path")
    path.mkdir()
    refused("a folder", "Add a file name")
    path.rmdir()
    path.write_bytes(b"")
    refused("is empty", "Check the path")
    path.write_text("loss 0.3\n")
    refused("is not the file of a numbasgd fit")
    with open(path, "wb") as file:
        np.savez(file, w=np.ones(3))
    refused("is not the file of a numbasgd fit")
    path.write_bytes(b"numbasgd fit 1\n")
    refused("is truncated or damaged", "Use another copy")

    one_go("plain").save(path)
    content = path.read_bytes()
    assert content.startswith(b"numbasgd fit 4\n")
    path.write_bytes(content.replace(b"fit 4", b"fit 5", 1))
    refused("format version 5", "expected 4 or less", "newer numbasgd")
    for change in (
        lambda header: header["fit"].update(w=[1.0] * 5),
        lambda header: header["fit"].update(w={"array": ["<f4", [4]]}),
        lambda header: header["fit"].update(w={"array": ["|O", [5]]}),
        lambda header: header["fit"].update(w={"array": ["<f4", [10**12]]}),
        lambda header: header["fit"].update(w={"array": ["<f4", [-1]]}),
        lambda header: header["fit"].update(extra=1),
        lambda header: header["fit"]["settings"].pop("lr_given"),
        lambda header: header["state"].pop("counts"),
        lambda header: header["state"].update(weights={"array": ["<f4", [1, 18]]}),
        lambda header: header["state"].update(history={"array": ["<f8", [25]]}),
        lambda header: b"",
        lambda header: b"1234",
    ):
        one_go("plain").save(path)
        _changed(path, change)
        refused("damaged", "Use another copy")


def test_no_truncation_and_no_changed_byte_goes_unnoticed(tmp_path):
    path = tmp_path / "a.fit"
    fit = one_go("plain")
    fit.save(path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for length in [0, 1, 2, 30, len(content) - 1, *rng.integers(0, len(content), 60).tolist()]:
        path.write_bytes(content[:length])
        with pytest.raises(FitFileError):
            Fit.load(path)
    for at in rng.integers(0, len(content), 400).tolist():
        path.write_bytes(content[:at] + bytes([content[at] ^ (1 << at % 8)]) + content[at + 1 :])
        with pytest.raises(FitFileError):
            Fit.load(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read anything")
def test_no_permission(tmp_path):
    path = tmp_path / "a.fit"
    one_go("plain").save(path)
    path.chmod(0)
    with pytest.raises(FitFileError, match="Permission denied"):
        Fit.load(path)


@pytest.mark.parametrize("value", [None, 3, ""])
def test_save_wants_a_path(value):
    with pytest.raises(TypeError, match=r"path is .*expected the path of a file\. Pass"):
        one_go("plain").save(value)


def test_a_save_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "a.fit"
    path.write_text("before")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FitFileError) as caught:
        one_go("plain").save(path)
    says(caught.value, str(path), "No space left on device", "expected", "free some room")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FitFileError, match="No such file"):
        one_go("plain").save(tmp_path / "no" / "a.fit")
    with pytest.raises(FitFileError, match="a folder"):
        one_go("plain").save(tmp_path)
