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


@pytest.mark.slow
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
    from numbasgd.sgd.solvers import objective
    X, y = np.random.default_rng(0).standard_normal((2, 200_000, 1))
    fit = numbasgd.train(X, y[:, 0], lr=0.1, seed=1)
    held, done, made = threading.Event(), threading.Event(), objective.reduce.Parts

    def make(*args):
        held.set()
        done.wait(10)
        return made(*args)

    objective.reduce.Parts = make
    thread = threading.Thread(target=lambda: numbasgd.train(X, y[:, 0], lr=0.1, seed=1))
    thread.start()
    assert held.wait(10)
    objective.reduce.Parts = made
    assert in_child(lambda: numbasgd.train(X, y[:, 0], lr=0.1, seed=1).w == fit.w) == 0
    done.set()
    thread.join()
    """
    )


@pytest.mark.parametrize(
    ("room", "is_compiled"),
    [
        pytest.param("for one", True, marks=pytest.mark.slow),
        *(pytest.param(room, False, marks=pytest.mark.slow) for room in ("for one", "for all")),
    ],
)
def test_many_threads_make_their_first_product_at_once(room, is_compiled, tmp_path):
    """More than there are workspaces, or room for; small products that hold the interpreter's lock among them.

    Whoever has a workspace may also need the interpreter, to load code, or with an empty cache to compile it.
    """
    run_python(
        f"""
        import signal, sys, threading, numpy as np, numbasgd
        signal.alarm(200)
        sys.setswitchinterval(1e-6)
        rng = np.random.default_rng(0)
        pairs = [(rng.random((n, n)).T, rng.random((n, n)).T) for n in (30, 300)]
        for n in (30, 300):
            plan = numbasgd.matmul_plan(n, n, n, "f8", transposed=(True, True))
            assert plan.variant in ("packed", "few-rows-t")  # which need scratch memory
        expected = [A @ B for A, B in pairs]
        numbasgd.matmul(*pairs[0])
        workspace = numbasgd.workspace
        workspace._state.word(workspace._AT.n_bytes).value <<= {40 if room == "for one" else 0}
        start, failures = threading.Barrier(71), []
        def work(which, times):
            start.wait()
            for _ in range(times):
                if not np.allclose(numbasgd.matmul(*pairs[which], threads=2), expected[which]):
                    failures.append(which)
        threads = [threading.Thread(target=work, args=(i % 2, 5)) for i in range(70)]
        for thread in threads:
            thread.start()
        work(0, 200)
        for thread in threads:
            thread.join()
        assert not failures
        """,
        **({} if is_compiled else {"NUMBASGD_CACHE_DIR": str(tmp_path), "NUMBA_CACHE_DIR": None}),
    )


def test_without_room_for_a_workspace():
    run_python(
        """
        import numpy as np
        from numbasgd import workspace
        needed = workspace._state.word(workspace._AT.n_bytes)
        usual, needed.value = needed.value, 1 << 60
        try:
            workspace.allocate_for_worker(0)
        except MemoryError as error:
            assert f"no memory for a workspace of {1 << 60} bytes; expected" in str(error)
        else:
            raise AssertionError
        from numbasgd import matmul
        A = np.random.default_rng(0).random((700, 700))
        one = matmul(A.T, A.T, threads=1)
        assert (matmul(A.T, A.T, threads=3) == one).all()  # nobody to share it with
        """
    )


@pytest.mark.parametrize("when", ["select", "variant", "share", "panels", "start"])
def test_an_interrupt_while_compiled_code_waits_for_python(when):
    """What it waits for is done, and then the interrupt is told; the next product is right."""
    code = """
        import os, signal, threading, numpy as np, numbasgd
        from numbasgd.matmul.gemm import dispatch, plan
        A = np.random.default_rng(0).random((400, 400))
        numbasgd.matmul(A[:30, :30], A[:30, :30])
        product, hits = dispatch.products[A.dtype], []
        functions = list(enumerate(product.gemm.functions))
        packers = [number for number, function in functions if function.is_packer]
        loops = [number for number, function in functions if not function.is_packer]
        if WHEN not in ("select", "variant"):
            numbasgd.matmul(A.T, A.T, threads=1)
        if WHEN == "start":
            for number in (dispatch._SHARE_PLEASE, *packers):
                product._compile(number)
        special = {"share": [dispatch._SHARE_PLEASE], "panels": packers, "variant": loops}

        def interrupt():
            if not hits:
                hits.append(WHEN)
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(1000):
                    pass

        compile_now, start, select = product._compile_now, threading.Thread.start, plan.Gemm.select
        def selected(gemm, asked):
            if WHEN == "select":
                interrupt()
            return select(gemm, asked)
        def interrupted(number):
            if number in special.get(WHEN, ()):
                interrupt()
            compile_now(number)
        def started(thread):
            start(thread)
            if WHEN == "start":
                interrupt()
        product._compile_now, threading.Thread.start, plan.Gemm.select = interrupted, started, selected
        try:
            numbasgd.matmul(A.T, A.T, threads=2)
        except KeyboardInterrupt:
            print("told", hits)
        for _ in range(20):
            np.testing.assert_allclose(numbasgd.matmul(A.T, A.T, threads=2), A.T @ A.T)
    """
    assert run_python(code.replace("WHEN", repr(when))).split("\n")[0] == f"told ['{when}']"
