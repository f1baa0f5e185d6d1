"""``numbasgd train`` and ``numbasgd noise``: what they print, draw and refuse."""

import json
import signal

import numpy as np
import pytest
from conftest import says
from runs import assert_same

from numbasgd import Fit, airfoil_twin
from numbasgd.cli import main
from numbasgd.data import load_table
from numbasgd.errors import FitFileError
from numbasgd.render import training_plot
from numbasgd.sgd import gradient_noise, train, train_chapter
from numbasgd.sgd.checkpoint import Checkpoint


@pytest.fixture
def table(tmp_path):
    """A CSV file with names, and what is in it."""
    X, y = airfoil_twin()
    path = tmp_path / "mine.csv"
    rows = np.column_stack([X, y])
    np.savetxt(path, rows, delimiter=",", header="a,b,c,d,e,price", comments="", fmt="%.9g")
    return path, X.astype(np.float64), y.astype(np.float64)


def test_a_users_csv(table, capsys):
    path, X, y = table
    assert main(["train", str(path), "--target", "price", "--lr", "0.05", "--seed", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["columns"] == ["a", "b", "c", "d", "e"]
    np.testing.assert_allclose(found["w"], train(X, y, lr=0.05, seed=3).w, rtol=1e-6)


def test_a_users_npy_with_all_options(table, tmp_path, capsys):
    _, X, y = table
    path = tmp_path / "mine.npy"
    np.save(path, np.column_stack([y, X]))
    options = "--target 0 --batch-size 50 --lr auto --epochs 4 --sampling once --standardize --no-intercept"
    options += " --eval-every 500 --seed 1"
    assert main(["train", str(path), *options.split(), "--plot", str(tmp_path / "loss.svg"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    same = train(X, y, batch_size=50, epochs=4, sampling="once", standardize=True, intercept=False,
                 eval_every=500, seed=1)  # fmt: skip
    assert found["loss"] == same.loss.tolist()
    assert found["samples"] == same.samples.tolist()
    assert found["b"] == 0
    assert (tmp_path / "loss.svg").read_text().startswith("<?xml")


def test_all_options_of_the_method(table, tmp_path, capsys):
    _, X, y = table
    y = np.where(y > y.mean(), 2.0, 1.0)
    np.save(tmp_path / "mine.npy", np.column_stack([X, y]))
    options = "--loss logistic --momentum 0.5 --nesterov --average 1 --l2 0.125 --l1 0.0625 --lr 0.1,0.05,0.05"
    options += " --epochs 3 --validation-fraction 0.25 --tol 1e-3 --patience 2 --seed 1 --verbose"
    argv = ["train", str(tmp_path / "mine.npy"), "--target", "-1", *options.split()]
    assert main([*argv, "--json"]) == 0
    found = capsys.readouterr()
    method = {"loss": "logistic", "momentum": 0.5, "nesterov": True, "average": 1, "l2": 0.125, "l1": 0.0625}
    stopping = {"validation_fraction": 0.25, "tol": 1e-3, "patience": 2}
    same = train(X, y, **method, **stopping, lr=[0.1, 0.05, 0.05], epochs=3, seed=1)
    printed = json.loads(found.out)
    for name in ("w", "b", "objective", "validation_loss", "classes", "settings"):
        assert printed[name] == same.to_dict()[name]
    assert len(found.err.splitlines()) == 3
    assert main(argv) == 0
    printed = capsys.readouterr().out
    for part in (
        "one per epoch",
        "momentum 0.5, nesterov True, average 1, l2 0.125, l1 0.0625",
        "mean logistic loss",
        "objective  ",
        "held out   ",
        "classes    1 where the decision function is below 0, else 2",
    ):
        assert part in printed
    assert main(["train", "--average", "0", "--momentum", "0.5", "--nesterov"]) == 0
    assert "average True" in capsys.readouterr().out


def test_defaults_are_those_of_train(capsys):
    assert main(["train", "--seed", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["settings"] == train(seed=1).settings


def test_the_table_names_the_twin(capsys):
    assert main(["train", "--epochs", "3", "--seed", "1"]) == 0
    printed = capsys.readouterr().out
    assert "twin" in printed and "seed 1" in printed and "3 epochs" in printed


def test_the_chapter(airfoil, tmp_path, capsys):
    assert main(["train", "--chapter", "--plot", str(tmp_path / "out.png")]) == 0
    printed = capsys.readouterr().out
    for word in (
        "gd",
        "sgd",
        "batch size = 100",
        "batch size = 10",
        "0.005",
        "us per epoch",
        "the airfoil data",
    ):
        assert word in printed
    assert (tmp_path / "out.png").read_bytes()[:4] == b"\x89PNG"


def test_the_chapter_on_the_twin(capsys):
    assert main(["train", "--chapter", "--twin", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "twin" in found["data"]
    assert [len(run["loss"]) for run in found["runs"].values()] == [11, 16, 16, 16]
    assert found["runs"]["sgd"]["settings"]["batch_size"] == 1


def test_the_chapters_figures():
    fits = train_chapter(*airfoil_twin(), seed=0)
    figure = training_plot.plot_chapter(fits)
    *single, by_samples, by_seconds = figure.axes
    assert [ax.get_title() for ax in single] == list(fits)
    assert all(ax.get_ylim() == (0.22, 0.35) for ax in figure.axes)
    for x, together in (("samples", by_samples), ("seconds", by_seconds)):
        assert together.get_xscale() == "log"
        for line, fit in zip(together.lines, fits.values(), strict=True):
            np.testing.assert_array_equal(line.get_xdata(), getattr(fit, x)[1:])
            np.testing.assert_array_equal(line.get_ydata(), fit.loss[1:])
        assert [text.get_text() for text in together.get_legend().get_texts()] == list(fits)


def test_a_fit_draws_on_the_axes_it_is_given():
    fit = train(seed=0)
    ax = fit.plot()
    assert fit.plot(ax, x="seconds") is ax
    assert ax.get_xlabel() == "training time (s)"
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), fit.loss)
    with pytest.raises(ValueError) as caught:
        fit.plot(x="time")
    says(caught.value, "x is 'time'", "expected one of 'epochs'")


def test_noise(tmp_path, capsys, no_airfoil_file):
    assert main(["noise", "--draws", "200", "--json", "--plot", str(tmp_path / "noise.png")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "twin" in found["data"]
    assert found["without_replacement"][-1]["batch_size"] == 1500
    assert found["with_replacement"][0]["std"] == pytest.approx(found["sigma"], rel=0.2)
    assert (tmp_path / "noise.png").exists()


def test_noise_takes_the_airfoil_file_where_it_is_at_hand(airfoil, capsys):
    assert main(["noise", "--draws", "50"]) == 0
    printed = capsys.readouterr().out
    assert "Gradients of the airfoil data at w = 0" in printed and "us a step" in printed
    assert f"sigma = {gradient_noise(*airfoil, draws=2).sigma:.4g}" in printed


def test_noise_of_a_users_table(table, capsys):
    path, X, y = table
    assert main(["noise", str(path), "--target", "price", "--draws", "50"]) == 0
    assert f"sigma = {gradient_noise(X, y, draws=50).sigma:.4g}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["train", "missing.csv", "--target", "0"], ("missing.csv",)),
        (["train", "CSV"], ("--target is missing", "expected", "Pass")),
        (["train", "CSV", "--target", "prize"], ("prize", "price")),
        (["train", "--target", "x"], ("--target is 'x'", "expected a file")),
        (["train", "CSV", "--target", "price", "--twin"], ("--twin and DATA", "expected one")),
        (["train", "--chapter", "--lr", "1"], ("--chapter", "expected it alone")),
        (["train", "--lr", "fast"], ("--lr is 'fast'", "expected a number")),
        (["train", "--lr", "0.1,fast"], ("--lr is 'fast'", "expected a number")),
        (["train", "--lr", "0.1,"], ("--lr is ''", "expected a number")),
        (
            ["train", "--lr", "0.1,0.1,0.1", "--epochs", "2"],
            ("lr holds 3 rates for 2 epochs", "expected one rate per epoch"),
        ),
        (["train", "--loss", "logistic"], ("y holds", "expected two classes")),
        (
            ["train", "--loss", "log"],
            ("loss is 'log'", "Pass --loss logistic for two classes, --loss softmax for more."),
        ),
        (["train", "--momentum", "1"], ("momentum is 1.0", "expected")),
        (["train", "--nesterov"], ("nesterov is True but momentum is 0", "Pass")),
        (["train", "--average", "-1"], ("average is -1", "expected")),
        (["train", "--l1", "-1"], ("l1 is -1.0", "expected 0 or more")),
        (["train", "--validation-fraction", "1"], ("--validation-fraction is 1.0", "expected")),
        (["train", "--patience", "0"], ("patience is 0", "expected")),
        (["train", "--chapter", "--l2", "0.1"], ("--chapter", "expected it alone")),
        (["train", "--lr", "-1"], ("lr is -1.0", "expected a finite number above 0")),
        (["train", "--batch-size", "0"], ("--batch-size is 0", "expected an integer from 1 to 1500")),
        (["train", "--eval-every", "often"], ("--eval-every is 'often'", "expected")),
        (["train", "--eval-every", "2.5"], ("--eval-every is '2.5'", "expected")),
        (["train", "--resume", "missing.fit"], ("missing.fit", "cannot be read", "expected a file")),
        (["train", "--resume", "CSV"], ("mine.csv", "is not the file of a numbasgd fit")),
        (["train", "--save", "no/such/a.fit"], ("--save is", "cannot be written", "Make the folder")),
        (["train", "--checkpoint", "no/such/a.fit"], ("checkpoint is", "cannot be written")),
        (["train", "--checkpoint-every", "5"], ("--checkpoint-every is 5 but checkpoint is None",)),
        (["train", "--checkpoint", "a", "--checkpoint-every", "x"], ("--checkpoint-every is 'x'", "expected")),
        (["train", "--chapter", "--save", "a.fit"], ("--chapter", "expected it alone")),
        (["train", "--chapter", "--resume", "a.fit"], ("--chapter", "expected it alone")),
        (["train", "--sampling", "none"], ("sampling is 'none'", "expected one of")),
        (["train", "--lr", "9", "--epochs", "50", "--batch-size", "10"], ("--lr is 9", "Pass --lr ")),
        (["train", "--plot", "no/such/folder/x.png"], ("picture's folder", "does not exist")),
        (["train", "--plot", "x.doc"], ("picture's file", "expected one of")),
        (["noise", "--draws", "1"], ("draws is 1", "expected")),
        (["noise", "CSV"], ("--target is missing", "expected")),
    ],
)
@pytest.mark.filterwarnings("ignore:column")
@pytest.mark.filterwarnings("ignore:lr is")
def test_bad_input_is_one_sentence_and_exit_code_2(argv, parts, table, capsys):
    argv = [str(table[0]) if word == "CSV" else word for word in argv]
    assert main(argv) == 2
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert printed.err.startswith(f"numbasgd {argv[0]}: ")
    for part in parts:
        assert part in printed.err


def test_saved_and_resumed(table, tmp_path, capsys):
    path = table[0]
    X, y, _ = load_table(str(path), "price")
    kept, there = str(tmp_path / "half.fit"), str(tmp_path / "there.fit")
    data = [str(path), "--target", "price"]
    options = ["--lr", "0.01", "--batch-size", "7", "--seed", "3"]
    assert main(["train", *data, *options, "--epochs", "2", "--save", kept]) == 0
    assert main(["train", *data, "--resume", kept, "--epochs", "5", "--save", there]) == 0
    assert_same(train(X, y, lr=0.01, batch_size=7, seed=3, epochs=5), Fit.load(there))
    assert main(["train", *data, "--resume", kept, "--batch-size", "8"]) == 2
    assert main(["train", "--resume", kept]) == 2
    said = capsys.readouterr().err
    assert "--batch-size is 8 but 7 in the run" in said
    assert "X has dtype float32, the run to resume was made with dtype float64" in said


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no setitimer")
@pytest.mark.parametrize("option", ["--checkpoint", "--save", None])
def test_interrupted_and_resumed(option, tmp_path, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    kept = str(tmp_path / "run.fit")
    options = ["--batch-size", "1", "--lr", "0.005", "--seed", "3", "--eval-every", "none"]
    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        given = [option, kept] if option else []
        assert main(["train", *options, "--epochs", "10000000", *given]) == 130
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.endswith("numbasgd train: interrupted\n")
    if option is None:
        assert "nothing was kept; pass --save or --checkpoint" in said
        return
    assert f"of 10000000 epochs; go on with --resume {kept}" in said
    epochs = 1 + int(Fit.load(kept).epochs[-1])
    assert main(["train", "--resume", kept, "--epochs", str(epochs), "--checkpoint", kept]) == 0
    whole = train(batch_size=1, lr=0.005, seed=3, eval_every=None, epochs=epochs)
    assert_same(whole, Fit.load(kept))


def test_checkpoints_of_the_command(tmp_path, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(Checkpoint, "save", lambda self, fit, **_: seen.append(fit.samples[-1]))
    place = ["--checkpoint", str(tmp_path / "a.fit"), "--batch-size", "500"]
    assert main(["train", "--epochs", "2", *place, "--checkpoint-every", "2"]) == 0
    assert seen == [1000, 2000, 3000]  # the sixth step is the end, which is written once
    seen.clear()
    assert main(["train", "--epochs", "2", *place, "--checkpoint-every", "30.5"]) == 0
    assert seen == [3000]


def test_version_and_unknown_commands(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith("numbasgd 0.")
    with pytest.raises(SystemExit) as stopped:
        main(["trian"])
    assert stopped.value.code == 2


def test_a_progress_line_on_a_terminal_only(monkeypatch):
    import io

    from numbasgd.sgd import progress

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(progress, "_QUIET_SECONDS", 0.0)
    for stream, expected in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr("sys.stderr", stream)
        train(epochs=3, seed=0)
        assert ("epoch" in stream.getvalue()) is expected
        assert stream.getvalue().endswith("\r" if expected else "")


def test_quick_work_shows_no_progress(monkeypatch):
    """Work is quick when it ends before a moment has passed, however slow this machine is just now."""
    import io

    from numbasgd.sgd import progress

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(progress, "_QUIET_SECONDS", 3600.0)
    train(epochs=2)
    assert stream.getvalue() == ""
    assert train(epochs=2, progress=True).seconds.size and "epoch" in stream.getvalue()


@pytest.mark.filterwarnings("always")
def test_a_warning_is_one_line(tmp_path, capsys, rng):
    np.save(tmp_path / "a.npy", rng.standard_normal((50, 3)) * [1.0, 1e5, 1.0])
    assert main(["train", str(tmp_path / "a.npy"), "--target", "0", "--no-standardize"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("numbasgd train: warning: column 0 of X")


@pytest.mark.slow
def test_classes_and_several_targets(table, tmp_path, capsys):
    _, X, y = table
    np.save(tmp_path / "mine.npy", np.column_stack([X, np.digitize(y, np.quantile(y, [0.3, 0.6])), -y]))
    argv = ["train", str(tmp_path / "mine.npy"), "--seed", "1", "--lr", "0.05", "--target"]
    for more, classes in ((["5", "--loss", "softmax"], [0, 1, 2]), (["-1", "--target", "5"], None)):
        assert main([*argv, *more, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert np.shape(found["w"]) == ((6, 3) if classes else (5, 2))
        assert found["classes"] == classes
        assert main([*argv, *more]) == 0
        printed = capsys.readouterr().out
        part = "classes    0, 1, 2: that of the largest" if classes else "error, summed over the targets"
        assert part in printed
        assert len(printed.splitlines()[-1].split()) == 1 + len(found["b"])
    for targets in (["1", "--target", "1"], [part for j in range(7) for part in ("--target", str(j))][1:]):
        assert main([*argv, *targets]) != 0
        assert "target is" in capsys.readouterr().err


@pytest.mark.slow
def test_the_level_of_the_quantile_loss(capsys):
    argv = ["train", "--loss", "quantile", "--quantile", "0.9", "--lr", "0.1", "--seed", "1"]
    assert main(argv) == 0
    assert "\n           quantile 0.9\n" in capsys.readouterr().out
    assert main([*argv, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["w"] == train(loss="quantile", quantile=0.9, lr=0.1, seed=1).w.tolist()
    assert main(["train", "--quantile", "0.9"]) != 0
    says(ValueError(capsys.readouterr().err), "--quantile is 0.9 but loss is 'squared'", "--loss quantile")


@pytest.mark.parametrize("how", [[], ["--json"]])
def test_a_fit_that_cannot_be_saved_is_printed(monkeypatch, capsys, tmp_path, how):
    def fails(fit, path):
        raise FitFileError("No space left on device")

    monkeypatch.setattr(Fit, "save", fails)
    place = tmp_path / "fit.npz"
    assert main(["train", "--lr", "0.1", "--epochs", "1", "--save", str(place), *how]) != 0
    out, err = capsys.readouterr()
    assert len(json.loads(out)["w"]) == 5 if how else "intercept" in out
    assert "No space left" in err
