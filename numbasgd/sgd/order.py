"""Which rows a step sees: counter-based random orders, so that epoch e of a seed needs no epoch before it.

Every random number is a hash of (seed, epoch, position), the finalizer of SplitMix64 (Steele, Lea, Flood,
"Fast splittable pseudorandom number generators", OOPSLA 2014) on a Weyl sequence, so an order can be drawn
again at any time, in any process, without a generator's state, and from any position on.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import types

from numbasgd import check, rawmem
from numbasgd.compile.options import jit
from numbasgd.simd.vector import address, pointer_to, shift_right

# How an epoch's order is drawn; the numbers are what the compiled epochs get.
SAMPLINGS = {"reshuffle": 0, "once": 1, "replacement": 2, "sequential": 3}

_WEYL = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S32, _S11 = (np.uint64(b) for b in (30, 27, 31, 32, 11))
_MIX3 = np.uint32(0x7FEB352D)
_MIX4 = np.uint32(0x846CA68B)
_S8, _S15 = np.uint32(8), np.uint32(15)
_CHUNK = 512
_PASS = 64  # positions that ``scatter`` draws before it looks whether one has to be drawn again
# Rows of an epoch that are drawn ahead.  Up to so many an order is shuffled in memory: the network of
# ``scatter`` needs none, but mixes short orders less well, and pairs are visibly uneven below some hundred.
ORDER_CHUNK = 4096
MOST_ROWS = 2**48  # a part of the network then has 24 bits, as a float32 has


@jit(forceinline=True)
def _hash(z):
    """Scatter the bits of a 64-bit number."""
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    return z ^ (z >> _S31)


@jit
def _key(seed, epoch):
    """The start of the sequence of one epoch."""
    return _hash(_hash(np.uint64(seed) * _WEYL + _MIX1) + np.uint64(epoch) * _WEYL)


@jit
def _below(key, i, n):
    """A number from 0 to n - 1, the same for the same key and i; no value is off from 1/n by over n / 2^53."""
    u = _hash(key + np.uint64(i) * _WEYL)
    # 53 bits as a float64 in [0, 1), times the number of choices
    return np.int64(np.float64(np.int64(u >> _S11)) * 1.1102230246251565e-16 * np.float64(n))


@jit
def shuffle(order, seed, epoch):
    """order := a random permutation of 0..n-1 (Fisher-Yates, inside out; Knuth TAOCP 2, 3.4.2 P).

    order : (n,) integers, overwritten.  The swap partners of a chunk of positions are drawn first, in a
    loop without dependences that fills vector registers; only the swaps run one after the other.
    """
    n = order.shape[0]
    key = _key(seed, epoch)
    partner = np.empty(_CHUNK, order.dtype)
    for start in range(0, n, _CHUNK):
        count = min(_CHUNK, n - start)
        for t in range(count):
            partner[t] = _below(key, start + t, start + t + 1)
        for t in range(count):
            i = start + t
            j = partner[t]
            order[i] = order[j]
            order[j] = i


@jit(forceinline=True)
def _mix(x, key):
    """A hash of x and a key, all of 32 bits, whose high bits are the good ones.

    "lowbias32" (Wellons, "Prospecting for hash functions", 2018) without its first and its last shift.
    """
    z = np.uint32(np.uint32(x ^ key) * _MIX3)
    return np.uint32(np.uint32(z ^ np.uint32(z >> _S15)) * _MIX4)


@jit(forceinline=True)
def _add(high, low, key, rows, scale):
    """high plus a hash of low, modulo ``rows``; ``scale`` is rows / 2^24."""
    mixed = np.uint32(_mix(low, key) >> _S8)
    high = np.uint32(high + np.uint32(np.int32(np.float32(np.int32(mixed)) * scale)))  # at most rows more
    return min(high, np.uint32(high - rows))  # which is large where it would be negative


@functools.cache
def make_scatter(dtype: str) -> Any:
    """``scatter`` for orders of a dtype, compiled for itself: most runs are so short that they need none."""
    cast = getattr(np, dtype)
    word = getattr(np, f"u{dtype}")
    zero = cast(0)

    @jit(variant=dtype, forceinline=True)
    def network(x, shift, rows, scale, keys):
        """Six rounds on a number below rows * 2^shift."""
        mask, unused = np.uint32((1 << shift) - 1), np.uint32(32 - shift)
        low, high = np.uint32(x & mask), np.uint32(shift_right(x, word(shift)))
        high = _add(high, low, keys[0], rows, scale)
        low = np.uint32(low ^ shift_right(_mix(high, keys[1]), unused))
        high = _add(high, low, keys[2], rows, scale)
        low = np.uint32(low ^ shift_right(_mix(high, keys[3]), unused))
        high = _add(high, low, keys[4], rows, scale)
        low = np.uint32(low ^ shift_right(_mix(high, keys[5]), unused))
        return word(word(word(high) << word(shift)) | word(low))

    @jit(variant=dtype)
    def scatter(place, count, n, seed, epoch, first):
        """order := positions first, first + 1, ... of a random permutation of 0..n-1, in time and memory of it.

        place, count : its address and its length.  n : at most ``MOST_ROWS``.

        A number is split into a low part of half the bits and a high part; in turn, a hash of one part is
        added to the other: an alternating Feistel network (Luby and Rackoff, SIAM J. Computing 17, 1988) of
        six rounds on the smallest rectangle of such parts that holds n numbers.  Who lands at n or beyond goes
        on until it is below (cycle walking: Black and Rogaway, CT-RSA 2002), about one in sqrt(n).  The first
        pass over a few positions has no branch and fills vector registers.
        """
        order = pointer_to(place, zero)
        bits = 2
        while (1 << bits) < n:
            bits += 1
        shift = bits // 2
        high = (n + (1 << shift) - 1) >> shift
        rows, scale = np.uint32(high), np.float32(high) * np.float32(2.0**-24)
        key = _key(seed, epoch)
        a, b, c = _hash(key), _hash(key + _WEYL), _hash(key ^ _MIX1)
        keys = (
            np.uint32(a), np.uint32(a >> _S32), np.uint32(b), np.uint32(b >> _S32),
            np.uint32(c), np.uint32(c >> _S32),
        )  # fmt: skip
        behind = word(n)
        for start in range(0, count, _PASS):
            stop = min(start + _PASS, count)
            most = word(0)
            for t in range(start, stop):
                row = network(word(first + t), shift, rows, scale, keys)
                order[t] = cast(row)
                most = max(most, row)
            if most >= behind:
                for t in range(start, stop):
                    while word(order[t]) >= behind:
                        order[t] = cast(network(word(order[t]), shift, rows, scale, keys))
        return 0

    scatter.compile((types.intp,) * 6)
    return scatter


@functools.cache
def make_replace(dtype: str) -> Any:
    """``replace`` for orders of a dtype."""
    cast = getattr(np, dtype)
    zero = cast(0)

    @jit(variant=dtype)
    def replace(place, count, n, seed, epoch, first):
        """order := positions first, first + 1, ... of rows drawn with replacement; arguments as ``scatter``."""
        order = pointer_to(place, zero)
        key = _key(seed, epoch)
        for t in range(count):
            order[t] = cast(_below(key, first + t, n))
        return 0

    replace.compile((types.intp,) * 6)
    return replace


def draw_for(dtype: np.dtype, sampling: str) -> int:
    """The address of a function that draws any part of an order of more than ``ORDER_CHUNK`` rows.

    It is called as ``scatter`` is.

    For ``"once"`` it must be told that the epoch is 0.
    """
    make = make_replace if sampling == "replacement" else make_scatter
    return rawmem.address_of_compiled(make(dtype.name))


def scatter_for(dtype: np.dtype, n: int) -> int:
    """The address of the ``scatter`` that ``fill_order`` needs, 0 if it needs none."""
    return rawmem.address_of_compiled(make_scatter(dtype.name)) if n > ORDER_CHUNK else 0


@jit
def fill_order(order, n, sampling, seed, epoch, first, scatter):
    """order := the rows at positions first, first + 1, ... of one epoch over n rows.

    Up to ``ORDER_CHUNK`` rows an order is drawn whole: first is 0, and there are n entries.  scatter : as
    ``scatter_for`` gives it.
    """
    if sampling == 1:
        epoch = 0
    if sampling >= 2:
        key = _key(seed, epoch)
        for t in range(order.shape[0]):
            order[t] = _below(key, first + t, n) if sampling == 2 else first + t
    elif n <= ORDER_CHUNK:
        shuffle(order, seed, epoch)
    else:
        rawmem.call(scatter, (address(order, 0), order.shape[0], n, seed, epoch, first))


def epoch_order(seed: int, epoch: int, n: int, sampling: str = "reshuffle") -> np.ndarray:
    """The rows that ``train`` visits in one epoch, in order.

    For ``sampling="block"`` it is ``numbasgd.sgd.block_order.block_order``.

    Parameters
    ----------
    seed : int
        ``Fit.seed``.
    epoch : int
        0 for the first.
    n : int
        Number of training rows.
    sampling : {"reshuffle", "once", "replacement", "sequential"}

    Returns
    -------
    ndarray of int64, shape (n,)

    Raises
    ------
    TypeError, ValueError
        For an argument that is not as described.
    """
    seed = check.integer(seed, "seed", low=0, high=2**63 - 1, hint="Pass the seed of a Fit.")
    epoch = check.integer(epoch, "epoch", low=0, high=2**63 - 1, hint="Epochs are counted from 0.")
    n = check.integer(n, "n", low=1, high=MOST_ROWS, hint="Pass the number of training rows.")
    check.choice(sampling, "sampling", SAMPLINGS)
    order = np.empty(n, np.int64)
    fill_order(order, n, SAMPLINGS[sampling], seed, epoch, 0, scatter_for(order.dtype, n))
    return order
