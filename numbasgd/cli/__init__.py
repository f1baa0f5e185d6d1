"""The command ``numbasgd``: one module per subcommand, imported when it runs.

A subcommand's module has ``HELP`` (one line), ``add_arguments(parser)`` and ``run(args) -> int``, the exit
code.  Errors that a user can mend reach the terminal as one sentence and exit code 2, never as a traceback.

``import numbasgd`` comes by here, for ``interrupts``, so nothing is imported that only the command needs.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

COMMANDS = (
    *("ladder", "train", "predict", "shard", "batch", "chapter", "noise", "valley", "memory", "roofline"),
    *("compare", "report", "data", "info"),
)
_IMPORTED = perf_counter()  # before Numba, since ``import numbasgd`` comes by here first
BROKEN_PIPE = 141  # as a shell tells of a program that ended by SIGPIPE
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code (0 fine, 2 bad input)."""
    if hasattr(sys.stdout, "reconfigure"):  # a name that the terminal cannot show is no reason to stop
        sys.stdout.reconfigure(errors="backslashreplace")
    is_debug = os.environ.get("NUMBASGD_DEBUG", "0") not in ("", "0")
    prog = "numbasgd"
    try:
        args, prog, flags = _parse(argv)
        return _run(args, prog, flags)
    except KeyboardInterrupt:
        if is_debug:
            raise
        print(f"{prog}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        if is_debug:
            raise
        _give_up_stdout()
        return BROKEN_PIPE
    except MemoryError as error:
        if is_debug:
            raise
        what = str(error).rstrip(".") or "no more is given"
        print(
            f"{prog}: memory does not suffice ({what}). Pass fewer rows, or smaller numbers.", file=sys.stderr
        )
    except Exception as error:
        from numbasgd.cli.options import in_flags
        from numbasgd.errors import NumbaSGDError
        from numbasgd.json_values import printable

        if is_debug or not isinstance(error, NumbaSGDError | ValueError | TypeError | OSError):
            raise
        told = "\n".join(map(printable, in_flags(str(error), flags).split("\n")))
        print(f"{prog}: {told}", file=sys.stderr)
    _give_up_stdout()
    return 2


def _parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, str, dict[str, str]]:
    """The arguments, how the subcommand is called, and its flags."""
    from numbasgd import __version__
    from numbasgd.cli.options import Parser

    parser = Parser(
        prog="numbasgd",
        description="Minibatch SGD, measured on this machine.",
        epilog="Exit code 2 and one sentence mean that something has to be mended. With NUMBASGD_DEBUG=1 in "
        "the environment the traceback is shown instead; please send it along with a report of a bug.",
    )
    parser.add_argument("--version", action="version", version=f"numbasgd {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    subs = {}
    for name in COMMANDS:
        module = import_module(f"numbasgd.cli.{name}")
        subs[name] = commands.add_parser(name, help=module.HELP, description=module.__doc__)
        module.add_arguments(subs[name])
    started = _IMPORTED if argv is None else perf_counter()  # called from Python, it begins now
    args = parser.parse_args(argv)
    args.started = started  # of the seconds that the user waits for
    return args, f"numbasgd {args.command}", subs[args.command].flags()


def _run(args: argparse.Namespace, prog: str, flags: dict[str, str]) -> int:
    from numbasgd.cli.options import in_flags
    from numbasgd.json_values import printable

    def show(message: Warning | str, *_: object) -> None:
        print(f"{prog}: warning: {printable(in_flags(str(message), flags))}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]
        code = import_module(f"numbasgd.cli.{args.command}").run(args)
    if sys.stdout is not None:
        sys.stdout.flush()  # here, where an error can still be told
    return code


def _give_up_stdout() -> None:
    """What cannot be written any more must not be tried again, and told of, when the process ends."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except (OSError, ValueError, AttributeError):
            sys.stdout = None
