"""Ctrl-C, callbacks that raise, threads, a fork: the run so far is in ``.fit``, and goes on from there."""

import functools
import os
import random
import signal
import sys
import threading
import time

import numpy as np
import pytest
from child import run_python
from runs import EPOCHS, RUNS, assert_same, resume, run

from numbasgd import Fit, train
from numbasgd.sgd.solvers.objective import Objective
from numbasgd.sgd.trainer import Trainer

one_go = functools.cache(run)
has_timer = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no setitimer")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


class Opcodes:
    """Raises ``KeyboardInterrupt`` at one opcode of the package's training code, counted from the first."""

    def __init__(self, at: int) -> None:
        self.at, self.count, self.counted_in_run = at, 0, 0

    def __call__(self, frame, event, arg):
        if os.sep + "sgd" + os.sep not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            self.count += 1
            self.counted_in_run += self.counted_in_run > 0 or frame.f_code is Trainer.place.__code__
            if self.count == self.at:
                raise KeyboardInterrupt
        return self


def traced(at: int, call):
    """(what ``call()`` returned or carried out, the tracer)."""
    tracer = Opcodes(at)
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        fit = call()
    except KeyboardInterrupt as error:
        fit = getattr(error, "fit", None)
    finally:
        sys.settrace(before)
    return fit, tracer


SMALL = {
    "epoch": {"batch_size": 500},
    "few": {"batch_size": 600, "eval_every": None, "average": 1, "momentum": 0.5, "nesterov": True},
    "stop": {"batch_size": 500, "tol": 0.5, "patience": 2, "validation_fraction": 0.1, "eval_every": 700},
    "call": {"batch_size": 700, "callback": lambda fit: fit.epochs[-1] == 2, "standardize": True},
    "save": {"batch_size": 700, "checkpoint_every": 1},
}


def interrupt_everywhere(name, tmp_path, draws):
    settings = {"lr": 0.1, "epochs": 3, "seed": 8, **SMALL[name]}
    if name == "save":
        settings["checkpoint"] = tmp_path / "run.fit"
    again = {key: settings[key] for key in ("callback", "checkpoint") if key in settings}
    start = functools.partial(train, **settings)
    whole = start()
    total = traced(-1, start)[1].count
    lost = []
    first = total - traced(-1, start)[1].counted_in_run
    draw = random.Random(name)
    drawn = (
        [*draw.sample(range(1, first), draws // 8), *draw.sample(range(first, total + 1), draws)]
        if draws
        else []
    )
    for at in drawn or range(1, total + 1):
        fit, tracer = traced(at, start)
        if fit is None:
            lost.append(at)
            continue
        assert_same(whole, train(**again, resume=fit))
        if name == "save" and tracer.count == at and at % 5 == 0 and settings["checkpoint"].exists():
            assert_same(whole, train(**again, resume=settings["checkpoint"]))
    # Before there is a run there is nothing to hand over; at the other end, train has returned.
    assert not [at for at in lost if first + 100 < at < total - 20], f"lost of {total}, {first} before: {lost}"


@pytest.mark.parametrize("draws", [40, pytest.param(160, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SMALL)
def test_between_any_two_bytecodes(name, draws, tmp_path, monkeypatch):
    if draws < 160:  # a disk takes its time for each of hundreds
        monkeypatch.setattr(os, "fsync", lambda number: None)
    interrupt_everywhere(name, tmp_path, draws)


LONG = {
    "one-sample": {"batch_size": 1, "lr": 0.005, "epochs": 6000, "eval_every": 333_333},
    "minibatch": {"batch_size": 64, "lr": 0.05, "epochs": 15_000, "eval_every": None, "average": True},
    "epochs": {"batch_size": 100, "lr": 0.05, "epochs": 1500, "tol": 0.0, "patience": 1500},
}


# An interrupt that lands in a destructor is told of and lost; the next one counts.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@has_timer
@pytest.mark.parametrize("count", [15, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", LONG)
def test_many_interrupts_at_random_moments(name, count, tmp_path):
    path = tmp_path / "run.fit"
    settings = {**LONG[name], "seed": 2}
    begin = time.monotonic()
    whole = train(**settings)
    length = time.monotonic() - begin
    draw = random.Random(name)
    fit, interrupts, is_done = None, 0, False

    def stop(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    try:
        while interrupts < count or not is_done:
            assert interrupts < 20 * count
            if is_done:  # all over again
                fit, is_done = None, False
            start = settings if fit is None else {"resume": fit if interrupts % 2 else path}
            try:
                patience = max(1, interrupts / count)  # a machine that became busy needs longer to get on
                signal.setitimer(signal.ITIMER_REAL, draw.uniform(0.001, (0.02 + length / 10) * patience))
                found = train(**start, checkpoint=path)
                signal.setitimer(signal.ITIMER_REAL, 0)
                is_done = True
                assert_same(whole, found)
            except KeyboardInterrupt as error:
                interrupts += 1
                stopped = getattr(error, "fit", None)
                if stopped is not None:
                    if stopped is not fit and stopped.samples[-1] > 0:  # a step was made, so it was written
                        written = Fit.load(path)
                        # Once train has returned, only its caller's caller knows, and the file.
                        assert written.samples[-1] >= stopped.samples[-1]
                        if written.samples[-1] == stopped.samples[-1]:
                            assert_same(stopped, written)
                    fit = stopped
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupts >= count


def test_what_ctrl_c_leaves_is_a_usable_fit(tmp_path):
    path = tmp_path / "run.fit"
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt) as caught:
            train(batch_size=1, lr=0.005, epochs=10**7, seed=1, eval_every=None, checkpoint=path)
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
    fit = caught.value.fit
    assert 0 < fit.epochs[-1] < 10**7
    assert fit.loss[-1] < 0.26
    assert fit.settings["epochs"] == 10**7
    assert_same(fit, Fit.load(path))
    there = train(batch_size=1, lr=0.005, epochs=1 + int(fit.epochs[-1]), seed=1, eval_every=None)
    assert_same(there, train(resume=path, epochs=1 + int(fit.epochs[-1])))


def test_a_callback_that_raises(tmp_path):
    class Mine(Exception):
        pass

    def callback(fit):
        if fit.epochs[-1] == 2:
            raise Mine("enough")

    with pytest.raises(Mine, match="enough") as caught:
        run("held-out", callback=callback, checkpoint=tmp_path / "a.fit")
    assert caught.value.fit.epochs[-1] == 2
    assert_same(one_go("held-out"), resume("held-out", caught.value.fit))
    assert_same(one_go("held-out"), resume("held-out", tmp_path / "a.fit"))


def test_an_exception_that_takes_no_attribute():
    class Slots(Exception):
        __slots__ = ()

        def __setattr__(self, name, value):
            raise AttributeError(name)

    def callback(fit):
        raise Slots("no")

    with pytest.raises(Slots, match="no"):
        run("plain", callback=callback)


def test_a_checkpoint_that_fails_does_not_hide_the_interrupt(tmp_path, monkeypatch):
    def callback(fit):
        monkeypatch.setattr(os, "replace", full)
        raise KeyboardInterrupt

    def full(*args):
        raise OSError(28, "No space left on device")

    with pytest.raises(KeyboardInterrupt) as caught:
        run("plain", callback=callback, checkpoint=tmp_path / "a.fit")
    monkeypatch.undo()
    assert "No space left on device" in caught.value.__notes__[0]
    assert_same(one_go("plain"), resume("plain", caught.value.fit))


def test_a_second_interrupt_hands_over_as_well(tmp_path, monkeypatch):
    def again(*args):
        raise KeyboardInterrupt("second")

    def callback(fit):
        monkeypatch.setattr(os, "replace", again)
        raise KeyboardInterrupt("first")

    with pytest.raises(KeyboardInterrupt, match="second") as caught:
        run("plain", callback=callback, checkpoint=tmp_path / "a.fit")
    monkeypatch.undo()
    assert_same(one_go("plain"), resume("plain", caught.value.fit))


@pytest.mark.parametrize("method", ["compile", "start"])
@pytest.mark.parametrize("name", ["plain", "standardized", "held-out"])
def test_an_interrupt_before_the_first_evaluation(name, method, tmp_path, monkeypatch):
    def stop(self):
        raise KeyboardInterrupt

    (tmp_path / "a.fit").write_text("what was there")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, method, stop)
        with pytest.raises(KeyboardInterrupt) as caught:
            run(name, checkpoint=tmp_path / "a.fit")
    assert (tmp_path / "a.fit").read_text() == "what was there"  # no step was made yet
    fit = caught.value.fit
    assert fit.samples.tolist() == [0] and np.isnan(fit.loss[0])
    fit.save(tmp_path / "a.fit")
    assert_same(one_go(name), resume(name, fit))
    assert_same(one_go(name), resume(name, tmp_path / "a.fit"))


def test_an_interrupt_before_there_is_a_run(monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    part = run("plain", epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "__init__", stop)
        with pytest.raises(KeyboardInterrupt) as caught:
            run("plain")
        assert caught.value.fit is None
        with pytest.raises(KeyboardInterrupt) as caught:
            resume("plain", part, epochs=2)
        assert caught.value.fit is part


def test_an_evaluation_that_takes_long_is_left_out(tmp_path, monkeypatch):
    """The weights are what counts; their loss is not known, and said not to be."""

    def callback(fit):
        if fit.epochs[-1] == 2:
            raise KeyboardInterrupt

    def slow(self, row):
        time.sleep(0.1)
        return real(self, row)

    real = Objective.mean_loss
    with monkeypatch.context() as patch:
        patch.setattr(Objective, "mean_loss", slow)
        with pytest.raises(KeyboardInterrupt) as caught:
            run("replacement", callback=lambda fit: None if fit.epochs[-1] < 2 else stop_within(fit))
    fit = caught.value.fit
    assert fit.samples.tolist() == [0, 3000]
    assert np.isnan(fit.loss[-1]) or fit.loss[-1] < 0.3
    assert_same(one_go("replacement"), resume("replacement", fit))


def stop_within(fit):
    raise KeyboardInterrupt


def test_eight_threads_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda number: None)  # a disk takes its time for each of hundreds
    names = ["plain", "once", "standardized", "held-out", "stops-early", "classes", "wide", "all-rows"]
    wholes = {name: one_go(name) for name in names}
    found, errors = {}, []
    barrier = threading.Barrier(len(names))

    def work(name):
        try:
            barrier.wait()
            path = tmp_path / "shared.fit" if name in ("plain", "once") else tmp_path / f"{name}.fit"
            found[name] = [run(name, checkpoint=path, checkpoint_every=40) for _ in range(3)]
            half = run(name, epochs=2) if RUNS[name][1].get("lr") else None
            found[name].append(resume(name, half, epochs=EPOCHS))
        except BaseException as error:
            errors.append((name, error))

    threads = [threading.Thread(target=work, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for name in names:
        for fit in found[name]:
            assert_same(wholes[name], fit)
    assert_same(Fit.load(tmp_path / "shared.fit"), Fit.load(tmp_path / "shared.fit"))  # one or the other, whole


THREADS = """
    import threading
    from runs import assert_same, run

    found = []
    barrier = threading.Barrier(8)

    def work(name):
        barrier.wait()
        found.append((name, run(name)))

    names = ["plain", "plain", "plain", "once", "once", "standardized", "standardized", "all-rows"]
    threads = [threading.Thread(target=work, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    for name, fit in found:
        assert_same(run(name), fit)
    print("same")
"""


@pytest.mark.parametrize("is_compiled", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_eight_threads_that_begin_with_compiling_or_loading(is_compiled, tmp_path):
    changes = {} if is_compiled else {"NUMBASGD_CACHE_DIR": str(tmp_path)}
    assert run_python(THREADS, **changes) == "same\n"


@forks
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("name", ["plain", "classes", "held-out"])
def test_a_fork_in_the_middle(name, tmp_path):
    """The child trains on, and so does its parent, to the same bits."""
    whole = one_go(name)
    children = []

    def callback(fit):
        if fit.epochs[-1] == 2:
            children.append(os.fork())

    fit = None
    try:
        fit = run(name, callback=callback)
    finally:
        if children and children[0] == 0:
            code = 1
            try:
                fit.save(tmp_path / "child.fit")
                resume(name, run(name, epochs=1), epochs=EPOCHS).save(tmp_path / "anew.fit")
                code = 0
            finally:
                os._exit(code)
    assert os.waitpid(children[0], 0)[1] == 0
    assert_same(whole, fit)
    assert_same(whole, Fit.load(tmp_path / "child.fit"))
    assert_same(whole, Fit.load(tmp_path / "anew.fit"))
