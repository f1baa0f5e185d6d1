"""How commands speak of their options: messages that name flags, whoever found what is wrong."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from typing import Any, NoReturn

_EXAMPLES = {"an integer": "10", "a number": "0.5"}


class Parser(argparse.ArgumentParser):
    """argparse's, but an option that is no number gets one sentence: what it was, expected, and what to do."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.register("type", int, _number(int, "an integer"))
        self.register("type", float, _number(float, "a number"))

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and exit with 2."""
        found = re.fullmatch(r"argument ([^:]+): (is .*; expected (an? \w+)\.)", message, re.DOTALL)
        if found is None:
            super().error(message)
        flag, told, kind = found.groups()
        print(f"{self.prog}: {flag} {told} Pass for example {flag} {_EXAMPLES[kind]}.", file=sys.stderr)
        sys.exit(2)

    def flags(self) -> dict[str, str]:
        """The name of each keyword argument that has a flag, and the flag."""
        pairs = ((action.dest, action.option_strings) for action in self._actions)
        return {name: flags[-1] for name, flags in pairs if flags}


def _number(kind: Callable[[str], Any], told: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"is {text!r}; expected {told}.") from None

    return parse


def in_flags(message: str, flags: dict[str, str]) -> str:
    """A message of the library in a command's words: ``batch_size is 0`` becomes ``--batch-size is 0``."""
    for name, flag in flags.items():
        message = re.sub(rf"^{name}(?= (is|has|holds) )", flag, message)
        message = re.sub(rf"\b(?<!-){name}=True\b", flag, message)
        message = re.sub(rf"\b(?<!-){name}=([\"']?)([\w+-]+(?:\.[\w+-]+)*)\1", rf"{flag} \2", message)
        message = re.sub(rf"\b(?<!-){name}=(([\"'])[^\"']+\2)", rf"{flag} \1", message)
    return message
