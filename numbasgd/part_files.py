"""The file, or folder, beside its place that is written first; left behind when its process is killed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import secrets
import shutil
from pathlib import Path

_LONGEST = 160  # bytes of a file's name that its part begins with; a file system takes 255 in all


def part_of(path: Path) -> Path:
    """A file beside ``path`` that nobody else writes, not even another thread; its name tells its process."""
    return path.with_name(f"{_part_prefix(path)}{_process_name(os.getpid())}-{secrets.token_hex(4)}.part")


def remove_dead_parts(path: Path) -> None:
    """Remove the parts of ``path`` that processes left which were killed while they wrote it.

    A part stays if its process may be alive: one on another machine, in another container or before the last
    start of this machine cannot be looked for.  What cannot be removed stays, too.
    """
    here = _namespace(os.getpid())
    if here is None:
        return
    pattern = re.compile(re.escape(_part_prefix(path)) + here + r"-(\d+)-(\d+)-[0-9a-f]{8}\.part")
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            found = pattern.fullmatch(entry.name)
            if found and _is_dead(int(found[1]), int(found[2])):
                with contextlib.suppress(OSError):
                    shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)


def _part_prefix(path: Path) -> str:
    name = path.name
    if len(os.fsencode(name)) > _LONGEST:
        name = f"{name[: _LONGEST // 8]}~{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}"
    return f".{name}."


@functools.lru_cache(1)
def _process_name(pid: int) -> str:
    """What tells this process from all others: where numbers of processes mean the same, its number, its start.

    pid : of this process; a forked child has another one.
    """
    namespace, start = _namespace(pid), _start_of(pid)
    return f"unknown-{pid}" if namespace is None or start is None else f"{namespace}-{pid}-{start}"


@functools.lru_cache(1)
def _namespace(pid: int) -> str | None:
    """Where, and since when, numbers and start times of processes mean the same as in this one.

    In this container, that is, and since this machine started.  None where it cannot be told, as on other
    systems than Linux.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            parts = [file.read(), os.uname().nodename]
        kinds = {"pid", "time"} & set(os.listdir("/proc/self/ns"))  # older kernels have no time namespaces
        parts += [os.readlink(f"/proc/self/ns/{kind}") for kind in sorted(kinds)]
        is_ours = os.readlink("/proc/self") == str(pid)  # and not that of another container
    except (OSError, AttributeError):
        return None
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12] if is_ours else None


def _start_of(pid: int) -> int | None:
    """When a process started, in clock ticks since the machine did; None if that cannot be read."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])  # the name in brackets may hold anything
    except (OSError, ValueError, IndexError):
        return None


def _is_dead(pid: int, start: int) -> bool:
    """Whether the process that started then is gone; one that cannot be looked at is taken to live."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass  # of another user, whose /proc may be hidden
    found = _start_of(pid)
    return found is not None and found != start
