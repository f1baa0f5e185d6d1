"""The chapter's claims about memory: the first access costs, a burst is cheap, arithmetic outruns memory.

"order" reads one working set in four orders, "burst" takes bytes in a row from random places, "width" reads
by narrow and by wide loads, and "work" does more and more with each number.  Every sum is exact, so the
residual must be 0.
"""

import functools

import pytest

from numbasgd.machine import patterns
from numbasgd.machine.fingerprint import size

SETS = (16 << 10, 256 << 10, 4 << 20, 128 << 20)  # from the first cache to several times the last, mostly
FULL_SETS = (64 << 10, 1 << 20, 16 << 20, 512 << 20)
IN_CACHE, IN_MEMORY = SETS[0], SETS[-1]
# For each experiment: how a case is made, the names of its cases, the one to compare with, the working sets.
KINDS = {
    "order": (patterns.pattern, patterns.PATTERNS, "sequential", SETS),
    "burst": (patterns.burst, patterns.BURSTS, "4", [IN_MEMORY]),
    "width": (patterns.width, patterns.WIDTHS, "4", [IN_CACHE, IN_MEMORY]),
    "work": (patterns.arithmetic, patterns.FLOPS, None, [IN_CACHE, IN_MEMORY]),
}


def _params():
    for kind, (_, names, _, sets) in KINDS.items():
        for working_set in (*sets, *(FULL_SETS if kind == "order" else ())):
            marks = [pytest.mark.bench_full] if working_set in FULL_SETS else []
            for name in names:
                label = f"{kind}-{name}-f32-{_label(working_set)}-one"
                yield pytest.param(kind, name, working_set, id=label, marks=marks)


def _label(working_set):
    return size(working_set).replace(" ", "")


@functools.lru_cache(maxsize=1)
def _make(kind, name, working_set):
    return KINDS[kind][0](name, working_set)


@pytest.mark.parametrize(("kind", "name", "working_set"), [*_params()])
def test_memory(measure, kind, name, working_set):
    access = _make(kind, name, working_set)
    found = []

    def call():
        found[:] = [access.call(access.passes)]

    measure(
        call,
        check=lambda: (float(abs(found[0] - access.expected(access.passes))), 0.0),
        kind="memory",
        case=str(name),
        ladder=f"memory-{kind}-f32-{_label(working_set)}-one",
        reference=KINDS[kind][2],
        dtype="float32",
        working_set=working_set,
        accesses=access.passes * access.accesses,
        flop=access.passes * access.flop,
        bytes=access.passes * access.bytes,
    )
