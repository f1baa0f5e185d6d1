"""What the estimators have in common: settings, checks, and the way from ``fit`` to a training."""

from __future__ import annotations

import math
import numbers
import time
from abc import ABCMeta, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from numbasgd import check
from numbasgd.data.row_source import SlicedRows, source_of
from numbasgd.estimators.callbacks import CallbackSupportMixin, EpochTasks, with_callbacks
from numbasgd.sgd.columns import names_of
from numbasgd.sgd.config import SETTINGS, Default, TrainConfig
from numbasgd.sgd.csr import Csr, csr_of, finite, is_sparse
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.fit import Fit
from numbasgd.sgd.inputs import kind_of, require_opened, sample_weights, weights_given
from numbasgd.sgd.partial import ENDLESS, PieceState, train_piece
from numbasgd.sgd.predict import decision_function
from numbasgd.sgd.run import TrainingRun
from numbasgd.sgd.schedule import RESTARTS
from numbasgd.sgd.streamed_dataset import StreamedDataset
from numbasgd.sgd.streamed_inputs import cut_of, require_rows, streamed_rows
from numbasgd.sgd.streamed_targets import Targets, Values, Weights

#: Settings of ``train`` that have scikit-learn's name here.
RENAMED: Mapping[str, str] = MappingProxyType({"seed": "random_state", "intercept": "fit_intercept"})
#: Settings that there are not: an estimator is pickled, and not resumed.
LEFT_OUT = ("checkpoint", "checkpoint_every")

_NAMES = {name: RENAMED.get(name, name) for name in SETTINGS if name not in LEFT_OUT}
_CURVE = 5  # evaluations of a fit where nothing depends on them
_FLOATS = (np.float64, np.float32)
_NOT_IN_PIECES = {  # settings that need to know the whole of a run
    "eval_every": None, "validation_fraction": 0.0, "tol": None, "budget": None, "callback": None,
}  # fmt: skip


class MinibatchSGD(CallbackSupportMixin, BaseEstimator, metaclass=ABCMeta):
    """Base of the estimators; the constructor of each sets the settings of ``train`` as attributes."""

    batch_size: Any
    loss: str
    lr: Any
    schedule: Any
    sampling: Any
    window: Any
    epochs: Any
    eval_every: Any
    validation_fraction: float
    tol: float | None
    callback: Any
    verbose: bool
    random_state: Any
    warm_start: bool
    fit_: Fit
    coef_: np.ndarray
    intercept_: np.ndarray

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the model, anew unless ``warm_start`` is True.

        Parameters
        ----------
        X : array_like, sparse array or rows in a file, shape (n, d)
            Rows; float32 stays float32, anything else becomes float64.  Rows in a file are read block by block,
            as by ``train``.  Sparse matrices and arrays of SciPy are trained on in CSR form, and their columns
            are neither scaled nor centred unless ``standardize`` is True, which divides each by its root mean
            square.
        y : array_like, shape (n,)
            Targets.
        sample_weight : array_like, shape (n,), optional
            How much each row counts; only ratios matter.

        Returns
        -------
        self
        """
        if getattr(self, "_skl_callbacks", None):
            return self._fit_with_callbacks(X, y, sample_weight)
        begin = time.perf_counter()
        return self._take(self._run(self._dataset(X, y, sample_weight), begin).run())

    @with_callbacks
    def _fit_with_callbacks(self, X: Any, y: Any, sample_weight: Any) -> Self:
        begin = time.perf_counter()
        dataset = self._dataset(X, y, sample_weight)
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        rows = X if is_sparse(X) else dataset.X
        tasks = EpochTasks(self, {"X": rows, "y": y, "metadata": metadata}, self.epochs, self._attributes)
        self._take(self._run(dataset, begin, tasks).run())
        tasks.end()
        return self

    def _run(self, dataset: Dataset, begin: float, tasks: EpochTasks | None = None) -> TrainingRun:
        """The training that a fit is."""
        changed: dict[str, Any] = {"eval_every": self._eval_every(dataset.n)}
        if tasks is not None:
            own = self.callback
            changed["callback"] = tasks if own is None else lambda fit: tasks(fit) | bool(own(fit))
        start = self._warm_start(dataset) if self.warm_start and hasattr(self, "coef_") else None
        return TrainingRun(self._config(dataset, changed), dataset, start, None, begin)

    def _eval_every(self, n: int) -> Any:
        """The setting; evaluations that decide nothing are so few that short epochs do not wait for them."""
        is_watched = self.tol is not None or self.validation_fraction or self.callback or self.verbose
        epochs = int(self.epochs) if isinstance(self.epochs, numbers.Integral) else 0
        if self.eval_every != "auto" or is_watched or epochs <= _CURVE or self.schedule == RESTARTS:
            return self.eval_every
        return n * -(-epochs // _CURVE)

    def _take(self, fit: Fit) -> Self:
        """Become what a training has made."""
        self.__dict__.update(self._attributes(fit), fit_=fit)
        self.__dict__.pop("_pieces", None)
        return self

    def _attributes(self, fit: Fit) -> dict[str, Any]:
        coef, intercept = self._model(fit.w, fit.b)
        dtype = np.dtype(fit.settings["dtype"])
        return {
            "coef_": coef.astype(dtype),
            "intercept_": intercept.astype(dtype),
            "n_iter_": math.ceil(fit.epochs[-1]),
            "loss_curve_": fit.objective[1:].tolist(),
        }

    def _learn_piece(self, dataset: Dataset) -> Self:
        """Make one pass over the rows of ``partial_fit``."""
        before: PieceState | None = getattr(self, "_pieces", None)
        schedule = self.schedule or "constant"
        if schedule not in ENDLESS:
            raise ValueError(
                f"schedule is {schedule!r}; expected one of {', '.join(map(repr, ENDLESS))} for partial_fit, "
                "since the others need to know how long a run is. Pass one of them, or call fit."
            )
        changed = {**_NOT_IN_PIECES, "schedule": schedule}
        if before is not None and not isinstance(self.random_state, numbers.Integral):
            changed["seed"] = self._seed  # the one that was drawn for the first piece
        config = self._config(dataset, changed)
        is_known = hasattr(self, "coef_")
        start = self._warm_start(dataset) if is_known else self._zeros(dataset)
        pieces = train_piece(config, dataset, start, before)
        coef, intercept = self._model(pieces.w, pieces.b)
        loss_curve = [*getattr(self, "loss_curve_", ()), pieces.objective]
        self.__dict__.update(
            coef_=coef.astype(dataset.dtype), intercept_=intercept.astype(dataset.dtype),
            n_iter_=getattr(self, "n_iter_", 0) + 1, loss_curve_=loss_curve, _pieces=pieces, _seed=config.seed,
        )  # fmt: skip
        self.__dict__.pop("fit_", None)  # which is not this model any more
        return self

    def _config(self, dataset: Dataset, changed: Mapping[str, Any]) -> TrainConfig:
        """The settings as ``train`` takes them for such rows, checked."""
        own = self.__dict__
        settings = {name: own[here] for name, here in _NAMES.items()}
        hint = 'Pass the rows of a step, which are cut to those that there are, or "auto".'
        if not (isinstance(self.batch_size, str) and self.batch_size == "auto"):
            settings["batch_size"] = Default(check.integer(self.batch_size, "batch_size", low=1, hint=hint))
        settings.update(dict.fromkeys(LEFT_OUT), loss=self._loss(), **changed)
        if self.standardize is None and not dataset.standardizes:
            settings["standardize"] = False
        if "seed" not in changed:
            settings["seed"] = _seed_of(self.random_state)
        return TrainConfig.of_call(**settings)

    def _opened(self, X: Any, y: Any, **how: Any) -> tuple[Any, np.ndarray]:
        """What ``_checked`` makes of X and y, or what X is read from block by block, and y."""
        source = None if is_sparse(X) and self.sampling != "block" else streamed_rows(X, self.sampling)
        if source is None or source_of(X, "X") is None:
            X, y = self._checked(X, y, is_first=True, **how)
            return (X if source is None else SlicedRows(X, "X")), y
        require_opened(y, "y")
        y = validate_data(self, y=np.asarray(y), **how)
        if len(source.shape) != 2 or 0 in source.shape:
            raise ValueError(f"X has shape {source.shape}; expected rows and columns. Reshape it.")
        require_rows(source, y.shape)
        self.n_features_in_ = source.shape[1]
        names = names_of(X)
        if names is not None:
            self.feature_names_in_ = np.array(names, object)
        return source, y

    def _made(self, X: Any, y: np.ndarray, weights: np.ndarray, outputs: int, classes: Any = None) -> Dataset:
        """The dataset of rows that were checked, or are read block by block."""
        if isinstance(X, np.ndarray | Csr):
            kind: Any = kind_of(X)
            return kind(X, y, weights, outputs, classes, names=self._names)
        s = Weights(Values(weights, "sample_weight")) if weights.size else None
        how = cut_of(X, X.dtype, SETTINGS["window"].check(self.window, "window"), self.sampling)
        targets = Targets(Values(y, "y"))
        return StreamedDataset(X, targets, s, outputs, classes, names=self._names, **how)

    def _checked(self, X: Any, y: Any, is_first: bool, **how: Any) -> tuple[Any, np.ndarray]:
        """X and y as scikit-learn checks them; number and names of columns are kept, or compared with those.

        Sparse rows become a ``Csr``.

        how : what ``validate_data`` is told of y.  Arrays that it would leave as they are do not wait for it.
        """
        dtype = _FLOATS if is_first else self.coef_.dtype
        if is_first and _is_plain(X, 2) and _is_plain(y, 1) and len(X) == len(y):
            self.n_features_in_ = X.shape[1]
            self.__dict__.pop("feature_names_in_", None)
            return X, y
        require_opened(X, "X")
        require_opened(y, "y")
        X, y = validate_data(self, X, y, dtype=dtype, reset=is_first, **_how_checked(X), **how)
        if not is_sparse(X):
            return np.require(X, requirements="A"), y
        rows = csr_of(X)
        finite(rows)
        return rows, y

    @property
    def _names(self) -> tuple[str, ...] | None:
        """Of the columns, as a Fit has them."""
        names = getattr(self, "feature_names_in_", None)
        return None if names is None else tuple(names.tolist())

    def _weights(self, sample_weight: Any, n: int, dtype: np.dtype, *, is_piece: bool) -> np.ndarray:
        """Weights of mean 1, but as they are in a piece, since those of other pieces count beside them."""
        if sample_weight is None or not is_piece:
            return sample_weights(sample_weight, n, dtype)
        return weights_given(sample_weight, n).astype(dtype)

    def _z(self, X: Any) -> np.ndarray:
        """``X @ coef_.T + intercept_``, for rows that were checked."""
        check_is_fitted(self)
        if not is_sparse(X) and (source := source_of(X, "X")) is not None and len(source.shape) == 2:
            return decision_function(X, self.coef_.T, self.intercept_, None)
        X = validate_data(self, X, dtype=_FLOATS, reset=False, **_how_checked(X))
        if is_sparse(X):
            return decision_function(X, self.coef_.T, self.intercept_, None)
        return X @ self.coef_.T + self.intercept_

    def _zeros(self, dataset: Dataset) -> tuple[np.ndarray, Any]:
        columns = (dataset.outputs,) if dataset.outputs else ()
        return np.zeros((dataset.d, *columns), dataset.dtype), np.zeros(columns) if columns else 0.0

    def _warm_start(self, dataset: Dataset) -> tuple[np.ndarray, Any]:
        """The present model as the weights of a training on the dataset."""
        w, b = self._start()
        outputs = w.shape[1] if w.ndim == 2 else 0
        if (len(w), outputs) != (dataset.d, dataset.outputs):
            raise ValueError(
                f"coef_ has {len(w)} columns and {max(outputs, 1)} outputs, and the data has {dataset.d} and "
                f"{max(dataset.outputs, 1)}; expected the same to go on with it. Pass such data, or "
                "warm_start=False."
            )
        return w.astype(dataset.dtype), b

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @abstractmethod
    def _dataset(self, X: Any, y: Any, sample_weight: Any) -> Dataset:
        """What was passed to ``fit``, checked."""

    @abstractmethod
    def _loss(self) -> str:
        """The loss of ``train``."""

    @abstractmethod
    def _model(self, w: np.ndarray, b: Any) -> tuple[np.ndarray, np.ndarray]:
        """``coef_`` and ``intercept_`` of the weights of a training."""

    @abstractmethod
    def _start(self) -> tuple[np.ndarray, Any]:
        """The inverse of ``_model`` for the present ones."""


def _is_plain(a: Any, ndim: int) -> bool:
    """Whether scikit-learn's checks, which take longer than to train, would leave ``a`` as it is."""
    if type(a) is not np.ndarray or a.ndim != ndim or a.dtype not in check.FLOATS:
        return False
    return a.size > 0 and a.flags.aligned and bool(np.isfinite(a).all())


def _how_checked(X: Any) -> dict[str, Any]:
    """What ``validate_data`` is told of X: in sparse rows a NaN is looked for later, to name row and column."""
    return {"accept_sparse": "csr", "ensure_all_finite": not is_sparse(X)}


def _seed_of(random_state: Any) -> int:
    """A seed as ``train`` takes it: an integer as it is, else one that the generator draws."""
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
