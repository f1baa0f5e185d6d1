"""The machines of a comparison as tables: what they are, what they can do, how they differ."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from numbasgd.compare.comparison import Comparison
from numbasgd.compare.machines import INCOMPARABLE, INFORMATION, NORMALIZED, describe, letter
from numbasgd.machine.bounds import Limits
from numbasgd.render.tables import Table

__all__ = ["difference_tables", "letter", "limits_table", "machine_table", "verb"]
_THREADS = {"one": "one thread", "all": "all threads"}


def machine_table(comparison: Comparison) -> Table:
    """Which letter is which file, and its machine in a few words."""
    rows = []
    for place, side in enumerate(comparison.sides):
        told = describe(side.files[0])
        blas = " ".join(told[k] for k in ("blas.name", "blas.kernel") if k in told)
        python = " ".join(
            f"{k} {told[f'versions.{k}']}" for k in ("python", "numba") if f"versions.{k}" in told
        )
        runs = f" ({len(side.files)} runs)" if len(side.files) > 1 else ""
        said = ", ".join(x for x in (told.get("cpu.model", ""), blas, python) if x)
        rows.append((letter(place), side.name + runs, said or "the file does not tell"))
    return Table(("", "file", "machine"), tuple(rows))


def limits_table(comparison: Comparison) -> Table | None:
    """What each machine was measured to reach, or None where no file tells."""
    measured = [side.files[0].limits for side in comparison.sides]
    columns: list[dict[str, float]] = [_limits(limits) if limits else {} for limits in measured]
    names = {name: None for column in columns for name in column}
    if not names:
        return None
    return Table(
        ("", *map(letter, range(len(columns)))),
        tuple((name, *(column.get(name) for column in columns)) for name in names),
        "What the machines were measured to reach:",
    )


def _limits(limits: Limits) -> dict[str, float]:
    found = {}
    for (dtype, threads), peak in limits.fma.items():
        found[f"FMA peak, {dtype}, {_THREADS[threads]} (GFLOP/s)"] = peak.value
    for level in limits.levels:
        for threads, read in level.read.items():
            found[f"read from {level.name}, {_THREADS[threads]} (GB/s)"] = read.value
    return found


def difference_tables(comparison: Comparison) -> list[Table]:
    """The keys on which the machines differ, one table for each kind of difference."""
    columns = ("key", *map(letter, range(len(comparison.sides))))
    tables = []
    for kind in (INCOMPARABLE, NORMALIZED, INFORMATION):
        rows = [
            (d.key, *_told_apart(d.values)) for d in comparison.differences if comparison.kind_of(d) == kind
        ]
        if rows:
            tables.append(Table(columns, tuple(rows), f"The machines differ; this {verb(kind)}:"))
    return tables


def _told_apart(values: Sequence[str]) -> tuple[str, ...]:
    """The values; of lists only what the others have more (+) and less (-) than the first."""
    lists = [_words(value) for value in values]
    first = lists[0]
    if first is None or any(words is None for words in lists):
        return tuple(values)
    told = [f"{len(first)} of them"]
    for words in lists[1:]:
        assert words is not None
        more = [f"+{word}" for word in words if word not in first]
        less = [f"-{word}" for word in first if word not in words]
        told.append(" ".join(more + less) or "the same")
    return tuple(told)


def _words(value: str) -> list[str] | None:
    """The words of a list that was flattened to text, or None where it is no list of words."""
    try:
        found = ast.literal_eval(value) if value.startswith("[") else None
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    return found if isinstance(found, list) and all(isinstance(word, str) for word in found) else None


def verb(kind: str) -> str:
    """``kind`` as the end of a sentence that begins with a difference."""
    return f"is {kind}" if kind == INFORMATION else kind
