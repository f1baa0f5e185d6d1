"""Where ``sum_rows`` of ``multi_kernels.py`` keeps what it needs meanwhile, in scratch memory of the caller.

In this order, from a cache line on: tables of addresses, Z, W^T, G^T, and a block of gathered rows.  One table
holds the rows of a block, one what ``forward`` prefetches, one what ``backward`` prefetches, up to five lines
with each row; the first ends in a number, the factor of ``backward_plain``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.matmul.gemm.dispatch import products
from numbasgd.sgd.rows import CHUNK, LINE
from numbasgd.sgd.solvers.multi_transposed import MOST, tiles_for, whole

_PRODUCT_BYTES = 1 << 19  # of the rows that the product sums at once: they are read twice
_SPARE = 16  # entries of a table, and rows of Z, behind the last
_TABLE = 8 * (CHUNK + _SPARE)
_TABLES = 7 * _TABLE


class Buffers(NamedTuple):
    """Addresses, and bytes from one row to the next of W^T and G^T.

    rows, prefetched, prefetched_backward : tables of addresses.  factor : see ``multi_small.py``.
    Z : predictions, then slopes, of a chunk.  gathered : rows of a block in one piece.
    """

    rows: int
    prefetched: int
    prefetched_backward: int
    factor: int
    Z: int
    Wt: int
    ld_Wt: int
    Gt: int
    ld_Gt: int
    gathered: int


def fixed_k(outputs: int) -> int:
    """The number of outputs where kernels are compiled for that number, else 0."""
    return outputs if outputs <= MOST else 0


@jit(inline="always")
def chunk_rows(d, itemsize, FIXED_K):
    """Rows that are summed in the dtype of X at once; such chunks are added up in float64."""
    return CHUNK if FIXED_K else min(CHUNK, max(32, _PRODUCT_BYTES // max(1, d * itemsize) // 16 * 16))


def scratch_for(d: int, width: int, itemsize: int, FIXED_K: int) -> int:
    """Entries of scratch memory that ``sum_rows`` needs."""
    most = chunk_rows.py_func(d, itemsize, FIXED_K)
    transposed = 2 * (FIXED_K + _SPARE) * (d + 6 * LINE) if FIXED_K else 0
    return _TABLES // itemsize + (most + _SPARE) * width + transposed + most * d + 4 * LINE


def make_buffers(T: Any, lanes: int, FIXED_K: int, variant: str) -> Callable[..., Any]:
    """buffers_of(scratch, d, width, most): the ``Buffers`` at that address, for chunks of ``most`` rows."""
    dtype = np.dtype(T)
    SIZE = dtype.itemsize
    VECTOR = products[dtype].gemm.tiles.lanes * SIZE
    K = max(FIXED_K, 2)
    tiles = tiles_for(K, whole(K, lanes), dtype)
    W_ROWS, G_ROWS, G_STEP = whole(K, tiles.N), whole(K, tiles.K), tiles.NV * VECTOR

    @jit(variant=variant, inline="always")
    def buffers_of(scratch, d, width, most):
        rows = (scratch + LINE - 1) // LINE * LINE
        Z = rows + _TABLES
        Wt = (Z + (most + _SPARE) * width * SIZE + LINE - 1) // LINE * LINE
        ld_Wt = (d * SIZE + VECTOR - 1) // VECTOR * VECTOR
        ld_Wt += LINE if ld_Wt % 1024 == 0 else 0  # rows a power of two apart share few sets of a cache
        ld_Gt = (d * SIZE + G_STEP - 1) // G_STEP * G_STEP
        ld_Gt += LINE if ld_Gt % 1024 == 0 else 0
        Gt = Wt + W_ROWS * ld_Wt
        gathered = Gt + G_ROWS * ld_Gt if FIXED_K else Wt
        factor = rows + _TABLE - LINE
        return Buffers(rows, rows + _TABLE, rows + 2 * _TABLE, factor, Z, Wt, ld_Wt, Gt, ld_Gt, gathered)

    return buffers_of
