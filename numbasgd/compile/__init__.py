"""How Numba compiles for this package, and where it keeps what it compiled."""
