"""Figure (e): the same runs against samples and against seconds, a batch size at a time by a slider."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from numbasgd.render.chapter_page.figure import Drawn, Figure, Place, plain, side_by_side
from numbasgd.render.chapter_page.svg import LINE, Panel, Point, Scale, group, mark
from numbasgd.render.chapter_page.units import median_of, unit_of
from numbasgd.render.chapter_page.words import Words
from numbasgd.render.markup import Markup, tag
from numbasgd.render.tables import Table, number

_HEIGHT = 330
_LEAST = 0.6  # of the target: how far down the runs are drawn
_MOST = 8.0  # times the best, that the axes reach at most


def figure(valley: Mapping[str, Any], say: Words, data: str) -> Figure:
    """The figure of ``Valley.to_dict()``; ``data`` names the rows."""
    sizes = valley["sizes"]
    chosen = _first(valley)
    second, unit = unit_of([size["compiled_time"]["median"] for size in sizes if size["compiled_time"]])
    told = [_told(size, say, second, unit) for size in sizes]
    small, large = sizes[0], sizes[-1]
    see = [
        say(
            "curves.see",
            best=f"{sizes[chosen]['batch_size']:,}",
            small=small["batch_size"],
            large=f"{large['batch_size']:,}",
        )
    ]
    table = Table(
        tuple(say(f"curves.{name}") for name in ("b", "lr", "samples", "each", "time")),
        tuple(
            (
                size["batch_size"], size["lr"], median_of(size["samples"]), median_of(size["compiled"], 1e9),
                median_of(size["compiled_time"], 1e6),
            )
            for size in sizes
        ),
        say("curves.title"),
    )  # fmt: skip
    target = plain(100 * valley["target"])
    return Figure(
        name="curves",
        title=say("curves.title"),
        see=see,
        desc=say("curves.desc", runs=say.listed(told), target=target),
        draw=lambda width: side_by_side(
            width,
            [
                functools.partial(_panel, valley, say, chosen, None),
                functools.partial(_panel, valley, say, chosen, (second, unit)),
            ],
        ),
        how=say("curves.how", data=data, seeds=valley["seeds"], target=target),
        table=table,
        before=_slider(sizes, told, chosen, say),
    )


def _first(valley: Mapping[str, Any]) -> int:
    """The place of the size that is shown first: the best, or the one in the middle."""
    sizes = [size["batch_size"] for size in valley["sizes"]]
    best = valley["best"]["compiled"]
    return sizes.index(best) if best in sizes else len(sizes) // 2


def _told(size: Mapping[str, Any], say: Words, second: float, unit: str) -> str:
    """What a batch size takes, in a sentence."""
    values = {
        "b": f"{size['batch_size']:,}",
        "lr": number(size["lr"]),
        "each": number(1e9 * size["compiled"]["median"]),
    }
    if size["samples"] is None:
        return say("curves.not_reached", **values)
    time = number(size["compiled_time"]["median"] * second)
    return say("curves.reached", samples=f"{size['samples']['median']:,.0f}", time=f"{time} {unit}", **values)


def _slider(sizes: Sequence[Mapping[str, Any]], told: Sequence[str], chosen: int, say: Words) -> Markup:
    """The slider, and what it says of each size; without a script it is hidden and the best size is shown."""
    ticks = [tag("option", value=i, label=f"{size['batch_size']}") for i, size in enumerate(sizes)]
    return tag(
        "div",
        tag(
            "p",
            tag("label", say("curves.slider"), for_="batch-size"),
            tag(
                "input",
                type="range",
                id="batch-size",
                min=0,
                max=len(sizes) - 1,
                step=1,
                value=chosen,
                list="batch-sizes",
                hidden="",
            ),
        ),  # fmt: skip
        tag("datalist", *ticks, id="batch-sizes"),
        tag("output", told[chosen], for_="batch-size", id="batch-size-told", aria_live="polite"),
        tag("ul", *[tag("li", line) for line in told], hidden="", id="batch-size-lines"),
        class_="slider",
    )


def _panel(
    valley: Mapping[str, Any], say: Words, chosen: int, unit: tuple[float, str] | None, place: Place
) -> Drawn:
    """The runs against samples, or against time where ``unit`` is (units a second, its name)."""
    left, top, width = place
    sizes, target = valley["sizes"], valley["target"]

    def along(size: Mapping[str, Any]) -> float:
        return size["compiled"]["median"] * unit[0] if unit else 1.0

    ends = [size["samples"]["median"] * along(size) for size in sizes if size["samples"]] or [1.0]
    x = Scale(0, 1.12 * min(max(ends), _MOST * min(ends)), left + 58, left + width - 18)
    y = Scale(_LEAST * target, 1.15, top + _HEIGHT - 46, top + 30, is_log=True)
    panel = Panel(x, y)
    x_label = say("curves.time_axis", unit=unit[1]) if unit else say("curves.samples_axis")
    ticks = [(10.0**-i, f"{100 * 10.0**-i:g}%") for i in range(6) if y.holds(10.0**-i)]
    x_ticks = [(value, f"{value:,g}") for value in x.ticks(6)]
    panel.axes(x_label, say("curves.y"), y_ticks=ticks, x_ticks=x_ticks)
    panel.across(target, "target")
    panel.text(
        x.end, y(target) - 6, say("curves.target", target=plain(100 * target)), anchor="end", look="small halo"
    )
    runs = [_run(panel, valley, size, along(size), i, i == chosen) for i, size in enumerate(sizes)]
    runs.append(runs.pop(chosen))  # on top of the others
    panel.parts.append(group(runs, class_="runs"))
    return _HEIGHT, panel.parts


def _run(
    panel: Panel, valley: Mapping[str, Any], size: Mapping[str, Any], along: float, place: int, is_on: bool
) -> Markup:
    """The run of one batch size up to the target, and where it is there for the first time."""
    gap = valley["at_zero"] - valley["optimum"]
    points: list[Point] = []
    for samples, loss in zip(size["curve"]["samples"], size["curve"]["loss"], strict=True):
        excess = (loss - valley["optimum"]) / gap
        if samples * along > panel.x.high:
            break
        points.append((samples * along, excess))
        if excess <= valley["target"]:
            break
    parts = [tag("path", d=panel.through(points), class_="line")]
    if size["samples"] is not None and panel.x.holds(size["samples"]["median"] * along):
        at = size["samples"]["median"] * along
        places = panel.x(at), panel.y(valley["target"])
        parts.append(tag("path", d=f"M{places[0]},{places[1]}V{panel.y.start}", class_="drop"))
        parts.append(mark(*places, "o", "there"))
        is_far = panel.x.end - places[0] < 60
        shown = f"{at:,.0f}" if at >= 100 else number(at)
        parts.append(
            tag(
                "text",
                shown,
                x=places[0] - 7 if is_far else places[0] + 7,
                y=panel.y.start - LINE / 2,
                text_anchor="end" if is_far else None,
                class_="there strong halo",
            )  # fmt: skip
        )
    return group(parts, class_="run on" if is_on else "run", data_run=place)
