"""The trials of a search: which are raced, what the race tells of the others, and which are near the best."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from numbasgd.sgd.batch_size.race import Arm
from numbasgd.sgd.batch_size.result import NEAR, Trial

_APART, _WITHIN, _MOST = 3.9, 1.6, 2  # factor between sizes of a race, of the best one's seconds, and how many
_UNKNOWN = (8, 32, 128)  # sizes of a race without a model


def shortlist(trials: list[Trial], n: int) -> list[Trial]:
    """Sizes that the model puts near the best, a factor of four or so apart, and all rows if they are near."""
    known = sorted((t for t in trials if t.predicted is not None), key=lambda t: t.predicted or 0.0)
    if not known:
        some = [t for t in trials if t.batch_size in (*_UNKNOWN, n)]
        return some or trials[:_MOST]
    taken: list[Trial] = []
    for t in known:
        if (t.predicted or 0.0) > _WITHIN * (known[0].predicted or 0.0) or len(taken) == _MOST:
            break
        b = t.batch_size
        far = all(
            max(b, o.batch_size) / min(b, o.batch_size) >= _APART or n in (b, o.batch_size) for o in taken
        )
        if far:
            taken.append(t)
    return taken


def corrected(trials: list[Trial], arms: list[Arm], winner: Arm) -> list[Trial]:
    """Trials with what the race told of them; by how much the model was wrong for the winner counts for all."""
    chosen = next(t for t in trials if t.batch_size == winner.batch_size)
    factor = winner.hit / chosen.predicted if chosen.predicted and math.isfinite(winner.hit) else 1.0
    found = []
    for t in trials:
        hits = [arm.hit for arm in arms if arm.batch_size == t.batch_size]
        raced = min(hits, default=math.inf)
        seconds = None if t.predicted is None else factor * t.predicted
        seconds = raced if math.isfinite(raced) else seconds
        if t is not chosen and seconds is not None and math.isfinite(winner.hit):
            seconds = max(seconds, winner.hit)
        lr = winner.lr if t is chosen else t.lr
        found.append(replace(t, lr=lr, raced=raced if math.isfinite(raced) else None, seconds=seconds))
    return found


def near_of(trials: list[Trial], chosen: Trial) -> tuple[int, ...]:
    """Sizes that are about as good, by the model, which chance in the race leaves alone."""
    least = min((t.predicted for t in trials if t.predicted), default=math.inf)
    near = (t is chosen or (t.predicted or math.inf) <= NEAR * least for t in trials)
    return tuple(t.batch_size for t, is_near in zip(trials, near, strict=True) if is_near)


def seconds_at(trials: list[Trial], batch_size: int) -> float:
    """Seconds of a size, by logarithms between those that were looked at."""
    known = [(math.log(t.batch_size), math.log(t.seconds)) for t in trials if t.seconds]
    exact = next((t for t in trials if t.batch_size == batch_size), None)
    if exact is not None or len(known) < 2:
        return (exact.seconds or math.inf) if exact is not None else math.inf
    return float(math.exp(np.interp(math.log(batch_size), *np.array(known).T)))


def interval(trials: list[Trial], near: tuple[int, ...], batch_size: int) -> tuple[int, int]:
    """The run of neighbouring sizes around the chosen one that are near it."""
    sizes = [t.batch_size for t in trials]
    low = high = sizes.index(batch_size)
    while low > 0 and sizes[low - 1] in near:
        low -= 1
    while high + 1 < len(sizes) and sizes[high + 1] in near:
        high += 1
    return sizes[low], sizes[high]
