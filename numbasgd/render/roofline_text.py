"""What ``numbasgd roofline`` prints: the kernels and their places as a table, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from numbasgd.render.tables import Table, number, render

if TYPE_CHECKING:
    from numbasgd.experiments._roofline import Roofline


def roofline_table(found: Roofline) -> str:
    """The table, and below it what was left out and the notes on the ceilings."""
    peak = found.limits["fma"][found.dtype]["one"]["value"]
    heads = ("kernel", "of", "flop/byte", "GFLOP/s", "data in", "roof", "% of roof", "% of peak", "limit")
    rows = tuple(
        (
            point.name, point.group,
            number(point.place.intensity), number(point.place.gflops), point.place.level,
            number(point.place.roof), number(100 * point.place.roofline_share),
            number(100 * point.place.peak_share),
            "arithmetic" if point.place.limit == "FMA" else f"bandwidth of {point.place.level}",
        )
        for point in found.points
    )  # fmt: skip
    title = f"One thread, {found.dtype}; multiply-add peak {number(peak)} GFLOP/s"
    notes = ([_left_out(found.left_out)] if found.left_out else []) + list(found.limits["notes"])
    return render(Table(heads, rows, title)) + "".join(f"\n{note}\n" for note in notes)


def _left_out(names: Mapping[str, float]) -> str:
    """The kernels that are missing, by the size of their product, with the seconds of a slow call."""
    by_size: dict[str, list[str]] = {}
    for name, seconds in names.items():
        rung, _, size = name.rpartition("-")
        by_size.setdefault(size, []).append(f"{rung} ({seconds:.2g} s a call)" if seconds >= 1 else rung)
    told = "; ".join(f"{', '.join(rungs)} of {size}" for size, rungs in by_size.items())
    late = " A second run finds compiled code." if 0 in names.values() else ""
    return f"Left out as too slow, or for want of time: {told}.{late}"
