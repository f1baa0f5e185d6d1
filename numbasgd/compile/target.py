"""What Numba compiles for in this process: which vector registers and which instructions LLVM really uses.

Numba hands LLVM the name of a CPU and a list of features.  Both are the host's unless NUMBA_CPU_NAME,
NUMBA_CPU_FEATURES or NUMBA_ENABLE_AVX say otherwise, and the list stands above what the name implies: with
``NUMBA_CPU_NAME=skylake`` alone, a host that has AVX-512 still gets AVX-512 code.  Features imply others,
too (``+fma`` brings AVX back after ``-avx``), so the list alone does not show what is compiled.  Therefore LLVM
compiles four small functions here, and their assembly shows which registers and instructions it uses.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import llvmlite.binding as llvm
from llvmlite import ir

from numbasgd.compile.numba_private import requested_target

UNKNOWN = "unknown"
_X86 = ("x86_64", "amd64", "i386", "i486", "i586", "i686")
_ARM = ("aarch64", "arm64")
_LIVE = 18  # values that live at the same time: more than 16 registers hold

# Features that a narrower register excludes, whatever a list says.
_NEEDS = {"avx512": 64, "avx": 32, "fma": 32, "f16c": 32, "vaes": 32, "vpclmulqdq": 32}


@dataclass(frozen=True)
class Target:
    """The instruction set that compiled functions use.

    cpu : LLVM's name of the CPU.  architecture : as LLVM writes it, "x86_64", "aarch64" ...
    vector : bytes in the widest register that a vector of this package fills.  registers : how many there are.
    has_fma : whether a multiply-add is one instruction and not a call of a library function.
    simd : "avx512", "avx2", "avx", "sse", "sve", "neon" or "unknown".
    features : names of features that were requested, as far as a list names them.
    """

    cpu: str
    architecture: str
    vector: int
    registers: int
    has_fma: bool
    simd: str
    features: frozenset[str] = frozenset()

    @property
    def is_x86(self) -> bool:
        """Whether instructions of x86 may be written out."""
        return self.architecture in _X86

    @property
    def is_arm(self) -> bool:
        """Whether this is a 64-bit Arm."""
        return self.architecture in _ARM


def host_cpu_name() -> str | None:
    """LLVM's name of the CPU of this machine, whatever is compiled for."""
    return llvm.get_host_cpu_name() or None


@functools.cache
def target() -> Target:
    """What Numba compiles for, found once."""
    return probe(*requested_target())


@functools.cache
def probe(cpu: str, features: str) -> Target:
    """What LLVM compiles for a CPU of that name with that list of features, ``"+avx2,-avx512f"``."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    native = llvm.Target.from_default_triple()
    triple = llvm.get_default_triple()
    machine = native.create_target_machine(cpu=cpu, features=features, opt=1)
    assembly = machine.emit_assembly(llvm.parse_assembly(_code()))
    return read_assembly(cpu, triple.partition("-")[0], assembly, features)


def read_assembly(cpu: str, architecture: str, assembly: str, features: str = "") -> Target:
    """The target whose compiler wrote ``assembly`` for the functions of ``_code``."""
    has_fma = "fmaf" not in assembly  # else a call of the library
    named = _named(cpu, features)
    if architecture in _X86:
        vector = 64 if "zmm" in assembly else 32 if "ymm" in assembly else 16
        highest = max((int(n) for n in re.findall(r"[xyz]mm(\d+)", assembly)), default=0)
        has_wide_integers = re.search(r"vpaddd.*ymm", assembly) is not None
        simd = {64: "avx512", 32: "avx2" if has_wide_integers else "avx", 16: "sse"}[vector]
        gone = tuple(name for name, least in _NEEDS.items() if vector < least)
        named = frozenset(name for name in named if not name.startswith(gone))
        return Target(cpu, architecture, vector, 32 if highest > 15 else 16, has_fma, simd, named)
    if architecture in _ARM:
        # Vectors of a fixed length use the 128-bit registers even where SVE has longer ones.
        named |= {"neon"}
        return Target(cpu, architecture, 16, 32, has_fma, "sve" if "sve" in named else "neon", named)
    return Target(cpu, architecture, 16, 16, has_fma, UNKNOWN, named)


def _named(cpu: str, features: str) -> frozenset[str]:
    """Features that the list has, and those of the host for what the list leaves to it."""
    found = set()
    if cpu == llvm.get_host_cpu_name():
        found = {name for name, has in llvm.get_host_cpu_features().items() if has}
    for change in filter(None, features.split(",")):
        (found.discard if change.startswith("-") else found.add)(change[1:])
    return frozenset(found)


def _code() -> str:
    """LLVM's text of four functions: multiply-add, addition, addition of integers, many values alive."""
    module, number = ir.Module(), ir.FloatType()
    fused = ir.Function(module, ir.FunctionType(number, [number] * 3), "llvm.fma.f32")
    b, (x, y) = _function(module, number, 2)
    b.store(b.call(fused, [b.load(x), b.load(y), b.load(y)]), x)
    b.ret_void()
    b, (x, y) = _function(module, ir.VectorType(number, 16), 2)
    b.store(b.fadd(b.load(x), b.load(y)), x)
    b.ret_void()
    b, (x, y) = _function(module, ir.VectorType(ir.IntType(32), 8), 2)
    b.store(b.add(b.load(x), b.load(y)), x)
    b.ret_void()
    b, places = _function(module, ir.VectorType(number, 4), _LIVE)
    values = [b.load(place) for place in places]
    whole = functools.reduce(b.fadd, values)  # each value stays alive until all were added up
    for place, value in zip(places, values, strict=True):
        b.store(b.fadd(value, whole), place)
    b.ret_void()
    return str(module)


def _function(
    module: ir.Module, vector: ir.Type, n_arguments: int
) -> tuple[ir.IRBuilder, tuple[ir.Value, ...]]:
    """A new function of so many pointers to vectors."""
    of = ir.FunctionType(ir.VoidType(), [vector.as_pointer()] * n_arguments)
    function = ir.Function(module, of, f"f{len(module.functions)}")
    return ir.IRBuilder(function.append_basic_block()), function.args
