"""Reading result files: what is taken from them, and one clear line for every file that cannot be used."""

import json

import pytest
from result_files import document, entry, matmul, save, stats

from numbasgd.compare.reading import read
from numbasgd.errors import ResultFileError

# What pytest-benchmark 2.5 wrote in 2015: no CPU, no params, no extra_info, no data.
OLD = {
    "commit_info": {"id": "0123abc", "dirty": False},
    "version": "2.5.0",
    "benchmarks": [
        {
            "stats": {
                "q1": 19.7, "q3": 20.4, "iterations": 1, "min": 19.3, "max": 21.0, "median": 19.9, "iqr": 0.7,
                "stddev": 0.56, "outliers": "4;0", "rounds": 10, "mean": 20.0,
            },
            "fullname": "tests/test_perf.py::test_engine", "group": None, "name": "test_engine",
            "options": {"disable_gc": False, "timer": "time"},
        }
    ],
    "machine_info": {"node": "a-host", "machine": "x86_64", "python_version": "2.7.3", "system": "Linux"},
    "datetime": "2015-08-11T02:23:50.661428",
}  # fmt: skip


def test_our_block_is_read(tmp_path):
    found = read(save(tmp_path, "a.json", document()))
    case = found.by_id["matmul[blocked-f32-256-one]"]
    assert (case.kind, case.case, case.ladder, case.reference) == (
        "matmul",
        "blocked",
        "matmul-f32-256-one",
        "numpy",
    )
    assert (case.flop, case.sizes, case.rounds) == (2 * 256**3, {"m": 256, "n": 256, "k": 256}, 20)
    assert case.iqr == pytest.approx(0.01 * case.median)
    assert case.extra["residual"] == 0.3
    assert found.reference_of(case).case == "numpy"
    assert found.fingerprint["cpu"]["model"] == "CPU One"
    assert found.commit == "c0ffee" and found.left_out == ()


def test_the_id_does_not_depend_on_the_folder_that_pytest_ran_in(tmp_path):
    here = document([matmul("full", 1e-3)])
    there = document([matmul("full", 1e-3)])
    there["benchmarks"][0]["fullname"] = "test_matmul.py::test_matmul[full-f32-256-one]"
    there["benchmarks"][0]["name"] = "test_matmul[full-f32-256-one]"
    ids = [read(save(tmp_path, f"{i}.json", d)).cases[0].id for i, d in enumerate((here, there))]
    assert ids == ["matmul[full-f32-256-one]"] * 2


def test_a_file_of_another_project_has_times_alone(tmp_path):
    found = read(save(tmp_path, "a.json", document([entry("test_a", stats(1e-3), {"flop": 7})], machine=None)))
    (case,) = found.cases
    assert found.fingerprint is None and found.platform["cpu.model"] == "CPU One"
    assert (case.id, case.flop, case.reference, case.extra) == (
        "tests/test_x.py::test_a",
        None,
        None,
        {"flop": 7},
    )


def test_a_file_from_years_ago(tmp_path):
    found = read(save(tmp_path, "a.json", OLD))
    assert (found.cases[0].median, found.cases[0].q3, found.cases[0].rounds) == (19.9, 20.4, 10)
    assert "a-host" not in repr(found.platform), "a host name is nobody's business"


def test_stats_without_quartiles_fall_back_on_the_data(tmp_path):
    whole = {"data": [1.0, 2.0, 3.0, 4.0, 5.0]}
    bare = {"median": 2.0, "rounds": 9}
    odd = {**stats(2.0), "q1": 3.0}
    content = {"benchmarks": [entry(n, s) for n, s in (("whole", whole), ("bare", bare), ("odd", odd))]}
    cases = read(save(tmp_path, "a.json", content)).cases
    assert (cases[0].median, cases[0].q1, cases[0].q3, cases[0].rounds) == (3.0, 2.0, 4.0, 5)
    assert (cases[1].q1, cases[1].iqr, cases[1].rounds) == (None, None, 9)
    assert cases[2].q1 is None, "quartiles that do not enclose the median are none"


TWICE = {**document([matmul("full", 1e-3), matmul("full", 2e-3)])}
BAD_MEDIAN = [float("nan"), float("inf"), 0, 0.0, -1.0, 1e-300, 1e300, 10**400, "1.0", True, None, [1.0]]


def with_median(value):
    bad = document([matmul("full", 1e-3)])
    bad["benchmarks"][0]["stats"]["median"] = value
    return bad


@pytest.mark.parametrize("value", BAD_MEDIAN, ids=lambda v: str(v)[:8])
def test_a_bad_median(tmp_path, value):
    with pytest.raises(
        ResultFileError, match=r"a\.json: no benchmark in it can be used .*median is .*Run the bench"
    ):
        read(save(tmp_path, "a.json", with_median(value)))


def test_a_bad_case_leaves_the_good_ones(tmp_path):
    mixed = with_median(float("nan"))
    mixed["benchmarks"] += [matmul("blocked", 1e-3), {**matmul("column", 1.0), "stats": {}}, 17]
    found = read(save(tmp_path, "a.json", mixed))
    assert [case.case for case in found.cases] == ["blocked"]
    assert len(found.left_out) == 3
    assert "median is nan" in found.left_out[0] and "no stats" in found.left_out[1]
    assert "number 4" in found.left_out[2]


def test_a_case_that_appears_twice_is_taken_once(tmp_path):
    found = read(save(tmp_path, "a.json", TWICE))
    assert [case.median for case in found.cases] == [1e-3]
    assert "more than once" in found.left_out[0]


GOOD = json.dumps(document())
NEWER_FILE = document(machine={"schema": 2})
NEWER_CASE = document([{**matmul("full", 1e-3), "extra_info": {"schema": 2, "kind": "matmul"}}])
BAD_FILES = {
    "empty": ("", "is empty"),
    "blank": (" \n\n", "is empty"),
    "truncated in a text": (GOOD[: GOOD.index("matmul[") + 4], "breaks off"),
    "truncated": (GOOD[: len(GOOD) // 2].rpartition(",")[0], "breaks off"),
    "not JSON": ("case,seconds\na,1\n", "not JSON"),
    "JSON and more": (GOOD + "x", "not JSON"),
    "a list": ("[1, 2]", "another tool's"),
    "a number": ("3", "another tool's"),
    "null": ("null", "another tool's"),
    "any object": ('{"a": 1}', "another tool's"),
    "benchmarks is an object": ('{"benchmarks": {"a": 1}}', "another tool's"),
    "benchmarks of numbers": ('{"benchmarks": [1, 2]}', "another tool's"),
    "hyperfine": ('{"results": [{"command": "ls", "mean": 1}]}', "hyperfine"),
    "no benchmarks": ({**document(), "benchmarks": []}, "holds no benchmarks"),
    "missing stats": ({"benchmarks": [{"name": "a"}]}, "has no stats"),
    "stats is a list": ({"benchmarks": [{"name": "a", "stats": [1]}]}, "has no stats"),
    "empty stats": ({"benchmarks": [{"name": "a", "stats": {"rounds": 3}}]}, "median is missing"),
    "newer file": (NEWER_FILE, "schema 2.*[Uu]pgrade"),
    "newer case": (NEWER_CASE, "schema 2.*[Uu]pgrade"),
    "schema is text": (document(machine={"schema": "new"}), "schema 'new'"),
    "too deep": ("[" * 100_000, "cannot be read|breaks off|recursion"),
    "too many digits": ('{"benchmarks": ' + "1" * 5000 + "}", "cannot be read|another tool's"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_gets_one_line_that_names_it_and_says_what_to_do(tmp_path, name):
    content, said = BAD_FILES[name]
    with pytest.raises(ResultFileError, match=said) as caught:
        read(save(tmp_path, "bad.json", content))
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "bad.json")) and "\n" not in message
    assert any(word in message for word in ("Give a file", "Run the bench", "Upgrade", "Copy it"))


def test_places_that_are_no_file(tmp_path):
    with pytest.raises(ResultFileError, match="no such file"):
        read(tmp_path / "none.json")
    with pytest.raises(ResultFileError, match="folder holds nothing.*--benchmark-autosave"):
        read(tmp_path)
    save(tmp_path, "0001_x.json", document())
    with pytest.raises(ResultFileError, match=r"is a folder.*0001_x\.json"):
        read(tmp_path)
    with pytest.raises(ResultFileError, match="cannot be read"):
        read("a\0b.json")
    (tmp_path / "utf16.json").write_bytes(GOOD.encode("utf-16"))
    with pytest.raises(ResultFileError, match="not UTF-8"):
        read(tmp_path / "utf16.json")


def test_a_byte_order_mark_is_no_obstacle(tmp_path):
    (tmp_path / "bom.json").write_bytes(GOOD.encode("utf-8-sig"))
    assert read(tmp_path / "bom.json").cases


@pytest.mark.parametrize("key", ["machine_info", "commit_info", "datetime", "version"])
@pytest.mark.parametrize("value", [None, [], "x", 3])
def test_what_is_odd_elsewhere_does_not_matter(tmp_path, key, value):
    assert len(read(save(tmp_path, "a.json", {**document(), key: value})).cases) == 6


@pytest.mark.parametrize(
    "key", ["flop", "bytes", "m", "ladder", "case", "reference", "n_threads", "device", "dtype"]
)
@pytest.mark.parametrize("value", [None, "x", -1, 0, float("nan"), [], {}, True])
def test_an_odd_value_in_the_block_is_no_traceback(tmp_path, key, value):
    one = matmul("full", 1e-3)
    one["extra_info"][key] = value
    (case,) = read(save(tmp_path, "a.json", document([one]))).cases
    assert case.median == 1e-3
    if key in ("flop", "bytes"):
        assert getattr(case, key) is None


def test_an_odd_entry_is_no_traceback(tmp_path):
    odd = {**matmul("full", 1e-3), "name": 3, "fullname": None, "group": {}, "extra_info": [1]}
    (case,) = read(save(tmp_path, "a.json", document([odd]))).cases
    assert case.median == 1e-3
