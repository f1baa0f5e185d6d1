"""What a run needs besides its data to go on exactly where it stood, and how its data is recognized."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numbasgd.sgd.trainer import Run

name_of = functools.cache(str)  # of a dtype, which NumPy puts together anew each time
_SAMPLED = 1000  # rows, and columns, that are hashed
_KEPT = 1 << 16  # bytes of data that a fit may hold on to
_NO_HISTORY = np.empty((0, 5))
_NO_SCALE = np.empty((2, 0))


class State(NamedTuple):
    """A run between two steps, without padding, so that it does not depend on the width of a register.

    weights : (4, d + 1), or (4, d + 1, K), the rows of the state as in ``epoch.py``, the intercept last, in the
    dtype and the units of training.  counts : (2,) as there.
    best : (d + 1,) or (d + 1, K) the best weights so far; best_watched : their loss.
    stale : epochs since then.  limit : the loss from which on a run has diverged.
    history : (t, 5) the evaluations that ``eval_every`` asked for, as ``Moment``; seconds : until now.
    looked, asked : samples up to which everything was evaluated, and the callback said to go on.
    is_over : early stopping has ended the run.
    lrs : rates of the epochs.  scale : (2, d) mean and spread of the columns, or (2, 0) without
    ``standardize``.  data : what ``data_mark`` gave.
    """

    weights: np.ndarray
    counts: np.ndarray
    best: np.ndarray
    best_watched: float
    stale: int
    limit: float
    history: np.ndarray
    seconds: float
    looked: int
    asked: int
    is_over: bool
    lrs: np.ndarray
    scale: np.ndarray
    data: Mapping[str, Any]

    @property
    def samples(self) -> int:
        """Samples that were seen."""
        return int(self.counts[1])


def freeze(run: Run, lrs: np.ndarray, data: Mapping[str, Any]) -> State:
    """The state of a run between two steps, for a file or a later call; may be called whenever Python runs."""
    book, scale = run.book, run.scale
    return State(
        weights=run.layout.take(run.state),
        counts=run.count.copy(),
        best=run.layout.take(book.best),
        best_watched=book.best_watched,
        stale=book.stale,
        limit=run.limit,
        history=np.array(run.history[: book.n_moments] or _NO_HISTORY, np.float64),
        seconds=book.seconds,
        looked=book.looked,
        asked=book.asked,
        is_over=book.is_over,
        lrs=lrs,
        scale=_NO_SCALE if scale is None else np.array([scale.mean, scale.spread]),
        data=data,
    )


def restore(run: Run, state: State) -> None:
    """Bring a run to where ``freeze`` was called; the inverse of it, bit for bit."""
    run.layout.put(run.state, state.weights)
    best = np.zeros_like(run.state[0])
    run.layout.put(best, state.best)
    run.count[:] = state.counts
    run.go_on(
        state.history, state.limit, best, seconds=state.seconds, best_watched=state.best_watched,
        stale=state.stale, looked=state.looked, asked=state.asked, is_over=state.is_over,
    )  # fmt: skip


class DataMark(Mapping[str, dict[str, Any]]):
    """What tells data from other data: shape, dtype and a hash of up to 1000 evenly spaced rows and columns.

    Small arrays are copied, since the caller may change them later, and hashed when somebody asks, which for
    most fits nobody does.
    """

    def __init__(self, known: dict[str, dict[str, Any]], **arrays: np.ndarray) -> None:
        """``known`` : what was found before, for no arrays."""
        self._known = known
        self._arrays = arrays
        if sum([a.nbytes for a in arrays.values()]) > _KEPT:
            self._resolved()
        else:
            self._arrays = {name: a.copy() for name, a in arrays.items()}

    def _resolved(self) -> dict[str, dict[str, Any]]:
        arrays = self._arrays
        if arrays:
            # Before the copies go, so that another thread always finds one or the other.
            self._known = {name: _mark(a) for name, a in arrays.items()}
            self._arrays = {}
        return self._known

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self._resolved()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._resolved())

    def __len__(self) -> int:
        return len(self._resolved())

    def __reduce__(self) -> tuple[Any, ...]:
        return DataMark, (self._resolved(),)


def data_mark(X: np.ndarray, y: np.ndarray, s: np.ndarray) -> DataMark:
    """The mark of rows, targets and sample weights, these of length 0 if there are none."""
    return DataMark({}, X=X, y=y, sample_weight=s) if s.size else DataMark({}, X=X, y=y)


def _mark(a: np.ndarray) -> dict[str, Any]:
    even = tuple(slice(None, None, -(-size // _SAMPLED) or 1) for size in a.shape)
    digest = hashlib.sha256(a[even].tobytes())
    digest.update(a[-1:, *even[1:]].tobytes())
    return {"shape": list(a.shape), "dtype": name_of(a.dtype), "sha256": digest.hexdigest()}


def require_same_data(found: Mapping[str, Any], known: Mapping[str, Any], source: str) -> None:
    """Raise ``ValueError`` if the data is not what the saved run was trained on, and say what differs.

    source : where the found data came from, as in ``Fit.data``.
    """
    advice = "Pass the X, y and sample_weight that the run was started with."
    if source != "arrays":
        advice = f"X and y were left out, which means the {source}. {advice}"
    for name in ("X", "y", "sample_weight"):
        new, old = found.get(name), known.get(name)
        if new == old:
            continue
        if new is None or old is None:
            was, now = ("without", "with") if old is None else ("with", "without")
            raise ValueError(
                f"{name} differs: the run to resume was made {was} {name}, this call is {now}; expected the "
                f"same data. {advice}"
            )
        for what in ("shape", "dtype"):
            if new[what] != old[what]:
                raise ValueError(
                    f"{name} has {what} {new[what]}, the run to resume was made with {what} {old[what]}; "
                    f"expected the same data. {advice}"
                )
        raise ValueError(
            f"{name} holds other numbers than the run to resume was made with (a sample of its rows differs); "
            f"expected the same data in the same order. {advice}"
        )
