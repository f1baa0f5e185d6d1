"""What ``numbasgd train`` prints: a fit, or the best weights of a run that diverged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from numbasgd.sgd import fit_summary

if TYPE_CHECKING:
    from numbasgd.errors import DivergenceError
    from numbasgd.sgd import Fit


def fit_lines(fit: Fit, names: list[str] | None) -> list[str]:
    """A fit as text: data, settings, losses, time, all weights."""
    return [*fit_summary.lines(fit), *fit_summary.weight_lines(fit, names=names)]


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
    names = names or [f"column {j}" for j in range(len(error.w))]
    weights = zip([*names, "intercept"], [*error.w, error.b], strict=True)
    print("\n".join(fit_summary.table_of(list(weights))))
    print(f"suggested  --lr {error.suggested_lr:.3g}")
