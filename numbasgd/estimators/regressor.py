"""``MinibatchSGDRegressor``."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin

from numbasgd import check
from numbasgd.estimators.base import MinibatchSGD
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.losses import LOSSES

_TARGETS = {"y_numeric": True, "multi_output": True}  # as scikit-learn checks them
_REAL = [name for name, loss in LOSSES.items() if loss.targets == "real"]


class MinibatchSGDRegressor(RegressorMixin, MinibatchSGD):
    """Linear regression by minibatch SGD, in scikit-learn's conventions.

    It is ``numbasgd.train`` as an estimator: the same settings with the same defaults, which are described
    there, and the same weights for the same seed.

    Parameters
    ----------
    loss : {"squared", "huber", "quantile"}
    quantile, l2, l1, standardize
        What is minimized.
    batch_size : int or "auto"
        Rows a step; all rows if they are fewer.
    lr, epochs, schedule, sampling, window, momentum, nesterov, average
        How steps are made.
    fit_intercept : bool
        ``intercept`` of ``train``.
    tol, patience, validation_fraction, budget
        When to stop.
    eval_every, callback, progress, track_noise, verbose
        What is told on the way.
    warm_start : bool
        Whether ``fit`` starts from the model that there is.
    random_state : int, RandomState or None
        An integer is the ``seed`` of ``train``.
    threads : int, optional

    Attributes
    ----------
    coef_ : ndarray, shape (d,), or (K, d) for y of K columns
    intercept_ : ndarray, shape (1,) or (K,)
    n_iter_ : int
        Epochs that were made; a call of ``partial_fit`` is one more.
    loss_curve_ : list of float
        The objective after each evaluation (``eval_every``); after each call of ``partial_fit``.  By default
        that is each round, or with ``epochs`` given and nothing to watch, five times at most.
    n_features_in_ : int
    feature_names_in_ : ndarray, shape (d,)
        Where the columns of X have names.
    fit_ : Fit
        All that is known of the last ``fit``: the rate that was chosen, why it stopped, the time.

    Examples
    --------
    >>> import numbasgd
    >>> X, y = numbasgd.airfoil_twin()
    >>> model = numbasgd.MinibatchSGDRegressor(random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.5, model.coef_.shape
    (True, (5,))
    """

    def __init__(
        self,
        loss: str = "squared",
        *,
        quantile: float = 0.5,
        batch_size: int | str = 32,
        lr: Any = "auto",
        epochs: int | None = None,
        schedule: str | None = None,
        sampling: str = "auto",
        window: float = 24.0,
        momentum: float = 0.0,
        nesterov: bool = False,
        average: bool | int = False,
        l2: float = 0.0,
        l1: float = 0.0,
        fit_intercept: bool = True,
        standardize: bool | None = None,
        eval_every: int | str | None = "auto",
        validation_fraction: float = 0.0,
        tol: float | None = None,
        patience: int = 5,
        budget: float | None = None,
        callback: Any = None,
        progress: bool | None = None,
        track_noise: bool = False,
        verbose: bool = False,
        warm_start: bool = False,
        random_state: Any = None,
        threads: int | None = None,
    ) -> None:
        settings = dict(locals())
        del settings["self"]
        self.__dict__.update(settings)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Make one pass over some more rows, in minibatches.

        Momentum and the mean of the weights go on where the call before stopped.  With
        ``sampling="sequential"``, pieces of whole minibatches give the weights of one epoch over all rows, bit
        for bit, or to rounding where rows are sparse; calls with the same rows give those of ``fit`` with as
        many epochs.  For ``lr="auto"`` and ``standardize`` the first piece decides; the rate is constant, or
        falls with the calls by ``schedule="inverse_scaling"``.  What ends a ``fit`` early does not matter here.

        Parameters
        ----------
        X, y
            As for ``fit``.
        sample_weight : array_like, shape (n,), optional
            How much each row counts: a row of weight 2 moves the weights twice as far as one without weight.

        Returns
        -------
        self
        """
        X, y = self._checked(X, y, not hasattr(self, "coef_"), **_TARGETS)
        return self._learn_piece(self._rows(X, y, sample_weight, is_piece=True))

    def predict(self, X: Any) -> np.ndarray:
        """``X @ coef_.T + intercept_``.

        Parameters
        ----------
        X : array_like or sparse array, shape (n, d)

        Returns
        -------
        ndarray, shape (n,), or (n, K) for K outputs
        """
        return self._z(X)

    def _dataset(self, X: Any, y: Any, sample_weight: Any) -> Dataset:
        return self._rows(*self._opened(X, y, **_TARGETS), sample_weight, is_piece=False)

    def _rows(self, X: Any, y: np.ndarray, sample_weight: Any, *, is_piece: bool) -> Dataset:
        y = check.array(y, "y", y.ndim).astype(X.dtype, copy=False)  # no sparse array, which is let through
        weights = self._weights(sample_weight, len(y), X.dtype, is_piece=is_piece)
        outputs = y.shape[1] if y.ndim == 2 else 0
        return self._made(X, y, weights, outputs)

    def _loss(self) -> str:
        return check.choice(self.loss, "loss", _REAL)

    def _model(self, w: np.ndarray, b: Any) -> tuple[np.ndarray, np.ndarray]:
        return w.T.copy(), np.atleast_1d(np.asarray(b))

    def _start(self) -> tuple[np.ndarray, Any]:
        w = np.ascontiguousarray(self.coef_.T)
        return w, float(self.intercept_[0]) if w.ndim == 1 else self.intercept_.astype(np.float64)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
