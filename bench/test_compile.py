"""What the first call of a process costs: compiled anew, and loaded from the cache of an earlier process.

Both are measured in child processes of their own, the import of numbasgd left out.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import numbasgd
from bench.measure import add_elapsed, self_timed

CHILD = """
import json, time
import numpy as np
import numbasgd
rng = np.random.default_rng(0)
X = rng.standard_normal((64, 8)).astype(np.float32)
y = rng.standard_normal(64).astype(np.float32)
classes = np.arange(64) % 3
w = np.ones(8, np.float32)
call = {
    "matmul": lambda: numbasgd.matmul(X, X.T),
    "gradient": lambda: numbasgd.gradient(X, y, w)[0],
    "train": lambda: numbasgd.train(X, y, lr=0.01, epochs=50, seed=0).w,
    "softmax": lambda: numbasgd.train(X, classes, loss="softmax", batch_size=64, lr=0.5, epochs=1, seed=0).w,
}[NAME]
start = time.perf_counter()
result = call()
seconds = time.perf_counter() - start
X64 = X.astype(float)
truth = {
    "matmul": lambda: X64 @ X64.T,
    "gradient": lambda: (X64 @ w - y) @ X64 / 64,
    "softmax": lambda: 0.5 * X64.T @ (np.eye(3)[classes] - 1 / 3) / 64,
    "train": lambda: np.linalg.lstsq(np.column_stack([X64, np.ones(64)]), y, rcond=None)[0][:-1],
}[NAME]()
error = float(np.abs(result - truth).max() / np.abs(truth).max())
print(json.dumps([seconds, error]))
"""
LIMIT = {"matmul": 1e-5, "gradient": 1e-5, "train": 0.5, "softmax": 1e-5}  # train has not converged by then


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    return tmp_path_factory.mktemp("caches")


def _first_call(name, cache):
    root = str(Path(numbasgd.__file__).resolve().parents[1])
    env = {**os.environ, "NUMBASGD_CACHE_DIR": str(cache), "PYTHONPATH": root}
    env.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", f"NAME = {name!r}\n{CHILD}"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.benchmark(timer=self_timed)
@pytest.mark.parametrize(
    ("name", "state"), [pytest.param(n, s, id=f"{n}-f32-{s}") for n in LIMIT for s in ("anew", "cached")]
)
def test_compile(measure, caches, name, state):
    cache = caches / name
    if state == "cached" and not cache.exists():
        _first_call(name, cache)
    errors = []

    def call():
        seconds, error = _first_call(name, cache)
        add_elapsed(seconds)
        errors.append(error)

    measure(
        call,
        check=lambda: (max(errors), LIMIT[name]),
        kind="compile",
        case=state,
        ladder=f"compile-{name}-f32",
        reference=None,
        is_self_timed=True,
        rounds=1 if state == "anew" else 2,
        dtype="float32",
    )
