"""``write_shards``: rows and targets as a folder of ``.npy`` pieces with a manifest, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from numbasgd import check
from numbasgd.data.read_options import Progress
from numbasgd.data.row_source import RowSource, SlicedRows, source_of
from numbasgd.data.shards import FORMAT, MANIFEST, PIECE, VERSION, is_shards
from numbasgd.errors import DataError
from numbasgd.part_files import part_of, remove_dead_parts
from numbasgd.sgd.columns import names_of
from numbasgd.sgd.labels import named

_AT_ONCE = 16 << 20  # bytes that are read, and written, at once
_PIECE_BYTES = 256 << 20  # of a piece of X, where the number of shards was left out
_MOST_CLASSES = 1 << 16


class Targets(NamedTuple):
    """y (n,) or (n, K) as it is written, the names of its columns, the classes that its numbers stand for."""

    values: np.ndarray
    columns: list[str] | None
    classes: list[str] | None


def write_shards(
    X: Any,
    y: Any,
    folder: str | os.PathLike[str],
    *,
    shards: int | None = None,
    dtype: Any = None,
    columns: Sequence[str] | None = None,
    target: str | Sequence[str] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write rows and targets as a folder that ``numbasgd.open_shards`` and ``numbasgd train`` read.

    X may be larger than memory.  The folder appears when all of it is written: what stops it before, a full
    disk or an interrupt, leaves nothing behind.

    Parameters
    ----------
    X : array_like, shape (n, d)
        An array, a table, a memmap, paths of ``.npy`` files, a data set of h5py or zarr, or what
        ``numbasgd.open_table`` gives.
    y : array_like, shape (n,) or (n, K), or None
        The targets: numbers, or text that names classes; in memory.
    folder : path-like
        What to write; it must not exist, or be empty.
    shards : int, optional
        Pieces of as many rows each, or one more.  Left out: as many as have at most 256 MB.
    dtype : {"float32", "float64"}, optional
        What X is converted to; left out, its numbers are written as they are.
    columns : sequence of str, optional
        The names of the columns of X; left out, those of a table.
    target : str or sequence of str, optional
        The name of y, or of its columns.
    force : bool
        Whether a folder of shards that is there is replaced.
    progress : callable, optional
        Called with how many rows were written, of how many, and "rows".

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    DataError
        If rows cannot be read, or the folder cannot be written.
    TypeError, ValueError
        For an argument that is not as described.
    """
    rows = _source(X)
    names = names_of(X) if columns is None else _names(columns, "columns", rows.shape[1])
    targets = _targets(y, target, rows.shape[0])
    place = place_of(folder, force=check.flag(force, "force"))
    stored = _dtype(rows, dtype)
    n = rows.shape[0]
    if shards is None:
        shards = min(n, math.ceil(n * rows.shape[1] * stored.itemsize / _PIECE_BYTES))
    shards = check.integer(shards, "shards", low=1, high=n, hint="A shard has at least one row of X.")
    part = part_of(place)
    _require_room(
        place, n * rows.shape[1] * stored.itemsize + (0 if targets is None else targets.values.nbytes)
    )
    try:
        part.mkdir()
        header = _Header(None if names is None else [str(name) for name in names], targets, stored)
        _write(rows, header, part, [n // shards + (i < n % shards) for i in range(shards)], progress)
        _put(part, place, force=force)
    except OSError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{place} cannot be written ({error.strerror or error}); expected a place with room for a folder. "
            "Nothing of it is left. Free some room, or pass another folder."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return place


class _Header(NamedTuple):
    columns: list[str] | None
    targets: Targets | None
    dtype: np.dtype


def _source(X: Any) -> RowSource:
    """X as rows to read, of as much precision as it has."""
    rows = source_of(X, "X")
    if rows is None:
        is_plain = isinstance(X, np.ndarray) and X.dtype.kind in "biuf" and X.ndim == 2
        rows = SlicedRows(X if is_plain else check.array(X, "X", 2), "X")
    if len(rows.shape) != 2 or 0 in rows.shape:
        raise ValueError(
            f"X has shape {rows.shape}; expected 2-D, a row a sample, with at least one row and column. "
            "Reshape what is meant."
        )
    return rows


def _dtype(rows: RowSource, given: Any) -> np.dtype:
    """What X is written as, in little-endian order."""
    if given is None:
        found = getattr(rows, "stored_dtype", rows.dtype)
        return np.dtype(found).newbyteorder("<")
    try:
        name = np.dtype(given).name
    except TypeError:
        name = given
    return np.dtype(check.choice(name, "dtype", ("float32", "float64"))).newbyteorder("<")


def _names(given: Any, argument: str, count: int) -> list[str]:
    names = [given] if isinstance(given, str) else list(given)
    odd = next((name for name in names if not isinstance(name, str)), None)
    if odd is not None or len(names) != count:
        told = f"holds {check.show(odd)}" if odd is not None else f"has {len(names)} names"
        raise ValueError(f"{argument} {told}; expected {count} names. Pass text, one for each column.")
    return names


def _targets(y: Any, target: Any, n: int) -> Targets | None:
    """y as it is written: text as the numbers of its classes."""
    if y is None:
        return None
    source = source_of(y, "y")
    if source is not None:
        values = np.empty(source.shape, getattr(source, "stored_dtype", source.dtype))
        source.read(0, len(values), values)
    else:
        values = check.array(y, "y", 2) if _is_wide(y) else named(y, "softmax")
    if values.ndim not in (1, 2) or len(values) != n:
        raise ValueError(
            f"y has shape {values.shape} and X has {n} rows; expected one target per row. Check that both were "
            "cut the same way."
        )
    names = target
    if names is None and hasattr(y, "iloc"):
        names = names_of(y) if values.ndim == 2 else getattr(y, "name", None)
        names = [str(names)] if isinstance(names, str | int) else names and [str(name) for name in names]
    if names is not None:
        names = _names(names, "target", values.shape[1] if values.ndim == 2 else 1)
    if values.dtype.kind != "U":
        return Targets(values, names, None)
    classes, codes = np.unique(values, return_inverse=True)
    if len(classes) > _MOST_CLASSES:
        raise ValueError(
            f"y holds {len(classes):,} different texts; expected at most {_MOST_CLASSES:,} names of classes. "
            "If they are numbers, convert them with y.astype('float64')."
        )
    return Targets(codes.astype(np.min_scalar_type(len(classes) - 1)), names, classes.tolist())


def _is_wide(y: Any) -> bool:
    """Whether it is several columns of targets; what NumPy makes no array of is refused as labels are."""
    try:
        return np.ndim(y) == 2
    except (ValueError, TypeError):
        return False


def place_of(folder: Any, *, force: bool) -> Path:
    """Where to write, which is free, or may be replaced; raises ``DataError`` for any other folder."""
    if not isinstance(folder, str | os.PathLike) or not str(folder):
        raise TypeError(f"folder is {folder!r}; expected the path of a folder. Pass for example 'shards'.")
    place = Path(os.path.realpath(os.fsdecode(folder)))
    remove_dead_parts(place)
    try:
        entries = os.listdir(place)
    except FileNotFoundError:
        if place.parent.is_dir():
            return place
        raise DataError(
            f"{place} cannot be written, as there is no folder {place.parent}. Make it, or pass another one."
        ) from None
    except OSError as error:
        raise DataError(
            f"{place} is there and no folder ({error.strerror or error}); expected a folder that is to be "
            "written. Pass another name."
        ) from error
    if not entries:
        return place
    if not force:
        raise DataError(
            f"{place} is not empty; expected a folder that is to be written. Pass another one"
            + (", or force=True to replace these shards." if is_shards(place) else ".")
        )
    odd = next((name for name in sorted(entries) if name != MANIFEST and not PIECE.fullmatch(name)), None)
    if odd is not None or not is_shards(place):
        raise DataError(
            f"{place} holds {odd or entries[0]!r}, which is none of a folder of shards; expected such a "
            "folder, to be replaced. Pass another one, or move that elsewhere."
        )
    return place


def _require_room(place: Path, wanted: int) -> None:
    """Raise if the disk has no room for so many bytes."""
    usage = shutil.disk_usage(place.parent)
    if usage.total and usage.free < wanted:
        raise DataError(
            f"{place} takes {wanted / 1e9:.3g} GB, and {usage.free / 1e9:.3g} GB are free there; expected room "
            "for it. Free some, pass a folder on another disk, or halve it with dtype='float32'."
        )


def _write(
    rows: RowSource, header: _Header, folder: Path, counts: list[int], progress: Progress | None
) -> None:
    """All pieces, then the manifest."""
    n, d = rows.shape
    targets, dtype = header.targets, header.dtype
    buffer = np.empty((_rows_at_once(rows, dtype, max(counts)), d), dtype)
    shards: list[dict[str, Any]] = []
    start = 0
    for i, count in enumerate(counts):
        with _Piece(folder / f"X-{i:05d}.npy", (count, d), dtype) as piece:
            for first in range(start, start + count, len(buffer)):
                last = min(start + count, first + len(buffer))
                _read(rows, first, last, buffer[: last - first])
                piece.add(buffer[: last - first])
                if progress is not None:
                    progress(last, n, "rows")
        shard: dict[str, Any] = {"rows": count, "X": piece.told, "y": None}
        if targets is not None:
            values = targets.values[start : start + count]
            with _Piece(folder / f"y-{i:05d}.npy", values.shape, values.dtype.newbyteorder("<")) as piece:
                piece.add(values.astype(piece.dtype, order="C"))
            shard["y"] = piece.told
        shards.append(shard)
        start += count
    y: dict[str, Any] | None = None
    if targets is not None:
        stored = targets.values.dtype.newbyteorder("<")
        y = {"dtype": stored.str, "shape": list(targets.values.shape)}
        y |= {"columns": targets.columns, "classes": targets.classes}
    X = {"dtype": dtype.str, "shape": [n, d], "columns": header.columns}
    content = {"format": FORMAT, "version": VERSION, "rows": n, "X": X, "y": y, "shards": shards}
    (folder / MANIFEST).write_text(json.dumps(content, indent=1), encoding="utf-8")


def _rows_at_once(rows: RowSource, dtype: np.dtype, most: int) -> int:
    count = max(1, _AT_ONCE // (rows.shape[1] * dtype.itemsize))
    chunk = getattr(rows, "chunk", 1)
    return min(most, max(1, count // chunk) * chunk if chunk <= 4 * count else count)


def _read(rows: RowSource, start: int, stop: int, out: np.ndarray) -> None:
    try:
        with np.errstate(over="raise"):
            rows.read(start, stop, out)
    except FloatingPointError:
        raise DataError(
            f"{rows.name} holds numbers in the rows {start} to {stop - 1} that {out.dtype} cannot hold; "
            "expected smaller ones. Leave dtype out, or pass 'float64'."
        ) from None


class _Piece:
    """A ``.npy`` file that is written a block after the other, and its checksum."""

    def __init__(self, file: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._file, self._digest = file, hashlib.sha256()
        self.dtype = dtype
        self._header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
        self._size = 0

    def __enter__(self) -> _Piece:
        self._stream: BinaryIO = open(self._file, "xb", buffering=0)
        np.lib.format.write_array_header_1_0(self, self._header)
        return self

    def write(self, content: Any) -> None:
        """Write bytes, all of them."""
        memory = memoryview(content).cast("B")
        self._digest.update(memory)
        while len(memory):
            count = self._stream.write(memory)
            self._size += count
            memory = memory[count:]

    def add(self, block: np.ndarray) -> None:
        """Write the entries of an array in C order."""
        if block.size:
            self.write(block.reshape(-1).view(np.uint8).data)

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    @property
    def told(self) -> dict[str, Any]:
        """What the manifest tells of the file."""
        return {"file": self._file.name, "bytes": self._size, "sha256": self._digest.hexdigest()}


def _put(part: Path, place: Path, *, force: bool) -> None:
    """Give the folder its name; one that it replaces goes when it is there."""
    if not force or not place.is_dir():
        os.rename(part, place)  # which refuses a folder that is not empty
        return
    old = part.with_suffix(".old")
    os.rename(place, old)
    try:
        os.rename(part, place)
    except BaseException:
        os.rename(old, place)
        raise
    shutil.rmtree(old, ignore_errors=True)
