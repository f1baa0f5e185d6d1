"""What this machine can do at most, measured: the peak of fused multiply-adds in registers.

No product can be faster than a loop that only multiplies and adds, with operands that never leave the
registers.  A share of this peak says how good a kernel is on any machine; a share of the BLAS says how good
it is beside another program.
"""

from __future__ import annotations

import functools
import statistics
import time
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from numbasgd.machine import cpu
from numbasgd.matmul.microkernel import NO_FMA
from numbasgd.matmul.path import compiled
from numbasgd.matmul.vectors import BYTES, I64, Lanes, emitted, i64, is_literal, private_function

_CHAINS = 12  # sums that do not wait for each other: enough for two a cycle at a latency of six cycles


def _emit_chains(module: ir.Module, size: int, lanes: int, how: int) -> ir.Function:
    """f(numbers, steps): ``steps`` rounds of a multiply-add in each chain; the sums end at ``numbers``."""
    f = private_function(module, f"numbasgd_chains_{size}_{lanes}_{how}", 2)
    L = Lanes(size, lanes, not how & NO_FMA)
    b = ir.IRBuilder(f.append_basic_block("entry"))
    numbers = b.inttoptr(f.args[0], BYTES)
    x, entry = L.spread(b, numbers), b.block
    loop, done = f.append_basic_block("loop"), f.append_basic_block("done")
    b.branch(loop)
    b.position_at_end(loop)
    left = b.phi(I64)
    sums = [b.phi(L.type) for _ in range(_CHAINS)]
    new = [L.multiply_add(b, x, x, total) for total in sums]
    after = b.sub(left, i64(1))
    for phi, start, following in zip([left, *sums], [f.args[1]] + [x] * _CHAINS, [after, *new], strict=True):
        phi.add_incoming(start, entry)
        phi.add_incoming(following, loop)
    b.cbranch(b.icmp_signed(">", after, i64(0)), loop, done)
    b.position_at_end(done)
    total = new[0]
    for other in new[1:]:
        total = b.fadd(total, other)
    L.store(b, total, numbers)
    b.ret_void()
    return f


@intrinsic(prefer_literal=True)
def chains(typingctx, SIZE, LANES, HOW, numbers, steps):
    """Independent chains of multiply-adds that touch no memory."""
    if not is_literal(SIZE, LANES, HOW):
        return None
    return emitted((SIZE, LANES, HOW), 2, lambda b, v, args: b.call(_emit_chains(b.module, *v), args))


@functools.cache
def fma_peak(dtype: Any = "float32", *, seconds: float = 0.2) -> float:
    """The most floating-point operations a second of one core, in GFLOP/s; a fused multiply-add is two.

    The median of short rounds, so that a moment in which the core was somebody else's counts little.
    """
    dtype, machine = np.dtype(dtype), cpu.host()
    SIZE, LANES, HOW = dtype.itemsize, machine.vector // dtype.itemsize, 0 if machine.has_fma else NO_FMA

    def multiply_adds(numbers, steps):
        chains(SIZE, LANES, HOW, numbers, steps)

    function = compiled(multiply_adds, SIZE, LANES, HOW)
    function.compile((types.intp, types.intp))
    numbers = np.full(LANES, 1e-3, dtype)
    steps = 20_000
    rates: list[float] = []
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or len(rates) < 5:
        numbers[:] = 1e-3
        start = time.perf_counter()
        function(numbers.ctypes.data, steps)
        rates.append(2e-9 * _CHAINS * LANES * steps / (time.perf_counter() - start))
    return statistics.median(rates)
