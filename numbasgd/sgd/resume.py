"""Going on with a run: its settings are taken from it, and what stops a run hands it over in ``.fit``."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
from collections.abc import Callable
from typing import Any, ParamSpec

import numpy as np

from numbasgd.errors import DataError, FitFileError
from numbasgd.sgd.batch_size.result import BatchSize
from numbasgd.sgd.checkpoint import Checkpoint
from numbasgd.sgd.config import KEPT, TrainConfig, limit_of
from numbasgd.sgd.fit import Fit
from numbasgd.sgd.other_names import require_known
from numbasgd.sgd.schedule import Rounds

P = ParamSpec("P")

_FREE = {"epochs", "lr"}  # settings of a run that a call may say anew
# As if left out:
_OPEN = {"epochs": None, "schedule": None, "standardize": None, "eval_every": "auto", "sampling": "auto"}


def resumable(train: Callable[P, Fit]) -> Callable[P, Fit]:
    """``train`` whose ``resume=`` fills in the settings of a run that were not passed.

    A decorator is the place where it is known which ones were.  A ``KeyboardInterrupt`` that comes before
    there is anything to hand over leaves with ``.fit`` being what was passed as ``resume``, or None.
    """
    known = inspect.signature(train).parameters.keys()

    @functools.wraps(train)
    def call(*args: P.args, **kwargs: P.kwargs) -> Fit:
        fit = None
        if not kwargs.keys() <= known:
            require_known(kwargs, known)
        try:
            if kwargs.get("resume") is not None:
                fit = kwargs["resume"] = _fit(kwargs["resume"])
                kwargs.update(_missing_settings(fit, kwargs))
            return train(*args, **kwargs)
        except KeyboardInterrupt as error:
            if not hasattr(error, "fit"):
                _attach(error, fit)
            raise

    return call


def _fit(value: Any) -> Fit:
    if isinstance(value, str | os.PathLike):
        return Fit.load(value)
    if not isinstance(value, Fit):
        raise TypeError(
            f"resume is a {type(value).__name__}; expected a Fit or the path of a saved one. Pass what train "
            "returned, or the path of a checkpoint."
        )
    if value._state is None:
        raise FitFileError(
            "resume is a Fit without the state of its run; expected one as train returned it. Pass that one."
        )
    return value


def _missing_settings(fit: Fit, passed: dict[str, Any]) -> dict[str, Any]:
    """The settings of a run that were not passed; raises ``ValueError`` for one passed with another value."""
    passed = {name: v for name, v in passed.items() if not (name in _OPEN and _is_same(v, _OPEN[name]))}
    if fit.batch_size_because != "given" and _is_same(passed.get("batch_size"), "auto"):
        del passed["batch_size"]  # what was chosen then
    if isinstance(found := passed.get("batch_size"), BatchSize):
        passed["batch_size"] = found.batch_size
    run = {**fit.settings, "seed": fit.seed}
    known = {name: run.get(f"{name}_given", run[name]) for name in KEPT if name in run}
    differing = [
        f"{name} is {value!r} but {known[name]!r} in the run"
        for name, value in passed.items()
        if name in known and name not in _FREE and not any(_is_same(value, v) for v in (known[name], run[name]))
    ]
    given = known["lr"]
    if "lr" in passed and isinstance(passed["lr"], str) and passed["lr"] != given:
        differing.append(f"lr is {passed['lr']!r} but {given!r} in the run")
    if passed.get("init") is not None:
        differing.append("init is passed, but the run has begun")
    if differing:
        raise ValueError(
            f"{'; '.join(differing)}; expected the settings of the run to resume. Leave them out (they are "
            "taken from it), or start a new run without resume."
        )
    epochs = passed.get("epochs", known["epochs"])
    if "lr" not in passed and isinstance(given, list) and len(given) != max(epochs, 1):
        raise ValueError(
            f"epochs is {epochs}, but the lr of the run was a sequence or a function for {len(given)} epochs, "
            "and a function cannot be saved; expected lr for all epochs. Pass lr again, with what it was for "
            "the epochs that are done."
        )
    return {name: value for name, value in known.items() if name not in passed}


def _is_same(new: Any, old: Any) -> bool:
    if isinstance(new, bool | np.bool_) or isinstance(old, bool):
        return bool(np.ndim(new) == 0 and isinstance(new, bool | np.bool_) and bool(new) is old)
    try:
        return bool(new == old)
    except ValueError:  # an array
        return False


def require_ahead(fit: Fit, config: TrainConfig, lrs: np.ndarray, rounds: Rounds | None) -> None:
    """Raise ``ValueError`` if a run is beyond the epochs to come already, or its rates so far were not these.

    lrs, rounds : of the run to come.
    """
    state, n, limit = fit._state, fit.n, config.limit
    assert state is not None
    done = state.samples / n
    if limit < done:
        raise ValueError(
            f"epochs is {limit}, but the run to resume has made {done:g} already; expected the total, at "
            f"least as many. Pass for example epochs={int(np.ceil(done)) + 1}."
        )
    if state.samples and config.schedule != "constant":
        _require_same_schedule(fit, config, rounds)
    for epoch in range(max(1, int(np.ceil(done)))):
        new, old = (float(rates[min(epoch, len(rates) - 1)]) for rates in (lrs, state.lrs))
        if new != old:
            raise ValueError(
                f"lr is {new:g} in epoch {epoch}, but was {old:g} in the run to resume; expected the rates of "
                "that run for the epochs it has begun. Leave lr out, or pass those rates."
            )


def _require_same_schedule(fit: Fit, config: TrainConfig, rounds: Rounds | None) -> None:
    """Raise ``ValueError`` unless the steps made so far are those of a run of so many epochs in one go."""
    before = fit.settings["epochs"]
    if rounds is None:
        is_same = config.limit == limit_of(before)
    else:
        run = rounds._replace(limit=limit_of(before))
        run = run.whole() if before is None else run
        last = (fit._state.samples - 1) // fit.n  # type: ignore[union-attr]
        is_same = rounds.at(last) == run.at(last)
    if not is_same:
        raise ValueError(
            f"epochs is {config.limit}, and schedule {config.schedule!r} has let the rate fall for a run of "
            f"{before} epochs; expected as many. Leave epochs out, or start a new run with init=(fit.w, fit.b)."
        )


def hand_over(error: BaseException, make: Callable[[bool], Fit], checkpoint: Checkpoint | None) -> None:
    """Attach the run so far to what stopped it, and write its checkpoint; never hides the error.

    make : the Fit, evaluated where that is quick and True is passed.
    """
    fit = make(False)
    try:
        _attach(error, fit)
        with contextlib.suppress(DataError):  # of rows that cannot be read, which may be what stopped the run
            _attach(error, fit := make(True))
        if checkpoint is not None:
            checkpoint.save(fit, is_durable=False)
    except KeyboardInterrupt as second:
        _attach(second, fit)
        raise
    except FitFileError as failure:
        error.add_note(f"The run so far is in .fit; {failure}")


def _attach(error: BaseException, fit: Fit | None) -> None:
    with contextlib.suppress(AttributeError, TypeError):  # an exception that takes no attributes
        error.fit = fit  # type: ignore[attr-defined]
