"""Pieces of a drawing in SVG: scales, axes, lines and marks, whose colours the page's style sheet decides.

A drawing is made twice, ``WIDE`` and ``NARROW``, so that letters are as large on a phone as on a screen; the
style sheet shows one of the two.  Lengths are in the units of the drawing, about a pixel each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from numbasgd.render.markup import Markup, join, tag

WIDE, NARROW = 880, 380
LINE = 16  # the height of a line of text
_LETTER, _WIDE_LETTER = 7.2, 13.0  # the width of a letter, and of a Chinese one
Point = tuple[float, float]
MARKS = {  # shapes of the same size, that are told apart without their colour
    "o": "M-4,0A4,4 0 1 0 4,0A4,4 0 1 0 -4,0Z",
    "s": "M-3.6,-3.6H3.6V3.6H-3.6Z",
    "D": "M0,-5L5,0L0,5L-5,0Z",
    "^": "M0,-5L4.8,3.6H-4.8Z",
    "v": "M0,5L4.8,-3.6H-4.8Z",
    "P": "M-1.6,-5H1.6V-1.6H5V1.6H1.6V5H-1.6V1.6H-5V-1.6H-1.6Z",
    "*": "M0,-5.5L1.5,-1.7H5.4L2.3,0.8L3.4,4.8L0,2.4L-3.4,4.8L-2.3,0.8L-5.4,-1.7H-1.5Z",
}
SHAPES = tuple(MARKS)


def text_width(text: str) -> float:
    """About how wide ``text`` is drawn."""
    return sum(_WIDE_LETTER if ord(letter) > 0x2E80 else _LETTER for letter in text)


def short(value: float, digits: int = 3) -> str:
    """A number for an axis, in as few signs as can be read: 0.05, 12.5, 3000, 20k, 1M.

    >>> short(0.05), short(3000.0), short(20000.0), short(1e6)
    ('0.05', '3000', '20k', '1M')
    """
    for least, each, name in ((1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if value >= least:
            return f"{value / each:.{digits}g}{name}"
    return f"{float(f'{value:.{digits}g}'):g}"


@dataclass(frozen=True)
class Scale:
    """Values from ``low`` to ``high`` on the lengths from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """Where ``value`` lies; what is beyond the ends lies on them."""
        low, high = (math.log(self.low), math.log(self.high)) if self.is_log else (self.low, self.high)
        if self.is_log:
            value = math.log(max(value, self.low))
        share = min(1.0, max(0.0, (value - low) / (high - low)))
        return round(self.start + share * (self.end - self.start), 1)

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies between the ends."""
        return self.low <= value <= self.high

    def ticks(self, most: int = 8) -> list[float]:
        """At most ``most`` round values: 1, 2, 5, 10, ... or every power of ten, or every second one."""
        if not self.is_log:
            step = 10.0 ** math.floor(math.log10((self.high - self.low) / most))
            step = next(step * f for f in (1, 2, 5, 10, 20) if (self.high - self.low) / (step * f) <= most)
            first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
            return [round(i * step, 12) for i in range(first, last + 1)]
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for every, factors in ((1, (1, 2, 5)), (1, (1,)), (2, (1,)), (3, (1,))):
            found = [f * 10.0**e for e in decades if e % every == 0 for f in factors]
            found = [float(f"{value:.6g}") for value in found if self.holds(value)]
            if len(found) <= most:
                return found
        return found


def log_scale(values: Iterable[float], start: float, end: float, margin: float = 1.25) -> Scale:
    """A logarithmic scale that holds the positive ones of ``values``, and a factor ``margin`` on both sides."""
    found = [value for value in values if value > 0 and math.isfinite(value)] or [1.0]
    return Scale(min(found) / margin, max(found) * margin, start, end, is_log=True)


@dataclass
class Panel:
    """Axes, and what is drawn on them, in the order of the calls.

    x, y : its scales, y from the lower edge up.
    """

    x: Scale
    y: Scale
    parts: list[Markup] = field(default_factory=list)

    def axes(
        self,
        x_label: str = "",
        y_label: str = "",
        *,
        title: str = "",
        x_ticks: Sequence[tuple[float, str]] | None = None,
        y_ticks: Sequence[tuple[float, str]] | None = None,
    ) -> Panel:
        """Grid lines with their values, the name of each axis, and a title over the panel."""
        left, right, bottom, top = self.x.start, self.x.end, self.y.start, self.y.end
        if x_ticks is None:
            x_ticks = [(value, short(value)) for value in self.x.ticks(max(2, int((right - left) / 45)))]
        if y_ticks is None:
            y_ticks = [(value, short(value)) for value in self.y.ticks(max(2, int((bottom - top) / 26)))]
        for value, name in x_ticks:
            place = self.x(value)
            self.parts.append(tag("path", d=f"M{place},{bottom}V{top}", class_="grid"))
            self.text(place, bottom + LINE, name, anchor="middle", look="soft")
        for value, name in y_ticks:
            place = self.y(value)
            self.parts.append(tag("path", d=f"M{left},{place}H{right}", class_="grid"))
            self.text(left - 6, place + 4, name, anchor="end", look="soft")
        self.parts.append(tag("path", d=f"M{left},{top}V{bottom}H{right}", class_="axis"))
        if x_label:
            self.text((left + right) / 2, bottom + 2.2 * LINE, x_label, anchor="middle", look="soft")
        if y_label:
            self.text(left, top - 8, y_label, look="soft")
        if title:
            self.text(left, top - 8 - (LINE + 2) * bool(y_label), title, look="strong")
        return self

    def text(self, x: float, y: float, text: str, *, anchor: str = "start", look: str = "") -> None:
        """Words at a place of the drawing, not of the scales."""
        self.parts.append(label(x, y, text, anchor=anchor, look=look))

    def line(self, points: Sequence[Point], look: str = "", **attributes: Any) -> None:
        """A line through ``points``, values of the scales."""
        self.parts.append(tag("path", d=self.through(points), class_=f"line {look}".strip(), **attributes))

    def through(self, points: Sequence[Point]) -> str:
        """The ``d`` of a path through ``points``; those that come to lie on the one before are left out."""
        places: list[Point] = []
        for x, y in points:
            place = self.x(x), self.y(y)
            if not places or place != places[-1]:
                places.append(place)
        return "M" + "L".join(f"{x:g},{y:g}" for x, y in places)

    def band(self, points: Sequence[tuple[float, float, float]], look: str = "", **attributes: Any) -> None:
        """The area between the second and the third of each point, along the first."""
        there = [(x, low) for x, low, _ in points] + [(x, high) for x, _, high in reversed(points)]
        d = self.through(there) + "Z"
        self.parts.append(tag("path", d=d, class_=f"band {look}".strip(), **attributes))

    def mark(self, x: float, y: float, shape: str = "o", look: str = "", told: str = "") -> None:
        """A mark at a point of the scales; ``told`` appears when one points at it."""
        self.parts.append(mark(self.x(x), self.y(y), shape, look, told))

    def spread(self, x: float, low: float, high: float, look: str = "") -> None:
        """An upright line from ``low`` to ``high`` at ``x``: between quartiles, for example."""
        self.line([(x, low), (x, high)], f"whisker {look}".strip())

    def across(self, y: float, look: str = "rule") -> None:
        """A level line over the panel."""
        self.parts.append(tag("path", d=f"M{self.x.start},{self.y(y)}H{self.x.end}", class_=look))

    def upright(self, x: float, look: str = "rule") -> None:
        """An upright line over the panel."""
        self.parts.append(tag("path", d=f"M{self.x(x)},{self.y.start}V{self.y.end}", class_=look))


def label(x: float, y: float, text: str, *, anchor: str = "start", look: str = "", **more: Any) -> Markup:
    """Words whose baseline begins, has its middle or ends at (x, y)."""
    at = anchor if anchor != "start" else None
    return tag("text", text, x=f"{x:g}", y=f"{y:g}", text_anchor=at, class_=look or None, **more)


def mark(x: float, y: float, shape: str = "o", look: str = "", told: str = "", **more: Any) -> Markup:
    """A mark at a place of the drawing."""
    title = tag("title", told) if told else None
    at = f"translate({x:g},{y:g})"
    return tag("path", title, d=MARKS[shape], transform=at, class_=f"mark {look}".strip(), **more)


def group(parts: Iterable[Markup], **attributes: Any) -> Markup:
    """Parts of a drawing as one."""
    return tag("g", *parts, **attributes)


def key(x: float, y: float, shape: str, look: str, text: str) -> Markup:
    """A line of a legend: a piece of the line with its mark, and what it stands for."""
    return join(
        tag("path", d=f"M{x:g},{y:g}h22", class_=f"line {look}"),
        mark(x + 11, y, shape, look) if shape else None,
        label(x + 28, y + 4, text),
    )


def keys(
    entries: Sequence[tuple[str, str, str]], x: float, y: float, width: float
) -> tuple[list[Markup], float]:
    """A legend in as many rows as ``width`` needs, from (shape, look, text); and where another row would be."""
    drawn, at = [], x
    for shape, look, text in entries:
        needed = 28 + text_width(text) + 18
        if at > x and at + needed > x + width:
            at, y = x, y + LINE + 4
        drawn.append(key(at, y, shape, look, text))
        at += needed
    return drawn, y + LINE + 4


def drawing(
    name: str, size: tuple[float, float], parts: Iterable[Markup], title: str, desc: str, **more: Any
) -> Markup:
    """An SVG element that a screen reader reads as a picture with a title and a description.

    name : its id, of which its inner ids are made.  size : width and height.
    """
    width, height = size
    look = "wide" if width == WIDE else "narrow"
    return tag(
        "svg",
        tag("title", title, id=f"{name}-{look}-title"),
        tag("desc", desc, id=f"{name}-{look}-desc"),
        *parts,
        id=f"{name}-{look}", class_=f"drawing {look}", viewBox=f"0 0 {width:g} {height:g}",
        role="img", aria_labelledby=f"{name}-{look}-title {name}-{look}-desc", **more,
    )  # fmt: skip
