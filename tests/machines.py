"""Machines as data: rules that depend on the CPU are tested for each of them, whatever the tests run on."""

from numbasgd.machine.cpu import Cache, Machine

K, M = 1 << 10, 1 << 20


def _cache(level: int, size: int, ways: int, shared_by: int, bytes_per_cycle: float) -> Cache:
    return Cache(level, size, 64, ways, size // (64 * ways), shared_by, bytes_per_cycle)


ZEN4 = Machine(
    name="AMD Zen 4",
    vector=64,
    registers=32,
    has_fma=True,
    fma_pipes=1,
    caches=(_cache(1, 32 * K, 8, 2, 64), _cache(2, 1 * M, 8, 2, 32), _cache(3, 32 * M, 16, 16, 26)),
    memory_bytes_per_cycle=9,
)
ZEN5 = Machine(
    name="AMD Zen 5",
    vector=64,
    registers=32,
    has_fma=True,
    fma_pipes=2,
    caches=(_cache(1, 48 * K, 12, 2, 128), _cache(2, 1 * M, 16, 2, 44), _cache(3, 32 * M, 16, 16, 26)),
    memory_bytes_per_cycle=10,
)
EMERALD_RAPIDS = Machine(
    name="Intel mesh server core",
    vector=64,
    registers=32,
    has_fma=True,
    fma_pipes=2,
    caches=(_cache(1, 48 * K, 12, 1, 128), _cache(2, 2 * M, 16, 1, 50), _cache(3, 260 * M, 20, 2, 10.5)),
    memory_bytes_per_cycle=6,
)
AVX2 = Machine(
    name="Intel client core",
    vector=32,
    registers=16,
    has_fma=True,
    fma_pipes=2,
    caches=(_cache(1, 32 * K, 8, 2, 64), _cache(2, 256 * K, 4, 2, 40), _cache(3, 8 * M, 16, 8, 18)),
    memory_bytes_per_cycle=7,
)
SSE = Machine(
    name="generic x86",
    vector=16,
    registers=16,
    has_fma=False,
    fma_pipes=1,
    caches=(_cache(1, 32 * K, 8, 1, 32), _cache(2, 512 * K, 8, 1, 16), _cache(3, 4 * M, 16, 4, 8)),
    memory_bytes_per_cycle=4,
)
NEON = Machine(
    name="Arm Neoverse N",
    vector=16,
    registers=32,
    has_fma=True,
    fma_pipes=2,
    caches=(_cache(1, 64 * K, 4, 1, 32), _cache(2, 1 * M, 8, 1, 22), _cache(3, 32 * M, 16, 32, 10)),
    memory_bytes_per_cycle=7,
)
SMALL_ARM = Machine(  # without a third level
    name="Arm Cortex-A, small",
    vector=16,
    registers=32,
    has_fma=True,
    fma_pipes=1,
    caches=(_cache(1, 32 * K, 4, 1, 16), _cache(2, 1 * M, 16, 4, 8)),
    memory_bytes_per_cycle=2,
)

MACHINES = {
    "zen4": ZEN4,
    "zen5": ZEN5,
    "emerald-rapids": EMERALD_RAPIDS,
    "avx2": AVX2,
    "sse": SSE,
    "neon": NEON,
    "small-arm": SMALL_ARM,
}
