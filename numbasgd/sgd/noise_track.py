"""The noise of minibatch gradients along a run (``train(..., track_noise=True)``), at little cost.

Some rows, always the same, estimate tr(Sigma) and |G|^2 without bias (``moments``).  They are looked at where
the loss is evaluated, but not more often than costs a small part of the steps, in work that is counted: what a
run tells does not depend on the clock.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from numbasgd.sgd.config import Method
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.learning_rate.cost import Size
from numbasgd.sgd.learning_rate.curvature import some_rows
from numbasgd.sgd.losses import loss_named
from numbasgd.sgd.model import Layout
from numbasgd.sgd.moments import Slope, moments

_ROWS = 2048  # that are looked at
_SHARE = 0.05  # of the steps
_CALL, _ENTRY = 1e5, 1.5  # nanoseconds of a look, and of each entry of its rows


class NoiseHistory(NamedTuple):
    """samples : (k,) seen at each look.  trace : (k,) tr(Sigma).  squared : (k,) |G|^2; estimates of both.

    An estimate of |G|^2 is unbiased, and may be below 0 where little of a gradient is left.
    """

    samples: np.ndarray
    trace: np.ndarray
    squared: np.ndarray

    @property
    def noise_scale(self) -> np.ndarray:
        """tr(Sigma) / |G|^2 (McCandlish et al., 2018, arXiv 1812.06162); infinite where no gradient is seen."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.squared > 0, self.trace / self.squared, math.inf)


class NoiseTracker:
    """Looks at some rows in the course of a run.

    table : (samples, trace, squared) of each look; those of the run that it goes on with come first.
    """

    def __init__(self, dataset: Dataset, method: Method, before: np.ndarray | None) -> None:
        self.n, self.some = dataset.n, some_rows(dataset.sample().counted(), _ROWS)
        self.slope = Slope(method.loss, method.intercept, method.l2)
        self.table: list[tuple[float, float, float]] = (
            [] if before is None else [tuple(r) for r in before.tolist()]
        )
        look = _CALL + _ENTRY * self.some.n * self.some.row_entries * max(dataset.outputs, 1)
        epoch = dataset.cost(loss_named(method.loss), method.batch_size).steps(
            Size(dataset.n, method.batch_size, 1)
        )
        self.every = max(1, math.ceil(look / (_SHARE * epoch)))  # epochs between two looks

    def look(self, samples: int, row: np.ndarray, layout: Layout) -> None:
        """Note the noise at a row of the state, if the last look was long enough ago."""
        if self.table and samples < self.table[-1][0] + self.every * self.n:
            return
        taken = layout.take(row)
        found = moments(self.some, self.slope, taken[:-1], taken[-1], self.n)
        self.table.append((float(samples), found.trace, found.squared))
