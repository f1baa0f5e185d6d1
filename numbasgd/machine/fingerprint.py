"""What this machine is, as far as it decides how fast a kernel runs; the block that result files carry.

Nothing here names a person or a place: no host name, no user, no path.  What cannot be read is "unknown",
never a guess.
"""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from numbasgd.machine import blas, linux
from numbasgd.machine.blas import UNKNOWN

SCHEMA = 1
_PREFIXES = ("OPENBLAS_", "OMP_", "GOMP_", "MKL_", "BLIS_", "NUMBA_")
_CPU = Path("/sys/devices/system/cpu")
_CGROUP = Path("/sys/fs/cgroup")
# From wide to narrow: LLVM's feature, the name shown.
_SIMD = (
    ("avx512f", "avx512"),
    ("avx2", "avx2"),
    ("avx", "avx"),
    ("sse2", "sse"),
    ("sve", "sve"),
    ("neon", "neon"),
)
_VECTOR = ("sse", "ssse", "avx", "fma", "f16c", "amx", "neon", "sve", "sme", "fullfp16", "bf16", "dotprod")
# Variables that make a library or Numba run other code than it would choose for this CPU.
_BLAS_KERNEL = ("OPENBLAS_CORETYPE", "MKL_ENABLE_INSTRUCTIONS", "MKL_DEBUG_CPU_TYPE", "BLIS_ARCH_TYPE")
_NUMBA_CODE = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_OPT", "NUMBA_LOOP_VECTORIZE", "NUMBA_BOUNDSCHECK")


def fingerprint() -> dict[str, Any]:
    """CPU, caches, memory, BLAS, versions, settings and GPU of this machine, in plain JSON values.

    Sizes are in bytes.  ``cores`` is how many cpus this process may use, of ``cpus`` that there are on
    ``physical_cores``; ``quota`` the share of them that its control group allows, in cores, or None without
    a limit.  ``register_bytes`` is the vector length that our kernels chose.  ``load`` and ``steal`` tell
    how much else went on.
    """
    return {
        "schema": SCHEMA,
        "system": platform.system(),
        "cpu": _cpu(),
        "ram": _ram(),
        "huge_pages": linux.huge_pages(),
        "blas": blas.describe(),
        "versions": _versions(),
        "env": environment(),
        "gpu": _gpu(),
    }


def environment() -> dict[str, str]:
    """The variables that steer BLAS, OpenMP and Numba; a value that could hold a path is reduced to "set"."""
    chosen = {name: value for name, value in os.environ.items() if name.startswith(_PREFIXES)}
    return {name: "set" if re.search(r"[/\\~@]", value) else value for name, value in sorted(chosen.items())}


def warnings_for(found: dict[str, Any]) -> list[str]:
    """Plain sentences on what makes figures from this machine unfair or unusual."""
    env, kernel = found["env"], found["blas"]["kernel"]
    said = [
        f"The BLAS runs its {kernel} kernel because {name} is set; unset it for a fair comparison."
        for name in _BLAS_KERNEL
        if env.get(name)
    ]
    if env.get("OPENBLAS_L2_SIZE"):
        said.append(
            "The BLAS cuts its blocks for another second-level cache because OPENBLAS_L2_SIZE is set; "
            "unset it for a fair comparison."
        )
    if env.get("NUMBA_DISABLE_JIT", "0") != "0":
        said.append("The compiled kernels refuse to run because NUMBA_DISABLE_JIT is set; unset it.")
    said += [
        f"Numba compiles other code than it would for this CPU because {name} is set; unset it to compare."
        for name in _NUMBA_CODE
        if env.get(name)
    ]
    if "threadpoolctl" not in found["versions"]:
        said.append("threadpoolctl is not installed: pip install threadpoolctl to control the BLAS's threads.")
    return said


def lines(found: dict[str, Any]) -> list[str]:
    """The fingerprint for a reader, a line for each subject."""
    cpu, library = found["cpu"], found["blas"]
    caches = "  ".join(f"{name} {size(cpu['caches'][name])}" for name in ("L1d", "L2", "L3"))
    quota = "" if cpu["quota"] is None else f", limited to the time of {cpu['quota']:g}"
    gpu = found["gpu"]
    told = [
        f"machine:  {cpu['model']} ({cpu['llvm_name']}, {cpu['simd']}), {cpu['cores']} usable cores{quota}",
        f"memory:   {caches}  RAM {size(found['ram'])}",
        f"state:    {linux.state(found)}",
        f"BLAS:     {library['name']} {library['version']}, running kernel {library['kernel']}, "
        f"threads {library['threads']}",
        "versions: " + ", ".join(f"{name} {number}" for name, number in found["versions"].items()),
    ]
    if found["env"]:
        told.append("settings: " + ", ".join(f"{name}={value}" for name, value in found["env"].items()))
    if isinstance(gpu, dict):
        told.append("GPU:      " + ", ".join(_gpu_parts(gpu)))
    return told


def _gpu_parts(gpu: dict[str, Any]) -> list[str]:
    named = {name: value for name, value in gpu.items() if value not in (None, False)}
    parts = [str(named.pop("name", UNKNOWN))]
    if "memory_bytes" in named:
        parts.append(size(named.pop("memory_bytes")))
    return parts + [f"{name.replace('_', ' ')} {value}" for name, value in named.items()]


def size(n_bytes: int | str) -> str:
    """Bytes as a person writes them: 48 KB, 1 MB, 23.5 GB (of 1024); "unknown" stays."""
    if isinstance(n_bytes, str):
        return n_bytes
    value, unit = float(n_bytes), "B"
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1024 or unit == "GB":
            break
        value /= 1024
    return f"{value:.4g} {unit}"


def _cpu() -> dict[str, Any]:
    import llvmlite.binding as llvm

    from numbasgd.simd.vector import register_bytes

    features = {name for name, has in llvm.get_host_cpu_features().items() if has}
    if platform.machine().lower() in ("aarch64", "arm64"):
        features.add("neon")
    # What Numba was told to use or to leave stands above what the CPU has.
    for change in os.environ.get("NUMBA_CPU_FEATURES", "").split(","):
        (features.discard if change.startswith("-") else features.add)(change[1:])
    return {
        "model": _cpu_model(),
        "machine": platform.machine() or UNKNOWN,
        "llvm_name": llvm.get_host_cpu_name() or UNKNOWN,
        "simd": next((shown for name, shown in _SIMD if name in features), UNKNOWN),
        "simd_features": sorted(name for name in features if name.startswith(_VECTOR)),
        "register_bytes": register_bytes(),
        "cores": usable_cores(),
        "cpus": os.cpu_count() or UNKNOWN,
        "physical_cores": linux.physical_cores(),
        "quota": _quota(),
        "caches": _caches(),
        "shared": linux.shared_caches(),
        **linux.clocks(),
        "virtual": linux.is_virtual(),
        "load": linux.load(),
        "steal": linux.steal(),
    }


def _cpu_model() -> str:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip() or UNKNOWN
    return platform.processor() or UNKNOWN


def usable_cores() -> int:
    """How many cores this process may run on, which may be fewer than the machine has."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this platform
        return os.cpu_count() or 1


def _quota() -> float | None:
    """The CPU time that the control group grants, in cores, or None when it sets no limit."""
    own = _read(Path("/proc/self/cgroup")).strip().rpartition("::")[2].lstrip("/")
    for folder in dict.fromkeys((_CGROUP / own, _CGROUP)):
        words = _read(folder / "cpu.max").split()
        if len(words) == 2 and words[0] != "max":
            return round(int(words[0]) / int(words[1]), 2)
    limit, period = (_read(_CGROUP / "cpu" / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return round(int(limit) / int(period), 2) if limit and period and int(limit) > 0 else None


def cache_sizes() -> dict[str, int | str]:
    """Bytes of each data cache of a core."""
    return {name: size for name, size in _caches().items() if name.startswith("L")}


def _caches() -> dict[str, int | str]:
    """Data caches as the kernel reports them for the first usable core, and how many cores share the last."""
    caches: dict[str, int | str] = {"L1d": UNKNOWN, "L2": UNKNOWN, "L3": UNKNOWN, "line": UNKNOWN}
    core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    for folder in sorted((_CPU / f"cpu{core}" / "cache").glob("index*")):
        level, kind, extent = (_read(folder / name).strip() for name in ("level", "type", "size"))
        found = re.fullmatch(r"(\d+)([KMG]?)", extent)
        if kind == "Instruction" or not level or not found:
            continue
        n_bytes = int(found[1]) * 1024 ** " KMG".index(found[2] or " ")
        caches["L1d" if level == "1" else f"L{level}"] = n_bytes
        line = _read(folder / "coherency_line_size").strip()
        caches["line"] = int(line) if line else UNKNOWN
        caches["last_shared_by"] = _count(_read(folder / "shared_cpu_list").strip())
    return caches


def _count(cores: str) -> int | str:
    """How many cores a list such as ``0-3,8`` names."""
    try:
        spans = [part.split("-") for part in cores.split(",")]
        return sum(int(span[-1]) - int(span[0]) + 1 for span in spans)
    except ValueError:
        return UNKNOWN


def _ram() -> int | str:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return UNKNOWN


def _versions() -> dict[str, str]:
    from numbasgd import __version__

    found = {"numbasgd": __version__, "python": platform.python_version()}
    for name in ("numpy", "numba", "llvmlite", "threadpoolctl", "scikit-learn", "numba-cuda"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _gpu() -> Any:
    try:
        from numbasgd import device
    except ImportError:
        return None
    return device.describe()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
