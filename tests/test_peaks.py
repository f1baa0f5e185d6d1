"""The limits as a whole: their form, their working sets, and kernels that do what they count."""

import json
import math
import platform
import re

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numbasgd import device
from numbasgd.compile.options import OPTIONS
from numbasgd.machine import extent, peaks, probes, sweeps
from numbasgd.machine.deadline import Deadline
from numbasgd.simd.vector import register_bytes

DTYPES = (np.float32, np.float64)
KB = 1024


@pytest.fixture(scope="module")
def found():
    """The limits of this machine, with working sets of at most 256 KB."""
    return peaks.limits(quick=True, largest=256 * KB, deadline=Deadline(math.inf))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("chains", [1, 12, 24])
def test_multiply_add_does_as_many_as_are_counted(dtype, fused, chains):
    lanes = register_bytes() // np.dtype(dtype).itemsize
    kernel = probes.make_multiply_add(lanes, chains, fused and probes.has_fma())
    one, zero = dtype(1), dtype(0)
    for n in (1, 2, 37):
        assert kernel(n, zero, one, one) == n * lanes * chains  # each step adds 1 to each lane of each chain
    assert kernel(3, one, dtype(2), zero) == 8 * lanes * chains


@pytest.mark.skipif(platform.machine() != "x86_64", reason="reads the assembly of x86")
@pytest.mark.parametrize("dtype", DTYPES)
def test_multiply_add_fills_the_widest_registers(dtype):
    if not probes.has_fma():
        pytest.skip("no fused multiply-add on this CPU")
    lanes = register_bytes() // np.dtype(dtype).itemsize
    made = probes.make_multiply_add(lanes, probes.n_chains(), True)
    kernel = numba.njit(**{**OPTIONS, "fastmath": False})(made.py_func)  # code from the cache has no listing
    kernel(1, dtype(1), dtype(1), dtype(1))
    name = {64: "zmm", 32: "ymm", 16: "xmm"}[register_bytes()]
    kind = "ps" if dtype is np.float32 else "pd"
    [code] = kernel.inspect_asm().values()
    fused = [line for line in code.splitlines() if re.search(rf"vfn?m\w+{kind}\b", line)]
    assert len([line for line in fused if name in line]) >= probes.n_chains()
    assert not [line for line in fused if name not in line]
    assert not [line for line in fused if "(" in line], "an operand in memory: the chains do not fit"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ahead", [0, probes.AHEAD])
@pytest.mark.parametrize("passes", [1, 3])
def test_read_is_the_sum(rng, dtype, ahead, passes):
    lanes = register_bytes() // np.dtype(dtype).itemsize
    x = rng.integers(-9, 9, 5 * probes.UNROLL * lanes).astype(dtype)
    assert probes.make_read(lanes, ahead)(x, passes) == passes * x.sum()


@pytest.mark.parametrize("non_temporal", [False, True])
def test_copy_and_triad_write_every_entry_and_no_other(rng, non_temporal):
    lanes = register_bytes() // 4
    scratch = sweeps.make_scratch(64 * KB).view(np.float32)
    x, y, out, after = scratch[:1024], scratch[1024:2048], scratch[2048:3072], scratch[3072:3200]
    x[:], y[:] = rng.standard_normal((2, 1024))
    out[:], after[:] = np.nan, 7
    probes.make_copy(lanes, non_temporal)(x, out, 1)
    np.testing.assert_array_equal(out, x)
    probes.make_triad(lanes, non_temporal)(x, y, np.float32(3), out, 2)
    np.testing.assert_allclose(out, x + 3 * y, rtol=1e-6, atol=1e-6)
    assert (after == 7).all()


@given(st.integers(1, 300), st.integers(0, 9))
@settings(deadline=None, max_examples=30)
def test_a_walk_is_one_cycle_over_all_lines(n_lines, seed):
    lines = np.full((n_lines + 1) * probes.LINE, 99, np.uint64)
    probes.link_cycle(lines, n_lines, seed)
    place, seen = 0, []
    for _ in range(n_lines):
        seen.append(place)
        place = int(lines[place])
    assert place == 0
    assert sorted(seen) == list(range(0, n_lines * probes.LINE, probes.LINE))
    assert (lines.reshape(-1, probes.LINE)[:, 1:] == 99).all()
    half = n_lines // 2
    assert probes.chase(lines, np.uint64(0), np.uint64(half)) == (seen + [0])[half]


@given(st.integers(1, 300), st.integers(1, 60))
@settings(deadline=None, max_examples=30)
def test_a_walk_may_stay_near_for_a_while(n_lines, near):
    lines = np.zeros(n_lines * probes.LINE, np.uint64)
    place = start = probes.link_cycle(lines, n_lines, near=near)
    pieces = []
    for _ in range(n_lines):
        pieces.append(place // probes.LINE // near)
        place = int(lines[place])
    assert place == start
    moves = sum(a != b for a, b in zip(pieces, pieces[1:], strict=False))
    assert moves == len(set(pieces)) - 1, "a piece is left once, when all of it was visited"
    assert len(set(pieces)) == -(-n_lines // near)


def _check_limit(limit):
    assert set(limit) >= {"value", "low", "high"}
    assert 0 < limit["low"] <= limit["value"] <= limit["high"]


def test_limits_are_plain_json_of_the_promised_form(found):
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert set(found) >= {
        "schema",
        "seconds",
        "compile_seconds",
        "notes",
        "fma",
        "bandwidth",
        "latency",
        "levels",
        "gpu",
    }
    assert found["schema"] == 1
    for dtype in ("float32", "float64"):
        _check_limit(found["fma"][dtype]["one"])
        if found["fma"][dtype]["all"] is not None:  # on a busy machine
            _check_limit(found["fma"][dtype]["all"])
    for name in ("read", "copy", "triad"):
        points = found["bandwidth"][name]["one"]
        assert [p["bytes"] for p in points] == sorted({p["bytes"] for p in points})
        assert len(found["bandwidth"][name]["all"]) <= 1
        for point in points + found["bandwidth"][name]["all"]:
            _check_limit(point)
    assert found["latency"][0]["bytes"] == 4 * KB
    assert found["latency"][-1]["bytes"] == 256 * KB
    for point in found["latency"]:
        _check_limit(point)
    assert found["levels"][-1]["name"] == "memory"
    assert found["levels"][-1]["bytes"] is None
    assert {"read", "read_all", "latency"} < set(found["levels"][-1])


def test_limits_are_possible_ones(found):
    for limits in found["fma"].values():
        assert (limits["all"] == limits["one"]) == (found["threads"] == 1), "no figure stands for another"
    peak = found["fma"]["float32"]["one"]["high"]
    assert 1 < peak < 2000
    assert found["fma"]["float64"]["one"]["high"] < peak * 1.2
    clock_at_most = 10.0  # GHz
    assert found["latency"][0]["low"] > 1 / clock_at_most
    assert peak <= clock_at_most * 4 * 2 * register_bytes() / 4


def test_sizes_of_working_sets():
    assert sweeps.grid(4 * KB, 32 * KB, 1) == [4 * KB, 8 * KB, 16 * KB, 32 * KB]
    fine = sweeps.grid(4 * KB, 128 << 20, 4)
    assert fine[0] == 4 * KB and fine[-1] == 128 << 20
    assert {32 * KB, 1024 * KB} < set(fine)
    assert all(size % 1024 == 0 for size in fine)
    ratios = [b / a for a, b in zip(fine[8:], fine[9:], strict=False)]
    assert 1.1 < min(ratios) and max(ratios) < 1.3


@pytest.mark.parametrize("n_bytes", [16 * KB, 17 * KB, 256 * KB, 1 << 20])
@pytest.mark.parametrize("n", [2, 3])
def test_pieces_are_aligned_apart_and_whole_steps(n_bytes, n):
    scratch = sweeps.make_scratch(n_bytes).view(np.float32)
    assert scratch.ctypes.data % sweeps.HUGE == 0
    pieces = sweeps.split(scratch, n)
    assert len({piece.size for piece in pieces}) == 1
    assert all(piece.ctypes.data % 64 == 0 and piece.nbytes % 1024 == 0 for piece in pieces)
    assert len({piece.ctypes.data % 4096 for piece in pieces}) == n
    assert sum(piece.nbytes for piece in pieces) > 0.7 * n_bytes
    name = {2: "copy", 3: "triad"}[n]
    assert sweeps._traffic(name, n_bytes) == sum(piece.nbytes for piece in pieces)


def test_memory_stays_within_what_is_free(monkeypatch, tmp_path):
    monkeypatch.setattr(extent, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(extent, "_CGROUP", tmp_path / "memory.max")
    assert extent.free_memory() == 8 << 30
    (tmp_path / "meminfo").write_text("MemTotal: 9000000 kB\nMemAvailable:    4194304 kB\n")
    assert extent.free_memory() == 4 << 30
    (tmp_path / "memory.max").write_text("max\n")
    assert extent.free_memory() == 4 << 30
    (tmp_path / "memory.max").write_text("1073741824\n")
    assert extent.free_memory() == 1 << 30


def test_a_machine_without_a_card_has_none(monkeypatch):
    monkeypatch.setattr(device, "available", lambda: False)
    assert peaks._gpu() is None


@pytest.mark.cuda
def test_what_a_card_costs(monkeypatch):
    from numbasgd.machine import card

    monkeypatch.setattr(card, "LARGE", 1 << 12)
    monkeypatch.setattr(card, "ROUNDS", 3)
    monkeypatch.setattr(card, "QUEUED", 2)
    found = card.limits()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert set(found) == {"launch", "queued", "to_device_one", "to_host_one", "to_device", "to_host", "copy"}
    for limit in found.values():
        _check_limit(limit)
        assert limit["unit"] in ("ns", "GB/s")
    if device.is_simulator():
        assert peaks._gpu() is None  # its times mean nothing
