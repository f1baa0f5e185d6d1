"""The cases that come near a limit on one machine and stay far below it on another."""

from __future__ import annotations

from numbasgd.compare.comparison import Comparison, Row
from numbasgd.compare.estimate import FASTER, SLOWER
from numbasgd.compare.load import is_same_machine
from numbasgd.compare.summary_model import Fallen

REACHES, FALLS = 0.8, 1 / 1.5  # a share that is near a limit, and what is left of it where a case fell


def fallen_cases(comparison: Comparison) -> tuple[Fallen, ...]:
    """Our cases that come near a limit on one machine and stay far below it on another, the worst first."""
    first, *others = comparison.sides
    same = {place for place, side in enumerate(others, 1) if is_same_machine(first, side)}
    found = []
    for row in comparison.rows:
        for place in range(len(row.measures)):
            fallen = _fell(row, place, "blas") or _fell(row, place, "roofline")
            if fallen is None:
                continue
            change = row.changes[max(place, fallen.near) - 1]
            # On one machine a change is judged on times; a share that differs for another reason is none.
            if not {place, fallen.near} <= {0, *same} or (change and change.verdict in (FASTER, SLOWER)):
                found.append(fallen)
    return tuple(sorted(found, key=lambda f: (f.metric != "blas", f.share / f.near_share)))


def _fell(row: Row, place: int, metric: str) -> Fallen | None:
    m = row.measures[place]
    own = m.share(metric) if m else None
    # Probes of memory measure the machine, and a reference is no case of ours.
    if m is None or own is None or m.case.kind in ("", "memory") or m.case.case == m.case.reference:
        return None
    shares = [(share, side) for side, n in enumerate(row.measures) if n and (share := n.share(metric))]
    good = [pair for pair in shares if pair[0] >= max(REACHES, own / FALLS)]
    if not good or own >= REACHES:
        return None
    best, near = good[0] if good[0][1] == 0 else max(good)  # against the first side where that is one of them
    sizes = {m.case.sizes.get(key) for key in "mnk"}
    size = sizes.pop() if len(sizes) == 1 else None
    return Fallen(
        id=row.id,
        case=m.case.case,
        dtype=m.case.dtype,
        threads=m.case.threads,
        size=size,
        reference=m.case.reference,
        metric=metric,
        place=place,
        share=own,
        near=near,
        near_share=best,
    )
