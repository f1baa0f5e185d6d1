"""Training on rows in files of all kinds is, to the last bit, training on the same rows in memory."""

import json
import os

import numpy as np
import pytest
from runs import assert_same

from numbasgd import open_shards, open_table, train, write_shards
from numbasgd.cli import main
from numbasgd.data import npy_rows
from numbasgd.errors import DataError
from numbasgd.machine import extent
from numbasgd.sgd import streamed_inputs

N, D = 3000, 6
BLOCK = dict(sampling="block", window=0.02, batch_size=32, lr=0.05, epochs=3, seed=5)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    X = rng.standard_normal((N, D)).astype(np.float32)
    return X, (X @ rng.standard_normal(D) + rng.standard_normal(N)).astype(np.float32)


def names(d=D):
    return [f"c{j}" for j in range(d)]


def of_shards(folder, X, y):
    return open_shards(write_shards(X, y, folder / "out", shards=7))


def of_parquet(folder, X, y):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    columns = {name: X[:, j] for j, name in enumerate(names(X.shape[1]))}
    for i, some in enumerate(np.array_split(np.arange(len(X)), 2)):
        table = pa.table({**{name: a[some] for name, a in columns.items()}, "y": y[some]})
        parquet.write_table(table, folder / f"{i}.parquet", row_group_size=410)
    return open_table(folder, "y")


def of_hdf5(folder, X, y):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    file = h5py.File(folder / "a.h5", "w")
    return file.create_dataset("X", data=X, chunks=(100, D), compression=1), file.create_dataset("y", data=y)


def of_zarr(folder, X, y):
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    return zarr.create_array(folder / "X.zarr", data=X, chunks=(333, D)), zarr.create_array(
        folder / "y", data=y
    )


def of_npy(folder, X, y):
    for i, some in enumerate(np.array_split(np.arange(len(X)), 3)):
        np.save(folder / f"{i}.npy", np.asfortranarray(X[some]) if i == 1 else X[some])
    np.save(folder / "y.npy", y)
    return [folder / f"{i}.npy" for i in range(3)], str(folder / "y.npy")


def of_memmap(folder, X, y):
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", y)
    return np.load(folder / "X.npy", mmap_mode="r"), np.load(folder / "y.npy", mmap_mode="r")


STORES = {f.__name__[3:]: f for f in (of_shards, of_parquet, of_hdf5, of_zarr, of_npy, of_memmap)}


@pytest.mark.parametrize("store", STORES)
def test_the_bits_are_those_of_an_array(tmp_path, data, store):
    X, y = STORES[store](tmp_path, *data)
    found = train(X, y, **BLOCK)
    assert_same(found, train(*data, **BLOCK))
    assert_same(train(X, y, **{**BLOCK, "sampling": "auto"}), found)
    np.testing.assert_array_equal(found.predict(X), found.predict(data[0]))


@pytest.mark.parametrize("store", ["shards", "parquet", "hdf5"])
def test_numbers_that_are_converted(tmp_path, data, store):
    """Integers in the file, and targets of another precision."""
    X, y = np.round(data[0] * 50).astype(np.int16), data[1].astype(np.float64)
    options = {**BLOCK, "lr": 1e-5}
    assert_same(train(*STORES[store](tmp_path, X, y), **options), train(X, y, **options))
    other = tmp_path / "other"
    other.mkdir()
    X, y = STORES[store](other, data[0], y)
    assert_same(train(X, y, **BLOCK), train(data[0], np.asarray(y), **BLOCK))


@pytest.mark.parametrize("store", ["shards", "parquet"])
def test_classes_named_by_text(tmp_path, data, store):
    rows = data[0].astype(np.float64)  # for which other tests compile the same
    labels = np.array(["low", "middle", "high"])[np.digitize(data[1], [-1, 1])]
    options = {**BLOCK, "loss": "softmax"}
    X, y = STORES[store](tmp_path, rows, labels)
    fit = train(X, y, **options)
    assert_same(fit, train(rows, labels, **options))
    assert set(fit.predict(X[:50])) <= {"low", "middle", "high"}


@pytest.mark.parametrize("store", ["shards", "parquet"])
def test_a_run_goes_on_from_other_files_with_the_same_rows(tmp_path, data, store):
    X, y = STORES[store](tmp_path, *data)
    train(X, y, **{**BLOCK, "epochs": 2, "checkpoint": tmp_path / "c.fit"})
    assert_same(train(*data, resume=tmp_path / "c.fit", epochs=3), train(X, y, **BLOCK))
    assert_same(train(X, y, resume=tmp_path / "c.fit", epochs=3), train(X, y, **BLOCK))


def test_columns_are_found_by_their_names(tmp_path, data):
    X, y = data
    X, _ = open_shards(write_shards(X, y, tmp_path / "a", columns=names()))
    fit = train(X, y, **BLOCK)
    assert fit.feature_names == tuple(names())
    order = [3, 0, 5, 1, 2, 4]
    other, _ = open_shards(
        write_shards(data[0][:, order], y, tmp_path / "b", columns=[names()[j] for j in order])
    )
    np.testing.assert_array_equal(fit.predict(other), fit.predict(data[0]))
    with pytest.raises(ValueError, match="lacks column 'c5' and has column 'z' besides"):
        fit.predict(open_shards(write_shards(data[0], y, tmp_path / "c", columns=[*names()[:-1], "z"]))[0])


def test_a_file_that_is_cut_during_a_run(tmp_path, data):
    X, y = of_shards(tmp_path, *data)
    piece = tmp_path / "out" / "X-00003.npy"
    whole = piece.read_bytes()

    def cut(fit):
        if len(fit.loss) == 3:
            os.truncate(piece, 500)

    with pytest.raises(DataError, match=r"X-00003\.npy cannot be loaded: it is cut") as caught:
        train(X, y, **BLOCK, callback=cut)
    piece.write_bytes(whole)
    assert_same(train(X, y, resume=caught.value.fit), train(X, y, **BLOCK))


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """``numbasgd``: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*argv):
        code = main([str(word) for word in argv])
        return code, *capsys.readouterr()

    return run


FLAGS = "--lr 0.05 --epochs 3 --seed 5 --batch-size 32 --window 0.02 --json".split()


def same_as(out, fit):
    found = json.loads(out)
    assert found["w"] == fit.w.tolist() and found["loss"] == fit.loss.tolist()
    assert found["settings"]["sampling"] == fit.settings["sampling"]


@pytest.mark.parametrize("kind", ["shards", "npy", "parquet"])
def test_the_command_reads_what_does_not_fit_in_blocks(tmp_path, data, call, kind, monkeypatch):
    X, y = data
    target = ["--target", "y"]
    if kind == "npy":
        np.save(tmp_path / "t.npy", np.column_stack([X, y]))
        target = ["--target", -1]
    elif kind == "shards":
        write_shards(X, y, tmp_path / "t", columns=names(), target="y", shards=3)
    else:
        (tmp_path / "t").mkdir()
        of_parquet(tmp_path / "t", X, y)
    place = "t.npy" if kind == "npy" else "t"
    code, out, _ = call("train", place, *target, *FLAGS)
    assert code == 0
    same_as(out, train(X, y, **{**BLOCK, "sampling": "reshuffle"}))
    monkeypatch.setattr(extent, "free_memory", lambda: 1000)
    in_blocks = train(X, y, **BLOCK)
    code, out, _ = call("train", place, *target, *FLAGS, "--save", "t.fit")
    assert code == 0
    same_as(out, in_blocks)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    code, out, _ = call("train", place, *target, *FLAGS, "--sampling", "block")
    same_as(out, in_blocks)
    drop = ["--drop", -1] if kind == "npy" else []
    predictions = []
    for free in (1 << 40, 1000):
        monkeypatch.setattr(extent, "free_memory", lambda free=free: free)
        code, out, err = call("predict", "t.fit", place, *drop, "--out", "p.npy")
        assert (code, err if kind != "parquet" else "") == (0, "")
        predictions.append(np.load("p.npy"))
    np.testing.assert_array_equal(*predictions)
    np.testing.assert_array_equal(predictions[0], in_blocks.predict(X))


@pytest.mark.slow
def test_the_command_takes_the_target_of_shards(tmp_path, data, call):
    X, y = (a.astype(np.float64) for a in data)  # for which other tests compile the same
    write_shards(X, np.column_stack([y, 2 * y]), tmp_path / "two", columns=names(), target=["u", "v"])
    code, out, _ = call("train", "two", *FLAGS)
    assert code == 0
    expected = train(X, np.column_stack([y, 2 * y]), **{**BLOCK, "sampling": "reshuffle"})
    same_as(out, expected)
    code, out, _ = call("train", "two", "--target", "v", *FLAGS)
    same_as(out, train(X, 2 * y, **{**BLOCK, "sampling": "reshuffle"}))
    write_shards(X, None, tmp_path / "none")
    code, _, err = call("train", "none", *FLAGS)
    assert code == 2 and "none has no targets; expected some to train on" in err
    labels = np.where(y > 0, "up", "down")
    write_shards(X, labels, tmp_path / "labels")
    code, out, _ = call("train", "labels", "--loss", "logistic", "--sampling", "block", *FLAGS)
    same_as(out, train(X, labels, loss="logistic", **BLOCK))
    code, _, err = call("train", "labels", *FLAGS)
    assert code == 2 and "text, which names classes" in err and "--loss logistic" in err


def test_the_command_resumes_in_blocks(tmp_path, data, call):
    X, y = data
    write_shards(X, y, tmp_path / "t", shards=3)
    flags = ["--sampling", "block", *FLAGS]
    assert call("train", "t", *flags, "--epochs", 2, "--save", "t.fit")[0] == 0
    code, out, err = call("train", "t", "--resume", "t.fit", "--epochs", 3, "--json")
    assert code == 0, err
    same_as(out, train(X, y, **BLOCK))


def test_the_command_keeps_what_a_run_has_when_a_file_breaks(tmp_path, data, call, monkeypatch):
    X, y = data
    write_shards(X, y, tmp_path / "t", shards=3)
    read, count = npy_rows.NpyRows.read, iter(range(10_000))

    def breaks(self, start, stop, out):
        if stop - start > 1 and next(count) > 400:
            raise DataError("the disk is gone")
        read(self, start, stop, out)

    monkeypatch.setattr(npy_rows.NpyRows, "read", breaks)
    flags = ["--sampling", "block", *FLAGS]
    code, out, err = call("train", "t", *flags, "--save", "t.fit")
    assert (code, out) == (2, "") and "the disk is gone" in err
    assert "of 3 epochs; go on with --resume t.fit" in err
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    code, out, _ = call("train", "t", "--resume", "t.fit", "--json")
    same_as(out, train(X, y, **BLOCK))


def test_rows_that_are_decoded_many_times_are_warned_of(data, monkeypatch):
    class Chunked:
        shape, dtype, chunks = (N, D), np.dtype(np.float32), (500, D)

        def __getitem__(self, key):
            return data[0][key]

    train(Chunked(), data[1], **BLOCK)  # small enough to be kept
    monkeypatch.setattr(streamed_inputs, "_SMALL", 0)
    with pytest.warns(UserWarning, match="500 rows of X are decoded together, about 4 times an epoch"):
        train(Chunked(), data[1], **BLOCK)
    train(Chunked(), data[1], **{**BLOCK, "sampling": "sequential"})
    train(Chunked(), data[1], **{**BLOCK, "window": 0.2})
    Chunked.chunks = (30, D)
    train(Chunked(), data[1], **BLOCK)


def test_the_command_says_what_to_do_with_text_that_is_too_large(tmp_path, data, call, monkeypatch):
    np.savetxt(
        tmp_path / "t.csv", np.column_stack([data[0][:50], data[1][:50]]), delimiter=",", header="a,b,c,d,e,f,y"
    )
    monkeypatch.setattr(extent, "free_memory", lambda: 1000)
    code, _, err = call("train", "t.csv", "--target", "y", "--lr", "0.01", "--epochs", "2")
    assert (
        code == 0
        and "t.csv has" in err
        and "are free" in err
        and "numbasgd shard DATA OUT --target NAME" in err
    )
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert call("train", "t.csv", "--target", "y", "--lr", "0.01", "--epochs", "2")[2] == ""


def test_rows_to_watch_are_stored_rows_too(tmp_path, data):
    X, y = data
    part = slice(0, 500)
    watched = open_shards(write_shards(X[part], y[part], tmp_path / "w"))
    fit = train(*of_shards(tmp_path, X, y), validation_data=watched, **BLOCK)
    assert_same(fit, train(X, y, validation_data=(X[part], y[part]), **BLOCK))
