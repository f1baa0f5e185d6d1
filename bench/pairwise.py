"""Few cases in which every two values of different factors occur together: a pairwise covering.

Most faults show for one value, or for two that meet (Kuhn, Wallace, Gallo, IEEE Transactions on Software
Engineering 30, 2004), so such a list is worth nearly as much as the product of all values, which would take
too long to run.  It is built greedily, a case at a time (Cohen, Dalal, Fredman, Patton, IEEE TSE 23, 1997).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Case = dict[str, Any]
Pair = tuple[str, Any, str, Any]  # a factor, its value, a later factor, its value
_TRIES = 6  # candidates for each case, of which the one that covers the most is taken


def pairs_of(case: Mapping[str, Any], names: Sequence[str]) -> set[Pair]:
    """Every two values of a case, in the order of ``names``."""
    return {(a, case[a], b, case[b]) for a, b in itertools.combinations(names, 2)}


def allowed_pairs(
    factors: Mapping[str, Sequence[Any]], is_allowed: Callable[[str, Any, str, Any], bool]
) -> dict[Pair, None]:
    """Every two values that may meet, in a fixed order."""
    return {
        (a, x, b, y): None
        for a, b in itertools.combinations(factors, 2)
        for x, y in itertools.product(factors[a], factors[b])
        if is_allowed(a, x, b, y)
    }


def covering(
    factors: Mapping[str, Sequence[Any]],
    is_allowed: Callable[[str, Any, str, Any], bool],
    seed: int,
    starts: Sequence[Case] = (),
) -> list[Case]:
    """Cases in which every allowed pair of values occurs; the same for the same arguments.

    is_allowed : of a factor, its value, a later factor and its value.
    starts : if any, each case takes the values of one of them, which have the same factors each.

    Raises
    ------
    ValueError
        If an allowed pair occurs in no case, since third values stand against it.
    """
    builder = _Builder(factors, is_allowed, random.Random(seed), starts)
    cases = []
    while builder.missing:
        pair = next(iter(builder.missing))
        found = [case for _ in range(_TRIES) if (case := builder.candidate(pair)) is not None]
        if not found:
            raise ValueError(
                f"no case has {pair[0]}={pair[1]!r} with {pair[2]}={pair[3]!r}; expected one for each allowed "
                "pair. Forbid the pair, or allow what it needs."
            )
        best = max(found, key=builder.gain)
        for covered in pairs_of(best, builder.names):
            builder.missing.pop(covered, None)
        cases.append(best)
    return cases


class _Builder:
    """The pairs that are still missing, and candidates for the next case."""

    def __init__(
        self,
        factors: Mapping[str, Sequence[Any]],
        is_allowed: Callable[[str, Any, str, Any], bool],
        rng: random.Random,
        starts: Sequence[Case],
    ) -> None:
        self.factors, self.rng, self.starts = factors, rng, starts
        self.names = list(factors)
        self._place = {name: i for i, name in enumerate(self.names)}
        self._allowed = allowed_pairs(factors, is_allowed)
        started = set(starts[0]) if starts else set()
        met = {pair for case in starts for pair in pairs_of(case, [n for n in self.names if n in started])}
        self.missing = {
            pair: None
            for pair in self._allowed
            if not (pair[0] in started and pair[2] in started) or pair in met
        }

    def gain(self, case: Case) -> int:
        """How many missing pairs a case has."""
        return sum(pair in self.missing for pair in pairs_of(case, self.names))

    def candidate(self, pair: Pair) -> Case | None:
        """A case with this pair; None when the values chosen on the way leave none for another factor."""
        a, x, b, y = pair
        wanted = {a: x, b: y}
        case: Case = dict(wanted)
        if self.starts:
            fitting = [s for s in self.starts if all(s.get(name, v) == v for name, v in wanted.items())]
            if not fitting:
                return None
            case.update(self.rng.choice(fitting))
        if not all(self._pair(n, case[n], m, case[m]) in self._allowed
                   for n, m in itertools.combinations(case, 2)):  # fmt: skip
            return None
        rest = [name for name in self.names if name not in case]
        self.rng.shuffle(rest)
        for name in rest:
            best = self._best(name, case)
            if best is None:
                return None
            case[name] = best[0]
        return {name: case[name] for name in self.names}

    def _best(self, name: str, case: Case) -> tuple[Any] | None:
        """The value that adds the most missing pairs, any one of several such; None if none is allowed."""
        scores: list[tuple[int, float, Any]] = []
        for value in self.factors[name]:
            pairs = [self._pair(name, value, other, known) for other, known in case.items()]
            if all(pair in self._allowed for pair in pairs):
                scores.append((sum(pair in self.missing for pair in pairs), self.rng.random(), value))
        return (max(scores, key=lambda score: score[:2])[2],) if scores else None

    def _pair(self, a: str, x: Any, b: str, y: Any) -> Pair:
        return (a, x, b, y) if self._place[a] < self._place[b] else (b, y, a, x)
