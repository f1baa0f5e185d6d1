"""The file of a ``Fit``: a zip of NumPy's .npy arrays and one ``fit.json``; no pickle, nothing is executed.

Everything is kept bit for bit: arrays as NumPy writes them, numbers as Python's JSON writes them, which reads
them back as the same float.  Each member carries zip's checksum, and ``fit.json`` names every array.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from numbasgd.errors import FitFileError
from numbasgd.paths import part_of, write_whole
from numbasgd.sgd.state import State

T = TypeVar("T")

FORMAT = "numbasgd fit"
VERSION = 1  # raised when a reader of before would misread a file
_HEADER = "fit.json"


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
    header: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for part, values in (("fit", fields), ("state", fields["_state"]._asdict())):
            header[part] = {}
            for key, value in values.items():
                if isinstance(value, np.ndarray):
                    array = io.BytesIO()
                    np.lib.format.write_array(array, value, allow_pickle=False)
                    archive.writestr(f"{part}.{key}.npy", array.getvalue())
                    value = {"array": f"{part}.{key}.npy"}
                elif isinstance(value, Mapping):
                    value = dict(value)
                if key != "_state":
                    header[part][key] = value
        archive.writestr(_HEADER, json.dumps(header, indent=1))
    try:
        write_whole(path, file.getvalue(), is_durable=is_durable)
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
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FitFileError(
            f"{shown} cannot be read ({error.strerror or error}); expected a file written by Fit.save or as a "
            "checkpoint. Check the path."
        ) from error
    if not content.startswith(b"PK"):
        what = "is empty" if not content else "is not the file of a numbasgd fit"
        raise FitFileError(
            f"{shown} {what}; expected one written by Fit.save or as a checkpoint. Check the path."
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {member: archive.read(member) for member in archive.namelist()}  # checks the checksums
    except Exception as error:  # whatever a damaged zip file makes of its reader
        raise _damaged(shown, error) from error
    try:
        header = json.loads(members[_HEADER])
        is_ours = header["format"] == FORMAT
        version = header["version"]
    except (KeyError, TypeError, ValueError):
        is_ours = False
    if not is_ours:
        raise FitFileError(
            f"{shown} is a zip file but not that of a numbasgd fit; expected one written by Fit.save or as a "
            "checkpoint. Check the path."
        )
    if not isinstance(version, int) or version > VERSION:
        raise FitFileError(
            f"{shown} has format version {version}; expected {VERSION} or less. It was written by a newer "
            "numbasgd: update this one."
        )
    try:
        return make(**_fields(header, members))
    except Exception as error:  # checksums fit, so somebody has changed it
        raise _damaged(shown, error) from error


def _damaged(shown: str, error: Exception) -> FitFileError:
    return FitFileError(
        f"{shown} is truncated or damaged ({type(error).__name__}: {error}); expected a whole file written by "
        "Fit.save or as a checkpoint. Use another copy."
    )


def _fields(header: dict[str, Any], members: dict[str, bytes]) -> dict[str, Any]:
    def value(entry: Any) -> Any:
        if not isinstance(entry, dict) or entry.keys() != {"array"}:
            return entry
        return np.lib.format.read_array(io.BytesIO(members[entry["array"]]), allow_pickle=False)

    fields = {key: value(entry) for key, entry in header["fit"].items()}
    state = State(**{key: value(entry) for key, entry in header["state"].items()})
    if fields["classes"] is not None:
        fields["classes"] = tuple(fields["classes"])
    _require_shapes(fields, state)
    return {**fields, "_state": state}


def _require_shapes(fields: dict[str, Any], state: State) -> None:
    """What the rest of the package relies on."""
    d = len(fields["w"])
    moments = len(fields["loss"])
    dtype = state.weights.dtype
    expected = {
        "w": (fields["w"], (d,), np.float64 if state.scale.size else dtype),
        **{name: (fields[name], (moments,), np.float64) for name in ("loss", "objective", "epochs", "seconds")},
        "samples": (fields["samples"], (moments,), np.int64),
        "weights": (state.weights, (4, d + 1), dtype),
        "best": (state.best, (d + 1,), dtype),
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
    if not is_sound or not 0 <= state.counts[0] <= state.counts[1] or not isinstance(fields["settings"], dict):
        raise ValueError("its parts do not fit together")
