"""The chapter's argument about memory, measured here: the first access costs, a burst is cheap.

Measures what this machine can do (multiply-adds, bandwidth and latency by working set, the caches that show in
them) and how fast numbers are read in order, with gaps, at random, in bursts, by wide loads and with work for
each.  One thread; every sum is checked.  It takes 45 seconds and 1 GB of memory at most: where caches are so
large or the machine so slow that this does not suffice, the output says what is left out.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from numbasgd.experiments.memory import Memory, Row
    from numbasgd.render.tables import Table

HELP = "what this machine's memory and arithmetic can do, measured"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``numbasgd memory``."""
    parser.add_argument("--quick", action="store_true", help="15 seconds at most instead of 45, more noise")
    parser.add_argument("--plot", metavar="FILE", help="draw the measurements into FILE (png, svg, pdf, ...)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Measure, then print the tables or JSON, and draw."""
    from numbasgd.cli.progress_line import ProgressLine
    from numbasgd.experiments import memory
    from numbasgd.machine.deadline import Deadline
    from numbasgd.machine.fingerprint import lines_with_notes
    from numbasgd.render import figures
    from numbasgd.render.tables import render

    if args.plot:
        figures.check_path(args.plot)
    seconds = (memory.QUICK_SECONDS if args.quick else memory.SECONDS) - (figures.SECONDS if args.plot else 0)
    with ProgressLine(seconds, args.started) as progress:
        deadline = Deadline(seconds, tell=progress.tell, start=args.started)
        found = memory.measure(args.quick, deadline=deadline)
    if args.plot:
        from numbasgd.render.memory_plot import plot_memory

        figures.save(plot_memory(found), args.plot)
    if args.json:
        print(json.dumps(found.to_dict(), indent=2, allow_nan=False))
        return 0
    print("\n".join([*lines_with_notes(dict(found.machine)), ""]))
    print(render(_tables(found)), end="")
    for note in found.notes:
        print(f"\n{note}")
    print(
        f"\nMeasured in {deadline.elapsed():.0f} s, {found.compile_seconds:.0f} s of them to compile, and "
        "checked. A value is the median of the fastest quarter of the rounds, since others can only slow a "
        "round down. Bytes as STREAM counts them.\n"
        "A load of a level walks at random through a few pages at a time; a chase goes through all of them, "
        "and so pays for the search of pages, too."
    )
    return 0


def _tables(memory: Memory) -> list[Table]:
    from numbasgd.machine.fingerprint import size
    from numbasgd.render.tables import Table, number

    limits = memory.limits
    levels = tuple(
        (
            level["name"],
            "" if level["bytes"] is None else size(level["bytes"]),
            number(level["read"]),
            number(level["latency"]),
        )
        for level in limits["levels"]
    )
    last = ("arithmetic", "GFLOP/s one thread", f"all {limits['threads']} threads")
    arithmetic = tuple(
        (f"multiply-add, {dtype}", number(found["one"]["value"]), _value(found["all"], number))
        for dtype, found in limits["fma"].items()
    )
    bandwidth = tuple(
        (f"{name} in memory", number(found["one"][-1]["value"]), _value((found["all"] or [None])[-1], number))
        for name, found in limits["bandwidth"].items()
    )
    heads = ("read", "working set", "ns a number", "GB/s used", "GFLOP/s")
    tables = [
        Table(last, arithmetic, "What the machine can do"),
        Table(("memory", "GB/s one thread", f"all {limits['threads']} threads"), bandwidth),
        Table(("level", "size found", "GB/s read", "ns a load"), levels, "The levels that the sweep found"),
    ]
    titles = {
        "patterns": "The first access costs, the next one of its line does not",
        "bursts": "A burst is cheap: bytes in a row from random places",
        "widths": "Wide loads feed the units: bytes a load",
        "work": "Arithmetic outruns memory: operations for each number",
    }
    return (
        tables
        + [
            Table(heads, tuple(_cells(row, size, number) for row in getattr(memory, name)), title)
            for name, title in titles.items()
        ]
        + _gpu(limits["gpu"])
    )


def _value(limit: Mapping[str, Any] | None, number: Any) -> str:
    return "unknown" if limit is None else number(limit["value"])


def _cells(row: Row, size: Any, number: Any) -> tuple[str, ...]:
    length = int(row.name.partition("-")[2]) if row.name.startswith("burst") else 4
    return (
        row.name,
        size(row.working_set),
        number(row.ns * 4 / length),
        number(row.gbs),
        number(row.gflops) if row.gflops else "",
    )


def _gpu(found: Mapping[str, Any] | None) -> list[Table]:
    from numbasgd.render.tables import Table, number

    if found is None:
        return []
    rows: Sequence[tuple[str, str, str]] = [
        (name.replace("_", " "), number(limit["value"]), limit["unit"]) for name, limit in found.items()
    ]
    return [Table(("GPU", "value", "unit"), tuple(rows), "What the GPU costs")]
