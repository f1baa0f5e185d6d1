"""Many machines on one page: who is ahead and why, one roofline as absolutes and as shares, and one valley."""

import copy

import pytest
from result_files import LADDER, LIMITS, MACHINE, document, entry, matmul, save, stats
from test_html import NASTY, Page

from numbasgd import cli
from numbasgd.compare.comparison import compare, sides_of
from numbasgd.compare.reading import read
from numbasgd.compare.standings import standings
from numbasgd.compare.standings_words import sentences
from numbasgd.render import class_panels
from numbasgd.render.figures import new_axes
from numbasgd.render.html import page

TIMES = {1: 5e-6, 30: 1.5e-6, 1500: 4.5e-6}  # to the target, compiled


def machine(model, peak, read_memory, *, latency=100.0, vector=64, pipes=2):
    """A machine's block, with limits and what its core does a cycle."""
    block = copy.deepcopy({**MACHINE, "limits": LIMITS})
    described = {"vector_bytes": vector, "fma_pipes": pipes, "has_fma": True}
    block["cpu"].update(model=model, description=described)
    block["limits"]["fma"]["float32"]["one"]["value"] = peak
    block["limits"]["levels"][-1].update(read=read_memory, latency=latency)
    return block


def valley(scale=1.0, **changes):
    """The bench of the valley, its times multiplied."""
    sizes = [
        {
            "batch_size": b, "lr": 0.1, "reached": 7, "samples": {"median": 600.0, "q1": 500.0, "q3": 700.0},
            "compiled": {"median": scale * t / 600}, "compiled_time": {"median": scale * t},
            "interpreted": {"median": scale * t / 6}, "interpreted_time": {"median": scale * t * 100},
        }
        for b, t in TIMES.items()
    ]  # fmt: skip
    block = {"n": 1500, "d": 5, "dtype": "float32", "target": 0.02, "sizes": sizes, **changes}
    extra = {
        "schema": 1,
        "kind": "valley",
        "case": "best",
        "ladder": "valley",
        "device": "cpu",
        "threads": "one",
    }
    return entry("valley[best-f32-airfoil-one]", stats(scale * 1.5e-6), {**extra, "valley": block})


def gradient(gbs, n=262144, d=128):
    """A gradient that reads its rows at that speed."""
    name, size = f"gradient[numbasgd-f32-{n}x{d}-one]", 4 * n * d
    extra = {
        "schema": 1, "kind": "gradient", "case": "numbasgd", "ladder": f"gradient-{n}", "dtype": "float32",
        "n": n, "d": d, "device": "cpu", "threads": "one", "flop": size, "bytes": size,
    }  # fmt: skip
    return entry(name, stats(size / gbs / 1e9), extra)


def product(gflops, n=256):
    """The rung ``packed`` at that speed."""
    return matmul("packed", 2 * n**3 / gflops / 1e9, n)


CASES = [matmul(case, seconds) for case, seconds in LADDER]


@pytest.fixture
def files(tmp_path):
    """The fastest core; the best memory, no valley; and a machine that is behind in both."""
    described = {
        "a": (machine("CPU A", 240.0, 20.0, latency=96.0), [valley(), product(220), gradient(18)]),
        "b": (machine("CPU B", 120.0, 40.0, latency=80.0, vector=32), [product(115), gradient(38)]),
        "c": (machine("CPU C", 60.0, 16.0, vector=32, pipes=1), [valley(2.0), product(50), gradient(16)]),
    }
    return [
        save(tmp_path, f"{name}.json", document([*CASES, *cases], machine=block))
        for name, (block, cases) in described.items()
    ]


@pytest.fixture
def found(files):
    return standings(compare(sides_of([read(path) for path in files])))


def test_what_is_known_of_each_machine(found):
    a, b, c = found
    assert [s.model for s in found] == ["CPU A", "CPU B", "CPU C"]
    assert (a.core.operations, b.core.operations, c.core.operations) == (64, 32, 16)
    assert a.core.clock == pytest.approx(3.75) and b.memory.lines == pytest.approx(40 * 80 / 64)
    assert a.kernels["product"].peak_share == pytest.approx(220 / 240)
    assert b.kernels["gradient"].roof_share == pytest.approx(38 / 40)
    assert b.valley is None
    assert a.valley.best().batch_size == 30 and c.valley.best().time["compiled"] == pytest.approx(3e-6)


def test_who_is_ahead_and_why(found):
    core, memory, training, missing = sentences(found)
    assert core.startswith("A has the fastest core: 240 GFLOP/s") and "2 times as many as B, the next" in core
    assert "64 operations a cycle (2 multiply-adds of 64-byte vectors), B 32 (2 of 32)" in core
    assert "about 3.8 GHz, B's 3.8" in core
    assert memory.startswith("B has the best memory: one thread reads 40 GB/s, 2 times as much as on A")
    assert "B keeps 50 lines of 64 bytes and waits 80 ns for each, A 30 and 96 ns." in memory
    assert training.startswith("A gets to the loss first, in 1.5 us with batch size 30; C, the next, takes 3")
    assert "with batch size 30 2.5 ns on A, 5 on C." in training
    assert missing == "Not everywhere: without a valley of the same problem: B."


def test_where_cores_do_as_much_a_cycle_the_clock_decides(tmp_path):
    blocks = [machine(name, peak, 20.0) for name, peak in (("A", 200.0), ("B", 250.0), ("C", 100.0))]
    paths = [save(tmp_path, f"{i}.json", document(machine=block)) for i, block in enumerate(blocks)]
    core = sentences(standings(compare(sides_of([read(path) for path in paths]))))[0]
    assert "Both do 64 operations a cycle, so the clock decides: about 3.9 GHz, A's 3.1." in core


def test_files_of_one_machine_are_not_counted_as_machines(tmp_path):
    blocks = [machine("A", 200.0, 20.0), machine("A", 200.0, 20.0), machine("B", 100.0, 20.0)]
    paths = [save(tmp_path, f"{i}.json", document(machine=block)) for i, block in enumerate(blocks)]
    assert "The class: 3 columns of 2 machines" in page(compare(sides_of([read(path) for path in paths])))


def test_machines_that_are_alike_are_not_said_to_be_ahead(tmp_path):
    blocks = [machine(name, peak, peak / 10) for name, peak in (("A", 204.0), ("B", 200.0), ("C", 100.0))]
    paths = [
        save(tmp_path, f"{i}.json", document([*CASES, valley(factor)], machine=block))
        for i, (block, factor) in enumerate(zip(blocks, (1.0, 1.02, 2.0), strict=True))
    ]
    core, memory, training = sentences(standings(compare(sides_of([read(path) for path in paths]))))
    assert core.startswith("A and B have the fastest cores, no more than 5 % apart: 204 and 200 GFLOP/s")
    assert memory == "A and B have the best memory, no more than 5 % apart: one thread reads 20.4 and 20 GB/s."
    assert training.startswith("A and B get to the loss first, no more than 5 % apart: in 1.5 and 1.53 us")


def test_every_machine_is_a_dot_on_one_roofline(found):
    ax = class_panels.plot_absolutes(new_axes(), found)
    roofs, dots = ax.lines[:3], ax.lines[3:]
    assert [max(roof.get_ydata()) for roof in roofs] == [240, 120, 60]
    assert [float(dot.get_ydata()[0]) for dot in dots] == pytest.approx([220, 18, 115, 38, 50, 16])
    ax = class_panels.plot_shares(new_axes(), found)
    roof, *dots = ax.lines
    assert list(roof.get_xdata()[1:2]) == [1] and max(roof.get_ydata()) == 1
    assert [float(dot.get_ydata()[0]) for dot in dots[::2]] == pytest.approx([220 / 240, 115 / 120, 50 / 60])
    gradients = [(float(dot.get_xdata()[0]), float(dot.get_ydata()[0])) for dot in dots[1::2]]
    assert [y / x for x, y in gradients] == pytest.approx([18 / 20, 38 / 40, 16 / 16])  # under the slope


def test_every_machine_with_a_valley_is_a_line_in_it(found):
    ax = class_panels.plot_valley(new_axes(), found)
    named = {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}
    assert set(named) == {"A", "C"}
    assert list(named["A"].get_xdata()) == list(TIMES)
    assert list(named["C"].get_ydata()) == pytest.approx([2e6 * t for t in TIMES.values()])


def test_the_command_writes_the_class_for_three_files_and_not_for_two(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "COMMANDS", ("compare",))
    out = tmp_path / "class.html"
    assert cli.main(["compare", *files, "--html", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    words = " ".join(Page(text).words)
    assert "The class: 3 machines" in words and "A has the fastest core" in words and "CPU B" in words
    assert text.index("The class") < text.index("Rooflines and ladders")
    assert cli.main(["compare", *files[:2], "--html", str(out)]) == 0
    assert "The class" not in out.read_text(encoding="utf-8")
    capsys.readouterr()


def test_a_valley_of_another_problem_is_left_out(tmp_path):
    cases = [valley(), valley(target=0.1), valley(1.5)]
    paths = [save(tmp_path, f"{i}.json", document([*CASES, case])) for i, case in enumerate(cases)]
    found = standings(compare(sides_of([read(path) for path in paths])))
    assert [s.valley and len(s.valley.places) for s in found] == [3, None, 3]
    assert "without measured limits: A, B, C; without a valley of the same problem: B" in sentences(found)[-1]


@pytest.mark.parametrize(
    "block", [None, [], {"sizes": 3}, {"sizes": [None, {"batch_size": "x"}, {"batch_size": 1}]}]
)
def test_a_valley_that_is_no_valley_breaks_nothing(tmp_path, block):
    broken = valley()
    broken["extra_info"]["valley"] = block
    nasty = machine(NASTY[0], 100.0, 10.0)
    paths = [
        save(tmp_path, f"{i}.json", document([*CASES, case], machine=nasty))
        for i, case in enumerate((broken, broken, valley()))
    ]
    text = page(compare(sides_of([read(path) for path in paths])))
    assert "The class" in text and NASTY[0] not in text
    assert NASTY[0] in Page(text).words


def test_files_that_know_nothing_of_their_machines_have_no_class(tmp_path):
    paths = [save(tmp_path, f"{i}.json", document(machine=None)) for i in range(3)]
    assert "The class" not in page(compare(sides_of([read(path) for path in paths])))
