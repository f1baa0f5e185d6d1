"""The emitter that kernels are written with: control flow, masks, and lanes moved and added."""

import numpy as np
import pytest
from child import run_python
from numba import njit, types
from numba.core.errors import TypingError

from numbasgd.compile.cache import identity as _identity
from numbasgd.machine import cpu
from numbasgd.simd.kernel import inlined, kernel, private_function

DTYPES = {"f32": np.float32, "f64": np.float64}
# Vectors of 16, 32 and 64 bytes: LLVM takes several registers for one where the machine's are shorter.
SHAPES = [
    pytest.param(dtype, width // np.dtype(dtype).itemsize, id=f"{name}x{8 * width}")
    for name, dtype in DTYPES.items()
    for width in (16, 32, 64)
]


def compiled(function, n_arguments):
    """A function of so many integers, compiled in this process and not kept."""
    made = njit(function)
    made.compile((types.intp,) * n_arguments)
    return made


def numbers(*shape, dtype=np.float64):
    """Small integers, whose sums are exact, all different."""
    return np.arange(1, 1 + np.prod(shape)).astype(dtype).reshape(shape)


def address(array):
    return array.ctypes.data


@kernel("*x, start, stop, *out")
def sum_range(f, STEP):
    """out[0] := sum of x[i] for i in range(start, stop, STEP), and out[1] the number behind the last."""
    x, start, stop, out = f.arguments
    L = f.lanes(8, 1)

    def step(i, values):
        total, _ = values
        return [L.add(total, L.load(x + i * 8)), x + i * 8 + 8]

    total, behind = f.loop(start, stop, STEP, step, [L.zero, x])
    L.store(total, out)
    L.store(L.load(behind), out + 8)


@pytest.mark.parametrize("step", [1, 3])
def test_loop(step):
    def function(x, start, stop, out):
        sum_range(step, x, start, stop, out)

    function = compiled(function, 4)
    x, out = numbers(20), np.zeros(2)
    for start, stop in ((0, 0), (5, 5), (5, 2), (0, 1), (2, 3), (0, 12), (1, 12), (3, 19)):
        taken = range(start, stop, step)
        function(address(x), start, stop, address(out))
        assert out[0] == sum(x[i] for i in taken)
        assert out[1] == (x[taken[-1] + 1] if len(taken) else x[0])


@kernel("n, *out")
def count_down(f, STEP):
    """out[0] := how often a loop runs."""
    n, out = f.arguments
    L = f.lanes(8, 1)
    [count] = f.repeat(n, STEP, lambda values: [L.add(values[0], L.fill(1.0))], [L.zero])
    L.store(count, out)


@pytest.mark.parametrize("step", [1, 2])
def test_repeat(step):
    def function(n, out):
        count_down(step, n, out)

    function, out = compiled(function, 2), np.zeros(1)
    for n in (0, step, 5 * step):
        function(n, address(out))
        assert out[0] == n / step


@kernel("*x, n, *y, *total")
def twice(f, SIZE, LANES):
    """y[i] := 2 x[i] for i < n; total[l] := the sum of those y[i] of which l is the lane."""
    x, n, y, total = f.arguments
    L = f.lanes(SIZE, LANES)

    def step(i, rest, values):
        mask = None if rest is None else L.first_of(rest)
        value = L.load(x + i * SIZE, mask)
        value = L.add(value, value)
        L.store(value, y + i * SIZE, mask)
        return [L.add(values[0], value)]

    [found] = f.loop_and_tail(n, LANES, step, [L.zero])
    L.store(found, total)


@pytest.mark.parametrize(("dtype", "lanes"), SHAPES)
def test_loop_and_tail(dtype, lanes):
    size = np.dtype(dtype).itemsize

    def function(x, n, y, total):
        twice(size, lanes, x, n, y, total)

    function = compiled(function, 4)
    for n in (0, 1, lanes - 1, lanes, lanes + 1, 3 * lanes, 4 * lanes - 1):
        x, y = np.full(5 * lanes, np.nan, dtype), np.full(5 * lanes, np.nan, dtype)
        total = np.full(lanes, np.nan, dtype)
        x[:n] = numbers(n)
        function(address(x), n, address(y), address(total))
        np.testing.assert_array_equal(y[:n], 2 * x[:n])
        assert np.isnan(y[n:]).all(), "written behind n"
        padded = np.append(y[:n], np.zeros(-n % lanes))
        np.testing.assert_array_equal(total, padded.reshape(-1, lanes).sum(axis=0))


@kernel("n, *out")
def first_steps(f, LEAST, MOST):
    """out[i] := i + 1 for i < n, and out[MOST] their sum."""
    n, out = f.arguments
    L = f.lanes(8, 1)

    def step(i, values):
        L.store(L.fill(i + 1.0), out + 8 * i)
        return [L.add(values[0], L.fill(i + 1.0))]

    L.store(*f.unrolled(n, MOST, step, [L.zero], least=LEAST), out + 8 * MOST)


@pytest.mark.parametrize("least", [1, 3, 5])
def test_unrolled(least):
    most = 5

    def function(n, out):
        first_steps(least, most, n, out)

    function = compiled(function, 2)
    for n in range(least, most + 1):
        out = np.zeros(most + 1)
        function(n, address(out))
        assert out.tolist() == [*range(1, n + 1), *[0] * (most - n), n * (n + 1) / 2]


@private_function("*out, value")
def put_case(f, CASE):
    """out[0] := CASE if value is not 0, and out[1] := what ``select`` takes."""
    out, value = f.arguments
    L = f.lanes(8, 1)
    for is_set in f.branches(value.is_nonzero()):
        L.store(L.fill(float(CASE) if is_set else -1.0), out)
    chosen = f.select(value > 3, value, 3)
    [found] = f.when(chosen.equals(3), lambda values: [L.fill(3.0)], [L.zero])
    L.store(found, out + 8)


@inlined("out, case, value")
def cases(f, FIRST):
    """Call ``put_case`` for one of two literals, or do nothing."""
    out, case, value = f.arguments

    def put(number):
        f.call(put_case, [number], [out, value])

    f.switch(case, {FIRST: lambda: put(FIRST), FIRST + 1: lambda: put(FIRST + 1)})


def test_switch_branches_and_select():
    def function(out, case, value):
        cases(7, out, case, value)

    function = compiled(function, 3)
    for case, value, expected in (
        (7, 1, [7, 3]), (8, 5, [8, 0]), (8, 0, [-1, 3]), (6, 1, [9, 9]), (9, 1, [9, 9]),
    ):  # fmt: skip
        out = np.full(2, 9.0)
        function(address(out), case, value)
        assert out.tolist() == expected


@kernel("*x, *out, n")
def moves(f, SIZE, LANES):
    """Every move of lanes, a row of ``out`` each, and loads under masks."""
    x, out, n = f.arguments
    L = f.lanes(SIZE, LANES)
    width = L.width
    rows = [L.load(x + i * width) for i in range(LANES)]
    G = 16 // SIZE
    half = f.lanes(SIZE, LANES // 2)
    results = [
        *L.transpose(rows),
        L.reduce_transpose(rows),
        L.reduce_transpose(rows[:-1]),
        *L.transpose_blocks(rows[:G]),
        half.concatenate([half.slice(rows[0], LANES // 2), half.slice(rows[0], 0)]),
        L.load(x, L.first_of(n)),
        L.load(x, L.first(1)),
        L.shuffle(rows[0], rows[1], [LANES, *range(1, LANES)]),
    ]
    for i, result in enumerate(results):
        L.store(result, out + i * width)


@pytest.mark.parametrize(("dtype", "lanes"), SHAPES)
def test_moves_of_lanes(dtype, lanes):
    size, G = np.dtype(dtype).itemsize, 16 // np.dtype(dtype).itemsize

    def function(x, out, n):
        moves(size, lanes, x, out, n)

    function = compiled(function, 3)
    X = numbers(lanes, lanes, dtype=dtype)
    for n in (-lanes, -1, 0, 1, lanes - 1, lanes, lanes + 3):
        out = np.full((2 * lanes + G + 6, lanes), np.nan, dtype)
        function(address(X), address(out), n)
        rows = iter(out)

        def take(count, rows=rows):
            return np.array([next(rows) for _ in range(count)])

        np.testing.assert_array_equal(take(lanes), X.T)
        np.testing.assert_array_equal(take(1)[0], X.sum(axis=1))
        np.testing.assert_array_equal(take(1)[0][:-1], X[:-1].sum(axis=1))
        for block, transposed in zip(*(np.split(M, lanes // G, axis=1) for M in (X[:G], take(G))), strict=True):
            np.testing.assert_array_equal(transposed, block.T)
        np.testing.assert_array_equal(take(1)[0], np.roll(X[0], lanes // 2))
        np.testing.assert_array_equal(take(1)[0], np.where(np.arange(lanes) < n, X[0], 0))
        np.testing.assert_array_equal(take(1)[0], np.where(np.arange(lanes) < 1, X[0], 0))
        np.testing.assert_array_equal(take(1)[0], [X[1, 0], *X[0, 1:]])
        assert np.isnan(take(1)).all()


@kernel("*x, stride, *table, *out")
def broadcasts(f, SIZE, LANES, HAS_FMA):
    """A number in every lane, from several places; a multiply-add of them; and what a table points to."""
    x, stride, table, out = f.arguments
    L = f.lanes(SIZE, LANES, bool(HAS_FMA))
    values = [L.broadcast_at(x, stride, times) for times in range(3)]
    values.append(L.broadcast(x + stride * 3))
    values.append(L.fma(*values[:3]))
    values.append(L.broadcast((table + 8).follow()))
    (x + stride).prefetch(level=2)  # harmless, whatever the address
    for i, value in enumerate(values):
        L.store(value, out + i * L.width)


@pytest.mark.parametrize("has_fma", [0, 1])
@pytest.mark.parametrize(("dtype", "lanes"), SHAPES)
def test_broadcasts_and_multiply_add(dtype, lanes, has_fma):
    size = np.dtype(dtype).itemsize
    if size * lanes > cpu.host().vector:
        pytest.skip("broadcast_at writes an instruction on a register that this machine does not have")

    def function(x, stride, table, out):
        broadcasts(size, lanes, has_fma, x, stride, table, out)

    function = compiled(function, 4)
    x = np.zeros(8, dtype)
    tiny = np.finfo(dtype).eps / 2**4
    x[::2] = 1 + 8 * tiny * 2, 1 - 8 * tiny * 2, -1, 7  # the product is 1 - (16 tiny)^2: it rounds to 1
    table, out = np.array([0, address(x) + 6 * size]), np.full((6, lanes), np.nan, dtype)
    function(address(x), 2 * size, address(table), address(out))
    np.testing.assert_array_equal(out[:4], np.repeat(x[::2, None], lanes, axis=1))
    assert (out[4] == (-((16 * tiny) ** 2) if has_fma else 0)).all()
    assert (out[5] == 7).all()


def test_calls_that_do_not_fit_are_refused():
    for arguments in ("2, x, 0", "n, x, 0, 1, x", "2, x, 0, 1, x, x"):  # too few, no literal, too many
        scope = {"sum_range": sum_range}
        exec(f"def function(n, x): sum_range({arguments})", scope)
        with pytest.raises(TypingError, match="sum_range"):
            compiled(scope["function"], 2)


def test_two_kernels_in_one_name_are_refused():
    def local(f, SIZE):
        pass

    for make in (kernel, inlined, private_function):
        with pytest.raises(TypeError, match="local is defined inside another function; expected one"):
            make("x")(local)


def test_kernels_are_told_apart_and_found_again_by_the_cache():
    """Two processes see the same key of a function over a kernel, and another one for each kernel."""
    code = """
        from numbasgd.compile.cache import identity as _identity
        from numbasgd.matmul.gemm import dot_kernels, microkernel, packing, transpose_kernels
        from numbasgd.sgd.solvers import multi_small, multi_transposed
        made = [
            microkernel.tile, dot_kernels.dots, dot_kernels.transpose_padded,
            transpose_kernels.transpose_on_load, packing.pack_copy, packing.pack_gather,
            multi_small.backward_plain, multi_transposed.backward, multi_transposed.transpose_back,
        ]
        def make(kernel):
            def call(x):
                kernel(x)
            return call
        keys = [_identity(make(kernel)) for kernel in made]
        keys += [_identity(kernel._defn) for kernel in made]
        assert len(set(keys)) == len(keys)
        print(keys)
    """
    first, second = run_python(code), run_python(code)
    assert first == second


def test_identity_holds_the_name_and_the_module():
    assert _identity(sum_range)[:2] == (__name__, "sum_range")
    assert sum_range.__doc__.startswith("out[0] := sum of x[i]")
