"""Who of many machines has the fastest core, the best memory, and gets to the loss first; and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from numbasgd.compare.machines import letter
from numbasgd.compare.standings import LINE, Standing

_ALIKE = 1.05  # times as much, up to which one is not said to be ahead
_APART = f"no more than {100 * (_ALIKE - 1):.0f} % apart"


def sentences(found: Sequence[Standing]) -> list[str]:
    """What is known of who is ahead, a paragraph each; then who could not be placed."""
    told = [say(found) for say in (_core, _memory, _training, _missing)]
    return [line for line in told if line]


def _core(found: Sequence[Standing]) -> str | None:
    ahead = _two_best(found, lambda s: s.core.peak if s.core else None)
    if ahead is None:
        return None
    first, second = ahead
    one, two = first.core, second.core
    assert one and two
    a, b = letter(first.side), letter(second.side)
    if one.peak <= _ALIKE * two.peak:
        return (
            f"{a} and {b} have the fastest cores, {_APART}: {one.peak:.3g} and {two.peak:.3g} GFLOP/s of "
            "multiply-adds in float32 on one thread."
        )
    said = (
        f"{a} has the fastest core: {one.peak:.3g} GFLOP/s of multiply-adds in float32 on one thread, "
        f"{one.peak / two.peak:.2g} times as many as {b}, the next."
    )
    if not one.operations or not two.operations or not one.clock or not two.clock:
        return said
    clocks = f"{one.clock:.2g} GHz, {b}'s {two.clock:.2g}"
    if one.operations == two.operations:
        return f"{said} Both do {one.operations} operations a cycle, so the clock decides: about {clocks}."
    return (
        f"{said} It does {one.operations} operations a cycle ({one.pipes} multiply-adds of "
        f"{one.vector_bytes}-byte vectors), {b} {two.operations} ({two.pipes} of {two.vector_bytes}); its "
        f"clock is about {clocks}."
    )


def _memory(found: Sequence[Standing]) -> str | None:
    ahead = _two_best(found, lambda s: s.memory.read if s.memory else None)
    if ahead is None:
        return None
    first, second = ahead
    one, two = first.memory, second.memory
    assert one and two
    a, b = letter(first.side), letter(second.side)
    if one.read <= _ALIKE * two.read:
        return (
            f"{a} and {b} have the best memory, {_APART}: one thread reads {one.read:.3g} and {two.read:.3g} "
            "GB/s."
        )
    said = (
        f"{a} has the best memory: one thread reads {one.read:.3g} GB/s, {one.read / two.read:.2g} times as "
        f"much as on {b}, the next."
    )
    if not one.lines or not two.lines:
        return said
    return (
        f"{said} What one core reads is the cache lines that it keeps in flight over the time of a load: {a} "
        f"keeps {one.lines:.0f} lines of {LINE} bytes and waits {one.latency:.3g} ns for each, {b} "
        f"{two.lines:.0f} and {two.latency:.3g} ns."
    )


def _training(found: Sequence[Standing]) -> str | None:
    def speed(standing: Standing) -> float | None:
        best = standing.valley.best() if standing.valley else None
        return 1 / (best.time["compiled"] or 1.0) if best else None

    ahead = _two_best(found, speed)
    if ahead is None:
        return None
    first, second = ahead
    assert first.valley and second.valley
    one, two = first.valley.best(), second.valley.best()
    assert one and two
    a, b = letter(first.side), letter(second.side)
    if (two.time["compiled"] or 0.0) <= _ALIKE * (one.time["compiled"] or 0.0):
        return (
            f"{a} and {b} get to the loss first, {_APART}: in {_micro(one.time['compiled'])} and "
            f"{_micro(two.time['compiled'])} us, with batch sizes {one.batch_size} and {two.batch_size}."
        )
    said = (
        f"{a} gets to the loss first, in {_micro(one.time['compiled'])} us with batch size {one.batch_size}; "
        f"{b}, the next, takes {_micro(two.time['compiled'])} with {two.batch_size}."
    )
    there = next((place for place in second.valley.places if place.batch_size == one.batch_size), None)
    ours, theirs = one.each["compiled"], there.each["compiled"] if there else None
    if ours and theirs:
        said += (
            " How many samples it takes is a matter of the data, so the time of one decides: with batch size "
            f"{one.batch_size} {1e9 * ours:.3g} ns on {a}, {1e9 * theirs:.3g} on {b}."
        )
    return said


def _missing(found: Sequence[Standing]) -> str | None:
    lacking = {
        "measured limits": [s for s in found if s.core is None],
        "a valley of the same problem": [s for s in found if not s.valley],
    }
    told = [f"{what}: {', '.join(letter(s.side) for s in who)}" for what, who in lacking.items() if who]
    return f"Not everywhere: without {'; without '.join(told)}." if told else None


def _two_best(
    found: Sequence[Standing], value: Callable[[Standing], float | None]
) -> tuple[Standing, Standing] | None:
    """The two with the largest values, or None where fewer are known."""
    known = sorted((s for s in found if value(s)), key=lambda s: value(s) or 0.0, reverse=True)
    return (known[0], known[1]) if len(known) > 1 else None


def _micro(seconds: float | None) -> str:
    return f"{1e6 * (seconds or 0.0):.3g}"
