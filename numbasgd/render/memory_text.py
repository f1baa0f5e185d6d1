"""What ``numbasgd memory`` prints: limits, levels and reads as tables, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numbasgd.machine.fingerprint import size
from numbasgd.render.tables import Table, number, render

if TYPE_CHECKING:
    from numbasgd.experiments._memory import Memory, Row


def memory_table(memory: Memory) -> str:
    """The tables, and the notes on what is missing below them."""
    return render(_tables(memory)) + "".join(f"\n{note}\n" for note in memory.notes)


def _tables(memory: Memory) -> list[Table]:
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
        (f"multiply-add, {dtype}", number(found["one"]["value"]), _value(found["all"]))
        for dtype, found in limits["fma"].items()
    )
    bandwidth = tuple(
        (f"{name} in memory", number(found["one"][-1]["value"]), _value((found["all"] or [None])[-1]))
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
            Table(heads, tuple(_cells(row) for row in getattr(memory, name)), title)
            for name, title in titles.items()
        ]
        + _gpu(limits["gpu"])
    )


def _value(limit: Mapping[str, Any] | None) -> str:
    return "unknown" if limit is None else number(limit["value"])


def _cells(row: Row) -> tuple[str, ...]:
    length = int(row.name.partition("-")[2]) if row.name.startswith("burst") else 4
    return (
        row.name,
        size(row.working_set),
        number(row.ns * 4 / length),
        number(row.gbs),
        number(row.gflops) if row.gflops else "",
    )


def _gpu(found: Mapping[str, Any] | None) -> list[Table]:
    if found is None:
        return []
    rows: Sequence[tuple[str, str, str]] = [
        (name.replace("_", " "), number(limit["value"]), limit["unit"]) for name, limit in found.items()
    ]
    return [Table(("GPU", "value", "unit"), tuple(rows), "What the GPU costs")]
