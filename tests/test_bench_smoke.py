"""``pytest bench --benchmark-only`` in a process of its own, from the checkout: what it prints and writes."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from child import environment

from numbasgd import RUNGS

ROOT = Path(__file__).resolve().parents[1]
KEYS = {"schema", "kind", "case", "ladder", "reference", "dtype", "device", "threads", "n_threads"}
KEYS |= {"flop", "bytes", "compile_seconds", "residual", "residual_limit"}
pytestmark = pytest.mark.slow


def run_bench(folder, *argv, **env):
    """``pytest bench`` in a process of its own; gives (exit code, output, JSON or None)."""
    path = folder / "result.json"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "bench", "--benchmark-only", f"--benchmark-json={path}", *argv],
        cwd=ROOT,
        env=environment(PYTHONDONTWRITEBYTECODE="1", **env),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr, json.loads(path.read_text()) if path.exists() else None


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    chosen = "matmul and f32-64-one or gradient and f32-1500x5 or train and b100-one or memory and f32-16KB"
    chosen += " or valley"
    code, said, found = run_bench(folder, "-k", chosen, "--benchmark-max-time=0.02")
    assert code == 0, said
    return said, found


def test_smoke_cases_and_what_they_carry(smoke):
    _, found = smoke
    cases = {bench["name"]: bench for bench in found["benchmarks"]}
    on_cpu = [name for name, rung in RUNGS.items() if "cpu" in rung.devices]
    expected = [f"matmul[{name}-f32-64-one]" for name in on_cpu]
    expected += [f"gradient[{name}-f32-1500x5-one]" for name in ("numbasgd", "numpy", "numpy-buffers")]
    expected += [f"train[{name}-f32-airfoil-b100-one]" for name in ("numbasgd", "numpy-loop")]
    expected += [f"memory[order-{name}-f32-16KB-one]" for name in ("sequential", "strided", "random")]
    assert set(expected) <= set(cases)
    assert cases["memory[order-chase-f32-16KB-one]"]["extra_info"]["residual"] == 0
    for bench in map(cases.get, expected):
        info = bench["extra_info"]
        assert set(info) >= KEYS
        assert info["schema"] == 1
        assert bench["group"] == info["ladder"]
        assert 0 <= info["residual"] <= info["residual_limit"]
        assert info["n_threads"] == 1
        assert bench["stats"]["median"] > 0
        assert 0 < info["peak_share"] <= info["roofline_share"]
        reference = [
            b["extra_info"]["case"] for b in cases.values() if b["extra_info"]["ladder"] == info["ladder"]
        ]
        assert info["reference"] in reference
    assert cases["matmul[full-f32-64-one]"]["extra_info"]["flop"] == 2 * 64**3
    assert cases["train[numbasgd-f32-airfoil-b100-one]"]["extra_info"]["epochs"] == 100
    paired = cases["gradient[numbasgd-f32-1500x5-one]"]["extra_info"]["paired"]
    assert paired["against"] == "numpy-buffers"
    assert 0 < paired["low"] <= paired["ratio"] <= paired["high"]
    valley = cases["valley[best-f32-airfoil-one]"]
    sizes = valley["extra_info"]["valley"]["sizes"]
    assert [size["batch_size"] for size in sizes] == [1, 3, 10, 30, 100, 300, 1500]
    fastest = min(size["compiled_time"]["median"] for size in sizes)  # that of the last round
    assert valley["stats"]["min"] <= fastest * (1 + 1e-9) and fastest <= valley["stats"]["max"] * (1 + 1e-9)
    assert found["machine_info"]["numbasgd"]["schema"] == 1
    assert found["machine_info"]["numbasgd"]["limits"]["schema"] == 1


def test_smoke_prints_the_machine_first_and_ladders_last(smoke):
    said, _ = smoke
    assert said.index("running kernel") < said.index("bench/test_matmul.py")
    lines = said.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("matmul-f32-64-one"))
    on_cpu = [name for name, rung in RUNGS.items() if "cpu" in rung.devices]
    assert "benchmark 'matmul" not in said  # pytest-benchmark's own tables are for those who ask
    assert [line.split()[0] for line in lines[head + 1 : head + 1 + len(on_cpu)]] == on_cpu


def test_smoke_names_no_person_and_no_place(smoke):
    _, found = smoke
    text = json.dumps(found)
    assert "node" not in found["machine_info"]
    for place in (str(ROOT), os.getcwd(), str(Path.home()), f'"{socket.gethostname()}"', str(Path(sys.prefix))):
        if len(place) > 3:
            assert place not in text
    assert "/tmp" not in text
    assert not re.search("0x[0-9a-f]{6}", text)  # an object's address: something that is no plain value


def test_ids_hold_no_thread_count_and_the_header_tells_an_override(tmp_path):
    code, said, _ = run_bench(tmp_path, "--collect-only", "-q", "--bench-full")
    assert code == 0, said
    ids = re.findall(r"::test_(\w+\[.*\])", said)
    assert len(ids) == len(set(ids)) > 100
    for name in ids:
        assert re.fullmatch(r"(compile\[[\w-]+\]|\w+\[[\w-]+-(one|all)\])", name), name
    assert "matmul[full-f32-32x784x10-one]" in ids
    code, said, _ = run_bench(tmp_path, "--collect-only", OPENBLAS_L2_SIZE="64", OPENBLAS_CORETYPE="Haswell")
    assert code == 0, said
    assert re.search(r"^WARNING:  The BLAS runs its \w+ kernel because OPENBLAS_CORETYPE is set", said, re.M)
    assert "32x784x10" not in said


def test_a_kernel_that_computes_something_else_fails_its_bench(tmp_path):
    (tmp_path / "spoil.py").write_text(
        "from numbasgd.matmul import numpy_loops as rungs\n"
        "right = rungs.column\n"
        "def wrong(A, B, out):\n"
        "    right(A, B, out)\n"
        "    out[3, 5] *= 1.01\n"
        "rungs.column = wrong\n"
    )
    chosen = "numpy-column-f32-64-one or numpy-row-f32-64-one"
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    code, said, found = run_bench(tmp_path, "-p", "spoil", "-k", chosen, "--bench-no-limits", PYTHONPATH=path)
    assert code == 1
    assert "limits" not in found["machine_info"]["numbasgd"]
    assert "peak_share" not in found["benchmarks"][0]["extra_info"]
    assert "numpy-column gives a wrong result" in said
    assert [bench["name"] for bench in found["benchmarks"]] == ["matmul[numpy-row-f32-64-one]"]


def test_pytest_benchmarks_own_tables_are_there_for_those_who_ask(tmp_path):
    _, said, _ = run_bench(tmp_path, "-k", "numpy-row-f32-64-one", "--bench-stats", "--bench-no-limits")
    assert "benchmark 'matmul-f32-64-one': 1 tests" in said
