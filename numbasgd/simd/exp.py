"""``exp`` of whole vector registers, for compiled code.

    exp(x) = 2^q e^r,    q = the integer nearest to x / log 2,    r = x - q log 2,    |r| <= log(2) / 2

log 2 is taken off in two parts, the first so short that its product with q is exact (Cody and Waite, "Software
Manual for the Elementary Functions", 1980, chapter 6); e^r is its Taylor polynomial, of a degree whose next
term is below the last digit; 2^q is written into the exponent of a number.  q comes from adding and taking
away 1.5 * 2^(digits), which rounds; no flag may let LLVM reorder that.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from llvmlite import ir
from numba.extending import intrinsic

from numbasgd.simd.ir import Lanes, Value
from numbasgd.simd.vector import lanes_of, map_registers, one_of


class _Format(NamedTuple):
    """A floating-point format: bits of the fraction, exponent bias, the two parts of log 2, and the degree."""

    fraction: int
    bias: int
    high: float
    low: float
    degree: int


_FORMATS = {
    32: _Format(23, 127, 0.693359375, -2.1219444005469057e-4, 7),
    64: _Format(52, 1023, float.fromhex("0x1.62e42fee00000p-1"), 1.9082149292705877e-10, 13),
}


@intrinsic
def exp(typingctx: Any, x: Any) -> Any:
    """e^x in every lane, for x of at most 0, to 2 units of the last digit; NaN stays NaN.

    What would be smaller than the smallest normal number is 0.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        L = lanes_of(builder, one_of(x))
        return map_registers(context, builder, sig, args, lambda v: _emit(L, v))

    return x(x), codegen


def _emit(L: Lanes, x: Value) -> Value:
    b, fma, fill, form = L.b, L.fma, L.fill, _FORMATS[8 * L.size]
    integers = ir.VectorType(ir.IntType(8 * L.size), L.lanes)
    is_small = b.fcmp_ordered("<", x, fill((1 - form.bias) * math.log(2)))
    round_off = fill(1.5 * 2.0**form.fraction)
    rounded = fma(x, fill(1 / math.log(2)), round_off)  # its last bits are q
    q = L.sub(rounded, round_off)
    r = fma(q, fill(-form.low), fma(q, fill(-form.high), x))
    power = fill(1 / math.factorial(form.degree))
    for k in range(form.degree - 1, -1, -1):
        power = fma(power, r, fill(1 / math.factorial(k)))
    exponent = b.shl(b.bitcast(rounded, integers), ir.Constant(integers, [form.fraction] * L.lanes))
    of_one = ir.Constant(integers, [form.bias << form.fraction] * L.lanes)
    scaled = L.mul(power, b.bitcast(b.add(exponent, of_one), L.type))
    return b.select(is_small, L.zero, scaled)
