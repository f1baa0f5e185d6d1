"""Several Python threads at once, and forks: the same bits, and no child that waits for ever."""

import os

import pytest
from child import run_python

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")

# What a thread does, and what it must give: the same bits, whoever runs it.
WORK = """
    import os, signal, sys, threading, warnings
    from concurrent.futures import ThreadPoolExecutor
    import numpy as np, numbasgd
    warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside other threads
    A = np.random.default_rng(0).standard_normal((37, 29)).astype("f")
    X, y = numbasgd.airfoil_twin()

    def work():
        C = numbasgd.matmul(A, A.T)
        fit = numbasgd.train(X, y, batch_size=10, lr=0.05, seed=1)
        g, gb = numbasgd.gradient(X, y, fit.w, rows=np.arange(0, 1500, 7))
        return C.tobytes(), fit.w.tobytes(), fit.b, g.tobytes(), gb

    def in_child(call):
        \"\"\"The exit code of a child that makes ``call``; it is stopped after a minute.\"\"\"
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            os._exit(0 if call() else 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


@pytest.mark.parametrize("is_compiled", [pytest.param(False, marks=pytest.mark.slow), True])
def test_eight_threads_give_the_same_bits_as_one(tmp_path, is_compiled):
    """All of them begin at once, with nothing compiled or loaded yet, and change often."""
    run_python(
        WORK
        + """
    sys.setswitchinterval(1e-5)
    start = threading.Barrier(8)

    def at_once(_):
        start.wait()
        return [work() for _ in range(3)]

    with ThreadPoolExecutor(8) as pool:
        found = {bits for done in pool.map(at_once, range(8)) for bits in done}
    assert found == {work()}, len(found)
    """,
        **({} if is_compiled else {"NUMBASGD_CACHE_DIR": str(tmp_path), "NUMBA_CACHE_DIR": None}),
    )


@needs_fork
def test_a_child_goes_on_with_what_the_parent_used():
    """Also with code that only the child compiles, and after threads have used it."""
    run_python(
        WORK
        + """
    before = work()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: work(), range(2)))
        assert in_child(lambda: work() == before) == 0
        assert in_child(lambda: numbasgd.matmul(A, A.T, rung="full")[0, 0] > 0) == 0
    assert work() == before
    """
    )


@needs_fork
def test_a_fork_while_another_thread_compiles(tmp_path):
    """The child must not inherit a lock whose holder it has not."""
    run_python(
        WORK
        + """
    from numba.core.compiler_lock import global_compiler_lock
    held, done = threading.Event(), threading.Event()

    def compile_for_long():
        with global_compiler_lock:
            held.set()
            done.wait(2)

    thread = threading.Thread(target=compile_for_long)
    thread.start()
    held.wait()
    assert in_child(lambda: numbasgd.matmul(A, A.T, rung="full")[0, 0] > 0) == 0
    done.set()
    thread.join()
    assert numbasgd.matmul(A, A.T, rung="full")[0, 0] > 0  # and the parent has the lock no more
    thread = threading.Thread(target=lambda: global_compiler_lock.acquire())
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    """,
        NUMBASGD_CACHE_DIR=str(tmp_path),
        NUMBA_CACHE_DIR=None,
    )


@needs_fork
def test_a_fork_while_another_thread_prepares_a_run():
    run_python(
        WORK
        + """
    from numbasgd.sgd import risk
    X, y = np.random.default_rng(0).standard_normal((2, 200_000, 1))
    fit = numbasgd.train(X, y[:, 0], lr=0.1, seed=1)
    held, done, made = threading.Event(), threading.Event(), risk.parts.Parts

    def make(*args):
        held.set()
        done.wait(10)
        return made(*args)

    risk.parts.Parts = make
    thread = threading.Thread(target=lambda: numbasgd.train(X, y[:, 0], lr=0.1, seed=1))
    thread.start()
    assert held.wait(10)
    risk.parts.Parts = made
    assert in_child(lambda: numbasgd.train(X, y[:, 0], lr=0.1, seed=1).w == fit.w) == 0
    done.set()
    thread.join()
    """
    )
