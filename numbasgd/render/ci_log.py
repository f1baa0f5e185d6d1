"""What the log of a continuous-integration run shows of a comparison: one line for each case that failed it.

In GitHub Actions each line is a workflow command, which marks it in the log and on the page of the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from numbasgd.compare.changes import NOT_COMPARABLE, Change
from numbasgd.compare.comparison import Comparison, Row
from numbasgd.compare.estimate import CANNOT_TELL, SLOWER
from numbasgd.render.comparison_text import unit_of
from numbasgd.render.escapes import for_github
from numbasgd.render.machine_text import letter
from numbasgd.render.tables import number, printable


@dataclass(frozen=True)
class Failure:
    """A case that became too slow, on the side at that place."""

    row: Row
    place: int
    change: Change


def failures(comparison: Comparison, limit: float) -> list[Failure]:
    """The cases that were called slower, by more than ``limit`` (a share of 1); the slowest first."""
    found = [
        Failure(row, place, change)
        for row in comparison.rows
        for place, change in enumerate(row.changes, 1)
        if change and change.verdict == SLOWER and 1 / change.departure > 1 + limit
    ]
    return sorted(found, key=lambda failure: failure.change.departure)


def lines(
    comparison: Comparison, failed: Sequence[Failure], limit: float, *, github: bool = False
) -> list[str]:
    """A line on the whole, then one for each failure; ``github``: as commands for GitHub Actions."""
    percent = f"{100 * limit:.3g} %"
    changes = [change for row in comparison.rows for change in row.changes if change]
    unsure = sum(change.verdict == CANNOT_TELL for change in changes)
    refused = sum(change.verdict == NOT_COMPARABLE for change in changes)
    is_or_are = "is" if len(failed) == 1 else "are"
    said = f"{len(failed)} of {len(changes)} comparisons {is_or_are} slower by more than {percent}"
    if unsure:
        said += f"; of {unsure} these runs cannot tell"
    if limit < comparison.tolerance:
        said += f"; up to {100 * comparison.tolerance:.3g} % is no difference (--tolerance)"
    if refused:
        said += f"; {refused} cannot be compared"
    told = [_told(comparison, failure) for failure in failed]
    if github:
        return [f"{said}.", *[f"::error title=Slower::{for_github(line)}" for line in told]]
    return [f"{said}.", *[f"  {printable(line)}" for line in told]]


def _told(comparison: Comparison, failure: Failure) -> str:
    """As ``matmul[full-f32]: 1.60x slower (1.52x to 1.70x), 0.8 -> 1.28 ms``, with the side among several."""
    change = failure.change
    said = f"{number(1 / change.departure)}x slower"
    if change.low and change.high:
        low, high = (change.expected / end for end in (change.high, change.low))
        said += f" ({number(low)}x to {number(high)}x)"
    before, after = failure.row.measures[0], failure.row.measures[failure.place]
    if before and after:
        size, unit = unit_of([failure.row])
        said += f", {number(before.seconds.value / size)} -> {number(after.seconds.value / size)} {unit}"
        if change.metric != "time":
            said += f", as a share of its {'reference' if change.metric == 'blas' else change.metric}"
    side = f"{letter(failure.place)} " if len(comparison.sides) > 2 else ""
    return f"{side}{failure.row.id}: {said}"
