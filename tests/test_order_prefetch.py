"""OrderChunks of an epoch that another thread draws: the same rows, the same bits, and nobody waits for it."""

import os
import signal
import threading

import numpy as np
import pytest

from numbasgd import Fit, epoch_order, gradient, threads, train
from numbasgd.machine.cpu import n_cores
from numbasgd.sgd.order import ORDER_CHUNK
from numbasgd.sgd.solvers import epoch_solver, order_prefetch

N = 9 * ORDER_CHUNK + 1234
TAIL = 16
slow = pytest.mark.slow
has_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
several = pytest.mark.skipif(n_cores() < 2, reason="one core: nobody is asked for help")
has_timer = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no setitimer")


@pytest.fixture(scope="module")
def rows():
    """X, y and weights; X is beyond what counts as near."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((N, 5), dtype=np.float32)
    return X, (X @ np.arange(5, dtype=np.float32) + 1).astype(np.float32), 1 + rng.random(N)


@pytest.fixture
def eager(monkeypatch):
    """Help from the first call on."""
    monkeypatch.setattr(epoch_solver, "_HELP_AFTER", -1.0)


def bits(fit):
    return fit.w.tobytes(), fit.b, fit.loss.tobytes()


def made(n, length, dtype=np.float32, has_weights=False, rows_dtype=np.int32):
    """OrderChunks with help over numbers that tell their row, and the same numbers."""
    y = np.arange(n).astype(dtype)
    s = -y if has_weights else y[:0]
    it = order_prefetch.OrderChunks(n, length, TAIL, np.dtype(rows_dtype), y, s, True)
    it.get_help()
    return it


def begin(it, epoch, first, end, at=0):
    """Tell the other thread where to begin and to stop."""
    for name, word in {"epoch": epoch, "first": first, "end": end, "current": at, "quit": 0}.items():
        put(it, name, word)


def put(it, name, word):
    it.task[getattr(order_prefetch.AT, name) // 8] = word


def ready(it):
    return it.task[order_prefetch.AT.ready // 8 :][: order_prefetch.RING]


@pytest.mark.parametrize("sampling", ["reshuffle", "once", "replacement"])
@pytest.mark.parametrize(
    ("dtype", "rows_dtype", "has_weights"),
    [(np.float32, np.int32, False), (np.float64, np.int64, True)],
)
def test_what_is_drawn_ahead(dtype, rows_dtype, has_weights, sampling):
    """Over the end of an epoch, whose last chunk is short."""
    n, length = 3 * ORDER_CHUNK - 1000, ORDER_CHUNK + 30
    it = made(n, length, dtype, has_weights, rows_dtype)
    it.told(sampling, 11)
    begin(it, 4, length, 5 * n + 10)
    draw_ahead = order_prefetch.make_draw_ahead(np.dtype(rows_dtype).name, np.dtype(dtype).name)
    draw_ahead(it.task.ctypes.data, 0, 0)
    wanted = [(4, length, 2 * length), (4, 2 * length, n), (5, 0, length)]
    assert sorted(ready(it).tolist()) == [0, 1, 2, 3]
    for number, (epoch, start, stop) in enumerate(wanted, 1):
        slot = 1 + number % order_prefetch.RING
        order = epoch_order(11, epoch, n, sampling)[start : stop + TAIL]
        assert it.rows[slot, : len(order)].tolist() == order.tolist()
        order = order[: stop - start]
        assert it.targets[slot, : stop - start].tolist() == order.tolist()
        if has_weights:
            assert it.targets[slot, length:][: stop - start].tolist() == (-order).tolist()


@pytest.mark.parametrize("n", [ORDER_CHUNK + 1, 2 * ORDER_CHUNK + 7])
@pytest.mark.parametrize("length", [ORDER_CHUNK, ORDER_CHUNK + 9])
def test_nothing_is_written_outside_the_slots(n, length):
    """Of chunks within larger memory, whose rest stays as it is; the caller's own as well."""
    it = made(n, length, np.float64, True)
    memory = np.full(it.rows.size + 2 * length, -7, np.int32)
    stride = it.rows.shape[1]
    it.rows = memory[length:-length].reshape(it.rows.shape)
    numbers = np.full(it.targets.size + 4 * length, -7.0)
    it.targets = numbers[2 * length : -2 * length].reshape(it.targets.shape)
    it.told("reshuffle", 1)
    for at in (0, 2, 9):
        begin(it, 0, 0, 40 * n, at)
        put(it, "current", at)
        helper = threading.Thread(
            target=order_prefetch.make_draw_ahead("int32", "float64"), args=(it.task.ctypes.data, 0, 0)
        )
        helper.start()
        for number in range(at + 1, at + 12):
            while ready(it)[number % order_prefetch.RING] != number:
                pass
            put(it, "current", number)
        put(it, "quit", 1)
        helper.join()
    assert (memory[: length + stride] == -7).all() and (memory[-length:] == -7).all()
    assert (numbers[: 4 * length] == -7).all() and (numbers[-2 * length :] == -7).all()
    assert it.rows[1:].max() < n


def test_who_comes_late_leaves_out_what_is_past():
    it = made(8 * ORDER_CHUNK, ORDER_CHUNK)
    it.told("reshuffle", 0)
    begin(it, 0, ORDER_CHUNK, 8 * ORDER_CHUNK, at=4)  # of seven chunks, steps are made on the fourth
    order_prefetch.make_draw_ahead("int32", "float32")(it.task.ctypes.data, 0, 0)
    assert sorted(ready(it).tolist()) == [0, 5, 6, 7]
    wanted = epoch_order(0, 0, it.n)[5 * ORDER_CHUNK :][: ORDER_CHUNK + TAIL]
    assert it.rows[1 + 5 % order_prefetch.RING].tolist() == wanted.tolist()


def test_who_is_told_to_quit_draws_nothing():
    it = made(8 * ORDER_CHUNK, ORDER_CHUNK)
    it.told("reshuffle", 0)
    begin(it, 0, ORDER_CHUNK, 8 * ORDER_CHUNK)
    put(it, "quit", 1)
    order_prefetch.make_draw_ahead("int32", "float32")(it.task.ctypes.data, 0, 0)
    assert not ready(it).any()


def test_a_chunk_that_is_not_ready_is_drawn_by_who_needs_it():
    it = made(8 * ORDER_CHUNK, ORDER_CHUNK)
    it.told("reshuffle", 7)
    next_chunk = order_prefetch.make_next_chunk()
    ready(it)[2] = 2
    assert next_chunk(it.task.ctypes.data, 0, 2 * ORDER_CHUNK, 8 * ORDER_CHUNK, 2) == 3
    assert it.drawn.tolist() == [0, 2 * ORDER_CHUNK, 3 * ORDER_CHUNK, 1 + 2, 3 * ORDER_CHUNK + TAIL]
    assert next_chunk(it.task.ctypes.data, 0, 3 * ORDER_CHUNK, 8 * ORDER_CHUNK, 3) == 4
    assert it.drawn.tolist() == [0, 3 * ORDER_CHUNK, 4 * ORDER_CHUNK, 0, 4 * ORDER_CHUNK + TAIL]
    assert it.rows[0].tolist() == epoch_order(7, 0, it.n)[3 * ORDER_CHUNK : 4 * ORDER_CHUNK + TAIL].tolist()


@several
@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 1},
        {"batch_size": 10},
        {"batch_size": 10, "sampling": "once", "average": 1, "momentum": 0.5},
        pytest.param({"batch_size": 300, "sampling": "replacement"}, marks=slow),
        pytest.param({"batch_size": 5000, "l2": 0.1}, marks=slow),
        pytest.param({"batch_size": 7, "loss": "huber", "eval_every": 20_011}, marks=slow),
    ],
    ids=str,
)
@pytest.mark.parametrize("has_weights", [False, pytest.param(True, marks=slow)])
def test_the_same_bits_with_help(settings, has_weights, rows, eager):
    X, y, s = rows
    options = {"lr": 1e-3, "epochs": 5, "seed": 4, "sample_weight": s if has_weights else None, **settings}
    alone = train(X, y, threads=1, **options)
    before = threads.tasks_by_workers()
    for _ in range(30):  # on a busy machine nobody may have come in time
        assert bits(train(X, y, threads=2, **options)) == bits(alone)
        if threads.tasks_by_workers() > before + 10:
            break
    assert threads.tasks_by_workers() > before


@several
@pytest.mark.parametrize("batch_size", [1, 9])
@pytest.mark.parametrize(
    ("d", "dtype"),
    [
        pytest.param(16, np.float64, marks=slow),
        pytest.param(61, np.float32, marks=slow),
        pytest.param(300, np.float32, marks=slow),
        pytest.param(300, np.float64, marks=slow),
    ],
)
def test_the_same_bits_with_help_at_other_widths(d, dtype, batch_size, rng, eager, monkeypatch):
    """Rows of more registers than weights have as well, which help would not be asked for here."""
    monkeypatch.setattr(epoch_solver, "ROW_BYTES", 1 << 20)
    X, s = rng.standard_normal((5 * ORDER_CHUNK, d)).astype(dtype), 1 + rng.random(5 * ORDER_CHUNK)
    options = {"lr": 1e-4, "epochs": 4, "seed": 4, "batch_size": batch_size, "sample_weight": s}
    alone = bits(train(X, X[:, 0], threads=1, **options))
    before = threads.tasks_by_workers()
    for _ in range(30):
        assert bits(train(X, X[:, 0], threads=2, **options)) == alone
        if threads.tasks_by_workers() > before + 5:
            break
    assert threads.tasks_by_workers() > before


def test_steps_with_help_are_those_of_the_order(rows, eager):
    """Against gradients of the rows that ``epoch_order`` names."""
    X, y, _ = rows
    fit = train(X, y, batch_size=6000, lr=0.1, epochs=3, seed=9, threads=2)
    w, b = np.zeros(5, np.float32), 0.0
    for epoch in range(3):
        order = epoch_order(9, epoch, N)
        for start in range(0, N, 6000):
            g, gb = gradient(X, y, w, b, rows=order[start : start + 6000])
            w, b = w - np.float32(0.1) * g, b - 0.1 * gb
    np.testing.assert_allclose(fit.w, w, rtol=1e-4, atol=1e-5)


@several
def test_short_runs_get_no_help(rows, monkeypatch):
    calls = []
    monkeypatch.setattr(order_prefetch.OrderChunks, "get_help", lambda self: calls.append(self))
    X, y, _ = rows
    train(X, y, batch_size=10, lr=1e-3, epochs=1, threads=2)
    assert not calls
    monkeypatch.setattr(epoch_solver, "_HELP_AFTER", -1.0)
    train(X, y, batch_size=10, lr=1e-3, epochs=1, threads=1)  # nobody to ask
    train(X, y, batch_size=10, lr=1e-3, epochs=1, threads=2, sampling="sequential")
    train(X, y, batch_size=N, lr=1e-3, epochs=1, threads=2)
    train(X[:ORDER_CHUNK], y[:ORDER_CHUNK], batch_size=10, lr=1e-3, epochs=1, threads=2)
    assert not calls
    train(X, y, batch_size=10, lr=1e-3, epochs=1, threads=2)  # over when it could begin
    assert not calls
    train(X, y, batch_size=10, lr=1e-3, epochs=2, threads=2)
    assert calls


def test_stopped_and_resumed_with_help(rows, eager, tmp_path):
    X, y, _ = rows
    options = {"batch_size": 10, "lr": 1e-3, "seed": 6, "threads": 2, "eval_every": 30_000}
    whole = train(X, y, epochs=6, **options)
    part = train(X, y, epochs=2, **options)
    part.save(tmp_path / "part.fit")
    assert bits(train(X, y, epochs=6, threads=2, resume=tmp_path / "part.fit")) == bits(whole)


def test_nothing_is_compiled_within_the_clock(rows, monkeypatch):
    """Nor loaded, whatever was used before of the same kernel."""
    X, y, _ = rows
    X, y = X[:6000], y[:6000]
    options = {"batch_size": 10, "lr": 1e-3, "epochs": 1, "threads": 1}
    train(X, y, **options, sampling="sequential")
    compiled = []

    def timed(self, end):
        before = len(compiled)
        call(self, end)
        assert len(compiled) == before or end == 0

    call = epoch_solver.EpochSolver.advance
    monkeypatch.setattr(epoch_solver.EpochSolver, "advance", timed)
    for name in ("make_next_chunk", "draw_for"):
        make = getattr(order_prefetch, name)
        monkeypatch.setattr(
            order_prefetch, name, lambda *args, make=make: (compiled.append(args), make(*args))[1]
        )
    for sampling in ("reshuffle", "replacement", "once"):
        before = len(compiled)
        train(X, y, **options, sampling=sampling)
        assert len(compiled) == before + 2


@several
@has_timer
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupts_with_help(rows, eager):
    X, y, _ = rows
    options = {"batch_size": 10, "lr": 1e-3, "seed": 6, "epochs": 60, "threads": 2, "eval_every": 30_000}
    whole = train(X, y, **options)
    draw = np.random.default_rng(0)
    fit, interrupts = None, 0

    def stop(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    try:
        for _ in range(500):
            start = options if fit is None else {"threads": 2, "resume": fit}
            try:
                signal.setitimer(signal.ITIMER_REAL, draw.uniform(0.001, 0.02))
                found = train(X, y, **start)
                signal.setitimer(signal.ITIMER_REAL, 0)
                assert bits(found) == bits(whole)
                fit = None
            except KeyboardInterrupt as error:
                interrupts += 1
                fit = getattr(error, "fit", None) or fit
            if interrupts >= 20 and fit is None:
                break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupts >= 20
    assert fit is None


def test_several_python_threads_want_help(rows, eager):
    """One gets it, the others do without."""
    X, y, _ = rows
    options = {"batch_size": 10, "lr": 1e-3, "epochs": 8}
    expected = [bits(train(X, y, seed=seed, threads=1, **options)) for seed in range(3)]
    found, before = [None] * 6, threads.tasks_by_workers()

    def work(i):
        found[i] = [bits(train(X, y, seed=i % 3, threads=2, **options)) for _ in range(4)]

    callers = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for i in range(6):
        assert found[i] == [expected[i % 3]] * 4
    assert n_cores() < 2 or threads.tasks_by_workers() > before


@has_fork
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_while_another_thread_is_helped(rows, eager, tmp_path):
    X, y, _ = rows
    options = {"batch_size": 10, "lr": 1e-3, "epochs": 20, "seed": 2, "threads": 2}
    whole = train(X, y, **options)
    found = []
    caller = threading.Thread(target=lambda: found.extend(bits(train(X, y, **options)) for _ in range(10)))
    caller.start()
    children = []
    for number in range(3):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                signal.alarm(60)
                train(X, y, **options).save(tmp_path / f"{number}.fit")
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    caller.join()
    assert found == [bits(whole)] * 10
    for number, child in enumerate(children):
        assert os.waitpid(child, 0)[1] == 0
        assert bits(Fit.load(tmp_path / f"{number}.fit")) == bits(whole)
