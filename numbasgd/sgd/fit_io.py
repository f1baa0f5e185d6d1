"""The file of a ``Fit``: one line of JSON, the bytes of the arrays, a checksum; nothing in it is executed.

    numbasgd fit 4                       what it is, and the version of the format
    {"fit": {...}, "state": {...}}       all values; an array is {"array": [dtype, shape]}
    ...                                  the entries of these arrays, one array after the other, in that order
    32 bytes                             SHA-256 of all that comes before

Everything is kept bit for bit: arrays as they are, in little-endian order, and numbers as Python's JSON writes
them, which reads them back as the same float.  What a header may hold is in ``fit_schema.py`` and
``fit_consistency.py``.
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
from numbasgd.part_files import part_of, remove_dead_parts
from numbasgd.paths import write_whole
from numbasgd.sgd.config import NEWER
from numbasgd.sgd.fingerprint import Fingerprint
from numbasgd.sgd.fit_consistency import require_sound
from numbasgd.sgd.state import RunState

T = TypeVar("T")

FORMAT = b"numbasgd fit "
# Raised when a reader of before would misread a file: 2 has weights of K outputs, 3 the setting "quantile", 4
# schedules, runs whose number of epochs is left out, why the run has ended and times.
VERSION = 4
_DTYPES = ("<f4", "<f8", "<i8")
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
    """Raise ``FitFileError`` if no file could be written there: better now than after the training.

    What killed processes left of this file is removed.
    """
    remove_dead_parts(path)
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
    content = b"".join([FORMAT, b"%d\n" % VERSION, json.dumps(header).encode(), b"\n", *arrays])
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
        return make(**_fields(content[:-_DIGEST], int(version)))
    except Exception as error:  # the checksum fits, so somebody has made it like this
        what = f"{error}" if type(error) is ValueError else f"{type(error).__name__}: {error}"
        raise FitFileError(f"{shown} is damaged ({what}); {wanted}, unchanged. Use another copy.") from error


def _stopped(fields: dict[str, Any], state: RunState) -> str:
    """Why the run of a file from before it was told has ended."""
    if state.is_over is True:
        return "converged" if fields["validation_loss"] is None else "validation"
    is_done = state.samples >= fields["settings"]["epochs"] * fields["n"]
    return "epochs" if is_done else "unfinished"


def _fields(content: bytes, version: int) -> dict[str, Any]:
    _, line, _ = content.split(b"\n", 2)
    header = json.loads(line)
    at = content.index(b"\n", len(FORMAT)) + len(line) + 2

    def value(entry: Any) -> Any:
        nonlocal at
        if not isinstance(entry, dict) or entry.keys() != {"array"}:
            return entry
        dtype, shape = entry["array"]
        if dtype not in _DTYPES or not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError(f"an array has dtype {dtype!r} and shape {shape!r}")
        found = np.frombuffer(content, dtype, math.prod(shape), at).reshape(shape)
        at += found.nbytes
        return found.astype(found.dtype.newbyteorder("="))

    if header.keys() != {"fit", "state"}:
        raise ValueError("its header has other parts than fit and state")
    fields = {key: value(entry) for key, entry in header["fit"].items()}
    state = RunState(**{key: value(entry) for key, entry in header["state"].items()})
    if at != len(content):
        raise ValueError(f"{len(content) - at} bytes are left over")
    fields.setdefault("feature_names", None)  # files from before there were names
    fields.setdefault("batch_size_because", "given")  # and from before it was chosen
    fields.setdefault("noise_track", None)
    for name in ("classes", "feature_names"):
        if type(fields[name]) is list:
            fields[name] = tuple(fields[name])
    if type(fields["settings"]) is dict:
        fields["settings"] = {**NEWER, "validation_data": False, **fields["settings"]}
        # Files from before there was "auto" have the sampling that was passed.
        fields["settings"].setdefault("sampling_given", fields["settings"].get("sampling"))
    if version < 4:
        because = "given" if fields["settings"].get("lr_given") != "auto" else "an earlier numbasgd"
        fields = {**fields, "lr_because": because, "stopped": _stopped(fields, state), "times": {}}
    require_sound(fields, state)
    if not 1 <= version <= VERSION or fields["w"].ndim > version:
        raise ValueError(f"weights of shape {fields['w'].shape} in format version {version}")
    return {**fields, "_state": state._replace(data=Fingerprint(dict(state.data)))}
