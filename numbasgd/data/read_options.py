"""What a user says of a table's file, and which of its columns are wanted."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from numbasgd import check

HEADERS = ("auto", "yes", "no")
MISSING = ("error", "drop", "keep")
_SEPARATORS = {"tab": "\t", "\\t": "\t", "space": None, " ": None}

#: Called now and then while a file is read: how much is done, of how much, and the unit ("bytes" or "rows").
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class ReadOptions:
    r"""How to read a table's file; what is left out is guessed, and told among the notes.

    Parameters
    ----------
    header : "auto", "yes" or "no"
        Whether the first line of text holds the names of the columns.
    delimiter : str, optional
        The sign between two cells of text: one character, "tab" or "space" (any white space).
    decimal : "." or ",", optional
        The decimal sign of numbers in text.
    encoding : str, optional
        Of text: a name that Python knows, such as "utf-8", "cp1252" or "utf-16-le".
    missing : "error", "drop" or "keep"
        What an empty cell, NA, NaN, null and the like is: an error, a reason to leave its row out, or NaN.
    drop : tuple of str or int
        Columns to leave out, by name or by position; they may hold anything.
    """

    header: str = "auto"
    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    missing: str = "error"
    drop: tuple[str | int, ...] = ()

    def __post_init__(self) -> None:
        check.choice(self.header, "header", HEADERS)
        check.choice(self.missing, "missing", MISSING)
        if self.decimal is not None:
            check.choice(self.decimal, "decimal", (".", ","))
        if self.delimiter is not None and self.delimiter not in _SEPARATORS:
            if not isinstance(self.delimiter, str) or len(self.delimiter) != 1 or self.delimiter in '"\r\n':
                raise ValueError(
                    f"delimiter is {self.delimiter!r}; expected one character between two cells, 'tab' or "
                    "'space'. Pass for example ';'."
                )
        if self.separator is not None and self.separator == self.decimal:
            raise ValueError(
                f"delimiter is {self.delimiter!r} and decimal is {self.decimal!r}; expected different signs. "
                "Pass the one that stands between the cells."
            )
        if self.encoding is not None:
            try:
                "".encode(codecs.lookup(self.encoding).name)
            except (LookupError, TypeError, ValueError):
                raise ValueError(
                    f"encoding is {self.encoding!r}; expected the name of an encoding of text. "
                    "Pass for example 'utf-8', 'cp1252' or 'utf-16'."
                ) from None

    @property
    def separator(self) -> str | None:
        """The delimiter as one character; None for white space, or to be guessed."""
        return _SEPARATORS.get(self.delimiter or "", self.delimiter)


class Wanted(NamedTuple):
    """Columns to read, by their positions in the file.

    takes_labels : the only target may hold text, which names classes.
    """

    features: list[int]
    targets: list[int]
    takes_labels: bool
    allows_missing: bool
    progress: Progress | None = None
