"""Comparing result files: the join, the ratio and its verdict, and what machines do to it."""

import math
import sys
from random import Random

import pytest
from result_files import LADDER, MACHINE, document, entry, matmul, other_machine, save, stats, train

from numbasgd.compare.comparison import compare, sides_of
from numbasgd.compare.estimate import CANNOT_TELL, FASTER, SAME, SLOWER
from numbasgd.compare.machines import INCOMPARABLE, INFORMATION, KEYS, NORMALIZED, differences
from numbasgd.compare.measures import Side
from numbasgd.compare.reading import read
from numbasgd.compare.results import Case, ResultFile
from numbasgd.errors import ResultFileError
from numbasgd.render.comparison_report import plain


def run_of(cases, name="a.json", machine=MACHINE, commit="c0ffee"):
    return ResultFile(name, machine, {}, tuple(cases), commit=commit)


def sides(*runs):
    return [Side(run.name, (run,)) for run in runs]


def timed(id_, median, spread=0.01, rounds=20, **more):
    return Case(id_, median, median * (1 - spread / 2), median * (1 + spread / 2), rounds, case=id_, **more)


def load(tmp_path, *documents):
    return [read(save(tmp_path, f"{'abcdefgh'[i]}.json", d)) for i, d in enumerate(documents)]


def test_speed_and_share_of_the_own_reference(tmp_path):
    found = compare(sides(*load(tmp_path, document(), document(scale=2))))
    by_id = {row.id: row.measures for row in found.rows}
    a, b = by_id["matmul[blocked-f32-256-one]"]
    assert (a.unit, a.rate) == ("GFLOP/s", pytest.approx(2 * 256**3 / 7e-4 / 1e9))
    assert b.rate == pytest.approx(a.rate / 2)
    assert a.share("blas") == b.share("blas") == pytest.approx(3 / 7)
    assert by_id["train[numbasgd-f32-b10]"][0].share("blas") == pytest.approx(60)


def test_moving_data_is_told_in_bytes(tmp_path):
    one = matmul("full", 1e-3)
    one["extra_info"]["kind"] = "gradient"
    (a,) = load(tmp_path, document([one]))
    measure = compare(sides(a, a)).rows[0].measures[0]
    assert (measure.unit, measure.rate) == ("GB/s", pytest.approx(12 * 256**2 / 1e-3 / 1e9))


def test_on_one_machine_the_verdict_is_on_time(tmp_path):
    found = compare(sides(*load(tmp_path, document(), document(scale=2))))
    assert {(c.metric, c.verdict) for row in found.rows for c in row.changes} == {("time", "slower")}


def test_between_machines_the_verdict_is_on_the_share_of_the_own_blas(tmp_path):
    """Another machine, everything twice as slow there, and `full` slower still."""
    slow = [matmul(c, s * (2.5 if c == "full" else 1)) for c, s in LADDER] + [train("numbasgd", 1e-5)]
    fast = [matmul(c, s) for c, s in LADDER] + [train("numbasgd", 1e-5)]
    found = compare(
        sides(*load(tmp_path, document(fast), document(slow, machine=other_machine(), scale=2))), scatter=0.03
    )
    said = {row.measures[0].case.case: row.changes[0] for row in found.rows}
    assert said["blocked"].verdict == SAME and said["blocked"].metric == "blas"
    assert said["full"].verdict == SLOWER and said["full"].ratio == pytest.approx(1 / 2.5)
    assert said["numpy"].verdict == "reference"
    assert said["numbasgd"].verdict == "not comparable", "its reference is not in the files"
    assert found.means[0].ratios[0] == pytest.approx((1 / 2.5) ** (1 / 3)), "without the reference"
    assert found.means[1].ratios == (None,)


def test_a_metric_can_be_forced(tmp_path):
    runs = load(tmp_path, document(), document(scale=2), document(machine=other_machine(), scale=2))
    by_time = compare(sides(runs[0], runs[2]), metric="time")
    assert {c.verdict for row in by_time.rows for c in row.changes} == {SLOWER}
    by_share = compare(sides(runs[0], runs[1]), metric="blas", scatter=0.03)
    assert {c.verdict for row in by_share.rows for c in row.changes} == {SAME, "reference"}


def test_another_blas_library_is_another_yardstick(tmp_path):
    machine = other_machine()
    machine["blas"]["name"] = "mkl"
    found = compare(sides(*load(tmp_path, document(), document(machine=machine))))
    assert {c.verdict for row in found.rows for c in row.changes} == {"not comparable"}
    machine = {**MACHINE, "blas": machine["blas"]}
    found = compare(sides(*load(tmp_path, document(), document(machine=machine))))
    assert {c.verdict for row in found.rows for c in row.changes} == {SAME}, (
        "on one machine it leaves times alone"
    )


def test_other_work_or_other_threads_under_one_name(tmp_path):
    more_work, more_threads = matmul("full", 1e-3), matmul("blocked", 1e-3)
    more_work["extra_info"]["flop"] *= 2
    more_threads["extra_info"]["n_threads"] = 8
    a, b = load(
        tmp_path,
        document([matmul("full", 1e-3), matmul("blocked", 1e-3)]),
        document([more_work, more_threads]),
    )
    found = compare(sides(a, b))
    assert {row.changes[0].verdict for row in found.rows} == {"not comparable"}


def test_how_machines_differ(tmp_path):
    machine = other_machine()
    machine["versions"]["numba"] = "0.61"
    machine["env"]["OPENBLAS_CORETYPE"] = "Haswell"
    machine["gpu"] = {"name": "A card"}
    found = {d.key: d for d in differences(load(tmp_path, document(), document(machine=machine)))}
    assert list(found) == sorted(found, key=list(found).index)
    assert found["cpu.model"].values == ("CPU One", "CPU Two")
    assert found["cpu.model"].kind("time") == INCOMPARABLE
    assert found["cpu.model"].kind("blas") == NORMALIZED
    assert found["versions.numba"].kind("time") == INFORMATION
    assert found["env.OPENBLAS_CORETYPE"].values == ("-", "Haswell")
    assert found["env.OPENBLAS_CORETYPE"].kind("blas") == INCOMPARABLE
    assert found["gpu.name"].kind("time") == INFORMATION, "one side has no card to differ from"
    assert "cpu.machine" not in found


def test_what_one_side_does_not_tell_is_no_obstacle(tmp_path):
    machine = other_machine(model="unknown", simd="avx2")
    found = compare(sides(*load(tmp_path, document(), document(machine=machine))))
    assert [d.kind("time") for d in found.differences] == [INFORMATION]
    assert {c.metric for row in found.rows for c in row.changes} == {"time"}


def test_another_card_does_not_matter_to_what_runs_on_the_cpu(tmp_path):
    on_card = matmul("full", 1e-3)
    on_card["extra_info"].update(device="cuda", ladder="on the card")
    on_card["name"] = "matmul[full-f32-256-cuda]"
    one, two = ({**MACHINE, "gpu": {"name": name}} for name in ("Card One", "Card Two"))
    cases = [matmul("full", 1e-3), on_card]
    found = compare(sides(*load(tmp_path, document(cases, machine=one), document(cases, machine=two))))
    assert [row.changes[0].verdict for row in found.rows] == [SAME, "not comparable"]


def test_every_key_has_a_kind():
    assert KEYS[-1][0] == "*"
    assert {kind for _, *kinds in KEYS for kind in kinds} == {INCOMPARABLE, NORMALIZED, INFORMATION}


def test_a_file_without_our_block_is_compared_by_what_both_tell(tmp_path):
    public = document([entry("test_a", stats(1e-3))], machine=None)
    other = document([entry("test_a", stats(2e-3))], machine=None)
    found = compare(sides(*load(tmp_path, public, other)))
    assert found.differences == () and found.rows[0].changes[0].verdict == SLOWER
    other["machine_info"]["cpu"]["brand_raw"] = "CPU Two"
    found = compare(sides(*load(tmp_path, public, other)))
    assert found.differences[0].key == "cpu.model" and found.rows[0].changes[0].verdict == "not comparable"


def test_three_files_and_cases_that_some_lack(tmp_path):
    runs = load(
        tmp_path,
        document([matmul("full", 1e-3), matmul("column", 1e-3)]),
        document([matmul("full", 1e-3), matmul("element", 1e-3)]),
        document([matmul("column", 5e-4), matmul("element", 1e-3)]),
    )
    found = compare(sides(*runs))
    assert [[c and c.verdict for c in row.changes] for row in found.rows] == [[SAME, None], [None, FASTER]]
    partial = {id_.partition("-")[0]: [name[-6:] for name in names] for id_, names in found.partial}
    assert partial["matmul[element"] == ["b.json", "c.json"]
    assert partial["matmul[full"] == ["a.json", "b.json"]


def test_files_of_one_machine_are_runs_of_one_side(tmp_path):
    """Runs that differ by 30 % among themselves do not prove a difference of 20 %."""
    before = [document(scale=s, commit="1") for s in (1.0, 1.3)]
    after = [document(scale=s, commit="2") for s in (1.4, 1.45)]
    runs = load(tmp_path, *before, *after)
    assert compare(sides(runs[0], runs[2]), scatter=0.03).rows[0].changes[0].verdict == SLOWER
    found = sides_of(runs, group="commit")
    assert [len(side.files) for side in found] == [2, 2]
    (row, *_) = compare(found).rows
    assert row.changes[0].verdict == CANNOT_TELL and row.measures[0].runs == 2
    with pytest.raises(ResultFileError, match="expected two to compare"):
        sides_of(runs, group="machine")
    assert sides_of(runs, baseline=runs[2].name)[0].files[0] is runs[2]
    with pytest.raises(ResultFileError, match="baseline x is none"):
        sides_of(runs, baseline="x")


def test_runs_of_one_program_are_rarely_told_apart_and_of_another_are():
    """Three runs a side, made up: runs scatter by 8 %, 400 cases; then one program 10 % slower, runs by 1 %."""
    random = Random(1)

    def program(scatter, factor=1.0):
        return Side(
            "x",
            tuple(
                run_of([timed(str(i), factor * math.exp(random.gauss(0, scatter))) for i in range(400)])
                for _ in range(3)
            ),
        )

    def told_apart(a, b):
        return sum(row.changes[0].verdict in (FASTER, SLOWER) for row in compare([a, b]).rows) / 400

    assert told_apart(program(0.08), program(0.08)) <= 0.05
    assert told_apart(program(0.01), program(0.01, 1.1)) >= 0.95


def test_a_case_learns_from_the_others_how_runs_scatter():
    """Two runs a side, made up: alone a case needs more of a difference than among 30 of its kind."""
    random = Random(2)

    def program(factor):
        return Side(
            "x",
            tuple(
                run_of([timed(str(i), factor * math.exp(random.gauss(0, 0.02))) for i in range(30)])
                for _ in range(2)
            ),
        )

    def told_apart(a, b, ids):
        few = [Side("x", tuple(run_of([f.by_id[i] for i in ids]) for f in side.files)) for side in (a, b)]
        return [row.changes[0].verdict for row in compare(few).rows].count(SLOWER)

    a, b = program(1.0), program(1.1)
    ids = [str(i) for i in range(30)]
    assert told_apart(a, b, ids) > sum(told_apart(a, b, [i]) for i in ids) + 5


def pair(random, scatter, cases=40, drift=0.0, changed=(), machine=MACHINE):
    """One run a side, made up: what each case scatters by, what all share, what is slower by 10 %."""
    before = run_of([timed(str(i), math.exp(random.gauss(0, scatter(i)))) for i in range(cases)])
    after = [
        timed(str(i), math.exp(drift + random.gauss(0, scatter(i))) * (1.1 if i in changed else 1.0))
        for i in range(cases)
    ]
    return sides(before, run_of(after, "b.json", machine))


def told(found):
    return {row.id: row.changes[0].verdict for row in found.rows if row.changes[0].verdict in (FASTER, SLOWER)}


@pytest.mark.parametrize(
    "scatter",
    [
        lambda i: 0.01,
        lambda i: 0.1,
        lambda i: 0.01 * (1 + (i % 10) ** 2),  # some cases 80 times as much as others
        lambda i: 0.01 if i % 3 else 0.7,  # a neighbour halves a third of them
    ],
)
@pytest.mark.parametrize("cases", [20, 40, 150])
@pytest.mark.parametrize("drift", [0.0, 0.1])
def test_one_run_a_side_tells_no_more_than_one_in_twenty_apart_when_nothing_changed(scatter, cases, drift):
    random = Random(4)
    for _ in range(10):
        found = compare(pair(random, scatter, cases, drift))
        assert len(told(found)) <= cases // 20


def test_one_run_a_side_finds_the_one_case_that_became_slower():
    """By 10 %, among 40 that lie within 2 % between two runs, whatever all of them share."""
    random = Random(5)
    found = [told(compare(pair(random, lambda i: 0.014, drift=d, changed=[7]))) for d in [0.0, 0.01] * 20]
    assert sum(one.get("7") == SLOWER for one in found) >= 36
    assert sum(len(one) for one in found) <= 36 + 40


def test_what_all_cases_share_is_nothing_that_one_run_a_side_can_tell():
    random = Random(6)
    assert len(told(compare(pair(random, lambda i: 0.005, drift=0.1)))) <= 2


def test_many_cases_that_became_slower_take_more_runs_or_knowledge_of_the_machine():
    random = Random(7)
    many = pair(random, lambda i: 0.005, changed=range(8))
    assert len(told(compare(many))) <= 2
    assert set(told(compare(many, scatter=0.03))) == set("01234567")
    runs = [pair(random, lambda i: 0.005, changed=range(8)) for _ in range(3)]
    several = [Side(name, tuple(run[i].files[0] for run in runs)) for i, name in enumerate("ab")]
    assert set(told(compare(several))) >= set("01234567")


def test_between_machines_most_cases_differ_so_they_tell_nothing_of_each_other():
    random = Random(8)
    two = pair(random, lambda i: 0.001, machine={**MACHINE, "cpu": {"model": "Two"}})
    for row in compare(two, metric="time").rows:
        assert row.changes[0].high / row.changes[0].ratio == pytest.approx(1.5)


def test_several_runs_on_a_busy_machine_are_held_to_one_in_twenty_as_well():
    """A neighbour halves a third of the cases, the same in both runs of one side."""
    random = Random(9)

    def run(slow, spread):
        times = [math.exp(random.gauss(0, 0.01)) * (2 if slow and i % 3 == 0 else 1) for i in range(60)]
        return run_of([timed(str(i), t, spread) for i, t in enumerate(times)])

    def side(slow, spread):
        return Side("x", (run(slow, spread), run(slow, spread)))

    assert len(told(compare([side(True, 0.01), side(False, 0.01)]))) >= 19, "quiet rounds: it is the program"
    assert len(told(compare([side(True, 0.3), side(False, 0.3)]))) <= 3


def lines_of(task):
    """How many lines of numbasgd ran, each round of a loop counted: work without a clock."""
    count = 0

    def local(frame, event, argument):
        nonlocal count
        count += event == "line"
        return local

    def trace(frame, event, argument):
        return local if "numbasgd" in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        task()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("machine", [MACHINE, other_machine()])
def test_the_work_grows_with_the_number_of_cases_and_not_with_its_square(tmp_path, machine):
    def work(n):
        many = [matmul(case, s, n=8 + i) for i in range(n // len(LADDER)) for case, s in LADDER]
        a, b = load(tmp_path, document(many), document(many, scale=2, machine=machine))
        assert len(a.cases) == n
        found = []
        compared = lines_of(lambda: found.append(compare(sides(a, b))))
        return compared, lines_of(lambda: plain(found[0], 100))

    for few, many in zip(work(100), work(400), strict=True):
        assert few > 100 and many < 5 * few
