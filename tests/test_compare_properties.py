"""What holds for every comparison, whatever the files: the join, the ratios, the verdicts."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_files import MACHINE

from numbasgd.compare.comparison import compare, sides_of
from numbasgd.compare.estimate import CANNOT_TELL, FASTER, SAME, SLOWER, verdict
from numbasgd.compare.measures import Side
from numbasgd.compare.results import Case, ResultFile
from numbasgd.errors import ResultFileError
from numbasgd.render.case_tables import case_tables
from numbasgd.render.comparison_text import notes, to_dict
from numbasgd.render.tables import render

TOLD = (FASTER, SLOWER)


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


factors = st.floats(0.2, 5)
samples = st.lists(factors, min_size=1, max_size=4)  # how the runs of one side differ, as factors


def sampled(run, factors, name):
    """A side of as many runs as there are factors, each ``run`` so much slower."""
    return Side(name, tuple(scaled(run, factor, f"{name}{i}.json") for i, factor in enumerate(factors)))


def changes(a, b, **more):
    return {row.id: row.changes[0] for row in compare([a, b], **more).rows}


@given(runs, samples, samples)
def test_an_interval_holds_its_ratio_and_the_verdict_is_read_off_it(run, before, after):
    for change in changes(sampled(run, before, "a"), sampled(run, after, "b")).values():
        if change.low is None:
            assert change.verdict == CANNOT_TELL
            continue
        assert change.low <= change.ratio * (1 + 1e-12) and change.ratio <= change.high * (1 + 1e-12)
        assert change.verdict == verdict(change.ratio, change.low, change.high)


@given(runs, samples, samples)
def test_the_ratio_lies_between_those_of_single_runs(run, before, after):
    ratios = [x / y for x in before for y in after]
    for change in changes(sampled(run, before, "a"), sampled(run, after, "b")).values():
        assert min(ratios) / (1 + 1e-9) <= change.ratio <= max(ratios) * (1 + 1e-9)


@given(runs, samples, samples, st.randoms())
def test_the_order_of_runs_does_not_matter(run, before, after, random):
    a, b = sampled(run, before, "a"), sampled(run, after, "b")
    mixed = [Side(side.name, tuple(random.sample(side.files, len(side.files)))) for side in (a, b)]
    there, here = changes(a, b), changes(*mixed)
    for id_, change in there.items():
        assert here[id_].ratio == pytest.approx(change.ratio)
        assert (here[id_].low is None) == (change.low is None)
        if change.low is not None:
            assert (here[id_].low, here[id_].high) == pytest.approx((change.low, change.high), rel=1e-6)


@given(runs, samples, samples, st.floats(1e-3, 1e3))
def test_a_clock_that_goes_wrong_on_both_sides_changes_nothing(run, before, after, wrong):
    there = changes(sampled(run, before, "a"), sampled(run, after, "b"))
    off = [[factor * wrong for factor in side] for side in (before, after)]
    here = changes(sampled(run, off[0], "a"), sampled(run, off[1], "b"))
    assert {i: c.ratio for i, c in here.items()} == pytest.approx({i: c.ratio for i, c in there.items()})


@given(runs, factors, st.floats(0, 2), st.floats(0, 2))
def test_who_assumes_more_scatter_is_told_less(run, factor, one, other):
    less, more = sorted((one, other))
    a, b = sampled(run, [1.0], "a"), sampled(run, [factor], "b")
    sure, unsure = (changes(a, b, scatter=scatter) for scatter in (less, more))
    for id_, change in unsure.items():
        assert change.low is None or change.low <= sure[id_].low and sure[id_].high <= change.high
        assert change.verdict not in TOLD or change.verdict == sure[id_].verdict


@given(runs, samples, samples, st.floats(0, 1), st.floats(0, 1))
def test_who_tolerates_more_is_told_of_fewer_differences(run, before, after, one, other):
    less, more = sorted((one, other))
    a, b = sampled(run, before, "a"), sampled(run, after, "b")
    strict, mild = (changes(a, b, tolerance=tolerance) for tolerance in (less, more))
    for id_, change in mild.items():
        assert change.verdict not in TOLD or change.verdict == strict[id_].verdict
        assert strict[id_].verdict != SAME or change.verdict == SAME


two_times = st.tuples(st.floats(1e-7, 1e3), st.floats(1e-7, 1e3)).filter(lambda pair: pair[0] != pair[1])
ladders = st.lists(two_times, min_size=1, max_size=5)


@given(ladders, factors, factors)
def test_shares_of_the_reference_do_not_see_how_fast_a_machine_is(times, fast, slow):
    def file(name, factor, column):
        one = [timed("blas", 1e-3 * factor, ladder="x", reference="blas")]
        one += [timed(f"c{i}", t[column] * factor, ladder="x", reference="blas") for i, t in enumerate(times)]
        return Side(name, (run_of(one, name),))

    here = changes(file("a", 1.0, 0), file("b", 1.0, 1), metric="blas")
    there = changes(file("a", fast, 0), file("b", slow, 1), metric="blas")
    assert {i: c.verdict for i, c in here.items()} == {i: c.verdict for i, c in there.items()}
    assert {i: c.ratio for i, c in there.items()} == pytest.approx({i: c.ratio for i, c in here.items()})
    assert here["blas"].verdict == "reference"


@given(st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from("12")), min_size=2, max_size=8))
def test_every_file_is_a_run_of_one_side(files):
    made = [
        run_of([timed("a", 1.0)], f"{i}.json", {**MACHINE, "cpu": {"model": machine}}, commit)
        for i, (machine, commit) in enumerate(files)
    ]
    for group, kinds in (
        ("none", len(files)),
        ("machine", len({m for m, _ in files})),
        ("commit", len(set(files))),
    ):
        if kinds < 2:
            with pytest.raises(ResultFileError, match="expected two"):
                sides_of(made, group=group)
            continue
        sides = sides_of(made, group=group, baseline=made[-1].name)
        assert len(sides) == kinds
        assert sorted(file.name for side in sides for file in side.files) == sorted(file.name for file in made)
        assert made[-1] in sides[0].files


@given(runs, runs, runs)
def test_whatever_is_compared_can_be_shown(a, b, c):
    if not a.by_id.keys() & (b.by_id.keys() | c.by_id.keys()):
        return
    found = compare(sides(a, b, c))
    json.dumps(to_dict(found), allow_nan=False)
    for form in ("table", "md", "csv"):
        assert render(case_tables(found), form)
    assert all(notes(found))
    assert all(math.isfinite(row.changes[0].ratio) for row in found.rows if row.changes[0])
