"""Rows that stay in files: memmaps, ``.npy`` files, HDF5 and Zarr, read a range at a time."""

import os
import pickle

import numpy as np
import pytest

from numbasgd.data.npy_rows import npy_header
from numbasgd.data.row_source import RowSource, source_of
from numbasgd.errors import DataError

N, D = 23, 4
RANGES = [(0, N), (0, 1), (5, 5), (7, 19), (N - 1, N)]
STORED = ["<f4", "<f8", "<f2", ">f4", ">f8", "<i4", ">i2", "|u1", "|b1"]


def values(dtype="f8", shape=(N, D)):
    return (np.arange(np.prod(shape)).reshape(shape) % 100).astype(dtype)


def reads(source, expected):
    """The source gives the rows that NumPy would convert to floats, whatever range is read."""
    dtype = np.float32 if expected.dtype.kind == "f" and expected.dtype.itemsize <= 4 else np.float64
    assert isinstance(source, RowSource)
    assert (source.shape, source.dtype) == (expected.shape, dtype) and source.dtype.isnative
    for start, stop in RANGES:
        out = np.full((stop - start, *expected.shape[1:]), np.nan, dtype)
        source.read(start, stop, out)
        np.testing.assert_array_equal(out, expected[start:stop].astype(dtype))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", STORED)
def test_a_npy_file(tmp_path, dtype, order):
    for shape in ((N, D), (N,)):
        a = np.asarray(values(dtype, shape), order=order)
        np.save(tmp_path / "a.npy", a)
        assert npy_header(tmp_path / "a.npy").dtype == np.dtype(dtype)
        reads(source_of(tmp_path / "a.npy", "X"), a)
        reads(source_of(np.load(tmp_path / "a.npy", mmap_mode="r"), "X"), a)


def test_conversions_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("numbasgd.data.npy_rows._AT_ONCE", 3 * D * 8)
    a = values(">f8")
    np.save(tmp_path / "a.npy", a)
    reads(source_of(tmp_path / "a.npy", "X"), a)


@pytest.mark.parametrize("shape", [(N, D), (N,)])
def test_a_list_of_npy_files_is_their_rows_one_file_after_the_other(tmp_path, shape):
    a = values("f4", shape)
    paths = []
    for i, part in enumerate(np.split(a, [0, 1, 9, 9, 20])):  # some of them empty
        paths.append(tmp_path / f"part-{i}.npy")
        np.save(paths[-1], np.asfortranarray(part) if i % 2 else part)
    reads(source_of(paths, "X"), a)
    reads(source_of(tuple(map(str, paths)), "X"), a)
    reads(pickle.loads(pickle.dumps(source_of(paths, "X"))), a)


def test_stored_rows_are_sliced_like_an_array(tmp_path):
    a = values("f4")
    paths = [tmp_path / "a.npy", tmp_path / "b.npy"]
    np.save(paths[0], a[:10])
    np.save(paths[1], a[10:])
    rows = source_of(paths, "X")
    assert (len(rows), rows.ndim, rows.nbytes) == (N, 2, a.nbytes)
    for key in (slice(None), slice(3, -2), slice(20, 4, -3), slice(2, None, 5), slice(8, 3), 0, -1,
                np.int64(11), (slice(4, 13), 2), (-3, slice(1, 3)), (slice(0, 12), [3, 0])):  # fmt: skip
        np.testing.assert_array_equal(rows[key], a[key])
    np.testing.assert_array_equal(np.asarray(rows), a)
    assert np.asarray(rows, np.float64).dtype == np.float64
    assert "shape (23, 4), float32" in repr(rows)
    with pytest.raises(IndexError):
        rows[N]
    with pytest.raises(TypeError, match="taken by list; expected a slice or an integer.*Read a slice"):
        rows[[1, 2]]
    with pytest.raises(ValueError, match="copy"):
        np.asarray(rows, copy=False)


def refuses(paths, *parts):
    with pytest.raises(DataError) as caught:
        source_of(paths, "X")
    for part in parts:
        assert part in str(caught.value)


def test_files_that_are_not_alike_name_the_odd_one(tmp_path):
    for i in range(4):
        np.save(tmp_path / f"{i}.npy", values("f4"))
    paths = [tmp_path / f"{i}.npy" for i in range(4)]
    np.save(paths[0], values("f4", (N, D + 1)))
    refuses(paths, "0.npy holds rows of 5 columns, float32, and", "1.npy of 4 columns", "all 4 files")
    np.save(paths[0], values("f8"))
    refuses(paths, "0.npy holds rows of 4 columns, float64, and", "1.npy of 4 columns, float32")
    np.save(paths[0], values("f4", (N,)))
    refuses(paths, "0.npy holds rows of numbers, float32")
    np.save(paths[0], values(">f4"))  # the same numbers
    assert source_of(paths, "X").shape == (4 * N, D)
    refuses([*paths, "b.csv"], "list of 5 files, and 'b.csv' is among them", "paths of .npy files alone")
    refuses([*paths, 7], "and 7 is among them")
    refuses([*paths, values("f4")], f"and an array of shape {(N, D)} is among them")


def test_files_that_cannot_be_read(tmp_path):
    file = tmp_path / "a.npy"
    refuses(file, "a.npy cannot be read: No such file")
    refuses([file], "a.npy cannot be read: No such file")
    refuses(tmp_path, "cannot be read: Is a directory")
    file.write_bytes(b"")
    refuses(file, "a.npy cannot be loaded (")
    file.write_bytes(b"a,b\n1,2\n")
    refuses(file, "a.npy cannot be loaded (")
    np.save(file, values("f4", (2, 3, 4)))
    refuses(file, "3 dimension(s), shape (2, 3, 4)", "reshape")
    np.save(file, np.float64(1))
    refuses(file, "0 dimension(s)")
    np.save(file, np.array([{1: 2}]), allow_pickle=True)
    refuses(file, "holds Python objects", "never loaded")
    np.save(file, values("f4"))
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"(23, 4)", b"(-3, 4)"))
    refuses(file, "shape (-3, 4)")
    file.write_bytes(whole[: len(whole) - 100])
    refuses(
        file,
        "a.npy cannot be loaded: it is cut, as shape (23, 4) of float32 takes 368 bytes,",
        "100 of them are missing",
    )
    file.write_bytes(whole[:60])
    refuses(file, "a.npy cannot be loaded (")
    np.save(file, np.array(["a", "b"]))
    with pytest.raises(TypeError, match=r"a\.npy has dtype <U1; expected float32 or float64"):
        source_of(file, "X")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["f4", "i4"])
def test_a_file_that_is_cut_while_it_is_read(tmp_path, dtype, order):
    file = tmp_path / "a.npy"
    np.save(file, np.asarray(values(dtype), order=order))
    source = source_of(file, "X")
    mapped = source_of(np.load(file, mmap_mode="r"), "X")
    os.truncate(file, file.stat().st_size - 40)
    out = np.empty((N, D), source.dtype)
    with pytest.raises(DataError, match=r"a\.npy cannot be loaded: it is cut, .* 40 of them are missing"):
        source.read(0, N, out)
    with pytest.raises(DataError, match=r"X cannot be read at rows 3 to 22: .*a\.npy was cut to"):
        mapped.read(3, N, out[3:])
    file.unlink()
    with pytest.raises(DataError, match=r"a\.npy cannot be read at rows 0 to 22: No such file"):
        source.read(0, N, out)


def test_views_of_a_memmap_know_what_they_need_of_its_file(tmp_path):
    file = tmp_path / "raw"
    a = values("f4", (3000, D))
    a.tofile(file)
    mapped = np.memmap(file, np.float32, "r", shape=(2999, D), offset=D * 4)
    view = mapped[100:2000:3, ::-2]
    source = source_of(view, "X")
    assert source.shape == view.shape
    out = np.empty(view.shape, np.float32)
    os.truncate(file, (1 + 2000) * D * 4)  # what the view needs is there
    source.read(0, len(view), out)
    np.testing.assert_array_equal(out, a[1:][100:2000:3, ::-2])
    os.truncate(file, (1 + 1990) * D * 4)
    with pytest.raises(DataError, match="was cut"):
        source.read(0, 1, out[:1])
    file.unlink()
    file.write_bytes(b"another file of the same name")
    source.read(0, 1, out[:1])


def test_what_is_in_memory_is_no_source(tmp_path):
    mapped = np.memmap(tmp_path / "a", np.float64, "w+", shape=(N, D))
    for rows in (np.ones((N, D)), mapped[[1, 2]], mapped + 1, [[1.0, 2.0]], ["a", "b"], ("a", 1), [], None,
                 np.ma.ones((N, D)), "text", 3.0, np.float32(1)):  # fmt: skip
        assert source_of(rows, "X") is None
    labels = np.memmap(tmp_path / "b", "U3", "w+", shape=(N,))
    assert source_of(labels, "y") is None
    scipy = pytest.importorskip("scipy.sparse")
    assert source_of(scipy.csr_array(np.eye(3)), "X") is None


class Sliced:
    """What has ``shape``, ``dtype`` and slices, and nothing else."""

    def __init__(self, a, give=lambda rows: rows):
        self._a, self._give = a, give
        self.shape, self.dtype = a.shape, a.dtype

    def __getitem__(self, key):
        assert isinstance(key, slice)
        return self._give(self._a[key])


def test_anything_with_shape_dtype_and_slices():
    reads(source_of(Sliced(values()), "X"), values())
    with pytest.raises(TypeError, match="X has dtype complex128.*X.real"):
        source_of(Sliced(values("c16")), "X")
    wrong = {"they have shape": lambda rows: rows[:1], "division by zero": lambda rows: 1 / 0}
    for message, give in wrong.items():
        with pytest.raises(DataError, match=rf"X cannot be read at rows 2 to 8: {message}.*\(4,\)"):
            source_of(Sliced(values(), give), "X").read(2, 9, np.empty((7, D)))


class Own:
    """A ``RowSource`` of a user's own."""

    shape, dtype, name = (N, D), np.dtype(np.float64), "X"

    def read(self, start, stop, out):
        out[...] = values()[start:stop]


def test_a_row_source_is_its_own_source():
    own = Own()
    assert source_of(own, "X") is own
    reads(own, values())


@pytest.mark.parametrize("dtype", STORED)
def test_hdf5(tmp_path, dtype):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("X", data=values(dtype), chunks=(5, 2), compression="gzip")
        file.create_dataset("y", data=values(dtype, (N,)))
        file.create_dataset("names", data=["a", "b"])
    with h5py.File(tmp_path / "a.h5") as file:
        source = source_of(file["X"], "X")
        reads(source, values(dtype))
        reads(source_of(file["y"], "y"), values(dtype, (N,)))
        assert source.chunk == 5 and source_of(file["y"], "y").chunk == 1
        assert source_of(file["names"], "y") is None
    with pytest.raises(DataError, match="X cannot be read at rows 0 to 22: .*Check that .* whole and open"):
        source.read(0, N, np.empty((N, D), source.dtype))


def test_chunks_are_read_once_by_who_reads_on(monkeypatch):
    a = values("i8", (100, 3)) + 2**60
    asked = []

    class Chunked:
        shape, dtype, chunks = a.shape, a.dtype, (8, 3)

        def __getitem__(self, key):
            asked.append((key.start, key.stop))
            return a[key]

    source = source_of(Chunked(), "X")
    for start in range(0, 100, 5):
        source.read(start, min(100, start + 5), np.empty((5, 3)))
    assert asked == [(i, min(100, i + 8)) for i in range(0, 100, 8)]
    asked.clear()
    out = np.empty((60, 3), np.int64)
    source_of(Chunked(), "X").read(5, 65, out)
    assert asked == [(0, 8), (8, 64), (64, 72)]
    np.testing.assert_array_equal(out, a[5:65])  # no digit is lost by way of floats
    asked.clear()
    source_of(Chunked(), "X").read(8, 100, np.empty((92, 3)))
    assert asked == [(8, 100)]
    monkeypatch.setattr("numbasgd.data.row_source._KEPT", 2 * 8 * 3 * 8)
    source = source_of(Chunked(), "X")
    for start in (0, 8, 0, 16, 8, 0):
        source.read(start, start + 1, np.empty((1, 3)))
    assert asked[1:] == [(0, 8), (8, 16), (16, 24), (8, 16), (0, 8)], "the last two are kept"
    monkeypatch.setattr("numbasgd.data.row_source._KEPT", 8 * 3 * 8 - 1)
    asked.clear()
    source_of(Chunked(), "X").read(3, 5, np.empty((2, 3)))
    assert asked == [(3, 5)], "a chunk that is too large is not kept"


def test_a_damaged_hdf5_file(tmp_path):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("X", data=np.random.default_rng(0).random((N, 500)), chunks=(5, 500), compression=1)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 5000] = bytes(5000)
    path.write_bytes(content)
    with h5py.File(path) as file, pytest.raises(DataError, match="X cannot be read at rows 0 to 22"):
        source_of(file["X"], "X").read(0, N, np.empty((N, 500)))


@pytest.mark.parametrize("dtype", [dtype for dtype in STORED if dtype[0] != ">"])
def test_zarr(tmp_path, dtype):
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    rows = zarr.create_array(tmp_path / "a.zarr", shape=(N, D), chunks=(5, 4), dtype=np.dtype(dtype))
    rows[:] = values(dtype)
    source = source_of(zarr.open_array(tmp_path / "a.zarr", mode="r"), "X")
    reads(source, values(dtype))
    assert source.chunk == 5


def test_other_arrays_in_memory_become_one():
    class Device:
        shape, dtype, __dlpack__ = (N, D), np.dtype(np.float32), None

        def __getitem__(self, key):
            raise AssertionError("read")

    assert source_of(Device(), "X") is None


def test_a_file_that_was_closed(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        rows = file.create_dataset("X", data=values())
    with pytest.raises(DataError, match="X cannot be read: .* the file that they are in is open"):
        source_of(rows, "X")
