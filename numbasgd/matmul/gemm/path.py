"""What every path of ``packed`` is: a function of integers, compiled under a name of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numbasgd.compile.options import jit

Path = Callable[..., None]


def compiled(function: Callable[..., Any], *numbers: int) -> Any:
    """``function`` compiled under a name of its own, which says what it closes over.

    Without the flags that let sums be reordered: Numba would put them on the instructions of the
    micro-kernels too, and LLVM would then add in another order in one tile than in the next.
    """
    function.__qualname__ = function.__name__ = "_".join([function.__name__, *map(str, numbers)])
    return jit(function, fastmath=False)
