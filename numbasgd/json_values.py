"""Values of a parsed JSON file whose types are not known, so that no file can cause a traceback.

Each function gives the value where it is of the wanted type, and an empty one or None where it is not.  Text
enters the program here, so it is made printable here: whatever is done with it later, no control character of
a file reaches a terminal.
"""

from __future__ import annotations

import math
from typing import Any


def mapping(value: Any) -> dict[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def text(value: Any) -> str | None:
    """The value, printable, if it is a text with something in it."""
    return printable(value) if isinstance(value, str) and value else None


def printable(value: str) -> str:
    r"""``value`` in one line, with what a terminal would obey, or not show, spelled out.

    >>> printable("a\x1b[31m"), printable("a\u202eb")
    ('a\\x1b[31m', 'a\\u202eb')
    """
    if value.isprintable():
        return value
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)


def all_printable(value: Any) -> Any:
    """The value with every text in it printable, keys included."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(key): all_printable(item) for key, item in value.items()}
    return [all_printable(item) for item in value] if isinstance(value, list) else value


def number(value: Any) -> float | None:
    """The value if it is a finite number and no bool."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None
