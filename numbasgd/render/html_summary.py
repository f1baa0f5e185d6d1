"""The first screen of a comparison's page: its ``Summary``, which the terminal prints too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from numbasgd.compare.machines import letter
from numbasgd.compare.summary_model import Limit, Summary
from numbasgd.compare.summary_words import sentences, standing_out
from numbasgd.render.html_style import chip
from numbasgd.render.html_tables import figure_cell, table_of
from numbasgd.render.markup import Markup, join, tag
from numbasgd.render.summary_text import extreme, movers
from numbasgd.render.tables import number

_SCALES = {"blas": "share of the BLAS", "peak": "share of peak", "roofline": "share of roofline"}


def summary_section(summary: Summary) -> Markup:
    """What was found, the machines, their limits, the families of cases, and the cases that moved most."""
    first, *others = (*sentences(summary), *standing_out(summary))
    said = join(
        tag("p", first, class_="headline"),
        tag("ul", *[tag("li", line) for line in others], class_="plain") if others else None,
    )
    return join(
        tag("div", tag("div", said), _machines(summary), class_="top"),
        tag("div", _limits(summary), _families(summary), *_moved(summary), class_="blocks"),
    )


def _machines(summary: Summary) -> Markup:
    """A line for each machine: its letter, its file, what it is, and whether it was busy."""
    lines = []
    for place, machine in enumerate(summary.machines):
        busy = [busy for busy in summary.busy if busy.place == place]
        worst = max((b.noise for b in busy), default=0.0)
        said = "under load" if any(b.is_loaded for b in busy) else "busy"
        runs = f" ({machine.runs} runs)" if machine.runs > 1 else None
        badge = tag("span", f"{said}: rounds scatter by {100 * worst:.2g} %", class_="verdict slower")
        about = ", ".join(machine.about) or "the file does not tell its machine"
        name = tag("strong", Path(machine.name).name, title=machine.name)
        lines.append(tag("li", chip(place), " ", name, runs, " ", about, " ", badge if busy else None))
    return tag("ul", *lines, class_="machines")


def _limits(summary: Summary) -> Markup | None:
    """The measured limits by machine, the largest marked, and their ratios."""
    limits = [limit for limit in summary.limits if limit.threads == "one"]
    limits += [limit for limit in summary.limits if limit.threads != "one"]
    if not limits:
        return None
    sides = range(len(summary.machines))
    head = [tag("th", "limit"), *[tag("th", chip(side), class_="n") for side in sides]]
    head += [tag("th", f"{letter(side)}/A", class_="n") for side in sides[1:]]
    return _block("What the machines reach", table_of(head, [_limit(limit) for limit in limits]))


def _limit(limit: Limit) -> list[Markup]:
    what = limit.name if limit.unit == "GFLOP/s" else f"read {limit.name}"
    threads = ", all threads" if limit.threads == "all" else ""
    cells = [tag("td", f"{what}{threads}, {limit.unit}")]
    best = limit.best if len(set(limit.values)) > 1 else None
    cells += [figure_cell(value, "best" if i == best else "") for i, value in enumerate(limit.values)]
    return cells + [_ratio(ratio) for ratio in limit.ratios[1:]]


def _families(summary: Summary) -> Markup:
    """The geometric means of each family: on time, then on the normalised scale."""
    sides = range(1, len(summary.machines))
    scale = _SCALES.get(summary.normalised or "")
    top = [tag("th", ""), tag("th", ""), tag("th", "time", colspan=len(sides), class_="first")]
    head = [tag("th", "kind"), tag("th", "cases", class_="n")] + _heads(sides)
    if scale:
        top.append(tag("th", scale, colspan=len(sides), class_="first"))
        head += _heads(sides)
    rows = []
    for family in sorted(summary.families, key=lambda family: -max(family.cases)):
        cases = sorted(set(family.cases))
        cells = [
            tag("td", family.name),
            tag("td", " to ".join(map(str, cases[:1] + cases[1:][-1:])), class_="n quiet"),
        ]
        cells += [_ratio(ratio, "" if i else "first") for i, ratio in enumerate(family.times)]
        cells += [_ratio(ratio, "" if i else "first") for i, ratio in enumerate(family.shares) if scale]
        rows.append(cells)
    return _block("Speed against A, geometric means", table_of(head, rows, top=top))


def _heads(sides: Sequence[int]) -> list[Markup]:
    return [tag("th", f"{letter(side)}/A", class_="n first" if side == 1 else "n") for side in sides]


def _moved(summary: Summary) -> list[Markup]:
    """The cases that gained and that lost most, as the terminal names them."""
    scale = _SCALES.get(summary.normalised or "")
    head = [tag("th", "case"), tag("th", "time", class_="n")]
    head += [tag("th", "share", class_="n", title=scale)] if scale else []
    verdict = "vs its kind" if any(against.by_kind for against in summary.against) else "verdict"
    found = []
    for is_gain in (True, False):
        cases = movers(summary, is_gain)
        rows = [
            [
                tag("td", chip(place), " ", case.id, class_="name"),
                _ratio(case.time),
                *([_ratio(case.share)] if scale else []),
                tag("td", case.verdict, class_="quiet"),
            ]
            for place, case in cases
        ]
        if rows:
            title = f"{extreme(cases, is_gain).capitalize()} on time"
            found.append(_block(title, table_of([*head, tag("th", verdict)], rows)))
    return found


def _ratio(ratio: float | None, look: str = "") -> Markup:
    """A ratio of speeds, coloured by whether it is above or below 1."""
    if ratio is None:
        return figure_cell(None, look)
    colour = "up" if ratio > 1.05 else "down" if ratio < 1 / 1.05 else ""
    return tag("td", f"{number(ratio)}x", class_=f"n {look} {colour}".strip(), data_value=repr(ratio))


def _block(title: str, table: Markup) -> Markup:
    return tag("section", tag("h3", title), table)
