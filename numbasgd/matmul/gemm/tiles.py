"""Which path and which tiles a product takes: a pure function of shape, layout, dtype and machine.

The cost model, innermost first
-------------------------------
*Registers.*  A step of p in an MR x NV tile costs MR * NV multiply-adds and MR + NV loads.  The tile, a row
of B and one spread number must fit into R registers: MR * NV + NV + 1 <= R, so MR = (R - 1) // NV - 1.  More
multiply-adds a load is better, hence tall tiles two or three vectors wide.  With R = 32: 14x2, 9x3, 6x4;
with R = 16: 6x2, 4x3, 2x4.

*Padding.*  n columns take ceil(n / LANES) vectors and m rows ceil(m / MR) tiles, so tiles are cut evenly
instead of leaving a thin rest: 100 columns of float32 are 7 vectors of 16, as panels of 4 and 3.

*Few columns.*  Where n fills no whole vector, vectors lie along k (dot products) or along m instead; rows of
A that are transposed in registers as they are loaded cost about 6 multiply-adds a step, for whatever n.

*L1 and L2.*  Without packing, the panel of B (k x NV vectors) is read from L1 or L2 while rows of A pass.
That is as fast as it gets while B takes no more than twice L2, or half of L3 where A has few rows, which
packing would not pay for.  Beyond, B and A are packed (``packed``): a
panel of B stays close for a whole block of A; the block of A, MC x KC, takes a quarter of L2, since the
panels of B and the tiles of C pass through the same cache.  KC is long, so that C is seldom read again: 768
with vectors of 64 bytes, where a panel of B comes from L2, and else as long as it takes three quarters of L1.

*L3.*  The packed block of B, KC x NC, takes at most a quarter of L3.

*Packing costs* one load and one store for each number of A and of B: m k + k n against m n k / LANES vector
multiply-adds, so it is a few percent once m and n are a few hundred, and too much below that.

Worked example: float32, AVX-512, L2 of 1 MB, 1000 x 1000 x 1000.  B has 4 MB > 2 L2: packed.  KC: 1000 steps
are 2 blocks of 500 (limit 768).  MC: 256 KB / (500 * 4 bytes) = 131 rows, 1000 rows are 8 blocks of 125: 11
panels of 12.  A step of the 12 x 32 tile is 24 multiply-adds for 14 loads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from numbasgd.compile.options import jit
from numbasgd.machine.cpu import Machine
from numbasgd.matmul.gemm.loops import make_direct, make_packed, make_panels
from numbasgd.matmul.gemm.microkernel import HALF, MASKED, NO_FMA, OVERLAP
from numbasgd.matmul.gemm.path import Path
from numbasgd.matmul.gemm.slim import make_across, make_dots, make_turned
from numbasgd.matmul.gemm.thin import make_few, make_narrow, make_wide
from numbasgd.matmul.gemm.transpose_kernels import COLUMN_MAJOR_B, COLUMN_MAJOR_C

# The numbers of the paths.  Those that depend on m or n follow the one named.
NONE = 0  # nothing to compute
DIRECT = 0  # DIRECT + vectors a panel, 1 to 4
PACKED = 5  # two vectors wide;  PACKED + 1: three vectors wide
WIDE = 7
NARROW = 8
FEW = 8  # FEW + m, 1 to 8
DOTS = 16  # DOTS + n, 1 to 16
TURNED = 32  # TURNED + n, 1 to 16
PANELS = 49  # packed B for threads that share it, two vectors wide;  PANELS + 1: three

K_PIECE = 4096  # k is cut into pieces of so many steps or more,
K_PIECES = 16  # into so many pieces at most, when
SMALL_OUT = 1 << 16  # out has no more bytes than this
COLLIDE = 4096  # rows at multiples of this share the lines of an L1 cache
TOO_MUCH = 1 << 62
HALF_DIRECT = 50  # HALF_DIRECT + vectors a panel, 1 to 4, when the last vector is at most half full
INNER = 54  # INNER + n, 1 to 16: dot products with columns of B that are contiguous
ACROSS = 70  # ACROSS + n, 1 to 24: vectors along m, transposed as they are loaded
INNER_ACROSS = 94  # INNER_ACROSS + n, 1 to 24: likewise, with columns of B that are contiguous
SIDEWAYS = 118  # SIDEWAYS + m, 1 to 24: likewise, the other way round: vectors along n
N_PATHS = 143
SHARE = 143  # not a path: what cuts a product into units for several threads

_NAMES = {
    PACKED: "packed",
    PACKED + 1: "packed",
    WIDE: "wide",
    NARROW: "narrow",
    PANELS: "panels",
    PANELS + 1: "panels",
}
WHY = {
    "direct": "B fits the second-level cache, or A has too few rows to pack it for: read in place",
    "packed": "B is too large for the second-level cache, or its rows are not contiguous: packed panels",
    "wide": "k is short and C large: C is written past the caches",
    "narrow": "few columns, and rows of A that fall on the same cache lines: few rows at a time",
    "few": "few rows: B passes once, in panels as wide as the registers allow",
    "dots": "few columns: dot products along k",
    "across": "few columns: vectors along m, rows of A transposed as they are loaded",
    "sideways": "few rows and B transposed: vectors along n, rows of B.T transposed as they are loaded",
    "inner": "few columns, each contiguous: dot products along k, read in place",
    "turned": "few columns and A transposed: vectors along m",
}


def name_of(path: int) -> str:
    """The name of a path."""
    if path in _NAMES:
        return _NAMES[path]
    if path > ACROSS:
        return "across" if path <= SIDEWAYS else "sideways"
    if path > HALF_DIRECT:
        return "direct" if path <= INNER else "inner"
    starts = {"turned": TURNED, "dots": DOTS, "few": FEW, "direct": DIRECT}
    return next(name for name, start in starts.items() if path > start)


def pieces_of_k(m, n, k, size):
    """Into how many pieces k is cut, each summed apart; also compiled."""
    if k < 4 * K_PIECE or m * n * size > SMALL_OUT:
        return 1
    return min(K_PIECES, k // K_PIECE)


@dataclass(frozen=True)
class Tiles:
    """All numbers that the kernels of one dtype on one machine are made of."""

    machine: Machine
    size: int

    @property
    def lanes(self) -> int:
        """Numbers in a vector."""
        return self.machine.vector // self.size

    @property
    def base(self) -> int:
        """Flags that every kernel needs here."""
        return 0 if self.machine.has_fma else NO_FMA

    @property
    def end(self) -> int:
        """How a last vector is kept inside: masks are free on AVX-512, and cost much elsewhere."""
        return MASKED if self.machine.vector == 64 else OVERLAP

    def height(self, nv: int) -> int:
        """MR, the rows that fit into the registers beside nv vectors of columns."""
        return min((self.machine.registers - 1) // nv - 1, 14)

    def packed_tile(self, path: int) -> tuple[int, int]:
        """MR and NV of the packed micro-kernel."""
        if self.machine.registers == 32:
            return (12, 2) if path == PACKED else (8, 3)
        return (6, 2) if path == PACKED else (4, 3)

    @property
    def a_bytes(self) -> int:
        """Bytes of packed A, and of the part of the workspace that holds it."""
        return self.machine.l2 // 4 // 4096 * 4096

    @property
    def b_bytes(self) -> int:
        """Bytes of packed B at most."""
        return max(1 << 20, min(self.machine.l3 // 4, 8 << 20))

    @property
    def sums_at(self) -> int:
        """Where in a workspace the sums of pieces of k lie: after both, and room for their padding."""
        return self.a_bytes + self.b_bytes + (256 << 10)

    @property
    def work_bytes(self) -> int:
        """Bytes of a workspace."""
        return self.sums_at + K_PIECES * SMALL_OUT

    def tile(self, path: int) -> tuple[int, int]:
        """Rows, and vectors of columns, of the largest register tile of a path."""
        name = name_of(path)
        R = self.machine.registers
        if name == "direct":
            nv = path - (HALF_DIRECT if path > HALF_DIRECT else DIRECT)
            return self.height(nv), nv
        if name in ("packed", "panels"):
            return self.packed_tile(path if name == "packed" else path - PANELS + PACKED)
        if name == "wide":
            return (8, 3) if R == 32 else (4, 2)
        if name == "narrow":
            return 8, 1
        if name == "few":
            m = path - FEW
            return m, R // 2 if m == 1 else max(1, (R - 1) // (m + 1))
        if name in ("across", "sideways"):  # with the registers that transpose a group of steps
            return self.parts(path)[1] + 16 // self.size, 1
        if name == "turned":
            return turned_tile(self.columns(path), self.lanes, R)
        return max(1, min(6, accumulators(R) // self.parts(path)[1])), 1

    def columns(self, path: int) -> int:
        """The number of columns, or of rows, that the path is made for."""
        starts = (SIDEWAYS, INNER_ACROSS, ACROSS, INNER, TURNED, DOTS)
        return path - next(start for start in starts if path > start)

    def parts(self, path: int) -> tuple[int, int]:
        """The widths, lesser and greater, of the parts into which few columns are cut."""
        name = name_of(path)
        n = self.columns(path)
        most = self.lanes if name == "turned" else min(self.lanes, 14)
        if name in ("across", "sideways"):
            most = self.machine.registers - 16 // self.size - 3  # beside a group of steps, and room
        parts = -(-n // most)
        return n // parts, -(-n // parts)

    def make(self, path: int) -> Path:
        """The function for one path, not compiled yet."""
        S, L, base = self.size, self.lanes, self.base
        name = name_of(path)
        MR, NV = self.tile(path)
        if name == "direct":
            low = max(1, NV - 1)
            end = MASKED | HALF if path > HALF_DIRECT else self.end
            return make_direct(S, L, low, NV, MR, self.height(low), base, end)
        if name == "packed":
            return make_packed(S, L, MR, NV, base, self.a_bytes)
        if name == "panels":
            return make_panels(S, L, NV)
        if name == "wide":
            return make_wide(S, L, MR, NV, base)
        if name == "narrow":
            return make_narrow(S, L, MR, base)
        if name == "few":
            return make_few(S, L, MR, NV, base)
        low, high = self.parts(path)
        if name in ("dots", "inner"):
            return make_dots(S, L, self.columns(path), low, high, MR, base, int(name == "inner"))
        if path > ACROSS:
            how = COLUMN_MAJOR_B * (path > INNER_ACROSS) | COLUMN_MAJOR_C * (path > SIDEWAYS)
            return make_across(S, L, self.columns(path), low, high, base | how)
        return make_turned(S, L, self.columns(path), low, high, NV, base)

    @property
    def numbers(self) -> tuple[int, ...]:
        """What ``choose`` depends on."""
        m = self.machine
        return (self.size, self.lanes, m.registers, m.l1, m.l2, m.l3, self.a_bytes, self.b_bytes)

    @property
    def paths(self) -> tuple[int, ...]:
        """The numbers of all paths."""
        return tuple(path for path in range(1, N_PATHS) if path != NARROW or self.machine.registers == 32)

    def make_choose(self) -> Callable[..., tuple[int, int, int, int]]:
        """``choose`` for this dtype and machine, not compiled."""
        return make_choose(*self.numbers)


def accumulators(registers: int) -> int:
    """How many sums a tile that is transposed or summed at its end may keep."""
    return 28 if registers == 32 else 12


def turned_tile(n: int, lanes: int, registers: int) -> tuple[int, int]:
    """Columns, and vectors of rows, of the largest tile of ``turned`` with n columns."""
    high = -(-n // -(-n // lanes))
    return high, max(1, min(5, (accumulators(registers) - 3) // high))


@jit
def cost_across(m, n, k, apart, lanes, most, is_roomy):
    """Cycles, roughly, of n columns as vectors along m; ``TOO_MUCH`` if that is no way.

    apart : bytes between the rows that lie in a vector.  most : accumulators.
    """
    if n > 24 or (apart % COLLIDE == 0 and lanes > 8):
        return TOO_MUCH
    parts = (n + most - 1) // most
    width = (n + parts - 1) // parts
    halves = (2 * m + lanes - 1) // lanes
    cycles = halves * parts * (k * max(12, 2 * width + 1) + 100) // 4
    return cycles if is_roomy else cycles + cycles // 8


def make_choose(
    SIZE: int, LANES: int, REGISTERS: int, L1: int, L2: int, L3: int, A_BYTES: int, B_BYTES: int
) -> Callable[..., tuple[int, int, int, int]]:
    """``choose(m, n, k, rsa, csa, rsb, csb, pc, rsc) -> (path, x, y, z)``, which is also compiled."""
    VECTOR = SIZE * LANES
    ROOMY = REGISTERS == 32
    KC = 768 if VECTOR == 64 else min(768, L1 * 3 // 4 // (2 * VECTOR))
    IN_PLACE = 2 * L2 if ROOMY else L2 // 4 - 1  # bytes of B; narrow panels read it too often from L2
    MOST = REGISTERS - 16 // SIZE - 3  # accumulators of a tile across rows
    # Steps of k for which the columns of A under a tile of ``turned``, and B beside it, take a quarter of L2.
    wide = [n + turned_tile(n, LANES, REGISTERS)[1] * LANES for n in range(1, 17)]
    STEPS = (1, *(L2 // 4 // (numbers * SIZE) for numbers in wide))

    def choose(m, n, k, rsa, csa, rsb, csb, pc, rsc):
        if csb == SIZE:
            turned = (m + LANES - 1) // LANES * n
            if csa != SIZE and rsa == SIZE and n <= 16 and turned <= m * ((n + LANES - 1) // LANES):
                y = 1 if m * k * SIZE > L3 // 4 else 0
                most = STEPS[n] // 2 if y > 0 else STEPS[n]
                pieces = (k + most - 1) // most
                return TURNED + n, 0, y, (k + pieces - 1) // pieces
            if csa == SIZE and (m > 1 or n == 1):
                along_k = m * ((k + LANES - 1) // LANES * n * 11 // 10 + 3 * n + 12)
                half = LANES // 2 if VECTOR == 64 and n > LANES else LANES
                along_n = m * k * ((n + half - 1) // half) * half * (15 if n < LANES else 12) // (11 * LANES)
                if n == 1 and rsb == SIZE and along_k < along_n:
                    return INNER + n, 0, 0, k
                along_k += 5 * k
                along_m = cost_across(m, n, k, rsa, LANES, MOST, ROOMY)
                if along_m < along_n and (n > 16 or along_m < along_k):
                    return ACROSS + n, 0, 0, k if k * n * SIZE <= L2 // 2 else L2 // 2 // (n * SIZE)
                if n <= 16 and along_k < along_n:
                    z = min(k, L1 // (SIZE * n) // LANES * LANES)
                    pieces = (k + z - 1) // z
                    z = ((k + pieces - 1) // pieces + LANES - 1) // LANES * LANES
                    y = z * SIZE
                    if y % 1024 == 0:
                        y += VECTOR
                    return DOTS + n, 0, y, z
                if n <= LANES and m >= 8 and rsa % COLLIDE == 0 and ROOMY:
                    return NARROW, 0, 0, 0
            is_far = k * n * SIZE > L3 // 2
            if m == 1:
                if k * n * SIZE <= 2 * L2:
                    return FEW + 1, 0, 0, 64
                # From further away short pieces of few rows, fewer yet where these share the lines of L1; from
                # memory as many as the hardware asks for by itself.
                return FEW + 1, 8, 0, 8 if is_far else 12 if rsb % COLLIDE == 0 else 16
            if m <= 8 and k * n * SIZE > L2 // 4:
                return FEW + m, 0, 0, 16 if is_far else 512
            if k <= 128 and m * n * SIZE > L3 // 4 and rsc % VECTOR == 0 and pc % SIZE == 0 and m >= 8:
                unit = 12 * LANES
                x = max(8 * LANES, L2 * 3 // 8 // (k * SIZE) // unit * unit)
                return WIDE, x, 0, 0
            if k * n * SIZE <= (IN_PLACE if m > 64 else max(IN_PLACE, L3 // 2)) and m * k * SIZE <= L3 // 4:
                # Five vectors are cut into 3 and 2, all others into panels of 4 and 3.
                nv = 2 if n <= 2 * LANES else 3 if 4 * LANES < n <= 5 * LANES else 4
                if not ROOMY:
                    nv = 2
                if n <= LANES:
                    nv = 1
                x = 8 if rsa % COLLIDE == 0 else 99
                left = n % LANES
                if VECTOR == 64 and 0 < left <= LANES // 2:
                    return HALF_DIRECT + nv, x, 0, k
                return DIRECT + nv, x, 0, k
        if rsb == SIZE and csa == SIZE:
            along_k = m * ((k + LANES - 1) // LANES * n * 11 // 10 + 3 * n + 12) if n <= 16 else TOO_MUCH
            along_m = cost_across(m, n, k, rsa, LANES, MOST, ROOMY)
            along_n = cost_across(n, m, k, csb, LANES, MOST, ROOMY)
            least = min(along_k, along_m, along_n)
            if least < TOO_MUCH:
                if least == along_k:
                    return INNER + n, 0, 0, k
                if least == along_m:
                    return INNER_ACROSS + n, 0, 0, k if k * n * SIZE <= L2 // 2 else L2 // 2 // (n * SIZE)
                return SIDEWAYS + m, 0, 0, k if k * m * SIZE <= L2 // 2 else L2 // 2 // (m * SIZE)
        path = PACKED + 1 if rsc % COLLIDE == 0 or SIZE == 8 else PACKED
        if not ROOMY:
            path = PACKED
        if ROOMY:
            MR = 12 if path == PACKED else 8
            NR = 2 * LANES if path == PACKED else 3 * LANES
        else:
            MR = 6
            NR = 2 * LANES
        pieces = (k + KC - 1) // KC
        x = (k + pieces - 1) // pieces
        y = (A_BYTES - VECTOR) // (x * SIZE)
        pieces = (m + y - 1) // y
        y = min(y // MR * MR, ((m + pieces - 1) // pieces + MR - 1) // MR * MR)
        z = min(B_BYTES // (x * SIZE) // NR * NR, 1536 // NR * NR)
        return path, x, max(MR, y), z

    return choose
