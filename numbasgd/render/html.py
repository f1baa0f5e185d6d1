"""A ``Comparison`` as one HTML page that needs nothing else: no network, no other file, no JavaScript.

Everything that comes from a file is escaped by ``numbasgd.render.markup``, and the page's own policy lets a
browser load nothing from anywhere.  Tables: ``numbasgd.render.html_tables``.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from numbasgd.compare.comparison import Comparison
from numbasgd.compare.estimate import CANNOT_TELL
from numbasgd.compare.summary import summarise
from numbasgd.render import comparison_text as compare_text
from numbasgd.render import machine_text
from numbasgd.render.comparison_ladders import by_change, called
from numbasgd.render.html_class import class_section
from numbasgd.render.html_picture import picture_section
from numbasgd.render.html_style import SCRIPT, STYLE
from numbasgd.render.html_summary import summary_section
from numbasgd.render.html_tables import CLASSES, figures_table, ladder_table, plain_table
from numbasgd.render.machine_text import letter
from numbasgd.render.markup import Markup, join, tag
from numbasgd.render.tables import number

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def page(comparison: Comparison) -> str:
    """The whole page: what was found and its picture first, then every case, then how to read all this."""
    sides = comparison.sides
    names = ", ".join(f"{letter(i)}: {Path(side.name).name}" for i, side in enumerate(sides))
    head = join(
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        tag("title", f"Benchmarks compared: {names}"),
        tag("style", Markup(STYLE)),
    )
    body = join(
        tag("h1", f"Benchmarks compared: {len(comparison.rows)} cases on {len(sides)} sides"),
        summary_section(summarise(comparison)),
        class_section(comparison),
        picture_section(comparison),
        _cases(comparison),
        _machines(comparison),
        _reading(comparison),
        _gaps(comparison),
        tag("script", Markup(SCRIPT)),
    )
    return "<!DOCTYPE html>\n" + tag("html", tag("head", head), tag("body", body), lang="en") + "\n"


def _cases(comparison: Comparison) -> Markup:
    """The tables of the ladders, those with the largest changes first; those without a change are folded."""
    means = {mean.ladder: mean for mean in comparison.means}
    parts = []
    for ladder in by_change(comparison):
        mean = means[ladder.name]
        rows = [row for row in comparison.rows if row.ladder == ladder.name]
        ratios = ", ".join(
            f"{letter(place)}/A {number(ratio)}" for place, ratio in enumerate(mean.ratios, 1) if ratio
        )
        told = f"{len(rows)} case{'s' * (len(rows) > 1)}" + (f", geometric mean {ratios}" if ratios else "")
        changes = sum(bool(called(row)) for row in rows)
        title = tag("strong", mean.ladder or "cases without a group")
        told += f"; {changes} called" if changes else ""
        every = tag("details", tag("summary", "all figures of these cases"), figures_table(comparison, rows))
        parts.append(
            tag(
                "details",
                tag("summary", title, " ", tag("span", told, class_="quiet")),
                ladder_table(comparison, mean, rows),
                every,
                open="" if changes or len(means) == 1 else None,
            )
        )
    return join(tag("h2", "The cases"), _tallies(comparison), *parts)


def _tallies(comparison: Comparison) -> Markup:
    """How many verdicts of each sort there are for each side against the first."""
    lines = []
    for place in range(1, len(comparison.sides)):
        count = Counter(change.verdict for row in comparison.rows if (change := row.changes[place - 1]))
        pills = [
            tag("span", f"{count[said]} {said}", class_=f"verdict {CLASSES[said]}")
            for said in compare_text.ORDER
            if count[said]
        ]
        lines.append(tag("p", f"{letter(place)} against A: ", *pills, class_="tally"))
    asked = tag("a", "How to read this", href="#reading")
    return join(*lines, tag("p", asked, " tells what a ratio and a verdict mean.", class_="quiet"))


def _reading(comparison: Comparison) -> Markup:
    said = [*compare_text.reading(comparison)]
    said.append(
        "In the column interval the dot is the ratio, on a logarithmic axis whose middle is 1; the line is its "
        "95 % interval. The grey band is what a case that did not change would show, and what around it is not "
        "called: it lies at 1, or between kinds of machine where the cases of its kind are. A long line means "
        "that more runs are needed before anything can be said."
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
    return join(
        tag("h2", "How to read this", id="reading"),
        tag("ul", *[tag("li", line) for line in said], class_="plain"),
    )


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


def _gaps(comparison: Comparison) -> Markup | None:
    said = compare_text.gaps(comparison)
    if not said:
        return None
    return join(tag("h2", "Left out"), tag("ul", *[tag("li", line) for line in said], class_="plain"))
