"""How parallel work runs: a small pool of our own threads, inside compiled code.

A parallel region is a compiled function ``f(descriptor, number, scratch) -> int`` and a number of tasks.  The
caller and the workers take tasks one by one until none is left; what a task computes must not depend on
who takes it, so results are the same for any number of threads.  ``descriptor`` is the address of the task
descriptor, which all tasks of the region read, and ``scratch`` that of the thread's own scratch memory.
``begin_beside`` opens a region of one task that a worker does while the caller does something else.

Why our own.  Numba's workqueue layer aborts when two Python threads run parallel code at once, its OpenMP
layer breaks after a fork, and a queue between Python threads costs more than a middle-sized product.  Here

- workers are Python threads that stay in compiled code and hold no lock of the interpreter.  They wait for
  a region in a loop for a moment, since the next call often comes at once, and then sleep on a semaphore;
- whoever finds the pool taken computes alone: two Python threads at once are two single-threaded calls;
- a late worker is never waited for: the caller takes the tasks that are left;
- a forked child has none of the threads: it starts with a fresh pool (``os.register_at_fork``).

All state is one record of 64-bit words that is never freed.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import itertools
import os
import threading
from typing import NamedTuple

from numba import types

from numbasgd import rawmem, workspace
from numbasgd.compile.options import jit
from numbasgd.machine.cpu import n_cores

MAX_THREADS = workspace.MAX_THREADS
_SPINS = 20_000  # rounds of waiting before a worker sleeps: a fraction of a millisecond
_EAGER = 8  # calls after which sleeping workers are woken even for small work


class _Words(NamedTuple):
    """taken : 1 while a caller has the pool.  alive : workers that run.  calls : since workers were last woken.

    workers : those that were started, or as many as anybody may need where no more can be.
    start, sem_post, sem_wait, sched_yield : addresses of functions; ``start`` starts workers.
    quit : 1 when workers are to end.

    region : the number of the region that is open, else 0.  last_region : the number of the last one.
    function, descriptor, n_tasks : of the region.  most_workers : so many may join it.
    next_task, n_inside : its next task, and the workers inside it.
    n_asleep : workers that sleep.  by_workers : tasks that workers did, over all regions.
    """

    taken: rawmem.NewLine
    workers: int
    start: int
    sem_post: int
    sem_wait: int
    sched_yield: int
    quit: int
    calls: int
    region: rawmem.NewLine
    last_region: int
    function: int
    descriptor: int
    n_tasks: int
    most_workers: int
    alive: int
    next_task: rawmem.NewLine
    n_inside: rawmem.NewLine
    n_asleep: rawmem.NewLine
    by_workers: rawmem.NewLine
    semaphore: rawmem.NewLine


_state = rawmem.State("numbasgd_threads", _Words, semaphore=8)
_AT, _address, _word = _state.at, _state.address, _state.word


@jit
def _take_tasks(state, scratch):
    """Do tasks of the open region until none is left; returns how many."""
    function = rawmem.read(state + _AT.function)
    descriptor = rawmem.read(state + _AT.descriptor)
    n_tasks = rawmem.read(state + _AT.n_tasks)
    done = 0
    while True:
        number = rawmem.add(state + _AT.next_task, 1)
        if number >= n_tasks:
            return done
        rawmem.call(function, (descriptor, number, scratch))
        done += 1


@jit
def _open(state, function, descriptor, n_tasks, wanted, is_large):
    """Open a region to as many workers as ``wanted``, and wake those that sleep if it is worth it."""
    region = rawmem.read(state + _AT.last_region) + 1
    rawmem.write(state + _AT.last_region, region)
    rawmem.write(state + _AT.function, function)
    rawmem.write(state + _AT.descriptor, descriptor)
    rawmem.write(state + _AT.n_tasks, n_tasks)
    rawmem.write(state + _AT.most_workers, wanted)
    rawmem.write(state + _AT.next_task, 0)
    rawmem.write(state + _AT.region, region)
    asleep = rawmem.read(state + _AT.n_asleep)
    if asleep > 0:
        calls = rawmem.read(state + _AT.calls) + 1
        if is_large or calls >= _EAGER:
            for _ in range(min(asleep, wanted)):
                rawmem.call(rawmem.read(state + _AT.sem_post), (state + _AT.semaphore,))
            calls = 0
        rawmem.write(state + _AT.calls, calls)


@jit
def _close(state):
    """Close the region: nobody joins any more, and whoever has is waited for."""
    rawmem.write(state + _AT.region, 0)
    rounds = 0
    while rawmem.read(state + _AT.n_inside) > 0:  # read after ``region`` is 0: whoever joins now leaves at once
        rawmem.pause()
        rounds += 1
        if rounds % 1024 == 0:
            rawmem.call(rawmem.read(state + _AT.sched_yield), (0,))
    rawmem.write(state + _AT.taken, 0)


@jit
def run(function, descriptor, n_tasks, threads, is_large, scratch):
    """f(descriptor, number, scratch) for number = 0 ... n_tasks - 1, by the caller and ``threads - 1`` workers.

    Fewer where the pool has fewer, and none while another caller has the pool.
    scratch : address of the caller's scratch memory.  is_large : whether workers that sleep are to be woken.
    """
    state = _address()
    wanted = min(threads, n_tasks, MAX_THREADS) - 1
    if wanted < 1 or rawmem.swap(state + _AT.taken, 1) != 0:
        for number in range(n_tasks):
            rawmem.call(function, (descriptor, number, scratch))
        return
    if rawmem.read(state + _AT.workers) < wanted:
        rawmem.ask(rawmem.read(state + _AT.start), wanted)
    _open(state, function, descriptor, n_tasks, wanted, is_large)
    _take_tasks(state, scratch)
    _close(state)


@jit
def begin_beside(function, descriptor):
    """Have one worker do f(descriptor, 0, scratch) while the caller goes on; 1, or 0 if no worker is free.

    It may begin late or never, and must be told to come to an end before ``end_beside``; until then the pool
    is taken.  No worker is started for it: see ``prepare``.
    """
    state = _address()
    if rawmem.read(state + _AT.alive) < 1 or rawmem.swap(state + _AT.taken, 1) != 0:
        return 0
    _open(state, function, descriptor, 1, 1, 1)
    return 1


@jit
def end_beside():
    """Wait for the worker of ``begin_beside`` if it has begun, and let others have the pool."""
    state = _address()
    rawmem.add(state + _AT.next_task, 1)  # whoever comes now finds no task
    _close(state)


@jit
def _worker(scratch):
    """A worker's life: wait for a region, join it, wait again, sleep, until told to quit."""
    state = _address()
    last = 0
    idle = 0
    while rawmem.read(state + _AT.quit) == 0:
        region = rawmem.read(state + _AT.region)
        if region != 0 and region != last:
            last = region
            idle = 0
            before = rawmem.add(state + _AT.n_inside, 1)
            if before < rawmem.read(state + _AT.most_workers) and rawmem.read(state + _AT.region) == region:
                done = _take_tasks(state, scratch)
                rawmem.add(state + _AT.by_workers, done)
            rawmem.add(state + _AT.n_inside, -1)
        elif idle < _SPINS:
            idle += 1
            rawmem.pause()
        else:
            idle = 0
            rawmem.add(state + _AT.n_asleep, 1)
            rawmem.call(rawmem.read(state + _AT.sem_wait), (state + _AT.semaphore,))
            rawmem.add(state + _AT.n_asleep, -1)


class _Pool:
    """What of the pool needs Python: starting and ending threads, and a fresh start after a fork."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.libc = ctypes.CDLL(None)
        self.semaphore = ctypes.c_void_p(_state.base + _AT.semaphore)
        self.has_semaphores = all(hasattr(self.libc, name) for name in ("sem_init", "sem_post", "sem_wait"))
        self.start_callback = rawmem.callback(self.start)
        self.reset()

    def reset(self) -> None:
        """No threads, nothing taken."""
        for offset in (
            _AT.taken, _AT.workers, _AT.quit, _AT.calls, _AT.region, _AT.alive, _AT.next_task, _AT.n_inside,
            _AT.n_asleep,
        ):  # fmt: skip
            _word(offset).value = 0
        self.threads = []
        self.numbers = itertools.count()
        _word(_AT.start).value = rawmem.address_of_c(self.start_callback)
        _word(_AT.sched_yield).value = rawmem.address_of_c(self.libc.sched_yield)
        if self.has_semaphores:
            _word(_AT.sem_post).value = rawmem.address_of_c(self.libc.sem_post)
            _word(_AT.sem_wait).value = rawmem.address_of_c(self.libc.sem_wait)
            if self.libc.sem_init(self.semaphore, 0, 0) != 0:
                self.has_semaphores = False

    def start(self, wanted: int) -> None:
        """Start workers until there are ``wanted``, if the system lets us.

        An interrupt may come anywhere, and several threads at once: each worker has its own number, and so its
        own scratch memory, before it is started.
        """
        if not self.has_semaphores:
            _word(_AT.workers).value = MAX_THREADS  # there are none to wait for
            return
        if not _worker.signatures:
            _worker.compile((types.intp,))
        while _word(_AT.workers).value < min(wanted, MAX_THREADS):
            number = next(self.numbers)
            if number >= MAX_THREADS:
                _word(_AT.workers).value = MAX_THREADS
                break
            try:
                scratch = workspace.allocate_for_worker(number)
                thread = threading.Thread(target=_worker, args=(scratch,), name="numbasgd", daemon=True)
                thread.start()
            except (MemoryError, RuntimeError):  # no more of either, or the interpreter is shutting down
                _word(_AT.workers).value = MAX_THREADS
                break
            self.threads.append(thread)
            _word(_AT.workers).value = _word(_AT.alive).value = len(self.threads)

    def stop(self) -> None:
        """Tell the workers to quit, and wait for them a moment."""
        if not self.threads:
            return
        _word(_AT.quit).value = 1
        for _ in self.threads:
            self.libc.sem_post(self.semaphore)
        for thread in self.threads:
            thread.join(timeout=1.0)


_pool = _Pool()
atexit.register(_pool.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.reset)


def prepare(wanted: int) -> None:
    """Start so many workers from Python, where an interrupt is told: compiled code would swallow it."""
    if _word(_AT.workers).value < wanted:
        _pool.start(wanted)


def tasks_by_workers() -> int:
    """How many tasks workers, and not callers, did since the process began."""
    return _word(_AT.by_workers).value


@functools.cache
def default() -> int:
    """The most threads that ``threads=None`` uses: ``NUMBASGD_NUM_THREADS``, else the cores to be had."""
    chosen = os.environ.get("NUMBASGD_NUM_THREADS", "")
    if chosen.isdecimal() and int(chosen) > 0:
        return min(int(chosen), MAX_THREADS)
    return min(n_cores(), MAX_THREADS)
