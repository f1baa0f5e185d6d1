"""Which rows a step sees: counter-based random orders, so that epoch e of a seed needs no epoch before it.

Every random number is a hash of (seed, epoch, position), the finalizer of SplitMix64 (Steele, Lea, Flood,
"Fast splittable pseudorandom number generators", OOPSLA 2014) on a Weyl sequence, so an order can be drawn
again at any time, in any process, without a generator's state.
"""

from __future__ import annotations

import numpy as np

from numbasgd import check
from numbasgd.jit import jit

# How an epoch's order is drawn; the numbers are what the compiled epochs get.
SAMPLINGS = {"reshuffle": 0, "once": 1, "replacement": 2, "sequential": 3}

_WEYL = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_CHUNK = 512


@jit(inline="always")
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
def shuffle(order, seed, epoch):
    """order := a random permutation of 0..n-1 (Fisher-Yates, inside out; Knuth TAOCP 2, 3.4.2 P).

    order : (n,) integers, overwritten.  The swap partners of a chunk of positions are drawn first, in a
    loop without dependences that fills vector registers; only the swaps run one after the other.
    A partner is drawn from 53 random bits, so no position is off from 1/n by more than n / 2^53.
    """
    n = order.shape[0]
    key = _key(seed, epoch)
    partner = np.empty(_CHUNK, order.dtype)
    for start in range(0, n, _CHUNK):
        count = min(_CHUNK, n - start)
        for t in range(count):
            i = start + t
            u = _hash(key + np.uint64(i) * _WEYL)
            # 53 bits as a float64 in [0, 1), times the number of choices
            partner[t] = np.int64(np.float64(np.int64(u >> _S11)) * 1.1102230246251565e-16 * np.float64(i + 1))
        for t in range(count):
            i = start + t
            j = partner[t]
            order[i] = order[j]
            order[j] = i


@jit
def draw(order, seed, epoch):
    """order := n rows drawn with replacement."""
    n = order.shape[0]
    key = _key(seed, epoch)
    for i in range(n):
        u = _hash(key + np.uint64(i) * _WEYL)
        order[i] = np.int64(np.float64(np.int64(u >> _S11)) * 1.1102230246251565e-16 * np.float64(n))


@jit
def fill_order(order, sampling, seed, epoch):
    """order := the rows of one epoch, in the order in which its steps take them."""
    if sampling == 0:
        shuffle(order, seed, epoch)
    elif sampling == 1:
        shuffle(order, seed, 0)
    elif sampling == 2:
        draw(order, seed, epoch)
    else:
        for i in range(order.shape[0]):
            order[i] = i


def epoch_order(seed: int, epoch: int, n: int, sampling: str = "reshuffle") -> np.ndarray:
    """The rows that ``train`` visits in one epoch, in order.

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
    epoch = check.integer(epoch, "epoch", low=0, hint="Epochs are counted from 0.")
    n = check.integer(n, "n", low=1, hint="Pass the number of training rows.")
    check.choice(sampling, "sampling", SAMPLINGS)
    order = np.empty(n, np.int64)
    fill_order(order, SAMPLINGS[sampling], seed, epoch)
    return order
