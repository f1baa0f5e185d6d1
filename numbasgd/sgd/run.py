"""One training run: the state that kernels change, the clock, the history, and the watch for divergence."""

from __future__ import annotations

import math
import time

import numpy as np

from numbasgd.errors import DivergenceError
from numbasgd.sgd import rates
from numbasgd.sgd.cpu import kernels, padded
from numbasgd.sgd.progress import Progress
from numbasgd.sgd.sampling import SAMPLINGS
from numbasgd.sgd.scale import Scale

DIVERGED = 1e6  # a loss so many times the first one
_CALL_SECONDS = 0.1  # how long compiled code runs before Python looks at it: progress, Ctrl-C, divergence
# Entering compiled code from Python takes as long as a few small steps.  That it is entered once per
# evaluation is the evaluation's doing, so the shortest of some calls without a step is taken off.
_ENTRIES = 20


class Run:
    """One training run: the state that kernels change, the clock and the history."""

    def __init__(
        self,
        X: np.ndarray,
        y: np.ndarray,
        loss: str,
        batch_size: int,
        lr: float,
        sampling: str,
        intercept: bool,
        seed: int,
        scale: Scale | None,
    ) -> None:
        self.X, self.y = X, y
        self.n, self.d = X.shape
        self.batch_size = batch_size
        self.lr = lr
        self.sampling = SAMPLINGS[sampling]
        self.intercept = intercept
        self.seed = seed
        self.scale = scale
        self.kernels = kernels(loss, self.d, X.dtype)
        self.w = np.zeros(padded(self.d, self.kernels.lanes), X.dtype)
        self.b = np.zeros(1, X.dtype)
        # A step over all rows needs no order, unless rows are drawn with replacement.
        is_whole = batch_size >= self.n and sampling != "replacement"
        self.order = np.empty(0 if is_whole else self.n, np.int32 if self.n < 2**31 else np.int64)
        self.drawn = np.full(1, -1, np.int64)
        self.rate = X.dtype.type(lr)
        self.samples = 0
        self.seconds = 0.0
        self.compile_seconds = 0.0
        self.history: list[tuple[float, int, float]] = []

    def start(self, w: np.ndarray, b: float) -> None:
        """Set the weights, compile, and evaluate for the first time."""
        begin = time.perf_counter()
        self._advance(0)
        self.kernels.mean_loss(self.X[:1], self.y[:1], self.w, self.b)
        self.compile_seconds = time.perf_counter() - begin
        self.entry_seconds = min(self._time_entry() for _ in range(_ENTRIES))
        self.w[: self.d] = w
        self.b[0] = b
        first = self._evaluate()
        self.record(first)
        self.best = (first, self.w.copy(), float(self.b[0]))
        # Weights that happen to start at the optimum must not make rounding noise a divergence.
        at_zero = 0.5 * float(np.mean(np.square(self.y, dtype=np.float64)))
        self.limit = DIVERGED * max(first, at_zero)

    def _advance(self, end: int) -> None:
        """Make all steps up to ``end`` samples."""
        self.kernels.advance(
            self.X, self.y, self.order, self.drawn, self.sampling, self.seed, self.samples, end,
            self.batch_size, self.rate, self.intercept, self.w, self.b,
        )  # fmt: skip
        self.samples = end

    def _time_entry(self) -> float:
        begin = time.perf_counter()
        self._advance(0)
        return time.perf_counter() - begin

    def _evaluate(self) -> float:
        return float(self.kernels.mean_loss(self.X, self.y, self.w, self.b))

    def record(self, loss: float) -> None:
        """Add the present moment to the history."""
        self.history.append((loss, self.samples, self.seconds))

    def weights(self) -> tuple[np.ndarray, float]:
        """The present weights in the user's units."""
        return self._in_user_units(self.w, float(self.b[0]))

    def _in_user_units(self, w: np.ndarray, b: float) -> tuple[np.ndarray, float]:
        w = w[: self.d].copy()
        return (w, b) if self.scale is None else self.scale.back(w, b)

    def train(self, epochs: int, every: int | None, progress: Progress) -> None:
        """Run to the end of the last epoch; ``every`` samples an evaluation is put into the history."""
        target = epochs * self.n
        per_call = self.n  # samples in one call of compiled code, as many as _CALL_SECONDS take
        while self.samples < target:
            due = target if every is None else min(target, (self.samples // every + 1) * every)
            before = self.samples
            begin = time.perf_counter()
            self._advance(self._step_end(min(due, before + per_call)))
            spent = time.perf_counter() - begin
            self.seconds += max(spent - self.entry_seconds, 0.0)
            in_time = (self.samples - before) * _CALL_SECONDS / max(spent, 1e-9)
            per_call = max(self.batch_size, min(int(in_time), 16 * per_call))
            if self.samples >= due or every is None:
                loss = self._evaluate()
                self._check(loss)
                if every is not None or self.samples >= target:
                    self.record(loss)
                progress.show(self.samples / self.n, loss)
            else:
                progress.show(self.samples / self.n, None)

    def _step_end(self, samples: int) -> int:
        """The end, in samples, of the step that holds sample number ``samples``; steps end with the epoch."""
        epoch, position = divmod(samples - 1, self.n)
        return epoch * self.n + min(-(-(position + 1) // self.batch_size) * self.batch_size, self.n)

    def _check(self, loss: float) -> None:
        """Remember the best weights; raise if the loss has left for infinity."""
        if loss <= self.best[0]:
            self.best = (loss, self.w.copy(), float(self.b[0]))
        if math.isfinite(loss) and loss <= self.limit:
            return
        best, w, b = self.best
        w, b = self._in_user_units(w, b)
        lr = rates.stable_lr(self.X, self.batch_size, self.intercept)
        epoch = self.samples / self.n
        raise DivergenceError(
            f"lr is {self.lr:.4g}, and the loss went from {self.history[0][0]:.4g} to {loss:.4g} after "
            f'{epoch:g} epochs; expected it to fall. Pass lr={lr:.2g} or less, lr="auto", or standardize=True. '
            f"The best weights so far (loss {best:.4g}) are in the error's w and b.",
            epoch=epoch,
            w=w,
            b=b,
            loss=best,
            suggested_lr=lr,
        )
