"""HTML elements from values that are not trusted: all text is escaped unless this module made it."""

from __future__ import annotations

from typing import Any

from numbasgd.render.escapes import for_html

_VOID = ("input", "meta")  # elements that have no end


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, *inside: Any, **attributes: Any) -> Markup:
    """An element; its content is escaped, except what ``tag`` itself made.

    A None inside is nothing, and so is an attribute of None.  ``class_`` is written ``class``, ``aria_label``
    is written ``aria-label``.

    >>> tag("td", "a < b", class_="x")
    '<td class="x">a &lt; b</td>'
    """
    named = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{named}>" if name in _VOID else f"<{name}{named}>{join(*inside)}</{name}>")


def join(*parts: Any) -> Markup:
    """The parts one after the other."""
    return Markup(
        "".join(part if isinstance(part, Markup) else escape(part) for part in parts if part is not None)
    )


def escape(value: Any) -> str:
    """Any value as text that is nothing but text, in an element or in an attribute."""
    return for_html(str(value))
