"""What ``numbasgd train`` prints: a fit, the best weights of a run that diverged, the chapter's four runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from numbasgd.sgd.losses import PARAMETERS

if TYPE_CHECKING:
    from numbasgd.errors import DivergenceError
    from numbasgd.sgd import Fit

_SHOWN = ("momentum", "nesterov", "average", "l2", "l1", "standardize")


def fit_lines(fit: Fit, names: list[str] | None) -> list[str]:
    """A fit as text: data, settings, losses, time, weights."""
    settings = fit.settings
    lr_given, loss = settings["lr_given"], settings["loss"]
    given = "one per epoch" if isinstance(lr_given, list) else lr_given
    schedule = "" if settings["schedule"] == "constant" else f", {settings['schedule']}"
    parts = [f"{name} {settings[name]}" for name, (owner, _) in PARAMETERS.items() if owner == loss]
    parts += [f"{name} {settings[name]}" for name in _SHOWN if settings[name]]
    is_watched = settings["tol"] is not None
    if settings["validation_fraction"] or (is_watched and settings["epochs"] is not None):
        parts.append("early stopping" if is_watched else "some rows held out")
    more = [f"           {', '.join(parts)}"] if parts else []
    ends = []
    if settings["l2"] or settings["l1"]:
        ends.append(f"objective  {fit.objective[0]:.6g} -> {fit.objective[-1]:.6g} (with the penalties)")
    if fit.validation_loss is not None:
        ends.append(f"held out   {fit.validation_loss[0]:.6g} -> {fit.validation_loss[-1]:.6g}")
    if fit.classes is not None:
        first, second = fit.classes[:2]
        told = ", ".join(f"{name:g}" for name in fit.classes[:10]) + ", ..." * (len(fit.classes) > 10)
        ends.append(
            f"classes    {first:g} where a score is below 0, else {second:g}"
            if fit.w.ndim == 1
            else f"classes    {told}: the one of the largest score"
        )
    return [
        f"data       {fit.data if fit.data != 'arrays' else 'your table'}, {fit.n} rows x {len(fit.w)} columns",
        f"settings   batch_size {settings['batch_size']}, lr {settings['lr']:.4g} ({given}{schedule}), "
        f"sampling {settings['sampling']}, seed {fit.seed}",
        *more,
        f"loss       {fit.loss[0]:.6g} -> {fit.loss[-1]:.6g} in {fit.epochs[-1]:g} epochs "
        f"({'half mean squared error' if loss == 'squared' else f'mean {loss} loss'}"
        f"{', summed over the targets' if fit.w.ndim == 2 and fit.classes is None else ''})",
        *ends,
        f"stopped    {fit.stopped_because}",
        f"time       {fit.seconds_per_epoch:.3g} s an epoch; compile {fit.compile_seconds:.2g} s and "
        "evaluation left out",
        *_weights(fit.w, fit.b, names),
    ]


def _weights(w: Any, b: Any, names: list[str] | None) -> list[str]:
    """A line for each weight, and for the intercept; a column for each output."""
    names = names or [f"column {j}" for j in range(len(w))]
    width = max(map(len, [*names, "intercept"]))
    told = zip([*names, "intercept"], [*w, b], strict=True)
    if getattr(w, "ndim", 1) == 2:
        return [f"  {name:<{width}}" + "".join(f"  {each: 11.6g}" for each in row) for name, row in told]
    return [f"  {name:<{width}}  {value: .6g}" for name, value in told]


def print_best(error: DivergenceError, message: str, names: list[str] | None, is_json: bool) -> None:
    """Print the best weights of a run that diverged, as text or JSON."""
    if is_json:
        import numpy as np

        found = {name: getattr(error, name) for name in ("epoch", "b", "loss", "suggested_lr")}
        found = {name: np.asarray(value, float).tolist() for name, value in found.items()}
        told = {"error": message, "w": error.w.tolist(), **found, "columns": names}
        print(json.dumps(told, indent=2, allow_nan=False))
        return
    print(f"diverged after {error.epoch:g} epochs; the best weights so far, of loss {error.loss:.6g}:")
    print("\n".join(_weights(error.w, error.b, names)))
    print(f"suggested  --lr {error.suggested_lr:.3g}")


def print_chapter(fits: dict[str, Fit], source: str, what: str) -> None:
    """Print the four runs as a table."""
    from numbasgd.render.tables import Table, number, render

    rows = [
        (
            name,
            f"{fit.settings['lr']:g}",
            fit.settings["batch_size"],
            f"{fit.epochs[-1]:g}",
            f"{fit.loss[-1]:.4f}",
            number(1e6 * fit.seconds_per_epoch),
        )
        for name, fit in fits.items()
    ]
    print(f"The chapter's four runs on {source}, {what}\n")
    header = ("run", "lr", "batch size", "epochs", "final loss", "us per epoch")
    print(render(Table(header, tuple(rows))))
    print("Loss: half the mean squared error over all rows. Time: training alone, shuffling included.")
