"""``open_table``: features that stay in Parquet and ``.npy`` files, and are read when they are needed."""

import os
import pickle
import resource
import signal
import warnings

import numpy as np
import pytest

from numbasgd import open_table, write_shards
from numbasgd.data import ReadOptions, parquet_file, parquet_rows, read_table
from numbasgd.errors import DataError

N = 1000


@pytest.fixture
def arrow():
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    return pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")


@pytest.fixture
def decoded(monkeypatch):
    """The row groups that are decoded, in order."""
    found = []
    batches = parquet_file.ParquetFile.batches

    def seen(self, columns, group=None):
        if group is not None:
            found.append((str(self)[-9:], group))
        return batches(self, columns, group)

    monkeypatch.setattr(parquet_file.ParquetFile, "batches", seen)
    return found


def numbers(n=N, dtype="f4"):
    return {name: (np.arange(n) * (j + 1) % 97).astype(dtype) for j, name in enumerate("abcy")}


def save(parquet, file, columns, group=100):
    parquet.write_table(__import__("pyarrow").table(columns), file, row_group_size=group)
    return file


def stacked(columns, names="abc"):
    return np.column_stack([columns[name] for name in names])


def ranges(n, each):
    return [(start, min(n, start + each)) for start in range(0, n, each)]


def reads(X, expected, each=70):
    """Ranges in order, then in reverse, then all of it are what they are in memory."""
    assert (X.shape, X.dtype) == (expected.shape, expected.dtype)
    for start, stop in [*ranges(len(X), each), *ranges(len(X), each)[::-1]]:
        out = np.full((stop - start, X.shape[1]), np.nan, X.dtype)
        X.read(start, stop, out)
        np.testing.assert_array_equal(out, expected[start:stop])
    np.testing.assert_array_equal(np.asarray(X), expected)


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i4", "?"])
@pytest.mark.parametrize("group", [1, 100, 333, 5000])
def test_parquet_rows_are_those_of_read_table(tmp_path, arrow, dtype, group):
    columns = numbers(N if group > 1 else 40, dtype)
    file = save(arrow, tmp_path / "t.parquet", columns, group)
    X, y = open_table(file, "y")
    table = read_table(file, "y")
    reads(X, table.X)
    np.testing.assert_array_equal(y, table.y)
    assert y.dtype == table.y.dtype and X.columns == list("abc")
    assert X.chunk == min(group, len(X))
    reads(open_table(file, "b", ReadOptions(drop=("a",)))[0], read_table(file, "b", ReadOptions(drop=("a",))).X)
    assert open_table(file)[1] is None and open_table(file)[0].shape[1] == 4
    assert open_table(file, ["y", "a"])[1].shape == (len(X), 2)


def test_reading_on_decodes_each_row_group_once(tmp_path, arrow, decoded, monkeypatch):
    file = save(arrow, tmp_path / "t.parquet", numbers(), 100)
    monkeypatch.setattr(parquet_rows, "KEPT", 100 * 3 * 4)  # a row group
    X, _ = open_table(file, "y")
    for start, stop in ranges(N, 7):
        X.read(start, stop, np.empty((stop - start, 3), np.float32))
    assert [group for _, group in decoded] == list(range(10))
    X.read(0, 5, np.empty((5, 3), np.float32))
    assert len(decoded) == 11, "only the last one was kept"


def test_decoded_rows_are_kept_up_to_a_limit(tmp_path, arrow, decoded, monkeypatch):
    file = save(arrow, tmp_path / "t.parquet", numbers(), 100)
    monkeypatch.setattr(parquet_rows, "KEPT", 3 * 100 * 3 * 4)
    X, _ = open_table(file, "y")
    for start in (0, 100, 200, 50, 150, 250, 300, 0):
        X.read(start, start + 10, np.empty((10, 3), np.float32))
        assert X._kept._bytes <= parquet_rows.KEPT
    assert [group for _, group in decoded] == [0, 1, 2, 3, 0], "the one that was used last stays"


@pytest.mark.parametrize("rows", [1, 30, 64])
def test_large_row_groups_are_decoded_in_segments(tmp_path, arrow, decoded, monkeypatch, rows):
    file = save(arrow, tmp_path / "t.parquet", numbers(), 400)
    monkeypatch.setattr(parquet_rows, "SEGMENT", rows * 3 * 4)
    monkeypatch.setattr(parquet_rows, "KEPT", rows * 3 * 4)
    monkeypatch.setattr(parquet_file, "_BATCH", 50)
    X, _ = open_table(file, "y")
    for start, stop in ranges(N, 13):
        out = np.empty((stop - start, 3), np.float32)
        X.read(start, stop, out)
        np.testing.assert_array_equal(out, stacked(numbers())[start:stop])
    assert [group for _, group in decoded] == [0, 1, 2], "a decoder goes on where it was"
    assert X._kept._bytes <= parquet_rows.KEPT
    reads(X, stacked(numbers()), 111)


def test_parquet_labels_and_gaps(tmp_path, arrow):
    pa = pytest.importorskip("pyarrow")
    columns = numbers()
    labels = ["no" if value < 50 else "yes" for value in columns["y"]]
    file = save(arrow, tmp_path / "t.parquet", {**columns, "y": labels})
    X, y = open_table(file, "y")
    assert y.tolist() == labels and y.dtype.kind == "U"
    gaps = [None if i == 321 else float(v) for i, v in enumerate(columns["b"])]
    save(arrow, file, {**columns, "b": pa.array(gaps)})
    with pytest.raises(
        DataError, match=r"t\.parquet, row 321, column 1 \(b\) is nan; expected a finite number"
    ):
        open_table(file, "y")  # the statistics of the file tell
    with pytest.raises(DataError, match=r"row 321, column 1 \(b\) is nan"):
        open_table(file, "b")
    save(arrow, file, {**columns, "b": np.where(np.arange(N) == 456, np.nan, columns["b"])})
    X, _ = open_table(file, "y")  # NaN is no null
    X.read(0, 400, np.empty((400, 3)))
    with pytest.raises(DataError, match=r"row 456, column 1 \(b\) is nan"):
        X.read(400, 401, np.empty((1, 3)))
    assert open_table(file, "y", ReadOptions(drop=("b",)))[0].shape == (N, 2)
    save(arrow, file, {**columns, "b": [str(v) for v in columns["b"]]})
    with pytest.raises(DataError, match=r"column 1 \(b\) is of type string"):
        open_table(file, "y")
    with pytest.raises(ValueError, match="missing is 'drop'.*numbasgd shard DATA OUT --missing drop"):
        open_table(file, "y", ReadOptions(missing="drop"))


def test_a_parquet_file_that_is_damaged_later(tmp_path, arrow):
    file = save(arrow, tmp_path / "t.parquet", numbers())
    X, _ = open_table(file, "y")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])
    with pytest.raises(DataError, match=r"t\.parquet cannot be read as Parquet.*may be cut"):
        X[:]
    file.unlink()
    with pytest.raises(DataError, match=r"t\.parquet cannot be read as Parquet"):
        X[:]


def test_parquet_rows_in_another_process(tmp_path, arrow):
    for i in range(2):
        save(arrow, tmp_path / f"{i}.parquet", numbers())
    X, _ = open_table(tmp_path, "y")
    X[5:10]
    reads(pickle.loads(pickle.dumps(X)), np.tile(stacked(numbers()), (2, 1)))


def test_a_folder_of_parquet_files(tmp_path, arrow, decoded, monkeypatch):
    for i in range(3):
        save(arrow, tmp_path / f"{i}.parquet", {k: v + i for k, v in numbers().items()}, 500)
    monkeypatch.setattr(parquet_rows, "KEPT", 500 * 3 * 4)
    X, y = open_table(tmp_path, "y")
    expected = read_table(tmp_path, "y")
    np.testing.assert_array_equal(y, expected.y)
    decoded.clear()
    for start, stop in ranges(3 * N, 64):
        X.read(start, stop, np.empty((stop - start, 3), np.float32))
        assert sum(a.nbytes for a in X._parts[0]._kept._segments.values()) <= parquet_rows.KEPT
    assert decoded == [(f"{i}.parquet", g) for i in range(3) for g in range(2)]
    reads(X, expected.X)
    save(arrow, tmp_path / "1.parquet", numbers(dtype="f8"))
    with pytest.raises(DataError, match=r"1\.parquet holds float64, and .*0\.parquet holds float32"):
        open_table(tmp_path, "y")


def test_npy_and_folders_of_it(tmp_path):
    a = np.asfortranarray(stacked(numbers(), "abcy"))
    np.save(tmp_path / "a.npy", a)
    X, y = open_table(tmp_path / "a.npy", -1)
    reads(X, a[:, :3])
    np.testing.assert_array_equal(y, a[:, 3])
    reads(open_table(tmp_path / "a.npy", 1)[0], a[:, [0, 2, 3]])
    assert open_table(tmp_path / "a.npy")[0].shape == (N, 4) and X.columns is None
    np.save(tmp_path / "b.npy", a[::-1])
    X, y = open_table(tmp_path, 0)
    reads(X, np.concatenate([a, a[::-1]])[:, 1:])
    assert y.tolist() == [*a[:, 0], *a[::-1, 0]]
    a[77, 3] = np.inf
    np.save(tmp_path / "a.npy", a)
    with pytest.raises(DataError, match="row 77, column 3 is inf"):
        open_table(tmp_path / "a.npy", -1)


def test_shards(tmp_path):
    columns = numbers()
    X = stacked(columns)
    folder = write_shards(X, columns["y"], tmp_path / "out", shards=3, columns=list("abc"), target="y")
    rows, y = open_table(folder)
    reads(rows, X)
    assert rows.columns == list("abc") and y.tolist() == columns["y"].tolist()
    rows, y = open_table(folder, "b")
    reads(rows, X[:, [0, 2]])
    assert rows.columns == ["a", "c"] and y.tolist() == columns["b"].tolist()
    two = write_shards(X, np.column_stack([columns["y"], columns["a"]]), tmp_path / "two")
    assert open_table(two)[1].shape == (N, 2)


def test_what_can_only_be_read_in_order(tmp_path):
    (tmp_path / "t.csv").write_text("a,y\n1,2\n3,4\n")
    np.savez(tmp_path / "t.npz", a=np.ones(3), y=np.ones(3))
    for name in ("t.csv", "t.npz"):
        with pytest.raises(
            DataError, match=rf"{name} can only be read from the first row.*numbasgd shard DATA OUT"
        ):
            open_table(tmp_path / name, "y")
    with pytest.raises(DataError, match="can only be read from the first row"):
        open_table("-", 0)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        open_table(tmp_path / "missing.parquet", 0)
    with pytest.raises(TypeError, match="path is a int"):
        open_table(3, 0)


def test_a_folder_of_more_files_than_a_process_may_have_open(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for i in range(60):
        np.save(tmp_path / f"{i:02}.npy", np.full((2, 3), i, "f4"))
    taken = [open(tmp_path / "00.npy", "rb") for _ in range(3)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[-1].fileno() + 20, hard))
    try:
        assert read_table(tmp_path, -1).X.shape == (120, 2)
        assert open_table(tmp_path, -1)[0][-1].tolist() == [59, 59]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for file in taken:
            file.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_process_reads_for_itself(tmp_path, arrow):
    X, _ = open_table(save(arrow, tmp_path / "t.parquet", numbers()), "y")
    X[:10]
    with X._kept._lock:  # as a thread holds it that reads ahead
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python 3.12 on forks beside threads
            child = os.fork()
        if child == 0:
            signal.alarm(60)
            os._exit(0 if np.array_equal(X[500:510], stacked(numbers())[500:510]) else 1)
        assert os.waitpid(child, 0)[1] == 0
