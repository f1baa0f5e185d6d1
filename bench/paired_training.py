"""How long two checkouts of numbasgd take to train, as paired ratios.

    python -m bench.paired_training CHECKOUT_A CHECKOUT_B [--only PATTERN] [--rounds 3] [--no-first]

On a machine that others share, the median of one side and then of the other says little.  Here each checkout
has a process, and these are told in turn, A B B A, to time a block of calls; each pair of blocks gives one
ratio.  The median ratio B / A is printed with its quartiles: above 1, B is slower.  That both give the same
bits is checked in the same calls.  Where the data of a process happens to lie makes some percent, so there are
several rounds, each with new processes.

Then new processes make their first call, with an empty folder for compiled code and with one that holds it.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import checkouts, training_cases
from bench.pairwise import Case
from bench.training_runs import digest

MODULE = "bench.paired_training"
_BASE = {**training_cases.BASE, "eval_every": None, "epochs": 1, "threads": 1}
TRAINING: tuple[Case, ...] = (
    {"n": 1000, "d": 5},
    {"n": 1000, "d": 5, "lr": "auto", "epochs": 2},
    {"n": 10_000, "d": 5, "batch_size": 10},
    {"n": 10_000, "d": 5, "batch_size": 100, "dtype": "float64", "momentum": "nesterov"},
    {"n": 1_000_000, "d": 5, "batch_size": 1},
    {"n": 1_000_000, "d": 5, "batch_size": 10, "threads": 2},
    {"n": 100_000, "d": 16, "batch_size": 10, "momentum": "heavy-ball"},
    {"n": 1_000_000, "d": 16, "batch_size": 100},
    {"n": 50_000, "d": 128, "batch_size": 1},
    {"n": 50_000, "d": 128, "batch_size": 1000, "problem": "logistic"},
    {"n": 10_000, "d": 784, "batch_size": 10},
    {"n": 10_000, "d": 784, "batch_size": 100, "momentum": "heavy-ball", "penalty": "l2", "average": True},
    {"n": 10_000, "d": 784, "batch_size": "all", "threads": 1},
    {"n": 10_000, "d": 784, "batch_size": "all", "threads": 2},
    {"n": 10_000, "d": 5, "batch_size": 10, "problem": "softmax-10"},
    {"n": 20_000, "d": 128, "batch_size": 1000, "problem": "softmax-10", "momentum": "heavy-ball"},
    {"n": 10_000, "d": 784, "batch_size": 100, "problem": "softmax-10"},
    {"n": 10_000, "d": 784, "batch_size": "all", "problem": "softmax-10"},
)
GRADIENTS: tuple[Case, ...] = ({"n": 10, "d": 5}, {"n": 100, "d": 16}, {"n": 1000, "d": 784})
FIRST: tuple[Case, ...] = ({"n": 1000, "d": 5}, {"n": 1000, "d": 5, "problem": "softmax-10"})
_PAIRS_OF_FIRST = 6  # first calls with compiled code at hand; there is one pair without


def all_cases() -> dict[str, tuple[str, Case]]:
    """Name -> what is called and the case."""
    found = {}
    for what, cases in (("train", TRAINING), ("gradient", GRADIENTS)):
        for case in cases:
            shown = [f"{key}={value}" for key, value in case.items() if key != "problem"]
            found[" ".join([what, case.get("problem", "squared"), *shown])] = what, {**_BASE, **case}
    return found


# The child process of a checkout


def call_of(what: str, case: Case, folder: Path) -> Callable[[], np.ndarray]:
    """What is timed; it gives the weights, or the gradient."""
    import numbasgd

    X, y, _ = training_cases.data_of(case, folder)
    if what == "gradient":
        w = np.zeros(X.shape[1], X.dtype)
        return lambda: numbasgd.gradient(X, y, w, 0.25)[0]
    settings = training_cases.settings_of(case, case["epochs"])
    return lambda: numbasgd.train(X, y, **settings).w


def serve(checkout: Path) -> None:
    """Time what the lines of stdin say: the name of a case, and how many calls."""
    checkouts.use(checkout)
    cases, at_hand = all_cases(), ""
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            name, calls = json.loads(line)
            if name != at_hand:
                at_hand, call = name, call_of(*cases[name], Path(folder))
                call()
            begin = time.perf_counter()
            for _ in range(calls):
                result = call()
            seconds = (time.perf_counter() - begin) / calls
            print(json.dumps([seconds, digest(result)]), flush=True)


def first_call(checkout: Path, number: int) -> None:
    """Import numbasgd and make one call, and tell how long both took."""
    case = {**_BASE, **FIRST[number]}
    X, y, _ = training_cases.data_of(case, Path())
    settings = training_cases.settings_of(case, 1)
    begin = time.perf_counter()
    checkouts.use(checkout)
    import numbasgd

    numbasgd.train(X, y, **settings)
    print(json.dumps(time.perf_counter() - begin), flush=True)


# The pairs


class Side:
    """A checkout, and its process once it has begun."""

    def __init__(self, checkout: Path, cache: Path) -> None:
        self.checkout, self.cache = checkout, checkouts.cache_of(checkout, cache)

    def begin(self) -> None:
        """Start the process that ``block`` talks to."""
        self.process = self._start(self.cache, ["--serve"], stdin=subprocess.PIPE)

    def _start(self, cache: Path, arguments: list[str], **options: Any) -> subprocess.Popen:
        # The parser of the child wants a second checkout as well.
        return checkouts.start(
            MODULE, self.checkout, cache, [str(self.checkout), *arguments],
            stdout=subprocess.PIPE, text=True, **options,
        )  # fmt: skip

    def block(self, name: str, calls: int) -> tuple[float, str]:
        """Seconds a call, and a hash of its result."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([name, calls]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"The process of {self.checkout} has ended in {name!r}; what it printed is above.")
        seconds, hash_ = json.loads(line)
        return seconds, hash_

    def first(self, number: int, cache: Path | None = None) -> float:
        """Seconds of a first call in a new process, by default with what this side has compiled."""
        out, _ = self._start(cache or self.cache, ["--first", str(number)]).communicate()
        return float(json.loads(out))

    def end(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def in_turn(sides: tuple[Side, Side], number: int) -> tuple[Side, Side]:
    """Who goes first takes turns: A B B A."""
    return sides if number % 2 == 0 else (sides[1], sides[0])


def ratio_of(pairs: list[tuple[float, float]]) -> dict[str, float]:
    """The median of B / A and its quartiles, and the median seconds of both."""
    table = np.array(pairs)
    low, median, high = np.percentile(table[:, 1] / table[:, 0], [25, 50, 75])
    a, b = np.median(table, axis=0)
    return {"ratio": float(median), "low": float(low), "high": float(high), "A": float(a), "B": float(b)}


Row = tuple[float, float, bool]  # seconds of A and of B, and whether both gave the same bits


def blocks_of(sides: tuple[Side, Side], name: str, pairs: int, seconds: float) -> list[Row]:
    """Pairs of blocks of one case, each of at least so many seconds."""
    each = max(side.block(name, 1)[0] for side in sides)
    calls = max(1, int(seconds / each))
    rows = []
    for number in range(pairs):
        found = {side: side.block(name, calls) for side in in_turn(sides, number)}
        (a, hash_a), (b, hash_b) = found[sides[0]], found[sides[1]]
        rows.append((a, b, hash_a == hash_b))
    return rows


def paired_first(args: argparse.Namespace, number: int) -> list[dict[str, Any]]:
    """The first call of a new process, compiled and cached."""
    sides = Side(args.A, args.cache), Side(args.B, args.cache)
    name = f"first call {' '.join(f'{key}={value}' for key, value in FIRST[number].items())}"
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        cold = sides[0].first(number, Path(a)), sides[1].first(number, Path(b))
    for side in sides:
        side.first(number)  # has it compiled
    cached = []
    for turn in range(_PAIRS_OF_FIRST):
        found = {side: side.first(number) for side in in_turn(sides, turn)}
        cached.append((found[sides[0]], found[sides[1]]))
    return [
        {"case": f"{name}, compiled", "is_same": True, **ratio_of([cold])},
        {"case": f"{name}, cached", "is_same": True, **ratio_of(cached)},
    ]


def line(row: dict[str, Any]) -> str:
    """A row as it is printed."""
    return (
        f"{row['case']:70} {1e3 * row['A']:10.4g} ms {1e3 * row['B']:10.4g} ms  x{row['ratio']:.3f} "
        f"[{row['low']:.3f} {row['high']:.3f}]{'' if row['is_same'] else '  OTHER RESULT'}"
    )


def compare(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Print the ratio of every case."""
    found: dict[str, list[Row]] = {name: [] for name in all_cases() if re.search(args.only, name)}
    for number in range(args.rounds):
        sides = Side(args.A, args.cache), Side(args.B, args.cache)
        for side in in_turn(sides, number):
            side.begin()
        for name, rows in found.items():
            rows += blocks_of(sides, name, args.pairs, args.seconds)
        for side in sides:
            side.end()
    results = [
        {"case": name, "is_same": all(row[2] for row in rows), **ratio_of([row[:2] for row in rows])}
        for name, rows in found.items()
    ]
    print("".join(line(row) + "\n" for row in results), end="")
    if results:
        mean = math.exp(sum(math.log(row["ratio"]) for row in results) / len(results))
        slow = [row["case"] for row in results if row["low"] > 1.05]
        print(f"geometric mean x{mean:.3f}; lower quartile above 1.05: {', '.join(slow) or 'none'}", flush=True)
    for number in range(len(FIRST) if args.is_first else 0):
        firsts = paired_first(args, number)
        print("\n".join(line(row) for row in firsts), flush=True)
        results += firsts
    return results


def main() -> None:
    """Compare two checkouts, or be a process of one."""
    parser = checkouts.parser(f"python -m {MODULE}", __doc__ or "")
    parser.add_argument("--only", default="", metavar="PATTERN", help="cases whose names match it")
    parser.add_argument("--rounds", type=int, default=3, help="how often processes are started")
    parser.add_argument("--pairs", type=int, default=8, help="pairs of blocks a case and round")
    parser.add_argument("--seconds", type=float, default=0.04, help="seconds a block at least")
    parser.add_argument("--no-first", dest="is_first", action="store_false", help="no new processes")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.A)
    elif args.first is not None:
        first_call(args.A, args.first)
    else:
        print("seconds of A and B, and the ratio B / A with its quartiles: above 1, B is slower")
        rows = compare(args)
        if args.json:
            args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
