"""What all formats share: times that can be true, and a ``ResultFile`` of the cases that were found."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from numbasgd.compare.results import Case, ResultFile
from numbasgd.errors import ResultFileError
from numbasgd.json_values import printable

SHORTEST, LONGEST = 1e-15, 1e12  # seconds that a measurement may claim


def result_file(name: str, found: Iterable[Case | str], **about: Any) -> ResultFile:
    """The file with the cases among ``found``; its texts say what is left out, and why.

    ``about`` are further fields of ``ResultFile``.  Raises ``ResultFileError`` where there is no case.
    """
    cases: dict[str, Case] = {}
    left_out: list[str] = []
    for case in found:
        if isinstance(case, str):
            left_out.append(case)
        elif case.id in cases:
            left_out.append(f"{case.id}: it appears more than once; the first is used")
        else:
            cases[case.id] = case
    if not cases:
        why = f" ({left_out[0]})" if left_out else ""
        raise ResultFileError(f"{name}: no benchmark in it can be used{why}. Run the bench again.")
    return ResultFile(name=name, cases=tuple(cases.values()), left_out=tuple(left_out), **about)


def is_plausible(seconds: float | None) -> bool:
    """Whether a measurement may have taken that long."""
    return seconds is not None and SHORTEST < seconds < LONGEST


def plausible(values: Iterable[Any]) -> list[float]:
    """Those of the values of a file that are plausible seconds; files have millions of them."""
    return [float(v) for v in values if type(v) in (int, float) and SHORTEST < v < LONGEST]


def quartiles(times: list[float]) -> tuple[float, float] | tuple[None, None]:
    """The first and the third quartile of measured seconds; None where there is one time or none."""
    if len(times) < 2:
        return None, None
    q1, _, q3 = statistics.quantiles(times, n=4, method="inclusive")
    return q1, q3


def facts(found: dict[str, Any]) -> dict[str, str]:
    """What a file says of its machine as text, without what it does not say."""
    said = {key: value for key, value in found.items() if isinstance(value, str | int) and value != ""}
    return {key: printable(str(value)) for key, value in said.items()}
