"""A whole ``Comparison`` for people: the summary first, then all that it rests on."""

from __future__ import annotations

import textwrap

from numbasgd.compare.comparison import Comparison
from numbasgd.compare.summary import summarise
from numbasgd.render import summary_text
from numbasgd.render.case_tables import case_tables
from numbasgd.render.comparison_text import MOST, notes
from numbasgd.render.escapes import for_markdown
from numbasgd.render.machine_text import difference_tables, limits_table, machine_table
from numbasgd.render.tables import Table, render


def plain(comparison: Comparison, width: int | None, *, is_short: bool = False) -> str:
    """For a terminal of that many columns; None for every column and line, however wide.

    is_short : the summary alone.
    """
    lines = summary_text.LINES if width else None
    screen = summary_text.screen(summarise(comparison), width or summary_text.WIDTH, lines)
    parts = ["\n".join(screen) + "\n"]
    if not is_short:
        tables = [machine_table(comparison), *difference_tables(comparison)]
        tables += [] if width else _limits(comparison)  # the summary has those that fit
        parts.append(render([*tables, *case_tables(comparison, width)], width=width))
        parts.append(
            "".join(f"{_filled(line, width)}\n" for line in notes(comparison, MOST if width else None))
        )
    return "\n".join(parts)


def markdown(comparison: Comparison, *, is_short: bool = False) -> str:
    """To paste into an issue: the summary, and below it the rest folded away.  is_short : the summary alone."""
    parts = [summary_text.markdown(summarise(comparison))]
    if not is_short:
        tables = [machine_table(comparison), *difference_tables(comparison), *_limits(comparison)]
        said = "\n".join(f"- {for_markdown(line.strip())}" for line in notes(comparison))
        parts.append(_folded("The machines", render(tables, "md")))
        parts.append(_folded(f"All {len(comparison.rows)} cases", render(case_tables(comparison), "md")))
        parts.append(_folded("Notes", said))
    return "\n".join(parts)


def _limits(comparison: Comparison) -> list[Table]:
    table = limits_table(comparison)
    return [table] if table else []


def _filled(line: str, width: int | None) -> str:
    if width is None:
        return line
    return textwrap.fill(line, width, subsequent_indent="  ", break_on_hyphens=False)


def _folded(title: str, inside: str) -> str:
    """A part of Markdown that is folded away until somebody opens it."""
    return f"<details><summary>{for_markdown(title)}</summary>\n\n{inside.rstrip()}\n\n</details>\n"
