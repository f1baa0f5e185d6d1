"""The tables that a reader sees: one ladder each, in the order of its rungs, the reference last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

# What a ladder's kind is measured in: heading, key of the work, unit of work a second.
RATE = {
    "matmul": ("GFLOP/s", "flop", 1e9),
    "gradient": ("GB/s", "bytes", 1e9),
    "train": ("Msamples/s", "n", 1e6),
    "outputs": ("Msamples/s", "n", 1e6),
    "memory": ("GB/s", "bytes", 1e9),
}
NOTE = {
    "matmul": "GFLOP/s = 2mnk/t; residual: Freivalds' check as a share of its limit",
    "gradient": "GB/s = compulsory bytes/t; residual: the largest error as a share of its limit",
    "train": "the time of one more epoch, shuffling included, evaluation left out",
    "outputs": "one more epoch of squared and softmax losses; names say columns, outputs and rows a step",
    "loss": "a whole fit that ends within 1 % of the least loss, all included but the compile",
    "valley": "time to 2 % of the gap between first and least loss, with the batch size that is the fastest",
    "memory": "GB/s = bytes used/t; every sum is exact",
    "compile": "the first call of a process: compiled anew, or loaded from the cache",
}


def tables(benchmarks: Iterable[Mapping[str, Any]]) -> list[str]:
    """Lines to print; ``benchmarks`` are pytest-benchmark's flat dictionaries."""
    ladders: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for bench in benchmarks:
        if "ladder" in bench["extra_info"]:
            ladders[bench["extra_info"]["ladder"]].append(bench)
    lines: list[str] = []
    kind = None
    for name, rows in ladders.items():
        info = rows[0]["extra_info"]
        if info["kind"] != kind:
            kind = info["kind"]
            lines += ["", f"== {kind}: {NOTE.get(kind, '')}"]
        lines += ["", *_table(name, rows)]
    if lines:
        lines += [
            "",
            "spread: distance of the quartiles as a share of the median; compile: first call less the second",
        ]
    return lines


def _table(name: str, rows: list[Mapping[str, Any]]) -> list[str]:
    reference = next((r for r in rows if r["extra_info"]["case"] == r["extra_info"]["reference"]), None)
    # The rungs come in the order in which they ran; the reference is put last.
    rows = [row for row in rows if row is not reference] + ([reference] if reference else [])
    info = rows[0]["extra_info"]
    heading, work, unit = RATE.get(info["kind"], ("", "", 1.0))
    is_product = info["kind"] == "matmul"
    against = f"{'share of' if is_product else 'against'} {info['reference']}" if reference else ""
    width = max(len(name), *(len(row["extra_info"]["case"]) for row in rows))
    lines = [_line(width, name, "median", "spread", heading, against, "residual", "compile")]
    for row in rows:
        info = row["extra_info"]
        ratio = reference["median"] / row["median"] if reference else 0.0
        share = "" if not reference else f"{100 * ratio:.3g} %" if is_product else f"{ratio:.3g} x"
        cells = (
            seconds(row["median"]),
            f"{row['iqr'] / row['median']:.1%}",
            f"{info[work] / row['median'] / unit:.4g}" if work else "",
            share,
            f"{info['residual'] / info['residual_limit']:.2g}" if info["residual_limit"] else "",
            seconds(info["compile_seconds"]) if info["compile_seconds"] > 0.05 else "",
        )
        lines.append(_line(width, info["case"], *cells))
    return lines


def _line(width: int, name: str, *cells: str) -> str:
    columns = zip(cells, (10, 8, 11, 19, 9, 8), strict=True)
    return (f"{name:{width}}" + "".join(f" {cell:>{at}}" for cell, at in columns)).rstrip()


def seconds(value: float) -> str:
    """A time in the unit that suits it."""
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}" if value < 100 * factor else f"{value / factor:.0f} {unit}"
    return f"{value / 1e-9:.0f} ns"
