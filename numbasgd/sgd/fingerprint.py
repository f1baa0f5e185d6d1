"""How the data of a run is recognized: shape, dtype and a hash of rows and columns of each array."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from numbasgd.sgd.csr import Csr

name_of = functools.cache(str)  # of a dtype, which NumPy puts together anew each time
_SAMPLED = 1000  # rows, and columns, that are hashed
#: The arrays of a run in whose data rows may be passed to be held out.
ARRAYS = ("X", "y", "sample_weight", "validation_X", "validation_y", "validation_sample_weight")
_KEPT = 1 << 16  # bytes of data that a fit may hold on to


class Fingerprint(Mapping[str, dict[str, Any]]):
    """What tells data from other data: shape, dtype and a hash of up to 1000 evenly spaced rows and columns.

    Small arrays are copied, since the caller may change them later, and hashed when somebody looks, which for
    most fits nobody does.
    """

    def __init__(self, known: dict[str, dict[str, Any]], **arrays: np.ndarray | Csr) -> None:
        """``known`` : what was found before, of whatever is not in ``arrays``."""
        self._known = known
        self._arrays = arrays
        if sum([a.nbytes for a in arrays.values()]) > _KEPT:
            self._resolved()
        else:
            self._arrays = {name: a.copy() for name, a in arrays.items()}

    def _resolved(self) -> dict[str, dict[str, Any]]:
        arrays = self._arrays
        if arrays:
            # Before the copies go, so that another thread always finds one or the other.
            self._known = {**self._known, **{name: _of(a) for name, a in arrays.items()}}
            self._arrays = {}
        return self._known

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self._resolved()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._resolved())

    def __len__(self) -> int:
        return len(self._resolved())

    def __reduce__(self) -> tuple[Any, ...]:
        return Fingerprint, (self._resolved(),)


def _of(a: np.ndarray | Csr) -> dict[str, Any]:
    if isinstance(a, Csr):
        return {"shape": list(a.shape), "dtype": name_of(a.dtype), "sha256": a.digest()}
    even = tuple(slice(None, None, -(-size // _SAMPLED) or 1) for size in a.shape)
    digest = hashlib.sha256(a[even].tobytes())
    digest.update(a[-1:, *even[1:]].tobytes())
    return {"shape": list(a.shape), "dtype": name_of(a.dtype), "sha256": digest.hexdigest()}


def even_rows(shape: tuple[int, ...]) -> Iterator[tuple[int, slice]]:
    """(row, which of its columns) of all that is hashed of an array of this shape, in that order."""
    step, *columns = (-(-size // _SAMPLED) or 1 for size in shape)
    some = slice(None, None, columns[0] if columns else None)
    for i in range(0, shape[0], step):
        yield i, some
    if shape[0]:
        yield shape[0] - 1, some


def require_same_data(found: Mapping[str, Any], known: Mapping[str, Any], source: str) -> None:
    """Raise ``ValueError`` if the data is not what the saved run was trained on, and say what differs.

    source : where the found data came from, as in ``Fit.data``.
    """
    advice = "Pass the X, y, sample_weight and validation_data that the run was started with."
    if source != "arrays":
        advice = f"X and y were left out, which means the {source}. {advice}"
    for name in ARRAYS:
        new, old = found.get(name), known.get(name)
        name = name.replace("validation_", "validation_data's ")
        if new == old:
            continue
        if new is None or old is None:
            was, now = ("without", "with") if old is None else ("with", "without")
            raise ValueError(
                f"{name} differs: the run to resume was made {was} {name}, this call is {now}; expected the "
                f"same data. {advice}"
            )
        for what in ("shape", "dtype"):
            if new[what] != old[what]:
                raise ValueError(
                    f"{name} has {what} {new[what]}, the run to resume was made with {what} {old[what]}; "
                    f"expected the same data. {advice}"
                )
        raise ValueError(
            f"{name} holds other numbers than the run to resume was made with (a sample of its rows differs); "
            f"expected the same data in the same order. {advice}"
        )
