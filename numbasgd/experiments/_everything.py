"""All experiments of the chapter in one go, within two minutes, as plain values that can be kept in a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numbasgd.experiments._exercises import exercises
from numbasgd.experiments._ladder import ladder
from numbasgd.experiments._memory import memory
from numbasgd.experiments._noise import noise
from numbasgd.experiments._problem import made_large
from numbasgd.experiments._roofline import roofline
from numbasgd.experiments._valley import valley
from numbasgd.machine.deadline import Deadline

SCHEMA = 1
KIND = "chapter page"
SECONDS = 105.0  # that all of it may take
BATCH_SIZES = (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1500)
LARGE_SIZES = (1, 3, 10, 30, 100, 300, 1500, 10000, 131072)
MADE = "made"  # the name of the data that is large enough for the argument


def everything(deadline: Deadline | None = None) -> dict[str, Any]:
    """Measure ladder, memory, roofline, noise, valleys and exercises; one thread.

    Parameters
    ----------
    deadline : Deadline, optional
        After 105 seconds if left out.  What does not fit is left out, and the results say so.

    Returns
    -------
    dict
        "schema", "kind" : 1 and "chapter page".  "ladder", "memory", "roofline", "noise", "valley" and
        "exercises" : what ``to_dict`` of each gives.  "large" : the valley of a problem of 131,072 rows, where
        compiled code has it too.  "seconds" : what all of it took.
    """
    deadline = deadline or Deadline(SECONDS)
    begun = deadline.elapsed()
    found: dict[str, Any] = {"schema": SCHEMA, "kind": KIND}

    def measure(name: str, call: Callable[[Deadline], Any], share: float) -> None:
        deadline.tell(name)
        found[name] = call(deadline.part(share)).to_dict()

    measure("ladder", lambda part: ladder(deadline=part), 0.5)
    measure("valley", lambda part: valley(batch_sizes=BATCH_SIZES), 1.0)
    measure("large", lambda part: valley(*made_large(), batch_sizes=LARGE_SIZES, seeds=5), 1.0)
    measure("noise", lambda part: noise(), 1.0)
    measure("exercises", lambda part: exercises(deadline=part), 0.2)
    measure("memory", lambda part: memory(deadline=part), 0.6)
    limits = found["memory"]["limits"]  # or one page would tell two bandwidths of the same memory
    measure("roofline", lambda part: roofline(quick=True, limits=limits, deadline=part), 0.9)
    found["large"]["data"] = MADE
    found["seconds"] = round(deadline.elapsed() - begun, 1)
    return found
