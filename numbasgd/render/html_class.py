"""The part of a comparison's page for many machines: who is ahead and why, one roofline, and one valley."""

from __future__ import annotations

from collections.abc import Sequence

from numbasgd.compare.comparison import Comparison
from numbasgd.compare.load import is_same_machine
from numbasgd.compare.measures import Side
from numbasgd.compare.standings import Standing, standings
from numbasgd.compare.standings_words import sentences
from numbasgd.compare.valleys import KINDS
from numbasgd.render.class_panels import panels
from numbasgd.render.html_picture import drawn
from numbasgd.render.html_style import chip
from numbasgd.render.html_tables import table_of
from numbasgd.render.markup import Markup, tag
from numbasgd.render.tables import number

_PLACES = 1000  # of the first panel, apart from those of the page's other pictures


def class_section(comparison: Comparison) -> Markup | None:
    """Sentences, pictures and a table; None for a few machines, or where nothing is known of them."""
    found = standings(comparison)
    drawable = panels(found)
    if not drawable and not any(s.core for s in found):
        return None
    kernels = sorted({k.id for s in found for k in s.kernels.values()})
    said = (
        f"The dots: {' and '.join(kernels)}, one thread. As shares each machine is measured by itself: 1 is "
        "its multiply-add peak, and beyond the ridge at 1 its memory is no limit. Data that partly stays in a "
        "cache between calls can bring a dot above the slope, which is that of memory."
        if kernels
        else ""
    )
    return tag(
        "figure",
        tag("h2", f"The class: {_counted(comparison)}"),
        *[tag("p", line) for line in sentences(found)],
        tag("p", *[tag("span", chip(s.side), " ") for s in found], class_="legend"),
        tag("div", *[drawn(panel, _PLACES + i) for i, panel in enumerate(drawable)], class_="panels"),
        _table(found),
        tag("figcaption", said) if said else None,
    )


def _counted(comparison: Comparison) -> str:
    """How many machines, and how many columns where some are of one machine: each has its own dots."""
    distinct: list[Side] = []
    for side in comparison.sides:
        if not any(is_same_machine(side, other) for other in distinct):
            distinct.append(side)
    n, columns = len(distinct), len(comparison.sides)
    if n == columns:
        return f"{n} machines"
    return f"{columns} columns of {n} machine{'s' * (n > 1)} (--group machine makes one of those of a machine)"


def _table(found: Sequence[Standing]) -> Markup:
    heads = ("", "machine", "peak, GFLOP/s", "memory, GB/s", "product, % of peak", "gradient, % of roof",
             "best batch size", "us to the loss", "NumPy loop, us")  # fmt: skip
    rows = []
    for s in found:
        product, gradient = s.kernels.get("product"), s.kernels.get("gradient")
        best, slow = (s.valley.best(kind) if s.valley else None for kind in KINDS)
        values: list[float | None] = [
            s.core.peak if s.core else None,
            s.memory.read if s.memory else None,
            _percent(product.peak_share if product else None),
            _percent(gradient.roof_share if gradient else None),
            best.batch_size if best else None,
            1e6 * (best.time["compiled"] or 0.0) if best else None,
            1e6 * (slow.time["interpreted"] or 0.0) if slow else None,
        ]
        shown = [tag("td", "" if value is None else number(value), class_="n") for value in values]
        rows.append([tag("td", chip(s.side)), tag("td", s.model, class_="wrap"), *shown])
    return table_of([tag("th", head) for head in heads], rows)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
