"""Figure (c): the memory hierarchy, as bandwidth and as the time of a number, by working set."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from numbasgd.machine.fingerprint import size
from numbasgd.render.chapter_page.figure import Drawn, Figure, Place, side_by_side, times
from numbasgd.render.chapter_page.svg import SHAPES, Panel, keys, log_scale
from numbasgd.render.chapter_page.words import Words
from numbasgd.render.tables import Table, number

_HEIGHT = 330
_APART = 1.2  # times the latency, above which the time of a random load in the figure needs a reason
_ORDERS = ("sequential", "strided", "random", "chase")


def figure(memory: Mapping[str, Any], say: Words) -> Figure:
    """The figure of ``Memory.to_dict()``."""
    levels = memory["limits"]["levels"]
    first, last = levels[0], levels[-1]
    in_order, at_random = (_slowest(memory, name) for name in ("sequential", "chase"))
    see = [
        say(
            "memory.bandwidth_see", first=first["name"], fast=number(first["read"]), slow=number(last["read"]),
            ratio=times(first["read"] / last["read"]),
        )
    ]  # fmt: skip
    if in_order and at_random:
        see.append(say("memory.order_see", ns=number(at_random), count=f"{at_random / in_order:,.0f}"))
        # The latency of a level is measured within few pages at a time, that of a chase is not.
        if at_random > _APART * last["latency"]:
            see.append(say("memory.translation", ns=number(at_random), latency=number(last["latency"])))
    table = Table(
        tuple(say(f"memory.{name}") for name in ("level", "size", "read", "latency")),
        tuple(
            (
                _level(level["name"], say), "" if level["bytes"] is None else size(level["bytes"]),
                level["read"], level["latency"],
            )
            for level in levels
        ),
        say("memory.title"),
    )  # fmt: skip
    described = [
        f"{_level(level['name'], say)}{say('page.colon')}{number(level['read'])} GB/s, "
        f"{number(level['latency'])} ns"
        for level in levels
    ]
    return Figure(
        name="memory",
        title=say("memory.title"),
        see=see,
        desc=say("memory.desc", levels=say.listed(described)),
        draw=lambda width: side_by_side(
            width,
            [
                functools.partial(_bandwidth, memory, say),
                functools.partial(_orders, memory, say),
            ],
        ),
        how=say("memory.how"),
        table=table,
    )


def _level(name: str, say: Words) -> str:
    return say("roofline.in_memory") if name == "memory" else name


def _slowest(memory: Mapping[str, Any], name: str) -> float | None:
    """Nanoseconds of a number in the largest working set, read in the order ``name``."""
    found = [(row["working_set"], row["ns"]) for row in memory["patterns"] if row["name"] == name]
    return max(found)[1] if found else None


def _panel(sizes: Sequence[float], values: Sequence[float], place: Place, say: Words, title: str) -> Panel:
    """Axes of working sets, with upright lines where the caches end."""
    left, top, width = place
    x = log_scale(sizes, left + 52, left + width - 14, margin=1.0)
    panel = Panel(x, log_scale(values, top + _HEIGHT - 46, top + 74))
    powers = range(math.ceil(math.log2(x.low)), math.floor(math.log2(x.high)) + 1)
    ticks = [(2.0**i, size(2**i)) for i in powers if i % 4 == 0]
    return panel.axes(say("memory.working_set"), title, x_ticks=ticks)


def _caches(panel: Panel, memory: Mapping[str, Any], y: float) -> None:
    """An upright line where each cache ends, its name at the height ``y``."""
    for level in memory["limits"]["levels"]:
        if level["bytes"] is not None and panel.x.holds(level["bytes"]):
            panel.upright(level["bytes"])
            panel.text(
                panel.x(level["bytes"]) - 4,
                y,
                level["name"],
                anchor="end",
                look="soft small halo",
            )


def _bandwidth(memory: Mapping[str, Any], say: Words, place: Place) -> Drawn:
    """GB/s of reading in order, its median and its spread."""
    found = memory["limits"]["bandwidth"]["read"]["one"]
    panel = _panel(
        [p["bytes"] for p in found], [v for p in found for v in (p["low"], p["high"])], place, say,
        say("memory.bandwidth_axis"),
    )  # fmt: skip
    _caches(panel, memory, panel.y.start - 6)
    panel.band([(p["bytes"], p["low"], p["high"]) for p in found], "s0")
    panel.line([(p["bytes"], p["value"]) for p in found], "s0")
    for p in found:
        panel.mark(p["bytes"], p["value"], "o", "s0 bare", f"{size(p['bytes'])}: {number(p['value'])} GB/s")
    return _HEIGHT, panel.parts


def _orders(memory: Mapping[str, Any], say: Words, place: Place) -> Drawn:
    """Nanoseconds of a number, read in four orders."""
    left, top, width = place
    rows = memory["patterns"]
    names = [name for name in _ORDERS if any(row["name"] == name for row in rows)]
    looks = {name: (SHAPES[i], f"s{i} d{i}") for i, name in enumerate(names)}
    panel = _panel(
        [row["working_set"] for row in rows], [row[q] for row in rows for q in ("low", "high")], place, say,
        say("memory.order_axis"),
    )  # fmt: skip
    _caches(panel, memory, panel.y.end + 12)
    for name in names:
        shape, look = looks[name]
        chosen = sorted((row for row in rows if row["name"] == name), key=lambda row: row["working_set"])
        panel.band([(row["working_set"], row["low"], row["high"]) for row in chosen], look)
        panel.line([(row["working_set"], row["ns"]) for row in chosen], look)
        for row in chosen:
            panel.mark(
                row["working_set"],
                row["ns"],
                shape,
                look,
                f"{size(row['working_set'])}: {number(row['ns'])} ns",
            )
    drawn, _ = keys([(*looks[name], say(f"memory.{name}")) for name in names], left + 10, top + 14, width - 10)
    return _HEIGHT, [*drawn, *panel.parts]
