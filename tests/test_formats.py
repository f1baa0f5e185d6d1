"""Files of pyperf and of Google Benchmark: what is taken from them, and what is left out with a sentence."""

import copy
import json
import statistics
from pathlib import Path

import pytest
from result_files import document, entry, save, stats

import numbasgd.cli
from numbasgd.compare.reading import read
from numbasgd.errors import ResultFileError

DATA = Path(__file__).parent / "data"
PYPERF = json.loads((DATA / "pyperf-2.11.json").read_text(encoding="utf-8"))


def iteration(name, real_time, unit="ns", **more):
    """One repetition as version 1.8 writes it."""
    return {
        "name": name, "family_index": 0, "per_family_instance_index": 0, "run_name": name,
        "run_type": "iteration", "repetitions": 1, "repetition_index": 0, "threads": 1, "iterations": 1000,
        "real_time": real_time, "cpu_time": 0.9 * real_time, "time_unit": unit, **more,
    }  # fmt: skip


def aggregate(name, kind, real_time, unit="ns", repetitions=9, **more):
    return {
        "name": f"{name}_{kind}", "run_name": name, "run_type": "aggregate", "repetitions": repetitions,
        "threads": 1, "aggregate_name": kind, "aggregate_unit": "time", "iterations": repetitions,
        "real_time": real_time, "cpu_time": 0.9 * real_time, "time_unit": unit, **more,
    }  # fmt: skip


def google(*entries, **context):
    about = {
        "date": "2026-01-01T00:00:00+00:00", "host_name": "a-host", "executable": "/home/me/b", "num_cpus": 8,
        "mhz_per_cpu": 2600, "cpu_scaling_enabled": False, "library_version": "v1.8.3", "load_avg": [1.0],
        "caches": [{"type": "Data", "level": 1, "size": 32768, "num_sharing": 1}],
        "library_build_type": "release", "json_schema_version": 1,
    }  # fmt: skip
    return {"context": {**about, **context}, "benchmarks": list(entries)}


@pytest.fixture
def command(capsys):
    """``numbasgd compare``: exit code, standard output, standard error."""

    def call(*argv):
        code = numbasgd.cli.main(["compare", *argv])
        return code, *capsys.readouterr()

    return call


def test_pyperf_values_of_all_runs_are_the_rounds(tmp_path):
    found = read(save(tmp_path, "a.json", PYPERF))
    values = [v for run in PYPERF["benchmarks"][0]["runs"] for v in run.get("values", [])]
    case = found.by_id["sort"]
    assert list(found.by_id) == ["sort", "sum"] and found.left_out == ()
    assert (case.median, case.rounds) == (statistics.median(values), 4) and case.q1 < case.median < case.q3
    assert found.platform == {
        "cpu.model": "AMD EPYC", "cpu.cores": "2", "system": "Linux", "versions.python": "3.11.7",
        "versions.implementation": "cpython",
    }  # fmt: skip
    assert found.datetime.startswith("2026-11-29") and "a-host" not in repr(found)


def test_pyperf_facts_of_one_benchmark_stand_at_the_root(tmp_path):
    """With one benchmark in a file its name and unit are what all benchmarks share."""
    one = {**PYPERF, "benchmarks": [{"runs": PYPERF["benchmarks"][0]["runs"]}]}
    one["metadata"] = {**PYPERF["metadata"], "name": "sort"}
    assert list(read(save(tmp_path, "a.json", one)).by_id) == ["sort"]


def test_pyperf_of_years_ago(tmp_path):
    about = {"name": "old", "cpu_model_name": "CPU One"}
    old = {"version": 5, "benchmarks": [{"common_metadata": about, "runs": [{"samples": [0.1, 0.2, 0.3]}]}]}
    found = read(save(tmp_path, "a.json", old))
    assert (found.by_id["old"].median, found.by_id["old"].q1) == (0.2, pytest.approx(0.15))
    assert found.platform["cpu.model"] == "CPU One"
    with pytest.raises(ResultFileError, match=r"version '2\.0' of pyperf.*expected one of 5, 6, 1\.0.*Run"):
        read(save(tmp_path, "new.json", {**PYPERF, "version": "2.0"}))


def test_pyperf_what_is_no_time_is_left_out(tmp_path):
    more = copy.deepcopy(PYPERF)
    more["benchmarks"] += [
        {"metadata": {"name": "bytes", "unit": "byte"}, "runs": [{"values": [1000]}]},
        {"metadata": {"name": "calibrated"}, "runs": [{"warmups": [[1, 0.1]]}]},
        {"metadata": {"name": "odd"}, "runs": [{"values": [0.1, -1.0, "x"]}]},
        {"runs": 3},
        5,
    ]
    found = read(save(tmp_path, "a.json", more))
    assert list(found.by_id) == ["sort", "sum"]
    for said, part in zip(
        found.left_out,
        (
            "bytes: its unit is 'byte'",
            "calibrated: it has no values",
            "odd: 2 of its 3",
            "number 6",
            "number 7",
        ),
        strict=True,
    ):
        assert part in said


def test_google_repetitions_are_the_rounds_and_aggregates_of_them_add_nothing(tmp_path):
    times = [3.0, 1.0, 2.0]
    entries = [iteration("BM_sort/8", t, "us", repetition_index=i) for i, t in enumerate(times)]
    entries += [aggregate("BM_sort/8", kind, 2.0, "us", 3) for kind in ("mean", "median")]
    entries += [aggregate("BM_sort/8", "cv", 0.5, "us", 3, aggregate_unit="percentage")]
    entries += [{**aggregate("BM_sort", "BigO", 0.0), "big_o": "N"}, {**aggregate("BM_sort", "RMS", 0.0)}]
    found = read(save(tmp_path, "a.json", google(*entries, iteration("BM_once", 5, "ms"))))
    case, once = found.cases
    assert (case.id, case.ladder) == ("BM_sort/8", "BM_sort")
    assert (case.median, case.q1, case.q3, case.rounds) == pytest.approx((2e-6, 1.5e-6, 2.5e-6, 3))
    assert (once.median, once.q1, once.rounds, once.ladder) == (5e-3, None, 1, "")
    assert found.left_out == () and len(found.remarks) == 1 and "--benchmark_repetitions" in found.remarks[0]
    assert found.platform["cpu.cores"] == "8" and found.platform["cpu.caches.L1 Data"] == "32768"
    assert "a-host" not in repr(found) and "/home/me" not in repr(found)


def test_google_a_file_of_version_1_9():
    """Its repetitions, aggregates, fit of the complexity, and a benchmark that failed."""
    found = read(DATA / "google-benchmark-1.9.json")
    (case,) = found.cases
    assert (case.id, case.rounds) == ("BM_sort/8", 3) and case.median == pytest.approx(2.13e-7, rel=0.01)
    assert found.left_out == ("BM_bad: it failed (no <file>)",) and found.remarks == ()


@pytest.mark.parametrize("unit, seconds", [("ns", 2e-9), ("us", 2e-6), ("ms", 2e-3), ("s", 2.0), (None, 2e-9)])
def test_google_units(tmp_path, unit, seconds):
    one = iteration("BM", 2, unit)
    if unit is None:
        del one["time_unit"]  # nanoseconds were all there was
    assert read(save(tmp_path, "a.json", google(one))).cases[0].median == pytest.approx(seconds)


def test_google_aggregates_alone_stand_for_the_repetitions(tmp_path):
    """As --benchmark_report_aggregates_only=true writes them."""
    all_three = [aggregate("BM", kind, t) for kind, t in (("mean", 110), ("median", 100), ("stddev", 10))]
    (case,) = read(save(tmp_path, "a.json", google(*all_three))).cases
    assert (case.median, case.rounds) == (pytest.approx(1e-7), 9)
    assert (case.q1, case.q3) == (pytest.approx(0.93255e-7), pytest.approx(1.06745e-7))
    (case,) = read(save(tmp_path, "b.json", google(all_three[0]))).cases
    assert (case.median, case.q1) == (pytest.approx(1.1e-7), None), "a mean without a deviation"


def test_google_before_run_types(tmp_path):
    """Before version 1.5 the end of a name was all that told an aggregate."""

    def old(name, time):
        return {"name": name, "iterations": 9, "real_time": time, "cpu_time": time, "time_unit": "ns"}

    entries = [
        old("BM_a", 3),
        old("BM_a", 5),
        old("BM_a_mean", 4),
        old("BM_a_median", 4),
        old("BM_a_stddev", 1),
    ]
    entries += [old(f"BM_b_{kind}", t) for kind, t in (("mean", 7), ("median", 6), ("stddev", 1))]
    entries += [old("BM_find_median", 8)]
    found = read(save(tmp_path, "a.json", google(*entries)))
    assert {case.id: round(case.median * 1e9) for case in found.cases} == {
        "BM_a": 4, "BM_b": 6, "BM_find_median": 8,
    }  # fmt: skip
    assert [case.rounds for case in found.cases] == [2, 9, 1]


def test_google_what_failed_is_left_out(tmp_path):
    failed = iteration("BM_bad", 0.0, error_occurred=True, error_message="no such\nfile")
    half = [iteration("BM_half", 3.0), iteration("BM_half", 0.0, error_occurred=True, error_message="")]
    odd = [
        iteration("BM_odd", 0.0),
        iteration("BM_unit", 1.0, "days"),
        iteration("BM_text", 1.0, time_unit=3),
    ]
    skipped = iteration("BM_skip", 0.0, skipped=True, skip_message="no GPU")
    fine = iteration("BM_fine", 1.0, error_occurred=False)
    found = read(
        save(tmp_path, "a.json", google(failed, *half, *odd, skipped, fine, 7, {"run_type": "aggregate"}))
    )
    assert [case.id for case in found.cases] == ["BM_fine"]
    assert found.left_out[0] == r"BM_bad: it failed (no such\nfile)"
    assert found.left_out[1] == "BM_half: it failed (no message)"
    assert sum("1 of its 1 times cannot be used" in said for said in found.left_out) == 4
    assert "BM_skip: it was skipped (no GPU)" in found.left_out
    with pytest.raises(ResultFileError, match=r"a\.json: no benchmark in it can be used \(BM_bad: it failed"):
        read(save(tmp_path, "a.json", google(failed)))
    with pytest.raises(ResultFileError, match="no benchmark in it can be used. Run"):
        read(save(tmp_path, "a.json", google({**aggregate("BM_sort", "BigO", 0.0)})))


def test_google_a_file_that_is_not_to_be_trusted_says_so(tmp_path):
    content = google(
        iteration("BM", 1), iteration("BM", 2), library_build_type="debug", cpu_scaling_enabled=True
    )
    said = " ".join(read(save(tmp_path, "a.json", content)).remarks)
    assert "debug build" in said and "cpu_scaling_enabled" in said


@pytest.mark.parametrize("value", [None, 3, "x", [], [1], {}, {"a": 1}, True, float("nan"), 10**400])
def test_an_odd_value_anywhere_is_no_traceback(tmp_path, value):
    places = [(PYPERF, "metadata"), (google(iteration("BM", 1)), "context")]
    for content, about in places:
        for key in content[about]:
            odd = copy.deepcopy(content)
            odd[about][key] = value
            read_or_refuse(save(tmp_path, "a.json", odd))
        for key in content["benchmarks"][0]:
            odd = copy.deepcopy(content)
            odd["benchmarks"][0][key] = value
            read_or_refuse(save(tmp_path, "a.json", odd))


def read_or_refuse(path):
    try:
        assert read(path).cases
    except ResultFileError as error:
        assert str(error).startswith(path) and "\n" not in str(error)


@pytest.mark.parametrize("tool", ["pyperf", "google"])
def test_they_are_compared(tmp_path, command, tool):
    entries = [iteration("BM", t) for t in (1.0, 1.01, 0.99)]
    before = PYPERF if tool == "pyperf" else google(*entries)
    after = copy.deepcopy(before)
    for one in after["benchmarks"]:
        if tool == "google":
            one["real_time"] *= 3
        for run in one.get("runs", []):
            run["values"] = [3 * v for v in run.get("values", [])]
    a, b = save(tmp_path, "a.json", before), save(tmp_path, "b.json", after)
    code, out, err = command(a, b, "--json")
    assert (code, err) == (0, "")
    assert {round(case["changes"][0]["ratio"], 3) for case in json.loads(out)["cases"]} == {0.333}
    code, out, _ = command(a, b, "--html", str(tmp_path / "p.html"), "--plot", str(tmp_path / "p.png"))
    assert code == 0 and "a-host" not in out + (tmp_path / "p.html").read_text(encoding="utf-8")


def test_one_benchmark_of_several_tools(tmp_path, command):
    """What one tool says of its machine is no difference where the other says nothing."""
    a = save(tmp_path, "a.json", google(*[iteration("sort", t) for t in (1e4, 1.1e4)]))
    b = save(tmp_path, "b.json", PYPERF)
    c = save(tmp_path, "c.json", document([entry("sort", stats(1e-5), fullname="sort")], machine=None))
    code, out, err = command(a, b, c, "--json")
    (case,) = json.loads(out)["cases"]
    assert (code, err) == (0, "") and all(case["measures"])
