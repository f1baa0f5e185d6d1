"""The valley in a result file: time to a loss by batch size, as ``bench/test_valley.py`` writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numbasgd.compare.results import ResultFile
from numbasgd.json_values import mapping, number, sequence, text

KINDS = ("compiled", "interpreted")  # of steps


@dataclass(frozen=True)
class Place:
    """A batch size: samples to the target, seconds to it and of a sample by kind of steps; None if unknown."""

    batch_size: int
    samples: float | None
    time: Mapping[str, float | None]
    each: Mapping[str, float | None]


@dataclass(frozen=True)
class FileValley:
    """The places of a valley in the order of batch sizes, and what makes two of them comparable.

    problem : rows, columns, target (the share of the gap that may be left) and dtype.
    """

    problem: tuple[float | None, float | None, float | None, str | None]
    places: tuple[Place, ...]

    def best(self, kind: str = "compiled") -> Place | None:
        """The place with the least time of that kind."""
        known = [place for place in self.places if place.time[kind]]
        return min(known, key=lambda place: place.time[kind] or 0.0, default=None)


def valleys(file: ResultFile) -> list[FileValley]:
    """Those of a file that have a place, in the order of its cases."""
    blocks = [mapping(case.extra.get("valley")) for case in file.cases if case.kind == "valley"]
    found = [FileValley(_problem(block), _places(block)) for block in blocks]
    return [valley for valley in found if valley.places]


def _problem(block: Mapping[str, Any]) -> tuple[float | None, float | None, float | None, str | None]:
    n, d, target = (number(block.get(key)) for key in ("n", "d", "target"))
    return n, d, target, text(block.get("dtype"))


def _places(block: Mapping[str, Any]) -> tuple[Place, ...]:
    found = []
    for size in map(mapping, sequence(block.get("sizes"))):
        batch_size = number(size.get("batch_size"))
        if batch_size is None or batch_size < 1:
            continue
        time, each = ({kind: _median(size.get(kind + end)) for kind in KINDS} for end in ("_time", ""))
        found.append(Place(int(batch_size), _median(size.get("samples")), time, each))
    return tuple(sorted(found, key=lambda place: place.batch_size))


def _median(spread: Any) -> float | None:
    found = number(mapping(spread).get("median"))
    return found if found and found > 0 else None
