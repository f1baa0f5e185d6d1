"""``Csr``: sparse rows, checked, and what there is to know of them.

Any sparse matrix or array of SciPy is taken; SciPy is not imported, its objects are known by what they have.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from numbasgd import check
from numbasgd.compile.options import jit

_HASHED = 1000  # rows that a digest takes
MOST_COLUMNS = 2**31 - 1  # that indices of 32 bits can name


def is_sparse(X: Any) -> bool:
    """Whether X is a sparse matrix or array."""
    return hasattr(X, "tocsr") or isinstance(X, Csr)


@dataclass(frozen=True, eq=False)
class Csr:
    """Sparse rows: row i has the entries data[p] in columns indices[p] for indptr[i] <= p < indptr[i + 1].

    indptr : (n + 1,) int64.  indices : int32, ascending within a row, none twice.  data : float32 or float64.
    """

    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray
    shape: tuple[int, int]

    @property
    def dtype(self) -> np.dtype:
        """Of the entries."""
        return self.data.dtype

    @property
    def per_row(self) -> int:
        """Stored entries of a row, on average, rounded up."""
        return -(-len(self.data) // max(self.shape[0], 1))

    @property
    def nbytes(self) -> int:
        """Of all three arrays."""
        return self.indptr.nbytes + self.indices.nbytes + self.data.nbytes

    def copy(self) -> Csr:
        """The same rows, with arrays of their own."""
        return Csr(self.indptr.copy(), self.indices.copy(), self.data.copy(), self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray | slice) -> Csr:
        """A copy of some rows, in this order."""
        lengths = np.diff(self.indptr)[rows]
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        picked = np.arange(indptr[-1]) + np.repeat(self.indptr[:-1][rows] - indptr[:-1], lengths)
        return Csr(indptr, self.indices[picked], self.data[picked], (len(lengths), self.shape[1]))

    def astype(self, dtype: Any, order: str = "K", copy: bool = True) -> Csr:
        """The same with entries of another dtype, as of an array; without ``copy`` it may be the same entries.

        order : there is one alone.
        """
        return Csr(self.indptr, self.indices, self.data.astype(dtype, copy=copy), self.shape)

    def __matmul__(self, w: np.ndarray) -> np.ndarray:
        """X @ w for w (d,) or (d, K), a copy in the wider dtype of both."""
        dtype = np.result_type(self.dtype, w.dtype)
        columns = check.for_kernel(w.reshape(len(w), -1).astype(dtype, copy=False))
        out = np.zeros((len(self), columns.shape[1]), dtype)
        _product(self.indptr, self.indices, self.data, columns, out)
        return out.reshape(len(self), *w.shape[1:])

    def __truediv__(self, divisor: float) -> Csr:
        """The same with every entry divided by a number."""
        return Csr(self.indptr, self.indices, self.data / divisor, self.shape)

    __array_ufunc__ = None  # so that an array leaves its product with this to this

    def __rmatmul__(self, r: np.ndarray) -> np.ndarray:
        """r @ X for r (n,), in float64."""
        out = np.zeros(self.shape[1])
        _add_rows(self.indptr, self.indices, self.data, r.astype(np.float64, copy=False), out)
        return out

    def squared_norms(self) -> np.ndarray:
        """|x|^2 of the rows, in float64."""
        out = np.empty(len(self))
        _squared_norms(self.indptr, self.data, out)
        return out

    def column_squares(self, weights: np.ndarray) -> np.ndarray:
        """The sum over the rows of weight times x_j^2, in float64; weights of length 0 are all 1."""
        each = np.square(self.data, dtype=np.float64)
        if weights.size:
            each *= np.repeat(weights.astype(np.float64), np.diff(self.indptr))
        return np.bincount(self.indices, each, self.shape[1])

    def digest(self) -> str:
        """A hash of up to 1000 evenly spaced rows, their columns included."""
        some = self[np.arange(0, len(self), -(-len(self) // _HASHED) or 1)]
        digest = hashlib.sha256(some.indptr.tobytes())
        digest.update(some.indices.tobytes())
        digest.update(some.data.tobytes())
        return digest.hexdigest()

    def scaled(self, deviations: np.ndarray) -> Csr:
        """The same with every column divided by its deviation."""
        data = (self.data / deviations[self.indices]).astype(self.dtype)
        return Csr(self.indptr, self.indices, data, self.shape)


class CsrRows(NamedTuple):
    """What ``rows.Rows`` is to dense rows: ``memory`` is the stored entries, ``base`` and ``si`` are addresses.

    base, si : addresses of ``indptr`` and ``indices``, which whoever holds this keeps alive.
    """

    memory: np.ndarray
    n: int
    d: int
    base: int
    si: int
    sj: int = 0

    @property
    def is_gathered(self) -> bool:
        """No row has to be put together."""
        return False


def finite(X: Csr, name: str = "X", *, before: str = "training") -> None:
    """Raise ``ValueError`` for a NaN or Inf among the entries, naming the first one's row and column."""
    bad = np.flatnonzero(~np.isfinite(X.data))
    if len(bad) == 0:
        return
    first = bad[0]
    row = int(np.searchsorted(X.indptr, first, side="right")) - 1
    others = f" ({len(bad) - 1} more like it)" if len(bad) > 1 else ""
    raise ValueError(
        f"{name} holds {X.data[first]} at row {row}, column {X.indices[first]}{others}; expected finite "
        f"numbers. Drop such rows or fill them before {before}."
    )


def csr_of(X: Any, name: str = "X") -> Csr:
    """A sparse matrix or array of SciPy as ``Csr``, without a copy of what can be used as it is.

    Every index is looked at.  In a copy, unsorted indices are sorted, and entries that are stored twice added.

    Raises
    ------
    TypeError, ValueError
        If X is not 2-D, not of numbers, or its arrays do not fit each other.
    """
    if isinstance(X, Csr):
        return X
    if X.ndim != 2:
        raise ValueError(
            f"{name} has {X.ndim} dimension, shape {X.shape}; expected a sparse array of 2 dimensions. Use "
            f"{name}.reshape(1, -1) for one row."
        )
    n, d = map(int, X.shape)
    if d > MOST_COLUMNS:
        raise ValueError(f"{name} has {d} columns; expected at most {MOST_COLUMNS}. Hash them to fewer.")
    X = X.tocsr()
    found = _taken(X, (n, d), name)
    if found is None:
        X = X.copy()
        X.sum_duplicates()  # which sorts as well
        found = _taken(X, (n, d), name)
    if found is None:  # it says that it is sorted, and is not
        X.has_sorted_indices = X.has_canonical_format = False
        X.sum_duplicates()
        found = _taken(X, (n, d), name)
    assert found is not None
    return found


_FAULTS = (
    "",
    "whose first entry is not 0 or that falls",
    "that ends beyond its entries",
    "that names columns that are not there",
)


def _taken(X: Any, shape: tuple[int, int], name: str) -> Csr | None:
    """X in CSR form as ``Csr``; None where its indices are not ascending within each row."""
    data = check.for_kernel(check.array(X.data, name, 1))
    indptr = check.for_kernel(np.asarray(X.indptr, np.int64))
    indices = check.for_kernel(np.asarray(X.indices))
    fault = 1 if len(indptr) != shape[0] + 1 else _faults(indptr, indices, len(data), shape[1])
    if fault > 0:
        what = "indices" if fault == 3 else "indptr"
        raise ValueError(
            f"{name} has {what} {_FAULTS[fault]}; expected a sparse array as SciPy makes it. Make it anew, "
            "and look at what wrote its arrays."
        )
    if fault < 0:
        return None
    indices = check.for_kernel(indices.astype(np.int32, copy=False))
    end = int(indptr[-1])
    return Csr(indptr, indices[:end], data[:end], shape)


@jit
def _faults(indptr, indices, count, d):
    """0 for sound rows, -1 for unsorted or double indices, else the number of a fault."""
    n = indptr.shape[0] - 1
    if indptr[0] != 0:
        return 1
    for i in range(n):
        if indptr[i] > indptr[i + 1]:
            return 1
    if indptr[n] > count or indptr[n] > indices.shape[0]:
        return 2
    fault = 0
    for i in range(n):
        before = -1
        for p in range(indptr[i], indptr[i + 1]):
            j = indices[p]
            if j < 0 or j >= d:
                return 3
            if j <= before:
                fault = -1
            before = j
    return fault


@jit
def _product(indptr, indices, data, w, out):
    """out += X @ w for w (d, K); out (n, K) is zeros."""
    for i in range(out.shape[0]):
        for p in range(indptr[i], indptr[i + 1]):
            j, x = indices[p], data[p]
            for k in range(w.shape[1]):
                out[i, k] += x * w[j, k]


@jit
def _add_rows(indptr, indices, data, r, out):
    """out += the sum of r_i x_i."""
    for i in range(r.shape[0]):
        for p in range(indptr[i], indptr[i + 1]):
            out[indices[p]] += r[i] * data[p]


@jit
def _squared_norms(indptr, data, out):
    """out_i := |x_i|^2 in float64."""
    for i in range(out.shape[0]):
        total = 0.0
        for p in range(indptr[i], indptr[i + 1]):
            total += np.float64(data[p]) * np.float64(data[p])
        out[i] = total
