"""Is this the product?  A check in O(n^2) that goes with every timing, and the true largest error.

The check is Freivalds': multiply both sides by a random vector t of +-1.  With the three products in
float64, ``r = |C t - A (B t)|_2 / (|A|_F |B|_F u)`` stays below ``sqrt(k) + 8`` for a product computed in
any order with unit roundoff u, and a wrong entry passes only if t happens to hide it (R. Freivalds,
Probabilistic machines can use less running time, 1977).
"""

from __future__ import annotations

import math

import numpy as np

from numbasgd.errors import WrongResultError

_WORK = 2**26  # multiplications that the slow reference may take


def residual(A: np.ndarray, B: np.ndarray, C: np.ndarray, *, seed: int = 0) -> float:
    """Freivalds' residual of ``C = A @ B`` in units of roundoff; infinite when it is not finite.

    A : (m, k), B : (k, n), C : (m, n), of one dtype, float32 or float64.
    """
    if C.size == 0:
        return 0.0
    t = np.random.default_rng(seed).choice(np.array([-1.0, 1.0]), size=C.shape[1])
    with np.errstate(all="ignore"):
        A64, B64, C64 = (M.astype(np.float64, copy=False) for M in (A, B, C))
        difference = float(np.linalg.norm(C64 @ t - A64 @ (B64 @ t)))
        scale = float(np.linalg.norm(A64) * np.linalg.norm(B64)) * unit_roundoff(C.dtype)
    if not (math.isfinite(difference) and math.isfinite(scale)):
        return math.inf
    if scale == 0.0:
        return 0.0 if difference == 0.0 else math.inf
    return difference / scale


def limit(k: int, n: int = 0) -> float:
    """What the residual of a product with sums of ``k`` terms may reach.

    n : columns of a float64 product, whose check ``C t`` has sums of ``n`` terms in the same precision.
    """
    return math.sqrt(k) + math.sqrt(n) + 8.0


def require(A: np.ndarray, B: np.ndarray, C: np.ndarray, what: str, *, seed: int = 0) -> float:
    """The residual, or ``WrongResultError`` when it passes the limit; ``what`` names the kernel."""
    found, allowed = residual(A, B, C, seed=seed), limit(A.shape[1], C.shape[1] if C.dtype == np.float64 else 0)
    if not found <= allowed:
        raise WrongResultError(
            f"{what} computed a product that is wrong: its residual is {found:.3g} units of roundoff, and "
            f"{allowed:.3g} is the limit for shapes {A.shape} @ {B.shape} in {C.dtype}. Its time means nothing."
        )
    return found


def unit_roundoff(dtype: np.dtype) -> float:
    """Half the distance from 1 to the next number: u."""
    return float(np.finfo(dtype).eps) / 2


class Exact:
    """A @ B in wider precision, with the bound on the error of each entry; computed once for any number of C.

    The bound, entry by entry, is ``2 g |A| |B| + k tiny`` with ``g = k u / (1 - k u)``: it holds for any
    order of summation (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., eq. 3.13).  From
    ``k u = 1/2`` on, ``g = 2 k u``; half of that is proven for every k (C.-P. Jeannerod and S. M. Rump,
    Improved error bounds for inner products in floating-point arithmetic, SIMAX 34, 2013).  The
    reference is float64 for float32; for float64 it is long double, which no BLAS computes, so for large
    sizes it looks at rows evenly spread over C.
    """

    def __init__(self, A: np.ndarray, B: np.ndarray) -> None:
        m, k = A.shape
        u, tiny = unit_roundoff(A.dtype), float(np.finfo(A.dtype).tiny)
        self._wide = np.float64 if A.dtype == np.float32 else np.longdouble
        self._rows = slice(None)
        if self._wide is np.longdouble:
            self._rows = slice(None, None, max(1, math.ceil(m * k * B.shape[1] / _WORK)))
        A, B = A[self._rows].astype(self._wide), B.astype(self._wide)
        self._product = A @ B
        g = k * u / (1 - min(k * u, 0.5))
        self._bound = 2 * g * (np.abs(A) @ np.abs(B)) + k * tiny

    def largest_error(self, C: np.ndarray) -> tuple[float, float]:
        """The largest error of an entry of C, and the largest as a share of its bound."""
        C = C[self._rows].astype(self._wide)
        if C.size == 0:
            return 0.0, 0.0
        error = np.abs(C - self._product)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(error == 0, 0.0, error / self._bound)
        return float(error.max()), float(share.max())
