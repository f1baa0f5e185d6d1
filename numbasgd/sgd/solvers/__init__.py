"""Solvers: how the steps of a run are made, and the kernels that make them."""
