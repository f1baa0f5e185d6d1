"""Where the airfoil file is looked for, how it is prepared, and the command that tells of it."""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numbasgd
from numbasgd import DataError, load_airfoil
from numbasgd.cli import data as command
from numbasgd.data import airfoil

REAL = os.environ.get("NUMBASGD_DATA_DIR", "")
needs_file = pytest.mark.skipif(
    not REAL, reason="NUMBASGD_DATA_DIR does not name a folder with the airfoil file"
)

ROWS = np.random.RandomState(0).normal(3.0, 5.0, (1503, 6)).round(4).astype(np.float32)
ROWS[:20, 2] = 71.3  # constant in the first rows, as columns of the file are; its float32 mean is not itself
MADE = b"".join(b"\t".join(str(x).encode() for x in row) + b"\r\n" for row in ROWS)


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """No file in any place, and no network."""
    monkeypatch.delenv("NUMBASGD_DATA_DIR", raising=False)
    monkeypatch.setenv("NUMBASGD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("NUMBASGD_OFFLINE", "1")


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A folder with a made file, which passes for the right one."""
    monkeypatch.setattr(airfoil, "SHA256", hashlib.sha256(MADE).hexdigest())
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / airfoil.NAME).write_bytes(MADE)
    return folder


def test_places_in_their_order(made, tmp_path, monkeypatch):
    cached = tmp_path / "cache" / "data" / airfoil.NAME
    cached.parent.mkdir(parents=True)
    cached.write_bytes(MADE)
    assert airfoil.find().source == "cache"
    monkeypatch.setenv("NUMBASGD_DATA_DIR", str(made))
    assert airfoil.find().source == "NUMBASGD_DATA_DIR"
    for path in (made, str(made), made / airfoil.NAME):
        assert airfoil.find(path).source == "argument"
        assert airfoil.find(path).path == made / airfoil.NAME
    monkeypatch.setenv("NUMBASGD_DATA_DIR", str(tmp_path))  # a folder without the file
    assert airfoil.find().source == "cache"


def test_error_names_everything(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBASGD_DATA_DIR", str(tmp_path / "gone"))
    with pytest.raises(DataError) as caught:
        load_airfoil()
    cache = tmp_path / "cache" / "data"
    for part in (*airfoil.MIRRORS, airfoil.SHA256, str(cache), "gone", "NUMBASGD_OFFLINE", "airfoil_twin()"):
        assert part in str(caught.value)
    assert not cache.exists()


@pytest.mark.parametrize("by", ["argument", "NUMBASGD_DATA_DIR"])
def test_wrong_file_that_was_named_is_an_error(by, made, monkeypatch):
    wrong = MADE + b"1\t2\t3\t4\t5\t6\r\n"
    (made / airfoil.NAME).write_bytes(wrong)
    monkeypatch.setenv("NUMBASGD_DATA_DIR", str(made))
    with pytest.raises(DataError) as caught:
        load_airfoil(made if by == "argument" else None)
    assert hashlib.sha256(wrong).hexdigest() in str(caught.value)
    assert airfoil.SHA256 in str(caught.value)


def test_hash_is_verified_at_every_load(made):
    load_airfoil(made)
    (made / airfoil.NAME).write_bytes(MADE.replace(b"0", b"1", 1))
    with pytest.raises(DataError, match="sha256"):
        load_airfoil(made)


def test_changed_line_ends_are_told(made):
    (made / airfoil.NAME).write_bytes(MADE.replace(b"\r\n", b"\n"))
    with pytest.raises(DataError, match="line ends"):
        load_airfoil(made)


def test_large_wrong_file_is_hashed_whole(made):
    content = b"0" * (airfoil.LIMIT + 5)
    (made / airfoil.NAME).write_bytes(content)
    with pytest.raises(DataError, match=hashlib.sha256(content).hexdigest()):
        load_airfoil(made)


def test_path_that_is_nothing(tmp_path):
    with pytest.raises(DataError, match="no file"):
        load_airfoil(tmp_path / "gone")
    with pytest.raises(DataError, match="a folder without airfoil_self_noise.dat"):
        load_airfoil(tmp_path)
    with pytest.raises(TypeError, match="path is a int"):
        load_airfoil(3)


def test_chapter_scale_is_that_of_all_rows(made):
    X, y = load_airfoil(made)
    assert (X.shape, y.shape, X.dtype, y.dtype) == ((1500, 5), (1500,), np.float32, np.float32)
    assert X.flags.c_contiguous and X.flags.writeable and y.flags.c_contiguous and y.flags.owndata
    all_rows = np.column_stack(load_airfoil(made, n=1503)).astype(np.float64)
    np.testing.assert_allclose(all_rows.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(all_rows.std(axis=0), 1, atol=1e-6)
    np.testing.assert_array_equal(all_rows[:1500], np.column_stack((X, y)))


def test_train_scale_is_that_of_the_first_rows(made):
    rows = np.column_stack(load_airfoil(made, n=100, scale="train")).astype(np.float64)
    first = ROWS[:100].astype(np.float64)
    np.testing.assert_allclose(rows, (first - first.mean(0)) / first.std(0), atol=2e-6)


@pytest.mark.parametrize("n", [1, 6, 20])
def test_constant_column_becomes_zero(n, made):
    X, y = load_airfoil(made, n=n, scale="train")
    assert (X[:, 2] == 0).all()
    assert np.isfinite(X).all() and np.isfinite(y).all()
    assert n == 1 or X[:, 0].std() == pytest.approx(1)


def test_no_scale_gives_the_file(made):
    for scale in (None, "none"):
        np.testing.assert_array_equal(np.column_stack(load_airfoil(made, n=7, scale=scale)), ROWS[:7])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n": 0}, ValueError, "n is 0; expected an integer from 1 to 1503"),
        ({"n": 1504}, ValueError, "n is 1504"),
        ({"n": 10.0}, TypeError, "n is 10.0"),
        ({"n": True}, TypeError, "n is True"),
        ({"scale": "chaptr"}, ValueError, "Did you mean 'chapter'"),
        ({"scale": 1}, TypeError, "scale is 1"),
    ],
)
def test_bad_arguments(arguments, error, message, made):
    with pytest.raises(error, match=message):
        load_airfoil(made, **arguments)


@needs_file
def test_real_file_is_prepared_as_in_the_chapter():
    X, y = load_airfoil(REAL)
    file = Path(REAL) / airfoil.NAME if Path(REAL).is_dir() else REAL
    data = np.genfromtxt(file, dtype=np.float32, delimiter="\t")
    data = (data - data.mean(axis=0)) / data.std(axis=0)
    np.testing.assert_array_equal(np.column_stack((X, y)), data[:1500])


def test_import_loads_no_network():
    code = "import sys, numbasgd; print({'urllib.request', 'ssl'} & set(sys.modules))"
    where = Path(numbasgd.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=where, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def run(*arguments):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments))


def test_command_tells_of_the_file(made, capsys):
    assert run(str(made)) == 0
    text = capsys.readouterr().out
    for part in (str(made), airfoil.SHA256, "verified", "1503 rows, 6 columns", "CC BY 4.0", "10.24432/C5VW2C"):
        assert part in text
    assert run(str(made), "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["source"] == "argument" and report["rows"] == 1503 and len(report["columns"]) == 6


def test_command_downloads_only_when_asked(monkeypatch):
    monkeypatch.delenv("NUMBASGD_OFFLINE")
    monkeypatch.setattr("numbasgd.data.download.fetch", lambda *args: pytest.fail("asked the network"))
    with pytest.raises(DataError, match="was not asked: numbasgd data --download"):
        run()
    monkeypatch.setattr(airfoil, "SHA256", hashlib.sha256(MADE).hexdigest())
    monkeypatch.setattr("numbasgd.data.download.fetch", lambda *args: MADE)
    assert run("--download", "--json") == 0
    assert run("--json") == 0


def test_command_labels_the_twin(capsys):
    assert run("--twin") == 0
    text = capsys.readouterr().out
    assert "not the data" in text and "0.241688" in text
    assert run("--twin", "--json") == 0
    assert json.loads(capsys.readouterr().out)["name"] == "airfoil twin"
    with pytest.raises(ValueError, match="--twin"):
        run("--twin", "--download")
