"""``matmul_plan``: what ``packed`` would do for a product, and why, without doing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from numbasgd import threads as pool
from numbasgd.machine import cpu
from numbasgd.matmul.gemm import tiles
from numbasgd.matmul.gemm.parallel import WORTH_SHARING


@dataclass(frozen=True)
class Plan:
    """How a product is computed.

    path : the name of the loops around the micro-kernel.  why : what decided.
    MR, NR : rows and columns of the largest register tile.
    lanes : numbers in a vector register.
    KC, MC, NC : steps of k, rows and columns in a cache block; the whole of it where there is no cut.
    k_pieces : pieces of k that are summed apart.
    threads : most threads that take part.
    number : the path's number in ``numbasgd.matmul.gemm.tiles``.
    """

    path: str
    why: str
    MR: int
    NR: int
    lanes: int
    KC: int
    MC: int
    NC: int
    k_pieces: int
    threads: int
    number: int


def matmul_plan(
    m: int, n: int, k: int, dtype: Any = np.float32, *, transposed: tuple[bool, bool] = (False, False)
) -> Plan:
    """How ``matmul`` computes an (m, k) @ (k, n) product on this machine.

    Parameters
    ----------
    m, n, k : int
        Sizes of the product.
    dtype : float32 or float64
    transposed : (bool, bool)
        Whether A and B are transposes of C-ordered arrays, as in ``X.T @ R``.

    Returns
    -------
    Plan
    """
    for name, value in (("m", m), ("n", n), ("k", k)):
        if not isinstance(value, int | np.integer) or value < 0:
            raise ValueError(f"{name} is {value!r}; expected a whole number, 0 or more. Pass a size.")
    dtype = np.dtype(dtype)
    if dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"dtype is {dtype}; expected float32 or float64. Pass one of them.")
    of = tiles.Tiles(cpu.host(), dtype.itemsize)
    return plan_of(of, m, n, k, transposed, pool.default())


def plan_of(of: tiles.Tiles, m: int, n: int, k: int, transposed: tuple[bool, bool], threads: int) -> Plan:
    """The plan for C-ordered or transposed arrays on any machine: a pure function of its arguments."""
    if 0 in (m, n, k):
        return Plan("none", "nothing to add up", 0, 0, of.lanes, 0, 0, 0, 1, 1, tiles.NONE)
    size = of.size
    rsa, csa = (size, m * size) if transposed[0] else (k * size, size)
    rsb, csb = (size, k * size) if transposed[1] else (n * size, size)
    if (m == 1 < n and transposed[1]) or (n == 1 < m and transposed[0] and k > 1):
        # computed as the product of both transposes
        m, n, rsa, csa, rsb, csb = n, m, csb, rsb, csa, rsa
    csa = size if k == 1 else csa
    csb = size if n == 1 else csb
    path, x, y, z = of.make_choose()(m, n, k, rsa, csa, rsb, csb, 0, n * size)
    name = tiles.name_of(path)
    MR, NV = of.tile(path)
    is_packed = name == "packed"
    pieces = tiles.pieces_of_k(m, n, k, size)
    work = m * n * k // of.lanes
    return Plan(
        path=name,
        why=tiles.WHY[name],
        MR=MR,
        NR=NV * of.lanes,
        lanes=of.lanes,
        KC=min(k, x if is_packed else z or k),
        MC=min(m, y) if is_packed else m,
        NC=min(n, z if is_packed else x if name == "wide" else n),
        k_pieces=pieces,
        threads=threads if work >= WORTH_SHARING else 1,
        number=path,
    )
