"""The arguments of the products' loops, as named tuples that compiled functions take and return.

Addresses, strides and sizes are integers; strides are in bytes.  All of them are trusted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numba import types

from numbasgd.compile.options import jit

Loops = Callable[..., None]


class Matrix(NamedTuple):
    """Where a matrix lies.  rs, cs : bytes from one row, or column, to the next."""

    address: int
    rs: int
    cs: int


class Sizes(NamedTuple):
    """Sizes of a product: A is (m, k), B (k, n), C (m, n)."""

    m: int
    n: int
    k: int


class Blocks(NamedTuple):
    """How a product is blocked, as far as its variant has a choice.

    MC, NC, KC : rows, columns and steps of k of a cache block.
    MR : most rows of a register tile.  NR : most vectors in a panel of columns.
    ld : bytes between the rows of a packed operand.  far : 1 where A is worth a prefetch.
    """

    MC: int
    NC: int
    KC: int
    MR: int
    NR: int
    ld: int
    far: int


class Scratch(NamedTuple):
    """address : scratch memory of this thread, at a page.  panels : packed B of all threads, or 0."""

    address: int
    panels: int


def named(of: type, field: Any = types.intp) -> types.NamedUniTuple:
    """The Numba type of a named tuple of integers."""
    return types.NamedUniTuple(field, len(of._fields), of)  # type: ignore[attr-defined]


MATRIX, SIZES, BLOCKS, SCRATCH = (named(of) for of in (Matrix, Sizes, Blocks, Scratch))
# loops(A, B, C, size, acc, blocks, scratch)
LOOPS = (MATRIX, MATRIX, MATRIX, SIZES, types.intp, BLOCKS, SCRATCH)


def compiled(function: Callable[..., Any], *numbers: int) -> Any:
    """``function`` compiled under a name of its own, which says what it closes over.

    Without the flags that let sums be reordered: Numba would put them on the instructions of the
    micro-kernels too, and LLVM would then add in another order in one tile than in the next.
    """
    function.__qualname__ = function.__name__ = "_".join([function.__name__, *map(str, numbers)])
    return jit(function, fastmath=False)
