"""The machines of a comparison in a few words, and their measured limits beside each other."""

from __future__ import annotations

import re
from collections.abc import Sequence

from numbasgd.compare.machines import describe
from numbasgd.compare.measures import Side
from numbasgd.compare.summary_model import ARITHMETIC, Limit, Machine
from numbasgd.machine.bounds import Limits

_VERSIONS = ("python", "numba", "numpy", "llvmlite")


def machine_of(side: Side, differing: set[str]) -> Machine:
    """The machine of a side; ``differing`` are the facts that tell the sides apart."""
    told = describe(side.files[0])

    def joined(*keys: str) -> str:
        return " ".join(told[key] for key in keys if told.get(key, "unknown") not in ("unknown", "None"))

    caches = [
        f"{name} {_bytes(int(size))}"
        for name in ("L2", "L3")
        if (size := told.get(f"cpu.caches.{name}", "")).isdigit()
    ]
    cores = told.get("cpu.cores", "")
    versions = [
        f"{key} {told[f'versions.{key}']}" for key in _VERSIONS if f"versions.{key}" in differing & told.keys()
    ]
    model = re.sub(r"\((?:R|TM)\)|\b(?:CPU|Processor)\b", "", joined("cpu.model"))
    about = (
        " ".join([*model.split(), joined("cpu.llvm_name")]).strip(),
        f"{cores} core{'s' * (cores != '1')}" if cores.isdigit() else "",
        joined("cpu.simd"),
        *caches,
        joined("gpu.name"),
        joined("blas.name", "blas.kernel") if differing & {"blas.name", "blas.kernel"} else "",
        *versions,
    )
    return Machine(side.name, len(side.files), tuple(part for part in about if part))


def _bytes(size: int) -> str:
    return f"{size / 2**20:.3g} MB" if size >= 2**20 else f"{size / 2**10:.3g} KB"


def limits_of(sides: Sequence[Limits | None]) -> tuple[Limit, ...]:
    """Every limit that two sides or more were measured for."""
    columns = [_named_limits(limits) if limits else {} for limits in sides]
    found = []
    for key in dict.fromkeys(key for column in columns for key in column):
        values = [column.get(key) for column in columns]
        known = [value for value in values if value is not None]
        if len(known) < 2:
            continue
        base = values[0]
        name, level, unit, threads = key
        ratios = tuple(value / base if value and base else None for value in values)
        found.append(Limit(name, level, unit, threads, tuple(values), ratios, values.index(max(known))))
    return tuple(found)


def _named_limits(limits: Limits) -> dict[tuple[str, str, str, str], float]:
    found = {}
    for (dtype, threads), peak in limits.fma.items():
        # All threads' quartiles are never exactly one thread's: such a file measured one thread twice.
        if threads == "one" or peak != limits.fma.get((dtype, "one")):
            found[f"FMA {dtype}", ARITHMETIC, "GFLOP/s", threads] = peak.value
    for level in limits.levels:
        for threads, read in level.read.items():
            found[level.name, level.name, "GB/s", threads] = read.value
    return found
