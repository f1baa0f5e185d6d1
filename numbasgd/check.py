"""Checks of arrays, numbers, flags and names that users pass: what kernels can trust comes out, or an error.

What several functions take is checked here; what only one takes is checked beside that function.  Every
message names the argument, says what it was, what was expected and what to do.  What comes out of
here is what kernels trust: NumPy arrays of float32 or float64 in native byte order, aligned, writeable
as far as Numba's types are concerned, and plain Python numbers.
"""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import numpy as np

MOST = 2**63 - 1  # the largest integer that a kernel takes
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_TEXT = (str, bytes)
_MISSING = ("NoneType", "NAType", "NaTType")
_NO_OTHERS: Mapping[str, str] = MappingProxyType({})


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
    if found.dtype.kind == "O":  # a DataFrame with mixed columns, Python integers beyond 64 bits, ...
        return _numbers(value, found, name, _dimensions(ndim))
    return _converted(found, float_dtype(found.dtype, name))


def float_dtype(dtype: np.dtype, name: str) -> np.dtype:
    """What numbers of ``dtype`` are converted to: float32 for float16 and float32, else float64.

    Raises
    ------
    TypeError
        If they are no numbers, or of more bits.
    """
    if dtype.kind in "iub":
        return FLOATS[1]
    if dtype.kind == "f" and dtype.itemsize <= 8:
        return FLOATS[dtype.itemsize == 8]
    hint = {
        "c": f"Take its real part ({name}.real) if that is what is meant.",
        "f": f"Convert it with {name}.astype('float64'), which rounds.",
        "U": "Convert the text to numbers first.",
        "S": "Convert the text to numbers first.",
    }.get(dtype.kind, f"Convert it with {name}.astype('float64') if its entries are numbers.")
    raise TypeError(f"{name} has dtype {dtype}; expected float32 or float64 (or integers). {hint}")


def _numbers(value: Any, found: np.ndarray, name: str, expected: str) -> np.ndarray:
    """``found``, an array of objects made of ``value``, in float64; else the first entry that is no number.

    Text is refused even where it spells a number, as it is in arrays of text.  NaN is a number.
    """
    kinds = {type(entry) for entry in found.flat}
    if not any(issubclass(kind, _TEXT) or kind.__name__ in _MISSING for kind in kinds):
        with suppress(TypeError, ValueError, OverflowError):
            return _converted(found, np.float64)
    for index, entry in np.ndenumerate(found):
        if (advice := _why_not(entry)) is not None:
            raise TypeError(
                f"{name} holds {show(entry)} at {_place(value, index)}; expected {expected} of float32 or "
                f"float64. {advice}"
            )
    raise TypeError(
        f"{name} holds Python objects that are no plain numbers ({show(found.flat[0])}, ...); expected "
        f"{expected} of float32 or float64. Convert it with {name}.astype('float64')."
    )


def _why_not(entry: Any) -> str | None:
    """What to do about an entry that is no number; None for a number."""
    if isinstance(entry, _TEXT):
        return "Convert text to numbers, or leave such columns out, first."
    if type(entry).__name__ in _MISSING:
        return "Drop such rows, or fill them, first."
    try:
        float(entry)
    except OverflowError:
        return "Scale such numbers down first; float64 ends at 1.8e308."
    except (TypeError, ValueError):
        return "Select the numeric columns, or convert what they hold to numbers, first."
    return None


def _place(value: Any, index: tuple[int, ...]) -> str:
    """Row and column of an entry; the labels of a DataFrame or a Series stand beside."""
    parts = []
    for axis, (what, labels) in enumerate((("row", "index"), ("column", "columns"))):
        if axis >= len(index):
            break
        i = index[axis]
        found = getattr(value, labels, None)
        label = i if found is None or callable(found) else found[i]
        label = label.item() if isinstance(label, np.generic) else label
        is_number = isinstance(label, int) and label == i
        parts.append(f"{what} {i}" + ("" if is_number else f" ({label!r})"))
    return ", ".join(parts)


def same_dtype(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """The arrays in the dtype that NumPy would compute with: float64 as soon as one of them is."""
    if len({a.dtype for a in arrays}) == 1:
        return arrays
    return tuple(_converted(a, np.float64) for a in arrays)


def _converted(a: np.ndarray, dtype: np.dtype | type[np.floating]) -> np.ndarray:
    """``a`` in another dtype, in C order where that takes a copy; ``a`` itself if it has the dtype."""
    return a if a.dtype == dtype else a.astype(dtype, order="C")


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
        raise TypeError(f"{name} is {show(value)}; expected {expected}. {hint}") from None
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
        raise TypeError(f"{name} is {show(value)}; expected {expected}. {hint}") from None
    except OverflowError:  # an integer beyond the largest float
        raise ValueError(f"{name} is {show(value)}; expected {expected}. {hint}") from None
    if not math.isfinite(number) or (positive and number <= 0):
        raise ValueError(f"{name} is {number}; expected {expected}. {hint}")
    return number


def flag(value: Any, name: str) -> bool:
    """``value`` as True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {show(value)}; expected True or False. Pass one of them.")
    return bool(value)


def threads(value: Any) -> int:
    """``value`` as a number of threads from 1 to 64."""
    expected = "expected a whole number from 1 to 64, or None for as many as pay. Pass 1 for a single thread."
    if isinstance(value, bool | np.bool_) or not hasattr(value, "__index__"):
        raise TypeError(f"threads is {show(value)}; {expected}")
    number = operator.index(value)
    if not 1 <= number <= 64:
        raise ValueError(f"threads is {number}; {expected}")
    return number


def choice(value: Any, name: str, choices: Collection[str], others: Mapping[str, str] = _NO_OTHERS) -> str:
    """``value`` if it is one of ``choices``, else an error that suggests the nearest.

    others : what to do, by names that other packages have for it, in small letters with underscores.
    """
    if isinstance(value, str) and value in choices:
        return value
    choices = list(choices)
    listed = ", ".join(repr(c) for c in choices)
    plain = str(value).strip().lower().replace("-", "_").replace(" ", "_")
    near = difflib.get_close_matches(plain, choices, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else " Pass one of these names."
    if plain in choices or plain in others:
        hint = f" {others.get(plain, f'Pass {name}={plain!r}.')}"
    if not isinstance(value, str):
        raise TypeError(f"{name} is {show(value)}; expected one of {listed}.{hint}")
    raise ValueError(f"{name} is {value!r}; expected one of {listed}.{hint}")


def finite(
    a: np.ndarray,
    name: str,
    columns: Sequence[Any] | None = None,
    *,
    before: str = "training",
    first: int | None = None,
) -> None:
    """Raise for a NaN or an infinity, naming the first one's row and column.

    columns : their names, if they have some.  before : what finite numbers are needed for.  first : the number
    of the first row, where these are some rows of more.
    """
    # A sum over rows is finite unless an entry is not, or the sum overflows; only then is it looked for.
    with np.errstate(over="ignore", invalid="ignore"):
        if a.size == 0 or math.isfinite(float(a.sum(dtype=np.float64))):
            return
    bad = np.argwhere(~np.isfinite(a))
    if len(bad) == 0:
        return
    where = f"row {bad[0][0] + (first or 0)}"
    if a.ndim == 2:
        j = int(bad[0][1])
        where += f", column {j}" + ("" if columns is None or columns[j] == j else f" ({columns[j]!r})")
    others = f" ({len(bad) - 1} more like it)" if len(bad) > 1 and first is None else ""
    raise ValueError(
        f"{name} holds {a[tuple(bad[0])]} at {where}{others}; expected finite numbers. "
        f"Drop such rows or fill them before {before}."
    )


def show(value: Any) -> str:
    """A value for a message, with its type and not too long."""
    text = digits(value) if type(value) is int else repr(value)
    text = text if len(text) <= 40 else text[:37] + "..."
    return f"{text} ({type(value).__name__})"


def digits(number: int) -> str:
    """An integer for a message.  Python refuses to write very long ones, and nobody reads them."""
    if abs(number) < 10**38:
        return str(number)
    return f"{'-' * (number < 0)}10^{round(abs(number).bit_length() * math.log10(2))} (about)"
