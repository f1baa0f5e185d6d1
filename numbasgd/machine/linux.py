"""How Linux describes the machine's state: sharing of caches, clocks, other load, huge pages.

On other systems, and where a virtual machine hides it, the answers are "unknown".
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from numbasgd.machine.blas import UNKNOWN
from numbasgd.machine.files import read_text

_CPU = Path("/sys/devices/system/cpu")
_PROC = Path("/proc")
_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def shared_caches() -> dict[str, list[str] | str]:
    """For each data cache the groups of cpus that share one, as ``["0-7", "8-15"]``."""
    groups: dict[str, dict[str, int]] = {}
    for folder in _CPU.glob("cpu[0-9]*/cache/index*"):
        level, kind, cpus = (read_text(folder / name) for name in ("level", "type", "shared_cpu_list"))
        if level and cpus and kind != "Instruction":
            first = int(re.split("[-,]", cpus)[0])
            groups.setdefault("L1d" if level == "1" else f"L{level}", {})[cpus] = first
    return {name: sorted(groups[name], key=groups[name].__getitem__) for name in sorted(groups)} or {
        name: UNKNOWN for name in ("L1d", "L2", "L3")
    }


def physical_cores() -> int | str:
    """Cores of the whole machine, two hardware threads of one counted once."""
    cores = {
        (read_text(folder / "physical_package_id"), read_text(folder / "core_id"))
        for folder in _CPU.glob("cpu[0-9]*/topology")
    }
    return len(cores) or UNKNOWN


def clocks() -> dict[str, Any]:
    """The governor that chooses the clock, and whether the clock may be raised above its nominal."""
    governors = sorted({read_text(file) for file in _CPU.glob("cpu[0-9]*/cpufreq/scaling_governor")})
    boost, no_turbo = read_text(_CPU / "cpufreq/boost"), read_text(_CPU / "intel_pstate/no_turbo")
    on = {"1": True, "0": False}
    is_boosted = on.get(boost, UNKNOWN)
    if no_turbo in on:
        is_boosted = not on[no_turbo]
    return {"governor": ", ".join(governors) or UNKNOWN, "boost": is_boosted}


def is_virtual() -> bool | str:
    """Whether this is a virtual machine, as far as the CPU says so."""
    flags = next((line for line in read_text(_PROC / "cpuinfo").splitlines() if line.startswith("flags")), None)
    return UNKNOWN if flags is None else "hypervisor" in flags.split()


def steal() -> float | str:
    """The share of the time since the start of the machine that its host gave to others."""
    words = read_text(_PROC / "stat").partition("\n")[0].split()
    if len(words) < 9 or words[0] != "cpu":
        return UNKNOWN
    times = [int(word) for word in words[1:9]]
    return round(times[7] / max(sum(times), 1), 4)


def load() -> float | str:
    """Processes that ran or waited to run, on average over the last minute."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return UNKNOWN


def huge_pages() -> str:
    """Who gets huge pages: "always", "madvise" (NumPy's large arrays do) or "never"."""
    found = re.search(r"\[(\w+)\]", read_text(_PAGES))
    return found[1] if found else UNKNOWN


def state(found: dict[str, Any]) -> str:
    """The state of the machine while a fingerprint was taken, on one line."""
    cpu = found["cpu"]
    where = {True: "a virtual machine", False: "no virtual machine"}.get(cpu["virtual"], "perhaps virtual")
    return (
        f"{where}, governor {cpu['governor']}, boost {cpu['boost']}, load {cpu['load']}, "
        f"steal {cpu['steal']}, huge pages {found['huge_pages']}, vectors of {cpu['register_bytes']} bytes"
    )
