"""What ``numbasgd ladder`` prints: the rungs of a product as a table, and what it shows in sentences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numbasgd.experiments._product import Ladder, Row


def ladders_table(ladders: Iterable[Ladder], has_chapter_units: bool = False) -> str:
    """A table for each product, with the sentences that belong to it."""
    return "\n\n".join("\n".join(_lines(ladder, has_chapter_units)) for ladder in ladders) + "\n"


def _lines(found: Ladder, has_chapter_units: bool) -> list[str]:
    where = "on the GPU, beside NumPy's BLAS on the CPU" if found.device == "cuda" else "one thread"
    told = [f"{found.size} x {found.size} @ {found.size} x {found.size}, {found.dtype}, {where}"]
    if found.blas_threads is None:
        told.append("note:     this BLAS could not be held to one thread; its figures may use more.")
    told += ["", *_table(found, has_chapter_units), ""]
    if found.peak is not None:
        told.append(f"Peak: {found.peak:.4g} GFLOP/s, a loop of multiply-adds that never leaves the registers.")
    if found.left_out:
        listed = ", ".join(f"{name} (about {s:.0f} s a call)" for name, s in found.left_out.items())
        told.append(f"Left out as too slow at this size: {listed}. Time them with --slow.")
    if found.interpreter_cost is not None:
        told.append(
            f"What the interpreter costs: numpy-element takes {found.interpreter_cost:.3g} times as long as "
            f"element, the same {found.size**2:,} dot products with and without Python between them."
        )
    if found.blocks is not None:
        told.append(found.blocks)
    if has_chapter_units:
        told.append('Chapter\'s "2/t": what the chapter calls Gflop/s; a product is 2mnk operations, not 2e9.')
    return told


def _table(found: Ladder, has_chapter_units: bool) -> list[str]:
    heads = ["rung", "idea", "median", "spread", "GFLOP/s", "of peak", "of BLAS", "largest error", "of bound"]
    aligned = "<<>>>>>>>"
    if has_chapter_units:
        heads, aligned = [*heads, 'chapter\'s "2/t"'], aligned + ">"
    cells = [heads] + [_cells(row, found.peak)[: len(heads)] for row in found.rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(line, aligned, widths, strict=True)
        ).rstrip()
        for line in cells
    ]


def _cells(row: Row, peak: float | None) -> list[str]:
    return [
        row.rung,
        row.idea,
        f"{row.seconds * 1e3:.4g} ms",
        f"{(row.q3 - row.q1) / row.seconds:.1%}",
        f"{row.gflops:.3g}",
        "" if peak is None else f"{100 * row.gflops / peak:.3g} %",
        "" if row.share is None else f"{100 * row.share:.3g} %",
        f"{row.error:.1e}",
        f"{100 * row.error_share:.2g} %",
        f"{2 / row.seconds:.4g}",
    ]
