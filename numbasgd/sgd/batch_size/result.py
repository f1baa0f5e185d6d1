"""``BatchSize``: what ``best_batch_size`` has found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

NEAR = 1.11  # times the least seconds that the model tells, for a size that is about as good


@dataclass(frozen=True)
class Trial:
    """A batch size and what it takes to the target.

    lr : its best rate.  steps : to the target, by the model.  predicted : seconds by the model and the clock.
    raced : seconds of the race, or as it would have gone on; None where it was not in it, or not on its way.
    seconds : what is expected, from both; None for never.
    step_seconds : of one step, ``overhead_seconds`` of them without its rows.
    """

    batch_size: int
    lr: float
    steps: float | None
    predicted: float | None
    raced: float | None
    seconds: float | None
    step_seconds: float
    overhead_seconds: float


@dataclass(frozen=True)
class BatchSize:
    """A batch size with its rate, and what the others cost; ``train(..., batch_size=this)`` takes both.

    Attributes
    ----------
    batch_size, lr : int, float
        What gets to the target first, and the rate for it: for scaled columns where ``standardize``.
    interval : (int, int)
        Sizes around the best that are about as good: most are within 20 %, three quarters within 40 %.
    near : tuple of int
        All those that were looked at and are about as good; all rows may be apart from the others.
    trials : tuple of Trial
        Each size that was looked at.
    prices : mapping
        Seconds of 1, 10, 32, 100 and all n rows over those of the best, where they lie among the sizes that
        were looked at; infinite where one does not get there.
    target, target_loss : float
        The share of the gap that may be left, and the objective that this is.
    first, least : float
        The objective at the start, and about the least one.
    reached : bool
        Whether the race got to the target.
    out_of_time : bool
        Whether the race ended with the budget, before it got there.
    seconds : float or None
        Of training, to the target.
    noise_scale : float
        tr(Sigma) / |G|^2 at the start (McCandlish et al., 2018, arXiv 1812.06162).
    critical_batch_size : float
        beta / lambda1 + 1 (Ma, Bassily, Belkin, ICML 2018, arXiv 1712.06559).
    settings : mapping
        Of the run that it was found for.
    standardize : bool
    n : int
        Rows that were looked at.
    verified : tuple of float
        Seconds to the target of further runs, where ``verify`` was True.
    spent : mapping
        Seconds of this call by what they were spent on; "steps" are those of the runs in the race.
    sampled_from : int or None
        Rows in the file that the ``n`` are a sample of; None where they are all.
    """

    batch_size: int
    lr: float
    interval: tuple[int, int]
    near: tuple[int, ...]
    trials: tuple[Trial, ...]
    prices: Mapping[int, float]
    target: float
    target_loss: float
    first: float
    least: float
    reached: bool
    out_of_time: bool
    seconds: float | None
    noise_scale: float
    critical_batch_size: float
    settings: Mapping[str, Any]
    standardize: bool
    n: int
    verified: tuple[float, ...]
    spent: Mapping[str, float]
    sampled_from: int | None = None

    def __post_init__(self) -> None:
        for name in ("prices", "settings", "spent"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {n: dict(v) if isinstance(v, Mapping) else v for n, v in vars(self).items()}
        return _made, (fields,)

    @property
    def trial(self) -> Trial:
        """That of the size that was chosen."""
        return next(trial for trial in self.trials if trial.batch_size == self.batch_size)

    @property
    def bound_by(self) -> str:
        """What most of the time of a step is spent on."""
        trial = self.trial
        share = trial.overhead_seconds / trial.step_seconds
        if share > 0.5:
            return f"the overhead of a step, {share:.0%} of it"
        return f"the rows, {1 - share:.0%} of a step"

    @property
    def sentence(self) -> str:
        """The answer in words."""
        answer = f"{self._name(self.batch_size)} with lr {self.lr:.4g}"
        if self.first <= self.target_loss:
            return f"{answer}, or any other: the target is met before the first step."
        if not self.reached and self.target_loss <= self.least:
            return (
                f"{answer} comes nearest. No weights get to {self.target_loss:.4g}, since the least objective "
                f"is about {self.least:.4g}. Pass a larger target."
            )
        low, high = self.interval
        sizes = "all rows" if low == self.n else f"{low} to {high}" if low < high else f"{low}"
        said = [f"{sizes} are about as good"] if low < high else []
        if self.n in self.near and high < self.n:
            said.append("so are all rows at once" if said else "all rows at once are about as good")
        if not said and len(self.trials) > 1:
            said.append(f"no other is as good as {sizes}")
        outside = [b for b in (1, 32, self.n) if b in self.prices and b not in self.near]
        told = [f"{self._name(b)} {self._price(b)}" for b in outside]
        if told:
            said.append(", ".join(told))
        text = f"{': '.join([answer, '; '.join(said)] if said else [answer])}."
        if self.out_of_time:
            text += " The target was not reached within the budget. Pass a larger budget, or a larger target."
        elif not self.reached:
            text += (
                " The target was not reached: it is beyond the rates that were tried. Pass a larger target, or "
                "a schedule."
            )
        elif len(self.trials) < 2:
            text += " No other size was looked at."
        elif all(t.seconds is not None and t.seconds <= 1.5 * (self.seconds or 0) for t in self.trials):
            text += " The choice hardly matters."
        elif self.batch_size == self.n:
            text += " Gradient descent wins: a step reads all rows in order, and needs no shuffle."
        return text

    def _name(self, batch_size: int) -> str:
        if batch_size == self.n and self.sampled_from is not None:
            return f"all {self.n} rows of the sample"
        return f"all {self.n} rows" if batch_size == self.n > 1 else f"batch size {batch_size}"

    def _price(self, batch_size: int) -> str:
        price, s = self.prices[batch_size], "" if batch_size == self.n > 1 else "s"
        if math.isinf(price):
            return f"never get{s} there"
        return f"take{s} {price:.2g} times as long" if price < 100 else f"take{s} {price:.0f} times as long"

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON values; what is infinite is None."""
        fields = {name: _plain(value) for name, value in vars(self).items() if name != "trials"}
        return {
            **fields, "trials": [asdict(trial) for trial in self.trials], "bound_by": self.bound_by,
            "sentence": self.sentence,
        }  # fmt: skip

    def table(self) -> str:
        """A line for each size: rate, steps, seconds a step, predicted and raced seconds, and their price."""
        from numbasgd.render.tables import Table, number, render

        best = self.trial.seconds
        marks = {b: " +" for b in self.near} | {self.batch_size: " *"}
        rows = [
            (
                f"{t.batch_size}{marks.get(t.batch_size, '')}",
                number(t.lr, 3), _told(t.steps), number(1e6 * t.step_seconds), _told(t.predicted, 1e6),
                _told(t.raced, 1e6), "-" if t.seconds is None or not best else number(t.seconds / best, 3),
            )
            for t in self.trials
        ]  # fmt: skip
        header = ("batch size", "lr", "steps", "us a step", "predicted us", "raced us", "times the best")
        return render(Table(header, tuple(rows)))

    def plot(self, ax: Any = None) -> Any:
        """Draw the seconds to the target against the batch size, with what was raced; returns the axes."""
        from numbasgd.render.batch_size_plot import plot_batch_size

        return plot_batch_size(self, ax)


def settings_of(
    found: BatchSize, lr: Any, standardize: bool | None, settings: Mapping[str, Any]
) -> tuple[int, Any, bool | None]:
    """Batch size, rate and ``standardize`` of a run with these settings that is passed what was found.

    Raises
    ------
    ValueError
        If it was found for other settings, for which another rate is right.
    """
    for name, was in found.settings.items():
        if settings[name] != was:
            raise ValueError(
                f"batch_size was found for {name}={was!r}, and {name} is {settings[name]!r}; expected the "
                f"same, since the best rate depends on it. Pass {name}={was!r}, or "
                f"batch_size={found.batch_size}."
            )
    if not (isinstance(lr, str) and lr == "auto"):
        return found.batch_size, lr, standardize
    if standardize is None or standardize == found.standardize:
        return found.batch_size, found.lr, found.standardize
    return found.batch_size, lr, standardize  # its rate is for other columns


def _told(value: float | None, factor: float = 1.0) -> str:
    from numbasgd.render.tables import number

    return "-" if value is None else number(factor * value, 3)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _made(fields: dict[str, Any]) -> BatchSize:
    return BatchSize(**fields)
