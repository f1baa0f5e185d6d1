"""Figure (b): the rungs of the ladder under this machine's measured roofline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from numbasgd.machine.fingerprint import size
from numbasgd.render.chapter_page.figure import Drawn, Figure, percent
from numbasgd.render.chapter_page.ladder import rows_of
from numbasgd.render.chapter_page.svg import LINE, WIDE, Panel, Scale, keys, label
from numbasgd.render.chapter_page.words import Words
from numbasgd.render.figures import separated
from numbasgd.render.markup import tag
from numbasgd.render.tables import Table, number

_LOOKS = (("s0", "o"), ("s2", "s"), ("s3", "D"))
_ITEM = {"float32": 4, "float64": 8}


def figure(roofline: Mapping[str, Any], ladder: Mapping[str, Any], say: Words) -> Figure:
    """The figure of ``Roofline.to_dict()``; the rungs' points are those of the ladder's own run."""
    levels, peak = roofline["limits"]["levels"], roofline["limits"]["fma"][roofline["dtype"]]["one"]["value"]
    points = _points(roofline, ladder, levels, peak)
    product = ladder["products"][0]
    intensity = 2 * product["size"] / 3 / _ITEM[product["dtype"]]
    memory = levels[-1]["read"] * intensity
    see = [
        say("roofline.read"),
        say(
            "roofline.arithmetic" if memory > peak else "roofline.memory", intensity=number(intensity),
            bandwidth=number(levels[-1]["read"]), could=number(memory), peak=number(peak),
        ),
    ]  # fmt: skip
    table = Table(
        tuple(say(f"roofline.{name}") for name in ("kernel", "of", "intensity", "speed", "level", "share")),
        tuple(
            (p["name"], _group(p["group"], say), p["intensity"], p["gflops"], p["level"], percent(p["share"]))
            for p in points
        ),
        say("roofline.title"),
    )
    return Figure(
        name="roofline",
        title=say("roofline.title"),
        see=see,
        desc=say(
            "roofline.desc", peak=number(peak),
            points=say.listed([f"{p['name']} {number(p['gflops'])} GFLOP/s" for p in points]),
        ),
        draw=lambda width: _draw(points, levels, peak, say, width),
        how=say("roofline.how", dtype=roofline["dtype"]),
        table=table,
    )  # fmt: skip


def _points(
    roofline: Mapping[str, Any], ladder: Mapping[str, Any], levels: Sequence[Mapping[str, Any]], peak: float
) -> list[dict[str, Any]]:
    """The ladder's rungs, then what else the roofline's run placed: larger products and gradients."""
    product = ladder["products"][0]
    n, item = product["size"], _ITEM[product["dtype"]]
    own = f"{n} x {n}"
    n_bytes = 3 * n * n * item
    level = next((one for one in levels if one["bytes"] is None or n_bytes <= one["bytes"]), levels[-1])
    intensity = 2 * n**3 / n_bytes
    roof = min(peak, intensity * level["read"])
    found: list[dict[str, Any]] = [
        {
            "name": row["rung"], "group": own, "intensity": intensity, "gflops": row["gflops"],
            "level": level["name"], "share": row["gflops"] / roof,
        }
        for row in rows_of(ladder)
    ]  # fmt: skip
    for point in roofline["points"]:
        if point["group"] != own:
            found.append({**point, "share": point["roofline_share"]})
    return found


def _group(name: str, say: Words) -> str:
    return say("roofline.gradient") if name == "gradient" else say("roofline.product", size=name)


def _draw(
    points: Sequence[Mapping[str, Any]],
    levels: Sequence[Mapping[str, Any]],
    peak: float,
    say: Words,
    width: int,
) -> Drawn:
    """Slopes of the levels, the flat roof, and the points with their names beside each group."""
    is_wide = width == WIDE
    height = 520 if is_wide else 560
    groups = list(dict.fromkeys(p["group"] for p in points))
    looks = {name: _LOOKS[i % len(_LOOKS)] for i, name in enumerate(groups)}
    drawn, top = keys(
        [(looks[name][1], f"{looks[name][0]} none", _group(name, say)) for name in groups], 10, 14, width - 10
    )
    low = min(p["gflops"] for p in points) / 1.6
    left_edge = min(p["intensity"] for p in points) / 8
    right_edge = max(p["intensity"] for p in points) * (6 if is_wide else 10)
    panel = Panel(
        Scale(left_edge, right_edge, 52, width - 24, is_log=True),
        Scale(low, peak * 1.9, height - 46, top + 30, is_log=True),
    )
    powers = range(math.ceil(math.log2(left_edge)), math.floor(math.log2(right_edge)) + 1)
    step = 1 if is_wide else 2
    ticks = [(2.0**i, f"1/{2**-i}" if i < 0 else str(2**i)) for i in powers if i % step == 0]
    panel.axes(say("roofline.x"), "GFLOP/s", x_ticks=ticks)
    _roofs(panel, levels, peak, say, is_wide=is_wide)
    for i, name in enumerate(groups):
        chosen = [p for p in points if p["group"] == name]
        _group_of_points(panel, chosen, looks[name], peak, on_left=i == 0, has_names=is_wide or i == 0)
    return height, [*drawn, *panel.parts]


def _roofs(
    panel: Panel, levels: Sequence[Mapping[str, Any]], peak: float, say: Words, *, is_wide: bool
) -> None:
    x, y = panel.x, panel.y
    fastest = max(level["read"] for level in levels)
    panel.line([(peak / fastest, peak), (x.high, peak)], "roof")
    panel.parts.append(
        label(x.end, y(peak) - 6, say("roofline.peak", peak=number(peak)), anchor="end", look="small")
    )
    for level in levels:
        start = max(x.low, y.low / level["read"])
        panel.line([(start, start * level["read"]), (peak / level["read"], peak)], "slope")
    slope = -math.degrees(
        math.atan2((y.start - y.end) / math.log(y.high / y.low), (x.end - x.start) / math.log(x.high / x.low))
    )
    for i, level in enumerate(levels):
        extent = "" if level["bytes"] is None or not is_wide else f" ({size(level['bytes'])})"
        name = say(
            "roofline.level_name", name=_level(level["name"], say), extent=extent, read=number(level["read"])
        )
        # Along its line: above it, but below where the next faster line is too close.
        is_above = i == 0 or levels[i - 1]["read"] > 1.6 * level["read"]
        at = max(x.low, y.low / level["read"]) * 1.06
        down = -5 if is_above else LINE - 2
        place = f"translate({x(at):g},{y(at * level['read']):g}) rotate({slope:.1f}) translate(0,{down})"
        panel.parts.append(tag("text", name, transform=place, class_="small soft halo"))


def _level(name: str, say: Words) -> str:
    return say("roofline.in_memory") if name == "memory" else name


def _named(name: str) -> str:
    """A rung's name; rows and columns of a gradient with their thousands."""
    sides = name.split(" x ")
    return " × ".join(f"{int(side):,}" for side in sides) if all(map(str.isdecimal, sides)) else name


def _group_of_points(
    panel: Panel,
    points: Sequence[Mapping[str, Any]],
    look: tuple[str, str],
    peak: float,
    *,
    on_left: bool,
    has_names: bool,
) -> None:
    """The points of one group; beside them their names, moved apart where they would overlap."""
    ordered = sorted(points, key=lambda p: p["gflops"])
    below_roof = panel.y(peak) + LINE - 4
    places = [-y for y in separated([-panel.y(p["gflops"]) for p in ordered], LINE, -below_roof)]
    side = panel.x(min(p["intensity"] for p in points)) - 16 if on_left else None
    for point, y in zip(ordered, places, strict=True):
        told = f"{point['name']}: {number(point['gflops'])} GFLOP/s, {percent(point['share'])}"
        if has_names:
            text = f"{_named(point['name'])}, {percent(point['share'])}"
            x = panel.x(point["intensity"])
            edge = side if side is not None else panel.x(max(p["intensity"] for p in points)) + 16
            y_point = panel.y(point["gflops"])
            panel.parts.append(tag("path", d=f"M{x:g},{y_point:g}L{edge:g},{y:g}", class_="leader"))
            at = edge - 3 if on_left else edge + 3
            panel.text(at, y + 4, text, anchor="end" if on_left else "start", look="small halo")
        panel.mark(point["intensity"], point["gflops"], look[1], look[0], told)
