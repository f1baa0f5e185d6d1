"""The answers to the chapter's exercises as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from numbasgd.render.tables import Table, number, render

if TYPE_CHECKING:
    from numbasgd.experiments._exercises import Exercises, Pair


def exercises_table(found: Exercises) -> str:
    """A table for each exercise."""
    rates = list(dict.fromkeys(cell.lr for cell in found.vary))
    rows = []
    for size, seconds in found.epoch_seconds.items():
        left = [_percent(cell.excess) for cell in found.vary if cell.batch_size == size]
        rows.append((size, *left, number(1e6 * seconds)))
    heads = ("batch size", *(f"lr {lr:g}" for lr in rates), "us an epoch")
    title = f"Excess loss after {found.epochs} epochs, as a share of the first; {found.data}"
    tables = [
        Table(heads, tuple(rows), title),
        _pairs([found.divided], "constant", "a tenth after each epoch"),
        _pairs(found.replacement, "shuffled", "with replacement"),
        _pairs(found.twice, "the data", "every row twice"),
    ]
    return render(tables)


def _pairs(pairs: Sequence[Pair], usual: str, changed: str) -> Table:
    epochs = len(pairs[0].usual.median) - 1
    heads = ["run", "lr"]
    for name in (usual, changed):
        heads += [f"{name}: after 1 epoch", f"after {epochs}", "us an epoch"]
    rows = [
        (
            pair.name, number(pair.lr),
            _percent(pair.usual.median[1]), _percent(pair.usual.median[-1]), number(1e6 * pair.usual_seconds),
            _percent(pair.changed.median[1]), _percent(pair.changed.median[-1]),
            number(1e6 * pair.changed_seconds),
        )
        for pair in pairs
    ]  # fmt: skip
    return Table(tuple(heads), tuple(rows), f"{usual.capitalize()}, and {changed}")


def _percent(excess: float | None) -> str:
    return "diverged" if excess is None else f"{number(100 * excess, 2)} %"
