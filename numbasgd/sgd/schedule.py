"""Schedules: how the learning rate falls in the course of a run.

**The rate of a step is ``lr * factor(x, epochs)``**, where lr is the first rate, x the fraction of the run that
is done and ``epochs`` its length.  An epoch is cut into spans of whole steps, ``Spans`` says how many, and all
steps of a span have the rate of its middle.  So the rate of a step follows from its number alone: not from
where a run was stopped, and not from the clock.

A run with ``schedule="restarts"`` is cut into rounds of 1, 2, 4, ... times the epochs of the first, each an
annealing from the full rate to zero by the cosine (Loshchilov and Hutter, "SGDR: stochastic gradient descent
with warm restarts", ICLR 2017, with T_mult = 2); x and ``epochs`` are then those of the round.  At the end of a
round the noise of the steps has died away, so that what the round gained tells whether more of them pay.

To add one: a function and its entry in ``SCHEDULES``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

Factor = Callable[[np.ndarray, float], np.ndarray]

RESTARTS = "restarts"
_FIRST_STEPS = 32  # of the first round, at least: fewer do not tell what a rate does
_SPANS = 32  # of an epoch, at most
_MOST = 1 << 12  # spans of a run, where an epoch can have fewer


class Spans(NamedTuple):
    """Which entry of the rates a step has: that of its span, the last one beyond the last.

    first : the epoch of the first entry.  an_epoch : spans of an epoch.  rows : of a span, a multiple of the
    batch size.
    """

    first: int
    an_epoch: int
    rows: int

    def entry(self, epoch: int, position: int, n_rates: int) -> int:
        """The entry for the step that begins at this position of an epoch."""
        return min((epoch - self.first) * self.an_epoch + position // self.rows, n_rates - 1)


#: One rate for each epoch.
EPOCHS = Spans(0, 1, 1 << 62)


def constant(x: np.ndarray, epochs: float) -> np.ndarray:
    """1."""
    return np.ones_like(x)


def inverse_scaling(x: np.ndarray, epochs: float) -> np.ndarray:
    """1 / sqrt(1 + t) after t epochs (Robbins and Monro, 1951, with the exponent that averaging goes with)."""
    return 1 / np.sqrt(1 + x * epochs)


def cosine(x: np.ndarray, epochs: float) -> np.ndarray:
    """(1 + cos(pi x)) / 2, from 1 to 0 (Loshchilov and Hutter, ICLR 2017)."""
    return 0.5 * (1 + np.cos(np.pi * x))


def step(x: np.ndarray, epochs: float) -> np.ndarray:
    """1, from half of the run on 0.1, from three quarters on 0.01 (He, Zhang, Ren, Sun, CVPR 2016, 4.2)."""
    return np.where(x < 0.5, 1.0, np.where(x < 0.75, 0.1, 0.01))


#: All schedules by name; that with restarts is the cosine within each round.
SCHEDULES: Mapping[str, Factor] = MappingProxyType(
    {
        "constant": constant,
        "inverse_scaling": inverse_scaling,
        "cosine": cosine,
        "step": step,
        RESTARTS: cosine,
    }
)


@functools.lru_cache(64)
def factors(schedule: str, n: int, batch_size: int, first: int, epochs: int) -> tuple[np.ndarray, Spans]:
    """The factors of a run, or a round, of so many epochs from epoch ``first`` on, and the steps of each.

    n : rows of an epoch.  The array is read-only.
    """
    epochs = max(epochs, 1)
    steps = -(-n // batch_size)
    count = 1 if schedule == "constant" else min(steps, _SPANS, max(1, _MOST // epochs))
    steps_each = -(-steps // count)
    count = -(-steps // steps_each)
    spans = Spans(first, count, steps_each * batch_size)
    starts = np.arange(count) * spans.rows
    middle = (starts + np.minimum(starts + spans.rows, n)) / (2 * n)
    if schedule == "constant":
        return _read_only(np.ones(1)), spans
    x = (np.arange(epochs)[:, None] + middle).ravel() / epochs
    return _read_only(SCHEDULES[schedule](x, epochs)), spans


def _read_only(a: np.ndarray) -> np.ndarray:
    a.setflags(write=False)
    return a


class Rounds(NamedTuple):
    """The rounds of a run with restarts.

    n : rows of an epoch.  limit : where the last one ends, in epochs.  rate : the first of each.
    """

    n: int
    batch_size: int
    limit: int
    rate: float = 1.0

    @property
    def first(self) -> int:
        """Epochs of the first round."""
        return max(1, -(-_FIRST_STEPS // -(-self.n // self.batch_size)))

    def at(self, epoch: int) -> tuple[int, int]:
        """(first epoch, end) of the round that an epoch is in."""
        start, length = 0, self.first
        while start + length <= epoch:
            start, length = start + length, 2 * length
        return start, min(start + length, self.limit)

    def ending_at(self, epoch: int) -> int:
        """Epochs of the round that ends when so many are done, or 0."""
        start, end = self.at(max(epoch - 1, 0))
        return end - start if end == epoch else 0

    def whole(self) -> Rounds:
        """Only those that need not be cut to end within the limit; the first in any case."""
        end, length = 0, self.first
        while end + length <= self.limit:
            end, length = end + length, 2 * length
        return self._replace(limit=end or self.limit)

    def rates(self, epoch: int, factor: float, dtype: np.dtype) -> tuple[np.ndarray, Spans]:
        """The rates of the round that an epoch is in, times ``factor``."""
        start, end = self.at(epoch)
        values, spans = factors(RESTARTS, self.n, self.batch_size, start, end - start)
        return (self.rate * factor * values).astype(dtype), spans
