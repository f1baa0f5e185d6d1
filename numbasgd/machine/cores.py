"""How many cores this process may keep busy: its affinity, less hyperthreads, within its groups' quota."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from numbasgd.machine.files import read_text

_CPU = Path("/sys/devices/system/cpu")
_CGROUP = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def allowed_cpus() -> list[int]:
    """The hardware threads that this process may run on."""
    try:
        return sorted(os.sched_getaffinity(0))
    except AttributeError:  # not on this platform
        return list(range(os.cpu_count() or 1))


def n_cores() -> int:
    """CPU cores that this process may keep busy, 1 at least.

    Hardware threads of one core count once.  A quota counts as whole cores, rounded down: of 1.5, a second
    thread would be halted half of the time and the first wait for it.
    """
    cores = set()
    for cpu in allowed_cpus():
        siblings = read_text(_CPU / f"cpu{cpu}" / "topology" / "thread_siblings_list")
        cores.add(siblings or str(cpu))
    limit = quota()
    return max(1, len(cores) if limit is None else min(len(cores), int(limit)))


def quota() -> float | None:
    """CPU time that the control groups grant, in cores, or None where none sets a limit.

    Groups are nested and each limit holds for all that is within, so the least one counts.
    """
    limits = [limit for limit in (_limit(folder) for folder in _group_folders()) if limit is not None]
    return min(limits, default=None)


def _group_folders() -> Iterator[Path]:
    """The folders of the groups that this process is in, its own first and the root last, of both versions."""
    yield _CGROUP
    yield _CGROUP / "cpu"
    for line in read_text(_OWN_GROUPS).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if not controllers:  # version 2
            mounts = (_CGROUP, _CGROUP / "unified")
        elif "cpu" in controllers.split(","):
            mounts = (_CGROUP / controllers, _CGROUP / "cpu")
        else:
            continue
        # A group outside of the container is named with "..": only its root can be read.
        group = PurePosixPath(*(part for part in PurePosixPath(name).parts if part not in ("/", "..")))
        for mount in mounts:
            for part in (group, *group.parents):
                yield mount / part


def _limit(folder: Path) -> float | None:
    """The limit that one group sets: version 2 in one file, version 1 in two."""
    words = read_text(folder / "cpu.max").split()
    if len(words) != 2:
        words = [read_text(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
    try:
        limit, period = (int(word) for word in words)
    except ValueError:  # "max", or no such file
        return None
    return limit / period if limit > 0 and period > 0 else None
