"""The tables of a comparison's page; their text is escaped by ``numbasgd.render.markup``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from numbasgd.compare.changes import NOT_COMPARABLE, REFERENCE, Change
from numbasgd.compare.comparison import Comparison, Mean, Row
from numbasgd.compare.estimate import CANNOT_TELL, FASTER, SAME, SLOWER
from numbasgd.compare.measures import Measure
from numbasgd.render.comparison_text import name_of, names_meet, share_names, unit_of, words
from numbasgd.render.machine_text import letter
from numbasgd.render.markup import Markup, tag
from numbasgd.render.tables import Table, number

CLASSES = {
    FASTER: "faster",
    SLOWER: "slower",
    SAME: "same",
    CANNOT_TELL: "unsure",
    REFERENCE: "unsure",
    NOT_COMPARABLE: "unsure",
}
WIDTH, HEIGHT = 130, 16  # of an interval's picture, pixels
WIDEST = 4.0  # the factor at its edges, at most


def plain_table(table: Table, *, wrap: bool = False) -> Markup:
    """Any table, its numbers to the right."""
    look = "wrap" if wrap else None
    cells = []
    for row in table.rows:
        shown = [_number(c) if isinstance(c, float | int) else tag("td", c, class_=look) for c in row]
        cells.append(tag("tr", *shown))
    head = tag("thead", tag("tr", *[tag("th", name) for name in table.columns]))
    return tag("div", tag("table", head, tag("tbody", *cells)), class_="wide")


def means_table(comparison: Comparison) -> Markup:
    """The geometric mean of each ladder, with a link to it."""
    sides = range(1, len(comparison.sides))
    head = [tag("th", "ladder")]
    for side in sides:
        head += [tag("th", f"{letter(side)}/A, geometric mean", class_="n"), tag("th", "of cases", class_="n")]
    rows = []
    for place, mean in enumerate(comparison.means):
        name = tag("a", mean.ladder or "cases without a group", href=f"#ladder-{place}")
        cells = [tag("td", name)]
        for ratio, count in zip(mean.ratios, mean.cases, strict=True):
            cells += [_number(ratio), _number(count)]
        rows.append(tag("tr", *cells))
    table = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *rows), class_="sortable")
    return tag("div", table, class_="wide")


def ladder_table(comparison: Comparison, mean: Mean, rows: Sequence[Row]) -> Markup:
    """A ladder: for each side but the first its ratio, interval and verdict, then each side's figures."""
    measures = [m for row in rows for m in row.measures if m]
    unit = unit_of(rows)
    shares = share_names(measures)
    rates = sorted({m.unit for m in measures if m.unit}, reverse=True)
    names = [unit[1], "iqr %", *rates, *shares.values()]
    top, heads = [tag("th", "")], [tag("th", "case")]
    for side in range(1, len(comparison.sides)):
        top.append(tag("th", f"{letter(side)} against A", colspan=3, class_="first"))
        heads += [tag("th", "ratio", class_="n first"), tag("th", "interval"), tag("th", "verdict")]
    for side in range(len(comparison.sides)):
        top.append(tag("th", letter(side), colspan=len(names), class_="first"))
        heads += [tag("th", name, class_="n first" if i == 0 else "n") for i, name in enumerate(names)]
    best = {rate: max(m.rate for m in measures if m.rate and m.unit == rate) for rate in rates}
    edge = _edge(rows)
    long = names_meet(rows)
    lines = []
    for row in rows:
        cells = [tag("td", row.id if long else name_of(row))]
        for change in row.changes:
            cells += _verdict(change, edge, comparison.tolerance)
        for m in row.measures:
            cells += _figures(m, unit[0], best, list(shares))
        lines.append(tag("tr", *cells))
    foot = [tag("td", f"geometric mean of {max(mean.cases)}")]
    for ratio in mean.ratios:
        foot += [_number(ratio, "first"), tag("td", "", colspan=2)]
    foot.append(tag("td", "", colspan=len(names) * len(comparison.sides), class_="first"))
    parts = [tag("thead", tag("tr", *top), tag("tr", *heads)), tag("tbody", *lines)]
    parts += [tag("tfoot", tag("tr", *foot))] if any(mean.cases) else []
    return tag("div", tag("table", *parts, class_="sortable"), class_="wide")


def _figures(m: Measure | None, unit: float, best: dict[str, float], shares: Sequence[str]) -> list[Markup]:
    if m is None:
        return [tag("td", "", class_="first" if i == 0 else None) for i in range(2 + len(best) + len(shares))]
    cells = [
        _number(m.seconds.value / unit, "first"),
        _number(None if m.relative_iqr is None else 100 * m.relative_iqr, "quiet"),
    ]
    for rate, most in best.items():
        value = m.rate if m.unit == rate else None
        cells.append(_number(value, "bar", f"--share:{100 * value / most:.1f}%" if value else None))
    for metric in shares:
        share = m.share(metric)
        cells.append(_number(None if share is None else 100 * share))
    return cells


def _verdict(change: Change | None, edge: float, tolerance: float) -> list[Markup]:
    if change is None:
        return [tag("td", "", class_="first"), tag("td", ""), tag("td", "")]
    look = CLASSES[change.verdict]
    shown = change.verdict != NOT_COMPARABLE
    return [
        _number(change.ratio, "first" if shown else "first quiet"),
        tag("td", _interval(change, edge, tolerance) if shown else ""),
        tag("td", tag("span", words(change), class_=f"verdict {look}")),
    ]


def _interval(change: Change, edge: float, tolerance: float) -> Markup:
    """The ratio as a dot and its interval as a line, logarithmic, 1 in the middle, ``edge`` at the right."""

    def place(ratio: float) -> float:
        return round(WIDTH / 2 * (1 + max(-1.0, min(1.0, math.log(ratio) / math.log(edge)))), 1)

    low, high = change.low, change.high
    left, right = place(1 / (1 + tolerance)), place(1 + tolerance)
    middle, half = WIDTH / 2, HEIGHT / 2
    parts = [
        tag(
            "rect", x=left, y=0, width=round(right - left, 1), height=HEIGHT, fill="var(--line)", opacity="0.7"
        ),
        tag("line", x1=middle, x2=middle, y1=0, y2=HEIGHT, stroke="var(--soft)", stroke_width=1),
    ]
    told = "interval unknown"
    if low is not None and high is not None:
        told = f"ratio {number(change.ratio)}, 95 % interval from {number(low)} to {number(high)}"
        parts.append(
            tag("line", x1=place(low), x2=place(high), y1=half, y2=half, stroke="currentColor", stroke_width=2)
        )
    parts.append(tag("circle", cx=place(change.ratio), cy=half, r="3.2", fill="currentColor"))
    colour = f"color:var(--{CLASSES[change.verdict]})"
    return tag(
        "svg", tag("title", told), *parts, width=WIDTH, height=HEIGHT, viewBox=f"0 0 {WIDTH} {HEIGHT}",
        class_="interval", style=colour, role="img", aria_label=told,
    )  # fmt: skip


def _edge(rows: Sequence[Row]) -> float:
    """The factor at the edge of this ladder's intervals: all of them fit, up to ``WIDEST``."""
    ratios = [
        ratio
        for row in rows
        for change in row.changes
        if change and change.verdict != NOT_COMPARABLE
        for ratio in (change.low, change.ratio, change.high)
        if ratio
    ]
    widest = max((abs(math.log(ratio)) for ratio in ratios), default=0.0)
    return min(max(1.25, 1.05 * math.exp(min(widest, math.log(WIDEST)))), WIDEST)


def _number(value: float | None, look: str = "", style: str | None = None) -> Markup:
    classes = f"n {look}".strip()
    if value is None:
        return tag("td", "", class_=classes)
    return tag("td", number(value), class_=classes, style=style, data_value=repr(value))
