"""What commands that read a user's table share: its options, the notes on it, a line while it is read."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numbasgd.data import ReadOptions, Table
    from numbasgd.data.spool import Spooled
    from numbasgd.data.table import StoredTable

DATA = (
    "a .csv or other text table, .npy, .npz or .parquet file, a folder of such files, or one that shard wrote; "
    "- for a pipe"
)
_SHARE = 0.4  # of the free memory that rows may take: training may need them twice


def add_arguments(parser: argparse.ArgumentParser, missing: tuple[str, ...] = ("error", "drop")) -> None:
    """Declare the options that say how DATA is to be read; what they leave out is guessed, and told."""
    group = parser.add_argument_group("how DATA is read (what is left out is guessed, and told)")
    group.add_argument(
        "--header", choices=("auto", "yes", "no"), default="auto", help="whether line 1 names the columns"
    )
    group.add_argument("--delimiter", metavar="C", help='between two cells: a character, "tab" or "space"')
    group.add_argument("--decimal", metavar="C", help='the decimal sign, "." or ","')
    group.add_argument("--encoding", metavar="NAME", help="of text, for example utf-8, cp1252 or utf-16")
    group.add_argument(
        "--missing", choices=missing, default="error", help="what to do about rows with missing cells"
    )
    group.add_argument(
        "--drop", metavar="COLUMN", action="append", default=[], help="a column to leave out; again for more"
    )


def require_both(args: argparse.Namespace) -> None:
    """Raise ``ValueError`` where only one of DATA and --target was given; shards have a target of their own."""
    if args.data is not None and args.target is None:
        args.target = own_target(args.data)
    if (args.data is None) != (args.target is None):
        given, missing = ("--target", "DATA") if args.data is None else ("DATA", "--target")
        raise ValueError(
            f"{missing} is missing while {given} was given; expected both or neither. Pass {missing}."
        )


def require_share(flag: str, value: float) -> None:
    """Refuse what is no share of the gap, by the name of its flag: the library calls it target."""
    if not 0 < value < 1:
        raise ValueError(f"{flag} is {value:g}; expected a share of the gap, above 0 and below 1. Pass 0.01.")


def read(args: argparse.Namespace, target: Any, **more: Any) -> Table:
    """The table that the arguments tell of; notes on it are told on standard error.

    more : arguments of ``numbasgd.data.read_table``.
    """
    from numbasgd.cli.progress_line import ReadingLine
    from numbasgd.data import read_table

    with ReadingLine(str(args.data)) as line:
        table = read_table(args.data, target, _options(args), progress=line.tell, **more)
    _tell(args, table.notes)
    return table


def read_or_open(
    args: argparse.Namespace,
    target: Any,
    *,
    in_files: bool | None,
    takes_labels: bool = False,
    features: Any = None,
) -> Table | StoredTable:
    """The same, but X may stay in its files where it can be read from any row on.

    in_files : whether it does; None where it takes too much of the memory that is free.
    """
    from numbasgd.cli.progress_line import ReadingLine
    from numbasgd.data.table import stored_table
    from numbasgd.machine.extent import free_memory

    free = free_memory()
    if in_files is not False and args.missing == "error":
        with ReadingLine(str(args.data)) as line:
            table = stored_table(args.data, target, _options(args), features=features, progress=line.tell)
        if table is not None and (in_files or table.X.nbytes > _SHARE * free):
            _tell(args, table.notes)
            return table
    size = Path(args.data).stat().st_size if Path(args.data).is_file() else 0
    if size > _SHARE * free:
        _tell(args, [_too_large(args.data, size, free)])
    return read(args, target, takes_labels=takes_labels, features=features)


def _too_large(name: str, size: int, free: int) -> str:
    return (
        f"{name} has {size / 1e9:.3g} GB, and {free / 1e9:.3g} GB of memory are free, where all of it is read "
        "to. If that is too little, make shards of it, which are read in blocks: numbasgd shard DATA OUT "
        "--target NAME."
    )


@contextmanager
def in_files(args: argparse.Namespace, target: Any, beside: Path) -> Iterator[StoredTable | Spooled]:
    """The same, and X is always in files: else it is written to one beside ``beside``, for the time being."""
    from numbasgd.cli.progress_line import ReadingLine
    from numbasgd.data.spool import spooled
    from numbasgd.data.table import stored_table

    options = _options(args)
    with ExitStack() as stack:
        with ReadingLine(str(args.data)) as line:
            table: Any = None
            if args.missing == "error":
                table = stored_table(args.data, target, options, progress=line.tell)
            if table is None:
                table = stack.enter_context(spooled(args.data, target, options, beside, line.tell))
        _tell(args, table.notes)
        yield table


def own_target(path: str) -> Any:
    """The target that a folder of shards has; None for any other table."""
    from numbasgd.data import shards

    return shards.own_target(Path(path)) if shards.is_shards(Path(path)) else None


def _tell(args: argparse.Namespace, notes: list[str]) -> None:
    notes[:] = [_in_words(args, note) for note in notes]
    for note in notes:
        print(f"numbasgd {args.command}: note: {note}", file=sys.stderr)


def _options(args: argparse.Namespace) -> ReadOptions:
    from numbasgd.data import ReadOptions

    return ReadOptions(
        header=args.header,
        delimiter=args.delimiter,
        decimal=args.decimal,
        encoding=args.encoding,
        missing=args.missing,
        drop=tuple(args.drop),
    )


def _in_words(args: argparse.Namespace, note: str) -> str:
    """A note of the library in a command's words."""
    from numbasgd.cli.options import in_flags
    from numbasgd.json_values import printable

    names = ("header", "delimiter", "decimal", "encoding", "missing", "drop")
    return printable(in_flags(note, {name: f"--{name}" for name in names}))
