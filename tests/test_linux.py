"""What Linux tells of a machine, and what of it is in the fingerprint."""

import re

from numbasgd.machine import fingerprint, linux
from numbasgd.simd.vector import register_bytes


def _write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text + "\n")


def test_what_linux_tells(monkeypatch, tmp_path):
    cpus, proc = tmp_path / "cpu", tmp_path / "proc"
    monkeypatch.setattr(linux, "_CPU", cpus)
    monkeypatch.setattr(linux, "_PROC", proc)
    monkeypatch.setattr(linux, "_PAGES", tmp_path / "enabled")
    assert linux.shared_caches() == {"L1d": "unknown", "L2": "unknown", "L3": "unknown"}
    assert linux.physical_cores() == linux.is_virtual() == linux.steal() == linux.huge_pages() == "unknown"
    assert linux.clocks() == {"governor": "unknown", "boost": "unknown"}
    for cpu in range(4):
        cache = cpus / f"cpu{cpu}" / "cache"
        _write(cache / "index0", level="1", type="Data", shared_cpu_list=str(cpu))
        _write(cache / "index1", level="1", type="Instruction", shared_cpu_list=str(cpu))
        _write(cache / "index2", level="3", type="Unified", shared_cpu_list="0,2" if cpu % 2 == 0 else "1,3")
        _write(cpus / f"cpu{cpu}" / "topology", physical_package_id="0", core_id=str(cpu // 2))
        _write(cpus / f"cpu{cpu}" / "cpufreq", scaling_governor="powersave")
    _write(cpus / "cpufreq", boost="0")
    assert linux.shared_caches() == {"L1d": ["0", "1", "2", "3"], "L3": ["0,2", "1,3"]}
    assert linux.physical_cores() == 2
    assert linux.clocks() == {"governor": "powersave", "boost": False}
    _write(cpus / "intel_pstate", no_turbo="0")
    assert linux.clocks()["boost"] is True
    _write(proc, cpuinfo="flags\t\t: fpu hypervisor", stat="cpu  50 0 20 20 0 0 0 10 0 0\ncpu0 1")
    assert linux.is_virtual() is True
    assert linux.steal() == 0.1
    _write(proc, cpuinfo="flags\t\t: fpu sse")
    assert linux.is_virtual() is False
    _write(tmp_path, enabled="always [madvise] never")
    assert linux.huge_pages() == "madvise"


def test_the_fingerprint_tells_the_vector_length_and_the_neighbours():
    cpu = fingerprint.fingerprint()["cpu"]
    assert cpu["register_bytes"] == register_bytes()
    assert cpu["cpus"] >= cpu["cores"] >= 1
    assert set(cpu) >= {"shared", "governor", "boost", "virtual", "load", "steal", "simd_features"}
    assert all(re.fullmatch(r"[\w.-]+", name) for name in cpu["simd_features"])
    assert "vectors of" in fingerprint.lines(fingerprint.fingerprint())[2]
