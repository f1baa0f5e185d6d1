"""Columns of predictions as a file of any of the kinds that people go on with, or on the terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from numbasgd.errors import DataError
from numbasgd.json_values import printable
from numbasgd.part_files import part_of
from numbasgd.paths import write_whole

Columns = Mapping[str, np.ndarray]
_AT_ONCE = 50_000  # rows that are made text at a time


def require_place(name: str) -> None:
    """Raise, before anything is predicted, if no such file could be written there."""
    path = Path(name)
    if path.suffix.lower() not in _WRITERS:
        raise ValueError(
            f"--out is {name!r}; expected a file that ends with one of {', '.join(_WRITERS)}. "
            "Pass for example predictions.csv."
        )
    if path.suffix.lower() == ".parquet":
        _arrow(path)
    if path.is_dir():
        raise DataError(f"--out is {name!r}, a folder; expected a file. Add a file name.")
    probe = part_of(path)
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _not_written(path, error) from error


def write(columns: Columns, path: Path) -> None:
    """Write the columns to a file, whole or not at all."""
    content = _WRITERS[path.suffix.lower()](columns)
    try:
        write_whole(path, content)
    except OSError as error:
        raise _not_written(path, error) from error


def _not_written(path: Path, error: OSError) -> DataError:
    return DataError(
        f"--out is {str(path)!r}, which cannot be written ({error.strerror or error}); expected a place with "
        "room for a file. Make the folder, free some room, or pass another path."
    )


def plain(values: np.ndarray) -> list[Any]:
    """The values as JSON has them; None for one that is missing."""
    if values.dtype.kind == "U":
        return [value or None for value in values.tolist()]
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return [value if value == value else None for value in values.tolist()]
    return list(values.tolist())


def print_csv(columns: Columns, stream: IO[str]) -> None:
    """The columns as CSV; on a terminal nothing of it is obeyed."""
    _csv(columns, stream, ",", printable if stream.isatty() else str)


def _csv(columns: Columns, stream: IO[str], delimiter: str, shown: Callable[[str], str] = str) -> None:
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    writer.writerow([shown(name) for name in columns])
    n = len(next(iter(columns.values())))
    for start in range(0, n, _AT_ONCE):
        parts = [_texts(values[start : start + _AT_ONCE]) for values in columns.values()]
        writer.writerows(zip(*([shown(text) for text in part] for part in parts), strict=True))


def _texts(values: np.ndarray) -> list[str]:
    """Each value as the shortest text that reads back as the same one; nothing for one that is missing."""
    texts: list[str] = values.astype(str).tolist()  # of a float32 shorter than ``tolist`` would have it
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return ["" if value != value else text for value, text in zip(values.tolist(), texts, strict=True)]
    return texts


def _text_file(delimiter: str) -> Callable[[Columns], bytes]:
    def content(columns: Columns) -> bytes:
        stream = io.StringIO()
        _csv(columns, stream, delimiter)
        return stream.getvalue().encode()

    return content


def _npy(columns: Columns) -> bytes:
    stream = io.BytesIO()
    arrays = list(columns.values())
    if len(arrays) > 1 and len({a.dtype.kind for a in arrays}) > 1:
        raise ValueError(
            "--out is a .npy file, which holds one array, and there are text and numbers; expected another "
            "kind. Pass a .npz, .csv or .parquet file."
        )
    np.save(stream, arrays[0] if len(arrays) == 1 else np.column_stack(arrays), allow_pickle=False)
    return stream.getvalue()


def _npz(columns: Columns) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **dict(columns))  # type: ignore[arg-type]
    return stream.getvalue()


def _json(columns: Columns) -> bytes:
    return json.dumps({name: plain(values) for name, values in columns.items()}, allow_nan=False).encode()


def _arrow(path: Path | None = None) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(
            f"--out is {str(path)!r}, and pyarrow, which writes Parquet, cannot be imported ({error}). Install "
            "it with: pip install 'numbasgd[data]'"
        ) from error
    return pyarrow


def _parquet(columns: Columns) -> bytes:
    arrow = _arrow()
    sink = arrow.BufferOutputStream()
    table = arrow.table(
        {
            name: arrow.array(plain(values))
            if values.dtype.kind != "f"
            else arrow.array(values, from_pandas=True)
            for name, values in columns.items()
        }
    )
    arrow.parquet.write_table(table, sink)
    return bytes(sink.getvalue())


_WRITERS: dict[str, Callable[[Columns], bytes]] = {
    ".csv": _text_file(","),
    ".tsv": _text_file("\t"),
    ".npy": _npy,
    ".npz": _npz,
    ".parquet": _parquet,
    ".json": _json,
}
