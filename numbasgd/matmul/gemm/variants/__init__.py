"""The ways to compute a product: one table, ``VARIANTS``, in which each says what it is and what it costs.

An entry holds all that is particular to a way: its name in the field's words, why it exists, the loops it
compiles (one function for each ``width``), and ``propose``, which looks at one product and says whether the
way can compute it, with which of its functions and blocks, how it is cut for threads, and in how many cycles.
``plan.select`` takes the proposal that costs least; it knows no variant by name.
"""

from __future__ import annotations

from numbasgd.matmul.gemm.variants.base import NEVER, Cut, Product, Proposal, Tiles, Variant, refused
from numbasgd.matmul.gemm.variants.skinny_m import FEW_ROWS, FEW_ROWS_T, PREFETCHED_B, SKINNY_M
from numbasgd.matmul.gemm.variants.skinny_n import (
    INNER_PRODUCT,
    INNER_PRODUCT_T,
    SINGLE_VECTOR,
    TRANSPOSE_LOAD_A,
    TRANSPOSE_LOAD_A_T,
    TRANSPOSE_LOAD_B,
    TRANSPOSED_A,
)
from numbasgd.matmul.gemm.variants.tiled import PACKED, STREAMING_C, UNPACKED

VARIANTS = (
    UNPACKED,
    PACKED,
    FEW_ROWS,
    FEW_ROWS_T,
    STREAMING_C,
    SINGLE_VECTOR,
    SKINNY_M,
    INNER_PRODUCT,
    INNER_PRODUCT_T,
    TRANSPOSE_LOAD_A,
    TRANSPOSE_LOAD_A_T,
    TRANSPOSE_LOAD_B,
    TRANSPOSED_A,
    PREFETCHED_B,
)

__all__ = ["NEVER", "VARIANTS", "Cut", "Product", "Proposal", "Tiles", "Variant", "refused"]
