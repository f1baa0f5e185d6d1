"""Benchmark files made up for tests: documents as pytest-benchmark writes them, with and without our block."""

import copy
import json

MACHINE = {
    "schema": 1,
    "system": "Linux",
    "cpu": {"model": "CPU One", "machine": "x86_64", "simd": "avx2", "cores": 4, "caches": {"L2": 1048576}},
    "ram": 2**34,
    "blas": {"name": "openblas", "version": "0.3.31", "kernel": "Haswell", "threads": 4},
    "versions": {"numbasgd": "0.1.0", "python": "3.11.7", "numpy": "2.4.6", "numba": "0.68.1"},
    "env": {},
    "gpu": None,
}
# What MACHINE was measured to reach; goes into its block as "limits".
LIMITS = {
    "schema": 1,
    "seconds": 12.0,
    "fma": {
        "float32": {
            "one": {"value": 200.0, "low": 198.0, "high": 201.0},
            "all": {"value": 390.0, "low": 380.0, "high": 395.0},
        },
        "float64": {"one": {"value": 100.0, "low": 99.0, "high": 101.0}},
    },
    "bandwidth": {"read": {"one": [{"bytes": 16384, "value": 400.0, "low": 390.0, "high": 405.0}]}},
    "latency": [{"bytes": 16384, "value": 1.1, "low": 1.0, "high": 1.2}],
    "levels": [
        {"name": "L1", "bytes": 49152, "read": 400.0, "latency": 1.1},
        {"name": "L2", "bytes": 1048576, "read": 100.0, "latency": 3.0},
        {"name": "memory", "bytes": None, "read": 20.0, "read_all": 30.0, "latency": 90.0},
    ],
    "gpu": None,
}
# case, seconds at 256
LADDER = (("element", 0.016), ("full", 0.0008), ("blocked", 0.0007), ("numpy", 0.0003))


def stats(median, spread=0.01, rounds=20):
    q1, q3 = median * (1 - spread / 2), median * (1 + spread / 2)
    return {
        "min": q1, "max": q3, "mean": median, "stddev": q3 - q1, "rounds": rounds, "median": median,
        "iqr": q3 - q1, "q1": q1, "q3": q3, "iterations": 1, "ops": 1 / median, "total": median * rounds,
    }  # fmt: skip


def matmul(case, median, n=256, **more):
    ladder = f"matmul-f32-{n}-one"
    name = f"matmul[{case}-f32-{n}-one]"
    extra = {
        "schema": 1, "kind": "matmul", "case": case, "ladder": ladder, "reference": "numpy", "dtype": "float32",
        "m": n, "n": n, "k": n, "device": "cpu", "threads": "one", "n_threads": 1, "flop": 2 * n**3,
        "bytes": 12 * n * n, "compile_seconds": 0.2, "residual": 0.3, "residual_limit": 24.0,
    }  # fmt: skip
    return entry(name, stats(median, **more), extra, f"bench/test_matmul.py::test_{name}", ladder)


def train(case, median, batch_size=10, n=1500, threads="one", **more):
    where = f"b{batch_size}" if n == 1500 else f"{n}-b{batch_size}-{threads}"
    ladder = f"train-f32-{where}"
    name = f"train[{case}-f32-{where}]"
    extra = {
        "schema": 1, "kind": "train", "case": case, "ladder": ladder, "reference": "numpy-loop",
        "dtype": "float32", "n": n, "d": 5, "batch_size": batch_size, "device": "cpu", "threads": threads,
        "n_threads": 1,
    }  # fmt: skip
    return entry(name, stats(median, **more), extra, f"bench/test_train.py::test_{name}", ladder)


def entry(name, stats, extra=None, fullname=None, group=None):
    """One benchmark as any project's file has it."""
    return {
        "group": group, "name": name, "fullname": fullname or f"tests/test_x.py::{name}", "params": None,
        "param": None, "extra_info": extra or {}, "options": {"timer": "perf_counter"}, "stats": stats,
    }  # fmt: skip


def document(benchmarks=None, *, machine=MACHINE, scale=1.0, commit="c0ffee"):
    """A whole file; ``machine`` None leaves our block out.  ``scale`` multiplies every time."""
    if benchmarks is None:
        benchmarks = [matmul(case, seconds) for case, seconds in LADDER]
        benchmarks += [train("numbasgd", 1e-5), train("numpy-loop", 6e-4)]
    benchmarks = copy.deepcopy(benchmarks)
    for one in benchmarks:
        for key in ("min", "max", "mean", "stddev", "median", "iqr", "q1", "q3"):
            one["stats"][key] *= scale
    info = {"machine": "x86_64", "system": "Linux", "python_version": "3.11.7", "cpu": {"brand_raw": "CPU One"}}
    if machine is not None:
        info["numbasgd"] = copy.deepcopy(machine)
    return {
        "machine_info": info, "commit_info": {"id": commit, "dirty": False}, "benchmarks": benchmarks,
        "datetime": "2026-01-01T00:00:00+00:00", "version": "5.3.1",
    }  # fmt: skip


def other_machine(**cpu):
    """Our block for another CPU."""
    machine = copy.deepcopy(MACHINE)
    machine["cpu"].update({"model": "CPU Two", "simd": "avx512", **cpu})
    return machine


def save(folder, name, content):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)
