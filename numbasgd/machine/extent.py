"""How large a working set must be to exceed the caches, and how large it may be."""

from __future__ import annotations

from pathlib import Path

from numbasgd.machine import cpu
from numbasgd.machine.linux import shared_caches

_MEMORY = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup/memory.max")


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
