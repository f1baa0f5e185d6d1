import contextlib
import getpass
import json
import os
import platform
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from numbasgd import cli
from numbasgd.compile import target
from numbasgd.machine import blas, cores, cpu, fingerprint, timing

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def no_threadpoolctl(monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)


def run_command(monkeypatch, *argv):
    monkeypatch.setattr(cli, "COMMANDS", ("info",))
    return cli.main(argv)


def is_openblas():
    return blas.describe()["name"] == "openblas" and blas._from_openblas() is not None


needs_openblas = pytest.mark.skipif(not is_openblas(), reason="NumPy does not carry an OpenBLAS here")


def test_fingerprint_is_plain_json():
    found = fingerprint.fingerprint()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["schema"] == 1
    assert set(found) == {"schema", "system", "cpu", "ram", "blas", "versions", "env", "gpu", "huge_pages"}
    assert set(found["blas"]) >= {"name", "version", "kernel", "threads"}
    assert found["cpu"]["cores"] == len(cores.allowed_cpus()) >= 1
    assert found["versions"]["python"] == platform.python_version()


def test_fingerprint_names_no_person_and_no_place(monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/home/someone/cache")
    monkeypatch.setenv("OMP_PLACES", "someone@host")
    text = json.dumps(fingerprint.fingerprint())
    places = [str(Path.home()), str(ROOT), os.getcwd(), socket.gethostname(), "someone"]
    with contextlib.suppress(KeyError, OSError):
        places.append(f'"{getpass.getuser()}"')
    for place in places:
        if len(place) > 2:
            assert place not in text


def test_settings_are_kept_and_paths_reduced(monkeypatch):
    for name in list(os.environ):
        if name.startswith(fingerprint._PREFIXES):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/home/someone/cache")
    monkeypatch.setenv("MKL_DEBUG", r"C:\users\someone")
    monkeypatch.setenv("PATH_OPENBLAS", "not ours")
    assert fingerprint.environment() == {
        "MKL_DEBUG": "set",
        "NUMBA_CACHE_DIR": "set",
        "OPENBLAS_CORETYPE": "Haswell",
    }


def _found(**env):
    return {"env": env, "blas": {"kernel": "Prescott"}, "versions": {"threadpoolctl": "3"}}


def test_warnings_name_the_variable_the_kernel_and_what_to_do():
    assert fingerprint.warnings_for(_found(OMP_NUM_THREADS="1")) == []
    [said] = fingerprint.warnings_for(_found(OPENBLAS_CORETYPE="Prescott"))
    assert said == (
        "The BLAS runs its Prescott kernel because OPENBLAS_CORETYPE is set; unset it for a fair comparison."
    )
    [said] = fingerprint.warnings_for(_found(OPENBLAS_L2_SIZE="64"))
    assert "OPENBLAS_L2_SIZE" in said
    [said] = fingerprint.warnings_for(_found(NUMBA_CPU_NAME="generic"))
    assert "NUMBA_CPU_NAME" in said
    [said] = fingerprint.warnings_for(_found(NUMBA_ENABLE_AVX="0"))
    assert "NUMBA_ENABLE_AVX" in said
    assert fingerprint.warnings_for(_found(NUMBA_ENABLE_AVX="1")) == []
    [said] = fingerprint.warnings_for(_found(NUMBA_DISABLE_JIT="1"))
    assert "refuse to run because NUMBA_DISABLE_JIT is set" in said
    assert fingerprint.warnings_for(_found(NUMBA_DISABLE_JIT="0")) == []
    without = _found()
    without["versions"] = {}
    assert "threadpoolctl" in fingerprint.warnings_for(without)[0]


@needs_openblas
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the kernel's name is one of x86")
@pytest.mark.parametrize("hidden", ["", "import sys; sys.modules['threadpoolctl'] = None; "])
def test_the_running_kernel_is_reported_not_the_built_one(hidden):
    code = hidden + "from numbasgd.machine import blas; print(blas.describe()['kernel'])"
    env = {**os.environ, "OPENBLAS_CORETYPE": "Nehalem", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "Nehalem"


@needs_openblas
def test_both_ways_to_ask_give_the_same(monkeypatch):
    pytest.importorskip("threadpoolctl")
    told = blas.describe()
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    assert blas.describe() == told


@needs_openblas
@pytest.mark.parametrize("has_threadpoolctl", [True, False])
def test_one_thread_holds_and_restores(monkeypatch, has_threadpoolctl):
    if has_threadpoolctl:
        pytest.importorskip("threadpoolctl")
    else:
        monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    put, before = blas._openblas("set_num_threads", None), blas.describe()["threads"]
    put(2)
    try:
        with pytest.raises(RuntimeError, match="stop"), timing.one_blas_thread() as threads:
            assert threads == 1
            assert blas.describe()["threads"] == 1
            raise RuntimeError("stop")
        assert blas.describe()["threads"] == 2
    finally:
        put(before)


def test_a_blas_that_cannot_be_asked_is_unknown(monkeypatch, no_threadpoolctl):
    monkeypatch.setattr(blas, "_openblas", lambda name, restype: None)
    told = blas.describe()
    assert told["kernel"] == told["threads"] == "unknown"
    with blas.one_thread() as threads:
        assert threads is None


def _cache(folder, index, **files):
    (folder / f"index{index}").mkdir(parents=True)
    for name, text in files.items():
        (folder / f"index{index}" / name).write_text(text + "\n")


def test_caches_from_sysfs(tmp_path):
    assert set(fingerprint._caches(cpu.read_caches(tmp_path)).values()) == {"unknown"}
    folder = tmp_path / "cpu0" / "cache"
    line = {"coherency_line_size": "64"}
    _cache(folder, 0, level="1", type="Data", size="48K", shared_cpu_list="0", **line)
    _cache(folder, 1, level="1", type="Instruction", size="32K", shared_cpu_list="0", **line)
    _cache(folder, 2, level="2", type="Unified", size="2M", shared_cpu_list="0-1", **line)
    _cache(folder, 3, level="3", type="Unified", shared_cpu_list="0-3,8")  # no size, as in some guests
    assert fingerprint._caches(cpu.read_caches(tmp_path)) == {
        "L1d": 49152,
        "L2": 2097152,
        "L3": "unknown",
        "line": 64,
        "last_shared_by": 2,
    }


@pytest.mark.parametrize(("limit", "told"), [(1.5, 1.5), (None, None), (4 / 3, 1.33)])
def test_quota_of_the_control_group(monkeypatch, limit, told):
    monkeypatch.setattr(cpu, "quota", lambda: limit)
    found = fingerprint.fingerprint()
    assert found["cpu"]["quota"] == told
    assert ("limited to the time of" in fingerprint.lines(found)[0]) == (limit is not None)


@pytest.mark.skipif(not cpu.target().is_x86, reason="LLVM compiles for x86 only on x86 here")
def test_simd_follows_numbas_settings(monkeypatch):
    asked = target.probe("x86-64", "+sse2,-avx,-avx2,-avx512f,-neon,-sve")
    monkeypatch.setattr(cpu, "target", lambda: asked)
    found = fingerprint._cpu()
    assert (found["simd"], found["register_bytes"], found["simd_features"]) == ("sse", 16, ["sse2"])


def test_the_description_in_use_is_told():
    found = fingerprint.fingerprint()
    known, machine = found["cpu"]["description"], cpu.host()
    assert [cpu.Cache(**cache) for cache in known["caches"]] == list(machine.caches)
    assert known["usable_cores"] == cpu.n_cores()
    text = "\n".join(fingerprint.lines(found))
    assert f"as for {machine.name}, compiled for {cpu.target().cpu}: {machine.vector}-byte vectors" in text
    assert f"memory {machine.memory_bytes_per_cycle:g} bytes/cycle" in text
    for cache in machine.caches:
        assert f"L{cache.level} {fingerprint.size(cache.size)}, {cache.ways} ways" in text


def test_sizes_as_a_person_writes_them():
    told = [fingerprint.size(n) for n in (64, 48 * 1024, 2**20, 25276502016, "unknown")]
    assert told == ["64 B", "48 KB", "1 MB", "23.54 GB", "unknown"]


def test_lines_hold_what_decides_the_speed():
    found = fingerprint.fingerprint()
    text = "\n".join(fingerprint.lines(found))
    for part in (found["cpu"]["model"], found["blas"]["version"], f"running kernel {found['blas']['kernel']}"):
        assert part in text


def test_the_gpu_is_a_line_when_there_is_one():
    found = fingerprint.fingerprint()
    found["gpu"] = {"name": "A card", "simulator": False, "memory_bytes": 2**34, "compute_capability": "9.0"}
    assert fingerprint.lines(found)[-1] == "GPU:      A card, 16 GB, compute capability 9.0"
    found["gpu"] = None
    assert not any(line.startswith("GPU") for line in fingerprint.lines(found))


def test_plan_fills_the_time():
    assert timing.plan(0.01, 0.5, 5) == (50, 1)
    assert timing.plan(2.0, 0.5, 5) == (5, 1)
    rounds, calls = timing.plan(1e-6, 0.5, 5)
    assert calls * 1e-6 >= timing.ROUND
    assert rounds == timing.MAX_ROUNDS
    assert timing.plan(0.0, 0.5, 5)[0] == timing.MAX_ROUNDS


def test_time_call_tells_the_first_call_from_the_others():
    n_calls = 0

    def func():
        nonlocal n_calls
        n_calls += 1
        time.sleep(0.05 if n_calls == 1 else 0.002)

    found = timing.time_call(func, seconds=0.05, min_rounds=3)
    assert found.first >= 0.05
    assert 0.002 <= found.q1 <= found.median <= found.q3
    assert found.median < 0.05
    assert found.rounds >= 3
    assert found.relative_iqr == pytest.approx((found.q3 - found.q1) / found.median)


def test_calls_that_are_compared_take_turns():
    order = []
    funcs = {name: (lambda name=name: (order.append(name), time.sleep(0.011))) for name in "ab"}
    found = timing.time_together(funcs, seconds=0.1, min_rounds=5)
    assert found["a"].rounds == order.count("a") - 3 >= 5
    assert "".join(order).endswith("ababab")


def test_info_prints_text_and_json(monkeypatch, capsys):
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "64")
    assert run_command(monkeypatch, "info") == 0
    text = capsys.readouterr().out
    assert "running kernel" in text
    assert "note:     The BLAS cuts its blocks" in text
    assert run_command(monkeypatch, "info", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["env"]["OPENBLAS_L2_SIZE"] == "64"
    assert len(found["warnings"]) >= 1


@pytest.mark.parametrize("shape", [(3,), (5, 7), (1000, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
def test_aligned_copies_begin_at_a_page(shape, dtype):
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    copy = timing.aligned(values.T.copy().T)
    assert copy.ctypes.data % timing.PAGE == 0
    assert copy.flags.c_contiguous and copy.flags.writeable and copy.dtype == dtype
    np.testing.assert_array_equal(copy, values)
