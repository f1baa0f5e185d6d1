"""What measures: each experiment of the chapter as a function whose frozen result prints, draws and serializes.

Every result has ``table()`` (text), ``plot(ax=None)`` (needs matplotlib) and ``to_dict()`` (plain JSON values,
whose keys its docstring names: the machine, the versions and the seconds that it took among them).
``everything`` gives those values of all of them.
"""

from numbasgd.experiments._chapter import Chapter, chapter
from numbasgd.experiments._everything import everything
from numbasgd.experiments._exercises import Exercises, exercises
from numbasgd.experiments._ladder import Ladders, ladder
from numbasgd.experiments._memory import Memory, memory
from numbasgd.experiments._noise import NoiseAndCost, noise
from numbasgd.experiments._problem import made_large
from numbasgd.experiments._product import Ladder
from numbasgd.experiments._roofline import Roofline, roofline
from numbasgd.experiments._valley import Valley, valley

__all__ = [
    "Chapter",
    "Exercises",
    "Ladder",
    "Ladders",
    "Memory",
    "NoiseAndCost",
    "Roofline",
    "Valley",
    "chapter",
    "everything",
    "exercises",
    "ladder",
    "made_large",
    "memory",
    "noise",
    "roofline",
    "valley",
]
