"""The arguments of the training kernels, as named tuples that compiled functions pass on.

Python passes the same values as plain tuples, which Numba recognizes without a call into Python; ``epoch.py``
makes these of them.  Pointers are those of ``simd.vector``.  All of them are trusted.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numbasgd.compile.options import jit
from numbasgd.simd.vector import pointer


class Samples(NamedTuple):
    """Rows, their targets and weights: entry (i, j) of X is X[base + i * si + j * sj].

    y, s : pointers to targets and to sample weights of mean 1.
    by_position : whether y and s are those of the positions of an order, and not those of the rows.
    In ``multi_kernels.py`` all fields are integers: addresses stand for pointers, and 0 for False.
    """

    X: Any
    d: int
    base: int
    si: int
    sj: int
    y: Any
    s: Any
    by_position: bool | int


class Order(NamedTuple):
    """Which rows are taken: position t is row rows[t]; row t itself where ``n_rows`` is 0 (sequential order).

    ahead : how many rows ahead memory is prefetched, 0 for none.
    """

    rows: Any
    n_rows: int
    ahead: int


class StepParams(NamedTuple):
    """How a step moves the weights.  with_b : whether the intercept is trained."""

    batch_size: int
    lr: Any
    momentum: Any
    l2: Any
    l1: Any
    with_b: bool


class Weights(NamedTuple):
    """The state of a run: four rows of weights, velocities, means and what rounding took from the means.

    state : pointer to its first row.  size : where the intercepts begin in a row.
    count : pointer to the steps in the mean, and the samples seen.
    row : entries of a row, the intercepts and all padding included.
    """

    state: Any
    size: int
    count: Any
    row: int


class Scratch(NamedTuple):
    """Memory of the caller: g as long as the weights, as much in float64, and a chunk of gathered rows."""

    g: Any
    scratch64: Any
    rows: Any


class Outputs(NamedTuple):
    """Several outputs.  K : their number.  width : K padded to whole registers.

    sum_rows : address of the compiled ``sum_rows`` of ``multi_kernels.py``.
    """

    K: int
    width: int
    sum_rows: int


@jit(inline="always")
def samples_of(arrays):
    """The ``Samples`` of what Python passes: (memory, d, base, si, sj, y, s)."""
    memory, d, base, si, sj, y, s = arrays
    return Samples(pointer(memory, 0), d, base, si, sj, pointer(y, 0), pointer(s, 0), False)


@jit(inline="always")
def with_targets(samples, y, s, by_position):
    """The same rows with other targets and weights."""
    return Samples(samples.X, samples.d, samples.base, samples.si, samples.sj, y, s, by_position)
