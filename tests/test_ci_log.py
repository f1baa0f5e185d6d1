"""``--fail-if-slower``: what a CI log shows, and that README's workflow is one that runs."""

import re
import shlex
from pathlib import Path

import pytest
from result_files import document, matmul, other_machine, save

import numbasgd.cli


@pytest.fixture
def command(monkeypatch, capsys):
    """``numbasgd compare`` outside of GitHub: exit code, standard output, standard error."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)

    def call(*argv):
        code = numbasgd.cli.main(["compare", *argv])
        return code, *capsys.readouterr()

    return call


def pair(folder, **scales):
    """Two files of 100 cases; those that are named take so much longer in the second one."""
    names = [f"c{i}" for i in range(100)]
    first = document([matmul(name, 1e-3) for name in names])
    second = document([matmul(name, 1e-3 * scales.get(name, 1.0)) for name in names])
    return save(folder, "a.json", first), save(folder, "b.json", second)


def test_the_cases_that_failed_come_last_a_line_each(tmp_path, command):
    a, b = pair(tmp_path, c3=3.0, c5=4.0, c7=1.1)
    code, _, err = command(a, b, "--fail-if-slower", "60")
    head, *lines = err.splitlines()
    assert code == 1 and head.startswith("2 of 100 comparisons are slower by more than 60 %")
    assert [line.split("[")[1].split("-")[0] for line in lines] == ["c5", "c3"], "the slowest first"
    assert re.fullmatch(
        r"  matmul\[c3-f32-256-one\]: 3\.00x slower \([\d.]+x to [\d.]+x\), 1\.00 -> 3\.00 ms", lines[1]
    )
    assert command(a, b, "--fail-if-slower", "60", "--json")[2] == err, "beside JSON as well"


def test_in_github_actions_they_are_errors(tmp_path, command, monkeypatch):
    a, b = pair(tmp_path, c3=2.0)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    code, _, err = command(a, b, "--fail-if-slower", "10")
    (line,) = [line for line in err.splitlines() if line.startswith("::")]
    assert code == 1
    assert line.startswith("::error title=Slower::matmul[c3-f32-256-one]: 2.00x slower")


def test_nothing_failed_is_said(tmp_path, command):
    a, b = pair(tmp_path)
    assert command(a, b, "--fail-if-slower", "10")[2] == "0 of 100 comparisons are slower by more than 10 %.\n"
    assert "up to 5 % is no difference (--tolerance)." in command(a, b, "--fail-if-slower", "2")[2]
    assert command(a, b)[2] == ""


def test_only_what_was_called_slower_fails(tmp_path, command):
    """A ratio beyond the limit whose interval holds 1 is told as undecided."""
    a = save(tmp_path, "a.json", document([matmul("full", 1e-3)]))
    b = save(tmp_path, "b.json", document([matmul("full", 1.3e-3)]))
    code, _, err = command(a, b, "--fail-if-slower", "10")
    assert code == 0 and "0 of 1" in err and "of 1 these runs cannot tell" in err


def test_sides_and_shares_are_named(tmp_path, command):
    a = save(tmp_path, "a.json", document())
    slow = document([matmul(case, s) for case, s in (("element", 0.016), ("full", 0.08), ("numpy", 0.0003))])
    b = save(tmp_path, "b.json", {**slow, "machine_info": document(machine=other_machine())["machine_info"]})
    code, _, err = command(a, a, b, "--fail-if-slower", "10")
    assert code == 1 and "  C matmul[full-f32-256-one]: 100x slower" in err and "share of its reference" in err


def test_readme_has_a_workflow_whose_command_runs(tmp_path, command, monkeypatch):
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (workflow,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (line,) = [line for line in workflow.splitlines() if "numbasgd compare" in line]
    assert "on: pull_request" in workflow and "--benchmark-json=" in workflow
    for side, scale in (("main", 1.0), ("change", 2.0)):
        for run in (1, 2, 3):
            content = document(scale=scale * (1 + run / 500), commit=side)
            save(tmp_path, f"{side}-{run}.json", content)
    monkeypatch.chdir(tmp_path)
    _, _, *words = shlex.split(line.partition("bin/")[2])
    files = [str(name) for word in words for name in (sorted(tmp_path.glob(word)) if "*" in word else [])]
    options = [word for word in words if "*" not in word]
    code, _, err = command(*files, *options)
    assert len(files) == 6 and code == 1 and "6 of 6 comparisons are slower" in err
