"""Columns as a user names them, and those that are meant."""

from __future__ import annotations

import difflib
import operator
from collections import Counter
from collections.abc import Sequence
from typing import Any

from numbasgd import check
from numbasgd.data.cells import quoted, shown
from numbasgd.errors import DataError

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


def targets_of(file: Any, target: Any, names: list[str], dropped: set[int]) -> list[int]:
    """The positions of the targets."""
    if target is None:
        return []
    if len(names) < 2:
        raise DataError(
            f"{file} has {len(names)} column(s); expected at least 2, a feature and the target. For text, "
            "put commas, semicolons, tabs or spaces between the cells."
        )
    targets = [position(each, "target", names) for each in (target if isinstance(target, list) else [target])]
    if len(set(targets)) < len(targets):
        raise ValueError(
            f"target is {target!r}, which names a column twice; expected each once. Leave one out."
        )
    if len(targets) >= len(names):
        raise ValueError(
            f"target is {target!r}, all {len(names)} columns; expected at least one feature. Leave one out."
        )
    both = next((j for j in targets if j in dropped), None)
    if both is not None:
        raise ValueError(f"drop holds the target {quoted(names[both])}; expected other columns. Keep that one.")
    return targets


def matching(
    file: Any,
    features: Sequence[str] | int,
    names: list[str],
    notes: list[str],
    dropped: set[int],
    *,
    is_named: bool,
) -> list[int]:
    """The positions of the columns that a fit was made on, by their names if both have some."""
    left = [j for j in range(len(names)) if j not in dropped]
    if isinstance(features, int) or not is_named:
        d = features if isinstance(features, int) else len(features)
        if len(left) != d:
            raise ValueError(
                f"{file} has {len(left)} columns and the fit was made on {d}; expected as many, in the same "
                f"order. Leave the others out, such as the target: drop={left[-1] if left else 0}."
            )
        if not isinstance(features, int):
            notes.append(
                f"{file} has no names of columns; they are taken by position, as {shown(features[0])}, ..."
            )
        return left
    if list(features) == [names[j] for j in left]:
        return left
    names = [name if j not in dropped else "" for j, name in enumerate(names)]  # a feature has a name
    counts = Counter(names)
    place = {name: j for j, name in enumerate(names)}
    missing = [name for name in features if name not in place]
    if missing:
        near = nearest(missing[0], names)
        hint = f" The nearest is {quoted(near[0])}." if near else ""
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(
            f"{file} has no column {quoted(missing[0])}{more}; expected the {len(features)} columns that the "
            f"fit was made on.{hint} Rename the columns, or pass the file that has them."
        )
    twice = next((name for name in features if counts[name] > 1), None)
    if twice is not None:
        raise ValueError(
            f"{file} has {counts[twice]} columns {quoted(twice)}; expected one. Rename the others."
        )
    known = set(features)
    others = [name for name in names if name and name not in known]
    if others:
        told = ", ".join(map(shown, others[:5])) + (", ..." if len(others) > 5 else "")
        notes.append(f"{file}: {len(others)} column(s) that the fit does not know are left out: {told}.")
    return [place[name] for name in features]
