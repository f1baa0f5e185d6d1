"""Figures (g): the chapter's exercises, answered with this machine's numbers."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from numbasgd.render.chapter_page import rates
from numbasgd.render.chapter_page.figure import Drawn, Figure, Place, percent, side_by_side, times
from numbasgd.render.chapter_page.svg import SHAPES, WIDE, Panel, Scale, group, keys, log_scale
from numbasgd.render.chapter_page.words import Words
from numbasgd.render.markup import Markup
from numbasgd.render.tables import Table

_HEIGHT = 320


def figures(found: Mapping[str, Any], say: Words, data: str, stable: float) -> list[Figure]:
    """The four figures of ``Exercises.to_dict()``; ``data`` names the rows.

    stable : the largest rate at which gradient descent does not diverge.
    """
    how = say("exercises.how", data=data, seeds=found["seeds"])
    return [
        rates.figure(found, say, how, stable),
        _divided(found, say, how),
        _replacement(found, say, how),
        _twice(found, say, how),
    ]


def _divided(found: Mapping[str, Any], say: Words, how: str) -> Figure:
    """One rate, and the rate divided by ten after each epoch."""
    pair = found["divided"]
    constant, divided = pair["usual"], pair["changed"]
    end = [curve["median"][-1] for curve in (constant, divided)]
    key = "exercises.divided_better" if end[1] < end[0] else "exercises.divided_worse"
    values = {"b": pair["batch_size"], "lr": f"{pair['lr']:g}"}
    lines = [(say("exercises.constant"), constant), (say("exercises.tenth"), divided)]
    return Figure(
        name="divided", title=say("exercises.divided_title"),
        see=[say(key, constant=percent(end[0]), divided=percent(end[1]), **values)],
        desc=say("exercises.curves_desc", ends=_ends(lines, say)),
        draw=lambda width: _one_panel(lines, say, width), how=how,
        table=_by_epoch(lines, say, say("exercises.divided_title")),
    )  # fmt: skip


def _replacement(found: Mapping[str, Any], say: Words, how: str) -> Figure:
    """Rows shuffled, and drawn with replacement."""
    pairs = found["replacement"]
    shuffled, drawn = ([_late(pair[name]) for pair in pairs] for name in ("usual", "changed"))
    ratio = max(b / a for a, b in zip(shuffled, drawn, strict=True))
    key = "exercises.replacement_worse" if ratio > 1.1 else "exercises.replacement_same"
    see = [say(key, ratio=times(ratio))]
    names = [say("exercises.shuffled"), say("exercises.drawn")]
    return _pairs("replacement", pairs, names, see, how, say)


def _late(curve: Mapping[str, Any]) -> float:
    """The mean excess over the second half of a run, where only noise is left."""
    late = curve["median"][len(curve["median"]) // 2 :]
    return sum(late) / len(late)


def _twice(found: Mapping[str, Any], say: Words, how: str) -> Figure:
    """The data as they are, and every row there twice."""
    pairs = found["twice"]
    gd = pairs[0]
    others = [pair for pair in pairs if pair is not gd]
    ahead = [pair["usual"]["median"][1] / pair["changed"]["median"][1] for pair in others]
    see = [
        say("exercises.twice_gd", ratio=times(gd["changed_seconds"] / gd["usual_seconds"])),
        say(
            "exercises.twice_others", low=times(min(ahead)), high=times(max(ahead)),
            ratio=times(max(pair["changed_seconds"] / pair["usual_seconds"] for pair in others)),
        ),
    ]  # fmt: skip
    names = [say("exercises.once"), say("exercises.two")]
    return _pairs("twice", pairs, names, see, how, say)


def _pairs(
    name: str,
    pairs: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    see: Sequence[str],
    how: str,
    say: Words,
) -> Figure:
    """A panel for each run, as the chapter has it and changed."""
    title = say(f"exercises.{name}_title")
    heads = [say("exercises.run"), "b", "lr"]
    for changed in names:
        heads += [f"{changed}, 1", f"{changed}, {len(pairs[0]['usual']['median']) - 1}", f"{changed}, µs"]
    rows = [
        (
            _run_name(pair, say), pair["batch_size"], pair["lr"],
            *(
                value
                for kind in ("usual", "changed")
                for value in (
                    percent(pair[kind]["median"][1]), percent(pair[kind]["median"][-1]),
                    1e6 * pair[f"{kind}_seconds"],
                )
            ),
        )
        for pair in pairs
    ]  # fmt: skip

    ends = [
        f"{_run_name(pair, say)}{say('page.colon')}{percent(pair['usual']['median'][-1])} / "
        f"{percent(pair['changed']['median'][-1])}"
        for pair in pairs
    ]
    desc = say("exercises.pairs_desc", usual=names[0], changed=names[1], ends=say.listed(ends))
    return Figure(
        name=name, title=title, see=see, desc=desc, draw=lambda width: _grid(pairs, names, say, width),
        how=f"{how} {say('exercises.table_note')}", table=Table(tuple(heads), tuple(rows), title),
    )  # fmt: skip


def _grid(pairs: Sequence[Mapping[str, Any]], names: Sequence[str], say: Words, width: int) -> Drawn:
    """The panels of some pairs, on scales that are all the same."""
    lines = [[(names[0], pair["usual"]), (names[1], pair["changed"])] for pair in pairs]
    values = [v for pair in lines for _, curve in pair for q in ("q1", "q3") for v in curve[q]]
    parts, top = _keys(names, width)
    in_a_row = (3 if len(pairs) == 3 else 2) if width == WIDE else 1
    panels = [
        functools.partial(_panel, line, values, _run_name(pair, say), say)
        for line, pair in zip(lines, pairs, strict=True)
    ]
    for i in range(0, len(panels), in_a_row):
        tall, drawn = side_by_side(width, panels[i : i + in_a_row])
        parts.append(group(drawn, transform=f"translate(0,{top:g})"))
        top += tall
    return top, parts


def _run_name(pair: Mapping[str, Any], say: Words) -> str:
    named = {"gd": say("exercises.gd"), "sgd": say("exercises.sgd")}
    told = named.get(pair["name"], say("exercises.minibatch", b=pair["batch_size"]))
    return f"{told}, lr = {pair['lr']:g}"


def _ends(lines: Sequence[tuple[str, Mapping[str, Any]]], say: Words) -> str:
    return say.listed([f"{name} {percent(curve['median'][-1])}" for name, curve in lines])


def _by_epoch(lines: Sequence[tuple[str, Mapping[str, Any]]], say: Words, title: str) -> Table:
    rows = [
        (epoch, *(percent(curve["median"][epoch]) for _, curve in lines))
        for epoch in range(len(lines[0][1]["median"]))
    ]
    return Table((say("exercises.epoch"), *(name for name, _ in lines)), tuple(rows), title)


def _look(place: int) -> tuple[str, str]:
    return SHAPES[place], f"s{place} d{place}"


def _keys(names: Sequence[str], width: int) -> tuple[list[Markup], float]:
    return keys([(*_look(i), name) for i, name in enumerate(names)], 10, 14, width - 10)


def _one_panel(lines: Sequence[tuple[str, Mapping[str, Any]]], say: Words, width: int) -> Drawn:
    drawn, top = _keys([name for name, _ in lines], width)
    values = [v for _, curve in lines for q in ("q1", "q3") for v in curve[q]]
    height, parts = _panel(lines, values, "", say, Place(0, top, width))
    return top + height, [*drawn, *parts]


def _panel(
    lines: Sequence[tuple[str, Mapping[str, Any]]],
    values: Sequence[float],
    title: str,
    say: Words,
    place: Place,
) -> Drawn:
    """Excess after each epoch: medians as lines, quartiles as bands.  values : what the scale must hold."""
    left, top, width = place
    last = len(lines[0][1]["median"]) - 1
    y = log_scale(values, top + _HEIGHT - 46, top + (44 if title else 28), margin=1.1)
    panel = Panel(Scale(0, last, left + 58, left + width - 18), y)
    ticks = [(value, percent(value, 1)) for value in y.ticks(7)]
    panel.axes(say("exercises.epoch"), say("exercises.y"), title=title, y_ticks=ticks)
    for i, (name, curve) in enumerate(lines):
        shape, look = _look(i)
        points = list(enumerate(zip(curve["median"], curve["q1"], curve["q3"], strict=True)))
        panel.band([(epoch, q1, q3) for epoch, (_, q1, q3) in points], look)
        panel.line([(epoch, median) for epoch, (median, _, _) in points], look)
        for epoch, (median, _, _) in points:
            panel.mark(
                epoch, median, shape, look, f"{name}, {say('exercises.epoch')} {epoch}: {percent(median)}"
            )
    return _HEIGHT, panel.parts
