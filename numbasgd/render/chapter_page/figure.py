"""A figure of the page: its words, its drawing, its figures as a table, and the machine it was measured on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from numbasgd.json_values import mapping, text
from numbasgd.render.chapter_page.svg import NARROW, WIDE, drawing
from numbasgd.render.chapter_page.words import Words
from numbasgd.render.markup import Markup, escape, tag
from numbasgd.render.tables import Table, number

Drawn = tuple[float, list[Markup]]  # the height of a drawing, and its parts
Draw = Callable[[int], Drawn]  # draws a figure as wide as it is told


class Place(NamedTuple):
    """Where a panel goes in a drawing, and how wide it is."""

    left: float
    top: float
    width: float


DrawPanel = Callable[[Place], Drawn]


@dataclass(frozen=True)
class Figure:
    """What the page shows of one experiment.

    name : its id, also the file name of its SVG.  title : what it shows, in a few words.
    see : one or two sentences on what to see in it and why.  desc : what a screen reader tells of the drawing.
    draw : the drawing.  how : how it was measured.  table : its figures.
    before, after : what stands above and below the drawing, a slider or the rungs' sources.
    """

    name: str
    title: str
    see: Sequence[str]
    desc: str
    draw: Draw
    how: str
    table: Table | None = None
    before: Markup | None = None
    after: Markup | None = None

    def section(self, letter: str, machine: Mapping[str, Any], say: Words) -> Markup:
        """The figure as a section of the page; ``letter`` is its place in the list of figures."""
        drawings = [
            drawing(self.name, (width, height), parts, self.title, self.desc)
            for width in (WIDE, NARROW)
            for height, parts in [self.draw(width)]
        ]
        source = machine_line(machine, say)
        save = tag(
            "button", say("page.save"), type="button", class_="save", data_figure=self.name, hidden="",
            data_source=f"{self.title}{say('page.colon')}{source}",
        )  # fmt: skip
        return tag(
            "section",
            tag("h2", tag("span", f"({letter})", class_="letter"), " ", self.title, id=f"{self.name}-title"),
            *[tag("p", line, class_="see") for line in self.see],
            tag(
                "figure",
                self.before,
                *drawings,
                tag("figcaption", tag("p", self.how), tag("p", source, class_="machine"), save),
            ),
            self.after,
            _folded(self.table, say),
            id=self.name,
            class_="figure",
            aria_labelledby=f"{self.name}-title",
        )


def _folded(table: Table | None, say: Words) -> Markup | None:
    if table is None:
        return None
    heads = tag("tr", *[tag("th", name, scope="col") for name in table.columns])
    lines = [tag("tr", *[_cell(cell) for cell in row]) for row in table.rows]
    drawn = tag("table", tag("thead", heads), tag("tbody", *lines))
    return tag(
        "details",
        tag("summary", say("page.table")),
        tag("div", drawn, class_="wide-table", tabindex="0", role="region", aria_label=table.title),
    )


def _cell(cell: Any) -> Markup:
    if isinstance(cell, float | int):
        return tag("td", number(cell), class_="n")
    return tag("td", "" if cell is None else cell)


def machine_line(machine: Mapping[str, Any], say: Words) -> str:
    """The machine, the BLAS with the kernel that it runs, and the versions, in one line."""
    cpu, blas, versions = (mapping(machine.get(key)) for key in ("cpu", "blas", "versions"))
    core = f"{text(cpu.get('model')) or say('page.unknown')} ({cpu.get('llvm_name')}, {cpu.get('simd')})"
    library = say("page.blas", name=blas.get("name"), version=blas.get("version"), kernel=blas.get("kernel"))
    names = [
        f"{name} {versions[name]}" for name in ("numbasgd", "python", "numpy", "numba") if name in versions
    ]
    return say("page.machine", core=core, cores=cpu.get("cores"), blas=library, versions=say.listed(names))


def lines_of(source: str) -> Markup:
    """A program's text with its line ends, which text within an element would have lost."""
    return Markup("\n".join(escape(line) for line in source.split("\n")))


def plain(value: float) -> str:
    """A number that somebody chose, as it is written: 1 rather than 1.00."""
    return f"{value:g}"


def percent(share: float, digits: int = 2) -> str:
    """A share as percent, in one word that no line breaks: 98%, 2.4%, 0.57%."""
    return f"{number(100 * share, digits if share < 0.995 else 3)}%"


def times(ratio: float) -> str:
    """A ratio to two digits, three from a hundred on: 4.3, 62, 126."""
    return number(ratio, 3 if ratio >= 99.5 else 2)


def side_by_side(width: int, draws: Sequence[DrawPanel]) -> Drawn:
    """Panels beside each other in a wide drawing, below each other in a narrow one."""
    parts: list[Markup] = []
    if width == WIDE:
        each, height = width / len(draws), 0.0
        for i, draw in enumerate(draws):
            tall, drawn = draw(Place(i * each, 0.0, each))
            parts += drawn
            height = max(height, tall)
        return height, parts
    top = 0.0
    for draw in draws:
        tall, drawn = draw(Place(0.0, top, width))
        parts += drawn
        top += tall
    return top, parts
