"""The chapter's first experiment: one product, computed rung by rung, beside NumPy's BLAS.

Speeds are 2mnk/t of the median call on one thread, compile time apart, every result checked.  The share is
of the BLAS's speed; the error is the largest of an entry against a more precise reference, also as a share
of the bound that holds for any order of summation.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numbasgd.experiments.ladder import Ladder, Row

HELP = "time the same product on every rung, beside NumPy's BLAS"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``numbasgd ladder``."""
    parser.add_argument("--size", type=int, default=256, metavar="N", help="N x N matrices (default: 256)")
    parser.add_argument("--dtype", default="float32", help="float32 (default) or float64")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--slow", action="store_true", help="time also rungs that take many seconds a call")
    parser.add_argument("--chapter-units", action="store_true", help="add a column with the chapter's 2/t")
    parser.add_argument("--plot", metavar="FILE", help="draw the speeds into FILE (png, svg, pdf, ...)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Measure, then print the table or JSON, and draw."""
    from numbasgd.experiments import ladder
    from numbasgd.render import figures
    from numbasgd.render.ladder_plot import plot_ladder

    if args.plot:
        figures.check_path(args.plot)
    found = ladder.measure(args.size, args.dtype, args.device, is_complete=args.slow)
    if args.json:
        print(json.dumps(found.to_dict(), indent=2, allow_nan=False))
    else:
        print("\n".join(_lines(found, args.chapter_units)))
    if args.plot:
        title = f"{found.size} x {found.size}, {found.dtype}, {found.device}, one BLAS thread"
        figures.save(plot_ladder(found.rows, title=title), args.plot)
    return 0


def _lines(found: Ladder, has_chapter_units: bool) -> list[str]:
    from numbasgd.machine.fingerprint import lines_with_notes

    told = lines_with_notes(dict(found.machine))
    where = "on the GPU, beside NumPy's BLAS on the CPU" if found.device == "cuda" else "one thread"
    told += ["", f"{found.size} x {found.size} @ {found.size} x {found.size}, {found.dtype}, {where}"]
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
