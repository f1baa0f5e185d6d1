"""``train(checkpoint=...)``: a process may be killed at any moment, and a disk may be full; nothing is lost."""

import builtins
import functools
import itertools
import os
import random
import signal
import time
import warnings
from types import SimpleNamespace

import pytest
from conftest import says
from runs import EPOCHS, PLAIN, assert_same, data, resume, run

import numbasgd.paths
from numbasgd import Fit, FitFileError, part_files, train
from numbasgd.sgd import checkpoint
from numbasgd.sgd.checkpoint import Checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork and no SIGKILL")
one_go = functools.cache(run)
TELLS_PROCESSES = os.path.exists("/proc/sys/kernel/random/boot_id")
tells_processes = pytest.mark.skipif(not TELLS_PROCESSES, reason="processes are told apart by Linux's /proc")


def parts_in(folder) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name.endswith(".part"))


def in_child(work, *, kill_after: float | None = None) -> bool:
    """Run ``work`` in a forked child, and tell whether a SIGKILL ended it; the only other end is a good one."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def die():
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


POINTS = ("before open", "open", "half", "before rename", "after rename")


def kill_in_write(point: str, number: int) -> None:
    """From now on this process dies at one point of the write with that number."""
    count = [0]
    real_open, real_replace = builtins.open, os.replace

    def opened(path, mode, **how):
        count[0] += 1
        is_it = count[0] == number
        if is_it and point == "before open":
            die()
        file = real_open(path, mode, **how)
        if is_it and point == "open":
            die()
        if is_it and point == "half":
            write = file.write

            class Half:
                def __enter__(self):
                    return self

                def __exit__(self, *error):
                    pass

                def write(self, content):
                    write(content[: len(content) // 2])
                    file.flush()
                    die()

            return Half()
        return file

    def replace(source, target):
        if count[0] == number and point == "before rename":
            die()
        real_replace(source, target)
        if count[0] == number:
            die()

    numbasgd.paths.open = opened
    os.replace = replace


def go_on(name: str, path, **changes):
    """Start one of ``RUNS``, or go on with it where there is a checkpoint; ask for checkpoints."""
    if path.exists():
        return resume(name, path, checkpoint=path, **changes)
    return run(name, checkpoint=path, **changes)


@forks
@pytest.mark.parametrize("number", [1, 2, 9])
@pytest.mark.parametrize("point", POINTS)
def test_killed_while_writing(point, number, tmp_path):
    path = tmp_path / "run.fit"

    def work():
        kill_in_write(point, number)
        go_on("plain", path, checkpoint_every=53)

    one_go("plain")  # compiles
    assert in_child(work)
    saved = number - 1 + (point == "after rename")
    assert path.exists() == (saved > 0)
    if saved:
        epoch, steps = divmod(saved * 53, 215)
        assert Fit.load(path).samples[-1] == epoch * 1500 + steps * 7
    assert_same(one_go("plain"), go_on("plain", path, checkpoint_every=53))
    assert_same(one_go("plain"), Fit.load(path))
    assert parts_in(tmp_path) == [] or not TELLS_PROCESSES


@forks
@pytest.mark.parametrize(
    "name",
    [
        "held-out",
        "stops-early",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("classes", "wide")),
        "all-rows",
    ],
)
def test_killed_again_and_again_at_drawn_steps_and_points(name, tmp_path):
    path = tmp_path / "run.fit"
    draw = random.Random(name)
    one_go(name)
    for _ in range(12):
        every, point, number = draw.randint(1, 60), draw.choice(POINTS), draw.randint(1, 4)

        def work(every=every, point=point, number=number):
            kill_in_write(point, number)
            go_on(name, path, checkpoint_every=every)

        in_child(work)
    assert_same(one_go(name), go_on(name, path))
    assert_same(one_go(name), Fit.load(path))
    assert parts_in(tmp_path) == [] or not TELLS_PROCESSES


@forks
def test_killed_at_any_time(tmp_path):
    path = tmp_path / "run.fit"
    draw = random.Random(2)
    settings = {"batch_size": 1, "lr": 0.005, "epochs": 3000, "seed": 1, "eval_every": 777_777}
    whole = train(**settings)
    kills = 0
    for _ in range(25):
        start = {"resume": path} if path.exists() else settings
        work = functools.partial(train, **start, checkpoint=path, checkpoint_every=0.003)
        if in_child(work, kill_after=draw.uniform(0.003, 0.06)):
            kills += 1
        else:  # it was there before the signal
            assert_same(whole, Fit.load(path))
            path.unlink()
    assert kills > 0
    start = {"resume": path} if path.exists() else settings
    assert_same(whole, train(**start))


def test_written_every_so_many_steps_and_at_the_end(tmp_path, monkeypatch):
    seen = []
    real = Checkpoint.save

    def save(self, fit, **options):
        real(self, fit, **options)
        found = Fit.load(tmp_path / "run.fit")
        assert_same(fit, found)
        seen.append(int(found.samples[-1]))

    monkeypatch.setattr(Checkpoint, "save", save)
    train(batch_size=400, lr=0.1, epochs=3, checkpoint=tmp_path / "run.fit", checkpoint_every=3)
    assert seen == [1200, 2300, 3400, 4500]  # four steps an epoch, the last one of 300 rows
    seen.clear()
    train(batch_size=400, lr=0.1, epochs=3, checkpoint=tmp_path / "run.fit", checkpoint_every=4)
    assert seen == [1500, 3000, 4500]
    seen.clear()
    train(batch_size=400, lr=0.1, epochs=3, checkpoint=tmp_path / "run.fit", checkpoint_every=1e-9)
    assert seen[-1] == 4500
    assert len(seen) >= 3
    seen.clear()
    train(batch_size=400, lr=0.1, epochs=3, checkpoint=tmp_path / "run.fit")
    assert seen == [4500]


def test_not_more_often_than_asked_for(tmp_path, monkeypatch):
    """By a clock that goes on by a 64th of a second whenever it is read."""
    now, times = [0.0], []
    real = Checkpoint.save

    def clock():
        now[0] += 2**-6
        return now[0]

    def save(self, fit, **options):
        times.append(now[0])
        real(self, fit, **options)

    monkeypatch.setattr(Checkpoint, "save", save)
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=clock))
    train(batch_size=100, lr=0.01, epochs=30, seed=1, checkpoint=tmp_path / "run.fit", checkpoint_every=0.125)
    between = [later - sooner for sooner, later in itertools.pairwise(times[:-1])]
    assert len(between) >= 2
    assert 0.125 <= min(between) <= max(between) < 0.125 + 3 * 2**-6


@pytest.mark.parametrize("every", [1, 10, 214, 215, 216, 1e-9, 30.0])
def test_checkpoints_change_nothing(every, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda number: None)  # a disk takes its time for each of hundreds
    assert_same(one_go("plain"), run("plain", checkpoint=tmp_path / "a", checkpoint_every=every))


def test_a_full_disk_costs_a_warning_and_no_more(tmp_path, monkeypatch):
    path = tmp_path / "run.fit"
    failing = iter([False, True, True, False, *[True] * 100])
    real = os.fsync

    def fsync(number):
        if next(failing):
            raise OSError(28, "No space left on device")
        real(number)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.warns(UserWarning) as caught:
        fit = run("plain", checkpoint=path, checkpoint_every=100)
    during, after = (str(warning.message) for warning in caught)
    assert "No space left on device" in during and "Training goes on, and tries again" in during
    assert str(path) in after and "only its checkpoint is missing" in after
    assert {warning.filename for warning in caught} == {run.__code__.co_filename}
    assert_same(one_go("plain"), fit)
    assert_same(one_go("plain"), resume("plain", path))  # the fourth one was written
    assert [p.name for p in tmp_path.iterdir()] == ["run.fit"]


def test_a_full_disk_with_warnings_as_errors_hands_the_run_over(tmp_path, monkeypatch):
    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="No space left") as caught:
            run("plain", checkpoint=tmp_path / "run.fit", checkpoint_every=100)
    assert_same(one_go("plain"), resume("plain", caught.value.fit))


@forks
@pytest.mark.parametrize("name", ["plain", "blocks", "blocks-held-out"])
def test_a_file_that_may_not_grow(name, tmp_path):
    """A limit on the size of files stops the write for real, half-way."""
    resource = pytest.importorskip("resource")

    def work():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fit = run(name, checkpoint=tmp_path / "run.fit", checkpoint_every=100)
        assert len(caught) == 2
        assert "File too large" in str(caught[0].message)
        assert_same(one_go(name), fit)

    one_go(name)
    assert not in_child(work)
    assert list(tmp_path.iterdir()) == []


@forks
@tells_processes
@pytest.mark.parametrize("file_name", ["run.fit", "a" * 251, "\u00e4[1]*" * 40])
def test_what_a_killed_process_left_is_removed(file_name, tmp_path):
    path = tmp_path / file_name

    def work():
        kill_in_write("half", 2)
        go_on("plain", path, checkpoint_every=53)

    one_go("plain")
    assert in_child(work)
    saved = path.read_bytes()
    assert len(parts_in(tmp_path)) == 1
    Checkpoint(path, None, 1500, 7)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == saved
    assert_same(one_go("plain"), go_on("plain", path))


@forks
@tells_processes
def test_what_a_living_process_writes_stays(tmp_path):
    path = tmp_path / "run.fit"
    (is_there, there), (may_end, end) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        real = os.fsync

        def waits(number):
            os.write(there, b"x")
            os.read(may_end, 1)
            real(number)

        code = 1
        try:
            os.fsync = waits
            numbasgd.paths.write_whole(path, b"whole", is_durable=True)
            code = 0
        finally:
            os._exit(code)
    os.read(is_there, 1)
    found = parts_in(tmp_path)
    Checkpoint(path, None, 1500, 7)
    assert len(found) == 1 and parts_in(tmp_path) == found
    os.write(end, b"x")
    assert os.waitpid(child, 0)[1] == 0
    assert path.read_bytes() == b"whole" and parts_in(tmp_path) == []
    for number in (is_there, there, may_end, end):
        os.close(number)


@tells_processes
def test_whose_part_it_is(tmp_path, monkeypatch):
    """The part of this process, and its name with one thing changed at a time."""
    path = tmp_path / "run.fit"
    own = part_files.part_of(path).name
    namespace, pid, start, token = own.removeprefix(".run.fit.").removesuffix(".part").split("-")
    stay = {
        own,
        f".run.fit.{'0' * 12}-{pid}-1-{token}.part",  # another machine, or this one before it started
        f".run.fit.unknown-{pid}-{token}.part",
        f".other.fit.{namespace}-{pid}-1-{token}.part",
        f".run.fit.x.{namespace}-{pid}-1-{token}.part",
        f".run.fit.{namespace}-{pid}-1-mine.part",
        f".run.fit.{pid}-{token}.part",  # as they were called before
        "run.fit.part",
    }
    reused = f".run.fit.{namespace}-{pid}-{int(start) - 1}-{token}.part"
    for name in (*stay, reused):
        (tmp_path / name).touch()

    def refuse(*args):
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(
            os, "unlink", lambda path: (_ for _ in ()).throw(PermissionError(13, "Permission denied"))
        )
        part_files.remove_dead_parts(path)
    assert {p.name for p in tmp_path.iterdir()} == {*stay, reused}
    with monkeypatch.context() as patch:  # a process of another user, which /proc does not show
        patch.setattr(os, "kill", refuse)
        patch.setattr(part_files, "_start_of", lambda pid: None)
        part_files.remove_dead_parts(path)
    assert {p.name for p in tmp_path.iterdir()} == {*stay, reused}
    part_files.remove_dead_parts(path)
    assert {p.name for p in tmp_path.iterdir()} == stay
    part_files.remove_dead_parts(tmp_path / "no" / "run.fit")


def test_a_place_that_cannot_be_is_refused_at_once(tmp_path):
    X, y, _ = data()
    with pytest.raises(FitFileError) as caught:
        train(X, y, checkpoint=tmp_path / "no" / "run.fit")
    says(caught.value, "checkpoint is", "run.fit", "cannot be written (No such file", "expected", "folder")
    with pytest.raises(FitFileError, match="checkpoint is .*a folder; expected a file"):
        train(X, y, checkpoint=tmp_path)


@pytest.mark.filterwarnings("ignore:lr is .* beyond the largest stable one:UserWarning")
def test_what_is_there_stays_until_there_is_something_better(tmp_path):
    path = tmp_path / "run.fit"
    path.write_text("mine")
    with pytest.raises(numbasgd.DivergenceError):
        train(batch_size=1, lr=1.5, epochs=5, checkpoint=path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("every", "error", "parts"),
    [
        (0, ValueError, ("checkpoint_every is 0", "expected an integer of 1 or more", "seconds as a float")),
        (-1.0, ValueError, ("checkpoint_every is -1.0", "above 0")),
        (True, TypeError, ("checkpoint_every is True", "expected")),
        ("1m", TypeError, ("checkpoint_every is '1m'", "expected")),
        (float("nan"), ValueError, ("checkpoint_every is nan", "expected")),
    ],
)
def test_bad_intervals(every, error, parts, tmp_path):
    with pytest.raises(error) as caught:
        train(**PLAIN, epochs=EPOCHS, checkpoint=tmp_path / "a", checkpoint_every=every)
    says(caught.value, *parts)


def test_an_interval_without_a_file(tmp_path):
    with pytest.raises(ValueError) as caught:
        train(checkpoint_every=10)
    says(caught.value, "checkpoint_every is 10 but checkpoint is None", "expected both", "Pass the path")
    with pytest.raises(TypeError, match="checkpoint is 3; expected the path"):
        train(checkpoint=3)
