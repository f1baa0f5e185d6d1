"""``MinibatchSGDClassifier``."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy import special
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from numbasgd import check
from numbasgd.estimators.base import MinibatchSGD
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.inputs import weights_given
from numbasgd.sgd.losses import LOSSES

_CLASSIFYING = [name for name, loss in LOSSES.items() if loss.targets != "real"]


def _has_probabilities(estimator: MinibatchSGDClassifier) -> bool:
    if estimator.loss == "hinge":
        raise AttributeError(
            "loss is 'hinge', without probabilities; expected 'logistic' or 'softmax'. Pass one of them."
        )
    return True


def _labels(y: Any) -> Any:
    """y, but an array of NumPy's StringDType, which scikit-learn does not know, as text of a fixed width."""
    return np.array(y.tolist(), str) if isinstance(y, np.ndarray) and y.dtype.kind == "T" else y


class MinibatchSGDClassifier(ClassifierMixin, MinibatchSGD):
    """Linear classification by minibatch SGD, in scikit-learn's conventions.

    It is ``numbasgd.train`` as an estimator: the same settings with the same defaults, which are described
    there, and the same weights for the same seed.

    Parameters
    ----------
    loss : {"logistic", "hinge", "softmax"}
        For more than two classes "logistic" is "softmax", the multinomial model, and "hinge" tells each class
        from the rest.
    l2, l1, standardize
        What is minimized besides; ``quantile`` is that of regression and must stay.
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
    class_weight : dict, "balanced" or None
        Weight of each class, by its label (1 if left out); "balanced": that which makes all of them count
        alike.  It multiplies ``sample_weight``.
    warm_start : bool
        Whether ``fit`` starts from the model that there is.
    random_state : int, RandomState or None
        An integer is the ``seed`` of ``train``.
    threads : int, optional

    Attributes
    ----------
    classes_ : ndarray, shape (K,)
        The labels, in order.
    coef_ : ndarray, shape (1, d) for two classes, else (K, d)
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
    >>> import numbasgd, numpy as np
    >>> X, y = numbasgd.airfoil_twin()
    >>> loud = np.where(y > np.median(y), "loud", "quiet")
    >>> model = numbasgd.MinibatchSGDClassifier(random_state=0).fit(X, loud)
    >>> model.classes_.tolist(), model.predict(X[:2]).tolist(), model.predict_proba(X).shape
    (['loud', 'quiet'], ['loud', 'loud'], (1500, 2))
    """

    classes_: np.ndarray

    def __init__(
        self,
        loss: str = "logistic",
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
        class_weight: Any = None,
        warm_start: bool = False,
        random_state: Any = None,
        threads: int | None = None,
    ) -> None:
        settings = dict(locals())
        del settings["self"]
        self.__dict__.update(settings)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Make one pass over some more rows, in minibatches.

        Momentum and the mean of the weights go on where the call before stopped.  With
        ``sampling="sequential"``, pieces of whole minibatches give the weights of one epoch over all rows, bit
        for bit, or to rounding where rows are sparse; calls with the same rows give those of ``fit`` with as
        many epochs.  For ``lr="auto"`` and ``standardize`` the first piece decides; the rate is constant, or
        falls with the calls by ``schedule="inverse_scaling"``.  What ends a ``fit`` early does not matter here.

        Parameters
        ----------
        X, y
            As for ``fit``; a piece need not show all classes.
        classes : array_like, shape (K,)
            All labels that there will be; needed in the first call, and the same later if passed again.
        sample_weight : array_like, shape (n,), optional
            How much each row counts: a row of weight 2 moves the weights twice as far as one without weight.

        Returns
        -------
        self
        """
        is_first = not hasattr(self, "coef_")
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight is 'balanced'; expected a dict or None for partial_fit, since no piece shows how "
                "often a class is. Pass the weights that sklearn.utils.class_weight.compute_class_weight gives "
                "for all labels."
            )
        known = self._known_classes(classes, is_first)
        X, y = self._checked(X, _labels(y), is_first)
        self.classes_ = known
        return self._learn_piece(self._rows(X, self._numbers(y), sample_weight, is_piece=True))

    def decision_function(self, X: Any) -> np.ndarray:
        """``X @ coef_.T + intercept_``.

        Parameters
        ----------
        X : array_like or sparse array, shape (n, d)

        Returns
        -------
        ndarray, shape (n,) for two classes, above 0 for the second of them; else (n, K)
        """
        z = self._z(X)
        return z[:, 0] if z.shape[1] == 1 else z

    def predict(self, X: Any) -> np.ndarray:
        """The class of each row.

        Parameters
        ----------
        X : array_like or sparse array, shape (n, d)

        Returns
        -------
        ndarray, shape (n,)
        """
        z = self.decision_function(X)
        return self.classes_[(z > 0).astype(np.intp) if z.ndim == 1 else z.argmax(axis=1)]

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, of which a row's add up to 1.

        Parameters
        ----------
        X : array_like or sparse array, shape (n, d)

        Returns
        -------
        ndarray, shape (n, K)
        """
        z = self.decision_function(X)
        if z.ndim == 1:
            return np.stack([special.expit(-z), special.expit(z)], axis=1)
        return special.softmax(z, axis=1)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithm of ``predict_proba``, also where that is too small for a number.

        Parameters
        ----------
        X : array_like or sparse array, shape (n, d)

        Returns
        -------
        ndarray, shape (n, K)
        """
        z = self.decision_function(X)
        if z.ndim == 1:
            return np.stack([special.log_expit(-z), special.log_expit(z)], axis=1)
        return special.log_softmax(z, axis=1)

    def _dataset(self, X: Any, y: Any, sample_weight: Any) -> Dataset:
        X, y = self._opened(X, _labels(y))
        if y.dtype.kind in "fcO":  # others can be nothing but labels
            check_classification_targets(y)
        classes, number = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                f"y holds one class, {classes.tolist()[0]!r}; expected two or more. Pass rows of all classes."
            )
        before = getattr(self, "classes_", classes)
        if self.warm_start and not np.array_equal(before, classes):
            raise ValueError(
                f"y holds the classes {classes.tolist()}, and the model to start from has {before.tolist()}; "
                "expected the same. Pass warm_start=False, or such rows."
            )
        self.classes_ = classes
        return self._rows(X, number, sample_weight, is_piece=False)

    def _rows(self, X: Any, number: np.ndarray, sample_weight: Any, *, is_piece: bool) -> Dataset:
        """number : of the class of each row."""
        classes, loss, n = self.classes_, self._loss(), len(number)
        if self.class_weight is not None:
            sample_weight = self._class_weights(number, sample_weight)
        weights = self._weights(sample_weight, n, X.dtype, is_piece=is_piece)
        outputs = len(classes) if loss == "softmax" or len(classes) > 2 else 0
        if loss == "softmax":
            y = number.astype(X.dtype)
        elif outputs:
            y = np.where(number[:, None] == np.arange(outputs), 1, -1).astype(X.dtype)
        else:
            y = np.where(number == 1, 1, -1).astype(X.dtype)
        return self._made(X, y, weights, outputs, tuple(classes.tolist()))

    def _class_weights(self, number: np.ndarray, sample_weight: Any) -> np.ndarray:
        """The weights of the rows, those of their classes included."""
        n, classes = len(number), self.classes_
        weights = np.ones(n) if sample_weight is None else weights_given(sample_weight, n)
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            # By weights and not by rows, so that a row of weight 2 is two rows.
            total = np.bincount(number, weights, len(classes))
            of_class = np.divide(
                weights.sum() / len(classes), total, out=np.zeros(len(classes)), where=total > 0
            )
        else:
            of_class = compute_class_weight(self.class_weight, classes=classes, y=classes)
        return weights * of_class[number]

    def _known_classes(self, classes: Any, is_first: bool) -> np.ndarray:
        if classes is None:
            if is_first:
                raise ValueError(
                    "classes is None in the first call of partial_fit; expected all labels that there will be, "
                    "since a piece need not show them. Pass for example classes=np.unique(y) of all rows."
                )
            return self.classes_
        found = np.unique(_labels(classes))
        if not is_first and not np.array_equal(found, self.classes_):
            raise ValueError(
                f"classes is {found.tolist()}, and was {self.classes_.tolist()} before; expected the same. "
                "Leave it out, or begin with a new estimator."
            )
        if len(found) < 2:
            raise ValueError(f"classes is {found.tolist()}; expected two labels or more. Pass all of them.")
        return found

    def _numbers(self, y: np.ndarray) -> np.ndarray:
        """The numbers of the classes in y, which need not show all of them."""
        number = np.searchsorted(self.classes_, y)
        number[number == len(self.classes_)] = 0
        is_unknown = self.classes_[number] != y
        if is_unknown.any():
            raise ValueError(
                f"y holds {y[is_unknown][:1].tolist()[0]!r}; expected one of the classes "
                f"{self.classes_.tolist()}. Pass all labels as classes in the first call."
            )
        return number

    def _loss(self) -> str:
        loss = check.choice(self.loss, "loss", _CLASSIFYING)
        return "softmax" if loss == "logistic" and len(self.classes_) > 2 else loss

    def _model(self, w: np.ndarray, b: Any) -> tuple[np.ndarray, np.ndarray]:
        if w.ndim == 1:
            return w[None].copy(), np.array([b])
        if w.shape[1] == 2:  # the probabilities depend on the difference alone
            return np.ascontiguousarray(w[:, 1:] - w[:, :1]).T, b[1:] - b[:1]
        return w.T.copy(), np.asarray(b)

    def _start(self) -> tuple[np.ndarray, Any]:
        if len(self.classes_) > 2:
            return np.ascontiguousarray(self.coef_.T), self.intercept_.astype(np.float64)
        w, b = self.coef_[0], float(self.intercept_[0])
        if self.loss == "softmax":
            return np.stack([-w / 2, w / 2], axis=1), np.array([-b / 2, b / 2])
        return w.copy(), b
