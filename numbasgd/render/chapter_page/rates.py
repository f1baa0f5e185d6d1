"""Figure (g1): excess loss by batch size and rate as a map, and what an epoch takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from numbasgd.render.chapter_page.figure import Drawn, Figure, percent, times
from numbasgd.render.chapter_page.svg import LINE, WIDE, label
from numbasgd.render.chapter_page.words import Words
from numbasgd.render.markup import tag
from numbasgd.render.tables import Table, number

_GOOD, _BAD = 0.003, 1.0  # excesses that a cell is coloured the most and the least at


def figure(found: Mapping[str, Any], say: Words, how: str, stable: float) -> Figure:
    """The first figure of ``Exercises.to_dict()``; stable is the largest stable rate of gradient descent."""
    cells, epoch = found["vary"], found["epoch_seconds"]
    sizes = list(dict.fromkeys(cell["batch_size"] for cell in cells))
    rates = list(dict.fromkeys(cell["lr"] for cell in cells))
    best = {
        b: min(
            (c for c in cells if c["batch_size"] == b and c["excess"] is not None), key=_excess, default=None
        )
        for b in sizes
    }
    small, large = sizes[0], sizes[-1]
    see = [
        say("exercises.vary_see", epochs=found["epochs"], stable=number(stable)),
        say(
            "exercises.vary_time", small=f"{small:,}", large=f"{large:,}",
            slow=number(1e6 * epoch[str(small)]), fast=number(1e6 * epoch[str(large)]),
            ratio=times(epoch[str(small)] / epoch[str(large)]),
        ),
    ]  # fmt: skip
    rows = []
    for b in sizes:
        line = [c["excess"] for c in cells if c["batch_size"] == b]
        rows.append(
            (b, *(say("exercises.diverged") if v is None else percent(v) for v in line), 1e6 * epoch[str(b)])
        )
    heads = (say("exercises.b"), *(f"lr = {lr:g}" for lr in rates), say("exercises.epoch_us"))
    described = [
        f"b = {b}{say('page.colon')}lr {cell['lr']:g}, {percent(cell['excess'])}"
        for b, cell in best.items()
        if cell
    ]
    return Figure(
        name="vary", title=say("exercises.vary_title"), see=see,
        desc=say("exercises.vary_desc", best=say.listed(described)),
        draw=lambda width: _map(found, sizes, rates, best, say, width), how=how,
        table=Table(heads, tuple(rows), say("exercises.vary_title")),
    )  # fmt: skip


def _excess(cell: Mapping[str, Any]) -> float:
    return float(cell["excess"])


def _map(
    found: Mapping[str, Any], sizes: Sequence[int], rates: Sequence[float], best: Mapping[int, Any], say: Words,
    width: int,
) -> Drawn:  # fmt: skip
    """A cell for each batch size and rate; the best of a row is framed, a cross is a run that diverged."""
    is_wide = width == WIDE
    left, top, last = (70, 44, 110) if is_wide else (44, 44, 52)
    wide, tall = (width - left - last) / len(rates), 34
    parts = [
        label(left - 8, top - 8, "b", anchor="end", look="soft"),
        label(left, 14, say("exercises.rate"), look="soft"),
        label(width - 6, 14, say("exercises.epoch_short"), anchor="end", look="soft"),
    ]
    for i, lr in enumerate(rates):
        parts.append(label(left + (i + 0.5) * wide, top - 8, f"{lr:g}", anchor="middle", look="soft small"))
    by_place = {(cell["batch_size"], cell["lr"]): cell["excess"] for cell in found["vary"]}
    for j, b in enumerate(sizes):
        y = top + j * tall
        parts.append(label(left - 8, y + 21, f"{b}", anchor="end"))
        for i, lr in enumerate(rates):
            excess, x = by_place[b, lr], left + i * wide
            shade = 0.0
            if excess is not None:
                shade = math.log(_BAD / max(excess, 1e-9)) / math.log(_BAD / _GOOD)
            is_best = best[b] is not None and best[b]["lr"] == lr
            told = say("exercises.diverged") if excess is None else percent(excess)
            parts.append(
                tag(
                    "rect",
                    tag("title", f"b = {b}, lr = {lr:g}: {told}"),
                    x=f"{x + 1:.1f}",
                    y=y + 1,
                    width=f"{wide - 2:.1f}",
                    height=tall - 2,
                    class_="cell best" if is_best else "cell",
                    fill_opacity=f"{0.02 + 0.6 * min(1.0, max(0.0, shade)):.2f}",
                )  # fmt: skip
            )
            shown = "×" if excess is None else percent(excess) if is_wide else number(100 * excess, 2)
            look = "strong" if is_best else "soft" if excess is None else ""
            parts.append(label(x + wide / 2, y + 21, shown, anchor="middle", look=f"{look} small".strip()))
        parts.append(
            label(
                width - 6,
                y + 21,
                f"{number(1e6 * found['epoch_seconds'][str(b)])} µs",
                anchor="end",
                look="small",
            )
        )
    bottom = top + len(sizes) * tall
    note = say("exercises.map_note") if is_wide else say("exercises.map_note_short")
    parts.append(label(left, bottom + LINE + 2, note, look="soft small"))
    return bottom + 2 * LINE, parts
