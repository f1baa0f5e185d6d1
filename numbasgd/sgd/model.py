"""Where the weights of a model lie in a row of the state, padded to whole vector registers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


def breadth(d: int, outputs: int) -> int:
    """How many columns one output would need to cost as much as a row of d columns for these outputs."""
    return d * max(1, outputs // 8)


class Layout(NamedTuple):
    """One output: d weights, zeros up to ``size``, then the intercept.  K of them: rows of K, a row a feature.

    outputs : 0 when weights are a vector, 1 when they are a matrix of one column, which lies like a vector,
    or K.  lanes : numbers in a register.  width : of a row of weights (K padded), 1 for one output.
    size : where the intercepts begin.  length : of a row of the state.
    entries : stored entries of a row where not all are, or None.
    """

    d: int
    outputs: int
    lanes: int
    width: int
    size: int
    length: int
    entries: int | None = None

    @property
    def is_many(self) -> bool:
        """Whether the kernels for K outputs are needed."""
        return self.outputs > 1

    @property
    def breadth(self) -> int:
        """How many columns one output would need to cost as much as a row of these."""
        return breadth(self.d if self.entries is None else self.entries, self.outputs)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Weights and, behind them, intercepts without padding, of a row of the state or several; a copy."""
        if self.is_many:
            return rows.reshape(*rows.shape[:-1], self.d + 1, self.width)[..., : self.outputs].copy()
        taken = rows[..., : self.d + 1].copy()
        taken[..., -1] = rows[..., self.size]
        return taken[..., None] if self.outputs else taken

    def row(self, w: np.ndarray, b: Any) -> np.ndarray:
        """A row of the state for weights w (d,) and intercept b, or w (d, K) and b (K,)."""
        row = np.zeros(self.length, w.dtype)
        if w.ndim == 1:
            row[: self.d] = w
            row[self.size] = b
            return row
        self.put(row, np.concatenate([w, np.reshape(b, (1, *w.shape[1:]))]))
        return row

    def put(self, rows: np.ndarray, taken: np.ndarray) -> None:
        """Bring to rows of the state what was taken from them."""
        if self.is_many:
            rows.reshape(*rows.shape[:-1], self.d + 1, self.width)[..., : self.outputs] = taken
            return
        taken = taken[..., 0] if self.outputs else taken
        rows[..., : self.d] = taken[..., :-1]
        rows[..., self.size] = taken[..., -1]
