"""What the kernels for one output are compiled for."""

from __future__ import annotations

from typing import Any, NamedTuple


class Variant(NamedTuple):
    """A loss, a dtype and a width of rows, all known to the compiler.

    slope : the compiled slope of the loss.  T : np.float32 or np.float64.  lanes : floats in a register.
    n_registers : those of a row that stays in registers, or 0 for rows that are streamed.
    is_weighted : whether samples have weights.  is_gathered : whether rows are gathered, a chunk at a time.
    name : tells the functions of two variants apart.
    """

    slope: Any
    T: Any
    lanes: int
    n_registers: int
    is_weighted: bool
    is_gathered: bool
    name: str
