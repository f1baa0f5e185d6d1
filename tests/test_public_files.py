"""Files of other projects and of other years, in the shapes that pytest-benchmark gave them."""

import copy
import json
from pathlib import Path

import pytest
from result_files import save

import numbasgd.cli
from numbasgd.compare.reading import expand, read

STATS = {
    "min": 0.0321, "max": 0.0644, "mean": 0.0361, "stddev": 0.00246, "rounds": 214, "median": 0.03569,
    "iqr": 0.00154, "q1": 0.03503, "q3": 0.03657, "iqr_outliers": 11, "stddev_outliers": 15,
    "outliers": "15;11", "ld15iqr": 0.033, "hd15iqr": 0.0394,
}  # fmt: skip
CPU = {
    "brand_raw": "Intel(R) Xeon(R) CPU E5-2673 v3 @ 2.40GHz",
    "count": 2,
    "arch": "X86_64",
    "flags": ["avx2"],
}
# Version: (machine_info, what a benchmark has besides name and stats, what its stats have besides STATS)
SHAPES = {
    "2.5.0": (
        {"node": "host", "machine": "x86_64", "system": "Linux", "python_version": "2.7.3"},
        {"group": None, "fullname": "tests/test_a.py::test_a", "options": {"timer": "time"}},
        {"iterations": 431},
    ),
    "3.0.0": (
        {"node": "host", "machine": "x86_64", "system": "Linux", "python_version": "3.5.1", "release": "4.2"},
        {"group": "g", "fullname": "tests/test_a.py::test_a", "params": {"foo": 1}, "options": {}},
        {"iterations": 1, "data": [0.0357, 0.0356, 0.0358]},
    ),
    "3.1.1": (
        {"machine": "x86_64", "system": "Linux", "cpu": {"brand": CPU["brand_raw"], "count": 4}},
        {"group": None, "fullname": "tests/test_a.py::test_a", "param": "1", "params": None, "extra_info": {}},
        {"iterations": 1, "ops": 27.7, "total": 7.72},
    ),
    "3.4.1": (
        {"machine": "x86_64", "system": "Linux", "python_version": "3.8.10", "cpu": CPU},
        {"group": None, "fullname": "tests/test_a.py::test_a", "param": None, "extra_info": {"kind": "mine"}},
        {"iterations": 1, "ops": 27.7, "total": 7.72},
    ),
    "5.1.0": (
        {"machine": "arm64", "system": "Darwin", "python_version": "3.13.1", "cpu": {"brand_raw": "Apple M1"}},
        {"group": "g", "fullname": "test_a.py::test_a", "params": {"o": "UNSERIALIZABLE[<x>]"}},
        {"iterations": 1, "ops": 27.7, "total": 7.72, "data": [0.03569] * 214},
    ),
    "by hand": ({}, {"fullname": "test_a"}, {}),
}  # fmt: skip


def made(version, scale=1.0):
    machine, beside, more = copy.deepcopy(SHAPES[version])
    numbers = {k: v * scale if isinstance(v, float) else v for k, v in {**STATS, **more}.items() if k != "data"}
    data = {"data": [t * scale for t in more["data"]]} if "data" in more else {}
    return {
        "machine_info": machine,
        "commit_info": {"id": "8e4f3295", "dirty": False},
        "benchmarks": [{"name": "test_a", **beside, "stats": {**numbers, **data}}],
        "datetime": "2021-11-06T14:43:33.330960",
        "version": version,
    }


@pytest.fixture
def command(capsys):
    """``numbasgd compare``: exit code, standard output, standard error."""

    def call(*argv):
        code = numbasgd.cli.main(["compare", *argv])
        return code, *capsys.readouterr()

    return call


@pytest.mark.parametrize("version", SHAPES)
def test_a_file_of_each_shape(tmp_path, command, version):
    a, b = (save(tmp_path, f"{s}.json", made(version, s)) for s in (1.0, 2.0))
    case = read(a).cases[0]
    assert (case.median, case.q1, case.q3, case.rounds) == (0.03569, 0.03503, 0.03657, 214)
    assert case.kind == "" and case.reference is None, "a key of another project's extra_info is not ours"
    for form in ("table", "md", "csv", "json"):
        code, out, err = command(a, b, "--format", form, "--html", str(tmp_path / "out.html"))
        assert (code, err) == (0, "") and "slower" in out
    assert "2.00x slower" in (tmp_path / "out.html").read_text(encoding="utf-8")


def test_files_of_all_years_together(tmp_path, command):
    """One test joins, whatever wrote it and whatever folder its path begins in."""
    files = [save(tmp_path, f"{i}.json", made(version)) for i, version in enumerate(SHAPES)]
    code, out, err = command(*files, "--metric", "time", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "") and len(found["cases"]) == 1
    assert sum(m is not None for m in found["cases"][0]["measures"]) == len(files)
    assert found["partial"] == []
    assert "host" not in out, "a host name is nobody's business"


def storage(folder, *scales, machine="Linux-CPython-3.8-64bit"):
    """A folder as --benchmark-autosave leaves it."""
    place = folder / ".benchmarks" / machine
    place.mkdir(parents=True)
    for i, scale in enumerate(scales, 1):
        save(place, f"{i:04d}_8e4f3295_20211106.json", made("3.4.1", scale))
    return str(folder / ".benchmarks")


def test_a_folder_stands_for_the_files_in_it(tmp_path, command):
    place = storage(tmp_path, 1.0, 2.0)
    (tmp_path / ".benchmarks" / "notes.txt").write_text("not a result")
    names = expand([place])
    assert [Path(name).name[:8] for name in names] == ["0001_8e4", "0002_8e4"]
    code, out, err = command(place)
    assert (code, err) == (0, "") and "2.00x slower" in out
    other = storage(tmp_path / "there", 0.5, machine="Darwin-CPython-3.13-64bit")
    code, out, _ = command(place, other, "--json", "--baseline", names[1])
    sides = [side["files"][0] for side in json.loads(out)["sides"]]
    assert code == 0 and sides == [names[1], names[0], *expand([other])]


def test_the_baseline_may_be_written_another_way(tmp_path, command, monkeypatch):
    storage(tmp_path, 1.0, 2.0)
    monkeypatch.chdir(tmp_path / ".benchmarks")
    inside = "./Linux-CPython-3.8-64bit/0002_8e4f3295_20211106.json"
    code, out, _ = command("Linux-CPython-3.8-64bit", "--baseline", inside, "--json")
    assert code == 0 and json.loads(out)["cases"][0]["changes"][0]["ratio"] == pytest.approx(2.0)


def test_a_folder_without_files_gets_its_line_and_the_rest_is_compared(tmp_path, command):
    place = storage(tmp_path, 1.0, 2.0)
    (tmp_path / "empty").mkdir()
    code, out, err = command(str(tmp_path / "empty"), place)
    assert code == 2 and "slower" in out and err.count("\n") == 1 and "folder" in err


def test_a_bad_file_in_a_folder_gets_its_line_and_the_rest_is_compared(tmp_path, command):
    place = storage(tmp_path, 1.0, 2.0)
    bad = save(tmp_path / ".benchmarks", "0000_bad.json", "{")
    code, out, err = command(place)
    assert code == 2 and "slower" in out and bad in err and "Traceback" not in err
