"""A ``Comparison`` as one HTML page that needs nothing else: no network, no other file, no JavaScript.

Everything that comes from a file is escaped by ``numbasgd.render.markup``, and the page's own policy lets a
browser load nothing from anywhere.  Tables: ``numbasgd.render.html_tables``.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from pathlib import Path
from typing import Any

from numbasgd.compare.comparison import Comparison
from numbasgd.compare.estimate import CANNOT_TELL, FASTER, SLOWER
from numbasgd.render import comparison_text as compare_text
from numbasgd.render import machine_text
from numbasgd.render.html_style import SCRIPT, STYLE
from numbasgd.render.html_tables import CLASSES, ladder_table, means_table, plain_table
from numbasgd.render.machine_text import letter
from numbasgd.render.markup import Markup, join, tag
from numbasgd.render.palette import BLUE

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_INK = "#010203"  # a placeholder that is replaced by the page's text colour


def page(comparison: Comparison) -> str:
    """The whole page."""
    sides = comparison.sides
    names = ", ".join(f"{letter(i)}: {Path(side.name).name}" for i, side in enumerate(sides))
    head = join(
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        tag("title", f"Benchmarks compared: {names}"),
        tag("style", Markup(STYLE)),
    )
    body = join(
        tag("h1", "Benchmarks compared"),
        tag("p", f"{len(comparison.rows)} cases on {len(sides)} sides; ", names, class_="lead"),
        _tallies(comparison),
        _reading(comparison),
        _machines(comparison),
        _ladders(comparison),
        _roofline(comparison),
        _gaps(comparison),
        tag("script", Markup(SCRIPT)),
    )
    return "<!DOCTYPE html>\n" + tag("html", tag("head", head), tag("body", body), lang="en") + "\n"


def _tallies(comparison: Comparison) -> Markup:
    """How many verdicts of each sort, and which cases were told apart, for each side against the first."""
    lines = []
    for place in range(1, len(comparison.sides)):
        changes = [row.changes[place - 1] for row in comparison.rows]
        count = Counter(change.verdict for change in changes if change)
        pills = [
            tag("span", f"{count[said]} {said}", class_=f"verdict {CLASSES[said]}")
            for said in compare_text.ORDER
            if count[said]
        ]
        lines.append(tag("p", f"{letter(place)} against A: ", *pills, class_="tally"))
        told = [
            tag("li", f"{row.id}: ", tag("span", compare_text.words(change), class_=CLASSES[change.verdict]))
            for row in comparison.rows
            if (change := row.changes[place - 1]) and change.verdict in (FASTER, SLOWER)
        ]
        if told:
            lines.append(tag("ul", *told[: compare_text.MOST], class_="plain"))
    return join(*lines)


def _reading(comparison: Comparison) -> Markup:
    said = [*compare_text.reading(comparison)]
    said.append(
        "In the column interval the dot is the ratio, on a logarithmic axis whose middle is 1; the line is its "
        f"95 % interval, the grey band the tolerance of {100 * comparison.tolerance:.3g} %. A line that leaves "
        "the middle is a difference; a line inside the band is none; a long line means that more runs are "
        "needed before anything can be said."
    )
    said.append(
        f"“{CANNOT_TELL}” is no verdict of equality: these runs cannot tell. Hundreds of cases at 95 % leave "
        "some that look different by chance: believe what several cases of a ladder show, and measure again "
        "what matters."
    )
    if any(m and m.bound for row in comparison.rows for m in row.measures):
        said.append(
            "% of peak is the share of the FMA peak that was measured on that machine. % of roofline is the "
            "share of what is possible there: of the lower of that peak and of intensity times the bandwidth "
            "of the smallest level that holds the case's data. Data that partly stays in a faster level "
            "between calls can bring it above 100."
        )
    return join(tag("h2", "How to read this"), tag("ul", *[tag("li", line) for line in said], class_="plain"))


def _machines(comparison: Comparison) -> Markup:
    tables = [plain_table(machine_text.machine_table(comparison), wrap=True)]
    differing = machine_text.difference_tables(comparison)
    if not differing:
        tables.append(tag("p", "The files tell of no difference between the machines."))
    for table in differing:
        tables += [tag("h3", table.title), plain_table(table, wrap=True)]
    limits = machine_text.limits_table(comparison)
    if limits:
        tables += [tag("h3", limits.title), plain_table(limits)]
    return join(tag("h2", "The machines"), *tables)


def _ladders(comparison: Comparison) -> Markup:
    parts = []
    for place, mean in enumerate(comparison.means):
        rows = [row for row in comparison.rows if row.ladder == mean.ladder]
        title = mean.ladder or "cases without a group"
        parts += [tag("h3", title, id=f"ladder-{place}"), ladder_table(comparison, mean, rows)]
    summary = means_table(comparison) if len(comparison.means) > 1 else None
    return join(tag("h2", "The cases"), summary, *parts)


def _roofline(comparison: Comparison) -> Markup | None:
    from numbasgd.render.comparison_rooflines import panels, plot_rooflines

    if not panels(comparison):
        return None
    import matplotlib

    axes = plot_rooflines(comparison)
    for ax in axes:
        ax.patch.set_alpha(0)
        ax.tick_params(which="both", color=_INK, labelcolor=_INK)
        ax.spines[:].set_color(_INK)
        ax.set_title(ax.get_title(loc="left"), loc="left", fontsize=10, color=_INK)
        legend: Any = ax.get_legend()
        for label in (ax.xaxis.label, ax.yaxis.label, *legend.get_texts()):
            label.set_color(_INK)
    figure: Any = axes[0].figure
    figure.patch.set_alpha(0)
    drawn = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "numbasgd"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    svg = drawn.getvalue()
    svg = re.sub("<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = svg.replace(_INK, "currentColor").replace(BLUE.lower(), "var(--blue)")
    return join(
        tag("h2", "Under the rooflines"),
        tag(
            "p",
            "Each machine's roof has a slope for each level of memory and a flat part, its peak. A case under "
            "a slope waits for data from that level, one under the flat part computes; how far it stands below "
            "the roof is what is left to gain.",
        ),
        tag("div", Markup(svg), class_="figure"),
    )


def _gaps(comparison: Comparison) -> Markup | None:
    said = compare_text.gaps(comparison)
    if not said:
        return None
    return join(tag("h2", "Left out"), tag("ul", *[tag("li", line) for line in said], class_="plain"))
