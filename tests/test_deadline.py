"""Measurements end in time: on a clock that goes on when something is done, on machines that nobody has."""

from types import SimpleNamespace

import numpy as np
import pytest

from numbasgd.experiments import _memory as memory
from numbasgd.experiments import _product as ladder
from numbasgd.machine import deadline, extent, patterns, peaks, rounds, sweeps, timing
from numbasgd.machine.deadline import Deadline
from numbasgd.machine.patterns import Access
from numbasgd.machine.rounds import Effort, Probe, Task

MB, GB = 1 << 20, 1 << 30


@pytest.fixture
def clock(monkeypatch):
    """Seconds, in a list; each thread seems to run all the time."""
    now = [100.0]
    for module in (rounds, deadline, timing):
        monkeypatch.setattr(module, "perf_counter", lambda: now[0])
    for module in (rounds, deadline):
        monkeypatch.setattr(module, "thread_time", lambda: now[0])
    return now


def test_parts_of_a_deadline(clock):
    told = []
    whole = Deadline(10.0, tell=told.append)
    part, soon = whole.part(0.25), whole.at_most(4.0)
    clock[0] += 3.0
    assert (whole.elapsed(), whole.left(), whole.is_over()) == (3.0, 7.0, False)
    assert (part.left(), part.is_over()) == (0.0, True)
    assert soon.left() == 1.0 and whole.at_most(20.0).left() == 7.0
    clock[0] += 7.0
    assert whole.is_over() and whole.left() == 0.0 and whole.part(0.5).is_over()
    part.tell("this")
    assert told == ["this"]


def _probe(clock, seconds):
    def call(n):
        clock[0] += n * seconds

    return Probe(call, 1.0)


def test_what_does_not_fit_is_left_out_from_the_end(clock):
    probes = [_probe(clock, 1.0) for _ in range(8)]
    rounds.interleave(probes, Effort(3, 4, 1e-3, 60.0), Deadline(12.0))
    n_rounds = [len(probe.rates) for probe in probes]
    assert n_rounds[0] >= 1 and n_rounds[-1] == 0
    assert n_rounds == sorted(n_rounds, reverse=True)
    assert clock[0] <= 100.0 + 12.0 + 3.0, "a probe's first turn is three calls, and may begin just in time"


def test_the_time_is_shared_among_the_probes(clock):
    slow, others = _probe(clock, 0.5), [_probe(clock, 1e-3) for _ in range(4)]
    rounds.interleave([slow, *others], Effort(1, 50, 1e-2, 60.0), Deadline(10.0))
    assert 1 <= len(slow.rates) < 5  # its share is 2 s; alone it would make 17 rounds
    assert all(len(probe.rates) == 50 for probe in others)


def test_some_are_measured_in_any_case(clock):
    probes = [_probe(clock, 1.0) for _ in range(4)]
    rounds.interleave(probes, Effort(3, 4, 1e-3, 60.0), Deadline(0.0), n_always=2)
    assert [len(probe.rates) for probe in probes] == [1, 1, 0, 0]


def test_the_time_to_compile_is_kept_apart(clock):
    costs = iter([5.0] + [0.25] * 99)

    def call(n):
        clock[0] += next(costs)

    probe = Probe(call, 1.0)
    rounds.interleave([probe], Effort(1, 3, 1e-3, 60.0))
    assert probe.compile_seconds == 4.75
    assert probe.rates == [4.0] * 3


@pytest.mark.parametrize(
    ("cache", "n_last", "one", "of_all", "said"),
    [
        (32 * MB, 1, 128 * MB, 128 * MB, []),
        (260 * MB, 1, 512 * MB, 512 * MB, ["512 MB, to use no more memory: 2.0 times the last cache (260 MB)"]),
        (GB, 1, 512 * MB, 512 * MB, ["no more than the last cache (1 GB): what is called memory may be"]),
        (32 * MB, 8, 128 * MB, 512 * MB, ["2.0 times the 8 last caches (32 MB each), on all threads"]),
    ],
)
def test_working_sets_are_capped_and_it_is_said(monkeypatch, cache, n_last, one, of_all, said):
    monkeypatch.setattr(extent, "last_cache", lambda: (cache, n_last))
    monkeypatch.setattr(extent, "free_memory", lambda: 64 * GB)
    found = extent.working_sets()
    assert found[:2] == (one, of_all)
    assert len(found.notes) == len(said)
    assert all(part in note for part, note in zip(said, found.notes, strict=True))
    assert extent.working_sets(2 * GB) == (2 * GB, 2 * GB, ())
    monkeypatch.setattr(extent, "free_memory", lambda: GB)
    assert extent.working_sets(2 * GB)[:2] == (128 * MB, 128 * MB)


def test_copies_and_triads_are_left_out_where_compiling_takes_too_long(machine, monkeypatch):
    machine(32 * MB, 1)
    monkeypatch.setattr(sweeps, "compiled", lambda names, within: ("read",))
    found = peaks.limits(quick=True)
    assert list(found["bandwidth"]) == ["read"]
    assert any("copy and triad" in note and "compiling" in note for note in found["notes"])


def test_a_roofline_measures_one_thread_and_says_nothing_of_all(machine):
    machine(32 * MB, 1)
    found = peaks.limits(quick=True, is_complete=False)
    assert list(found["bandwidth"]) == ["read"] and found["bandwidth"]["read"]["all"] == []
    assert [of_dtype["all"] for of_dtype in found["fma"].values()] == [None, None]
    assert found["notes"] == []


@pytest.fixture
def machine(monkeypatch, clock):
    """``machine(cache, slow)``: a machine with such a last cache, ``slow`` times as slow as usual."""

    def make(cache, slow):
        def goes_on(seconds):
            clock[0] += slow * seconds

        def walk(scratch, n_lines):
            ns = 1e-9 if 64 * n_lines < MB else 1e-8 if 64 * n_lines < cache else 1e-7
            return Probe(lambda n: goes_on(500 * n * ns), 500.0, lambda: goes_on(5e-9 * n_lines))

        def variants(name, scratch):
            rate = 1e11 if scratch.nbytes < cache else 1e10
            one = [lambda n: goes_on(n * scratch.nbytes / rate)]
            return one * (2 if scratch.nbytes >= sweeps.BEYOND else 1)

        def concurrent(n_threads, make_calls, tasks, n_rounds, within):
            found = [rounds.Together([], float(n_threads)) for _ in tasks]
            for _ in range(n_rounds):
                for task, of_task in zip(tasks, found, strict=True):
                    goes_on(0.02)
                    of_task.rates.append(task.work * task.repeats / 0.02)
                if within.is_over():
                    break
            return found

        def compiled_kernels(names, within):
            goes_on(1.0)
            return tuple(names)

        monkeypatch.setattr(peaks, "working_sets", extent.working_sets)
        monkeypatch.setattr(extent, "last_cache", lambda: (cache, 1))
        monkeypatch.setattr(extent, "free_memory", lambda: 64 * GB)
        monkeypatch.setattr(peaks, "n_cores", lambda: 4)
        monkeypatch.setattr(peaks, "_gpu", lambda: None)
        monkeypatch.setattr(peaks, "_multiply_add", lambda dtype: Probe(lambda n: goes_on(1e-7 * n), 1e4))
        monkeypatch.setattr(sweeps, "compiled", compiled_kernels)
        monkeypatch.setattr(sweeps, "clear", lambda scratch: goes_on(scratch.nbytes / 2e9))
        monkeypatch.setattr(sweeps, "_walk", walk)
        monkeypatch.setattr(sweeps, "_variants", variants)
        monkeypatch.setattr(rounds, "concurrent", concurrent)
        fake_accesses(monkeypatch, goes_on)

    return make


def fake_accesses(monkeypatch, goes_on):
    """Accesses that touch nothing and take their time, compiled in a tenth of a second each."""
    compiled = set()

    def access(name, n_bytes, ns):
        def call(passes):
            if name not in compiled:
                compiled.add(name)
                goes_on(0.1)
            goes_on(passes * n_bytes / 4 * ns * 1e-9)
            return 0.0

        return Access(name, call, lambda passes: 0.0, n_bytes, n_bytes // 64, n_bytes, n_bytes // 4)

    monkeypatch.setattr(memory, "Numbers", lambda scratch: goes_on(scratch.nbytes / 1e9))
    monkeypatch.setattr(patterns, "chase", lambda scratch, size: access("chase", size, 0.4))
    monkeypatch.setattr(patterns, "pattern", lambda name, size, numbers: access(name, size, 0.3))
    monkeypatch.setattr(patterns, "burst", lambda length, size, numbers: access(f"burst-{length}", size, 0.3))
    monkeypatch.setattr(patterns, "width", lambda n, size, numbers: access(f"load-{n}", size, 0.2))
    monkeypatch.setattr(patterns, "arithmetic", lambda flop, size, numbers: access(f"flop-{flop}", size, 0.4))
    monkeypatch.setattr(memory, "fingerprint", dict)


@pytest.mark.parametrize("cache", [4 * MB, 260 * MB, GB])
@pytest.mark.parametrize("slow", [1, 5])
@pytest.mark.parametrize(("quick", "most"), [(True, 15.0), (False, 45.0)])
def test_memory_is_measured_in_time(machine, clock, cache, slow, quick, most):
    machine(cache, slow)
    found = memory.memory(quick)
    assert found.seconds == pytest.approx(clock[0] - 100.0, abs=0.01), "the seconds told are those that passed"
    assert found.seconds <= most
    sizes = [point["bytes"] for point in found.limits["latency"]]
    assert sizes[0] == sweeps.SMALLEST and sizes[-1] <= extent.MOST
    assert len({row.name for row in found.patterns}) == len(patterns.PATTERNS)
    assert found.bursts and found.widths and found.work
    complete = not any("time was up" in note for note in found.notes)
    n_rows = len(found.bursts) + len(found.widths) + len(found.work)
    assert complete == (n_rows == 5 + 8 + 14 and len(sizes) == len(sweeps.grid_of("latency", sizes[-1])))
    if slow == 1 and not quick:
        assert complete, "there is time enough on a usual machine"


@pytest.mark.parametrize("cache", [260 * MB, GB])
def test_the_limits_of_a_slow_machine_are_still_limits(machine, clock, cache):
    """So slow that little can be measured: what is there has its form, and what is not is told."""
    machine(cache, 60)
    found = peaks.limits(quick=True, deadline=Deadline(peaks.QUICK_SECONDS))
    assert any("Working sets end at" in note and "filling memory" in note for note in found["notes"])
    assert any("time was up" in note and "of latency" in note for note in found["notes"])
    assert found["levels"][-1]["name"] == "memory"
    for of_name in found["bandwidth"].values():
        assert of_name["one"][-1]["value"] > 0
    assert clock[0] - 100.0 < 10 * peaks.QUICK_SECONDS, "the ends of each sweep, and no more"


def test_a_sweep_measures_its_ends_first_and_then_octaves():
    sizes = sweeps.grid_of("latency", 128 * MB)
    order = sweeps.coarse_to_fine(sizes)
    assert sorted(order) == sizes
    assert order[:2] == [sizes[-1], sizes[0]]
    octaves = {*sizes[::-4], sizes[0]}
    assert set(order[: len(octaves)]) == octaves


@pytest.mark.parametrize("share", [0.4, 1.0])
def test_threads_without_a_core_each_show_nothing(clock, monkeypatch, share):
    """Two threads that take turns on a core look as fast as one; no figure is made of it."""
    referee = rounds._Referee(2, [Task(10.0, 1)], 3, Deadline(1e9))
    for _ in range(20):
        referee.settle()
        if referee.is_done:
            break
        begin, clock[0] = clock[0], clock[0] + 1.0
        referee.spans = [(begin, clock[0], 1.0), (begin, clock[0], share)]
    assert referee.is_done
    [found] = referee.found
    assert found.cores == pytest.approx(1 + share)
    assert found.rates == ([] if share < rounds.OWN_CORE else [10.0] * 3)


def test_a_thread_that_begins_late_had_no_core():
    """Each ran all of its own time, but one after the other."""
    referee = rounds._Referee(2, [Task(10.0, 1)], 1, Deadline(1e9))
    while not referee.is_done:
        referee.settle()
        referee.spans = [(0.0, 1.0, 1.0), (1.0, 2.0, 1.0)]
    assert referee.found == [rounds.Together([], 1.0)]


def test_what_all_threads_reach_is_left_out_with_its_reason(machine, monkeypatch):
    machine(32 * MB, 1)
    monkeypatch.setattr(
        rounds, "concurrent", lambda n, make, tasks, *_: [rounds.Together([], 1.3) for _ in tasks]
    )
    found = peaks.limits(quick=True)
    assert [of_dtype["all"] for of_dtype in found["fma"].values()] == [None, None]
    assert [of_name["all"] for of_name in found["bandwidth"].values()] == [[], [], []]
    assert found["levels"][-1]["read_all"] is None
    [note] = [note for note in found["notes"] if "core to itself" in note]
    assert "all 4 threads" in note and "1.3 cores" in note and "multiply-adds in float32" in note


def test_slow_rungs_are_left_out_where_they_do_not_fit(clock):
    taken = {"element": 5.0, "full": 0.5, "packed": 0.01, ladder.REFERENCE: 0.02}
    beyond = ladder._beyond_deadline(taken, 0.2, Deadline(8.0))
    assert beyond == {"element": 5.0}
    assert set(ladder._beyond_deadline(taken, 0.2, Deadline(8.0), checking=2.5)) == {"element", "full"}
    assert set(ladder._beyond_deadline(taken, 0.2, Deadline(0.0))) == {"element", "full", "packed"}
    assert ladder._beyond_deadline(taken, 0.2, Deadline(1e3)) == {}


def test_no_rung_begins_to_compile_that_would_be_late(clock):
    """Those that compile for longest come last, and what the others took tells how long that is."""
    begun = []

    def call(name, once):
        def of_name(name=name, once=once):
            clock[0] += once + 0.5 * ladder._COMPILE.get(name, 0) * (name not in begun)
            begun.append(name)

        return of_name

    names = ["element", "full", "blocked", "packed", "numpy-row", ladder.REFERENCE]
    calls = {name: call(name, 0.01) for name in names}
    taken = ladder._seconds_each(calls, names, 0.1, Deadline(8.0))
    assert list(dict.fromkeys(begun)) == [ladder.REFERENCE, "numpy-row", "full", "element", "blocked"]
    assert taken["packed"] == np.inf and clock[0] - 100.0 < 8.0
    assert [taken[name] for name in names if name != "packed"] == pytest.approx([0.01] * 5)
    taken = ladder._seconds_each(calls, names, 0.01, Deadline(2.0))
    assert taken["packed"] == np.inf, "the others are compiled already, and do not tell"
    assert np.isfinite(taken["blocked"])
    taken = ladder._seconds_each(calls, names, 1.0, Deadline(8.0))
    assert taken["blocked"] == np.inf, "time to measure those before it is kept"
    begun.clear()
    assert all(map(np.isfinite, ladder._seconds_each(calls, names, 0.1, None).values()))


def test_other_programs_leave_a_part_of_what_is_left(clock, monkeypatch):
    work = [7.0]
    monkeypatch.setattr(deadline, "thread_time", lambda: work[0])
    whole = Deadline(10.0)
    part = whole.part(0.5)
    assert whole.work_left() == 10.0, "nothing is known yet"
    clock[0], work[0] = clock[0] + 2.0, work[0] + 0.5
    assert (whole.work_left(), part.work_left(), part.at_most(1.0).work_left()) == (2.0, 0.75, 0.25)
    work[0] += 99.0
    assert whole.work_left() == whole.left() == 8.0


def test_a_progress_line_is_for_terminals_and_gone_at_the_end(monkeypatch, capsys):
    from numbasgd.cli import progress_line

    with progress_line.ProgressLine(45.0, progress_line.perf_counter()) as line:
        line.tell("latency")
    assert capsys.readouterr().err == ""
    written = []
    terminal = SimpleNamespace(isatty=lambda: True, write=written.append, flush=lambda: None)
    monkeypatch.setattr(progress_line.sys, "stderr", terminal)
    with progress_line.ProgressLine(45.0, progress_line.perf_counter()) as line:
        line.tell("latency by working set")
        line.tell("read")
    said = "".join(written)
    assert "0 s of at most 45: latency by working set" in said
    shown = said.split("\r")
    assert shown[-1] == "" and set(shown[-2]) == {" "} and len(shown[-2]) >= len(shown[-3].rstrip())
    assert len(shown[2]) >= len(shown[1]), "the shorter line covers the longer one"


def test_data_is_filled_alike_each_time_and_half_of_it_is_negative():
    numbers = patterns.Numbers.new(256 << 10)
    x = numbers.first(256 << 10)
    assert set(np.unique(x)) == {-1.0, 1.0}
    assert abs(float(x.mean())) < 0.02
    for step in (1, patterns.LINE):
        assert numbers.total(64 << 10, step) == x[: 16 << 10 : step].sum(dtype=np.float64)
    np.testing.assert_array_equal(patterns.Numbers.new(4096).first(4096), x[:1024])


def test_a_chase_that_takes_a_part_of_the_lines_goes_on_and_is_checked(monkeypatch):
    monkeypatch.setattr(patterns, "STEPS", 100)
    scratch = sweeps.make_scratch(64 << 10)
    access = patterns.chase(scratch, 64 << 10)
    assert access.accesses == 100
    assert [access.call(n) for n in (1, 7, 30)] == [0.0] * 3
    scratch.view(np.uint64)[::8] = 0  # each line names the first
    assert access.call(1) == 1.0
