"""``write_shards``, ``open_shards`` and ``numbasgd shard``: what is written, whole or not at all, and read."""

import copy
import json
import os
import pickle
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from child import environment, run_python

import numbasgd
from numbasgd import open_shards, write_shards
from numbasgd.cli import main
from numbasgd.data import arrow_text, read_table, shard_writer, spool, text
from numbasgd.errors import DataError

N, D = 23, 4
KINDS = ["<f4", "<f8", "<f2", ">f8", "<i4", "|u1", "|b1"]


def rows(dtype="f4"):
    return (np.arange(N * D).reshape(N, D) % 100).astype(dtype)


@pytest.fixture
def shards(tmp_path):
    """Three shards of 23 rows, and the targets."""
    y = np.arange(N) / 3
    return write_shards(rows(), y, tmp_path / "out", shards=3), y


def content(folder):
    return json.loads((folder / "manifest.json").read_text())


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("count", [1, 3, N])
def test_what_is_written_is_read(tmp_path, dtype, count):
    a = np.asfortranarray(rows(dtype))
    y = np.arange(N).astype(dtype)
    folder = write_shards(a, y, tmp_path / "out", shards=count)
    X, found = open_shards(folder, verify=True)
    np.testing.assert_array_equal(np.asarray(X), a.astype(X.dtype))
    assert X.dtype == (np.float32 if a.dtype.kind == "f" and a.dtype.itemsize <= 4 else np.float64)
    np.testing.assert_array_equal(found, y)
    assert found.dtype == y.dtype.newbyteorder("=") and X.columns is None
    pieces = [np.load(folder / f"X-{i:05d}.npy") for i in range(count)]
    assert pieces[0].dtype == a.dtype.newbyteorder("<"), "the numbers are kept as they are"
    assert {len(piece) for piece in pieces} <= {N // count, N // count + 1}
    assert sorted(os.listdir(folder)) == sorted(
        ["manifest.json", *(f"{name}-{i:05d}.npy" for i in range(count) for name in "Xy")]
    )
    assert [shard["rows"] for shard in content(folder)["shards"]] == [len(piece) for piece in pieces]
    np.testing.assert_array_equal(np.asarray(pickle.loads(pickle.dumps(X))), X[:])


@pytest.mark.parametrize(
    "y",
    [
        np.array(["no", "yes", "perhaps"] * 9)[:N],
        np.array(["no", "yes"] * 12, object)[:N],
        np.arange(2 * N).reshape(N, 2) / 7,
        [float(i) for i in range(N)],
        np.arange(N) % 3 == 0,
    ],
    ids=["text", "objects", "columns", "list", "bool"],
)
def test_targets_of_all_kinds(tmp_path, y):
    _, found = open_shards(write_shards(rows(), y, tmp_path / "out", shards=2))
    assert found.tolist() == np.asarray(y).tolist()
    assert found.dtype.kind == np.asarray(y, None if np.asarray(y).dtype != object else str).dtype.kind


def test_classes_are_small_numbers_and_their_names_in_the_manifest(tmp_path):
    folder = write_shards(rows(), ["no", "yes"] * 11 + ["no"], tmp_path / "out", shards=1)
    assert content(folder)["y"]["classes"] == ["no", "yes"]
    assert np.load(folder / "y-00000.npy").dtype == np.uint8


def test_without_targets(tmp_path):
    X, y = open_shards(write_shards(rows(), None, tmp_path / "out"))
    assert y is None and len(X) == N


def test_names_of_columns(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(rows(), columns=list("abcd"))
    folder = write_shards(frame, pandas.Series(range(N), name="price"), tmp_path / "out")
    assert open_shards(folder)[0].columns == list("abcd") and content(folder)["y"]["columns"] == ["price"]
    folder = write_shards(rows(), np.ones((N, 2)), tmp_path / "b", columns=list("efgh"), target=["u", "v"])
    assert open_shards(folder)[0].columns == list("efgh") and content(folder)["y"]["columns"] == ["u", "v"]
    with pytest.raises(ValueError, match="columns has 2 names; expected 4 names"):
        write_shards(rows(), None, tmp_path / "c", columns=["a", "b"])
    with pytest.raises(ValueError, match="target holds 3.*; expected 1 names"):
        write_shards(rows(), np.ones(N), tmp_path / "c", target=[3])


def test_rows_larger_than_what_is_read_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_writer, "_AT_ONCE", 100)
    np.save(tmp_path / "a.npy", rows("i4"))
    told = []
    source = np.load(tmp_path / "a.npy", mmap_mode="r")
    folder = write_shards(source, None, tmp_path / "out", shards=2, progress=lambda *at: told.append(at))
    np.testing.assert_array_equal(np.asarray(open_shards(folder)[0]), rows())
    assert told[-1] == (N, N, "rows") and len(told) == 4
    again = write_shards(*open_shards(folder), tmp_path / "again", shards=5, dtype="float32")
    assert np.load(again / "X-00000.npy").dtype == np.float32


def test_a_dtype_that_does_not_hold_the_numbers(tmp_path):
    a = rows("f8")
    a[5, 2] = 1e300
    np.save(tmp_path / "a.npy", a)
    for X in (a, tmp_path / "a.npy"):
        with pytest.raises(DataError, match=r"rows 0 to 22 that float32 cannot hold.*float64"):
            write_shards(X, None, tmp_path / "out", dtype=np.float32)
    assert os.listdir(tmp_path) == ["a.npy"]
    with pytest.raises(ValueError, match="dtype is 'int32'; expected one of 'float32', 'float64'"):
        write_shards(a, None, tmp_path / "out", dtype=np.int32)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"X": np.ones(3)}, ValueError, "X has 1 dimension"),
        ({"X": np.ones((0, 3)), "y": np.ones(0)}, ValueError, r"X has shape \(0, 3\)"),
        ({"X": "missing.npy"}, DataError, "missing.npy cannot be read"),
        ({"X": rows("c8")}, TypeError, "X has dtype complex64"),
        ({"y": np.ones(5)}, ValueError, r"y has shape \(5,\) and X has 23 rows"),
        ({"y": np.ones((N, 2, 2))}, ValueError, "y has 3 dimensions"),
        ({"y": [None] * N}, TypeError, "y holds None"),
        ({"shards": 0}, ValueError, "shards is 0; expected an integer from 1 to 23"),
        ({"shards": N + 1}, ValueError, "shards is 24; expected an integer from 1 to 23"),
        ({"force": 1}, TypeError, "force is 1"),
        ({"folder": ""}, TypeError, "folder is ''"),
        ({"folder": "not/there"}, DataError, "there is no folder .*not"),
    ],
)
def test_wrong_arguments_write_nothing(tmp_path, change, error, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        write_shards(**{"X": rows(), "y": np.ones(N), "folder": "out", **change})
    assert os.listdir(tmp_path) == []


def test_sparse_rows_are_refused(tmp_path):
    scipy = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="sparse"):
        write_shards(scipy.csr_array(rows()), None, tmp_path / "out")


def test_too_many_texts_are_no_classes(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_writer, "_MOST_CLASSES", 5)
    with pytest.raises(ValueError, match="y holds 23 different texts; expected at most 5.*astype"):
        write_shards(rows(), [str(i) for i in range(N)], tmp_path / "out")


def test_nothing_of_a_users_is_overwritten(tmp_path, shards):
    folder, y = shards
    with pytest.raises(DataError, match="is not empty.*force=True to replace"):
        write_shards(rows(), y, folder)
    before = open_shards(folder)
    write_shards(rows() + 1, y, folder, shards=2, force=True)
    X, _ = open_shards(folder, verify=True)
    np.testing.assert_array_equal(X[:], rows() + 1)
    with pytest.raises(DataError, match="cut|cannot be read"):
        before[0][:]
    assert os.listdir(tmp_path) == ["out"] and len(os.listdir(folder)) == 5
    write_shards(*open_shards(folder), folder, shards=4, force=True)  # from itself
    np.testing.assert_array_equal(open_shards(folder)[0][:], rows() + 1)
    (folder / "X-00001.npy").unlink()
    write_shards(rows(), y, folder, shards=2, force=True)  # damaged shards may be replaced
    np.testing.assert_array_equal(open_shards(folder, verify=True)[0][:], rows())
    (folder / "thesis.tex").write_text("mine")
    with pytest.raises(DataError, match=r"holds 'thesis\.tex', which is none of a folder of shards"):
        write_shards(rows(), y, folder, force=True)
    other = tmp_path / "other"
    other.mkdir()
    (other / "X-00000.npy").write_text("mine")
    with pytest.raises(DataError, match=r"is not empty; expected.*Pass another one\."):
        write_shards(rows(), y, other)
    with pytest.raises(DataError, match="holds 'X-00000.npy'"):
        write_shards(rows(), y, other, force=True)
    with pytest.raises(DataError, match="no folder.*Pass another name"):
        write_shards(rows(), y, folder / "thesis.tex")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert write_shards(rows(), y, empty).samefile(empty) and open_shards(empty)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_what_stops_it_leaves_nothing(tmp_path, monkeypatch, stop):
    add = shard_writer._Piece.add

    def fail(self, block):
        if self._file.name == "y-00001.npy":
            raise stop
        add(self, block)

    monkeypatch.setattr(shard_writer._Piece, "add", fail)
    expected = DataError if isinstance(stop, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        write_shards(rows(), np.ones(N), tmp_path / "out", shards=3)
    assert os.listdir(tmp_path) == []
    if expected is DataError:
        assert "out cannot be written (No space left on device)" in str(caught.value)
    monkeypatch.undo()
    folder = write_shards(rows(), np.ones(N), tmp_path / "out", shards=3)
    monkeypatch.setattr(shard_writer._Piece, "add", fail)
    with pytest.raises(expected):
        write_shards(rows() + 1, np.ones(N), folder, shards=3, force=True)
    monkeypatch.undo()
    np.testing.assert_array_equal(open_shards(folder, verify=True)[0][:], rows())
    assert os.listdir(tmp_path) == ["out"]


def test_a_disk_without_room_is_told_of_before(tmp_path, monkeypatch):
    usage = shard_writer.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shard_writer.shutil, "disk_usage", lambda _: usage._replace(free=100))
    with pytest.raises(DataError, match=r"takes .* GB, and 1e-07 GB are free there.*dtype='float32'"):
        write_shards(rows(), None, tmp_path / "out")


def test_a_killed_process_leaves_what_the_next_one_removes(tmp_path):
    code = """
        import os, signal, numpy as np, numbasgd
        class Rows:
            shape, dtype = (100, 3), np.dtype(float)
            def __getitem__(self, key):
                if key.start > 40:
                    os.kill(os.getpid(), signal.SIGKILL)
                return np.ones((key.stop - key.start, 3))
        numbasgd.write_shards(Rows(), None, "out", shards=10)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, env=environment(), timeout=100
    )
    assert done.returncode == -9
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".out.") and left.endswith(".part")
    write_shards(rows(), None, tmp_path / "out")
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_a_file_system_that_takes_no_more(tmp_path):
    code = """
        import resource, numpy as np, numbasgd
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        try:
            numbasgd.write_shards(np.ones((10_000, 3)), None, "out", shards=1)
        except numbasgd.DataError as error:
            print(error)
    """
    assert "out cannot be written (File too large)" in run_python(code, cwd=tmp_path)
    assert os.listdir(tmp_path) == []


def refused(folder, *parts, **options):
    with pytest.raises(DataError) as caught:
        open_shards(folder, **options)
    for part in parts:
        assert part in str(caught.value)


def test_a_damaged_file_is_named(shards):
    folder, y = shards
    piece = folder / "X-00001.npy"
    whole = piece.read_bytes()
    piece.write_bytes(whole[:-8])
    refused(folder, "X-00001.npy has 248 bytes; expected 256", "It is cut or was changed")
    piece.write_bytes(whole[:-8] + bytes(8))
    assert len(open_shards(folder)[0]) == N, "its size is right"
    refused(folder, "X-00001.npy: damaged", "checksums", verify=True)
    (folder / "y-00002.npy").write_bytes(bytes((folder / "y-00002.npy").stat().st_size))
    refused(folder, "X-00001.npy", "y-00002.npy: damaged", verify=True)
    np.save(piece, rows()[:8].astype("i4"))
    refused(folder, "X-00001.npy holds shape (8, 4), int32; expected (8, 4), float32")
    piece.unlink()
    refused(folder, "X-00001.npy cannot be read (No such file or directory)", "all files of the folder")


def test_a_file_that_is_cut_later_is_named(shards):
    folder, _ = shards
    X, _ = open_shards(folder)
    os.truncate(folder / "X-00002.npy", 200)
    with pytest.raises(DataError, match=r"X-00002\.npy cannot be loaded: it is cut"):
        X[:]


def test_no_folder_of_shards(tmp_path):
    refused(tmp_path, "is no folder of shards: manifest.json cannot be read")
    refused(tmp_path / "missing", "manifest.json cannot be read")
    with pytest.raises(TypeError, match="folder is a int"):
        open_shards(3)


def changed(found, *path):
    """All values that may stand at a place, and make no sense there."""
    for value in (None, -1, 10**30, "x", [], [None], 2.5):
        odd = copy.deepcopy(found)
        place = odd
        for key in path[:-1]:
            place = place[key]
        if place[path[-1]] != value:
            place[path[-1]] = value
            yield odd


def test_a_damaged_manifest_is_no_traceback(shards):
    folder, y = shards
    file = folder / "manifest.json"
    found = content(folder)
    places = [(key,) for key in found] + [("X", key) for key in found["X"]] + [("y", key) for key in found["y"]]
    places += [("shards", 1, key) for key in ("rows", "X", "y")]
    places += [("shards", 1, "X", key) for key in found["shards"][1]["X"]]
    for path in places:
        for odd in changed(found, *path):
            file.write_text(json.dumps(odd))
            try:
                X, targets = open_shards(folder)
            except DataError as error:
                assert str(folder) in str(error)
            else:  # a name, a checksum, or targets that are not there
                assert X.shape == (N, D) and path[-1] in ("columns", "sha256", "classes", "y")
    for odd in ("", "[]", "{", "[" * 9000, '{"format": 3}', '{"format": "numbasgd shards", "version": 2}'):
        file.write_text(odd)
        refused(folder, "manifest.json")
    refused(folder, "format version 2; expected 1", "update this one")
    found["shards"][0]["X"]["file"] = "../X-00000.npy"
    file.write_text(json.dumps(found))
    refused(folder, "it names the file '../X-00000.npy'")


def test_a_folder_of_shards_is_a_table(shards, tmp_path):
    folder, y = shards
    table = read_table(folder, -1)
    np.testing.assert_array_equal(table.X, rows())
    np.testing.assert_array_equal(table.y, y)
    assert read_table(folder, None).X.shape == (N, D), "targets are no features"
    named = write_shards(
        rows(), ["no", "yes"] * 11 + ["no"], tmp_path / "named", columns=list("abcd"), target="t"
    )
    table = read_table(named, "t", takes_labels=True)
    assert table.columns == list("abcd") and table.y.tolist() == ["no", "yes"] * 11 + ["no"]
    table = read_table(named, "b", features=None)
    assert table.columns == ["a", "c", "d"] and table.y.tolist() == rows()[:, 1].tolist()
    assert read_table(named, None, features=["d", "a"]).X.tolist() == rows()[:, [3, 0]].tolist()
    with pytest.raises(DataError, match="target 't' is text, which names classes"):
        read_table(named, "t")
    with pytest.raises(ValueError, match="no column 'z'"):
        read_table(named, None, features=["z"])
    gaps = rows()
    gaps[4, 1] = np.nan
    folder = write_shards(gaps, None, tmp_path / "gaps", columns=list("abcd"))
    with pytest.raises(DataError, match=r"row 4, column 1 \(b\) is nan"):
        read_table(folder, None)


def test_a_manifest_of_another_program_is_none_of_ours(tmp_path):
    (tmp_path / "a.csv").write_text("a,y\n1,2\n")
    (tmp_path / "manifest.json").write_text('{"name": "a web page"}')
    assert read_table(tmp_path, "y").X.tolist() == [[1.0]]


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """``numbasgd``: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*argv):
        code = main([str(word) for word in argv])
        return code, *capsys.readouterr()

    return run


def test_the_command_writes_and_verifies(tmp_path, call):
    lines = "".join(f"{a},{b},{'yes' if a > 40 else 'no'}\n" for a, b, *_ in rows().tolist())
    (tmp_path / "t.csv").write_text("a,b,y\n" + lines)
    code, out, err = call("shard", "t.csv", "out", "--target", "y", "--shards", "3")
    assert (code, err) == (0, "")
    assert out.startswith("out: 3 shards, 23 rows x 2 columns of float64, target y of 2 classes, ")
    X, y = open_shards("out")
    np.testing.assert_array_equal(X[:], rows()[:, :2])
    assert X.columns == ["a", "b"] and set(y) == {"no", "yes"}
    code, out, err = call("shard", "--verify", "out")
    assert (code, err) == (0, "") and out.endswith("; all checksums are right\n")
    code, out, err = call("shard", "out", "again", "--dtype", "float32", "--json")
    found = json.loads(out)
    assert found["columns"] == ["a", "b"] and found["target"] == ["y"] and found["dtype"] == "float32"
    assert found["rows"] == N and found["classes"] == ["no", "yes"] and found["shards"] == 1
    assert call("shard", "t.csv", "out", "--target", "y")[::2] == (
        2,
        f"numbasgd shard: {tmp_path.resolve()}/out is not empty; expected a folder that is to be written. Pass "
        "another one, or --force to replace these shards.\n",
    )
    assert call("shard", "t.csv", "out", "--target", "b", "--drop", "y", "--force")[0] == 0
    assert open_shards("out")[1].tolist() == rows()[:, 1].tolist()
    with open("out/X-00000.npy", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x07")
    code, out, err = call("shard", "--verify", "out")
    assert (code, out) == (2, "") and "X-00000.npy: damaged" in err
    for argv, message in (
        (["shard", "t.csv"], "OUT is missing"),
        (["shard", "t.csv", "x", "--verify"], "--verify was given, and OUT"),
        (["shard", "t.csv", "x", "--verify", "--target", "y"], "--verify was given, and OUT"),
        (["shard", "t.csv", "x", "--target", "z"], "--target is 'z'"),
        (["shard", "t.csv", "x", "--target", "y", "--shards", "99"], "--shards is 99"),
        (["shard", "t.csv", "x", "--target", "y", "--dtype", "int8"], "--dtype is 'int8'"),
        (["shard", "missing.csv", "x", "--target", "y"], "missing.csv cannot be read"),
    ):
        code, out, err = call(*argv)
        assert (code, out) == (2, "") and message in err and err.count("\n") == 1
    assert not os.path.exists("x")


def test_top_level_names():
    assert numbasgd.open_shards is open_shards and "write_shards" in dir(numbasgd)


@pytest.fixture
def spooled(monkeypatch):
    """Text is read a few rows at a time."""
    monkeypatch.setattr(text, "_BLOCK_ROWS", 5)


def csv(cells, name="t.csv", header="a,b,y"):
    with open(name, "w") as file:
        file.write(header + "\n" + "".join(",".join(map(str, row)) + "\n" for row in cells))


def test_text_is_written_a_few_rows_at_a_time(call, spooled, tmp_path):
    cells = [(i, i / 7, ["no", "yes"][i % 2]) for i in range(N)]
    csv(cells)
    assert call("shard", "t.csv", "out", "--target", "y", "--shards", 3)[0] == 0
    X, y = open_shards("out", verify=True)
    expected = read_table("t.csv", "y", takes_labels=True)
    np.testing.assert_array_equal(X[:], expected.X)
    assert y.tolist() == expected.y.tolist()
    assert sorted(os.listdir()) == ["out", "t.csv"]
    csv([(*row[:2], i * i) for i, row in enumerate(cells)])
    assert call("shard", "t.csv", "numbers", "--target", "y")[0] == 0
    assert open_shards("numbers")[1].tolist() == [float(i * i) for i in range(N)]
    csv([(*row[:2], "x" if i == 3 else i % 3) for i, row in enumerate(cells)])
    code, _, err = call("shard", "t.csv", "mixed", "--target", "y")
    assert code == 0 and "text such as 'x', so each of its values is the name of a class" in err
    assert set(open_shards("mixed")[1]) == {"0", "1", "2", "x"}
    csv([(*row[:2], "x" if i == 20 else i) for i, row in enumerate(cells)])
    code, _, err = call("shard", "t.csv", "wrong", "--target", "y")
    assert code == 2 and "t.csv, line 22, column 2 (y) is 'x'; expected a finite number" in err
    csv([("?" if i == 12 else row[0], *row[1:]) for i, row in enumerate(cells)])
    code, _, err = call("shard", "t.csv", "wrong", "--target", "y")
    assert code == 2 and "t.csv, line 14, column 0 (a) is '?'" in err and "--missing drop" in err
    code, _, err = call("shard", "t.csv", "drop", "--target", "y", "--missing", "drop", "--shards", 4)
    assert code == 0 and "t.csv: 1 of 23 rows have missing cells and are left out." in err
    assert open_shards("drop")[0][:, 0].tolist() == [i for i in range(N) if i != 12]
    csv([("", *row[1:]) for row in cells])
    code, _, err = call("shard", "t.csv", "none", "--target", "y", "--missing", "drop")
    assert code == 2 and "missing cell in each of its 23 rows" in err
    assert sorted(os.listdir()) == ["drop", "mixed", "numbers", "out", "t.csv"]


def test_the_first_labels_are_missing(call, spooled, tmp_path):
    for known in ("yes", "4"):
        csv([(i, i, "" if i < 12 else known) for i in range(N)])
        code, _, err = call("shard", "t.csv", f"out-{known}", "--target", "y", "--missing", "drop")
        assert code == 0 and "12 of 23 rows" in err
        assert open_shards(f"out-{known}")[1].tolist() == [known if known == "yes" else 4.0] * 11


def test_folders_and_archives_are_written_too(call, spooled, tmp_path):
    os.mkdir("parts")
    for i in range(3):
        csv([(i, j, j % 2) for j in range(6)], f"parts/{i}.csv")
    assert call("shard", "parts", "out", "--target", "y", "--shards", 2)[0] == 0
    np.testing.assert_array_equal(open_shards("out")[0][:], read_table("parts", "y").X)
    np.savez("t.npz", a=np.arange(9.0), y=np.arange(9) % 2)
    assert call("shard", "t.npz", "npz", "--target", "y")[0] == 0
    assert open_shards("npz")[0][:, 0].tolist() == list(range(9))
    gaps = np.where(np.arange(30).reshape(10, 3) == 13, np.nan, 1.0)
    np.save("gaps.npy", gaps)
    assert call("shard", "gaps.npy", "gaps", "--target", -1, "--missing", "drop")[0] == 0
    assert open_shards("gaps")[0].shape == (9, 2)
    write_shards(gaps, np.arange(10.0), "y")
    code, _, err = call("shard", "y", "no-gaps", "--missing", "drop")
    assert (
        code == 0
        and "1 of 10 rows" in err
        and open_shards("no-gaps")[1].tolist() == [0, 1, 2, 3, *range(5, 10)]
    )
    code, _, err = call("shard", "gaps.npy", "kept", "--target", 1)
    assert code == 2 and "row 4, column 1 is nan" in err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this platform")
def test_a_disk_that_is_full_of_rows_of_text(call, tmp_path, monkeypatch):
    csv([(1, 2, 3)])
    monkeypatch.setattr(spool, "part_of", lambda path: tmp_path / "rows")
    os.symlink("/dev/full", "rows")
    code, _, err = call("shard", "t.csv", "out", "--target", "y")
    assert code == 2 and "rows cannot be written (No space left on device); expected room for" in err
    assert os.listdir() == ["t.csv"]


def test_a_place_that_is_taken_is_told_of_before_the_table_is_read(call, tmp_path, monkeypatch):
    csv([(1, 2, 3)])
    os.mkdir("out")
    open("out/mine", "w").close()
    monkeypatch.setattr(text, "_careful_blocks", lambda *args: pytest.fail("read"))
    assert call("shard", "t.csv", "out", "--target", "y")[0] == 2
    assert call("shard", "t.csv", "no/out", "--target", "y")[0] == 2


def test_large_text_goes_through_pyarrow(call, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    monkeypatch.setattr(arrow_text, "LARGE", 0)
    monkeypatch.setattr(arrow_text, "_BLOCK", 200)
    rng = np.random.default_rng(0)
    table = rng.standard_normal((300, 3))
    csv(table.tolist())
    careful = text._careful_blocks
    monkeypatch.setattr(text, "_careful_blocks", lambda *args: pytest.fail("cell by cell"))
    assert call("shard", "t.csv", "out", "--target", "y", "--shards", 3)[0] == 0
    np.testing.assert_array_equal(open_shards("out")[0][:], table[:, :2])
    np.testing.assert_array_equal(open_shards("out")[1], table[:, 2])
    csv(
        [*[(*row[:2], "no") for row in table.tolist()], (1, 2, '"a ""quote""')]
    )  # one that pyarrow reads otherwise
    monkeypatch.setattr(text, "_careful_blocks", careful)
    assert call("shard", "t.csv", "quotes", "--target", "y")[0] == 0
    assert open_shards("quotes")[1][-1] == 'a "quote"' and len(open_shards("quotes")[1]) == 301


MEMORY = """
    import os, resource, sys
    import numpy as np
    import numbasgd
    from numbasgd import cli

    def limit(megabytes):
        with open("/proc/self/status") as status:
            now = next(int(line.split()[1]) for line in status if line.startswith("VmData:"))
        resource.setrlimit(resource.RLIMIT_DATA, ((now << 10) + (megabytes << 20),) * 2)

    def run(*argv):
        assert cli.main(argv) == 0, argv

    n, d = 3_000_000, 32
    small = np.random.default_rng(0).standard_normal((1000, d)).astype("f4")
    np.save("small.npy", small[:, 1:])
    for sampling in ("block", "sequential"):  # compiled, and threads started, before
        numbasgd.train("small.npy", small[:, 0], sampling=sampling, **{options}).predict("small.npy")
    os.unlink("small.npy")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="no limit of anonymous memory there")
@pytest.mark.parametrize("kind", ["npy", "parquet", "csv"])
def test_what_is_larger_than_memory_is_written_and_trained_on(tmp_path, kind):
    """Rows of 384 MB, or 250 MB from text, in a process that may have 160, 290 or 200 MB more than it has."""
    if shutil.disk_usage(tmp_path).free < 4 << 30:
        pytest.skip("less than 4 GB of free disk")
    if kind != "npy":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    options = "dict(lr=0.01, epochs=1, seed=0, window=8.0, threads=1, standardize=True)"
    make = {
        "npy": """
            rows = np.lib.format.open_memmap("t.npy", "w+", "f4", (n, d))
            for start in range(0, n, 100_000):
                rows[start:start + 100_000] = small[0] + start
            del rows
            limit(160)
        """,
        "parquet": """
            import pyarrow as pa, pyarrow.parquet as pq
            columns = {f"c{j}": small[:, j] for j in range(d)}
            with pq.ParquetWriter("t.parquet", pa.table(columns).schema) as writer:
                for start in range(0, n, 100_000):
                    writer.write_table(pa.table({k: np.tile(v, 100) for k, v in columns.items()}))
            limit(290)
        """,
        "csv": """
            n, d = 1_000_000, 32
            lines = (",".join(["0.12345678"] * d) + "\\n") * 10_000
            with open("t.csv", "w") as file:
                file.write(",".join(f"c{j}" for j in range(d)) + "\\n")
                for _ in range(n // 10_000):
                    file.write(lines)
            limit(200)
        """,
    }[kind]
    check = """
        run("shard", f"t.{kind}", "out", "--target", "-1", "--shards", "5")
        X, y = numbasgd.open_shards("out", verify=True)
        assert X.shape == (n, d - 1), X.shape
        if kind != "csv":
            numbasgd.train(X, y / 1e6, **options)
            fit = numbasgd.train(X, y / 1e6, **options, sampling="sequential")
            assert fit.predict(X).shape == (n,)
        try:
            np.asarray(X, np.float64)
        except MemoryError:
            print("as expected")
    """
    code = textwrap.dedent(MEMORY).replace("{options}", options) + f"options, kind = {options}, {kind!r}\n"
    code += textwrap.dedent(make) + textwrap.dedent(check)
    assert "as expected" in run_python(code, cwd=tmp_path, ARROW_DEFAULT_MEMORY_POOL="system")
