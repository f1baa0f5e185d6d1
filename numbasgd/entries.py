"""Arrays of Python objects, as DataFrames of mixed columns give them: numbers, or which entry is none."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import numpy as np

_TEXT = (str, bytes)
_MISSING = ("NoneType", "NAType", "NaTType")


def numbers(value: Any, found: np.ndarray, name: str, expected: str) -> np.ndarray:
    """``found``, an array of objects made of ``value``, in float64; else the first entry that is no number.

    Text is refused even where it spells a number, as it is in arrays of text.  NaN is a number.
    """
    kinds = {type(entry) for entry in found.flat}
    if not any(issubclass(kind, _TEXT) or kind.__name__ in _MISSING for kind in kinds):
        with suppress(TypeError, ValueError, OverflowError):
            return found.astype(np.float64)
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
