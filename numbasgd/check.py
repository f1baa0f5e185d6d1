"""User input -> canonical arrays and numbers.  The one place that raises for what a user passed.

Every message names the argument, says what it was, what was expected and what to do.  What comes out of
here is what kernels trust: NumPy arrays of float32 or float64 in native byte order, aligned, writeable
as far as Numba's types are concerned, and plain Python numbers.
"""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Collection
from typing import Any

import numpy as np

from numbasgd.entries import digits, numbers
from numbasgd.entries import show as _show

MOST = 2**63 - 1  # the largest integer that a kernel takes
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def array(value: Any, name: str, ndim: int) -> np.ndarray:
    """``value`` as an array of ``ndim`` dimensions of float32 or float64, without a copy where it is one.

    Lists, DataFrames and anything else with ``__array__`` are converted as NumPy would; integers and
    booleans become float64, float16 becomes float32.
    """
    if type(value) is np.ndarray and value.ndim == ndim and value.dtype in FLOATS and value.flags.aligned:
        return value
    if value is None:
        raise TypeError(f"{name} is None; expected {_dimensions(ndim)} of numbers. Pass {name}.")
    if np.ma.is_masked(value):
        raise ValueError(
            f"{name} is a masked array with {np.ma.count_masked(value)} masked entries; expected plain "
            f"numbers. Fill them first, for example with {name}.filled(0.0), or drop their rows."
        )
    if hasattr(value, "tocsr"):
        raise TypeError(
            f"{name} is a sparse matrix ({type(value).__name__}); expected a dense array. "
            f"Convert it with {name}.toarray() if it fits in memory."
        )
    try:
        result = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{name} is a {type(value).__name__} that NumPy cannot make an array of ({error}); expected "
            f"{_dimensions(ndim)} of numbers. Give every row the same length."
        ) from error
    result = _as_float(value, result, name, ndim)
    if result.ndim != ndim:
        raise ValueError(
            f"{name} has {result.ndim} dimension{'s' * (result.ndim != 1)}, shape {result.shape}; expected "
            f"{_dimensions(ndim)}. {reshape_hint(value, result, name, ndim)}"
        )
    return np.require(result, requirements="A")


def _dimensions(ndim: int) -> str:
    return {0: "one number", 1: "a 1-D array", 2: "a 2-D array"}[ndim]


def reshape_hint(value: Any, found: np.ndarray, name: str, ndim: int) -> str:
    """How to get ``ndim`` dimensions out of a value that NumPy reads as ``found``."""
    given = name if hasattr(value, "reshape") else f"np.asarray({name})"  # lists and DataFrames
    if ndim == 2 and found.ndim == 1:
        return f"Use {given}.reshape(-1, 1) for one column or {given}.reshape(1, -1) for one row."
    if ndim == 1 and found.ndim == 2 and 1 in found.shape:
        return f"Use {name}.iloc[:, 0]." if hasattr(value, "iloc") else f"Use {given}.ravel()."
    return "Select or reshape what is meant."


def _as_float(value: Any, found: np.ndarray, name: str, ndim: int) -> np.ndarray:
    if found.dtype.kind in "fiub":
        if found.dtype.kind != "f":
            return found.astype(np.float64)
        if found.dtype.itemsize <= 4:
            return found.astype(np.float32, copy=False)
        if found.dtype.itemsize == 8:
            return found.astype(np.float64, copy=False)
    if found.dtype.kind == "O":  # a DataFrame with mixed columns, Python integers beyond 64 bits, ...
        return numbers(value, found, name, _dimensions(ndim))
    hint = {
        "c": f"Take its real part ({name}.real) if that is what is meant.",
        "f": f"Convert it with {name}.astype('float64'), which rounds.",
        "U": "Convert the text to numbers first.",
        "S": "Convert the text to numbers first.",
    }.get(found.dtype.kind, f"Convert it with {name}.astype('float64') if its entries are numbers.")
    raise TypeError(f"{name} has dtype {found.dtype}; expected float32 or float64 (or integers). {hint}")


def same_dtype(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """The arrays in the dtype that NumPy would compute with: float64 as soon as one of them is."""
    if len({a.dtype for a in arrays}) == 1:
        return arrays
    return tuple(a.astype(np.float64, copy=False) for a in arrays)


def for_kernel(a: np.ndarray) -> np.ndarray:
    """C-ordered, and not marked read-only; for arrays that a kernel only reads.

    Numba compiles anew for a read-only array and for every memory order.  A copy is made only when the
    order is another; a read-only array is looked at through a view that does not say so.
    """
    a = np.ascontiguousarray(a)
    return a if a.flags.writeable else np.asarray(_Writeable(a))


class _Writeable:
    """The same memory without the read-only mark, kept alive by the reference to its owner."""

    def __init__(self, owner: np.ndarray) -> None:
        self._owner = owner
        self.__array_interface__ = {
            **owner.__array_interface__,
            "data": (owner.__array_interface__["data"][0], False),
        }


def out(value: Any, name: str, shape: tuple[int, ...], dtype: np.dtype, inputs: dict[str, np.ndarray]) -> None:
    """Check an array that a result is to be written into."""
    if not isinstance(value, np.ndarray):
        raise TypeError(
            f"{name} is a {type(value).__name__}; expected a NumPy array of shape {shape} and dtype {dtype}. "
            f"Make one with np.empty({shape}, np.{dtype})."
        )
    if value.shape != shape:
        raise ValueError(
            f"{name} has shape {value.shape}; expected {shape}, the shape of the result. "
            f"Make it with np.empty({shape}, np.{dtype})."
        )
    if value.dtype != dtype or not value.dtype.isnative:
        raise TypeError(
            f"{name} has dtype {value.dtype!r}; expected {dtype}, the dtype of the result. "
            f"Make it with np.empty({shape}, np.{dtype}), or convert the inputs."
        )
    if not value.flags.writeable:
        raise ValueError(f"{name} is read-only; expected an array to write into. Pass a copy of it.")
    if _overlaps_itself(value):
        raise ValueError(
            f"{name} has strides {value.strides} for shape {shape}, so that some of its entries share memory; "
            f"expected memory of its own for each. Make it with np.empty({shape}, np.{dtype})."
        )
    for other, array_ in inputs.items():
        if np.may_share_memory(value, array_) and _overlap(value, array_):
            raise ValueError(
                f"{name} shares memory with {other}; expected memory of its own, because {other} is still "
                f"read while {name} is written. Pass another array, or leave {name} out."
            )


def _overlaps_itself(a: np.ndarray) -> bool:
    """Whether entries may share memory, as in what np.broadcast_to makes; never so for slices of an array."""
    reach = a.itemsize
    for stride, size in sorted((abs(stride), size) for stride, size in zip(a.strides, a.shape, strict=True)):
        if size > 1 and stride < reach:
            return a.size > 0
        reach += stride * (size - 1)
    return False


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    try:
        return np.shares_memory(a, b, max_work=10_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def integer(value: Any, name: str, *, low: int, high: int | None = None, hint: str) -> int:
    """``value`` as a Python integer from ``low`` to ``high``; a bool or a float is none.

    Kernels count in 64 bits, so that is where "or more" ends.
    """
    if type(value) is int and low <= value <= (MOST if high is None else high):
        return value
    expected = f"an integer of {low} or more" if high is None else f"an integer from {low} to {high}"
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {_show(value)}; expected {expected}. {hint}") from None
    if high is None and number > MOST:
        expected = f"an integer from {low} to {MOST}"
    if not low <= number <= (MOST if high is None else high):
        raise ValueError(f"{name} is {digits(number)}; expected {expected}. {hint}")
    return number


def real(value: Any, name: str, *, positive: bool = False, hint: str) -> float:
    """``value`` as a finite float, above zero where ``positive``."""
    if type(value) is float and (0 if positive else -math.inf) < value < math.inf:
        return value
    expected = "a finite number above 0" if positive else "a finite number"
    try:
        if isinstance(value, str | bytes | bool | np.bool_) or np.ndim(value) != 0:
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {_show(value)}; expected {expected}. {hint}") from None
    except OverflowError:  # an integer beyond the largest float
        raise ValueError(f"{name} is {_show(value)}; expected {expected}. {hint}") from None
    if not math.isfinite(number) or (positive and number <= 0):
        raise ValueError(f"{name} is {number}; expected {expected}. {hint}")
    return number


def flag(value: Any, name: str) -> bool:
    """``value`` as True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {_show(value)}; expected True or False. Pass one of them.")
    return bool(value)


def threads(value: Any) -> int:
    """``value`` as a number of threads from 1 to 64."""
    expected = "expected a whole number from 1 to 64, or None for as many as pay. Pass 1 for a single thread."
    if isinstance(value, bool | np.bool_) or not hasattr(value, "__index__"):
        raise TypeError(f"threads is {_show(value)}; {expected}")
    number = operator.index(value)
    if not 1 <= number <= 64:
        raise ValueError(f"threads is {number}; {expected}")
    return number


def choice(value: Any, name: str, choices: Collection[str]) -> str:
    """``value`` if it is one of ``choices``, else an error that suggests the nearest."""
    if isinstance(value, str) and value in choices:
        return value
    choices = list(choices)
    near = difflib.get_close_matches(str(value).lower(), choices, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else " Pass one of these names."
    listed = ", ".join(repr(c) for c in choices)
    if not isinstance(value, str):
        raise TypeError(f"{name} is {_show(value)}; expected one of {listed}.{hint}")
    raise ValueError(f"{name} is {value!r}; expected one of {listed}.{hint}")


def finite(a: np.ndarray, name: str) -> None:
    """Raise for a NaN or an infinity, naming the first one's row and column."""
    # A sum over rows is finite unless an entry is not, or the sum overflows; only then is it looked for.
    with np.errstate(over="ignore", invalid="ignore"):
        if a.size == 0 or math.isfinite(float(a.sum(dtype=np.float64))):
            return
    bad = np.argwhere(~np.isfinite(a))
    if len(bad) == 0:
        return
    where = f"row {bad[0][0]}" + (f", column {bad[0][1]}" if a.ndim == 2 else "")
    others = f" ({len(bad) - 1} more like it)" if len(bad) > 1 else ""
    raise ValueError(
        f"{name} holds {a[tuple(bad[0])]} at {where}{others}; expected finite numbers. "
        f"Drop such rows or fill them before training."
    )
