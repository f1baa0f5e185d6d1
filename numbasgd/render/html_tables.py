"""The tables of a comparison's page; their text is escaped by ``numbasgd.render.markup``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from numbasgd.compare.changes import DEPARTURE, NOT_COMPARABLE, REFERENCE, Change
from numbasgd.compare.comparison import Comparison, Mean, Row
from numbasgd.compare.estimate import CANNOT_TELL, FASTER, SAME, SLOWER
from numbasgd.compare.measures import Measure
from numbasgd.render.comparison_text import name_of, names_meet, share_names, unit_of, words
from numbasgd.render.html_style import chip
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
MANY_SIDES = 4  # from so many on there is no room for the pictures of intervals
WIDEST = 4.0  # the factor at its edges, at most


def plain_table(table: Table, *, wrap: bool = False) -> Markup:
    """Any table, its numbers to the right."""
    look = "wrap" if wrap else None
    cells = []
    for row in table.rows:
        shown = [figure_cell(c) if isinstance(c, float | int) else tag("td", c, class_=look) for c in row]
        cells.append(tag("tr", *shown))
    head = tag("thead", tag("tr", *[tag("th", name) for name in table.columns]))
    return tag("div", tag("table", head, tag("tbody", *cells)), class_="wide")


def table_of(head: Sequence[Markup], rows: Sequence[Sequence[Markup]], *, top: Sequence[Markup] = ()) -> Markup:
    """A table of finished cells, which scrolls by itself where it is too wide for the page."""
    heads = [tag("tr", *cells) for cells in (top, head) if cells]
    body = tag("tbody", *[tag("tr", *cells) for cells in rows])
    return tag("div", tag("table", tag("thead", *heads), body), class_="wide")


def ladder_table(comparison: Comparison, mean: Mean, rows: Sequence[Row]) -> Markup:
    """A ladder: each side's figure, the best marked, and beside it for each side but the first its change.

    The figure is the speed where the work of all cases is known, else the time.
    """
    sides = len(comparison.sides)
    unit, heading = unit_of(rows)
    rates = {m.unit for row in rows for m in row.measures if m}
    rate = rates.pop() if len(rates) == 1 else None
    top, heads = [tag("th", "")], [tag("th", "case")]
    top.append(tag("th", rate or heading, colspan=sides, class_="first"))
    heads += [tag("th", chip(i), class_="n" if i else "n first") for i in range(sides)]
    for side in range(1, sides):
        top.append(tag("th", f"{letter(side)} against A", colspan=3, class_="first"))
        heads += [
            tag("th", "ratio", class_="n first"),
            tag("th", "interval", class_="interval"),
            tag("th", "vs its kind" if comparison.is_by_kind else "verdict"),
        ]
    most = max((m.rate or 0.0 for row in rows for m in row.measures if m), default=0.0)
    edge = _edge(rows)
    long = names_meet(rows)
    lines = []
    for row in rows:
        cells = [tag("td", row.id if long else name_of(row))]
        best = _best(row)
        for side, m in enumerate(row.measures):
            look = ("best " if side == best else "") + ("" if side else "first ")
            if m and rate and m.rate:
                cells.append(figure_cell(m.rate, look + "bar", f"--share:{100 * m.rate / most:.1f}%"))
            else:
                cells.append(figure_cell(m.seconds.value / unit if m else None, look))
        for change in row.changes:
            cells += _verdict(change, edge, comparison.tolerance)
        lines.append(tag("tr", *cells))
    foot = [tag("td", f"geometric mean of {max(mean.cases)}"), tag("td", "", colspan=sides, class_="first")]
    for ratio in mean.ratios:
        foot += [figure_cell(ratio, "first"), tag("td", "", class_="interval"), tag("td", "")]
    look = "sortable" if sides < MANY_SIDES else "sortable many"
    parts = [tag("thead", tag("tr", *top), tag("tr", *heads)), tag("tbody", *lines)]
    parts += [tag("tfoot", tag("tr", *foot))] if any(mean.cases) else []
    return tag("div", tag("table", *parts, class_=look), class_="wide")


def _best(row: Row) -> int | None:
    """The side that is the fastest of three or more; of two the ratio says it."""
    times = [(m.seconds.value, side) for side, m in enumerate(row.measures) if m]
    return min(times)[1] if len(times) > 2 else None


def figures_table(comparison: Comparison, rows: Sequence[Row]) -> Markup:
    """All that each side has on the cases of a ladder: times, their scatter, speeds, and shares."""
    measures = [m for row in rows for m in row.measures if m]
    unit = unit_of(rows)
    shares = share_names(measures)
    rates = sorted({m.unit for m in measures if m.unit}, reverse=True)
    names = [unit[1], "iqr %", *rates, *shares.values()]
    top, heads = [tag("th", "")], [tag("th", "case")]
    for side in range(len(comparison.sides)):
        top.append(tag("th", chip(side), colspan=len(names), class_="first"))
        heads += [tag("th", name, class_="n" if i else "n first") for i, name in enumerate(names)]
    long = names_meet(rows)
    lines = []
    for row in rows:
        cells = [tag("td", row.id if long else name_of(row))]
        for m in row.measures:
            cells += _figures(m, unit[0], rates, list(shares))
        lines.append(tag("tr", *cells))
    head = tag("thead", tag("tr", *top), tag("tr", *heads))
    return tag("div", tag("table", head, tag("tbody", *lines), class_="sortable"), class_="wide")


def _figures(m: Measure | None, unit: float, rates: Sequence[str], shares: Sequence[str]) -> list[Markup]:
    if m is None:
        return [figure_cell(None, "" if i else "first") for i in range(2 + len(rates) + len(shares))]
    cells = [figure_cell(m.seconds.value / unit, "first")]
    cells.append(figure_cell(None if m.relative_iqr is None else 100 * m.relative_iqr, "quiet"))
    cells += [figure_cell(m.rate if m.unit == rate else None) for rate in rates]
    for metric in shares:
        share = m.share(metric)
        cells.append(figure_cell(None if share is None else 100 * share))
    return cells


def _verdict(change: Change | None, edge: float, tolerance: float) -> list[Markup]:
    if change is None:
        return [tag("td", "", class_="first"), tag("td", "", class_="interval"), tag("td", "")]
    look = CLASSES[change.verdict]
    shown = change.verdict != NOT_COMPARABLE
    return [
        figure_cell(change.ratio, "first" if shown else "first quiet"),
        tag("td", _interval(change, edge, tolerance) if shown else "", class_="interval"),
        tag("td", tag("span", words(change), class_=f"verdict {look}")),
    ]


def _interval(change: Change, edge: float, tolerance: float) -> Markup:
    """The ratio as a dot and its interval as a line, logarithmic, 1 in the middle, ``edge`` at the right.

    The band behind them is what a case that did not change would show, and what around it is not called.
    """

    def place(ratio: float) -> float:
        return round(WIDTH / 2 * (1 + max(-1.0, min(1.0, math.log(ratio) / math.log(edge)))), 1)

    low, high = change.low, change.high
    around = 1 + (tolerance if change.expected == 1 else max(tolerance, DEPARTURE))
    left, right = place(change.expected / around), place(change.expected * around)
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
        style=colour, role="img", aria_label=told,
    )  # fmt: skip


def _edge(rows: Sequence[Row]) -> float:
    """The factor at the edge of this ladder's intervals: all of them fit, up to ``WIDEST``."""
    ratios = [
        ratio
        for row in rows
        for change in row.changes
        if change and change.verdict != NOT_COMPARABLE
        for ratio in (change.low, change.ratio, change.high, change.expected)
        if ratio
    ]
    widest = max((abs(math.log(ratio)) for ratio in ratios), default=0.0)
    return min(max(1.25, 1.05 * math.exp(min(widest, math.log(WIDEST)))), WIDEST)


def figure_cell(value: float | None, look: str = "", style: str | None = None) -> Markup:
    """A cell of a number, rounded; the whole number is what its column is sorted by."""
    classes = f"n {look}".strip()
    if value is None:
        return tag("td", "", class_=classes)
    return tag("td", number(value), class_=classes, style=style, data_value=repr(value))
