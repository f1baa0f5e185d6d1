"""A folder whose files are the parts of one table, read one after the other in the order of their names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from numbasgd.data.cells import quoted
from numbasgd.data.read_options import Wanted
from numbasgd.data.stored_rows import JoinedRows, StoredRows
from numbasgd.errors import DataError

_AT_ONCE = 16 << 20  # bytes of rows that are read at once
SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".npy", ".npz", ".parquet")


class Reader(Protocol):
    """A table whose columns are known, to be read once.

    Some have ``open``, like ``read`` but that X stays in the files, ``blocks``, which reads some rows after the
    other, and ``targets``, the columns that are no features.
    """

    names: list[str]

    @property
    def notes(self) -> list[str]:
        """What was guessed."""

    def read(self, wanted: Wanted) -> tuple[np.ndarray, np.ndarray]:
        """X and y."""


def blocks_of(reader: Reader, wanted: Wanted) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """X and y of some rows of a table after the other, so that not all of them have to be in memory."""
    if isinstance(reader, FolderTable):
        for part in reader.readers:
            yield from blocks_of(part, wanted)
    elif hasattr(reader, "blocks"):
        yield from reader.blocks(wanted)
    elif hasattr(reader, "open"):
        rows, y = reader.open(wanted)
        count = max(1, _AT_ONCE * len(rows) // max(1, rows.nbytes))
        for start in range(0, len(rows), count):
            yield rows[start : start + count], y[start : start + count]
    else:
        yield reader.read(wanted)


class FolderTable:
    """Files of the same columns as one table.

    names : of the columns, "" where one has none.
    """

    def __init__(self, folder: Path, open_part: Callable[[Path], Reader]) -> None:
        self.file = folder
        files = parts_of(folder)
        self._parts = [(file, open_part(file)) for file in files]
        self.names = self._parts[0][1].names
        for file, part in self._parts[1:]:
            self._require_same(files[0], file, part.names)

    @property
    def readers(self) -> list[Reader]:
        """Of the files."""
        return [part for _, part in self._parts]

    @property
    def notes(self) -> list[str]:
        """What was guessed of the files, each kind once."""
        found = [note for _, part in self._parts for note in part.notes]
        told = f"{self.file}: {len(self._parts)} files are read as one table, in the order of their names."
        first, more = found[:3], len(found) - 3
        return [told, *first, *([f"{more} more such notes on its files."] if more > 0 else [])]

    def _require_same(self, first: Path, file: Path, names: list[str]) -> None:
        if names == self.names:
            return
        told = f"{len(names)} columns, and {len(self.names)} are in {first.name}"
        if len(names) == len(self.names):
            j = next(j for j, name in enumerate(names) if name != self.names[j])
            told = f"the column {j} {quoted(names[j])}, which is {quoted(self.names[j])} in {first.name}"
        raise DataError(
            f"{file} has {told}; expected the same columns in all files of a folder. Move it elsewhere."
        )

    def read(self, wanted: Wanted) -> tuple[np.ndarray, np.ndarray]:
        """The rows of all files, one after the other."""
        Xs, y = self._each("read", wanted)
        return np.concatenate(Xs), y

    def open(self, wanted: Wanted) -> tuple[StoredRows, np.ndarray] | None:
        """X, which stays in the files, and y; None if these files can only be read from the first row on."""
        if not all(hasattr(part, "open") for _, part in self._parts):
            return None
        parts, y = self._each("open", wanted)
        odd = next((part for part in parts if part.dtype != parts[0].dtype), None)
        if odd is not None:
            raise DataError(
                f"{odd.name} holds {odd.dtype}, and {parts[0].name} holds {parts[0].dtype}; expected the same "
                "in all files of a folder. Convert that file."
            )
        return JoinedRows(parts, str(self.file), parts[0].columns), y

    def _each(self, how: str, wanted: Wanted) -> tuple[list[Any], np.ndarray]:
        """What each file gives for X, and all of y."""
        Xs, ys = [], []
        for i, (_, part) in enumerate(self._parts):
            X, y = getattr(part, how)(wanted._replace(progress=None))
            Xs.append(X)
            ys.append(y)
            if wanted.progress is not None:
                wanted.progress(i + 1, len(self._parts), "files")
        if len({y.dtype.kind for y in ys}) > 1:  # classes that look like numbers in some of the files
            ys = [_as_text(y) for y in ys]
        return Xs, np.concatenate(ys)


def _as_text(y: np.ndarray) -> np.ndarray:
    return y if y.dtype.kind == "U" else np.array([f"{value:g}" for value in y.tolist()], str)


def parts_of(folder: Path) -> list[Path]:
    """The files of a folder that are parts of a table; one that begins with "." or "_" is none."""
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith((".", "_")))
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror or error}. Check the path.") from error
    files = [entry for entry in entries if entry.suffix.lower() in SUFFIXES and entry.is_file()]
    kinds = {entry.suffix.lower() for entry in files}
    if not files:
        what = "is a directory without a file of a table in it"
        advice = f"Expected files that end with {', '.join(SUFFIXES)}. Pass the folder that holds them."
    elif len(kinds) > 1:
        what = f"is a directory with files of several kinds ({', '.join(sorted(kinds))})"
        advice = "Expected the parts of one table, all of one kind. Pass one of the files."
    else:
        return files
    raise DataError(f"{folder} {what}. {advice}")
