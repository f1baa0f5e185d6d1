"""The two products of a step on short rows, or on few, for which transposing the weights would take longest.

    forward_plain:  Z := X W                    backward_plain:  G += factor * X^T R

``make_products`` has the loops over registers of outputs.

Vectors lie along the outputs, one register of them at a time, four rows at a time and then one.  Rows come as a
table of addresses.  All arguments are addresses, strides in bytes, and counts; trusted.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from numbasgd.compile.options import jit
from numbasgd.matmul.gemm.dispatch import products
from numbasgd.matmul.gemm.microkernel import NO_FMA
from numbasgd.simd.ir import Int, Pointer, Value
from numbasgd.simd.kernel import Kernel, kernel

FOUR = 4  # rows at a time, or features of one row: so many chains of sums hide how long one addition takes


@kernel("*rows, *w, rsw, *z, rsz, m, d")
def forward_plain(f: Kernel, SIZE: int, LANES: int, HOW: int) -> None:
    """A register of columns of Z."""
    rows, w, rsw, z, rsz, m, d = f.arguments
    L = f.lanes(SIZE, LANES, not HOW & NO_FMA)

    def term(row: Pointer, j: Int, y: Value, total: Value) -> Value:
        return L.fma(L.broadcast(row + j * SIZE), y, total)

    def weights(j: Int) -> Value:
        return L.load(w + j * rsw)

    def four(t: Int) -> None:
        places = [(rows + (t + i) * 8).follow() for i in range(FOUR)]

        def feature(j: Int, sums: list[Value]) -> list[Value]:
            y = weights(j)
            return [term(place, j, y, total) for place, total in zip(places, sums, strict=True)]

        for i, total in enumerate(f.loop(0, d, 1, feature, [L.zero] * FOUR)):
            L.store(total, z + rsz * (t + i))

    def one(t: Int) -> None:
        place = (rows + t * 8).follow()

        def features(j: Int, sums: list[Value]) -> list[Value]:
            steps = [j + i for i in range(FOUR)]
            return [term(place, q, weights(q), total) for q, total in zip(steps, sums, strict=True)]

        whole = d & -FOUR
        sums = f.loop(0, whole, FOUR, features, [L.zero] * FOUR)
        rest = f.loop(whole, d, 1, lambda j, sums: [term(place, j, weights(j), sums[0])], sums[:1])
        L.store(L.add(L.add(rest[0], sums[1]), L.add(sums[2], sums[3])), z + rsz * t)

    whole = m & -FOUR
    f.loop(0, whole, FOUR, four)
    f.loop(whole, m, 1, one)


@kernel("*rows, *r, rsr, *g, rsg, m, d, *factor")
def backward_plain(f: Kernel, SIZE: int, LANES: int, HOW: int) -> None:
    """A register of columns of G += factor * X^T R."""
    rows, r, rsr, g, rsg, m, d, factor = f.arguments
    L = f.lanes(SIZE, LANES, not HOW & NO_FMA)
    scale = L.broadcast(factor)

    def group(count: int) -> Callable[[Int], None]:
        def some(t: Int) -> None:
            steps = [t + i for i in range(count)]
            places = [(rows + q * 8).follow() for q in steps]
            slopes = [L.mul(scale, L.load(r + rsr * q)) for q in steps]

            def feature(j: Int) -> None:
                there = g + j * rsg
                total = L.load(there)
                for place, slope in zip(places, slopes, strict=True):
                    total = L.fma(L.broadcast(place + j * SIZE), slope, total)
                L.store(total, there)

            f.loop(0, d, 1, feature)

        return some

    whole = m & -FOUR
    f.loop(0, whole, FOUR, group(FOUR))
    f.loop(whole, m, 1, group(1))


def make_products(T: Any, lanes: int, variant: str) -> SimpleNamespace:
    """``predict`` and ``add_gradient``; ``Block`` and ``Buffers`` are those of the modules named after them."""
    SIZE, HOW = np.dtype(T).itemsize, products[np.dtype(T)].gemm.tiles.base
    options: dict[str, Any] = {"variant": variant, "inline": "always"}

    @jit(**options)
    def predict(block, W, d, width, buffers):
        """Z := X W for a block of rows."""
        row = width * SIZE
        for k in range(0, row, lanes * SIZE):
            forward_plain(SIZE, lanes, HOW, buffers.rows, W + k, row, block.Z + k, row, block.m, d)

    @jit(**options)
    def add_gradient(block, G, d, width, buffers):
        """G += factor * X^T Z for a block of rows."""
        row = width * SIZE
        for k in range(0, row, lanes * SIZE):
            backward_plain(
                SIZE, lanes, HOW, buffers.rows, block.Z + k, row, G + k, row, block.m, d, buffers.factor
            )

    return SimpleNamespace(predict=predict, add_gradient=add_gradient)
