"""What the kernels must know of the CPU: its vector registers and the sizes of its caches."""

from __future__ import annotations

import functools
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import llvmlite.binding
from numba.core import config

# CPUs as LLVM names them that have AVX-512, and those that have AVX2 and FMA, for NUMBA_CPU_NAME.
_AVX512 = (
    "avx512 knl knm cannonlake cascadelake cooperlake icelake tigerlake rocketlake sapphirerapids "
    "emeraldrapids graniterapids diamondrapids znver4 znver5 znver6 x86-64-v4"
).split()
_AVX2 = (
    "haswell core-avx2 broadwell skylake znver1 znver2 znver3 alderlake raptorlake meteorlake arrowlake "
    "lunarlake pantherlake gracemont sierraforest grandridge bdver4 x86-64-v3"
).split()


@dataclass(frozen=True)
class Machine:
    """A CPU core as far as tiles depend on it.

    vector : bytes in a vector register.  registers : how many there are.
    has_fma : whether it multiplies and adds in one instruction.
    l1, l2 : bytes of a core's data caches.  l3 : bytes of the cache that cores share.
    """

    vector: int
    registers: int
    has_fma: bool
    l1: int
    l2: int
    l3: int


def vector_unit(architecture: str, features: frozenset[str]) -> tuple[int, int, bool]:
    """Bytes a register, number of registers and whether there is a fused multiply-add."""
    if architecture in ("x86_64", "amd64", "i686", "i386"):
        if "avx512f" in features:
            return 64, 32, True
        if "avx" in features:
            return 32, 16, "fma" in features
        return 16, 16, False
    if architecture in ("aarch64", "arm64"):
        return 16, 32, True
    return 16, 16, False


def _features(architecture: str) -> frozenset[str]:
    """The features that Numba compiles for: the host's, or those that the environment asks for."""
    if config.CPU_FEATURES is not None:
        return frozenset(f[1:] for f in config.CPU_FEATURES.split(",") if f.startswith("+"))
    host = frozenset(name for name, has in llvmlite.binding.get_host_cpu_features().items() if has)
    name = (config.CPU_NAME or "").lower()
    if not name or name in ("host", llvmlite.binding.get_host_cpu_name()):
        return host
    if any(part in name for part in _AVX512):
        return host
    return host & ({"avx", "avx2", "fma"} if name in _AVX2 else set())


def _cache_sizes(folder: Path) -> dict[int, int]:
    """Bytes of the data cache of each level, as Linux tells; empty where it does not."""
    sizes: dict[int, int] = {}
    for index in sorted(folder.glob("index*")):
        try:
            kind, level, size = ((index / name).read_text().strip() for name in ("type", "level", "size"))
            if kind in ("Data", "Unified"):
                unit = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(size[-1], 1)
                sizes[int(level)] = int(size.rstrip("KMG")) * unit
        except (OSError, ValueError, IndexError):
            continue
    return sizes


def with_caches(unit: tuple[int, int, bool], sizes: dict[int, int]) -> Machine:
    """A ``Machine`` with sizes that make sense, whatever was found."""
    l1 = min(max(sizes.get(1, 32 << 10), 16 << 10), 256 << 10)
    l2 = min(max(sizes.get(2, 512 << 10), 4 * l1), 16 << 20)
    l3 = min(max(sizes.get(3, 4 * l2), l2), 1 << 30)
    return Machine(*unit, l1, l2, l3)


@functools.cache
def host() -> Machine:
    """The machine this process compiles for."""
    architecture = platform.machine().lower()
    sizes = _cache_sizes(Path("/sys/devices/system/cpu/cpu0/cache"))
    return with_caches(vector_unit(architecture, _features(architecture)), sizes)


def n_cores() -> int:
    """CPU cores that this process may use: its affinity, less hyperthreads, within its quota."""
    try:
        allowed = os.sched_getaffinity(0)
    except AttributeError:
        return os.cpu_count() or 1
    cores = set()
    for cpu in allowed:
        try:
            siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
        except OSError:
            siblings = str(cpu)
        cores.add(siblings.strip())
    quota = float("inf")
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        quota = float(limit) / float(period)
    except (OSError, ValueError, ZeroDivisionError):
        pass
    return max(1, int(min(len(cores), quota)))
