"""Columns as a user names them, and those that are meant."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Sequence
from typing import Any

from numbasgd import check
from numbasgd.data.cells import quoted, shown

_LISTED = 20  # columns that a message lists all of
_NEAREST = 5


def position(value: Any, argument: str, names: Sequence[str]) -> int:
    """The position of the column that ``value`` names or counts.

    names : of all columns, made up for those without.  Text that is no column's name but a whole number is a
    position.

    Raises
    ------
    TypeError, ValueError
        If there is no such column; of many columns, the nearest are listed.
    """
    if isinstance(value, str):
        if names.count(value) > 1:
            raise ValueError(
                f"{argument} is {value!r}, the name of {names.count(value)} columns; expected one. "
                f"Give its position from 0 to {len(names) - 1}."
            )
        if value in names:
            return names.index(value)
        try:
            value = int(value)
        except ValueError:
            raise ValueError(_unknown(value, argument, names)) from None
    hint = f"Or give a name. The columns are {_listed(names)}."
    found = check.integer(value, argument, low=-len(names), high=len(names) - 1, hint=hint)
    return operator.index(range(len(names))[found])


def _unknown(value: str, argument: str, names: Sequence[str]) -> str:
    near = nearest(value, names)
    if len(names) <= _LISTED:
        expected = f"one of {', '.join(quoted(name) for name in names)}"
        hint = f" Did you mean {quoted(near[0])}?" if near else " Pass one of these names."
    else:
        expected = f"the name of one of the {len(names)} columns"
        hint = f" The nearest are {', '.join(quoted(name) for name in near)}." if near else ""
        hint = hint or f" They begin with {', '.join(quoted(name) for name in names[:_NEAREST])}."
    return f"{argument} is {quoted(value)}; expected {expected}.{hint}"


def nearest(value: str, names: Sequence[str]) -> list[str]:
    """The names that are most like ``value``, best first; capitals and spaces do not count."""
    plain = "".join(value.split()).lower()[:200]
    by_plain: dict[str, str] = {}
    for name in names:
        by_plain.setdefault("".join(name.split()).lower()[:200], name)
    found = difflib.get_close_matches(plain, by_plain, n=_NEAREST, cutoff=0.5)
    longer = [each for each in by_plain if plain and plain in each and each not in found]
    return [by_plain[each] for each in (*found, *longer)][:_NEAREST]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(shown, names[:_LISTED])) + (", ..." if len(names) > _LISTED else "")
