"""The command ``numbasgd``: one module per subcommand, imported when it runs.

A subcommand's module has ``HELP`` (one line), ``add_arguments(parser)`` and ``run(args) -> int``, the exit
code.  Errors that a user can mend reach the terminal as one sentence and exit code 2, never as a traceback.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

COMMANDS = ("ladder", "train", "noise", "compare", "report", "data", "info")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code (0 fine, 2 bad input)."""
    from numbasgd import __version__
    from numbasgd.errors import NumbaSGDError

    parser = argparse.ArgumentParser(prog="numbasgd", description="Minibatch SGD, measured on this machine.")
    parser.add_argument("--version", action="version", version=f"numbasgd {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    modules = {name: import_module(f"numbasgd.cli.{name}") for name in COMMANDS}
    for name, module in modules.items():
        sub = commands.add_parser(name, help=module.HELP, description=module.__doc__)
        module.add_arguments(sub)
    args = parser.parse_args(argv)

    def show(message: Warning | str, *_: object) -> None:
        print(f"numbasgd {args.command}: warning: {message}", file=sys.stderr)

    try:
        with warnings.catch_warnings():
            warnings.showwarning = show  # type: ignore[assignment]
            return modules[args.command].run(args)
    except (NumbaSGDError, ValueError, TypeError, OSError) as error:
        print(f"numbasgd {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"numbasgd {args.command}: interrupted", file=sys.stderr)
        return 130
