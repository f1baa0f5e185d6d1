"""What a comparison's summary holds, as data: what a reader wants to know before any table.

A side is named by its place; the first is what the others are compared with, and all ratios are ratios of
speeds against it.  ``numbasgd.compare.summary`` makes it, ``numbasgd.compare.summary_words`` says it.
"""

from __future__ import annotations

from dataclasses import dataclass

ARITHMETIC = "arithmetic"  # the level of a limit of operations


@dataclass(frozen=True)
class Machine:
    """A side and its machine.  about : what the file tells, the most telling first.

    The BLAS and versions are told where they differ.
    """

    name: str
    runs: int
    about: tuple[str, ...]


@dataclass(frozen=True)
class Limit:
    """A measured limit: "FMA float32" in GFLOP/s, or reads from "L1" in GB/s.

    level : "arithmetic" or the level of memory.  threads : "one" or "all".  values, ratios : one per side, None
    where unknown; the ratios are against the first side's.  best : the place of the largest value.
    """

    name: str
    level: str
    unit: str
    threads: str
    values: tuple[float | None, ...]
    ratios: tuple[float | None, ...]
    best: int | None


@dataclass(frozen=True)
class Family:
    """Cases of one kind: geometric means of the ratios, one for each side but the first, and of how many cases.

    times : ratios of times.  shares : ratios on the normalised scale.
    """

    name: str
    times: tuple[float | None, ...]
    cases: tuple[int, ...]
    shares: tuple[float | None, ...]
    share_cases: tuple[int, ...]


@dataclass(frozen=True)
class Moved:
    """A case and its ratio of times on one side; share is that on the normalised scale, None where unknown."""

    id: str
    time: float
    share: float | None
    verdict: str


@dataclass(frozen=True)
class Against:
    """A side against the first one, over the cases that both have with the same work.

    place : the side.  same_machine : whether times of both can be judged.  time : the geometric mean of the
    ratios of times, of ``cases`` cases, 9 of 10 of which lie between low and high.  common : the factor by
    which the whole suite moved, or None.  exceptions : the cases that did not move with it, the farthest first.
    gained, lost : the cases with the largest and the smallest ratio of times.  counts : how many cases got each
    verdict.  by_chance : how many calls chance alone makes at most, None where that is not known.
    by_kind : whether verdicts set a case against those that resemble it.  share : the geometric mean on the
    normalised scale, of ``share_cases``.
    """

    place: int
    same_machine: bool
    time: float | None
    cases: int
    low: float | None
    high: float | None
    common: float | None
    exceptions: tuple[Moved, ...]
    gained: tuple[Moved, ...]
    lost: tuple[Moved, ...]
    called: tuple[Moved, ...]
    counts: tuple[tuple[str, int], ...]
    by_chance: int | None
    by_kind: bool
    share: float | None
    share_cases: int


@dataclass(frozen=True)
class Fallen:
    """A case far below what limits it on one side (``place``), and near it on another (``near``).

    size : m = n = k of a square product.  metric : "blas" (its reference) or "roofline".
    share, near_share : of it, on both sides.
    """

    id: str
    case: str
    dtype: str | None
    threads: str | None
    size: int | None
    reference: str | None
    metric: str
    place: int
    share: float
    near: int
    near_share: float


@dataclass(frozen=True)
class Busy:
    """A file that was measured beside other programs.  noise : the scatter of its rounds, relative.

    is_loaded : whether that is so much that no verdict between machines can rest on it.
    """

    place: int
    name: str
    noise: float
    is_loaded: bool


@dataclass(frozen=True)
class Summary:
    """All of it.  normalised : the metric of the normalised scale, None where no case has one.

    withheld : the places of the sides that get no verdicts since a machine was under load.
    """

    machines: tuple[Machine, ...]
    limits: tuple[Limit, ...]
    families: tuple[Family, ...]
    against: tuple[Against, ...]
    fallen: tuple[Fallen, ...]
    busy: tuple[Busy, ...]
    normalised: str | None
    withheld: tuple[int, ...]
