"""Threads: the same bits for any number, work really shared, safe under fork and under several callers."""

import os
import threading
from typing import NamedTuple

import numpy as np
import pytest
import variant_cases
from child import run_python
from conftest import says

from numbasgd import matmul, rawmem, threads
from numbasgd.machine import cpu

SHARED = [
    (128, 128, 128, ""), (300, 200, 257, "B"), (257, 1025, 600, ""), (1030, 700, 800, "A"),
    (2000, 12, 900, ""), (900, 10, 2000, "A"), (6, 2000, 900, ""), (2100, 2050, 17, ""), (1029, 16, 1024, ""),
    (700, 600, 500, "strided"), (33, 5000, 40, ""), (11, 9, 60_000, "A"), (7, 3, 1_000_003, ""),
]  # fmt: skip
# How work is cut does not depend on the dtype; in float64, three shapes by default.
CASES = [
    pytest.param(
        shape, dtype, id=f"{'x'.join(map(str, (shape[0], shape[2], shape[1])))}{shape[3]}-{dtype}",
        marks=() if dtype == "float32" or shape in SHARED[1:4] else pytest.mark.exhaustive(of=3),
    )
    for shape in SHARED
    for dtype in ("float32", "float64")
]  # fmt: skip


@pytest.mark.parametrize(("shape", "dtype"), CASES)
def test_the_same_bits_for_any_number_of_threads(shape, dtype, rng):
    A, B = variant_cases.operands(*shape, dtype, rng)
    one = matmul(A, B, threads=1)
    np.testing.assert_allclose(one, A.astype("f8") @ B.astype("f8"), rtol=0, atol=1e-2)
    for n_threads in (2, 3, 7, None):
        found = matmul(A, B, threads=n_threads, out=np.full_like(one, np.nan))
        np.testing.assert_array_equal(found, one, err_msg=f"{n_threads} threads")


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_columns_are_cut_into_whole_panels(dtype, rng):
    """Wide products are cut along n; whatever is left at the end, no kernel leaves its part."""
    lanes = machine_lanes(dtype)
    for vectors in range(6, 15):
        n = vectors * lanes - 3
        A, B = variant_cases.operands(24, n, 1500, "", dtype, rng)
        one = matmul(A, B, threads=1)
        np.testing.assert_allclose(one, A.astype("f8") @ B.astype("f8"), rtol=0, atol=1e-2)
        room = np.full((24, n + 2 * lanes), 7, dtype)
        for n_threads in (2, 3):
            found = matmul(A, B, threads=n_threads, out=room[:, lanes:-lanes])
            np.testing.assert_array_equal(found, one, err_msg=f"{n} columns, {n_threads} threads")
            assert np.all(room[:, :lanes] == 7)
            assert np.all(room[:, -lanes:] == 7), f"{n} columns, {n_threads} threads"


def machine_lanes(dtype):
    """Numbers in a vector register."""
    return cpu.host().vector // np.dtype(dtype).itemsize


def test_workers_do_work(rng):
    """With three threads, units are done by workers; on a busy machine that may take a few tries."""
    A = rng.random((1500, 1500))
    before = threads.tasks_by_workers()
    for _ in range(50):
        matmul(A, A, threads=3)
        if threads.tasks_by_workers() > before:
            break
    assert threads.tasks_by_workers() > before
    assert sum(t.name == "numbasgd" for t in threading.enumerate()) >= 2


@pytest.mark.parametrize("number", ["1", "3"])
def test_without_a_number_of_threads_the_default_counts(number):
    """Compiled code and the slower way, for arrays that are only read, know the same default."""
    code = f"""
import numpy as np
from numbasgd import matmul, rawmem, threads
A, out = np.ones((800, 800)), np.empty((800, 800))
fixed = A.view()
fixed.flags.writeable = False
for left, right in [(A, A), (fixed, fixed)]:
    before = threads.tasks_by_workers()
    for _ in range(50 if {number} > 1 else 3):  # on a busy machine it may take a few tries
        matmul(left, right, out=out)
        if threads.tasks_by_workers() > before:
            break
    print(threads.tasks_by_workers() > before)
"""
    assert run_python(code, NUMBASGD_NUM_THREADS=number).split() == [str(number == "3")] * 2


@pytest.mark.parametrize("times", [25, pytest.param(100, marks=pytest.mark.slow)])
def test_an_interrupt_while_a_worker_starts(times):
    """It is told, and the worker that began nevertheless shares its workspace with no other."""
    run_python(
        f"""
        import threading, numpy as np, numbasgd
        start = threading.Thread.start

        def interrupted(thread):
            threading.Thread.start = start
            thread.start()
            raise KeyboardInterrupt

        threading.Thread.start = interrupted
        try:
            numbasgd.threads.prepare(1)
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError
        A = np.random.default_rng(0).random((700, 700))
        expected = numbasgd.matmul(A, A, threads=1)
        for _ in range({times}):
            assert (numbasgd.matmul(A, A, threads=3) == expected).all()
        """
    )


def test_small_products_start_no_thread():
    run_python(
        """
        import threading, numpy as np, numbasgd
        for n in (1, 16, 40):
            numbasgd.matmul(np.ones((n, n)), np.ones((n, n)))
        assert threading.active_count() == 1
        """
    )


@pytest.mark.parametrize(
    ("value", "error", "parts"),
    [
        (0, ValueError, ("threads is 0", "expected a whole number from 1 to 64", "Pass 1")),
        (65, ValueError, ("threads is 65", "expected", "None")),
        (2.0, TypeError, ("threads is 2.0", "expected", "Pass")),
        ("two", TypeError, ("threads is 'two'", "expected", "Pass")),
        (True, TypeError, ("threads is True", "expected", "Pass")),
    ],
)
def test_bad_numbers_of_threads(value, error, parts):
    with pytest.raises(error) as caught:
        matmul(np.ones((2, 2)), np.ones((2, 2)), threads=value)
    says(caught.value, *parts)


def test_default_number_of_threads(monkeypatch):
    default = threads.default.__wrapped__  # without the memory of what it was before
    for given, expected in (
        ("3", 3),
        ("1000", threads.MAX_THREADS),
        ("0", cpu.n_cores()),
        ("many", cpu.n_cores()),
    ):
        monkeypatch.setenv("NUMBASGD_NUM_THREADS", given)
        assert default() == expected
    monkeypatch.delenv("NUMBASGD_NUM_THREADS")
    assert default() == cpu.n_cores()
    assert (
        run_python("from numbasgd import threads; print(threads.default())", NUMBASGD_NUM_THREADS="3") == "3\n"
    )


def test_several_python_threads_at_once(rng):
    """Each gets its own result, whoever has the pool."""
    problems = []
    for n in (5, 64, 150, 333, 700):
        A = rng.random((n, n)).astype(np.float32)
        problems.append((A, matmul(A, A, threads=1)))
    failures = []

    def call(seed):
        order = np.random.default_rng(seed)
        for _ in range(60):
            A, expected = problems[order.integers(len(problems))]
            found = matmul(A, A, threads=[None, 1, 2, 4][order.integers(4)])
            if not (found == expected).all():
                failures.append(A.shape)

    callers = [threading.Thread(target=call, args=(seed,)) for seed in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_forked_children_use_it_many_times():
    """Forks right after calls, while workers still wait for the next; children fork, too."""
    run_python(
        """
        import os, signal, warnings, numpy as np, numbasgd
        signal.alarm(120)  # ends a process that hangs; a child starts without one
        warnings.simplefilter("ignore")  # Python warns of forks in processes that have threads
        rng = np.random.default_rng(0)
        A = rng.random((300, 300))
        expected = numbasgd.matmul(A, A, threads=2)
        def child(depth):
            signal.alarm(60)
            for n_threads in (1, 2, 3):
                if not (numbasgd.matmul(A, A, threads=n_threads) == expected).all():
                    os._exit(1)
            if depth:
                wait(os.fork(), depth - 1)
            os._exit(0)
        def wait(pid, depth):
            if pid == 0:
                child(depth)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        for i in range(40):
            assert (numbasgd.matmul(A, A, threads=2) == expected).all()
            wait(os.fork(), i % 2)
        """
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_fork_while_other_threads_multiply():
    run_python(
        """
        import os, signal, threading, warnings, numpy as np, numbasgd
        signal.alarm(120)  # ends a process that hangs; a child starts without one
        warnings.simplefilter("ignore")
        A = np.random.default_rng(0).random((260, 260))
        expected = numbasgd.matmul(A, A, threads=2)
        stop = threading.Event()
        def work():
            while not stop.is_set():
                assert (numbasgd.matmul(A, A, threads=2) == expected).all()
        others = [threading.Thread(target=work) for _ in range(2)]
        for other in others:
            other.start()
        for _ in range(30):
            pid = os.fork()
            if pid == 0:
                signal.alarm(60)
                ok = all((numbasgd.matmul(A, A, threads=2) == expected).all() for _ in range(3))
                os._exit(0 if ok else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        stop.set()
        for other in others:
            other.join()
        """
    )


@pytest.mark.parametrize("times", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_process_ends_while_workers_wait(times):
    for _ in range(times):
        run_python(
            "import numpy as np, numbasgd; numbasgd.matmul(np.ones((900, 900)), np.ones((900, 900)), threads=4)"
        )


@pytest.mark.parametrize("is_prepared", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_compiled_parallel_code_may_call_it(is_prepared):
    """Numba's own threads, each multiplying: the pool is somebody else's, and nothing waits for ever.

    Each has products of its own, which it needs the interpreter to plan.
    """
    run_python(
        f"""
        import numba, numpy as np
        from numbasgd import kernels
        if {is_prepared}:
            kernels.prepare(np.float64)
        @numba.njit(parallel=True)
        def all_of_them(A, out):
            for i in numba.prange(A.shape[0]):
                kernels.matmul(A[i], A[i], out[i], 2)
                kernels.matmul(A[i, : 100 + i], A[i], out[i, : 100 + i], 2)
        A = np.random.default_rng(0).random((20, 150, 150))
        out = np.empty_like(A)
        for _ in range(5):
            out[:] = np.nan
            all_of_them(A, out)
            assert np.allclose(out, A @ A)
        """
    )


class _Record(NamedTuple):
    first: int
    counts: rawmem.NewLine
    last: int


def test_offsets_of_a_record():
    at, n_bytes = rawmem.offsets(_Record, counts=9)
    assert (at.first, at.counts, at.last, n_bytes) == (0, 64, 64 + 72, 64 + 72 + 8)
    with pytest.raises(AssertionError, match="_Record has no field other"):
        rawmem.offsets(_Record, other=2)
