"""A ``Fit`` for people to read: as text, and as a table for a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from numbasgd.sgd.losses import PARAMETERS

if TYPE_CHECKING:
    from numbasgd.sgd.fit import Fit

_SHOWN = ("momentum", "nesterov", "average", "l2", "l1", "standardize")
_OUTPUTS = 6  # columns of weights that are shown
_CLASSES = 10
_NAME = 40  # characters of a name that are shown


def summary(fit: Fit, weights: int) -> str:
    """Data, settings, losses, the end and the seconds of a run, and its largest weights."""
    return "\n".join([*lines(fit), "", *weight_lines(fit, weights)])


def lines(fit: Fit) -> list[str]:
    """What there is to say besides the weights, a line each."""
    return [f"{name:<11}{text}" for name, text in rows_of(fit)]


def html_of(fit: Fit, weights: int = 5) -> str:
    """The same, short, as an HTML table; whatever a user named is escaped."""
    wanted = ("data", "settings", "loss", "held out", "stopped", "time")
    rows = [(name, text) for name, text in rows_of(fit) if name in wanted]
    table = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
        for name, text in rows
    )
    listed = html.escape("\n".join(weight_lines(fit, weights)))
    return f"<table>{table}</table><pre>{listed}</pre>"


def rows_of(fit: Fit) -> Iterator[tuple[str, str]]:
    """What there is to say besides the weights: (name, text)."""
    settings = fit.settings
    yield "data", _data(fit)
    if fit.classes is not None:
        yield "classes", _classes(fit)
    windows = f" in windows of {settings['window']:g} MB" if settings["sampling"] == "block" else ""
    yield "settings", f"{_rate(fit)}, sampling {settings['sampling']}{windows}, seed {fit.seed}"
    if more := _more(settings):
        yield "", ", ".join(more)
    loss = "half mean squared error" if settings["loss"] == "squared" else f"mean {settings['loss']} loss"
    of_targets = ", summed over the targets" if fit.w.ndim == 2 and fit.classes is None else ""
    yield "loss", f"{_fall(fit.loss)} in {fit.epochs[-1]:g} epochs ({loss}{of_targets})"
    if settings["l2"] or settings["l1"]:
        yield "objective", f"{_fall(fit.objective)} (with the penalties)"
    if fit.validation_loss is not None:
        yield "held out", _fall(fit.validation_loss)
    yield "stopped", fit.stopped_because
    yield "time", _time(fit)


def _data(fit: Fit) -> str:
    outputs = ""
    if fit.w.ndim == 2:
        outputs = f" -> {fit.w.shape[1]} {'targets' if fit.classes is None else 'classes'}"
    extra = ", weighted" if fit.settings["sample_weight"] else ""
    if fit.settings["validation_fraction"]:
        extra += f", {fit.settings['validation_fraction']:g} of all rows held out"
    elif fit.settings["validation_data"]:
        extra += ", others held out"
    return f"{fit.data}, {fit.n} rows x {len(fit.w)} columns{outputs}, {fit.settings['dtype']}{extra}"


def _classes(fit: Fit) -> str:
    classes = fit.classes or ()
    named = [_short(c) for c in classes[:_CLASSES]]
    if fit.w.ndim == 1:
        return f"{named[0]} where the decision function is below 0, else {named[1]}"
    more = f", ... ({len(classes)} in all)" if len(classes) > _CLASSES else ""
    return f"{', '.join(named)}{more}: that of the largest column of the decision function"


def _rate(fit: Fit) -> str:
    """The rate, the batch size and where they are from."""
    settings = fit.settings
    given, schedule = settings["lr_given"], settings["schedule"]
    if given == "auto":
        source = f"chosen by {fit.lr_because}"
    else:
        source = "the first of one per epoch" if isinstance(given, list) else "as given"
    falls = "" if schedule == "constant" else f", schedule {schedule}"
    steps = -(-fit.n // settings["batch_size"])
    chosen = "" if fit.batch_size_because == "given" else f", chosen by {fit.batch_size_because}"
    return (
        f"batch_size {settings['batch_size']} ({steps} step{'s' * (steps != 1)} an epoch{chosen}), "
        f"lr {settings['lr']:.4g} ({source}{falls})"
    )


def _more(settings: Mapping[str, Any]) -> list[str]:
    parts = [f"{name} {settings[name]}" for name, (owner, _) in PARAMETERS.items() if owner == settings["loss"]]
    parts += [f"{name} {settings[name]}" for name in _SHOWN if settings[name]]
    if not settings["intercept"]:
        parts.append("no intercept")
    if settings["tol"] is not None and settings["epochs"] is not None:
        parts.append(f"tol {settings['tol']:g}, patience {settings['patience']}")
    return parts


def _fall(losses: np.ndarray) -> str:
    return f"{losses[0]:.6g} -> {losses[-1]:.6g}"


def _time(fit: Fit) -> str:
    an_epoch = f"{fit.seconds_per_epoch:.3g} s an epoch"
    if not fit.times:  # of a file from before they were told apart
        return f"{fit.seconds[-1]:.3g} s of training, {an_epoch}; compiling {fit.compile_seconds:.2g} s"
    parts = ", ".join(f"{name} {seconds:.2g}" for name, seconds in fit.times.items() if seconds > 0)
    return f"{sum(fit.times.values()):.3g} s ({parts}); training {an_epoch}"


def _short(value: Any) -> str:
    text = f"{value:g}" if type(value) is float else repr(value)
    return text if len(text) <= _NAME else text[: _NAME - 3] + "..."


def weight_lines(fit: Fit, most: int | None = None, names: Sequence[Any] | None = None) -> list[str]:
    """A line for each weight, the largest first where there are more than ``most``, and for the intercept.

    A weight is as large as what one standard deviation of its column changes, where that is known.
    """
    names = fit.feature_names if names is None else names
    w, d = fit.w, len(fit.w)
    shown, heading = range(d), []
    if most is not None:
        is_scaled = fit._state is not None and fit._state.scale.size > 0
        deviation = fit._state.scale[1] if is_scaled and fit._state is not None else np.ones(d)
        size = np.abs(w.reshape(d, -1)).max(axis=1) * deviation
        shown = np.argsort(-size, kind="stable")[:most].tolist()
        by = " by what a standard deviation of the column changes" if is_scaled else ""
        heading = [f"weights    {f'the {most} largest of {d}' if most < d else 'the largest first'}{by}"]
    told = [(f"column {j}" if names is None else str(names[j]), w[j]) for j in shown]
    return [*heading, *table_of([*told, ("intercept", fit.b)], fit.classes if w.ndim == 2 else None)]


def table_of(weights: Sequence[tuple[str, Any]], outputs: Sequence[Any] | None = None) -> list[str]:
    """A line for each name and its weight, or weights of several outputs, of which the first are shown.

    outputs : their names.
    """
    named = [(_cut(name), np.atleast_1d(value)) for name, value in weights]
    width = max(len(name) for name, _ in named)
    n_outputs = len(named[0][1])
    if n_outputs == 1:
        return [f"  {name:<{width}}  {value[0]: .6g}" for name, value in named]
    more = f"  ... ({n_outputs} in all)" if n_outputs > _OUTPUTS else ""
    header = (
        [f"  {'':<{width}}" + "".join(f"  {_cut(str(k), 11):>11}" for k in outputs[:_OUTPUTS])]
        if outputs
        else []
    )
    return header + [
        f"  {name:<{width}}" + "".join(f"  {each: 11.6g}" for each in value[:_OUTPUTS]) + more
        for name, value in named
    ]


def _cut(name: str, most: int = _NAME) -> str:
    """A name in one line, of at most so many characters."""
    plain = "".join(c if c.isprintable() else "?" for c in name)
    return plain if len(plain) <= most else plain[: most - 3] + "..."
