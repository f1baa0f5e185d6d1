"""Figure (f): time to a loss by batch size, and its two causes, samples needed and seconds a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numbasgd.render.chapter_page.figure import Drawn, Figure, Place, plain, times
from numbasgd.render.chapter_page.svg import LINE, WIDE, Panel, keys, label, log_scale
from numbasgd.render.chapter_page.units import median_of, unit_of
from numbasgd.render.chapter_page.words import Words
from numbasgd.render.markup import Markup
from numbasgd.render.tables import Table, number

_KINDS = (("compiled", "s0", "o"), ("interpreted", "s1 d1", "s"))
_HEIGHTS = (150, 150, 230)  # of the panels, from the top


def figure(valleys: Sequence[tuple[Mapping[str, Any], str]], say: Words) -> Figure:
    """The figure of some valleys, each ``Valley.to_dict()`` with the name of its data."""
    first, name = valleys[0]
    see = [say("valley.see")] + [_verdict(valley, data, say) for valley, data in valleys]
    rows = []
    for valley, data in valleys:
        for size in valley["sizes"]:
            rows.append(
                (
                    data, size["batch_size"], size["lr"], median_of(size["samples"]),
                    median_of(size["compiled"], 1e9), median_of(size["compiled_time"], 1e6),
                    median_of(size["interpreted"], 1e9), median_of(size["interpreted_time"], 1e6),
                )
            )  # fmt: skip
    heads = ("data", "b", "lr", "samples", "compiled", "compiled_time", "interpreted", "interpreted_time")
    described = [
        f"b = {size['batch_size']}{say('page.colon')}{number(1e6 * size['compiled_time']['median'])} µs"
        for size in first["sizes"]
        if size["compiled_time"]
    ]
    return Figure(
        name="valley",
        title=say("valley.title"),
        see=see,
        desc=say("valley.desc", data=name, times=say.listed(described)),
        draw=lambda width: _draw(valleys, say, width),
        how=say("valley.how", target=plain(100 * first["target"]), seeds=first["seeds"]),
        table=Table(tuple(say(f"valley.{head}") for head in heads), tuple(rows), say("valley.title")),
    )


def _verdict(valley: Mapping[str, Any], data: str, say: Words) -> str:
    """Which size wins, what is near it, and what one sample and all rows take."""
    by_size = {size["batch_size"]: size for size in valley["sizes"]}
    best = by_size.get(valley["best"]["compiled"])
    if best is None:
        return say("valley.none", data=data)
    others = []
    for size in (valley["sizes"][0], valley["sizes"][-1]):
        b = f"{size['batch_size']:,}"
        if size["compiled_time"] is None:
            others.append(say("valley.never", b=b))
        elif size["batch_size"] not in valley["near"]["compiled"]:
            ratio = size["compiled_time"]["median"] / best["compiled_time"]["median"]
            others.append(say("valley.ratio", b=b, ratio=times(ratio)))
    near = [f"{b:,}" for b in valley["near"]["compiled"] if b != best["batch_size"]]
    told = say(
        "valley.best", data=data, b=f"{best['batch_size']:,}",
        others=say("valley.others", others=say.listed(others)) if others else "",
        near=say("valley.near", near=say.listed(near)) if near else "",
    )  # fmt: skip
    slow = valley["best"]["interpreted"]
    return told + (say("valley.loop", b=f"{slow:,}") if slow else "")


def _draw(valleys: Sequence[tuple[Mapping[str, Any], str]], say: Words, width: int) -> Drawn:
    """A column of three panels for each valley, beside each other where there is room."""
    entries = [(shape, look, say(f"valley.{kind}_steps")) for kind, look, shape in _KINDS]
    drawn, top = keys(entries, 10, 14, width - 10)
    height = sum(_HEIGHTS) + 76
    parts = list(drawn)
    if width == WIDE:
        each = width / len(valleys)
        for i, (valley, data) in enumerate(valleys):
            parts += _column(valley, data, say, Place(i * each, top, each))
        return top + height, parts
    for i, (valley, data) in enumerate(valleys):
        parts += _column(valley, data, say, Place(0, top + i * (height + 10), width))
    return top + len(valleys) * (height + 10), parts


def _column(valley: Mapping[str, Any], data: str, say: Words, place: Place) -> list[Markup]:
    """Samples needed, seconds a sample, and below them their product, over the same batch sizes."""
    left, top, width = place
    sizes = valley["sizes"]
    x = log_scale([size["batch_size"] for size in sizes], left + 58, left + width - 16, margin=1.4)
    parts = [label(left + 10, top + 12, data, look="strong")]
    top += 24
    each, each_unit = 1e9, "ns"
    second, unit = unit_of([s["compiled_time"]["median"] for s in sizes if s["compiled_time"]])
    reached = [size for size in sizes if size["samples"]]
    rows: list[tuple[str, list[tuple[str, str, str, float]], list[Mapping[str, Any]]]] = [
        (say("valley.samples_axis"), [("samples", "s2 d2", "D", 1.0)], reached),
        (
            say("valley.each_axis", unit=each_unit),
            [(kind, look, shape, each) for kind, look, shape in _KINDS], list(sizes),
        ),
        (
            say("valley.time_axis", unit=unit),
            [(f"{kind}_time", look, shape, second) for kind, look, shape in _KINDS], reached,
        ),
    ]  # fmt: skip
    for (title, lines, chosen), height in zip(rows, _HEIGHTS, strict=True):
        values = [factor * size[key][q] for key, _, _, factor in lines for size in chosen for q in ("q1", "q3")]
        is_last = height == _HEIGHTS[-1]
        panel = Panel(x, log_scale(values, top + height - 22, top + 24, margin=2.2 if is_last else 1.25))
        panel.axes(say("valley.x") if is_last else "", title)
        for key, look, shape, factor in lines:
            _series(panel, chosen, key, factor, (look, shape))
        if is_last:
            _best(panel, valley, second, unit, say)
        parts += panel.parts
        top += height + LINE
    return parts


def _series(
    panel: Panel, sizes: Sequence[Mapping[str, Any]], key: str, factor: float, kind: tuple[str, str]
) -> None:
    """A line through the medians, and an upright one between the quartiles of each."""
    look, shape = kind
    panel.line([(size["batch_size"], factor * size[key]["median"]) for size in sizes], look)
    for size in sizes:
        found = {name: factor * value for name, value in size[key].items()}
        panel.spread(size["batch_size"], found["q1"], found["q3"], look)
        panel.mark(
            size["batch_size"],
            found["median"],
            shape,
            look,
            f"b = {size['batch_size']}: {number(found['median'])}",
        )


def _best(panel: Panel, valley: Mapping[str, Any], second: float, unit: str, say: Words) -> None:
    """The value beside the lowest point of each line."""
    for kind, _, _ in _KINDS:
        for size in valley["sizes"]:
            if size["batch_size"] == valley["best"][kind] and size[f"{kind}_time"]:
                value = second * size[f"{kind}_time"]["median"]
                x, y = panel.x(size["batch_size"]), panel.y(value)
                anchor = "end" if panel.x.end - x < 60 else "middle"
                panel.text(x, y + LINE + 2, f"{number(value)} {unit}", anchor=anchor, look="small strong halo")
