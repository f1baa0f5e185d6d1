"""The picture of a comparison's page: panels drawn in SVG that take the page's colours and fonts."""

from __future__ import annotations

import io
import re
from typing import Any

from numbasgd.compare.comparison import Comparison
from numbasgd.render.comparison_ladders import by_change, called
from numbasgd.render.comparison_plot import WIDTH, Panel, draw_panel, ladder_panels, roofline_panels
from numbasgd.render.figures import any_script, new_figure
from numbasgd.render.html_style import chip
from numbasgd.render.markup import Markup, tag
from numbasgd.render.palette import BLUE, FASTER_TEXT, SLOWER_TEXT

MOST_LADDERS = 6
_INK = "#010203"  # a placeholder that is replaced by the page's text colour
_COLOURS = (
    (_INK, "currentColor"),
    (BLUE, "var(--blue)"),
    (FASTER_TEXT, "var(--faster)"),
    (SLOWER_TEXT, "var(--slower)"),
)


def picture_section(comparison: Comparison) -> Markup:
    """The roofs of all machines with the cases below them, and the ladders in which most changed."""
    ladders = by_change(comparison)
    roofs = roofline_panels(comparison)
    ladder_parts = ladder_panels(comparison, ladders[:MOST_LADDERS])
    said = "In a ladder a line is a case, right is more, the words are the verdict that was called"
    said += ": against the cases of its kind, between machines." if comparison.is_by_kind else "."
    if roofs:
        said = (
            "Under a roofline a slope is what a level of memory hands out, the flat line what the arithmetic "
            f"reaches; full marks are the fastest cases, faint ones the others. {said}"
        )
    panels = [*roofs[:1], *ladder_parts, *roofs[1:]]
    rest = ladders[MOST_LADDERS:]
    if rest:
        changes = sum(bool(called(row)) for ladder in rest for row in ladder.rows)
        said += f" Not drawn: {len(rest)} ladders, in which {changes or 'no'} cases were called."
    return tag(
        "figure",
        tag("h2", "Rooflines and ladders" if roofs else "Ladders"),
        tag("p", *[tag("span", chip(i), " ") for i in range(len(comparison.sides))], class_="legend"),
        tag("div", *[drawn(panel, i) for i, panel in enumerate(panels)], class_="panels"),
        tag("figcaption", said),
    )


def drawn(panel: Panel, place: int) -> Markup:
    """A panel as an SVG element whose text is text; ``place`` keeps its ids apart from those of others."""
    import matplotlib
    from matplotlib.text import Text

    figure: Any = new_figure(WIDTH, panel.height, is_arranged=False)
    ax: Any = draw_panel(panel, figure)
    figure.patch.set_alpha(0)
    ax.patch.set_alpha(0)
    ax.tick_params(which="both", color=_INK, labelcolor=_INK)
    ax.spines[:].set_color(_INK)
    for text in ax.findobj(Text):
        if text.get_color() == "black":
            text.set_color(_INK)
    written = io.StringIO()
    with any_script(), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": f"numbasgd {place}"}):
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    svg = written.getvalue()
    svg = re.sub("<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'(<g) id="[\w.]+_\d+"', r"\1", svg)  # names of matplotlib's that every panel has
    svg = re.sub(r'(<svg [^>]*?) width="[^"]*"', r'\1 class="panel"', svg, count=1)
    svg = re.sub(r'(<svg [^>]*?) height="[^"]*"', r"\1", svg, count=1)
    for colour, own in _COLOURS:
        svg = svg.replace(colour.lower(), own)
    return Markup(svg)
