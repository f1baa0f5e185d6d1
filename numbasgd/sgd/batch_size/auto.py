"""The batch size of ``train(batch_size="auto")``: from the data and a table of costs, never from a clock.

The noisy quadratic model (``model``), made from a sample of the rows, tells how many steps each size needs to a
tenth, a hundredth and a thousandth of the gap; ``costs.json`` has what a step costs on the family of the CPU,
as ``python -m bench.step_costs`` measured it once.  So the same data, seed and family give the same size, and
the same weights.
"""

from __future__ import annotations

import functools
import json
import math
import time
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from numbasgd.machine.cpu import host
from numbasgd.sgd.batch_size import model
from numbasgd.sgd.batch_size.optimum import Objective, Optimum, optimum
from numbasgd.sgd.config import TrainConfig
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.learning_rate.curvature import some_rows
from numbasgd.sgd.losses import LOSSES
from numbasgd.sgd.moments import Slope

#: What costs are told of: (loss, outputs), at rows of so many columns and steps of so many rows, and all rows.
KINDS = MappingProxyType(
    {
        "squared": ("squared", 0), "huber": ("huber", 0), "logistic": ("logistic", 0), "hinge": ("hinge", 0),
        "quantile": ("quantile", 0), "many": ("squared", 8), "softmax": ("softmax", 8),
    }
)  # fmt: skip
WIDTHS = (4, 16, 64, 256)
SIZES = (1, 4, 16, 64, 256)
TARGETS = (0.1, 0.01, 0.001)  # shares of the gap: a size must not be far from the best for any of them
_MEASURED = "AMD Zen 5"  # the family whose costs stand for those of a family that nobody has measured
_ROWS = 2048  # that the model is made from
_ROUGH = ("hinge", "quantile")  # losses with kinks
_USUAL = 32  # where nothing is known
_NEVER = 100.0  # times the best one's seconds, for a size that does not get there


@functools.cache
def _costs(family: str) -> dict[str, Any]:
    kept = json.loads((Path(__file__).parent / "costs.json").read_text())
    return kept.get(family, kept[_MEASURED])


def sample_cost(kind: str, width: float, batch_size: int, n: int, family: str | None = None) -> float:
    """Nanoseconds a sample, by logarithms between the entries of the table."""
    table = np.log(np.array(_costs(host().name if family is None else family)[kind]))
    along = np.log(np.clip(width, WIDTHS[0], None))
    columns = [np.interp(along, np.log(WIDTHS), table[:, j]) for j in range(table.shape[1])]
    beyond = max(width / WIDTHS[-1], 1.0)
    if batch_size >= n:
        return beyond * float(np.exp(columns[-1]))
    return beyond * float(np.exp(np.interp(math.log(batch_size), np.log(SIZES), columns[:-1])))


class AutoSize(NamedTuple):
    """A batch size, what it was chosen by, and the seconds of compiling on the way."""

    batch_size: int
    because: str
    compile_seconds: float = 0.0


def auto_batch_size(dataset: Dataset, config: TrainConfig, start: tuple[np.ndarray, Any]) -> AutoSize:
    """The batch size for these rows.

    start : w and b to begin from, in the units of the rows.
    """
    n, (w, b) = dataset.n, start
    if config.l1 or config.loss in _ROUGH:
        return AutoSize(min(_USUAL, n), f"{_USUAL}: the objective has kinks, for which there is no model")
    few = some_rows(dataset.sample().counted(), _ROWS)
    if config.standardize:
        scale = few.scale(config.intercept)
        (w, b), few = scale.into(w, b), scale.apply(few)
    W = np.vstack([w.reshape(few.d, -1), np.reshape(b, (1, -1))]).astype(np.float64)
    begin = time.perf_counter()
    method = config.method(few.n, np.ones(1, few.dtype), few.n)
    solver = few.solver(method._replace(sampling="reshuffle"))  # "block" is none of rows in memory
    solver.compile()
    objective = Objective(solver)
    objective.gradient(W)  # which may have to be compiled
    compile_seconds = time.perf_counter() - begin
    first = objective.value(objective.row(W))
    best = optimum(objective, W, min(TARGETS), math.inf)
    if not math.inf > first > best.objective:
        return AutoSize(min(_USUAL, n), f"{_USUAL}: there is nothing to gain from the start", compile_seconds)
    run = model.Run(n, config.sampling == "replacement", config.momentum)
    sizes = np.array([1 << k for k in range(40) if (1 << k) < n] + [n])
    kind, width = _kind(dataset, config.loss)
    cost = np.array([sample_cost(kind, width, int(size), n) for size in sizes])
    # Where classes can be told apart, the loss goes on falling, and the first target is what most runs are for.
    targets = TARGETS[: 1 if best.objective == 0 else None]
    samples = np.array([_samples(objective, few, best, (W, first), run, target, sizes) for target in targets])
    if config.epochs is not None:
        samples[samples > config.epochs * n] = math.inf
    is_known = np.isfinite(samples).any(axis=1)
    if not is_known.any():
        because = f"{_USUAL}: no size gets far in {config.epochs} epochs, by the noisy quadratic model"
        return AutoSize(min(_USUAL, n), because, compile_seconds)
    seconds = np.minimum(samples * cost, _NEVER * np.min(samples * cost, axis=1, keepdims=True))[is_known]
    price = np.exp(np.mean(np.log(seconds / seconds.min(axis=1, keepdims=True)) ** 2, axis=0))
    found = int(sizes[np.argmin(np.round(price, 3))])
    because = f"the noisy quadratic model and what steps cost on {host().name}"
    return AutoSize(found, because, compile_seconds)


def _samples(
    objective: Objective, few: Dataset, best: Optimum, begin: tuple[np.ndarray, float], run: model.Run,
    target: float, sizes: np.ndarray,
) -> list[float]:  # fmt: skip
    """Samples that each size needs at its best rate until ``target`` of the gap is left.

    begin : the first weights and their objective.
    """
    W, first = begin
    method, gap = objective.solver.method, first - best.objective
    # Where classes can be told apart there is no optimum, and the weights at the target stand for it.
    low, end = best.near(best.objective + 0.5 * target * gap if best.objective == 0 else -math.inf)
    local = model.local_model(few, Slope(method.loss, method.intercept, method.l2), W, end, first - low)
    goal = (best.objective + target * gap - low) / (first - low)
    return [float(model.steps_to(local, run, int(b), goal)[1].min()) * b for b in sizes]


def _kind(dataset: Dataset, loss: str) -> tuple[str, float]:
    """Which rows of the table, and the width to look at there."""
    entries = float(dataset.row_entries)
    if dataset.outputs > 1:
        kind = "softmax" if LOSSES[loss].rows is not None else "many"
        return kind, max(entries * dataset.outputs / KINDS[kind][1], 1.0)
    return loss, max(entries, 1.0)
