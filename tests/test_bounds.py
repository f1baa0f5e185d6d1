"""What measured limits allow: against the roofline by hand, and limits that say little or nonsense."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_files import LIMITS

from numbasgd.machine.bounds import fma_bound, limits_of, roofline_bound

ONE = {"dtype": "float32", "threads": "one"}
KB, MB = 2**10, 2**20


@pytest.mark.parametrize(
    "flop, bytes, threads, name, seconds",
    [
        (2 * 64**3, 48 * KB, "one", "FMA", 2 * 64**3 / 200e9),
        (1e6, 16 * KB, "one", "FMA", 1e6 / 200e9),
        (1e3, 16 * KB, "one", "L1", 16 * KB / 400e9),
        (1e3, 48 * KB, "one", "L1", 48 * KB / 400e9),
        (1e3, 48 * KB + 1, "one", "L2", (48 * KB + 1) / 100e9),
        (1e9, 1e9, "one", "memory", 1e9 / 20e9),
        (1e9, 1e9, "all", "memory", 1e9 / 30e9),
        (1e12, 1e9, "all", "FMA", 1e12 / 390e9),
        (None, 1e9, "one", "memory", 1e9 / 20e9),
        (1e9, 1e6, "all", "FMA", 1e9 / 390e9),
    ],
)
def test_the_roofline_is_the_lower_of_two_ceilings(flop, bytes, threads, name, seconds):
    bound = roofline_bound(limits_of(LIMITS), flop=flop, bytes=bytes, dtype="float32", threads=threads)
    assert (bound.name, bound.seconds) == (name, pytest.approx(seconds))


def test_on_all_threads_a_cache_bounds_nothing_that_was_not_measured():
    """Memory alone could not feed this work, the cache perhaps could."""
    assert roofline_bound(limits_of(LIMITS), flop=1e6, bytes=1e6, dtype="float32", threads="all") is None


@given(st.floats(1, 1e15), st.floats(1, 1e12))
def test_the_roofline_is_never_below_the_operations_alone(flop, bytes):
    limits = limits_of(LIMITS)
    work = fma_bound(limits, flop=flop, **ONE)
    roof = roofline_bound(limits, flop=flop, bytes=bytes, **ONE)
    assert roof.seconds >= work.seconds
    intensity = flop / bytes
    bandwidth = limits.level(bytes).read["one"].value
    assert flop / roof.seconds == pytest.approx(min(200, intensity * bandwidth) * 1e9)


def test_levels_may_stand_in_any_order():
    backwards = limits_of({**LIMITS, "levels": LIMITS["levels"][::-1]})
    assert [level.name for level in backwards.levels] == ["L1", "L2", "memory"]


def test_what_is_not_known_bounds_nothing():
    limits = limits_of(LIMITS)
    assert fma_bound(limits, flop=None, **ONE) is None
    assert fma_bound(limits, flop=1e9, dtype="float16", threads="one") is None
    assert fma_bound(limits, flop=1e9, dtype="float32", threads=None) is None
    assert roofline_bound(limits, flop=1e9, bytes=None, **ONE) is None
    assert roofline_bound(limits, flop=1e9, bytes=1e6, dtype="float16", threads="one") is None
    no_memory = limits_of({**LIMITS, "levels": LIMITS["levels"][:1]})
    assert roofline_bound(no_memory, flop=1e9, bytes=1e6, **ONE) is None
    no_read = limits_of({**LIMITS, "levels": [{"name": "L1", "bytes": 48 * KB}, *LIMITS["levels"][1:]]})
    assert roofline_bound(no_read, flop=None, bytes=16 * KB, **ONE) is None, "L2 is not what holds them"


@pytest.mark.parametrize("block", [None, 3, [], {}, {**LIMITS, "schema": 2}, {"schema": 1}])
def test_no_limits(block):
    assert limits_of(block) is None


@pytest.mark.parametrize("value", [None, "x", True, -1, 0, float("nan"), float("inf"), 1e300, [1], {}])
def test_nonsense_is_as_good_as_nothing(value):
    odd = {"one": {"value": value, "low": value, "high": 2}, "all": value}
    block = {
        **LIMITS,
        "fma": {"float32": odd, "float64": value},
        "levels": [value, {"name": "L1", "bytes": 48 * KB, "read": value}, {"name": [value], "read": 1.0}],
    }
    found = limits_of(block)
    assert found is None or not found.fma and not any(level.read for level in found.levels)


def test_quartiles_that_do_not_enclose_the_value_are_none():
    fma = {"float32": {"one": {"value": 200.0, "low": 210.0, "high": 220.0}}}
    ceiling = limits_of({**LIMITS, "fma": fma}).peak("float32", "one")
    assert (ceiling.value, ceiling.low, ceiling.high) == (200.0, None, None)


@pytest.mark.parametrize("threads", [1, 2])
def test_what_all_threads_reach_is_never_a_copy_of_one(threads):
    """As earlier versions wrote it on a busy machine, where all threads together were slower than one alone."""
    one, memory = ({"value": v, "low": v - 4, "high": v + 1} for v in (118.1, 20.0))
    block = {
        **LIMITS,
        "threads": threads,
        "fma": {"float32": {"one": one, "all": one}, "float64": {"one": one, "all": {**one, "low": 110.0}}},
        "bandwidth": {"read": {"one": [memory], "all": [{"bytes": 7, **memory}]}},
    }
    limits = limits_of(block)
    assert (limits.peak("float32", "all") is None) == (threads == 2)
    assert ("all" not in limits.levels[-1].read) == (threads == 2)
    assert limits.peak("float32", "one") and limits.peak("float64", "all")
    assert limits.levels[-1].read["one"]
