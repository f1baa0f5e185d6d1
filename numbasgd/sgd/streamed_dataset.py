"""``StreamedDataset``: rows that stay in a file, or wherever they are, and are read block by block.

What needs to see all rows, such as an evaluation of the loss, passes over them; what needs to see some of them,
such as the choice of a learning rate, gets a sample that fits in memory.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from numbasgd import check
from numbasgd.data.row_source import RowSource
from numbasgd.sgd.background import Background
from numbasgd.sgd.block_order import Blocks
from numbasgd.sgd.config import Method
from numbasgd.sgd.csr import Csr
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.fingerprint import even_rows, name_of
from numbasgd.sgd.order import SAMPLINGS
from numbasgd.sgd.rows import aligned_zeros, rows_of
from numbasgd.sgd.scale import Scale
from numbasgd.sgd.scale_kernels import scale_rows
from numbasgd.sgd.solvers.base import Solver
from numbasgd.sgd.solvers.block_solver import make_block_solver
from numbasgd.sgd.solvers.streamed_objective import StreamedObjective
from numbasgd.sgd.streamed_scale import StreamedScale
from numbasgd.sgd.streamed_split import ROWS, flags, held_out_bits, ranges
from numbasgd.sgd.streamed_targets import Targets, Weights

_PIECE_BYTES = 1 << 22  # of rows that a pass reads at once
_THREAD_BYTES = 1 << 19  # of rows below which another thread costs more than it gains
_SAMPLE_ROWS, _SAMPLE_ENTRIES = 2048, 1 << 21  # of a sample, the larger of the two
_PLACES = 256  # of the file, from which a sample is read


class Buffer:
    """Memory for some rows, their targets and their weights; ``dataset`` is what is in it."""

    def __init__(self, like: StreamedDataset, n: int) -> None:
        dtype = like.dtype
        self.X = aligned_zeros((n, like.d), dtype)
        self.y = np.zeros((n, *like.y.shape[1:]), dtype)
        self.s = np.zeros(n if like.is_weighted else 0, dtype)
        self.arrays = self.X, self.y, self.s
        self.dataset = Dataset(*self.arrays, like.outputs, like.classes, like.source)


@dataclass(frozen=True, eq=False)
class StreamedDataset(Dataset):
    """A ``Dataset`` whose rows are read as they are needed, in pieces of whole blocks.

    X : read as ``precision``.  y : read alike.  sample_weight : likewise, or None.
    precision : the dtype of X, y and the weights in memory.  cut : how rows are cut into blocks.
    left_out : a bit for each row that is in the file but not in this dataset, eight a byte, or None.
    scaling : of the columns, as they are read, or None.
    is_shuffled : whether blocks, and rows in their windows, come in random order.
    reader : of all datasets that read from the same places.
    sizes : rows of each block that belong to this dataset.
    """

    X: Any
    y: Any
    sample_weight: Any
    precision: np.dtype = field(kw_only=True)
    cut: Blocks = field(kw_only=True)
    left_out: np.ndarray | None = field(default=None, kw_only=True)
    scaling: Scale | None = field(default=None, kw_only=True)
    is_shuffled: bool = field(default=True, kw_only=True)
    reader: Background = field(default_factory=Background, kw_only=True)
    sizes: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        n = self.X.shape[0]
        starts = np.arange(0, n, self.cut.rows)
        sizes = np.minimum(self.cut.rows, n - starts)
        if self.left_out is not None:
            sizes = np.array([int(self._kept(b, b + m).sum()) for b, m in zip(starts, sizes, strict=True)])
        vars(self).update(rows=None, targets=None, sizes=sizes, _n=int(sizes.sum()))

    @property
    def n(self) -> int:
        """Rows."""
        return vars(self)["_n"]

    @property
    def d(self) -> int:
        """Columns of X."""
        return self.X.shape[1]

    @property
    def dtype(self) -> np.dtype:
        """Of X, y and the weights."""
        return self.precision

    @property
    def is_weighted(self) -> bool:
        """Whether rows count differently."""
        return self.sample_weight is not None

    def solver(self, method: Method) -> Solver:
        """What makes the steps of a method over these rows."""
        return make_block_solver(self, method)

    def objective(self, loss: str, threads: int | None = None) -> StreamedObjective:
        """The mean loss over these rows; loss : its key.  threads : the most that may work on it."""
        return StreamedObjective(self, loss, threads)

    def scale(self, intercept: bool, known: np.ndarray | None = None) -> Scale:
        """The scale of the columns, from a pass over the rows; ``known`` : that of a run that is resumed."""
        return StreamedScale(self, intercept, known)

    def scaled(self, scale: Scale) -> Self:
        """The same rows, whose columns are scaled as they are read."""
        found = replace(self, scaling=scale)
        if "_sample" in vars(self):
            vars(found)["_sample"] = vars(self).pop("_sample").scaled(scale)
        if "_buffers" in vars(self):
            vars(found)["_buffers"] = vars(self).pop("_buffers")
        return found

    def others(self, X: Any, y: np.ndarray, sample_weight: np.ndarray) -> Dataset:
        """Other rows, which are in memory, for the same model."""
        return Dataset(X, y, sample_weight, self.outputs, self.classes, self.source, False, self.names)

    def together(self, is_shuffled: bool) -> Self:
        """Rows lie together once they are read."""
        return self

    def is_worth_a_thread(self, rows: int) -> bool:
        """Whether another thread gains more than it costs when it reads so many rows."""
        return rows * self.d * self.dtype.itemsize >= _THREAD_BYTES

    def buffer(self, n: int) -> Buffer:
        """Memory for so many rows."""
        return Buffer(self, n)

    @property
    def piece_blocks(self) -> int:
        """Blocks that a pass reads at once."""
        return max(1, _PIECE_BYTES // (self.cut.rows * self.d * self.dtype.itemsize))

    def fill(self, buffer: Buffer, blocks: np.ndarray, at: int = 0) -> int:
        """Read blocks into the rows of a buffer from ``at`` on; returns how many these are.

        What is read may reach up to a whole block behind the rows that are kept.
        """
        begin = at
        for b in blocks.tolist():
            start = b * self.cut.rows
            at += self._read(buffer, start, min(start + self.cut.rows, self.X.shape[0]), at)
        return at - begin

    def _read(self, buffer: Buffer, start: int, stop: int, at: int) -> int:
        """Read a range of rows of the file into a buffer; returns how many of them belong to this dataset."""
        count = stop - start
        into = [(self.X, buffer.X), (self.y, buffer.y)]
        if self.sample_weight is not None:
            into.append((self.sample_weight, buffer.s))
        for given, memory in into:
            given.read(start, stop, memory[at : at + count])
        if self.left_out is not None:
            kept = self._kept(start, stop)
            if not kept.all():
                for _, memory in into:
                    some = memory[at : at + count][kept]
                    memory[at : at + len(some)] = some
                count = int(kept.sum())
        if self.scaling is not None:
            X = buffer.X[at : at + count]
            scale_rows(rows_of(X), self.scaling.mean, self.scaling.std, X)
        return count

    def _kept(self, start: int, stop: int) -> np.ndarray:
        """Which rows of a range of the file belong to this dataset."""
        if self.left_out is None:
            return np.ones(stop - start, bool)
        return ~flags(self.left_out, start, stop)

    def groups(self, blocks: np.ndarray | None = None) -> Iterator[tuple[int, Buffer, int]]:
        """(0 or 1, rows, how many they are) of all blocks, or of these: the next are read meanwhile.

        There are two buffers, and the next one overwrites what was in the one before the last.
        """
        blocks = np.arange(len(self.sizes)) if blocks is None else blocks
        each = min(self.piece_blocks, len(blocks))
        parts = [blocks[i : i + each] for i in range(0, len(blocks), each)]
        is_long = self.is_worth_a_thread(min(each * self.cut.rows, self.X.shape[0]))
        buffers = self.buffers
        pending = self.reader.begin(functools.partial(self.fill, buffers[0], parts[0]), False)
        for k in range(len(parts)):
            count = pending.result()
            if k + 1 < len(parts):
                call = functools.partial(self.fill, buffers[(k + 1) % 2], parts[k + 1])
                pending = self.reader.begin(call, is_long)
            yield k % 2, buffers[k % 2], count

    @property
    def buffers(self) -> tuple[Buffer, Buffer]:
        """The two that passes read into."""
        found = vars(self).get("_buffers")
        if found is None:
            rows = min(self.piece_blocks * self.cut.rows, self.X.shape[0])
            found = vars(self)["_buffers"] = Buffer(self, rows), Buffer(self, rows)
        return found

    def sample(self) -> Dataset:
        """At most some ten thousand rows, from places that are evenly spread over the file."""
        found = vars(self).get("_sample")
        if found is None:
            found = vars(self)["_sample"] = self._make_sample()
        return found

    def _make_sample(self) -> Dataset:
        self.reader.wait()
        n = self.X.shape[0]
        most = max(_SAMPLE_ROWS, _SAMPLE_ENTRIES // (self.d + 8))
        if n <= most:
            ranges = [(0, n)]
        else:
            each = -(-most // _PLACES)
            edges = np.linspace(0, n, _PLACES, endpoint=False)
            gaps = np.random.default_rng(n).random(_PLACES) * (n / _PLACES - each)
            ranges = [(at, min(at + each, n)) for at in (edges + np.maximum(gaps, 0)).astype(np.int64).tolist()]
        buffer = Buffer(self, sum(stop - start for start, stop in ranges))
        at = 0
        for start, stop in ranges:
            at += self._read(buffer, start, stop, at)
        X, y, s = buffer.X[:at], buffer.y[:at], buffer.s[:at]
        if s.size and s.any():
            s = (s / s.mean()).astype(s.dtype)
        return Dataset(X, y, s, self.outputs, self.classes, self.source, True, self.names)

    def order(self, sampling: str) -> str:
        """The sampling that is used, whatever was passed."""
        return "block" if self.is_shuffled else "sequential"

    def in_memory(self, method: Method) -> tuple[Dataset, Method]:
        """A sample of the rows, and the method for it."""
        rows = self.sample()
        begin = method.average_from
        if begin is not None:
            begin = begin // self.n * rows.n
        sampling = method.sampling if method.sampling in SAMPLINGS else "reshuffle"
        batch_size = min(method.batch_size, rows.n)
        return rows, method._replace(batch_size=batch_size, average_from=begin, sampling=sampling)

    def arrays(self) -> dict[str, np.ndarray | Csr]:
        """None."""
        return {}

    def marks(self) -> dict[str, dict[str, Any]]:
        """What a fingerprint has of the same numbers in memory."""
        self.reader.wait()
        marks = {"X": self._mark(self.X), "y": self._mark(self.y)}
        if self.sample_weight is not None:
            marks["sample_weight"] = self._mark(self.sample_weight)
        return marks

    def _mark(self, given: RowSource | Targets) -> dict[str, Any]:
        """Shape, dtype and hash, as ``Fingerprint`` has them."""
        shape = given.shape
        digest = hashlib.sha256()
        row = np.empty((1, *shape[1:]), self.dtype)
        for i, some in even_rows(shape):
            given.read(i, i + 1, row)
            digest.update(row[:, some].tobytes() if len(shape) > 1 else row.tobytes())
        return {"shape": list(shape), "dtype": name_of(self.dtype), "sha256": digest.hexdigest()}

    def split(self, fraction: float, seed: int) -> tuple[Dataset, Dataset | None]:
        """Training rows, and the share of the rows that ``seed`` draws for validation, or None for 0.

        These are the rows that are drawn of arrays in memory; both sides are read from the same file.

        Raises
        ------
        ValueError
            If one side would be left without a row.
        """
        if fraction == 0:
            return self, None
        self.reader.wait()
        bits = held_out_bits(self.X.shape[0], self._counted, fraction, seed)
        training, held_out = (self._normalized(replace(self, left_out=side)) for side in bits)
        return training, held_out

    def _counted(self, start: int, stop: int) -> np.ndarray:
        """Which rows of a range of the file have a weight."""
        if self.sample_weight is None:
            return np.ones(stop - start, bool)
        s = np.empty(stop - start, self.dtype)
        self.sample_weight.read(start, stop, s)
        return s != 0

    def _normalized(self, side: StreamedDataset) -> StreamedDataset:
        """The rows of a side with weights of mean 1 among them."""
        if not isinstance(self.sample_weight, Weights):
            return side
        sums = []
        s = np.empty(ROWS, self.dtype)
        for start, stop in ranges(self.X.shape[0]):
            self.sample_weight.read(start, stop, s[: stop - start])
            sums.append(float(s[: stop - start][side._kept(start, stop)].sum(dtype=np.float64)))
        return replace(side, sample_weight=self.sample_weight.over(math.fsum(sums) / side.n))

    def require_finite(self, *witnesses: float) -> None:
        """Look for a NaN or Inf if a figure of the whole data is not finite; no look without such a sign.

        Raises
        ------
        ValueError
            It names the first one's row and column.
        """
        if all(map(math.isfinite, witnesses)):
            return
        self.reader.wait()
        for given, name, columns in ((self.X, "X", self.names), (self.y, "y", None)):
            for start, rows in self.numbers(given):
                check.finite(rows, name, columns, first=start)

    def numbers(self, given: RowSource | Targets) -> Iterator[tuple[int, np.ndarray]]:
        """(first row, numbers) of all that is in the file, in pieces; each is overwritten by the next."""
        n, count = self.X.shape[0], self.cut.rows
        memory = np.empty((min(n, count), *given.shape[1:]), self.dtype)
        for start in range(0, n, count):
            stop = min(start + count, n)
            given.read(start, stop, memory[: stop - start])
            yield start, memory[: stop - start]

    def overflows(self, start: np.ndarray) -> ValueError:
        """The error for finite data whose loss at the weights ``start`` is not finite."""
        self.reader.wait()
        largest = {
            name: max(float(np.abs(rows).max(initial=0.0)) for _, rows in self.numbers(given))
            for name, given in (("X", self.X), ("y", self.y))
        }
        return self._overflow(largest | {"init": float(np.abs(start).max(initial=0.0))})
