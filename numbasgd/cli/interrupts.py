"""Ctrl-C while the command ``numbasgd`` is still importing: one line, like later on, and no traceback."""

from __future__ import annotations

import os
import sys
from types import TracebackType

_NAMES = ("numbasgd", "numbasgd-script")  # of the installed command; the second one on Windows


def is_command() -> bool:
    """Whether this process is ``numbasgd`` or ``python -m numbasgd``, and no other program that imports it."""
    program = os.path.splitext(os.path.basename((getattr(sys, "argv", None) or [""])[0]))[0]
    words = getattr(sys, "orig_argv", [])
    return program in _NAMES or ("-m", "numbasgd") in zip(words, words[1:], strict=False)


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("numbasgd: interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if is_command() and sys.excepthook is sys.__excepthook__:
    sys.excepthook = _show
