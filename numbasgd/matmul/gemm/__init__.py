"""The rung ``packed``: a general matrix product (GEMM) from register tiles, in Numba."""
