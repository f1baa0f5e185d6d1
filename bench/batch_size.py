"""Which batch size is best: a sweep over sizes and rates, and what ``best_batch_size`` makes of it.

``python -m bench.batch_size count [CASE...]`` runs every batch size at every rate with several seeds and counts
the samples to each target; it takes an hour or so, and no clock.
``python -m bench.batch_size clock [CASE...]`` times a sample at every batch size.
``python -m bench.batch_size judge [CASE...]`` calls ``best_batch_size`` and ``train(batch_size="auto")``, and
makes the true time of what they give: the samples that it takes, the median over seeds, times the clock.
``python -m bench.batch_size report`` prints what came out.  All of it is kept in
``bench/results/batch_size/``.

Time is samples to a target times seconds a sample, so that chance in the runs stays out of the clock, and other
programs on the machine out of the counts.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import numbasgd
from bench.batch_size_cases import LARGE, SMALL, TARGETS, Case, case
from numbasgd.sgd.config import Method
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.inputs import make_dataset, start_of

RESULTS = Path(__file__).parent / "results" / "batch_size" / "amd-epyc-zen5.json"
_CURVATURE = {"squared": 1.0, "huber": 1.0, "logistic": 0.25, "softmax": 0.5}
_LARGE = 2e6  # entries from which on a case has fewer seeds and coarser looks


class Problem:
    """A case ready to be run, on one thread, from zeros."""

    def __init__(self, given: Case) -> None:
        self.case = given
        self.dataset: Dataset = make_dataset(given.X, given.y, None, given.loss)
        self.n = self.dataset.n
        self.outputs = max(self.dataset.outputs, 1)
        self.is_large = self.n * self.dataset.d * self.outputs > _LARGE
        w, b = start_of(None, self.dataset)
        solver = self.solver(1)
        self.start = solver.layout.row(w, b)
        self.first = solver.mean_loss(self.start)

    def method(self, batch_size: int, lr: float, seed: int = 0) -> Method:
        """Plain minibatch SGD."""
        return Method(
            self.case.loss, int(batch_size), np.array([lr], self.dataset.dtype), "reshuffle", seed, True, 0.0,
            False, None, self.case.l2, 0.0, 1,
        )  # fmt: skip

    def solver(self, batch_size: int, lr: float = 1e-3, seed: int = 0) -> Any:
        """A run that has made no step."""
        solver = self.dataset.solver(self.method(batch_size, lr, seed))
        solver.compile()
        return solver

    def sizes(self) -> list[int]:
        """Powers of 2 and n; of large cases every other one but for the middle."""
        sizes = [1 << k for k in range(40) if (1 << k) < self.n]
        if self.is_large:
            sizes = [b for b in sizes if 16 <= b <= 512 or (b & 0x55555555 and b > 1)]
        return [*sizes, self.n]


def optimum(problem: Problem) -> tuple[float, np.ndarray]:
    """The least objective and its weights (d + 1, K), in float64: least squares, or L-BFGS of SciPy."""
    from scipy.optimize import minimize

    data, loss, l2 = problem.dataset, problem.case.loss, problem.case.l2
    X = np.column_stack([data.X.astype(np.float64), np.ones(data.n)])
    y = data.y.astype(np.float64)
    n, d, K = data.n, data.d, problem.outputs
    if loss == "squared":
        Y, H = y.reshape(n, -1), X.T @ X / n
        H[np.arange(d), np.arange(d)] += l2
        W = np.linalg.lstsq(H, X.T @ Y / n, rcond=1e-12)[0]
        return float(0.5 * np.sum((X @ W - Y) ** 2) / n + 0.5 * l2 * np.sum(W[:d] ** 2)), W

    def objective(v: np.ndarray) -> tuple[float, np.ndarray]:
        W = v.reshape(d + 1, K)
        value, R = _loss(loss, X @ W, y)
        G = X.T @ R / n
        G[:d] += l2 * W[:d]
        return value + 0.5 * l2 * float(np.sum(W[:d] ** 2)), G.ravel()

    options = {
        "maxiter": 300 if problem.is_large else 3000,
        "maxfun": 6000,
        "ftol": 1e-15,
        "gtol": 1e-9,
        "maxcor": 30,
    }
    found = minimize(objective, np.zeros((d + 1) * K), jac=True, method="L-BFGS-B", options=options)
    is_gone = found.fun < 1e-4 * problem.first  # classes that can be told apart: the infimum is 0
    return 0.0 if is_gone else float(found.fun), found.x.reshape(d + 1, K)


def _loss(loss: str, Z: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean loss of predictions (n, K), and its slopes."""
    n = len(Z)
    if loss == "softmax":
        Z = Z - Z.max(axis=1, keepdims=True)
        E = np.exp(Z)
        total = E.sum(axis=1)
        at = np.arange(n), y.astype(int)
        R = E / total[:, None]
        value = float(np.mean(np.log(total) - Z[at]))
        R[at] -= 1
        return value, R
    if loss == "logistic":
        m = y * Z[:, 0]
        return float(np.mean(np.logaddexp(0, -m))), (-y / (1 + np.exp(np.minimum(m, 500))))[:, None]
    r = Z[:, 0] - y
    size = np.abs(r)
    return float(np.mean(np.where(size <= 1, r * r / 2, size - 0.5))), np.clip(r, -1, 1)[:, None]


def excess_of(problem: Problem, least: float, best: np.ndarray) -> Callable[[Any], float]:
    """What tells how far the objective of a run is above the least one, at little cost for large cases.

    Squared loss: the quadratic form of the Hessian.  Others: some rows, less what their own gradient at the
    optimum adds (a control variate).
    """
    data = problem.dataset
    if not problem.is_large or problem.case.l2:
        return lambda run: run.mean_loss(run.result) + run.penalty(run.result) - least
    layout = problem.solver(1).layout
    if problem.case.loss == "squared":
        X = np.column_stack([data.X.astype(np.float64), np.ones(data.n)])
        H = X.T @ X / data.n

        def quadratic(run: Any) -> float:
            D = layout.take(run.result).astype(np.float64).reshape(len(best), -1) - best
            return 0.5 * float(np.sum(D * (H @ D)))

        return quadratic
    some = data.take(np.sort(np.random.default_rng(5).choice(data.n, 8192, replace=False)))
    few = some.solver(problem.method(1, 1e-3))
    few.compile()
    shaped = best if problem.outputs > 1 else best[:, 0]
    base = few.mean_loss(layout.row(shaped[:-1].astype(data.dtype), shaped[-1]))
    X = np.column_stack([some.X.astype(np.float64), np.ones(some.n)])
    G = X.T @ _loss(problem.case.loss, X @ best, some.y.astype(np.float64))[1] / some.n

    def controlled(run: Any) -> float:
        D = layout.take(run.result).astype(np.float64).reshape(best.shape) - best
        return few.mean_loss(run.result) - base - float(np.sum(G * D))

    return controlled


class Counter:
    """Runs with one batch size, several seeds in step with each other."""

    def __init__(self, problem: Problem, excess: Callable[[Any], float], gap: float, batch_size: int) -> None:
        self.problem, self.excess, self.gap, self.b = problem, excess, gap, batch_size
        self.ratio = 1.12 if problem.is_large else 1.08
        seeds = 3 if problem.is_large else 5
        self.runs = [problem.solver(batch_size, seed=seed) for seed in range(seeds)]
        self.known: dict[float, tuple[list[float], str]] = {}

    def curve(self, lr: float, most: float, seconds: float) -> tuple[list[int], list[float], str]:
        """Samples and the share of the gap that is left, the mean over seeds, and why the run ended."""
        problem, b = self.problem, self.b
        for seed, run in enumerate(self.runs):
            run.begin_anew(problem.start)
            run.use(problem.method(b, lr, seed))
        samples, left, steps = [0], [1.0], 1.0
        begin = time.process_time()
        while samples[-1] < most:
            at = max(samples[-1] + 1, round(steps) * b)
            steps = max(steps * self.ratio, steps + 1)
            values = []
            for run in self.runs:
                run.go_to(at)
                values.append(self.excess(run))
            mean = float(np.mean(values)) / self.gap
            if not mean < 50:
                return samples, left, "diverged"
            samples.append(self.runs[0].samples)
            left.append(mean)
            if mean <= 0.95 * min(TARGETS):
                return samples, left, "reached"
            if time.process_time() - begin > seconds:
                return samples, left, "too long"
            if samples[-1] >= 64 * b and _is_flat(samples, left):
                return samples, left, "flat"
        return samples, left, "most"

    def samples_to(self, lr: float, most: float, seconds: float) -> list[float]:
        """Samples to each target, infinite if it is not reached."""
        if lr not in self.known:
            samples, left, why = self.curve(lr, most, seconds)
            self.known[lr] = [crossing(samples, left, target, self.b) for target in TARGETS], why
        return self.known[lr][0]

    def search(self, first: float, most: float, seconds: float) -> None:
        """Octaves from ``first`` both ways until every target got worse twice, then quarters of them."""
        tried = {0: self.samples_to(first, most, seconds)}
        for direction in (1, -1):
            for k in range(direction, 13 * direction, direction):
                lr = first * 2.0**k
                tried[k] = self.samples_to(lr, most, seconds)
                if self._is_over(tried, direction, first) or (
                    direction > 0 and self.known[lr][1] == "diverged"
                ):
                    break
        for step in (0.5, 0.25):
            for t in range(len(TARGETS)):
                reached = [lr for lr, (found, _) in self.known.items() if math.isfinite(found[t])]
                if not reached:
                    continue
                best = min(reached, key=lambda lr: self.known[lr][0][t])
                for sign in (1, -1):
                    lr = best * 2.0 ** (sign * step)
                    if not any(abs(math.log2(lr / other)) < 0.1 for other in self.known):
                        self.samples_to(lr, most, seconds)

    def _is_over(self, tried: dict[int, list[float]], direction: int, first: float) -> bool:
        ks = sorted(tried, key=lambda k: k * direction)
        for t in range(len(TARGETS)):
            values = [tried[k][t] for k in ks]
            best = min(range(len(values)), key=values.__getitem__)
            if math.isinf(values[best]):
                if direction < 0 and self.known[first * 2.0 ** ks[-1]][1] not in ("most", "too long"):
                    return False  # a smaller rate might still do
            elif best >= len(values) - 2:
                return False
        return True


def _is_flat(samples: list[int], left: list[float]) -> bool:
    """Whether the mean of the last octave is not below that of the one before, twice."""
    s, e = np.array(samples), np.array(left)
    octave = [e[(s > s[-1] / 2 ** (k + 1)) & (s <= s[-1] / 2**k)].mean() for k in range(3)]
    return octave[0] > 0.985 * octave[1] and octave[1] > 0.985 * octave[2]


def crossing(samples: list[int], left: list[float], target: float, batch_size: int) -> float:
    """Samples at which the curve first is at the target, by logarithms between two looks, in whole steps."""
    below = np.flatnonzero(np.array(left) <= target)
    if not len(below):
        return math.inf
    k = int(below[0])
    if samples[k - 1] == 0:
        return float(samples[k])
    share = math.log(left[k - 1] / target) / max(math.log(left[k - 1] / max(left[k], 1e-12)), 1e-9)
    at = samples[k - 1] * (samples[k] / samples[k - 1]) ** min(max(share, 0.0), 1.0)
    return float(math.ceil(at / batch_size - 1e-9) * batch_size)


def count(name: str) -> dict[str, Any]:
    """Samples to each target at the best rate of each batch size, from 32 outwards."""
    problem = Problem(case(name))
    least, best = optimum(problem)
    excess, gap = excess_of(problem, least, best), problem.first - least
    size, curvature = problem.dataset.row_sizes(True), _CURVATURE[problem.case.loss]
    seconds = 5.0 if problem.is_large else 0.7
    table: dict[str, Any] = {}
    tightest = math.inf
    for b in sorted(problem.sizes(), key=lambda b: abs(math.log2(b) - 5)):
        counter = Counter(problem, excess, gap, b)
        most = 3e9 / (problem.dataset.d + 8) if math.isinf(tightest) else 200 * tightest
        first = b / (size.mean + (b - 1) * size.curvature) / curvature
        counter.search(first, most, seconds)
        found = [min(counter.known.items(), key=lambda item: item[1][0][t]) for t in range(len(TARGETS))]
        tightest = min(tightest, found[-1][1][0][-1])
        table[str(b)] = {
            "samples": [_json(known[0][t]) for t, (_, known) in enumerate(found)],
            "lr": [lr for lr, _ in found],
            "rates": {
                repr(lr): [_json(s) for s in samples] for lr, (samples, _) in sorted(counter.known.items())
            },
        }
    return {
        "n": problem.n, "d": problem.dataset.d, "outputs": problem.outputs, "first": problem.first,
        "least": least, "sizes": table,
    }  # fmt: skip


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None


def seconds_a_sample(name: str, repeats: int = 9, each: float = 0.002) -> dict[str, float]:
    """Seconds a sample of each batch size: minima over repeats that go round the sizes, entries taken off."""
    problem = Problem(case(name))
    runs, chunk, best = {}, {}, {}
    for b in problem.sizes():
        run = runs[b] = problem.solver(b, 1e-9)
        at = max(b, min(problem.n, 2000))
        run.go_to(at)
        begin = time.perf_counter()
        run.go_to(2 * at)
        per = max(time.perf_counter() - begin, 1e-9) / at
        chunk[b], best[b] = max(b, int(each / per) // b * b), math.inf
    for _ in range(repeats):
        for b, run in runs.items():
            at = run.samples
            begin = time.perf_counter()
            run.go_to(at + chunk[b])
            spent = time.perf_counter() - begin - run.entry_seconds
            best[b] = min(best[b], spent / (run.samples - at))
    return {str(b): value for b, value in best.items()}


def judge(name: str) -> dict[str, Any]:
    """What ``best_batch_size`` and ``batch_size="auto"`` give for each target that the sweep reached.

    true : seconds to the target with the size and the rate that were given, the median over seeds that nothing
    has seen; curve : of the mean over the seeds, as the sweep counts.  All are times the best of the sweep, and
    so is cost, the seconds of all runs of the race.
    """
    problem, kept = Problem(case(name)), read()
    counted, clock = kept["count"][name], {int(b): s for b, s in kept["clock"][name].items()}
    known = problem.case._asdict()
    del known["name"]
    auto = numbasgd.train(**known, batch_size="auto", lr=1e-9, epochs=200, budget=1e-3, seed=0)
    found = {}
    for t, target in enumerate(TARGETS):
        times = {
            int(b): v["samples"][t] * clock[int(b)] for b, v in counted["sizes"].items() if v["samples"][t]
        }
        if not times:
            continue
        best = min(times.values())
        begin = time.perf_counter()
        result = numbasgd.best_batch_size(**known, target=target, standardize=False, threads=1)
        wall = time.perf_counter() - begin - result.spent["compiling"]
        goal = counted["least"] + target * (counted["first"] - counted["least"])
        true, curve = true_seconds(problem, result, goal, (clock, 20 * best))
        same = [b for b in result.near if b in times]
        found[str(target)] = {
            "best": min(times, key=times.__getitem__), "seconds": best, "batch_size": result.batch_size,
            "lr": result.lr, "true": _json(true / best), "curve": _json(curve / best),
            "size": _json(times.get(result.batch_size, math.nan) / best),
            "cost": result.spent["steps"] / best, "wall": wall,
            "inside": [round(times[b] / best, 3) for b in same],
            "good": [b in result.near for b, s in times.items() if s <= 1.1 * best],
            "auto": auto.settings["batch_size"],
            "auto_regret": _json(times.get(auto.settings["batch_size"], math.inf) / best),
        }  # fmt: skip
    return found


def true_seconds(
    problem: Problem, result: Any, goal: float, how: tuple[dict[int, float], float]
) -> tuple[float, float]:
    """Seconds to the goal of what was found: the median over five seeds, and that of their mean curve.

    how : seconds a sample of each size, and the most seconds of a run.
    """
    clock, most = how
    b, known = result.batch_size, sorted(clock)
    per = math.exp(np.interp(math.log(b), np.log(known), np.log([clock[k] for k in known])))
    runs = [problem.solver(b, result.lr, seed) for seed in range(101, 106)]
    for run in runs:
        run.begin_anew(problem.start)
    hits, curve, steps, at = [math.inf] * len(runs), math.inf, 1.0, 0
    while at * per < most + b * per and (math.inf in hits or curve == math.inf):
        at = max(at + 1, round(steps) * b)
        steps = max(1.03 * steps, steps + 1)
        values = []
        for k, run in enumerate(runs):
            run.go_to(at)
            values.append(run.mean_loss(run.result) + run.penalty(run.result))
            if values[-1] <= goal:
                hits[k] = min(hits[k], run.samples * per)
        at = runs[0].samples
        if np.mean(values) <= goal:
            curve = min(curve, at * per)
    return float(np.median(hits)), curve


def report() -> None:
    """Print what came out, the study's cases and those of 10^5 rows apart."""
    judged = read()["judge"]
    for title, names in (("the study's cases", SMALL), ("10^5 rows and more", LARGE)):
        cells = [(name, t, cell) for name in names for t, cell in judged.get(name, {}).items()]
        if not cells:
            continue
        print(
            f"{title}: {len(cells)} cells; shares within 1.2, 1.5 and 2 times the best, the median, the worst"
        )
        for key in ("true", "curve", "size", "auto_regret"):
            values = np.array([math.inf if cell[key] is None else cell[key] for _, _, cell in cells])
            shares = " ".join(f"{np.mean(values <= x):.2f}" for x in (1.2, 1.5, 2.0))
            print(f"  {key:12s} {shares}  median {np.median(values):.2f}  worst {values.max():.3g}")
        cost, wall = ([cell[key] for _, _, cell in cells] for key in ("cost", "wall"))
        inside = [value <= 1.4 for _, _, cell in cells for value in cell["inside"]]
        good = [is_in for _, _, cell in cells for is_in in cell["good"]]
        seconds = f"{np.median(wall):.2g} s, at most {max(wall):.2g} s"
        print(f"  cost: a median of {np.median(cost):.1f} best runs; {seconds}")
        print(f"  of the sizes given, within 1.4 times the best: {np.mean(inside):.2f}")
        print(f"  of the sizes within 1.1 times the best, given: {np.mean(good):.2f}")
        for name, t, cell in cells:
            if cell["true"] is None or cell["true"] > 2:
                print(f"  beyond 2: {name} to {t}: {cell}")


def read() -> dict[str, Any]:
    """What is kept."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def write(part: str, name: str, found: Any) -> None:
    """Keep what was found of a case."""
    kept = read()
    kept.setdefault(part, {})[name] = found
    RESULTS.write_text(json.dumps(kept, indent=None, separators=(",", ":"), sort_keys=True) + "\n")


def main() -> None:
    """Run one of the parts."""
    parser = argparse.ArgumentParser(prog="python -m bench.batch_size", description=__doc__.split("\n")[0])
    parser.add_argument("part", choices=("count", "clock", "judge", "report"))
    parser.add_argument("cases", nargs="*", metavar="CASE", help="all if left out")
    args = parser.parse_args()
    if args.part == "report":
        report()
        return
    do = {"count": count, "clock": seconds_a_sample, "judge": judge}
    for name in args.cases or (*SMALL, *LARGE):
        begin = time.perf_counter()
        try:
            write(args.part, name, do[args.part](name))
        except FileNotFoundError as error:
            print(f"{name}: left out; {error}")
            continue
        print(f"{name}: {args.part} in {time.perf_counter() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
