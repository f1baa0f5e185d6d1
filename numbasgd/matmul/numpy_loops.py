"""The chapter's own loops: Python counts, NumPy multiplies.

They show what the interpreter costs beside the compiled rung of the same name, and unlike every other
rung they end in NumPy's BLAS.  Same contract as ``cpu.py``.
"""

from __future__ import annotations

import numpy as np

BLOCK = 64  # columns a "minibatch", as in the chapter


def element(A: np.ndarray, B: np.ndarray, out: np.ndarray) -> None:
    """out[i, j] := A[i, :] . B[:, j], a Python step and a NumPy call per entry."""
    m, n = out.shape
    for i in range(m):
        for j in range(n):
            out[i, j] = np.dot(A[i, :], B[:, j])


def column(A: np.ndarray, B: np.ndarray, out: np.ndarray) -> None:
    """out[:, j] := A @ B[:, j], a NumPy call per column."""
    for j in range(out.shape[1]):
        out[:, j] = np.dot(A, B[:, j])


def row(A: np.ndarray, B: np.ndarray, out: np.ndarray) -> None:
    """out[i, :] := A[i, :] @ B, a NumPy call per row."""
    for i in range(out.shape[0]):
        out[i, :] = np.dot(A[i, :], B)


def blocked(A: np.ndarray, B: np.ndarray, out: np.ndarray) -> None:
    """out[:, j:j+64] := A @ B[:, j:j+64], a NumPy call per block of 64 columns."""
    for j in range(0, out.shape[1], BLOCK):
        out[:, j : j + BLOCK] = np.dot(A, B[:, j : j + BLOCK])


def full(A: np.ndarray, B: np.ndarray, out: np.ndarray) -> None:
    """out := A @ B, one call: the BLAS that NumPy was built with.  In ``RUNGS`` this is the rung ``numpy``."""
    np.matmul(A, B, out=out)
