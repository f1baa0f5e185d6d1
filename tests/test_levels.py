"""Rounds that are summed up fairly, and caches found in curves."""

import math
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numbasgd.machine import levels, rounds, sweeps

DTYPES = (np.float32, np.float64)
KB = 1024


@given(st.lists(st.floats(1e-3, 1e12), min_size=1, max_size=60), st.floats(1e-9, 10))
@settings(deadline=None)
def test_a_limit_lies_within_its_spread(rates, scale):
    for summary in (rounds.limit(rates, scale), rounds.time_limit(rates, scale)):
        assert summary["low"] <= summary["value"] <= summary["high"]
        assert all(float(f"{value:.4g}") == value for value in summary.values())
    assert rounds.limit(rates, scale)["high"] == float(f"{max(rates) * scale:.4g}")


def test_a_limit_survives_slow_rounds_and_one_that_is_too_good():
    rates = [100.0] * 10 + [55.0] * 25 + [117.0]
    assert rounds.limit(rates) == {"value": 100.0, "low": 55.0, "high": 117.0}
    assert rounds.time_limit(rates, 1000.0) == {"value": 10.0, "low": 8.547, "high": 18.18}


@pytest.fixture
def clock(monkeypatch):
    """A clock that only goes on when a test says so."""
    now = [0.0]
    monkeypatch.setattr(rounds, "perf_counter", lambda: now[0])
    return now


def test_probes_take_turns_and_rounds_are_long_enough(clock):
    order, prepared = [], []

    def call(name, n):
        order.append((name, n))
        clock[0] += n * 1e-4

    probes_ = [
        rounds.Probe(lambda n, name=name: call(name, n), 6.0, lambda name=name: prepared.append(name))
        for name in "ab"
    ]
    rounds.interleave(probes_, rounds.Effort(2, 3, 2e-3, 60.0))
    assert [len(probe.rates) for probe in probes_] == [6, 6]
    assert prepared == ["a", "b", "a", "b"]
    assert order[-4:] == [("b", 1)] + 3 * [("b", probes_[1].repeats)]
    assert 4 <= probes_[0].repeats <= 20
    assert probes_[0].rates == pytest.approx([6.0 / 1e-4] * 6)


def test_no_turn_begins_when_the_time_is_over(clock):
    def call(n):
        clock[0] += n * 1e-4

    probe = rounds.Probe(call, 1.0)
    rounds.interleave([probe], rounds.Effort(50, 2, 1e-4, 0.0))
    assert len(probe.rates) == 2


def test_threads_start_together_each_on_its_own():
    made, lock = [], threading.Lock()

    def make(i):
        with lock:
            made.append((i, threading.get_ident()))
        return [lambda n: time.sleep(1e-3), lambda n: time.sleep(1e-3)]

    tasks = [rounds.Task(2.0, 1), rounds.Task(4.0, 1)]
    found = rounds.concurrent(3, make, tasks, rounds=4)
    assert len(found) == 2
    assert all(of_task.rates == [] for of_task in found), "whoever sleeps has no core"
    assert all(0 < of_task.cores < 1.5 for of_task in found)
    assert sorted(i for i, _ in made) == [0, 1, 2]
    assert len({thread for _, thread in made}) == 3


def test_an_error_in_one_thread_ends_all():
    def make(i):
        if i == 1:
            raise MemoryError("no room")
        return [lambda n: None]

    with pytest.raises((MemoryError, threading.BrokenBarrierError)):
        rounds.concurrent(2, make, [rounds.Task(1.0, 1)], 1)


def _curve(sizes, caches, latencies, softness):
    """Latency over the working set: hits in a cache fall off around its size, over ``softness`` octaves."""
    result = []
    for working_set in sizes:
        value = latencies[0]
        for cache, (low, high) in zip(caches, zip(latencies, latencies[1:], strict=False), strict=True):
            away = math.log2(working_set / cache)
            misses = float(away > 0.01) if softness == 0 else 1 / (1 + math.exp(-4 * away / softness))
            value += misses * (high - low)
        result.append(value)
    return result


@given(
    l1=st.sampled_from([16, 32, 48, 64, 128]),
    l2=st.sampled_from([8, 16, 32]),
    l3=st.sampled_from([8, 16, 32]),
    rises=st.tuples(st.floats(2.5, 6), st.floats(2.5, 5), st.floats(4, 10)),
    softness=st.sampled_from([0, 0.3, 0.6]),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=150)
def test_caches_are_found_within_a_factor(l1, l2, l3, rises, softness, seed):
    caches = [l1 * KB, l1 * l2 * KB, l1 * l2 * l3 * KB]
    sizes = sweeps.grid(4 * KB, 8 * caches[-1], 4)
    latencies = [1.0, rises[0], rises[0] * rises[1], math.prod(rises)]
    curve = np.array(_curve(sizes, caches, latencies, softness))
    noise = np.random.default_rng(seed)
    curve *= 1 + 0.03 * noise.random(len(curve))
    curve[noise.integers(len(curve) - 3)] *= 3  # a neighbour
    edges = levels.edges(sizes, list(curve))
    assert len(edges) == 3
    for edge, cache in zip(edges, caches, strict=True):
        assert cache / 1.5 <= edge <= cache * 1.5


def test_a_flat_curve_has_no_cache_and_a_step_has_one():
    sizes = sweeps.grid(4 * KB, 4096 * KB, 4)
    assert levels.edges(sizes, [2.0] * len(sizes)) == []
    assert levels.edges(sizes, [1.0 if size <= 64 * KB else 5.0 for size in sizes]) == [64 * KB]
    assert levels.edges([4096], [1.0]) == []
    assert levels.edges([4096, 8192, 16384], [1.0, 1.0, 9.0]) in ([], [8192])


# Latencies from 4 KB to 128 MB on a CPU with caches of 32 KB, 1 MB and 32 MB, whose two cores are one core's
# two threads, while others used both: the small caches must be found all the same.
BUSY = {
    "a slope as long as a stair": (
        "1.36 1.36 1.36 1.36 1.36 1.36 1.36 1.36 1.36 1.57 1.37 1.37 1.38 4.08 4.11 4.09 4.09 4.1 4.1 "
        "4.09 6.31 4.06 4.09 4.1 4.1 4.11 4.14 4.14 4.21 5.1 8.98 7.21 7.97 9.18 10.4 11 11.3 11.5 11.3 "
        "11.4 11.3 11.3 11.9 12 16.7 79.9 100 101 99.8 103 101 101 101 101 101 97.5 103 103 99.9 99.6 "
        "102 "
    ),
    "a third cache that others fill": (
        "1.36 1.36 1.36 1.36 1.37 1.36 1.36 1.36 1.36 1.36 1.36 1.37 1.39 4.1 4.11 4.1 4.75 4.1 4.1 4.09 "
        "4.1 4.22 4.09 4.09 4.1 4.11 4.14 4.15 4.21 4.88 6.06 7.35 9.6 10.9 11.6 12.4 14.1 15.3 64.7 138 "
        "154 133 137 128 119 138 122 131 153 108 148 129 147 158 171 138 128 152 123 150 134 "
    ),
    "no round of some sets was left alone": (
        "2.39 1.36 1.36 1.36 1.67 1.36 1.36 1.36 1.36 1.36 1.36 1.37 1.44 4.1 4.11 4.09 4.09 4.1 4.1 "
        "4.09 4.1 4.07 4.11 4.1 4.1 4.12 4.13 4.14 4.16 4.65 5.15 8.35 8.38 10 10.9 11.2 11.5 11.7 11.8 "
        "66.6 11.8 16.1 53.8 71.2 74.5 92.3 99.2 14.5 71.4 64.1 94.2 100 98.3 72.4 95.6 99.9 97.8 102 "
        "103 99.8 22.5 "
    ),
}


@pytest.mark.parametrize("name", BUSY)
def test_the_caches_of_a_core_are_found_while_others_work(name):
    curve = [float(value) for value in BUSY[name].split()]
    sizes = sweeps.grid(4 * KB, 128 << 20, 4)
    first, second, *rest = levels.edges(sizes, curve)
    assert first == 32 * KB
    assert 1024 * KB / 1.5 <= second <= 1024 * KB * 1.5
    assert all(edge <= 32 << 20 for edge in rest), "others can make a cache look smaller, not larger"


def _points(sizes, values):
    return [{"bytes": s, "value": v, "low": v, "high": v} for s, v in zip(sizes, values, strict=True)]


def test_bandwidth_tells_the_size_of_a_cache_that_others_use():
    sizes = sweeps.grid(4 * KB, 128 << 20, 4)
    spoiled = _curve(sizes, [32 * KB, 1024 * KB, 6 << 20], [1, 4, 15, 150], 0)
    read = [400 / t for t in _curve(sizes, [32 * KB, 1024 * KB, 32 << 20], [1, 2, 3, 13], 0)]
    found = levels.levels(_points(sizes, spoiled), _points(sizes, read), 50.0)
    assert [level["bytes"] for level in found] == [32 * KB, 1024 * KB, 32 << 20, None]
    assert [level["name"] for level in found] == ["L1", "L2", "L3", "memory"]
    assert [level["latency"] for level in found] == [1, 4, 15, 150]
    assert found[0]["read"] == 400
    assert found[-1]["read_all"] == 50.0
    # A slow moment at the end of a sweep whose second and third level are as fast.
    read = [400 / t for t in _curve(sizes, [32 * KB, 1024 * KB, 32 << 20], [1, 2, 2, 8], 0)]
    slow_end = [*read[:-2], read[-2] / 2, read[-1] / 2]
    found = levels.levels(_points(sizes, spoiled), _points(sizes, slow_end), 50.0)
    assert found[2]["bytes"] == 32 << 20
