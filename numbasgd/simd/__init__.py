"""Vector registers: what emits LLVM code for them, and the type that Numba functions use."""
