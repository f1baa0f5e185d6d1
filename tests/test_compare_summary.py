"""The summary of a comparison: what it says of one machine, of two and of many, and how it is shown."""

import json
import math
import re
from pathlib import Path
from random import Random

import pytest
from result_files import LIMITS, MACHINE, document, entry, matmul, other_machine, save, stats

import numbasgd.cli
from numbasgd.compare.comparison import compare, sides_of
from numbasgd.compare.load import withhold
from numbasgd.compare.reading import read
from numbasgd.compare.summary import summarise
from numbasgd.compare.summary_words import sentences, standing_out
from numbasgd.render.comparison_report import markdown, plain
from numbasgd.render.comparison_text import tallies, to_dict
from numbasgd.render.summary_text import screen
from numbasgd.render.tables import Best, Table, render

DATA = Path(__file__).parent / "data"
RESULTS = Path(__file__).parent.parent / "bench" / "results"


@pytest.fixture
def command(monkeypatch, capsys):
    """``numbasgd compare``: exit code, standard output, standard error."""
    monkeypatch.setattr(numbasgd.cli, "COMMANDS", ("compare",))

    def call(*argv):
        code = numbasgd.cli.main(["compare", *argv])
        return code, *capsys.readouterr()

    return call


def compared(folder, *documents, **more):
    files = [read(save(folder, f"{'abcdefghijklmnop'[i]}.json", d)) for i, d in enumerate(documents)]
    return compare(sides_of(files), **more)


def suite(count, factor=lambda i: 1.0, spread=0.01):
    """``count`` cases of another project, case i slower by ``factor(i)``."""
    return [entry(f"test_{i}", stats(1e-3 * factor(i), spread=spread)) for i in range(count)]


def limited(fma, l1, l2, l3, memory, machine=MACHINE):
    """A machine with these measured limits."""
    levels = [("L1", 32768, l1), ("L2", 2**20, l2), ("L3", 2**25, l3), ("memory", None, memory)]
    limits = {
        **LIMITS,
        "fma": {"float32": {"one": {"value": fma}}},
        "levels": [{"name": name, "bytes": size, "read": value} for name, size, value in levels],
    }
    return {**machine, "limits": limits}


def two_machines():
    """The second computes 1.5 times as fast and reads L3 and memory slowly; `packed` fell there at 512."""
    ours, theirs = [], []
    for n in (64, 512):
        flop = 2 * n**3
        fell = 3.0 if n == 512 else 1.0
        rungs = (("packed", 115e9, 170e9 / fell), ("column", 40e9, 42e9), ("numpy", 105e9, 155e9))
        ours += [matmul(rung, flop / speed, n) for rung, speed, _ in rungs]
        theirs += [matmul(rung, flop / speed, n) for rung, _, speed in rungs]
    return (
        document(ours, machine=limited(118.0, 222.0, 118.0, 98.0, 33.0)),
        document(theirs, machine=limited(177.0, 327.0, 141.0, 30.0, 17.0, other_machine())),
    )


def test_another_machine_is_faster_in_arithmetic_and_slower_from_memory(tmp_path):
    summary = summarise(compared(tmp_path, *two_machines()))
    (told,) = [line for line in sentences(summary) if "faster in" in line]
    faster, _, slower = told.partition("slower in")
    assert all(word in faster for word in ("arithmetic (1.50)", "L1 (1.47)", "L2 (1.19)"))
    assert all(word in slower for word in ("L3 (0.31)", "memory (0.52)"))
    (fell,) = standing_out(summary)
    assert fell == "packed at 512 f32 fell on B: 37 % of the BLAS (A: 110 %)."
    by_name = {family.name: family for family in summary.families}
    packed = by_name["matmul, packed"]
    assert packed.times[0] == pytest.approx(170 / 115 / math.sqrt(3)) and packed.cases == (2,)
    assert packed.shares[0] == pytest.approx(170 / 115 * 105 / 155 / math.sqrt(3)) and packed.share_cases == (
        2,
    )
    assert by_name["numpy (BLAS)"].shares == (None,), "a reference is no share of itself"


def test_a_case_that_is_behind_on_the_first_machine_is_told_as_that(tmp_path):
    a, b = two_machines()
    (told,) = standing_out(summarise(compared(tmp_path, b, a)))
    assert told == "packed at 512 f32 stays behind on A: 37 % of the BLAS (B: 110 %)."


def test_the_result_files_of_two_makers(tmp_path):
    files = [RESULTS / "amd-epyc-zen4-2cores.json", DATA / "intel-emeraldrapids-2cores.json"]
    summary = summarise(withhold(compare(sides_of([read(str(file)) for file in files]))))
    first, told, shares = sentences(summary)
    assert re.match(
        r"B is slower: 0\.8\d times as fast as A, 163 cases \(9 of 10 between 0\.\d+ and 1\.\d+ times", first
    )
    assert re.match(
        r"Share of its own BLAS or reference: 0\.75 times A's, \d+ cases; \d+ slower, \d+ f", shares
    )
    assert told == (
        "B is faster in arithmetic (1.50), L1 (1.47) and L2 (1.19), slower in L3 (0.30) and memory (0.51)."
    )
    fell = standing_out(summary)[0]
    assert fell == "packed at 512 f64 and 1024 f32 fell on B: 62 and 45 % of the BLAS (A: 107 and 108 %)."
    lines = screen(summary)
    assert len(lines) <= 25 and max(map(len, lines)) <= 100
    assert told in lines and fell in lines, "each in one line"


def test_the_result_files_of_two_machines(tmp_path):
    """Time first: the newer of these machines is faster as a whole, and in arithmetic most."""
    files = [read(str(RESULTS / f"amd-epyc-{name}-2cores.json")) for name in ("zen4", "zen5")]
    found = compare(sides_of(files))
    (against,) = summarise(found).against
    assert against.common == pytest.approx(against.time, rel=0.1) and against.cases == len(found.rows)
    first, second, *_ = sentences(summarise(found))
    assert re.match(r"B is 1\.\d\d times as fast as A, \d+ cases \(9 of 10 between", first)
    assert re.match(r"B is faster in arithmetic \(2\.\d\d\)", second)


def test_a_whole_suite_that_moved_is_one_statement(tmp_path):
    random = Random(1)
    before, after = ([math.exp(random.gauss(0, 0.2)) for _ in range(433)] for _ in range(2))
    found = compared(
        tmp_path,
        document(suite(433, before.__getitem__), machine=None),
        document(suite(433, lambda i: after[i] / 1.49), machine=None),
    )
    (against,) = summarise(found).against
    assert against.common == pytest.approx(1.49, rel=0.03) and not against.exceptions
    first, *others = sentences(summarise(found))
    assert (
        re.match(r"B is 1\.(4|5)\d times as fast as A, 433 cases \(.*\), without exception\.", first)
        and not others
    )
    assert len(tallies(found)) == 1, "no case is named"
    assert "gained" not in "\n".join(screen(summarise(found)))


@pytest.mark.parametrize("factor", [1.4, 1 / 1.4])
def test_one_case_that_did_not_move_with_the_rest(tmp_path, factor):
    random = Random(2)
    jitter = [math.exp(random.gauss(0, 0.001)) for _ in range(107)]
    slow = suite(107, lambda i: jitter[i] / factor if i else 1.1)
    other = document(slow, machine=other_machine())
    summary = summarise(compared(tmp_path, document(suite(107)), other))
    assert [case.id for case in summary.against[0].exceptions] == ["tests/test_x.py::test_0"]
    told = sentences(summary)[0]
    slower = "slower: " * (factor < 1)
    assert told.startswith(f"B is {slower}{factor:.2f} times as fast as A, 107 cases")
    assert "; one exception: tests/test_x.py::test_0 (1.10 times slower)" in told


def test_a_case_that_went_far_the_other_way_is_an_exception_however_wide_the_rest(tmp_path):
    wide = suite(50, lambda i: 3.0 if i == 7 else 1 / (1.2 + i / 10))
    summary = summarise(compared(tmp_path, document(suite(50)), document(wide, machine=other_machine())))
    assert [case.id for case in summary.against[0].exceptions] == ["tests/test_x.py::test_7"]


def test_two_runs_of_one_program_on_one_machine(tmp_path):
    """Noise as between real runs; the sentence stands at the head whatever chance calls."""
    for seed in range(5):
        random = Random(seed)
        noise = [math.exp(random.gauss(0, 0.05 if i % 9 else 0.2)) for i in range(160)]
        found = compared(tmp_path, document(suite(160)), document(suite(160, lambda i: noise[i])))  # noqa: B023
        assert sentences(summarise(found))[0].startswith("Nothing changed")
        assert summarise(found).against[0].common is None


def test_a_few_changed_cases_on_one_machine_are_named(tmp_path):
    random = Random(3)
    jitter = [math.exp(random.gauss(0, 0.01)) for _ in range(100)]
    one = suite(100, lambda i: 3.0 if i == 5 else jitter[i])
    told = sentences(summarise(compared(tmp_path, document(suite(100)), document(one))))[0]
    assert told.startswith("Nothing changed but for tests/test_x.py::test_5 (3.00 times slower): ")
    several = suite(12, lambda i: 2.0 if i < 6 else 1.0)
    summary = summarise(compared(tmp_path, document(suite(12)), document(several)))
    assert sentences(summary)[0].startswith(
        "6 slower of 12 cases, most tests/test_x.py::test_0 (2.00 times slower)"
    )
    shown = "\n".join(screen(summary))
    assert "lost most on time" in shown and "gained most" not in shown, "only what was called"


def loaded(count=20, **more):
    return document([matmul(f"c{i}", 1e-3, spread=0.4) for i in range(count)], **more)


def test_no_verdicts_between_machines_under_load_unless_asked(command, tmp_path):
    quiet = save(tmp_path, "quiet.json", document([matmul(f"c{i}", 1e-3) for i in range(20)]))
    busy = save(tmp_path, "busy.json", loaded(machine=other_machine()))
    code, out, _ = command(quiet, busy, "--metric", "time")
    first = out.splitlines()[0]
    assert code == 3 and first.startswith("UNDER LOAD: B (") and "busy.json" in " ".join(out.splitlines()[:3])
    assert "--even-if-busy" in out and "B against A: 20 not comparable." in out
    code, out, _ = command(quiet, busy, "--metric", "time", "--even-if-busy")
    assert code == 0 and out.startswith("UNDER LOAD: ") and "not comparable" not in out
    found = json.loads(command(quiet, busy, "--json")[1])
    assert found["summary"]["withheld"] == [1] and found["summary"]["busy"][0]["is_loaded"]


def test_on_one_machine_the_load_is_the_headline(command, tmp_path):
    cases = [matmul(f"c{i}", 1e-3 * (1.9 if i < 4 else 1)) for i in range(20)]
    busy = [save(tmp_path, "busy.json", loaded()), save(tmp_path, "quiet.json", document(cases))]
    out = command(*busy)[1]
    assert out.startswith("UNDER LOAD: A (") and "measure again" in " ".join(out.splitlines()[:3])
    assert "not comparable" not in out, "it is still judged"


def test_files_that_are_not_quite_idle_are_named_and_judged(tmp_path):
    noisy = document([matmul(f"c{i}", 1e-3, spread=0.08) for i in range(20)], machine=other_machine())
    found = compared(tmp_path, document([matmul(f"c{i}", 1e-3) for i in range(20)]), noisy)
    assert withhold(found) is found
    assert "Other programs ran beside B (b.json: rounds scatter by 8 %)." in screen(summarise(found))


def test_more_processes_than_cpus_and_rounds_that_scatter_are_a_load(tmp_path):
    for load, spread, is_loaded in ((5.0, 0.08, True), (1.0, 0.08, False), (5.0, 0.01, False)):
        machine = other_machine(load=load, cpus=4)
        cases = [matmul(f"c{i}", 1e-3, spread=spread) for i in range(20)]
        found = compared(tmp_path, document(cases), document(cases, machine=machine), metric="time")
        assert (withhold(found).withheld == (1,)) is is_loaded


@pytest.mark.parametrize("sides", [2, 3, 5, 12])
@pytest.mark.parametrize("width", [80, 100, 120])
def test_everything_fits(tmp_path, sides, width):
    """A screen of 25 lines, and tables no wider than the terminal, for files with many long names."""
    random = Random(4)
    machines = [limited(*(random.uniform(50, 300) for _ in range(5)), other_machine()) for _ in range(sides)]
    for place, machine in enumerate(machines):
        machine["cpu"] = {**machine["cpu"], "model": f"A processor with quite a long name of its own {place}"}
    cases = [
        *(matmul(f"{'a-rather-long-name-' * 3}{i}", 1e-3, 64 * i, spread=0.1) for i in range(1, 30)),
        *(entry("x" * 90 + str(i), stats(random.uniform(1, 9)), group=f"group {i}" * 9) for i in range(30)),
    ]
    documents = [document(cases, machine=machine, scale=1 + i) for i, machine in enumerate(machines)]
    found = compared(tmp_path, *documents)
    lines = screen(summarise(found), width)
    assert len(lines) <= 25 and max(map(len, lines)) <= min(width, 100)
    assert max(map(len, plain(found, width).splitlines())) <= width
    everything = plain(found, None)
    assert max(map(len, everything.splitlines())) > 120, "all columns, with nothing cut"
    assert "more lines" not in everything and "x" * 90 in everything


def test_all_columns_only_where_they_are_asked_for(command, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    a, b = (save(tmp_path, f"{i}.json", d) for i, d in enumerate(two_machines()))
    narrow, wide = command(a, b)[1], command(a, b, "--all")[1]
    assert max(map(len, narrow.splitlines())) <= 80 < max(map(len, wide.splitlines()))
    assert "A % of roofline" in wide and "A % of roofline" not in narrow
    assert "matmul-f32-64-one (% of numpy)" in narrow, "the title says what the shares are of"
    alone = command(a, b, "--summary")[1]
    assert len(alone.splitlines()) <= 25 and narrow.startswith(alone)


def test_lists_that_differ_show_their_difference(command, tmp_path):
    machines = [MACHINE, other_machine()]
    machines[0] = {**MACHINE, "cpu": {**MACHINE["cpu"], "simd_features": ["avx", "fma", "sse4a"]}}
    machines[1]["cpu"]["simd_features"] = ["avx", "avx512fp16", "fma"]
    a, b = (save(tmp_path, f"{i}.json", document(machine=m)) for i, m in enumerate(machines))
    (line,) = [line for line in command(a, b)[1].splitlines() if "simd_features" in line]
    assert line.split("  ")[-1].strip() == "+avx512fp16 -sse4a"
    values = [d["values"] for d in json.loads(command(a, b, "--json")[1])["differences"]]
    assert ["['avx', 'fma', 'sse4a']", "['avx', 'avx512fp16', 'fma']"] in values, "for programs all of them"


def test_peaks_of_all_threads_that_are_one_threads_are_not_told(tmp_path):
    machines = [limited(100.0, 1.0, 1.0, 1.0, 1.0), limited(200.0, 1.0, 1.0, 1.0, 1.0, other_machine())]
    for machine, together in zip(machines, (100.0, 390.0), strict=True):
        machine["limits"]["fma"]["float32"]["all"] = {"value": together}
    found = compared(tmp_path, *(document(machine=machine) for machine in machines))
    assert [limit.threads for limit in summarise(found).limits if limit.name == "FMA float32"] == ["one"]


def test_several_machines_stand_in_columns_with_the_best_marked(tmp_path):
    a, b = two_machines()
    third = limited(90.0, 400.0, 90.0, 60.0, 50.0, other_machine(model="Three"))
    found = compared(tmp_path, a, b, document(a["benchmarks"], machine=third, scale=1.25))
    lines = screen(summarise(found))
    assert lines[0].startswith("B is the fastest for this work.")
    assert re.search(r"Times as fast as A: B 1\.\d\d, C 0\.80 \(geometric means, 6 cases\)\.", lines[0])
    (peak,) = [line.split() for line in lines if line.startswith("FMA float32")]
    assert peak[2:5] == ["118", "177*", "90.0"]
    rows = dict(re.findall(r"^(packed|column) +(.*)$", plain(found, 100).split("matmul-f32-512-one")[1], re.M))
    assert rows["packed"].split()[0].endswith("*") and rows["packed"].count("*") == 1
    assert rows["column"].count("*") == 1 and not rows["column"].split()[0].endswith("*")


def test_markdown_that_pastes_into_an_issue(tmp_path):
    odd = entry("test_<script>alert(1)</script>|[x](http://y)", stats(1e-3))
    found = compared(tmp_path, *(document([odd, *suite(8)], scale=scale) for scale in (1, 3)))
    text = markdown(found)
    assert "<script>" not in text and "[x](http" not in text
    assert text.count("<details><summary>") == text.count("</details>") == 3
    before, _, _ = text.partition("<details>")
    assert before.startswith("- B is slower: 0.33 times as fast as A, 9 cases, without exception.")
    assert markdown(found, is_short=True) == before.rstrip("\n") + "\n"


def test_json_has_the_summary(tmp_path):
    found = to_dict(compared(tmp_path, *two_machines()))["summary"]
    assert json.loads(json.dumps(found, allow_nan=False))["fallen"][0]["case"] == "packed"
    assert found["sentences"][0].startswith("B is ") and found["normalised"] == "blas"


def test_a_table_that_is_too_wide_wraps_text_and_stacks_numbers():
    row = ("word " * 20, *(1000.5 + 10 * i for i in range(6)))
    text = render(Table(("name", *"abcdef"), (row,), "title"), width=40)
    assert max(map(len, text.splitlines())) <= 40
    parts = text.count("name")
    assert parts > 1 and text.split().count("word") == 20 * parts, "every part says which row it is of"
    assert [word for word in text.split() if word.isdigit()] == ["1000", "1010", "1020", "1030", "1040", "1050"]
    assert render(Table(("name",), (("a",),)), width=40) == render(Table(("name",), (("a",),)))


def test_the_best_number_of_a_table_is_marked_behind_aligned_digits():
    table = Table(("x",), ((Best(2.25),), (10.5,), (3,)))
    assert render(table).splitlines()[2:] == [" 2.25*", "10.5", " 3"]
    assert "| **2.25** |" in render(table, "md") and "2.25\n" in render(table, "csv")
