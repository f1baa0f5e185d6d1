"""``matmul`` as a built-in function: what goes through the gate, what does not, and that neither leaks."""

import copy
import gc
import inspect
import pickle
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from child import run_python
from numpy.lib.stride_tricks import as_strided

import numbasgd
from numbasgd import builtin, matmul
from numbasgd.matmul import gate

pytestmark = pytest.mark.skipif(builtin.layout() is None, reason="this interpreter gets no built-in functions")


@pytest.fixture
def by_python():
    """The calls that reach the function of Python; the gate stands open for both dtypes."""
    for dtype in "fd":
        matmul(np.ones((2, 2), dtype), np.ones((2, 2), dtype))
    calls = []

    def behind(*args, **kwargs):
        calls.append((args, kwargs))
        return gate._gate.builtin.function(*args, **kwargs)

    place = gate._BEHIND // 8
    before = gate._gate.words[place]
    gate._gate.words[place] = id(behind)
    yield calls
    gate._gate.words[place] = before


LAYOUTS = {
    "C": lambda a: a,
    "F": np.asfortranarray,
    "spread": lambda a: np.repeat(np.repeat(a, 2, 0), 3, 1)[::2, ::3],
    "backwards": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "pickled": lambda a: pickle.loads(pickle.dumps(a)),  # its dtype is equal to NumPy's own, and another object
}
KEYWORDS = [
    {}, {"threads": 1}, {"threads": 2}, {"threads": None}, {"rung": "packed"}, {"rung": None},
    {"device": "cpu"}, {"device": "cpu", "threads": 3, "rung": "packed"}, {"out": None},
]  # fmt: skip


@pytest.mark.parametrize("shape", [(0, 3, 2), (3, 0, 2), (1, 1, 1), (7, 20, 9), (60, 50, 40)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_usual_calls_need_no_python(shape, dtype, by_python, rng):
    m, k, n = shape
    A, B = rng.random((m, k)).astype(dtype), rng.random((k, n)).astype(dtype)
    for change in LAYOUTS.values():
        left, right = change(A), change(B)
        expected = A.astype("f8") @ B.astype("f8")
        for keywords in KEYWORDS:
            found = matmul(left, right, **keywords)
            assert (found.dtype, found.shape, found.flags.c_contiguous) == (A.dtype, (m, n), True)
            np.testing.assert_allclose(found, expected, rtol=1e-5)
        for out in (np.full((m, n), np.nan, dtype), np.full((n, m), np.nan, dtype).T):
            assert matmul(left, right, out=out, threads=2) is out
            np.testing.assert_allclose(out, expected, rtol=1e-5)
    assert not by_python


class Labelled(np.ndarray):
    """A subclass, whose products NumPy would hand to the subclass."""


def _unaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)[1:]
    raw[:] = np.frombuffer(a.tobytes(), np.uint8)
    return raw.view(a.dtype).reshape(a.shape)


ONE = np.arange(1.0, 17).reshape(4, 4)
UNUSUAL = {
    "lists": ((ONE.tolist(), ONE.tolist()), {}),
    "integers": ((ONE.astype(int), ONE), {}),
    "two dtypes": ((ONE, ONE.astype("f4")), {}),
    "half": ((ONE.astype("f2"), ONE.astype("f2")), {}),
    "complex": ((ONE * 1j, ONE), {}),
    "other bytes first": ((ONE.astype(">f8"), ONE.astype(">f8")), {}),
    "a subclass": ((ONE.view(Labelled), ONE), {}),
    "unaligned": ((_unaligned(ONE), ONE), {}),
    "a vector": ((ONE, ONE[0]), {}),
    "a stack": ((ONE[None], ONE), {}),
    "shapes that do not fit": ((ONE, ONE[:3]), {}),
    "nothing": ((), {}),
    "one": ((ONE,), {}),
    "three": ((ONE, ONE, ONE), {}),
    "by name": ((), {"A": ONE, "B": ONE}),
    "half by name": ((ONE,), {"B": ONE}),
    "twice": ((ONE, ONE), {"A": ONE}),
    "an unknown name": ((ONE, ONE), {"into": ONE}),
    "another rung": ((ONE, ONE), {"rung": "full"}),
    "no such rung": ((ONE, ONE), {"rung": "fast"}),
    "no such device": ((ONE, ONE), {"device": "tpu"}),
    "no threads": ((ONE, ONE), {"threads": 0}),
    "too many threads": ((ONE, ONE), {"threads": 65}),
    "more threads than fit a word": ((ONE, ONE), {"threads": 1 << 70}),
    "half a thread": ((ONE, ONE), {"threads": 0.5}),
    "true threads": ((ONE, ONE), {"threads": True}),
    "counted threads": ((ONE, ONE), {"threads": np.int64(2)}),
    "out of another dtype": ((ONE, ONE), {"out": np.empty((4, 4), "f4")}),
    "out of another shape": ((ONE, ONE), {"out": np.empty((4, 5))}),
    "out that is no array": ((ONE, ONE), {"out": [[0.0] * 4] * 4}),
    "out of a subclass": ((ONE, ONE), {"out": np.empty((4, 4)).view(Labelled)}),
    "out that is read only": ((ONE, ONE), {"out": LAYOUTS["read-only"](ONE)}),
    "out that is unaligned": ((ONE, ONE), {"out": _unaligned(ONE)}),
    "out that is strided": ((ONE, ONE), {"out": np.empty((8, 8))[::2, ::2]}),
    "out whose rows are one": ((ONE, ONE), {"out": as_strided(np.empty(4), (4, 4), (0, 8))}),
    "out whose entries are one": ((ONE, ONE), {"out": as_strided(np.empty(4), (4, 4), (0, 0))}),
    "out whose rows overlap": ((ONE, ONE), {"out": as_strided(np.empty(16), (4, 4), (24, 8))}),
    "out whose columns overlap": ((ONE, ONE), {"out": as_strided(np.empty(16), (4, 4), (8, -24))}),
    "out whose rows are steps": ((ONE, ONE), {"out": as_strided(np.empty(16), (4, 4), (8, 8))}),
    "out that is A": ((ONE, ONE.copy()), {"out": ONE}),
    "out that is B": ((ONE.copy(), ONE), {"out": ONE.T}),
    "a name that was made": ((ONE, ONE), {"".join(["o", "ut"]): np.empty((4, 4))}),
}


@pytest.mark.parametrize("case", UNUSUAL)
def test_whatever_else_is_left_to_python(case, by_python):
    """The call arrives as it was made, once, and what comes back is what Python gave or raised."""
    args, kwargs = UNUSUAL[case]
    before = ONE.copy()
    try:
        expected = gate._gate.builtin.function(*args, **kwargs)
    except Exception as error:
        with pytest.raises(type(error)) as caught:
            matmul(*args, **kwargs)
        assert str(caught.value) == str(error)
    else:
        expected = expected.copy()
        found = matmul(*args, **kwargs)
        assert type(found) is type(kwargs.get("out", found))
        np.testing.assert_array_equal(found, expected)
    assert len(by_python) == 1
    assert len(by_python[0][0]) == len(args)
    assert all(x is y for x, y in zip(by_python[0][0], args, strict=True))
    assert by_python[0][1] == kwargs or list(by_python[0][1]) == list(kwargs)
    np.testing.assert_array_equal(ONE, before)


def test_nothing_is_kept_and_nothing_is_dropped(rng):
    A, B, out = rng.random((9, 9)), rng.random((9, 9)), np.empty((9, 9))
    things = A, B, out, A.dtype, np.dtype("f8"), np.ndarray, None, 7, "packed", matmul
    matmul(A, B, out=out)

    def calls():
        for _ in range(500):
            matmul(A, B, out=out, threads=1, rung="packed", device="cpu")
            matmul(A, B)
            for wrong in ({"threads": 1 << 70}, {"out": A}):
                with pytest.raises(ValueError, match="expected"):
                    matmul(A, B, **wrong)

    calls()
    gc.collect()  # what other tests left
    before = [sys.getrefcount(thing) for thing in things]
    tracemalloc.start()
    try:
        calls()
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    after = [sys.getrefcount(thing) for thing in things]
    assert np.abs(np.subtract(after, before, dtype=float)).max() < 400
    assert held < 150_000  # the products alone would be twice that


def test_a_dtype_keeps_its_metadata(by_python):
    told = np.dtype("f8", metadata={"unit": "m"})
    found = matmul(ONE.astype(told), ONE)
    assert found.dtype.metadata == np.matmul(ONE.astype(told), ONE).dtype.metadata == {"unit": "m"}
    assert not by_python


def test_an_array_that_does_not_fit_into_memory(by_python):
    tall, wide = np.empty((1 << 25, 0)), np.empty((0, 1 << 25))
    for _ in range(3):
        with pytest.raises(MemoryError):
            matmul(tall, wide)
    assert len(by_python) == 3  # who asks for it once more, and says so
    np.testing.assert_array_equal(matmul(ONE, ONE), ONE @ ONE)


def test_it_looks_like_any_function():
    function = gate._gate.builtin.function
    assert matmul.__name__ == "matmul"
    assert matmul.__module__ == "numbasgd.matmul.api"
    assert inspect.getdoc(matmul) == inspect.getdoc(function)
    shown = {name: (p.kind, p.default) for name, p in inspect.signature(matmul).parameters.items()}
    assert shown == {name: (p.kind, p.default) for name, p in inspect.signature(function).parameters.items()}
    assert pickle.loads(pickle.dumps(matmul)) is matmul
    assert copy.deepcopy(matmul) is matmul
    assert repr(matmul) == "<built-in function matmul>"


def test_other_threads_run_during_a_large_product():
    """With no switch of threads asked for, another one gets the interpreter only if it is given away."""
    A, out = np.ones((1500, 1500)), np.empty((1500, 1500))
    matmul(A, A, out=out, threads=1)
    begun, is_over = threading.Event(), []

    def multiply():
        begun.set()
        matmul(A, A, out=out, threads=1)
        is_over.append(True)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(100.0)
    try:
        for _ in range(5):  # a busy machine may let us wait
            begun.clear()
            is_over.clear()
            other = threading.Thread(target=multiply)
            other.start()
            begun.wait()
            was_meanwhile = not is_over
            other.join()
            if was_meanwhile:
                break
    finally:
        sys.setswitchinterval(interval)
    assert was_meanwhile


@pytest.mark.parametrize("room", ["for one", pytest.param("for all", marks=pytest.mark.slow)])
def test_many_threads_make_their_first_product_at_once(room, tmp_path):
    """More than there are workspaces, or room for; small products that hold the interpreter's lock among them.

    Nothing is in the cache, so whoever has a workspace may also need the interpreter, to compile.
    """
    run_python(
        f"""
        import signal, sys, threading, numpy as np, numbasgd
        signal.alarm(200)
        sys.setswitchinterval(1e-6)
        rng = np.random.default_rng(0)
        pairs = [(rng.random((n, n)).T, rng.random((n, n)).T) for n in (30, 300)]
        for n in (30, 300):
            assert numbasgd.matmul_plan(n, n, n, "f8", transposed=(True, True)).path == "packed"
        expected = [A @ B for A, B in pairs]
        numbasgd.matmul(*pairs[0])
        numbasgd.threads._word(numbasgd.threads._WORK_BYTES).value <<= {40 if room == "for one" else 0}
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
        NUMBASGD_CACHE_DIR=str(tmp_path),
        NUMBA_CACHE_DIR=None,
    )


def test_an_interpreter_that_keeps_its_objects_elsewhere():
    """It has no built-in functions of ours, and the same products and errors."""
    run_python(
        """
        import sys
        sys.getobjects = None  # as where every object begins with two more words
        import inspect, numpy as np, numbasgd
        from numbasgd import builtin
        assert builtin.layout() is None and inspect.isfunction(numbasgd.matmul)
        A = np.random.default_rng(0).random((30, 30))
        for _ in range(3):
            assert np.allclose(numbasgd.matmul(A, A, out=np.empty_like(A)), A @ A)
        out = np.empty_like(A)
        numbasgd.RUNGS["packed"].kernel("cpu")(A, A, out)
        assert np.allclose(out, A @ A)
        try:
            numbasgd.matmul(A, A, out=A)
        except ValueError as error:
            assert "out shares memory with A" in str(error)
        """
    )


def test_without_room_for_a_workspace():
    run_python(
        """
        import numpy as np
        from numbasgd import threads
        needed = threads._word(threads._WORK_BYTES)
        usual, needed.value = needed.value, 1 << 60
        try:
            threads._pool.workspace(threads.N_SLOTS)
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


@pytest.mark.parametrize("when", ["path", "share", "panels", "start"])
def test_an_interrupt_while_compiled_code_waits_for_python(when):
    """What it waits for is done, and then the interrupt is told; the next product is right."""
    code = """
        import os, signal, threading, numpy as np, numbasgd
        from numbasgd.matmul.gemm import dispatch, tiles
        A = np.random.default_rng(0).random((400, 400))
        numbasgd.matmul(A[:30, :30], A[:30, :30])
        product, hits = dispatch.products[A.dtype], []
        panels = tiles.PANELS, tiles.PANELS + 1
        if WHEN != "path":
            numbasgd.matmul(A.T, A.T, threads=1)
        if WHEN == "start":
            for path in (tiles.SHARE, *panels):
                product._compile(path)
        special = {"share": [tiles.SHARE], "panels": panels, "path": range(tiles.PANELS)}

        def interrupt():
            if not hits:
                hits.append(WHEN)
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(1000):
                    pass

        add, start = product._add, threading.Thread.start
        def interrupted(path):
            if path in special.get(WHEN, ()):
                interrupt()
            add(path)
        def started(thread):
            start(thread)
            if WHEN == "start":
                interrupt()
        product._add, threading.Thread.start = interrupted, started
        try:
            numbasgd.matmul(A.T, A.T, threads=2)
        except KeyboardInterrupt:
            print("told", hits)
        for _ in range(20):
            np.testing.assert_allclose(numbasgd.matmul(A.T, A.T, threads=2), A.T @ A.T)
    """
    assert run_python(code.replace("WHEN", repr(when))).split("\n")[0] == f"told ['{when}']"


def test_a_builtin_without_code_calls_the_function_behind():
    def halve(x, *, by=2, **more):
        """Half of it."""
        if x is None:
            raise KeyError("no x")
        return x / by, more

    made = builtin.Builtin(halve)
    assert not made.has_code
    assert made.callable(3) == (1.5, {})
    assert made.callable(x=3, by=3, also=1) == (1, {"also": 1})
    assert made.callable.__doc__ == "Half of it."
    with pytest.raises(KeyError, match="no x"):
        made.callable(None)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        made.callable()


def test_the_offsets_are_those_of_this_interpreter():
    found = builtin.layout()
    assert builtin.word(id((1, "x")) + found.items + 8) == id("x")
    assert numbasgd.matmul is gate._gate.builtin.callable
