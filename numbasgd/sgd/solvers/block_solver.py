"""The solvers for rows that are read block by block: steps on a window of rows while the next one is read.

``make_block_solver`` gives the one for a dataset and a method.

A minibatch is so many positions of an epoch, wherever a window ends.  Where a step begins in one window and
ends in the next, its first rows are copied in front of those of the next window, so that each step is made in
one window.  A step over so many rows that it is made in parts adds up the sums of several windows instead.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from numbasgd.sgd.block_order import Windows, fill_window, windows_of
from numbasgd.sgd.config import Method
from numbasgd.sgd.model import breadth
from numbasgd.sgd.order import SAMPLINGS, scatter_for
from numbasgd.sgd.rows import rows_ahead
from numbasgd.sgd.solvers import large_batch
from numbasgd.sgd.solvers.base import Solver
from numbasgd.sgd.solvers.objective import make_objective

if TYPE_CHECKING:
    from numbasgd.sgd.background import Pending
    from numbasgd.sgd.streamed_dataset import StreamedDataset

_NO_TASK = np.empty(0, np.int64)  # no other thread draws the order


class Window:
    """A window of an epoch in memory.

    room : rows in front of it, for those that are carried over from the window before.
    samples : rows, targets and weights as kernels take them.
    order : (room + rows,) where in the buffer a position's row is; the first ``room`` are their own numbers.
    place : epoch and number of the window, or None while it is filled.
    first, start, stop : positions of the epoch: of the first row that was carried over, of the first that was
    read, and behind the last one.
    """

    def __init__(self, dataset: StreamedDataset, room: int, rows: int) -> None:
        self.buffer = dataset.buffer(room + rows)
        self.room = room
        self.order = np.arange(room + rows, dtype=np.int32)
        self.place: tuple[int, int] | None = None
        self.first = self.start = self.stop = 0
        self._blocks = b""  # those whose rows are in the buffer
        (memory, _, d, base, si, sj), targets = self.buffer.dataset.rows, self.buffer.dataset.targets
        # Kernels take the length of an epoch from that of the targets, of which they touch those in ``order``.
        of_epoch = np.lib.stride_tricks.as_strided(targets, (dataset.n, *targets.shape[1:]))
        self.samples = memory, d, base, si, sj, of_epoch, self.buffer.s

    def fill(self, dataset: StreamedDataset, windows: Windows, seed: int, place: tuple[int, int]) -> None:
        """Read the rows of a window, unless they are there, and draw their order."""
        epoch, number = place
        self.place = None
        blocks = windows.blocks[number]
        if self._blocks != (found := blocks.tobytes()):
            self._blocks = b""
            dataset.fill(self.buffer, blocks, self.room)
            self._blocks = found
        self.first, self.stop = windows.starts[number : number + 2].tolist()
        self.start = self.first
        order = self.order[self.room : self.room + self.stop - self.start]
        fill_window(order, seed, epoch, len(windows.blocks), number, dataset.is_shuffled)
        order += self.room
        self.place = place

    def index(self, position: int) -> int:
        """Where in ``order`` a position of the epoch is."""
        return self.room + position - self.start

    def carry(self, before: Window, position: int) -> None:
        """Take over the rows of the window before from a position of the epoch on."""
        rows = before.order[before.index(position) : before.index(before.stop)]
        self.first = self.start - len(rows)
        for into, given in zip(self.buffer.arrays, before.buffer.arrays, strict=True):
            if given.size:
                into[self.room - len(rows) : self.room] = given[rows]


class BlockSolver(Solver):
    """Many steps in one call of compiled code, but for the end of a window.

    Of two windows, steps are made on one while the next is read into the other.
    """

    def __init__(self, dataset: StreamedDataset, method: Method) -> None:
        super().__init__(dataset, method)
        self.streamed = dataset
        cut, total = dataset.cut, dataset.X.shape[0]
        self._count = -(-len(dataset.sizes) // cut.window)  # windows of an epoch
        rows = min(cut.window * cut.rows, total)
        room = self._room if self._count > 1 else 0
        self.windows = [Window(dataset, room, rows) for _ in range(min(self._count, 2))]
        self.ahead = rows_ahead(self.windows[0].buffer.dataset.rows, in_order=not dataset.is_shuffled)
        self._is_long = dataset.is_worth_a_thread(rows)
        self._now: Window | None = None
        self._next: tuple[tuple[int, int], Window, Pending[None]] | None = None
        self._known: dict[int, Windows] = {}  # of epochs
        self._drawn = np.zeros(5, np.int64)
        self._targets = np.empty((1, 0), dataset.dtype)
        self._make_kernels()

    @property
    def _room(self) -> int:
        """Rows that may be carried over."""
        return self.method.batch_size - 1

    def _make_kernels(self) -> None:
        self.kernel = self.objective.advance_kernel(self.method.step)

    def _sums_at_once(self) -> tuple[tuple[int, ...], np.ndarray]:
        batch_size = self.method.batch_size
        return (batch_size, self.n % batch_size), self.windows[0].order

    def _compile_order(self) -> None:
        self._windows(self.samples // self.n)
        order = self.windows[0].order
        scatter_for(order.dtype, len(order))
        fill_window(order[:0], 0, 0, 1, 0, True)

    def close(self) -> None:
        """Wait for a read that is not needed any more."""
        self.streamed.reader.wait()

    def advance(self, end: int) -> None:
        """Make the steps up to sample number ``end``."""
        if end == self.samples:
            self._compile_order()
            self._steps(self.windows[0], end)
        batch_size = self.method.batch_size
        while self.samples < end:
            epoch, position = divmod(self.samples, self.n)
            window = self._window_at(epoch, position)
            while position + batch_size > window.stop < self.n:
                window = self._go_to(epoch, window.place[1] + 1, window, position)  # type: ignore[index]
            last = window.stop if window.stop == self.n else window.stop - window.stop % batch_size
            self._steps(window, min(end, epoch * self.n + last))

    def _steps(self, window: Window, end: int) -> None:
        """Make the steps up to sample number ``end``, whose rows are all in a window."""
        method = self.method
        epoch = -1 if window.place is None else window.place[0]
        order = window.order[window.index(window.first) : window.index(window.stop)]
        self._drawn[:] = epoch, window.first, window.stop, 0, window.stop
        chunks = order[None], self._targets, self._drawn, _NO_TASK  # as ``OrderChunks`` tells them
        told = *chunks, SAMPLINGS["reshuffle"], method.seed, self.ahead
        step = method.batch_size, method.lrs, tuple(method.spans), *self.move(), method.average_from or 0
        state = self.rows, self.layout.size, self.count
        scratch = self.scratch, self.scratch64
        self.kernel(window.samples, told, end, step, state, scratch, self.objective.outputs)

    def _window_at(self, epoch: int, position: int) -> Window:
        """The window that holds a position of an epoch."""
        now = self._now
        if now is None or now.place is None or now.place[0] != epoch or not now.first <= position < now.stop:
            now = self._go_to(epoch, self._windows(epoch).at(position))
        return now

    def _windows(self, epoch: int) -> Windows:
        found = self._known.get(epoch)
        if found is None:
            data = self.streamed
            found = windows_of(self.method.seed, epoch, data.sizes, data.cut.window, data.is_shuffled)
            self._known = {e: known for e, known in self._known.items() if e == epoch - 1} | {epoch: found}
        return found

    def _call(self, window: Window, place: tuple[int, int]) -> Any:
        return functools.partial(window.fill, self.streamed, self._windows(place[0]), self.method.seed, place)

    def _go_to(self, epoch: int, number: int, before: Window | None = None, position: int = 0) -> Window:
        """Have a window in memory, with the rows of ``before`` from a position on, and begin to read the next.

        What is raised here leaves no window behind that is half filled: the next call begins anew.
        """
        place, reader = (epoch, number), self.streamed.reader
        ready, self._now, self._next = self._next, None, None
        if ready is not None and ready[0] == place and ready[1] is not before:
            window = ready[1]
            ready[2].result()
        else:
            window = self.windows[-1] if before is not self.windows[-1] else self.windows[0]
            reader.begin(self._call(window, place), False).result()
        if before is not None:
            window.carry(before, position)
        self._now = window
        if len(self.windows) > 1:
            other = self.windows[0] if window is self.windows[1] else self.windows[1]
            follows = (epoch, number + 1) if number + 1 < self._count else (epoch + 1, 0)
            self._next = follows, other, reader.begin(self._call(other, follows), self._is_long)
        return window


class LargeBlockSolver(BlockSolver):
    """Steps over so many rows that each is made in parts, and perhaps over several windows.

    As in ``LargeBatchSolver``, a step that is interrupted leaves no trace.
    """

    @property
    def _room(self) -> int:
        """Rows that may be carried over: none, since sums are."""
        return 0

    def _make_kernels(self) -> None:
        method, layout = self.method, self.layout
        self._part = large_batch.part_rows(layout.breadth)
        self._finish = large_batch.make_finish(self.dataset.dtype, layout.lanes, method.step, layout.is_many)
        self._sums = [
            (window, objective.sums(len(window.order), window.order.dtype, self.scratch, self.scratch64))
            for window in self.windows
            for objective in [make_objective(window.buffer.dataset, method.loss, method.threads)]
        ]

    def _sums_at_once(self) -> tuple[tuple[int, ...], np.ndarray]:
        return (self._part,), self.windows[0].order

    def advance(self, end: int) -> None:
        """Make the steps up to sample number ``end``."""
        if end == self.samples:
            self._compile_order()
            for window, _ in self._sums:
                self._add(window, 0, 0, self.rows, np.zeros(self.layout.length))
            self._end(np.zeros(self.layout.length), 0, 0, self.rows.copy(), self.count.copy())
        while self.samples < end:
            epoch, start = divmod(self.samples, self.n)
            stop = min(start + self.method.batch_size, self.n)
            g = np.zeros(self.layout.length)
            at = start
            while at < stop:
                window = self._window_at(epoch, at)
                upto = min(at + self._part, stop, window.stop)
                self._add(window, window.index(at), window.index(upto), self.rows, g)
                at = upto
            self._end(g, start, stop, self.rows, self.count)

    def _add(self, window: Window, start: int, stop: int, state: np.ndarray, g: np.ndarray) -> None:
        """g += the sum of the gradients over the rows ``start`` to ``stop`` of the order of a window."""
        sums = next(made for known, made in self._sums if known is window)
        sums.add(state[0], window.order, start, stop, self.ahead, g)

    def _end(self, g: np.ndarray, start: int, stop: int, state: np.ndarray, count: np.ndarray) -> None:
        """The step with the sum ``g`` over the positions start <= t < stop of an epoch."""
        method, epoch = self.method, self.samples // self.n
        lr = method.lrs[method.spans.entry(epoch, start, len(method.lrs))]
        is_early = self.samples < (method.average_from or 0)
        self._finish(
            g, max(stop - start, 1), (lr, *self.move()), is_early, epoch * self.n + stop,
            (state, self.layout.size, count), self.scratch,
        )  # fmt: skip


def make_block_solver(dataset: StreamedDataset, method: Method) -> Solver:
    """The solver for rows that are read block by block, and a method."""
    is_large = large_batch.is_large(method.batch_size, breadth(dataset.d, dataset.outputs))
    return (LargeBlockSolver if is_large else BlockSolver)(dataset, method)
