"""The one answer about the CPU: what is compiled for, its registers and caches, and how many cores there are.

Kernels, the plan of a product, threads, the trainer, the fingerprint and the probes all read it from here.  A
``Machine`` is plain data, so that a rule can be tested for machines that are not at hand.  Nothing is timed.
"""

from __future__ import annotations

import functools
import platform
from dataclasses import dataclass
from pathlib import Path

from numbasgd.compile.target import Target, target
from numbasgd.machine.cores import n_cores, quota
from numbasgd.machine.families import APPLE, Family, family_of
from numbasgd.machine.files import read_text

__all__ = ["Cache", "Machine", "Target", "describe", "host", "n_cores", "quota", "read_caches", "target"]

_CPU = Path("/sys/devices/system/cpu")
_CPUINFO = Path("/proc/cpuinfo")
_KB, _MB, _GB = 1 << 10, 1 << 20, 1 << 30
# Least and greatest plausible size of a level: virtual machines and emulators report others.
_LIMITS = {1: (8 * _KB, 256 * _KB), 2: (64 * _KB, 64 * _MB), 3: (256 * _KB, 2 * _GB)}


@dataclass(frozen=True)
class Cache:
    """A data cache.

    size : bytes of all of it.  line, ways, sets : bytes of a line; lines that share a set; how many sets.
    shared_by : hardware threads that share it.
    bytes_per_cycle : what one core reads from it in order, in bytes per cycle of the core.
    """

    level: int
    size: int
    line: int
    ways: int
    sets: int
    shared_by: int
    bytes_per_cycle: float


@dataclass(frozen=True)
class Machine:
    """A CPU core as far as kernels and plans depend on it.

    name : the description in words.
    vector : bytes in a vector register.  registers : how many there are.
    has_fma : whether it multiplies and adds in one instruction.
    fma_pipes : multiply-adds of a whole vector that start in a cycle, whether in one instruction or two.
    caches : data caches of level 1 to 3, or 1 and 2, in this order.
    memory_bytes_per_cycle : what one core reads from memory in order, in bytes per cycle of the core.
    """

    name: str
    vector: int
    registers: int
    has_fma: bool
    fma_pipes: int
    caches: tuple[Cache, ...]
    memory_bytes_per_cycle: float

    @property
    def l1(self) -> int:
        """Bytes of the first data cache."""
        return self.caches[0].size

    @property
    def l2(self) -> int:
        """Bytes of the second level."""
        return self.caches[1].size

    @property
    def l3(self) -> int:
        """Bytes of the third level; four times the second where there is none."""
        return self.caches[2].size if len(self.caches) > 2 else 4 * self.l2


@functools.cache
def host() -> Machine:
    """The machine this process compiles for."""
    compiled_for = target()
    return describe(compiled_for, _host_family(compiled_for), read_caches())


def describe(target: Target, family: Family, found: dict[int, Cache]) -> Machine:
    """The ``Machine`` of a family with the caches that the system tells of, where they make sense."""
    pipes = dict(family.other_fma_pipes).get(target.vector, family.fma_pipes)
    if not target.has_fma:
        pipes = max(1, pipes // 2)
    return Machine(
        name=family.name,
        vector=target.vector,
        registers=target.registers,
        has_fma=target.has_fma,
        fma_pipes=pipes,
        caches=_caches(family, found, target.vector),
        memory_bytes_per_cycle=family.read[3],
    )


def _caches(family: Family, found: dict[int, Cache], vector: int) -> tuple[Cache, ...]:
    """Levels 1 to 3 with the family's bandwidth, and its sizes where the system gives none."""
    levels: list[Cache] = []
    speed = float(family.loads * vector)
    # A system that reports a second level and no third has none.
    last = 2 if 2 in found and 3 not in found else 3
    for level, (size, ways) in enumerate(family.caches[:last], start=1):
        line, shared_by = family.line, 1
        least, most = _LIMITS[level]
        if level in found and least <= found[level].size <= most:
            told = found[level]
            size, line, ways = told.size, told.line or line, told.ways or ways
            shared_by = told.shared_by or shared_by
        if levels and size < levels[-1].size:
            size, ways = 4 * levels[-1].size, levels[-1].ways
        speed = min(speed, family.read[level - 1])
        sets = max(1, size // (line * ways))
        levels.append(Cache(level, size, line, ways, sets, shared_by, speed))
    return tuple(levels)


def read_caches(folder: Path | None = None) -> dict[int, Cache]:
    """The data caches of the first core as Linux tells, by level; empty where it does not.

    line, ways, sets and shared_by are 0 where they are not told.  It is always the first core, so that two
    processes of one machine that may run on different cores choose alike.
    """
    cores = sorted((folder or _CPU).glob("cpu[0-9]*"), key=lambda path: int(path.name[3:]))
    for core in cores:
        found = {}
        for index in sorted((core / "cache").glob("index*")):
            cache = _read_cache(index)
            if cache is not None:
                found[cache.level] = cache
        if found:
            return found
    return {}


def _read_cache(folder: Path) -> Cache | None:
    kind, level, size = (read_text(folder / name) for name in ("type", "level", "size"))
    if kind not in ("Data", "Unified") or not level.isdecimal():
        return None
    unit = {"K": _KB, "M": _MB, "G": _GB}.get(size[-1:], 1)
    digits = size.rstrip("KMG")
    if not digits.isdecimal() or int(digits) == 0:
        return None
    line, ways = _number(folder / "coherency_line_size"), _number(folder / "ways_of_associativity")
    line = line if line in (16, 32, 64, 128, 256) else 0
    ways = ways if 1 <= ways <= 64 else 0
    n_bytes = int(digits) * unit
    sets = n_bytes // (line * ways) if line and ways else 0
    return Cache(int(level), n_bytes, line, ways, sets, n_listed(read_text(folder / "shared_cpu_list")), 0.0)


def n_listed(cpus: str) -> int:
    """How many cpus a list such as ``0-3,8`` names; 0 if it is none."""
    try:
        spans = [part.split("-") for part in cpus.split(",")]
        return sum(int(span[-1]) - int(span[0]) + 1 for span in spans)
    except ValueError:
        return 0


def _host_family(compiled_for: Target) -> Family:
    if platform.system() == "Darwin" and compiled_for.is_arm:
        return APPLE
    return family_of(cpuinfo(_CPUINFO), compiled_for.is_x86, compiled_for.is_arm, compiled_for.vector)


def cpuinfo(path: Path) -> dict[str, str]:
    """The first block of ``/proc/cpuinfo``; empty where there is none."""
    found: dict[str, str] = {}
    for line in read_text(path).partition("\n\n")[0].splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


def _number(path: Path) -> int:
    text = read_text(path)
    return int(text) if text.isdecimal() else 0
