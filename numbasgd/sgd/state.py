"""What a run needs besides its data to go on exactly where it stood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from numbasgd.sgd.history import TrainerState

if TYPE_CHECKING:
    from numbasgd.sgd.trainer import Trainer

_NO_HISTORY = np.empty((0, 5))
_NO_SCALE = np.empty((2, 0))


class RunState(NamedTuple):
    """A run between two steps, without padding, so that it does not depend on the width of a register.

    weights : (4, d + 1), or (4, d + 1, K), the rows of a solver's state, the intercept last, in the dtype and
    the units of training.  counts : (2,) as there.
    best : (d + 1,) or (d + 1, K) the best weights so far; best_watched : their loss.
    stale : epochs since then.  limit : the loss from which on a run has diverged.
    history : (t, 5) the evaluations that ``eval_every`` says, as ``Evaluation``; seconds : until now.
    looked, asked : samples up to which everything was evaluated, and the callback said to go on.
    is_over : early stopping has ended the run.
    factor : of the rate, less than 1 after rounds that were undone.
    lrs : rates of the epochs, or the first rate of a schedule.  scale : (2, d) mean and standard deviation of
    the columns, or (2, 0) without ``standardize``.  data : the fingerprint of the data.
    """

    weights: np.ndarray
    counts: np.ndarray
    best: np.ndarray
    best_watched: float
    stale: int
    limit: float
    history: np.ndarray
    seconds: float
    looked: int
    asked: int
    is_over: bool
    lrs: np.ndarray
    scale: np.ndarray
    data: Mapping[str, Any]
    factor: float = 1.0

    @property
    def samples(self) -> int:
        """Samples that were seen."""
        return int(self.counts[1])


def freeze(trainer: Trainer, lrs: np.ndarray, data: Mapping[str, Any]) -> RunState:
    """The state of a run between two steps, for a file or a later call; may be called whenever Python runs."""
    now, scale, solver = trainer.now, trainer.scale, trainer.solver
    weights, counts = solver.state()
    return RunState(
        weights=weights,
        counts=counts,
        best=solver.layout.take(now.best),
        best_watched=now.best_watched,
        stale=now.stale,
        limit=trainer.limit,
        history=np.array(trainer.history[: now.n_evaluations] or _NO_HISTORY, np.float64),
        seconds=now.seconds,
        looked=now.looked,
        asked=now.asked,
        is_over=now.is_over,
        lrs=lrs,
        scale=_NO_SCALE if scale is None else np.array([scale.mean, scale.std]),
        data=data,
        factor=now.factor,
    )


def restore(trainer: Trainer, state: RunState) -> None:
    """Bring a run to where ``freeze`` was called; the inverse of it, bit for bit."""
    solver = trainer.solver
    solver.restore(state.weights, state.counts)
    best = np.zeros_like(solver.rows[0])
    solver.layout.put(best, state.best)
    now = TrainerState(
        n_evaluations=len(state.history), seconds=state.seconds, best_watched=state.best_watched, best=best,
        stale=state.stale, looked=state.looked, asked=state.asked, is_over=state.is_over, factor=state.factor,
    )  # fmt: skip
    trainer.restore(state.history, state.limit, now)
