import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from numbasgd import RUNGS, WrongResultError, cli
from numbasgd.experiments import _product as ladder
from numbasgd.matmul import numpy_loops, verify
from numbasgd.render import figures
from numbasgd.render.ladder_plot import plot_ladder

ON_CPU = [name for name, rung in RUNGS.items() if "cpu" in rung.devices]


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs ``numbasgd ladder`` with little time for each rung; gives (exit code, stdout, stderr)."""
    measure = ladder.measure
    monkeypatch.setattr(cli, "COMMANDS", ("ladder",))
    monkeypatch.setattr(ladder, "measure", lambda *a, **k: measure(*a, **{**k, "seconds": 0.005}))

    def run(*argv):
        try:
            code = cli.main(["ladder", *argv])
        except SystemExit as stop:  # argparse
            code = stop.code
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture(scope="module")
def small():
    return ladder.measure(24, "float64", seconds=0.005)


def test_rows_are_the_rungs_in_order_the_blas_last(small):
    assert [row.rung for row in small.rows] == ON_CPU
    assert small.rows[-1].rung == ladder.REFERENCE
    assert [row.idea for row in small.rows] == [RUNGS[name].idea for name in ON_CPU]


@pytest.mark.slow
def test_the_ladder_of_a_card_in_the_simulator():
    pytest.importorskip("numbasgd.device")
    code = (
        "import json; from numbasgd.experiments import _product as ladder; "
        "print(json.dumps(ladder.measure(5, 'float32', 'cuda', seconds=1e-3).to_dict()))"
    )
    env = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    on_card = [name for name, rung in RUNGS.items() if "cuda" in rung.devices]
    assert [row["rung"] for row in found["rows"]] == [*on_card, "numpy"]
    assert found["machine"]["gpu"]["simulator"] is True
    assert found["interpreter_cost"] is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_row_is_honest(dtype):
    found = ladder.measure(24, dtype, seconds=0.005)
    reference = found["numpy"]
    for row in found.rows:
        assert 0 < row.q1 <= row.seconds <= row.q3
        assert row.rounds >= 3
        assert row.gflops == pytest.approx(2 * 24**3 / row.seconds / 1e9)
        assert row.share == pytest.approx(reference.seconds / row.seconds)
        assert 0 <= row.error_share < 1
        assert row.residual <= row.residual_limit == verify.limit(24)
        assert row.error < (1e-4 if dtype == "float32" else 1e-13)
    assert reference.share == 1
    assert found.interpreter_cost == found["numpy-element"].seconds / found["element"].seconds
    assert found.interpreter_cost > 1


def test_to_dict_is_plain_json(small):
    told = small.to_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["schema"] == 1
    assert told["machine"]["blas"]["kernel"]


def test_a_rung_that_computes_something_else_is_no_row(monkeypatch):
    monkeypatch.setattr(numpy_loops, "column", lambda A, B, out: np.matmul(A, B * A.dtype.type(1.001), out=out))
    with pytest.raises(WrongResultError, match="rung 'numpy-column'"):
        ladder.measure(24, seconds=0.005)


def test_a_rung_that_writes_nothing_is_no_row(monkeypatch):
    monkeypatch.setattr(numpy_loops, "row", lambda A, B, out: None)
    with pytest.raises(WrongResultError, match="rung 'numpy-row'"):
        ladder.measure(24, seconds=0.005)


def test_slow_rungs_are_left_out_but_never_the_blas(monkeypatch):
    monkeypatch.setattr(ladder, "_PROBE", 16)
    monkeypatch.setattr(ladder, "PATIENCE", 0.02)
    found = ladder.measure(192, seconds=0.005)
    assert "numpy-element" in found.left_out
    assert found.left_out["numpy-element"] > 0.02
    assert found.rows[-1].rung == "numpy"
    assert {row.rung for row in found.rows} | set(found.left_out) == set(ON_CPU)
    assert found.interpreter_cost is None
    monkeypatch.setattr(ladder, "PATIENCE", 0.0)
    assert [row.rung for row in ladder.measure(192, seconds=0.005).rows] == ["numpy"]
    assert len(ladder.measure(40, seconds=0.005, is_complete=True).rows) == len(ON_CPU)


def test_a_call_that_is_slower_than_estimated_is_left_out_too(monkeypatch):
    monkeypatch.setattr(ladder, "_PROBE", 16)
    monkeypatch.setattr(ladder, "PATIENCE", 0.02)
    monkeypatch.setattr(ladder, "_too_slow", lambda *_: {})
    assert "numpy-element" in ladder.measure(192, seconds=0.005).left_out


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        ({"size": 0}, ValueError, "size is 0; expected an integer from 1"),
        ({"size": 2.5}, TypeError, "size is 2.5"),
        ({"size": 10**6}, ValueError, "size is 1000000"),
        ({"dtype": "float16"}, ValueError, "dtype is 'float16'"),
        ({"device": "gpu"}, ValueError, "device is 'gpu'"),
        ({"seconds": 0}, ValueError, "seconds is 0"),
    ],
)
def test_bad_input_is_named(arguments, kind, said):
    with pytest.raises(kind, match=said):
        ladder.measure(**arguments)


def test_command_prints_the_ladder(command):
    code, out, err = command("--size", "24")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("machine:")
    assert any(line.startswith("BLAS:") and "running kernel" in line for line in lines)
    head = next(i for i, line in enumerate(lines) if line.startswith("rung"))
    assert [line.split()[0] for line in lines[head + 1 : head + 1 + len(ON_CPU)]] == ON_CPU
    assert len({len(line) for line in lines[head : head + 1 + len(ON_CPU)]}) == 1  # columns meet
    assert "What the interpreter costs: numpy-element takes" in out
    assert "576 dot products" in out
    assert "2/t" not in out


def test_command_shows_the_chapters_convention_named_as_such(command):
    _, out, _ = command("--size", "24", "--chapter-units")
    assert 'chapter\'s "2/t"' in out
    assert "not 2e9" in out


def test_command_says_what_was_left_out(command, monkeypatch):
    monkeypatch.setattr(ladder, "_PROBE", 16)
    monkeypatch.setattr(ladder, "PATIENCE", 0.02)
    _, out, _ = command("--size", "192")
    assert "Left out as too slow at this size: " in out
    assert "numpy-element (about" in out


def test_command_prints_json(command):
    code, out, _ = command("--size", "24", "--dtype", "float64", "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["size"], found["dtype"], len(found["rows"])) == (24, "float64", len(ON_CPU))


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--size", "0"], "size is 0"),
        (["--size", "many"], "--size"),
        (["--dtype", "float"], "Did you mean 'float"),
        (["--device", "tpu"], "device is 'tpu'"),
        (["--plot", "no-such-folder/ladder.png"], "'no-such-folder' does not exist"),
        (["--plot", "ladder.doc"], "'.doc'; expected one of"),
        (["--plot", "ladder"], "no ending"),
    ],
)
def test_command_says_what_is_wrong(command, monkeypatch, argv, said):
    monkeypatch.setattr(ladder, "time_together", None)  # nothing may be measured first
    code, out, err = command(*argv)
    assert code == 2
    assert out == ""
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("SVG", b"<?xml"), ("pdf", b"%PDF")])
def test_command_draws(command, tmp_path, ending, start):
    path = tmp_path / f"ladder.{ending}"
    assert command("--size", "24", "--plot", str(path))[0] == 0
    assert path.read_bytes().startswith(start)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_plot_draws_a_bar_for_each_rung_and_leaves_no_trace(small):
    import matplotlib

    before = dict(matplotlib.rcParams)
    ax = plot_ladder(small.rows, title="a title")
    assert [bar.get_width() for bar in ax.patches] == [row.gflops for row in small.rows]
    assert [label.get_text().split("\n")[0] for label in ax.get_yticklabels()] == ON_CPU
    assert ax.get_xscale() == "log"
    assert ax.yaxis_inverted()
    assert ax.get_title() == "a title"
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_plot_draws_on_the_axes_that_it_is_given(small):
    ax = figures.new_axes()
    assert plot_ladder(small.rows[:3], ax=ax) is ax
    assert len(ax.patches) == 3
    with pytest.raises(ValueError, match="rows is empty"):
        plot_ladder([], ax=ax)
    with pytest.raises(TypeError, match="ax is a int; expected matplotlib axes"):
        plot_ladder(small.rows, ax=3)


def test_a_picture_that_cannot_be_written_leaves_the_old_one(small, tmp_path, monkeypatch):
    path = tmp_path / "ladder.png"
    path.write_bytes(b"old")
    ax = plot_ladder(small.rows)
    monkeypatch.setattr(ax.figure, "savefig", lambda *a, **k: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        figures.save(ax, path)
    assert path.read_bytes() == b"old"
    with pytest.raises(ValueError, match="is a folder"):
        (tmp_path / "folder.png").mkdir()
        figures.check_path(tmp_path / "folder.png")
