"""Products for every path of ``packed`` on this machine, found by asking the rule."""

from __future__ import annotations

import functools
import itertools

import numpy as np

from numbasgd.machine import cpu
from numbasgd.matmul.gemm import tiles

SIZES = (*range(1, 25), 33, 50, 64, 100, 129, 300, 520, 1024, 1100, 2100)
LAYOUTS = ("", "A", "B", "AB", "strided")


def operands(m, n, k, layout, dtype, rng):
    """A and B; "A" and "B" stand for transposes of C-ordered arrays, "strided" for every second number."""
    if layout == "strided":
        whole = rng.standard_normal((m, 2 * k)), rng.standard_normal((k, 2 * n))
        return tuple(x.astype(dtype)[:, ::2] for x in whole)
    A = (
        rng.standard_normal((k, m)).astype(dtype).T
        if "A" in layout
        else rng.standard_normal((m, k)).astype(dtype)
    )
    B = (
        rng.standard_normal((n, k)).astype(dtype).T
        if "B" in layout
        else rng.standard_normal((k, n)).astype(dtype)
    )
    return A, B


def strides(m, n, k, layout, size):
    """What ``choose`` is told for such operands and a C-ordered result."""
    if layout == "strided":
        return 2 * k * size, 2 * size, 2 * n * size, 2 * size
    rsa, csa = (size, m * size) if "A" in layout else (k * size, size)
    rsb, csb = (size, k * size) if "B" in layout else (n * size, size)
    return rsa, size if k == 1 else csa, rsb, size if n == 1 else csb


@functools.cache
def cases(dtype: str, most: int = 2**26) -> dict[int, tuple[int, int, int, str]]:
    """For each path that the rule can choose: the cheapest product (m, n, k, layout) that takes it.

    Sizes that are no multiple of a tile are preferred, so that edges are met.
    """
    of = tiles.Tiles(cpu.host(), np.dtype(dtype).itemsize)
    choose = of.make_choose()
    found: dict[int, tuple[int, int, int, str]] = {}
    shapes = sorted(itertools.product(SIZES, SIZES, SIZES), key=lambda s: s[0] * s[1] * s[2])
    for layout in LAYOUTS:
        for m, n, k in shapes:
            if m * n * k > most:
                break
            if (m == 1 < n and "B" in layout) or (n == 1 < m and "A" in layout):  # computed the other way round
                continue
            path, *_ = choose(m, n, k, *strides(m, n, k, layout, of.size), 0, n * of.size)
            found.setdefault(path, (m, n, k, layout))
    return found


def few(dtype: str, most: int = 2**26) -> dict[int, tuple[int, int, int, str]]:
    """One path of each kind: of those that take no long product, the one that takes the longest."""
    kinds: dict[str, int] = {}
    found = cases(dtype, most)
    size = {path: m * n * k for path, (m, n, k, _) in found.items()}
    for path in sorted(found, key=size.__getitem__):
        if size[path] <= 2**20 or tiles.name_of(path) not in kinds:
            kinds[tiles.name_of(path)] = path
    return {path: found[path] for path in kinds.values()}
