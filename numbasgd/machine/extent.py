"""How large a working set must be to exceed the caches, and how large it may be."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from numbasgd.machine import cpu
from numbasgd.machine.linux import shared_caches

# Of 1 GB in all, with the process itself and the orders in which numbers are read.
MOST = 512 << 20
_LEAST = 256 << 10
_SHARE_OF_MEMORY = 8  # at most one part in so many of what is free is used
_MEMORY = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup/memory.max")


class Extents(NamedTuple):
    """Bytes of the largest working set: of one thread, and of all threads together.

    notes : a sentence on each that is smaller than it should be.
    """

    one: int
    all: int
    notes: tuple[str, ...]


def working_sets(largest: int | None = None) -> Extents:
    """The largest working sets: four times the last cache, of one thread, and all last caches, of all threads.

    They are capped at ``MOST`` and at an eighth of the memory that is free.  ``largest`` takes the place of
    both the multiple of the caches and ``MOST``.
    """
    cache, n_last = last_cache()
    cap = free_memory() // _SHARE_OF_MEMORY
    if largest is None:
        cap = min(cap, MOST)
    one = max(_LEAST, min(largest or 4 * cache, cap))
    of_all = max(one, min(largest or 4 * cache * n_last, cap))
    notes = []
    if largest is None and one < 4 * cache:
        notes.append(_capped(one, cache, f"the last cache ({_size(cache)})"))
    if largest is None and n_last > 1 and of_all < 4 * cache * n_last:
        notes.append(
            _capped(of_all, cache * n_last, f"the {n_last} last caches ({_size(cache)} each), on all threads")
        )
    return Extents(one, of_all, tuple(notes))


def _capped(most: int, caches: int, what: str) -> str:
    if most <= caches:
        return (
            f"Working sets end at {_size(most)}, to use no more memory, and that is no more than {what}: "
            "what is called memory may be this cache."
        )
    return (
        f"Working sets end at {_size(most)}, to use no more memory: {most / caches:.1f} times {what}, so that "
        "some reads of memory may hit it."
    )


def _size(n_bytes: int) -> str:
    return f"{n_bytes / (1 << 30):.3g} GB" if n_bytes >= 1 << 30 else f"{n_bytes / (1 << 20):.3g} MB"


def last_cache() -> tuple[int, int]:
    """Bytes of the last cache, and how many of them there are; defaults where the system does not say."""
    groups = [group for group in shared_caches().values() if isinstance(group, list)]
    return cpu.host().caches[-1].size, len(groups[-1]) if groups else 1


def free_memory() -> int:
    """Bytes that are free for use, within the limit of the control group."""
    found = [8 << 30]
    try:
        for line in _MEMORY.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found = [1024 * int(line.split()[1])]
        found.append(int(_CGROUP.read_text()))
    except (OSError, ValueError):
        pass
    return min(found)
