"""Text that comes from a file, made harmless for each place where it is shown.

On its way in, ``numbasgd.json_values`` takes out what a terminal would obey.  On its way out, each place has
its own signs that mean something: those are escaped here, and nowhere else.
"""

from __future__ import annotations

import html
import re

from numbasgd.json_values import printable

# Signs that Markdown, or GitHub's, gives a meaning.  Brackets mean something before one of ( [ : and
# underscores at the edge of a word, so the usual names of tests stay as they are.
_MARKDOWN = re.compile(r"[\\`*|~$]|\](?=[(\[:])|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;", "#": "&#35;"})
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four are their wide forms


class Markdown(str):
    """Text that is Markdown already."""

    __slots__ = ()


def for_html(text: str) -> str:
    """Text in an element or in an attribute."""
    return html.escape(printable(text), quote=True)


def for_markdown(text: str) -> str:
    """Text in a paragraph or in a cell: no element, link, mention, code or mathematics; ``Markdown`` stays."""
    if isinstance(text, Markdown):
        return text
    return _MARKDOWN.sub(r"\\\g<0>", printable(text)).translate(_ENTITIES)


def code(text: str) -> Markdown:
    """Text between backticks, in a cell too."""
    return Markdown("`" + printable(text).replace("`", "'").replace("|", r"\|") + "`")


def for_csv(text: str) -> str:
    """Text in a cell that no spreadsheet takes for a formula."""
    text = printable(text)
    return "'" + text if text.startswith(_FORMULA) else text


def for_picture(text: str) -> str:
    """Text in a picture: no mathematics between dollar signs."""
    return printable(text).replace("$", r"\$")


def for_github(text: str) -> str:
    """Text in the message of a workflow command of GitHub Actions; a property would need more.

    https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
    """
    return printable(text).replace("%", "%25")
