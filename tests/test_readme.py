"""README's tables: made from result files, and in agreement with the one that the repository keeps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from result_files import (
    LADDER,
    LIMITS,
    MACHINE,
    document,
    entry,
    matmul,
    other_machine,
    save,
    stats,
    train,
)

import numbasgd.cli
from numbasgd.compare.reading import read
from numbasgd.paths import write_whole
from numbasgd.render import comparison_plot, readme
from numbasgd.render.tables import Table, number, render

ROOT = Path(__file__).parents[1]
EMPTY = f"# A project\n\n{readme.BEGIN}\n{readme.END}\n\nMore text.\n"


@pytest.fixture
def project(tmp_path, monkeypatch, capsys):
    """A small repository, and ``numbasgd report`` in it: exit code, standard output, standard error."""
    monkeypatch.setattr(numbasgd.cli, "COMMANDS", ("report",))
    monkeypatch.chdir(tmp_path)
    Path("bench/results").mkdir(parents=True)
    Path("README.md").write_text(EMPTY, encoding="utf-8")
    cases = [matmul(c, s * (n / 256) ** 3, n) for n in (64, 256, 1024) for c, s in LADDER]
    cases += [train("numbasgd", 1e-5, 10), train("numpy-loop", 6e-4, 10), train("numbasgd", 2e-5, 1)]
    cases += [train("sklearn", 5e-5, 1)]
    save(Path("bench/results"), "one.json", document(cases))

    def call(*argv):
        code = numbasgd.cli.main(["report", *argv])
        return code, *capsys.readouterr()

    return call


def test_readme_and_result_files_of_this_repository_agree(capsys, monkeypatch):
    if not list((ROOT / "bench" / "results").glob("*.json")):
        pytest.skip("bench/results holds no result file")
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(numbasgd.cli, "COMMANDS", ("report",))
    assert numbasgd.cli.main(["report", "--check"]) == 0, capsys.readouterr().err


def test_the_tables_hold_the_figures_of_the_file(project):
    code, out, err = project()
    assert (code, err) == (0, "") and "README.md" in out and "one.png" in out
    text = Path("README.md").read_text()
    assert text.startswith("# A project\n\n") and text.endswith("\n\nMore text.\n")
    rate = 2 * 256**3 / 7e-4 / 1e9
    assert f"| `blocked` | blocks that stay in cache | {number(rate)} | 42.9 | {number(rate)} | 42.9 |" in text
    assert "GFLOP/s at 256" in text and "GFLOP/s at 1024" in text and "at 64" not in text
    assert "| `numpy` | one call to the BLAS | 112 | 100 | 112 | 100 |" in text
    for told in (
        "CPU One (avx2, 4 cores)",
        "running kernel Haswell",
        "Python 3.11.7",
        "numba 0.68.1",
        "one thread",
    ):
        assert told in text
    assert "| 1 | 20.0 |  | 2.50 x |" in text and "| 10 | 10.0 | 60.0 x |  |" in text
    assert "](bench/results/one.png)" in text


def test_a_file_with_limits_gives_the_share_of_the_peak_beside_that_of_the_blas(project):
    save(Path("bench/results"), "one.json", document(machine={**MACHINE, "limits": LIMITS}))
    assert project()[0] == 0
    text, rate = Path("README.md").read_text(), 2 * 256**3 / 7e-4 / 1e9
    assert "| GFLOP/s at 256 | % of BLAS | % of peak |" in text and "peak: 200 GFLOP/s" in text
    assert f"cache | {number(rate)} | 42.9 | {number(100 * rate / 200)} |" in text


def test_each_number_of_rows_has_its_own_training_table(project):
    cases = [train("numbasgd", 1e-5), train("numpy-loop", 6e-4)]
    cases += [train("numbasgd", 8e-3, 100, 1_000_000), train("numpy-loop", 0.16, 100, 1_000_000)]
    cases += [train("numbasgd", 4e-3, 100, 1_000_000, "all")]
    save(Path("bench/results"), "one.json", document(cases))
    project()
    near, far = Path("README.md").read_text().split("**An epoch of training on ")[1:]
    assert near.startswith("1,500 x 5, float32, one thread**") and "| 10 | 10.0 | 60.0 x |" in near
    assert "all threads" not in near
    assert far.startswith("1,000,000 x 5, float32, one thread**")
    assert "| the NumPy loop takes | numbasgd on all threads takes |" in far
    assert "| 100 | 8000 | 20.0 x | 0.500 x |" in far


def test_the_picture_has_the_peak_as_a_line(project):
    path = save(Path("bench/results"), "one.json", document(machine={**MACHINE, "limits": LIMITS}))
    (ladder,) = readme.ladders(read(path))
    (line,) = readme.picture(ladder).axes[0].lines
    assert set(line.get_xdata()) == {200}


def test_a_file_with_a_valley_has_a_table_of_it(project):
    size = {
        "batch_size": 30, "samples": {"median": 750.0}, "compiled": {"median": 2e-9},
        "compiled_time": {"median": 1.5e-6}, "interpreted": {"median": 1e-7},
        "interpreted_time": {"median": 7.5e-5},
    }  # fmt: skip
    unreached = {"batch_size": 1, "samples": None, "compiled": {"median": 9e-9}, "compiled_time": None}
    valley = {"n": 1500, "d": 5, "dtype": "float32", "target": 0.02, "sizes": [size, unreached]}
    extra = {"schema": 1, "kind": "valley", "case": "best", "ladder": "valley", "valley": valley}
    cases = [*(matmul(c, s) for c, s in LADDER), entry("valley[best]", stats(1.5e-6), extra)]
    save(Path("bench/results"), "one.json", document(cases))
    project()
    table = (
        Path("README.md")
        .read_text()
        .split("**Time to within 2 % of the gap, 1,500 x 5, float32, one thread**")[1]
    )
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert rows[2:] == ["| 1 |  | 9.00 |  |  |  |", "| 30 | 750 | 2.00 | 1.50 | 100 | 75.0 |"]


def test_check_writes_nothing_and_says_what_disagrees(project):
    code, out, err = project("--check")
    assert code == 1 and "README.md" in err and "one.png" in err and "Traceback" not in err
    assert Path("README.md").read_text() == EMPTY and not Path("bench/results/one.png").exists()
    assert project()[0] == 0
    assert project("--check") == (0, "", "")
    assert "nothing was written" in project()[1]


def test_check_notices_another_figure_and_an_older_picture(project):
    project()
    Path("README.md").write_text(Path("README.md").read_text().replace("42.9", "62.9"))
    code, _, err = project("--check")
    assert code == 1 and "README.md" in err and "one.png" not in err
    project()
    faster = document([matmul(c, s / 2) for c, s in LADDER])
    save(Path("bench/results"), "one.json", faster)
    code, out, _ = project("--check", "--json")
    assert code == 1 and json.loads(out)["disagree"] == ["README.md", "bench/results/one.png"]
    project()
    Path("bench/results/one.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    code, _, err = project("--check")
    assert code == 1 and "one.png" in err and "README.md" not in err


def test_a_second_machine_gets_its_own_section(project):
    save(Path("bench/results"), "two.json", document(machine={**MACHINE, "cpu": {"model": "CPU Two"}}))
    project()
    text = Path("README.md").read_text()
    assert text.index("CPU One") < text.index("CPU Two") and "two.png" in text


def test_bad_input(project):
    def said(*argv):
        code, out, err = project(*argv)
        assert (code, out) == (2, "") and err.startswith("numbasgd report: ") and err.count("\n") == 1
        return err

    assert "no result file" in said("--results", "nowhere")
    assert "no such file" in said("--readme", "none.md")
    for text in ("# no markers", readme.END + readme.BEGIN, 2 * (readme.BEGIN + readme.END), readme.BEGIN):
        Path("README.md").write_text(text)
        assert "Add both lines" in said()
        assert Path("README.md").read_text() == text
    Path("README.md").write_text(EMPTY)
    save(Path("bench/results"), "one.json", document([entry("test_a", stats(1.0))], machine=None))
    assert "nothing for a README" in said()
    save(Path("bench/results"), "one.json", "{")
    assert "one.json" in said()
    assert Path("README.md").read_text() == EMPTY


@pytest.mark.parametrize(
    "cases",
    [
        [matmul("full", 1e-3, 64)],
        [matmul("packed", 1e-3, 256), matmul("full", 1e-3, 1024)],
        [train("numbasgd", 1e-5, 1)],
        [matmul("full", 1e-3), train("numpy-loop", 1e-5, 1)],
    ],
    ids=["other-size-no-reference", "unknown-rung-gaps", "training-alone", "no-numbasgd-epochs"],
)
def test_it_makes_do_with_the_cases_that_are_there(project, cases):
    save(Path("bench/results"), "one.json", document(cases))
    assert project()[0] == 0
    assert project("--check")[0] == 0


def test_the_rungs_stand_in_their_order_with_the_blas_last(tmp_path):
    (ladder,) = readme.ladders(
        read(save(tmp_path, "a.json", document([matmul(c, s) for c, s in LADDER[::-1]])))
    )
    assert ladder.rungs == ("element", "full", "blocked", "numpy")


def test_drawing_leaves_matplotlib_as_it_was_and_uses_the_axes_it_gets():
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    before = dict(rcParams)
    ax = Figure().add_subplot()
    assert (
        comparison_plot.bars(["a", "b$x$"], {"one": [1.0, None], "_two": [2.0, 3.0]}, unit="GFLOP/s", ax=ax)
        is ax
    )
    assert len(ax.patches) == 3 and "GFLOP/s" in ax.get_xlabel()
    assert dict(rcParams) == before


def test_bars_begin_at_nothing_unless_the_short_ones_would_not_be_seen():
    near = comparison_plot.bars(["a", "b"], {"one": [9.0, 10.0]}, unit="GB/s")
    assert (near.get_xscale(), near.get_xlim()[0], near.get_xlabel()) == ("linear", 0, "GB/s")
    far = comparison_plot.bars(["a", "b"], {"one": [0.1, 10.0]}, unit="GB/s")
    assert (far.get_xscale(), far.get_xlabel()) == ("log", "GB/s (logarithmic)")
    far.figure.draw_without_rendering()
    assert {"0.1", "1", "10"} <= {label.get_text() for label in far.get_xticklabels()}
    assert comparison_plot.bars(["a"], {"one": [None]}, unit="s").get_xscale() == "linear"


def test_reading_and_comparing_do_not_import_matplotlib(tmp_path):
    modules = "numbasgd.render.comparison_plot, numbasgd.render.readme"
    code = f"import sys, {modules}; print('matplotlib' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "False"


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize(
    "value, text",
    [(33.5544, "33.6"), (0.01234, "0.0123"), (999.96, "1000"), (9.999, "10.0"), (256, "256"), (0.0, "0"),
     (1e-9, "1.00e-09"), (float("nan"), "-"), (-2.5, "-2.50"), (123456.7, "123457")],
)  # fmt: skip
def test_numbers(value, text):
    assert number(value) == text


def test_tables_line_up():
    table = Table(("name", "GFLOP/s"), (("a", 12.5), ("long one", 0.25), ("none", None), ("int", 100)), "Title")
    assert render(table).splitlines() == [
        "Title",
        "name      GFLOP/s",
        "--------  -------",
        "a          12.5",
        "long one    0.250",
        "none",
        "int       100",
    ]
    assert render(table, "md").splitlines()[2:5] == ["| name | GFLOP/s |", "| --- | ---: |", "| a | 12.5 |"]
    assert render(table, "csv").splitlines() == [
        "table,name,GFLOP/s", "Title,a,12.5", "Title,long one,0.25", "Title,none,", "Title,int,100",
    ]  # fmt: skip


def test_what_compare_says_of_the_files_stands_where_readme_has_a_place_for_it(project):
    both = EMPTY + f"\n{readme.COMPARE_BEGIN}\n{readme.COMPARE_END}\nThe end.\n"
    Path("README.md").write_text(both, encoding="utf-8")
    assert project()[0] == 0
    assert "numbasgd compare --summary" not in Path("README.md").read_text(), "one file is compared with none"
    other = document([matmul(c, s / 2, 256) for c, s in LADDER], machine=other_machine())
    save(Path("bench/results"), "two.json", other)
    assert project("--check")[0] == 1
    assert project()[0] == 0 and project("--check")[0] == 0
    said = Path("README.md").read_text().partition(readme.COMPARE_BEGIN)[2].partition(readme.COMPARE_END)
    assert (
        "$ numbasgd compare --summary \\\n    bench/results/one.json \\\n    bench/results/two.json\n"
        in said[0]
    )
    assert "\nB is 2.00 times as fast as A" in said[0] and said[2] == "\nThe end.\n"
    assert max(map(len, said[0].splitlines())) <= 100
    Path("README.md").write_text(both.replace(readme.COMPARE_END, ""), encoding="utf-8")
    code, _, err = project("--check")
    assert code == 2 and readme.COMPARE_END in err
