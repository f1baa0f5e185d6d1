"""Facts that follow from a CPU's name: how fast a core reads each level, and its multiply-adds a cycle.

The figures are bytes per cycle of the core, as one core sustains them when it reads in order.  They decide
which variant of a product is estimated to be faster, so they are data and never a timed probe: one machine
gives the same answer from run to run.  No clock is needed, since arithmetic is counted in the same cycles.

Zen 4, Zen 5 and the Intel mesh are what the sweep of ``numbasgd memory`` read on one of them (the Intel was an
Emerald Rapids), over the clock that its FMA peak shows.  The others are estimates: the width of the path
according to the maker (AMD's Software Optimization Guide of family 17h and 19h, Intel's Optimization Reference
Manual, Arm's Software Optimization Guide of the core), of which a sweep sustains all at L1, two thirds to
three quarters at L2 and, behind a shared L3, the less the more cores share it.
"""

from __future__ import annotations

from dataclasses import dataclass

_KB, _MB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Family:
    """Cores that behave alike.

    read : bytes per cycle from L1, L2, L3 and memory.  loads : vectors that a core loads in a cycle, which
    limits L1 when vectors are short.  fma_pipes : multiply-adds of a vector that start in a cycle, or units
    that add or multiply where they do not do both.  other_fma_pipes : (bytes of a vector, another number).
    caches : size and ways of the data caches, taken where the system does not tell.  line : bytes of a line.
    """

    name: str
    read: tuple[float, float, float, float]
    loads: int = 2
    fma_pipes: int = 2
    other_fma_pipes: tuple[tuple[int, int], ...] = ()
    caches: tuple[tuple[int, int], ...] = ((32 * _KB, 8), (512 * _KB, 8), (2 * _MB, 16))
    line: int = 64


_SERVER_L2 = ((48 * _KB, 12), (2 * _MB, 16), (32 * _MB, 16))

# AMD.  Zen 4 computes and loads 64-byte vectors in two halves, as Zen 5 does in mobile models.
ZEN5 = Family("AMD Zen 5", (128, 44, 26, 10), caches=((48 * _KB, 12), (1 * _MB, 16), (32 * _MB, 16)))
ZEN5_MOBILE = Family(
    "AMD Zen 5 mobile",
    (64, 32, 20, 7),
    other_fma_pipes=((64, 1),),
    caches=((48 * _KB, 12), (1 * _MB, 16), (16 * _MB, 16)),
)
ZEN4 = Family(
    "AMD Zen 4",
    (64, 32, 26, 9),
    other_fma_pipes=((64, 1),),
    caches=((32 * _KB, 8), (1 * _MB, 8), (32 * _MB, 16)),
)
ZEN2 = Family("AMD Zen 2 or 3", (64, 30, 20, 6), caches=((32 * _KB, 8), (512 * _KB, 8), (16 * _MB, 16)))
ZEN1 = Family(  # 32-byte vectors in two halves
    "AMD Zen 1",
    (32, 24, 14, 6),
    other_fma_pipes=((32, 1),),
    caches=((32 * _KB, 8), (512 * _KB, 8), (8 * _MB, 16)),
)
# Intel.  The slices of L3 lie on a mesh with a slow clock of its own in servers from Skylake-SP on, on a fast
# ring in clients.
MESH = Family("Intel mesh server core", (128, 50, 10.5, 6), caches=_SERVER_L2)
RING_SERVER = Family(
    "Intel ring server core", (64, 40, 12, 5), caches=((32 * _KB, 8), (256 * _KB, 8), (16 * _MB, 20))
)
CLIENT_AVX512 = (
    Family(  # Ice Lake, Tiger Lake, Rocket Lake: the two halves of a 64-byte unit are the 32-byte ones
        "Intel client core, AVX-512",
        (128, 48, 18, 7),
        other_fma_pipes=((64, 1),),
        caches=((48 * _KB, 12), (512 * _KB, 8), (8 * _MB, 16)),
    )
)
CLIENT = Family("Intel client core", (64, 40, 18, 7), caches=((32 * _KB, 8), (256 * _KB, 4), (8 * _MB, 16)))
AVX_ONLY = (
    Family(  # Sandy Bridge, Ivy Bridge: a load of 32 bytes takes two cycles; one unit adds, one multiplies
        "Intel Sandy or Ivy Bridge",
        (32, 24, 14, 5),
        loads=1,
        fma_pipes=2,
        caches=((32 * _KB, 8), (256 * _KB, 8), (8 * _MB, 16)),
    )
)
# Arm.
NEOVERSE_N = Family("Arm Neoverse N", (32, 22, 10, 7), caches=((64 * _KB, 4), (1 * _MB, 8), (32 * _MB, 16)))
NEOVERSE_V = Family(
    "Arm Neoverse V",
    (48, 30, 10, 8),
    loads=3,
    fma_pipes=4,
    caches=((64 * _KB, 4), (1 * _MB, 8), (32 * _MB, 16)),
)
CORTEX_SMALL = Family(  # one load, and a 128-bit multiply-add in two halves
    "Arm Cortex-A, small",
    (16, 8, 4, 2),
    loads=1,
    fma_pipes=1,
    caches=((32 * _KB, 4), (512 * _KB, 16)),
)
CORTEX_BIG = Family("Arm Cortex-A, big", (32, 16, 8, 5), caches=((64 * _KB, 4), (512 * _KB, 8), (2 * _MB, 16)))
APPLE = Family("Apple", (48, 32, 14, 14), loads=3, fma_pipes=4, caches=((64 * _KB, 8), (4 * _MB, 12)), line=128)
# Careful values for unknown cores: the level behind L2 is slow, so that B is packed early.
AVX512 = Family("generic AVX-512", (128, 40, 10, 5), caches=((32 * _KB, 8), (1 * _MB, 16), (8 * _MB, 16)))
AVX2 = Family("generic AVX2", (64, 32, 12, 5))
X86 = Family("generic x86", (32, 16, 8, 4))
ARM = Family("generic Arm", (32, 16, 8, 4), caches=((32 * _KB, 4), (512 * _KB, 8), (2 * _MB, 16)))
GENERIC = Family("unknown", (32, 16, 8, 4))

_INTEL = {
    MESH: (0x55, 0x6A, 0x6C, 0x8F, 0xCF, 0xAD, 0xAE),
    RING_SERVER: (0x3F, 0x4F, 0x56),
    CLIENT_AVX512: (0x66, 0x7D, 0x7E, 0x8C, 0x8D, 0xA7),
    AVX_ONLY: (0x2A, 0x2D, 0x3A, 0x3E),
    CLIENT: (
        *(0x3C, 0x45, 0x46, 0x3D, 0x47, 0x4E, 0x5E, 0x8E, 0x9E, 0xA5, 0xA6),  # Haswell to Comet Lake
        *(0x97, 0x9A, 0xB7, 0xBA, 0xBF, 0xAA, 0xAC, 0xC5, 0xC6, 0xB5, 0xBD, 0xCC),  # Alder Lake on
    ),
}
_ARM_PARTS = {
    NEOVERSE_N: (0xD0C, 0xD49, 0xD8E, 0xD0B, 0xD0D),  # N1, N2, N3; Cortex-A76, A77
    NEOVERSE_V: (0xD40, 0xD4F, 0xD83, 0xD84),  # V1, V2, V3AE, V3
    CORTEX_SMALL: (0xD03, 0xD04, 0xD05, 0xD07, 0xD08, 0xD09, 0xD46),  # A53, A35, A55, A57, A72, A73, A510
    CORTEX_BIG: (0xD0A, 0xD41, 0xD44, 0xD47, 0xD48, 0xD4B, 0xD4D, 0xD4E),  # A75, A78, X1, A710, X2, ...
}


def family_of(found: dict[str, str], is_x86: bool, is_arm: bool, vector: int) -> Family:
    """The family of a core from what ``/proc/cpuinfo`` says of it; a careful one where that is not known.

    found : the first block of the file.  vector : bytes of the vectors that are compiled for.
    """
    try:
        if is_x86:
            known = _of_x86(found)
        elif is_arm:
            known = _of_arm(found)
        else:
            known = None
    except ValueError:
        known = None
    if known is not None:
        return known
    if is_x86:
        return {64: AVX512, 32: AVX2}.get(vector, X86)
    return ARM if is_arm else GENERIC


def _of_x86(found: dict[str, str]) -> Family | None:
    vendor = found.get("vendor_id", "")
    family, model = int(found.get("cpu family", "-1")), int(found.get("model", "-1"))
    if vendor in ("AuthenticAMD", "HygonGenuine"):
        if family == 0x1A:
            is_mobile = 0x20 <= model <= 0x2F or 0x60 <= model <= 0x6F
            return ZEN5_MOBILE if is_mobile else ZEN5
        if family == 0x19:  # Zen 3 and Zen 4 share the number
            return ZEN4 if 0x10 <= model <= 0x1F or 0x60 <= model <= 0x7F or model >= 0xA0 else ZEN2
        if family == 0x17:
            return ZEN2 if model >= 0x30 else ZEN1
        return ZEN1 if family == 0x18 else None
    if vendor == "GenuineIntel" and family == 6:
        return next((kind for kind, models in _INTEL.items() if model in models), None)
    return None


def _of_arm(found: dict[str, str]) -> Family | None:
    maker, part = int(found.get("CPU implementer", "0"), 16), int(found.get("CPU part", "0"), 16)
    if maker == 0x41:
        return next((kind for kind, parts in _ARM_PARTS.items() if part in parts), None)
    if maker == 0x61:
        return APPLE
    return NEOVERSE_N if maker == 0xC0 else None  # 0xC0: Ampere
