"""The file of a ``Fit``: one line of JSON, the bytes of the arrays, a checksum; nothing in it is executed.

    numbasgd fit 2                       what it is, and the version of the format
    {"fit": {...}, "state": {...}}       all values; an array is {"array": [dtype, shape]}
    ...                                  the entries of these arrays, one array after the other, in that order
    32 bytes                             SHA-256 of all that comes before

Everything is kept bit for bit: arrays as they are, in little-endian order, and numbers as Python's JSON writes
them, which reads them back as the same float.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from numbasgd.errors import FitFileError
from numbasgd.paths import part_of, write_whole
from numbasgd.sgd.fingerprint import Fingerprint
from numbasgd.sgd.state import RunState

T = TypeVar("T")

FORMAT = b"numbasgd fit "
VERSION = 2  # raised when a reader of before would misread a file: 2 has weights of K outputs
_DTYPES = ("<f4", "<f8", "<i8")
_NEEDED = {"batch_size", "epochs", "loss", "lr", "lr_given"}  # settings without which a run cannot go on
_DIGEST = hashlib.sha256().digest_size


def path_of(value: Any, name: str) -> Path:
    """A path that the user passed."""
    if not isinstance(value, str | os.PathLike) or not str(value):
        raise TypeError(f"{name} is {value!r}; expected the path of a file. Pass for example 'run.fit'.")
    path = Path(os.fsdecode(value))
    if path.is_dir():
        raise FitFileError(f"{name} is {str(path)!r}, a folder; expected a file. Add a file name.")
    return path


def require_place(path: Path, name: str) -> None:
    """Raise ``FitFileError`` if no file could be written there: better now than after the training."""
    probe = part_of(path)
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _not_written(path, name, error) from error


def write(fields: dict[str, Any], path: Path, *, name: str = "path", is_durable: bool = True) -> None:
    """Write the fields of a ``Fit`` so that nobody ever sees half a file; raises ``FitFileError``.

    is_durable : wait until it would survive a power failure as well.
    """
    arrays: list[bytes] = []

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return dict(value)
        if not isinstance(value, np.ndarray):
            return value
        value = value.astype(value.dtype.newbyteorder("<"), copy=False)
        arrays.append(value.tobytes())
        return {"array": [value.dtype.str, list(value.shape)]}

    header = {
        part: {key: plain(value) for key, value in values.items() if key != "_state"}
        for part, values in (("fit", fields), ("state", fields["_state"]._asdict()))
    }
    version = 1 if fields["w"].ndim == 1 else VERSION  # what a reader of before can read, it may
    content = b"".join([FORMAT, b"%d\n" % version, json.dumps(header).encode(), b"\n", *arrays])
    try:
        write_whole(path, content + hashlib.sha256(content).digest(), is_durable=is_durable)
    except OSError as error:
        raise _not_written(path, name, error) from error


def _not_written(path: Path, name: str, error: OSError) -> FitFileError:
    return FitFileError(
        f"{name} is {str(path)!r}, which cannot be written ({error.strerror or error}); expected a place with "
        "room for a file. Make the folder, free some room, or pass another path."
    )


def read(path: Path, make: Callable[..., T]) -> T:
    """``make(**fields)`` of the ``Fit`` in a file; raises ``FitFileError`` for whatever is no such file."""
    shown = repr(str(path))
    wanted = "expected a file written by Fit.save or as a checkpoint"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FitFileError(
            f"{shown} cannot be read ({error.strerror or error}); {wanted}. Check the path."
        ) from error
    if not content.startswith(FORMAT):
        what = "is empty" if not content else "is not the file of a numbasgd fit"
        raise FitFileError(f"{shown} {what}; {wanted}. Check the path.")
    version = content[len(FORMAT) : len(FORMAT) + 12].partition(b"\n")[0]
    if version.isdigit() and int(version) > VERSION:
        raise FitFileError(
            f"{shown} has format version {int(version)}; expected {VERSION} or less. It was written by a newer "
            "numbasgd: update this one."
        )
    if hashlib.sha256(content[:-_DIGEST]).digest() != content[-_DIGEST:]:
        raise FitFileError(f"{shown} is truncated or damaged; {wanted}, whole. Use another copy.")
    try:
        return make(**_fields(content[:-_DIGEST]))
    except Exception as error:  # the checksum fits, so somebody has made it like this
        raise FitFileError(
            f"{shown} is damaged ({type(error).__name__}: {error}); {wanted}, unchanged. Use another copy."
        ) from error


def _fields(content: bytes) -> dict[str, Any]:
    _, line, _ = content.split(b"\n", 2)
    header = json.loads(line)
    at = content.index(b"\n", len(FORMAT)) + len(line) + 2

    def value(entry: Any) -> Any:
        nonlocal at
        if not isinstance(entry, dict) or entry.keys() != {"array"}:
            return entry
        dtype, shape = entry["array"]
        if dtype not in _DTYPES:
            raise ValueError(f"an array has dtype {dtype!r}")
        found = np.frombuffer(content, dtype, math.prod(shape), at).reshape(shape)
        at += found.nbytes
        return found.astype(found.dtype.newbyteorder("="))

    fields = {key: value(entry) for key, entry in header["fit"].items()}
    state = RunState(**{key: value(entry) for key, entry in header["state"].items()})
    state = state._replace(data=Fingerprint(dict(state.data)))
    if at != len(content):
        raise ValueError(f"{len(content) - at} bytes are left over")
    if fields["classes"] is not None:
        fields["classes"] = tuple(fields["classes"])
    _require_shapes(fields, state)
    return {**fields, "_state": state}


def _require_shapes(fields: dict[str, Any], state: RunState) -> None:
    """What the rest of the package relies on."""
    d, columns = len(fields["w"]), fields["w"].shape[1:]
    moments = len(fields["loss"])
    dtype = state.weights.dtype
    trained = np.float64 if state.scale.size else dtype
    if len(columns) > 1 or (columns and fields["b"].shape != columns):
        raise ValueError("w and b do not fit together")
    expected = {
        "w": (fields["w"], (d, *columns), trained),
        **{name: (fields[name], (moments,), np.float64) for name in ("loss", "objective", "epochs", "seconds")},
        "samples": (fields["samples"], (moments,), np.int64),
        "weights": (state.weights, (4, d + 1, *columns), dtype),
        "best": (state.best, (d + 1, *columns), dtype),
        "counts": (state.counts, (2,), np.int64),
        "history": (state.history, (len(state.history), 5), np.float64),
        "lrs": (state.lrs, (len(state.lrs),), np.float64),
        "scale": (state.scale, (2, d if state.scale.size else 0), np.float64),
    }
    for name, (array, shape, wanted) in expected.items():
        if array.shape != shape or array.dtype != wanted:
            raise ValueError(f"{name} is {array.shape} {array.dtype}, not {shape} {np.dtype(wanted)}")
    is_sound = str(dtype) in ("float32", "float64") and moments and len(state.lrs)
    is_sound = is_sound and (len(state.history) or state.samples == 0)
    if not is_sound or not 0 <= state.counts[0] <= state.counts[1] or not fields["settings"].keys() >= _NEEDED:
        raise ValueError("its parts do not fit together")
