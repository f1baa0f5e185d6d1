"""Comparing result files: the join, the ratio and its verdict, and what machines do to it."""

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_files import LADDER, MACHINE, document, entry, matmul, other_machine, save, stats, train

from numbasgd.errors import ResultFileError
from numbasgd.report.compare import Side, compare, sides_of
from numbasgd.report.estimate import CANNOT_TELL, FASTER, SAME, SLOWER
from numbasgd.report.machines import INCOMPARABLE, INFORMATION, KEYS, NORMALIZED, differences
from numbasgd.report.results import Case, ResultFile, read


def run_of(cases, name="a.json", machine=MACHINE, commit="c0ffee"):
    return ResultFile(name, machine, {}, tuple(cases), commit=commit)


def sides(*runs):
    return [Side(run.name, (run,)) for run in runs]


def timed(id_, median, spread=0.01, rounds=20, **more):
    return Case(id_, median, median * (1 - spread / 2), median * (1 + spread / 2), rounds, case=id_, **more)


def scaled(run, factor, name="b.json"):
    cases = [timed(c.id, c.median * factor, c.iqr / c.median, c.rounds, ladder=c.ladder) for c in run.cases]
    return run_of(cases, name)


cases = st.builds(
    timed,
    st.text("abc", min_size=1, max_size=3),
    st.floats(1e-8, 1e3),
    spread=st.floats(0, 0.9),
    rounds=st.integers(0, 500),
    ladder=st.sampled_from(["", "x", "y"]),
)
runs = st.lists(cases, min_size=1, max_size=6, unique_by=lambda c: c.id).map(run_of)


@given(runs)
def test_a_run_against_itself_is_the_same(run):
    found = compare(sides(run, run))
    assert [row.changes[0].verdict for row in found.rows] == [SAME] * len(run.cases)
    assert all(mean.ratios[0] == pytest.approx(1) for mean in found.means)
    assert found.differences == () and found.partial == ()


@given(runs, runs)
def test_swapping_two_runs_inverts_the_ratios_and_the_verdicts(a, b):
    if not a.by_id.keys() & b.by_id.keys():
        with pytest.raises(ResultFileError, match="no case in common"):
            compare(sides(a, b))
        return
    there, back = compare(sides(a, b)), compare(sides(b, a))
    opposite = {FASTER: SLOWER, SLOWER: FASTER}
    again = {row.id: row.changes[0] for row in back.rows}
    for row in there.rows:
        one, other = row.changes[0], again[row.id]
        assert one.ratio == pytest.approx(1 / other.ratio)
        assert opposite.get(one.verdict, one.verdict) == other.verdict
        if one.low is not None:
            assert (one.low, one.high) == pytest.approx((1 / other.high, 1 / other.low))


@given(runs, runs)
def test_the_join_loses_no_case_and_invents_none(a, b):
    common = a.by_id.keys() & b.by_id.keys()
    if common:
        found = compare(sides(a, b))
        assert {row.id for row in found.rows} == common
        assert {id_ for id_, _ in found.partial} == a.by_id.keys() ^ b.by_id.keys()
        assert sum(mean.cases[0] for mean in found.means) == len(common)


@given(st.lists(st.tuples(st.floats(1e-8, 1e3), st.floats(0, 0.2)), min_size=1, max_size=5))
def test_half_the_time_is_faster_and_twice_is_slower(times):
    run = run_of([timed(str(i), t, spread) for i, (t, spread) in enumerate(times)])
    for factor, said in ((0.5, FASTER), (2.0, SLOWER)):
        found = compare(sides(run, scaled(run, factor)))
        assert {row.changes[0].verdict for row in found.rows} == {said}
        assert found.means[0].ratios[0] == pytest.approx(1 / factor)


def load(tmp_path, *documents):
    return [read(save(tmp_path, f"{'abcdefgh'[i]}.json", d)) for i, d in enumerate(documents)]


def test_speed_and_share_of_the_own_reference(tmp_path):
    found = compare(sides(*load(tmp_path, document(), document(scale=2))))
    by_id = {row.id: row.measures for row in found.rows}
    a, b = by_id["matmul[blocked-f32-256-one]"]
    assert (a.unit, a.rate) == ("GFLOP/s", pytest.approx(2 * 256**3 / 7e-4 / 1e9))
    assert b.rate == pytest.approx(a.rate / 2)
    assert a.share.value == b.share.value == pytest.approx(3 / 7)
    assert by_id["train[numbasgd-f32-b10]"][0].share.value == pytest.approx(60)


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
    slow = [matmul(c, s * (1.5 if c == "full" else 1)) for c, s in LADDER] + [train("numbasgd", 1e-5)]
    fast = [matmul(c, s) for c, s in LADDER] + [train("numbasgd", 1e-5)]
    found = compare(
        sides(*load(tmp_path, document(fast), document(slow, machine=other_machine(), scale=2))),
    )
    said = {row.measures[0].case.case: row.changes[0] for row in found.rows}
    assert said["blocked"].verdict == SAME and said["blocked"].metric == "blas"
    assert said["full"].verdict == SLOWER and said["full"].ratio == pytest.approx(1 / 1.5)
    assert said["numpy"].verdict == "reference"
    assert said["numbasgd"].verdict == "not comparable", "its reference is not in the files"
    assert found.means[0].ratios[0] == pytest.approx((1 / 1.5) ** (1 / 3)), "without the reference"
    assert found.means[1].ratios == (None,)


def test_a_metric_can_be_forced(tmp_path):
    runs = load(tmp_path, document(), document(scale=2), document(machine=other_machine(), scale=2))
    by_time = compare(sides(runs[0], runs[2]), metric="time")
    assert {c.verdict for row in by_time.rows for c in row.changes} == {SLOWER}
    by_share = compare(sides(runs[0], runs[1]), metric="blas")
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
    assert found["cpu.model"].kind(shares=False) == INCOMPARABLE
    assert found["cpu.model"].kind(shares=True) == NORMALIZED
    assert found["versions.numba"].kind(shares=False) == INFORMATION
    assert found["env.OPENBLAS_CORETYPE"].values == ("-", "Haswell")
    assert found["env.OPENBLAS_CORETYPE"].kind(shares=True) == INCOMPARABLE
    assert found["gpu.name"].kind(shares=False) == INFORMATION, "one side has no card to differ from"
    assert "cpu.machine" not in found


def test_what_one_side_does_not_tell_is_no_obstacle(tmp_path):
    machine = other_machine(model="unknown", simd="avx2")
    found = compare(sides(*load(tmp_path, document(), document(machine=machine))))
    assert [d.kind(shares=False) for d in found.differences] == [INFORMATION]
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
    assert compare(sides(runs[0], runs[2])).rows[0].changes[0].verdict == SLOWER
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


def test_500_cases_are_joined_in_a_moment(tmp_path):
    many = [entry(f"test_a[{i}]", stats(1e-3)) for i in range(500)]
    a, b = load(tmp_path, document(many), document(many, scale=2))
    assert len(compare(sides(a, b)).rows) == 500
