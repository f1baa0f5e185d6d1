"""Figure (d): the standard deviation of a minibatch gradient by batch size, measured and by both laws."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from numbasgd.render.chapter_page.figure import Drawn, Figure, Place, side_by_side
from numbasgd.render.chapter_page.svg import WIDE, Panel, keys, log_scale
from numbasgd.render.chapter_page.words import Words
from numbasgd.render.tables import Table, number

_KINDS = (("with_replacement", "s0", "o"), ("without_replacement", "s1", "s"))
_HEIGHT, _KEYS, _FEW_KEYS = 370, 108, 62  # of a panel, and of the legend above its axes, long or short
_SAME = 1e-6  # a deviation below this share of one sample's is rounding


def figure(noise: Mapping[str, Any], say: Words, data: str) -> Figure:
    """The figure of ``Noise.to_dict()``; ``data`` names the rows."""
    sigma = noise["sigma"]
    pairs = list(zip(noise["with_replacement"], noise["without_replacement"], strict=True))
    worst = max(
        abs(row["std"] / row["predicted"] - 1)
        for row in (*noise["with_replacement"], *noise["without_replacement"])
        if row["predicted"] > _SAME * sigma
    )
    hundred = min(pairs, key=lambda pair: abs(pair[0]["batch_size"] - 100))[0]
    one = pairs[0][0]
    see = [
        say(
            "noise.see", b=hundred["batch_size"], std=number(hundred["std"]), one=number(one["std"]),
            share=number(100 * hundred["std"] / one["std"], 2),
        ),
        say("noise.laws", worst=number(100 * worst, 2), draws=f"{one['draws']:,}"),
    ]  # fmt: skip
    heads = ("b", "with_measured", "with_law", "without_measured", "without_law")
    table = Table(
        tuple(say(f"noise.{name}") for name in heads),
        tuple(
            (a["batch_size"], a["std"], a["predicted"], _rounded(c["std"], sigma), c["predicted"])
            for a, c in pairs
        ),
        say("noise.title"),
    )
    return Figure(
        name="noise",
        title=say("noise.title"),
        see=see,
        desc=say("noise.desc", one=number(one["std"]), b=hundred["batch_size"], std=number(hundred["std"])),
        draw=lambda width: _draw(noise, say, width),
        how=say("noise.how", data=data, draws=f"{one['draws']:,}"),
        table=table,
    )


def _rounded(std: float, sigma: float) -> float:
    return std if std > _SAME * sigma else 0.0


def _draw(noise: Mapping[str, Any], say: Words, width: int) -> Drawn:
    """The noise, and beside it what a step costs."""
    return side_by_side(
        width,
        [
            functools.partial(_deviations, noise, say),
            functools.partial(_costs, noise, say, _KEYS if width == WIDE else _FEW_KEYS),
        ],
    )


def _deviations(noise: Mapping[str, Any], say: Words, place: Place) -> Drawn:
    """Marks are measured, lines are the laws; the second falls to nothing where all rows are drawn."""
    left, top, width = place
    n, sigma = noise["n"], noise["sigma"]
    entries = []
    for i, (name, look, shape) in enumerate(_KINDS):
        entries.append((shape, f"{look} none", say(f"noise.{name.partition('_')[0]}_measured")))
        entries.append(("", f"{look} d{2 * i}", say(f"noise.{name.partition('_')[0]}_law")))
    drawn, _ = keys(entries, left + 10, top + 14, width - 10)
    smallest = sigma / n**0.5
    panel = Panel(
        log_scale([1, n], left + 56, left + width - 20),
        log_scale([smallest / 4, sigma], top + _HEIGHT - 46, top + _KEYS),
    )
    panel.axes(say("noise.x"), say("noise.y"))
    for i, (name, look, shape) in enumerate(_KINDS):
        law = [b for k in range(61) if (b := n ** (k / 60)) < n] + ([] if i else [n])
        points = [(b, sigma / b**0.5 * (((n - b) / max(n - 1, 1)) ** 0.5 if i else 1.0)) for b in law]
        panel.line([(b, std) for b, std in points if std >= panel.y.low], f"{look} d{2 * i}")
        for row in noise[name]:
            if row["std"] > panel.y.low:
                panel.mark(
                    row["batch_size"], row["std"], shape, look, f"b = {row['batch_size']}: {number(row['std'])}"
                )
    return _HEIGHT, [*drawn, *panel.parts]


def _costs(noise: Mapping[str, Any], say: Words, keys_height: float, place: Place) -> Drawn:
    """Microseconds of a step, compiled and as a loop of NumPy calls, with their quartiles."""
    left, top, width = place
    steps, height = noise["steps"], _HEIGHT - _KEYS + keys_height
    kinds = (("compiled", "s2 d3", "D"), ("interpreted", "s3 d1", "^"))
    entries = [(shape, look, say(f"valley.{kind}_steps")) for kind, look, shape in kinds]
    drawn, _ = keys(entries, left + 10, top + 14, width - 10)
    values = [1e6 * step[kind][q] for step in steps for kind, _, _ in kinds for q in ("q1", "q3")]
    panel = Panel(
        log_scale([1, noise["n"]], left + 56, left + width - 20),
        log_scale(values, top + height - 46, top + keys_height),
    )
    panel.axes(say("noise.x"), say("noise.cost_y"))
    for kind, look, shape in kinds:
        panel.line([(step["batch_size"], 1e6 * step[kind]["median"]) for step in steps], look)
        for step in steps:
            b, found = step["batch_size"], step[kind]
            panel.spread(b, 1e6 * found["q1"], 1e6 * found["q3"], look)
            panel.mark(b, 1e6 * found["median"], shape, look, f"b = {b}: {number(1e6 * found['median'])} µs")
    return height, [*drawn, *panel.parts]
