"""Why a run has ended, as ``Fit.stopped`` names it, and in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from numbasgd.sgd.config import MOST_EPOCHS

#: Each reason with its sentence, in which {names} are settings of the run.
REASONS: Mapping[str, str] = MappingProxyType(
    {
        "converged": "In {patience} epochs or more the objective did not fall by a share of {tol:g}.",
        "validation": (
            "In {patience} epochs or more the loss of the held-out rows did not fall by a share of {tol:g}."
        ),
        "epochs": "All {epochs} epochs were made.",
        "limit": (
            f"Where epochs is left out, {MOST_EPOCHS} are made at most, in whole rounds, and the loss still "
            "fell. Pass the run as resume, with epochs=1000, to go on."
        ),
        "budget": "The budget of seconds was used up. Pass the run as resume to go on.",
        "callback": "The callback said so.",
        "unfinished": "It was interrupted, or it had not ended yet. Pass it as resume to go on.",
    }
)

#: What the seconds of a call are spent on, as ``Fit.times`` names it.
TIMES = ("choosing", "scaling", "compiling", "training", "evaluating", "other")


def sentence(stopped: str, settings: Mapping[str, Any], epochs: float) -> str:
    """The reason in a sentence; epochs : those that were made."""
    return REASONS[stopped].format(**{**settings, "epochs": f"{epochs:g}"})
