"""What must hold between the values in the file of a ``Fit``, each of which meets its rule in ``fit_schema``.

All of it holds for whatever ``train`` hands over, an interrupted or diverging run included: weights may then be
NaN, and the losses at the end unknown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from numbasgd.check import MOST, show
from numbasgd.sgd.config import limit_of
from numbasgd.sgd.fit_schema import FIT, STATE, is_rate, require_rules, require_settings
from numbasgd.sgd.losses import LOSSES
from numbasgd.sgd.schedule import RESTARTS
from numbasgd.sgd.state import RunState

_HISTORY = ("loss", "objective", "validation_loss", "samples", "seconds")  # the columns of RunState.history


def require_sound(fields: Mapping[str, Any], state: RunState) -> None:
    """Raise ``ValueError`` for the fields of a ``Fit``, and the state of its run, that no run can have left."""
    require_rules(fields, FIT, "fit")
    require_rules(state._asdict(), STATE, "state")
    require_settings(fields["settings"])
    _require_shapes(fields, state)
    _require_outputs(fields, state)
    _require_data(fields, state)
    _require_samples(fields, state)
    _require_history(fields, state)
    _require_rates(fields, state)
    _require_noise(fields, state)
    _require_stopping(fields, state)


def _require(is_so: Any, otherwise: str) -> None:
    if not is_so:
        raise ValueError(f"its parts do not fit together: {otherwise}")


def _require_shapes(fields: Mapping[str, Any], state: RunState) -> None:
    w, dtype = fields["w"], np.dtype(fields["settings"]["dtype"])
    _require(w.ndim in (1, 2) and fields["loss"].ndim == 1, f"w is {w.shape}, loss {fields['loss'].shape}")
    d, columns, t = len(w), w.shape[1:], len(fields["loss"])
    trained = np.float64 if fields["settings"]["standardize"] else dtype
    n_scaled = d if fields["settings"]["standardize"] else 0
    expected = {
        "w": (w, (d, *columns), trained),
        **{name: (fields[name], (t,), np.float64) for name in ("loss", "objective", "epochs", "seconds")},
        "samples": (fields["samples"], (t,), np.int64),
        "weights": (state.weights, (4, d + 1, *columns), dtype),
        "best": (state.best, (d + 1, *columns), dtype),
        "counts": (state.counts, (2,), np.int64),
        "history": (state.history, (len(state.history) if state.history.ndim else 0, 5), np.float64),
        "lrs": (state.lrs, (state.lrs.size,), np.float64),
        "scale": (state.scale, (2, n_scaled), np.float64),
    }
    if columns:
        expected["b"] = (fields["b"], columns, trained)
    if fields["validation_loss"] is not None:
        expected["validation_loss"] = (fields["validation_loss"], (t,), np.float64)
    for name, (array, shape, wanted) in expected.items():
        if type(array) is not np.ndarray or array.shape != shape or array.dtype != wanted:
            raise ValueError(f"{name} is {_kind(array)}, not {shape} {np.dtype(wanted)}")
    _require(columns or type(fields["b"]) is float, "b is an array, w has one output")


def _kind(value: Any) -> str:
    return f"{value.shape} {value.dtype}" if isinstance(value, np.ndarray) else show(value)


def _require_outputs(fields: Mapping[str, Any], state: RunState) -> None:
    """Loss, classes and columns of the weights."""
    loss, classes, columns = fields["settings"]["loss"], fields["classes"], fields["w"].shape[1:]
    targets = LOSSES[loss].targets
    _require((classes is None) == (targets == "real"), f"loss {loss} and classes {show(classes)}")
    if targets == "signs":
        # Of more than two classes, a column tells one from the rest.
        expected = () if len(classes) == 2 else (len(classes),)
        _require(columns == expected, f"loss {loss}, {len(classes)} classes and w of shape {fields['w'].shape}")
    elif targets == "classes":
        _require(columns == (len(classes),), f"{len(classes)} classes and w of shape {fields['w'].shape}")
    _require_weights(fields, state)


def _require_weights(fields: Mapping[str, Any], state: RunState) -> None:
    """The fit has the last, the mean or the best weights of its run, or what scaling them back gives."""
    w, b = fields["w"], fields["b"]
    rows = np.array([state.weights[0], state.weights[2], state.best])
    if not fields["settings"]["standardize"]:
        is_one = any(np.array_equal(row[:-1], w, True) and np.array_equal(row[-1], b, True) for row in rows)
        _require(is_one, "w and b are not the weights of the state")
        return
    _require(np.all(np.isfinite(state.scale)) and np.all(state.scale[1] > 0), "a column's standard deviation")
    mean, deviation = state.scale.reshape(2, -1, *(1,) * (w.ndim - 1))
    with np.errstate(over="ignore", invalid="ignore"):  # what another machine's product rounds is left out
        largest = np.abs(mean / deviation * rows[:, :-1]).sum(axis=1) + np.abs(rows[:, -1])
        _require(np.isfinite(b).all() or not np.isfinite(largest).all(), "b is not finite, and the weights are")


def _require_data(fields: Mapping[str, Any], state: RunState) -> None:
    settings, n, marks = fields["settings"], fields["n"], state.data
    shapes = {name: tuple(mark["shape"]) for name, mark in marks.items()}
    rows, d = shapes["X"]
    columns = () if LOSSES[settings["loss"]].targets == "classes" else fields["w"].shape[1:]
    _require(d == len(fields["w"]), f"X has {d} columns, w has {len(fields['w'])} rows")
    _require(shapes["y"] == (rows, *columns), f"y is {shapes['y']} for {rows} rows of X")
    _require(("sample_weight" in marks) == settings["sample_weight"], "sample_weight of settings and of data")
    _require(shapes.get("sample_weight", (rows,)) == (rows,), f"as many sample weights as {rows} rows")
    _require(marks["X"]["dtype"] == settings["dtype"], "dtype of settings and of X")
    fraction = settings["validation_fraction"]
    is_passed = settings["validation_data"]
    _require(not (is_passed and fraction), "validation_data and validation_fraction")
    is_watched = is_passed or fraction > 0
    _require((fields["validation_loss"] is not None) == is_watched, "validation_loss and what is held out")
    _require_validation_data(shapes, settings, d, columns)
    names = fields["feature_names"]
    _require(names is None or len(names) == d, f"{d} columns and names of others")
    # Rows without weight may be left out of the draw.
    is_so = n < rows if settings["sample_weight"] and fraction else n == rows - round(fraction * rows)
    _require(is_so, f"n is {n}, X has {rows} rows, validation_fraction is {fraction}")
    _require(settings["batch_size"] <= n, f"batch_size is {settings['batch_size']} of {n} rows")


def _require_validation_data(
    shapes: Mapping[str, tuple[int, ...]], settings: Mapping[str, Any], d: int, columns: tuple[int, ...]
) -> None:
    """The held-out rows that were passed are of as many columns and targets as those of X."""
    found = {name: shape for name, shape in shapes.items() if name.startswith("validation_")}
    _require(
        {"validation_X", "validation_y"} <= found.keys() if settings["validation_data"] else not found,
        "validation_data of settings and of data",
    )
    if found:
        n = found["validation_X"][0]
        _require(n > 0 and found["validation_X"] == (n, d), f"validation_data of {d} columns")
        _require(found["validation_y"] == (n, *columns), f"targets of {n} rows of validation_data")
        _require(found.get("validation_sample_weight", (n,)) == (n,), f"as many weights as {n} held-out rows")


def _require_samples(fields: Mapping[str, Any], state: RunState) -> None:
    settings, n, samples = fields["settings"], fields["n"], fields["samples"]
    averaged, seen = state.counts.tolist()
    position = seen % n
    _require(0 <= averaged <= seen, f"{averaged} steps in the mean after {seen} samples")
    average = settings["average"]
    begin = n * (0 if average is True else average)  # the mean's first step; False is 0 as well
    _require(begin <= MOST, f"average is {show(average)} for {n} rows")
    is_averaged = average is not False and seen > begin
    _require((averaged > 0) == is_averaged, f"{averaged} steps in the mean, average is {average}")
    limit = limit_of(settings["epochs"])
    _require(seen <= limit * n, f"{seen} samples in {limit} epochs of {n} rows")
    _require(position % settings["batch_size"] == 0, f"{position} samples of an epoch, within a step")
    _require(len(samples) and samples[0] == 0 and samples[-1] == seen, "samples are not from 0 to those seen")
    _require(np.all(np.diff(samples) >= 0), "samples fall")
    _require(np.allclose(fields["epochs"], samples / n, rtol=1e-12, atol=0), "epochs are not samples / n")
    _require(state.looked <= seen and state.asked <= seen, f"looked at, or asked, after {seen} samples")
    _require(state.asked % n == 0, "asked within an epoch")


def _require_history(fields: Mapping[str, Any], state: RunState) -> None:
    """The history is that of the fit, but for what only its end brought."""
    t = len(state.history)
    _require(len(fields["loss"]) in ((1,) if t == 0 else (t, t + 1)), "loss and history differ in length")
    _require(t or state.samples == 0, "no history after a step")
    for name, column in zip(_HISTORY, state.history.T, strict=True):
        told = np.full(t, np.nan) if fields[name] is None else fields[name][:t]
        _require(np.array_equal(told, column, equal_nan=True), f"{name} of the fit and of its history differ")
    settings, loss, objective = fields["settings"], *state.history.T[:2]
    is_penalized = settings["l2"] > 0 or settings["l1"] > 0
    is_sum = not np.any(objective < loss) if is_penalized else np.array_equal(objective, loss, equal_nan=True)
    _require(is_sum, "the objective is not the loss and its penalties")
    seconds = fields["seconds"]
    is_clock = np.all(np.isfinite(seconds)) and seconds[0] >= 0 and np.all(np.diff(seconds) >= 0)
    _require(is_clock and seconds[-1] <= state.seconds, "seconds are not those of a clock")


def _require_noise(fields: Mapping[str, Any], state: RunState) -> None:
    track = fields["noise_track"]
    if track is None:
        return
    _require(track.dtype == np.float64 and track.ndim == 2 and track.shape[1] == 3, "what noise_track holds")
    samples = track[:, 0]
    _require(np.isfinite(samples).all() and np.all(np.diff(samples) > 0), "the samples of noise_track fall")
    _require(
        not len(samples) or 0 <= samples[0] <= samples[-1] <= state.samples, "noise_track of other samples"
    )


def _require_rates(fields: Mapping[str, Any], state: RunState) -> None:
    settings, lrs = fields["settings"], state.lrs.tolist()
    given = settings["lr_given"]
    _require(lrs and all(map(is_rate, lrs)), "the rates of the epochs are not finite numbers above 0")
    _require(settings["lr"] == lrs[0], "lr of settings and of the first epoch differ")
    _require(given == (lrs[0] if type(given) is float else lrs) or given == "auto", "lr_given and rates differ")
    n_given = max(limit_of(settings["epochs"]), 1) if type(given) is list else 1
    _require(len(lrs) == n_given, f"{len(lrs)} rates for {settings['epochs']} epochs")


def _require_stopping(fields: Mapping[str, Any], state: RunState) -> None:
    settings = fields["settings"]
    is_watched, patience = settings["tol"] is not None, settings["patience"]
    is_in_rounds = settings["schedule"] == RESTARTS
    most = state.samples // fields["n"] if is_watched else 0
    most = most if is_in_rounds else min(patience, most)
    _require(state.stale <= most, f"{state.stale} stale epochs, and at most {most} can be")
    _require(state.is_over == (is_watched and state.stale >= patience), "is_over and stale epochs")
    _require(state.factor == 1 or is_in_rounds, f"rates times {state.factor} without rounds")
    why = {"converged": fields["validation_loss"] is None, "validation": fields["validation_loss"] is not None}
    _require(why.get(fields["stopped"], True), f"stopped by {fields['stopped']}, and what is held out")
    _require(state.is_over or fields["stopped"] not in why, f"is_over, and stopped by {fields['stopped']}")
    if not len(state.history):
        _require(state.best_watched == math.inf, "a best loss without a history")
        return
    first = state.history[0].tolist()
    watched = first[1] if fields["validation_loss"] is None else first[2]
    _require(not state.best_watched > watched, f"the best loss is {state.best_watched}, the first {watched}")
    _require(not state.limit < first[0], f"the limit of the loss is {state.limit}, the first {first[0]}")
