"""The rungs of the ladder on a GPU: the same product four times, one idea more each time.

Contract of every function here: ``kernel(A, B, out)`` with A (m, k), B (k, n) and out (m, n), C-ordered
device arrays of one dtype (float32 or float64).  ``out`` is overwritten whatever it held and must not
overlap A or B.  Sizes may be 0.  Work is queued on the default stream: the call returns before it is done.
Arguments are trusted; ``numbasgd.matmul`` is the checked way in, and cuts long sums into several calls
(``long_sums.py``).  ``cpu.py`` holds the twins under the same names.

Two habits of all kernels.  Tiles of ``out`` are numbered in one line along the grid's first axis, because
the second axis ends at 65535 blocks, which a tall matrix passes.  From ``column`` on indices are unsigned:
for a signed one Numba adds, to every load, the code that lets ``A[-1]`` mean the last row.  They have 64
bits, which costs nothing in the loops and leaves no size out; constants beside them are unsigned too, since
an unsigned 64-bit number and a signed one together are a float64 to Numba, as to NumPy.
"""

from __future__ import annotations

from typing import Any

from numba import uint64

from numbasgd.device import configure, cuda

WARP = 32  # threads that run in step, and whose neighbouring loads become one
WARPS = 8  # in a block of every kernel but ``blocked``: 256 threads
TILE = 32  # side of the shared tiles of ``blocked``: a warp loads a row of one; 1024 threads, the most allowed


def element(A: Any, B: Any, out: Any) -> None:
    """out[i, j] := A[i, :] . B[:, j], one dot product per thread, neighbours along a column of ``out``.

    What a C programmer writes first: the first thread index counts the first matrix index.  So the 32
    threads of a warp walk 32 rows of A side by side, and each of their loads fetches 32 pieces of memory to
    use one number from each.
    """
    if out.size:
        blocks = _cdiv(out.shape[0], WARP) * _cdiv(out.shape[1], WARPS)
        configure(_element, blocks, (WARP, WARPS))(A, B, out)


@cuda.jit
def _element(A, B, out):
    m, n = out.shape
    tiles_down = (m + WARP - 1) // WARP
    i = cuda.blockIdx.x % tiles_down * WARP + cuda.threadIdx.x
    j = cuda.blockIdx.x // tiles_down * WARPS + cuda.threadIdx.y
    if i < m and j < n:
        acc = A.dtype.type(0)
        for p in range(A.shape[1]):
            acc += A[i, p] * B[p, j]
        out[i, j] = acc


def column(A: Any, B: Any, out: Any) -> None:
    """out[:, j] := A @ B[:, j], one launch per column, a warp per row.

    The twin of a loop of matrix-vector calls: here the call is a launch.  A warp reads a row of A in one
    piece, so the loads are as good as they get, but every launch reads all of A for two operations per
    number, and for small matrices the launches themselves are what takes the time.
    """
    if out.size:
        launch = configure(_column, _cdiv(out.shape[0], WARPS), (WARP, WARPS))
        for j in range(out.shape[1]):
            launch(A, B, j, out)


@cuda.jit
def _column(A, B, j, out):
    sums = cuda.shared.array((WARPS, WARP), A.dtype)
    m = uint64(A.shape[0])
    k = uint64(A.shape[1])
    lane = uint64(cuda.threadIdx.x)
    warp = uint64(cuda.threadIdx.y)
    i = uint64(cuda.blockIdx.x) * uint64(WARPS) + warp
    j = uint64(j)
    acc = A.dtype.type(0)
    if i < m:
        p = lane
        while p < k:
            acc += A[i, p] * B[p, j]
            p += uint64(WARP)
    sums[warp, lane] = acc
    cuda.syncthreads()
    half = uint64(WARP // 2)
    while half > uint64(0):
        if lane < half:
            sums[warp, lane] += sums[warp, lane + half]
        cuda.syncthreads()
        half >>= uint64(1)
    if lane == uint64(0) and i < m:
        out[i, j] = sums[warp, 0]


def full(A: Any, B: Any, out: Any) -> None:
    """out := A @ B in one launch, one dot product per thread, neighbours along a row of ``out``.

    ``element`` with the two thread indices exchanged and unsigned: a warp reads 32 neighbours from a row of
    B in one piece and shares one number of A, and an index costs one addition.  Every number is still
    loaded from the cache once per operation; that is what ``blocked`` removes.
    """
    if out.size:
        blocks = _cdiv(out.shape[0], WARPS) * _cdiv(out.shape[1], WARP)
        configure(_full, blocks, (WARP, WARPS))(A, B, out)


@cuda.jit
def _full(A, B, out):
    m = uint64(out.shape[0])
    n = uint64(out.shape[1])
    k = uint64(A.shape[1])
    tile = uint64(cuda.blockIdx.x)
    tiles_across = (n + uint64(WARP - 1)) // uint64(WARP)
    i = tile // tiles_across * uint64(WARPS) + uint64(cuda.threadIdx.y)
    j = tile % tiles_across * uint64(WARP) + uint64(cuda.threadIdx.x)
    if i < m and j < n:
        acc = A.dtype.type(0)
        p = uint64(0)
        while p < k:
            acc += A[i, p] * B[p, j]
            p += uint64(1)
        out[i, j] = acc


def blocked(A: Any, B: Any, out: Any) -> None:
    """out := A @ B, a tile of ``out`` per block of threads, its inputs read through shared memory.

    The threads of a block copy a tile of A and one of B to shared memory together, each number once, and
    then use it TILE times from there.  What still limits it: two loads from shared memory per operation;
    a thread that kept several entries of ``out`` in registers would need fewer.
    """
    if out.size:
        blocks = _cdiv(out.shape[0], TILE) * _cdiv(out.shape[1], TILE)
        configure(_blocked, blocks, (TILE, TILE))(A, B, out)


def make_blocked(tile: int) -> Any:
    """Build the kernel of ``blocked`` for tiles of side ``tile``, launched with tile x tile threads."""

    @cuda.jit
    def blocked(A, B, out):
        As = cuda.shared.array((tile, tile), A.dtype)
        Bs = cuda.shared.array((tile, tile), A.dtype)
        m = uint64(out.shape[0])
        n = uint64(out.shape[1])
        k = uint64(A.shape[1])
        tiles_across = (n + uint64(tile - 1)) // uint64(tile)
        tx = uint64(cuda.threadIdx.x)
        ty = uint64(cuda.threadIdx.y)
        i = uint64(cuda.blockIdx.x) // tiles_across * uint64(tile) + ty
        j = uint64(cuda.blockIdx.x) % tiles_across * uint64(tile) + tx
        zero = A.dtype.type(0)
        acc = zero
        pc = uint64(0)
        while pc < k:
            # Beyond k both factors are zero, so a NaN or an Inf inside never meets a padding zero.
            As[ty, tx] = A[i, pc + tx] if i < m and pc + tx < k else zero
            Bs[ty, tx] = B[pc + ty, j] if pc + ty < k and j < n else zero
            cuda.syncthreads()
            for p in range(tile):
                acc += As[ty, p] * Bs[p, tx]
            cuda.syncthreads()
            pc += uint64(tile)
        if i < m and j < n:
            out[i, j] = acc

    return blocked


_blocked = make_blocked(TILE)


def _cdiv(size: int, step: int) -> int:
    return -(-size // step)
