"""How parallel work runs: a small pool of our own threads, inside compiled code.

A piece of work is a compiled function ``f(arguments, task, work) -> int`` and a number of tasks.  The
caller and the workers take tasks one by one until none is left; what a task computes must not depend on
who takes it, so results are the same for any number of threads.  ``work`` is the thread's own scratch memory.
``begin_beside`` is for work that one worker does while the caller does something else.

Why our own.  Numba's workqueue layer aborts when two Python threads run parallel code at once, its OpenMP
layer breaks after a fork, and a queue between Python threads costs more than a middle-sized product.  Here

- workers are Python threads that stay in compiled code and hold no lock of the interpreter.  They wait for
  work in a loop for a moment, since the next call often comes at once, and then sleep on a semaphore;
- whoever finds the pool taken computes alone: two Python threads at once are two single-threaded calls;
- a late worker is never waited for: the caller takes the tasks that are left;
- a forked child has none of the threads: it starts with a fresh pool (``os.register_at_fork``).

All state is one array of 64-bit words that is never freed.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import itertools
import os
import sys
import threading
from typing import Any

import numpy as np
from numba import types

from numbasgd import rawmem
from numbasgd.compile.options import jit
from numbasgd.machine.cpu import n_cores

# Words of the state, as byte offsets; what different threads write lies on different cache lines.
_TAKEN = 0  # 1 while a caller has the pool
_WORKERS = 8  # threads that were started, or as many as anybody asks for where none can be
_START, _POST, _WAIT, _YIELD = 16, 24, 32, 40  # addresses: start workers, sem_post, sem_wait, sched_yield
_QUIT = 48
_CALLS = 56  # calls since workers were last woken
_JOB = 64  # number of the job that is open, else 0
_LAST = 72  # number of the last job
_FUNCTION, _ARGUMENTS, _TASKS, _MOST = 80, 88, 96, 104  # the job; most workers that may join
_ALIVE = 112  # threads that run
_NEXT = 128  # next task
_ACTIVE = 192  # workers inside the job
_SLEEPERS = 256
_JOINED = 320  # tasks that workers did, over all jobs
_SEMAPHORE = 384
_MALLOC, _ADVISE, _WORK_BYTES = 448, 456, 464  # addresses of malloc and madvise; bytes of a workspace
_SLOTS = 512  # slot s: [taken, address] at _SLOTS + 16 * s
N_SLOTS = 64
PAGE, HUGE_PAGES = 4096, 14  # bytes; MADV_HUGEPAGE
MAX_THREADS = 64

_SPINS = 20_000  # rounds of waiting before a worker sleeps: a fraction of a millisecond
_EAGER = 8  # calls after which sleeping workers are woken even for small work

_state = np.zeros((_SLOTS + 16 * (N_SLOTS + MAX_THREADS)) // 8 + 8, np.int64)
_base = -(-_state.ctypes.data // 64) * 64
_SYMBOL = "numbasgd_threads"
rawmem.define(_SYMBOL, _base)
_address = rawmem.make_address_of(_SYMBOL)
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_state))  # compiled threads may outlive the interpreter


def _word(offset: int) -> ctypes.c_int64:
    return ctypes.c_int64.from_address(_base + offset)


@jit
def _new_workspace(state, n_bytes):
    """The address of new memory: whole pages, huge ones if the system likes; 0 if there is none."""
    found = rawmem.call(rawmem.read(state + _MALLOC), (n_bytes + PAGE,))
    work = (found + PAGE - 1) // PAGE * PAGE
    if work != 0 and rawmem.read(state + _ADVISE) != 0:
        rawmem.call(rawmem.read(state + _ADVISE), (work, n_bytes, HUGE_PAGES))
    return work


@jit
def try_workspace():
    """Take a workspace that nobody else uses, and return the address of its slot; 0 if there is none left."""
    state = _address()
    for s in range(N_SLOTS):
        slot = state + _SLOTS + 16 * s
        if rawmem.read(slot) == 0 and rawmem.swap(slot, 1) == 0:
            if rawmem.read(slot + 8) == 0:
                rawmem.write(slot + 8, _new_workspace(state, rawmem.read(state + _WORK_BYTES)))
            if rawmem.read(slot + 8) != 0:
                return slot
            rawmem.write(slot, 0)
    return 0


@jit
def take_workspace():
    """Wait for a workspace, and return the address of its slot.

    Whoever has one may need the interpreter, so who waits must not hold its lock.  Where there is no memory for
    one more, those that there are must do; ``have_workspace`` made the first.
    """
    slot = try_workspace()
    while slot == 0:
        rawmem.call(rawmem.read(_address() + _YIELD), (0,))
        slot = try_workspace()
    return slot


@jit
def workspace_of(slot):
    """The address of the workspace of a slot."""
    return rawmem.read(slot + 8)


@jit
def give_workspace(slot):
    """Hand a workspace back."""
    rawmem.write(slot, 0)


@jit
def _take_tasks(state, work):
    """Do tasks of the open job until none is left; returns how many."""
    function = rawmem.read(state + _FUNCTION)
    arguments = rawmem.read(state + _ARGUMENTS)
    tasks = rawmem.read(state + _TASKS)
    done = 0
    while True:
        task = rawmem.add(state + _NEXT, 1)
        if task >= tasks:
            return done
        rawmem.call(function, (arguments, task, work))
        done += 1


@jit
def _open(state, function, arguments, tasks, wanted, is_large):
    """Offer a job to as many workers, and wake those that sleep if it is worth it."""
    job = rawmem.read(state + _LAST) + 1
    rawmem.write(state + _LAST, job)
    rawmem.write(state + _FUNCTION, function)
    rawmem.write(state + _ARGUMENTS, arguments)
    rawmem.write(state + _TASKS, tasks)
    rawmem.write(state + _MOST, wanted)
    rawmem.write(state + _NEXT, 0)
    rawmem.write(state + _JOB, job)
    asleep = rawmem.read(state + _SLEEPERS)
    if asleep > 0:
        calls = rawmem.read(state + _CALLS) + 1
        if is_large or calls >= _EAGER:
            for _ in range(min(asleep, wanted)):
                rawmem.call(rawmem.read(state + _POST), (state + _SEMAPHORE,))
            calls = 0
        rawmem.write(state + _CALLS, calls)


@jit
def _close(state):
    """End the job: nobody joins any more, and whoever has is waited for."""
    rawmem.write(state + _JOB, 0)
    rounds = 0
    while rawmem.read(state + _ACTIVE) > 0:  # seen after _JOB is 0: whoever joins now leaves at once
        rawmem.pause()
        rounds += 1
        if rounds % 1024 == 0:
            rawmem.call(rawmem.read(state + _YIELD), (0,))
    rawmem.write(state + _TAKEN, 0)


@jit
def run(function, arguments, tasks, threads, is_large, work):
    """f(arguments, task, work) for every task, by the caller and at most ``threads - 1`` workers.

    is_large : whether the work is worth waking a worker that sleeps.
    """
    state = _address()
    wanted = min(threads, tasks, MAX_THREADS) - 1
    if wanted < 1 or rawmem.swap(state + _TAKEN, 1) != 0:
        for task in range(tasks):
            rawmem.call(function, (arguments, task, work))
        return
    if rawmem.read(state + _WORKERS) < wanted:
        rawmem.ask(rawmem.read(state + _START), wanted)
    _open(state, function, arguments, tasks, wanted, is_large)
    _take_tasks(state, work)
    _close(state)


@jit
def begin_beside(function, arguments):
    """Have one worker do f(arguments, 0, work) while the caller goes on; 0 if there is none to be had, else 1.

    It may begin late or never, and must be told to come to an end before ``end_beside``; until then the pool
    is taken.  No worker is started for it: see ``prepare``.
    """
    state = _address()
    if rawmem.read(state + _ALIVE) < 1 or rawmem.swap(state + _TAKEN, 1) != 0:
        return 0
    _open(state, function, arguments, 1, 1, 1)
    return 1


@jit
def end_beside():
    """Wait for the worker of ``begin_beside`` if it has begun, and let others have the pool."""
    state = _address()
    rawmem.add(state + _NEXT, 1)  # whoever comes now finds no task
    _close(state)


@jit
def _worker(work):
    """A worker's life: wait for a job, join it, wait again, sleep, until told to quit."""
    state = _address()
    last = 0
    idle = 0
    while rawmem.read(state + _QUIT) == 0:
        job = rawmem.read(state + _JOB)
        if job != 0 and job != last:
            last = job
            idle = 0
            before = rawmem.add(state + _ACTIVE, 1)
            if before < rawmem.read(state + _MOST) and rawmem.read(state + _JOB) == job:
                done = _take_tasks(state, work)
                rawmem.add(state + _JOINED, done)
            rawmem.add(state + _ACTIVE, -1)
        elif idle < _SPINS:
            idle += 1
            rawmem.pause()
        else:
            idle = 0
            rawmem.add(state + _SLEEPERS, 1)
            rawmem.call(rawmem.read(state + _WAIT), (state + _SEMAPHORE,))
            rawmem.add(state + _SLEEPERS, -1)


class _Pool:
    """What of the pool needs Python: starting threads, making workspaces, noticing a fork."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        libc = ctypes.CDLL(None)
        libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        self.libc = libc
        self.has_semaphores = all(hasattr(libc, name) for name in ("sem_init", "sem_post", "sem_wait"))
        self.start_callback = rawmem.callback(self.start)
        self.reset()

    def reset(self) -> None:
        """No threads, nothing taken; workspaces that were made stay."""
        for slot in range(N_SLOTS):
            _word(_SLOTS + 16 * slot).value = 0
        for offset in (_TAKEN, _WORKERS, _QUIT, _CALLS, _JOB, _ALIVE, _NEXT, _ACTIVE, _SLEEPERS):
            _word(offset).value = 0
        self.threads = []
        self.numbers = itertools.count()
        _word(_START).value = _pointer(self.start_callback)
        _word(_MALLOC).value = _pointer(self.libc.malloc)
        _word(_ADVISE).value = _pointer(self.libc.madvise) if sys.platform == "linux" else 0
        _word(_YIELD).value = _pointer(self.libc.sched_yield)
        if self.has_semaphores:
            _word(_POST).value = _pointer(self.libc.sem_post)
            _word(_WAIT).value = _pointer(self.libc.sem_wait)
            if self.libc.sem_init(ctypes.c_void_p(_base + _SEMAPHORE), 0, 0) != 0:
                self.has_semaphores = False

    def workspace(self, number: int) -> int:
        """The workspace of a slot, which is made if it never was: ``_new_workspace``, from Python."""
        place = _word(_SLOTS + 16 * number + 8)
        if place.value == 0:
            n_bytes = _word(_WORK_BYTES).value
            found = self.libc.malloc(n_bytes + PAGE)
            if not found:
                raise MemoryError(
                    f"no memory for a workspace of {n_bytes} bytes; expected that much for each thread that "
                    "multiplies. Free some memory, or raise the limit of this process."
                )
            place.value = -(-found // PAGE) * PAGE
            if _word(_ADVISE).value:
                self.libc.madvise(ctypes.c_void_p(place.value), ctypes.c_size_t(n_bytes), HUGE_PAGES)
        return place.value

    def start(self, wanted: int) -> None:
        """Start workers until there are ``wanted``, if the system lets us.

        An interrupt may come anywhere, and several threads at once: each worker has its own number, and so its
        own workspace, before it is started.
        """
        if not self.has_semaphores:
            _word(_WORKERS).value = MAX_THREADS  # there are none to wait for
            return
        if not _worker.signatures:
            _worker.compile((types.intp,))
        while _word(_WORKERS).value < min(wanted, MAX_THREADS):
            number = next(self.numbers)
            if number >= MAX_THREADS:
                _word(_WORKERS).value = MAX_THREADS
                break
            try:
                work = self.workspace(N_SLOTS + number)
                thread = threading.Thread(target=_worker, args=(work,), name="numbasgd", daemon=True)
                thread.start()
            except (MemoryError, RuntimeError):  # no more of either, or the interpreter is shutting down
                _word(_WORKERS).value = MAX_THREADS
                break
            self.threads.append(thread)
            _word(_WORKERS).value = _word(_ALIVE).value = len(self.threads)

    def stop(self) -> None:
        """Tell the workers to quit, and wait for them a moment."""
        if not self.threads:
            return
        _word(_QUIT).value = 1
        for _ in self.threads:
            self.libc.sem_post(ctypes.c_void_p(_base + _SEMAPHORE))
        for thread in self.threads:
            thread.join(timeout=1.0)


def _pointer(function: Any) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address


_pool = _Pool()
atexit.register(_pool.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.reset)


def need_workspace(n_bytes: int) -> None:
    """Have every workspace made from now on hold at least ``n_bytes``; before the first is made."""
    _word(_WORK_BYTES).value = max(_word(_WORK_BYTES).value, n_bytes)


def have_workspace() -> None:
    """Make the first workspace if there is none; a MemoryError says that there is no room for it."""
    _pool.workspace(0)


def prepare(wanted: int) -> None:
    """Start so many workers from Python, where an interrupt is told: compiled code would swallow it."""
    if _word(_WORKERS).value < wanted:
        _pool.start(wanted)


def tasks_by_workers() -> int:
    """How many tasks workers, and not callers, did since the process began."""
    return _word(_JOINED).value


@functools.cache
def default() -> int:
    """The most threads that ``threads=None`` uses: ``NUMBASGD_NUM_THREADS``, else the cores to be had."""
    chosen = os.environ.get("NUMBASGD_NUM_THREADS", "")
    if chosen.isdecimal() and int(chosen) > 0:
        return min(int(chosen), MAX_THREADS)
    return min(n_cores(), MAX_THREADS)
