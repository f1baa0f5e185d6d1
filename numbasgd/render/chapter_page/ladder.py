"""Figure (a): the ladder as bars, and each rung's source with the reason that it is faster than the last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numbasgd.render.chapter_page.figure import Drawn, Figure, lines_of, percent, times
from numbasgd.render.chapter_page.sources import source_of
from numbasgd.render.chapter_page.svg import LINE, WIDE, Panel, Scale, keys, label
from numbasgd.render.chapter_page.words import Words
from numbasgd.render.markup import Markup, join, tag
from numbasgd.render.tables import Table, number

_LOWEST = 0.001  # the share of the peak at the left edge, less where a rung is slower
_BLAS = "numpy"


def rows_of(ladder: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rungs of the first product, each with its name, idea and reason beside its speed."""
    product = ladder["products"][0]
    rows = []
    for rung in ladder["rungs"]:
        for speed in rung["speeds"]:
            if (speed["size"], speed["dtype"]) == (product["size"], product["dtype"]):
                rows.append({"rung": rung["name"], "idea": rung["idea"], "reason": rung["reason"], **speed})
    return rows


def is_numpy(rung: str) -> bool:
    """Whether a rung is one of the loops over NumPy calls, or NumPy's product itself."""
    return rung.startswith("numpy")


def look_of(rung: str) -> str:
    """The class that colours a rung: compiled, a loop over NumPy calls, or the BLAS."""
    return "s-blas" if rung == _BLAS else "s1" if is_numpy(rung) else "s0"


def figure(ladder: Mapping[str, Any], say: Words) -> Figure:
    """The figure of ``Ladders.to_dict()``, of its first product."""
    product, rows = ladder["products"][0], rows_of(ladder)
    peak, n = product["peak"], product["size"]
    speed = {row["rung"]: row["gflops"] for row in rows}
    own = [row["rung"] for row in rows if not is_numpy(row["rung"])] or [row["rung"] for row in rows]
    see = [
        say(
            "ladder.see",
            n=n,
            first=own[0],
            last=own[-1],
            ratio=times(speed[own[-1]] / speed[own[0]]),
            share=percent(speed[own[-1]] / peak),
        )  # fmt: skip
    ]
    notes = []
    if product["interpreter_cost"]:
        notes.append(say("ladder.interpreter", ratio=times(product["interpreter_cost"]), calls=f"{n * n:,}"))
    if {_BLAS, "numpy-blocked"} <= set(speed):
        is_slower = speed["numpy-blocked"] < speed[_BLAS]
        key = "ladder.blocks_slower" if is_slower else "ladder.blocks_faster"
        notes.append(say(key, blocks=number(speed["numpy-blocked"]), full=number(speed[_BLAS])))
    columns = ("rung", "idea", "gflops", "spread", "of_peak", "of_blas")
    table = Table(
        tuple(say(f"ladder.{name}") for name in columns),
        tuple(
            (
                row["rung"], idea(row, say), row["gflops"], percent((row["q3"] - row["q1"]) / row["seconds"]),
                percent(row["gflops"] / peak), percent(row["blas_share"]) if row["blas_share"] else None,
            )
            for row in rows
        ),
        say("ladder.title"),
    )  # fmt: skip
    described = [f"{row['rung']} {percent(row['gflops'] / peak)}" for row in rows]
    return Figure(
        name="ladder",
        title=say("ladder.title"),
        see=see,
        desc=say("ladder.desc", rungs=say.listed(described)),
        draw=lambda width: _bars(rows, peak, say, width),
        how=say(
            "ladder.how", n=n, dtype=product["dtype"], peak=number(peak), work=number(2e-9 * n**3),
            factor=number(1e9 / n**3, 2),
        ),
        table=table,
        after=join(*[tag("p", note, class_="see") for note in notes], _sources(rows, peak, n, say)),
    )  # fmt: skip


def idea(row: Mapping[str, Any], say: Words) -> str:
    """A rung's idea in the page's language, or as the ladder has it."""
    key = f"rungs.{row['rung']}_idea"
    return say(key) if say.has(key) else str(row["idea"])


def _bars(rows: Sequence[Mapping[str, Any]], peak: float, say: Words, width: int) -> Drawn:
    """A bar for each rung from the left edge to its share of the peak, on a logarithmic axis."""
    is_wide = width == WIDE
    pitch, thick = (38, 20) if is_wide else (46, 18)
    left, right = (250 if is_wide else 20), (width - 176 if is_wide else width - 16)
    lowest = min([_LOWEST, *(row["gflops"] / peak / 1.5 for row in rows)])
    kinds = [("s0", "compiled"), ("s1", "loops"), ("s-blas", "blas")]
    top = 14.0
    drawn, top = keys(
        [("s", f"{look} thick", say(f"ladder.{name}")) for look, name in kinds], 10, top, width - 10
    )
    top += 14
    bottom = top + pitch * len(rows)
    panel = Panel(Scale(lowest, 1.3, left, right, is_log=True), Scale(0, len(rows), bottom, top))
    ticks = [(value, f"{100 * value:g}%") for value in panel.x.ticks()]
    panel.axes(say("ladder.axis"), x_ticks=ticks, y_ticks=[])
    for i, row in enumerate(rows):
        share, look = row["gflops"] / peak, look_of(row["rung"])
        y = top + pitch * i + (pitch - thick) / 2 + (0 if is_wide else 9)
        gflop = row["gflops"] * row["seconds"] / peak
        told = f"{number(row['gflops'])} GFLOP/s, {percent(share)}"
        panel.parts.append(
            tag(
                "rect",
                tag("title", f"{row['rung']}: {told}"),
                x=left,
                y=round(y, 1),
                width=round(panel.x(share) - left, 1),
                height=thick,
                class_=f"bar {look}",
            )  # fmt: skip
        )
        low, high = panel.x(gflop / row["q3"]), panel.x(gflop / row["q1"])
        panel.parts.append(tag("path", d=f"M{low},{y + thick / 2:g}H{high}", class_="spread"))
        if is_wide:
            panel.text(left - 10, y + 8, row["rung"], anchor="end", look="strong")
            panel.text(left - 10, y + 8 + LINE - 2, idea(row, say), anchor="end", look="soft small")
            panel.text(right + 14, y + thick / 2 + 4, told)
        else:
            panel.text(left, y - 5, row["rung"], look="strong")
            panel.text(panel.x(1.0) - 8, y - 5, told, anchor="end", look="halo")
    panel.upright(1.0, "roof")
    drawn.append(
        label(panel.x(1.0), top - 4, say("ladder.peak", peak=number(peak)), anchor="end", look="small")
    )
    return bottom + 2.6 * LINE, [*drawn, *panel.parts]


def _code(rung: str, source: str) -> Markup:
    """A rung's source, which scrolls by itself and so must be reached by keyboard."""
    return tag("pre", tag("code", lines_of(source)), tabindex="0", role="region", aria_label=rung)


def _sources(rows: Sequence[Mapping[str, Any]], peak: float, n: int, say: Words) -> Markup:
    """A card for each rung: its speed, why it is faster than the one before, and its source."""
    cards, before = [], {True: 0.0, False: 0.0}
    for row in rows:
        rung, share = row["rung"], row["gflops"] / peak
        last = before[is_numpy(rung)]
        before[is_numpy(rung)] = row["gflops"]
        told = say("ladder.share", share=percent(share), gflops=number(row["gflops"]))
        step = say("ladder.step", ratio=times(row["gflops"] / last)) if last else ""
        key = f"rungs.{rung}_reason"
        reason = say(key, n=n, entries=f"{n * n:,}", blocks=-(-n // 64)) if say.has(key) else row["reason"]
        source = source_of(rung)
        cards.append(
            tag(
                "li",
                tag("h3", tag("code", rung), class_=look_of(rung)),
                tag("p", join(told, say("page.comma") if step else "", tag("strong", step) if step else None)),
                tag("p", reason),
                _code(rung, source) if source else None,
                class_="rung",
            )
        )
    return tag("ol", *cards, class_="rungs")
