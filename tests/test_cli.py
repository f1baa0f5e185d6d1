"""What all commands share: messages in flag names, pipes that break, interrupts, results before pictures."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from child import environment, run_python
from result_files import LADDER, document, matmul, save

from numbasgd import cli
from numbasgd.cli import interrupts
from numbasgd.cli.options import in_flags
from numbasgd.experiments import _product as ladder
from numbasgd.render import figures

NUMBASGD = [sys.executable, "-m", "numbasgd"]
posix = pytest.mark.skipif(sys.platform == "win32", reason="pipes and signals are of another kind there")


def call(*argv):
    """The exit code, whether it was returned or raised by argparse."""
    try:
        return cli.main(argv)
    except SystemExit as stop:
        return stop.code


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (
            "train --batch-size 1.5",
            "--batch-size is '1.5'; expected an integer. Pass for example --batch-size 10.",
        ),
        ("train --epochs x", "--epochs is 'x'; expected an integer. Pass for example --epochs 10."),
        ("noise --draws 1e3", "--draws is '1e3'; expected an integer. Pass for example --draws 10."),
        ("ladder --size many", "--size is 'many'; expected an integer. Pass for example --size 10."),
        (
            "compare a b --tolerance 5%",
            "--tolerance is '5%'; expected a number. Pass for example --tolerance 0.5.",
        ),
        ("train --batch-size 0", "--batch-size is 0; expected an integer from 1 to 1500."),
        ("train --lr -1", "--lr is -1.0; expected a finite number above 0."),
        ("train --seed -1", "--seed is -1; expected"),
        ("noise --draws 1", "--draws is 1; expected"),
        ("noise --draws 1000000000000", "--draws is 1000000000000; expected"),
        ("ladder --size 0", "--size is 0; expected"),
        ("ladder --dtype float", "--dtype is 'float'; expected"),
        ("train --chapter --target foo", "--chapter was given together with DATA, --target or"),
    ],
)
def test_messages_name_flags(argv, said, capsys):
    assert call(*argv.split()) == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"numbasgd {argv.split()[0]}: {said}")
    assert told.err.count("\n") == 1
    assert told.out == ""


def test_only_what_is_a_flag_is_translated():
    flags = {"lr": "--lr", "standardize": "--standardize", "size": "--size"}
    told = 'lr is 3; the size is 5. Pass lr=0.5, lr="auto", standardize=True, max_lr=2 or momentum=0.'
    expected = "--lr is 3; the size is 5. Pass --lr 0.5, --lr auto, --standardize, max_lr=2 or momentum=0."
    assert in_flags(told, flags) == expected


@pytest.mark.filterwarnings("always")
def test_a_divergence_prints_what_there_is(capsys):
    argv = "train --lr 1.2 --epochs 50 --batch-size 10 --seed 1".split()
    assert call(*argv) == 2
    text, err = capsys.readouterr()
    assert "Traceback" not in err and "--lr is 1.2, and the loss went from" in err and "Pass --lr 0." in err
    assert "the error's w and b" not in err
    assert call(*argv, "--json") == 2
    found = json.loads(capsys.readouterr().out)
    assert len(found["w"]) == 5 and found["loss"] <= 0.4933 and 0 < found["suggested_lr"] < 1.2
    assert f"suggested  --lr {found['suggested_lr']:.3g}\n" in text
    assert f"intercept  {found['b']: .6g}\n" in text and text.count("column ") == 5
    assert call(*argv[:2], f"{found['suggested_lr']}", *argv[3:]) == 0


@posix
@pytest.mark.parametrize("argv", [["train", "--eval-every", "1", "--json"], ["info"]])
def test_a_reader_that_stops_is_no_error(argv):
    """``| head -1``: with more output than a pipe holds, and with output that is written at the very end."""
    reading, writing = os.pipe()
    with subprocess.Popen(
        [*NUMBASGD, *argv], stdout=writing, stderr=subprocess.PIPE, env=environment()
    ) as process:
        os.close(writing)
        os.close(reading)
        assert process.communicate(timeout=120)[1] == b""
    assert process.returncode in (0, cli.BROKEN_PIPE)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this platform")
def test_output_that_finds_no_room_is_one_sentence():
    with open("/dev/full", "w") as full:
        done = subprocess.run([*NUMBASGD, "info"], stdout=full, stderr=subprocess.PIPE, env=environment())
    assert done.returncode == 2
    assert done.stderr.decode() == "numbasgd info: [Errno 28] No space left on device\n"


def test_closed_output_is_no_error():
    run_python("import sys; sys.stdout = None; from numbasgd import cli; assert cli.main(['info']) == 0")


def test_names_that_the_terminal_cannot_show(tmp_path):
    (tmp_path / "t.csv").write_text(
        "höhe,a,b,c,d,weite\n1,2,3,4,6,6\n3,4,5,9,7,8\n5,6,8,7,8,1\n", encoding="utf-8"
    )
    done = subprocess.run(
        [*NUMBASGD, "train", str(tmp_path / "t.csv"), "--target", "weite"],
        env=environment(PYTHONIOENCODING="ascii", PYTHONUTF8="0"),
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert b"h\\xf6he" in done.stdout


@posix
@pytest.mark.parametrize("start", [["-m", "numbasgd"], ["SCRIPT"]])
def test_an_interrupt_during_imports_shows_no_traceback(tmp_path, start):
    """Numba stands for whatever takes long; the installed command is a script of the same name."""
    (tmp_path / "numba.py").write_text("print('importing', flush=True)\nimport time\ntime.sleep(60)\n")
    script = tmp_path / "numbasgd"
    script.write_text("import sys\nfrom numbasgd.cli import main\nsys.exit(main())\n")
    argv = [str(script) if word == "SCRIPT" else word for word in start]
    env = environment()
    env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), env["PYTHONPATH"]])
    if start == ["SCRIPT"]:  # the folder of a script comes first, and there lies a file named numbasgd
        argv = ["-P", *argv]
    with subprocess.Popen(
        [sys.executable, *argv, "info"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True
    ) as process:
        assert process.stdout.readline() == "importing\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[1] == "numbasgd: interrupted\n"
    assert process.returncode in (-signal.SIGINT, cli.INTERRUPTED)


def test_a_program_that_imports_numbasgd_keeps_its_own_hook():
    assert not interrupts.is_command()
    run_python("import sys, numbasgd; assert sys.excepthook is sys.__excepthook__")


def test_a_program_that_imports_numbasgd_imports_nothing_of_the_command():
    run_python("""
        import sys, numbasgd
        assert {name for name in sys.modules if name.startswith("numbasgd.cli.")} == {"numbasgd.cli.interrupts"}
        assert "argparse" not in sys.modules
    """)


def test_an_interrupt_of_a_command(monkeypatch, capsys):
    monkeypatch.setattr("numbasgd.cli.info.run", lambda args: (_ for _ in ()).throw(KeyboardInterrupt))
    assert call("info") == cli.INTERRUPTED
    assert capsys.readouterr().err == "numbasgd info: interrupted\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError("Unable to allocate 7 TiB."), "memory does not suffice (Unable to allocate 7 TiB). Pass"),
        (MemoryError(), "memory does not suffice (no more is given). Pass"),
        (ValueError("json is bad"), "--json is bad"),
    ],
)
def test_errors_are_sentences_unless_tracebacks_are_asked_for(error, said, monkeypatch, capsys):
    def run(args):
        raise error

    monkeypatch.setattr("numbasgd.cli.info.run", run)
    assert call("info") == 2
    assert capsys.readouterr().err.startswith(f"numbasgd info: {said}")
    monkeypatch.setenv("NUMBASGD_DEBUG", "1")
    with pytest.raises(type(error)):
        call("info")
    monkeypatch.setenv("NUMBASGD_DEBUG", "0")
    assert call("info") == 2
    monkeypatch.setattr("numbasgd.cli.info.run", lambda args: {}["a bug"])
    with pytest.raises(KeyError):  # always with its traceback
        call("info")


def test_help_tells_of_the_variable(capsys):
    assert call("--help") == 0
    assert "NUMBASGD_DEBUG=1" in " ".join(capsys.readouterr().out.split())


@pytest.fixture
def full_disk(monkeypatch):
    """Pictures cannot be written, which shows only when it is tried."""

    def write_whole(path, content):
        raise OSError(28, "No space left on device", f"{path}.part")

    monkeypatch.setattr(figures, "write_whole", write_whole)


@pytest.mark.parametrize(
    "argv",
    [
        *(["train"], ["noise", "--draws", "9"], ["compare"]),
        *(
            pytest.param(argv, marks=pytest.mark.slow)
            for argv in (["train", "--chapter", "--twin"], ["ladder"])
        ),
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_a_picture_that_fails_loses_no_result(argv, form, full_disk, tmp_path, monkeypatch, capsys):
    measure = ladder.measure
    monkeypatch.setattr(ladder, "measure", lambda *a, **k: measure(8, seconds=0.001))
    if argv == ["compare"]:
        cases = [matmul(c, s, 256) for c, s in LADDER]
        argv = ["compare", *(str(save(tmp_path, f"{name}.json", document(cases))) for name in "ab")]
    path = str(tmp_path / "mine.png")
    assert call(*argv, *form, "--plot", path) == 2
    told = capsys.readouterr()
    assert len(told.out.splitlines()) > 5
    if form:
        json.loads(told.out)
    assert told.err.startswith(
        f"numbasgd {argv[0]}: the picture's file '{path}' cannot be written (No space left on device); expected"
    )
    assert ".part" not in told.err and "Make room" in told.err


def test_a_folder_that_cannot_be_written_is_found_before_the_work(tmp_path, monkeypatch, capsys):
    def refuse(**options):
        raise PermissionError(13, "Permission denied", str(options["dir"]))

    monkeypatch.setattr(figures.tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr("numbasgd.sgd.train", None)
    assert call("train", "--plot", str(tmp_path / "a.png")) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert f"'{tmp_path / 'a.png'}' cannot be written (Permission denied); expected a folder" in told.err


def test_a_readme_in_another_encoding_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save(tmp_path, "one.json", document([matmul("numpy", 1e-3, 256)]))
    (tmp_path / "README.md").write_bytes("Größe".encode("latin-1"))
    assert call("report", "--results", ".") == 2
    assert capsys.readouterr().err.startswith("numbasgd report: README.md is not UTF-8 text (")


def test_a_table_through_a_pipe():
    rows = "\n".join(f"{i},{2 * i},{i * i},{i**3},{i**4},{3 * i}" for i in np.linspace(-1, 1, 5000))
    done = subprocess.run(
        [*NUMBASGD, "train", "-", "--target", "5", "--json"],
        input=rows.encode(),
        capture_output=True,
        env=environment(),
    )
    assert json.loads(done.stdout)["n"] == 5000, done.stderr
