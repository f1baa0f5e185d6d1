"""The fast call of ``matmul``: what it computes, what it leaves to Python, and that nothing needs it."""

import contextlib
import copy
import gc
import inspect
import pickle
import shutil
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from child import run_python
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

import numbasgd
from numbasgd import check, matmul
from numbasgd.matmul import fastcall

pytestmark = pytest.mark.skipif(
    fastcall.fast_call is None, reason="no fast call: switched off, or this interpreter is not among the tested"
)


@pytest.fixture
def by_python():
    """The calls that reach the function of Python, once both dtypes have their fast call."""
    for dtype in "fd":
        matmul(np.ones((2, 2), dtype), np.ones((2, 2), dtype))
    calls = []

    def fallback(*args, **kwargs):
        calls.append((args, kwargs))
        return slow_matmul(*args, **kwargs)

    with calling_instead(fallback):
        yield calls


def slow_matmul(*args, **kwargs):
    """The function of Python."""
    return fastcall.fast_call.builtin.function(*args, **kwargs)


@contextlib.contextmanager
def calling_instead(fallback):
    """Meanwhile the fast call leaves to ``fallback`` what it leaves to the function of Python."""
    constants, place = fastcall.fast_call.constants, fastcall._FALLBACK // 8
    before = constants[place]
    constants[place] = id(fallback)
    try:
        yield
    finally:
        constants[place] = before


LAYOUTS = {
    "C": lambda a: a,
    "F": np.asfortranarray,
    "strided": lambda a: np.repeat(np.repeat(a, 2, 0), 3, 1)[::2, ::3],
    "backwards": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "pickled": lambda a: pickle.loads(pickle.dumps(a)),  # its dtype is equal to NumPy's own, and another object
}
KEYWORDS = [
    {}, {"threads": 1}, {"threads": 2}, {"threads": None}, {"rung": "packed"}, {"rung": None},
    {"device": "cpu"}, {"device": "cpu", "threads": 3, "rung": "packed"}, {"out": None},
]  # fmt: skip


@pytest.mark.parametrize("shape", [(0, 3, 2), (3, 0, 2), (1, 1, 1), (7, 20, 9), (60, 50, 40)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
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
        expected = slow_matmul(*args, **kwargs)
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
    function = fastcall.fast_call.builtin.function
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


WITHOUT = """
    import inspect, os, sys, numba, numpy as np
    version = sys.version_info
    {before}
    import numbasgd
    {after}
    from numbasgd import gradient, matmul
    assert inspect.isfunction(matmul)
    A = np.random.default_rng(0).random((30, 30))
    for _ in range(3):
        assert np.allclose(matmul(A, A, out=np.empty_like(A)), A @ A)
    out = np.empty_like(A)
    numbasgd.RUNGS["packed"].kernel("cpu")(A, A, out)
    assert np.allclose(out, A @ A)
    try:
        matmul(A, A, out=A)
    except ValueError as error:
        assert "out shares memory with A" in str(error)
    else:
        raise AssertionError("no error")
"""
HAS_NONE = "assert sys.modules['numbasgd.matmul.fastcall'].fast_call is None"


@pytest.mark.parametrize("value", ["0", "off"])
def test_it_can_be_switched_off(value):
    run_python(WITHOUT.format(before="", after=HAS_NONE), NUMBASGD_FASTCALL=value)


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(
            "sys.getobjects = None  # as where every object begins with two more words", id="other layout"
        ),
        pytest.param(
            "sys.version_info = (version[0], version[1] + 40, 0, 'final', 0)",
            id="version that is not tested",
            marks=pytest.mark.slow,
        ),
        pytest.param("sys.implementation.name = 'another'", id="other interpreter", marks=pytest.mark.slow),
    ],
)
def test_elsewhere_there_is_none(before):
    """Such an interpreter has the same products and errors, from the function of Python."""
    after = HAS_NONE + "; sys.version_info, sys.implementation.name = version, 'cpython'"
    run_python(WITHOUT.format(before=before, after=after))


@pytest.mark.slow
def test_the_file_can_be_deleted(tmp_path):
    """Nothing else in the package needs it."""
    package = Path(numbasgd.__file__).parent
    shutil.copytree(package, tmp_path / "numbasgd", ignore=shutil.ignore_patterns("__pycache__", "fastcall.py"))
    after = """
    assert os.path.samefile(os.path.dirname(os.path.dirname(numbasgd.__file__)), os.getcwd())
    import importlib, pkgutil
    for module in pkgutil.walk_packages(numbasgd.__path__, "numbasgd."):
        # Estimators and examples may need what is not installed.
        if not module.name.startswith(("numbasgd.__main__", "numbasgd.estimators.", "numbasgd.examples.")):
            importlib.import_module(module.name)
    assert not [name for name in sys.modules if name.endswith("fastcall")]
    """
    run_python(WITHOUT.format(before="", after=after), cwd=tmp_path)


def test_an_error_in_the_file_is_told():
    """Only a file that is not there is done without."""
    done = """
        import sys
        class Broken:
            def find_spec(self, name, path=None, target=None):
                if name == "numbasgd.matmul.fastcall":
                    raise ModuleNotFoundError("No module named 'numba.moved'", name="numba.moved")
        sys.meta_path.insert(0, Broken())
        try:
            import numbasgd
        except ModuleNotFoundError as error:
            print(error.name)
    """
    assert run_python(done).strip() == "numba.moved"


class Refused(Exception):
    """Told by a fallback: the fast call did not take this product."""


BYTES = 640  # of memory that views are drawn from


@st.composite
def views(draw, memory, shape, dtype, is_ordinary):
    """Any view of the memory: strides of either sign, 0 and too small ones, read-only, at odd addresses."""
    size = dtype.itemsize
    if is_ordinary:  # in C or Fortran order with gaps, or backwards
        inner, outer = draw(st.integers(1, 2)), draw(st.integers(0, 2))
        order = draw(st.sampled_from([(0, 1), (1, 0)]))
        steps = [0, 0]
        steps[order[1]] = inner
        steps[order[0]] = inner * max(shape[order[1]], 1) + outer
        strides = [step * size * draw(st.sampled_from([1, 1, -1])) for step in steps]
    else:
        strides = [draw(st.integers(-6, 6)) * size + draw(st.sampled_from([0] * 9 + [1])) for _ in shape]
    reach = [(max(length, 1) - 1) * step for length, step in zip(shape, strides, strict=True)]
    low, high = sum(min(0, r) for r in reach), sum(max(0, r) for r in reach) + size
    slack = (len(memory) - (high - low)) // size
    at = draw(st.integers(0, slack)) * size - low
    if not is_ordinary and slack > 0 and at + high < len(memory):
        at += draw(st.sampled_from([0] * 9 + [1]))
    array = np.ndarray(shape, dtype, memory, at, strides)
    array.flags.writeable = draw(st.sampled_from([True] * 9 + [False]))
    return array


@st.composite
def products(draw):
    """(A, B, out) and the memory that holds them: one for all three, or one for each."""
    m, k, n = (draw(st.integers(0, 4)) for _ in range(3))
    dtype = np.dtype(draw(st.sampled_from(["f4", "f8"])))
    count = draw(st.sampled_from([1, 3]))
    entries = np.arange(count * BYTES // dtype.itemsize) % 13 - 6
    whole = entries.astype(dtype)
    memories = [whole.view(np.uint8)[i * BYTES : (i + 1) * BYTES] for i in range(count)]
    shapes = (m, k), (k, n), (m, n)
    is_ordinary = draw(st.booleans())
    arrays = [draw(views(memories[i % count], shape, dtype, is_ordinary)) for i, shape in enumerate(shapes)]
    return (*arrays, whole)


def outcome(call, memory):
    """(what was raised, what the memory holds then), which afterwards holds what it did before."""
    before = memory.copy()
    error = None
    try:
        call()
    except Exception as raised:
        error = type(raised), str(raised)
    after = memory.tobytes()
    memory[:] = before
    return error, after


@pytest.mark.parametrize("examples", [40, pytest.param(1500, marks=pytest.mark.slow)])
def test_it_takes_an_out_only_where_check_does(examples, by_python):
    """The overlap and layout rules of the fast call against those of ``numbasgd.check``; the same products."""
    taken = []

    @settings(max_examples=examples, deadline=None)
    @given(products())
    def compare(drawn):
        A, B, out, memory = drawn

        def refuse(*args, **kwargs):
            raise Refused

        def check_out():
            check.out(out, "out", out.shape, A.dtype, {"A": A, "B": B})

        with calling_instead(refuse):
            told, product = outcome(lambda: matmul(A, B, out=out, threads=1), memory)
        is_taken = told is None
        refusal = outcome(check_out, memory)[0]
        slow = outcome(lambda: slow_matmul(A, B, out=out, threads=1), memory)
        if is_taken:
            assert refusal is None
            assert all(a.flags.aligned for a in (A, B, out))  # others are copied first
            assert slow == (None, product)
        else:
            assert told[0] is Refused
            assert product == memory.tobytes()  # nothing was written before
            assert outcome(lambda: matmul(A, B, out=out, threads=1), memory) == slow
        # An array without entries shares no memory, wherever it begins; the fast call does not look so closely.
        is_apart = A.size > 0 and B.size > 0 and not any(np.may_share_memory(out, a) for a in (A, B))
        has_lines = out.shape[0] <= 1 or out.shape[1] <= 1 or out.itemsize in out.strides
        if refusal is None and is_apart and has_lines and all(a.flags.aligned for a in (A, B, out)):
            assert is_taken
        taken.append(is_taken)

    compare()
    assert examples / 7.5 < sum(taken) < len(taken) - examples / 7.5


def test_a_builtin_without_code_calls_the_function_of_python():
    def halve(x, *, by=2, **more):
        """Half of it."""
        if x is None:
            raise KeyError("no x")
        return x / by, more

    made = fastcall.BuiltinFunction(halve)
    assert not made.has_code
    assert made.callable(3) == (1.5, {})
    assert made.callable(x=3, by=3, also=1) == (1, {"also": 1})
    assert made.callable.__doc__ == "Half of it."
    with pytest.raises(KeyError, match="no x"):
        made.callable(None)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        made.callable()


def test_the_offsets_are_those_of_this_interpreter():
    found = fastcall.object_layout()
    assert fastcall.word(id((1, "x")) + found.items + 8) == id("x")
    assert numbasgd.matmul is fastcall.fast_call.builtin.callable


@pytest.mark.slow
def test_the_next_process_does_not_compile_it(tmp_path):
    code = """
        import numpy as np, numbasgd
        from numbasgd.matmul.fastcall import fast_call
        numbasgd.matmul(np.ones((4, 4)), np.ones((4, 4)))
        stats = fast_call.compiled.stats
        print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
    """
    env = {"NUMBASGD_CACHE_DIR": str(tmp_path), "NUMBA_CACHE_DIR": None}
    assert [run_python(code, **env).split() for _ in range(2)] == [["0", "1"], ["1", "0"]]
