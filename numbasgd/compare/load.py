"""Files from machines under load, and the verdicts that are withheld for them."""

from __future__ import annotations

from dataclasses import replace

from numbasgd.compare.changes import NOT_COMPARABLE
from numbasgd.compare.comparison import Comparison
from numbasgd.compare.machines import INCOMPARABLE, differences
from numbasgd.compare.measures import Side
from numbasgd.compare.results import ResultFile
from numbasgd.json_values import mapping, number

LOADED = 0.15  # the scatter of rounds that other programs on the same cores cause


def is_loaded(file: ResultFile) -> bool:
    """Whether other programs used the cores while this was measured.

    Its rounds scatter very much; or they scatter, and more processes than the machine has cpus ran or waited.
    """
    if file.noise_level is None:
        return False
    cpu = mapping((file.fingerprint or {}).get("cpu"))
    load, cpus = number(cpu.get("load")), number(cpu.get("cpus"))
    is_crowded = load is not None and cpus is not None and load > cpus
    return file.noise_level > LOADED or (file.is_busy and is_crowded)


def withhold(comparison: Comparison) -> Comparison:
    """The comparison without verdicts between machines where one was under load.

    There a ratio shows the load as much as the machine, and no interval from the rounds covers it.
    """
    first, *others = comparison.sides
    places = tuple(
        place
        for place, side in enumerate(others, 1)
        if not is_same_machine(first, side) and any(is_loaded(file) for file in (*first.files, *side.files))
    )
    if not places:
        return comparison
    rows = tuple(
        replace(
            row,
            changes=tuple(
                replace(change, verdict=NOT_COMPARABLE) if change and place in places else change
                for place, change in enumerate(row.changes, 1)
            ),
        )
        for row in comparison.rows
    )
    return replace(comparison, rows=rows, withheld=places)


def is_same_machine(a: Side, b: Side) -> bool:
    """Whether the machines differ in nothing that changes times."""
    return not any(d.kind("time") == INCOMPARABLE for d in differences([a.files[0], b.files[0]]))
