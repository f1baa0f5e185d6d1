"""``Dataset``: rows in any memory order, their targets and their weights, checked.

Today's rows are arrays.  Everything that trains, evaluates or chooses a learning rate takes its rows from here.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from numbasgd import check
from numbasgd.sgd import labels
from numbasgd.sgd.columns import Names, names_of
from numbasgd.sgd.csr import Csr, CsrRows, csr_of, finite, is_sparse
from numbasgd.sgd.fingerprint import Fingerprint
from numbasgd.sgd.layout import together
from numbasgd.sgd.losses import LOSSES
from numbasgd.sgd.order import epoch_order
from numbasgd.sgd.rows import Rows, rows_of

TWIN = "embedded twin of the airfoil data"
_VALIDATION = 2**61  # the epoch whose order picks the validation rows; no run gets there


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows to fit, or to evaluate.

    X : (n, d) float32 or float64, in any memory order; never written.
    y : (n,) or (n, K) targets in the dtype of X; of classes -1 and 1, or 0 to K - 1.
    sample_weight : (n,) of mean 1 in the dtype of X, or of length 0 where all rows count alike.
    outputs : columns of the weights of its model, or 0 where these are a vector.
    classes : the values of the user's y that the numbers in y stand for, or None.
    source : where X and y came from, as ``Fit.data`` says it.
    is_own : whether X is a copy that nobody else looks at, so that it may be scaled in place.
    names : of the columns, where X was a table that has them.
    """

    X: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray
    outputs: int = 0
    classes: tuple[Any, ...] | None = None
    source: str = "arrays"
    is_own: bool = False
    names: Names | None = None
    rows: Rows = field(init=False)
    targets: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        # As kernels take them; a single column of targets is a vector.
        y = self.y
        targets = check.for_kernel(y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y)
        vars(self).update(rows=rows_of(self.X), targets=targets)

    @property
    def n(self) -> int:
        """Rows."""
        return self.rows.n

    @property
    def d(self) -> int:
        """Columns of X."""
        return self.rows.d

    @property
    def dtype(self) -> np.dtype:
        """Of X, y and the weights."""
        return self.X.dtype

    @property
    def entries(self) -> np.ndarray:
        """The numbers of X."""
        return self.X

    @property
    def row_entries(self) -> int:
        """Stored entries of a row, on average."""
        return self.d

    @property
    def is_sparse(self) -> bool:
        """Whether not all entries are stored."""
        return False

    @property
    def is_weighted(self) -> bool:
        """Whether rows count differently."""
        return self.sample_weight.size > 0

    def fingerprint(self, held_out: Dataset | None = None) -> Fingerprint:
        """What the data, with the rows that were passed to be held out, is recognized by in a resumed run."""
        arrays: dict[str, np.ndarray | Csr] = {}
        for prefix, rows in (("", self), ("validation_", held_out)):
            if rows is not None:
                arrays |= {f"{prefix}X": rows.X, f"{prefix}y": rows.y}
                if rows.is_weighted:
                    arrays[f"{prefix}sample_weight"] = rows.sample_weight
        return Fingerprint({}, **arrays)

    def with_rows(self, X: Any) -> Self:
        """The same targets and weights with other rows, such as scaled ones."""
        return replace(self, X=X, is_own=True)

    def take(self, index: np.ndarray, *, keeps_layout: bool = False) -> Self:
        """A copy of some of the rows, in the order of ``index``, with weights of mean 1.

        keeps_layout : whether they lie in memory as all rows do, so that nothing else has to be compiled.
        """
        X, s = self.X[index], self.sample_weight
        if keeps_layout and self.rows.is_gathered:
            X = np.asfortranarray(X)
        if s.size:
            s = s[index]
            s = (s / s.mean()).astype(self.dtype)
        return replace(self, X=X, y=self.y[index], sample_weight=s, is_own=True)

    def together(self, is_shuffled: bool) -> Self:
        """The same rows, each in one piece where there is memory for a copy (``layout.together``)."""
        X = together(self.X, is_shuffled)
        return self if X is self.X else self.with_rows(X)

    def counted(self) -> Self:
        """The rows that count: all but those of weight 0."""
        if not self.is_weighted or self.sample_weight.all():
            return self
        return self.take(np.flatnonzero(self.sample_weight), keeps_layout=True)

    def blocks(self, count: int) -> Iterator[tuple[int, int]]:
        """(start, stop) of blocks of at most ``count`` rows, in order."""
        for start in range(0, self.n, count):
            yield start, min(start + count, self.n)

    def split(self, fraction: float, seed: int) -> tuple[Dataset, Dataset | None]:
        """Training rows, and the share of the rows that ``seed`` draws for validation, or None for 0.

        Both keep the order of the rows.  A row of weight 0 is no row: it is neither drawn nor counted, and
        stays among the training rows, where it weighs nothing.

        Raises
        ------
        ValueError
            If one side would be left without a row.
        """
        if fraction == 0:
            return self, None
        s = self.sample_weight
        drawn = np.flatnonzero(s) if s.size else np.arange(self.n)
        n = len(drawn)
        count = round(fraction * n)
        if not 0 < fraction < 1 or not 0 < count < n:
            of_weight = " that have a weight" if n < self.n else ""
            raise ValueError(
                f"validation_fraction is {fraction} of {n} rows{of_weight}; expected a share that leaves at "
                "least one row on either side. Pass another share, or leave it out and no row is held out."
            )
        held_out = np.sort(drawn[epoch_order(seed, _VALIDATION, n)[:count]])
        is_training = np.ones(self.n, bool)
        is_training[held_out] = False
        return self.take(np.flatnonzero(is_training)), self.take(held_out)

    def require_finite(self, *witnesses: float) -> None:
        """Look for a NaN or Inf if a figure of the whole data is not finite; no look without such a sign.

        Raises
        ------
        ValueError
            It names the first one's row and column.
        """
        if not all(map(math.isfinite, witnesses)):
            check.finite(self.X, "X", self.names)
            check.finite(self.y, "y")

    def overflows(self, start: np.ndarray) -> ValueError:
        """The error for finite data whose loss at the weights ``start`` is not finite."""
        largest = {"X": self.entries, "y": self.y, "init": start}
        name = max(largest, key=lambda key: float(np.abs(largest[key]).max(initial=0.0)))
        return ValueError(
            f"{name} holds values up to {np.abs(largest[name]).max():.3g}, and the loss overflows "
            f"{self.dtype}; expected values whose squares can be added up. Scale them, for example by a power "
            "of 10."
        )


@dataclass(frozen=True, eq=False)
class SparseDataset(Dataset):
    """A ``Dataset`` whose X is a ``Csr``."""

    X: Any
    rows: Any = field(init=False)

    def __post_init__(self) -> None:
        y, X = self.y, self.X
        targets = check.for_kernel(y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y)
        n, d = X.shape
        rows = CsrRows(X.data, n, d, X.indptr.ctypes.data, X.indices.ctypes.data)
        vars(self).update(rows=rows, targets=targets)

    def together(self, is_shuffled: bool) -> Self:
        """The stored entries of a row lie together."""
        return self

    def require_finite(self, *witnesses: float) -> None:
        """Look for a NaN or Inf if a figure of the whole data is not finite; no look without such a sign.

        Raises
        ------
        ValueError
            It names the first one's row and column.
        """
        if not all(map(math.isfinite, witnesses)):
            finite(self.X)
            check.finite(self.y, "y")

    @property
    def entries(self) -> np.ndarray:
        """The stored numbers of X."""
        return self.X.data

    @property
    def row_entries(self) -> int:
        """Stored entries of a row, on average."""
        return self.X.per_row

    @property
    def is_sparse(self) -> bool:
        """Whether not all entries are stored."""
        return True


def make_dataset(X: Any, y: Any, sample_weight: Any, loss: str) -> Dataset:
    """What the user passed to ``train``, checked; the embedded twin of the airfoil data for no X and no y.

    Raises
    ------
    TypeError, ValueError
        For an argument that is not as ``train`` describes it.
    """
    source = "arrays"
    if X is None and y is None:
        from numbasgd.data import airfoil_twin

        (X, y), source = airfoil_twin(), TWIN
    if X is None or y is None:
        missing, given = ("X", "y") if X is None else ("y", "X")
        raise TypeError(
            f"{missing} is missing while {given} was passed; expected both, or neither for the embedded "
            f"twin data. Pass {missing}."
        )
    given, kind = X, SparseDataset if is_sparse(X) else Dataset
    X, y, classes = rows_and_targets(X, y, loss, takes_columns=True, takes_sparse=True)
    if X.shape[1] == 0:
        raise ValueError(
            f"X has shape {X.shape}; expected at least one column. Pass the columns to predict y from."
        )
    is_own = type(given) is list or (isinstance(given, np.ndarray) and not np.may_share_memory(given, X))
    weights = sample_weights(sample_weight, len(X), X.dtype)
    outputs = y.shape[1] if y.ndim == 2 else 0
    if LOSSES[loss].rows:
        outputs = len(classes or ())
    return kind(X, y, weights, outputs, classes, source, is_own, names_of(given))


def rows_and_targets(
    X: Any,
    y: Any,
    loss: str = "squared",
    *,
    is_whole: bool = True,
    takes_columns: bool = False,
    takes_sparse: bool = False,
) -> tuple[Any, np.ndarray, tuple[Any, ...] | None]:
    """X (n, d) and y (n,) of one dtype, n at least 1, in any memory order; and the classes, if any.

    Classes become -1 and 1, or 0 to K - 1, which every dtype holds, so their dtype does not matter to X.  Rows
    that are not the whole problem may be of some of its classes, if those are called like that.
    takes_columns : y may be (n, K), K at least 1, where it holds numbers.
    takes_sparse : X may be sparse, and is a ``Csr`` then.
    """
    X = csr_of(X) if takes_sparse and is_sparse(X) else check.array(X, "X", 2)
    targets = LOSSES[loss].targets
    if targets == "real":
        y = check.array(y, "y", 2 if takes_columns and _n_dimensions(y) == 2 else 1)
    else:
        y = labels.named(y, loss)
    if len(X) != len(y):
        raise ValueError(
            f"X has {len(X)} rows and y has {len(y)} entries; expected one target per row. "
            "Check that both were cut the same way."
        )
    if len(X) == 0:
        raise ValueError(f"X has shape {X.shape}; expected at least one row. Pass the training rows.")
    if y.ndim == 2 and y.shape[1] == 0:
        raise ValueError(f"y has shape {y.shape}; expected at least one column. Pass the targets.")
    if targets == "real":
        X, y = check.same_dtype(X, y)
        return X, y, None
    classes: tuple[Any, ...] | None = None
    if targets == "classes" and is_whole:
        y, classes = labels.numbers(y, loss)
    elif targets == "classes":
        labels.require_numbers(y)
    elif not is_whole and y.dtype.kind != "U" and np.all(np.abs(y) == 1):
        classes = (-1.0, 1.0)
    else:
        y, classes = labels.signs(y, loss)
    return X, y.astype(X.dtype, copy=False), classes


def _n_dimensions(y: Any) -> int:
    """Of what ``check.array`` would make of y; 1 for what it would refuse."""
    try:
        return int(np.ndim(y))
    except (ValueError, TypeError):
        return 1


def sample_weights(value: Any, n: int, dtype: np.dtype, name: str = "sample_weight") -> np.ndarray:
    """Weights of mean 1, or an array of length 0 when there are none."""
    if value is None:
        return _none(dtype)
    s = weights_given(value, n, name)
    # The sum of what was passed may overflow; a power of two leaves weights that have mean 1 as they are.
    s = np.ldexp(s, -np.frexp(s.max())[1])
    return (s / s.mean()).astype(dtype)


def weights_given(value: Any, n: int, name: str = "sample_weight") -> np.ndarray:
    """Weights as they were passed, checked, in float64."""
    s = check.array(value, name, 1).astype(np.float64)
    if len(s) != n:
        raise ValueError(
            f"{name} has {len(s)} entries and X has {n} rows; expected one weight per row. "
            "Check that both were cut the same way."
        )
    check.finite(s, name)
    if s.min() < 0 or s.max() == 0:
        raise ValueError(
            f"{name} has smallest entry {s.min():g} and largest {s.max():g}; expected weights of 0 or "
            "more, not all 0. Leave such rows out, or give them weight zero."
        )
    return s


@functools.cache
def _none(dtype: np.dtype) -> np.ndarray:
    return np.empty(0, dtype)


def start_of(init: Any, dataset: Dataset) -> tuple[np.ndarray, Any]:
    """The first weights (d,) and intercept, or (d, K) and (K,) for K outputs; zeros without ``init``."""
    d, dtype, outputs = dataset.d, dataset.dtype, dataset.outputs
    columns = (outputs,) if outputs else ()
    if init is None:
        return np.zeros((d, *columns), dtype), np.zeros(columns) if outputs else 0.0
    if not isinstance(init, tuple | list) or len(init) != 2:
        raise TypeError(f"init is {init!r}; expected a pair (w, b). Pass the weights and the intercept.")
    w = check.array(init[0], "init's w", 2 if outputs else 1)
    if outputs and w.shape != (d, outputs):
        raise ValueError(
            f"init's w has shape {w.shape}, X has {d} columns and there are {outputs} outputs; expected shape "
            f"{(d, outputs)}. Pass weights of the same model."
        )
    if len(w) != d:
        raise ValueError(
            f"init's w has {len(w)} entries, X has {d} columns; expected one weight per column. "
            "Pass weights of the same model."
        )
    check.finite(w, "init's w")
    b = intercepts(init[1], "init's b", outputs)
    with np.errstate(over="ignore"):
        return w.astype(dtype), b


def intercepts(b: Any, name: str, outputs: int) -> Any:
    """An intercept, or one for each of ``outputs`` > 0 (a single number stands for all)."""
    if not outputs:
        return check.real(b, name, hint="Pass the intercept to start from, for example 0.0.")
    if _n_dimensions(b) == 0:
        return np.full(outputs, check.real(b, name, hint="Pass one intercept, or one for each output."))
    found = check.array(b, name, 1).astype(np.float64)
    if len(found) != outputs:
        raise ValueError(
            f"{name} has {len(found)} entries, and there are {outputs} outputs; expected one for each. Pass "
            "intercepts of the same model."
        )
    check.finite(found, name)
    return found
