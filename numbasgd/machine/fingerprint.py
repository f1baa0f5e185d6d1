"""The facts about this machine that decide how fast a kernel runs; the block that result files carry.

Nothing here names a person or a place: no host name, no user, no path.  What cannot be read is "unknown",
never a guess.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from numbasgd.compile.target import host_cpu_name
from numbasgd.machine import blas, cpu, linux
from numbasgd.machine.blas import UNKNOWN
from numbasgd.machine.cores import allowed_cpus
from numbasgd.machine.files import read_text

SCHEMA = 1
_PREFIXES = ("OPENBLAS_", "OMP_", "GOMP_", "MKL_", "BLIS_", "NUMBA_")
_VECTOR = ("sse", "ssse", "avx", "fma", "f16c", "amx", "neon", "sve", "sme", "fullfp16", "bf16", "dotprod")
# Variables that make a library or Numba run other code than it would choose for this CPU.
_BLAS_KERNEL = ("OPENBLAS_CORETYPE", "MKL_ENABLE_INSTRUCTIONS", "MKL_DEBUG_CPU_TYPE", "BLIS_ARCH_TYPE")
_NUMBA_CODE = (
    "NUMBA_CPU_NAME",
    "NUMBA_CPU_FEATURES",
    "NUMBA_ENABLE_AVX",
    "NUMBA_OPT",
    "NUMBA_LOOP_VECTORIZE",
    "NUMBA_BOUNDSCHECK",
)
_AS_USUAL = (("NUMBA_ENABLE_AVX", "1"), ("NUMBA_BOUNDSCHECK", "0"))


def fingerprint() -> dict[str, Any]:
    """CPU, caches, memory, BLAS, versions, settings and GPU of this machine, in plain JSON values.

    Sizes are in bytes.  ``cores`` is how many cpus this process may use, of ``cpus`` that there are on
    ``physical_cores``; ``quota`` the share of them that its control group allows, in cores, or None without
    a limit.  ``simd``, ``simd_features`` and ``register_bytes`` are what Numba compiles for; ``description`` is
    the machine as kernels and plans see it (``numbasgd.machine.cpu``), complete where the rest is "unknown".
    ``load`` and ``steal`` tell how much else went on.
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
    """Sentences on settings that make figures from this machine unfair or unusual."""
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
        if env.get(name) and (name, env[name]) not in _AS_USUAL
    ]
    if "threadpoolctl" not in found["versions"]:
        said.append("threadpoolctl is not installed: pip install threadpoolctl to control the BLAS's threads.")
    return said


def lines(found: dict[str, Any]) -> list[str]:
    """The fingerprint for a reader, a line for each subject."""
    of_cpu, library = found["cpu"], found["blas"]
    caches = "  ".join(f"{name} {size(of_cpu['caches'][name])}" for name in ("L1d", "L2", "L3"))
    quota = "" if of_cpu["quota"] is None else f", limited to the time of {of_cpu['quota']:g}"
    gpu = found["gpu"]
    told = [
        f"machine:  {of_cpu['model']} ({of_cpu['llvm_name']}, {of_cpu['simd']}), "
        f"{of_cpu['cores']} usable cores{quota}",
        f"memory:   {caches}  RAM {size(found['ram'])}",
        f"state:    {linux.state(found)}",
        *_description_lines(of_cpu["description"]),
        f"BLAS:     {library['name']} {library['version']}, running kernel {library['kernel']}, "
        f"threads {library['threads']}",
        "versions: " + ", ".join(f"{name} {number}" for name, number in found["versions"].items()),
    ]
    if found["env"]:
        told.append("settings: " + ", ".join(f"{name}={value}" for name, value in found["env"].items()))
    if isinstance(gpu, dict):
        told.append("GPU:      " + ", ".join(_gpu_parts(gpu)))
    return told


def lines_with_notes(found: dict[str, Any]) -> list[str]:
    """``lines``, and below them the warnings as notes."""
    return [*lines(found), *(f"note:     {said}" for said in warnings_for(found))]


def _description_lines(known: dict[str, Any]) -> list[str]:
    fma = "FMA" if known["has_fma"] else "multiply and add apart"
    levels = [
        f"L{cache['level']} {size(cache['size'])}, {cache['ways']} ways, {cache['sets']} sets, "
        f"{cache['line']}-byte lines, shared by {cache['shared_by']}, {cache['bytes_per_cycle']:g} bytes/cycle"
        for cache in known["caches"]
    ]
    memory = f"memory {known['memory_bytes_per_cycle']:g} bytes/cycle"
    return [
        f"kernels:  as for {known['name']}, compiled for {known['compiled_for']}: "
        f"{known['vector_bytes']}-byte vectors, {known['registers']} registers, {fma}, "
        f"{known['fma_pipes']} a cycle; threads for {known['usable_cores']} cores",
        *(f"          {level}" for level in [*levels, memory]),
    ]


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
    target, quota = cpu.target(), cpu.quota()
    return {
        "model": _cpu_model(),
        "machine": platform.machine() or UNKNOWN,
        "llvm_name": host_cpu_name() or UNKNOWN,
        "simd": target.simd,
        "simd_features": sorted(name for name in target.features if name.startswith(_VECTOR)),
        "register_bytes": target.vector,
        "cores": len(allowed_cpus()),
        "cpus": os.cpu_count() or UNKNOWN,
        "physical_cores": linux.physical_cores(),
        "quota": None if quota is None else round(quota, 2),
        "caches": _caches(cpu.read_caches()),
        "shared": linux.shared_caches(),
        "description": _description(),
        **linux.clocks(),
        "virtual": linux.is_virtual(),
        "load": linux.load(),
        "steal": linux.steal(),
    }


def _cpu_model() -> str:
    for line in read_text(Path("/proc/cpuinfo")).splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip() or UNKNOWN
    return platform.processor() or UNKNOWN


def _caches(found: dict[int, cpu.Cache]) -> dict[str, int | str]:
    """Data caches as Linux describes them for the first core, and how many cpus share the last."""
    caches: dict[str, int | str] = {"L1d": UNKNOWN, "L2": UNKNOWN, "L3": UNKNOWN, "line": UNKNOWN}
    for level, cache in sorted(found.items()):
        caches["L1d" if level == 1 else f"L{level}"] = cache.size
        caches["line"] = cache.line or UNKNOWN
        caches["last_shared_by"] = cache.shared_by or UNKNOWN
    return caches


def _description() -> dict[str, Any]:
    """The machine as kernels and plans use it: what was read, completed by what its family is known for."""
    machine = cpu.host()
    return {
        "name": machine.name,
        "compiled_for": cpu.target().cpu,
        "vector_bytes": machine.vector,
        "registers": machine.registers,
        "has_fma": machine.has_fma,
        "fma_pipes": machine.fma_pipes,
        "caches": [dataclasses.asdict(cache) for cache in machine.caches],
        "memory_bytes_per_cycle": machine.memory_bytes_per_cycle,
        "usable_cores": cpu.n_cores(),
    }


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
