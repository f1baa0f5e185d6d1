"""What a file of benchmark results holds, whichever tool wrote it: frozen dataclasses.

Reading them: ``numbasgd.compare.reading``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from numbasgd.machine.bounds import Limits

BUSY = 0.05  # benches of this project vary less than this on idle cores, and far more on busy ones
LEAST_CASES = 8  # fewer do not show whether a machine was busy


@dataclass(frozen=True)
class Case:
    """One benchmark of one run.

    id : joins files; holds nothing of the machine.  ladder, reference : the table that the case belongs
    to, and the name (``case``) of that table's BLAS or peer.  median, q1, q3 : seconds; the quartiles are
    None where the file does not have them.  rounds : how many were timed, 0 where unknown.
    flop, bytes : operations and traffic of one call, None where unknown.  working_set : bytes that a level of
    memory must hold, where it is not ``bytes``.  extra : all that the file adds.  aliases : shorter names, the
    most telling first, by which another file's case may be known to be the same; see
    ``numbasgd.compare.joining``.
    """

    id: str
    median: float
    q1: float | None = None
    q3: float | None = None
    rounds: int = 0
    kind: str = ""
    ladder: str = ""
    case: str = ""
    reference: str | None = None
    dtype: str | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    device: str = "cpu"
    threads: str | None = None
    n_threads: int | None = None
    flop: float | None = None
    bytes: float | None = None
    working_set: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()

    @property
    def iqr(self) -> float | None:
        """The interquartile range of the rounds in seconds."""
        return None if self.q1 is None or self.q3 is None else self.q3 - self.q1


@dataclass(frozen=True)
class ResultFile:
    """One run on one machine.

    name : the path as it was given, printable.  fingerprint : our block on the machine, nested, or None.
    platform : what the tool itself says of the machine, under the fingerprint's key names.
    limits : what the machine was measured to reach, or None.  left_out : a sentence on each benchmark that
    cannot be used.  remarks : sentences on the whole file that a reader must know.
    """

    name: str
    fingerprint: Mapping[str, Any] | None
    platform: Mapping[str, str]
    cases: tuple[Case, ...]
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    commit: str | None = None
    datetime: str | None = None
    limits: Limits | None = None

    @cached_property
    def by_id(self) -> Mapping[str, Case]:
        """Each case under its id."""
        return {case.id: case for case in self.cases}

    @cached_property
    def noise_level(self) -> float | None:
        """The IQR over the median that a quarter of the cases exceed; None with too few cases.

        A few percent on an idle machine, tens of percent where other programs use its cores.
        """
        iqrs = sorted(case.iqr / case.median for case in self.cases if case.iqr is not None)
        return iqrs[len(iqrs) * 3 // 4] if len(iqrs) >= LEAST_CASES else None

    @property
    def is_busy(self) -> bool:
        """Whether the machine was busy with something else while this was measured."""
        return self.noise_level is not None and self.noise_level > BUSY

    def reference_of(self, case: Case) -> Case | None:
        """The case that this one's ladder names as its BLAS or peer, in this file."""
        return self._by_place.get((case.ladder, case.reference)) if case.reference else None

    @cached_property
    def _by_place(self) -> Mapping[tuple[str, str | None], Case]:
        return {(case.ladder, case.case): case for case in self.cases}
