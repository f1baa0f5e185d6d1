"""Results as ``numbasgd.experiments.everything`` gives them, from formulas, for tests of the page."""

from numbasgd.matmul.rungs import RUNGS

MACHINE = {
    "cpu": {"model": "CPU One", "llvm_name": "znver9", "simd": "avx512", "cores": 2, "load": 0.2},
    "blas": {"name": "openblas", "version": "9.9", "kernel": "Zen", "threads": 1},
    "versions": {"numbasgd": "0.1.0", "python": "3.11", "numpy": "2.4", "numba": "0.68", "threadpoolctl": "3"},
    "env": {},
}
AIRFOIL = "the airfoil data"
PEAK = 200.0
SIZES = (1, 10, 100, 1500)


def results():
    """All of it; every call gives new objects, which a test may change."""
    return {
        "schema": 1, "kind": "chapter page", "seconds": 90.0,
        "ladder": ladder(), "roofline": roofline(), "memory": memory(), "noise": noise(),
        "valley": valley(SIZES, 1500, AIRFOIL), "large": valley((1, 100, 131072), 131072, "made"),
        "exercises": exercises(),
    }  # fmt: skip


def ladder():
    rungs = []
    for i, (name, rung) in enumerate(RUNGS.items()):
        gflops = PEAK * 0.95 / 3 ** (4 - i if i < 5 else 9 - i)
        seconds = 2e-9 * 256**3 / gflops
        speed = {
            "size": 256, "dtype": "float32", "gflops": gflops, "seconds": seconds, "q1": 0.98 * seconds,
            "q3": 1.1 * seconds, "peak_share": gflops / PEAK, "blas_share": gflops / (0.95 * PEAK),
        }  # fmt: skip
        told = {"name": name, "idea": rung.idea, "reason": rung.reason, "is_numpy": rung.is_numpy}
        rungs.append({**told, "speeds": [speed]})
    product = {"size": 256, "dtype": "float32", "peak": PEAK, "left_out": {}, "interpreter_cost": 4.0}
    return {"rungs": rungs, "products": [product], "machine": MACHINE}


def limits():
    levels = [
        {"name": name, "bytes": n_bytes, "read": read, "latency": 80 / read**0.5}
        for name, n_bytes, read in (("L1", 32768, 400.0), ("L2", 1 << 20, 150.0), ("memory", None, 20.0))
    ]
    read = [
        {"bytes": 4096 * 4**i, "value": 400 / 2**i, "low": 380 / 2**i, "high": 404 / 2**i} for i in range(8)
    ]
    return {
        "fma": {"float32": {"one": {"value": PEAK}}},
        "bandwidth": {"read": {"one": read}},
        "levels": levels,
        "notes": [],
    }


def roofline():
    point = {"level": "L2", "roof": 150.0, "limit": "L2", "peak_share": 0.2, "roofline_share": 0.3}
    points = [
        {"name": "packed", "group": "256 x 256", "intensity": 42.7, "gflops": 180.0, **point},
        {"name": "packed", "group": "1024 x 1024", "intensity": 171.0, "gflops": 190.0, **point},
        {"name": "1500 x 5", "group": "gradient", "intensity": 0.8, "gflops": 10.0, **point},
    ]
    left_out = {"element-256": 0.0, "element-1024": 3.0}
    return {"dtype": "float32", "limits": limits(), "points": points, "left_out": left_out, "machine": MACHINE}


def memory():
    patterns = [
        {"name": name, "working_set": 16384 * 16**i, "ns": ns, "low": 0.9 * ns, "high": 1.2 * ns}
        for name, first in (("sequential", 0.01), ("strided", 0.1), ("random", 0.15), ("chase", 1.0))
        for i, ns in enumerate((first, 3 * first, 9 * first, 27 * first))
    ]
    return {"limits": limits(), "patterns": patterns, "notes": ["A note on <time>."], "machine": MACHINE}


def noise():
    n, sigma = 1500, 2.5
    tables = {"with_replacement": [], "without_replacement": []}
    for name, rows in tables.items():
        for b in (1, 10, 100, 1000, n):
            left = ((n - b) / (n - 1)) ** 0.5 if name.startswith("without") else 1.0
            std = sigma / b**0.5 * left
            rows.append({"batch_size": b, "draws": 1000, "std": 1.01 * std, "predicted": std})
    steps = [
        {"batch_size": b, "compiled": spread(1e-8 + 2e-9 * b), "interpreted": spread(4e-6 + 4e-9 * b)}
        for b in (1, 10, 100, 1000, n)
    ]
    return {**tables, "sigma": sigma, "n": n, "steps": steps, "data": AIRFOIL, "machine": MACHINE}


def spread(value):
    return {"median": value, "q1": 0.9 * value, "q3": 1.2 * value}


def valley(sizes, n, data):
    found = []
    for b in sizes:
        samples = 500.0 * (1 + b / 100)
        compiled, interpreted = 2e-9 + 1e-8 / b, 4e-9 + 4e-6 / b
        run = [round(i * samples / 20) for i in range(31)]
        found.append(
            {
                "batch_size": b, "lr": 0.003 * b, "reached": 15, "samples": spread(samples),
                "compiled": spread(compiled), "interpreted": spread(interpreted),
                "compiled_time": spread(samples * compiled), "interpreted_time": spread(samples * interpreted),
                "curve": {"samples": run, "loss": [0.24 + 0.25 * 0.01 ** (i / 20) for i in range(31)]},
            }
        )  # fmt: skip
    best = {
        kind: min(found, key=lambda size: size[f"{kind}_time"]["median"])["batch_size"]
        for kind in ("compiled", "interpreted")
    }
    return {
        "data": data, "n": n, "d": 5, "at_zero": 0.49, "optimum": 0.24, "target": 0.01, "seeds": 15,
        "largest_stable_rate": 0.953,
        "sizes": found, "best": best, "near": {kind: [b] for kind, b in best.items()}, "machine": MACHINE,
    }  # fmt: skip


def exercises():
    cells = [
        {"batch_size": b, "lr": lr, "excess": None if lr > 1 else 0.01 + abs(lr / b - 0.003)}
        for b in SIZES
        for lr in (0.003, 0.03, 0.3, 3.0)
    ]
    pair = {"usual": curve(0.01), "changed": curve(0.02), "usual_seconds": 5e-6, "changed_seconds": 9e-6}
    runs = (("gd", 1500, 0.5), ("sgd", 1, 0.005), ("batch size = 100", 100, 0.4), ("batch size = 10", 10, 0.05))
    pairs = [{"name": name, "batch_size": b, "lr": lr, **pair} for name, b, lr in runs]
    return {
        "vary": cells, "epoch_seconds": {str(b): 2e-6 + 1e-5 / b for b in SIZES}, "epochs": 3,
        "divided": {**pairs[3], "usual": curve(0.02), "changed": curve(0.01)}, "replacement": pairs[1:],
        "twice": pairs, "data": AIRFOIL, "n": 1500, "seeds": 31, "machine": MACHINE,
    }  # fmt: skip


def curve(end):
    median = [max(end, 0.1**epoch) for epoch in range(11)]
    return {"median": median, "q1": [0.8 * v for v in median], "q3": [1.3 * v for v in median]}
