"""The chapter's claims about memory: the first access costs, a burst is cheap, arithmetic outruns memory.

A ladder ``memory-order-f32-<set>-one`` reads one working set in four orders, ``memory-burst-...`` takes
bytes in a row from random places, ``memory-width-...`` reads by narrow and by wide loads, and
``memory-work-...`` does more and more with each number.  Every sum is exact, so the residual must be 0.
"""

import functools

import pytest

from numbasgd.machine import patterns
from numbasgd.machine.fingerprint import size

SETS = (16 << 10, 256 << 10, 4 << 20, 128 << 20)  # from the first cache to several times the last, mostly
FULL_SETS = (64 << 10, 1 << 20, 16 << 20, 512 << 20)
IN_CACHE, IN_MEMORY = SETS[0], SETS[-1]


def _params(names, sets, full_sets=()):
    for working_set in (*sets, *full_sets):
        marks = [pytest.mark.bench_full] if working_set in full_sets else []
        for name in names:
            label = f"{name}-f32-{size(working_set).replace(' ', '')}-one"
            yield pytest.param(name, working_set, id=label, marks=marks)


@functools.lru_cache(maxsize=1)
def _make(kind, name, working_set):
    how = {"order": patterns.pattern, "burst": patterns.burst, "width": patterns.width, "work": patterns.work}
    return how[kind](name, working_set)


def _run(measure, kind, name, working_set, reference=None):
    access = _make(kind, name, working_set)
    passes = access.passes
    found = []

    def call():
        found[:] = [access.call(passes)]

    measure(
        call,
        check=lambda: (float(abs(found[0] - access.expected(passes))), 0.0),
        kind="memory",
        case=str(name),
        ladder=f"memory-{kind}-f32-{size(working_set).replace(' ', '')}-one",
        reference=reference,
        dtype="float32",
        working_set=working_set,
        accesses=passes * access.accesses,
        flop=passes * access.flop,
        bytes=passes * access.bytes,
    )


@pytest.mark.parametrize(("name", "working_set"), [*_params(patterns.PATTERNS, SETS, FULL_SETS)])
def test_memory_order(measure, name, working_set):
    _run(measure, "order", name, working_set, "sequential")


@pytest.mark.parametrize(("name", "working_set"), [*_params(patterns.BURSTS, [IN_MEMORY])])
def test_memory_burst(measure, name, working_set):
    _run(measure, "burst", name, working_set, "4")


@pytest.mark.parametrize(("name", "working_set"), [*_params(patterns.WIDTHS, [IN_CACHE, IN_MEMORY])])
def test_memory_width(measure, name, working_set):
    _run(measure, "width", name, working_set, "4")


@pytest.mark.parametrize(("name", "working_set"), [*_params(patterns.FLOPS, [IN_CACHE, IN_MEMORY])])
def test_memory_work(measure, name, working_set):
    _run(measure, "work", name, working_set)
