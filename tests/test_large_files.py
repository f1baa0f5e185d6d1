"""Files that are large for what a comparison does not need are read without it, or refused with their size."""

import io
import json

import pytest
from result_files import document, save

import numbasgd.compare.document as documents
from numbasgd.compare.reading import read
from numbasgd.errors import ResultFileError


@pytest.fixture(autouse=True)
def small_limits(monkeypatch):
    for name, limit in (("BIG", 10_000), ("MOST_LEFT", 90_000), ("MOST", 400_000)):
        monkeypatch.setattr(documents, name, limit)


def with_params(value, indent=None):
    content = document()
    content["benchmarks"][0]["params"] = {"x": value, "y": [1, 2]}
    content["benchmarks"][1]["stats"]["data"] = [1e-3] * 500
    return json.dumps(content, indent=indent)


@pytest.mark.parametrize("indent", [None, 4])
def test_long_lists_of_numbers_are_skipped(tmp_path, indent, monkeypatch):
    text = with_params([-1.5e-07, 3] * 7000, indent)
    path = save(tmp_path, "a.json", text)
    found = read(path)
    assert found.cases == read(save(tmp_path, "b.json", document())).cases
    monkeypatch.setattr(json, "loads", lambda text: pytest.fail(f"parsed {len(text)} characters"))
    with pytest.raises(pytest.fail.Exception, match=r"parsed \d{4,5} characters"):
        documents.load(tmp_path / "a.json")


def test_a_list_in_a_text_does_not_break_it(tmp_path):
    content = document()
    content["benchmarks"][0]["params"] = {"x": str([1.5] * 9000)}
    assert len(read(save(tmp_path, "a.json", content)).cases) == 6


def test_times_that_are_needed_are_never_skipped(tmp_path):
    values = [1e-3] * 1000 + [2e-3] * 1001
    about = {"name": "a", "unit": "second"}
    for indent in (None, 4):
        content = {"version": "1.0", "metadata": about, "benchmarks": [{"runs": [{"values": values}]}]}
        (case,) = read(save(tmp_path, "a.json", json.dumps(content, indent=indent))).cases
        assert (case.rounds, case.median) == (2001, 2e-3)


@pytest.mark.parametrize(
    "value", ["x" * 99_000, [[1, 2]] * 12_000, [{"a": 1}] * 12_000], ids=["text", "pairs", "objects"]
)
def test_what_cannot_be_skipped_is_refused_with_its_size(tmp_path, value):
    path = save(tmp_path, "a.json", with_params(value))
    with pytest.raises(ResultFileError, match=r"a\.json: it has 0\.1 MB, too many to read.*jq 'del") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_what_is_too_large_to_search_is_not_read_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    with path.open("wb") as stream:
        stream.truncate(500_000)
    monkeypatch.setattr(documents.mmap, "mmap", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(ResultFileError, match="too many to read"):
        read(path)


def test_a_pipe_does_not_tell_its_size(tmp_path):
    class Pipe(io.BytesIO):
        def fileno(self):
            return place.fileno()

    with (tmp_path / "empty").open("w+b") as place:
        assert documents._content("pipe", Pipe(b"{}")) == b"{}"
        long = with_params([1] * 9000).encode()
        assert len(documents._content("pipe", Pipe(long))) < 10_000
        with pytest.raises(ResultFileError, match="pipe: it has 0.4 MB"):
            documents._content("pipe", Pipe(b" " * 500_000))
