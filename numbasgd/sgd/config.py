"""``TrainConfig``: every setting of a training run, with its default, its range and what it does.

``train`` takes these settings, a ``Fit`` keeps those that are part of the run, a resumed run takes them over
and the command line offers them; all of them read this list.  A setting is checked once, here, except for what
only the data can tell (a batch size beyond the number of rows).  To add one: a field, its check, and its
parameter and sentence in ``train``.
"""

from __future__ import annotations

import dataclasses
import operator
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from numbasgd import check
from numbasgd.sgd.losses import LOSSES, PARAMETERS, loss_key
from numbasgd.sgd.order import SAMPLINGS
from numbasgd.sgd.schedule import EPOCHS, Spans
from numbasgd.sgd.solvers.update import Step

_LR_HINT = 'Pass a rate such as 0.05, one rate per epoch, a function of the epoch, or "auto".'


class Default(int):
    """A batch size that nobody chose: cut to the number of rows instead of refused."""


class Setting(NamedTuple):
    """What there is to know of a setting besides its name and default.

    doc : what it does, in a sentence.  expected : its range, in words.
    check : (value, name) -> the value as a run keeps it; raises TypeError or ValueError.
    is_kept : whether it is part of the run, so that a Fit keeps it and a resumed run takes it over.
    is_newer : whether there are files of a Fit from before there was this setting; they mean its default.
    """

    doc: str
    expected: str
    check: Callable[[Any, str], Any]
    is_kept: bool = True
    is_newer: bool = False


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


def _epochs(value: Any, name: str) -> int:
    return check.integer(value, name, low=0, hint="Pass the number of passes over the data.")


def _loss(value: Any, name: str) -> str:
    return check.choice(value, name, LOSSES)


def _quantile(value: Any, name: str) -> float:
    value = check.real(value, name, hint="Pass a number above 0 and below 1, for example 0.9.")
    if not 0 < value < 1:
        raise ValueError(f"{name} is {value}; expected a number above 0 and below 1. Pass for example 0.9.")
    return value


def _sampling(value: Any, name: str) -> str:
    return check.choice(value, name, SAMPLINGS)


def _momentum(value: Any, name: str) -> float:
    value = check.real(value, name, hint="Pass a number from 0 to below 1, for example 0.9.")
    if not 0 <= value < 1:
        raise ValueError(f"{name} is {value}; expected a number from 0 to below 1. Pass for example 0.9.")
    return value


def _average(value: Any, name: str) -> bool | int:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    return check.integer(value, name, low=0, hint="Pass True, or the epochs before the mean begins.")


def _penalty(value: Any, name: str) -> float:
    value = check.real(value, name, hint="Pass 0 or more.")
    if value < 0:
        raise ValueError(f"{name} is {value}; expected 0 or more. Pass such a penalty, or none.")
    return value


def _eval_every(value: Any, name: str) -> str | int | None:
    if value is None:
        return None
    if isinstance(value, str):
        return check.choice(value, name, ["epoch"])
    return check.integer(value, name, low=1, hint='Pass a number of samples, "epoch", or None for none.')


def _validation_fraction(value: Any, name: str) -> float:
    return check.real(value, name, hint="Pass the share of rows to hold out, for example 0.1.")


def _tol(value: Any, name: str) -> float | None:
    if value is None:
        return None
    hint = "Pass the share by which the loss must fall, for example 1e-3, or None."
    value = check.real(value, name, hint=hint)
    if value < 0:
        raise ValueError(f"{name} is {value}; expected 0 or more. Pass the share by which the loss must fall.")
    return value


def _patience(value: Any, name: str) -> int:
    return check.integer(value, name, low=1, hint="Pass the epochs to wait for a better loss.")


def _seed(value: Any, name: str) -> int:
    if value is None:
        return secrets.randbits(63)
    return check.integer(value, name, low=0, high=2**63 - 1, hint="Pass an integer, or leave it out.")


def _progress(value: Any, name: str) -> bool | None:
    return None if value is None else check.flag(value, name)


def _threads(value: Any, name: str) -> int | None:
    return None if value is None else check.threads(value)


def _callback(value: Any, name: str) -> Callable[..., Any] | None:
    if value is not None and not callable(value):
        raise TypeError(f"{name} is a {type(value).__name__}; expected a function of a Fit. Pass one.")
    return value


def _anything(value: Any, name: str) -> Any:
    """Checked by whoever knows more: the rows, the other settings, or the file system."""
    return value


def _setting(
    default: Any,
    doc: str,
    expected: str,
    check: Callable[[Any, str], Any],
    is_kept: bool = True,
    is_newer: bool = False,
) -> Any:
    about = Setting(doc, expected, check, is_kept, is_newer)
    return dataclasses.field(default=default, metadata={"setting": about})


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a training run, checked.

    Raises
    ------
    TypeError, ValueError
        For a setting that is not as described; the message names it, says what was expected and what to do.
    """

    batch_size: int = _setting(Default(10), "Rows a step.", "1 to the number of rows", _anything)
    lr: Any = _setting(
        "auto",
        "Learning rate: one for all epochs, one for each, a function of the epoch, or the best constant one.",
        'above 0, a sequence, a function or "auto"',
        _anything,
    )
    epochs: int = _setting(2, "Passes over the data.", "0 or more", _epochs)
    loss: str = _setting("squared", "What is minimized.", ", ".join(LOSSES), _loss)
    quantile: float = _setting(
        0.5, 'The level of the loss "quantile".', "above 0 and below 1", _quantile, is_newer=True
    )
    sampling: str = _setting("reshuffle", "The order of the rows.", ", ".join(SAMPLINGS), _sampling)
    momentum: float = _setting(0.0, "What a step keeps of the step before.", "0 to below 1", _momentum)
    nesterov: bool = _setting(False, "Momentum in the form of Nesterov.", "True or False", check.flag)
    average: bool | int = _setting(
        False,
        "Return the mean of the weights over the steps, from the start or from after so many epochs.",
        "True, False, or 0 or more",
        _average,
    )
    l2: float = _setting(0.0, "Penalty l2 * |w|^2 / 2.", "0 or more", _penalty)
    l1: float = _setting(0.0, "Penalty l1 * |w|_1.", "0 or more", _penalty)
    intercept: bool = _setting(True, "Whether b is trained.", "True or False", check.flag)
    standardize: bool = _setting(
        False, "Train on columns with mean 0 and standard deviation 1.", "True or False", check.flag
    )
    eval_every: str | int | None = _setting(
        "epoch", "Samples between two evaluations of the loss.", '"epoch", 1 or more, or None', _eval_every
    )
    validation_fraction: float = _setting(
        0.0, "Share of the rows that is held out.", "0 to below 1", _validation_fraction
    )
    tol: float | None = _setting(
        None, "Stop when the watched loss falls by less than this share.", "0 or more, or None", _tol
    )
    patience: int = _setting(5, "Epochs to wait for a better loss.", "1 or more", _patience)
    seed: int | None = _setting(None, "The same seed gives the same weights.", "0 to 2^63 - 1, or None", _seed)
    callback: Callable[..., Any] | None = _setting(
        None, "Called with the Fit so far after each epoch.", "a function of a Fit", _callback, False
    )
    checkpoint: Any = _setting(None, "File that the run is written to.", "a path", _anything, False)
    checkpoint_every: int | float | None = _setting(
        None, "Steps (int) or seconds (float) between two checkpoints.", "above 0", _anything, False
    )
    progress: bool | None = _setting(
        None, "A progress line on stderr.", "True, False or None", _progress, False
    )
    verbose: bool = _setting(False, "A line on stderr for each evaluation.", "True or False", check.flag, False)
    threads: int | None = _setting(None, "The most threads that may work.", "1 to 64, or None", _threads, False)

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
        fields["lr"] = _rates(self.lr, self.epochs)
        fields["_loss_key"] = loss_key(self.loss, **{name: fields[name] for name in PARAMETERS})
        if self.checkpoint is None and self.checkpoint_every is not None:
            raise ValueError(
                f"checkpoint_every is {self.checkpoint_every!r} but checkpoint is None; expected both, or "
                "neither. Pass the path of a file as checkpoint."
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
    def rates(self) -> np.ndarray | None:
        """One learning rate per epoch (a single one stays), or None for "auto"."""
        lr = self.lr
        return None if lr == "auto" else np.array([lr] if type(lr) is float else lr, np.float64)

    def method(self, n: int, lrs: np.ndarray) -> Method:
        """How steps are made over n rows; raises TypeError or ValueError for a batch that is not of 1 to n."""
        batch_size = min(int(self.batch_size), n) if type(self.batch_size) is Default else self.batch_size
        hint = f"Use 1 for SGD up to the {n} rows for gradient descent."
        batch_size = check.integer(batch_size, "batch_size", low=1, high=n, hint=hint)
        average = self.average
        average_from = None if average is False else 0 if average is True else n * average
        if average_from is not None and average_from > check.MOST:
            raise ValueError(
                f"average is {average} epochs of {n} rows; expected at most {check.MOST} samples before the "
                "mean. Pass fewer epochs."
            )
        return Method(
            loss=self.loss_key, batch_size=batch_size, lrs=lrs, sampling=self.sampling, seed=self.seed or 0,
            intercept=self.intercept, momentum=self.momentum, nesterov=self.nesterov,
            average_from=average_from, l2=self.l2, l1=self.l1, threads=self.threads,
        )  # fmt: skip

    def eval_samples(self, n: int) -> int | None:
        """Samples between two evaluations, or None."""
        return n if self.eval_every == "epoch" else self.eval_every  # type: ignore[return-value]

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
    if setting.check is not _anything
)
#: The names of those that a Fit keeps.
KEPT = tuple(name for name, setting in SETTINGS.items() if setting.is_kept)
_kept_of = operator.itemgetter(*KEPT)
#: Settings that a file may lack, and what it then means.
NEWER: Mapping[str, Any] = MappingProxyType(
    {name: _FIELDS[name].default for name, setting in SETTINGS.items() if setting.is_newer}
)


def _rates(lr: Any, epochs: int) -> str | float | list[float]:
    """A learning rate as a run keeps it: "auto", a number, or one number for each epoch."""
    if isinstance(lr, str):
        if lr == "auto":
            return lr
        check.real(lr, "lr", hint=_LR_HINT)
    if callable(lr):
        lr = [lr(epoch) for epoch in range(max(epochs, 1))]
    if isinstance(lr, Sequence) or (isinstance(lr, np.ndarray) and lr.ndim == 1):
        if len(lr) != max(epochs, 1):
            raise ValueError(
                f"lr holds {len(lr)} rates for {epochs} epochs; expected one rate per epoch. {_LR_HINT}"
            )
        return [check.real(rate, f"lr of epoch {e}", positive=True, hint=_LR_HINT) for e, rate in enumerate(lr)]
    return check.real(lr, "lr", positive=True, hint=_LR_HINT)


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
