"""What a run has told so far: its evaluations, the best of them, and where it stands."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Evaluation(NamedTuple):
    """Losses at some time of a run.

    objective : the loss with the penalties added.  validation : that of the held-out rows, or NaN.
    samples, seconds : seen, and spent on training, until then.
    """

    loss: float
    objective: float
    validation: float
    samples: int
    seconds: float


class TrainerState(NamedTuple):
    """Where a run stands, replaced as a whole, so that an interrupt never sees half of a change.

    n_evaluations : entries of the history that count.  seconds : of steps.
    best_watched, best : the best watched loss of all epochs with early stopping, else of the history, and its
    row of the solver's state.  stale : epochs since then.
    looked : samples up to which evaluation and early stopping are done.  asked : up to which the callback said
    to go on.  is_over : early stopping has ended the run.  factor : of the rate, less than 1 after rounds that
    were undone.
    """

    n_evaluations: int
    seconds: float
    best_watched: float
    best: np.ndarray
    stale: int
    looked: int
    asked: int
    is_over: bool
    factor: float = 1.0
