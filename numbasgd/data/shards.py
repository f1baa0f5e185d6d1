"""``open_shards``: rows and targets in a folder of ``.npy`` pieces, which ``write_shards`` made.

out/manifest.json    what the pieces hold: shapes, dtypes, names of columns, classes; rows, bytes and SHA-256
out/X-00000.npy ...  rows, one piece after the other
out/y-00000.npy ...  their targets; numbers that stand for the classes of the manifest where these are text
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numbasgd.data.npy_rows import NpyRows
from numbasgd.data.read_options import Progress
from numbasgd.data.stored_rows import JoinedRows, StoredRows
from numbasgd.errors import DataError

MANIFEST = "manifest.json"
FORMAT = "numbasgd shards"
VERSION = 1
#: The names of pieces.
PIECE = re.compile(r"[Xy]-\d{5,}\.npy")
_MOST_NAMED = 5  # damaged files in a message


class Piece(NamedTuple):
    """A file of a shard."""

    file: str
    bytes: int
    sha256: str


class Part(NamedTuple):
    """X, or y: what all pieces of it hold.

    columns : their names, or None.  classes : what the numbers in y stand for, or None.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    columns: list[str] | None
    classes: list[str] | None
    pieces: list[Piece]


class Manifest(NamedTuple):
    """What a folder of shards says of itself.  rows : of each shard."""

    folder: Path
    rows: list[int]
    X: Part
    y: Part | None


def open_shards(
    folder: str | os.PathLike[str], *, verify: bool = False, progress: Progress | None = None
) -> tuple[StoredRows, np.ndarray | None]:
    """The rows and targets in a folder that ``numbasgd.write_shards`` or ``numbasgd shard`` wrote.

    Parameters
    ----------
    folder : path-like
        The folder with ``manifest.json``.
    verify : bool
        Whether to read all files and compare their checksums.  Their sizes and headers are always compared.
    progress : callable, optional
        Called with how many bytes were verified, of how many, and "bytes".

    Returns
    -------
    X : StoredRows, shape (n, d), float32 or float64
        They stay in the files: ``numbasgd.train`` reads them piece by piece, ``X[10:20]`` is an array.
        ``X.columns`` is the names of the columns, or None.
    y : ndarray, shape (n,) or (n, K), or None
        The targets, as they were passed to ``write_shards``; None where there were none.

    Raises
    ------
    DataError
        If it is no such folder, or a file is missing, cut or damaged; the message names it.
    """
    manifest = read_manifest(folder)
    if verify:
        require_checksums(manifest, progress)
    return rows_of(manifest), targets_of(manifest)


def is_shards(folder: Path) -> bool:
    """Whether it is a folder of shards, whole or damaged; one with a manifest of another program is none."""
    if not (folder / MANIFEST).is_file():
        return False
    with contextlib.suppress(OSError):
        if any(PIECE.fullmatch(name) for name in os.listdir(folder)):
            return True
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        return bool(json.loads((folder / MANIFEST).read_bytes())["format"] == FORMAT)
    return False


def read_manifest(folder: str | os.PathLike[str]) -> Manifest:
    """The manifest of a folder whose files have the sizes that it tells of; raises ``DataError``."""
    try:
        place = Path(folder)
    except TypeError:
        raise TypeError(
            f"folder is a {type(folder).__name__}; expected the path of a folder of shards. Pass what "
            "write_shards was given."
        ) from None
    file = place / MANIFEST
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(
            f"{place} is no folder of shards: {file.name} cannot be read ({error.strerror or error}). Expected "
            "a folder that numbasgd shard or numbasgd.write_shards wrote. Check the path."
        ) from error
    try:
        found = json.loads(content)
        version = found["version"] if found["format"] == FORMAT else None
        if version == VERSION:
            manifest = _manifest(place, found)
            _require_sizes(manifest)
            return manifest
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{file} is damaged ({type(error).__name__}: {error}); expected it as numbasgd wrote it. Use "
            "another copy, or write the shards anew."
        ) from error
    if isinstance(version, int) and version > VERSION:
        raise DataError(
            f"{file} has format version {version}; expected {VERSION}. It was written by a newer numbasgd: "
            "update this one."
        )
    raise DataError(f"{file} is no manifest of shards; expected one of format {FORMAT!r}. Check the path.")


def _manifest(folder: Path, found: dict[str, Any]) -> Manifest:
    rows = [int(shard["rows"]) for shard in found["shards"]]
    parts = [
        None if found[name] is None else _part(found[name], [shard[name] for shard in found["shards"]])
        for name in "Xy"
    ]
    X, y = parts
    if X is None or len(X.shape) != 2:
        raise ValueError("it tells of no X")
    for n in (found["rows"], *(part.shape[0] for part in (X, y) if part is not None)):
        if not rows or min(rows) < 1 or sum(rows) != n:
            raise ValueError("its rows do not add up")
    return Manifest(folder, rows, X, y)


def _part(found: dict[str, Any], shards: list[dict[str, Any]]) -> Part:
    pieces = [Piece(str(each["file"]), int(each["bytes"]), str(each["sha256"])) for each in shards]
    odd = next((piece.file for piece in pieces if not PIECE.fullmatch(piece.file)), None)
    if odd is not None:
        raise ValueError(f"it names the file {odd!r}")
    names = {key: found.get(key) for key in ("columns", "classes")}
    for key, value in names.items():
        if value is not None:
            names[key] = [str(name) for name in value]
    columns, shape = names["columns"], tuple(map(int, found["shape"]))
    if len(shape) not in (1, 2):
        raise ValueError(f"shape {shape}")
    if columns is not None and len(columns) != (shape[1] if len(shape) > 1 else 1):
        raise ValueError(f"it names {len(columns)} columns of shape {shape}")
    return Part(np.dtype(str(found["dtype"])), shape, columns, names["classes"], pieces)


def _require_sizes(manifest: Manifest) -> None:
    """Raise for a file that is missing or has another size."""
    for piece in _pieces(manifest):
        file = manifest.folder / piece.file
        try:
            size = file.stat().st_size
        except OSError as error:
            raise DataError(
                f"{file} cannot be read ({error.strerror or error}), and {MANIFEST} tells of it; expected all "
                "files of the folder. Copy it again, or write the shards anew."
            ) from error
        if size != piece.bytes:
            raise DataError(
                f"{file} has {size:,} bytes; expected {piece.bytes:,}, as {MANIFEST} tells. It is cut or was "
                "changed: copy it again, or write the shards anew."
            )


def _pieces(manifest: Manifest) -> list[Piece]:
    return [piece for part in (manifest.X, manifest.y) if part is not None for piece in part.pieces]


def require_checksums(manifest: Manifest, progress: Progress | None = None) -> None:
    """Raise ``DataError`` for files whose bytes are not those that were written."""
    pieces = _pieces(manifest)
    done, total = 0, sum(piece.bytes for piece in pieces)
    damaged = []
    for piece in pieces:
        file = manifest.folder / piece.file
        try:
            with open(file, "rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != piece.sha256:
                    damaged.append(str(file))
        except OSError as error:
            raise DataError(f"{file} cannot be read ({error.strerror or error}). Check the disk.") from error
        done += piece.bytes
        if progress is not None:
            progress(done, total, "bytes")
    if damaged:
        more = f" and {len(damaged) - _MOST_NAMED} more" if len(damaged) > _MOST_NAMED else ""
        raise DataError(
            f"{', '.join(damaged[:_MOST_NAMED])}{more}: damaged, not the bytes that were written, by the "
            f"checksums in {MANIFEST}. Copy them again, or write the shards anew."
        )


def own_target(folder: Path) -> int | list[int]:
    """The positions of the targets among the columns of X and y, from the end; raises ``DataError``."""
    y = read_manifest(folder).y
    if y is None:
        raise DataError(
            f"{folder} has no targets; expected some to train on. Say which column is the target, or write the "
            "shards with one."
        )
    return -1 if len(y.shape) == 1 else list(range(-y.shape[1], 0))


def rows_of(manifest: Manifest) -> StoredRows:
    """X, which stays in the files."""
    return JoinedRows(_stored(manifest, manifest.X), str(manifest.folder), manifest.X.columns)


def targets_of(manifest: Manifest) -> np.ndarray | None:
    """y, in memory; text where it was text."""
    if manifest.y is None:
        return None
    part = manifest.y
    stored = JoinedRows(_stored(manifest, part), str(manifest.folder))
    y = np.empty(stored.shape, part.dtype.newbyteorder("="))
    stored.read(0, len(y), y)
    if part.classes is None:
        return y
    if y.dtype.kind != "u" or int(y.max()) >= len(part.classes):
        raise DataError(
            f"{manifest.folder} holds targets up to {y.max()}, {y.dtype}, and the names of {len(part.classes)} "
            "classes; expected a name for each. Write the shards anew."
        )
    return np.array(part.classes, str)[y]


def _stored(manifest: Manifest, part: Part) -> list[StoredRows]:
    """The pieces, whose headers are as the manifest tells."""
    found: list[StoredRows] = []
    for piece, count in zip(part.pieces, manifest.rows, strict=True):
        rows = NpyRows(manifest.folder / piece.file)
        if rows.shape != (count, *part.shape[1:]) or rows.stored_dtype != part.dtype.newbyteorder("="):
            raise DataError(
                f"{rows.name} holds shape {rows.shape}, {rows.stored_dtype}; expected "
                f"{(count, *part.shape[1:])}, {part.dtype}, as {MANIFEST} tells. It was changed: copy it "
                "again, or write the shards anew."
            )
        found.append(rows)
    return found
