"""Figures (g): the chapter's exercises, answered with this machine's numbers."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from numbasgd.render.chapter_page.figure import Drawn, Figure, Place, percent, side_by_side, times
from numbasgd.render.chapter_page.svg import LINE, SHAPES, WIDE, Panel, Scale, group, keys, label, log_scale
from numbasgd.render.chapter_page.words import Words
from numbasgd.render.markup import Markup, tag
from numbasgd.render.tables import Table, number

_HEIGHT = 320
_GOOD, _BAD = 0.003, 1.0  # excesses that a cell is coloured the most and the least at


def figures(found: Mapping[str, Any], say: Words, data: str, stable: float) -> list[Figure]:
    """The four figures of ``Exercises.to_dict()``; ``data`` names the rows.

    stable : the largest rate at which gradient descent does not diverge.
    """
    how = say("exercises.how", data=data, n=f"{found['n']:,}", seeds=found["seeds"])
    return [
        _vary(found, say, how, stable),
        _divided(found, say, how),
        _replacement(found, say, how),
        _twice(found, say, how),
    ]


def _vary(found: Mapping[str, Any], say: Words, how: str, stable: float) -> Figure:
    """Excess by batch size and rate as a map, and what an epoch takes."""
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
