"""``numbasgd compare`` as a command: what it prints, its exit codes, and files it must not stumble over."""

import csv
import io
import json
import re

import pytest
from result_files import LADDER, document, entry, matmul, other_machine, save, stats

import numbasgd.cli
from numbasgd.compare.estimate import SLOWER


@pytest.fixture
def command(monkeypatch, capsys):
    """``numbasgd compare``: exit code, standard output, standard error."""
    monkeypatch.setattr(numbasgd.cli, "COMMANDS", ("compare",))

    def call(*argv):
        code = numbasgd.cli.main(["compare", *argv])
        return code, *capsys.readouterr()

    return call


def test_the_cases_that_differ_are_named(command, tmp_path):
    cases = [matmul(case, seconds * (1 if case == "numpy" else 2)) for case, seconds in LADDER]
    a = save(tmp_path, "a.json", document([matmul(case, seconds) for case, seconds in LADDER]))
    out = command(a, save(tmp_path, "b.json", document(cases)))[1]
    assert "B against A: 3 slower, 1 same." in out and "  matmul[full-f32-256-one]: 2.00x slower\n" in out
    together = command(a, save(tmp_path, "c.json", document(cases[:3])))[1]
    assert "B against A: 3 slower." in together and "full" not in together.split("B against A")[1], (
        "the summary says it at once"
    )
    a = save(tmp_path, "a.json", document())
    assert "B against A: 6 same." in command(a, a)[1]


def test_the_command_prints_tables(command, tmp_path):
    a = save(tmp_path, "a.json", document())
    b = save(tmp_path, "b.json", document(scale=0.5, machine=other_machine()))
    code, out, err = command(a, b)
    assert (code, err) == (0, "")
    for text in (
        "CPU One",
        "CPU Two",
        "is normalized away",
        "matmul-f32-256-one",
        "% of numpy",
        "same",
    ):
        assert text in out
    assert out.index("cpu.model") < out.index("\nmatmul-f32-256-one"), "the machines come first"
    assert "A GFLOP/s" in command(a, b, "--all")[1]
    assert len(re.findall(r"  same$", command(a, a)[1], re.MULTILINE)) == 6
    assert "2.00x faster" in command(a, b, "--metric", "time")[1]
    assert "| blocked |" in command(a, b, "--format", "md")[1]


def test_the_command_writes_json_and_csv(command, tmp_path):
    a = save(tmp_path, "a.json", document())
    b = save(tmp_path, "b.json", document([matmul("full", 2e-3), entry("test_z", stats(1.0))]))
    for option in (["--json"], ["--format", "json"]):
        code, out, _ = command(a, b, *option)
        found = json.loads(out)
        assert code == 0 and found["cases"][0]["changes"][0]["verdict"] == SLOWER
    assert {"id": "tests/test_x.py::test_z", "in": [b]} in found["partial"]
    _, out, _ = command(a, b, "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(out))
    assert row["id"] == "matmul[full-f32-256-one]" and float(row["A s"]) == 8e-4
    assert float(row["B/A"]) == pytest.approx(0.4)


def test_exit_codes(command, tmp_path):
    a = save(tmp_path, "a.json", document())
    slow = save(tmp_path, "slow.json", document(scale=1.6))
    other = save(tmp_path, "other.json", document([entry("test_z", stats(1.0))]))
    assert command(a, slow)[0] == 0
    assert command(a, slow, "--fail-if-slower", "10")[0] == 1
    assert command(a, slow, "--fail-if-slower", "70")[0] == 0
    assert command(slow, a, "--fail-if-slower", "10")[0] == 0
    somewhat = save(tmp_path, "somewhat.json", document(scale=1.2))
    assert command(a, somewhat, "--fail-if-slower", "10")[0] == 0, "one run does not tell"
    assert command(a, somewhat, "--fail-if-slower", "10", "--scatter", "5")[0] == 1, (
        "on a quiet machine it does"
    )
    assert command(a, slow, "--baseline", slow, "--fail-if-slower", "0")[0] == 0
    code, out, err = command(a, other)
    assert (code, out) == (2, "") and "no case in common" in err
    plain = document([entry("test_a", stats(1.0))], machine=None)
    there = document([entry("test_a", stats(1.0))], machine=None)
    there["machine_info"]["cpu"]["brand_raw"] = "CPU Two"
    code, out, _ = command(save(tmp_path, "p.json", plain), save(tmp_path, "q.json", there))
    assert code == 3 and "makes these figures incomparable" in out


def test_a_bad_file_gets_a_line_and_the_rest_is_compared(command, tmp_path):
    a, b = (save(tmp_path, name, document()) for name in ("a.json", "b.json"))
    bad = save(tmp_path, "bad.json", "")
    code, out, err = command(a, bad, b, str(tmp_path / "none.json"))
    assert code == 2 and "same" in out
    assert [line.split(": ")[1] for line in err.splitlines()] == [bad, str(tmp_path / "none.json")]
    code, out, err = command(a, bad)
    assert (code, out) == (2, "") and "1 of 2 files could not be used" in err
    code, out, err = command(a)
    assert (code, out) == (2, "") and "only one file was given" in err and "Traceback" not in err


@pytest.mark.parametrize("option", ["--tolerance", "--scatter", "--fail-if-slower"])
@pytest.mark.parametrize("value", ["-1", "nan", "inf", "1e9"])
def test_bad_percents(command, tmp_path, option, value):
    a = save(tmp_path, "a.json", document())
    code, _, err = command(a, a, f"{option}={value}")
    assert code == 2 and option in err and "expected" in err


def test_odd_names_cannot_break_a_table(command, tmp_path):
    odd = document([entry(name, stats(1.0)) for name in ("a|b", "c\nd", "\x1b[31me", "\ud800", "$x$")])
    a = save(tmp_path, "a.json", odd)
    for form in ("table", "md", "csv", "json"):
        code, out, _ = command(a, a, "--format", form, "--plot", str(tmp_path / "p.svg"))
        assert code == 0 and "\x1b" not in out and "\ud800" not in out
    assert r"a\|b" in command(a, a, "--format", "md")[1]


def test_a_run_on_a_busy_machine_is_pointed_out(command, tmp_path):
    quiet = [matmul(f"c{i}", 1e-3, spread=0.01) for i in range(12)]
    busy = [matmul(f"c{i}", 1e-3, spread=0.3 if i % 2 else 0.01) for i in range(12)]
    a, b = save(tmp_path, "a.json", document(quiet)), save(tmp_path, "b.json", document(busy))
    _, out, _ = command(a, b)
    said = " ".join(" ".join(out.splitlines()[:3]).split())
    assert said.startswith("UNDER LOAD: B (") and "b.json, rounds scatter by 30 %)" in said
    assert "measure again" in said
    few = save(tmp_path, "few.json", document(busy[:7]))
    out = command(a, a)[1] + command(few, few)[1]
    assert "UNDER LOAD" not in out and "Not idle" not in out


def test_sorting(command, tmp_path):
    a = save(tmp_path, "a.json", document([matmul("full", 1e-3), matmul("blocked", 1e-3)]))
    b = save(tmp_path, "b.json", document([matmul("full", 1e-3), matmul("blocked", 2e-3)]))
    ids = {}
    for order in ("file", "name", "ratio"):
        found = json.loads(command(a, b, "--json", "--sort", order)[1])["cases"]
        ids[order] = [c["id"].split("-")[0] for c in found]
    assert ids == {k: ["matmul[full", "matmul[blocked"][:: (1 if k == "file" else -1)] for k in ids}


def test_the_picture(command, tmp_path, monkeypatch):
    a, b = (save(tmp_path, n, document(scale=s)) for n, s in (("a.json", 1), ("b.json", 2)))
    code, out, err = command(a, b, "--plot", str(tmp_path / "out.png"))
    assert code == 0 and "left out" not in out + err
    monkeypatch.setattr("numbasgd.render.comparison_plot.MOST_LADDERS", 0)
    for form, place in (("table", 1), ("md", 1), ("json", 2), ("csv", 2)):
        said = command(a, b, "--plot", str(tmp_path / "out.png"), "--format", form)
        last = said[place].split("\n\n")[-1] if place == 1 else said[place]
        assert "out.png: 2 ladders left out" in " ".join(last.split()), "where no program reads"
        assert "left out" not in said[3 - place]
    assert (tmp_path / "out.png").read_bytes()[:4] == b"\x89PNG"
    code, _, err = command(a, b, "--plot", str(tmp_path / "out.xyz"))
    assert code == 2 and "expected one of" in err
    code, _, err = command(a, b, "--plot", str(tmp_path / "no" / "out.png"))
    assert code == 2 and "does not exist" in err
