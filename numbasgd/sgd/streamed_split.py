"""Which rows of a file are held out, as a bit for each row."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from numbasgd.sgd.dataset import VALIDATION, require_share
from numbasgd.sgd.order import ORDER_CHUNK, SAMPLINGS, fill_order, scatter_for

ROWS = 1 << 16  # that are looked at together; whole bytes of bits


def ranges(n: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of rows that are looked at together."""
    for start in range(0, n, ROWS):
        yield start, min(start + ROWS, n)


def flags(bits: np.ndarray, start: int, stop: int) -> np.ndarray:
    """The flags ``start`` to ``stop`` of those that are kept as bits, eight a byte."""
    low = start // 8
    return np.unpackbits(bits[low : -(-stop // 8)])[start - 8 * low : stop - 8 * low] != 0


def held_out_bits(
    n: int, counted: Callable[[int, int], np.ndarray], fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Bits of the rows that are left out of the training rows, and of those that are left out of the others.

    The rows are those that ``Dataset.split`` draws of an array.  counted : tells which rows of a range have a
    weight; the others stay among the training rows.
    """
    n_counted = sum(int(counted(*some).sum()) for some in ranges(n))
    drawn = _drawn(n_counted, require_share(fraction, n_counted, n), seed)
    bits = np.zeros((2, -(-n // 8)), np.uint8)
    at = 0
    for start, stop in ranges(n):
        is_counted = counted(start, stop)
        is_held_out = np.zeros(stop - start, bool)
        end = at + int(is_counted.sum())
        is_held_out[is_counted] = flags(drawn, at, end)
        at = end
        for side, is_gone in zip(bits, (is_held_out, ~is_held_out), strict=True):
            side[start // 8 : -(-stop // 8)] = np.packbits(is_gone)
    return bits[0], bits[1]


def _drawn(n: int, count: int, seed: int) -> np.ndarray:
    """Bits of the first ``count`` rows of an order of n, which is drawn in chunks."""
    bits = np.zeros(-(-n // 8), np.uint8)
    order = np.empty(min(n, ORDER_CHUNK), np.int64)
    scatter = scatter_for(order.dtype, n)
    for at in range(0, count, len(order)):
        some = order[: min(len(order), n - at)]
        fill_order(some, n, SAMPLINGS["reshuffle"], seed, VALIDATION, at, scatter)
        some = some[: count - at]
        np.bitwise_or.at(bits, some >> 3, np.uint8(128) >> (some & 7).astype(np.uint8))
    return bits
