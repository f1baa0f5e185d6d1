"""The choices that were made, where compiled code finds them: a cache of plans.

A product of 16 x 16 takes a fraction of a microsecond, and selecting its variant in Python some tens of them.
Compiled, that would take a fraction too, but the estimates of all variants take seconds to compile, which the
first product on an empty cache would wait for.  So a product that is new is selected in Python, called from
compiled code, and what was chosen is kept here.

Results do not depend on the cache: the choice is a pure function of the product, and whoever asks takes what
he is told, kept or not.

Nobody waits for anybody.  One thread writes at a time, and a choice that others are in the way of is kept when
it is made again.  An entry has a version, which is odd while it is written: a reader takes what it read if the
version was even and is still the same.  All words are read and written by atomic operations that no processor
reorders.  An entry that a fork cut short stays odd until it is written anew.
"""

from __future__ import annotations

import ctypes
import os
from typing import NamedTuple

from numba import types

from numbasgd import rawmem
from numbasgd.compile.options import jit
from numbasgd.matmul.gemm.operands import BLOCKS, Blocks, named
from numbasgd.matmul.gemm.plan import Gemm
from numbasgd.matmul.gemm.variants import Cut, Product

SETS, WAYS = 256, 4  # a product has one set of entries, so five that are used in turn seldom share one


class Choice(NamedTuple):
    """A ``Proposal`` without its estimate.  function : -1 where there is no choice."""

    function: int
    packer: int
    has_scratch: int
    blocks: Blocks
    cut: Cut


class Question(NamedTuple):
    """What is asked, and where the answer is put."""

    product: Product
    choice: Choice


PRODUCT, CUT = named(Product), named(Cut)
CHOICE = types.NamedTuple((types.intp,) * 3 + (BLOCKS, CUT), Choice)
NOTHING = Choice(-1, -1, 0, Blocks(0, 0, 0, 0, 0, 0, 0), Cut(0, 0, 0, 0, 0))
_N_PRODUCT, _N_CHOICE = len(Product._fields), 3 + len(Blocks._fields) + len(Cut._fields)
_ANSWER = 8 * _N_PRODUCT  # where the choice begins in a question, in bytes


class _Entry(NamedTuple):
    version: int
    product: int
    choice: int


class _Words(NamedTuple):
    """mask : number of the last set.  is_writing : 1 while somebody keeps a choice.

    select : address of the callback that selects.
    """

    mask: int
    is_writing: int
    select: int
    entries: rawmem.NewLine


_IN, _n_bytes = rawmem.offsets(_Entry, product=_N_PRODUCT, choice=_N_CHOICE)
_STEP = -(-_n_bytes // rawmem.LINE) * rawmem.LINE  # bytes from an entry to the next
_AT, _ = rawmem.offsets(_Words)
# Odd numbers of no pattern, one for each field of a product.
_FACTORS = (
    0x4F1BBCDCBFA53E0B, 0x5851F42D4C957F2D, 0x14057B7EF767814F, 0x2545F4914F6CDD1D, 0x369DEA0F31A53F85,
    0x27BB2EE687B0B0FD, 0x106689D45497FDB5, 0x3C6EF372FE94F82B, 0x71374491428A2F99,
)  # fmt: skip
_get_product, _get_choice = rawmem.make_get_tuple(PRODUCT), rawmem.make_get_tuple(CHOICE)
_read_choice = rawmem.make_read_tuple(CHOICE)


@jit(forceinline=True)
def _set_of(cache, product):
    """The address of the first of the entries that may hold a product: multiply-shift hashing."""
    m, n, k, rsa, csa, rsb, csb, pc, rsc = product
    f0, f1, f2, f3, f4, f5, f6, f7, f8 = _FACTORS
    mixed = m * f0 + n * f1 + k * f2 + rsa * f3 + csa * f4 + rsb * f5 + csb * f6 + pc * f7 + rsc * f8
    return cache + _AT.entries + ((mixed >> 40) & rawmem.read(cache + _AT.mask)) * (WAYS * _STEP)


@jit(forceinline=True)
def choose(cache, product):
    """The choice for a product; NOTHING if Python could not tell."""
    entry = _set_of(cache, product)
    for _ in range(WAYS):
        version = rawmem.read(entry)
        if version & 1 == 0 and rawmem.is_tuple_at(entry + _IN.product, product):
            choice = _read_choice(entry + _IN.choice)
            if rawmem.read(entry) == version:
                return choice
        entry += _STEP
    place = rawmem.on_stack(Question(product, NOTHING))
    _select(cache, place)
    return _get_choice(place + _ANSWER)


@jit
def _select(cache, place):
    """Answer a question, and keep the answer."""
    rawmem.ask(rawmem.read(cache + _AT.select), place)
    product, choice = _get_product(place), _get_choice(place + _ANSWER)
    if choice.function >= 0 and rawmem.swap(cache + _AT.is_writing, 1) == 0:
        _keep(_set_of(cache, product), product, choice)
        rawmem.write(cache + _AT.is_writing, 0)


@jit
def _keep(entry, product, choice):
    """Write the entry of a set that was written least often, so that they take turns."""
    oldest = entry
    for _ in range(WAYS):
        version = rawmem.read(entry)
        if version & 1 == 0 and rawmem.is_tuple_at(entry + _IN.product, product):
            return  # another thread did
        if version < rawmem.read(oldest):
            oldest = entry
        entry += _STEP
    being_written = rawmem.read(oldest) | 1
    rawmem.write(oldest, being_written)
    rawmem.write_tuple(oldest + _IN.product, product)
    rawmem.write_tuple(oldest + _IN.choice, choice)
    rawmem.write(oldest, being_written + 1)


class PlanCache:
    """The choices of one dtype.

    n_sets : sets of entries, a power of two.  address : an intrinsic without arguments, for ``choose``.
    """

    def __init__(self, gemm: Gemm, symbol: str, n_sets: int = SETS) -> None:
        self.gemm = gemm
        self._proposals = gemm.proposals  # made now: ``cached_property`` has a lock, which a fork may find held
        self._state = rawmem.State(symbol, _Words, entries=n_sets * WAYS * _STEP // 8)
        self.address = self._state.address
        self._callback = rawmem.callback(self.answer)
        self._state.word(_AT.mask).value = n_sets - 1
        self._state.word(_AT.select).value = rawmem.address_of_c(self._callback)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        """Nobody in the child is writing."""
        self._state.word(_AT.is_writing).value = 0

    def answer(self, place: int) -> None:
        """Answer the question at this address."""
        product = Product(*(ctypes.c_int64 * _N_PRODUCT).from_address(place))
        _, function, packer, has_scratch, blocks, cut = self.gemm.select(product)
        words = (ctypes.c_int64 * _N_CHOICE).from_address(place + _ANSWER)
        words[:] = [function, packer, has_scratch, *blocks, *cut]
