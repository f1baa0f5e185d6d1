"""The unit of time that suits some seconds, and medians in a unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_UNITS = ((1e9, "ns"), (1e6, "µs"), (1e3, "ms"), (1.0, "s"))


def unit_of(seconds: Iterable[float]) -> tuple[float, str]:
    """How many of the unit a second has, and its name: the largest in which the least of them is not below 1.

    >>> unit_of([3e-6, 0.2])
    (1000000.0, 'µs')
    """
    least = min((value for value in seconds if value > 0), default=1.0)
    return next(((each, name) for each, name in reversed(_UNITS) if least * each >= 1), _UNITS[0])


def median_of(spread: Mapping[str, float] | None, each: float = 1.0) -> float | None:
    """The median in a unit of which there are ``each`` in one; None where nothing was measured."""
    return None if spread is None else each * spread["median"]
