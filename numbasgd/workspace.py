"""Scratch memory of threads: taken and given back by compiled code, made when first needed, never freed.

A slot is the address of a workspace, and a word that says whether somebody has it.  ``N_SLOTS`` slots are for
whoever takes one; behind them each worker of the pool (``threads.py``) has a slot of its own.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import NamedTuple

from numbasgd import rawmem
from numbasgd.compile.options import jit

N_SLOTS = 64
MAX_THREADS = 64
PAGE, HUGE_PAGES = 4096, 14  # bytes; MADV_HUGEPAGE


class _Words(NamedTuple):
    """malloc, madvise, sched_yield : addresses of functions of the C library; 0 without madvise.

    n_bytes : of a workspace.
    slots : two words each, whether it is taken, and the address of its workspace, 0 before that is made.
    """

    malloc: int
    madvise: int
    sched_yield: int
    n_bytes: int
    slots: rawmem.NewLine


_state = rawmem.State("numbasgd_workspace", _Words, slots=2 * (N_SLOTS + MAX_THREADS))
_AT, _address = _state.at, _state.address
_libc = ctypes.CDLL(None)
_libc.malloc.restype, _libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
_state.word(_AT.malloc).value = rawmem.address_of_c(_libc.malloc)
_state.word(_AT.madvise).value = rawmem.address_of_c(_libc.madvise) if sys.platform == "linux" else 0
_state.word(_AT.sched_yield).value = rawmem.address_of_c(_libc.sched_yield)


@jit
def _allocate(state, n_bytes):
    """The address of new memory: whole pages, huge ones if the system likes; 0 if there is none."""
    found = rawmem.call(rawmem.read(state + _AT.malloc), (n_bytes + PAGE,))
    scratch = (found + PAGE - 1) // PAGE * PAGE
    if scratch != 0 and rawmem.read(state + _AT.madvise) != 0:
        rawmem.call(rawmem.read(state + _AT.madvise), (scratch, n_bytes, HUGE_PAGES))
    return scratch


@jit
def try_take():
    """Take a slot that nobody has, and return its address; 0 if there is none left."""
    state = _address()
    for s in range(N_SLOTS):
        slot = state + _AT.slots + 16 * s
        if rawmem.read(slot) == 0 and rawmem.swap(slot, 1) == 0:
            if rawmem.read(slot + 8) == 0:
                rawmem.write(slot + 8, _allocate(state, rawmem.read(state + _AT.n_bytes)))
            if rawmem.read(slot + 8) != 0:
                return slot
            rawmem.write(slot, 0)
    return 0


@jit
def take():
    """Wait for a slot, and return its address.

    Whoever has one may need the interpreter, so who waits must not hold its lock.  Where there is no memory for
    one more, those that there are must do; ``allocate_first`` made the first.
    """
    slot = try_take()
    while slot == 0:
        rawmem.call(rawmem.read(_address() + _AT.sched_yield), (0,))
        slot = try_take()
    return slot


@jit
def scratch_of(slot):
    """The address of the scratch memory of a slot, at a page."""
    return rawmem.read(slot + 8)


@jit
def give_back(slot):
    """Let others have a slot."""
    rawmem.write(slot, 0)


def allocate(number: int) -> int:
    """The address of the scratch memory of slot ``number``, which is made if it never was."""
    place = _state.word(_AT.slots + 16 * number + 8)
    if place.value == 0:
        n_bytes = _state.word(_AT.n_bytes).value
        found = _libc.malloc(n_bytes + PAGE)
        if not found:
            raise MemoryError(
                f"no memory for a workspace of {n_bytes} bytes; expected that much for each thread that "
                "multiplies. Free some memory, or raise the limit of this process."
            )
        place.value = -(-found // PAGE) * PAGE
        if _state.word(_AT.madvise).value:
            _libc.madvise(ctypes.c_void_p(place.value), ctypes.c_size_t(n_bytes), HUGE_PAGES)
    return place.value


def allocate_first() -> None:
    """Make the first workspace if there is none; a MemoryError says that there is no memory for it."""
    allocate(0)


def allocate_for_worker(number: int) -> int:
    """The address of the scratch memory of a worker, which nobody else can take."""
    return allocate(N_SLOTS + number)


def require(n_bytes: int) -> None:
    """Have every workspace made from now on hold at least ``n_bytes``; before the first is made."""
    word = _state.word(_AT.n_bytes)
    word.value = max(word.value, n_bytes)


def _after_fork() -> None:
    """Nobody in the child has a slot; the memory stays."""
    for slot in range(N_SLOTS):
        _state.word(_AT.slots + 16 * slot).value = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
