"""Cases of training that two versions of numbasgd are compared on: which settings meet in them, and their data.

numbasgd itself is not imported here, since the same cases are made for any version (``bench.same_bits``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.pairwise import Case, covering, pairs_of

SEED = 7  # of every run
EPOCHS = 3
COVERINGS = 3  # pairwise coverings of all factors, with different third values

# What selects a compiled kernel: the target, its number of outputs, how a row lies in registers (edges: 8
# registers of 16 float32 or 8 float64, 32 outputs), and what a step does.
KERNEL_FACTORS: dict[str, tuple[Any, ...]] = {
    "problem": (
        "squared", "squared-1", "squared-3", "squared-10", "squared-40", "huber", "huber-3", "logistic",
        "hinge", "softmax-2", "softmax-3", "softmax-10", "softmax-40",
    ),
    "d": (5, 1, 16, 33, 64, 128, 129, 200, 600, 784),
    "dtype": ("float32", "float64", "int64"),
    "order": ("C", "F", "rows", "columns", "reversed", "overlapping", "memmap", "packed"),
    "weights": ("none", "some"),
    "momentum": ("none", "heavy-ball", "nesterov"),
    "penalty": ("none", "l2", "l1", "both"),
    "average": (False, True, 1),
}  # fmt: skip
# What does not; 4500 rows are drawn in windows, and 4500 of 600 columns at once are a step in parts.
OTHER_FACTORS: dict[str, tuple[Any, ...]] = {
    "n": (1001, 200, 4500),
    "batch_size": (10, 1, 7, 100, "all"),
    "sampling": ("reshuffle", "once", "replacement", "sequential"),
    "intercept": (True, False),
    "standardize": (False, True),
    "validation": (0.0, 0.25),
    "tol": (None, 0.05),
    "lr": ("number", "auto", "list", "function"),
    "eval_every": ("epoch", None, 317),
    "threads": (None, 1, 2),
    "init": ("zeros", "given"),
    "labels": ("numbers", "text"),
    "stop": ("never", "callback", "fewer epochs", "checkpoint", "interrupt", "between evaluations"),
}
FACTORS = {**KERNEL_FACTORS, **OTHER_FACTORS}  # the first value of each is that of the base case
BASE: Case = {name: values[0] for name, values in FACTORS.items()}
FROM_FILE = ("fewer epochs", "checkpoint", "interrupt")  # where the run goes on from a file
_PENALTIES = {"none": {}, "l2": {"l2": 0.01}, "l1": {"l1": 0.002}, "both": {"l2": 0.01, "l1": 0.002}}
_MOMENTUM = {"none": {}, "heavy-ball": {"momentum": 0.9}, "nesterov": {"momentum": 0.9, "nesterov": True}}
_ROUGH = {"lr": "too large", "eval_every": 50}
_MANY_ROWS = {"n": 1_000_000}
_FEW_PARTS = {"n": 12_000, "d": 784, "batch_size": 6000, "momentum": "heavy-ball"}
# Large cases: steps in parts, several parts a step, an order drawn by another thread, a loss looked at on
# some of the rows; and small ones: divergence, almost no data.
EXTRA: tuple[Case, ...] = (
    {**_FEW_PARTS},
    {**_FEW_PARTS, "sampling": "once", "threads": 2, "weights": "some", "average": 1},
    {**_FEW_PARTS, "sampling": "replacement", "threads": 1, "penalty": "both", "stop": "interrupt"},
    {**_FEW_PARTS, "sampling": "sequential", "threads": 2, "order": "F"},
    {**_FEW_PARTS, "problem": "softmax-10", "average": 1, "validation": 0.25},
    {**_FEW_PARTS, "problem": "softmax-40", "n": 4500, "batch_size": "all"},
    {**_FEW_PARTS, "problem": "squared-1", "batch_size": "all", "eval_every": None},
    {"n": 4000, "d": 784, "batch_size": 3000},
    {"n": 150_000, "d": 33, "batch_size": 120_000, "penalty": "both"},
    {**_MANY_ROWS},
    {**_MANY_ROWS, "batch_size": 1, "threads": 2, "epochs": 6},
    {**_MANY_ROWS, "batch_size": 1, "threads": 1, "epochs": 6},
    {**_MANY_ROWS, "weights": "some", "sampling": "once", "threads": 2, "stop": "interrupt"},
    {**_MANY_ROWS, "sampling": "replacement", "dtype": "float64", "eval_every": None},
    {**_MANY_ROWS, "problem": "logistic", "lr": "auto", "stop": "between evaluations", "eval_every": 300_007},
    {**_MANY_ROWS, "problem": "softmax-10", "batch_size": 100, "eval_every": None},
    {**_MANY_ROWS, "standardize": True, "validation": 0.25, "tol": 0.05},
    {"n": 2_700_000, "batch_size": 1000, "eval_every": None},
    {"n": 2_700_000, "batch_size": 1000, "eval_every": None, "lr": "too large"},
    {"n": 2_700_000, "batch_size": 1000, "eval_every": None, "lr": "too large", "validation": 0.25},
    {**_ROUGH},
    {**_ROUGH, "validation": 0.25, "standardize": True},
    {**_ROUGH, "problem": "squared-3", "penalty": "l2"},
    {**_ROUGH, "momentum": "nesterov", "lr": "too large", "stop": "fewer epochs", "eval_every": None},
    {**_ROUGH, "d": 784, "n": 4500, "batch_size": "all"},
    {"n": 1, "batch_size": "all"},
    {"n": 1, "batch_size": "all", "problem": "squared-3", "lr": "auto"},
    {"n": 2, "lr": "auto"},
    {"d": 0},
    {"d": 0, "problem": "squared-3", "standardize": True},
    {"data": "constant column", "standardize": True},
    {"data": "constant column", "standardize": True, "intercept": False, "lr": "auto"},
    {"data": "large column"},
    {"data": "large column", "lr": "auto"},
    {"data": "NaN", "lr": "auto"},
    {"data": "NaN", "problem": "softmax-3"},
    {"data": "NaN", "stop": "fewer epochs", "validation": 0.25},
    {"data": "overflow"},
    {"data": "overflow", "init": "given"},
    {"data": "overflow", "lr": "auto"},
    {"epochs": 0, "lr": "auto"},
    {"problem": "quantile", "quantile": 0.9, "lr": "auto", "weights": "some", "stop": "interrupt"},
    {"epochs": 10, "lr": "auto", "tol": 0.05, "penalty": "l1"},
    {"epochs": 10, "problem": "softmax-3", "lr": "auto", "tol": 0.05, "validation": 0.25, "stop": "interrupt"},
)


def is_allowed(a: str, x: Any, b: str, y: Any) -> bool:
    """Whether a value of a factor and one of a later factor may meet."""
    if (a, b) == ("problem", "labels"):
        return y == "numbers" or x in ("logistic", "hinge") or x.startswith("softmax")
    if (a, b) == ("eval_every", "stop"):  # it is an evaluation that interrupts
        return y != "between evaluations" or x == 317
    return True


def all_cases() -> dict[str, Case]:
    """Name -> case: every value against the base, then pairwise coverings, then what they do not reach.

    The coverings take the kernels of a smaller covering, since to compile one takes longer than to run many.
    """
    kernels = covering(KERNEL_FACTORS, is_allowed, SEED)
    found = base_and_each_value()
    for number in range(COVERINGS):
        found += covering(FACTORS, is_allowed, number, kernels)
    found += [{**BASE, **extra} for extra in EXTRA]
    return {name_of(case): case for case in found}


def base_and_each_value() -> list[Case]:
    """The base case, and every value that it allows in its place."""
    found = [BASE, *({**BASE, name: value} for name, values in FACTORS.items() for value in values[1:])]
    return [case for case in found if all(is_allowed(*pair) for pair in pairs_of(case, list(FACTORS)))]


def name_of(case: Case) -> str:
    """The problem, and what differs from the base."""
    rest = [f"{name}={value}" for name, value in case.items() if BASE.get(name) != value and name != "problem"]
    return " ".join([case["problem"], *(part.replace(" ", "-") for part in rest)])


def rows_in_order(n: int, d: int, dtype: str, order: str, folder: Path) -> np.ndarray:
    """X (n, d) of random numbers, in some memory order."""
    rng = np.random.default_rng(n + d)

    def numbers(*shape: int) -> np.ndarray:
        if dtype == "int64":
            return rng.integers(-3, 4, shape)
        return rng.standard_normal(shape, dtype=np.dtype(dtype).type)

    if order == "F":
        return np.asfortranarray(numbers(n, d))
    if order == "rows":
        return numbers(2 * n, d)[::2]
    if order == "columns":
        return numbers(n, 2 * d)[:, ::2]
    if order == "reversed":
        return numbers(n, d)[::-1, ::-1]
    if order == "overlapping":  # a row begins one number after the one before
        return np.lib.stride_tricks.sliding_window_view(numbers(n + d - 1), d)
    if order == "memmap":
        path = folder / f"{n}x{d}-{dtype}.npy"
        np.save(path, numbers(n, d))
        return np.load(path, mmap_mode="r")
    if order == "packed":  # strides that are no multiple of an entry
        records = np.zeros(n, [("flag", "i1"), ("x", dtype, (d,))])
        records["x"] = numbers(n, d)
        return records["x"]
    return numbers(n, d)


def targets_of(X: np.ndarray, problem: str, labels: str) -> np.ndarray:
    """Targets, each a sum of two columns of X and noise, without a matrix product, for the same bits."""
    loss, _, outputs = problem.partition("-")
    n, d = X.shape
    K = int(outputs or 1)
    Z = np.random.default_rng(n).standard_normal((n, K))
    for k in range(K if d else 0):
        Z[:, k] += 0.7 * X[:, k % d] - 0.4 * X[:, (3 * k + 1) % d]
    if loss == "softmax":
        numbers = Z.argmax(axis=1)
        numbers[: min(K, n)] = np.arange(min(K, n))  # every class occurs
        return np.array([f"class {k:02}" for k in range(K)])[numbers] if labels == "text" else numbers
    if loss in ("logistic", "hinge"):
        is_second = Z[:, 0] > 0
        is_second[:2] = (False, True)[:n]  # both occur
        return np.where(is_second, "yes", "no") if labels == "text" else np.where(is_second, 1, -1)
    y = Z.astype(np.float32 if X.dtype == np.float32 else np.float64)
    return y if outputs else y[:, 0]


def data_of(case: Case, folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """X, y and sample weights."""
    n, d = case["n"], case["d"]
    X = rows_in_order(n, d, case["dtype"], case["order"], folder)
    y = targets_of(X, case["problem"], case["labels"])
    kind = case.get("data")
    if kind == "constant column":
        X[:, 1] = 0.3
    elif kind == "large column":
        X[:, 1] *= 1000
    elif kind == "NaN":
        X[n // 2, 1] = np.nan
    elif kind == "overflow":
        X[n // 2, 1] = 1e38
    weights = None
    if case["weights"] == "some":
        weights = np.random.default_rng(d).integers(0, 4, n) / 4
        weights[0] = 1.0
    return X, y, weights


def rates_of(case: Case, epochs: int) -> Any:
    """What is passed as ``lr``."""
    size = (case["d"] + 1) * (4 if case["dtype"] == "int64" else 1)
    rate = 0.1 / size / (1 if case["momentum"] == "none" else 10)
    by_epoch = [rate / (1 + epoch) for epoch in range(max(epochs, 1))]
    return {
        "number": rate, "auto": "auto", "list": by_epoch, "function": lambda epoch: rate / (2 + epoch),
        "too large": 1000 * rate,
    }[case["lr"]]  # fmt: skip


def settings_of(case: Case, epochs: int) -> dict[str, Any]:
    """The arguments of ``train`` but for X, y, weights and what stops the run."""
    n, d = case["n"], case["d"]
    n_trained = n - round(case["validation"] * n)
    loss, _, outputs = case["problem"].partition("-")
    batch_size = n_trained if case["batch_size"] == "all" else min(case["batch_size"], n_trained)
    settings = {
        "loss": loss, "batch_size": batch_size, "lr": rates_of(case, epochs), "epochs": epochs, "seed": SEED,
        "sampling": case["sampling"], "average": case["average"], "intercept": case["intercept"],
        "standardize": case["standardize"], "eval_every": case["eval_every"], "threads": case["threads"],
        "validation_fraction": case["validation"], "tol": case["tol"], "patience": 1, "progress": False,
        **_MOMENTUM[case["momentum"]], **_PENALTIES[case["penalty"]],
    }  # fmt: skip
    if "quantile" in case:
        settings["quantile"] = case["quantile"]
    if case["init"] == "given":
        shape = (d, int(outputs)) if outputs else (d,)
        w = np.random.default_rng(1).standard_normal(shape) / 10
        settings["init"] = w, np.linspace(0, 1, int(outputs)) if outputs else 0.5
    return settings
