"""``TrainConfig``: every setting of a training run, with its default, its range and what it does.

``train`` takes these settings, a ``Fit`` keeps those that are part of the run, a resumed run takes them over
and the command line offers them; all of them read this list.  A setting is checked once, here, except for what
only the data can tell (a batch size beyond the number of rows).  To add one: a field, its check, and its
parameter and sentence in ``train``.
"""

from __future__ import annotations

import copy
import dataclasses
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from numbasgd import check
from numbasgd.sgd import setting_values as values
from numbasgd.sgd.losses import LOSSES, PARAMETERS, loss_key
from numbasgd.sgd.schedule import EPOCHS, RESTARTS, SCHEDULES, Spans
from numbasgd.sgd.solvers.update import Step

MOST_EPOCHS = 200  # of a run whose number of epochs nobody chose
TOL = 1e-4  # of such a run


class Default(int):
    """A batch size that nobody chose: cut to the number of rows instead of refused."""


class Setting(NamedTuple):
    """What there is to know of a setting besides its name and default.

    doc : what it does, in a sentence.  expected : its range, in words.
    check : (value, name) -> the value as a run keeps it; raises TypeError or ValueError.
    is_kept : whether it is part of the run, so that a Fit keeps it and a resumed run takes it over.
    before : what files of a Fit from before there was this setting mean.
    """

    doc: str
    expected: str
    check: Callable[[Any, str], Any]
    is_kept: bool = True
    before: Any = None


class Method(NamedTuple):
    """How steps are made over some rows: what a solver needs of the settings.

    loss : its ``losses.loss_key``.  lrs : learning rates in the dtype of the data; spans : for which steps each
    is, one an epoch if left out.  average_from : samples before the first averaged step.
    threads : the most that may work; None for as many as pay.
    """

    loss: str
    batch_size: int
    lrs: np.ndarray
    sampling: str
    seed: int
    intercept: bool
    momentum: float
    nesterov: bool
    average_from: int | None
    l2: float
    l1: float
    threads: int | None
    spans: Spans = EPOCHS

    @property
    def step(self) -> Step:
        """What has to be compiled."""
        kind = ("nesterov" if self.nesterov else "heavy-ball") if self.momentum else ""
        return Step(kind, self.l2 > 0 or self.l1 > 0, self.average_from is not None)


def _setting(
    default: Any,
    doc: str,
    expected: str,
    check: Callable[[Any, str], Any],
    is_kept: bool = True,
    before: Any = None,
) -> Any:
    about = Setting(doc, expected, check, is_kept, before)
    return dataclasses.field(default=default, metadata={"setting": about})


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a training run, checked.

    Raises
    ------
    TypeError, ValueError
        For a setting that is not as described; the message names it, says what was expected and what to do.
    """

    batch_size: int | str = _setting(
        Default(32), "Rows a step.", '1 to the number of rows, or "auto"', values.anything
    )
    lr: Any = _setting(
        "auto",
        "Learning rate: one for all epochs, one for each, a function of the epoch, or the best constant one.",
        'above 0, a sequence, a function or "auto"',
        values.anything,
    )
    epochs: int | None = _setting(
        None,
        f"Passes over the data; until the loss has converged, at most {MOST_EPOCHS}, if left out.",
        "0 or more, or None",
        values.epochs,
    )
    schedule: str | None = _setting(
        None,
        "How the rate falls over the run.",
        f"{', '.join(SCHEDULES)}, or None",
        values.schedule,
        before="constant",
    )
    loss: str = _setting("squared", "What is minimized.", ", ".join(LOSSES), values.loss)
    quantile: float = _setting(
        0.5, 'The level of the loss "quantile".', "above 0 and below 1", values.quantile, before=0.5
    )
    sampling: str = _setting("auto", "The order of the rows.", ", ".join(values.SAMPLED), values.sampling)
    window: float = _setting(
        24.0,
        "Megabytes of rows that block sampling shuffles together; twice as many are in memory.",
        "above 0",
        values.window,
        before=24.0,
    )
    momentum: float = _setting(0.0, "What a step keeps of the step before.", "0 to below 1", values.momentum)
    nesterov: bool = _setting(False, "Momentum in the form of Nesterov.", "True or False", check.flag)
    average: bool | int = _setting(
        False,
        "Return the mean of the weights over the steps, from the start or from after so many epochs.",
        "True, False, or 0 or more",
        values.average,
    )
    l2: float = _setting(0.0, "Penalty l2 * |w|^2 / 2.", "0 or more", values.penalty)
    l1: float = _setting(0.0, "Penalty l1 * |w|_1.", "0 or more", values.penalty)
    intercept: bool = _setting(True, "Whether b is trained.", "True or False", check.flag)
    standardize: bool | None = _setting(
        None,
        "Train on columns with mean 0 and standard deviation 1; where lr is chosen, if left out.",
        "True, False or None",
        values.standardize,
    )
    eval_every: str | int | None = _setting(
        "auto",
        "Samples between two evaluations of the loss.",
        '"auto", "epoch", "round", 1 or more, or None',
        values.eval_every,
    )
    validation_fraction: float = _setting(
        0.0, "Share of the rows that is held out.", "0 to below 1", values.validation_fraction
    )
    tol: float | None = _setting(
        None, "Stop when the watched loss falls by less than this share.", "0 or more, or None", values.tol
    )
    patience: int = _setting(5, "Epochs to wait for a better loss.", "1 or more", values.patience)
    budget: float | None = _setting(
        None,
        "Seconds after which to stop with the best weights so far.",
        "above 0, or None",
        values.budget,
        False,
    )
    seed: int | None = _setting(
        None, "The same seed gives the same weights.", "0 to 2^63 - 1, or None", values.seed
    )
    callback: Callable[..., Any] | None = _setting(
        None, "Called with the Fit so far after each epoch.", "a function of a Fit", values.callback, False
    )
    checkpoint: Any = _setting(None, "File that the run is written to.", "a path", values.anything, False)
    checkpoint_every: int | float | None = _setting(
        None, "Steps (int) or seconds (float) between two checkpoints.", "above 0", values.anything, False
    )
    progress: bool | None = _setting(
        None, "A progress line on stderr.", "True, False or None", values.progress, False
    )
    track_noise: bool = _setting(
        False, "Estimate the noise of the gradients along the run.", "True or False", check.flag, False
    )
    verbose: bool = _setting(False, "A line on stderr for each evaluation.", "True or False", check.flag, False)
    threads: int | None = _setting(
        None, "The most threads that may work.", "1 to 64, or None", values.threads, False
    )

    def __post_init__(self) -> None:
        fields = vars(self)
        for name, check_it, default in _CHECKS:
            value = fields[name]
            if value is not default and not (type(value) is float and value == default):
                fields[name] = check_it(value, name)
        if self.nesterov and not self.momentum:
            raise ValueError(
                "nesterov is True but momentum is 0; expected more than 0. Pass for example momentum=0.9."
            )
        if self.epochs is None and values.is_list(self.lr):
            fields["epochs"] = len(self.lr)
        fields["lr"] = values.rates(self.lr, self.limit)
        self._resolve(fields)
        fields["_order"] = "reshuffle" if self.sampling in ("auto", "block") else self.sampling
        fields["_loss_key"] = loss_key(self.loss, **{name: fields[name] for name in PARAMETERS})
        if self.checkpoint is None and self.checkpoint_every is not None:
            raise ValueError(
                f"checkpoint_every is {self.checkpoint_every!r} but checkpoint is None; expected both, or "
                "neither. Pass the path of a file as checkpoint."
            )

    def _resolve(self, fields: dict[str, Any]) -> None:
        """Replace what was left to the other settings by what it is."""
        lr, is_open = self.lr, self.epochs is None
        if self.schedule is None:
            # Averaged weights need no falling rate, and rates of one's own know best.
            is_free = type(lr) is not list and self.average is False
            is_watched = is_open or (self.tol is not None and lr == "auto")
            fields["schedule"] = RESTARTS if is_free and is_watched else "constant"
        elif self.schedule != "constant" and type(lr) is list:
            raise ValueError(
                f"schedule is {self.schedule!r} but lr is one rate for each epoch; expected one or the other. "
                "Pass the first rate alone, or leave schedule out."
            )
        if self.standardize is None:
            fields["standardize"] = lr == "auto"
        if self.tol is None and is_open:
            fields["tol"] = TOL
        is_round = self.schedule == RESTARTS
        if self.eval_every == "auto":
            fields["eval_every"] = "round" if is_round else "epoch"
        elif self.eval_every == "round" and not is_round:
            raise ValueError(
                f"eval_every is 'round' but schedule is {self.schedule!r}; expected {RESTARTS!r}, the only one "
                "that has rounds. Pass 'epoch'."
            )

    @classmethod
    def of_call(cls, **settings: Any) -> TrainConfig:
        """The config of these settings, which are all there are; a frozen class sets them one by one."""
        config = object.__new__(cls)
        vars(config).update(settings)
        config.__post_init__()
        return config

    @property
    def loss_key(self) -> str:
        """The loss with its parameter, as kernels call it."""
        return vars(self)["_loss_key"]

    @property
    def order(self) -> str:
        """The sampling that is used: of rows in memory, unless ``with_order`` said otherwise."""
        return vars(self)["_order"]

    def with_order(self, order: str) -> TrainConfig:
        """The same settings for rows that are sampled like that."""
        config = copy.copy(self)
        vars(config)["_order"] = order
        return config

    @property
    def rates(self) -> np.ndarray | None:
        """One learning rate per epoch (a single one stays), or None for "auto"."""
        lr = self.lr
        return None if lr == "auto" else np.array([lr] if type(lr) is float else lr, np.float64)

    def method(self, n: int, lrs: np.ndarray, batch_size: Any = None) -> Method:
        """How steps are made over n rows; raises TypeError or ValueError for a batch that is not of 1 to n.

        batch_size : instead of the setting.
        """
        batch_size = self.batch_size if batch_size is None else batch_size
        batch_size = min(int(batch_size), n) if type(batch_size) is Default else batch_size
        hint = f'Use 1 for SGD up to the {n} rows for gradient descent, or "auto".'
        batch_size = check.integer(batch_size, "batch_size", low=1, high=n, hint=hint)
        average = self.average
        average_from = None if average is False else 0 if average is True else n * average
        if average_from is not None and average_from > check.MOST:
            raise ValueError(
                f"average is {average} epochs of {n} rows; expected at most {check.MOST} samples before the "
                "mean. Pass fewer epochs."
            )
        return Method(
            loss=self.loss_key, batch_size=batch_size, lrs=lrs, sampling=self.order, seed=self.seed or 0,
            intercept=self.intercept, momentum=self.momentum, nesterov=self.nesterov,
            average_from=average_from, l2=self.l2, l1=self.l1, threads=self.threads,
        )  # fmt: skip

    @property
    def limit(self) -> int:
        """The most epochs that may be made."""
        return limit_of(self.epochs)

    def eval_samples(self, n: int) -> int | None:
        """Samples between two evaluations; None for none, or where there is one at the end of each round."""
        every = self.eval_every
        return n if every == "epoch" else None if every == "round" else every  # type: ignore[return-value]

    @property
    def stopping(self) -> tuple[float, int] | None:
        """(share, epochs) of early stopping, or None."""
        return None if self.tol is None else (self.tol, self.patience)

    def kept(self) -> dict[str, Any]:
        """The settings that are part of the run, as plain values."""
        return dict(zip(KEPT, _kept_of(vars(self)), strict=True))


_FIELDS = {field.name: field for field in dataclasses.fields(TrainConfig)}
#: All settings by name.
SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {name: field.metadata["setting"] for name, field in _FIELDS.items()}
)
_DRAWN = object()  # no value is it, so that a seed that was left out is drawn
_CHECKS = tuple(
    (name, setting.check, _DRAWN if name == "seed" else _FIELDS[name].default)
    for name, setting in SETTINGS.items()
    if setting.check is not values.anything
)
#: The names of those that a Fit keeps.
KEPT = tuple(name for name, setting in SETTINGS.items() if setting.is_kept)
_kept_of = operator.itemgetter(*KEPT)
#: Settings that a file may lack, and what it then means.
NEWER: Mapping[str, Any] = MappingProxyType(
    {name: setting.before for name, setting in SETTINGS.items() if setting.before is not None}
)


def limit_of(epochs: int | None) -> int:
    """The most epochs of a run with this setting."""
    return MOST_EPOCHS if epochs is None else epochs


def rates_in(lrs: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The rates in the dtype of the data, where each must still be a finite number above 0."""
    if len(lrs) == 1 and 1e-30 < lrs[0] < 1e30:
        return lrs.astype(dtype)
    with np.errstate(over="ignore", under="ignore"):
        rounded = lrs.astype(dtype)
    if not (rounded.min() > 0 and rounded.max() < np.inf):
        bad = np.flatnonzero(~np.isfinite(rounded) | (rounded <= 0))
        raise ValueError(
            f"lr is {lrs[bad[0]]:.3g}, which {dtype} rounds to {rounded[bad[0]]:g}; expected one that it "
            "can hold. Scale X, or pass it as float64."
        )
    return rounded
