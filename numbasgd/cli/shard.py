"""Write a table as a folder of shards, which train and predict read piece by piece.

DATA may be larger than memory; OUT is written whole or not at all.  A shard is a .npy file with rows and one
with their targets; manifest.json tells shapes, names, classes and checksums, which --verify compares.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from numbasgd.cli import tables

if TYPE_CHECKING:
    from numbasgd.data.shards import Manifest

HELP = "write a table as a folder of pieces, for data larger than memory"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``numbasgd shard``."""
    parser.add_argument("data", metavar="DATA", help=f"{tables.DATA}; with --verify a folder of shards")
    parser.add_argument("out", nargs="?", metavar="OUT", help="the folder to write")
    parser.add_argument(
        "--target",
        action="append",
        help="the column to predict: a name, or a number (-1 is the last); again for another one",
    )
    parser.add_argument("--shards", type=int, metavar="N", help="pieces (default: of 256 MB at most)")
    parser.add_argument("--dtype", help="float32 or float64 (default: as it is)")
    parser.add_argument("--force", action="store_true", help="replace the shards that are in OUT")
    parser.add_argument("--verify", action="store_true", help="compare the checksums of the shards in DATA")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    tables.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write the shards, or verify them."""
    from numbasgd.data.shards import read_manifest

    if args.verify:
        if args.out is not None:
            raise ValueError(
                f"--verify was given, and OUT, {args.out!r}; expected one folder of shards. Leave OUT out."
            )
        _verify(args)
        return 0
    if args.out is None:
        raise ValueError("OUT is missing; expected the folder to write. Pass it behind DATA.")
    notes = _write(args)
    manifest = read_manifest(args.out)
    if args.json:
        print(json.dumps({**_facts(manifest), "notes": notes}, indent=2, allow_nan=False))
    else:
        print(_line(manifest))
    return 0


def _write(args: argparse.Namespace) -> list[str]:
    """Write the shards; the notes on DATA."""
    from numbasgd.cli.progress_line import ReadingLine
    from numbasgd.data.shard_writer import place_of, write_shards

    target = args.target if args.target is None or len(args.target) > 1 else args.target[0]
    place = place_of(args.out, force=args.force)
    with tables.in_files(args, target, place) as table, ReadingLine(str(args.data)) as line:
        write_shards(
            table.X,
            table.y,
            args.out,
            shards=args.shards,
            dtype=args.dtype,
            columns=table.columns if table.is_named else None,
            target=table.targets if table.is_named and table.targets else None,
            force=args.force,
            progress=line.tell,
        )
        return table.notes


def _verify(args: argparse.Namespace) -> None:
    from numbasgd.cli.progress_line import ReadingLine
    from numbasgd.data.shards import read_manifest, require_checksums

    manifest = read_manifest(args.data)
    with ReadingLine(str(args.data)) as line:
        require_checksums(manifest, line.tell)
    if args.json:
        print(json.dumps({**_facts(manifest), "verified": True}, indent=2, allow_nan=False))
    else:
        print(f"{_line(manifest)}; all checksums are right")


def _facts(manifest: Manifest) -> dict[str, Any]:
    X, y = manifest.X, manifest.y
    return {
        "folder": str(manifest.folder),
        "shards": len(manifest.rows),
        "rows": X.shape[0],
        "columns": X.columns or X.shape[1],
        "dtype": X.dtype.name,
        "target": None if y is None else y.columns,
        "outputs": 0 if y is None else (y.shape[1] if len(y.shape) > 1 else 1),
        "classes": None if y is None else y.classes,
        "bytes": sum(piece.bytes for part in (X, y) if part is not None for piece in part.pieces),
    }


def _line(manifest: Manifest) -> str:
    from numbasgd.data.cells import shown

    facts = _facts(manifest)
    target = "no target"
    if facts["outputs"]:
        target = ", ".join(map(shown, facts["target"] or ())) or f"{facts['outputs']} without a name"
        target = f"target {target}"
    if facts["classes"] is not None:
        target += f" of {len(facts['classes'])} classes"
    return (
        f"{facts['folder']}: {facts['shards']} shards, {facts['rows']:,} rows x {manifest.X.shape[1]} columns "
        f"of {facts['dtype']}, {target}, {facts['bytes'] / 1e6:,.3g} MB"
    )
