"""The page's words: ``words.toml`` holds each sentence in both languages, one below the other.

A text may name values in braces, ``{ratio}``; both languages must name the same ones.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from numbasgd import check

LANGUAGES = ("en", "zh")


@functools.cache
def every_word() -> Mapping[str, Mapping[str, str]]:
    """Each key with its text in each language; the keys are ``table.name`` of the file."""
    tables = tomllib.loads(files(__package__).joinpath("words.toml").read_text(encoding="utf-8"))
    return {f"{table}.{name}": texts for table, named in tables.items() for name, texts in named.items()}


class Words:
    """The words of one language.

    Raises
    ------
    ValueError
        For a language that the page is not written in.
    """

    def __init__(self, lang: str) -> None:
        self.lang = check.choice(lang, "lang", LANGUAGES)

    def __call__(self, key: str, **values: Any) -> str:
        """The text of ``key`` with ``values`` in the places of their names."""
        return every_word()[key][self.lang].format(**values)

    def has(self, key: str) -> bool:
        """Whether there is such a text."""
        return key in every_word()

    def listed(self, names: list[str]) -> str:
        """Names one after the other, with the language's comma."""
        return ("、" if self.lang == "zh" else ", ").join(names)
