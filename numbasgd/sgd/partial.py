"""Training in pieces: one pass over the rows of each, as if all of them were the rows of one run.

A piece takes over the whole state of the one before, velocities and means included.  Pieces of whole
minibatches make the steps of one run over all rows in that order, bit for bit; the same rows again and again
make those of one run of as many epochs.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import numpy as np

from numbasgd.sgd.config import Method, TrainConfig, rates_in
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.history import TrainerState
from numbasgd.sgd.learning_rate.auto import auto_rate
from numbasgd.sgd.run import safe_lr
from numbasgd.sgd.scale import Scale
from numbasgd.sgd.trainer import Plan, Trainer

#: Schedules that need not know how long a run will be.
ENDLESS = ("constant", "inverse_scaling")
_EPOCHS = 10  # of the first piece, for which "auto" chooses the rate where ``epochs`` is left out


class PieceState(NamedTuple):
    """Where a training in pieces stands.

    w, b : the model, in the units of X.  objective : of the last piece, after its steps.
    pieces : so far.  weights : as in ``RunState``.  steps : in the mean of the weights.
    rate : the first learning rate.  scale : that of the first piece, or None.
    limit : the loss from which on the run has diverged.  first_loss : that of the start.
    """

    w: np.ndarray
    b: Any
    objective: float
    pieces: int
    weights: np.ndarray
    steps: int
    rate: float
    scale: Scale | None
    limit: float
    first_loss: float


def train_piece(
    config: TrainConfig, piece: Dataset, start: tuple[np.ndarray, Any], before: PieceState | None
) -> PieceState:
    """Make one pass over the rows of a piece; ``before`` is left as it is.

    config : with a schedule of ``ENDLESS``; a number of pieces stands for the epochs of lr, average and
    sampling.  piece : with weights as they are, of any mean, since the rows of other pieces count as well.
    start : (w, b) of the first piece.

    Raises
    ------
    ValueError
        If a model of other columns, outputs or dtype has been trained before, or the data overflows.
    DivergenceError
        As ``train``.
    """
    scale = _scale(config, piece) if before is None else before.scale
    rows = piece.together(is_shuffled=config.order != "sequential") if scale is None else scale.apply(piece)
    w, b = start if scale is None else scale.into(*start)
    method = config.method(piece.n, np.ones(1))
    rate = _first_rate(config, rows, method, (w, b)) if before is None or config.lr != "auto" else before.rate
    pieces = 0 if before is None else before.pieces
    lrs = rates_in(np.array([_rate_now(config, rate, pieces)]), piece.dtype)
    method = method._replace(lrs=lrs)
    trainer = Trainer(rows.solver(method), scale, functools.partial(safe_lr, rows, method, w, b))
    _begin(trainer, trainer.solver.layout.row(w, b), before)
    trainer.compile()
    if before is None:
        trainer.start()
        if not math.isfinite(trainer.history[0].loss):
            raise piece.overflows(w)
    trainer.train(Plan((pieces + 1) * piece.n, every=None))
    w, b = trainer.in_user_units(trainer.result)
    weights, counts = trainer.solver.state()
    end = trainer.evaluations()[-1]
    return PieceState(
        w, b, end.objective, pieces + 1, weights, int(counts[0]), rate, scale, trainer.limit,
        trainer.history[0].loss,
    )  # fmt: skip


def _begin(trainer: Trainer, row: np.ndarray, before: PieceState | None) -> None:
    """Set what the steps go on from: each piece is an epoch of its rows, and so many are done."""
    solver = trainer.solver
    if before is None:
        trainer.place(row)
        return
    shape, dtype = (4, *solver.layout.take(solver.rows[0]).shape), solver.rows.dtype
    if before.weights.shape != shape or before.weights.dtype != dtype:
        raise ValueError(
            f"the pieces so far left a state of shape {before.weights.shape} {before.weights.dtype}, and this "
            f"one needs {shape} {dtype}; expected pieces of one model. Pass the same columns, outputs, dtype "
            "and loss, or begin anew."
        )
    samples = before.pieces * solver.n
    solver.restore(before.weights, np.array([before.steps, samples]))
    history = np.array([[before.first_loss, math.nan, math.nan, samples, 0.0]])
    now = TrainerState(1, 0.0, math.inf, solver.result.copy(), 0, samples, samples, False)
    trainer.restore(history, before.limit, now)


def _scale(config: TrainConfig, piece: Dataset) -> Scale | None:
    return piece.scale(config.intercept) if config.standardize else None


def _first_rate(config: TrainConfig, rows: Dataset, method: Method, start: tuple[np.ndarray, Any]) -> float:
    """The rate that was passed, or the best one for some epochs of the first piece."""
    if config.rates is not None:
        return float(config.rates[0])
    s, mean = rows.sample_weight, 1.0
    if rows.is_weighted:
        mean = float(s.mean(dtype=np.float64))
        rows = dataclasses.replace(rows, sample_weight=(s / mean).astype(s.dtype))
    rate = auto_rate(rows, method, *start, config.epochs or _EPOCHS)[0]
    if not math.isfinite(rate):
        raise rows.overflows(start[0])
    return rate / mean  # a step over rows of weight 2 is twice as long


def _rate_now(config: TrainConfig, first: float, pieces: int) -> float:
    """The rate of the piece after so many others."""
    rates = config.rates
    if rates is not None:
        first = float(rates[min(pieces, len(rates) - 1)])
    return first / math.sqrt(1 + pieces) if config.schedule == "inverse_scaling" else first
