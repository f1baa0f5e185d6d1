"""``numbasgd memory``: what it measures, prints, writes and draws."""

import dataclasses
import json
import math

import pytest

from numbasgd import cli, experiments
from numbasgd.experiments import _memory as memory
from numbasgd.machine import patterns, peaks
from numbasgd.machine.deadline import Deadline
from numbasgd.matmul.verify import WrongResultError
from numbasgd.render.memory_plot import plot_memory

KB = 1024


@pytest.fixture(scope="module")
def found():
    return memory.memory(quick=True, largest=256 * KB, deadline=Deadline(math.inf))


@pytest.fixture
def command(monkeypatch, found):
    monkeypatch.setattr(cli, "COMMANDS", ("memory",))
    monkeypatch.setattr(experiments, "memory", lambda quick, deadline: found)
    return lambda *argv: cli.main(["memory", *argv])


def test_what_is_measured(found):
    sets = {row.working_set for row in found.patterns}
    assert max(sets) == 256 * KB and min(sets) == memory.IN_CACHE
    assert {row.name for row in found.patterns} == set(patterns.PATTERNS)
    assert [row.name for row in found.bursts] == [f"burst-{n}" for n in patterns.BURSTS]
    assert len(found.widths) == 2 * len(patterns.WIDTHS)
    assert len(found.work) == 2 * len(patterns.FLOPS)
    for row in (*found.patterns, *found.bursts, *found.widths, *found.work):
        assert 0 < row.low <= row.ns <= row.high
        assert row.gbs > 0
    for row in found.work:
        flop = int(row.name.partition("-")[2])
        assert row.gflops == pytest.approx(flop / row.ns)
        assert row.gbs == pytest.approx(4 / row.ns)


def test_json(command, found, capsys):
    assert command("--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["schema"] == 1 and printed["kind"] == "memory"
    assert set(printed) == {
        *("schema", "kind", "limits", "patterns", "bursts", "widths", "work", "machine"),
        *("notes", "seconds", "compile_seconds"),
    }
    assert printed["limits"] == found.limits
    assert len(printed["patterns"]) == len(found.patterns)


def test_tables(command, found, capsys):
    assert command() == 0
    said = capsys.readouterr().out
    for part in (
        "What the machine can do",
        "multiply-add, float32",
        "The levels that the sweep found",
        "burst-4096",
    ):
        assert part in said
    assert "GPU" not in said


def test_a_cards_costs_are_a_table(command, found, monkeypatch, capsys):
    card = {"launch": {"value": 12000.0, "low": 1.0, "high": 2.0, "unit": "ns"}}
    monkeypatch.setitem(found.limits, "gpu", card)
    assert command() == 0
    assert "launch  12000  ns" in capsys.readouterr().out


def test_the_picture(command, found, tmp_path):
    assert command("--plot", str(tmp_path / "memory.png")) == 0
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")
    axes = plot_memory(found).axes
    titles = [ax.get_title(loc="left").strip() for ax in axes]
    assert titles[:5] == [
        "The first access costs",
        "The order of reading decides",
        "A burst is cheap",
        "Wide loads feed the units",
        "Arithmetic outruns memory",
    ]
    drawn = next(line for line in axes[0].lines if len(line.get_xdata()) > 2)
    assert list(drawn.get_ydata()) == [p["value"] for p in found.limits["latency"]]
    assert len(axes[1].lines) >= len(patterns.PATTERNS)


@pytest.mark.parametrize("path", ["no/such/folder/m.png", "m.word", "m"])
def test_a_bad_path_is_one_line_before_any_work(monkeypatch, capsys, path):
    monkeypatch.setattr(cli, "COMMANDS", ("memory",))
    monkeypatch.setattr(experiments, "memory", None)
    assert cli.main(["memory", "--plot", path]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("numbasgd memory: the picture's") and len(shown.err.splitlines()) == 1


def test_a_wrong_sum_is_an_error(monkeypatch, found):
    monkeypatch.setattr(peaks, "limits", lambda quick, largest, deadline: found.limits)
    right = patterns.pattern

    def wrong(name, n_bytes, numbers):
        access = right(name, n_bytes, numbers)
        if name == "strided":
            return dataclasses.replace(access, call=lambda passes: access.call(passes) + 1)
        return access

    monkeypatch.setattr(patterns, "pattern", wrong)
    with pytest.raises(WrongResultError, match="strided"):
        memory.memory(quick=True, largest=256 * KB, deadline=Deadline(math.inf))


def test_the_commands_are_registered(capsys):
    for name in ("memory", "roofline"):
        assert name in cli.COMMANDS
        with pytest.raises(SystemExit) as ended:
            cli.main([name, "--help"])
        assert ended.value.code == 0
        assert "--json" in capsys.readouterr().out
